from __future__ import annotations

import threading
from typing import Any

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.engine_calls import LoadedFeatures, LoadedModel, open_model
from app.jobs import Value
from app.samples import load_samples
from app.session import ViewSettings
from app.window import MainWindow
from engine.errors import MachineError, RequestError
from engine.graphs import NodeKind
from engine.models.language_model import LanguageModel
from engine.progress import checkpoint

SECONDS = 60_000


def loaded_window(window: MainWindow, model: LanguageModel, source: str, n_layers: int) -> None:
    """Give a window a model that is in memory already."""
    window.runs.choose_model(source)
    window.runs.state.model = model
    facts = LoadedModel(source, model.name, model.fingerprint, "cpu", "float32", n_layers, model.tokenizer)
    window.runs._model_opened(Value(facts))


@pytest.fixture
def ready(window: MainWindow, smollm: LanguageModel) -> MainWindow:
    """A window that has SmolLM2 in memory already, and traces few nodes."""
    loaded_window(window, smollm, "SmolLM2-135M-Instruct", 30)
    window.runs.max_nodes = 60
    return window


def wait_until_idle(qtbot: QtBot, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: not window.host.busy and not window.runs._look.isActive(), timeout=SECONDS)


def type_prompt(qtbot: QtBot, window: MainWindow, text: str) -> None:
    window.prompt_bar.editor.setPlainText(text)
    window.prompt_bar.commit()
    wait_until_idle(qtbot, window)


def test_the_first_click_of_a_first_visitor(window: MainWindow, smollm: LanguageModel, qtbot: QtBot) -> None:
    window.runs.max_nodes = 60
    button = window.start.sample_buttons[0]
    button.click()
    qtbot.waitUntil(lambda: window.session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, window)
    session = window.session
    assert session.prompt.next[0].text == " Austin"
    assert session.report["conservation_error"] < 1e-4
    assert window.area.stack.currentIndex() == 1
    assert session.prompt.chips[0].visible == "<|im_start|>"
    assert window.status.model.text().startswith("SmolLM2")
    said = [label.text() for label in window.status.scores if label.isVisible()]
    assert any("do not apply to neurons" in text for text in said)
    assert any(text.startswith("conservation") for text in said)
    item = window.investigation.tree.topLevelItem(0)
    assert item is not None
    assert item.text(0) == "The capital of Texas is"
    assert window.memory.recent_projects() != []


def test_the_samples_say_what_the_model_says(smollm: LanguageModel) -> None:
    from engine.tracing.spec import Prompt

    for sample in load_samples().prompts:
        ids = smollm.tokenizer.encode(Prompt(sample.text))
        assert smollm.top_tokens(ids, 1)[0].text == sample.says, sample.text


def test_typing_shows_tokens_and_what_comes_next(ready: MainWindow, qtbot: QtBot) -> None:
    type_prompt(qtbot, ready, "The opposite of hot is")
    bars = ready.prompt_bar.bars.bars
    assert bars.rowCount() == 8
    assert bars.data(bars.index(0, 0)) == "␣cold"
    assert ready.prompt_bar.chips.chips.rowCount() == 6
    ready.prompt_bar.bos.click()
    assert ready.prompt_bar.chips.chips.rowCount() == 5


@pytest.mark.command("trace.generate")
def test_a_click_on_a_generated_token_traces_it(ready: MainWindow, qtbot: QtBot) -> None:
    type_prompt(qtbot, ready, "The capital of Texas is")
    ready.prompt_bar.count.setValue(3)
    ready.registry.run("trace.generate")
    wait_until_idle(qtbot, ready)
    prompt = ready.session.prompt
    assert [chip.generated for chip in prompt.chips[-3:]] == [True, True, True]
    index = len(prompt.ids) + 1
    wanted = prompt.chips[index].token_id
    ready.prompt_bar.chips.clicked.emit(ready.prompt_bar.chips.chips.index(index, 0))
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    graph = ready.session.graph
    assert graph is not None
    assert graph.token_ids == prompt.all_ids[:index]
    assert [int(graph.feature[node]) for node in graph.of_kind(NodeKind.LOGIT)] == [wanted]
    assert prompt.traced == index
    assert len(prompt.chips) == len(prompt.ids) + 3


