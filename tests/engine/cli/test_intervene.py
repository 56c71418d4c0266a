"""`circuit-loupe intervene`: what it reports is what hooks in transformers' own model give; what it refuses early."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.cli import main
from engine.errors import RequestError
from engine.interventions import Change, Settings
from engine.interventions.run import require_runnable
from engine.models.recording import record
from tests.engine.cli.test_cli import PROMPT, refusal
from tests.engine.tracing.tiny_models import features_of, tiny_model

IDS = [1, 504, 3575, 282, 5778, 314]  # the same with the model's BOS


def neurons_set(hf: Any, values: dict[tuple[int, int, int], float], ids: list[int]) -> torch.Tensor:
    """(V,) logits of transformers' model with neurons' values replaced before the down projection."""

    def hook(layer: int) -> Any:
        def change(module: Any, args: Any) -> Any:
            x = args[0].clone()
            for (at, position, neuron), multiple in values.items():
                if at == layer:
                    x[0, position, neuron] *= multiple
            return (x,)

        return change

    handles = [
        block.mlp.down_proj.register_forward_pre_hook(hook(layer)) for layer, block in enumerate(hf.model.layers)
    ]
    try:
        with torch.no_grad():
            logits: torch.Tensor = hf(torch.tensor([ids])).logits[0, -1]
    finally:
        for handle in handles:
            handle.remove()
    return logits


def test_the_report_is_what_hooks_in_transformers_give(
    smollm_hf: Any, smollm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two neurons at one layer: their values there are the recorded ones whatever the other becomes."""
    file = tmp_path / "r.json"
    asked = ["--set", "L12/P4/F700=-60x", "--set", "L12/P4/F12=0x", "--target", " Austin", "--generate", "3"]
    more = ["--mode", "iterative", "--attention", "live", "--watch", "L20/P5/F8", "--watch", "L3/P5/F8"]
    assert main(["intervene", PROMPT, *asked, *more, "--top", "3", "--report", str(file)]) == 0
    whole = json.loads(file.read_text(encoding="utf-8"))
    report = whole["experiment"]
    before = neurons_set(smollm_hf, {}, IDS)
    after = neurons_set(smollm_hf, {(12, 4, 700): -60.0, (12, 4, 12): 0.0}, IDS)
    austin = smollm.tokenizer.single_token(" Austin")
    for name, logits in (("recorded", before), ("changed", after)):
        assert report[name] == pytest.approx(float(logits[austin] - logits.mean()), abs=2e-3)
    for token in report["tokens"]:
        outcome = token["outcome"]
        assert outcome["probability"] == pytest.approx(float(after.softmax(-1)[outcome["token"]]), abs=1e-4)
        assert outcome["rank"] == int((after > after[outcome["token"]]).sum())
    divergence = float((before.softmax(-1) * (before.log_softmax(-1) - after.log_softmax(-1))).sum())
    assert report["kl"] == pytest.approx(divergence, abs=1e-4)
    assert abs(report["changed"] - report["recorded"]) > 0.01
    changed = whole["text"]["pairs"][0]["changed"]["ids"]
    assert changed[0] == int(after.argmax())
    shown = capsys.readouterr().out
    assert "L20/P5/F8 " in shown
    assert "L3/P5/F8 is not active or lies before the changes" in shown
    assert shown.count(" -> ") == 1 + 3 * 3


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--set", "L4/P4/F1536=2x"], "features 0 to 1535"),
        (["--set", "L4/P4/E=0x"], "neurons leave nothing"),
        (["--set", "L4/P4/F7=2x", "--set", "L4/P4-/F7=0x"], "twice"),
        (["--set", "L4/P4/F7=2x", "--mode", "iterative", "--layers", "3-5"], "belongs to the mode constrained"),
        (["--set", "L4/P4/F7=2x", "--layers", "8-9"], "writes outside the layers 8-9"),
        (["--set", "L4/P4/F7=2x", "--watch", "L50/P4/F7"], "layers go from 0 to 29"),
    ],
)
def test_refusals_are_one_sentence(
    asked: list[str], words: str, smollm: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.models.load_model", lambda *args, **settings: smollm)
    assert main(["intervene", PROMPT, *asked]) == 2
    assert words in refusal(capsys)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--set", "L4/P4=2x"], "is no change"),
        (["--set", "L4/P4/F7=2x", "--seeds", "1.5"], "whole numbers"),
        (["--set", "L4/P4/F7=2x", "--seeds", "1"], "--generate"),
        (["--set", "L4/P4/F7=2x", "--watch", "L4/P4-5/F7"], "one position"),
        (["--set", "L4/P4/F7=2x", "--watch", "P4/T"], "one position"),
        (["--set", "L4/P4/F7=2x", "--report", "/nowhere/at/all.json"], "no folder"),
        ([], "--set"),
    ],
)
def test_what_is_written_wrong_is_refused_before_a_model_is_loaded(
    asked: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr("engine.models.load_model", lambda *args, **settings: loaded.append(args))
    assert main(["intervene", PROMPT, *asked]) == 2
    assert words in refusal(capsys)
    assert not loaded


def test_a_multiple_of_an_inactive_feature_is_refused() -> None:
    """Neurons are always active; a transcoder's feature mostly is not, and ten times nothing is nothing."""
    model, features = tiny_model("llama"), features_of("llama", "relu")
    recording = record(model.weights, (0, 5, 9), first_position=1)
    layer = features.read(recording)[1]
    active = {int(one) for one, at in zip(layer.feature, layer.position, strict=True) if int(at) == 2}
    inactive = next(one for one in range(30) if one not in active)
    settings = Settings("iterative")
    require_runnable(model, recording, features, [Change("feature", 1, 2, min(active), "scale", 2.0)], settings)  # type: ignore[arg-type]
    require_runnable(model, recording, features, [Change("feature", 1, 2, inactive, "ablate")], settings)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="not active"):
        require_runnable(model, recording, features, [Change("feature", 1, 2, inactive, "scale", 2.0)], settings)  # type: ignore[arg-type]
