from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QKeySequence
from PySide6.QtWidgets import QApplication, QLineEdit, QMenu, QToolButton, QWidget
from pytestqt.qtbot import QtBot

from app.commands import MENUS
from app.commands.catalogue import all_commands
from app.dialogs import Ask
from app.panels.help_sheet import HelpSheet, help_rows
from app.panels.palette import match
from app.theme import current_theme, icon_names
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from tests.app.conftest import DIALOGS, as_trace

# What each command does to something a person sees is tested below or beside the panel it belongs to; these only open
# something outside the window, or end it.
OUTSIDE = {"file.quit", "help.show_log"}
ANSWERED = {
    "file.open", "file.save_as", "file.export_picture", "file.export_circuit", "file.export_report",
    "file.export_notebook", "file.export_graph", "file.import_graph",
    "trace.budget", "trace.compare",
    "trace.open_model_folder", "trace.open_model_file", "trace.open_features", "help.about",
}  # fmt: skip


def ids(window: MainWindow) -> list[str]:
    return [command.id for command in all_commands(window)]


def test_every_command_is_in_a_menu_with_its_keys(window: MainWindow) -> None:
    menus = [window.menuBar().findChild(QMenu) is not None, *[menu.menu() for menu in window.menuBar().actions()]]
    assert menus[0]
    shown = {action for menu in window.menuBar().findChildren(QMenu) for action in menu.actions()}
    for action in window.registry.actions():
        assert action in shown, action.command.id
        assert action.command.menu in MENUS
        assert action.text()
        assert action.toolTip()


def test_ids_titles_and_keys_are_never_given_twice(window: MainWindow) -> None:
    actions = window.registry.actions()
    names = [action.command.id for action in actions]
    keys = [keys for action in actions for keys in action.command.shortcuts]
    assert len(names) == len(set(names))
    assert len(keys) == len(set(keys))
    assert len({action.command.words for action in actions}) >= len(actions) - 1  # the node table: shown, and gone to
    for action in actions:
        for shortcut in action.command.shortcuts:
            assert not QKeySequence(shortcut).isEmpty(), shortcut


def test_icons_exist(window: MainWindow) -> None:
    for action in window.registry.actions():
        assert not action.command.icon or action.command.icon in icon_names(), action.command.icon


def test_every_control_has_a_name_for_those_who_hear_it(open_window: MainWindow) -> None:
    for kind in (QToolButton, QLineEdit):
        for widget in open_window.findChildren(kind):
            own = widget.objectName().startswith("qt_") or widget.parent().__class__.__name__.startswith("QDock")
            name = widget.accessibleName() or widget.toolTip() or getattr(widget, "text", str)()
            inside = widget.parent().inherits("QAbstractSpinBox") or widget.parent().inherits("QLineEdit")
            assert own or inside or name, (widget, widget.parent())


