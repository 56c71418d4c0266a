"""The first ten minutes: what to do, in order, and whether the person really did it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from app.comparison_desk import ComparisonDesk
from app.experiments import ExperimentDesk
from app.recent import Memory
from app.session import Session
from engine.graphs import NodeKind
from engine.projects import Project

DONE_KEY = "guide/done"


@dataclass(frozen=True)
class Step:
    """One thing to do. `command` is what “Show me” runs, "" where pointing would do it for the person."""

    id: str
    part: str  # trace, read, group, test
    title: str
    words: str
    command: str = ""


STEPS = (
    Step(
        "trace",
        "Trace",
        "Trace a prompt",
        "Click the first sample in the middle, or type a prompt above and press Enter. The graph that appears is an "
        "attribution graph: the token that is explained on top, the words of the prompt below, and between them the "
        "parts of the model that carried the one to the other.",
        "go.prompt",
    ),
    Step(
        "feature",
        "Read",
        "Select a feature",
        "Click a circle in the graph. A circle is a feature or a neuron: something the model detected at that word, "
        "in that layer. The larger, the more of the answer goes through it.",
        "go.graph",
    ),
    Step(
        "follow",
        "Read",
        "Follow an edge",
        "Press Up or Down to go along the strongest edge of the selected node, or click a row of its inputs in "
        "Connections. Green edges push towards, purple ones against.",
        "go.inputs",
    ),
    Step(
        "pin",
        "Group",
        "Pin two nodes",
        "With a node selected press P, then the same with a second one. What is pinned is the beginning of your "
        "circuit: it stays in view, and its diagram is below the graph.",
        "go.graph",
    ),
    Step(
        "label",
        "Group",
        "Name what you found",
        "With a node selected press L and say in a word or two what it seems to do. Look at the logits it raises "
        "and the words it is active at, in the inspector.",
        "edit.label",
    ),
    Step(
        "group",
        "Group",
        "Put nodes together",
        "Hold G, click two or more nodes that do the same, and let go of G. A group (a supernode) is drawn as one "
        "box, with the edges of all its nodes.",
        "go.graph",
    ),
    Step(
        "experiment",
        "Test",
        "Take it out of the model",
        "With a node of your circuit selected press X, then Ctrl+R. The model runs again without it. If it matters as "
        "the graph says, what was measured is near what was predicted, and more than random changes of that size do.",
        "go.graph",
    ),
    Step(
        "second",
        "Test",
        "Trace a second prompt",
        "A story about one prompt is a guess. Change one word of the prompt, for example Texas to France, and trace "
        "again.",
        "go.prompt",
    ),
    Step(
        "compare",
        "Test",
        "Compare the two graphs",
        "Press Ctrl+D. Nodes in both graphs are the machinery both prompts use; those on one side only depend on "
        "the word you changed. If your circuit meant what you named it, it changes as its name says.",
        "trace.compare",
    ),
)
BY_ID = {step.id: step for step in STEPS}


def as_markdown() -> str:
    """docs/first-steps.md: the same steps to read."""
    lines = [
        "# The first ten minutes",
        "",
        "In the window: Help, First steps. Each step ticks when you did it. `make commands` writes this page.",
        "",
        "![The guide beside the graph](pictures/guide.png)",
    ]
    part = ""
    for number, step in enumerate(STEPS, 1):
        if step.part != part:
            part = step.part
            lines += ["", f"## {part}", ""]
        lines.append(f"{number}. **{step.title}.** {step.words}")
    more = "What the words mean: [glossary.md](glossary.md). Every key: [commands.md](commands.md)."
    return "\n".join([*lines, "", more, ""])


class Guide(QObject):
    """Watches what is done while it is on. A step ticks when its thing happened, in whatever order."""

    changed = Signal()

    def __init__(
        self,
        session: Session,
        experiments: ExperimentDesk,
        comparison: ComparisonDesk,
        memory: Memory,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.session, self.experiments, self.comparison, self.memory = session, experiments, comparison, memory
        self.on = False
        self.done = {one for one in memory.text(DONE_KEY, "").split(",") if one in BY_ID}
        self._before = -1  # the node selected last, to see whether an edge was followed
        # What was there when the guide began, or when the project or the trace was opened, does not count.
        self._there: set[int] = set()  # traces
        self._opened: tuple[Project | None, int | None] = (None, None)
        self._found = session.annotations
        self._ran: set[int] = set()  # experiments
        session.projectChanged.connect(self._look)
        session.traceChanged.connect(self._traced)
        session.selectionChanged.connect(self._selected)
        session.annotationsChanged.connect(self._annotated)
        experiments.listChanged.connect(self._experimented)
        comparison.changed.connect(self._compared)

    def begin(self) -> None:
        """Watch from now on."""
        if not self.on:
            self.on = True
            self._opened = (None, None)
            self._look()
            self.changed.emit()

    def stop(self) -> None:
        """Watch no longer; what was done stays ticked."""
        self.on = False

    def again(self) -> None:
        """Forget what was done."""
        self.done.clear()
        self._keep()
        self.on = False
        self.begin()

    @property
    def following(self) -> Step | None:
        """The first step that is not done, or None."""
        return next((step for step in STEPS if step.id not in self.done), None)

    def _tick(self, step: str) -> None:
        if self.on and step not in self.done:
            self.done.add(step)
            self._keep()

    def _keep(self) -> None:
        self.memory.set_text(DONE_KEY, ",".join(step.id for step in STEPS if step.id in self.done))
        self.changed.emit()

    # ---- what happened -------------------------------------------------------------------------------------------

    @Slot()
    def _look(self) -> None:
        """Remember what is there already in a project or a trace that was just opened."""
        session, (project, trace) = self.session, self._opened
        if session.project is not project or project is None:
            self._there = set(session.trace_numbers())
        if (session.project, session.trace_id) != (project, trace):
            self._opened, self._found = (session.project, session.trace_id), session.annotations
            self._ran = {row.id for row in self.experiments.rows()}

    @Slot()
    def _traced(self) -> None:
        self._look()
        self._before = -1
        project, session = self.session.project, self.session
        if project is None or session.trace_id is None or session.growing:
            return
        new = [number for number in self.session.trace_numbers() if number not in self._there]
        if new:
            self._tick("trace")
        if len(new) > 1:
            self._tick("second")

    @Slot(int)
    def _selected(self, node: int) -> None:
        graph, before = self.session.graph, self._before
        self._before = node
        if graph is None or node < 0:
            return
        if graph.kind[node] == NodeKind.FEATURE:
            self._tick("feature")
        if before >= 0 and before != node:
            ends = ((graph.source == before) & (graph.target == node)) | (
                (graph.source == node) & (graph.target == before)
            )
            if ends.any():
                self._tick("follow")

    @Slot()
    def _annotated(self) -> None:
        self._look()
        known, found = self.session.annotations, self._found
        if len(known.pins) >= 2 and set(known.pins) - set(found.pins):
            self._tick("pin")
        if known.labels.items() - found.labels.items():
            self._tick("label")
        there = {group.nodes for group in found.groups}
        if any(len(group.nodes) >= 2 and group.nodes not in there for group in known.groups):
            self._tick("group")

    @Slot()
    def _experimented(self) -> None:
        self._look()
        if {row.id for row in self.experiments.rows()} - self._ran:
            self._tick("experiment")

    @Slot()
    def _compared(self) -> None:
        if self.comparison.is_open:
            self._tick("compare")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(as_markdown(), encoding="utf-8")
