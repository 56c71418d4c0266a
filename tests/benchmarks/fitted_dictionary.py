"""Transcoders for the benchmark: random JumpReLU encoders whose decoders are fitted to the MLPs of a real model.

Random directions are no features anyone would read, but they cost what real ones cost: so many active at a token, and
an FVU below 1, which both programs' loaders take. Written once, in circuit-tracer's layout, so that both read one file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.models.prompt import Prompt
from engine.models.recording import Recording, record

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

WIDTH, ACTIVE = 4096, 48
CHUNK = 250
RIDGE = 3.0


def write(model: LanguageModel, fit_text: str, prompt_text: str, folder: Path) -> list[float]:
    """Write a set for `model` into `folder`; returns each layer's FVU on the prompts.

    Decoders are fitted on both texts, from the prompts' own mean; thresholds are set so that on the prompts `ACTIVE`
    features are active a token, on average.
    """
    prompts = _recordings(model, prompt_text)
    fit = _recordings(model, fit_text) + prompts
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    unexplained = [_write_layer(layer, fit, prompts, folder, generator) for layer in range(model.weights.n_layers)]
    # Last: a folder with it is whole.
    (folder / "config.yaml").write_text(
        "model_name: benchmark\nmodel_kind: transcoder_set\n"
        "feature_input_hook: mlp.hook_in\nfeature_output_hook: hook_mlp_out\n"
    )
    return unexplained


def _recordings(model: LanguageModel, text: str) -> list[Recording]:
    ids = model.tokenizer.encode(Prompt(text, bos=False))
    chunks = [ids[start : start + CHUNK] for start in range(0, max(len(ids) - CHUNK, 0) + 1, CHUNK)]
    return [record(model.weights, (model.tokenizer.bos_id or 0, *chunk), first_position=1) for chunk in chunks]


def _inputs(recordings: list[Recording], layer: int) -> tuple[Tensor, Tensor]:
    """(N, d) what the MLP reads and writes at all positions but the first."""
    records = [recording.layers[layer] for recording in recordings]
    return torch.cat([one.mlp_input[1:] for one in records]), torch.cat([one.mlp_output[1:] for one in records])


def _write_layer(
    layer: int, fit: list[Recording], prompts: list[Recording], folder: Path, generator: torch.Generator
) -> float:
    x, y = _inputs(fit, layer)
    inputs, outputs = _inputs(prompts, layer)
    encoder = torch.randn(WIDTH, x.shape[1], generator=generator)
    encoder = encoder / encoder.norm(dim=-1, keepdim=True) / x.pow(2).mean().sqrt()
    on_prompts = inputs @ encoder.T
    # Between two values that occur: on one of them, rounding would decide which program finds the feature active.
    threshold = on_prompts.quantile(1 - ACTIVE / WIDTH, dim=0, interpolation="midpoint").clamp_min(1e-3)
    pre, mean = x @ encoder.T, outputs.mean(0)
    active = torch.where(pre > threshold, pre, 0)
    # Ridge in the space of tokens: there are fewer of them than features.
    gram = active @ active.T
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    decoder = active.T @ torch.linalg.solve(gram, y - mean)
    save_file(
        {
            "W_enc": encoder.contiguous(),
            "b_enc": torch.zeros(WIDTH),
            "W_dec": decoder.contiguous(),
            "b_dec": mean.contiguous(),
            "activation_function.threshold": threshold.contiguous(),
        },
        folder / f"layer_{layer}.safetensors",
    )
    guess = torch.where(on_prompts > threshold, on_prompts, 0) @ decoder + mean
    return float((outputs - guess).pow(2).sum() / (outputs - outputs.mean(0)).pow(2).sum())
