"""What is to be explained: a token, perhaps rather than another one, or something that is no token."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QMenu, QStackedWidget, QToolButton, QWidget

from app.commands import Registry
from app.engine_calls import NextToken
from app.panels.plain import MutedLabel, PlainLabel, tip
from app.panels.token_picker import TokenPicker
from app.special_target import SpecialTarget
from app.theme import icon

OTHERS = ("trace.weighted", "trace.direction", "trace.tokens")


class AimPicker(QWidget):
    """Two token pickers, or the name of a weighted sum or direction, and a menu that changes between them."""

    submitted = Signal()

    def __init__(self, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.special: SpecialTarget | None = None
        self.target = TokenPicker(
            "Token to explain", "likeliest", "Which token to explain; empty: the likeliest ones together"
        )
        self.against = TokenPicker(
            "Token it is set against", "nothing", "Explain why the first token rather than this one; may stay empty"
        )
        tokens = QWidget()
        row = QHBoxLayout(tokens)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.target)
        row.addWidget(MutedLabel("rather than"))
        row.addWidget(self.against)
        self.name = PlainLabel()
        self.name.setObjectName("special-target")
        self.name.setMinimumWidth(10)
        self.clear = QToolButton()
        self.clear.setDefaultAction(registry.action("trace.tokens"))
        self.clear.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        self.clear.setAccessibleName("Explain tokens again")
        other = QWidget()
        other_row = QHBoxLayout(other)
        other_row.setContentsMargins(0, 0, 0, 0)
        other_row.addWidget(self.name, 1)
        other_row.addWidget(self.clear)
        self.stack = QStackedWidget()
        self.stack.addWidget(tokens)
        self.stack.addWidget(other)
        self.more = QToolButton()
        self.more.setToolTip("Explain a weighted sum of tokens, or a direction from a file")
        self.more.setAccessibleName("Explain something else than a token")
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.more)
        for command in OTHERS:
            menu.addAction(registry.action(command))
        self.more.setMenu(menu)
        self.restyle()
        outer = QHBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(6)
        outer.addWidget(MutedLabel("Explain"))
        outer.addWidget(self.stack)
        outer.addWidget(self.more)
        self.target.submitted.connect(self.submitted)
        self.against.submitted.connect(self.submitted)

    def show_tokens(self, tokens: tuple[NextToken, ...]) -> None:
        """Offer the likeliest tokens."""
        self.target.show_tokens(tokens)
        self.against.show_tokens(tokens)

    def show_special(self, special: SpecialTarget | None) -> None:
        """Show what is explained instead of a token; None: tokens again."""
        self.special = special
        self.stack.setCurrentIndex(0 if special is None else 1)
        self._fit_name()

    def forget(self) -> None:
        """Explain the likeliest tokens again."""
        self.show_special(None)
        self.target.setEditText("")
        self.against.setEditText("")

    @Slot()
    def restyle(self) -> None:
        """Draw the icon in the theme's colours."""
        self.more.setIcon(icon("more"))

    def _fit_name(self) -> None:
        words = "" if self.special is None else self.special.words
        room = max(self.stack.sizeHint().width() - self.clear.sizeHint().width() - 12, 60)
        self.name.setText(self.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, room))
        self.name.setToolTip(tip(words))
        self.name.setAccessibleName(f"Explains {words}" if words else "")
