"""What an imported file held, and what in it had to be repaired: a plain list to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QListWidget, QVBoxLayout, QWidget

from app.panels.plain import Heading

if TYPE_CHECKING:
    from engine.graphs.formats import GraphFile


def import_sentences(file: GraphFile) -> list[str]:
    """What was read, then what was repaired, then what could not be checked."""
    graph = file.graph
    added = (len(file.pins), "pin"), (len(file.groups), "group"), (len(file.labels), "label")
    came = ", ".join(f"{count:,} {what}" if count == 1 else f"{count:,} {what}s" for count, what in added)
    sentences = [
        f"Read as {file.form}: {graph.n_nodes:,} nodes, {graph.n_edges:,} edges.",
        f"With it came {came}.",
    ]
    sentences += [f"Repaired: {sentence}" for sentence in file.repairs]
    if graph.meta.get("conservation_error") is None:
        sentences.append("Conservation was not checked; the file does not have what that needs.")
    return sentences


class ImportSheet(QDialog):
    """Stays beside the window until it is closed; sentences that hold text of the file are never markup."""

    def __init__(self, name: str, sentences: Sequence[str], parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("import-sheet")
        self.setWindowTitle("Imported")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(560, 280)
        self.list = QListWidget()
        self.list.setAccessibleName(f"What was imported from {name}")
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
