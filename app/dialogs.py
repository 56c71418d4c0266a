"""Every question the window asks in a dialog: one class method each, so that tests answer instead of a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QInputDialog, QLineEdit, QMessageBox, QWidget

from app.panels.sample_sheet import SampleSheet
from app.samples import SampleProject

PROJECTS = "Circuit Loupe projects (*.loupe)"


class Ask:
    """Asks a person; every answer may be None."""

    @classmethod
    def open_project(cls, parent: QWidget, folder: Path) -> Path | None:
        """Which project to open."""
        return _path(QFileDialog.getOpenFileName(parent, "Open a project", str(folder), PROJECTS)[0])

    @classmethod
    def sample(cls, parent: QWidget, samples: Sequence[SampleProject]) -> SampleProject | None:
        """Which sample project to open."""
        sheet = SampleSheet(samples, parent)
        agreed = bool(sheet.exec()) and sheet.chosen >= 0
        sheet.deleteLater()
        return samples[sheet.chosen] if agreed else None

    @classmethod
    def save_file(cls, parent: QWidget, title: str, suggested: Path, kinds: str) -> Path | None:
        """Where to write a file. What is there already is for `may_replace`: the name may still get its ending."""
        found = QFileDialog.getSaveFileName(
            parent, title, str(suggested), kinds, options=QFileDialog.Option.DontConfirmOverwrite
        )
        return _path(found[0])

    @classmethod
    def may_replace(cls, parent: QWidget, paths: Sequence[Path]) -> bool:
        """Whether the files that would be written may take the place of those that are there."""
        there = [path.name for path in paths if path.exists()]
        if not there:
            return True
        names = there[0] if len(there) == 1 else f"{', '.join(there[:-1])} and {there[-1]}"
        verb, what = ("is", "it") if len(there) == 1 else ("are", "them")
        question = f"{names} {verb} there already. Replace {what}?"
        return cls.confirm(parent, "Replace?", question, "Replace")

    @classmethod
    def open_folder(cls, parent: QWidget, title: str) -> Path | None:
        """Which folder to open."""
        return _path(QFileDialog.getExistingDirectory(parent, title))

    @classmethod
    def open_file(cls, parent: QWidget, title: str, kinds: str) -> Path | None:
        """Which file to open."""
        return _path(QFileDialog.getOpenFileName(parent, title, "", kinds)[0])

    @classmethod
    def text(cls, parent: QWidget, title: str, question: str, before: str) -> str | None:
        """One line of text."""
        answer, given = QInputDialog.getText(parent, title, question, QLineEdit.EchoMode.Normal, before)
        return answer if given else None

    @classmethod
    def choice(cls, parent: QWidget, title: str, question: str, options: Sequence[str]) -> int | None:
        """Which of several texts, all different: its number."""
        answer, given = QInputDialog.getItem(parent, title, question, list(options), 0, False)
        return options.index(answer) if given else None

    @classmethod
    def long_text(cls, parent: QWidget, title: str, question: str, before: str) -> str | None:
        """Text of several lines."""
        answer, given = QInputDialog.getMultiLineText(parent, title, question, before)
        return answer if given else None

    @classmethod
    def number(cls, parent: QWidget, title: str, question: str, before: int, low: int, high: int) -> int | None:
        """A whole number."""
        answer, given = QInputDialog.getInt(parent, title, question, before, low, high, 100)
        return answer if given else None

    @classmethod
    def confirm(cls, parent: QWidget, title: str, text: str, yes: str) -> bool:
        """Whether to go on; `yes` names the button that does."""
        box = QMessageBox(parent)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setWindowTitle(title)
        box.setText(text)
        agree = box.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        box.exec()
        agreed = box.clickedButton() is agree
        box.deleteLater()
        return agreed

    @classmethod
    def leave(cls, parent: QWidget, text: str) -> bool | None:
        """Whether what is not in any file shall be saved elsewhere (True) or be gone (False) before it is left."""
        box = QMessageBox(parent)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setWindowTitle("Not kept yet")
        box.setText(text)
        save = box.addButton("Save a copy elsewhere…", QMessageBox.ButtonRole.AcceptRole)
        go = box.addButton("Leave without it", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(save)
        box.exec()
        clicked = box.clickedButton()
        box.deleteLater()
        return True if clicked is save else False if clicked is go else None

    @classmethod
    def tell(cls, parent: QWidget, title: str, text: str) -> None:
        """Something to read; does not wait for an answer."""
        box = QMessageBox(parent)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setWindowTitle(title)
        box.setText(text)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()


def _path(chosen: str) -> Path | None:
    return Path(chosen) if chosen else None
