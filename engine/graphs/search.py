"""The find bar: a small query language over the nodes of a graph.

A query is terms with blanks between them; a node is found if all of them hold. Case does not matter.

    capital             the label, the token or the name of the node contains it
    "of the"            the same with blanks in it; also for words that look like one of the terms below
    label:texas         its label contains it; token:dallas its token; in:cities the name of a supernode it is in
    layer:12  L12       its layer; layer:3..8, layer:20.. and layer:2,5..7 are ranges and lists
    position:4          its token's number; position:-1 is the last; ranges and lists as for layers
    feature:503         the number of the feature
    kind:error          feature, error, embedding, bias or logit; kind:feature,logit either
    sign:+  sign:-      its effect on the target, along all paths in the graph, is positive or negative
    activation>2.5      also >=, <, <= and =; influence>=1% works the same
    density<=1%         the share of an indexed text's tokens at which the feature is active
    is:pinned           also is:labelled and is:grouped
    -term               the term does not hold

Anything else is refused with one sentence, so that a typing error never looks like an empty graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.graphs.glyphs import describe
from engine.graphs.graph import KIND_NAMES, AttributionGraph, NodeKind
from engine.graphs.total_effect import total_effect

Mask = NDArray[np.bool_]

_TERM = re.compile(
    r"""\s*(?P<term>(?P<no>-(?=\S))?(?:(?P<key>[A-Za-z]+)(?P<sign>:|>=|<=|>|<|=))?(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]*)))(?=\s|$)"""
)
_RANGE = re.compile(r"(?P<low>-?\d{1,9})?(?:(?P<dots>\.\.)(?P<high>-?\d{1,9})?)?\Z")
_LAYER_WORD = re.compile(r"[Ll](\d{1,9})\Z")
_AMOUNT = re.compile(r"(-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(%?)\Z")
_COMPARE: dict[str, Callable[[NDArray[np.float64], float], Mask]] = {
    ">": lambda column, bound: column > bound,
    ">=": lambda column, bound: column >= bound,
    "<": lambda column, bound: column < bound,
    "<=": lambda column, bound: column <= bound,
    "=": lambda column, bound: np.isclose(column, bound, rtol=1e-3, atol=0),
}


@dataclass(frozen=True)
class Term:
    """One term of a query as it is written: `query[start:end]`, blanks around it left out."""

    start: int
    end: int
    no: bool  # "-" stands before it: it must not hold
    key: str  # lower case; "" for plain words
    sign: str  # ":", ">", ">=", "<", "<=" or "="; "" for plain words
    text: str  # without quotation marks
    quoted: bool


def query_terms(query: str) -> list[Term]:
    """The terms of a query in order. Raises `RequestError` for a quotation mark that stands alone."""
    terms: list[Term] = []
    at, end = 0, len(query.rstrip())
    while at < end:
        match = _TERM.match(query, at)
        if match is None or not match["term"]:
            raise RequestError("A quotation mark stands alone in the search; put one at both ends of the words.")
        quoted = match["quoted"] is not None
        text = match["quoted"] if quoted else match["bare"]
        key = (match["key"] or "").lower()
        terms.append(Term(match.start("term"), match.end(), bool(match["no"]), key, match["sign"] or "", text, quoted))
        at = match.end()
    return terms


@dataclass(frozen=True)
class Names:
    """What a person added to the nodes: labels, pins, and for each node the names of the supernodes it is in."""

    labels: Mapping[int, str] = field(default_factory=dict)
    pins: Sequence[int] = ()
    supernodes: Mapping[int, Sequence[str]] = field(default_factory=dict)


class NodeSearch:
    """Finds nodes of one graph. Texts and effects are worked out when first needed and kept."""

    def __init__(
        self, graph: AttributionGraph, names: Names | None = None, density: NDArray[np.float32] | None = None
    ) -> None:
        self.graph = graph
        self.density = density  # (N,) nan where it is not known; None where no text was indexed
        self.names = names or Names()
        self._words: dict[str, Callable[[str], Mask]] = {
            "label": lambda text: _contains(self._labels, text),
            "token": lambda text: _contains(self._tokens, text),
            "in": lambda text: _contains(self._supernodes, text),
            "layer": lambda text: self._ranges(text, "layer", graph.layer),
            "position": lambda text: self._ranges(text, "position", graph.position, from_end=True),
            "feature": lambda text: self._features(text),
            "kind": self._kinds,
            "sign": self._sign,
            "is": self._state,
        }

    def with_names(self, names: Names) -> NodeSearch:
        """The same graph with other names; what the edges say is not worked out again."""
        other = NodeSearch(self.graph, names, self.density)
        if "_effect" in self.__dict__:
            other._effect = self._effect
        return other

    def find(self, query: str) -> Mask:
        """(N,) which nodes the query finds; all of them for an empty one.

        Raises `RequestError` with one sentence about the first term that is not understood.
        """
        found = np.ones(self.graph.n_nodes, dtype=np.bool_)
        for term in query_terms(query):
            held = self._held(term)
            found &= ~held if term.no else held
        return found

    def _held(self, term: Term) -> Mask:
        key, sign, text = term.key, term.sign, term.text
        if not key:
            layer = None if term.quoted else _LAYER_WORD.match(text)
            return self._ranges(layer[1], "layer", self.graph.layer) if layer else _contains(self._texts, text)
        if not text:
            raise RequestError(f"Nothing follows {key}{sign} in the search; add what it should be.")
        if key in ("activation", "influence", "density"):
            return self._amount(key, sign, text)
        if key not in self._words or sign != ":":
            known = ", ".join(f"{one}:" for one in self._words)
            raise RequestError(
                f"The search does not know {key[:40] + sign!r}; it knows {known}, activation>, influence> and "
                "density<, and takes anything in quotation marks as text."
            )
        return self._words[key](text)

    def _ranges(self, text: str, name: str, column: NDArray[np.int32], *, from_end: bool = False) -> Mask:
        """Which entries are in one of the ranges; with `from_end`, -1 is the last token."""
        held = np.zeros(len(column), dtype=np.bool_)
        for one in text.split(","):
            match = _RANGE.match(one)
            if match is None or not one or (match["low"] is None and match["high"] is None):
                raise RequestError(f"{one[:40]!r} is no {name}; write {name}:3, {name}:3..8 or {name}:2,5..7.")
            low = -np.inf if match["low"] is None else int(match["low"])
            high = low if match["dots"] is None else np.inf if match["high"] is None else int(match["high"])
            if from_end:
                low, high = (end + self.graph.n_positions if -np.inf < end < 0 else end for end in (low, high))
                held |= (column >= max(low, 0)) & (column <= high)
            else:
                held |= (column >= low) & (column <= high)
        return held

    def _features(self, text: str) -> Mask:
        held = self._ranges(text, "feature", self.graph.feature)
        held &= self.graph.kind == NodeKind.FEATURE
        return held

    def _kinds(self, text: str) -> Mask:
        wanted = text.lower().split(",")
        for one in wanted:
            if one not in KIND_NAMES:
                raise RequestError(f"{one[:40]!r} is no kind of node; the kinds are {', '.join(KIND_NAMES)}.")
        return np.isin(self.graph.kind, [KIND_NAMES.index(one) for one in wanted])

    def _sign(self, text: str) -> Mask:
        if text in ("+", "positive"):
            return self._effect > 0
        if text in ("-", "−", "negative"):
            return self._effect < 0
        raise RequestError(f"{text[:40]!r} is no sign; write sign:+ or sign:-.")

    def _state(self, text: str) -> Mask:
        states: dict[str, Iterable[int]] = {
            "pinned": self.names.pins,
            "labelled": [node for node, label in self.names.labels.items() if label],
            "grouped": [node for node, groups in self.names.supernodes.items() if groups],
        }
        state = "labelled" if text.lower() == "labeled" else text.lower()
        if state not in states:
            raise RequestError(f"{text[:40]!r} is nothing a node can be; write is:pinned, is:labelled or is:grouped.")
        held = np.zeros(self.graph.n_nodes, dtype=np.bool_)
        held[list(states[state])] = True
        return held

    def _amount(self, key: str, sign: str, text: str) -> Mask:
        match = _AMOUNT.match(text)
        if match is None or sign == ":":
            raise RequestError(f"Write {key}>2.5 or {key}<=1%; {(sign + text)[:40]!r} compares with no number.")
        bound = float(match[1]) / (100 if match[2] else 1)
        if key == "density" and self.density is None:
            raise RequestError(
                "How often these features are active is not known: index a text (Trace, Index the text that ships)."
            )
        of = self.density if key == "density" else getattr(self.graph, key)
        held = _COMPARE[sign](np.asarray(of, dtype=np.float64), bound)
        # Nothing but a feature has an activation; a 0 there says nothing.
        if key == "activation":
            held &= self.graph.kind == NodeKind.FEATURE
        return held

    # ---- what is searched ------------------------------------------------------------------------------------------

    @cached_property
    def _labels(self) -> list[str]:
        return [self.names.labels.get(node, "").casefold() for node in range(self.graph.n_nodes)]

    @cached_property
    def _tokens(self) -> list[str]:
        return [text.casefold() for text in node_tokens(self.graph)]

    @cached_property
    def _supernodes(self) -> list[str]:
        names = self.names.supernodes
        return ["\n".join(names.get(node, ())).casefold() for node in range(self.graph.n_nodes)]

    @cached_property
    def _texts(self) -> list[str]:
        """What plain words are looked for in; the lines are different texts."""
        return [
            f"{label}\n{token}\n{describe(self.graph, node).casefold()}"
            for node, (label, token) in enumerate(zip(self._labels, self._tokens, strict=True))
        ]

    @cached_property
    def _effect(self) -> NDArray[np.float64]:
        return total_effect(self.graph)


def node_tokens(graph: AttributionGraph) -> list[str]:
    """The token each node stands at, as it is in the prompt; for a logit the one it stands for, "" for no position."""
    logits = dict(zip(graph.of_kind(NodeKind.LOGIT).tolist(), graph.logit_text, strict=True))
    return [
        logits[node] if node in logits else graph.tokens[position] if position >= 0 else ""
        for node, position in enumerate(graph.position.tolist())
    ]


def _contains(texts: Sequence[str], wanted: str) -> Mask:
    wanted = wanted.casefold()
    return np.fromiter((wanted in text for text in texts), dtype=np.bool_, count=len(texts))
