"""Labels and tool tips that show text as it is: tokens and labels come from files and are never markup."""

from __future__ import annotations

import html

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFont, QPainter, QPaintEvent, QPalette
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


class ElidedLabel(PlainLabel):
    """A label on one line that gives way: what does not fit ends in "…", and is said whole to those who hear it."""

    def sizeHint(self) -> QSize:
        """As wide as its text."""
        margins = self.contentsMargins()
        width = self.fontMetrics().horizontalAdvance(self.text()) + margins.left() + margins.right() + 2
        return QSize(width, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """A few letters."""
        return QSize(self.fontMetrics().horizontalAdvance("…xxx"), super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """The text, shortened at its end."""
        painter, room = QPainter(self), self.contentsRect()
        painter.setPen(self.palette().color(self.foregroundRole()))
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room, int(self.alignment()), text)
        painter.end()


class Heading(PlainLabel):
    """The name of a part of a panel."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        font = self.font()
        font.setWeight(QFont.Weight.DemiBold)
        self.setFont(font)
