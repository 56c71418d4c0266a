"""What a graph file holds: the graph, what a person added to it, and what reading it repaired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.graphs.graph import AttributionGraph

# Supernodes: their names and their nodes' numbers.
Groups = tuple[tuple[str, tuple[int, ...]], ...]

# A label or a name of a supernode holds no more in a project.
LONGEST_LABEL = 1_000
_NAMED = 3


@dataclass(frozen=True)
class GraphFile:
    """A graph with its pins (node numbers in order), supernodes and labels (by node number).

    `form` says which kind of file it was read from, `repairs` what in it was not as it should be: one sentence each.
    """

    graph: AttributionGraph
    pins: tuple[int, ...] = ()
    groups: Groups = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    form: str = ""
    repairs: tuple[str, ...] = ()


class Repairs:
    """Collects what was repaired: one sentence for each kind of fault, naming the first few places."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, what: str, place: str = "", count: int = 1) -> None:
        """Note one repair, or `count` of which `place` is the first; a place is a key, such as links[4].target."""
        self._counts[what] = self._counts.get(what, 0) + count
        places = self._places.setdefault(what, [])
        if place and len(places) < _NAMED:
            places.append(place)

    def sentences(self) -> tuple[str, ...]:
        """One sentence for each kind of repair."""
        return tuple(self._sentence(what) for what in self._counts)

    def _sentence(self, what: str) -> str:
        places, count = self._places[what], self._counts[what]
        if not places:
            return f"{what}."
        more = f" and {count - len(places):,} more" if count > len(places) else ""
        return f"{what}: {', '.join(places)}{more}."


def shown(text: object, limit: int = 40) -> str:
    """Text of a file as it may stand in a sentence: in quotes, on one line, control characters escaped, cut short."""
    whole = str(text)
    return repr(whole if len(whole) <= limit else whole[: limit - 1] + "…")


def annotations_as_json(pins: tuple[int, ...], groups: Groups, labels: Mapping[int, str]) -> dict[str, Any]:
    """Pins, supernodes and labels as plain JSON values, as our own forms keep them."""
    return {
        "pins": list(pins),
        "groups": [[name, list(nodes)] for name, nodes in groups],
        "labels": {str(node): text for node, text in labels.items()},
    }


def read_annotations(value: Any, n_nodes: int) -> tuple[tuple[int, ...], Groups, dict[int, str]]:
    """The reverse; raises `ValueError` for anything else, nodes that are not there included."""
    if not isinstance(value, dict) or not set(value) <= {"pins", "groups", "labels"}:
        raise ValueError("annotations of another form")
    pins = tuple(_node(one, n_nodes) for one in _list(value.get("pins", [])))
    groups = tuple(_group(one, n_nodes) for one in _list(value.get("groups", [])))
    labels = value.get("labels", {})
    if not isinstance(labels, dict) or not all(isinstance(text, str) for text in labels.values()):
        raise ValueError("labels of another form")
    if len(set(pins)) != len(pins):
        raise ValueError("a pin twice")
    return pins, groups, {_node(int(node), n_nodes): text for node, text in labels.items()}


def _group(value: Any, n_nodes: int) -> tuple[str, tuple[int, ...]]:
    name, nodes = _list(value)
    if not isinstance(name, str):
        raise ValueError("a supernode without a name")
    return name, tuple(_node(one, n_nodes) for one in _list(nodes))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("no list")
    return value


def _node(value: Any, n_nodes: int) -> int:
    if type(value) is not int or not 0 <= value < n_nodes:
        raise ValueError("a node that is not there")
    return value
