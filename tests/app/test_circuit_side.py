"""Beside the diagram: scores, paths, suggestions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtWidgets import QToolButton, QTreeWidgetItem
from pytestqt.qtbot import QtBot

from app.circuit.paths_view import PathsView
from app.circuit.suggestions_view import SuggestionsView
from app.window import MainWindow
from engine.graphs import AttributionGraph, Circuit, NodeKind, circuit_scores
from engine.graphs.paths import PathFinder
from engine.graphs.pruning import prune
from tests.app.conftest import as_trace
from tests.app.test_window_with_model import SECONDS, ready, type_prompt, wait_until_idle

__all__ = ["ready"]


def strongest(graph: AttributionGraph, count: int) -> list[int]:
    feature = graph.of_kind(NodeKind.FEATURE)
    return [int(node) for node in feature[np.argsort(-graph.influence[feature])][:count]]


def measured(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not window.host.busy and not window.desk.pending, timeout=20_000)


def rows(view: PathsView | SuggestionsView, section: int) -> list[QTreeWidgetItem]:
    top = view.list.topLevelItem(section)
    return [] if top is None else [top.child(i) for i in range(top.childCount())]


# ---- scores ------------------------------------------------------------------------------------------------------


def test_scores_of_the_circuit_stand_beside_those_of_the_graph(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, view = open_window, open_window.area.circuit.scores
    assert not view.isVisible()
    window.edits.pin(strongest(graph, 3))
    measured(window, qtbot)
    expected = circuit_scores(Circuit(tuple(strongest(graph, 3))), graph)
    assert view.isVisible()
    shown = {name: tuple(label.text() for label in pair) for name, pair in view.values.items()}
    assert shown["Replacement"] == (f"{expected.circuit.replacement:.2f}", f"{expected.graph.replacement:.2f}")
    assert shown["Completeness"] == (f"{expected.circuit.completeness:.2f}", f"{expected.graph.completeness:.2f}")
    assert shown["Explained"][0] == f"{100 * expected.explained:.0f} %"
    before = shown
    window.session.set_view(node_threshold=0.2, edge_threshold=0.3)
    measured(window, qtbot)
    assert {name: tuple(label.text() for label in pair) for name, pair in view.values.items()} == before, "unpruned"
    window.edits.pin(strongest(graph, 12))
    measured(window, qtbot)
    assert float(view.values["Completeness"][0].text()) >= float(before["Completeness"][0])


def test_neurons_are_told_that_scores_do_not_apply(window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    neurons = replace(graph, measure="relevance")
    window.session.add_trace(as_trace(neurons), "x", "neurons")
    window.edits.pin(strongest(neurons, 2))
    measured(window, qtbot)
    view = window.area.circuit.scores
    assert view.note.isVisible()
    assert "do not apply" in view.note.text()
    assert not view.values["Replacement"][0].isVisible()
    assert view.values["Explained"][0].isVisible()


def test_a_job_that_went_first_does_not_leave_the_scores_undone(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window = open_window
    window.edits.pin(strongest(graph, 2))
    window.registry.run("circuit.suggest")  # loud: what is quiet gives way
    qtbot.waitUntil(lambda: window.desk.scores is not None and not window.desk.pending, timeout=20_000)
    assert window.area.circuit.scores.values["Replacement"][0].text() not in ("", "…")


# ---- paths -------------------------------------------------------------------------------------------------------


def ends(graph: AttributionGraph) -> tuple[int, int]:
    """A token and a logit with ways of several steps between them."""
    finder, logit = PathFinder(graph), int(graph.of_kind(NodeKind.LOGIT)[0])
    found = [int(node) for node in graph.of_kind(NodeKind.EMBEDDING)]
    return max(found, key=lambda node: len(finder.strongest(node, logit, 20))), logit


@pytest.mark.command("circuit.paths")
def test_two_chosen_nodes_show_their_paths_and_one_lights_up(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, view = open_window, open_window.area.circuit.paths
    token, logit = ends(graph)
    assert not window.registry.action("circuit.paths").isEnabled()
    window.choice.choose((logit, token))
    window.registry.run("circuit.paths")
    qtbot.waitUntil(lambda: window.desk.paths is not None)
    assert view.isVisible()
    expected = PathFinder(graph).strongest(token, logit, 30)
    assert len(rows(view, 0)) == len(expected)
    shares = [abs(float(row.text(1).rstrip(" %").replace("−", "-"))) for row in rows(view, 0)]
    assert shares == sorted(shares, reverse=True)
    long = next(i for i, path in enumerate(expected) if len(path.nodes) > 2)
    view.list.setCurrentItem(rows(view, 0)[long])
    scene = window.area.canvas._stage.scene
    assert scene is not None
    assert scene.lit == expected[long].nodes
    edges = window.area.canvas._stage.edges
    drawn = {(int(graph.source[edge]), int(graph.target[edge])) for edge in edges}
    assert drawn == set(zip(expected[long].nodes, expected[long].nodes[1:], strict=False))
    faded = np.flatnonzero(~window.area.canvas._stage.faded)
    assert set(faded.tolist()) == set(expected[long].nodes)
    assert all(scene.is_shown(node) for node in scene.lit)
    window.session.select(strongest(graph, 1)[0])
    assert scene.lit == () or strongest(graph, 1)[0] in expected[long].nodes


def test_hidden_nodes_of_a_path_are_brought_into_view(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window = open_window
    window.session.set_view(node_threshold=0.05)
    hidden = int(np.flatnonzero(~prune(graph, 0.05, 0.98).nodes)[0])
    window.session.light((hidden,))
    scene = window.area.canvas._stage.scene
    assert scene is not None
    assert scene.is_shown(hidden)
    window.area.canvas.setFocus()
    window.area.canvas._escape()
    assert window.session.lit == ()


def test_paths_run_between_the_last_two_nodes_selected(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window = open_window
    token, logit = ends(graph)
    window.session.select(token)
    window.session.select(logit)
    window.registry.run("circuit.paths")
    qtbot.waitUntil(lambda: window.desk.paths is not None)
    assert window.desk.paths is not None
    assert (window.desk.paths.connection.source, window.desk.paths.connection.target) == (token, logit)


def test_what_lies_between_is_listed_with_its_share_groups_too(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, view = open_window, open_window.area.circuit.paths
    token, logit = ends(graph)
    finder = PathFinder(graph)
    mediators = [one.node for one in finder.connection(token, logit).mediators(2)]
    window.edits.group(mediators, "the bridge")
    window.choice.choose((token, logit))
    window.registry.run("circuit.paths")
    qtbot.waitUntil(lambda: window.desk.paths is not None)
    listed = [row.text(0) for row in rows(view, 1)]
    assert "▣ the bridge" in listed
    share = next(row.text(1) for row in rows(view, 1) if row.text(0) == "▣ the bridge")
    expected = finder.share_through(token, logit, mediators)
    assert float(share.rstrip(" %")) == pytest.approx(100 * expected, abs=0.6)
    view.list.setCurrentItem(next(row for row in rows(view, 1) if row.text(0) == "▣ the bridge"))
    assert window.choice.supernode is not None
    assert window.choice.supernode.name == "the bridge"


def test_neurons_are_told_that_paths_carry_little(window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    neurons = replace(graph, measure="relevance")
    window.session.add_trace(as_trace(neurons), "x", "neurons")
    window.choice.choose(ends(neurons))
    window.registry.run("circuit.paths")
    qtbot.waitUntil(lambda: window.desk.paths is not None)
    assert "cancel" in window.area.circuit.paths.summary.text()


def test_no_path_is_said_in_words(open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    window = open_window
    first, second = (int(node) for node in graph.of_kind(NodeKind.EMBEDDING)[:2])
    window.choice.choose((first, second))
    window.registry.run("circuit.paths")
    qtbot.waitUntil(lambda: window.desk.paths is not None)
    assert "No path" in window.area.circuit.paths.summary.text()
    assert not window.area.circuit.paths.list.isVisible()


# ---- suggestions -------------------------------------------------------------------------------------------------


def suggested(window: MainWindow, qtbot: QtBot) -> SuggestionsView:
    window.registry.run("circuit.suggest")
    qtbot.waitUntil(lambda: window.desk.searched and not window.host.busy, timeout=20_000)
    return window.area.circuit.suggestions


@pytest.mark.command("circuit.suggest", "circuit.accept", "circuit.refuse")
def test_suggested_pins_are_previews_decided_one_by_one(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, session = open_window, open_window.session
    view = suggested(window, qtbot)
    assert session.annotations.pins == (), "nothing changes before it is accepted"
    assert session.project is not None
    first = view._shown[0]
    assert first.kind == "pin"
    view.list.setCurrentItem(view.list.rows()[0])
    assert "targets' weight" in view.reason.text()
    assert "% of resamples" in view.reason.text()
    assert session.lit == first.nodes, "a preview on the canvas"
    window.registry.run("circuit.accept")
    assert session.annotations.pins == first.nodes
    second = view.current()
    assert second is not None
    assert second.id != first.id
    window.registry.run("circuit.refuse")
    assert second.id not in [one.id for one in view._shown]
    assert session.annotations.pins == first.nodes
    suggested(window, qtbot)
    assert second.nodes not in [one.nodes for one in view._shown if one.kind == "pin"], "it does not come back"
    window.registry.run("edit.undo")
    assert second.nodes in [one.nodes for one in view._shown if one.kind == "pin"], "but undo brings it back"
    window.registry.run("edit.undo")
    assert session.annotations.pins == ()


def test_hide_bos_leaves_the_start_token_out_of_suggestions(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window = open_window
    view = suggested(window, qtbot)
    at_start = [one for one in view._shown if (graph.position[list(one.nodes)] == 0).any()]
    assert at_start, "there is something to leave out"
    assert "Hide BOS" in view.note.text() and "With the model" in view.note.text()
    window.registry.run("view.hide_bos")
    assert view._shown and not any(one.id in [other.id for other in view._shown] for one in at_start)
    suggested(window, qtbot)
    assert not any((graph.position[list(one.nodes)] == 0).any() for one in view._shown)
    assert "nothing at the start token is suggested" in view.note.text()
    window.registry.run("view.hide_bos")
    assert "nothing at the start token" not in view.note.text()


def test_suggestions_are_there_when_the_project_is_opened_again(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window = open_window
    view = suggested(window, qtbot)
    before = [(one.kind, one.nodes, one.stability) for one in view._shown]
    assert window.session.project is not None
    path = window.session.project.path
    window.session.set_project(None)
    assert view._shown == []
    window.session.open_project(path)
    assert [(one.kind, one.nodes, one.stability) for one in view._shown] == before


def test_a_suggested_group_is_made_when_it_is_accepted(
    window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    twins = with_twins(graph)
    window.session.add_trace(as_trace(twins), "x", "neurons")
    view = suggested(window, qtbot)
    groups = [i for i, one in enumerate(view._shown) if one.kind == "group"]
    assert groups
    one = view._shown[groups[0]]
    view.list.setCurrentItem(view.list.rows()[groups[0]])
    assert "alike" in view.reason.text()
    window.registry.run("circuit.accept")
    assert [group.nodes for group in window.session.annotations.groups] == [one.nodes]
    assert all(set(other.nodes).isdisjoint(one.nodes) for other in view._shown if other.kind == "group")


def with_twins(graph: AttributionGraph) -> AttributionGraph:
    """The same graph, in which the weights into one strong feature are copied to another of its layer."""
    nodes = strongest(graph, 40)
    pairs = [
        (one, other)
        for one in nodes
        for other in nodes
        if one < other and graph.layer[one] == graph.layer[other] and graph.position[one] == graph.position[other]
    ]
    one, other = pairs[0]
    keep = ~np.isin(graph.target, [other]) & ~np.isin(graph.source, [other])
    into, out = graph.inputs(one), graph.outputs(one)
    source = np.concatenate([graph.source[keep], graph.source[into], np.full(len(out), other, dtype=np.int32)])
    target = np.concatenate([graph.target[keep], np.full(len(into), other, dtype=np.int32), graph.target[out]])
    weight = np.concatenate([graph.weight[keep], graph.weight[into], graph.weight[out]])
    order = np.lexsort((-np.abs(weight), target))
    return replace(
        graph,
        source=source[order].astype(np.int32),
        target=target[order].astype(np.int32),
        weight=weight[order].astype(np.float32),
    )


def test_what_features_write_counts_for_groups_where_the_model_is_loaded(ready: MainWindow, qtbot: QtBot) -> None:
    window = ready
    type_prompt(qtbot, window, "The capital of Texas is")
    window.registry.run("trace.run")
    qtbot.waitUntil(lambda: window.session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, window)
    graph, model = window.session.graph, window.runs.state.require()
    assert graph is not None
    view = suggested(window, qtbot)
    assert "With the model" not in view.note.text()
    groups = [one for one in view._shown if one.kind == "group" and "decoders" in one.reason]
    assert groups, [one.reason for one in view._shown]
    for one in groups:
        # By another way: the columns of the weights themselves, turned where a neuron is active negatively.
        columns = [model.weights.layers[graph.layer[n]].mlp.w_down[:, graph.feature[n]].double() for n in one.nodes]
        written = np.stack([column.numpy() for column in columns]) * np.sign(graph.activation[list(one.nodes)])[:, None]
        unit = written / np.linalg.norm(written, axis=1)[:, None]
        alike = np.clip(unit @ unit.T, 0, 1)[np.triu_indices(len(one.nodes), 1)].mean()
        said = next(part for part in one.reason.split(" · ") if part.startswith("decoders"))
        assert said == f"decoders {alike:.2f} alike"


def test_looking_for_suggestions_can_be_cancelled(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window = open_window
    with qtbot.waitSignal(window.host.ended, timeout=20_000):
        window.registry.run("circuit.suggest")
        assert window.registry.action("trace.cancel").isEnabled()
        window.registry.run("trace.cancel")
    qtbot.waitUntil(lambda: not window.host.busy)
    assert window.area.circuit.suggestions._shown == []


def test_larger_letters_leave_nothing_cut_off_beside_the_diagram(
    window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    neurons = replace(graph, measure="relevance")
    window.session.add_trace(as_trace(neurons), "x", "neurons")
    window.edits.pin(strongest(neurons, 2))
    view = suggested(window, qtbot)
    before = window.font().pointSizeF()
    while window.font().pointSizeF() < 2 * before:
        window.registry.run("view.larger")
    view.list.setCurrentItem(view.list.rows()[0])
    note = window.area.circuit.scores.note
    qtbot.waitUntil(lambda: all(label.height() >= label.heightForWidth(label.width()) for label in (view.reason, note)))
    for button in view.findChildren(QToolButton):
        if button.isVisible() and button.defaultAction() is not None:
            assert button.width() >= button.sizeHint().width(), button.text()
    for label in window.area.circuit.scores.values["Explained"][:1]:
        assert label.height() >= label.fontMetrics().height()
    window.registry.run("view.normal")
