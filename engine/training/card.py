"""A trained set's card: README.md for people, metrics.json for programs, both beside the weights.

What it says is measured on the stored files as they are opened, on text that was held out: by layer FVU, L0, dead share
and CE recovered, each beside the two rivals; and the replacement score of graphs of some prompts.
"""

from __future__ import annotations

import json
import platform
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engine.dictionaries import load_features
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.progress import Progress, part
from engine.tracing.run import trace
from engine.tracing.spec import Prompt, TraceSpec
from engine.training.activations import ActivationBuffer
from engine.training.measuring import Baseline, Measured, unexplained
from engine.training.rivals import fit_rivals, recovered_by_layer, recovered_together, writer_of
from engine.training.settings import TrainSettings
from engine.training.splicing import SetWriter, Writer
from engine.whole_files import written_whole

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

CARD_NAME, METRICS_NAME = "README.md", "metrics.json"
# Pieces that each layer is replaced alone on: about a thousand tokens.
_LAYER_PIECES = 8
# Lindsey et al., "The Circuits Research Landscape" (2025): GPT-2, per-layer TopK transcoders with a skip, 131,072
# features a layer, 100 M tokens: active a token over the layers' mean -> replacement score.
GPT2_FIGURES = ((91, 0.659), (182, 0.709))


@dataclass(frozen=True)
class Material:
    """What a set is judged by: recorded positions it was trained on and held-out ones, and cross-entropies."""

    recorded: ActivationBuffer
    held_out: ActivationBuffer
    base: Baseline


def measure_set(
    folder: Path,
    model: LanguageModel,
    material: Material,
    prompts: Sequence[str],
    progress: Progress,
    cancel: threading.Event | None,
) -> dict[str, Any]:
    """Everything the card says about quality, of a set as its files are opened."""
    features = load_features(folder, model, trust=True, progress=part(progress, 0.0, 0.05), cancel=cancel)
    assert isinstance(features, TranscoderFeatures)
    transcoders = [one for one in features.transcoders if one is not None]
    weights = model.weights
    with torch.no_grad():
        fvus, l0 = unexplained(transcoders, material.held_out, cancel)
    rivals = fit_rivals(weights, material.recorded, material.held_out, l0, part(progress, 0.05, 0.2), cancel)
    writers: dict[str, Writer] = {
        "transcoders": SetWriter(transcoders),
        "linear": writer_of(rivals.linear),
        "neurons": writer_of(rivals.neurons),
    }
    together = recovered_together(weights, material.base, writers, cancel)
    some = material.base.pieces.take(slice(0, _LAYER_PIECES))
    alone = recovered_by_layer(weights, some, writers, part(progress, 0.25, 0.8), cancel)
    layers = [
        {
            "layer": number,
            "fvu": fvus[number],
            "l0": l0[number],
            "ce_recovered": alone["transcoders"][number],
            "linear": {"fvu": rivals.linear_fvu[number], "ce_recovered": alone["linear"][number]},
            "neurons": {
                "k": rivals.neurons[number].k,
                "fvu": rivals.neurons_fvu[number],
                "ce_recovered": alone["neurons"][number],
            },
        }
        for number in range(weights.n_layers)
    ]
    graphs = []
    for number, text in enumerate(prompts):
        result = trace(model, features, TraceSpec(Prompt(text)), part(progress, 0.8 + 0.2 * number / len(prompts), 1.0))
        graphs.append(
            {"prompt": text}
            | {key: result.report[key] for key in ("replacement", "completeness", "conservation_error")}
        )
    dtype = str(model.dtype).removeprefix("torch.")
    return {"layers": layers, "together": together, "prompts": graphs, "graphs_in": dtype}


def losing_layers(measures: dict[str, Any]) -> list[int]:
    """Layers whose FVU is not below that of as many of the MLP's own neurons."""
    return [one["layer"] for one in measures["layers"] if one["fvu"] >= one["neurons"]["fvu"]]


def costly_layers(measures: dict[str, Any]) -> list[int]:
    """Layers whose CE recovered, replaced alone, is not above that of as many of the MLP's own neurons."""
    return [one["layer"] for one in measures["layers"] if one["ce_recovered"] <= one["neurons"]["ce_recovered"]]


def beats_neurons(measures: dict[str, Any]) -> bool:
    """Whether a set is worth more than as many neurons: mean FVU, mean CE recovered, and CE recovered together."""
    layers, together = _mean(measures["layers"]), measures["together"]
    return bool(
        layers["fvu"] < layers["neurons"]["fvu"]
        and layers["ce_recovered"] > layers["neurons"]["ce_recovered"]
        and together["transcoders"] > together["neurons"]
    )


