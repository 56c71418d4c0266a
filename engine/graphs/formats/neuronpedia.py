"""The graph as the JSON that Neuronpedia, Anthropic's frontend and circuit-tracer's page read (schema version 1).

Only what the thresholds show is written; a node's `influence` is its cumulative share (small = important), `feature`
the Cantor pair of layer and number. A graph that was read from such a file is written with every field it came with.
Fields beyond the schema are described in docs/graph-files.md.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import RequestError
from engine.graphs.formats.graph_file import Groups
from engine.graphs.formats.kept_fields import Record, put_back
from engine.graphs.formats.neuronpedia_nodes import cantor, captions, label_of, node_records
from engine.graphs.formats.neuronpedia_params import NodeKeys, Params, read_params, write_params
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.pruning import GraphView, everything, prune
from engine.progress import Progress, checkpoint, silent
from engine.whole_files import written_whole

__all__ = ["OWN", "as_document", "cantor", "link_weights", "write_json"]

# Our own part of `metadata`: what the schema has no field for.
OWN = "circuit_loupe"
_PROVENANCE = ("settings", "features", "versions", "conservation_error", "unexplored", "compatible")
NODE_THRESHOLD, EDGE_THRESHOLD = 0.8, 0.98


def write_json(
    graph: AttributionGraph,
    path: Path,
    *,
    node_threshold: float | None = None,
    edge_threshold: float | None = None,
    slug: str = "",
    pins: tuple[int, ...] = (),
    groups: Groups = (),
    labels: Mapping[int, str] | None = None,
    compatible: bool = False,
    whole: bool = False,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> None:
    """Write the nodes and edges that the two thresholds show, and every node that is pinned, grouped or labelled.

    Without thresholds: 0.8 and 0.98; a graph that came from such a file (pruned by whoever wrote it), and any with
    `whole`, is written with all nodes and edges. Raises `Cancelled` between its three steps, and then writes nothing.
    """
    progress(f"Writing {path.name}", 0.0)
    document = as_document(
        graph,
        node_threshold=node_threshold,
        edge_threshold=edge_threshold,
        slug=slug,
        pins=pins,
        groups=groups,
        labels=labels or {},
        compatible=compatible,
        whole=whole,
    )
    checkpoint(cancel)
    progress(f"Writing {path.name}", 0.6)
    try:
        data = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair: only \uXXXX can say it
        data = json.dumps(document, allow_nan=False).encode()
    checkpoint(cancel)
    with written_whole(path) as file:
        file.write(data)


def as_document(
    graph: AttributionGraph,
    *,
    node_threshold: float | None,
    edge_threshold: float | None,
    slug: str,
    pins: tuple[int, ...],
    groups: Groups,
    labels: Mapping[int, str],
    compatible: bool = False,
    whole: bool = False,
) -> dict[str, Any]:
    """The same as plain values. Raises `RequestError` where what was kept of an imported file is damaged."""
    kept = _kept(graph)
    whole = whole or (kept is not None and node_threshold is None and edge_threshold is None)
    thresholds = (
        NODE_THRESHOLD if node_threshold is None else node_threshold,
        EDGE_THRESHOLD if edge_threshold is None else edge_threshold,
    )
    # What a person named or gathered is written even where the thresholds would hide it: a round trip loses nothing.
    marked = {*pins, *labels, *(node for _, nodes in groups for node in nodes)}
    view = everything(graph) if whole else prune(graph, *thresholds, keep=sorted(marked), compatible=compatible)
    if whole:
        thresholds = (1.0, 1.0)
    if kept is None:
        return _fresh(graph, view, thresholds, slug, pins, groups, labels)
    try:
        return _again(graph, view, None if whole else thresholds, kept, pins, groups, labels)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RequestError(
            "What this graph's project keeps of the file it was imported from is damaged; import the file again."
        ) from error


def _kept(graph: AttributionGraph) -> dict[str, Any] | None:
    imported = graph.meta.get("imported")
    kept = imported.get("document") if isinstance(imported, dict) else None
    return kept if isinstance(kept, dict) else None


def _fresh(
    graph: AttributionGraph,
    view: GraphView,
    thresholds: tuple[float, float],
    slug: str,
    pins: tuple[int, ...],
    groups: Groups,
    labels: Mapping[int, str],
) -> dict[str, Any]:
    """A document of our own."""
    nodes = node_records(graph, labels, own=True)
    keys = [str(record["node_id"]) for record in nodes]
    params = write_params({}, Params((), (), {}, (), (), False), pins, groups, {}, keys, _shown(view))
    return {
        "metadata": _metadata(graph, thresholds, slug),
        "qParams": {**params, "linkType": "both", "clickedId": "", "sg_pos": ""},
        "nodes": [nodes[node] for node in np.flatnonzero(view.nodes)],
        "links": _shown_links(_links(graph, keys, graph.weight.tolist()), view),
    }


def _again(
    graph: AttributionGraph,
    view: GraphView,
    thresholds: tuple[float, float] | None,
    kept: dict[str, Any],
    pins: tuple[int, ...],
    groups: Groups,
    labels: Mapping[int, str],
) -> dict[str, Any]:
    """The document that the graph came from, with what changed since. Without thresholds it was not pruned again."""
    own = OWN in kept["metadata"]
    nodes = node_records(graph, labels, own=own)
    texts = [(str(node["clerp"]), "token" in node) for node in nodes]
    put_back(nodes, kept["nodes"])
    params = read_params(kept["qParams"], NodeKeys(nodes))
    named = captions(graph)
    for node, (record, (text, has_token)) in enumerate(zip(nodes, texts, strict=True)):
        # A label that a person changed since stands instead of the file's text.
        before = label_of(str(record.get("clerp") or ""), NodeKind(int(graph.kind[node])), record, named[node])
        if params.labels.get(node, before) != labels.get(node, ""):
            record["clerp"] = text
            if has_token:
                record["token"] = graph.logit_text[int(np.searchsorted(graph.of_kind(NodeKind.LOGIT), node))]
    ids = [str(record["node_id"]) for record in nodes]
    keys = [str(record.get("jsNodeId", name)) for record, name in zip(nodes, ids, strict=True)] if params.by_js else ids
    links = _links(graph, ids, link_weights(graph, kept["weights"]))
    if kept["n_edges"] == len(links):
        put_back(links, kept["links"])
    metadata = dict(kept["metadata"])
    if thresholds is not None:
        pruned = metadata.get("pruning_settings")
        pruned = dict(pruned) if isinstance(pruned, dict) else {}
        metadata["node_threshold"] = thresholds[0]
        metadata["pruning_settings"] = {**pruned, "node_threshold": thresholds[0], "edge_threshold": thresholds[1]}
    return {
        "metadata": metadata,
        "qParams": write_params(kept["qParams"], params, pins, groups, labels, keys, _shown(view)),
        "nodes": [nodes[node] for node in np.flatnonzero(view.nodes)],
        "links": _shown_links(links, view) + (kept["links_aside"] if thresholds is None else []),
        **kept["other"],
    }


def _shown(view: GraphView) -> Any:
    return lambda node: bool(view.nodes[node])


def _links(graph: AttributionGraph, ids: list[str], weights: list[float]) -> list[Record]:
    return [
        {"source": ids[source], "target": ids[target], "weight": weight}
        for source, target, weight in zip(graph.source.tolist(), graph.target.tolist(), weights, strict=True)
    ]


def _shown_links(links: list[Record], view: GraphView) -> list[Record]:
    return links if bool(view.edges.all()) else [links[edge] for edge in np.flatnonzero(view.edges)]


def link_weights(graph: AttributionGraph, form: str) -> list[float]:
    """Weights as a file had them: float32 values written out ("exact"), or their shortest decimals ("short")."""
    if form == "exact":
        exact: list[float] = graph.weight.tolist()
        return exact
    return [float(str(weight)) for weight in graph.weight]


def _metadata(graph: AttributionGraph, thresholds: tuple[float, float], slug: str) -> dict[str, Any]:
    prompt = str(graph.meta.get("prompt", "".join(graph.tokens)))
    model, features = graph.meta.get("model") or {}, graph.meta.get("features") or {}
    scores = {
        f"{name}_score": graph.meta[name]
        for name in ("replacement", "completeness")
        if isinstance(graph.meta.get(name), float)
    }
    own = {name: graph.meta[name] for name in _PROVENANCE if name in graph.meta}
    return {
        "slug": slug or _slug(prompt),
        "scan": str(model.get("name", "unknown")),
        "transcoder_list": [str(features.get("name", "unknown"))],
        "prompt_tokens": list(graph.tokens),
        "prompt": prompt,
        "node_threshold": thresholds[0],
        "schema_version": 1,
        "info": {
            "generator": {
                "name": "Circuit Loupe",
                "version": (graph.meta.get("versions") or {}).get("circuit-loupe", ""),
            },
            "create_time_ms": int(time.time() * 1000),
        },
        "pruning_settings": {"node_threshold": thresholds[0], "edge_threshold": thresholds[1]},
        **scores,
        OWN: {
            "n_layers": graph.n_layers,
            "measure": graph.measure,
            "token_ids": list(graph.token_ids),
            "model_fingerprint": model.get("fingerprint"),
            **own,
        },
    }


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60] or "graph"
