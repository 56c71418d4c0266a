"""Sweeps, groups and the verdict in the window, and a search that is stopped; all else is in test_experiments."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from app.window import MainWindow
from tests.app.test_experiments import features, rows, run, traced
from tests.app.test_window_with_model import SECONDS, ready

__all__ = ["ready"]


@pytest.mark.command("experiment.doses", "experiment.layers", "experiment.matrix", "experiment.verify")
def test_sweeps_groups_and_the_verdict_of_a_graph(ready: MainWindow, qtbot: QtBot) -> None:
    window = ready
    graph = traced(window, qtbot, "The capital of Texas is")
    page = window.area.experiments
    page.circuit.edges.setValue(1)
    assert window.experiments.draft.edge_controls == 100, "fewer are no evidence"
    verdict = run(window, qtbot, "experiment.verify")
    listed = rows(page.views["verify"].table)  # type: ignore[attr-defined]
    assert len(listed) == len(verdict["sample"]["q"])
    assert [row[5] for row in listed] == [f"{one:.2g}" for one in sorted(verdict["sample"]["q"])]
    divided = verdict["sample"]["divided_predicted"]
    assert divided, "the graph's own edges between neurons"
    assert len(page.views["verify"].edges.spots.points()) == len(listed) + len(divided)  # type: ignore[attr-defined]
    parts = {row[0]: row[1:] for row in rows(page.views["verify"].parts)}  # type: ignore[attr-defined]
    assert [one["name"] for one in verdict["parts"]] == list(parts)
    assert parts["conservation"][2] == parts["edges"][2] == "holds"
    assert page.sentence.text() == verdict["sentence"]
    window.registry.run("experiment.again")
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    assert page.held.text().startswith("The result held")
    nodes = features(graph, 6)
    low = min(nodes, key=lambda node: int(graph.layer[node]))
    window.session.select(low)
    window.registry.run("experiment.change")
    swept = run(window, qtbot, "experiment.doses")
    table = {row[0]: row[1:] for row in rows(page.views["doses"].table)}  # type: ignore[attr-defined]
    assert abs(float(table["1×"][0].replace("−", "-"))) < 1e-4 and len(table) == len(swept["values"])
    layers = run(window, qtbot, "experiment.layers")
    assert layers["values"][0] == int(graph.layer[low]) and layers["values"][-1] == graph.n_layers - 1
    # What the sweep says of the dose 0 and the range of one layer is what the plain experiment says.
    page.form.controls.setValue(0)
    plain = run(window, qtbot, "experiment.run")
    change = plain["changed"] - plain["recorded"]
    assert swept["measured"][swept["values"].index(0.0)] == pytest.approx(change, abs=1e-4)
    assert layers["measured"][0] == pytest.approx(change, abs=1e-4)
    page.form.mode.setCurrentIndex(page.form.mode.findData("iterative"))
    page.form.mode.activated.emit(0)
    assert not window.registry.action("experiment.layers").isEnabled()
    assert not window.registry.action("experiment.matrix").isEnabled()
    order = sorted(nodes, key=lambda node: int(graph.layer[node]))
    window.edits.group(order[:3], "early")
    window.edits.group(order[3:], "late")
    run(window, qtbot, "experiment.matrix")
    matrix = rows(page.views["matrix"].table)  # type: ignore[attr-defined]
    assert [row[0] for row in matrix] == ["early", "late"]
    assert matrix[0][1] == "" and matrix[0][2].endswith(" %")


def test_a_search_that_is_cancelled_keeps_nothing(ready: MainWindow, qtbot: QtBot) -> None:
    window = ready
    traced(window, qtbot, "The capital of Texas is")
    window.registry.run("experiment.search")
    qtbot.waitUntil(lambda: window.host.current is not None and window.host.current.state[1] > 0.15, timeout=SECONDS)
    window.registry.run("trace.cancel")
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    assert window.experiments.rows() == []
    assert window.area.experiments.stack.currentWidget() is window.area.experiments.hint
    assert not window.area.banner.isVisible()
