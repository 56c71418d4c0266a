"""The tree of an investigation in the window: what a person makes, names, moves, tags, finds and takes away in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QTreeWidgetItem
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from engine.projects import Project, TreeRef
from tests.app.conftest import as_trace
from tests.graph_builder import build_graph

WHY, FOLDER = "Why Austin?", "Capitals"
Shown = list[tuple[str, list[str]]]


def shown(window: MainWindow) -> Shown:
    """What the tree shows: entries at the top, and what is under each."""
    tree = window.investigation.tree
    items = [tree.topLevelItem(i) for i in range(tree.topLevelItemCount())]
    return [(item.text(0), [item.child(i).text(0) for i in range(item.childCount())]) for item in items if item]


def item(window: MainWindow, title: str) -> QTreeWidgetItem:
    return next(one for one in window.investigation.tree.items() if one.text(0) == title)


def take(window: MainWindow, *titles: str) -> None:
    """Choose entries, the last being the current one."""
    tree = window.investigation.tree
    tree.clearSelection()
    for title in titles:
        tree.setCurrentItem(item(window, title))
    for title in titles:
        item(window, title).setSelected(True)


def say(monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    monkeypatch.setattr(Ask, "text", lambda *arguments: answer)


@pytest.fixture
def two(open_window: MainWindow) -> MainWindow:
    """Two traces; the second is open."""
    other = build_graph(n_layers=4, n_positions=5, n_features=40, n_logits=3, seed=5)
    open_window.session.add_trace(as_trace(other), "The capital of France is → Paris", "neurons")
    return open_window


@pytest.fixture
def full(two: MainWindow) -> MainWindow:
    """The two traces, a folder, a note and a prompt."""
    edits = two.tree_edits
    edits.add_folder(FOLDER)
    edits.add_note(WHY)
    edits.add_prompt("Texas again", "The capital of Texas is", {})
    return two


TEXAS, PARIS = "The capital of Texas is", "The capital of France is"


def undo_and_redo(window: MainWindow, before: Shown, after: Shown) -> None:
    assert shown(window) == after
    window.registry.run("edit.undo")
    assert shown(window) == before
    window.registry.run("edit.redo")
    assert shown(window) == after


@pytest.mark.command("project.new_folder")
def test_a_folder_is_made_with_what_is_chosen_in_it(two: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shown(two)
    assert before == [(TEXAS, []), (PARIS, [])]
    say(monkeypatch, FOLDER)
    take(two, TEXAS, PARIS)
    two.registry.run("project.new_folder")
    undo_and_redo(two, before, [(FOLDER, [TEXAS, PARIS])])
    assert two.investigation.tree.currentItem().text(0) in (FOLDER, PARIS)
    take(two, FOLDER)
    say(monkeypatch, "Inside")
    two.registry.run("project.new_folder")
    assert shown(two) == [(FOLDER, [TEXAS, PARIS, "Inside"])]
    say(monkeypatch, None)
    two.registry.run("project.new_folder")
    assert shown(two) == [(FOLDER, [TEXAS, PARIS, "Inside"])]


@pytest.mark.command("project.new_note", "project.open")
def test_a_note_is_written_and_kept(two: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    two.edits.note("of the trace")
    say(monkeypatch, WHY)
    two.registry.run("project.new_note")
    pane = two.investigation.pane
    assert pane.title.text() == WHY
    assert two.investigation.note.toPlainText() == ""
    two.investigation.note.setPlainText("Because of the state.")
    take(two, TEXAS)  # leaving writes what was typed
    two.registry.run("project.open")
    assert not pane.title.isVisible()
    project = two.session.project
    assert project is not None
    note = next(entry for entry in project.tree.entries() if entry.kind == "note")
    assert project.tree.text(note.ref) == "Because of the state."
    take(two, WHY)
    assert two.investigation.note.toPlainText() == "Because of the state."
    two.registry.run("edit.undo")
    assert two.investigation.note.toPlainText() == ""
    take(two, PARIS)
    assert two.session.annotations.note == ""
    two.registry.run("project.open")
    assert two.investigation.note.toPlainText() == "of the trace"


@pytest.mark.command("project.keep_prompt")
def test_a_prompt_is_kept_and_put_back(two: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    two.session.prompt.edit(text="Fact: the capital of Texas is", bos=False)
    say(monkeypatch, "Fact")
    two.registry.run("project.keep_prompt")
    two.session.prompt.edit(text="another", bos=True)
    take(two, "Fact")
    assert two.investigation.note.toPlainText() == "Fact: the capital of Texas is"
    two.registry.run("project.open")
    assert (two.session.prompt.draft.text, two.session.prompt.draft.bos) == ("Fact: the capital of Texas is", False)
    two.session.prompt.edit(text="  ")
    assert not two.registry.action("project.keep_prompt").isEnabled()


@pytest.mark.command("project.keep_circuit")
def test_a_circuit_is_kept_and_put_back_on_its_trace(
    two: MainWindow, graph: AttributionGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, third = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:3])
    assert not two.registry.action("project.keep_circuit").isEnabled()
    two.edits.pin([one])
    two.edits.group([other, third], "say Paris")
    say(monkeypatch, "First")
    two.registry.run("project.keep_circuit")
    two.edits.leave_circuit([one, other, third])
    two.session.open_trace(1)
    take(two, "First")
    two.registry.run("project.open")
    assert two.session.trace_id == 2
    circuit = two.session.circuit
    assert circuit.pins == (one,)
    assert [(group.name, group.nodes) for group in circuit.supernodes] == [("say Paris", (other, third))]
    two.registry.run("edit.undo")
    assert two.session.annotations.pins == ()


@pytest.mark.command("project.rename")
def test_entries_are_renamed(full: MainWindow, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> None:
    before = shown(full)
    say(monkeypatch, "Cities  of   states")
    take(full, FOLDER)
    qtbot.keyClick(full.investigation.tree, Qt.Key.Key_F2)
    undo_and_redo(full, before, [(TEXAS, []), (PARIS, []), ("Cities of states", []), (WHY, []), ("Texas again", [])])
    say(monkeypatch, "Texas, first look")
    take(full, TEXAS)
    full.registry.run("project.rename")
    assert shown(full)[0] == ("Texas, first look", [])
    take(full, WHY, "Cities of states")
    assert not full.registry.action("project.rename").isEnabled(), "one at a time"


@pytest.mark.command("project.duplicate")
def test_a_trace_is_copied_with_what_is_on_it(two: MainWindow) -> None:
    two.edits.pin([11])
    take(two, PARIS)
    two.registry.run("project.duplicate")
    project = two.session.project
    assert project is not None
    assert [row.title for row in project.traces()][2] == "The capital of France is → Paris copy"
    assert project.annotations(3).pins == (11,)
    two.registry.run("edit.undo")
    assert len(project.traces()) == 2


@pytest.mark.command("project.move")
def test_entries_are_moved_into_a_folder(full: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    before, asked = shown(full), []

    def choose(parent: object, title: str, question: str, options: list[str]) -> int:
        asked.append(options)
        return options.index(FOLDER)

    monkeypatch.setattr(Ask, "choice", choose)
    take(full, TEXAS, WHY)
    full.registry.run("project.move")
    undo_and_redo(full, before, [(PARIS, []), (FOLDER, [TEXAS, WHY]), ("Texas again", [])])
    assert asked == [["The project itself", FOLDER]]
    take(full, FOLDER)
    monkeypatch.setattr(Ask, "choice", lambda parent, title, question, options: asked.append(options))
    full.registry.run("project.move")
    assert asked[-1] == ["The project itself"], "a folder cannot go into itself"


def drag(window: MainWindow, titles: list[str], onto: str | None, share: float) -> None:
    """Drag entries to a place in a row (0: its top, 1: its bottom), or below all rows."""
    tree = window.investigation.tree
    take(window, *titles)
    data = tree.mimeData(tree.selectedItems())
    at = QPoint(20, tree.viewport().height() - 2)
    if onto is not None:
        tree.scrollToItem(item(window, onto))
        rect = tree.visualItemRect(item(window, onto))
        at = QPoint(rect.left() + 10, rect.top() + round(share * rect.height()))
    none = Qt.KeyboardModifier.NoModifier
    drop = QDropEvent(QPointF(at), Qt.DropAction.MoveAction, data, Qt.MouseButton.LeftButton, none)
    tree.dropEvent(drop)
    assert drop.isAccepted()


def test_entries_are_dragged(full: MainWindow) -> None:
    start = shown(full)
    drag(full, [TEXAS, PARIS], FOLDER, 0.5)
    undo_and_redo(full, start, [(FOLDER, [TEXAS, PARIS]), (WHY, []), ("Texas again", [])])
    drag(full, ["Texas again"], PARIS, 0.1)
    assert shown(full) == [(FOLDER, [TEXAS, "Texas again", PARIS]), (WHY, [])]
    drag(full, [PARIS], FOLDER, 0.05)
    assert shown(full) == [(PARIS, []), (FOLDER, [TEXAS, "Texas again"]), (WHY, [])]
    drag(full, [WHY], PARIS, 0.9)
    assert shown(full) == [(PARIS, []), (WHY, []), (FOLDER, [TEXAS, "Texas again"])]
    drag(full, [PARIS], None, 0)
    assert shown(full)[-1] == (PARIS, [])
    drag(full, [FOLDER], TEXAS, 0.1)
    assert "A folder cannot be put into itself" in full.investigation.banner.sentence.text()


@pytest.mark.command("project.delete")
def test_a_folder_is_deleted_with_what_is_in_it_and_comes_back(full: MainWindow, qtbot: QtBot) -> None:
    drag(full, [PARIS, WHY], FOLDER, 0.5)
    before = shown(full)
    take(full, FOLDER)
    qtbot.keyClick(full.investigation.tree, Qt.Key.Key_Delete)
    assert full.session.trace_id == 1, "the open trace went with its folder; another one is shown"
    undo_and_redo(full, before, [(TEXAS, []), ("Texas again", [])])


def test_the_only_trace_is_deleted_and_comes_back(open_window: MainWindow) -> None:
    open_window.edits.pin([11])
    open_window.registry.run("project.delete")
    assert open_window.session.graph is None
    assert open_window.start.isVisible()
    open_window.registry.run("edit.undo")
    assert open_window.session.annotations.pins == (11,)


@pytest.mark.command("project.tag", "project.untag", "project.filter")
def test_tags_are_put_on_shown_and_taken_away(full: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not full.registry.action("project.filter").isEnabled()
    say(monkeypatch, "to  check")
    take(full, TEXAS, WHY)
    full.registry.run("project.tag")
    drag(full, [TEXAS], FOLDER, 0.5)
    say(monkeypatch, "sure")
    take(full, PARIS)
    full.registry.run("project.tag")
    assert "#sure" in item(full, PARIS).data(0, Qt.ItemDataRole.AccessibleTextRole)
    full.registry.run("project.filter")
    menu = full.investigation.tag_menu
    assert [action.text() for action in menu.actions()] == ["Everything", "sure\t1", "to check\t2"]
    menu.actions()[2].trigger()
    menu.close()
    assert shown(full) == [(FOLDER, [TEXAS]), (WHY, [])]
    take(full, WHY)
    full.registry.run("project.untag")
    assert shown(full) == [(FOLDER, [TEXAS])]
    full.registry.run("edit.undo")
    assert shown(full) == [(FOLDER, [TEXAS]), (WHY, [])]
    take(full, TEXAS, WHY)
    full.registry.run("project.untag")
    assert full.investigation.only == "", "the last one is gone: everything is shown again"
    assert len(shown(full)) == 4


def test_a_folder_that_was_closed_stays_closed(full: MainWindow) -> None:
    drag(full, [WHY], FOLDER, 0.5)
    item(full, FOLDER).setExpanded(False)
    full.edits.pin([11])
    assert not item(full, FOLDER).isExpanded()
    full.investigation.go_to(next(ref for ref in refs(full) if ref.table == "item" and ref.number == 2))
    assert item(full, FOLDER).isExpanded()


def refs(window: MainWindow) -> list[TreeRef]:
    project = window.session.project
    assert project is not None
    return [entry.ref for entry in project.tree.entries()]


def test_an_experiment_is_shown_in_words(two: MainWindow) -> None:
    project = two.session.project
    assert project is not None
    project.experiments.add("ablate", "Without Texas", {"nodes": [11]}, {"Austin": -2.5}, trace=2)
    two.session.refresh()
    take(two, "Without Texas")
    text = two.investigation.note.toPlainText()
    assert "nodes: [11]" in text and "Austin: -2.5" in text and "untested" in text
    assert two.investigation.note.isReadOnly()


def test_nothing_is_changed_in_a_project_open_for_reading(window: MainWindow, tmp_path: Path) -> None:
    path = tmp_path / "texas.loupe"
    with Project.create(path) as project:
        project.tree.add_note(WHY, "text")
        assert window.files.open_path(path)
        assert shown(window) == [(WHY, [])]
        take(window, WHY)
        for command in ("new_folder", "new_note", "rename", "duplicate", "move", "delete", "tag"):
            assert not window.registry.action(f"project.{command}").isEnabled(), command
        assert not window.investigation.note.isEnabled()
        assert window.investigation.note.toPlainText() == "text"


# ---- search --------------------------------------------------------------------------------------------------------


def found(window: MainWindow) -> list[str]:
    results = window.investigation.results
    items = [results.topLevelItem(i) for i in range(results.topLevelItemCount())]
    return [str(one.data(0, Qt.ItemDataRole.AccessibleTextRole) or one.text(0)) for one in items if one]


def search(window: MainWindow, qtbot: QtBot, words: str) -> None:
    window.registry.run("project.search")
    qtbot.waitUntil(window.investigation.search.hasFocus)
    qtbot.keyClicks(window.investigation.search, words)


@pytest.mark.command("project.search")
def test_a_label_is_found_and_gone_to(full: MainWindow, qtbot: QtBot) -> None:
    full.session.open_trace(1)
    full.edits.label(12, "Lone Star State")
    full.session.open_trace(2)
    search(full, qtbot, "lone st")
    assert found(full) == ["Lone Star State, label in The capital of Texas is → Austin"]
    assert not full.investigation.tree.isVisible()
    qtbot.keyClick(full.investigation.search, Qt.Key.Key_Down)
    qtbot.keyClick(full.investigation.results, Qt.Key.Key_Return)
    assert (full.session.trace_id, full.session.selected) == (1, 12)
    qtbot.keyClick(full.investigation.search, Qt.Key.Key_Escape)
    assert full.investigation.tree.isVisible()
    search(full, qtbot, "nowhere")
    assert found(full) == ["Nothing found"]


def test_notes_groups_titles_and_entries_are_found(full: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    one, other = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:2])
    full.edits.note("a strange zebra")
    full.edits.group([one, other], "zebra group")
    note = next(ref for ref in refs(full) if ref == TreeRef("item", 2))
    full.tree_edits.write(note, "zebra in a note")
    full.session.open_trace(1)
    search(full, qtbot, "zebra")
    places = {line.rpartition(", ")[2] for line in found(full)}
    paris = "The capital of France is → Paris"
    assert places == {f"notes on {paris}", f"group in {paris}", "note"}
    results = full.investigation.results

    def go(words: str) -> None:
        number = next(i for i, line in enumerate(found(full)) if line.partition(", ")[2] in (words, f"{words} {paris}"))
        results.itemClicked.emit(results.topLevelItem(number), 0)

    go("group in")
    assert full.session.trace_id == 2
    assert full.session.selected == one and full.session.lit == (one, other)
    full.session.open_trace(1)
    go("notes on")
    assert full.session.trace_id == 2
    assert full.investigation.note.toPlainText() == "a strange zebra"
    search(full, qtbot, "zebra")
    go("note")
    assert full.investigation.note.toPlainText() == "zebra in a note"
    assert full.investigation.tree.isVisible()
