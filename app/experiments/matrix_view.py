"""What each group does to each other one: measured, as colours and as figures."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from app.experiments.plots import Matrix
from app.experiments.tables import Figures
from app.panels.plain import tip
from app.reading import number, signed_percent
from engine.graphs.visible_text import visible_text

MATRIX_TIP = (
    "Row by row a group is ablated; each column is how far another group’s activity then moves, as a share of its "
    "recorded size: −100 % takes all of it away. Empty where it cannot be reached."
)


class MatrixView(QSplitter):
    """The plot and its table."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setChildrenCollapsible(False)
        self.plot = Matrix("What each group does to each other one", "answers", "ablated")
        self.plot.setToolTip(tip(MATRIX_TIP))
        self._side = QWidget()
        self._column = QVBoxLayout(self._side)
        self._column.setContentsMargins(0, 0, 0, 0)
        self.table = self._table(())
        self._column.addWidget(self.table)
        self.addWidget(self.plot)
        self.addWidget(self._side)
        self.setSizes([260, 340])

    def _table(self, names: tuple[str, ...]) -> Figures:
        table = Figures("Groups and what they do", ("Without", *names, "Target"), (MATRIX_TIP,), whole_names=True)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        return table

    def show_result(self, settings: dict[str, Any], result: dict[str, Any]) -> None:
        """Show what a project kept; columns are the groups, so that the table is another one each time."""
        names = tuple(visible_text(str(name)) for name in result["names"])
        effects = [[float("nan") if one is None else float(one) for one in row] for row in result["effects"]]
        target = [float(one) for one in result["target"]]
        rows = [
            (name, *("" if one != one else signed_percent(one) for one in row), number(moved))
            for name, row, moved in zip(names, effects, target, strict=True)
        ]
        self.plot.show_matrix(effects, names, names)
        old, self.table = self.table, self._table(names)
        self._column.replaceWidget(old, self.table)
        old.hide()
        old.deleteLater()
        self.table.fill(rows)
