"""The strongest paths between two nodes, and what lies on them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QTreeWidgetItem, QVBoxLayout, QWidget

from app.circuit.choice import CircuitChoice
from app.circuit.desk import CircuitDesk
from app.circuit.short_list import ShortList, row_of
from app.circuit.words import name_of
from app.circuit.work import Paths
from app.panels.plain import Hint, MutedLabel, PlainLabel, tip
from app.reading import plain_percent, signed_percent

PATH_ROLE = Qt.ItemDataRole.UserRole
PLACE_ROLE = Qt.ItemDataRole.UserRole + 1
HINT = (
    "Choose two nodes (Ctrl+click in the diagram, or select one after the other anywhere) and press Ctrl+P: "
    "the strongest ways from one to the other, and what they run through."
)
NO_PATH = "No path leads from the one to the other: nothing of this graph passes between them."


class PathsView(QWidget):
    """A list that follows the desk; a path that is chosen lights up on the canvas."""

    def __init__(self, desk: CircuitDesk, choice: CircuitChoice, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk, self.choice, self.session = desk, choice, desk.session
        self.ends = PlainLabel(wrap=True)
        self.summary = MutedLabel(wrap=True)
        self.list = ShortList("Paths, and what lies on them", ("Path or node between", "Share"))
        self.list.setObjectName("paths")
        self.hint = Hint(HINT)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.setSpacing(3)
        for widget in (self.ends, self.summary):
            column.addWidget(widget)
        column.addWidget(self.list, 1)
        column.addWidget(self.hint, 1)
        self._filling = False
        self.list.currentItemChanged.connect(self._chosen)
        self.list.itemClicked.connect(self._clicked)
        desk.pathsChanged.connect(self._show)
        self.session.annotationsChanged.connect(self._show)
        self._show()

    @Slot()
    def _show(self) -> None:
        paths, graph = self.desk.paths, self.session.graph
        self._filling = True
        self.list.clear()
        there = paths is not None and graph is not None
        for widget in (self.ends, self.summary, self.list):
            widget.setVisible(there)
        self.hint.setVisible(not there)
        if paths is not None and graph is not None:
            names = [self._name(node) for node in (paths.connection.source, paths.connection.target)]
            self.ends.setText(" → ".join(names))
            self.summary.setText(self._sentence(paths))
            self.list.setVisible(paths.connection.total > 0)
            self._fill(paths)
        self._filling = False

    def _sentence(self, paths: Paths) -> str:
        """What all paths come to; of neurons also why that is little."""
        found = paths.connection
        if found.total <= 0:
            return NO_PATH
        listed = sum(abs(path.share) for path in paths.strongest) / found.total
        words = (
            f"All paths {plain_percent(found.total)} in size, {signed_percent(found.net)} net; "
            f"listed: {plain_percent(min(listed, 1.0))} of it."
        )
        if self.session.graph is not None and self.session.graph.measure == "relevance":
            words += " Paths of neurons carry little, for their edges cancel."
        return words

    def _fill(self, paths: Paths) -> None:
        top = self.list.add_section("Strongest paths")
        for path in paths.strongest:
            between = [self._name(node) for node in path.nodes[1:-1]]
            words = " › ".join(between) if between else "direct"
            item = row_of(top, words, signed_percent(path.share))
            item.setData(0, PATH_ROLE, path.nodes)
            item.setToolTip(0, tip(self._steps(path.nodes)))
        middle = self.list.add_section("What lies between")
        names = {one.id: (one.name, one.place) for one in self.session.circuit.supernodes}
        rows = [(share, *names[number]) for number, share in paths.supernodes if number in names]
        shares = [(f"▣ {name}", place, share) for share, name, place in rows]
        shares += [(self._name(one.node), one.node, one.share) for one in paths.mediators]  # type: ignore[misc]
        for name, place, share in sorted(shares, key=lambda row: -row[2]):
            item = row_of(middle, name, plain_percent(share))
            item.setData(0, PLACE_ROLE, place)
            item.setToolTip(0, tip(f"{plain_percent(share)} of what connects the two passes through {name}"))
        self.list.expandAll()

    def _name(self, node: int) -> str:
        assert self.session.graph is not None
        return name_of(self.session.graph, self.session.annotations.labels, node)

    def _steps(self, nodes: tuple[int, ...]) -> str:
        """Every step of a path with the share of its edge, a line each."""
        graph = self.session.graph
        assert graph is not None
        lines = [self._name(nodes[0])]
        for source, target in pairwise(nodes):
            edges = graph.inputs(target)
            share = float(np.sum(graph.share[edges[graph.source[edges] == source]]))
            lines.append(f"→ {self._name(target)}  {signed_percent(share)}")
        return "\n".join(lines)

    # ---- from the person ---------------------------------------------------------------------------------------

    @Slot(QTreeWidgetItem, QTreeWidgetItem)
    def _chosen(self, item: QTreeWidgetItem | None, _before: QTreeWidgetItem | None) -> None:
        if not self._filling and item is not None:
            self._follow(item)

    @Slot(QTreeWidgetItem, int)
    def _clicked(self, item: QTreeWidgetItem, _column: int) -> None:
        """Also the row that is current already: its light may have been put out since."""
        self._follow(item)

    def _follow(self, item: QTreeWidgetItem) -> None:
        path, place = item.data(0, PATH_ROLE), item.data(0, PLACE_ROLE)
        if path is not None:
            self.session.light(tuple(path))
        elif place is not None:
            self.session.light(())
            self.choice.choose((place,))
