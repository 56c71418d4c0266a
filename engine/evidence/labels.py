"""Automatic labels: rules without a large model, each tested on unseen examples and against a shuffled control.

Rules, in this order where scores are equal: "say" (the next token is among those the feature raises most), "token" (the
token itself), "previous", "next" (up to three forms each), and "context" (a word among the tokens before, by TF-IDF). A
rule is found on every second of the strongest examples and tested on the others. Its score is the area under the ROC
curve of that yes or no: (1 + share of held-out examples it holds for - share of all tokens of the corpus it holds for)
/ 2. The control is the mean of the same for labels that other features of the layer got by the same rule.

Shapes: c columns (features, or their sides), e examples, w tokens around a peak, V vocabulary.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.evidence.pages import Label
from engine.progress import checkpoint

Index = NDArray[np.int64]
Real = NDArray[np.float64]
LEAST_SCORE, LEAST_GAIN = 0.7, 0.15  # below the first, or less above the control than the second: no label
FEWEST_HELD_OUT = 4
SHUFFLES = 8
MOST_FORMS = 3  # that a label names
NEAR_BEFORE = 12  # tokens before a peak in which a word of the context counts
COMMONEST_WORD = 0.02  # of windows; commoner words say nothing about a context
RULES = ("say", "token", "previous", "next", "context")
WORDS = {"say": "say {}", "token": "{}", "previous": "after {}", "next": "before {}", "context": "about {}"}


@dataclass(frozen=True)
class Vocabulary:
    """Tokens without case and blanks around them: what one reads as the same word is one form."""

    form: Index  # (V,) the form of each token
    texts: tuple[str, ...]  # of each form
    share: Real  # (forms,) of all tokens of the corpus
    is_word: NDArray[np.bool_]  # (forms,) letters only, three at least


def vocabulary_of(texts: Sequence[str], tokens: NDArray[np.uint32]) -> Vocabulary:
    """Forms of tokens with the given texts, and how common they are in a corpus."""
    plain = [text.strip().casefold() or text for text in texts]
    names = sorted(set(plain))
    number = {name: i for i, name in enumerate(names)}
    form = np.array([number[one] for one in plain], dtype=np.int64)
    counts = np.bincount(form[tokens.astype(np.int64)], minlength=len(names))
    is_word = np.array([len(name) > 2 and name.isalpha() for name in names])
    return Vocabulary(form, tuple(names), counts / max(int(counts.sum()), 1), is_word)


@dataclass(frozen=True)
class LabelEvidence:
    """Examples of the columns of one layer, as forms of tokens; -1 where there is none.

    `around` (c, e, NEAR_BEFORE + 2): the tokens before the peak, the peak, the next one; `raised` (c, m) the forms that
    the column's activation raises most, strongest first.
    """

    around: Index
    raised: Index


def automatic_labels(
    evidence: LabelEvidence, vocabulary: Vocabulary, seed: int = 0, cancel: threading.Event | None = None
) -> list[Label | None]:
    """A label for each column, or None where no rule holds well enough."""
    found, tested = evidence.around[:, ::2], evidence.around[:, 1::2]
    counted = (tested[:, :, NEAR_BEFORE] >= 0).sum(1)
    generator = np.random.default_rng(seed)
    best = np.zeros(len(found))
    chosen: list[Label | None] = [None] * len(found)
    for rule in RULES:
        checkpoint(cancel)
        candidate = _candidates(rule, found, evidence.raised, vocabulary)  # (c, m), -1 where none
        score = _score(_hits(rule, tested, candidate), counted, _chance(rule, candidate, vocabulary))
        score[(candidate < 0).all(1) | (counted < FEWEST_HELD_OUT)] = 0.0
        control = _control(rule, tested, candidate, counted, vocabulary, generator)
        good = (score >= LEAST_SCORE) & (score - control >= LEAST_GAIN) & (score > best)
        for column in np.flatnonzero(good).tolist():
            words = _words(rule, candidate[column], vocabulary)
            chosen[column] = Label(words, rule, round(float(score[column]), 3), round(float(control[column]), 3))
        best[good] = score[good]
    return chosen


def _candidates(rule: str, found: Index, raised: Index, vocabulary: Vocabulary) -> Index:
    if rule == "say":
        return raised
    if rule == "context":
        return _by_tf_idf(found[:, :, :NEAR_BEFORE], vocabulary)[:, None]
    return _commonest(found[:, :, _place(rule)])


def _place(rule: str) -> int:
    return NEAR_BEFORE + {"previous": -1, "token": 0, "next": 1, "say": 1}[rule]


def _commonest(forms: Index) -> Index:
    """(c, MOST_FORMS) what most of (c, e) are, the commonest first; -1 where a form is there only once."""
    found = np.full((len(forms), MOST_FORMS), -1, dtype=np.int64)
    left = forms.copy()
    for number in range(MOST_FORMS):
        same = ((left[:, :, None] == left[:, None, :]) & (left >= 0)[:, :, None]).sum(2)
        place = same.argmax(1)[:, None]
        best = np.take_along_axis(left, place, axis=1)
        found[:, number] = np.where(np.take_along_axis(same, place, axis=1) > 1, best, -1)[:, 0]
        left = np.where(left == best, -1, left)
    return found


def _by_tf_idf(forms: Index, vocabulary: Vocabulary) -> Index:
    """(c,) the word of (c, e, w) whose count of examples, times its rarity, is largest; -1 where there is none."""
    chance = _window_chance(vocabulary.share)
    column, example = np.indices(forms.shape)[:2]
    usable = forms >= 0
    usable &= vocabulary.is_word[forms] & (chance[forms] <= COMMONEST_WORD)
    size, examples = len(vocabulary.texts), forms.shape[1]
    key = (column[usable] * examples + example[usable]) * size + forms[usable]
    key = np.unique(key)  # a word counts once an example
    pair, count = np.unique(key // size // max(examples, 1) * size + key % size, return_counts=True)
    weight = count * -np.log(np.maximum(chance[pair % size], 1e-9))
    weight[count < 2] = 0
    best = np.full(len(forms), -1, dtype=np.int64)
    order = np.argsort(weight, kind="stable")
    order = order[weight[order] > 0]
    best[pair[order] // size] = pair[order] % size
    return best


def _window_chance(share: Real) -> Real:
    """The chance that a form is among NEAR_BEFORE tokens."""
    found: Real = 1.0 - (1.0 - share) ** NEAR_BEFORE
    return found


def _hits(rule: str, tested: Index, candidate: Index) -> Index:
    """(c,) held-out examples a rule holds for."""
    if rule == "context":
        inside = tested[:, :, :NEAR_BEFORE] == candidate[:, None, :1]
        hit = (inside & (candidate >= 0)[:, None, :1]).any(2)
    else:
        at = tested[:, :, _place(rule), None]
        hit = ((at == candidate[:, None, :]) & (candidate >= 0)[:, None, :]).any(2)
    found: Index = (hit & (tested[:, :, NEAR_BEFORE] >= 0)).sum(1)
    return found


def _chance(rule: str, candidate: Index, vocabulary: Vocabulary) -> Real:
    share = np.where(candidate >= 0, vocabulary.share[candidate], 0.0)
    if rule == "context":
        share = _window_chance(share)
    found: Real = np.minimum(share.sum(1), 1.0)
    return found


def _score(hits: Index, counted: Index, chance: Real) -> Real:
    found: Real = (1.0 + hits / np.maximum(counted, 1) - chance) / 2.0
    return found


def _control(
    rule: str,
    tested: Index,
    candidate: Index,
    counted: Index,
    vocabulary: Vocabulary,
    generator: np.random.Generator,
) -> Real:
    """(c,) the mean score of other columns' candidates on each column's examples."""
    usable = np.flatnonzero((candidate >= 0).any(1))
    total = np.zeros(len(candidate))
    if len(usable) < 2:
        return total + 0.5
    for _ in range(SHUFFLES):
        own = np.arange(len(candidate))
        other = usable[generator.integers(0, len(usable), len(candidate))]
        again = other == own
        other[again] = usable[(np.searchsorted(usable, own[again]) + 1) % len(usable)]
        shuffled = candidate[other]
        total += _score(_hits(rule, tested, shuffled), counted, _chance(rule, shuffled, vocabulary))
    return total / SHUFFLES


def _words(rule: str, candidate: Index, vocabulary: Vocabulary) -> str:
    forms = [vocabulary.texts[one] for one in candidate.tolist() if one >= 0]
    return WORDS[rule].format(", ".join(f"“{one}”" for one in forms[:MOST_FORMS]))
