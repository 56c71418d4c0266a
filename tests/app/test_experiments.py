"""Experiments in the window: what is changed, what came out, kept with the trace, read without the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.experiments.change_view import ChangeView
from app.experiments.draft import read_draft
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from engine.models.language_model import LanguageModel
from tests.app.test_window_with_model import SECONDS, ready, type_prompt, wait_until_idle

__all__ = ["ready"]


def features(graph: AttributionGraph, count: int, *, at: int = -1) -> list[int]:
    """The most influential features that do not stand at the start token; of one position where it is given."""
    nodes = graph.of_kind(NodeKind.FEATURE)
    nodes = nodes[graph.position[nodes] == at] if at >= 0 else nodes[graph.position[nodes] > 0]
    return [int(node) for node in nodes[np.argsort(-graph.influence[nodes], kind="stable")][:count]]


def traced(window: MainWindow, qtbot: QtBot, prompt: str) -> AttributionGraph:
    before = window.session.trace_id
    type_prompt(qtbot, window, prompt)
    window.registry.run("trace.run")
    qtbot.waitUntil(lambda: window.session.trace_id not in (None, before), timeout=SECONDS)
    wait_until_idle(qtbot, window)
    assert window.session.graph is not None
    return window.session.graph


def run(window: MainWindow, qtbot: QtBot, command: str) -> dict[str, Any]:
    """Run a command that ends in a kept experiment; what came out."""
    before = len(window.experiments.rows())
    window.registry.run(command)
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    assert len(window.experiments.rows()) == before + 1, window.area.banner.sentence.text()
    shown = window.experiments.shown
    assert shown is not None
    return shown.result


def rows(table: Any) -> list[list[str]]:
    items = [table.topLevelItem(i) for i in range(table.topLevelItemCount())]
    return [[item.text(column) for column in range(item.columnCount())] for item in items]


# ---- with the model ----------------------------------------------------------------------------------------------


@pytest.mark.command("experiment.change", "experiment.run", "experiment.again", "project.open")
def test_a_feature_is_ablated_measured_kept_and_run_again(
    ready: MainWindow, smollm: LanguageModel, qtbot: QtBot, tmp_path: Path
) -> None:
    window = ready
    graph = traced(window, qtbot, "The capital of Texas is")
    session, desk, page = window.session, window.experiments, window.area.experiments
    assert page.stack.currentWidget() is page.hint
    pinned = features(graph, 6)
    window.edits.pin(pinned)
    early = min(pinned, key=lambda node: int(graph.layer[node]))
    session.select(early)
    window.registry.run("experiment.change")
    assert window.area.is_in_front(page)
    assert rows(page.changes.tree)[0][1] == "ablated"
    page.form.controls.setValue(100)
    result = run(window, qtbot, "experiment.run")
    # What is shown are the figures that a run of the model by hand gives.
    from engine.interventions import Change, intervene

    change = Change("feature", int(graph.layer[early]), int(graph.position[early]), int(graph.feature[early]), "ablate")
    from engine.dictionaries import load_features

    recording = smollm.recordings.record(smollm.weights, graph.token_ids, first_position=1)
    by_hand = intervene(smollm, recording, load_features("neurons", smollm), [[change]])
    logits = by_hand.logits[0, 0].astype(np.float64)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    target = int(graph.feature[graph.of_kind(NodeKind.LOGIT)[0]])
    view = page.views["intervention"]
    assert isinstance(view, ChangeView)
    facts = {row[0]: row[1:] for row in rows(view.before_after.facts)}
    assert facts["probability"][1] == f"{100 * shares[target]:.1f} %"
    assert facts["rank"][1] == f"{1 + int((logits > logits[target]).sum())}"
    assert result["changed"] == pytest.approx(float(logits[target] - logits.mean()), abs=1e-4)
    assert len(result["controls"]["effects"]) == 100
    assert f"p = {result['controls']['p']:.2g}" in view.controls.said.text()
    above = [node for node in pinned if graph.layer[node] > graph.layer[early]]
    assert sum(one["kind"] == "feature" for one in result["points"]) == len(above) > 0
    supported = result["evidence"] == "supported"
    assert page.evidence.text() == ("supported by intervention" if supported else "not borne out")
    # It is an entry of the tree, and run again it says that it held.
    assert [entry.kind for entry in session.project.tree.entries()] == ["trace", "experiment"]  # type: ignore[union-attr]
    again = run(window, qtbot, "experiment.again")
    assert again["again"]["held"] is True
    assert page.held.text().startswith("The result held")
    # Read in another window that never loads the model.
    assert session.project is not None
    number, path, word = desk.rows()[0].id, session.project.path, page.evidence.text()
    session.set_project(None)
    assert desk.rows() == []
    session.open_project(path)
    assert desk.draft.changes == (change,)
    window.investigation.tree.go_to(window.session.project.tree.entries()[1].ref)  # type: ignore[union-attr]
    window.registry.run("project.open")
    assert desk.shown is not None
    assert desk.shown.number == number
    assert page.evidence.text() == word
    assert rows(view.before_after.facts) == [[name, *values] for name, values in facts.items()]


@pytest.mark.command("experiment.text", "experiment.circuit", "experiment.search", "experiment.take_over")
def test_a_circuit_is_found_pinned_and_tested_and_the_text_goes_on(
    ready: MainWindow, smollm: LanguageModel, qtbot: QtBot
) -> None:
    window = ready
    window.runs.max_nodes = 30
    graph = traced(window, qtbot, "The opposite of hot is")
    desk, page = window.experiments, window.area.experiments
    assert not window.registry.action("experiment.circuit").isEnabled()
    found = run(window, qtbot, "experiment.search")
    assert found["sentence"].startswith(f"{len(found['features'])} of ")
    search = page.views["search"]
    assert page.stack.currentWidget() is search
    assert [row[1] for row in rows(search.areas)] == [f"{one['cpr']:.2f}" for one in found["curves"]]  # type: ignore[attr-defined]
    # Taken over as pins, in one step of undo.
    window.registry.run("experiment.take_over")
    pins = window.session.annotations.pins
    wanted = {tuple(one) for one in found["features"]}
    assert {(int(graph.layer[n]), int(graph.position[n]), int(graph.feature[n])) for n in pins} == wanted
    assert not window.registry.action("experiment.take_over").isEnabled()
    window.registry.run("edit.undo")
    assert window.session.annotations.pins == ()
    window.registry.run("edit.redo")
    assert window.session.annotations.pins == pins
    page.circuit.controls.setValue(100)
    tested = run(window, qtbot, "experiment.circuit")
    assert tested["size"] == len(wanted)
    # The search measured the same thing: what the circuit keeps alone.
    assert tested["faithfulness"] == pytest.approx(found["faithfulness"], abs=1e-3)
    view = page.views["circuit"]
    assert f"{found['faithfulness']:.0%}" in [row[1] for row in rows(view.facts)]  # type: ignore[attr-defined]
    assert desk.shown is not None
    assert desk.shown.evidence == ("supported" if tested["necessity"]["p"] < 0.05 else "contradicted")
    # The text goes on from the changed prompt, and from the plain one as the model generates it.
    window.choice.choose(pins)
    window.registry.run("experiment.change")
    page.changes.how.setCurrentIndex(page.changes.how.findData("scale"))
    page.changes.how.activated.emit(0)
    page.changes.value.setValue(-4)
    page.form.tokens.setValue(4)
    texts = run(window, qtbot, "experiment.text")
    plain = smollm.generate(graph.token_ids, 4)
    assert [int(one.id) for one in plain] == texts["pairs"][0]["without"]["ids"]
    text = page.views["text"]
    assert "".join(token.text for token in plain).strip() in text.without.toPlainText()  # type: ignore[attr-defined]
    assert text.changed.toPlainText() != text.without.toPlainText()  # type: ignore[attr-defined]
    window.registry.run("experiment.again")
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    assert page.held.text() == "The result held: every text is the same, token for token."


def test_a_value_is_swapped_in_from_another_trace(ready: MainWindow, qtbot: QtBot) -> None:
    window = ready
    other = traced(window, qtbot, "The capital of France is")
    graph = traced(window, qtbot, "The capital of Texas is")
    page, desk = window.area.experiments, window.experiments
    embedding = next(int(n) for n in graph.of_kind(NodeKind.EMBEDDING) if graph.position[n] == 4)
    window.session.select(embedding)
    window.registry.run("experiment.change")
    page.changes.how.setCurrentIndex(page.changes.how.findData("swap"))
    page.changes.how.activated.emit(page.changes.how.currentIndex())
    change = desk.draft.changes[0]
    assert change.source is not None
    assert change.source.token_ids == other.token_ids
    assert page.changes.token.currentText() == "4 ␣France"
    page.form.mode.setCurrentIndex(page.form.mode.findData("iterative"))
    page.form.mode.activated.emit(1)
    page.form.attention.setCurrentIndex(page.form.attention.findData("live"))
    page.form.attention.activated.emit(1)
    page.form.controls.setValue(0)
    result = run(window, qtbot, "experiment.run")
    # With another token's embedding and everything live, the prompt is the other prompt.
    said = max(result["tokens"], key=lambda one: one["outcome"]["probability"])
    assert said["text"] == other.logit_text[0]
    assert said["outcome"]["probability"] == pytest.approx(float(other.logit_probability[0]), abs=1e-4)
    assert desk.shown is not None
    assert desk.shown.evidence == "untested"
    assert page.evidence.text() == "supported by attribution"
    view = page.views["intervention"]
    assert isinstance(view, ChangeView)
    assert not view.controls.plot.isVisibleTo(view.controls)


@pytest.mark.command("experiment.paraphrases")
def test_a_change_is_made_on_paraphrases(ready: MainWindow, qtbot: QtBot) -> None:
    window = ready
    graph = traced(window, qtbot, "The capital of Texas is")
    page, desk = window.area.experiments, window.experiments
    texas = next(at for at, text in enumerate(graph.tokens) if "Texas" in text)
    window.session.select(features(graph, 1, at=texas)[0])
    window.registry.run("experiment.change")
    assert not window.registry.action("experiment.paraphrases").isEnabled()
    page.paraphrases.box.setPlainText("The capital city of Texas is\n\nTexas, whose capital is\n")
    assert desk.draft.paraphrases == ("The capital city of Texas is", "Texas, whose capital is")
    page.form.controls.setValue(100)
    # The second one begins with the word, so that its token is another one.
    window.registry.run("experiment.paraphrases")
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    assert "has no token ' Texas'" in window.area.banner.sentence.text()
    page.paraphrases.box.setPlainText("The capital city of Texas is\nPeople say the capital of Texas is")
    result = run(window, qtbot, "experiment.paraphrases")
    table = rows(page.views["paraphrases"].table)  # type: ignore[attr-defined]
    assert [row[0] for row in table] == [one["prompt"] for one in result["prompts"]]
    assert table[0][0] == "The capital of Texas is"
    own = result["prompts"][0]
    assert own["changed"] == result["changed"] and tuple(own["token_ids"]) == graph.token_ids
    mean = np.mean([one["changed"] - one["recorded"] for one in result["prompts"]])
    assert result["change"]["mean"] == pytest.approx(mean)
    said = {"supported": ("replicated", "supported by intervention"), "contradicted": ("not borne out",)}
    assert page.evidence.text() in (*said.get(result["evidence"], ()), "unclear")
    # Kept with the trace, as everything that is set up.
    project, trace = window.session.project, window.session.trace_id
    assert project is not None
    assert read_draft(project.setting(f"experiment/{trace}")) == desk.draft
    window.registry.run("experiment.again")
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    assert page.held.text().startswith("The result held")


@pytest.mark.command("experiment.head")
def test_a_head_is_chosen_and_ablated(ready: MainWindow, smollm: LanguageModel, qtbot: QtBot) -> None:
    window = ready
    graph = traced(window, qtbot, "The capital of Texas is")
    page, desk = window.area.experiments, window.experiments
    node = features(graph, 1)[0]
    window.session.select(node)
    window.registry.run("experiment.head")
    (change,) = desk.draft.changes
    assert (change.kind, change.layer, change.position) == ("head", int(graph.layer[node]), int(graph.position[node]))
    window.registry.run("experiment.head")
    assert [one.index for one in desk.draft.changes] == [0, 1]
    assert page.changes.heads.isHidden(), "two of them are edited"
    page.changes.tree.topLevelItem(1).setSelected(True)
    assert not page.changes.heads.isHidden()
    page.changes.heads.head.setValue(0)
    assert [one.index for one in desk.draft.changes] == [0, 1], "that one is changed already"
    window.registry.run("experiment.remove")
    heads = page.changes.heads
    heads.layer.setValue(12)
    heads.head.setValue(99)
    heads.at.setCurrentIndex(4)
    heads.at.activated.emit(4)
    page.form.controls.setValue(0)
    window.registry.run("experiment.run")
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    assert "L12/P4/H99 does not exist: layer 12 has the heads 0 to 8" in window.area.banner.sentence.text()
    heads.head.setValue(3)
    assert rows(page.changes.tree)[0] == ["L12 · head 3", "ablated", window_token_at(graph, 4)]
    result = run(window, qtbot, "experiment.run")
    from engine.dictionaries import load_features
    from engine.interventions import Change, intervene

    recording = smollm.recordings.record(smollm.weights, graph.token_ids, first_position=1)
    by_hand = intervene(smollm, recording, load_features("neurons", smollm), [[Change("head", 12, 4, 3, "ablate")]])
    target = int(graph.feature[graph.of_kind(NodeKind.LOGIT)[0]])
    logits = by_hand.logits[0, 0].astype(np.float64)
    assert result["changed"] == pytest.approx(float(logits[target] - logits.mean()), abs=1e-4)


# ---- without the model -------------------------------------------------------------------------------------------


@pytest.mark.command("experiment.remove", "experiment.clear", "experiment.go", "view.experiments")
def test_the_next_experiment_is_set_up_and_kept_with_its_trace(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, page, desk = open_window, open_window.area.experiments, open_window.experiments
    window.activateWindow()
    one, two, three = features(graph, 3)
    logit = int(graph.of_kind(NodeKind.LOGIT)[0])
    window.session.select(logit)
    assert not window.registry.action("experiment.change").isEnabled(), "a logit is what answers"
    window.edits.group([one, two], "cities")
    window.choice.choose([window.session.circuit.supernodes[0].place, three])
    window.registry.run("experiment.change")
    assert page.changes.tree.topLevelItemCount() == 3
    window.registry.run("experiment.change")
    assert page.changes.tree.topLevelItemCount() == 3, "a node is changed once"
    # All of them where none is chosen; then one.
    page.changes.how.setCurrentIndex(page.changes.how.findData("scale"))
    page.changes.how.activated.emit(0)
    page.changes.value.setValue(-2)
    assert [change.value for change in desk.draft.changes] == [-2, -2, -2]
    page.changes.tree.topLevelItem(1).setSelected(True)
    assert window.session.selected == one
    page.changes.where.setCurrentIndex(page.changes.where.findData("onward"))
    page.changes.where.activated.emit(0)
    assert [change.onward for change in desk.draft.changes] == [False, True, False]
    assert rows(page.changes.tree)[1][1:] == ["−2×", f"from {window_token(graph, one)} on"]
    page.form.ranged.setChecked(True)
    page.form.last.setValue(graph.n_layers - 1)
    assert desk.draft.settings.layers is not None
    page.form.mode.setCurrentIndex(page.form.mode.findData("direct"))
    page.form.mode.activated.emit(0)
    assert desk.draft.settings.layers is None
    assert not page.form.attention.isEnabled()
    # The project keeps it.
    project, trace = window.session.project, window.session.trace_id
    assert project is not None
    assert read_draft(project.setting(f"experiment/{trace}")) == desk.draft
    window.registry.run("view.experiments")
    assert not page.isVisible()
    window.registry.run("experiment.go")
    qtbot.waitUntil(page.changes.tree.hasFocus)
    page.changes.tree.clearSelection()
    page.changes.tree.topLevelItem(1).setSelected(True)
    qtbot.keyClick(page.changes.tree, Qt.Key.Key_Delete)
    assert len(desk.draft.changes) == 2
    window.registry.run("experiment.remove")
    assert len(desk.draft.changes) == 1
    window.registry.run("experiment.clear")
    assert desk.draft.changes == ()
    assert page.changes.hint.isVisible()
    assert "press X" in page.changes.hint.text()
    assert "not on this machine" in page.obstacle.text()


def window_token(graph: AttributionGraph, node: int) -> str:
    return window_token_at(graph, int(graph.position[node]))


def window_token_at(graph: AttributionGraph, position: int) -> str:
    return graph.tokens[position].replace(" ", "␣")


def test_the_inspector_begins_an_experiment(open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    window, (node,) = open_window, features(open_window.session.graph, 1)  # type: ignore[arg-type]
    window.session.select(node)
    button = window.inspector.change
    window.registry.refresh_now()
    assert button.isVisible() and button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert [change.name for change in window.experiments.draft.changes] == [
        f"L{graph.layer[node]}/P{graph.position[node]}/F{graph.feature[node]}"
    ]
    assert window.area.is_in_front(window.area.experiments)
    window.session.select(int(graph.of_kind(NodeKind.LOGIT)[0]))
    window.registry.refresh_now()
    assert not button.isEnabled(), "a logit is what answers"


def stored(graph: AttributionGraph, node: int) -> dict[str, Any]:
    """An experiment's result as the engine writes it."""
    token = int(graph.feature[graph.of_kind(NodeKind.LOGIT)[0]])
    place = {
        "layer": int(graph.layer[node]),
        "position": int(graph.position[node]),
        "feature": int(graph.feature[node]),
    }
    outcome = {"token": token, "logit_before": 12.0, "logit": 9.5, "probability_before": 0.25, "probability": 0.125}
    return {
        "metric": "logit of ' Austin' above the mean", "recorded": 12.5, "changed": 10.25, "predicted": -2.0, "kl": 0.5,
        "tokens": [{"text": " Austin", "outcome": {**outcome, "rank_before": 0, "rank": 2}}],
        "points": [
            {"kind": "feature", "name": "a", **place, "recorded": 3.0, "predicted": -1.0, "measured": -1.5},
            {"kind": "target", "name": " Austin", "layer": 4, "position": 4, "feature": token, "recorded": 12.5,
             "predicted": -2.0, "measured": -2.25},
        ],
        "agreement": {"n": 2, "pearson": 1.0, "spearman": 1.0, "same_sign": 1.0, "slope": 1.2},
        "controls": {"effect": 2.25, "n": 4, "seed": 7, "distinct": 4, "sentence": "4 sets", "widened": {},
                     "effects": [0.1, 0.2, 3.0, 0.4], "p": 0.4},
        "settings": "MLPs clamped", "prediction": "edges of the graph", "sentence": "It fell.", "evidence": "supported",
        "provenance": {},
    }  # fmt: skip


