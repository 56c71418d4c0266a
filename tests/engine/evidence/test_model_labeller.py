"""A local model as a labeller: what it is shown, how its answers are read, and labels for several features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from engine.evidence import ModelLabeller, label_features
from engine.evidence.model_labeller import marked, plain_words
from engine.evidence.pages import Example, FeaturePage, Label, Side
from engine.models.language_model import LanguageModel
from engine.models.prompt import Prompt

TEXTS = ("The capital of Texas is", "The capital of France is", "The capital of Spain is")


def example(text: str, peak: int) -> Example:
    tokens = tuple(word if at == 0 else f" {word}" for at, word in enumerate(text.split()))
    return Example("Strongest", tokens, (0.0,) * len(tokens), peak, 1.0)


def test_a_text_is_one_line_with_its_peak_marked() -> None:
    assert marked(example("It is the capital of Texas today", 5)) == "It is the capital of <<Texas>> today"
    assert marked(Example("", ("a", "\n", "b"), (0.0,) * 3, 1, 1.0)) == r"a <<\n>>b"
    long = marked(example(" ".join(f"w{n}" for n in range(60)), 40))
    assert long.startswith("w24 ") and long.endswith(" w45")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('"Names of cities."', "Names of cities"),
        ("\n\n- capitals of states\nThey all name one.", "capitals of states"),
        ("one two three four five six seven eight nine", "one two three four five six seven eight"),
        (" \n.", None),
    ],
)
def test_an_answer_becomes_a_labels_words(said: str, words: str | None) -> None:
    assert plain_words(said) == words


def test_the_model_is_shown_the_texts_and_its_words_are_its_own(smollm: LanguageModel) -> None:
    asked: list[str] = []

    class Listening(LanguageModel):
        def generate(self, ids: Sequence[int], *rest: Any, **more: Any) -> Any:
            asked.append(self.tokenizer.join(ids))
            return super().generate(ids, *rest, **more)

    model = Listening(smollm.weights, smollm.tokenizer, name="m", source="m", fingerprint="m")
    said = ModelLabeller(model).label([example(text, 3) for text in TEXTS])
    assert "<|im_start|>user" in asked[0] and asked[0].rstrip().endswith("<|im_start|>assistant")
    for number, country in enumerate(("Texas", "France", "Spain"), start=1):
        assert f"{number}. The capital of <<{country}>> is" in asked[0]
    assert said and len(said.split()) <= 8
    answer = smollm.generate(smollm.tokenizer.encode(Prompt(asked[0], bos=False)), 24)
    assert said == plain_words("".join(one.text for one in answer).replace("<|im_end|>", ""))


def test_yes_is_what_is_likelier_than_no(smollm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    labeller, likely = ModelLabeller(smollm), "Yes"

    def logits(*_: Any, **__: Any) -> Any:
        found = np.zeros(smollm.tokenizer.vocab_size, dtype=np.float32)
        found[smollm.tokenizer.single_token(likely)] = 5.0
        return found

    monkeypatch.setattr("engine.evidence.model_labeller.last_logits", logits)
    assert labeller.holds("capitals", example(TEXTS[0], 3))
    likely = " No"
    assert not labeller.holds("capitals", example(TEXTS[0], 3))


class ReadsPeaks:
    """Says the token at the peak of the first text, and holds that for every text with it."""

    def label(self, examples: Sequence[Example]) -> str | None:
        return examples[0].tokens[examples[0].peak].strip()

    def holds(self, words: str, example: Example) -> bool:
        return example.tokens[example.peak].strip() == words


def page(feature: int, words: Sequence[str]) -> FeaturePage:
    examples = tuple(example(f"a {word} b", 1) for word in words)
    return FeaturePage(3, feature, (Side(1.0, (), (), examples),), None, "")


def test_features_are_labelled_against_each_others_texts() -> None:
    pages = {10 + n: (page(n, [f"w{n}"] * 6), 1.0) for n in range(8)}
    pages[30] = (page(20, ["x", "y"] * 3), 1.0)  # what is said of one half does not hold for the other
    found = label_features(ReadsPeaks(), pages, [10, 13, 30])
    assert found == {10: Label("w0", "model", 1.0, 0.5), 13: Label("w3", "model", 1.0, 0.5)}
