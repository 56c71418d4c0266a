"""What features mean: the pages of an index or of a folder, made and opened beside the window, read within a frame."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal, Slot

from app.engine_calls import bind
from app.evidence_calls import make_index, open_pages, own_text
from app.jobs import Failure, JobHost, Outcome, Value
from app.own_model import OwnModel
from app.recent import Memory
from app.runs import Runs
from engine.errors import LoupeError
from engine.evidence.pages import Example, FeaturePage, Label, Side
from engine.graphs import NodeKind
from engine.projects import dictionary_identity

if TYPE_CHECKING:
    from engine.evidence.feature_index import FeatureIndex
    from engine.evidence.published_pages import PublishedPages
    from engine.graphs import AttributionGraph


class EvidenceDesk(QObject):
    """Holds the pages of the open trace's dictionary."""

    changed = Signal()  # pages were opened, or closed
    said = Signal(str)  # a short word for the status bar
    tried = Signal(int, object)  # node, Example: what it does on a text that was typed

    def __init__(self, runs: Runs, beside: JobHost, memory: Memory, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.runs, self.session, self.own = runs, runs.session, OwnModel(runs)
        self._beside, self._memory = beside, memory
        self.pages: FeatureIndex | PublishedPages | None = None
        self.why_none = ""  # of an index that nearly fits
        self._identity: str | None = None
        self._model: str | None = None
        self.opening = False
        self._last: tuple[int, int, FeaturePage] | None = None
        self.session.traceChanged.connect(self._follow)

    @property
    def index(self) -> FeatureIndex | None:
        """The index, where it is one and not a folder of published pages."""
        from engine.evidence.feature_index import FeatureIndex

        return self.pages if isinstance(self.pages, FeatureIndex) else None

    # ---- opening -----------------------------------------------------------------------------------------------

    @Slot()
    def _follow(self) -> None:
        """Another trace is open: the pages of its dictionary are wanted."""
        report = self.session.report if self.session.graph is not None else {}
        identity, model = dictionary_identity(report), report.get("model", {}).get("fingerprint")
        if (identity, model) != (self._identity, self._model):
            self._identity, self._model = identity, model
            self.reopen()
        elif self.index is not None:
            self.session.know_densities(self.densities)

    def reopen(self) -> None:
        """Look for the pages of the open trace's dictionary again."""
        self.close()
        self.opening = self._identity is not None
        if self.opening:
            name = str(self.session.report.get("features", {}).get("name", ""))
            job = bind(open_pages, self._identity, self._model, name, self._memory.text(self._key(), ""))
            wanted = (self._identity, self._model)
            self._beside.submit("pages", "Opening the feature index", job, partial(self._opened, wanted))
        self.changed.emit()

    def close(self) -> None:
        """Let go of the file."""
        self._beside.drop("pages")
        index, self._last, self.opening = self.index, None, False
        self.pages, self.why_none = None, ""
        self.session.know_densities(None)
        if index is not None:
            index.close()

    def _key(self) -> str:
        return f"pages/{(self._identity or '').replace('/', '-').replace(':', '-')}"

    def _opened(self, wanted: tuple[str | None, str | None], outcome: Outcome) -> None:
        self.opening = False
        if isinstance(outcome, Value) and wanted == (self._identity, self._model):
            self.pages, self.why_none = outcome.value
            self.session.know_densities(self.densities if self.index is not None else None)
        elif isinstance(outcome, Failure):
            self._memory.forget(self._key())
            self.session.report_problem("inspector", outcome.sentence, "help.show_log" if outcome.ours else "")
        self.changed.emit()

    def use_folder(self, folder: str) -> None:
        """Show published pages of a folder for the open trace's dictionary from now on."""
        self._memory.set_text(self._key(), folder)
        self.reopen()

    # ---- reading -----------------------------------------------------------------------------------------------

    def page(self, node: int) -> FeaturePage | None:
        """The page of a feature node; None where there is none. A page is read within milliseconds."""
        graph = self.session.graph
        if graph is None or self.pages is None or graph.kind[node] != NodeKind.FEATURE:
            return None
        layer, feature = int(graph.layer[node]), int(graph.feature[node])
        if self._last is None or self._last[:2] != (layer, feature):
            try:
                self._last = (layer, feature, self.pages.page(layer, feature))
            except LoupeError:
                return None  # Not in this index: the panel says so.
        return self._last[2]

    def side(self, node: int) -> Side | None:
        """The side of zero of a node's page that its activation lies on."""
        page, graph = self.page(node), self.session.graph
        return None if page is None or graph is None else page.side(float(graph.activation[node]))

    def label(self, node: int) -> Label | None:
        """The automatic label of a node."""
        side = self.side(node)
        return None if side is None else side.label

    def densities(self, graph: AttributionGraph) -> NDArray[np.float32]:
        """(N,) the share of the indexed tokens at which each feature node is active, nan where that is not known.

        The graph's dictionary is the one the pages are for.
        """
        index = self.index
        found = np.full(graph.n_nodes, np.nan, dtype=np.float32)
        if index is not None:
            nodes = graph.of_kind(NodeKind.FEATURE)
            found[nodes] = index.densities(graph.layer[nodes].tolist(), graph.feature[nodes].tolist())
        return found

    def automatic_labels(self) -> dict[int, str]:
        """The automatic labels of all feature nodes that have one, but at the first token, which no index counts."""
        graph = self.session.graph
        if graph is None or self.index is None:
            return {}
        nodes = [int(node) for node in graph.of_kind(NodeKind.FEATURE) if graph.position[node] > 0]
        found = {node: self.label(node) for node in nodes}
        return {node: label.text for node, label in found.items() if label is not None}

    # ---- asking the engine -------------------------------------------------------------------------------------

    def make(self, folder: str) -> None:
        """Index a folder of texts, or the text that ships (""), for the model and dictionary that are chosen now."""
        source = self.runs.wanted_features
        self.runs.with_model(partial(self._make, source, folder))

    def _make(self, source: str, folder: str) -> None:
        job = bind(make_index, self.runs.state, source, folder)
        self.runs.host.submit("index", "Indexing the text", job, self._made)

    def _made(self, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self.said.emit("The text is indexed; a feature of a trace with this dictionary shows its examples")
            self.reopen()
        elif isinstance(outcome, Failure):
            self.session.report_problem("inspector", outcome.sentence, "help.show_log" if outcome.ours else "")

    def can_try(self) -> bool:
        """True when the model in memory is the one that made the open graph."""
        return self.own.is_loaded()

    def try_text(self, node: int, text: str) -> None:
        """See what a node's feature does on a text."""
        graph = self.session.graph
        if graph is None or not self.can_try():
            return
        source = self.session.features_source or self.runs.wanted_features
        job = bind(own_text, self.runs.state, source, int(graph.layer[node]), int(graph.feature[node]), text)
        self.runs.host.submit("own-text", "Trying the text", job, partial(self._tried, node), quiet=True)

    def _tried(self, node: int, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            found: Example = outcome.value
            self.tried.emit(node, found)
        elif isinstance(outcome, Failure):
            self.session.report_problem("inspector", outcome.sentence, "help.show_log" if outcome.ours else "")
