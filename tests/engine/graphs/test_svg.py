"""The picture as a file: what it holds, whoever wrote the texts."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import MachineError, RequestError
from engine.graphs.circuit import Circuit, Supernode
from engine.graphs.colours import GROUP_COLOURS
from engine.graphs.edge_ranking import STRONGEST
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.svg import svg_text, write_svg
from engine.graphs.svg_shapes import text_width
from tests.graph_builder import build_graph

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script> & \" ' ]]> \x00\x1b[31m \u202e\u200b \ud800 ﷐ \n\t"


@dataclass(frozen=True)
class View:
    nodes: np.ndarray
    edges: np.ndarray
    explained: float = 0.83


def everything(graph: AttributionGraph) -> View:
    return View(np.ones(graph.n_nodes, dtype=bool), np.ones(graph.n_edges, dtype=bool))


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.encode("utf-8"))


def part(root: ElementTree.Element, identity: str) -> ElementTree.Element:
    return next(e for e in root.iter() if e.get("id") == identity)


def texts(element: ElementTree.Element) -> list[str]:
    return ["".join(e.itertext()) for e in element.iter(f"{SVG}text")]


def test_every_shown_node_is_a_shape_of_its_kind() -> None:
    graph = build_graph()
    nodes = part(parsed(svg_text(graph, everything(graph), title="t")), "nodes")
    shape = {"feature": "circle", "embedding": "rect", "logit": "rect", "error": "polygon", "bias": "polygon"}
    for kind in NodeKind:
        groups = [g for g in nodes.findall(f"{SVG}g") if g.get("class") == f"node {kind.name.lower()}"]
        assert len(groups) == np.count_nonzero(graph.kind == kind)
        assert all(len(g.findall(f"{SVG}{shape[kind.name.lower()]}")) == 1 for g in groups)


def test_hidden_nodes_and_their_edges_are_not_drawn() -> None:
    graph = build_graph()
    keep = graph.kind != NodeKind.ERROR
    view = View(keep, np.ones(graph.n_edges, dtype=bool))
    root = parsed(svg_text(graph, view, title="t"))
    assert len(part(root, "nodes").findall(f"{SVG}g")) == np.count_nonzero(keep)
    possible = np.count_nonzero(keep[graph.source] & keep[graph.target])
    assert len(part(root, "edges").findall(f"{SVG}line")) == min(STRONGEST, possible)
    assert "error" not in texts(part(root, "legend"))


def test_edges_have_the_colour_of_their_sign_and_stronger_ones_are_wider() -> None:
    graph = build_graph(n_features=30, n_edges=200)
    lines = part(parsed(svg_text(graph, everything(graph), title="t")), "edges").findall(f"{SVG}line")
    assert len(lines) == min(graph.n_edges, STRONGEST)
    colours = [line.get("stroke") for line in lines]
    assert colours.count("#1b7837") == np.count_nonzero(graph.weight > 0)
    assert colours.count("#762a83") == np.count_nonzero(graph.weight < 0)
    widths = [float(line.get("stroke-width", 0)) for line in lines]
    assert widths == sorted(widths)
    assert widths[-1] > widths[0]


def test_nodes_do_not_overlap_and_lie_inside_the_picture() -> None:
    graph = build_graph(n_features=300)
    root = parsed(svg_text(graph, everything(graph), title="t"))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    circles = list(part(root, "nodes").iter(f"{SVG}circle"))
    at = np.array([[float(c.get(key, "nan")) for key in ("cx", "cy", "r")] for c in circles])
    assert (at[:, 0] - at[:, 2] > 0).all()
    assert (at[:, 0] + at[:, 2] < width).all()
    assert (at[:, 1] + at[:, 2] < height).all()
    apart = np.hypot(at[:, None, 0] - at[None, :, 0], at[:, None, 1] - at[None, :, 1])
    apart[np.diag_indices(len(at))] = np.inf
    assert (apart >= at[:, None, 2] + at[None, :, 2]).all()


def test_tokens_logits_title_and_figures_are_written() -> None:
    graph = build_graph()
    root = parsed(svg_text(graph, everything(graph), title="The capital"))
    assert root.findtext(f"{SVG}title") == "The capital"
    assert texts(part(root, "tokens"))[2:] == ["The", "␣capital", "␣of", "␣Texas", "␣is"]
    assert [text.split(" ")[0] for text in texts(part(root, "logits"))] == ["␣Austin", "␣the", "␣a", "␣not"]
    caption = "".join(part(root, "caption").itertext())
    n = graph.n_nodes
    assert caption == f"{n} of {n} nodes, 83 % of influence · replacement 0.62 · completeness 0.87"
    named = svg_text(graph, everything(graph), title="t", caption="my words")
    assert "".join(part(parsed(named), "caption").itertext()) == "my words"


def test_a_column_without_nodes_has_no_lone_mark_for_its_token() -> None:
    graph = replace(build_graph(n_features=80), tokens=("<|im_start|>", "The", "␣capital", "␣of", "␣Texas", "␣is"))
    view = View(graph.position != 0, np.ones(graph.n_edges, dtype=bool), 0.5)
    written = texts(part(parsed(svg_text(graph, view, title="t")), "tokens"))
    assert "␣capital" in written
    assert "…" not in written


def test_pinned_and_labelled_nodes_are_named() -> None:
    graph = build_graph()
    features = np.flatnonzero(graph.kind == NodeKind.FEATURE)[:3].tolist()
    logit = int(np.flatnonzero(graph.kind == NodeKind.LOGIT)[0])
    circuit = Circuit((*features[:2], logit), labels={features[0]: "say Austin"})
    text = svg_text(graph, everything(graph), title="t", circuit=circuit)
    names = texts(part(parsed(text), "labels"))
    plain = f"{graph.layer[features[1]]} · {graph.feature[features[1]]}"
    assert set(names) == {"say Austin", plain, "Logit ␣Austin at ␣is (5)"}


def test_supernodes_are_rings_in_their_colour_and_named_in_the_legend() -> None:
    graph = build_graph()
    one, two, hidden, outside = np.flatnonzero(graph.kind == NodeKind.FEATURE)[:4].tolist()
    supernodes = (
        Supernode(1, "Texas", (one, hidden), colour="#123456"),
        Supernode(4, "say a capital", (two,), parent=1),
        Supernode(7, "nothing shown", (outside,)),
    )
    nodes = np.ones(graph.n_nodes, dtype=bool)
    nodes[[hidden, outside]] = False
    view = View(nodes, np.ones(graph.n_edges, dtype=bool))
    root = parsed(svg_text(graph, view, title="t", circuit=Circuit(supernodes=supernodes)))
    drawn = {(ring.get("stroke"), ring.get("cx"), ring.get("cy")) for ring in part(root, "groups")}
    shapes = {
        title.text: circle
        for g in part(root, "nodes")
        for title, circle in [g]
        if title.text is not None and ", in " in title.text
    }
    assert [text.rpartition(", in ")[2] for text in shapes] == ["Texas", "say a capital"]
    colours = ("#123456", GROUP_COLOURS[3][1])
    assert drawn == {
        (colour, circle.get("cx"), circle.get("cy")) for colour, circle in zip(colours, shapes.values(), strict=True)
    }
    legend = part(root, "legend")
    assert [text.text for text in legend.findall(f"{SVG}text") if text.get("class") == "group"] == [
        "Texas",
        "say a capital",
    ]


def test_names_of_many_supernodes_take_more_lines_and_stay_on_the_page() -> None:
    graph = build_graph()
    features = np.flatnonzero(graph.kind == NodeKind.FEATURE)[:12].tolist()
    supernodes = tuple(Supernode(i, f"a long name of a group, number {i}", (n,)) for i, n in enumerate(features, 1))
    plain = parsed(svg_text(graph, everything(graph), title="t"))
    root = parsed(svg_text(graph, everything(graph), title="t", circuit=Circuit(supernodes=supernodes)))
    names = [text for text in part(root, "legend").findall(f"{SVG}text") if text.get("class") == "group"]
    lines = sorted({float(name.get("y", "")) for name in names})
    assert len(names) == 12
    assert len(lines) > 1
    assert float(root.get("height", "")) - float(plain.get("height", "")) == 20 * len(lines)
    assert lines[-1] < float(part(root, "caption").get("y", "")) - 12
    for name in names:
        assert float(name.get("x", "")) + text_width(name.text or "", 11) < float(root.get("width", ""))


def test_hostile_texts_are_text() -> None:
    graph = build_graph(n_positions=4, n_logits=3)
    graph = replace(graph, tokens=(HOSTILE,) * 4, logit_text=(HOSTILE,) * 3)
    node = int(np.flatnonzero(graph.kind == NodeKind.FEATURE)[0])
    drawn = svg_text(
        graph,
        everything(graph),
        title=HOSTILE,
        caption=HOSTILE,
        circuit=Circuit(
            (node,), (Supernode(1, HOSTILE, (node,), colour='"><script>'),), {node: HOSTILE, 10**9: "x", -5: "y"}
        ),
    )
    root = parsed(drawn)
    known = {"svg", "title", "desc", "rect", "g", "line", "text", "tspan", "circle", "polygon", "polyline"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == known
    assert "alert(1)" in "".join(part(root, "labels").itertext())
    for invisible in ("\x00", "\x1b", "\u202e", "\u200b", "\ufdd0"):
        assert invisible not in drawn


def test_long_prompts_slant_their_tokens_and_nothing_shown_still_draws() -> None:
    graph = build_graph(n_positions=60, n_features=50)
    tokens = part(parsed(svg_text(graph, everything(graph), title="t")), "tokens").findall(f"{SVG}text")
    assert len(tokens) == 61
    assert all("rotate(" in (token.get("transform") or "") for token in tokens)
    nothing = View(np.zeros(graph.n_nodes, dtype=bool), np.zeros(graph.n_edges, dtype=bool), 0.0)
    root = parsed(svg_text(graph, nothing, title=""))
    assert not part(root, "nodes").findall(f"{SVG}g")
    assert not part(root, "edges").findall(f"{SVG}line")


def test_dark_pictures_have_a_dark_ground() -> None:
    graph = build_graph(n_features=10)
    ground = {
        dark: part(parsed(svg_text(graph, everything(graph), title="t", dark=dark)), "background") for dark in (0, 1)
    }
    assert ground[0].get("fill") == "#ffffff"
    assert ground[1].get("fill") == "#16181b"


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    graph = build_graph(n_features=10)
    path = tmp_path / "picture.svg"
    write_svg(graph, everything(graph), path, title="t")
    assert path.read_text(encoding="utf-8") == svg_text(graph, everything(graph), title="t")
    assert os.listdir(tmp_path) == ["picture.svg"]  # noqa: PTH208


def test_a_missing_folder_is_refused_with_a_sentence(tmp_path: Path) -> None:
    graph = build_graph(n_features=3)
    with pytest.raises((RequestError, MachineError), match="no folder"):
        write_svg(graph, everything(graph), tmp_path / "nowhere" / "a.svg", title="t")
