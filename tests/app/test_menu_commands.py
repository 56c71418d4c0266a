"""Commands that no panel's test runs, one by one: what a person sees when they are chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.panels.about_sheet import AboutSheet
from app.panels.help_sheet import HelpSheet
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.colours import GROUP_COLOURS
from engine.places import log_file
from engine.projects import Project
from tests.app.conftest import as_trace

# ---- File --------------------------------------------------------------------------------------------------------


@pytest.mark.command("file.new")
def test_new_shows_the_start_page_and_keeps_what_was_there(open_window: MainWindow) -> None:
    path = open_window.session.project.path  # type: ignore[union-attr]
    open_window.registry.run("file.new")
    assert open_window.start.isVisible()
    assert open_window.windowTitle() == "Circuit Loupe"
    assert path in open_window.memory.recent_projects()


@pytest.mark.command("file.open")
def test_open_asks_which_project(
    window: MainWindow, graph: AttributionGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "Texas.loupe"
    with Project.create(path) as project:
        trace = as_trace(graph)
        project.add_trace(trace.report, trace.graph, title="Austin")
    monkeypatch.setattr(Ask, "open_project", lambda *arguments: path)
    window.registry.run("file.open")
    assert window.windowTitle() == "Texas — Circuit Loupe"
    assert window.area.canvas.isVisible()


@pytest.mark.command("file.quit")
def test_quit_closes_the_window(open_window: MainWindow, qtbot: QtBot) -> None:
    open_window.registry.run("file.quit")
    qtbot.waitUntil(lambda: not open_window.isVisible())
    assert open_window.stopped


# ---- Edit --------------------------------------------------------------------------------------------------------


@pytest.mark.command("edit.group_clicks")
def test_nodes_are_grouped_by_clicking(open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    window, canvas = open_window, open_window.area.canvas
    one, two = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:2])
    window.registry.run("edit.group_clicks")
    for node in (one, two):
        window.session.select(node)
        qtbot.keyClick(canvas, Qt.Key.Key_Return)
    window.registry.run("edit.group_clicks")
    assert [set(group.nodes) for group in window.session.annotations.groups] == [{one, two}]


@pytest.mark.command("edit.rename_group")
def test_a_group_is_renamed_in_place(open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    window = open_window
    one, two = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:2])
    window.edits.group([one, two], "cities")
    window.session.select(one)
    window.registry.run("edit.rename_group")
    window.registry.run("edit.rename_group")  # again while it is being renamed: nothing to warn of
    editor = window.circuit.findChild(QLineEdit)
    assert editor is not None
    editor.setText("capitals")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    # Qt takes what an editor says when it is back in its loop.
    qtbot.waitUntil(lambda: [group.name for group in window.session.annotations.groups] == ["capitals"])


@pytest.mark.command("edit.colour.orange", "edit.colour.sky_blue", "edit.colour.green", "edit.colour.vermilion")
@pytest.mark.command("edit.colour.blue", "edit.colour.yellow", "edit.colour.grey")
def test_a_group_takes_each_colour(open_window: MainWindow, graph: AttributionGraph) -> None:
    window = open_window
    one, two = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:2])
    window.edits.group([one, two], "cities")
    window.session.select(one)
    for name, colour in GROUP_COLOURS[::-1]:
        window.registry.run(f"edit.colour.{name.lower().replace(' ', '_')}")
        assert [group.colour for group in window.session.annotations.groups] == [colour]
        assert window.area.canvas._stage.scene.groups[0].colour == colour  # type: ignore[union-attr]


# ---- Trace -------------------------------------------------------------------------------------------------------


@pytest.mark.command("trace.load_model")
def test_the_chosen_model_is_loaded(window: MainWindow, smollm: object, qtbot: QtBot) -> None:
    window.runs.choose_model("SmolLM2-135M-Instruct")
    window.registry.run("trace.load_model")
    qtbot.waitUntil(lambda: window.runs.model is not None and not window.host.busy, timeout=60_000)
    assert window.status.model.text().startswith("SmolLM2")
    assert not window.registry.action("trace.load_model").isEnabled()


@pytest.mark.command("trace.models")
def test_the_page_of_models_opens(window: MainWindow) -> None:
    window.registry.run("trace.models")
    assert window.models.page is not None
    assert window.models.page.isVisible()
    window.models.page.close()


@pytest.mark.command("trace.open_model_folder", "trace.open_model_file")
def test_what_is_no_model_is_said_beside_the_prompt(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    folder, file = tmp_path / "no model", tmp_path / "no-model.gguf"
    folder.mkdir()
    file.write_bytes(b"nothing")
    monkeypatch.setattr(Ask, "open_folder", lambda *arguments: folder)
    monkeypatch.setattr(Ask, "open_file", lambda *arguments: file)
    for command, path in (("trace.open_model_folder", folder), ("trace.open_model_file", file)):
        window.prompt_bar.banner.dismiss()
        window.registry.run(command)
        qtbot.waitUntil(window.prompt_bar.banner.isVisible, timeout=60_000)
        qtbot.waitUntil(lambda: not window.host.busy, timeout=60_000)
        assert window.runs.wanted_model == str(path)
        assert len(window.prompt_bar.banner.sentence.text()) > 20
    assert window.runs.model is None


@pytest.mark.command("trace.open_features")
def test_a_folder_of_transcoders_becomes_the_dictionary(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smollm: object, qtbot: QtBot
) -> None:
    monkeypatch.setattr(Ask, "open_folder", lambda *arguments: tmp_path)
    window.runs.choose_model("SmolLM2-135M-Instruct")
    window.registry.run("trace.open_features")
    qtbot.waitUntil(window.prompt_bar.banner.isVisible, timeout=60_000)
    qtbot.waitUntil(lambda: not window.host.busy, timeout=60_000)
    assert window.runs.wanted_features == "neurons"  # the empty folder was refused, in words
    assert window.prompt_bar.banner.sentence.text().endswith(".")


# ---- Go ----------------------------------------------------------------------------------------------------------


@pytest.mark.command("go.prompt", "go.graph", "go.table", "go.inputs", "go.outputs")
def test_parts_of_the_window_are_gone_to(open_window: MainWindow, qtbot: QtBot) -> None:
    window = open_window
    window.activateWindow()
    graph = window.session.graph
    assert graph is not None
    # A list that is empty says why and takes no keyboard.
    window.session.select(next(n for n in range(graph.n_nodes) if len(graph.inputs(n)) and len(graph.outputs(n))))
    places: tuple[tuple[str, QWidget], ...] = (
        ("go.graph", window.area.canvas),
        ("go.table", window.area.table.table),
        ("go.inputs", window.connections.input_table),
        ("go.outputs", window.connections.output_table),
        ("go.prompt", window.prompt_bar.editor),
    )
    for command, place in places:
        window.registry.run(command)
        qtbot.waitUntil(place.hasFocus)


@pytest.mark.command("go.next_panel", "go.previous_panel")
def test_every_panel_is_stepped_through_and_back(open_window: MainWindow, qtbot: QtBot) -> None:
    window = open_window
    window.activateWindow()
    window.session.select(12)
    window.edits.pin([12])
    window.prompt_bar.editor.setFocus()
    qtbot.waitUntil(window.prompt_bar.editor.hasFocus)

    def panel() -> int:
        focused = QApplication.focusWidget()
        assert focused is not None
        return next(i for i, one in enumerate(window.panels()) if one is focused or one.isAncestorOf(focused))

    count = len(window.panels())
    assert count >= 7
    seen = [panel()]
    for _ in range(count):
        window.registry.run("go.next_panel")
        seen.append(panel())
    assert seen == [*range(count), 0]
    window.registry.run("go.previous_panel")
    assert panel() == count - 1


WALKS = (
    ("go.walk.left", Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier),
    ("go.walk.right", Qt.Key.Key_Right, Qt.KeyboardModifier.NoModifier),
    ("go.walk.up", Qt.Key.Key_Up, Qt.KeyboardModifier.NoModifier),
    ("go.walk.down", Qt.Key.Key_Down, Qt.KeyboardModifier.NoModifier),
    ("go.walk.previous", Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier),
    ("go.walk.next", Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier),
)


@pytest.mark.command("go.walk.left", "go.walk.right", "go.walk.up", "go.walk.down", "go.walk.previous", "go.walk.next")
def test_the_menu_walks_as_the_arrow_keys_do(open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    window, session, canvas = open_window, open_window.session, open_window.area.canvas
    led: set[str] = set()
    for start in graph.of_kind(NodeKind.FEATURE).tolist():
        for command, key, modifier in WALKS:
            session.select(start)
            qtbot.keyClick(canvas, key, modifier)
            by_key = session.selected
            session.select(start)
            window.registry.run(command)
            assert session.selected == by_key, command
            led |= {command} if by_key != start else set()
        if len(led) == len(WALKS):
            break
    assert len(led) == len(WALKS), led
    assert window.registry.action("go.walk.previous").text().endswith("\tShift+Left")


@pytest.mark.command("go.freeze")
def test_what_is_hovered_is_frozen_from_the_menu(open_window: MainWindow, graph: AttributionGraph) -> None:
    window, canvas = open_window, open_window.area.canvas
    node = int(graph.of_kind(NodeKind.LOGIT)[0])
    assert not window.registry.action("go.freeze").isEnabled(), "nothing is hovered"
    canvas._hover(node)
    window.registry.refresh_now()
    window.registry.run("go.freeze")
    canvas._pointer_left()
    assert canvas.hovered() == node
    assert window.registry.action("go.freeze").isChecked()
    window.registry.run("go.freeze")
    canvas._pointer_left()
    assert canvas.hovered() == -1


# ---- View --------------------------------------------------------------------------------------------------------


@pytest.mark.command("view.fit", "view.zoom_in", "view.zoom_out")
def test_the_graph_is_zoomed_and_fitted(open_window: MainWindow) -> None:
    camera = open_window.area.canvas._surface.camera
    fitted = camera.zoom()
    open_window.registry.run("view.zoom_in")
    closer = camera.zoom()
    assert closer > fitted
    open_window.registry.run("view.zoom_out")
    assert camera.zoom() < closer
    open_window.registry.run("view.zoom_in")
    open_window.registry.run("view.fit")
    assert camera.zoom() == pytest.approx(fitted)


@pytest.mark.command("view.hide_errors", "view.table")
def test_errors_and_the_table_are_hidden_and_shown(open_window: MainWindow, graph: AttributionGraph) -> None:
    window, scene = open_window, open_window.area.canvas._stage.scene
    assert scene is not None
    errors = graph.of_kind(NodeKind.ERROR)
    shown = int(scene.node_shown[errors].sum())
    assert shown > 0
    window.registry.run("view.hide_errors")
    assert not scene.node_shown[errors].any()
    assert window.area.strip.hide_errors.isChecked()
    window.registry.run("view.hide_errors")
    assert int(scene.node_shown[errors].sum()) == shown
    for visible in (False, True):
        window.registry.run("view.table")
        assert window.area.table.isVisible() is visible
        assert window.registry.action("view.table").isChecked() is visible


@pytest.mark.command("view.all_edges")
def test_every_edge_in_view_is_drawn_and_taken_away(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    every = open_window.area.canvas._surface.all_edges
    open_window.registry.run("view.all_edges")
    qtbot.waitUntil(lambda: every.layer.picture is not None and not every.busy, timeout=10_000)
    assert open_window.registry.action("view.all_edges").isChecked()
    open_window.registry.run("view.all_edges")
    assert every.layer.picture is None


@pytest.mark.command("view.size.influence", "view.size.activation", "view.size.none")
def test_the_size_of_features_says_what_was_chosen(open_window: MainWindow, graph: AttributionGraph) -> None:
    stage, features = open_window.area.canvas._stage, graph.of_kind(NodeKind.FEATURE)
    by_influence = stage.levels[features].tolist()
    assert len(set(by_influence)) > 1
    open_window.registry.run("view.size.none")
    assert len(set(stage.levels[features].tolist())) == 1
    open_window.registry.run("view.size.activation")
    assert len(set(stage.levels[features].tolist())) > 1
    assert stage.levels[features].tolist() != by_influence
    open_window.registry.run("view.size.influence")
    assert stage.levels[features].tolist() == by_influence
    assert open_window.registry.action("view.size.influence").isChecked()


@pytest.mark.command("view.smaller", "view.theme.system")
def test_smaller_text_and_the_systems_theme(open_window: MainWindow, qapp: QApplication) -> None:
    before = open_window.area.table.everything.font().pointSizeF()
    open_window.registry.run("view.smaller")
    assert open_window.area.table.everything.font().pointSizeF() == before - 1
    open_window.registry.run("view.normal")
    open_window.registry.run("view.theme.system")
    assert open_window.registry.action("view.theme.system").isChecked()


# ---- Help --------------------------------------------------------------------------------------------------------


@pytest.mark.command("help.keys", "help.about", "help.show_log")
def test_help_is_shown(open_window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    open_window.registry.run("help.keys")
    sheet = open_window.findChild(HelpSheet)
    assert sheet is not None
    assert sheet.isVisible()
    sheet.close()
    open_window.registry.run("help.about")
    about = open_window.findChild(AboutSheet)
    assert about is not None and about.isVisible()
    assert "Circuit Loupe " in about.versions.text()
    text = about.licences.toPlainText()
    for part in ("pyqtgraph", "torch", "PySide6_Essentials", "numpy"):
        assert f"\n{part} " in text, part
    assert "Apache License" in text and "pytest" not in text
    about.close()
    open_window.registry.run("help.show_log")
    assert [Path(url.toLocalFile()) for url in opened] == [log_file().parent]
    assert log_file().parent.is_dir()
