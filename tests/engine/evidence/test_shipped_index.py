"""The index that ships: it is of the starter's neurons, says what the model does, and most of a graph has a label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.dictionaries import load_features
from engine.evidence.activations import ActivationReader
from engine.evidence.feature_index import FeatureIndex
from engine.evidence.index_places import find_index, shipped_folder
from engine.models.forward import embed, run_block
from engine.models.language_model import LanguageModel

CAPITALS = (24, 1005)  # active, below zero, behind "The capital of Georgia is" and the like


@pytest.fixture(scope="module")
def shipped(smollm: LanguageModel) -> FeatureIndex:
    found = find_index(f"neurons:{smollm.fingerprint}", smollm.fingerprint)
    assert found is not None
    return found


def test_it_covers_every_neuron_and_its_licences_are_named(shipped: FeatureIndex, smollm: LanguageModel) -> None:
    assert shipped.file.path.parent == shipped_folder()
    assert shipped.head.layers == tuple(range(30))
    assert set(shipped.head.widths) == {1536}
    assert shipped.head.tokens_seen > 200_000
    assert shipped.head.model_name == smollm.name
    third = (Path(__file__).parents[3] / "THIRD_PARTY.md").read_text(encoding="utf-8")
    assert "The indexes that ship also hold text that SmolLM2-135M-Instruct wrote" in third
    assert "the text that ships" in shipped.head.corpus and "wrote (seed 0)" in shipped.head.corpus


def test_an_examples_activations_are_the_models_own(shipped: FeatureIndex, smollm: LanguageModel) -> None:
    """The context of the strongest example is run again, in float32 where the index was made in bfloat16."""
    layer, feature = CAPITALS
    page = shipped.page(layer, feature)
    example = page.sides[1].examples[0]
    documents, context = shipped.file.documents, shipped.head.settings["context"]
    row = int(np.searchsorted(documents, example.place, side="right")) - 1
    start = int(documents[row]) + (example.place - int(documents[row])) // context * context
    bos = smollm.tokenizer.bos_id
    assert bos is not None
    ids = [bos, *shipped.file.tokens(start, example.place + 1).tolist()]
    with torch.no_grad():
        x = embed(smollm.weights, torch.tensor([ids]))
        for number in range(layer):
            x = run_block(smollm.weights.layers[number], x).post
        values = run_block(smollm.weights.layers[layer], x)
    reader = ActivationReader(load_features(None, smollm), smollm.weights)
    own = torch.cat([one for _, one in reader.read(layer, values)])[0, :, feature]
    assert float(own[-1]) == pytest.approx(-example.value, rel=0.08)
    assert example.value == page.sides[1].maximum


def test_what_a_neuron_of_capitals_shows(shipped: FeatureIndex) -> None:
    side = shipped.page(*CAPITALS).sides[1]
    assert side.label is not None
    assert (side.label.rule, side.label.text) == ("context", "about “capital”")
    assert side.label.score > 0.8 > 0.6 > side.label.control
    assert sum("capital" in "".join(one.tokens[: one.peak + 1]).lower() for one in side.examples) >= 3


def test_about_half_of_all_sides_have_a_scored_label(shipped: FeatureIndex) -> None:
    labels = [
        side.label
        for layer in (0, 10, 20, 29)
        for number in range(0, 1536, 8)
        for side in shipped.page(layer, number).sides
    ]
    held = [label for label in labels if label is not None]
    assert len(held) > 0.35 * len(labels)
    assert all(label.score >= 0.7 and label.score - label.control >= 0.149 for label in held)
    # Tokens in a label that are a blank or a line's end are seen as what they are.
    assert any("␣" in label.text for label in held) and any("⏎" in label.text for label in held)
    assert not any("“ ”" in label.text or "\n" in label.text for label in held)