def test_a_click_on_a_bar_or_a_typed_token_is_the_target(ready: MainWindow, qtbot: QtBot) -> None:
    type_prompt(qtbot, ready, "The capital of Texas is")
    bars = ready.prompt_bar.bars
    bars.clicked.emit(bars.bars.index(1, 0))
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    second = ready.session.prompt.next[1]
    graph = ready.session.graph
    assert graph is not None
    assert graph.logit_text == (second.text,)
    ready.prompt_bar.target.setEditText("Austin")
    ready.prompt_bar.against.setEditText("Dallas")  # typed without its blank: " Dallas" is meant
    ready.registry.run("trace.run")
    qtbot.waitUntil(lambda: ready.session.graph is not graph and not ready.session.growing, timeout=SECONDS)
    rows = ready.session.project.traces()  # type: ignore[union-attr]
    assert [row.title for row in rows][-1] == "The capital of Texas is → Austin − Dallas"


def test_the_prompts_own_tokens_can_be_explained(ready: MainWindow, qtbot: QtBot) -> None:
    type_prompt(qtbot, ready, "The capital of Texas is")
    chips = ready.prompt_bar.chips
    chips.setCurrentIndex(chips.chips.index(4, 0))
    qtbot.keyClick(chips, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    assert ready.session.graph is not None
    assert ready.session.graph.logit_text == (" Texas",)
    assert ready.session.graph.n_positions == 4
    chips.clicked.emit(QModelIndex())  # nothing under the pointer
    ready.runs.trace_chip(0)
    assert "first token" in ready.prompt_bar.banner.sentence.text()


@pytest.mark.parametrize(
    ("prompt", "target", "against", "words"),
    [
        ("", "", "", "Type a prompt first"),
        ("   ", "", "", "Type a prompt first"),
        ("The capital of Texas is", "Schwarzenegger", "", "token"),
        ("The capital of Texas is", "", "Dallas", "before the one it is set against"),
    ],
)
def test_a_wrong_request_is_one_sentence_beside_the_prompt(
    ready: MainWindow, qtbot: QtBot, prompt: str, target: str, against: str, words: str
) -> None:
    type_prompt(qtbot, ready, prompt)
    ready.prompt_bar.target.setEditText(target)
    ready.prompt_bar.against.setEditText(against)
    ready.registry.run("trace.run")
    wait_until_idle(qtbot, ready)
    banner = ready.prompt_bar.banner
    assert banner.isVisible()
    assert words in banner.sentence.text()
    assert "Traceback" not in banner.sentence.text()
    assert ready.session.graph is None
    type_prompt(qtbot, ready, "Another prompt")
    assert not banner.isVisible()


def test_what_a_feature_writes_is_found_once_and_kept(ready: MainWindow, qtbot: QtBot) -> None:
    type_prompt(qtbot, ready, "The capital of Texas is")
    ready.registry.run("trace.run")
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, ready)
    graph = ready.session.graph
    assert graph is not None
    node = int(graph.of_kind(NodeKind.FEATURE)[-1])
    with qtbot.waitSignal(ready.effects.changed, timeout=SECONDS):
        ready.session.select(node)
    assert ready.inspector.effects.isVisible()
    known = ready.effects.known(node)
    assert known is not None
    assert len(known.top) == 10
    assert known.top[0][1] >= known.top[-1][1]
    # Without the model, in another session, it is still known.
    path = ready.session.project.path  # type: ignore[union-attr]
    ready.session.set_project(None)
    ready.runs.model = None
    ready.session.open_project(path)
    ready.session.select(node)
    assert ready.inspector.effects.isVisible()


def test_a_negative_activation_turns_what_a_feature_writes(ready: MainWindow, qtbot: QtBot) -> None:
    type_prompt(qtbot, ready, "The capital of Texas is")
    ready.registry.run("trace.run")
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, ready)
    graph = ready.session.graph
    assert graph is not None
    features = graph.of_kind(NodeKind.FEATURE)
    node = int(features[graph.activation[features] < 0][0])
    with qtbot.waitSignal(ready.effects.changed, timeout=SECONDS):
        ready.session.select(node)
    known, shown = ready.effects.known(node), ready.inspector._effect_labels[0]
    assert known is not None
    # A unit would lower its bottom tokens: the negative activation raises them.
    assert float(shown[1].text().replace("\u2212", "-")) == pytest.approx(-known.bottom[0][1], rel=0.05)


