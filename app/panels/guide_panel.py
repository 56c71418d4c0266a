"""The guide at the side of the window: nine steps that tick by themselves."""

from __future__ import annotations

from PySide6.QtCore import QSize, QTimer, Signal, Slot
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from app.guide import STEPS, Guide, Step
from app.panels.plain import Heading, MutedLabel, PlainLabel, tip
from app.theme import current_theme, icon, theme_watcher

MARK = 16


class StepRow(QWidget):
    """One step: its tick, its title, and while it is the next one, what to do."""

    wanted = Signal(str)  # command id

    def __init__(self, number: int, step: Step) -> None:
        super().__init__()
        self.step = step
        self.mark = PlainLabel()
        self.mark.setFixedSize(QSize(MARK, MARK))
        self.title = PlainLabel(f"{number}. {step.title}", wrap=True)
        self.words = MutedLabel(step.words, wrap=True)
        self.show_me = QPushButton("Show me")
        self.show_me.setToolTip(tip("Go to where this step is done"))
        self.show_me.setAccessibleName(f"Show me: {step.title}")
        self.show_me.clicked.connect(self._clicked)
        top = QHBoxLayout()
        top.addWidget(self.mark)
        top.addWidget(self.title, 1)
        below = QHBoxLayout()
        below.addWidget(self.show_me)
        below.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 2, 0, 2)
        column.addLayout(top)
        column.addWidget(self.words)
        column.addLayout(below)

    @Slot()
    def _clicked(self) -> None:
        self.wanted.emit(self.step.command)

    def show_state(self, done: bool, following: bool) -> None:
        """Ticked or not, and open while it is the next one."""
        self.words.setVisible(following)
        self.show_me.setVisible(following and bool(self.step.command))
        pixmap = icon("check", current_theme().accent).pixmap(QSize(MARK, MARK), self.devicePixelRatioF())
        self.mark.setPixmap(pixmap) if done else self.mark.clear()
        self.mark.setAccessibleName("Done" if done else "To do")
        self.title.setAccessibleName(f"{self.title.text()}, {'done' if done else 'to do'}")


class GuidePanel(QWidget):
    """All steps, one of them open."""

    wanted = Signal(str)  # command id

    def __init__(self, guide: Guide, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("guide")
        self.guide = guide
        self.state = MutedLabel(wrap=True)
        column = QVBoxLayout(self)
        column.addWidget(self.state)
        self.rows: list[StepRow] = []
        part = ""
        for number, step in enumerate(STEPS, 1):
            if step.part != part:
                part = step.part
                column.addWidget(Heading(part))
            row = StepRow(number, step)
            row.wanted.connect(self.wanted)
            self.rows.append(row)
            column.addWidget(row)
        self.again = QPushButton("Begin again")
        self.again.setToolTip(tip("Forget which steps were done"))
        self.again.clicked.connect(guide.again)
        column.addWidget(self.again)
        column.addStretch(1)
        # The open step is brought into view once it has its new height.
        self._aim = QTimer(self, singleShot=True, interval=0)
        self._aim.timeout.connect(self._show_following)
        guide.changed.connect(self.refresh)
        theme_watcher().changed.connect(self.refresh)
        self.refresh()

    def showEvent(self, event: QShowEvent) -> None:
        """From now on what is done counts."""
        super().showEvent(event)
        self.guide.begin()

    @Slot()
    def _show_following(self) -> None:
        row = next((one for one in self.rows if one.step is self.guide.following), None)
        above = self.parentWidget()
        while above is not None and not isinstance(above, QScrollArea):
            above = above.parentWidget()
        if row is not None and above is not None:
            above.ensureWidgetVisible(row, 0, 0)

    @Slot()
    def refresh(self) -> None:
        """Show what is done and what comes next."""
        following, done = self.guide.following, len(self.guide.done)
        self._aim.start()
        for row in self.rows:
            row.show_state(row.step.id in self.guide.done, row.step is following)
        self.state.setText(
            f"{done} of {len(STEPS)} done. A step ticks when you did it."
            if following
            else "Done: you traced, read, grouped and tested. What the words mean is in Help, Glossary."
        )
