"""`circuit-loupe import FILE --project P.loupe`: a graph that another program, or an export, wrote becomes a trace."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.terminal import TerminalProgress
from engine.errors import LoupeError
from engine.graphs.titles import title_of

if TYPE_CHECKING:
    from engine.graphs.formats import GraphFile
    from engine.projects import Project


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "import",
        help="add a graph file to a project",
        description="Add a graph to a project: JSON of Neuronpedia, Anthropic or circuit-tracer, a .pt of "
        "circuit-tracer (read without running anything in it), or GraphML, CSV or npz that `export` wrote. The form is "
        "told by content. Pins, supernodes and labels come along; what had to be repaired is said.",
    )
    command.add_argument("file", type=Path, metavar="FILE", help="the graph")
    command.add_argument(
        "--project", type=Path, required=True, metavar="P.loupe", help="the project, made if it is not there"
    )
    command.add_argument("--title", metavar="T", help="the trace's name (default: the end of its prompt and its token)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read, store, say what was found."""
    from engine.graphs.formats import read_graph_file
    from engine.projects import Project

    progress = TerminalProgress()
    progress(f"Reading {arguments.file.name}", 0.0)
    file = read_graph_file(arguments.file)
    title = title_of(file.graph.meta, file.graph) if arguments.title is None else arguments.title
    is_new = not arguments.project.exists()
    try:
        with Project.create(arguments.project) if is_new else Project.open(arguments.project) as project:
            project.require_writable()
            progress("Adding to the project", 0.5)
            number = store(project, file, title)
    except LoupeError:
        if is_new:  # nobody asked for an empty project
            arguments.project.unlink(missing_ok=True)
        raise
    progress("Done", 1.0)
    _print(file, arguments.project, number, title)
    return 0


def store(project: Project, file: GraphFile, title: str) -> int:
    """Add the graph and everything a person had added to it; the trace's number."""
    from engine.projects import Brought

    brought = Brought(file.pins, file.groups, file.labels)
    return project.add_trace(file.graph.meta, file.graph, title=title, brought=brought)


def _print(file: GraphFile, project: Path, number: int, title: str) -> None:
    out, graph = sys.stdout.write, file.graph
    out(f"Read:     {file.form}: {graph.n_nodes:,} nodes, {graph.n_edges:,} edges\n")
    added = (len(file.pins), "pins"), (len(file.groups), "supernodes"), (len(file.labels), "labels")
    out("          " + ", ".join(f"{count:,} {what}" for count, what in added) + "\n")
    for sentence in file.repairs:
        out(f"Repaired: {sentence}\n")
    if graph.meta.get("conservation_error") is None:
        out("Proof:    conservation was not checked; the file does not have what that needs\n")
    out(f"Wrote:    trace {number} of {project}: {title}\n")
