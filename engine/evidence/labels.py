"""Automatic labels: rules without a large model, each tested on unseen examples and against a shuffled control.

Rules, in this order where scores are equal: "say" (the next token is among those the feature raises most), "token" (the
token itself), "previous", "next" (up to three forms each), "context" (a word among the tokens before, by TF-IDF), and
"start" (near the beginning of what is read at once); where none of them holds, "kind" (a number, a line break, ...). A
rule is found on every second of the strongest examples and tested on the others. Its score is the area under the ROC
curve of that yes or no: (1 + share of held-out examples it holds for - share of all tokens of the corpus it holds for)
/ 2. The control is the mean of the same for the held-out examples of other features of the layer.

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
NEAR_START = 3  # tokens of a context, from the first that is counted on, that are near its beginning
RULES = ("say", "token", "previous", "next", "context", "start", "kind")
WORDS = {"say": "say {}", "token": "{}", "previous": "after {}", "next": "before {}", "context": "about {}"}
START = "near the beginning of the text"
# Kinds of token that a label names; any other is number 0, one of no kind.
KINDS = ("", "a number", "punctuation", "a line break", "a capitalised word", "a part of a word", "capitals")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens without case and blanks around them: what one reads as the same word is one form."""

    form: Index  # (V,) the form of each token
    texts: tuple[str, ...]  # of each form
    share: Real  # (forms,) of all tokens of the corpus
    is_word: NDArray[np.bool_]  # (forms,) letters only, three at least
    kind: Index  # (V,) which of KINDS each token is
    kind_share: Real  # (KINDS,) of all tokens of the corpus


def kind_of(text: str) -> int:
    """Which of KINDS a token is."""
    plain = text.strip()
    if "\n" in text:
        return 3
    if not plain:
        return 0
    if plain.isdecimal():
        return 1
    if not any(map(str.isalnum, plain)):
        return 2
    if not plain.isalpha():
        return 0
    if plain.isupper() and len(plain) > 1:
        return 6
    if plain[0].isupper():
        return 4
    return 0 if text[0].isspace() else 5


def vocabulary_of(texts: Sequence[str], tokens: NDArray[np.uint32]) -> Vocabulary:
    """Forms of tokens with the given texts, and how common they are in a corpus."""
    plain = [text.strip().casefold() or text for text in texts]
    names = sorted(set(plain))
    number = {name: i for i, name in enumerate(names)}
    form = np.array([number[one] for one in plain], dtype=np.int64)
    counts = np.bincount(form[tokens.astype(np.int64)], minlength=len(names))
    is_word = np.array([len(name) > 2 and name.isalpha() for name in names])
    kind = np.array([kind_of(text) for text in texts], dtype=np.int64)
    kinds = np.bincount(kind[tokens.astype(np.int64)], minlength=len(KINDS))
    total = max(int(counts.sum()), 1)
    return Vocabulary(form, tuple(names), counts / total, is_word, kind, kinds / total)


@dataclass(frozen=True)
class LabelEvidence:
    """Examples of the columns of one layer, as forms of tokens; -1 where there is none.

    `around` (c, e, NEAR_BEFORE + 2): the tokens before the peak, the peak, the next one; `raised` (c, m) the forms that
    the column's activation raises most, strongest first. `kind` (c, e, 3): kinds of the token before the peak, the peak
    and the next one, 0 outside; `offset` (c, e): tokens between the first that is counted and the peak, and
    `start_share`, how many of all tokens are as near as NEAR_START to it.
    """

    around: Index
    raised: Index
    kind: Index
    offset: Index
    start_share: float


def automatic_labels(
    evidence: LabelEvidence, vocabulary: Vocabulary, seed: int = 0, cancel: threading.Event | None = None
) -> list[Label | None]:
    """A label for each column, or None where no rule holds well enough."""
    found, tested = _half(evidence, 0), _half(evidence, 1)
    counted = tested.there.sum(1)
    generator = np.random.default_rng(seed)
    best = np.zeros(len(counted))
    chosen: list[Label | None] = [None] * len(counted)
    others = _others(counted, generator)
    for rule in RULES:
        checkpoint(cancel)
        candidate = _candidates(rule, found, vocabulary)  # (c, m), -1 where none
        chance = _chance(rule, candidate, vocabulary, evidence.start_share)
        score = _score(_hits(rule, tested, candidate), counted, chance)
        score[(candidate < 0).all(1) | (counted < FEWEST_HELD_OUT)] = 0.0
        control = np.full(len(score), 0.5)
        if others is not None:
            control = np.mean(
                [_score(_hits(rule, tested.of(one), candidate), counted[one], chance) for one in others], axis=0
            )
        good = (score >= LEAST_SCORE) & (score - control >= LEAST_GAIN) & (score > best)
        if rule == "kind":
            good &= best == 0
        for column in np.flatnonzero(good).tolist():
            words = _words(rule, candidate[column], vocabulary)
            chosen[column] = Label(words, rule, round(float(score[column]), 3), round(float(control[column]), 3))
        best[good] = score[good]
    return chosen


