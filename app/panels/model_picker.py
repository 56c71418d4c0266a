"""Which model reads the prompt, and which dictionary its features come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QComboBox, QWidget

from app.engine_calls import NEURONS
from app.panels.plain import tip
from engine.sizes import byte_words

if TYPE_CHECKING:
    from engine.models.catalogue import ModelEntry

SOURCE_ROLE = Qt.ItemDataRole.UserRole
COMMAND_ROLE = Qt.ItemDataRole.UserRole + 1

MORE = ("More models and dictionaries…", "trace.models")


class _Picker(QComboBox):
    """A box of sources, followed by commands that open others."""

    chosen = Signal(str)
    commanded = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items = QStandardItemModel(self)
        self.setModel(self._items)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(14)
        self.view().setMinimumWidth(320)
        self._current = ""
        self.activated.connect(self._activated)

    def _fill(self, rows: Sequence[tuple[str, str, str, bool]], commands: Sequence[tuple[str, str]]) -> None:
        """Rows are (title, source, tool tip, possible); commands are (title, command id)."""
        self._items.clear()
        for title, source, words, possible in rows:
            item = QStandardItem(title)
            item.setData(source, SOURCE_ROLE)
            item.setToolTip(tip(words))
            item.setEnabled(possible)
            self._items.appendRow(item)
        if rows and commands:
            self.insertSeparator(self.count())
        for title, command in commands:
            item = QStandardItem(title)
            item.setData(command, COMMAND_ROLE)
            self._items.appendRow(item)
        self.show_source(self._current)

    def show_source(self, source: str) -> None:
        """Show which source is in use."""
        self._current = source
        row = self.findData(source, SOURCE_ROLE)
        self.setCurrentIndex(row)
        words = self.itemData(row, Qt.ItemDataRole.ToolTipRole) if row >= 0 else None
        self.setToolTip(words or "")

    @Slot(int)
    def _activated(self, row: int) -> None:
        command = self.itemData(row, COMMAND_ROLE)
        if command:
            self.show_source(self._current)
            self.commanded.emit(str(command))
            return
        source = self.itemData(row, SOURCE_ROLE)
        if source:
            self.show_source(str(source))
            self.chosen.emit(str(source))

    def minimumSizeHint(self) -> QSize:
        """Narrow windows may squeeze the box to eight letters."""
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), 90), hint.height())


class ModelPicker(_Picker):
    """The models found on this machine."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("model-picker")
        self.setAccessibleName("Model")
        self.setPlaceholderText("Choose a model")

    def show_models(self, entries: Sequence[ModelEntry]) -> None:
        """Fill the box from the catalogue."""
        rows = [(entry.title, entry.id, describe_model(entry), entry.fits) for entry in entries]
        self._fill(
            rows,
            (("Open a model folder…", "trace.open_model_folder"), ("Open a GGUF file…", "trace.open_model_file"), MORE),
        )


class FeaturesPicker(_Picker):
    """Neurons, and the dictionaries a person opened."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("features-picker")
        self.setAccessibleName("Dictionary: where features come from")

    def show_features(self, others: Sequence[tuple[str, str, str]], current: str) -> None:
        """Fill the box: neurons first, then the (title, source, what to know) of others."""
        neurons = "The model's own MLP neurons: nothing to download, every token, no error nodes."
        rows = [("Neurons", NEURONS, neurons, True)]
        rows += [(title, source, words or f"Transcoders in {source}", True) for title, source, words in others]
        self._current = current
        self._fill(rows, (("Open a transcoder folder…", "trace.open_features"), MORE))


def describe_model(entry: ModelEntry) -> str:
    """What to know before choosing a model."""
    parts = [f"{entry.title} ({entry.family})", f"needs about {byte_words(entry.memory_bytes)} of memory"]
    if not entry.fits:
        parts.append("more than this machine has")
    if entry.kind == "starter" and not entry.prepared:
        parts.append("prepared on first use, which takes a few seconds")
    if entry.licence:
        parts.append(f"licence: {entry.licence}")
    return "; ".join(parts) + "."
