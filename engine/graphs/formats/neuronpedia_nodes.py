"""Nodes as the records of Neuronpedia's graph JSON: types, ids, feature numbers, captions and labels.

Ids and captions follow circuit-tracer, except error nodes, whose ids there collide with features of layer 0. Nothing
is ever read out of an id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

import numpy as np

from engine.graphs.formats.graph_file import LONGEST_LABEL
from engine.graphs.formats.kept_fields import Record
from engine.graphs.graph import NO_POSITION, AttributionGraph, NodeKind
from engine.graphs.influence import cumulative_share

# The schema knows one type for features of any dictionary.
TYPES = {
    NodeKind.FEATURE: "cross layer transcoder",
    NodeKind.ERROR: "mlp reconstruction error",
    NodeKind.EMBEDDING: "embedding",
    NodeKind.BIAS: "bias",
    NodeKind.LOGIT: "logit",
}
KINDS = {
    **{name: kind for kind, name in TYPES.items()},
    "lorsa": NodeKind.FEATURE,
    "lorsa error": NodeKind.ERROR,
}
# Texts that programs write for nodes nobody named.
_GENERATED = re.compile(r"(Emb|Err|Embedding|Error|Bias)\b")
_LOGIT_CAPTION = re.compile(r'Output "(.*)" \(p=[^()]*\)\Z', re.DOTALL)
_PROBABILITY = re.compile(r" ?\(p=([^()]*)\)\s*\Z")


def cantor(layer: int, number: int) -> int:
    """The pairing that gives (layer, feature) one number, as circuit-tracer's files use."""
    return (layer + number) * (layer + number + 1) // 2 + number


def uncantor(pair: int) -> tuple[int, int]:
    """(layer, feature) of a pair, exact for whole numbers of any size; raises `ValueError` below 0."""
    width = (isqrt(8 * pair + 1) - 1) // 2
    number = pair - width * (width + 1) // 2
    return width - number, number


def node_records(graph: AttributionGraph, labels: Mapping[int, str], *, own: bool) -> list[Record]:
    """Every node as a record, in node order. `own` adds what the schema has no field for and our reader takes back."""
    columns = zip(
        graph.kind.tolist(),
        graph.layer.tolist(),
        graph.position.tolist(),
        graph.feature.tolist(),
        graph.activation.tolist(),
        cumulative_share(graph.influence).tolist(),
        graph.influence.tolist(),
        strict=True,
    )
    probabilities = iter(zip(graph.logit_probability.tolist(), graph.logit_text, strict=True))
    records, names, first = [], set[str](), True
    for node, (number, layer, position, feature, activation, cumulative, influence) in enumerate(columns):
        kind = NodeKind(number)
        is_logit, is_feature = kind is NodeKind.LOGIT, kind is NodeKind.FEATURE
        probability, text = next(probabilities) if is_logit else (0.0, "")
        name = _unused(_node_id(kind, layer, feature, position, graph.n_layers, node), names)
        caption = _caption(graph, kind, position, probability, text)
        record: Record = {
            "node_id": name,
            "feature": cantor(layer, feature) if is_feature else position if kind is NodeKind.EMBEDDING else feature,
            "layer": str(graph.n_layers + 1) if is_logit else "E" if layer < 0 else str(layer),
            "ctx_idx": max(position, 0),
            "feature_type": TYPES[kind],
            "token_prob": probability,
            "is_target_logit": is_logit and first,
            "run_idx": 0,
            "reverse_ctx_idx": 0,
            "jsNodeId": _js_node_id(kind, layer, feature, position, name),
            "clerp": _clerp(kind, labels.get(node, ""), caption, probability),
            "influence": None if is_logit else cumulative,
            "activation": activation if is_feature else None,
        }
        first = first and not is_logit
        if own:
            record["influence_share"] = influence
        if is_logit and (own or labels.get(node)):
            record["token"] = text
        if own and position == NO_POSITION:
            record["no_position"] = True
        records.append(record)
    return records


