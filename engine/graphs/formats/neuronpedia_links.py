"""The links of a graph JSON as edge columns. Links that no attribution graph can have are set aside, and said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.graphs.formats.graph_file import Repairs, shown
from engine.graphs.formats.json_document import require_shallow
from engine.graphs.formats.kept_fields import Record
from engine.graphs.formats.neuronpedia_rows import NodeTable
from engine.graphs.formats.promises import MAX_EDGES
from engine.graphs.graph import NodeKind

_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_ASIDE = "and were set aside, kept for export"
_ABOVE_ALL = 2**31 - 1


@dataclass(frozen=True)
class Links:
    """Edges sorted by target, then by falling |weight|; `written` are the weights as the file has them."""

    source: NDArray[np.int32]
    target: NDArray[np.int32]
    weight: NDArray[np.float32]
    written: list[int | float]
    exact: bool  # whether most weights are float32 values written out, rather than short decimals
    extra: dict[int, Record]  # fields beyond the three, by edge
    aside: list[Record]


def read_links(links: list[Any], table: NodeTable, name: str, repairs: Repairs) -> Links:
    """Check every link; raises `RequestError` naming the key of the first that cannot be used."""
    if len(links) > MAX_EDGES:
        raise RequestError(f"{name} has {len(links):,} links and at most {MAX_EDGES:,} are read; prune the graph more.")
    ends = _Ends(table, repairs)
    source, target, number = [], [], []
    aside: list[int] = []
    for i, link in enumerate(links):
        _require_link(link, i, name)
        pair = ends.of(link, i)
        if pair is None:
            aside.append(i)
        else:
            source.append(pair[0])
            target.append(pair[1])
            number.append(i)
    return _sorted(links, _Edges(source, target, number), table, aside, repairs)


def _require_link(link: Any, i: int, name: str) -> None:
    if type(link) is not dict:
        raise RequestError(f"{name} is damaged: links[{i}] is not a table.")
    for key in ("source", "target"):
        if type(link.get(key)) is not str:
            raise RequestError(f"{name} is damaged: links[{i}].{key} is not the id of a node.")
    weight: Any = link.get("weight")
    if type(weight) not in (float, int) or abs(weight) > _LARGEST_FLOAT:
        raise RequestError(f"{name} is damaged: links[{i}].weight ({shown(weight)}) is not a number that can be kept.")
    if len(link) > 3:
        require_shallow(link, name, f"links[{i}]")


class _Ends:
    """Finds the two nodes of a link, and what to do where an id is that of two nodes."""

    def __init__(self, table: NodeTable, repairs: Repairs) -> None:
        self.table, self.repairs = table, repairs
        self.single = {key: nodes[0] for key, nodes in table.by_id.items() if len(nodes) == 1}
        self.seen: set[tuple[str, str]] = set()

    def of(self, link: Record, i: int) -> tuple[int, int] | None:
        """(source, target), or None for a link that leads nowhere."""
        source, target = self.single.get(link["source"]), self.single.get(link["target"])
        if source is not None and target is not None:
            return source, target
        for key in ("target", "source"):
            if link[key] not in self.table.by_id:
                self.repairs.add(f"Links lead to nodes that are not there {_ASIDE}", f"links[{i}].{key}")
                return None
        # What has no inputs cannot be a target: of two nodes with one id it is the feature, which comes first.
        target = self.table.by_id[link["target"]][0]
        return self._source(link, i, target), target

    def _source(self, link: Record, i: int, target: int) -> int:
        nodes = self.table.by_id[link["source"]]
        below = [node for node in nodes if self._layer(node) < self._layer(target)] or list(nodes)
        if len(below) == 1:
            return below[0]
        self.repairs.add(
            "Links start at an id that two nodes share: the first was taken from the feature, a second one to the same "
            "target from the other node",
            f"links[{i}].source",
        )
        again = (link["source"], link["target"]) in self.seen
        self.seen.add((link["source"], link["target"]))
        return below[1] if again else below[0]

    def _layer(self, node: int) -> int:
        return _ABOVE_ALL if self.table.kind[node] == NodeKind.LOGIT else int(self.table.layer[node])


@dataclass(frozen=True)
class _Edges:
    source: list[int]
    target: list[int]
    number: list[int]  # of the link


def _sorted(links: list[Record], edges: _Edges, table: NodeTable, aside: list[int], repairs: Repairs) -> Links:
    source, target = np.array(edges.source, np.int32), np.array(edges.target, np.int32)
    number = np.array(edges.number, np.int64)
    wrong = _impossible(source, target, table, number, repairs)
    aside = sorted([*aside, *number[wrong].tolist()])
    source, target, number = source[~wrong], target[~wrong], number[~wrong]
    written: list[int | float] = [links[i]["weight"] for i in number.tolist()]
    weight = np.array(written, np.float64).astype(np.float32)
    order = np.lexsort((-np.abs(weight), target))
    source, target, weight, number = source[order], target[order], weight[order], number[order]
    written = [written[i] for i in order.tolist()]
    _note_repeated(source, target, number, repairs)
    exact = int(np.count_nonzero(np.array(written, np.float64) == weight)) * 2 >= len(written)
    extra = {edge: links[i] for edge, i in enumerate(number.tolist()) if len(links[i]) > 3}
    return Links(source, target, weight, written, exact, extra, [links[i] for i in aside])


def _impossible(
    source: NDArray[np.int32],
    target: NDArray[np.int32],
    table: NodeTable,
    number: NDArray[np.int64],
    repairs: Repairs,
) -> NDArray[np.bool_]:
    """Links from a node to itself, down, or around: an attribution graph only goes up in layers."""
    height = np.where(table.kind == NodeKind.LOGIT, _ABOVE_ALL, table.layer)
    itself = source == target
    down = height[source] > height[target]
    # What nothing leads to (errors, biases) may act within its own layer: no way leads back.
    explained = np.zeros(len(height), bool)
    explained[target[~itself & ~down]] = True
    beside = ~itself & (height[source] == height[target]) & explained[source]
    for which, what in (
        (itself, "Links lead from a node to itself"),
        (down, "Links lead to a lower layer, against the order of an attribution graph,"),
        (beside, "Links lead from a node that has inputs to one of the same layer"),
    ):
        for i in number[which].tolist():
            repairs.add(f"{what} {_ASIDE}", f"links[{i}]")
    wrong: NDArray[np.bool_] = itself | down | beside
    return wrong


def _note_repeated(
    source: NDArray[np.int32], target: NDArray[np.int32], number: NDArray[np.int64], repairs: Repairs
) -> None:
    order = np.lexsort((number, source, target))
    again = np.zeros(len(order), bool)
    again[1:] = (np.diff(source[order]) == 0) & (np.diff(target[order]) == 0)
    for i in number[order][again].tolist():
        repairs.add("Links repeat the ends of another; both were kept and their weights count together", f"links[{i}]")
