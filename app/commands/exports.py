"""What leaves the program as a file: pictures, reports, notebooks, and the graph for other programs.

Every export asks where, asks before it replaces anything, and is written by a thread of its own, which a running trace
does not hold up. What it writes is what was shown when it was asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.dialogs import Ask
from app.jobs import Cancelled, Failure, Outcome, Value
from app.panels.status import score_entries
from app.theme import current_theme
from engine.errors import MachineError
from engine.graphs.figures import circuit_figure, circuit_report, graph_figure
from engine.graphs.formats import part_paths, save_npz, write_csv, write_graphml, write_json, write_notebook
from engine.progress import Progress
from engine.projects import circuit_of, evidence_of

if TYPE_CHECKING:
    from app.window import MainWindow

DRAWINGS = "Drawing (*.svg);;Page (*.pdf);;Picture (*.png)"
# JSON holds what is shown, in the form that other programs read; the others hold the whole graph.
GRAPHS = (
    "What is shown, for other programs (*.json);;Whole graph as GraphML (*.graphml);;"
    "Whole graph as tables in one file (*.zip);;Whole graph as three tables (*.csv);;Whole graph as arrays (*.npz)"
)
Write = Callable[[Progress, threading.Event], Sequence[Path]]


class Exports:
    """The export entries of the File menu. What cannot be written is one sentence beside the graph."""

    def __init__(self, window: MainWindow) -> None:
        self.window, self.session = window, window.session
        self.host = window.beside

    # ---- what can be exported ----------------------------------------------------------------------------------

    def picture(self) -> None:
        """The shown graph, in the theme of the window."""
        session = self.session
        path = self._ask("Export picture", DRAWINGS)
        if path is None or session.graph is None or session.view is None:
            return
        seen = self.window.area.strip.readout.text()
        caption = " · ".join([seen, *(text for text, _, _ in score_entries(session.report))])
        circuit, title = circuit_of(session.annotations), self.window.files.trace_title()
        draw = partial(
            graph_figure, session.graph, session.view, circuit, title, caption, dark=current_theme().dark
        )  # fmt: skip
        self.write(path, partial(_draw, draw, path), "file.export_picture")

    def circuit(self) -> None:
        """The diagram of what is pinned and grouped."""
        session = self.session
        path = self._ask("Export circuit", DRAWINGS, " circuit")
        if path is None or session.graph is None:
            return
        draw = partial(
            circuit_figure, session.graph, circuit_of(session.annotations), title=self.window.files.trace_title(),
            places=dict(session.annotations.positions), dark=current_theme().dark,
        )  # fmt: skip
        self.write(path, partial(_draw, draw, path), "file.export_circuit")

    def report(self) -> None:
        """A page with the circuit, its scores and what is known of each node."""
        session = self.session
        path = self._ask("Export report", "Web page (*.html)", " report")
        if path is None or session.graph is None or session.project is None:
            return
        write = partial(
            circuit_report, session.graph, circuit_of(session.annotations), path,
            title=self.window.files.trace_title(), places=dict(session.annotations.positions), view=session.view,
            evidence=evidence_of(session.project, session.report, session.graph, session.annotations),
        )  # fmt: skip
        self.write(path, partial(_watched, write, path), "file.export_report")

    def notebook(self) -> None:
        """A notebook that repeats the trace."""
        session = self.session
        path = self._ask("Export notebook", "Notebook (*.ipynb)")
        if path is None or session.graph is None:
            return
        source = session.features_source or None
        write = partial(write_notebook, session.graph, path, circuit=circuit_of(session.annotations), features=source)
        self.write(path, partial(_one, write, path), "file.export_notebook")

    def graph(self) -> None:
        """The graph for other programs; JSON at the thresholds of the sliders."""
        path = self._ask("Export graph", GRAPHS)
        if path is not None:
            self.write_graph(path)

    def write_graph(self, path: Path) -> None:
        """Write the open graph in the form that the name's ending says."""
        session, annotations = self.session, self.session.annotations
        assert session.graph is not None
        groups = tuple((group.name, group.nodes) for group in annotations.groups)
        ending = path.suffix.lower()
        given: dict[str, Any] = {"pins": annotations.pins, "groups": groups, "labels": annotations.labels}
        if ending in (".csv", ".zip"):
            write: Write = partial(_watched, partial(write_csv, session.graph, path, **given), None)
        elif ending == ".graphml":
            write = partial(_watched, partial(write_graphml, session.graph, path, **given), path)
        elif ending == ".npz":
            write = partial(_one, partial(save_npz, session.graph, path, **given), path)
        else:
            shares: dict[str, Any] = {
                name: getattr(session.settings, name) for name in ("node_threshold", "edge_threshold")
            }
            title = self.window.files.trace_title()
            write = partial(_watched, partial(write_json, session.graph, path, slug=title, **shares, **given), path)
        self.write(path, write, "file.export_graph")

    # ---- asking and writing ------------------------------------------------------------------------------------

    def _ask(self, title: str, kinds: str, addition: str = "") -> Path | None:
        """Where to write; a name without one of the endings gets the first. None where a person thinks better of it."""
        endings = [part.partition(")")[0] for part in kinds.split("(*")[1:]]
        suggested = self.window.files.suggested(endings[0])
        path = Ask.save_file(self.window, title, suggested.with_stem(suggested.stem + addition), kinds)
        if path is None:
            return None
        path = path if path.suffix.lower() in endings else path.with_name(path.name + endings[0])
        parts = part_paths(path) if path.suffix.lower() == ".csv" else (path,)
        return path if Ask.may_replace(self.window, parts) else None

    def write(self, path: Path, write: Write, command: str) -> None:
        """Let the thread write, and say when it is done; `command` is the one that may be tried again."""
        self.window.say(f"Writing {path.name}…")
        job = partial(_run, path, write)
        self.host.submit(f"export {path}", f"Writing {path.name}", job, partial(self._written, command))

    def stop(self) -> None:
        """Stop what is being written; the file is as it was before."""
        self.host.cancel()

    def writing(self) -> bool:
        """Whether something is being written, or read beside the engine."""
        return self.host.busy

    def _written(self, command: str, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self.window.say(f"Wrote {', '.join(path.name for path in outcome.value)}")
        elif isinstance(outcome, Cancelled):
            self.window.say("Stopped: nothing was written")
        elif isinstance(outcome, Failure):
            self.window.say("")
            self.session.report_problem("graph", outcome.sentence, "help.show_log" if outcome.ours else command)


def _run(path: Path, write: Write, progress: Progress, cancel: threading.Event) -> Sequence[Path]:
    """On the exports' thread."""
    try:
        return write(progress, cancel)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MachineError(f"{path.name} could not be written ({reason}); choose another folder.") from error


def _one(write: Callable[[], object], path: Path, _progress: Progress, _cancel: threading.Event) -> Sequence[Path]:
    """What takes no time worth telling."""
    write()
    return (path,)


def _watched(
    write: Callable[..., Sequence[Path] | None], path: Path | None, progress: Progress, cancel: threading.Event
) -> Sequence[Path]:
    """What says where it is and can be stopped; `path` where it does not tell itself what it wrote."""
    written = write(progress=progress, cancel=cancel)
    return (path,) if path is not None else written or ()


def _draw(draw: Callable[[], str], path: Path, progress: Progress, cancel: threading.Event) -> Sequence[Path]:
    from app.canvas.picture import write_drawing

    progress("Drawing", 0.0)
    write_drawing(draw(), path, progress=progress, cancel=cancel)
    return (path,)
