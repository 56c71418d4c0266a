"""A short form of the soak; `make soak` runs ten thousand steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import qWarning

from app.commands.registry import Command
from app.dialogs import Ask
from app.window import MainWindow
from tests.app.soak import Soak, watched


@pytest.mark.parametrize("seed", [1, 2])
def test_random_commands_leave_no_traceback_and_no_warning(window: MainWindow, tmp_path: Path, seed: int) -> None:
    (tmp_path / "files").mkdir()
    soak = Soak(window, tmp_path / "files", seed)
    with watched(soak):
        soak.run(120)
    assert not soak.faults, "\n".join(soak.faults)
    assert len(soak.done) > 20


def test_every_question_of_the_window_is_answered(window: MainWindow, tmp_path: Path) -> None:
    """One that is not would wait for ever; `may_replace` itself asks `confirm`."""
    questions = {name for name in vars(Ask) if not name.startswith("_")}
    assert set(Soak(window, tmp_path, 0).answers()) == questions - {"may_replace"}


def test_it_notices_errors_and_warnings(window: MainWindow, tmp_path: Path) -> None:
    def fail() -> None:
        raise LookupError("a bug")

    window.registry.add(Command("test.fail", "Fail", "&File", fail))
    soak = Soak(window, tmp_path, 0)
    with watched(soak):
        window.registry.action("test.fail").trigger()  # through Qt, as a menu does
        qWarning("a warning")
        soak.die.choice = lambda options: "test.fail" if "test.fail" in options else options[0]  # type: ignore[method-assign]
        soak.run(12)
    assert "a bug" in soak.faults[0]
    assert "Qt: a warning" in soak.faults[1]
    assert len(soak.faults) > 2
