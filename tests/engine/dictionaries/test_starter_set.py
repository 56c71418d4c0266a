"""The transcoders that ship: they open by their id, fit the starter as their card says, and their graphs conserve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.shelf import is_here, shelf_rows
from engine.cli import main
from engine.dictionaries import load_features
from engine.dictionaries.fidelity import Reconstructions, built_in_recording
from engine.dictionaries.starter_sets import STARTER_SETS, find_starter_set
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.evidence.identity import identity_of
from engine.evidence.index_places import find_index, shipped_folder
from engine.models.language_model import LanguageModel
from engine.models.starters import find_starter
from engine.tracing.run import trace
from engine.tracing.spec import Prompt, TraceSpec
from engine.training.card import beats_neurons, card_text, costly_layers, losing_layers

LARGEST = 42_000_000


def card() -> str:
    return (STARTER_SETS[0].path / "README.md").read_text(encoding="utf-8")


def test_the_card_keeps_what_is_promised() -> None:
    """Its layers beat as many neurons on the whole, those that do not are named, and the files stay small."""
    starter = find_starter_set("smollm2-135m-TRANSCODERS")
    assert starter is not None
    assert find_starter(starter.model) is not None
    about = json.loads((starter.path / "metrics.json").read_text(encoding="utf-8"))
    layers = about["layers"]
    assert len(layers) == 30
    for key in ("fvu", "ce_recovered"):
        ours, theirs = (sum(values) / 30 for values in ([x[key] for x in layers], [x["neurons"][key] for x in layers]))
        assert ours < theirs if key == "fvu" else ours > theirs
    assert about["together"]["transcoders"] > max(about["together"]["neurons"], about["together"]["linear"])
    assert beats_neurons(about)
    # Everything it says stands in metrics.json, and nothing was changed by hand.
    assert card() == card_text(about)
    for some in (losing_layers(about), costly_layers(about)):
        assert some and f": {', '.join(map(str, some))}." in card()
    assert about["graphs_in"] == "float32" and max(one["conservation_error"] for one in about["prompts"]) < 1e-4
    assert starter.size_bytes <= LARGEST


def test_it_opens_by_its_id_and_a_graph_conserves(smollm: LanguageModel) -> None:
    features = load_features("SmolLM2-135M-transcoders", smollm)
    assert isinstance(features, TranscoderFeatures)
    about = json.loads((STARTER_SETS[0].path / "metrics.json").read_text(encoding="utf-8"))
    made = Reconstructions(features, built_in_recording(smollm))
    # Other text, so not the card's number; within a factor of it.
    for layer in (5, 15, 25):
        assert made.unexplained(layer) < 1.6 * about["layers"][layer]["fvu"]
    result = trace(smollm, features, TraceSpec(Prompt("The capital of Texas is"), max_nodes=200))
    assert result.report["top_tokens"][0]["token"] == " Austin"
    assert result.report["conservation_error"] < 1e-4
    assert result.report["replacement"] > 0.15  # with so few nodes; the card's are of graphs with more


def test_it_is_listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert is_here("SmolLM2-135M-transcoders")
    row = next(row for row in shelf_rows([], [], []) if row.source == "SmolLM2-135M-transcoders")
    assert row.usable and row.what == "dictionary" and row.model == "SmolLM2-135M-Instruct"
    # The page says how good it is, in the card's own figures, and where the card lies.
    mean = next(line for line in card().splitlines() if line.startswith("| mean"))
    ours, linear, neurons = (f"{100 * float(cell):.0f} %" for cell in mean.split("|")[4:7])
    said = "\n".join(row.about)
    assert f"leaves over {ours} of" in said
    assert f"its own neurons {neurons}, a linear map {linear}), in 6 layers more than the neurons" in said
    assert "replacement score of 0.31 to 0.41" in said and "README.md" in said
    report = tmp_path / "report.json"
    assert main(["models", "--report", str(report)]) == 0
    assert "SmolLM2-135M-transcoders\n" in capsys.readouterr().out
    assert "SmolLM2-135M-transcoders" in json.loads(report.read_text(encoding="utf-8"))["dictionaries"]


def test_its_index_ships_and_says_what_its_features_are_active_at(smollm: LanguageModel) -> None:
    features = load_features("SmolLM2-135M-transcoders", smollm)
    index = find_index(identity_of(smollm, features), smollm.fingerprint)
    assert index is not None and index.file.path.parent == shipped_folder()
    assert set(index.head.widths) == {800}
    labels = [index.label(layer, number) for layer in (3, 15, 27) for number in range(0, 800, 10)]
    assert sum(label is not None for label in labels) > 0.4 * len(labels)
    index.close()
