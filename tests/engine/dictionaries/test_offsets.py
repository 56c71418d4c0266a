"""Oracle for features that write (a + offset) W_dec: edges equal autograd's, and what is left over is the error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import branch_output, to_residual
from engine.models.recording import record
from engine.tracing.run import sweep_prompt
from engine.tracing.spec import Prompt, Target, TraceSpec
from tests.engine.dictionaries.layout import Layout
from tests.engine.dictionaries.layouts import LAYOUTS
from tests.engine.dictionaries.test_layouts import inputs, read, recorded
from tests.engine.tracing.autograd_reference import linearised_run
from tests.engine.tracing.test_edges_autograd import read_input
from tests.engine.tracing.tiny_models import features_of, tiny_model

PROMPT = [0, 5, 9, 3, 17]


@pytest.mark.parametrize("family", ["llama", "gemma2", "neox"])
@pytest.mark.parametrize("kind", ["relu", "cross-layer"])
@pytest.mark.parametrize("writes", ["mlp_output", "branch_output"])
def test_edges_with_an_offset_equal_autograd(family: str, kind: str, writes: str) -> None:
    model, plain = tiny_model(family), features_of(family, kind)
    assert isinstance(plain, TranscoderFeatures)
    generator = torch.Generator().manual_seed(3)
    transcoders = [
        replace(
            one,
            writes=writes,  # type: ignore[arg-type]
            offset=torch.randn(one.layers_written, one.width, generator=generator, dtype=torch.float64),
        )
        for one in plain.transcoders
        if one is not None
    ]
    features = TranscoderFeatures("offset", "offset", transcoders, plain.gains)
    recording = record(model.weights, PROMPT, first_position=1)
    spec = TraceSpec(Prompt(token_ids=tuple(PROMPT)), Target(top_logits=3), max_nodes=60)
    trace = sweep_prompt(model, features, spec, recording)[0]  # type: ignore[arg-type]
    reference = linearised_run(model, PROMPT)

    def written(source: int, at: int, position: Tensor, feature: Tensor) -> Tensor:
        """(S, d) by the definition: an active value, plus its offset, times its decoder."""
        one = transcoders[source]
        x = read_input(reference, model, source, one.reads).detach()
        value = (x @ one.w_enc.T + one.b_enc)[position, feature]  # type: ignore[union-attr]
        decoder = one.w_dec if one.w_dec.ndim == 2 else one.w_dec[:, at - source]  # type: ignore[union-attr]
        assert one.offset is not None
        assert isinstance(decoder, Tensor)
        return (value + one.offset[at - source, feature])[:, None] * decoder[feature]

    compared = 0
    for layer, block in trace.table.layers.items():
        here = trace.layers[layer]
        for number, row in list(zip(block.numbers.tolist(), block.rows.kept, strict=True))[:12]:
            one, position, feature = transcoders[layer], int(here.position[number]), int(here.feature[number])
            assert isinstance(one.w_enc, Tensor)
            x = read_input(reference, model, layer, one.reads)[position]
            slopes = reference.gradients(one.w_enc[feature] @ x)
            slope = slopes["before_post" if writes == "mlp_output" else "after_mlp"]
            for source in range(layer):
                columns = trace.columns.feature_columns(source)
                picked, from_ = trace.columns.picked[source], trace.layers[source]
                at_position, of_feature = from_.position[picked], from_.feature[picked]
                expected = torch.zeros(len(picked), dtype=torch.float64)
                for at in range(source, source + transcoders[source].layers_written):
                    vectors = written(source, at, at_position, of_feature)
                    expected += (slope[at][at_position] * vectors).sum(-1)
                assert torch.allclose(row[columns], expected, rtol=1e-9, atol=1e-11)
                compared += len(picked)
        scale = torch.maximum(block.value.abs(), 1e-3 * block.rows.absolute)
        assert ((block.rows.signed - block.value).abs() / scale).max() < 1e-9
    assert compared > 100


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_what_the_tracer_leaves_unexplained_is_what_the_library_does(layout: Layout, tmp_path: Path) -> None:
    written = layout.write(tmp_path)
    features, recording = read(layout, written.path), recorded(layout)
    _, outputs = written.forward(inputs(features, recording, layout.reads))
    for layer, here in enumerate(features.read(recording)):
        one = recording.layers[layer]
        if layout.writes == "mlp_output":
            expected = to_residual(one.mlp_output - outputs[layer], one, "mlp_output")
        else:
            expected = branch_output(one) - outputs[layer]
        assert here.error is not None
        assert torch.allclose(here.error[1:], expected[1:], rtol=1e-9, atol=1e-10)
