"""Small random transcoders in circuit-tracer's layout, from numbered draws: the same files on every machine.

Used by both sides: by `make_references.py` inside circuit-tracer's own environment and by the tests here. It knows
neither program.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Case:
    """A model, and a set of transcoders for it."""

    name: str
    family: str
    kind: str  # transcoder_set or cross_layer_transcoder
    reads: str
    writes: str
    threshold: bool = False
    skip: bool = False
    n_layers: int = 4
    d_model: int = 32
    n_features: int = 40


def write_dictionary(case: Case, folder: Path) -> None:
    """The case's transcoders as files in circuit-tracer's layout."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, case.name)))
    n, d = case.n_features, case.d_model

    def draw(*shape: int, scale: float = 0.3) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    for layer in range(case.n_layers):
        tail = f"_{layer}" if case.kind == "cross_layer_transcoder" else ""
        encoder = {f"W_enc{tail}": draw(n, d), f"b_enc{tail}": draw(n) - 1.0, f"b_dec{tail}": draw(d)}
        if case.threshold:
            name = f"threshold{tail}" if tail else "activation_function.threshold"
            encoder[name] = np.abs(draw(n))
        if case.skip:
            encoder["W_skip"] = draw(d, d, scale=0.1)
        if tail:
            save_file(encoder, folder / f"W_enc{tail}.safetensors")
            save_file({f"W_dec{tail}": draw(n, case.n_layers - layer, d)}, folder / f"W_dec{tail}.safetensors")
        else:
            save_file({**encoder, "W_dec": draw(n, d)}, folder / f"layer_{layer}.safetensors")
    lines = {
        "model_name": case.family,
        "model_kind": case.kind,
        "feature_input_hook": case.reads,
        "feature_output_hook": case.writes,
    }
    (folder / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
