"""`circuit-loupe rerun P.loupe --trace N`: trace again what a project kept, and say what has changed."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.asked import open_kept
from engine.cli.terminal import TerminalProgress, interruptible
from engine.errors import RequestError
from engine.progress import part
from engine.whole_files import written_whole

if TYPE_CHECKING:
    from engine.projects import Project, Rerun

NOT_THE_SAME = 4


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "rerun",
        help="trace again what a project kept, and say whether the graph is the same",
        description="Trace again what a project kept, with the same settings, and say whether the graph is the same "
        "and "
        "what has changed: program and library versions, model and dictionary, device. Nothing is written to the "
        "project. Exit status: 0 the same, 4 not the same, 2 the request is wrong, 3 the machine cannot.",
    )
    command.add_argument("project", type=Path, metavar="P.loupe", help="the project")
    command.add_argument("--trace", type=int, required=True, metavar="N", help="the number of the trace")
    command.add_argument("--model", metavar="ID|PATH", help="where the model is now (default: where it was)")
    command.add_argument("--features", metavar="neurons|PATH", help="where the dictionary is now (default: likewise)")
    command.add_argument(
        "--trust-features", action="store_true", help="open a dictionary that does not describe the model"
    )
    command.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], help="(default: the one it was made on)")
    command.add_argument("--dtype", choices=["float32", "bfloat16"], help="(default: the one it was made in)")
    command.add_argument("--report", type=Path, metavar="FILE.json", help="what is printed, as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Trace again, compare, print."""
    from engine.projects import Project

    if arguments.report is not None and not arguments.report.absolute().parent.is_dir():
        raise RequestError(f"There is no folder {arguments.report.absolute().parent}; make it or choose another.")
    with Project.open(arguments.project, read_only=True) as project:
        done = _rerun(arguments, project)
    if arguments.report is not None:
        with written_whole(arguments.report) as file:
            file.write(json.dumps(as_json(done), indent=2).encode("utf-8", "replace"))
    _print(done)
    return 0 if done.graph.same else NOT_THE_SAME


def as_json(done: Rerun) -> dict[str, Any]:
    """The comparison as plain JSON values."""
    return {
        "trace": done.trace,
        "same": done.graph.same,
        **asdict(done.graph),
        "differences": [asdict(one) for one in done.differences],
        "sentence": done.sentence,
    }


def _rerun(arguments: argparse.Namespace, project: Project) -> Rerun:
    from engine.projects import rerun

    progress = TerminalProgress()
    with interruptible() as cancel:
        model, features, _ = open_kept(arguments, project, part(progress, 0, 0.4), cancel)
        return rerun(project, arguments.trace, model, features, part(progress, 0.4, 1.0), cancel)


def _print(done: Rerun) -> None:
    out = sys.stdout.write
    out(f"{done.sentence}\n")
    for one in done.differences:
        out(f"Changed:  {one.what}: {one.before or 'not known'} -> {one.now or 'not known'}\n")
    if not done.differences:
        out("Changed:  nothing it depends on: versions, model, dictionary, device\n")
