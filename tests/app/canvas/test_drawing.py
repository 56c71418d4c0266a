"""What is drawn: counts, places and colours of pixels, never a stored picture."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from app.canvas import GraphCanvas
from app.canvas.headers_layer import place_logits
from app.canvas.labels_layer import MOST_LABELS
from app.canvas.legend_bar import LegendBar
from app.canvas.nodes_layer import MANY
from app.canvas.scene import HOVERED_EDGES
from app.canvas.surface import Surface
from app.theme import DARK, LIGHT, contrast
from engine.graphs.edge_ranking import LIVE_EDGES, STRONGEST
from engine.graphs.graph import AttributionGraph, NodeKind
from tests.app.canvas.conftest import Group, Hands, View
from tests.graph_builder import build_graph


@pytest.fixture(scope="module")
def crowd() -> AttributionGraph:
    """10,000 nodes; one logit is fed by every one of them."""
    graph = build_graph(n_layers=30, n_positions=20, n_features=9_600, n_logits=1, n_edges=10)
    source = np.flatnonzero(graph.kind != NodeKind.LOGIT).astype(np.int32)
    weight = np.linspace(2, -1, len(source)).astype(np.float32)
    order = np.argsort(-np.abs(weight), kind="stable")
    target = np.full(len(source), graph.n_nodes - 1, dtype=np.int32)
    return replace(graph, source=source[order], target=target, weight=weight[order])


def picture(hands: Hands) -> QImage:
    return hands.canvas.grab().toImage()


def largest_difference(one: QImage, other: QImage) -> int:
    """Of any channel of any pixel."""
    assert one.size() == other.size()
    same = [image.convertToFormat(QImage.Format.Format_RGB32) for image in (one, other)]
    a, b = (np.array(image.constBits(), dtype=np.uint8) for image in same)
    return int(np.abs(a.astype(np.int16) - b.astype(np.int16)).max())


def colour_at(hands: Hands, image: QImage, node: int, dx: int = 0, dy: int = 0) -> str:
    at = hands.surface.pixel_of(node).toPoint() + hands.surface.pos()
    return image.pixelColor(at.x() + dx, at.y() + dy).name()


def test_every_shown_node_is_in_the_picture_in_the_colour_of_its_kind(hands: Hands, graph: AttributionGraph) -> None:
    image = picture(hands)
    assert hands.surface.nodes.drawn == graph.n_nodes
    fills = LIGHT.graph.kind_fills()
    for node in range(graph.n_nodes):
        assert colour_at(hands, image, node) == fills[graph.kind[node]]


def test_hidden_nodes_are_not_drawn(hands: Hands, graph: AttributionGraph) -> None:
    keep = graph.kind != NodeKind.ERROR
    hands.canvas.set_view(View(keep, np.ones(graph.n_edges, dtype=bool)))
    picture(hands)
    assert hands.surface.nodes.drawn == np.count_nonzero(keep)
    kept = keep[graph.source] & keep[graph.target]
    assert kept[hands.stage.edges].all()
    legend = hands.canvas.findChild(LegendBar)
    assert NodeKind.ERROR not in legend.kinds()
    assert NodeKind.BIAS in legend.kinds()


def test_glyphs_do_not_overlap_at_a_hundred_per_cent(hands: Hands, graph: AttributionGraph) -> None:
    hands.surface.camera.hold(0, 0, hands.stage.inner.center(), (1.0, 1.0))
    x, y, half = hands.stage.x, hands.stage.y, np.array([hands.stage.size_of(n) / 2 for n in range(graph.n_nodes)])
    apart = np.maximum(np.abs(x[:, None] - x), np.abs(y[:, None] - y))
    apart[np.diag_indices(len(x))] = np.inf
    assert (apart >= half[:, None] + half).all()


def test_live_edges_and_labels_stay_inside_their_budgets(qtbot: QtBot, crowd: AttributionGraph) -> None:
    canvas = GraphCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(1440, 900)
    canvas.show()
    canvas.set_graph(crowd)
    surface = canvas.findChild(Surface)
    canvas.grab()
    assert surface.edges.drawn == STRONGEST
    busiest = int(np.bincount(crowd.target).argmax())
    assert len(crowd.inputs(busiest)) > LIVE_EDGES
    canvas.select(busiest)
    features = np.flatnonzero(crowd.kind == NodeKind.FEATURE)[:900].tolist()
    canvas.set_annotations(features, {node: f"label {node}" for node in features}, ())
    canvas.grab()
    assert surface.edges.drawn == LIVE_EDGES
    canvas._hover(features[7])
    canvas.grab()
    assert LIVE_EDGES - HOVERED_EDGES <= surface.edges.drawn <= LIVE_EDGES
    canvas._hover(-1)
    assert 0 < len(surface.labels.drawn) <= MOST_LABELS
    for _ in range(9):
        canvas.zoom_in()
    canvas.grab()
    assert len(surface.labels.drawn) <= MOST_LABELS


def test_hovering_paints_the_hovered_edges_only_over_a_picture_of_the_others(
    qtbot: QtBot, crowd: AttributionGraph
) -> None:
    canvas = GraphCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(1440, 900)
    canvas.show()
    canvas.set_graph(crowd)
    surface, layer = canvas.findChild(Surface), canvas.findChild(Surface).edges
    canvas.select(int(np.bincount(crowd.target).argmax()))
    nodes = crowd.source[np.argsort(np.abs(crowd.weight))[:3]].tolist()  # their edges are not among the strongest
    for node in nodes:
        canvas._hover(node)
        surface.grab()  # line by line
        surface.grab()  # the same again: from now on a picture of it is kept
        canvas._hover(nodes[0] if node == nodes[1] else nodes[1])
        surface.grab()
        canvas._hover(node)
        shown = surface.grab().toImage()
        touching = np.flatnonzero((crowd.source == node) | (crowd.target == node))
        assert set(touching) <= set(surface.stage.edges)
        assert layer.lines == len(touching) < layer.drawn
        # The same as painted line by line, but for the rounding of translucent colours.
        layer._still_key = ()
        again = surface.grab().toImage()
        assert layer.lines == layer.drawn
        assert largest_difference(shown, again) <= 3
    surface.zoom(1.5, QPointF(300, 300))
    surface.grab()
    assert layer.lines == layer.drawn, "what moves is painted anew"


def test_painting_takes_as_many_calls_for_few_edges_as_for_many(
    hands: Hands, graph: AttributionGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No loop over edges in Python: one call a pen, and there are at most twelve pens."""
    calls = []
    layer = type(hands.surface.edges)
    pen = layer._pen
    monkeypatch.setattr(layer, "_pen", lambda self, index, count: calls.append(count) or pen(self, index, count))
    picture(hands)
    assert len(calls) <= 12
    assert sum(calls) == len(hands.stage.edges) > 100


