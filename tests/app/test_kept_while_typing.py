"""What is typed is in the file while it is typed: neither closing nor killing the program loses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from engine.projects import Project

SECONDS = 20_000


@pytest.fixture
def named(open_window: MainWindow, tmp_path: Path) -> MainWindow:
    """A window with a project that has a name, Mine.loupe, and one trace; its first feature is selected."""
    assert open_window.files.save_to(tmp_path / "Mine.loupe")
    graph = open_window.session.graph
    assert graph is not None
    open_window.session.select(int(graph.of_kind(NodeKind.FEATURE)[0]))
    return open_window


def in_file(window: MainWindow) -> tuple[list[str], str]:
    """The labels and the note that another program reads in the file at this moment."""
    project = window.session.project
    assert project is not None
    with Project.open(project.path, read_only=True) as found:
        annotations = found.annotations(1)
    return list(annotations.labels.values()), annotations.note


def type_on(window: MainWindow, text: str) -> None:
    """Type a label, and go on typing."""
    edit = window.inspector.label_line.edit
    edit.setFocus()
    QTest.keyClicks(edit, text)


def test_a_label_is_in_the_file_before_enter(named: MainWindow, qtbot: QtBot) -> None:
    type_on(named, "a sta")
    qtbot.waitUntil(lambda: in_file(named)[0] == ["a sta"], timeout=SECONDS)
    assert named.inspector.label_line.edit.hasFocus()
    type_on(named, "te ")
    assert named.inspector.label_line.edit.text() == "a state ", "a blank that is typed stays where it is"
    qtbot.waitUntil(lambda: in_file(named)[0] == ["a state"], timeout=SECONDS)
    assert named.inspector.label_line.edit.text() == "a state "
    type_on(named, "of")
    QTest.keyClick(named.inspector.label_line.edit, Qt.Key.Key_Return)
    assert in_file(named)[0] == ["a state of"]
    named.registry.run("edit.undo")
    assert in_file(named)[0] == [], "it was one step"
    named.registry.run("edit.redo")
    assert named.session.annotations.labels[named.session.selected] == "a state of"


def test_a_note_is_in_the_file_while_it_is_typed_on_and_on(named: MainWindow, qtbot: QtBot) -> None:
    box = named.investigation.note
    box.setFocus()
    typed = ""

    def on_and_on() -> bool:
        nonlocal typed
        QTest.keyClicks(box, "x")
        typed += "x"
        return bool(in_file(named)[1])

    qtbot.waitUntil(on_and_on, timeout=SECONDS)
    assert set(in_file(named)[1]) == {"x"}
    assert box.toPlainText() == typed, "nothing is put back"


def test_blanks_before_the_first_word_of_a_note_stay(named: MainWindow, qtbot: QtBot) -> None:
    box = named.investigation.note
    box.setFocus()
    QTest.keyClicks(box, "  ")
    named.settle()
    named.edits.pin([0])
    QTest.keyClicks(box, "x")
    assert box.toPlainText() == "  x"


@pytest.mark.parametrize("way", ["close", "file.new"])
def test_a_label_half_typed_is_kept_when_the_project_is_left(named: MainWindow, tmp_path: Path, way: str) -> None:
    type_on(named, "half")
    if way == "close":
        named.close()
    else:
        named.registry.run(way)
    with Project.open(tmp_path / "Mine.loupe") as project:
        assert list(project.annotations(1).labels.values()) == ["half"]


def test_escape_takes_back_what_was_written_so_far(named: MainWindow, qtbot: QtBot) -> None:
    session = named.session
    assert session.project is not None
    assert session.trace_id is not None
    session.project.set_label(session.trace_id, session.selected, "by a program", source="automatic")
    session.refresh()
    before = session.project.undo_title
    type_on(named, "x")
    qtbot.waitUntil(lambda: in_file(named)[0] == ["by a programx"], timeout=SECONDS)
    QTest.keyClick(named.inspector.label_line.edit, Qt.Key.Key_Escape)
    assert in_file(named)[0] == ["by a program"]
    assert session.annotations.sources == {session.selected: "automatic"}
    assert named.inspector.label_line.edit.text() == "by a program"
    assert session.project.undo_title == before, "no step is left of it"


def test_escape_after_another_edit_leaves_that_edit(named: MainWindow, qtbot: QtBot) -> None:
    type_on(named, "x")
    qtbot.waitUntil(lambda: in_file(named)[0] == ["x"], timeout=SECONDS)
    named.edits.pin([0])
    QTest.keyClick(named.inspector.label_line.edit, Qt.Key.Key_Escape)
    assert in_file(named)[0] == []
    assert named.session.annotations.pins == (0,)


def test_a_prompt_is_kept_while_it_is_typed(named: MainWindow, tmp_path: Path, qtbot: QtBot) -> None:
    QTest.keyClicks(named.prompt_bar.editor, " and more")

    def kept() -> str:
        with Project.open(tmp_path / "Mine.loupe", read_only=True) as project:
            return str(project.setting("prompt")["draft"]["text"])

    qtbot.waitUntil(lambda: " and more" in kept(), timeout=SECONDS)


def test_a_prompt_without_a_project_is_there_next_time(qapp: QApplication, window: MainWindow, qtbot: QtBot) -> None:
    QTest.keyClicks(window.prompt_bar.editor, "The capital of")
    qtbot.waitUntil(lambda: window.memory.draft() == "The capital of", timeout=SECONDS)
    other = MainWindow(qapp)
    try:
        other.draft.restore()
        assert other.prompt_bar.editor.toPlainText() == "The capital of"
    finally:
        other.close()
        other.deleteLater()


def test_a_trace_of_the_command_line_shows_its_prompt(window: MainWindow, tmp_path: Path) -> None:
    from engine.projects import Asked
    from engine.tracing.spec import Prompt, TraceSpec
    from tests.graph_builder import build_graph

    graph: AttributionGraph = build_graph()
    with Project.create(tmp_path / "Line.loupe") as project:
        spec = TraceSpec(Prompt("The capital of Texas is", bos=False))
        project.add_trace({}, graph, title="from the line", asked=Asked(spec, "neurons"))
    assert window.files.open_path(tmp_path / "Line.loupe")
    assert window.prompt_bar.editor.toPlainText() == "The capital of Texas is"
    assert not window.prompt_bar.bos.isChecked()
    assert window.session.features_source == "neurons"
