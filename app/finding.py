"""What is looked for in the open graph: one search that the find bar, the canvas, the table and the lists share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal, Slot

from engine.errors import RequestError
from engine.graphs.search import Mask, Names, NodeSearch

if TYPE_CHECKING:
    from app.session import Session
    from engine.projects import Annotations, Group


class Finding(QObject):
    """The query of the find bar and what it finds; follows the graph and what a person adds to it."""

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._search: NodeSearch | None = None
        self.query = ""
        self.problem = ""  # one sentence about a query that is not understood; what was found before it stays
        self.found: Mask | None = None  # (N,); None while nothing is looked for
        session.traceChanged.connect(self._graph_changed)
        session.densityChanged.connect(self._graph_changed)
        session.annotationsChanged.connect(self._names_changed)

    @property
    def search(self) -> NodeSearch | None:
        """The search over the open graph, None without one. Raises nothing; its `find` refuses bad queries."""
        graph = self._session.graph
        if graph is None:
            return None
        if self._search is None or self._search.graph is not graph:
            self._search = NodeSearch(graph, names_of(self._session.annotations), self._session.density)
        return self._search

    def look_for(self, query: str) -> None:
        """Look for something else; an empty query looks for nothing."""
        self.query = query.strip()
        self._find()

    def nodes(self) -> NDArray[np.int64]:
        """The nodes found, the most influential first."""
        graph = self._session.graph
        if graph is None or self.found is None:
            return np.empty(0, dtype=np.int64)
        found = np.flatnonzero(self.found)
        return found[np.argsort(-np.nan_to_num(graph.influence[found]), kind="stable")]

    def hidden(self) -> int:
        """How many of the nodes found the sliders hide."""
        view = self._session.view
        return 0 if self.found is None or view is None else int((self.found & ~view.nodes).sum())

    def place(self) -> int:
        """Which of the nodes found is selected, from 0; -1 where none is."""
        at = np.flatnonzero(self.nodes() == self._session.selected)
        return int(at[0]) if len(at) else -1

    def step(self, by: int) -> None:
        """Select the next (1) or the previous (-1) node found, around the end."""
        nodes, at = self.nodes(), self.place()
        if len(nodes):
            first = 0 if by > 0 else len(nodes) - 1
            self._session.select(int(nodes[first if at < 0 else (at + by) % len(nodes)]))

    @Slot()
    def _graph_changed(self) -> None:
        self._search = None
        self._find()

    @Slot()
    def _names_changed(self) -> None:
        if self._search is not None:
            self._search = self._search.with_names(names_of(self._session.annotations))
        if self.query:
            self._find()

    def _find(self) -> None:
        search, found = self.search, self.found
        self.problem = ""
        if search is None or not self.query:
            found = None
        else:
            try:
                found = search.find(self.query)
            except RequestError as error:
                self.problem = error.sentence
                if found is not None and len(found) != search.graph.n_nodes:
                    found = None
        self.found = found
        self.changed.emit()


def names_of(annotations: Annotations) -> Names:
    """What a person added, as the search takes it: of nested supernodes the innermost comes last."""
    groups = {group.id: group for group in annotations.groups}

    def chain(group: Group) -> tuple[str, ...]:
        outer = groups.get(group.parent) if group.parent is not None else None
        return (*(chain(outer) if outer is not None else ()), group.name)

    supernodes = {node: chain(group) for group in annotations.groups for node in group.nodes}
    return Names(labels=annotations.labels, pins=annotations.pins, supernodes=supernodes)