@dataclass(frozen=True)
class _Half:
    """Half of the examples of some columns."""

    around: Index
    raised: Index
    kind: Index
    offset: Index

    @property
    def there(self) -> NDArray[np.bool_]:
        """(c, e) where there is an example."""
        found: NDArray[np.bool_] = self.around[:, :, NEAR_BEFORE] >= 0
        return found

    def of(self, columns: Index) -> _Half:
        """Examples of other columns."""
        return _Half(self.around[columns], self.raised, self.kind[columns], self.offset[columns])


def _half(evidence: LabelEvidence, first: int) -> _Half:
    some = np.s_[:, first::2]
    return _Half(evidence.around[some], evidence.raised, evidence.kind[some], evidence.offset[some])


def _others(counted: Index, generator: np.random.Generator) -> list[Index] | None:
    """For each column others that have examples to test by, in SHUFFLES ways; None where there are too few."""
    usable = np.flatnonzero(counted >= FEWEST_HELD_OUT)
    if len(usable) < 2:
        return None
    own, found = np.arange(len(counted)), []
    for _ in range(SHUFFLES):
        other = usable[generator.integers(0, len(usable), len(counted))]
        again = other == own
        other[again] = usable[(np.searchsorted(usable, own[again]) + 1) % len(usable)]
        found.append(other)
    return found


def _candidates(rule: str, found: _Half, vocabulary: Vocabulary) -> Index:
    if rule == "say":
        return found.raised
    if rule == "context":
        return _by_tf_idf(found.around[:, :, :NEAR_BEFORE], vocabulary)[:, None]
    if rule == "start":
        near = ((found.offset < NEAR_START) & found.there).sum(1)
        return np.where(near > 1, 0, -1)[:, None]
    if rule == "kind":
        return _best_kind(found, vocabulary)[:, None]
    return _commonest(found.around[:, :, _place(rule)])


def _best_kind(found: _Half, vocabulary: Vocabulary) -> Index:
    """(c,) the place (before the peak, peak, next) times the number of kinds, plus the kind that holds best there."""
    kinds = len(KINDS)
    gain = np.stack(
        [(found.kind == kind).sum(1) / found.kind.shape[1] - vocabulary.kind_share[kind] for kind in range(1, kinds)],
        axis=2,
    )  # (c, 3, kinds - 1)
    # Where two places hold equally well the peak's own token is named.
    gain[:, 1] += 1e-6
    best = gain.reshape(len(gain), -1).argmax(1)
    number: Index = best // (kinds - 1) * kinds + best % (kinds - 1) + 1
    return number


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


def _hits(rule: str, tested: _Half, candidate: Index) -> Index:
    """(c,) held-out examples a rule holds for."""
    if rule == "context":
        inside = tested.around[:, :, :NEAR_BEFORE] == candidate[:, None, :1]
        hit = (inside & (candidate >= 0)[:, None, :1]).any(2)
    elif rule == "start":
        hit = (tested.offset < NEAR_START) & (candidate >= 0)
    elif rule == "kind":
        place, kind = np.divmod(candidate, len(KINDS))
        hit = np.take_along_axis(tested.kind, place[:, None], axis=2)[:, :, 0] == kind
    else:
        at = tested.around[:, :, _place(rule), None]
        hit = ((at == candidate[:, None, :]) & (candidate >= 0)[:, None, :]).any(2)
    found: Index = (hit & tested.there).sum(1)
    return found


def _chance(rule: str, candidate: Index, vocabulary: Vocabulary, start_share: float) -> Real:
    if rule == "start":
        return np.full(len(candidate), start_share)
    if rule == "kind":
        found: Real = vocabulary.kind_share[candidate[:, 0] % len(KINDS)]
        return found
    share = np.where(candidate >= 0, vocabulary.share[candidate], 0.0)
    if rule == "context":
        share = _window_chance(share)
    total: Real = np.minimum(share.sum(1), 1.0)
    return total


def _score(hits: Index, counted: Index, chance: Real) -> Real:
    found: Real = (1.0 + hits / np.maximum(counted, 1) - chance) / 2.0
    return found


def _words(rule: str, candidate: Index, vocabulary: Vocabulary) -> str:
    if rule == "start":
        return START
    if rule == "kind":
        place, kind = divmod(int(candidate[0]), len(KINDS))
        return ("after {}", "{}", "before {}")[place].format(KINDS[kind])
    forms = [vocabulary.texts[one] for one in candidate.tolist() if one >= 0]
    return WORDS[rule].format(", ".join(f"“{one}”" for one in forms[:MOST_FORMS]))
