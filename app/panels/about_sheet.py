"""What this program is: its version, what it runs on, and the licences of all that comes with it."""

from __future__ import annotations

import platform
from importlib import metadata

from PySide6.QtCore import QLibraryInfo, QSize
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from app.licences import licences
from app.panels.plain import Heading, PlainLabel, tip

ICON = 64


def version_line() -> str:
    """The versions that a report of a fault needs."""
    known = [f"Circuit Loupe {metadata.version('circuit-loupe')}", f"Python {platform.python_version()}"]
    known.append(f"Qt {QLibraryInfo.version().toString()}")
    for name in ("torch", "numpy"):
        try:
            known.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join([*known, platform.platform()])


class AboutSheet(QDialog):
    """A page to read; closes with Escape."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("about-sheet")
        self.setWindowTitle("About Circuit Loupe")
        self.resize(680, 560)
        picture = PlainLabel()
        picture.setPixmap(QGuiApplication.windowIcon().pixmap(QSize(ICON, ICON)))
        picture.setAccessibleName("The program's icon")
        about = PlainLabel(
            "See which features, in which layers, at which words, made a language model say a token. Everything runs "
            "on this machine; nothing is sent anywhere.",
            wrap=True,
        )
        self.versions = PlainLabel(version_line(), wrap=True)
        self.licences = QPlainTextEdit(licences())
        self.licences.setReadOnly(True)
        self.licences.setAccessibleName("Licences of everything inside")
        self.licences.setToolTip(tip("The licence of the program, and of each package and library that comes with it"))
        words = QVBoxLayout()
        words.addWidget(about)
        words.addWidget(self.versions)
        top = QHBoxLayout()
        top.addWidget(picture)
        top.addLayout(words, 1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        for button in buttons.buttons():
            button.setToolTip(tip("Close this page (Esc)"))
        column = QVBoxLayout(self)
        column.addLayout(top)
        column.addWidget(Heading("Licences"))
        column.addWidget(self.licences, 1)
        column.addWidget(buttons)