def test_labels_do_not_cover_each_other(hands: Hands, graph: AttributionGraph) -> None:
    features = np.flatnonzero(graph.kind == NodeKind.FEATURE).tolist()
    hands.canvas.set_annotations((), {node: f"a longer label {node}" for node in features}, ())
    picture(hands)
    boxes = [box for _, box in hands.surface.labels.drawn]
    assert len(boxes) > 10
    for i, box in enumerate(boxes):
        assert not any(box.intersects(other) for other in boxes[:i])


def test_a_selected_node_shows_its_edges_and_tints_what_it_is_connected_with(
    hands: Hands, graph: AttributionGraph
) -> None:
    node = int(np.flatnonzero(graph.kind == NodeKind.LOGIT)[0])
    hands.canvas.select(node)
    touching = np.flatnonzero((graph.source == node) | (graph.target == node))
    assert set(hands.stage.edges) == set(touching)
    neighbours = np.unique(graph.source[touching])
    assert set(np.flatnonzero(hands.stage.tints >= 0)) == set(neighbours)
    middle = 8
    edge = graph.inputs(node)[0]
    tint = int(hands.stage.tints[graph.source[edge]])
    assert (tint > middle) == (graph.weight[edge] > 0)
    assert hands.stage.faded.sum() == graph.n_nodes - len(neighbours) - 1
    image = picture(hands)
    strongest = int(graph.source[edge])
    assert colour_at(hands, image, strongest) == LIGHT.signed_colours()[tint]


