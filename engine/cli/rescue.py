"""`circuit-loupe rescue P.loupe`: save what can be saved of a damaged project, and say what could not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

_COUNTED = (("trace", "traces"), ("label", "labels"), ("item", "folders, notes and circuits"))


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "rescue",
        help="save what can be saved of a damaged project",
        description="Copy a damaged project aside, save what can be read of it into a new project, and say what could "
        "not. The damaged file is not written.",
    )
    command.add_argument("project", type=Path, metavar="P.loupe", help="the damaged project")
    command.add_argument("--to", type=Path, metavar="Q.loupe", help="the new one (default: beside it)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Rescue and say what came of it."""
    from engine.projects import rescue

    done = rescue(arguments.project, arguments.to)
    out = sys.stdout.write
    counts = [f"{done.saved[table]:,} {what}" for table, what in _COUNTED]
    out(f"Saved:  {', '.join(counts)}\n")
    for sentence in done.lost:
        out(f"Lost:   {sentence}\n")
    if not done.lost:
        out("Lost:   nothing\n")
    out(f"Wrote:  {done.project}\n        {done.damaged} (the damaged file as it was)\n")
    return 0
