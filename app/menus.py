"""The menu bar, made from the registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDockWidget, QMenu

from app.commands import MENUS
from app.unsaved import is_unsaved

if TYPE_CHECKING:
    from app.window import MainWindow

# Menus inside menus, by how the ids of their commands begin.
INSIDE = {
    "edit.colour.": "Colour of the group",
    "view.compare.": "&Compared graphs",
    "file.export_": "&Export",
    "go.walk.": "&Walk in the graph",
}


class Menus(QObject):
    """Fills the menu bar, and the list of recent projects each time it is opened."""

    def __init__(self, window: MainWindow, docks: Sequence[QDockWidget]) -> None:
        super().__init__(window)
        self.window = window
        self.recent = QMenu("Open &recent", window)
        self._menus: list[QMenu] = []
        for title in MENUS:
            menu = QMenu(title, window.menuBar())
            window.menuBar().addMenu(menu)
            self._menus.append(menu)
            self._fill(menu, title)
            if title == "&View":
                panels = menu.addMenu("&Panels")
                for dock in docks:
                    panels.addAction(dock.toggleViewAction())
            menu.aboutToShow.connect(window.registry.refresh_now)
        self.recent.aboutToShow.connect(self.fill_recent)
        self.recent.triggered.connect(self._chosen)

    def _fill(self, menu: QMenu, title: str) -> None:
        section: int | None = None
        inner: dict[str, QMenu] = {}
        for action in self.window.registry.of_menu(title):
            if section is not None and action.command.section != section:
                menu.addSeparator()
            section = action.command.section
            inside = next((name for start, name in INSIDE.items() if action.command.id.startswith(start)), "")
            if inside and inside not in inner:
                inner[inside] = menu.addMenu(inside)
            (inner[inside] if inside else menu).addAction(action)
            if action.command.id == "file.open":
                menu.addMenu(self.recent)

    @Slot()
    def fill_recent(self) -> None:
        """List the recent projects that are still there."""
        self.recent.clear()
        for path in self.window.memory.recent_projects():
            name = path.stem + (" (not saved under a name yet)" if is_unsaved(path) else "")
            action = self.recent.addAction(name.replace("&", "&&"))
            action.setData(str(path))
        if self.recent.isEmpty():
            self.recent.addAction("Projects you open or save appear here").setEnabled(False)

    @Slot(QAction)
    def _chosen(self, action: QAction) -> None:
        if action.data():
            self.window.files.open_path(Path(str(action.data())))
