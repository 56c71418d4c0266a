"""The title of a panel: its name in the window's text size, and buttons that the keyboard reaches."""

from __future__ import annotations

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QDockWidget, QHBoxLayout, QToolButton, QWidget

from app.panels.plain import ElidedLabel
from app.theme import icon, theme_watcher


class DockTitle(QWidget):
    """Takes the place of Qt's own title, whose text stays small and whose buttons only a mouse can press."""

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        self.name = ElidedLabel(dock.windowTitle())
        self.float_button, self.close_button = QToolButton(), QToolButton()
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 3, 4, 3)
        row.setSpacing(2)
        row.addWidget(self.name, 1)
        for button, what in ((self.float_button, "Float or dock"), (self.close_button, "Close")):
            button.setAccessibleName(f"{what} the panel {dock.windowTitle()}")
            button.setToolTip(f"{what} this panel")
            button.setAutoRaise(True)
            row.addWidget(button)
        self.float_button.clicked.connect(self._float)
        self.close_button.clicked.connect(dock.close)
        theme_watcher().changed.connect(self._restyle)
        self._restyle()

    @Slot()
    def _float(self) -> None:
        self._dock.setFloating(not self._dock.isFloating())

    @Slot()
    def _restyle(self) -> None:
        self.float_button.setIcon(icon("float"))
        self.close_button.setIcon(icon("close"))
