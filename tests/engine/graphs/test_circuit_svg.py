"""The circuit as a picture in a file: what the window shows of it, and nothing that could be more than text."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from engine.graphs import AttributionGraph, Circuit, NodeKind, Supernode
from engine.graphs.circuit_drawing import THICKEST, draw
from engine.graphs.circuit_svg import box_width, circuit_svg
from engine.graphs.colours import DARK, GROUP_COLOURS, LIGHT
from tests.graph_builder import build_graph

SVG = "{http://www.w3.org/2000/svg}"
OWN = "#d58400"


@pytest.fixture
def graph() -> AttributionGraph:
    return build_graph()


def circuit_of(graph: AttributionGraph, **changes: object) -> Circuit:
    """The strongest features: two in an open group, two in a folded one inside it, one alone."""
    features = graph.of_kind(NodeKind.FEATURE)
    nodes = features[np.argsort(-graph.influence[features])][:5].tolist()
    group = Supernode(1, "places", tuple(nodes[:2]), colour=OWN, collapsed=False)
    inner = Supernode(2, "inner", tuple(nodes[2:4]), parent=1, colour="#0a9c73")
    return Circuit(tuple(nodes), (replace(group, **changes), inner))


def rectangles(svg: str, **look: str) -> list[dict[str, str]]:
    found = [dict(one.attrib) for one in ElementTree.fromstring(svg).iter(f"{SVG}rect")]
    return [one for one in found if all(one.get(key) == value for key, value in look.items())]


def test_an_open_group_has_its_frame_and_its_members_wear_its_colour(graph: AttributionGraph) -> None:
    svg = circuit_svg(graph, circuit_of(graph), title="t")
    (frame,) = rectangles(svg, **{"stroke-dasharray": "4 3"})
    assert frame["stroke"] == OWN
    members = rectangles(svg, stroke=OWN, fill="none")
    assert len(members) == 2
    left, right = float(frame["x"]), float(frame["x"]) + float(frame["width"])
    for box in members:
        assert left < float(box["x"]) and float(box["x"]) + float(box["width"]) < right
    assert rectangles(svg, stroke="#0a9c73")  # the folded one inside
    assert rectangles(svg, stroke=LIGHT.outline, fill="none")  # the one alone
    folded = circuit_svg(graph, circuit_of(graph, collapsed=True), title="t")
    assert not rectangles(folded, **{"stroke-dasharray": "4 3"})
    assert len(rectangles(folded)) < len(rectangles(svg))


def test_boxes_stand_as_in_the_window(graph: AttributionGraph) -> None:
    circuit = circuit_of(graph)
    alone = circuit.pins[-1]
    kept = {alone: (400.0, 90.0)}
    drawing = draw(graph, circuit, kept, box_width)
    (box,) = rectangles(circuit_svg(graph, circuit, title="t", places=kept), stroke=LIGHT.outline, fill="none")
    (frame,) = rectangles(circuit_svg(graph, circuit, title="t", places=kept), **{"stroke-dasharray": "4 3"})
    area = drawing.area_of([one.key for one in drawing.shown].index(alone))
    assert float(box["x"]) - float(frame["x"]) == pytest.approx(area.left - drawing.frames[0].area.left, abs=0.11)
    assert float(box["y"]) - float(frame["y"]) == pytest.approx(drawing.frames[0].area.top - area.top, abs=0.11)


def test_the_strongest_edge_is_the_thickest_and_the_legend_says_what_it_is(graph: AttributionGraph) -> None:
    circuit = circuit_of(graph)
    logits = graph.of_kind(NodeKind.LOGIT).tolist()
    circuit = replace(circuit, pins=(*circuit.pins, *logits))
    svg = circuit_svg(graph, circuit, title="t", dark=True)
    edges = list(ElementTree.fromstring(svg).iter(f"{SVG}polyline"))
    drawing = draw(graph, circuit, {}, box_width)
    assert len(edges) == len(drawing.drawn_edges) > 0
    assert float(edges[-1].attrib["stroke-width"]) == pytest.approx(THICKEST)
    assert {one.attrib["stroke"] for one in edges} <= {DARK.positive, DARK.negative}
    assert f"{100 * drawing.strongest:.2g} % of the target's input" in svg
    empty = circuit_svg(graph, Circuit(circuit.pins[4:5]), title="t")
    assert "No edges run between these boxes" in empty


@pytest.mark.parametrize("colour", ['"/><script>x</script>', "url(#a)", "red", "#12345", "#1234567"])
def test_a_colour_is_a_colour_or_none(graph: AttributionGraph, colour: str) -> None:
    svg = circuit_svg(graph, circuit_of(graph, colour=colour, name="<b>&\x00"), title="<t>", caption="<c>")
    assert colour not in svg
    assert rectangles(svg, **{"stroke-dasharray": "4 3"})[0]["stroke"] in dict(GROUP_COLOURS).values()
