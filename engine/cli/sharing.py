"""`package`, `take-in` and `labels`: a project given away, another one taken in, labels as a file or asked for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import ask_labels
from engine.cli.terminal import TerminalProgress, interruptible

if TYPE_CHECKING:
    from engine.projects import Project


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the commands."""
    package = commands.add_parser(
        "package",
        help="write a project as one gives it away",
        description="Write a project to a new file without absolute paths, names of people and machines, history, and "
        "what was deleted. Prompts stay as they are.",
    )
    package.add_argument("project", type=Path, metavar="P.loupe", help="the project, which is not changed")
    package.add_argument("--to", type=Path, required=True, metavar="Q.loupe", help="the new file")
    package.set_defaults(run=run_package)
    take_in = commands.add_parser(
        "take-in",
        help="take another project in",
        description="Take another project's traces, notes, experiments and labels into a project, in a folder of their "
        "own. The other file is only read; undo in the window takes it out again.",
    )
    take_in.add_argument("other", type=Path, metavar="Q.loupe", help="the other project")
    take_in.add_argument("--project", type=Path, required=True, metavar="P.loupe", help="the project that takes it in")
    take_in.set_defaults(run=run_take_in)
    labels = commands.add_parser(
        "labels",
        help="write or give labels that hold everywhere, or ask a local model for some",
        description="Write the labels of a project that hold for a feature everywhere to a JSON file, or give those of "
        "such a file; what a person wrote in the project stays, unless --over-others. Or ask a local language model.",
    )
    which = labels.add_subparsers(dest="which", required=True, metavar="export|import|ask")
    for name, words in (("export", "write them to a file"), ("import", "give those of a file")):
        one = which.add_parser(name, help=words, description=f"{words[:1].upper()}{words[1:]}.")
        one.add_argument("file", type=Path, metavar="FILE.json", help="the file of labels")
        one.add_argument("--project", type=Path, required=True, metavar="P.loupe", help="the project")
        if name == "import":
            one.add_argument("--over-others", action="store_true", help="also where a person wrote something else")
        one.set_defaults(run=run_export_labels if name == "export" else run_import_labels)
    ask_labels.add_command(which)


def run_package(arguments: argparse.Namespace) -> int:
    """Write the package."""
    from engine.projects import Project

    with Project.open(arguments.project, read_only=True) as project:
        project.save_package(arguments.to)
        count = len(project.traces())
    sys.stdout.write(f"Wrote:  {arguments.to}: {count:,} traces, without paths, names and history\n")
    return 0


def run_take_in(arguments: argparse.Namespace) -> int:
    """Take the other project in, and say what came."""
    with _to_write(arguments.project) as project, interruptible() as cancel:
        done = project.take_in(arguments.other, TerminalProgress(), cancel)
    out = sys.stdout.write
    out(f"Took in:  {done.traces:,} traces, {done.experiments:,} experiments, {done.items:,} other entries\n")
    out(f"Labels:   {done.labels:,} are new, {done.kept:,} were not taken (a person wrote something else)\n")
    return 0


def run_export_labels(arguments: argparse.Namespace) -> int:
    """Write the labels."""
    from engine.projects import Project, export_labels

    with Project.open(arguments.project, read_only=True) as project:
        count = export_labels(project, arguments.file)
    sys.stdout.write(f"Wrote:  {count:,} labels to {arguments.file}\n")
    return 0


def run_import_labels(arguments: argparse.Namespace) -> int:
    """Give the labels."""
    from engine.projects import import_labels

    with _to_write(arguments.project) as project:
        done = import_labels(project, arguments.file, over_others=arguments.over_others)
    out = sys.stdout.write
    out(f"Given:  {done.given:,} labels; {done.same:,} were here already\n")
    out(f"Kept:   {done.kept:,} as a person wrote them here\n")
    return 0


def _to_write(path: Path) -> Project:
    from engine.projects import Project

    project = Project.open(path)
    try:
        project.require_writable()
    except BaseException:
        project.close()
        raise
    return project