def test_the_model_is_loaded_before_it_is_asked_for(window: MainWindow, smollm: LanguageModel, qtbot: QtBot) -> None:
    assert "SmolLM2-135M-Instruct" in window.runs.ready_models
    window.runs.choose_model("SmolLM2-135M-Instruct")
    window.runs.preload()
    qtbot.waitUntil(lambda: window.runs.model is not None, timeout=SECONDS)
    wait_until_idle(qtbot, window)


def test_a_prompt_sent_off_while_the_model_is_still_loading_is_traced(
    window: MainWindow, smollm: LanguageModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressed = threading.Event()

    def slow(*arguments: Any) -> LoadedModel:
        assert pressed.wait(SECONDS / 1000)
        return open_model(*arguments)

    monkeypatch.setattr("app.runs.open_model", slow)
    window.runs.choose_model("SmolLM2-135M-Instruct")
    window.runs.preload()
    window.prompt_bar.editor.setFocus()
    qtbot.keyClicks(window.prompt_bar.editor, "The capital of Texas is")
    assert window.registry.action("trace.run").isEnabled()
    qtbot.keyClick(window.prompt_bar.editor, Qt.Key.Key_Return)
    pressed.set()
    qtbot.waitUntil(lambda: window.session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, window)


def test_a_model_that_must_be_converted_first_is_not_loaded_unasked(window: MainWindow) -> None:
    window.runs.choose_model("/somewhere/large.gguf")
    window.runs.preload()
    assert not window.host.busy


def test_a_trace_that_is_stopped_midway_keeps_what_it_found(ready: MainWindow, qtbot: QtBot) -> None:
    said: list[str] = []
    ready.session.problem.connect(lambda problem: said.append(problem.sentence))
    ready.runs.max_nodes = 1000
    type_prompt(qtbot, ready, "The capital of Texas is")
    ready.registry.run("trace.run")

    def halfway() -> bool:
        current = ready.host._current
        return current is not None and current.state[0].startswith("Tracing") and current.state[1] > 0.6

    qtbot.waitUntil(halfway, timeout=SECONDS)
    ready.registry.run("trace.cancel")
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, ready)
    graph = ready.session.graph
    assert graph is not None
    assert 0 < len(graph.of_kind(NodeKind.FEATURE)) < 1000
    assert graph.conservation_error.max() < 1e-4
    assert any(sentence.startswith("Stopped early") for sentence in said)


