"""The command that trains a dictionary, and its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from app.commands.registry import Command
from app.panels.training_sheet import TrainingSheet
from app.training import TrainingDesk

if TYPE_CHECKING:
    from app.window import MainWindow


class Training(QObject):
    """Shows the page and keeps the lists of dictionaries true."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self.window = window
        self.desk = TrainingDesk(window.runs, self)
        self.sheet: TrainingSheet | None = None
        self.desk.opened.connect(self._opened)

    def show(self) -> None:
        """Open the page; made when it is first asked for."""
        if self.sheet is None:
            self.sheet = TrainingSheet(self.desk, self.window)
        self.sheet.popup()

    def close(self) -> None:
        """The window closes."""
        if self.sheet is not None:
            self.sheet.close()

    @Slot()
    def _opened(self) -> None:
        self.window.models.fill_features()


def training_commands(window: MainWindow) -> list[Command]:
    """The commands; ids are stable."""
    return [
        Command("training.show", "Train a dictionar&y…", "&Trace", window.training.show, (), "series",
                window.conditions.can_run, section=3, tip="Train transcoders for the chosen model on your own text"),
    ]  # fmt: skip