def test_without_focus_the_strongest_with_pins_theirs_and_hover_adds(hands: Hands, graph: AttributionGraph) -> None:
    assert len(hands.stage.edges) == min(STRONGEST, graph.n_edges)
    features = np.flatnonzero(graph.kind == NodeKind.FEATURE)
    first, second = int(features[3]), int(features[-3])
    hands.canvas.set_annotations((first, second), {}, ())
    touching = np.isin(graph.source, (first, second)) | np.isin(graph.target, (first, second))
    assert touching[hands.stage.edges].all()
    hands.hover(int(hands.apart(3)[2]))
    hovered = hands.canvas.hovered()
    mine = (graph.source == hovered) | (graph.target == hovered)
    assert set(np.flatnonzero(mine)) <= set(hands.stage.edges)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_selection_hover_pins_and_groups_are_marked(hands: Hands, graph: AttributionGraph, theme) -> None:  # type: ignore[no-untyped-def]
    hands.canvas.set_theme(theme)
    chosen, pinned, grouped = hands.apart(3)
    hands.canvas.set_annotations((pinned,), {}, (Group("pair", "#d9822b", (grouped,)),))
    hands.canvas.select(chosen)
    image = picture(hands)

    def around(node: int) -> set[str]:
        return {colour_at(hands, image, node, dx, dy) for dx in range(-14, 15) for dy in range(-14, 15)}

    assert theme.accent in around(chosen)
    assert theme.graph.text in around(pinned)
    assert "#d9822b" in around(grouped)


def test_a_theme_changes_ground_and_glyphs(hands: Hands, graph: AttributionGraph) -> None:
    for theme in (DARK, LIGHT):
        hands.canvas.set_theme(theme)
        image = picture(hands)
        assert image.pixelColor(6, 6).name() == theme.graph.background
        assert colour_at(hands, image, 0) == theme.graph.kind_fills()[graph.kind[0]]


def test_headers_stay_in_sight_while_panning(hands: Hands) -> None:
    def ink(image: QImage, left: int, top: int, width: int, height: int) -> int:
        at = hands.surface.pos()
        ground = QColor(LIGHT.graph.background)
        return sum(
            contrast(image.pixelColor(x + at.x(), y + at.y()).name(), ground.name()) > 3
            for x in range(left, left + width)
            for y in range(top, top + height)
        )

    for dx, dy in ((0.0, 0.0), (160.0, -90.0), (-200.0, 60.0)):
        hands.surface.pan(dx, dy)
        image = picture(hands)
        inner = hands.stage.inner
        assert ink(image, 2, int(inner.top()), int(inner.left()) - 8, int(inner.height())) > 60
        assert ink(image, int(inner.left()), int(inner.bottom()) + 3, int(inner.width()), 20) > 60


def test_logit_texts_stand_apart_in_the_order_of_their_nodes(hands: Hands) -> None:
    texts = place_logits(hands.stage)
    assert [text.text for text in texts] == ["␣Austin", "␣the", "␣a", "␣not"]
    assert [text.foot for text in texts] == sorted(text.foot for text in texts)
    for left, right in pairwise(texts):
        assert left.middle + left.width / 2 < right.middle - right.width / 2
    assert texts[-1].middle + texts[-1].width / 2 <= hands.stage.rect.width()


def test_sizes_follow_influence_activation_or_nothing(hands: Hands, graph: AttributionGraph) -> None:
    features = graph.kind == NodeKind.FEATURE

    def sizes() -> np.ndarray:
        return np.array([hands.stage.size_of(node) for node in np.flatnonzero(features)])

    by_influence = sizes()
    assert (np.diff(by_influence[np.argsort(graph.influence[features])]) >= 0).all()
    assert len(set(by_influence)) > 2
    hands.canvas.set_size_by("activation")
    assert (np.diff(sizes()[np.argsort(graph.activation[features])]) >= 0).all()
    hands.canvas.set_size_by("none")
    assert len(set(sizes())) == 1
    with pytest.raises(ValueError, match="loudness"):
        hands.canvas.set_size_by("loudness")


def test_zoomed_in_far_enough_features_show_their_number(hands: Hands, crowd: AttributionGraph) -> None:
    hands.canvas.set_graph(crowd)
    picture(hands)
    assert not hands.surface.labels.drawn
    for _ in range(14):
        hands.canvas.zoom_in()
    picture(hands)
    assert hands.surface.labels.drawn
    inner = hands.stage.inner.adjusted(-1, -1, 1, 1)
    assert all(inner.contains(hands.surface.pixel_of(node)) for node, _ in hands.surface.labels.drawn)


def test_a_view_keeps_the_selected_node_where_it_is_while_zoomed_in(hands: Hands, graph: AttributionGraph) -> None:
    node = hands.apart(6)[5]
    hands.canvas.select(node)
    hands.canvas.zoom_in()
    before = hands.surface.pixel_of(node)
    keep = np.random.default_rng(0).random(graph.n_nodes) < 0.5
    keep[node] = True
    hands.canvas.set_view(View(keep, np.ones(graph.n_edges, dtype=bool)))
    assert (hands.surface.pixel_of(node) - before).manhattanLength() < 0.5


