"""What a new window shows in the middle: prompts to run with one click, and recent projects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from app.commands import Registry
from app.panels.banner import Banner
from app.panels.plain import Heading, MutedLabel, PlainLabel, tip
from app.samples import Samples
from app.theme import icon, theme_watcher
from app.unsaved import is_unsaved

PATH_ROLE = Qt.ItemDataRole.UserRole


class SampleButton(QPushButton):
    """One sample; `chosen` tells its prompt, where it is one."""

    chosen = Signal(str)

    def __init__(self, text: str, words: str, spoken: str, explained: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.prompt = text
        self.setText(words.replace("&", "&&"))
        self.setAccessibleName(spoken)
        self.setToolTip(tip(explained))
        self.setStyleSheet("QPushButton { text-align: left; padding: 7px 10px; }")
        self.setIconSize(QSize(16, 16))
        self.clicked.connect(self._clicked)
        theme_watcher().changed.connect(self._restyle)
        self._restyle()

    @Slot()
    def _clicked(self) -> None:
        self.chosen.emit(self.prompt)

    @Slot()
    def _restyle(self) -> None:
        self.setIcon(icon("trace"))


class StartPage(QWidget):
    """Shown while no trace is open."""

    sampleChosen = Signal(str)
    severalChosen = Signal()
    projectChosen = Signal(Path)

    def __init__(self, samples: Samples, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("start-page")
        self.banner = Banner("start")
        self.banner.helpRequested.connect(registry.run)
        title = PlainLabel("Which parts of the model made it say that?")
        font = title.font()
        font.setPointSizeF(font.pointSizeF() * 1.5)
        font.setWeight(QFont.Weight.DemiBold)
        title.setFont(font)
        words = MutedLabel(
            "Type a prompt above, then click the token you want explained. Circuit Loupe traces it back through the "
            "layers and draws the graph of what made the model say it. Everything runs on this machine.",
            wrap=True,
        )
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addWidget(self.banner)
        column.addWidget(title)
        column.addWidget(words)
        column.addSpacing(10)
        column.addWidget(Heading("Try one"))
        self.sample_buttons = [
            SampleButton(
                sample.text,
                f"{sample.text} → {sample.says.strip()}",
                f"Trace the prompt: {sample.text}",
                "Fills in the prompt, loads the model if needed, and traces why it says this token",
            )
            for sample in samples.prompts
        ]
        for button in self.sample_buttons:
            button.chosen.connect(self.sampleChosen)
            column.addWidget(button)
        column.addWidget(MutedLabel(f"With {samples.model}, which comes with the program.", wrap=True))
        several = samples.several
        self.several_button = SampleButton(
            "",
            several.title,
            f"Trace three prompts: {several.title}",
            "Traces " + ", ".join(f"{one.text} → {one.says}" for one in several.prompts),
        )
        self.several_button.chosen.connect(self.severalChosen)
        column.addWidget(self.several_button)
        column.addWidget(
            MutedLabel(f"With {several.model}: three traces, then the features that their graphs share.", wrap=True)
        )
        column.addSpacing(10)
        column.addWidget(Heading("Recent projects"))
        self.recent = QListWidget()
        self.recent.setObjectName("recent-projects")
        self.recent.setAccessibleName("Recent projects")
        self.recent.setMaximumHeight(170)
        self.recent.itemActivated.connect(self._recent_chosen)
        self.recent.itemClicked.connect(self._recent_chosen)
        self.no_recent = MutedLabel("Projects you open or save appear here.", wrap=True)
        column.addWidget(self.recent)
        column.addWidget(self.no_recent)
        row = QHBoxLayout()
        for command in ("file.open", "file.sample", "file.new", "help.guide"):
            action = registry.action(command)
            push = QPushButton(action.command.words)
            push.setToolTip(action.toolTip())
            push.clicked.connect(action.fire)
            row.addWidget(push)
        row.addStretch(1)
        column.addLayout(row)
        column.addStretch(1)
        middle = QWidget()
        middle.setMaximumWidth(620)
        middle.setLayout(column)
        outer = QHBoxLayout(self)
        outer.setContentsMargins(24, 28, 24, 12)
        outer.addStretch(1)
        outer.addWidget(middle, 8)
        outer.addStretch(1)

    def show_recent(self, paths: Sequence[Path]) -> None:
        """Fill the list of recent projects."""
        self.recent.clear()
        for path in paths:
            name = path.stem + ("  (not saved under a name yet)" if is_unsaved(path) else "")
            item = QListWidgetItem(name)
            item.setData(PATH_ROLE, str(path))
            item.setToolTip(tip(str(path)))
            self.recent.addItem(item)
        self.recent.setVisible(bool(paths))
        self.no_recent.setVisible(not paths)
        if paths:
            rows = min(len(paths), 6)
            self.recent.setFixedHeight(rows * self.recent.sizeHintForRow(0) + 6)

    @Slot(QListWidgetItem)
    def _recent_chosen(self, item: QListWidgetItem) -> None:
        self.projectChosen.emit(Path(str(item.data(PATH_ROLE))))
