"""Explaining what is no token: a weighted sum, or a direction from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.engine_calls import LoadedModel
from app.jobs import Value
from app.special_target import say_sum
from app.token_choice import read_sum
from app.window import MainWindow
from engine.errors import RequestError
from engine.models.language_model import LanguageModel

SECONDS = 60_000


@pytest.fixture
def ready(window: MainWindow, smollm: LanguageModel, qtbot: QtBot) -> MainWindow:
    """SmolLM2 in memory and a prompt that it has read."""
    window.runs.choose_model("SmolLM2-135M-Instruct")
    window.runs.state.model = smollm
    facts = LoadedModel(
        "SmolLM2-135M-Instruct", smollm.name, smollm.fingerprint, "cpu", "float32", 30, smollm.tokenizer
    )
    window.runs._model_opened(Value(facts))
    window.runs.max_nodes = 30
    window.prompt_bar.editor.setPlainText("The capital of Texas is")
    window.prompt_bar.commit()
    qtbot.waitUntil(lambda: bool(window.session.prompt.next), timeout=SECONDS)
    return window


def answer(monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    monkeypatch.setattr(Ask, name, lambda *arguments: value)


def run_trace(window: MainWindow, qtbot: QtBot) -> None:
    before = window.session.trace_id
    window.registry.run("trace.run")
    qtbot.waitUntil(lambda: window.session.trace_id not in (None, before), timeout=SECONDS)


@pytest.mark.command("trace.weighted", "trace.tokens")
def test_a_weighted_sum_is_typed_and_traced(ready: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    aim = ready.prompt_bar.aim
    assert aim.target.isVisible()
    assert not ready.registry.action("trace.tokens").isEnabled()
    answer(monkeypatch, "text", "1 Austin, -0.5 Dallas, -0.5 Houston")
    ready.registry.run("trace.weighted")
    assert not aim.target.isVisible()
    assert aim.name.accessibleName() == "Explains Austin − 0.5 Dallas − 0.5 Houston"
    run_trace(ready, qtbot)
    graph = ready.session.graph
    assert graph is not None
    assert graph.logit_text == ("1  Austin + -0.5  Dallas + -0.5  Houston",)
    assert ready.session.report["settings"]["target"]["weighted"] == [
        [" Austin", 1],
        [" Dallas", -0.5],
        [" Houston", -0.5],
    ]
    assert graph.conservation_error.max() < 1e-4
    aim.clear.click()
    assert aim.target.isVisible()
    run_trace(ready, qtbot)
    assert ready.session.graph is not None
    assert ready.session.graph.logit_text[0] == " Austin"


@pytest.mark.command("trace.direction")
@pytest.mark.parametrize("form", ["npy", "list", "sum"])
def test_a_file_is_explained(
    ready: MainWindow, smollm: LanguageModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    numbers = np.linspace(-1, 1, smollm.weights.d_model)
    path = tmp_path / ("way.npy" if form == "npy" else "way.json")
    if form == "npy":
        np.save(path, numbers)
    else:
        path.write_text(json.dumps(numbers.tolist() if form == "list" else {" Austin": 1, " Dallas": -1}))
    answer(monkeypatch, "open_file", path)
    ready.registry.run("trace.direction")
    assert ready.prompt_bar.aim.name.accessibleName().endswith("␣Austin − ␣Dallas" if form == "sum" else path.name)
    run_trace(ready, qtbot)
    assert ready.session.graph is not None
    assert ready.session.graph.logit_text == (("1  Austin + -1  Dallas",) if form == "sum" else ("direction",))


def test_what_cannot_be_explained_is_said_beside_the_prompt(
    ready: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    banner = ready.prompt_bar.banner
    answer(monkeypatch, "text", "1 Austin, 2 Austin")
    ready.registry.run("trace.weighted")
    assert "named once" in banner.sentence.text()
    assert not ready.special.is_chosen()
    answer(monkeypatch, "text", "1 Austin, 2 antidisestablishmentarianism")
    ready.registry.run("trace.weighted")
    ready.registry.run("trace.run")
    assert "antidisestablishmentarianism" in banner.sentence.text()
    short = tmp_path / "short.npy"
    np.save(short, np.ones(3))
    answer(monkeypatch, "open_file", short)
    ready.registry.run("trace.direction")
    ready.registry.run("trace.run")
    qtbot.waitUntil(lambda: "3 numbers" in banner.sentence.text(), timeout=SECONDS)
    assert ready.session.graph is None


def test_a_sample_explains_tokens(ready: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "text", "Austin")
    ready.registry.run("trace.weighted")
    ready.start.sample_buttons[0].click()
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    assert not ready.special.is_chosen()
    assert ready.session.report["settings"]["target"]["weighted"] is None


@pytest.mark.parametrize(
    ("typed", "pairs"),
    [
        ("1 Austin, -0.5 Dallas", (("Austin", 1.0), ("Dallas", -0.5))),
        ("Austin,Dallas", (("Austin", 1.0), ("Dallas", 1.0))),
        ("1969", (("1969", 1.0),)),  # a token may be a number
        ("2 1969", (("1969", 2.0),)),
        ('Austin, "-1 ,"', (("Austin", 1.0), (",", -1.0))),
        (".5 ␣Austin", (("␣Austin", 0.5),)),
        ("-2 × Austin", (("Austin", -2.0),)),
    ],
)
def test_sums_as_people_type_them(typed: str, pairs: tuple[tuple[str, float], ...]) -> None:
    assert read_sum(typed) == pairs


@pytest.mark.parametrize("typed", ["", "  ", "1 Austin,,", "1 Austin, 1 Austin", "0 Austin"])
def test_sums_that_say_nothing(typed: str) -> None:
    with pytest.raises(RequestError):
        read_sum(typed)


def test_a_sum_in_few_letters() -> None:
    assert say_sum((("Austin", 1.0), ("Dallas", -0.5), ("Waco", 1.0))) == "Austin − 0.5 Dallas + Waco"
