"""Rules find what was planted, score it as counting by hand does, and give no label where there is nothing to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.evidence.labellers import label_with
from engine.evidence.labels import (
    KINDS,
    NEAR_BEFORE,
    NEAR_START,
    LabelEvidence,
    Vocabulary,
    automatic_labels,
    kind_of,
    vocabulary_of,
)
from engine.evidence.pages import Example, FeaturePage, Side

WORDS = ["the", "of", "Texas", "Austin", "river", "bank", "king", "queen", *[f"word{chr(97 + i)}" for i in range(22)]]
WORDS = [word if word.isalpha() else "x" for word in WORDS]
PEAK = NEAR_BEFORE
COLUMNS, EXAMPLES = 40, 16


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    """Each word with and without a blank in front: the same form. "the" and "of" are half of the corpus."""
    texts = [*WORDS, *(f" {word}" for word in WORDS)]
    generator = np.random.default_rng(0)
    share = np.full(len(texts), 0.5 / (len(texts) - 4))
    share[[0, 1, 30, 31]] = 0.125
    return vocabulary_of(texts, generator.choice(len(texts), 60_000, p=share).astype(np.uint32))


def examples(vocabulary: Vocabulary, plant: Callable[[NDArray[np.int64]], None]) -> LabelEvidence:
    generator = np.random.default_rng(1)
    around = generator.choice(
        len(vocabulary.texts), (COLUMNS, EXAMPLES, NEAR_BEFORE + 2), p=vocabulary.share / vocabulary.share.sum()
    )
    plant(around)
    raised = generator.integers(0, len(vocabulary.texts), (COLUMNS, 10))
    kind = np.full((COLUMNS, EXAMPLES, 3), 0)
    offset = generator.integers(0, 120, (COLUMNS, EXAMPLES))
    return LabelEvidence(around, raised, kind, offset, NEAR_START / 120)


def number(vocabulary: Vocabulary, word: str) -> int:
    return vocabulary.texts.index(word)


def test_case_and_blanks_do_not_make_another_word(vocabulary: Vocabulary) -> None:
    assert vocabulary.form[2] == vocabulary.form[32] == number(vocabulary, "texas")
    assert vocabulary.share.sum() == pytest.approx(1.0)
    assert vocabulary.share[number(vocabulary, "the")] == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("offset", "rule", "text"),
    [(0, "token", "“texas”"), (-1, "previous", "after “texas”"), (1, "next", "before “texas”")],
)
def test_a_planted_token_is_found_and_scored(vocabulary: Vocabulary, offset: int, rule: str, text: str) -> None:
    texas = number(vocabulary, "texas")

    def plant(around: NDArray[np.int64]) -> None:
        around[7, :, PEAK + offset] = texas
        around[7, 1, PEAK + offset] = number(vocabulary, "queen")  # one of the eight held-out ones

    evidence = examples(vocabulary, plant)
    labels = automatic_labels(evidence, vocabulary)
    found = labels[7]
    assert found is not None
    assert (found.rule, found.text) == (rule, text)
    assert found.score == pytest.approx((1 + 7 / 8 - vocabulary.share[texas]) / 2, abs=1e-3)
    assert found.control == pytest.approx(0.5, abs=0.08)  # it holds for hardly any example of other features
    assert sum(one is not None for one in labels) <= 2  # chance alone labels next to nothing


def test_a_common_token_is_no_label(vocabulary: Vocabulary) -> None:
    """Half of all peaks on "the" says little where a quarter of all tokens are."""

    def plant(around: NDArray[np.int64]) -> None:
        around[3, ::3, PEAK] = number(vocabulary, "the")

    assert automatic_labels(examples(vocabulary, plant), vocabulary)[3] is None


def test_a_label_that_holds_for_all_features_is_none(vocabulary: Vocabulary) -> None:
    """The shuffled control scores as high as the label itself."""

    def plant(around: NDArray[np.int64]) -> None:
        around[:, :, PEAK] = number(vocabulary, "texas")

    assert not any(automatic_labels(examples(vocabulary, plant), vocabulary))


def test_a_label_must_hold_for_examples_it_was_not_found_on(vocabulary: Vocabulary) -> None:
    def plant(around: NDArray[np.int64]) -> None:
        around[5, ::2, PEAK] = number(vocabulary, "texas")

    assert automatic_labels(examples(vocabulary, plant), vocabulary)[5] is None


def test_say_holds_where_the_next_token_is_what_is_raised(vocabulary: Vocabulary) -> None:
    austin = number(vocabulary, "austin")

    def plant(around: NDArray[np.int64]) -> None:
        around[9, :, PEAK + 1] = austin

    evidence = examples(vocabulary, plant)
    evidence.raised[9] = -1
    evidence.raised[9, 0] = austin
    found = automatic_labels(evidence, vocabulary)[9]
    assert found is not None
    assert (found.rule, found.text) == ("say", "say “austin”")


def test_a_rare_word_of_the_context_is_found(vocabulary: Vocabulary) -> None:
    king = number(vocabulary, "king")
    rare = replace(vocabulary, share=vocabulary.share.copy())
    rare.share[king] = 1e-4

    def plant(around: NDArray[np.int64]) -> None:
        around[around == king] = number(vocabulary, "the")
        for example in range(EXAMPLES):
            around[2, example, example % 5] = king

    found = automatic_labels(examples(vocabulary, plant), rare)[2]
    assert found is not None
    assert (found.rule, found.text) == ("context", "about “king”")


def test_kinds_of_tokens() -> None:
    texts = [" 12", "7", ",", " (", "\n\n", " Texas", "ing", " USA", " river", " ", "3rd", "�"]
    assert [KINDS[kind_of(text)] for text in texts] == [
        *["a number"] * 2,
        *["punctuation"] * 2,
        "a line break",
        "a capitalised word",
        "a part of a word",
        "capitals",
        *[""] * 3,
        "punctuation",
    ]


@pytest.mark.parametrize(("place", "words"), [(0, "after a number"), (1, "a number"), (2, "before a number")])
def test_a_kind_of_token_is_named_where_no_word_is(vocabulary: Vocabulary, place: int, words: str) -> None:
    evidence = examples(vocabulary, lambda around: None)
    number = KINDS.index("a number")
    evidence.kind[4, 1:, place] = number
    evidence.kind[6, ::2, place] = number  # only where it was found
    labels = automatic_labels(evidence, vocabulary)
    found = labels[4]
    assert found is not None
    assert (found.rule, found.text) == ("kind", words)
    assert found.score == pytest.approx((1 + 1 - vocabulary.kind_share[number]) / 2, abs=1e-3)
    assert labels[6] is None
    evidence.around[4, :, PEAK] = vocabulary.texts.index("texas")
    again = automatic_labels(evidence, vocabulary)[4]
    assert again is not None
    assert again.rule == "token"


def test_the_beginning_of_a_text_is_named(vocabulary: Vocabulary) -> None:
    evidence = examples(vocabulary, lambda around: None)
    evidence.offset[8] = np.arange(EXAMPLES) % NEAR_START
    evidence.offset[8, 1] = 50
    found = automatic_labels(evidence, vocabulary)[8]
    assert found is not None
    assert (found.rule, found.text) == ("start", "near the beginning of the text")
    assert found.score == pytest.approx((1 + 7 / 8 - evidence.start_share) / 2, abs=1e-3)
    evidence.offset[:] = 0  # where all features are, it says nothing
    assert not any(label and label.rule == "start" for label in automatic_labels(evidence, vocabulary))


def test_too_few_examples_give_no_label(vocabulary: Vocabulary) -> None:
    def plant(around: NDArray[np.int64]) -> None:
        around[7, :, PEAK] = number(vocabulary, "texas")
        around[7, 6:] = -1

    assert automatic_labels(examples(vocabulary, plant), vocabulary)[7] is None


class ReadsWords:
    """Stands where a person would plug in a model: it sees the commonest last word."""

    def label(self, examples: Sequence[Example]) -> str | None:
        last = [example.tokens[-1] for example in examples]
        return max(set(last), key=last.count)

    def holds(self, words: str, example: Example) -> bool:
        return example.tokens[-1] == words


def page_of(words: Sequence[str]) -> FeaturePage:
    examples = tuple(Example("Strongest", ("a", word), (0.0, 1.0), 1, 1.0) for word in words)
    return FeaturePage(0, 0, (Side(1.0, (), (), examples),), None, "")


def test_a_labeller_of_ones_own_is_tested_on_what_it_was_not_shown() -> None:
    page = page_of(["Texas", "Texas", "Texas", "Ohio", "Texas", "Texas", "Texas", "Texas"])
    others = [page_of(["Rome", "Texas", "Paris", "Oslo"]), page_of(["Bonn", "Lima", "Kyiv", "Riga"])]
    found = label_with(ReadsWords(), page, others)
    assert found is not None
    assert (found.text, found.rule) == ("Texas", "model")
    assert found.score == pytest.approx((1 + 3 / 4 - 1 / 8) / 2, abs=1e-3)
    assert found.control == pytest.approx((1 + 0 / 4 - 1 / 4) / 2, abs=1e-3)
    assert label_with(ReadsWords(), page_of(["Texas", "Texas"]), others) is None
    assert label_with(ReadsWords(), page_of([]), others) is None
    # Words that hold for half of the others too tell little: the feature stays without a label.
    common = [page_of(["Texas", "Texas", "Paris", "Oslo"])]
    assert label_with(ReadsWords(), page, common) is None
