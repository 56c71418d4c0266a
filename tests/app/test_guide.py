"""The first steps tick when a person really did them, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.glossary import as_markdown, glossary
from app.guide import STEPS
from app.guide import as_markdown as first_steps_as_markdown
from app.panels.glossary_sheet import GlossarySheet
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from engine.interventions.kept import Record
from tests.app.conftest import as_trace
from tests.app.test_comparison import varied
from tests.conftest import REPOSITORY


def ticked(window: MainWindow) -> set[str]:
    return {row.step.id for row in window.guide_panel.rows if not row.mark.pixmap().isNull()}


@pytest.mark.command("help.guide")
def test_the_guide_ticks_what_was_done(
    window: MainWindow, graph: AttributionGraph, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = window.session
    assert not window.guide_panel.isVisible()
    window.registry.run("help.guide")
    assert window.guide_panel.isVisible()
    assert ticked(window) == set()
    assert window.guide_panel.rows[0].words.isVisible()
    assert not window.guide_panel.rows[1].words.isVisible()

    session.add_trace(as_trace(graph), "Texas → Austin", "neurons")
    assert ticked(window) == {"trace"}
    assert window.guide_panel.rows[1].words.isVisible()
    logit = int(graph.of_kind(NodeKind.LOGIT)[0])
    session.select(logit)
    assert ticked(window) == {"trace"}, "a logit is no feature"
    features = set(graph.of_kind(NodeKind.FEATURE).tolist())
    source = next(int(s) for s, t in zip(graph.source, graph.target, strict=True) if t == logit and s in features)
    session.select(source)
    assert ticked(window) == {"trace", "feature", "follow"}
    window.registry.run("edit.pin")
    assert "pin" not in ticked(window), "one pin is not two"
    other = next(node for node in sorted(features) if node != source)
    session.select(other)
    window.registry.run("edit.pin")
    assert window.edits.label(other, "says Texas")
    window.hands.group([source, other])
    assert ticked(window) == {"trace", "feature", "follow", "pin", "label", "group"}
    record = Record("intervention", "Ablate Texas", {"experiment": {}}, {"evidence": "supported"})
    window.experiments.keep(session.trace_id, record)
    assert "experiment" in ticked(window)
    session.add_trace(as_trace(varied(graph)), "France → Paris", "neurons")
    monkeypatch.setattr(Ask, "choice", lambda *arguments: 0)
    window.comparison.compare(2, 1)
    qtbot.waitUntil(lambda: len(ticked(window)) == len(STEPS), timeout=20_000)
    assert "Done" in window.guide_panel.state.text()
    qtbot.mouseClick(window.guide_panel.again, Qt.MouseButton.LeftButton, pos=QPoint(4, 4))
    assert ticked(window) == set()


def test_what_was_there_before_does_not_count(open_window: MainWindow) -> None:
    open_window.registry.run("help.guide")
    open_window.session.open_trace(1)
    assert ticked(open_window) == set()


def test_a_sample_that_is_opened_ticks_nothing(window: MainWindow, tmp_path: Path) -> None:
    """It has a trace, pins, a group or an experiment of its own: the person has done none of it."""
    sample = tmp_path / "capital.loupe"
    shutil.copy(REPOSITORY / "resources" / "samples" / "capital.loupe", sample)
    window.registry.run("help.guide")
    window.files.open_path(sample)
    session = window.session
    assert session.project is not None
    if session.trace_id is None:
        session.open_trace(session.project.traces()[0].id)
    assert session.annotations.pins and window.experiments.rows()
    assert ticked(window) == set()
    graph = session.graph
    assert graph is not None
    other = next(int(node) for node in graph.of_kind(NodeKind.FEATURE) if int(node) not in session.annotations.pins)
    session.select(other)
    window.registry.run("edit.pin")
    assert ticked(window) == {"feature", "pin"}


def test_what_was_done_is_still_ticked_after_a_restart(window: MainWindow, graph: AttributionGraph) -> None:
    window.registry.run("help.guide")
    window.session.add_trace(as_trace(graph), "Texas → Austin", "neurons")
    from app.guide import Guide

    assert Guide(window.session, window.experiments, window.comparison, window.memory).done == {"trace"}


def test_a_step_can_be_shown(open_window: MainWindow, qtbot: QtBot) -> None:
    open_window.registry.run("help.guide")
    row = open_window.guide_panel.rows[0]
    qtbot.mouseClick(row.show_me, Qt.MouseButton.LeftButton)
    assert open_window.prompt_bar.editor.hasFocus()
    for step in STEPS:
        if step.command:
            open_window.registry.action(step.command)


@pytest.mark.command("help.glossary")
def test_the_glossary_is_searched(window: MainWindow) -> None:
    window.registry.run("help.glossary")
    sheet = window.findChild(GlossarySheet)
    assert sheet is not None and sheet.isVisible()
    assert sheet.text.toPlainText().count("Source: ") == len(glossary())
    sheet.filter.setText("supernode")
    assert sheet.text.toPlainText().startswith("SUPERNODE")
    sheet.filter.setText("no such word at all")
    assert "No entry" in sheet.text.toPlainText()
    sheet.close()


def test_the_pages_are_current_and_every_word_has_a_source() -> None:
    docs = REPOSITORY / "docs"
    assert (docs / "glossary.md").read_text(encoding="utf-8") == as_markdown(), "run `make commands`"
    assert (docs / "first-steps.md").read_text(encoding="utf-8") == first_steps_as_markdown(), "run `make commands`"
    words = glossary()
    assert [word.term.lower() for word in words] == sorted(word.term.lower() for word in words)
    for word in words:
        assert word.meaning.endswith(".") and word.source, word.term
        if word.source.startswith("docs/"):
            assert (REPOSITORY / word.source).is_file(), word.source
