"""Everything that mouse and keyboard do, and every signal."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QObject, QPoint, QPointF, Qt
from PySide6.QtGui import QContextMenuEvent, QKeyEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QLabel, QWidget
from pytestqt.qtbot import QtBot

from app.canvas import GraphCanvas
from app.canvas.hover_card import HoverCard
from app.canvas.legend_bar import LegendBar
from app.canvas.surface import Surface
from engine.graphs.graph import AttributionGraph, NodeKind
from tests.app.canvas.conftest import Hands, View


def test_a_click_selects_and_a_click_on_nothing_clears(hands: Hands) -> None:
    first, second = hands.apart(2)
    with hands.qtbot.waitSignal(hands.canvas.selectionChanged) as told:
        hands.click(first)
    assert told.args == [first]
    hands.click(second)
    assert hands.canvas.selected() == second
    with hands.qtbot.waitSignal(hands.canvas.selectionChanged) as told:
        hands.qtbot.mouseClick(hands.surface.viewport(), Qt.MouseButton.LeftButton, pos=hands.empty_point())
    assert told.args == [-1]
    assert hands.canvas.selected() == -1


def test_selecting_the_selected_says_nothing(hands: Hands) -> None:
    hands.canvas.select(3)
    with hands.qtbot.assertNotEmitted(hands.canvas.selectionChanged):
        hands.canvas.select(3)
        hands.canvas.select(10**9)
        hands.canvas.select(-7)
    assert hands.canvas.selected() == 3


def test_control_click_asks_for_a_pin_and_changes_nothing_itself(hands: Hands) -> None:
    (node,) = hands.apart(1)
    with (
        hands.qtbot.assertNotEmitted(hands.canvas.selectionChanged),
        hands.qtbot.waitSignal(hands.canvas.pinToggled) as told,
    ):
        hands.click(node, Qt.KeyboardModifier.ControlModifier)
    assert told.args == [node]
    assert hands.stage.scene is not None
    assert hands.stage.scene.pins == ()
    with hands.qtbot.assertNotEmitted(hands.canvas.pinToggled):
        hands.qtbot.mouseClick(
            hands.surface.viewport(),
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.ControlModifier,
            hands.empty_point(),
        )


def test_p_and_l_ask_for_the_selected_node_only(hands: Hands) -> None:
    with (
        hands.qtbot.assertNotEmitted(hands.canvas.pinToggled),
        hands.qtbot.assertNotEmitted(hands.canvas.labelRequested),
    ):
        hands.key(Qt.Key.Key_P)
        hands.key(Qt.Key.Key_L)
    hands.canvas.select(4)
    with hands.qtbot.waitSignal(hands.canvas.pinToggled) as pinned:
        hands.key(Qt.Key.Key_P)
    with hands.qtbot.waitSignal(hands.canvas.labelRequested) as labelled:
        hands.key(Qt.Key.Key_L)
    assert (pinned.args, labelled.args) == ([4], [4])


def test_the_nearest_node_within_reach_is_hovered(hands: Hands) -> None:
    (node,) = hands.apart(1)
    with hands.qtbot.waitSignal(hands.canvas.hoverChanged) as told:
        hands.hover(node)
    assert told.args == [node]
    at = hands.surface.pixel_of(node)
    assert hands.surface.node_at(at + QPointF(0, 0)) == node
    far = QPointF(hands.empty_point())
    assert hands.surface.node_at(far) == -1
    with hands.qtbot.waitSignal(hands.canvas.hoverChanged) as told:
        hands.qtbot.mouseMove(hands.surface.viewport(), hands.empty_point())
    assert told.args == [-1]


def test_picking_agrees_with_a_plain_search_everywhere(hands: Hands) -> None:
    shown = hands.stage.scene.shown  # type: ignore[union-attr]
    rng = np.random.default_rng(0)
    inner = hands.stage.inner
    for x, y in rng.uniform((inner.left(), inner.top()), (inner.right(), inner.bottom()), (200, 2)):
        distance = np.hypot(hands.stage.x[shown] - x, hands.stage.y[shown] - y)
        nearest = int(shown[distance.argmin()]) if distance.min() <= 14 else -1
        assert hands.surface.node_at(QPointF(x, y)) == nearest


def test_the_card_is_plain_text_beside_the_node(hands: Hands, graph) -> None:  # type: ignore[no-untyped-def]
    node = next(n for n in hands.apart(8) if graph.kind[n] == NodeKind.FEATURE)
    hands.canvas.set_annotations((), {node: "<b>bold & brave</b>"}, ())
    hands.hover(node)
    card = hands.canvas.findChild(HoverCard)
    assert card.isVisible()
    assert card.headline.text() == "<b>bold & brave</b>"
    assert card.name.text().startswith(f"Layer {graph.layer[node]} · {graph.feature[node]} at ")
    assert f"activation {graph.activation[node]:.4g}".replace("-", "−") in card.figures.text()
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in card.findChildren(QLabel))
    assert hands.canvas.rect().contains(card.geometry())
    at = hands.surface.pixel_of(node) + QPointF(hands.surface.pos())
    assert not card.geometry().contains(at.toPoint())
    hands.qtbot.mouseMove(hands.surface.viewport(), hands.empty_point())
    assert not card.isVisible()


def test_space_holds_the_hover_until_space_again(hands: Hands) -> None:
    first, second = hands.apart(2)
    hands.key(Qt.Key.Key_Space)  # nothing hovered: nothing to hold
    hands.hover(first)
    hands.key(Qt.Key.Key_Space)
    hands.hover(second)
    assert hands.canvas.hovered() == first
    card = hands.canvas.findChild(HoverCard)
    assert card.hint.isVisible()
    hands.key(Qt.Key.Key_Space)
    assert not card.hint.isVisible()
    hands.hover(first)
    hands.hover(second)
    assert hands.canvas.hovered() == second


def test_holding_g_gathers_clicked_nodes_and_letting_go_asks_for_a_group(hands: Hands) -> None:
    first, second, third = hands.apart(3)
    hands.qtbot.keyPress(hands.canvas, Qt.Key.Key_G)
    with hands.qtbot.assertNotEmitted(hands.canvas.selectionChanged):
        for node in (first, second, third, second):  # the second click takes it out again
            hands.click(node)
    assert hands.stage.grouping == (first, third)
    with hands.qtbot.waitSignal(hands.canvas.groupRequested) as told:
        hands.qtbot.keyRelease(hands.canvas, Qt.Key.Key_G)
    assert told.args == [[first, third]]
    assert hands.stage.grouping == ()


def test_a_held_g_whose_repetitions_look_like_releases_goes_on_gathering(hands: Hands) -> None:
    first, second = hands.apart(2)
    hands.qtbot.keyPress(hands.canvas, Qt.Key.Key_G)
    for node in (first, second):
        hands.click(node)
        hands.qtbot.keyRelease(hands.canvas, Qt.Key.Key_G)
        hands.qtbot.keyPress(hands.canvas, Qt.Key.Key_G)
    assert hands.stage.grouping == (first, second)
    with hands.qtbot.waitSignal(hands.canvas.groupRequested) as told:
        hands.qtbot.keyRelease(hands.canvas, Qt.Key.Key_G)
    assert told.args == [[first, second]]


def test_the_legend_is_painted_again_when_what_it_says_changes(hands: Hands) -> None:
    legend = hands.canvas.findChild(LegendBar)
    assert legend is not None and hands.stage.scene is not None
    painted: list[tuple[str, float]] = []
    legend.installEventFilter(watcher := _PaintWatcher(legend, painted))
    first, second = hands.apart(2)
    hands.canvas.select(first)
    hands.qtbot.waitUntil(lambda: len(painted) == 1)
    assert painted[0] == (legend.words(hands.stage.scene), hands.stage.domain)
    assert "selected" in painted[0][0]
    hands.hover(second)  # the words and the scale of a selection stay
    QApplication.processEvents()
    assert len(painted) == 1
    legend.removeEventFilter(watcher)


class _PaintWatcher(QObject):
    """Notes what a legend says whenever it is painted."""

    def __init__(self, legend: LegendBar, painted: list[tuple[str, float]]) -> None:
        super().__init__(legend)
        self.legend, self.painted = legend, painted

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 # Qt names it
        scene = self.legend.stage.scene
        if event.type() == QEvent.Type.Paint and scene is not None:
            self.painted.append((self.legend.words(scene), self.legend.stage.domain))
        return False


def test_one_node_is_no_group_and_escape_leaves_grouping(hands: Hands) -> None:
    first, second = hands.apart(2)
    with hands.qtbot.assertNotEmitted(hands.canvas.groupRequested):
        hands.qtbot.keyPress(hands.canvas, Qt.Key.Key_G)
        hands.click(first)
        hands.qtbot.keyRelease(hands.canvas, Qt.Key.Key_G)
        hands.qtbot.waitUntil(lambda: hands.stage.grouping == ())
        hands.qtbot.keyPress(hands.canvas, Qt.Key.Key_G)
        hands.click(first)
        hands.click(second)
        hands.key(Qt.Key.Key_Escape)
        hands.qtbot.keyRelease(hands.canvas, Qt.Key.Key_G)
    banner = hands.canvas.findChild(QLabel, "groupingBanner")
    assert not banner.isVisible()


def test_one_node_that_is_clicked_is_grouped_with_the_selected_one(hands: Hands) -> None:
    first, second = hands.apart(2)
    hands.click(first)
    hands.qtbot.keyPress(hands.canvas, Qt.Key.Key_G)
    hands.click(second)
    banner = hands.canvas.findChild(QLabel, "groupingBanner")
    assert banner.text().startswith("2 nodes gathered, the selected one among them")
    with hands.qtbot.waitSignal(hands.canvas.groupRequested) as told:
        hands.qtbot.keyRelease(hands.canvas, Qt.Key.Key_G)
    assert told.args == [[first, second]]


def test_walking_by_keys_puts_the_card_of_the_hovered_node_away(hands: Hands) -> None:
    first, second = hands.apart(2)
    hands.canvas.select(first)
    hands.hover(first)
    hands.hover(second)
    card = hands.canvas.findChild(HoverCard)
    assert card.isVisible()
    hands.key(Qt.Key.Key_Down)
    assert not card.isVisible()
    hands.hover(first)
    hands.hover(second)
    hands.key(Qt.Key.Key_Space)  # what is held stays
    hands.key(Qt.Key.Key_Down)
    assert card.isVisible()


def test_a_group_can_be_made_without_the_mouse(hands: Hands) -> None:
    hands.canvas.select(3)
    hands.canvas.begin_grouping()
    hands.key(Qt.Key.Key_Return)
    hands.canvas.select(8)
    hands.key(Qt.Key.Key_Return)
    with hands.qtbot.waitSignal(hands.canvas.groupRequested) as told:
        hands.canvas.end_grouping()
    assert told.args == [[3, 8]]


def test_up_and_down_follow_the_strongest_edge(hands: Hands, graph) -> None:  # type: ignore[no-untyped-def]
    node = int(np.flatnonzero((graph.kind == NodeKind.FEATURE) & (graph.layer == 3))[0])
    hands.canvas.select(node)
    inputs, outputs = graph.inputs(node), graph.outputs(node)
    hands.key(Qt.Key.Key_Down)
    below = hands.canvas.selected()
    assert below == int(graph.source[inputs[np.abs(graph.share[inputs]).argmax()]])
    hands.canvas.select(node)
    hands.key(Qt.Key.Key_Up)
    above = hands.canvas.selected()
    assert above == int(graph.target[outputs[np.abs(graph.share[outputs]).argmax()]])
    assert graph.layer[below] < graph.layer[node] < graph.layer[above]


def test_left_and_right_go_to_the_next_token_of_the_row_and_shift_to_the_next_node(hands: Hands, graph) -> None:  # type: ignore[no-untyped-def]
    scene = hands.stage.scene
    assert scene is not None
    start = int(np.flatnonzero((graph.layer == 3) & (graph.position == 1))[0])
    hands.canvas.select(start)
    hands.key(Qt.Key.Key_Right)
    moved = hands.canvas.selected()
    assert graph.layer[moved] == 3
    assert graph.position[moved] > 1
    cell = np.flatnonzero((graph.layer == 3) & (graph.position == graph.position[moved]))
    assert graph.influence[moved] == graph.influence[cell].max()
    hands.key(Qt.Key.Key_Left)
    assert graph.position[hands.canvas.selected()] == 1
    seen = {hands.canvas.selected()}
    row = np.flatnonzero(graph.layer == 3)
    for _ in row:
        hands.key(Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    for _ in row:
        seen.add(hands.canvas.selected())
        hands.key(Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert seen == set(row.tolist())


def test_an_arrow_with_nothing_selected_starts_at_the_logits(hands: Hands, graph) -> None:  # type: ignore[no-untyped-def]
    hands.key(Qt.Key.Key_Down)
    assert graph.kind[hands.canvas.selected()] == NodeKind.LOGIT


def test_walking_stays_among_what_is_shown(hands: Hands, graph) -> None:  # type: ignore[no-untyped-def]
    shown = np.random.default_rng(3).random(graph.n_nodes) < 0.6
    hands.canvas.set_view(View(shown, np.ones(graph.n_edges, dtype=bool)))
    keys = [Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down]
    for step in np.random.default_rng(4).integers(0, 4, 60).tolist():
        hands.key(keys[step])
        assert shown[hands.canvas.selected()]


def test_the_wheel_zooms_around_the_pointer_and_dragging_moves(hands: Hands) -> None:
    node = hands.apart(5)[4]
    before = hands.surface.pixel_of(node)
    zoom = hands.surface.camera.zoom()
    view = hands.surface.viewport()
    wheel = QWheelEvent(
        before,
        view.mapToGlobal(before),
        QPoint(),
        QPoint(0, 240),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(view, wheel)
    assert hands.surface.camera.zoom() > zoom * 1.2
    after = hands.surface.pixel_of(node)
    assert (after - before).manhattanLength() < 0.5
    with hands.qtbot.assertNotEmitted(hands.canvas.selectionChanged):
        start = hands.empty_point()
        hands.qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=start)
        hands.qtbot.mouseMove(view, start + QPoint(40, 25))
        hands.qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=start + QPoint(40, 25))
    moved = hands.surface.pixel_of(node)
    assert moved.x() - after.x() == pytest.approx(40, abs=1)
    assert moved.y() - after.y() == pytest.approx(25, abs=1)


def test_f_and_a_double_click_on_nothing_fit_and_plus_and_minus_zoom(hands: Hands) -> None:
    fitted = hands.surface.camera.viewRange()
    hands.key(Qt.Key.Key_Plus)
    assert hands.surface.camera.zoom() > 0
    assert hands.surface.camera.viewRange() != fitted
    hands.key(Qt.Key.Key_F)
    assert np.allclose(hands.surface.camera.viewRange(), fitted)
    hands.key(Qt.Key.Key_Minus)
    assert not np.allclose(hands.surface.camera.viewRange(), fitted)
    hands.qtbot.mouseDClick(hands.surface.viewport(), Qt.MouseButton.LeftButton, pos=hands.empty_point())
    assert np.allclose(hands.surface.camera.viewRange(), fitted)


def test_however_far_one_pans_something_stays_in_sight(hands: Hands) -> None:
    rng = np.random.default_rng(5)
    for dx, dy in rng.uniform(-3000, 3000, (40, 2)):
        hands.surface.pan(float(dx), float(dy))
        rect = hands.stage.rect
        layout = hands.stage.scene.layout  # type: ignore[union-attr]
        x, y = hands.surface.camera.to_pixels(np.array([0.0, layout.width]), np.array([0.0, layout.height]))
        assert x[0] < rect.width()
        assert x[1] > 0
        assert y[1] < rect.height()
        assert y[0] > 0


def test_escape_first_ends_grouping_then_clears_and_then_belongs_to_others(hands: Hands, qtbot: QtBot) -> None:
    hands.canvas.select(3)
    hands.canvas.begin_grouping()
    hands.key(Qt.Key.Key_Escape)
    assert hands.canvas.selected() == 3
    hands.key(Qt.Key.Key_Escape)
    assert hands.canvas.selected() == -1


def test_keys_it_does_not_know_reach_the_window(qtbot: QtBot, hands: Hands) -> None:
    heard: list[int] = []

    class Listener(QWidget):
        def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
            heard.append(event.key())

    window = Listener()
    qtbot.addWidget(window)
    canvas = GraphCanvas(window)
    window.show()
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_Q)
    assert heard == [Qt.Key.Key_Q]


def test_asking_for_a_menu_reaches_the_window(qtbot: QtBot) -> None:
    heard: list[QPoint] = []

    class Listener(QWidget):
        def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
            heard.append(event.globalPos())

    window = Listener()
    qtbot.addWidget(window)
    surface = GraphCanvas(window).findChild(Surface)
    window.show()
    asked = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, QPoint(20, 20), QPoint(70, 80))
    QApplication.sendEvent(surface.viewport(), asked)
    assert heard == [QPoint(70, 80)]


def test_selecting_from_elsewhere_does_not_move_a_fitted_graph(hands: Hands, graph: AttributionGraph) -> None:
    """Logits and embeddings lie at the very edge of a fitted view; they are in sight all the same."""
    hands.canvas.fit()
    fitted = np.array(hands.surface.camera.viewRange())
    for kind in (NodeKind.LOGIT, NodeKind.EMBEDDING):
        for node in graph.of_kind(kind)[:3]:
            hands.canvas.select(int(node))
            hands.canvas.reveal(int(node))
            assert np.allclose(hands.surface.camera.viewRange(), fitted)
