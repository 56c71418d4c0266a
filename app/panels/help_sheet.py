"""The help sheet: every command with its keys, and what the hands can do in the graph."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QHeaderView, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from app.commands import MENUS, Registry

IN_THE_GRAPH = (
    ("Select a node", "Click"),
    ("Pin or unpin a node", "Ctrl+Click"),
    ("Group nodes", "Hold G and click, then let go"),
    ("Zoom", "Wheel"),
    ("Move the picture", "Drag"),
)
IN_THE_PROMPT = (
    ("Trace", "Enter"),
    ("New line", "Shift+Enter"),
    ("Explain a token", "Click it, or Enter on it"),
)


def help_rows(registry: Registry) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, [(what, keys)]) for the whole sheet; generated from the registry."""
    rows: list[tuple[str, list[tuple[str, str]]]] = [
        ("In the graph", list(IN_THE_GRAPH)),
        ("In the prompt", list(IN_THE_PROMPT)),
    ]
    for menu in MENUS:
        entries = []
        for action in registry.of_menu(menu):
            keys = ", ".join(key.toString(QKeySequence.SequenceFormat.NativeText) for key in action.shortcuts())
            keys = keys or action.command.shown_keys
            if keys:
                entries.append((action.command.name, keys))
        if entries:
            rows.append((menu.replace("&", ""), entries))
    return rows


class HelpSheet(QDialog):
    """A list to read; closes with Escape."""

    def __init__(self, registry: Registry, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("help-sheet")
        self.setWindowTitle("Keys and gestures")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(520, 640)
        tree = QTreeWidget()
        tree.setAccessibleName("Keys and gestures")
        tree.setHeaderLabels(["What", "How"])
        tree.setRootIsDecorated(False)
        tree.setFrameShape(QTreeWidget.Shape.NoFrame)
        for heading, entries in help_rows(registry):
            top = QTreeWidgetItem([heading, ""])
            font = top.font(0)
            font.setBold(True)
            top.setFont(0, font)
            tree.addTopLevelItem(top)
            for what, keys in entries:
                top.addChild(QTreeWidgetItem([what, keys]))
        tree.expandAll()
        tree.header().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        tree.header().setStretchLastSection(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        column = QVBoxLayout(self)
        column.addWidget(tree)
        column.addWidget(buttons)
