"""The circuit's diagram: what a person sees in it, and what hands and keys do to it."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.circuit.diagram import CircuitDiagram
from app.circuit.painting import surface_colour
from app.dialogs import Ask
from app.session import Session
from app.theme import DARK, LIGHT
from app.theme.tokens import contrast
from app.window import MainWindow
from engine.graphs import AttributionGraph, Circuit, NodeKind, Supernode
from engine.graphs.circuit import PlaceKey
from engine.graphs.circuit_drawing import draw
from engine.graphs.colours import GROUP_COLOURS


class Circuits:
    """A window with pins and groups, and a hand in its diagram."""

    def __init__(self, window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
        self.window, self.session, self.qtbot = window, window.session, qtbot
        self.page = window.area.circuit
        self.diagram: CircuitDiagram = self.page.diagram
        features = graph.of_kind(NodeKind.FEATURE)
        order = features[features.argsort()]
        self.nodes = [int(node) for node in order[:: max(len(order) // 8, 1)][:7]]
        self.logit = int(graph.of_kind(NodeKind.LOGIT)[0])

    def build(self) -> Circuits:
        """Three pins, and two groups of two."""
        one, two, three, four, five, six, _ = self.nodes
        self.window.edits.pin([one, two, self.logit])
        self.window.edits.group([three, four], "capitals")
        self.window.edits.group([five, six], "states")
        self.window.activateWindow()
        self.diagram.setFocus()
        return self

    @property
    def group(self) -> dict[str, str]:
        """The place of each group, by its name."""
        return {one.name: one.place for one in self.session.circuit.supernodes}

    def number(self, name: str) -> int:
        return next(one.id for one in self.session.circuit.supernodes if one.name == name)

    def shown(self) -> list[PlaceKey]:
        assert self.diagram.drawing is not None
        return [box.key for box in self.diagram.drawing.shown]

    def point(self, key: PlaceKey) -> QPoint:
        return self.diagram.pixel_of(key).toPoint()

    def click(self, key: PlaceKey, *modifiers: Qt.KeyboardModifier) -> None:
        held = Qt.KeyboardModifier.NoModifier
        for one in modifiers:
            held |= one
        self.qtbot.mouseClick(self.diagram, Qt.MouseButton.LeftButton, held, self.point(key))

    def drag(self, key: PlaceKey, dx: int, dy: int) -> None:
        start = self.point(key)
        self.qtbot.mousePress(self.diagram, Qt.MouseButton.LeftButton, pos=start)
        self.qtbot.mouseMove(self.diagram, start + QPoint(dx // 2, dy // 2))
        self.qtbot.mouseMove(self.diagram, start + QPoint(dx, dy))
        self.qtbot.mouseRelease(self.diagram, Qt.MouseButton.LeftButton, pos=start + QPoint(dx, dy))

    def run(self, command: str) -> None:
        self.window.registry.run(command)


@pytest.fixture
def circuits(open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> Circuits:
    return Circuits(open_window, graph, qtbot)


# ---- what is shown -----------------------------------------------------------------------------------------------


def test_an_empty_diagram_says_what_would_fill_it(circuits: Circuits) -> None:
    assert circuits.page.stack.currentWidget() is circuits.page.hint
    assert "press P" in circuits.page.hint.text()
    assert circuits.diagram.drawing is None


def test_the_first_pin_brings_the_diagram_to_the_front(circuits: Circuits) -> None:
    assert not circuits.diagram.isVisible()
    circuits.window.edits.pin([circuits.nodes[0]])
    assert circuits.diagram.isVisible()
    assert circuits.shown() == [circuits.nodes[0]]
    circuits.run("edit.undo")
    assert not circuits.diagram.isVisible()


def test_pins_and_groups_are_boxes_and_frames(circuits: Circuits) -> None:
    circuits.build()
    assert set(circuits.shown()) == {*circuits.nodes[:6], circuits.logit}
    assert circuits.diagram.drawing is not None
    assert {frame.supernode.name for frame in circuits.diagram.drawing.frames} == {"capitals", "states"}
    circuits.window.edits.collapse([circuits.number("states")], True)
    assert set(circuits.shown()) == {*circuits.nodes[:4], circuits.logit, circuits.group["states"]}


def test_no_box_stands_in_a_frame_it_does_not_belong_to(graph: AttributionGraph) -> None:
    features = graph.of_kind(NodeKind.FEATURE).tolist()
    for seed in range(12):
        inside, loose = features[seed::9][:3], [node for node in features[1::7] if node not in features[seed::9][:3]]
        drawing = draw(
            graph, Circuit(tuple(loose), (Supernode(1, "g", tuple(inside), collapsed=False),)), {}, lambda _: 90
        )
        (frame,) = drawing.frames
        areas = [drawing.area_of(i) for i in range(len(drawing.shown))]
        for i, box in enumerate(drawing.shown):
            area = areas[i]
            apart = (
                area.right <= frame.area.left
                or area.left >= frame.area.right
                or area.top <= frame.area.bottom
                or area.bottom >= frame.area.top
            )
            assert apart or box.key in frame.keys
            for other in areas[:i]:
                assert (
                    area.right <= other.left
                    or area.left >= other.right
                    or area.top <= other.bottom
                    or (area.bottom >= other.top)
                )


def test_the_width_of_an_edge_says_its_size_and_its_colour_the_sign(circuits: Circuits) -> None:
    drawing = circuits.build().diagram.drawing
    assert drawing is not None
    assert len(drawing.drawn_edges) > 1
    sizes = [abs(float(drawing.edges.share[edge])) for edge in drawing.drawn_edges.tolist()]
    widths = [drawing.thickness(edge) for edge in drawing.drawn_edges.tolist()]
    assert sizes == sorted(sizes)
    assert widths == sorted(widths)
    assert widths[-1] > widths[0]
    strongest = int(drawing.drawn_edges[-1])
    middle = drawing.curves[-1][8]
    pixel = circuits.diagram._pixel(*middle.tolist()).toPoint()
    wanted = QColor(LIGHT.positive if drawing.edges.share[strongest] > 0 else LIGHT.negative)
    seen = circuits.diagram.grab().toImage().pixelColor(pixel)
    other = QColor(LIGHT.negative if drawing.edges.share[strongest] > 0 else LIGHT.positive)
    assert away(seen, wanted) < away(seen, other)


def away(one: QColor, other: QColor) -> int:
    return abs(one.red() - other.red()) + abs(one.green() - other.green()) + abs(one.blue() - other.blue())


def test_hovering_tells_figures(circuits: Circuits) -> None:
    circuits.build()
    circuits.qtbot.mouseMove(circuits.diagram, circuits.point(circuits.nodes[0]))
    assert "activation" in circuits.page.legend.words
    drawing = circuits.diagram.drawing
    assert drawing is not None
    for row in range(len(drawing.drawn_edges)):
        spots = [circuits.diagram._pixel(*point).toPoint() for point in drawing.curves[row].tolist()]
        free = [spot for spot in spots if circuits.diagram.key_at(spot.toPointF()) is None]
        if free:
            circuits.qtbot.mouseMove(circuits.diagram, free[len(free) // 2])
            break
    assert "→" in circuits.page.legend.words
    assert "of the target's input from outside" in circuits.page.legend.words


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_on_groups_of_every_colour_is_legible(theme: object) -> None:
    assert theme in (LIGHT, DARK)
    for _, colour in GROUP_COLOURS:
        assert contrast(theme.text, surface_colour(theme, colour).name()) >= 4.5  # type: ignore[attr-defined]


def test_larger_letters_make_larger_boxes(circuits: Circuits, qapp: QApplication) -> None:
    circuits.build()
    before = circuits.diagram.unit / circuits.diagram.zoom
    font = qapp.font()
    font.setPointSizeF(font.pointSizeF() * 2)
    qapp.setFont(font)
    qapp.setStyleSheet(qapp.styleSheet())
    assert circuits.diagram.unit / circuits.diagram.zoom > 1.8 * before


# ---- the mouse ---------------------------------------------------------------------------------------------------


def test_what_is_clicked_is_selected_everywhere(circuits: Circuits) -> None:
    circuits.build()
    circuits.click(circuits.nodes[1])
    assert circuits.session.selected == circuits.nodes[1]
    assert circuits.window.area.canvas.selected() == circuits.nodes[1]
    circuits.session.select(circuits.logit)
    assert circuits.window.choice.places == (circuits.logit,)
    circuits.click(circuits.nodes[0], Qt.KeyboardModifier.ControlModifier)
    assert circuits.window.choice.places == (circuits.logit, circuits.nodes[0])
    selected = {item.data(0, Qt.ItemDataRole.UserRole) for item in circuits.window.circuit.tree.selectedItems()}
    assert selected == {circuits.logit, circuits.nodes[0]}


def test_what_is_chosen_in_the_list_is_chosen_in_the_diagram(circuits: Circuits) -> None:
    circuits.build()
    panel = circuits.window.circuit
    item = next(item for item in panel._items() if item.text(0) == "states")
    panel.tree.setCurrentItem(item)
    assert circuits.window.choice.places == (circuits.group["states"],)
    assert circuits.session.selected == -1


def test_a_box_stays_where_it_was_dragged_and_undo_puts_it_back(circuits: Circuits) -> None:
    circuits.build()
    key = circuits.nodes[0]
    assert circuits.diagram.drawing is not None
    before = circuits.diagram.drawing.places[key]
    unit = circuits.diagram.unit
    circuits.drag(key, 60, -30)
    place = circuits.session.annotations.positions[key]
    assert place == pytest.approx((before[0] + 60 / unit, before[1] + 30 / unit), abs=1)
    assert circuits.diagram.drawing.places[key] == place
    circuits.session.set_view(node_threshold=0.5)
    assert circuits.diagram.drawing.places[key] == place
    circuits.run("edit.undo")
    assert key not in circuits.session.annotations.positions
    assert circuits.diagram.drawing.places[key] == before


def test_an_open_group_is_dragged_by_its_title_in_one_step(circuits: Circuits) -> None:
    circuits.build()
    inside = circuits.nodes[2:4]
    circuits.drag(circuits.group["capitals"], 40, 20)
    assert set(circuits.session.annotations.positions) == set(inside)
    circuits.run("edit.undo")
    assert circuits.session.annotations.positions == {}


def test_a_double_click_opens_and_closes_a_group(circuits: Circuits) -> None:
    circuits.build()
    place = circuits.group["states"]
    circuits.qtbot.mouseDClick(circuits.diagram, Qt.MouseButton.LeftButton, pos=circuits.point(place))
    assert place in circuits.shown()
    circuits.qtbot.mouseDClick(circuits.diagram, Qt.MouseButton.LeftButton, pos=circuits.point(place))
    assert place not in circuits.shown()


@pytest.mark.command("circuit.fit")
def test_the_picture_is_panned_zoomed_and_fitted_again(circuits: Circuits) -> None:
    diagram = circuits.build().diagram
    before = diagram.pixel_of(circuits.logit)
    corner = QPointF(diagram.width() - 2, diagram.height() - 2).toPoint()
    assert diagram.key_at(corner.toPointF()) is None
    circuits.qtbot.mousePress(diagram, Qt.MouseButton.LeftButton, pos=corner)
    circuits.qtbot.mouseMove(diagram, corner - QPoint(30, 10))
    circuits.qtbot.mouseMove(diagram, corner - QPoint(60, 20))
    circuits.qtbot.mouseRelease(diagram, Qt.MouseButton.LeftButton, pos=corner - QPoint(60, 20))
    assert (diagram.pixel_of(circuits.logit) - before).manhattanLength() > 20
    diagram.zoom_by(1.4)
    circuits.run("circuit.fit")
    assert diagram.pixel_of(circuits.logit) == before


# ---- the keyboard ------------------------------------------------------------------------------------------------


@pytest.mark.command("circuit.go")
def test_arrows_walk_and_move_boxes(circuits: Circuits) -> None:
    circuits.build()
    circuits.window.area.canvas.setFocus()
    circuits.run("circuit.go")
    circuits.qtbot.waitUntil(circuits.diagram.hasFocus)
    circuits.window.choice.choose(())
    circuits.qtbot.keyClick(circuits.diagram, Qt.Key.Key_Up)
    first = circuits.window.choice.places[-1]
    circuits.qtbot.keyClick(circuits.diagram, Qt.Key.Key_Up)
    second = circuits.window.choice.places[-1]
    assert circuits.diagram._stops()[second][1] > circuits.diagram._stops()[first][1]
    circuits.click(circuits.nodes[0])
    for _ in range(3):
        circuits.qtbot.keyClick(circuits.diagram, Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    assert circuits.nodes[0] in circuits.session.annotations.positions
    circuits.run("edit.undo")
    assert circuits.session.annotations.positions == {}, "presses on one box are one step"


@pytest.mark.command("circuit.move.left", "circuit.move.right", "circuit.move.up", "circuit.move.down")
def test_the_menu_moves_boxes_as_alt_and_the_arrows_do(circuits: Circuits) -> None:
    circuits.build()
    circuits.window.choice.choose(())
    assert not circuits.window.registry.action("circuit.move.left").isEnabled(), "nothing is chosen"
    for way, key in (
        ("left", Qt.Key.Key_Left),
        ("right", Qt.Key.Key_Right),
        ("up", Qt.Key.Key_Up),
        ("down", Qt.Key.Key_Down),
    ):
        circuits.click(circuits.nodes[0])
        before = circuits.diagram._stops()[circuits.nodes[0]]
        circuits.qtbot.keyClick(circuits.diagram, key, Qt.KeyboardModifier.AltModifier)
        by_key = circuits.session.annotations.positions[circuits.nodes[0]]
        assert by_key != before
        circuits.run("edit.undo")
        circuits.run(f"circuit.move.{way}")
        assert circuits.session.annotations.positions[circuits.nodes[0]] == by_key, way
        circuits.run("edit.undo")
        assert circuits.session.annotations.positions == {}
    assert circuits.window.registry.action("circuit.move.up").text().endswith("\tAlt+Up")


def test_the_diagram_says_what_is_chosen(circuits: Circuits) -> None:
    circuits.build()
    circuits.click(circuits.nodes[0])
    words = circuits.diagram.accessibleDescription()
    assert "7 boxes" in words
    assert "activation" in words


# ---- commands ----------------------------------------------------------------------------------------------------


@pytest.mark.command("circuit.fold", "circuit.fold_all", "circuit.unfold_all")
def test_groups_fold_by_command(circuits: Circuits) -> None:
    circuits.build()
    circuits.click(circuits.group["states"])
    assert circuits.window.registry.action("circuit.fold").command.words == "Collapse group"
    circuits.qtbot.keyClick(circuits.diagram, Qt.Key.Key_O)
    assert circuits.group["states"] in circuits.shown()
    assert circuits.window.registry.action("circuit.fold").command.words == "Expand group"
    circuits.run("circuit.fold")
    assert circuits.group["states"] not in circuits.shown()
    circuits.run("circuit.fold_all")
    assert set(circuits.group.values()) <= set(circuits.shown())
    circuits.run("circuit.unfold_all")
    assert set(circuits.group.values()).isdisjoint(circuits.shown())
    circuits.run("edit.undo")
    assert set(circuits.group.values()) <= set(circuits.shown()), "all at once are one step"


@pytest.mark.command("circuit.note")
def test_a_group_carries_a_note(circuits: Circuits, monkeypatch: pytest.MonkeyPatch) -> None:
    circuits.build()
    circuits.click(circuits.group["states"])
    monkeypatch.setattr(Ask, "long_text", lambda *arguments: "<b>raises</b> Texas\nnot Ohio")
    circuits.run("circuit.note")
    assert circuits.session.circuit.supernode(circuits.number("states")).note == "<b>raises</b> Texas\nnot Ohio"
    circuits.qtbot.mouseMove(circuits.diagram, circuits.point(circuits.group["states"]))
    assert "<b>raises</b> Texas" in circuits.page.legend.words
    circuits.run("edit.undo")
    assert circuits.session.circuit.supernode(circuits.number("states")).note == ""


@pytest.mark.command("circuit.put_into", "circuit.take_out")
def test_groups_and_nodes_are_nested_and_taken_out(circuits: Circuits, monkeypatch: pytest.MonkeyPatch) -> None:
    circuits.build()
    circuits.click(circuits.group["states"])
    circuits.click(circuits.nodes[0], Qt.KeyboardModifier.ControlModifier)
    offered: list[str] = []

    def choose(*arguments: object) -> int:
        offered.extend(arguments[3])  # type: ignore[arg-type]
        return 0

    monkeypatch.setattr(Ask, "choice", choose)
    circuits.run("circuit.put_into")
    assert offered == ["1. capitals (2 nodes)"], "nothing is put into itself"
    outer, inner = (circuits.session.circuit.supernode(circuits.number(name)) for name in ("capitals", "states"))
    assert inner.parent == outer.id
    assert outer.nodes == (*circuits.nodes[2:4], circuits.nodes[0])
    assert circuits.diagram.drawing is not None
    frames = {frame.supernode.name: frame for frame in circuits.diagram.drawing.frames}
    assert frames["capitals"].area.left < frames["states"].area.left
    assert frames["states"].area.top < frames["capitals"].area.top
    circuits.click(circuits.group["states"])
    circuits.run("circuit.take_out")
    assert circuits.session.circuit.supernode(circuits.number("states")).parent is None
    circuits.click(circuits.nodes[2])
    circuits.run("circuit.take_out")
    assert circuits.nodes[2] not in circuits.session.circuit.supernode(circuits.number("capitals")).nodes
    assert circuits.nodes[2] in circuits.session.circuit.nodes, "what leaves a group stays in the circuit"
    for _ in range(3):
        circuits.run("edit.undo")
    assert outer.id == circuits.number("capitals")
    assert circuits.session.circuit.supernode(outer.id).nodes == tuple(circuits.nodes[2:4])


@pytest.mark.command("circuit.remove")
def test_what_is_chosen_leaves_the_circuit(circuits: Circuits) -> None:
    circuits.build()
    before = circuits.session.circuit
    circuits.click(circuits.group["states"])
    circuits.click(circuits.nodes[0], Qt.KeyboardModifier.ShiftModifier)
    circuits.qtbot.keyClick(circuits.diagram, Qt.Key.Key_Delete)
    assert set(circuits.shown()) == {*circuits.nodes[1:4], circuits.logit}
    assert list(circuits.group) == ["capitals"]
    circuits.run("edit.undo")
    assert circuits.session.circuit == before


@pytest.mark.command("edit.group_pins", "edit.ungroup")
def test_chosen_nodes_are_grouped_and_a_group_taken_apart_keeps_its_nodes(circuits: Circuits) -> None:
    circuits.build()
    circuits.click(circuits.nodes[0])
    circuits.click(circuits.logit, Qt.KeyboardModifier.ControlModifier)
    assert circuits.window.registry.action("edit.group_pins").command.words == "Group chosen nodes"
    circuits.run("edit.group_pins")
    assert circuits.session.circuit.supernodes[-1].nodes == (circuits.nodes[0], circuits.logit)
    circuits.click(circuits.group["states"])
    circuits.run("edit.ungroup")
    assert "states" not in circuits.group
    assert set(circuits.nodes[4:6]) <= set(circuits.session.circuit.pins)


@pytest.mark.command("view.circuit")
def test_the_diagram_can_be_hidden(circuits: Circuits) -> None:
    circuits.build()
    assert circuits.window.registry.action("view.circuit").isChecked()
    circuits.run("view.circuit")
    assert not circuits.diagram.isVisible()
    circuits.run("view.table")
    assert circuits.window.area.table.isVisible()
    circuits.run("view.circuit")
    assert circuits.diagram.isVisible()


def test_nothing_moves_in_a_project_open_for_reading(circuits: Circuits, qtbot: QtBot) -> None:
    circuits.build()
    session: Session = circuits.session
    assert session.project is not None
    path = session.project.path
    session.set_project(None)
    session.open_project(path, read_only=True)
    key = circuits.nodes[0]
    circuits.drag(key, 60, -30)
    assert session.annotations.positions == {}
    assert not circuits.window.registry.action("circuit.fold_all").isEnabled()
