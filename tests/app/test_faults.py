from __future__ import annotations

import gc
import sys
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import QtMsgType, qInstallMessageHandler
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.engine_calls import LoadedModel
from app.fault_log import FaultCatcher, logger, start_log
from app.garbage import GarbageKeeper
from app.jobs import Value
from app.window import MainWindow
from engine.places import log_file


class Node:
    """Part of a cycle."""

    other: Node | None = None


def test_a_fault_becomes_one_sentence_and_its_traceback_is_in_the_log(
    window: MainWindow, qtbot: QtBot, home: Path
) -> None:
    start_log()
    faults = FaultCatcher()
    faults.caught.connect(window.show_fault)
    try:
        raise RuntimeError("the <b>thing</b> broke")
    except RuntimeError as error:
        with qtbot.waitSignal(faults.caught):
            faults._unhandled(type(error), error, error.__traceback__)
    sentence = window.start.banner.sentence.text()
    assert window.start.banner.isVisible()
    assert str(log_file()) in sentence
    assert "Traceback" not in sentence
    for handler in logger.handlers:
        handler.flush()
    written = log_file().read_text(encoding="utf-8")
    assert "Traceback" in written
    assert "test_faults.py" in written
    assert log_file().is_relative_to(home)


def test_hooks_are_put_back(qapp: QApplication) -> None:
    before = (sys.excepthook, threading.excepthook)
    faults = FaultCatcher()
    faults.install()
    assert sys.excepthook != before[0]
    faults.remove()
    assert (sys.excepthook, threading.excepthook) == before
    qInstallMessageHandler(None)


def test_qts_own_messages_are_logged(home: Path) -> None:
    from app.fault_log import _qt_message

    start_log()
    _qt_message(QtMsgType.QtWarningMsg, None, "something odd")  # type: ignore[arg-type]
    for handler in logger.handlers:
        handler.flush()
    assert "Qt: something odd" in log_file().read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_is_no_reason_to_stop(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    home.write_text("a file where the folder should be")
    start_log()
    logger.error("nobody reads this")


def test_cyclic_garbage_goes_in_the_thread_of_the_window(qapp: QApplication) -> None:
    keeper = GarbageKeeper()
    keeper.start()
    try:
        assert not gc.isenabled()
        for _ in range(gc.get_threshold()[0] + 10):
            one, two = Node(), Node()
            one.other, two.other = two, one
        assert keeper.collect_due() >= 0
        assert keeper.collect_due() == -1
    finally:
        keeper.stop()
    assert gc.isenabled()


def test_a_loaded_model_is_no_part_of_later_collections(window: MainWindow) -> None:
    """A full collection goes through what it has to, not through every object of the model's libraries."""
    gc.unfreeze()
    gc.collect()
    before = len(gc.get_objects(generation=2))
    facts = LoadedModel("m", "m", "f", "cpu", "float32", 1, SimpleNamespace(has_chat_template=False, bos_id=None))  # type: ignore[arg-type]
    window.runs._model_opened(Value(facts))
    try:
        assert before > 10_000
        assert len(gc.get_objects(generation=2)) < before / 10
        loop = Node()
        loop.other = loop
        gone = weakref.ref(loop)
        del loop
        gc.collect()
        assert gone() is None, "what becomes garbage later must still go"
        window.runs.choose_model("another")
        window.runs.load_model()
        assert gc.get_freeze_count() == 0, "the model before cannot be let go"
    finally:
        gc.unfreeze()
