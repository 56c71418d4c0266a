"""What is open now: project, trace, graph, view, annotations, selection. The one object every panel listens to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal, Slot

from app.file_watch import SAVE_ELSEWHERE, FileWatch
from app.finding import Finding
from app.group_colours import with_colours
from app.growing import same_node
from app.prompt_state import Draft, PromptState
from app.unsaved import is_unsaved, new_unsaved_path
from app.visited import Visited
from engine.errors import LoupeError, MachineError, RequestError
from engine.graphs import AttributionGraph, Circuit, GraphView, prune
from engine.projects import Annotations, Asked, DamagedProjectError, FileLostError, Project, circuit_of

if TYPE_CHECKING:
    from engine.tracing import Trace

DRAFT_KEY = "prompt"
NO_ANNOTATIONS = Annotations((), {}, (), "", {})


# (N,) activation densities of a graph's nodes, nan where they are not known.
Densities = Callable[[AttributionGraph], NDArray[np.float32]]


@dataclass(frozen=True)
class ViewSettings:
    """The sliders of one trace."""

    node_threshold: float = 0.8
    edge_threshold: float = 0.98
    hide_errors: bool = False
    hide_bos: bool = False
    density: float = 1.0  # the largest activation density of the features that are shown

    def as_json(self) -> dict[str, Any]:
        """The form a project keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Any) -> ViewSettings:
        """What a project kept; values out of range fall back to the defaults."""
        known = stored if isinstance(stored, dict) else {}

        def share(key: str, default: float) -> float:
            value = known.get(key)
            return float(value) if isinstance(value, int | float) and 0.0 < value <= 1.0 else default

        return cls(
            node_threshold=share("node_threshold", cls.node_threshold),
            edge_threshold=share("edge_threshold", cls.edge_threshold),
            hide_errors=known.get("hide_errors") is True,
            hide_bos=known.get("hide_bos") is True,
            density=share("density", cls.density),
        )


@dataclass(frozen=True)
class Problem:
    """One sentence for the panel it concerns, with a command that helps."""

    place: str  # "prompt", "graph", "investigation", "inspector", "start", or "project": above all of them
    sentence: str  # "": what was said there is no longer so
    command: str = ""
    words: str = ""  # on the button, where the command's own title does not say it


