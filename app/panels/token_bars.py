"""What the model says next: the likeliest tokens with their probabilities; choosing one traces it."""

from __future__ import annotations

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QColor, QFontMetrics, QKeyEvent, QPainter
from PySide6.QtWidgets import QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from app.engine_calls import NextToken
from app.panels.plain import tip
from app.reading import percent
from app.theme import current_theme
from engine.graphs.visible_text import visible_text

Index = QModelIndex | QPersistentModelIndex
SHARE_ROLE = Qt.ItemDataRole.UserRole
TOKEN_ROLE = Qt.ItemDataRole.UserRole + 1
COLUMNS = 2


class TokenBarsModel(QAbstractListModel):
    """One row a candidate."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tokens: tuple[NextToken, ...] = ()

    def set_tokens(self, tokens: tuple[NextToken, ...]) -> None:
        """Show other candidates."""
        self.beginResetModel()
        self._tokens = tokens
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        """The number of candidates."""
        return 0 if parent.isValid() else len(self._tokens)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Text, share, tool tip, and the token for the one who chooses it."""
        if not index.isValid() or index.row() >= len(self._tokens):
            return None
        token = self._tokens[index.row()]
        words = f"{token.text!r}, {percent(token.probability)}, id {token.token_id}; click to trace why"
        values: dict[int, object] = {
            Qt.ItemDataRole.DisplayRole: visible_text(token.text),
            SHARE_ROLE: token.probability,
            TOKEN_ROLE: token.token_id,
            Qt.ItemDataRole.ToolTipRole: tip(words),
            Qt.ItemDataRole.AccessibleTextRole: words,
        }
        return values.get(role)


class _BarDelegate(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        view = option.widget
        width = view.viewport().width() // COLUMNS if isinstance(view, QListView) else 120
        return QSize(max(width - 1, 60), QFontMetrics(option.font).height() + 5)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        theme = current_theme()
        share = float(index.data(SHARE_ROLE))
        row = QRectF(option.rect).adjusted(0, 0, -8, 0)
        painter.save()
        lit = bool(option.state & (QStyle.StateFlag.State_MouseOver | QStyle.StateFlag.State_HasFocus))
        if lit:
            painter.fillRect(row, QColor(theme.hover))
        bar = QRectF(row.left(), row.top() + 1, max(2.0, row.width() * share), row.height() - 2)
        painter.fillRect(bar, QColor(theme.selection))
        painter.fillRect(QRectF(bar.left(), bar.top(), 2, bar.height()), QColor(theme.accent))
        painter.setPen(QColor(theme.text))
        inner = row.adjusted(7, 0, -4, 0)
        number = percent(share)
        room = inner.width() - option.fontMetrics.horizontalAdvance(number) - 8
        text = option.fontMetrics.elidedText(str(index.data()), Qt.TextElideMode.ElideRight, int(room))
        painter.drawText(inner, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)
        painter.setPen(QColor(theme.text if lit else theme.muted))
        painter.drawText(inner, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, number)
        painter.restore()


class TokenBars(QListView):
    """The bars; a click or Enter asks to trace that token."""

    chosen = Signal(int)  # token id

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("next-tokens")
        self.setAccessibleName("The likeliest next tokens; Enter traces one")
        self.bars = TokenBarsModel(self)
        self.setModel(self.bars)
        self.setItemDelegate(_BarDelegate(self))
        self.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QListView.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFlow(QListView.Flow.TopToBottom)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setStyleSheet("QListView { border: none; background: transparent; }")
        self.clicked.connect(self._clicked)

    @Slot(QModelIndex)
    def _clicked(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(int(index.data(TOKEN_ROLE)))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter and Space choose the bar that has the focus."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self.currentIndex().isValid():
            self._clicked(self.currentIndex())
            return
        super().keyPressEvent(event)
