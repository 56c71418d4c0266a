"""The prompt's tokens as chips: blanks and special tokens visible, generated ones tinted, the traced one marked."""

from __future__ import annotations

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QRectF,
    QSize,
    Qt,
    Signal,
    Slot,
)
from PySide6.QtGui import QColor, QFont, QFontMetrics, QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from app.panels.plain import tip
from app.prompt_state import Chip
from app.theme import current_theme

Index = QModelIndex | QPersistentModelIndex
CHIP_ROLE = Qt.ItemDataRole.UserRole
TRACED_ROLE = Qt.ItemDataRole.UserRole + 1
_PAD_X, _PAD_Y, _GAP = 5, 2, 3


class ChipsModel(QAbstractListModel):
    """One row a token."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chips: tuple[Chip, ...] = ()
        self._traced: int | None = None

    def set_chips(self, chips: tuple[Chip, ...], traced: int | None) -> None:
        """Show other tokens; `traced` is the row the open trace explains."""
        self.beginResetModel()
        self._chips, self._traced = chips, traced
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        """The number of tokens."""
        return 0 if parent.isValid() else len(self._chips)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Text, tool tip, accessible text, and the chip itself for the delegate."""
        if not index.isValid() or index.row() >= len(self._chips):
            return None
        chip = self._chips[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return chip.visible
        if role == CHIP_ROLE:
            return chip
        if role == TRACED_ROLE:
            return index.row() == self._traced
        if role == Qt.ItemDataRole.ToolTipRole:
            return tip(self.describe(index.row()))
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return self.describe(index.row())
        return None

    def describe(self, row: int) -> str:
        """What a chip is, in words."""
        chip = self._chips[row]
        parts = [f"{chip.text!r}, token {row} of the prompt, id {chip.token_id}"]
        if chip.special:
            parts.append("special token")
        if chip.generated:
            share = "" if chip.probability is None else f" with {100 * chip.probability:.1f} %"
            parts.append(f"said by the model{share}")
        if row == self._traced:
            parts.append("the open graph explains this token")
        elif row:
            parts.append("click to trace why the model says it here")
        return "; ".join(parts)


class _ChipDelegate(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        metrics = QFontMetrics(option.font)
        width = metrics.horizontalAdvance(str(index.data())) + 2 * _PAD_X + _GAP + 2
        return QSize(width, metrics.height() + 2 * _PAD_Y + _GAP + 1)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        theme = current_theme()
        chip, traced = index.data(CHIP_ROLE), bool(index.data(TRACED_ROLE))
        box = QRectF(option.rect).adjusted(0.5, 0.5, -_GAP - 0.5, -_GAP - 0.5)
        hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        focused = bool(option.state & QStyle.StateFlag.State_HasFocus)
        fill = theme.selection if chip.generated else theme.raised
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(QColor(theme.accent if traced else theme.hover if hovered and index.row() else fill))
        painter.setPen(QPen(QColor(theme.accent if focused or traced else theme.border), 2 if focused else 1))
        painter.drawRoundedRect(box, 3, 3)
        colour = theme.accent_text if traced else theme.muted if chip.special else theme.text
        painter.setPen(QColor(colour))
        font = QFont(option.font)
        font.setItalic(chip.special)
        painter.setFont(font)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(index.data()))
        painter.restore()


class ChipStrip(QListView):
    """The chips, wrapped; a click or Enter on any but the first asks to trace that token."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("chips")
        self.setAccessibleName("Tokens of the prompt and of what the model said; Enter traces one")
        self.chips = ChipsModel(self)
        self.setModel(self.chips)
        self.setItemDelegate(_ChipDelegate(self))
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(False)
        self.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QListView.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setMouseTracking(True)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setStyleSheet("QListView { border: none; background: transparent; }")
        self.clicked.connect(self._clicked)

    def show_chips(self, chips: tuple[Chip, ...], traced: int | None) -> None:
        """Show other tokens and bring the last ones into view."""
        self.chips.set_chips(chips, traced)
        at = len(chips) - 1 if traced is None else traced
        if chips:
            self.scrollTo(self.chips.index(at, 0))

    @Slot(QModelIndex)
    def _clicked(self, index: QModelIndex) -> None:
        if index.row() > 0:
            self.chosen.emit(index.row())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter and Space choose the chip that has the focus."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self.currentIndex().isValid():
            self._clicked(self.currentIndex())
            return
        super().keyPressEvent(event)
