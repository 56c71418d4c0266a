"""Files dragged onto the window: which of them it takes."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData
from PySide6.QtWidgets import QPlainTextEdit

GRAPH_ENDINGS = (".json", ".pt", ".graphml", ".csv", ".zip", ".npz")
PROJECT_ENDING = ".loupe"


def dropped_files(data: QMimeData) -> list[Path]:
    """The projects and graph files among what is dragged."""
    paths = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
    return [path for path in paths if path.suffix.lower() in (*GRAPH_ENDINGS, PROJECT_ENDING)]


class TextBox(QPlainTextEdit):
    """Plain text that leaves dropped files to the window instead of writing their names down."""

    def canInsertFromMimeData(self, source: QMimeData) -> bool:
        """Text only."""
        return not dropped_files(source) and super().canInsertFromMimeData(source)
