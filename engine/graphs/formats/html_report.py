"""A report of a circuit with its evidence: one HTML file without scripts, light and dark, that needs no network.

Every text is data: escaped, control characters visible. Pictures are inside as data, which no browser runs; a content
policy in the file forbids everything else.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from engine.graphs.circuit import Box, Circuit, PlaceKey, boxes, circuit_scores
from engine.graphs.circuit_layout import Place
from engine.graphs.circuit_svg import circuit_svg
from engine.graphs.glyphs import describe
from engine.graphs.graph import KIND_NAMES, AttributionGraph, NodeKind
from engine.graphs.supernode_edges import SupernodeEdges, supernode_edges
from engine.graphs.total_effect import total_effect
from engine.graphs.visible_text import visible_text
from engine.whole_files import written_whole

MOST_EDGES = 500
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:light dark;--text:#1c2127;--muted:#5a636e;--page:#fff;--band:#f5f6f8;--rule:#e3e6ea;--for:#1b7837;
--against:#762a83;--bad:#a3261b}
@media (prefers-color-scheme:dark){:root{--text:#e6e9ed;--muted:#9aa4b0;--page:#16181b;--band:#1d2024;--rule:#2b2f35;
--for:#6fcb89;--against:#cb98da;--bad:#ff9a8d}}
body{font:15px/1.5 Inter,'Segoe UI','Helvetica Neue','DejaVu Sans',Arial,sans-serif;color:var(--text);
background:var(--page);max-width:76rem;margin:2rem auto;padding:0 1.25rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;min-width:24rem;font-size:.87rem}
caption{text-align:left;color:var(--muted);padding:.3rem 0}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top}
thead th{background:var(--band)}th.n,td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.for{color:var(--for)}.against{color:var(--against)}.bad{color:var(--bad);font-weight:600}.muted{color:var(--muted)}
.token{background:var(--band);border:1px solid var(--rule);border-radius:4px;padding:0 .3rem;margin:.1rem;
display:inline-block;white-space:pre}.scroll{overflow-x:auto}.note{white-space:pre-wrap}img{max-width:100%;height:auto}
"""
Cell = str | float | int | None


@dataclass(frozen=True)
class Evidence:
    """What is known about the circuit beyond the graph: a note, and for each node lines of plain text."""

    note: str = ""
    lines: Mapping[int, Sequence[str]] = field(default_factory=dict)


def write_html_report(
    graph: AttributionGraph,
    circuit: Circuit,
    path: Path,
    *,
    title: str,
    places: Mapping[PlaceKey, Place] | None = None,
    evidence: Evidence | None = None,
    picture: tuple[str, str] | None = None,
) -> None:
    """Write the report, whole or not at all; raises what `written_whole` raises."""
    text = html_report(graph, circuit, title=title, places=places, evidence=evidence, picture=picture)
    with written_whole(path) as file:
        file.write(text.encode("utf-8", "replace"))


