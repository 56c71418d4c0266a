"""Which two traces are compared, what is selected in both, and which class of nodes is shown."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject, Signal, Slot

from app.canvas import Mark
from app.comparison import NOTHING, Pairing, open_pair
from app.engine_calls import bind
from app.jobs import Failure, JobHost, Outcome, Value
from app.session import Session
from engine.projects import TraceRow


class ComparisonDesk(QObject):
    """The left trace is the open one: inspector, pins and sliders are its. The right one stands beside it."""

    changed = Signal()  # opened, read, or closed
    filterChanged = Signal()
    pairSelected = Signal(int, int)  # nodes of the left and of the right graph, -1 for none

    def __init__(self, session: Session, host: JobHost, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session, self.host = session, host
        self.pairing: Pairing | None = None
        self.only: Mark | None = None
        self.left_node = self.right_node = NOTHING
        self._wanted: tuple[int, int] | None = None
        self._n_traces = 0
        self._before: int | None = None  # the trace that was open when comparing began
        session.traceChanged.connect(self._trace_changed)
        session.tracesChanged.connect(self._traces_changed)
        session.selectionChanged.connect(self._selected)

    # ---- which two ---------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether two graphs are compared, or are being read for it."""
        return self._wanted is not None

    @property
    def right(self) -> int | None:
        """The trace at the right."""
        return None if self._wanted is None else self._wanted[1]

    def others(self) -> list[TraceRow]:
        """The traces that the open one can be compared with."""
        project, open_now = self.session.project, self.session.trace_id
        if project is None or open_now is None:
            return []
        return [row for row in project.traces() if row.id != open_now]

    def can_compare(self) -> bool:
        """A trace is open and the project has another one; asked often."""
        return self.session.trace_id is not None and self._n_traces > 1

    def compare(self, left: int, right: int) -> None:
        """Put two traces side by side; what was open before comes back with `close`."""
        project = self.session.project
        if project is None or left == right:
            return
        if self._wanted is None:
            self._before = self.session.trace_id
        self.pairing, self._wanted = None, (left, right)
        if self.session.trace_id != left:
            self.session.leaving.emit()
            self.session.open_trace(left)
            if self.session.trace_id != left:
                self._forget()
                return
        self.left_node, self.right_node = self.session.selected, NOTHING
        self.changed.emit()
        job = bind(open_pair, project, left, right)
        self.host.submit("compare", "Comparing two graphs", job, partial(self._read, left, right))

    def _read(self, left: int, right: int, outcome: Outcome) -> None:
        if self._wanted != (left, right):
            return
        if not isinstance(outcome, Value):
            self.close()
            if isinstance(outcome, Failure):
                self.session.report_problem("graph", outcome.sentence, "help.show_log" if outcome.ours else "")
            return
        self.pairing = outcome.value
        self.left_node = self.session.selected
        self.right_node = self._partner(self.left_node)
        self.changed.emit()

    def swap(self) -> None:
        """Exchange left and right; the selection goes with its graph."""
        if self._wanted is None or self.pairing is None:
            return
        left, right, node = *self._wanted, self.right_node
        self.compare(right, left)
        self.session.select(node)

    def close(self) -> None:
        """Back to one graph: the one that was open before, as it was. A node selected meanwhile stays selected."""
        if self._wanted is None:
            return
        right, node, before = self._wanted[1], self.right_node, self._before
        self._forget()
        if before is None or before == self.session.trace_id or self.session.project is None:
            return
        if before in [row.id for row in self.session.project.traces()]:
            self.session.leaving.emit()
            self.session.open_trace(before)
            if before == right:
                self.session.select(node)

    def _forget(self) -> None:
        self.host.drop("compare")
        self.pairing = self._wanted = self._before = self.only = None
        self.left_node = self.right_node = NOTHING
        self.changed.emit()

    @Slot()
    def _trace_changed(self) -> None:
        if self._wanted is not None and self.session.trace_id != self._wanted[0]:
            self._forget()

    @Slot()
    def _traces_changed(self) -> None:
        """The right trace may be gone."""
        numbers = self.session.trace_numbers()
        self._n_traces = len(numbers)
        if self._wanted is not None and self.right not in numbers:
            self._forget()

    # ---- what is shown -----------------------------------------------------------------------------------------

    def show_only(self, mark: Mark | None) -> None:
        """Show one class of nodes, or all with None."""
        if mark != self.only:
            self.only = mark
            self.filterChanged.emit()

    # ---- the selection -----------------------------------------------------------------------------------------

    def _partner(self, left: int) -> int:
        if self.pairing is None or left < 0:
            return NOTHING
        return int(self.pairing.partner_left[left])

    @Slot(int)
    def _selected(self, node: int) -> None:
        """A node of the left graph was selected, here or in another panel."""
        if self.pairing is not None and node != self.left_node:
            self._select(node, self._partner(node))

    @Slot(int)
    def select_left(self, node: int) -> None:
        """Select a node of the left graph and the same node of the right one."""
        self._select(node, self._partner(node))

    @Slot(int)
    def select_right(self, node: int) -> None:
        """Select a node of the right graph and the same node of the left one."""
        if self.pairing is not None:
            self._select(NOTHING if node < 0 else int(self.pairing.partner_right[node]), node)

    def select_row(self, row: int) -> None:
        """Select what a row of the table stands for."""
        if self.pairing is not None:
            self._select(int(self.pairing.left_node[row]), int(self.pairing.right_node[row]))

    def _select(self, left: int, right: int) -> None:
        if (left, right) == (self.left_node, self.right_node):
            return
        self.left_node, self.right_node = left, right
        self.session.select(left)
        self.pairSelected.emit(left, right)