def label_of(clerp: str, kind: NodeKind, record: Mapping[str, Any], caption: str) -> str:
    """The name that a person gave a node, or "" where the text is one that programs write by themselves."""
    if kind is NodeKind.LOGIT:
        if "token" not in record or _LOGIT_CAPTION.match(clerp):
            return ""
        return clean_label(_PROBABILITY.sub("", clerp))
    if clerp == caption or (kind is not NodeKind.FEATURE and _GENERATED.match(clerp)):
        return ""
    return clean_label(clerp)


def clean_label(text: str) -> str:
    """A label as a project keeps it: encodable, not longer than allowed, "" where it is blank."""
    text = text.encode("utf-8", "replace").decode()
    if not text.strip():
        return ""
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def logit_text_of(record: Mapping[str, Any]) -> str:
    """The token of a logit node."""
    if isinstance(record.get("token"), str):
        return str(record["token"])
    clerp = str(record.get("clerp") or "")
    caption = _LOGIT_CAPTION.match(clerp)
    text = caption.group(1) if caption else _PROBABILITY.sub("", clerp)
    return text or f"token {record.get('feature')}"


def captioned_probability(clerp: str) -> float | None:
    """The probability in a logit's caption, for files that have it nowhere else."""
    found = _PROBABILITY.search(clerp)
    try:
        value = float(found.group(1)) if found else np.nan
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def captions(graph: AttributionGraph) -> list[str]:
    """The text of every node that nobody named."""
    probabilities = iter(zip(graph.logit_probability.tolist(), graph.logit_text, strict=True))
    found = []
    for kind, position in zip(graph.kind.tolist(), graph.position.tolist(), strict=True):
        probability, text = next(probabilities) if kind == NodeKind.LOGIT else (0.0, "")
        found.append(_caption(graph, NodeKind(kind), position, probability, text))
    return found


def _caption(graph: AttributionGraph, kind: NodeKind, position: int, probability: float, text: str) -> str:
    if kind is NodeKind.LOGIT:
        # Readers take the probability out of exactly this form.
        return f'Output "{text}" (p={probability:.3f})'
    if kind is NodeKind.EMBEDDING:
        return f'Emb: "{graph.tokens[position]}"'
    if kind is NodeKind.ERROR:
        return f'Err: mlp "{graph.tokens[position]}"'
    return "Bias" if kind is NodeKind.BIAS else ""


def _clerp(kind: NodeKind, label: str, caption: str, probability: float) -> str:
    if label and kind is NodeKind.LOGIT:
        return f"{label} (p={probability:.3f})"
    return label or caption


def _node_id(kind: NodeKind, layer: int, feature: int, position: int, n_layers: int, node: int) -> str:
    if kind is NodeKind.FEATURE:
        return f"{layer}_{feature}_{position}"
    if kind is NodeKind.ERROR:
        return f"err_{layer}_{position}"
    if kind is NodeKind.EMBEDDING:
        return f"E_{feature}_{position}"
    if kind is NodeKind.BIAS:
        return f"bias_{'E' if layer < 0 else layer}_{'own' if position < 0 else position}"
    return f"{n_layers + 1}_{feature if feature >= 0 else f'direction{node}'}_{position}"


def _js_node_id(kind: NodeKind, layer: int, feature: int, position: int, name: str) -> str:
    if kind is NodeKind.FEATURE:
        return f"{layer}_{feature}-0"
    if kind is NodeKind.ERROR:
        return f"{layer}_-1-{position}"
    if kind is NodeKind.EMBEDDING:
        return f"E_{feature}-{position}"
    return f"L_{feature}-{position}" if kind is NodeKind.LOGIT else name.replace("_", "-")


def _unused(name: str, names: set[str]) -> str:
    found, again = name, 1
    while found in names:
        again += 1
        found = f"{name}_{again}"
    names.add(found)
    return found