def html_report(
    graph: AttributionGraph,
    circuit: Circuit,
    *,
    title: str,
    places: Mapping[PlaceKey, Place] | None = None,
    evidence: Evidence | None = None,
    picture: tuple[str, str] | None = None,
) -> str:
    """The report as text. `picture` is the whole graph as SVG text, light and dark, where it should be inside."""
    evidence = evidence or Evidence()
    shown = boxes(circuit, graph)
    edges = supernode_edges(graph, shown)
    diagrams = tuple(circuit_svg(graph, circuit, title=title, places=places, dark=dark) for dark in (False, True))
    parts = [
        f"<h1>{_text(title)}</h1>",
        _prompt(graph),
        f'<p class="note">{escape(_plain(evidence.note))}</p>' if evidence.note.strip() else "",
        "<h2>Circuit</h2>",
        _pictures(diagrams[0], diagrams[1], f"Diagram of {len(shown)} boxes"),
        "<h2>How much it explains</h2>",
        _scores(graph, circuit),
        "<h2>Nodes</h2>",
        _nodes(graph, circuit, evidence),
        "<h2>Edges</h2>",
        _edges(shown, edges),
        *(["<h2>Supernodes</h2>", _supernodes(graph, circuit)] if circuit.supernodes else []),
        *(["<h2>The whole graph</h2>", _pictures(*picture, "The attribution graph")] if picture else []),
        "<h2>The trace</h2>",
        _trace(graph),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _prompt(graph: AttributionGraph) -> str:
    chips = "".join(f'<span class="token">{_text(token)}</span>' for token in graph.tokens)
    order = np.argsort(-graph.logit_probability, kind="stable")[:10].tolist()
    logits = [(visible_text(graph.logit_text[i]), _percent(float(graph.logit_probability[i]))) for i in order]
    return f"<p>{chips}</p>" + _table("Targets of the trace", ("Target", "Weight"), logits)


def _scores(graph: AttributionGraph, circuit: Circuit) -> str:
    found = circuit_scores(circuit, graph)
    rows: list[tuple[Cell, ...]] = [(f"share of all features' {graph.measure}", found.explained, 1.0)]
    words = "On the unpruned graph; features outside the circuit count as error."
    if graph.measure == "relevance":
        words += " Replacement and completeness do not apply to neurons."
    else:
        rows = [
            ("replacement", found.circuit.replacement, found.graph.replacement),
            ("completeness", found.circuit.completeness, found.graph.completeness),
            *rows,
        ]
    return _table(words, ("Score", "Circuit", "Graph"), rows) + _conservation(graph)


def _conservation(graph: AttributionGraph) -> str:
    error, bound = graph.meta.get("conservation_error"), graph.meta.get("conservation_bound")
    if not isinstance(error, int | float):
        return '<p class="muted">Conservation was not checked: the graph comes from a file.</p>'
    wrong = isinstance(bound, int | float) and error > bound
    limit = f", bound {bound:.0e}" if isinstance(bound, int | float) else ""
    return f"<p{' class=bad' if wrong else ''}>Largest conservation error of all rows: {error:.1e}{limit}.</p>"


def _nodes(graph: AttributionGraph, circuit: Circuit, evidence: Evidence) -> str:
    effect = total_effect(graph)
    error = dict(zip(graph.traced.tolist(), graph.conservation_error.tolist(), strict=True))
    inside = {node: one.name for one in circuit.supernodes for node in one.nodes}
    rows = []
    for node in circuit.nodes:
        feature = graph.kind[node] == NodeKind.FEATURE
        known = "; ".join(visible_text(line) for line in evidence.lines.get(node, ()))
        rows.append(
            (
                visible_text(circuit.labels.get(node, "")),
                describe(graph, node),
                KIND_NAMES[graph.kind[node]],
                visible_text(inside.get(node, "")),
                float(graph.activation[node]) if feature else None,
                _percent(float(graph.influence[node])),
                float(effect[node]),
                _inputs(graph, node),
                f"{error[node]:.1e}" if node in error else "",
                known,
            )
        )
    header = ("Label", "Node", "Kind", "Supernode", "Activation", graph.measure.capitalize(), "Effect on targets")
    return _table("", (*header, "Inputs from", "Conservation", "Evidence"), rows)


def _inputs(graph: AttributionGraph, node: int) -> str:
    """Where a node's input comes from, by absolute share."""
    edges = graph.inputs(node)
    if not len(edges):
        return ""
    share = np.bincount(graph.kind[graph.source[edges]], weights=np.abs(graph.share[edges]), minlength=len(NodeKind))
    parts = [f"{name} {_percent(float(part))}" for name, part in zip(KIND_NAMES, share, strict=True) if part > 5e-4]
    rest = 1 - float(share.sum())
    return ", ".join([*parts, f"not kept {_percent(rest)}"] if rest > 5e-4 else parts)


def _edges(shown: Sequence[Box], edges: SupernodeEdges) -> str:
    count = min(len(edges.source), MOST_EDGES)
    rows = [
        (
            visible_text(shown[int(edges.source[i])].name),
            visible_text(shown[int(edges.target[i])].name),
            float(edges.share[i]),
            float(edges.absolute[i]),
            float(edges.weight[i]),
        )
        for i in range(count)
    ]
    words = (
        f"The {count:,} strongest of {len(edges.source):,}; shares of the target's input, normalised for supernodes."
    )
    table = _table(words, ("From", "To", "Share", "Absolute share", "Weight"), rows, signed=(2, 4))
    covered = [(visible_text(box.name), _percent(float(edges.covered[i]))) for i, box in enumerate(shown)]
    return table + _table("Input from outside that comes from the circuit", ("Box", "Share"), covered)


def _supernodes(graph: AttributionGraph, circuit: Circuit) -> str:
    names = {one.id: one.name for one in circuit.supernodes}
    rows = [
        (
            visible_text(one.name),
            visible_text(names.get(one.parent, "")) if one.parent is not None else "",
            "; ".join(_node_name(graph, circuit, node) for node in one.nodes),
            visible_text(one.note),
        )
        for one in circuit.supernodes
    ]
    return _table("", ("Name", "Lies in", "Nodes", "Note"), rows)


def _trace(graph: AttributionGraph) -> str:
    rows: list[tuple[Cell, ...]] = [("nodes", graph.n_nodes), ("edges", graph.n_edges)]
    for name in ("prompt", "model", "features", "machine", "settings", "unexplored", "versions", "imported"):
        rows += _flat(name, graph.meta.get(name))
    return _table("", ("What", "Value"), rows)


def _flat(name: str, value: Any) -> Iterable[tuple[Cell, ...]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(f"{name}: {key}", one)
    elif value is not None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        yield visible_text(name), visible_text(text, 2000)


def _node_name(graph: AttributionGraph, circuit: Circuit, node: int) -> str:
    return circuit.labels.get(node) or describe(graph, node)


def _pictures(light: str, dark: str, alt: str) -> str:
    one, other = (base64.b64encode(svg.encode("utf-8", "replace")).decode() for svg in (light, dark))
    kind = "data:image/svg+xml;base64,"
    return (
        f'<div class="scroll"><picture><source media="(prefers-color-scheme: dark)" srcset="{kind}{other}">'
        f'<img alt="{_text(alt)}" src="{kind}{one}"></picture></div>'
    )


def _table(caption: str, header: Sequence[str], rows: Iterable[Sequence[Cell]], *, signed: Sequence[int] = ()) -> str:
    rows = list(rows)
    # Titles stand above what they name: at the right over numbers.
    numeric = [all(cell is None or not isinstance(cell, str) for cell in column) for column in zip(*rows, strict=True)]
    sides = ['<th scope="col" class="n">' if one else '<th scope="col">' for one in numeric or [False] * len(header)]
    lines = ['<div class="scroll"><table>', f"<caption>{_text(caption)}</caption>" if caption else ""]
    titles = "".join(f"{side}{_text(name)}</th>" for side, name in zip(sides, header, strict=True))
    lines.append(f"<thead><tr>{titles}</tr></thead><tbody>")
    lines += [f"<tr>{''.join(_cell(cell, i in signed) for i, cell in enumerate(row))}</tr>" for row in rows]
    return "\n".join([*lines, "</tbody></table></div>"])


def _cell(value: Cell, signed: bool) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, str):
        return f"<td>{escape(_plain(value))}</td>"
    sign = f" {'for' if value > 0 else 'against'}" if signed and value != 0 else ""
    number = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f'<td class="n{sign}">{number.replace("-", "−")}</td>'


def _text(text: str) -> str:
    return escape(visible_text(text))


def _plain(text: str) -> str:
    """Text on several lines, each made visible."""
    return "\n".join(visible_text(line) for line in text.split("\n"))


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
