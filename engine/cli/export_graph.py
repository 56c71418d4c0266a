"""`circuit-loupe export P.loupe --trace N --format F --out FILE`: a trace of a project as a file for other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.numbers import share
from engine.errors import RequestError

if TYPE_CHECKING:
    from engine.graphs import AttributionGraph
    from engine.projects import Annotations

FORMATS = ("json", "graphml", "csv", "npz")


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "export",
        help="write a trace of a project as JSON, GraphML, CSV or npz",
        description="Write a trace with its pins, supernodes and labels. JSON holds what two thresholds show, in the "
        "form that Neuronpedia, Anthropic's frontend and circuit-tracer's page read; the others hold the whole graph.",
    )
    add = command.add_argument
    add("project", type=Path, metavar="P.loupe", help="the project")
    add("--trace", type=int, required=True, metavar="N", help="the trace's number")
    add("--format", required=True, choices=FORMATS, help="csv: two tables and a JSON, in one file if FILE ends in .zip")
    add("--out", type=Path, required=True, metavar="FILE", help="where to write; a file there is replaced")
    add("--node-threshold", type=share, metavar="SHARE", help="json: 0.8, or all nodes of a graph that was imported")
    add("--edge-threshold", type=share, metavar="SHARE", help="json: 0.98, or all edges of a graph that was imported")
    add("--all", action="store_true", help="json: every node and edge")
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
    for path in write(graph, annotations, arguments):
        sys.stdout.write(f"Wrote: {path}\n")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse before the work what could not be written after it."""
    given = [flag for flag in ("node_threshold", "edge_threshold") if getattr(arguments, flag) is not None]
    flags = [f"--{flag.replace('_', '-')}" for flag in given] + (["--all"] if arguments.all else [])
    if flags and arguments.format != "json":
        raise RequestError(f"{flags[0]} is for --format json; {arguments.format} holds the whole graph.")
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
