"""`circuit-loupe import FILE --project P.loupe`: a graph that another program, or an export, wrote becomes a trace."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.terminal import TerminalProgress
from engine.errors import LoupeError, RequestError
from engine.graphs.visible_text import visible_text
from engine.progress import Progress

if TYPE_CHECKING:
    from engine.graphs.formats import GraphFile
    from engine.projects import Project

_LONGEST_TITLE = 60
_LABELS_A_STEP = 200


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
    title = title_of(file) if arguments.title is None else arguments.title
    is_new = not arguments.project.exists()
    try:
        with Project.create(arguments.project) if is_new else Project.open(arguments.project) as project:
            if project.read_only:
                raise RequestError(project.read_only_reason or f"{arguments.project} can only be read.")
            number = store(project, file, title, progress)
    except LoupeError:
        if is_new:  # nobody asked for an empty project
            arguments.project.unlink(missing_ok=True)
        raise
    progress("Done", 1.0)
    _print(file, arguments.project, number, title)
    return 0


def store(project: Project, file: GraphFile, title: str, progress: Progress) -> int:
    """Add the graph and everything a person had added to it; the trace's number."""
    progress("Adding to the project", 0.3)
    number = project.add_trace(file.graph.meta, file.graph, title=title)
    if file.pins:
        project.pin(number, list(file.pins))
    for name, nodes in file.groups:
        project.add_group(number, name, list(nodes))
    for done, (node, text) in enumerate(file.labels.items()):
        progress("Adding labels", 0.4 + 0.6 * done / len(file.labels))
        # Steps of undo of a bearable number and size: each label rewrites the step it joins.
        project.set_label(number, node, text, merge=f"import {done // _LABELS_A_STEP}")
    return number


def title_of(file: GraphFile) -> str:
    """The end of the prompt and the heaviest target, as traces are named."""
    graph = file.graph
    prompt = str(graph.meta.get("prompt") or "".join(graph.tokens))
    short = prompt if len(prompt) <= _LONGEST_TITLE else "…" + prompt[1 - _LONGEST_TITLE :]
    heaviest = graph.logit_text[int(graph.logit_probability.argmax())][:_LONGEST_TITLE]
    return visible_text(f"{short} → {heaviest}")


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
