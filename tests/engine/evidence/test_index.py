"""What an index holds equals what running every context alone gives; it survives kills and refuses what is foreign."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import Cancelled, MachineError, RequestError
from engine.evidence.corpus import Corpus
from engine.evidence.feature_index import FeatureIndex
from engine.evidence.indexing import build_index
from engine.evidence.likeness import likeness_of
from engine.evidence.pages import TOP
from engine.progress import silent
from tests.engine.evidence.indexed import SETTINGS, alone, corpus, index_path
from tests.engine.tracing.tiny_models import features_of, tiny_model


def made(folder: Path, family: str = "llama", kind: str = "neurons", **named: Any) -> FeatureIndex:
    text = named.pop("text", None) or corpus()
    settings = named.pop("settings", SETTINGS)
    path = build_index(tiny_model(family), features_of(family, kind), text, index_path(folder), settings, **named)  # type: ignore[arg-type]
    return FeatureIndex(path)


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("llama", "neurons"),
        ("gpt2", "neurons"),
        ("gemma2", "neurons"),
        ("llama", "relu"),
        ("llama", "jumprelu"),
        ("gpt2", "normalised"),
        ("gpt2", "residual"),
        ("gemma2", "topk"),
        ("llama", "cross-layer"),
    ],
)
def test_pages_equal_running_every_context_alone(tmp_path: Path, family: str, kind: str) -> None:
    text = corpus()
    index = made(tmp_path, family, kind, text=text)
    for layer in (0, 2):
        values, places = alone(family, kind, text, layer)
        for feature in range(0, values.shape[1], 3):
            page = index.page(layer, feature)
            assert len(page.sides) == (2 if kind == "neurons" else 1)
            for side, sign in zip(page.sides, (1, -1), strict=False):
                _check_side(side, sign * values[:, feature], places, text)
            if kind != "neurons":
                assert page.density == pytest.approx((values[:, feature] > 0).mean(), abs=1e-6)
    index.close()


def _check_side(side: Any, series: np.ndarray, places: np.ndarray, text: Corpus) -> None:
    """The strongest contexts, their values, and the activations around each peak."""
    peaks = []
    for start, end in text.contexts(SETTINGS.context).tolist():
        inside = (places >= start) & (places < end)
        at = int(series[inside].argmax())
        peaks.append((float(series[inside][at]), int(places[inside][at]), start, end))
    peaks = sorted((one for one in peaks if one[0] > 0), reverse=True)
    strongest = [one for one in side.examples if one.section == TOP]
    assert side.maximum == pytest.approx(peaks[0][0] if peaks else 0.0, rel=1e-5)
    wanted = [one[0] for one in peaks[: SETTINGS.top]]
    assert [one.value for one in strongest] == pytest.approx(wanted, abs=side.maximum / 255)
    assert len({one.place for one in side.examples}) == len(side.examples)
    by_place = {one[1]: one for one in peaks}
    for example in side.examples:
        value, place, start, end = by_place[example.place]  # a drawn context is one of the corpus, shown at its peak
        assert example.value == pytest.approx(value, abs=side.maximum / 255)
        assert example.tokens[example.peak] == f"<{text.tokens[place]}>"
        known = dict(zip(places.tolist(), series.tolist(), strict=True))
        for offset, activation in enumerate(example.activations, start=place - example.peak):
            if -SETTINGS.before <= offset - place <= SETTINGS.after:
                wanted = max(known[offset], 0.0) if start < offset < end else 0.0
                assert activation == pytest.approx(wanted, abs=side.maximum / 250 + 1e-3 * side.maximum)
            else:
                assert np.isnan(activation)
    weakest = min((one.value for one in strongest), default=0.0)
    assert all(one.value <= weakest for one in side.examples if one.section != TOP)


def test_histograms_and_density_count_tokens(tmp_path: Path) -> None:
    text = corpus()
    index = made(tmp_path, "llama", "relu", text=text)
    values, _ = alone("llama", "relu", text, 1)
    checked = 0
    for feature in range(30):
        side, series = index.page(1, feature).sides[0], values[:, feature]
        if not side.edges:
            assert series.max() <= 0
            continue
        counts, _ = np.histogram(series[series > 0], np.array(side.edges))
        # Kept as eighths of a base-2 logarithm, and read as whole numbers.
        assert (np.abs(np.array(side.counts) - counts) <= 0.5 + 0.045 * (counts + 1)).all()
        checked += int(counts.sum())
    assert checked > 1000
    assert index.density(1)[4] == pytest.approx((values[:, 4] > 0).mean(), abs=1e-6)
    # A neuron counts as active from the half octave that holds a quarter of its largest size.
    neurons = made(tmp_path, "llama", "neurons", text=text)
    series, _ = alone("llama", "neurons", text, 1)
    sizes = np.abs(series)
    largest = sizes.max(0)
    edge = 2.0 ** np.floor(np.log2(largest / 4))
    edge = np.where(largest / 4 >= 1.5 * edge, 1.5 * edge, edge)
    wanted = (sizes >= edge).mean(0)
    assert neurons.density(1) == pytest.approx(wanted, abs=0.12)  # every fourth token: 140 of them
    assert abs(float((neurons.density(1) - wanted).mean())) < 0.02


def test_features_that_do_the_same_are_near(tmp_path: Path) -> None:
    index = made(tmp_path, "llama", "relu")
    values = {layer: alone("llama", "relu", corpus(), layer)[0] for layer in range(3)}
    found = 0
    for layer in range(3):
        for feature in range(30):
            for near in index.page(layer, feature).near:
                one, other = values[layer][:, feature], values[near.layer][:, near.feature]
                cosine = float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
                assert (near.layer, near.feature) != (layer, feature)
                assert near.likeness == pytest.approx(cosine, abs=0.4)  # estimated with 64 random signs
                found += 1
    assert found > 20


def test_stopped_and_taken_up_it_is_the_same_to_the_byte(tmp_path: Path) -> None:
    """Killed after some batches, and again, and once while it was written: nothing is counted twice."""
    whole, pieces, work = tmp_path / "whole", tmp_path / "pieces", tmp_path / "work"
    for folder in (whole, pieces, work):
        folder.mkdir()
    made(whole, "gemma2", "neurons").close()
    for stop_at in (2, 5):
        cancel = threading.Event()
        seen = 0

        def progress(stage: str, fraction: float, cancel: threading.Event = cancel, last: int = stop_at) -> None:
            nonlocal seen
            seen += stage.startswith("Indexing:")
            if seen > last:
                cancel.set()

        with pytest.raises(Cancelled):
            made(pieces, "gemma2", "neurons", work=work, save_seconds=0.0, progress=progress, cancel=cancel)
        assert not index_path(pieces).exists()
    stages: list[str] = []
    made(pieces, "gemma2", "neurons", work=work, progress=lambda stage, _: stages.append(stage)).close()
    begun = [stage for stage in stages if stage.startswith("Indexing:")]
    assert begun
    assert not begun[0].startswith("Indexing: 0 of")
    assert index_path(whole).read_bytes() == index_path(pieces).read_bytes()


def test_work_of_something_else_is_not_taken_up(tmp_path: Path) -> None:
    made(tmp_path, work=tmp_path).close()
    with pytest.raises(RequestError, match="half an index of another text, dictionary or other settings"):
        made(tmp_path, text=corpus(1), work=tmp_path)
    with pytest.raises(RequestError, match="half an index of another"):
        made(tmp_path, settings=replace(SETTINGS, seed=1), work=tmp_path)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:5000])
    with pytest.raises(RequestError, match="damaged; remove that folder"):
        made(tmp_path, work=tmp_path)


def test_a_changed_model_or_dictionary_is_told(tmp_path: Path) -> None:
    index = made(tmp_path)
    index.require("tiny", "neurons:tiny")
    with pytest.raises(RequestError, match="made with another model, llama"):
        index.require("other", "neurons:other")
    with pytest.raises(RequestError, match="another dictionary, or neurons has changed since"):
        index.require("tiny", "sha of a dictionary")


def test_text_of_another_tokenizer_and_no_text_are_refused(tmp_path: Path) -> None:
    wrong = Corpus(np.array([5, 41, 6], dtype=np.uint32), np.array([0, 3], dtype=np.int64), "other")
    with pytest.raises(RequestError, match="another tokenizer: it holds token 41 and llama has 40"):
        made(tmp_path, text=wrong)
    short = Corpus(np.array([5, 6], dtype=np.uint32), np.array([0, 1, 2], dtype=np.int64), "short")
    with pytest.raises(RequestError, match="too short: no part of it has three tokens"):
        made(tmp_path, text=short)
    with pytest.raises(RequestError, match="no layer 7; the layers of llama are 0 to 2"):
        made(tmp_path, settings=replace(SETTINGS, layers=(7,)))
    with pytest.raises(RequestError, match="no features in these layers"):
        made(tmp_path, kind="one-layer", settings=replace(SETTINGS, layers=(0, 2)))


def test_some_layers_and_layers_without_features(tmp_path: Path) -> None:
    index = made(tmp_path, settings=replace(SETTINGS, layers=(2, 0)))
    assert index.page(2, 3).layer == 2
    with pytest.raises(RequestError, match="holds nothing of layer 1"):
        index.page(1, 0)
    with pytest.raises(RequestError, match="no feature 20"):
        index.page(2, 20)
    assert np.isnan(index.densities([1, 0], [0, 99])).all()
    index.close()
    assert made(tmp_path, kind="one-layer").head.layers == (1,)


def test_too_little_memory_and_a_full_disk_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.evidence import indexing

    with monkeypatch.context() as patch:
        patch.setattr(indexing, "available_bytes", lambda device: 1000)
        with pytest.raises(MachineError, match=r"60 features needs .* [GM]B of memory .* --layers"):
            made(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.whole_files.os.fsync", full)
    with pytest.raises(MachineError, match=r"disk is full: made\.features was not written"):
        made(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(MachineError, match=r"disk is full: state\.safetensors was not written"):
        made(tmp_path, work=work, save_seconds=0.0)
    assert not index_path(tmp_path).exists()


def test_likeness_of_nodes_is_what_pages_say(tmp_path: Path) -> None:
    index = made(tmp_path, "llama", "neurons")
    near = next(page.near[0] for i in range(20) if (page := index.page(1, i)).near)
    own = next(i for i in range(20) if index.page(1, i).near)
    layer, feature = [1, near.layer, 1, 1], [own, near.feature, own, 10**6]
    found = likeness_of(index.file.path, layer, feature, [1.0, 2.0, 3.0, 1.0], silent, threading.Event())
    assert found[0, 1] == found[1, 0] == pytest.approx(near.likeness)
    assert found[0, 2] == 1.0
    assert np.isnan(found[3, :3]).all()
    other_side = likeness_of(index.file.path, layer, feature, [1.0, -2.0, 3.0, 1.0], silent, threading.Event())
    assert np.isnan(other_side[0, 1])
    assert other_side[0, 2] == 1.0