class Session(QObject):
    """The open investigation. Panels read it, listen to its signals, and change it through commands only."""

    projectChanged = Signal()
    tracesChanged = Signal()
    leaving = Signal()  # another trace is about to be shown: what is still being typed belongs to this one
    traceChanged = Signal()
    viewChanged = Signal()
    densityChanged = Signal()
    annotationsChanged = Signal()
    selectionChanged = Signal(int)
    hoverChanged = Signal(int)
    historyChanged = Signal()
    litChanged = Signal()
    visitedChanged = Signal()
    problem = Signal(object)  # Problem

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.prompt = PromptState(self)
        self.damaged: Path | None = None  # the project that was found damaged last
        self.file = FileWatch(self)
        self.project: Project | None = None
        self.trace_id: int | None = None
        self.graph: AttributionGraph | None = None
        self.report: dict[str, Any] = {}
        self.settings = ViewSettings()
        self.view: GraphView | None = None
        self.annotations = NO_ANNOTATIONS
        # (N,) the share of an indexed text's tokens at which each feature is active, nan where that is not known; None
        # where the open graph's dictionary has no index.
        self.density: NDArray[np.float32] | None = None
        self._densities: Densities | None = None
        self.selected = -1
        self.hovered = -1
        self.visited = Visited()
        # What is shown alone on the canvas: the nodes of a path, or those a suggestion means.
        self.lit: tuple[int, ...] = ()
        # True while the graph is that of a trace that still runs: it is no part of the project yet.
        self.growing = False
        # True where the graph is the one before with more rows: what was selected and where one looked stays.
        self.continued = False
        self._left: int | None = None  # the trace that was open before the one that grows
        # Where the open trace's dictionary was loaded from.
        self.features_source = ""
        self.finding = Finding(self)

    # ---- the project -------------------------------------------------------------------------------------------

    @property
    def unsaved(self) -> bool:
        """True while the project has no name of its own."""
        return self.project is not None and is_unsaved(self.project.path)

    @property
    def read_only(self) -> bool:
        """True when nothing can be written: no edit is offered then."""
        return self.project is not None and self.project.read_only

    @property
    def circuit(self) -> Circuit:
        """What a person pinned and grouped in the open graph."""
        return circuit_of(self.annotations)

    @property
    def can_edit(self) -> bool:
        """True when there is a graph to annotate and a project that takes it."""
        return self.trace_id is not None and self.project is not None and not self.project.read_only

    def trace_numbers(self) -> list[int]:
        """The traces of the project, oldest first; none where it cannot be read, which is said."""
        try:
            return [] if self.project is None else [row.id for row in self.project.traces()]
        except LoupeError as error:
            self.report_error("project", error)
            return []

    def ensure_project(self) -> Project:
        """The open project, or a new one in the folder of unsaved ones: a trace is never without a home."""
        if self.project is None:
            # What is on screen stays: it may be the growing graph that this project is for.
            self.project = Project.create(new_unsaved_path())
            self._tell_project()
        return self.project

    def set_project(self, project: Project | None) -> None:
        """Close what is open and show another project, or none, as it was left."""
        if self.project is not None:
            self.leaving.emit()
        self.close_trace()
        if self.project is not None:
            self.project.close()
        self.project = project
        self._tell_project()
        if project is not None:
            stored = project.setting(DRAFT_KEY)
            left = stored if isinstance(stored, dict) else {}
            numbers = [row.id for row in project.traces()]
            if numbers:
                self.open_trace(left["trace"] if left.get("trace") in numbers else numbers[-1])
            draft = left.get("draft")
            if isinstance(draft, dict) and draft.get("text"):
                self.prompt.restore(left)

    def _tell_project(self) -> None:
        """Another project is open."""
        self.file.begin()
        self.projectChanged.emit()
        self.tracesChanged.emit()
        self.historyChanged.emit()

    def open_project(self, path: Path, *, read_only: bool = False) -> None:
        """Open a .loupe file; raises the engine's errors and leaves what was open as it was."""
        self.set_project(Project.open(path, read_only=read_only))

    def close(self) -> None:
        """Let go of the project; nothing is unsaved."""
        self.keep_prompt()
        self.set_project(None)

    def keep_prompt(self) -> None:
        """Write what is in the prompt bar into the project, for the next time it is opened."""
        if self.project is None or self.project.read_only:
            return
        try:
            self.project.set_setting(
                DRAFT_KEY, {**self.prompt.snapshot(), "trace": self._left if self.growing else self.trace_id}
            )
        except LoupeError as error:
            self.report_error("investigation", error)

    def heartbeat(self) -> None:
        """Tell other programs that this one still has the project, and say at once what has become of its file."""
        self.file.beat()

    # ---- the trace ---------------------------------------------------------------------------------------------

    def add_trace(self, trace: Trace, title: str, features: str, prompt: dict[str, Any] | None = None) -> int:
        """Keep a new trace in the project and open it.

        `features` is where its dictionary was loaded from; `prompt` is its prompt where that is not the prompt bar's.
        """
        self.leaving.emit()
        number = self.keep_trace(trace, title, features, prompt or self.prompt.snapshot())
        grown = self.growing
        if grown and self.project is not None:
            self.project.set_view(number, self.settings.as_json())
        self.open_trace(number, continued=grown)
        return number

    def keep_trace(self, trace: Trace, title: str, features: str, prompt: dict[str, Any]) -> int:
        """Keep a new trace in the project; what is open stays open."""
        project = self.ensure_project()
        number = project.add_trace(trace.report, trace.graph, title=title, asked=Asked(trace.spec, features))
        project.set_setting(f"{DRAFT_KEY}/{number}", {**prompt, "features": features})
        self.tracesChanged.emit()
        self.historyChanged.emit()
        return number

    def open_trace(self, number: int, *, continued: bool = False, graph: AttributionGraph | None = None) -> None:
        """Show a trace of the project. `continued`: it goes on from the one that is open, by more rows or by a token,
        so that selection and zoom stay; `graph`: its graph, where it was read already.
        """
        assert self.project is not None
        try:
            graph = self.project.load_graph(number) if graph is None else graph
            report = self.project.report(number)
            stored = self.project.view(number)
            annotations = with_colours(self.project.annotations(number))
            prompt = self.project.setting(f"{DRAFT_KEY}/{number}")
            source, draft = ("", None) if isinstance(prompt, dict) else self._asked_of(number)
        except LoupeError as error:
            self.report_error("graph", error)
            return
        self.trace_id, self.report, self.growing = number, report, False
        self._take(graph, continued)
        self.settings = ViewSettings.from_json(stored)
        self.annotations = annotations
        self._prune()
        if isinstance(prompt, dict):
            self.prompt.restore(prompt)
            source = str(prompt.get("features", ""))
        elif draft is not None:
            self.prompt.edit(**draft.as_json())
        self.features_source = source
        self._tell()

    def _asked_of(self, number: int) -> tuple[str, Draft | None]:
        """The dictionary and the prompt of a trace that no window made; ("", None) where they are not known."""
        assert self.project is not None
        try:
            asked = self.project.asked(number)
        except RequestError:
            return "", None
        prompt = asked.spec.prompt
        return asked.features, Draft(prompt.text, prompt.bos, prompt.chat, prompt.system or "")

    def show_growing(self, graph: AttributionGraph, features: str, *, first: bool) -> None:
        """Show the graph of a trace that still runs, `first` or with more rows; the project does not hold it."""
        if first:
            self.leaving.emit()
            self._left = self._left if self.growing else self.trace_id
            self.trace_id, self.settings, self.annotations = None, ViewSettings(), NO_ANNOTATIONS
            self.features_source = features
        self.growing = True
        self._take(graph, not first)
        self.report = graph.meta
        self._prune()
        self._tell()

    def stop_growing(self) -> None:
        """The trace came to nothing: what was open before it is open again."""
        if not self.growing:
            return
        before = self._left
        self.close_trace()
        if before is not None and before in self.trace_numbers():
            self.open_trace(before)

    def _take(self, graph: AttributionGraph, continued: bool) -> None:
        """Another graph; of the same trace (`continued`) what was selected and visited is found in it again."""
        old, self.graph, self.continued = self.graph, graph, continued
        self.lit, self.density = (), None
        if continued and old is not None:
            self.selected, self.hovered = (same_node(old, node, graph) for node in (self.selected, self.hovered))
            self.visited.renumber(partial(same_node, old, other=graph))
        else:
            self.selected = self.hovered = -1
            self.visited.clear()

    def _tell(self) -> None:
        """Another graph is open."""
        self.traceChanged.emit()
        self.annotationsChanged.emit()
        self.selectionChanged.emit(self.selected)
        self.visitedChanged.emit()
        self.litChanged.emit()

    def close_trace(self) -> None:
        """Show no trace."""
        if self.graph is None:
            return
        self.trace_id = self.graph = self.view = None
        self.growing = self.continued = False
        self.report = {}
        self.annotations, self.lit, self.density = NO_ANNOTATIONS, (), None
        self.selected = self.hovered = -1
        self.visited.clear()
        self._tell()

    def refresh(self, trace_id: int | None = None) -> None:
        """Read again what an edit, an undo or a redo may have changed; opens `trace_id` if that is another trace."""
        assert self.project is not None
        try:
            self._read_again(trace_id)
        except LoupeError as error:
            self.report_error("project", error)

    def _read_again(self, trace_id: int | None) -> None:
        assert self.project is not None
        self.tracesChanged.emit()
        self.historyChanged.emit()
        numbers = [row.id for row in self.project.traces()]
        if trace_id is not None and trace_id != self.trace_id and trace_id in numbers:
            self.open_trace(trace_id)
        elif self.trace_id is not None and self.trace_id not in numbers:
            self.close_trace()
            if numbers:
                self.open_trace(numbers[-1])
        elif self.trace_id is not None:
            self.annotations = with_colours(self.project.annotations(self.trace_id))
            self._prune()
            self.annotationsChanged.emit()
            self.viewChanged.emit()

    # ---- the view ----------------------------------------------------------------------------------------------

    def set_view(self, **changes: Any) -> None:
        """Move a slider; the project remembers it (no entry in the undo history)."""
        settings = replace(self.settings, **changes)
        if settings == self.settings or self.graph is None:
            return
        self.settings = settings
        self._prune()
        self.viewChanged.emit()

    def know_densities(self, densities: Densities | None) -> None:
        """Take what says how often features of the open graph's dictionary are active, or that nothing does."""
        self._densities = densities
        before, self.density = self.density, None if densities is None or self.graph is None else densities(self.graph)
        if before is None and self.density is None:
            return
        if self.graph is not None and self.settings.density < 1:
            self._prune()
            self.viewChanged.emit()
        self.densityChanged.emit()

    def too_dense(self, graph: AttributionGraph) -> NDArray[np.bool_] | None:
        """(N,) features of a graph of the same dictionary that are active more often than is shown; None: all are."""
        if self._densities is None or self.settings.density >= 1:
            return None
        known = self.density if graph is self.graph and self.density is not None else self._densities(graph)
        return np.asarray(known > self.settings.density)

    def keep_view(self) -> None:
        """Write the sliders into the project; called when they come to rest."""
        if self.project is None or self.trace_id is None or self.project.read_only:
            return
        try:
            self.project.set_view(self.trace_id, self.settings.as_json())
        except LoupeError as error:
            self.report_error("project", error)

    def _prune(self) -> None:
        assert self.graph is not None
        grouped = [node for group in self.annotations.groups for node in group.nodes]
        selected = [self.selected] if self.selected >= 0 else []
        self.view = prune(
            self.graph,
            self.settings.node_threshold,
            self.settings.edge_threshold,
            hide_errors=self.settings.hide_errors,
            hide_bos=self.settings.hide_bos,
            hide=self.too_dense(self.graph),
            keep=(*self.annotations.pins, *grouped, *selected, *self.lit),
        )

    # ---- the selection -----------------------------------------------------------------------------------------

    def select(self, node: int, *, remember: bool = True) -> None:
        """Select a node (-1: none). A node the sliders hide is brought into view."""
        if node == self.selected or self.graph is None or node >= self.graph.n_nodes:
            return
        self.selected = node
        if node not in self.lit:
            self.light(())
        if node >= 0 and self.view is not None and not self.view.nodes[node]:
            self._prune()
            self.viewChanged.emit()
        if node >= 0 and remember:
            self.visited.visit(node)
            self.visitedChanged.emit()
        self.selectionChanged.emit(node)

    def light(self, nodes: Sequence[int]) -> None:
        """Show some nodes alone on the canvas, with the edges from each to the next; none: show all again."""
        lit = tuple(nodes)
        if lit == self.lit or self.graph is None:
            return
        self.lit = lit
        if self.view is not None and not all(self.view.nodes[node] for node in lit):
            self._prune()
            self.viewChanged.emit()
        self.litChanged.emit()

    def hover(self, node: int) -> None:
        """The pointer is over a node (-1: none)."""
        if node != self.hovered:
            self.hovered = node
            self.hoverChanged.emit(node)

    def go_back(self) -> None:
        """Select the node visited before this one."""
        self._go(self.visited.back())

    def go_forward(self) -> None:
        """Select the node that was left by going back."""
        self._go(self.visited.forward())

    def _go(self, node: int | None) -> None:
        if node is not None:
            self.select(node, remember=False)
            self.visitedChanged.emit()

    # ---- words -------------------------------------------------------------------------------------------------

    def node_name(self, node: int) -> str:
        """The label a person gave, or the node's plain name."""
        assert self.graph is not None
        return self.annotations.labels.get(node) or self.graph.describe(node)

    def report_problem(self, place: str, sentence: str, command: str = "", words: str = "") -> None:
        """Show one sentence where it happened, with a button that runs a command."""
        self.problem.emit(Problem(place, sentence, command, words))

    @Slot(object)
    def report_refusal(self, error: LoupeError) -> None:
        """Show what nobody handled and is the file's or the drive's, not a fault of ours."""
        self.report_error("graph", error)

    def report_error(self, place: str, error: LoupeError) -> None:
        """Show what the engine refused where it was asked; above everything, what is wrong with the file itself."""
        if isinstance(error, DamagedProjectError):
            self.damaged = None if self.project is None else self.project.path
            self.report_problem("project", error.sentence, "file.rescue", "Save what is left of it")
        elif isinstance(error, MachineError | FileLostError):
            if isinstance(error, FileLostError) and self.read_only:
                self.projectChanged.emit()  # another program has it now
            self.report_problem("project", error.sentence, "file.save_as", SAVE_ELSEWHERE)
        else:
            self.report_problem(place, error.sentence)