def test_resizing_fits_until_one_has_zoomed(hands: Hands) -> None:
    def inside() -> bool:
        inner = hands.stage.inner.adjusted(-1, -1, 1, 1)
        return all(inner.contains(hands.surface.pixel_of(n)) for n in hands.stage.scene.shown.tolist())  # type: ignore[union-attr]

    assert inside()
    hands.canvas.resize(1200, 420)
    QApplication.sendPostedEvents()
    assert inside()
    hands.canvas.zoom_in()
    scales = hands.surface.camera.scales()
    hands.canvas.resize(700, 500)
    QApplication.sendPostedEvents()
    assert np.allclose(hands.surface.camera.scales(), scales)


def test_an_empty_canvas_says_what_would_fill_it(hands: Hands, graph: AttributionGraph) -> None:
    notice = hands.canvas.findChild(QLabel, "emptyCanvas")
    assert not notice.isVisible()
    hands.canvas.set_view(View(np.zeros(graph.n_nodes, dtype=bool), np.zeros(graph.n_edges, dtype=bool)))
    assert "Every node is hidden" in notice.text()
    assert notice.isVisible()
    hands.canvas.set_graph(None)
    assert "press Trace" in notice.text()
    hands.canvas.set_empty_message("Nothing here.\nOpen a trace.")
    assert notice.text() == "Nothing here.\nOpen a trace."
    picture(hands)
    hands.canvas.select(0)
    hands.canvas.set_annotations((1,), {}, ())
    hands.key(Qt.Key.Key_Down)
    assert hands.canvas.selected() == -1
    with pytest.raises(ValueError, match="no graph"):
        hands.canvas.set_view(View(np.ones(3, dtype=bool), np.ones(3, dtype=bool)))


def test_another_graph_clears_selection_and_hover(hands: Hands) -> None:
    hands.canvas.select(2)
    hands.hover(hands.apart(1)[0])
    with hands.qtbot.waitSignals([hands.canvas.selectionChanged, hands.canvas.hoverChanged]):
        hands.canvas.set_graph(build_graph(seed=1))
    assert (hands.canvas.selected(), hands.canvas.hovered()) == (-1, -1)
    picture(hands)


def test_a_view_of_another_graph_is_refused(hands: Hands) -> None:
    with pytest.raises(ValueError, match="another graph"):
        hands.canvas.set_view(View(np.ones(3, dtype=bool), np.ones(3, dtype=bool)))


def test_hostile_tokens_and_labels_are_drawn_as_text(hands: Hands, graph: AttributionGraph) -> None:
    hostile = "<img src=x>\n\x00\u202e" * 40
    hands.canvas.set_graph(replace(graph, tokens=(hostile,) * 5, logit_text=(hostile,) * 4))
    hands.canvas.set_annotations((0,), {0: hostile, 10**7: hostile}, (Group(hostile, "not a colour", (1, 10**7)),))
    hands.canvas.select(0)
    hands.hover(0)
    picture(hands)


def test_screen_readers_are_told(hands: Hands, graph: AttributionGraph) -> None:
    assert hands.canvas.accessibleName() == "Attribution graph"
    node = int(np.flatnonzero(graph.kind == NodeKind.FEATURE)[0])
    hands.canvas.set_annotations((), {node: "say Austin"}, ())
    hands.canvas.select(node)
    words = hands.canvas.accessibleDescription()
    assert f"Layer {graph.layer[node]} · {graph.feature[node]} at " in words
    assert "labelled say Austin" in words
    assert f"{graph.n_nodes} of {graph.n_nodes} nodes shown" in words


@pytest.fixture
def tabbed(hands: Hands) -> Hands:
    hands.canvas.clearFocus()
    hands.canvas.setFocus(Qt.FocusReason.TabFocusReason)
    return hands


def test_keyboard_focus_is_visible_and_a_click_hides_it(tabbed: Hands) -> None:
    tabbed.qtbot.waitUntil(tabbed.canvas.hasFocus)
    assert picture(tabbed).pixelColor(0, 200).name() == LIGHT.accent
    tabbed.click(tabbed.apart(1)[0])
    assert picture(tabbed).pixelColor(0, 200).name() == LIGHT.graph.background


