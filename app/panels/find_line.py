"""The line of the find bar, which completes the term being typed."""

from __future__ import annotations

from PySide6.QtCore import QStringListModel, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QCompleter, QLineEdit, QListView, QWidget

from app.find_query import completions, fitting, last_term
from app.finding import names_of
from app.session import Session


class FindLine(QLineEdit):
    """Enter goes to the next node found, Shift+Enter to the one before."""

    stepped = Signal(int)  # 1 or -1

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setObjectName("find-line")
        self.setAccessibleName("Find nodes")
        self.setPlaceholderText("label, token, layer:3..8, kind:error, sign:-, activation>2 …")
        self.setClearButtonEnabled(True)
        self.offered = QStringListModel(self)
        # Shown by hand: the line's own completer would complete the whole query, not its last term.
        self.completing = QCompleter(self.offered, self)
        self.completing.setWidget(self)
        self.completing.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
        self.popup = QListView()
        self.popup.setAccessibleName("Ways to go on")
        self.completing.setPopup(self.popup)
        self.completing.activated.connect(self._take)
        self.textEdited.connect(self._offer)

    @Slot(str)
    def _offer(self, _text: str) -> None:
        graph = self._session.graph
        typed = last_term(self.text()[: self.cursorPosition()])
        found: list[str] = []
        if graph is not None and self.cursorPosition() == len(self.text()):
            found = fitting(completions(graph.tokens, names_of(self._session.annotations)), typed)
        self.offered.setStringList(found)
        popup = self.popup
        if not found:
            popup.hide()
            return
        margins = 2 * popup.frameWidth() + 2 * popup.style().pixelMetric(popup.style().PixelMetric.PM_ScrollBarExtent)
        width = max(self.fontMetrics().horizontalAdvance(text) for text in found) + margins
        before = self.fontMetrics().horizontalAdvance(self.text()[: len(self.text()) - len(typed)])
        rect = self.rect()
        rect.setLeft(min(before, max(0, self.width() - width)))
        rect.setWidth(max(width, 160))
        self.completing.complete(rect)

    @Slot(str)
    def _take(self, chosen: str) -> None:
        text = self.text()
        written = text[: len(text) - len(last_term(text))] + chosen
        # A whole term is done; a key waits for what it says.
        self.setText(written if written.endswith((":", "=")) else f"{written} ")
        self.textEdited.emit(self.text())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter steps through what was found; the completion list takes it first while one of its rows is chosen."""
        popup = self.popup
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if popup.isVisible() and enter and popup.currentIndex().isValid():
            event.ignore()
            return
        if enter:
            popup.hide()
            back = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self.stepped.emit(-1 if back else 1)
            return
        super().keyPressEvent(event)
