"""Graphs from other programs' files: a file becomes a trace of the project."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.dialogs import Ask
from app.dropped_files import GRAPH_ENDINGS
from app.engine_calls import bind, read_graph
from app.jobs import Failure, Outcome, Value
from app.panels.list_sheet import ListSheet
from engine.cli.import_graph import store
from engine.errors import LoupeError
from engine.graphs.formats import GraphFile
from engine.graphs.titles import title_of

if TYPE_CHECKING:
    from app.window import MainWindow

READ = f"Graphs ({' '.join(f'*{ending}' for ending in GRAPH_ENDINGS)});;All files (*)"


class GraphFiles:
    """Import of graphs. Errors become a sentence beside the graph, or on the start page."""

    def __init__(self, window: MainWindow) -> None:
        self.window, self.session = window, window.session

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
            session.report_error("graph", error)
            if session.project is not None:
                session.refresh()
            return
        session.refresh(number)
        ListSheet("Imported", path.name, import_sentences(file), self.window).open_beside()


def import_sentences(file: GraphFile) -> list[str]:
    """What was read, then what was repaired, then what could not be checked."""
    graph = file.graph
    added = (len(file.pins), "pin"), (len(file.groups), "group"), (len(file.labels), "label")
    came = ", ".join(f"{count:,} {what}" if count == 1 else f"{count:,} {what}s" for count, what in added)
    sentences = [
        f"Read as {file.form}: {graph.n_nodes:,} nodes, {graph.n_edges:,} edges.",
        f"With it came {came}.",
    ]
    sentences += [f"Repaired: {sentence}" for sentence in file.repairs]
    if graph.meta.get("conservation_error") is None:
        sentences.append("Conservation was not checked; the file does not have what that needs.")
    return sentences
