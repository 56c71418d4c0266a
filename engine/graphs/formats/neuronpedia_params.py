"""qParams of a graph JSON: which nodes are pinned, which make supernodes, which have names; and writing them again.

A list that still says what the project says is written as it was found, in its own form (list, JSON text or commas),
ids that name no node included; a changed one is written anew, and keeps the ids that name no node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.graphs.formats.graph_file import LONGEST_LABEL, Groups
from engine.graphs.formats.kept_fields import Record
from engine.graphs.formats.neuronpedia_nodes import clean_label


class NodeKeys:
    """Finds nodes by the keys that files name them by: node_id, jsNodeId (Anthropic), layer_feature_position."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.node_id: dict[str, int] = {}
        self.js_node_id: dict[str, int | None] = {}
        self.feature_id: dict[str, int] = {}
        for node, record in enumerate(records):
            self.node_id.setdefault(str(record["node_id"]), node)
            name = record.get("jsNodeId")
            if isinstance(name, str):
                # circuit-tracer gives all positions of a feature one such name: it then names no single node.
                self.js_node_id[name] = None if name in self.js_node_id else node
            key = f"{record.get('layer')}_{record.get('feature')}_{record.get('ctx_idx')}"
            self.feature_id.setdefault(key, node)

    def find(self, key: str) -> int | None:
        """The node that a pin or a supernode names."""
        found = self.node_id.get(key)
        return self.js_node_id.get(key) if found is None else found

    def find_named(self, key: str) -> int | None:
        """The node that an entry of qParams.clerps names."""
        found = self.feature_id.get(key)
        return self.find(key) if found is None else found


@dataclass(frozen=True)
class Params:
    """What qParams says, by node numbers; `unknown` names the ids that name no node, `odd` what was left out."""

    pins: tuple[int, ...]
    groups: Groups
    labels: Mapping[int, str]
    unknown: tuple[tuple[str, str], ...]
    odd: tuple[str, ...]
    by_js: bool


def read_params(raw: Any, keys: NodeKeys) -> Params:
    """Pins, supernodes and labels; whatever cannot be used is named in `unknown` and `odd`."""
    reader = _Reader(keys)
    raw = raw if isinstance(raw, dict) else {}
    pins = reader.pins(raw.get("pinnedIds"))
    groups = reader.groups(raw.get("supernodes"))
    labels = reader.labels(raw.get("clerps"))
    return Params(pins, groups, labels, tuple(reader.unknown), tuple(reader.odd), reader.by_js > reader.by_id)


def write_params(
    raw: Mapping[str, Any],
    params: Params,
    pins: tuple[int, ...],
    groups: Groups,
    labels: Mapping[int, str],
    keys: Sequence[str],
    shown: Callable[[int], bool],
) -> dict[str, Any]:
    """The qParams for what a project says now. `keys` names each node as the file does; hidden nodes are left out."""
    found = dict(raw)
    pins = tuple(pin for pin in pins if shown(pin))
    groups = tuple((name, tuple(node for node in nodes if shown(node))) for name, nodes in groups)
    groups = tuple((name, nodes) for name, nodes in groups if nodes)
    if "pinnedIds" not in raw or pins != params.pins:
        found["pinnedIds"] = [keys[pin] for pin in pins] + [
            key for where, key in params.unknown if where == "pinnedIds"
        ]
    if "supernodes" not in raw or _as_sets(groups) != _as_sets(params.groups):
        found["supernodes"] = [[name, *(keys[node] for node in nodes)] for name, nodes in groups]
    if any(labels.get(node, "") != text for node, text in params.labels.items()):
        found["clerps"] = [[keys[node], labels[node]] for node in params.labels if labels.get(node)]
        found["clerps"] += [[key, ""] for where, key in params.unknown if where == "clerps"]
    return found


def _as_sets(groups: Groups) -> list[tuple[str, frozenset[int]]]:
    return [(name, frozenset(nodes)) for name, nodes in groups]


class _Reader:
    def __init__(self, keys: NodeKeys) -> None:
        self.keys = keys
        self.unknown: list[tuple[str, str]] = []
        self.odd: list[str] = []
        self.by_js = self.by_id = 0

    def pins(self, raw: Any) -> tuple[int, ...]:
        found: dict[int, None] = {}
        for key in self._listed(raw, "pinnedIds"):
            node = self._find(key, "pinnedIds")
            if node is not None:
                found[node] = None
        return tuple(found)

    def groups(self, raw: Any) -> Groups:
        groups, taken = [], set[int]()
        for i, entry in enumerate(self._listed(raw, "supernodes")):
            if not isinstance(entry, list) or not entry or not isinstance(entry[0], str):
                self.odd.append(f"supernodes[{i}]")
                continue
            members: dict[int, None] = {}
            for key in entry[1:]:
                node = self._find(key, "supernodes")
                if node is not None and node not in taken:
                    members[node] = None
                elif node is not None and node not in members:
                    self.odd.append(f"supernodes[{i}]")
            taken.update(members)
            if members:
                name = entry[0].encode("utf-8", "replace").decode()[:LONGEST_LABEL]
                groups.append((name, tuple(members)))
        return tuple(groups)

    def labels(self, raw: Any) -> dict[int, str]:
        found = {}
        for i, entry in enumerate(self._listed(raw, "clerps")):
            if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(one, str) for one in entry)):
                self.odd.append(f"clerps[{i}]")
                continue
            node = self.keys.find_named(entry[0])
            if node is None:
                self.unknown.append(("clerps", entry[0]))
            elif clean_label(entry[1]):
                found[node] = clean_label(entry[1])
        return found

    def _find(self, key: Any, where: str) -> int | None:
        if not isinstance(key, str):
            self.odd.append(where)
            return None
        node = self.keys.find(key)
        if node is None:
            self.unknown.append((where, key))
        self.by_id += key in self.keys.node_id
        self.by_js += key in self.keys.js_node_id
        return node

    def _listed(self, raw: Any, where: str) -> list[Any]:
        """A list, or one written as JSON text or (pins) as ids with commas between."""
        if isinstance(raw, str):
            try:
                raw = json.loads(raw) if raw.lstrip().startswith("[") else [one for one in raw.split(",") if one]
            except (ValueError, RecursionError):
                raw = False
        if raw is None:
            return []
        if not isinstance(raw, list):
            self.odd.append(where)
            return []
        return raw
