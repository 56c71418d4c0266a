"""Every layout: found by its tensors alone, read exactly, traced with conservation, and traced row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.dictionaries import formats, matrices, tensor_files
from engine.dictionaries.fidelity import Reconstructions
from engine.dictionaries.matrices import FileMatrix
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder, site_input
from engine.errors import RequestError
from engine.models.recording import Recording, record
from engine.progress import silent
from engine.tracing import Prompt, Target, Trace, TraceSpec, trace
from tests.engine.dictionaries.layout import Layout, Written
from tests.engine.dictionaries.layouts import LAYOUTS
from tests.engine.dictionaries.per_layer_layouts import gemma_scope
from tests.engine.tracing.tiny_models import tiny_model

PROMPT = [0, 5, 9, 3, 17, 22]
EACH = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


def read(layout: Layout, path: Path) -> TranscoderFeatures:
    return formats()[layout.format].read(path, tiny_model(layout.family).weights, silent, None)


def recorded(layout: Layout) -> Recording:
    model = tiny_model(layout.family)
    return record(model.weights, PROMPT, first_position=1)


def inputs(features: TranscoderFeatures, recording: Recording, reads: str) -> list[Tensor]:
    return [
        site_input(one, gain, reads)  # type: ignore[arg-type]
        for one, gain in zip(recording.layers, features.gains, strict=True)
    ]


def traced(layout: Layout, features: TranscoderFeatures) -> Trace:
    spec = TraceSpec(Prompt(token_ids=tuple(PROMPT)), Target(top_logits=3), max_nodes=10_000, edge_mass=1.0)
    return trace(tiny_model(layout.family), features, spec)  # type: ignore[arg-type]


@EACH
def test_only_its_own_reader_knows_it(layout: Layout, tmp_path: Path) -> None:
    path = layout.write(tmp_path / "any name").path
    assert [name for name, reader in formats().items() if reader.matches(path)] == [layout.format]


@EACH
def test_activations_and_outputs_are_the_librarys(layout: Layout, tmp_path: Path) -> None:
    written: Written = layout.write(tmp_path)
    features, recording = read(layout, written.path), recorded(layout)
    x = inputs(features, recording, layout.reads)
    activations, outputs = written.forward(x)
    made = Reconstructions(features, recording)
    for layer, one in enumerate(features.transcoders):
        assert isinstance(one, Transcoder)
        assert (one.reads, one.writes) == (layout.reads, layout.writes)
        assert activations[layer].count_nonzero() > 10
        assert torch.allclose(one.activations(x[layer]), activations[layer], rtol=1e-9, atol=1e-12)
        assert torch.allclose(made(layer), outputs[layer], rtol=1e-9, atol=1e-11)


@EACH
def test_a_trace_conserves(layout: Layout, tmp_path: Path) -> None:
    result = traced(layout, read(layout, layout.write(tmp_path).path))
    assert result.report["conservation_error"] < 1e-9
    assert result.report["feature_nodes"] > 20


@EACH
def test_a_set_larger_than_memory_is_traced_from_its_rows(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = layout.write(tmp_path).path
    resident = traced(layout, read(layout, path))
    real = tensor_files.Placement.for_files

    def nothing_fits(files: object, like: Tensor) -> tensor_files.Placement:
        placement = real(files, like)  # type: ignore[arg-type]
        return tensor_files.Placement(placement.device, placement.dtype, resident=False)

    monkeypatch.setattr(tensor_files.Placement, "for_files", nothing_fits)
    whole: list[str] = []
    rows: dict[str, int] = {}
    read_whole, read_rows = FileMatrix.whole, FileMatrix.rows

    def note_whole(self: FileMatrix) -> Tensor:
        whole.append(self.name)
        return read_whole(self)

    def note_rows(self: FileMatrix, index: Tensor, place: int | None = None) -> Tensor:
        rows[self.name] = rows.get(self.name, 0) + len(index)
        return read_rows(self, index, place)

    monkeypatch.setattr(matrices.FileMatrix, "whole", note_whole)
    monkeypatch.setattr(matrices.FileMatrix, "rows", note_rows)
    lazy = traced(layout, read(layout, path))
    decoders = [name for name in rows if "dec" in name]
    assert decoders, "no decoder was read by rows"
    assert not [name for name in whole if name in decoders], "a decoder was read whole"
    assert lazy.graph.n_edges == resident.graph.n_edges
    assert np.array_equal(lazy.graph.source, resident.graph.source)
    assert np.allclose(lazy.graph.weight, resident.graph.weight, rtol=1e-6, atol=1e-9)


def test_whether_a_set_fits_is_asked_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gemma_scope(tmp_path).path
    layout = next(one for one in LAYOUTS if one.name == "gemma-scope")
    monkeypatch.setattr(tensor_files, "available_bytes", lambda device: 20_000)
    first = read(layout, path).transcoders[0]
    assert first is not None
    assert isinstance(first.w_dec, FileMatrix)
    assert isinstance(first.w_dec.mapped, np.memmap), "an uncompressed array is mapped where it lies"


def test_a_compressed_set_that_does_not_fit_says_how_it_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gemma_scope(tmp_path, compressed=True).path
    monkeypatch.setattr(tensor_files, "available_bytes", lambda device: 20_000)
    with pytest.raises(RequestError, match=r"params\.npz.*numpy\.savez"):
        read(next(one for one in LAYOUTS if one.name == "gemma-scope"), path)


@EACH
def test_the_fingerprint_is_of_what_was_read(layout: Layout, tmp_path: Path) -> None:
    first = read(layout, layout.write(tmp_path / "a").path).fingerprint
    assert read(layout, layout.write(tmp_path / "b").path).fingerprint == first
