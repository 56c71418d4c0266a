"""What came of something, sentence by sentence: a plain list to read beside the window."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QListWidget, QVBoxLayout, QWidget

from app.panels.plain import Heading


class ListSheet(QDialog):
    """Stays beside the window until it is closed; sentences that hold text of a file are never markup.

    `title` says what happened ("Imported"), `name` to what.
    """

    def __init__(self, title: str, name: str, sentences: Sequence[str], parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("list-sheet")
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(560, 280)
        self.list = QListWidget()
        self.list.setAccessibleName(f"{title}: {name}")
        self.list.setWordWrap(True)
        self.list.setSpacing(3)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.addItems(list(sentences))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        column = QVBoxLayout(self)
        column.addWidget(Heading(name))
        column.addWidget(self.list, 1)
        column.addWidget(buttons)

    def open_beside(self) -> None:
        """Show it; the window goes on."""
        self.setModal(False)
        self.show()