def test_without_a_project_nothing_breaks(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DIALOGS:
        monkeypatch.setattr(Ask, name, lambda *arguments: None)
    for name in ids(window):
        if name not in OUTSIDE | {"trace.load_model", "trace.run", "trace.series", "trace.generate"}:
            window.registry.run(name)
    for dialog in window.findChildren(HelpSheet):
        dialog.close()
    window.palette_dialog.close()


@pytest.mark.parametrize("select", [False, True])
def test_with_a_graph_every_command_runs(
    open_window: MainWindow, monkeypatch: pytest.MonkeyPatch, select: bool
) -> None:
    window = open_window
    for name in DIALOGS:
        monkeypatch.setattr(Ask, name, lambda *arguments: None)
    for name in ids(window):
        if name in OUTSIDE | {"trace.load_model", "trace.run", "trace.series", "trace.generate", "file.new"}:
            continue
        if select and window.session.graph is not None:
            window.session.select(12)
        window.registry.run(name)
    for dialog in window.findChildren(HelpSheet):
        dialog.close()
    window.palette_dialog.close()


@pytest.mark.command("edit.pin", "edit.label", "edit.group_pins", "edit.undo", "edit.redo")
def test_pin_label_group_undo_with_the_keyboard(open_window: MainWindow, qtbot: QtBot) -> None:
    window, session = open_window, open_window.session
    graph = session.graph
    assert graph is not None
    one, two = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:2])
    window.activateWindow()
    window.area.canvas.setFocus()
    session.select(one)
    qtbot.keyClick(window.area.canvas, Qt.Key.Key_P)
    session.select(two)
    qtbot.keyClick(window.area.canvas, Qt.Key.Key_P)
    assert session.annotations.pins == (one, two)
    qtbot.keyClick(window.area.canvas, Qt.Key.Key_L)
    qtbot.waitUntil(lambda: window.inspector.label.hasFocus())
    qtbot.keyClicks(window.inspector.label, "says Texas")
    qtbot.keyClick(window.inspector.label, Qt.Key.Key_Return)
    assert session.annotations.labels == {two: "says Texas"}
    window.area.canvas.setFocus()
    qtbot.keyClick(window.area.canvas, Qt.Key.Key_G, Qt.KeyboardModifier.ControlModifier)
    assert [group.name for group in session.annotations.groups] == ["says Texas"]
    assert window.registry.action("edit.undo").text().startswith("Undo Group 2 nodes")
    for _ in range(4):
        qtbot.keyClick(window.area.canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert session.annotations.pins == ()
    assert not session.annotations.labels
    assert not window.registry.action("edit.undo").isEnabled()
    for _ in range(4):
        window.registry.run("edit.redo")
    assert session.annotations.pins == (one, two)
    assert [group.name for group in session.annotations.groups] == ["says Texas"]


@pytest.mark.command("go.back", "go.forward")
def test_brackets_go_back_and_forth(open_window: MainWindow, qtbot: QtBot) -> None:
    window = open_window
    window.area.canvas.setFocus()
    window.session.select(10)
    window.session.select(11)
    qtbot.keyClick(window.area.canvas, Qt.Key.Key_BracketLeft)
    assert window.session.selected == 10
    qtbot.keyClick(window.area.canvas, Qt.Key.Key_BracketRight)
    assert window.session.selected == 11


def test_slash_finds_and_letters_typed_there_are_letters(open_window: MainWindow, qtbot: QtBot) -> None:
    window = open_window
    window.area.canvas.setFocus()
    qtbot.keyClick(window.area.canvas, Qt.Key.Key_Slash)
    field = window.area.find_bar.line
    qtbot.waitUntil(field.hasFocus)
    window.session.select(10)
    qtbot.keyClicks(field, "pl")
    assert field.text() == "pl"
    assert window.session.annotations.pins == ()


@pytest.mark.command("go.palette", "view.theme.dark", "view.theme.light")
def test_the_palette_finds_by_a_few_letters_and_runs(open_window: MainWindow, qtbot: QtBot) -> None:
    window, palette = open_window, open_window.palette_dialog
    window.registry.run("go.palette")
    assert palette.list.topLevelItemCount() == len(window.registry.actions())
    qtbot.keyClicks(palette.line, "dark")
    first = palette.list.topLevelItem(0)
    assert first is not None
    assert first.text(0) == "Dark theme"
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert not palette.isVisible()
    assert current_theme().dark
    window.registry.run("view.theme.light")
    assert not current_theme().dark


def test_letters_match_in_order() -> None:
    assert match("", "anything") == 0
    assert match("grp", "Group pinned nodes") is not None
    assert match("xyz", "Group pinned nodes") is None
    whole, scattered = match("pinned", "Group pinned nodes"), match("gpn", "Group pinned nodes")
    assert whole is not None
    assert scattered is not None
    assert whole < scattered


def test_the_help_sheet_lists_every_key(open_window: MainWindow) -> None:
    written = " ".join(keys for _, entries in help_rows(open_window.registry) for _, keys in entries)
    for action in open_window.registry.actions():
        for keys in action.shortcuts():
            assert keys.toString(QKeySequence.SequenceFormat.NativeText) in written


@pytest.mark.command("view.hide_bos", "view.larger", "view.normal", "view.colour_blind")
def test_hiding_and_themes_are_remembered(open_window: MainWindow, qapp: QApplication) -> None:
    window = open_window
    window.registry.run("view.hide_bos")
    assert window.session.settings.hide_bos
    assert window.area.strip.hide_bos.isChecked()
    before = qapp.font().pointSizeF()
    window.registry.run("view.larger")
    assert qapp.font().pointSizeF() == before + 1
    window.registry.run("view.normal")
    assert qapp.font().pointSizeF() == before
    window.registry.run("view.colour_blind")
    assert window.memory.text("colour_blind", "no") == "yes"
    window.registry.run("view.colour_blind")


@pytest.mark.command("view.reset_layout")
def test_the_layout_can_be_reset(open_window: MainWindow) -> None:
    docks = [dock for dock in open_window.findChildren(QWidget) if dock.objectName() == "dock-inspector"]
    docks[0].hide()
    open_window.registry.run("view.reset_layout")
    assert docks[0].isVisible()


@pytest.mark.command("edit.copy_name")
def test_names_are_copied(open_window: MainWindow) -> None:
    window = open_window
    window.session.select(12)
    window.registry.run("edit.copy_name")
    assert QGuiApplication.clipboard().text() == window.session.node_name(12)


@pytest.mark.command("trace.budget")
def test_the_budget_is_asked_and_remembered(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ask, "number", lambda *arguments: 300)
    window.registry.run("trace.budget")
    assert window.runs.max_nodes == 300
    assert window.memory.text("trace/max_nodes", "") == "300"


def test_actions_follow_the_session_once_however_much_changes(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, asked = open_window, []
    action = window.registry.action("edit.pin")

    def possible() -> bool:
        asked.append(window.session.trace_id)
        return window.session.can_edit

    object.__setattr__(action.command, "enabled", possible)
    window.session.add_trace(as_trace(graph), "another", "neurons")
    window.session.select(12)
    assert not asked
    qtbot.waitUntil(lambda: bool(asked))
    assert asked == [2], "every action is looked at once, when the window is back in its loop"
    window.session.select(13)
    assert window.registry.action("edit.pin").isEnabled(), "who asks before is told what is so now"
    assert asked == [2, 2]