def test_a_font_twice_as_large_makes_room_for_itself(qtbot: QtBot, graph: AttributionGraph) -> None:
    canvas = GraphCanvas()
    qtbot.addWidget(canvas)
    font = canvas.font()
    font.setPointSizeF(font.pointSizeF() * 2)
    canvas.resize(900, 560)
    canvas.show()
    canvas.set_graph(graph)
    surface = canvas.findChild(Surface)
    before = surface.camera.margins
    canvas.setFont(font)
    after = surface.camera.margins
    assert after.left > 1.5 * before.left
    assert after.top > 1.4 * before.top
    canvas.grab()


def test_nodes_outside_the_view_are_not_drawn(hands: Hands) -> None:
    scene = hands.stage.scene
    assert scene is not None
    picture(hands)
    assert hands.surface.nodes.drawn == len(scene.shown)
    hands.surface.zoom(6.0, hands.point(int(scene.shown[0])).toPointF())
    picture(hands)
    rect = hands.stage.rect.adjusted(-20, -20, 20, 20)
    inside = sum(rect.contains(hands.surface.pixel_of(node)) for node in scene.shown.tolist())
    assert hands.surface.nodes.drawn == inside < len(scene.shown) / 2


def test_hovering_writes_only_the_names_in_focus_and_the_picture_is_the_same(hands: Hands) -> None:
    node, other = hands.apart(2)
    hands.hover(node)
    picture(hands)
    kept = picture(hands)
    assert 2 <= hands.surface.headers.texts <= 3  # a row, a token, perhaps a logit
    hands.hover(other)
    picture(hands)
    hands.hover(node)
    assert picture(hands) == kept
    hands.surface.headers._key = ()  # as if nothing were kept
    assert picture(hands) == kept
    assert hands.surface.headers.texts > 10


def test_a_hover_leaves_the_tints_of_a_selection_alone(hands: Hands) -> None:
    selected, other = hands.apart(2)
    hands.canvas.select(selected)
    domain, tints, changes = hands.stage.domain, hands.stage.tints.copy(), hands.stage.style_changes
    hands.hover(other)
    assert hands.canvas.hovered() == other
    assert (hands.stage.domain, hands.stage.style_changes) == (domain, changes)
    assert (hands.stage.tints == tints).all()


def test_a_kept_picture_of_many_nodes_shows_what_a_new_one_does(qtbot: QtBot, crowd: AttributionGraph) -> None:
    canvas = GraphCanvas()
    qtbot.addWidget(canvas)
    canvas.set_theme(LIGHT)
    canvas.resize(900, 600)
    canvas.show()
    canvas.set_graph(crowd)
    surface = canvas.findChild(Surface)
    first = canvas.grab().toImage()
    assert surface.nodes.drawn > MANY
    # Drawn through transparent pictures, many faint lines one on the other: rounding.
    assert largest_difference(canvas.grab().toImage(), first) <= 8
    canvas.select(int(np.flatnonzero(crowd.kind == NodeKind.FEATURE)[3]))
    tinted = canvas.grab().toImage()
    assert largest_difference(tinted, first) > 100
    canvas.select(-1)
    assert largest_difference(canvas.grab().toImage(), first) <= 3


def test_labels_stay_beside_their_nodes_while_the_view_moves(hands: Hands, graph: AttributionGraph) -> None:
    nodes = hands.apart(6)
    hands.canvas.set_annotations((), {node: f"label {node}" for node in nodes}, ())
    for _ in range(2):
        hands.canvas.zoom_in()
    picture(hands)

    def sides() -> dict[int, tuple[int, int]]:
        found = {}
        for node, box in hands.surface.labels.drawn:
            away = box.topLeft() - hands.surface.pixel_of(node)
            found[node] = (round(away.x()), round(away.y()))
        return found

    before = sides()
    assert before
    hands.surface.pan(35.0, -20.0)
    picture(hands)
    after = sides()
    both = before.keys() & after.keys()
    assert len(both) > 3
    assert {node: after[node] for node in both} == {node: before[node] for node in both}
    boxes = [box for _, box in hands.surface.labels.drawn]
    assert not [1 for i, one in enumerate(boxes) for other in boxes[:i] if one.intersects(other)]
    hands.canvas.set_annotations((), {nodes[0]: "another"}, ())
    picture(hands)
    assert hands.surface.labels._text(nodes[1], bold=False).text() != f"label {nodes[1]}"
