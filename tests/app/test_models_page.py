from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.downloads import question
from app.engine_calls import DownloadFacts
from app.panels.models_page import ROW_ROLE, ModelsPage
from app.shelf import HERE, ShelfRow, is_here, shelf_rows
from app.window import MainWindow
from engine.errors import RequestError
from engine.models.published import published
from engine.progress import checkpoint
from engine.sizes import byte_words

SMALL = "HuggingFaceTB/SmolLM2-360M"
REFUSED = "openai/gpt-oss-20b"
FACTS = DownloadFacts(total=723_642_240, missing=723_642_240, free=50_000_000_000, files=4)


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hub cache holds is known, and nothing may reach a network unless a test says what comes back."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def network(*arguments: Any) -> None:
        raise AssertionError("something went to the network")

    for name in ("ask_download_size", "download_entry"):
        monkeypatch.setattr(f"app.downloads.{name}", network)


@pytest.fixture
def page(window: MainWindow) -> ModelsPage:
    window.registry.run("trace.models")
    found = window.models.page
    assert found is not None
    return found


def listed(page: ModelsPage) -> list[ShelfRow]:
    tops = [page.list.topLevelItem(i) for i in range(page.list.topLevelItemCount())]
    return [top.child(i).data(0, ROW_ROLE) for top in tops if top is not None for i in range(top.childCount())]


def wait_until_idle(qtbot: QtBot, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: not window.host.busy and window.downloads.running is None, timeout=10_000)


def test_the_page_lists_what_is_here_and_what_is_published(page: ModelsPage, window: MainWindow) -> None:
    assert page.isVisible()
    assert not page.isModal()
    rows = {row.source: row for row in listed(page)}
    assert {entry.id for entry in published()} <= set(rows)
    starter = rows["SmolLM2-135M-Instruct"]
    assert (starter.group, starter.state, starter.licence, starter.usable) == (HERE, "here", "Apache-2.0", True)
    small = rows[SMALL]
    assert small.size == "724 MB"
    assert small.memory.endswith("fits")
    assert (small.state, small.downloadable, small.usable) == ("to download", True, False)
    refused = rows[REFUSED]
    assert refused.state == "cannot be opened yet"
    assert any("mixture of experts" in sentence for sentence in refused.about)
    assert not window.host.busy


