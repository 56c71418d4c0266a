"""Running a kept trace again from the window: the same graph is said to be the same, another one is said to differ."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QMenu
from pytestqt.qtbot import QtBot

from app.panels.list_sheet import ListSheet
from app.window import MainWindow
from engine.projects import Asked
from engine.tracing.spec import Prompt, TraceSpec
from tests.app.conftest import as_trace
from tests.app.test_window_with_model import SECONDS, ready, type_prompt, wait_until_idle
from tests.graph_builder import build_graph

__all__ = ["ready"]


def sheets(window: MainWindow) -> list[ListSheet]:
    return [sheet for sheet in window.findChildren(ListSheet) if sheet.isVisible()]


def open_kept(window: MainWindow) -> int:
    """A trace that another model made, in the project and open; its number."""
    trace, session = as_trace(build_graph()), window.session
    number = session.ensure_project().add_trace(
        trace.report, trace.graph, title="Elsewhere", asked=Asked(TraceSpec(Prompt("one")), "neurons")
    )
    session.refresh(number)
    return number


def run_again(window: MainWindow, qtbot: QtBot) -> list[str]:
    assert not sheets(window)
    window.registry.run("trace.rerun")
    qtbot.waitUntil(lambda: bool(sheets(window)), timeout=SECONDS)
    wait_until_idle(qtbot, window)
    (sheet,) = sheets(window)
    rows = sheet.list
    sentences = [item.text() for item in (rows.item(i) for i in range(rows.count())) if item is not None]
    sheet.close()
    return sentences


@pytest.mark.command("trace.rerun")
def test_a_trace_is_run_again_and_compared(ready: MainWindow, qtbot: QtBot) -> None:
    window, session = ready, ready.session
    window.runs.max_nodes = 30
    type_prompt(qtbot, window, "The capital of Texas is")
    window.registry.run("trace.run")
    qtbot.waitUntil(lambda: session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, window)
    first, project, trace = session.trace_id, session.project, session.graph
    assert project is not None and first is not None and trace is not None
    sentences = run_again(window, qtbot)
    assert "The graph is the same" in sentences[0]
    assert sentences[1:] == ["Nothing that it depends on has changed: versions, model, dictionary, device."]
    assert len(project.traces()) == 1, "nothing is written"

    # What was kept is another graph, made with another version: both are said.
    report = {**project.report(first), "versions": {**project.report(first)["versions"], "torch": "1.0"}}
    other = replace(trace, weight=(2 * trace.weight).astype(trace.weight.dtype))
    number = project.add_trace(report, other, title="Changed", asked=project.asked(first))
    session.refresh(number)
    sentences = run_again(window, qtbot)
    assert sentences[0].startswith("The graph is not the same") and "edges differ" in sentences[0]
    assert sentences[1].startswith("Changed: version of torch, from 1.0 to ")


def test_a_trace_of_a_model_that_is_not_here_names_it(ready: MainWindow, qtbot: QtBot) -> None:
    session = ready.session
    number = open_kept(ready)
    ready.registry.run("trace.rerun")
    wait_until_idle(qtbot, ready)
    assert "made with test; choose or open that model" in ready.area.banner.sentence.text()
    session.project.add_trace({"imported": "x"}, build_graph(), title="Imported")  # type: ignore[union-attr]
    session.refresh(number + 1)
    ready.registry.run("trace.rerun")
    assert "came from another program" in ready.area.banner.sentence.text()


def test_a_project_that_is_closed_while_the_model_loads_takes_the_wish_with_it(ready: MainWindow, qtbot: QtBot) -> None:
    session = ready.session
    open_kept(ready)
    ready.runs.model = None
    ready.registry.run("trace.rerun")
    session.close()
    qtbot.waitUntil(lambda: ready.runs.model is not None, timeout=SECONDS)  # what the slots raise fails the test
    wait_until_idle(qtbot, ready)
    assert not ready.area.banner.isVisible()


def test_the_menu_of_the_tree_offers_it(open_window: MainWindow) -> None:
    tree = open_window.investigation.tree
    at: QPoint = tree.visualItemRect(tree.topLevelItem(0)).center()
    tree.contextMenuEvent(QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, tree.viewport().mapToGlobal(at)))
    menu = next(menu for menu in tree.findChildren(QMenu) if menu.isVisible())
    words = [action.text() for action in menu.actions() if not action.isSeparator()]
    menu.close()
    assert words[:2] == ["&Open\tReturn", "&Run this trace again"]
    assert "D&elete\tDel" in words
