"""Every question the window asks in a dialog: one class method each, so that tests answer instead of a person."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QInputDialog, QLineEdit, QMessageBox, QWidget

PROJECTS = "Circuit Loupe projects (*.loupe)"


class Ask:
    """Asks a person; every answer may be None."""

    @classmethod
    def open_project(cls, parent: QWidget, folder: Path) -> Path | None:
        """Which project to open."""
        return _path(QFileDialog.getOpenFileName(parent, "Open a project", str(folder), PROJECTS)[0])

    @classmethod
    def save_file(cls, parent: QWidget, title: str, suggested: Path, kinds: str) -> Path | None:
        """Where to write a file; an existing one is confirmed by the dialog itself."""
        return _path(QFileDialog.getSaveFileName(parent, title, str(suggested), kinds)[0])

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
