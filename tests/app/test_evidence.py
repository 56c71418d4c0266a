"""What the inspector shows of a feature's meaning, and what a person does about it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.panels.example_rows import ExampleRow
from app.panels.inspector import InspectorPanel
from app.window import MainWindow
from engine.evidence.published_pages import cantor
from engine.evidence.tally import OCTAVES
from engine.graphs import AttributionGraph, NodeKind
from engine.places import indexes_folder
from tests.app.conftest import as_trace
from tests.app.made_index import write_for
from tests.app.test_window_with_model import SECONDS, ready, type_prompt, wait_until_idle

__all__ = ["ready"]


def shown(inspector: InspectorPanel) -> list[ExampleRow]:
    return [row for row in inspector.examples.rows if row.isVisible()]


def said(row: ExampleRow) -> str:
    assert row.example is not None
    return row.accessibleName()


@pytest.fixture
def indexed(window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> MainWindow:
    """A window with a trace whose dictionary has an index."""
    write_for(graph)
    window.session.add_trace(as_trace(graph), "The capital of Texas is → Austin", "neurons")
    qtbot.waitUntil(lambda: window.evidence.index is not None, timeout=SECONDS)
    return window


def even_and_odd(graph: AttributionGraph) -> tuple[int, int]:
    nodes = graph.of_kind(NodeKind.FEATURE)
    return int(nodes[graph.feature[nodes] % 2 == 0][0]), int(nodes[graph.feature[nodes] % 2 == 1][0])


def test_features_that_are_active_often_are_hidden_and_found_by_their_density(
    indexed: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, strip, bar = indexed, indexed.area.strip, indexed.area.find_bar
    session, features = window.session, graph.of_kind(NodeKind.FEATURE)
    # What the index says, page by page.
    page = {int(node): window.evidence.page(int(node)) for node in features}
    density = {node: one.density for node, one in page.items() if one is not None and one.density is not None}
    assert len(density) == len(features)
    session.set_view(node_threshold=1.0, edge_threshold=1.0)
    before = shown_features(window, graph)
    assert strip.density.isVisible() and not strip.density_value.isVisible()
    strip.density.setValue(40)  # 10 %
    assert strip.density_value.text() == "≤ 10 %"
    often = {node for node, share in density.items() if share > 0.1}
    assert before & often
    assert shown_features(window, graph) == before - often
    assert strip.readout.text().startswith(f"{len(before - often) + len(graph.kind) - len(features)} of")
    pinned = min(before & often)
    window.edits.toggle_pin(pinned)
    assert pinned in shown_features(window, graph)
    window.registry.run("go.find")
    window.registry.run("go.find_filters")
    assert bar.filters.density.isVisible()
    qtbot.keyClicks(bar.filters.density, "5%")
    assert bar.line.text() == "density<=5%"
    wanted = {node for node, share in density.items() if share <= 0.05}
    assert set(session.finding.nodes().tolist()) == wanted
    bar.close_bar()
    # It is kept with the trace, and gone where nothing is known of another dictionary.
    strip.commit()
    number = session.trace_id
    assert number is not None
    session.add_trace(as_trace(graph, features={"name": "others", "fingerprint": "g" * 8}), "again", "neurons")
    qtbot.waitUntil(lambda: not strip.density.isVisible(), timeout=SECONDS)
    assert not bar.filters.density.isVisible()
    session.open_trace(number)
    qtbot.waitUntil(lambda: strip.density.isVisible(), timeout=SECONDS)
    assert strip.density_value.text() == "≤ 10 %"
    assert shown_features(window, graph) == before - often | {pinned}


def shown_features(window: MainWindow, graph: AttributionGraph) -> set[int]:
    scene = window.area.canvas._stage.scene
    assert scene is not None
    return set(np.flatnonzero(scene.node_shown & (graph.kind == NodeKind.FEATURE)).tolist())


def test_examples_density_histogram_and_label_are_shown(indexed: MainWindow, graph: AttributionGraph) -> None:
    inspector, view = indexed.inspector, indexed.inspector.examples
    labelled, other = even_and_odd(graph)
    indexed.session.select(labelled)
    rows = shown(inspector)
    assert [said(row) for row in rows] == [
        "8 at ␣Texas: It is the capital of Texas, Austin. Yes",
        "4.02 at ␣Austin: It is the capital of Texas, Austin. Yes",
    ]
    example = rows[0].example
    assert example is not None
    known = dict(enumerate(example.activations))
    assert known[5] == pytest.approx(8.0)
    assert known[4] == pytest.approx(1.6)
    assert np.isnan(known[0])
    assert "say “austin”  · automatic, score 0.93, by chance 0.51" in view.label.text()
    assert "area under the ROC curve" in view.label.toolTip()
    assert view.density.text().endswith("% of 1,000 tokens")
    assert "a text of a test" in view.density.toolTip()
    assert view.histogram.isVisible()
    side = view.histogram.side
    assert side is not None
    assert view.histogram.position(side.maximum) == pytest.approx(5 / 6)
    assert view.histogram.position(0.0) == 0
    assert not view.make.isVisible()
    indexed.session.select(other)
    assert "No automatic label: no rule held" in view.label.text()
    assert "score 0.7 at least" in view.label.toolTip()
    assert not view.use.isVisible()
    page = view.grab()
    assert not page.isNull()
    indexed.session.select(int(graph.of_kind(NodeKind.ERROR)[0]))
    assert not view.isVisible()


def test_a_page_is_read_within_ten_milliseconds_of_work(indexed: MainWindow, graph: AttributionGraph) -> None:
    """Counted, not timed: a page unpacks one block of 64 features and the tokens around its examples."""
    index = indexed.evidence.index
    assert index is not None
    read: list[str] = []
    block = index.file._block

    def counted(name: str, *rest: object) -> bytes:
        read.append(name)
        return block(name, *rest)  # type: ignore[arg-type]

    index.file._block = counted  # type: ignore[method-assign]
    node = int(graph.of_kind(NodeKind.FEATURE)[3])
    assert indexed.evidence.page(node) is not None
    assert read.count("pages") == 1
    assert read.count("tokens") <= 2 + OCTAVES
    indexed.evidence.page(node)
    assert read.count("pages") == 1


def test_an_index_that_no_longer_fits_is_said(indexed: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    """The dictionary was trained anew under its name; the model is another one with the same dictionary."""
    view, node = indexed.inspector.examples, int(graph.of_kind(NodeKind.FEATURE)[0])
    for change, sentence in (
        ({"features": {"name": "test transcoders", "fingerprint": "g" * 8}}, "or test transcoders has changed since"),
        ({"model": {"name": "tuned", "fingerprint": "n" * 8}}, "was made with another model, test model"),
        ({"features": {"name": "others", "fingerprint": "h" * 8}}, "Not known yet"),
    ):
        indexed.session.add_trace(as_trace(graph, **change), "again", "neurons")
        qtbot.waitUntil(lambda: not indexed.evidence.opening, timeout=SECONDS)
        indexed.session.select(node)
        assert view.state.isVisible() and view.make.isVisible() and indexed.evidence.index is None
        assert sentence in view.state.text() and "Index a text" in view.state.text()
        assert ("This index" in view.state.text()) == (sentence != "Not known yet")


@pytest.mark.command("evidence.label")
def test_automatic_labels_never_take_the_place_of_a_persons(indexed: MainWindow, graph: AttributionGraph) -> None:
    session = indexed.session
    nodes = graph.of_kind(NodeKind.FEATURE)
    # At the first token an index counts nothing: its nodes are given no label.
    even = [int(node) for node in nodes if graph.feature[node] % 2 == 0 and graph.position[node] > 0]
    assert any(graph.feature[node] % 2 == 0 and graph.position[node] == 0 for node in nodes)
    indexed.edits.label(even[0], "mine")
    indexed.registry.run("evidence.label")
    assert indexed.statusBar().currentMessage().startswith(f"{len(even)} of {len(nodes)} features have an automatic")
    labels, sources = session.annotations.labels, session.annotations.sources
    assert labels == {even[0]: "mine", **dict.fromkeys(even[1:], "say “austin”")}
    assert even[0] not in sources  # a person's: the usual case is not kept
    assert {sources[node] for node in even[1:]} == {"automatic"}
    session.select(even[1])
    assert indexed.inspector.label_line.given.text() == "given by an automatic labeller"
    indexed.edits.label(even[1], "also mine")
    indexed.registry.run("evidence.label")
    assert session.annotations.labels[even[1]] == "also mine"
    assert session.project is not None
    assert session.trace_id is not None
    history = session.project.label_versions(session.trace_id, even[1])
    assert [(one.text, one.source) for one in history] == [("say “austin”", "automatic"), ("also mine", "person")]
    indexed.registry.run("edit.undo")
    indexed.registry.run("edit.undo")
    assert session.annotations.labels == {even[0]: "mine"}


def test_a_label_is_taken_with_one_click(indexed: MainWindow, graph: AttributionGraph) -> None:
    labelled, _ = even_and_odd(graph)
    indexed.session.select(labelled)
    indexed.inspector.examples.use.click()
    assert indexed.session.annotations.labels == {labelled: "say “austin”"}
    assert labelled not in indexed.session.annotations.sources


@pytest.mark.command("evidence.pages")
def test_published_pages_are_shown(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = int(graph.of_kind(NodeKind.FEATURE)[0])
    number = cantor(int(graph.layer[node]), int(graph.feature[node]))
    example = {"tokens": ["<b>", " Texas"], "tokens_acts_list": [0, 3.5]}
    stored = {"examples_quantiles": [{"quantile_name": "Top", "examples": [example]}], "activation_frequency": 0.02}
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / f"{number}.json").write_text(json.dumps(stored))
    monkeypatch.setattr(Ask, "open_folder", lambda *_: pages)
    open_window.session.select(node)
    open_window.registry.run("evidence.pages")
    qtbot.waitUntil(lambda: open_window.evidence.pages is not None, timeout=SECONDS)
    assert [said(row) for row in shown(open_window.inspector)] == ["3.5 at ␣Texas: <b> Texas"]
    assert open_window.inspector.examples.density.text() == "Active at 2 %"
    assert not open_window.inspector.examples.label.isVisible()
    other = int(graph.of_kind(NodeKind.FEATURE)[1])
    open_window.session.select(other)
    assert "holds nothing of this feature" in open_window.inspector.examples.state.text()
    # Gone at the next start: said once, and forgotten.
    problems: list[str] = []
    open_window.session.problem.connect(lambda problem: problems.append(problem.sentence))
    shutil.rmtree(pages)
    open_window.evidence.reopen()
    qtbot.waitUntil(lambda: bool(problems), timeout=SECONDS)
    assert "holds no feature pages" in problems[0]
    open_window.evidence.reopen()
    qtbot.waitUntil(lambda: not open_window.evidence.opening, timeout=SECONDS)
    assert len(problems) == 1


@pytest.mark.command("evidence.index_folder", "evidence.index", "evidence.try")
def test_an_index_is_made_in_the_window_and_a_text_tried(
    ready: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("The capital of Texas is Austin. The capital of France is Paris. " * 3)
    # Labels from logits and likeness cost the same however short a text is: not what is tested here.
    monkeypatch.setattr("engine.evidence.index_pages.MOST_READ", 0.0)
    monkeypatch.setattr("engine.evidence.index_pages.MOST_COMPARED", 0)
    # Without what ships the panel says how to get an index.
    monkeypatch.setattr("engine.evidence.index_places.shipped_folder", lambda: tmp_path / "nothing")
    type_prompt(qtbot, ready, "The capital of Texas is")
    ready.registry.run("trace.run")
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, ready)
    graph, view = ready.session.graph, ready.inspector.examples
    assert graph is not None
    node = int(graph.of_kind(NodeKind.FEATURE)[5])
    ready.session.select(node)
    wait_until_idle(qtbot, ready)
    qtbot.waitUntil(lambda: not ready.evidence.opening, timeout=SECONDS)
    assert "Index a text" in view.state.text()
    assert view.make.isVisible()
    monkeypatch.setattr(Ask, "open_folder", lambda *_: texts)
    said: list[str] = []
    ready.statusBar().messageChanged.connect(said.append)
    ready.registry.run("evidence.index_folder")
    qtbot.waitUntil(lambda: ready.evidence.index is not None, timeout=2 * SECONDS)
    assert any(words.startswith("The text is indexed") for words in said)
    assert "the texts in texts" in view.density.toolTip()
    assert shown(ready.inspector)
    assert not list(indexes_folder().glob("*.part"))
    ready.registry.run("evidence.try")
    view.own.setText("The capital of Texas is")
    qtbot.waitUntil(lambda: view.own_row.isVisible(), timeout=SECONDS)
    example = view.own_row.example
    assert example is not None
    assert example.tokens[1:] == ("The", " capital", " of", " Texas", " is")
    # The very prompt that was traced: the node's own activation stands at its token.
    assert example.activations[int(graph.position[node])] == pytest.approx(float(graph.activation[node]), rel=1e-3)
    # The other way to begin, stopped at once: what there was stays.
    ready.registry.run("evidence.index")
    qtbot.waitUntil(lambda: ready.host.current is not None and ready.host.current.key == "index", timeout=SECONDS)
    ready.host.cancel()
    wait_until_idle(qtbot, ready)
    assert ready.evidence.index is not None
