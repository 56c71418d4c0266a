"""What the circuit's parts say about themselves: figures of boxes, edges and paths, in plain text."""

from __future__ import annotations

from app.reading import number, plain_percent, signed_percent
from engine.graphs import AttributionGraph, NodeKind, Supernode
from engine.graphs.circuit import PlaceKey, node_name
from engine.graphs.circuit_drawing import Drawing, shown_name
from engine.graphs.glyphs import logit_index
from engine.graphs.visible_text import visible_text


def name_of(graph: AttributionGraph, labels: dict[int, str], node: int) -> str:
    """A node's label, or its short name, on one line."""
    return visible_text(" ".join(labels.get(node, "").split())) or node_name(graph, node)


def place_words(graph: AttributionGraph, drawing: Drawing, key: PlaceKey) -> str:
    """Figures of a box, or of an open supernode, for the pointer and for screen readers."""
    if isinstance(key, int):
        lines = _node_lines(graph, drawing.circuit.labels.get(key, ""), key)
    else:
        lines = _supernode_lines(graph, drawing, next(s for s in drawing.circuit.supernodes if s.place == key))
    for i, box in enumerate(drawing.shown):
        if box.key == key and drawing.edges.covered[i] > 0:
            share = plain_percent(float(drawing.edges.covered[i]))
            lines.append(f"{share} of its input from outside comes from what is drawn here")
    return "\n".join(lines)


def _node_lines(graph: AttributionGraph, label: str, node: int) -> list[str]:
    lines = ([label] if label else []) + [graph.describe(node)]
    kind = NodeKind(int(graph.kind[node]))
    figures = []
    if kind is NodeKind.FEATURE:
        figures.append(f"activation {number(float(graph.activation[node]))}")
    if kind is NodeKind.LOGIT:
        figures.append(f"probability {float(graph.logit_probability[logit_index(graph, node)]):.3f}")
    else:
        figures.append(f"{graph.measure} {plain_percent(float(graph.influence[node]))}")
    return [*lines, " · ".join(figures)]


def _supernode_lines(graph: AttributionGraph, drawing: Drawing, one: Supernode) -> list[str]:
    members = drawing.circuit.members(one.id)
    layers = sorted({int(graph.layer[node]) for node in members})
    count = f"{len(members)} node{'' if len(members) == 1 else 's'}"
    inner = len(drawing.circuit.children(one.id))
    nested = f", {inner} group{'' if inner == 1 else 's'} inside" if inner else ""
    span = f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]} to {layers[-1]}" if layers else ""
    influence = plain_percent(float(sum(float(graph.influence[node]) for node in members)))
    lines = [one.name, f"{count}{nested} · {span} · {graph.measure} together {influence}"]
    return [*lines, one.note] if one.note else lines


def edge_words(drawing: Drawing, edge: int) -> str:
    """Figures of an edge between boxes."""
    edges = drawing.edges
    source, target = (shown_name(drawing.shown[int(side[edge])]) for side in (edges.source, edges.target))
    share, size = signed_percent(float(edges.share[edge])), plain_percent(float(edges.absolute[edge]))
    weight = number(float(edges.weight[edge]))
    return f"{source} → {target}: {share} of the target's input from outside ({size} in size), weight {weight}"
