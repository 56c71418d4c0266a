"""An error where it happened: one sentence, a button that helps, and a way to put it away."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget

from app.panels.plain import PlainLabel
from app.session import Problem
from app.theme import current_theme, icon, theme_watcher


class Banner(QWidget):
    """Hidden until `show_problem`; at most one sentence at a time."""

    helpRequested = Signal(str)  # command id

    def __init__(self, place: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(f"banner-{place}")
        self.place = place
        self._command = ""
        self._mark = QLabel()
        self.sentence = PlainLabel(wrap=True)
        self.sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.help_button = QPushButton()
        self.help_button.setAccessibleName("Help with this message")
        self.help_button.clicked.connect(self._help)
        self.close_button = QToolButton()
        self.close_button.setAccessibleName("Put this message away")
        self.close_button.setToolTip("Put this message away")
        self.close_button.clicked.connect(self.dismiss)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 4, 4, 4)
        row.addWidget(self._mark)
        row.addWidget(self.sentence, 1)
        row.addWidget(self.help_button)
        row.addWidget(self.close_button)
        # The style sheet has the colours: a palette put on by hand does not reach labels that a sheet has polished.
        self.setProperty("alert", True)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        theme_watcher().changed.connect(self._restyle)
        self._restyle()
        self.hide()

    def show_problem(self, problem: Problem, help_title: str = "") -> None:
        """Show a problem; `help_title` names the command that helps."""
        self._command = problem.command if help_title else ""
        self.sentence.setText(problem.sentence)
        self.setAccessibleName(problem.sentence)
        self.help_button.setText(help_title)
        self.help_button.setAccessibleName(help_title or "Help with this message")
        self.help_button.setVisible(bool(self._command))
        self.show()

    @Slot()
    def dismiss(self) -> None:
        """Put the message away."""
        self._command = ""
        self.hide()

    @Slot()
    def _help(self) -> None:
        command = self._command
        self.dismiss()
        self.helpRequested.emit(command)

    @Slot()
    def _restyle(self) -> None:
        theme = current_theme()
        self._mark.setPixmap(icon("warning", theme.error).pixmap(QSize(16, 16), self.devicePixelRatioF()))
        self.close_button.setIcon(icon("close", theme.error))