def keep(
    window: MainWindow, result: dict[str, Any], kind: str = "intervention", settings: dict[str, Any] | None = None
) -> int:
    project, trace = window.session.project, window.session.trace_id
    assert project is not None
    assert trace is not None
    number = project.experiments.add(kind, "An experiment", settings or {}, result, trace=trace, evidence="supported")
    window.session.tracesChanged.emit()
    return number


def test_a_kept_experiment_is_read_and_its_points_select_their_nodes(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, page, desk = open_window, open_window.area.experiments, open_window.experiments
    node = features(graph, 1)[0]
    window.edits.label(node, "says Texas")
    first, second = keep(window, stored(graph, node)), keep(window, {"sentence": "Of a later version."}, "telepathy")
    assert page.kept.count() == 2
    page.kept.setCurrentIndex(page.kept.findData(first))
    page.kept.activated.emit(page.kept.currentIndex())
    view = page.views["intervention"]
    assert isinstance(view, ChangeView)
    assert page.sentence.text() == "It fell."
    assert page.evidence.text() == "supported by intervention"
    assert rows(view.before_after.facts)[1] == ["probability", "25.0 %", "12.5 %", "−12.5"]
    assert rows(view.before_after.facts)[3] == ["rank", "1", "3", ""]
    assert rows(view.predicted.table) == [["says Texas", "−1", "−1.5"], ["␣Austin", "−2", "−2.25"]]
    assert "Correlation 1.00, same sign 100%, slope 1.20" in view.predicted.said.text()
    assert "p = 0.4: 1 of 4" in view.controls.said.text()
    # A click on a point, and a row of the table.
    view.setCurrentIndex(1)
    view.predicted.plot._clicked(None, view.predicted.plot.spots.points()[:1])
    assert window.session.selected == node
    view.predicted.table.choose(1)
    assert window.session.selected == int(graph.of_kind(NodeKind.LOGIT)[0])
    assert view.predicted.plot.marked == 1
    desk.show(second)
    assert page.stack.currentWidget() is page.hint
    assert "another version" in page.hint.text()
    keep(window, {**stored(graph, node), "points": "damaged"})
    desk.show(desk.rows()[-1].id)
    assert "cannot be shown" in page.hint.text()
    # The same claim with other random changes is as it was; on another prompt it is replicated.
    change = {"kind": "feature", "layer": 1, "position": 2, "index": 3, "how": "flip", "value": 1.0}
    for tokens, seed, word in (([1, 2], 0, "supported by intervention"), ([1, 2], 1, "supported by intervention"),
                               ([1, 3], 1, "replicated")):  # fmt: skip
        result = {**stored(graph, node), "provenance": {"token_ids": tokens}}
        desk.show(keep(window, result, settings={"experiment": {"changes": [change], "seed": seed}}))
        assert page.evidence.text() == word
    refs = [entry.ref for entry in window.session.project.tree.entries() if entry.ref.table == "experiment"]  # type: ignore[union-attr]
    assert window.tree_edits.delete(refs[-3:])
    # What is deleted is shown no longer, and comes back with undo.
    desk.show(first)
    assert window.session.project is not None
    ref = next(e.ref for e in window.session.project.tree.entries() if e.ref.table == "experiment")
    assert window.tree_edits.delete([ref])
    assert desk.shown is None
    assert page.kept.count() == 2
    window.registry.run("edit.undo")
    assert page.kept.count() == 3
    QApplication.processEvents()
