"""Labels and tool tips that show text as it is: tokens and labels come from files and are never markup."""

from __future__ import annotations

import html

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont, QPalette
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget


def tip(text: str) -> str:
    """A tool tip that wraps and shows `text` letter by letter."""
    return f"<qt>{html.escape(text).replace(chr(10), '<br>')}</qt>"


class PlainLabel(QLabel):
    """A label that never interprets its text as markup."""

    def __init__(self, text: str = "", parent: QWidget | None = None, *, wrap: bool = False) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wrap)
        self.setText(text)


class MutedLabel(PlainLabel):
    """A label in the theme's quiet text colour: explanations, units, hints."""

    def __init__(self, text: str = "", parent: QWidget | None = None, *, wrap: bool = False) -> None:
        super().__init__(text, parent, wrap=wrap)
        self.setForegroundRole(QPalette.ColorRole.PlaceholderText)  # The theme's muted text.


class ProblemLabel(PlainLabel):
    """One sentence about what was typed here, hidden while there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent, wrap=True)
        self.setProperty("problem", True)  # The theme's colour of errors.
        self.hide()

    def show_problem(self, sentence: str) -> None:
        """Say a sentence, or nothing with ""."""
        self.setText(sentence)
        self.setVisible(bool(sentence))


class Hint(MutedLabel):
    """What would fill an empty panel, and how."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent, wrap=True)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setMargin(10)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)


class Heading(PlainLabel):
    """The name of a part of a panel."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        font = self.font()
        font.setWeight(QFont.Weight.DemiBold)
        self.setFont(font)
