"""Graphs in other programs' files: a file becomes a trace of the project, the open trace becomes a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.dialogs import Ask
from app.dropped_files import GRAPH_ENDINGS
from app.engine_calls import bind, read_graph
from app.jobs import Failure, Outcome, Value
from app.panels.import_sheet import ImportSheet, import_sentences
from engine.cli.import_graph import store
from engine.errors import LoupeError, MachineError
from engine.graphs.formats import GraphFile, part_paths, save_npz, write_csv, write_graphml, write_json
from engine.graphs.titles import title_of

if TYPE_CHECKING:
    from app.window import MainWindow

READ = f"Graphs ({' '.join(f'*{ending}' for ending in GRAPH_ENDINGS)});;All files (*)"
# JSON holds what is shown, in the form that other programs read; the others hold the whole graph.
WRITTEN = (
    "What is shown, for other programs (*.json);;Whole graph as GraphML (*.graphml);;"
    "Whole graph as tables in one file (*.zip);;Whole graph as three tables (*.csv);;Whole graph as arrays (*.npz)"
)
ENDINGS = (".json", ".graphml", ".zip", ".csv", ".npz")


class GraphFiles:
    """Import and export of graphs. Errors become a sentence beside the graph, or on the start page."""

    def __init__(self, window: MainWindow) -> None:
        self.window, self.session = window, window.session

    # ---- importing ---------------------------------------------------------------------------------------------

    def import_graph(self) -> None:
        """Ask for a graph file, and add it to the project."""
        path = Ask.open_file(self.window, "Import a graph", READ)
        if path is not None:
            self.read(path)

    def read(self, path: Path) -> None:
        """Read a graph file on the engine's thread and add it to the project."""
        if self.session.read_only:
            sentence = "This project is open for reading only; save it as a new file to import a graph."
            self.session.report_problem("graph", sentence, "file.save_as")
            return
        job = bind(read_graph, path)
        # Each file is a job of its own: several may be dropped at once.
        self.window.host.submit(f"import {path}", f"Reading {path.name}", job, partial(self._read, path))

    def _read(self, path: Path, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self._store(path, outcome.value)
        elif isinstance(outcome, Failure):
            self.session.report_problem("graph", outcome.sentence, "help.show_log" if outcome.ours else "")

    def _store(self, path: Path, file: GraphFile) -> None:
        self.window.settle()
        session = self.session
        try:
            number = store(session.ensure_project(), file, title_of(file.graph.meta, file.graph))
        except LoupeError as error:
            session.report_problem("graph", error.sentence, "file.save_as")
            if session.project is not None:
                session.refresh()
            return
        session.refresh(number)
        ImportSheet(path.name, import_sentences(file), self.window).open_beside()

    # ---- exporting ---------------------------------------------------------------------------------------------

    def export(self) -> None:
        """Ask where and in which form, and write the open graph there."""
        path = Ask.save_file(self.window, "Export graph", self.window.files.suggested(".json"), WRITTEN)
        if path is None:
            return
        path = path if path.suffix.lower() in ENDINGS else path.with_name(path.name + ".json")
        if Ask.may_replace(self.window, part_paths(path) if path.suffix.lower() == ".csv" else (path,)):
            self.write(path)

    def write(self, path: Path) -> bool:
        """Write the open graph in the form that the name's ending says; JSON at the thresholds of the sliders."""
        try:
            written = self._write(path)
        except LoupeError as error:
            self.session.report_problem("graph", error.sentence, "file.export_graph")
            return False
        except OSError as error:
            reason = error.strerror or str(error)
            sentence = MachineError(f"{path.name} could not be written ({reason}); choose another folder.").sentence
            self.session.report_problem("graph", sentence, "file.export_graph")
            return False
        self.window.say(f"Wrote {', '.join(one.name for one in written)}")
        return True

    def _write(self, path: Path) -> tuple[Path, ...]:
        session, annotations = self.session, self.session.annotations
        assert session.graph is not None
        pins, labels = annotations.pins, annotations.labels
        groups = tuple((group.name, group.nodes) for group in annotations.groups)
        ending = path.suffix.lower()
        if ending in (".csv", ".zip"):
            return write_csv(session.graph, path, pins=pins, groups=groups, labels=labels)
        if ending == ".graphml":
            write_graphml(session.graph, path, pins=pins, groups=groups, labels=labels)
        elif ending == ".npz":
            save_npz(session.graph, path, pins=pins, groups=groups, labels=labels)
        else:
            write_json(
                session.graph,
                path,
                node_threshold=session.settings.node_threshold,
                edge_threshold=session.settings.edge_threshold,
                slug=self.window.files.trace_title(),
                pins=pins,
                groups=groups,
                labels=labels,
            )
        return (path,)
