"""`circuit-loupe export P.loupe --trace N --format F --out FILE`: a trace of a project as a file for other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.numbers import share
from engine.errors import RequestError

if TYPE_CHECKING:
    from engine.graphs import AttributionGraph, GraphView
    from engine.projects import Annotations, Project

DRAWN = ("svg", "pdf", "png")
FORMATS = ("json", "graphml", "csv", "npz", *DRAWN, "html", "ipynb")


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "export",
        help="write a trace of a project as JSON, GraphML, CSV, npz, a picture, a report or a notebook",
        description="Write a trace with its pins, supernodes and labels. JSON holds what two thresholds show, in the "
        "form that Neuronpedia, Anthropic's frontend and circuit-tracer's page read; svg, pdf and png draw the same "
        "or the circuit alone; html reports on the circuit; ipynb repeats the trace; the others hold the whole graph.",
    )
    add = command.add_argument
    add("project", type=Path, metavar="P.loupe", help="the project")
    add("--trace", type=int, required=True, metavar="N", help="the trace's number")
    add("--format", required=True, choices=FORMATS, help="csv: two tables and a JSON, in one file if FILE ends in .zip")
    add("--out", type=Path, required=True, metavar="FILE", help="where to write; a file there is replaced")
    add(
        "--node-threshold",
        type=share,
        metavar="SHARE",
        help="json, pictures: 0.8, or all nodes of a graph that was imported",
    )
    add(
        "--edge-threshold",
        type=share,
        metavar="SHARE",
        help="json, pictures: 0.98, or all edges of a graph that was imported",
    )
    add("--all", action="store_true", help="json, pictures: every node and edge")
    add("--circuit", action="store_true", help="svg, pdf, png: the circuit, what is pinned and grouped, as a diagram")
    add("--dark", action="store_true", help="svg, pdf, png: on a dark ground")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read the trace, write the file."""
    from engine.projects import Project

    _check(arguments)
    with Project.open(arguments.project, read_only=True) as project:
        known = [row.id for row in project.traces()]
        if arguments.trace not in known:
            there = f"its traces are {', '.join(map(str, known[:20]))}" if known else "it has none"
            raise RequestError(f"{arguments.project.name} has no trace {arguments.trace}; {there}.")
        graph, annotations = project.load_graph(arguments.trace), project.annotations(arguments.trace)
        if arguments.format in (*DRAWN, "html", "ipynb"):
            write_told(project, graph, annotations, arguments)
            written: tuple[Path, ...] = (arguments.out.absolute(),)
        else:
            written = write(graph, annotations, arguments)
    for path in written:
        sys.stdout.write(f"Wrote: {path}\n")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse before the work what could not be written after it."""
    given = [flag for flag in ("node_threshold", "edge_threshold") if getattr(arguments, flag) is not None]
    flags = [f"--{flag.replace('_', '-')}" for flag in given] + (["--all"] if arguments.all else [])
    drawn = [f"--{flag}" for flag in ("circuit", "dark") if getattr(arguments, flag)]
    if drawn and arguments.format not in DRAWN:
        raise RequestError(f"{drawn[0]} is for pictures; give --format svg, pdf or png.")
    if flags and arguments.circuit:
        raise RequestError(f"{flags[0]} is for the graph; a circuit is drawn whole.")
    if flags and arguments.format not in ("json", *DRAWN):
        raise RequestError(f"{flags[0]} is for --format json and for pictures; {arguments.format} needs none.")
    if arguments.format in DRAWN and arguments.out.suffix.lower() != f".{arguments.format}":
        raise RequestError(f"Give --out a name that ends in .{arguments.format}.")
    if given and arguments.all:
        raise RequestError(f"{flags[0]} and --all exclude each other; give one of them.")
    if arguments.out.is_dir():
        raise RequestError(f"{arguments.out} is a folder; give the name of a file.")
    if arguments.out.exists() and arguments.out.resolve() == arguments.project.resolve():
        raise RequestError("The export would replace the project; give another name.")
    if not arguments.project.exists():
        raise RequestError(f"There is no project {arguments.project}; give the path of a .loupe file.")


def write(graph: AttributionGraph, annotations: Annotations, arguments: argparse.Namespace) -> tuple[Path, ...]:
    """Write in the format asked for; the paths written."""
    from engine.graphs import formats

    pins, labels, out = annotations.pins, annotations.labels, arguments.out.absolute()
    groups = tuple((group.name, group.nodes) for group in annotations.groups)
    if arguments.format == "csv":
        return formats.write_csv(graph, out, pins=pins, groups=groups, labels=labels)
    if arguments.format == "graphml":
        formats.write_graphml(graph, out, pins=pins, groups=groups, labels=labels)
    elif arguments.format == "npz":
        formats.save_npz(graph, out, pins=pins, groups=groups, labels=labels)
    else:
        formats.write_json(
            graph,
            out,
            node_threshold=arguments.node_threshold,
            edge_threshold=arguments.edge_threshold,
            pins=pins,
            groups=groups,
            labels=labels,
            whole=arguments.all,
        )
    return (out,)


def write_told(
    project: Project, graph: AttributionGraph, annotations: Annotations, arguments: argparse.Namespace
) -> None:
    """Write for people: a picture, a report of the circuit, or a notebook that repeats the trace."""
    from engine.cli.drawing import write_drawing
    from engine.cli.trace import caption_of
    from engine.graphs.figures import circuit_figure, circuit_report, graph_figure
    from engine.graphs.formats import write_notebook
    from engine.projects import circuit_of, evidence_of

    report = project.report(arguments.trace)
    title = next(row.title for row in project.traces() if row.id == arguments.trace)
    circuit, places = circuit_of(annotations), annotations.positions
    if arguments.format == "html":
        evidence = evidence_of(project, report, graph, annotations)
        circuit_report(graph, circuit, arguments.out, title=title, places=places, evidence=evidence)
    elif arguments.format == "ipynb":
        write_notebook(graph, arguments.out, circuit=circuit)
    elif arguments.circuit:
        write_drawing(circuit_figure(graph, circuit, title=title, places=places, dark=arguments.dark), arguments.out)
    else:
        view = _view(graph, annotations, arguments)
        caption = caption_of(report, view) if "unexplored" in report and "imported" not in graph.meta else ""
        text = graph_figure(graph, view, circuit, title, caption, dark=arguments.dark)
        write_drawing(text, arguments.out)


def _view(graph: AttributionGraph, annotations: Annotations, arguments: argparse.Namespace) -> GraphView:
    """What a picture shows: as JSON does, all of a graph that was imported, unless a threshold is given."""
    from engine.graphs import everything, prune

    node, edge = arguments.node_threshold, arguments.edge_threshold
    if arguments.all or ("imported" in graph.meta and node is None and edge is None):
        return everything(graph)
    keep = [*annotations.pins, *(one for group in annotations.groups for one in group.nodes)]
    return prune(graph, 0.8 if node is None else node, 0.98 if edge is None else edge, keep=keep)
