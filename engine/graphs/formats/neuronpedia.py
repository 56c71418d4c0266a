"""The graph as the JSON that Neuronpedia, Anthropic's frontend and circuit-tracer's page read (schema version 1).

Field by field: reference/interfaces.md 1.11 and circuit-tracer.md 2.2. Only what the thresholds show is written; a
node's `influence` is its cumulative share (small = important), `feature` the Cantor pair of layer and number. Error
nodes get ids that cannot collide with a layer-0 feature, biases the schema's type `bias`.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from engine.graphs.formats.atomic import written_whole
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.influence import cumulative_share
from engine.graphs.pruning import prune

# The schema knows one type for features of any dictionary.
_TYPES = {
    NodeKind.FEATURE: "cross layer transcoder",
    NodeKind.ERROR: "mlp reconstruction error",
    NodeKind.EMBEDDING: "embedding",
    NodeKind.BIAS: "bias",
    NodeKind.LOGIT: "logit",
}


def cantor(layer: int, number: int) -> int:
    """The pairing that gives (layer, feature) one number, as circuit-tracer's files use."""
    return (layer + number) * (layer + number + 1) // 2 + number


def write_json(
    graph: AttributionGraph,
    path: Path,
    *,
    node_threshold: float = 0.8,
    edge_threshold: float = 0.98,
    slug: str = "",
    pins: tuple[int, ...] = (),
    groups: tuple[tuple[str, tuple[int, ...]], ...] = (),
    labels: dict[int, str] | None = None,
    compatible: bool = False,
) -> None:
    """Write the nodes and edges that the two thresholds show, with pins, supernodes and labels if given."""
    document = as_document(
        graph,
        node_threshold=node_threshold,
        edge_threshold=edge_threshold,
        slug=slug,
        pins=pins,
        groups=groups,
        labels=labels or {},
        compatible=compatible,
    )
    with written_whole(path) as file:
        file.write(json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"))


def as_document(
    graph: AttributionGraph,
    *,
    node_threshold: float,
    edge_threshold: float,
    slug: str,
    pins: tuple[int, ...],
    groups: tuple[tuple[str, tuple[int, ...]], ...],
    labels: dict[int, str],
    compatible: bool = False,
) -> dict[str, Any]:
    """The same as plain values."""
    view = prune(graph, node_threshold, edge_threshold, keep=pins, compatible=compatible)
    prompt = str(graph.meta.get("prompt", "".join(graph.tokens)))
    model = str(graph.meta.get("model", {}).get("name", "unknown"))
    features = str(graph.meta.get("features", {}).get("name", "unknown"))
    cumulative = cumulative_share(graph.influence)
    ids = {int(node): node_id(graph, int(node)) for node in np.flatnonzero(view.nodes)}
    return {
        "metadata": {
            "slug": slug or _slug(prompt),
            "scan": model,
            "transcoder_list": [features],
            "prompt_tokens": list(graph.tokens),
            "prompt": prompt,
            "node_threshold": node_threshold,
            "schema_version": 1,
            "info": {
                "generator": {
                    "name": "Circuit Loupe",
                    "version": graph.meta.get("versions", {}).get("circuit-loupe", ""),
                },
                "create_time_ms": int(time.time() * 1000),
            },
            "pruning_settings": {"node_threshold": node_threshold, "edge_threshold": edge_threshold},
            "replacement_score": graph.meta.get("replacement"),
            "completeness_score": graph.meta.get("completeness"),
        },
        "qParams": {
            "pinnedIds": [ids[pin] for pin in pins if pin in ids],
            "supernodes": [[name, *(ids[one] for one in members if one in ids)] for name, members in groups],
            "linkType": "both",
            "clickedId": "",
            "sg_pos": "",
        },
        "nodes": [_node(graph, node, name, cumulative, labels) for node, name in ids.items()],
        "links": [
            {
                "source": ids[int(graph.source[edge])],
                "target": ids[int(graph.target[edge])],
                "weight": float(graph.weight[edge]),
            }
            for edge in np.flatnonzero(view.edges)
        ],
    }


def node_id(graph: AttributionGraph, node: int) -> str:
    """The id of a node; unique within a graph."""
    kind, layer = NodeKind(int(graph.kind[node])), int(graph.layer[node])
    feature, position = int(graph.feature[node]), int(graph.position[node])
    if kind is NodeKind.FEATURE:
        return f"{layer}_{feature}_{position}"
    if kind is NodeKind.ERROR:
        return f"err_{layer}_{position}"
    if kind is NodeKind.EMBEDDING:
        return f"E_{feature}_{position}"
    if kind is NodeKind.BIAS:
        return f"bias_{'E' if layer < 0 else layer}_{'own' if position < 0 else position}"
    number = node - int(graph.of_kind(NodeKind.LOGIT)[0])
    return f"{graph.n_layers + 1}_{feature if feature >= 0 else f'direction{number}'}_{position}"


def _node(
    graph: AttributionGraph, node: int, name: str, cumulative: np.ndarray, labels: dict[int, str]
) -> dict[str, Any]:
    kind, layer = NodeKind(int(graph.kind[node])), int(graph.layer[node])
    feature, position = int(graph.feature[node]), int(graph.position[node])
    is_feature, is_logit = kind is NodeKind.FEATURE, kind is NodeKind.LOGIT
    first_logit = int(graph.of_kind(NodeKind.LOGIT)[0])
    probability = float(graph.logit_probability[node - first_logit]) if is_logit else 0.0
    return {
        "node_id": name,
        "feature": cantor(layer, feature) if is_feature else position if kind is NodeKind.EMBEDDING else feature,
        "layer": str(graph.n_layers + 1) if is_logit else "E" if layer < 0 else str(layer),
        "ctx_idx": max(position, 0),
        "feature_type": _TYPES[kind],
        "token_prob": probability,
        "is_target_logit": is_logit and node == first_logit,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": f"{layer}_{feature}-0" if is_feature else name.replace("_", "-"),
        "clerp": labels.get(node, "") or _caption(graph, node, kind, probability, first_logit),
        "influence": None if is_logit else float(cumulative[node]),
        "activation": float(graph.activation[node]) if is_feature else None,
    }


def _caption(graph: AttributionGraph, node: int, kind: NodeKind, probability: float, first_logit: int) -> str:
    if kind is NodeKind.LOGIT:
        # Readers take the probability out of exactly this form.
        return f'Output "{graph.logit_text[node - first_logit]}" (p={probability:.3f})'
    if kind is NodeKind.EMBEDDING:
        return f'Emb: "{graph.tokens[int(graph.position[node])]}"'
    if kind is NodeKind.ERROR:
        return f'Err: mlp "{graph.tokens[int(graph.position[node])]}"'
    return "Bias" if kind is NodeKind.BIAS else ""


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60] or "graph"
