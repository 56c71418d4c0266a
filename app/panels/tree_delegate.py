"""How one entry of the project's tree is painted: an icon, its title, and below it in the quiet colour what it is."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from app.theme import current_theme, icon

Index = QModelIndex | QPersistentModelIndex
ENTRY_ROLE = Qt.ItemDataRole.UserRole  # the TreeEntry
BELOW_ROLE = Qt.ItemDataRole.UserRole + 1  # the second line
OPEN_ROLE = Qt.ItemDataRole.UserRole + 2  # whether it is the open trace
ICON_ROLE = Qt.ItemDataRole.UserRole + 3  # the name of its icon
EDGE = 4
PICTURE = 16


class TreeDelegate(QStyledItemDelegate):
    """One line for a folder or a note, two for what has more to say."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        height = QFontMetrics(option.font).lineSpacing()
        return QSize(120, (2 * height + 8) if index.data(BELOW_ROLE) else height + 8)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        theme = current_theme()
        is_open = bool(index.data(OPEN_ROLE))
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        painter.save()
        if is_open or chosen:
            painter.fillRect(option.rect, QColor(theme.selection))
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(option.rect, QColor(theme.hover))
        if is_open:
            painter.fillRect(
                QRect(option.rect.left(), option.rect.top(), 3, option.rect.height()), QColor(theme.accent)
            )
        font = QFont(option.font)
        if is_open:
            font.setWeight(QFont.Weight.DemiBold)
        metrics = QFontMetrics(font)
        box = option.rect.adjusted(EDGE + PICTURE + 6, 4, -6, -4)
        picture = QRect(option.rect.left() + EDGE + 2, box.top(), PICTURE, metrics.height())
        colour = theme.accent if is_open else theme.muted
        icon(str(index.data(ICON_ROLE)), colour).paint(painter, picture)
        painter.setFont(font)
        painter.setPen(QColor(theme.text))
        # The end of a prompt tells traces apart, the beginning of a title everything else.
        side = Qt.TextElideMode.ElideLeft if index.data(ICON_ROLE) == "trace" else Qt.TextElideMode.ElideRight
        top = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop
        painter.drawText(box, top, metrics.elidedText(str(index.data()), side, box.width()))
        painter.setFont(option.font)
        painter.setPen(QColor(theme.muted))
        below = option.fontMetrics.elidedText(
            str(index.data(BELOW_ROLE) or ""), Qt.TextElideMode.ElideRight, box.width()
        )
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom, below)
        painter.restore()