def write_card(
    folder: Path,
    model: LanguageModel,
    settings: TrainSettings,
    sources: dict[str, int],
    history: Sequence[Measured],
    measures: dict[str, Any],
) -> None:
    """Write both files; `MachineError` for a full disk."""
    for layer, dead in zip(measures["layers"], history[-1]["dead"], strict=True):
        layer["dead"] = dead
    about = {
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        "settings": asdict(settings),
        "text": sources,
        "positions": history[-1]["positions"],
        "steps": history[-1]["steps"],
        "seconds": history[-1]["seconds"],
        **measures,
        "history": list(history),
        "versions": {
            "circuit-loupe": metadata.version("circuit-loupe"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "device": str(model.device),
    }
    with written_whole(folder / METRICS_NAME) as file:
        file.write(json.dumps(about, indent=1).encode())
    with written_whole(folder / CARD_NAME) as file:
        file.write(card_text(about).encode())


def card_text(about: dict[str, Any]) -> str:
    """The card in Markdown, from what metrics.json holds."""
    settings, layers = about["settings"], about["layers"]
    kind = "Cross-layer transcoders" if settings["cross_layer"] else "Transcoders"
    small = settings["storage"] in ("int8", "int4")
    lines = [
        "---",
        f"base_model: {about['model']}",
        "tags: [transcoder, circuit-tracing]",
        "---",
        f"# {kind} for {about['model']}",
        "",
        f"{len(layers)} layers of {_width(settings)}, about {settings['k']} active a token, "
        f"{'with' if settings['skip'] else 'without'} an affine skip; trained as TopK, stored as JumpReLU in "
        f"{settings['storage']}. Layout of circuit-tracer"
        + ("; weights in whole numbers are read by Circuit Loupe alone." if small else "."),
        "",
        f"Trained on {about['positions']:,} tokens, each seen about {_seen(about):.1f} times, in {about['steps']:,} "
        f"steps of {settings['batch']:,}, {about['seconds'] / 60:,.1f} minutes on {about['device']}. The text: "
        + "; ".join(f"{name}, {count:,} tokens" for name, count in about["text"].items())
        + ". A twelfth or less of it was held out; everything below is measured there, on the stored files.",
        "",
        *(line for note in about.get("notes", ()) for line in (note, "")),
        "## Layer by layer",
        "",
        "FVU is the share of the MLP's variance that is left over; CE recovered is 1 where replacing this layer's MLP "
        "alone loses nothing and 0 where it is as bad as removing it. *linear*: a ridge-fitted affine map alone. "
        "*neurons*: as many of the MLP's own neurons as features are active, the strongest at each token, no training.",
        "",
        "| layer | L0 | dead | FVU | linear | neurons | CE recovered | linear | neurons |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(one) for one in layers),
        _mean_row(layers),
        "",
        "All MLPs replaced at once, CE recovered: "
        + ", ".join(f"{name} {value:.3f}" for name, value in about["together"].items())
        + ".",
        "",
        *_verdict(about),
    ]
    return "\n".join([*lines, *_graphs(about), "## Settings", "", *_settings(settings), ""])


def _verdict(about: dict[str, Any]) -> list[str]:
    """Where the set is better than as many neurons, where it is not, and what that comes to."""
    mean, together = _mean(about["layers"]), about["together"]
    losing, costly = (", ".join(map(str, some(about))) for some in (losing_layers, costly_layers))
    figures = (
        f"mean FVU {mean['fvu']:.3f} beside {mean['neurons']['fvu']:.3f}, mean CE recovered "
        f"{mean['ce_recovered']:.3f} beside {mean['neurons']['ce_recovered']:.3f}, and with all MLPs replaced at once "
        f"{together['transcoders']:.3f} beside {together['neurons']:.3f}"
    )
    beats = beats_neurons(about)
    verdict = f"On the whole it beats as many neurons: {figures}." if beats else (
        f"It does not beat as many neurons ({figures}): trace with neurons rather than with this set."
    )  # fmt: skip
    return [
        "## Against the neurons",
        "",
        verdict,
        "",
        f"Layers that leave as much or more over than the neurons: {losing}."
        if losing
        else "Every layer leaves less over than as many neurons do.",
        f"Layers that recover as little or less of the CE, replaced alone: {costly}."
        if costly
        else "Every layer recovers more of the CE, replaced alone, than as many neurons do.",
        "",
    ]


def _width(settings: dict[str, Any]) -> str:
    if settings["keep"] is None:
        return f"{settings['width']:,} features"
    kept, trained = settings["keep"], settings["width"]
    return f"{kept:,} features, of {trained:,} that were trained those that write most (dead: of all trained)"


def _seen(about: dict[str, Any]) -> float:
    """How often a position was trained on, by the steps that were made."""
    found: float = about["steps"] * about["settings"]["batch"] / max(about["positions"], 1)
    return found


def _row(one: dict[str, Any]) -> str:
    values = [one["fvu"], one["linear"]["fvu"], one["neurons"]["fvu"]]
    values += [one["ce_recovered"], one["linear"]["ce_recovered"], one["neurons"]["ce_recovered"]]
    return f"| {one['layer']} | {one['l0']:.1f} | {one['dead']:.1%} | " + " | ".join(f"{v:.3f}" for v in values) + " |"


def _mean_row(layers: Sequence[dict[str, Any]]) -> str:
    mean = _mean(layers)
    mean |= {key: sum(one[key] for one in layers) / len(layers) for key in ("l0", "dead")}
    return _row({"layer": "mean", **mean})


def _mean(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """FVU and CE recovered over layers, of the set and of its rivals."""

    def over(some: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {key: sum(one[key] for one in some) / len(layers) for key in ("fvu", "ce_recovered")}

    return over(layers) | {rival: over([one[rival] for one in layers]) for rival in ("linear", "neurons")}


def _graphs(about: dict[str, Any]) -> list[str]:
    prompts = about["prompts"]
    if not prompts:
        return []
    published = ", ".join(f"{score:.3f} at {l0} active" for l0, score in GPT2_FIGURES)
    return [
        "## Graphs",
        "",
        f"Traced in {about['graphs_in']}. Conservation: the largest share by which a row of a graph does not add up.",
        "",
        "| prompt | replacement | completeness | conservation |",
        "|---|---|---|---|",
        *(
            f"| {one['prompt']} | {one['replacement']:.3f} | {one['completeness']:.3f} "
            f"| {one['conservation_error']:.0e} |"
            for one in prompts
        ),
        "",
        f"Published for comparison: GPT-2 with 131,072 features a layer, TopK and skip, 100 M tokens, 260 prompts: "
        f"{published} a token and layer (The Circuits Research Landscape, 2025).",
        "",
    ]


def _settings(settings: dict[str, Any]) -> list[str]:
    return ["| setting | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in settings.items())]