def test_listing_filtering_and_choosing_ask_no_network(
    page: ModelsPage, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def network(*arguments: Any, **named: Any) -> None:
        raise AssertionError("something went to the network")

    monkeypatch.setattr(socket, "create_connection", network)
    monkeypatch.setattr(socket.socket, "connect", network)
    page.refill()
    for row in listed(page):
        assert page.choose(row.source)
        assert page.about.text() == "\n".join(row.about)
    page.filter.setText("gemma 270m dictionary")
    assert listed(page)
    assert all("270m" in (row.title + row.source + row.model).lower() for row in listed(page))
    page.filter.setText("no such thing anywhere")
    assert listed(page) == []
    assert page.about.text() == "Nothing fits the filter; empty it to see everything."
    assert not page.use_button.isEnabled()
    assert not page.download_button.isEnabled()


def test_what_comes_from_the_catalogue_is_never_markup(page: ModelsPage) -> None:
    assert page.about.textFormat() == Qt.TextFormat.PlainText
    assert page.list.accessibleName()
    assert page.filter.accessibleName()


def test_a_download_says_its_size_asks_and_brings_it(
    page: ModelsPage, window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    fetched: list[str] = []
    go_on = threading.Event()

    def size(entry_id: str, progress: Any, cancel: threading.Event) -> DownloadFacts:
        return FACTS

    def fetch(entry_id: str, progress: Any, cancel: threading.Event) -> str:
        progress("Downloading model.safetensors", 0.4)
        assert go_on.wait(10)
        fetched.append(entry_id)
        return "/somewhere"

    def confirm(parent: Any, title: str, text: str, yes: str) -> bool:
        asked.append(text)
        return True

    monkeypatch.setattr("app.downloads.ask_download_size", size)
    monkeypatch.setattr("app.downloads.download_entry", fetch)
    monkeypatch.setattr(Ask, "confirm", confirm)
    filled: list[int] = []
    monkeypatch.setattr(window.models, "fill", lambda: filled.append(1))
    assert page.choose(SMALL)
    page.download_button.click()
    assert not page.download_button.isEnabled()
    qtbot.waitUntil(lambda: window.status.job.stage.text() == "Downloading model.safetensors")
    qtbot.waitUntil(window.status.job.isVisible)
    assert page.stop_button.isVisible()
    go_on.set()
    wait_until_idle(qtbot, window)
    assert fetched == [SMALL]
    assert "724 MB in 4 files; 50.0 GB are free" in asked[0]
    assert "Licence: Apache-2.0" in asked[0]
    assert filled
    assert not page.stop_button.isVisible()
    assert "is on this machine now" in window.statusBar().currentMessage()


def test_nothing_is_fetched_without_a_yes(
    page: ModelsPage, window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.downloads.ask_download_size", lambda *arguments: FACTS)
    monkeypatch.setattr(Ask, "confirm", lambda *arguments: False)
    page.choose(SMALL)
    page.download_button.click()
    wait_until_idle(qtbot, window)
    assert not page.banner.isVisible()
    assert page.download_button.isEnabled()


def test_a_refusal_is_one_sentence_on_the_page(
    page: ModelsPage, window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise RequestError("The terms of this model have to be accepted on its page first.")

    monkeypatch.setattr("app.downloads.ask_download_size", refuse)
    page.choose(SMALL)
    page.download_button.click()
    wait_until_idle(qtbot, window)
    assert page.banner.isVisible()
    assert page.banner.sentence.text() == "The terms of this model have to be accepted on its page first."
    # On a page that was closed meanwhile it is said beside the prompt.
    page.close()
    page._tell("It could not be reached.")
    assert window.prompt_bar.banner.sentence.text() == "It could not be reached."
    assert window.prompt_bar.banner.help_button.text() == "Models and dictionaries…"


def test_a_download_can_be_stopped(
    page: ModelsPage, window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def endless(entry_id: str, progress: Any, cancel: threading.Event) -> str:
        begun.set()
        while True:
            checkpoint(cancel)

    monkeypatch.setattr("app.downloads.ask_download_size", lambda *arguments: FACTS)
    monkeypatch.setattr("app.downloads.download_entry", endless)
    monkeypatch.setattr(Ask, "confirm", lambda *arguments: True)
    page.choose(SMALL)
    page.download_button.click()
    qtbot.waitUntil(begun.is_set)
    page.stop_button.click()
    wait_until_idle(qtbot, window)
    assert page.banner.sentence.text().startswith("Stopped; what came is kept")
    assert page.chosen() is not None
    assert page.download_button.isEnabled()


def test_a_model_and_a_dictionary_of_the_page_can_be_used(
    page: ModelsPage, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(window.runs, "load_model", lambda: loaded.append(window.runs.wanted_model))
    assert page.choose("Gemma-3-270m")
    assert page.use_button.text() == "Use this model"
    page.use_button.click()
    assert loaded == ["Gemma-3-270m"]
    assert window.prompt_bar.models.currentText() == "Gemma 3 270M"
    assert page.choose("neurons")
    assert page.use_button.text() == "Use this dictionary"
    page.use_button.click()
    assert window.runs.wanted_features == "neurons"


def test_a_fetched_dictionary_is_here_and_its_model_may_be_too(tmp_path: Path) -> None:
    entry = next(one for one in published() if one.what == "dictionary" and one.obstacle is None)
    fetched = replace(entry, path=tmp_path)
    rows = shelf_rows([], [str(tmp_path / "own")], [fetched])
    found = {row.source: row for row in rows}
    assert (found[entry.id].group, found[entry.id].usable, found[entry.id].downloadable) == (HERE, True, False)
    assert found[str(tmp_path / "own")].title == "own"
    assert not is_here("")
    assert is_here("neurons")
    assert is_here(str(tmp_path))
    assert not is_here(entry.id)


def test_the_question_says_what_is_missing_and_what_stands_against_it() -> None:
    row = next(row for row in shelf_rows([], [], published()) if row.source == REFUSED)
    text = question(row, replace(FACTS, missing=100_000_000, files=1))
    assert "1 file, 100 MB of it still missing" in text
    assert "It cannot be opened" in text


def test_the_pickers_lead_to_the_page(window: MainWindow) -> None:
    for picker in (window.prompt_bar.models, window.prompt_bar.features):
        assert picker.findText("More models and dictionaries…") >= 0


def test_the_memory_of_a_dictionary_is_what_has_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model included: the figure, the verdict and the sentence are about the same thing."""
    entry = next(one for one in published() if one.id == "mntss/transcoder-Llama-3.2-1B")
    needed = entry.memory_bytes()
    assert needed is not None

    def row(total: int) -> ShelfRow:
        monkeypatch.setattr("engine.models.published.total_bytes", lambda: total)
        (found,) = [one for one in shelf_rows([], [], [entry]) if one.source == entry.id]
        return found

    assert row(needed).memory == f"{byte_words(needed)}, fits"
    assert row(needed - 1).memory == f"{byte_words(needed)}, too large"
    sentence = f"With its model, and held whole, it needs about {byte_words(needed)} of memory"
    assert any(one.startswith(sentence) for one in row(needed - 1).about)