@pytest.mark.command("trace.cancel")
def test_cancel_leaves_the_window_as_it_was(ready: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    entered = threading.Event()

    def endless(
        state: Any, spec: Any, features: str, trust: bool, on_graph: Any, progress: Any, cancel: threading.Event
    ) -> None:
        progress("Tracing layer 3", 0.3)
        entered.set()
        while True:
            checkpoint(cancel)

    monkeypatch.setattr("app.runs.run_trace", endless)
    type_prompt(qtbot, ready, "The capital of Texas is")
    ready.registry.run("trace.run")
    qtbot.waitUntil(entered.is_set)
    qtbot.waitUntil(ready.status.job.isVisible)
    qtbot.waitUntil(lambda: ready.status.job.stage.text() == "Tracing layer 3")
    assert not ready.registry.action("trace.run").isEnabled()
    ready.registry.run("trace.cancel")
    wait_until_idle(qtbot, ready)
    assert not ready.status.job.isVisible()
    assert ready.session.graph is None
    assert not ready.prompt_bar.banner.isVisible()
    assert ready.registry.action("trace.run").isEnabled()


def test_closing_while_a_trace_runs_is_bounded_and_loses_nothing(
    ready: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_prompt(qtbot, ready, "The capital of Texas is")
    ready.registry.run("trace.run")
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, ready)
    path = ready.session.project.path  # type: ignore[union-attr]
    ready.edits.pin([10, 11])
    ready.investigation.note.setPlainText("not written yet")
    ready.runs.max_nodes = 1000
    ready.registry.run("trace.run")
    qtbot.waitUntil(lambda: ready.host.current is not None)
    ready.close()
    qtbot.waitUntil(lambda: not ready.isVisible(), timeout=10_000)
    assert ready.stopped
    from engine.projects import Project

    with Project.open(path) as project:
        number = project.traces()[0].id
        annotations = project.annotations(number)
        assert annotations.pins == (10, 11)
        assert annotations.note == "not written yet"


def test_a_machine_that_cannot_says_so_beside_the_prompt(
    ready: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_small(*arguments: Any) -> None:
        raise MachineError("This trace needs about 80 GB of memory and 16 GB are free; trace fewer nodes.")

    monkeypatch.setattr("app.runs.run_trace", too_small)
    type_prompt(qtbot, ready, "The capital of Texas is")
    ready.registry.run("trace.run")
    wait_until_idle(qtbot, ready)
    assert "fewer nodes" in ready.prompt_bar.banner.sentence.text()


def test_sliders_follow_the_graph(ready: MainWindow, qtbot: QtBot, qapp: QApplication) -> None:
    type_prompt(qtbot, ready, "The opposite of hot is")
    ready.registry.run("trace.run")
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    strip, session = ready.area.strip, ready.session
    before = strip.readout.text()
    strip.influence.setValue(400)
    assert session.settings == ViewSettings(node_threshold=0.4)
    assert strip.readout.text() != before
    assert "nodes, explains" in strip.readout.text()


def test_a_project_read_without_its_model_goes_on_where_it_was(
    ready: MainWindow, smollm: LanguageModel, qtbot: QtBot
) -> None:
    type_prompt(qtbot, ready, "The capital of Texas is")
    ready.prompt_bar.count.setValue(2)
    ready.registry.run("trace.generate")
    wait_until_idle(qtbot, ready)
    ready.registry.run("trace.run")
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    path = ready.session.project.path  # type: ignore[union-attr]
    chips = ready.session.prompt.chips
    assert len(ready.session.prompt.next) == 8
    ready.session.close()
    ready.runs.choose_model("Gemma-3-270m")
    assert ready.session.prompt.chips == ()
    ready.session.open_project(path)
    # The trace's own model is meant again; tokens, also generated ones, and next tokens are there without it.
    assert ready.runs.wanted_model == "SmolLM2-135M-Instruct"
    assert ready.runs.model is None
    assert ready.session.prompt.chips == chips
    assert len(ready.session.prompt.next) == 8
    ready.prompt_bar.chips.chosen.emit(len(chips) - 1)
    qtbot.waitUntil(lambda: len(ready.session.project.traces()) == 2, timeout=SECONDS)  # type: ignore[union-attr]
    assert ready.session.prompt.chips == chips


def test_tokens_of_another_model_are_read_again_before_anything_is_traced(
    ready: MainWindow, smollm: LanguageModel, qtbot: QtBot
) -> None:
    type_prompt(qtbot, ready, "The capital of Texas is")
    snapshot = {**ready.session.prompt.snapshot(), "read_by": "another model"}
    assert ready.session.prompt.restore(snapshot)
    ready.runs.trace_chip(3)
    assert "another model" in ready.prompt_bar.banner.sentence.text()
    assert ready.session.graph is None
    ready.runs.trace_chip(3)
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)


def test_another_model_chosen_while_one_loads_is_the_one_that_comes(
    window: MainWindow, smollm: LanguageModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def slow(state: Any, source: str, progress: Any, cancel: threading.Event) -> LoadedModel:
        asked.append(source)
        while source == "first":
            checkpoint(cancel)
        return LoadedModel(source, source, "f" * 8, "cpu", "float32", 30, smollm.tokenizer)

    monkeypatch.setattr("app.runs.open_model", slow)
    window.runs.choose_model("first")
    window.runs.load_model()
    qtbot.waitUntil(lambda: asked == ["first"])
    window.runs.choose_model("second")
    window.runs.load_model()
    window.runs.load_model()
    qtbot.waitUntil(lambda: window.runs.model is not None)
    assert asked == ["first", "second"]
    assert window.runs.model is not None
    assert window.runs.model.source == "second"


@pytest.mark.command("trace.trust_features")
def test_a_dictionary_that_does_not_fit_is_refused_and_may_be_opened_anyway(
    ready: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(state: Any, source: str, trust: bool, progress: Any, cancel: threading.Event) -> LoadedFeatures:
        if not trust:
            raise RequestError(
                "This dictionary leaves 1.40 unexplained; open another, or insist with --trust-features."
            )
        return LoadedFeatures(source, "odd transcoders")

    monkeypatch.setattr("app.runs.open_features", picky)
    ready.runs.choose_features("/somewhere/odd")
    wait_until_idle(qtbot, ready)
    banner = ready.prompt_bar.banner
    assert banner.help_button.text() == "Open it anyway"
    assert ready.runs.wanted_features == "neurons"
    banner.help_button.click()
    wait_until_idle(qtbot, ready)
    assert ready.runs.wanted_features == "/somewhere/odd"
    assert ready.runs.trust_features
