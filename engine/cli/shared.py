"""`circuit-loupe shared P.loupe`: the features that the traces of a project share, by frequency and mean influence."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.numbers import whole
from engine.cli.terminal import TerminalProgress, interruptible
from engine.errors import RequestError
from engine.graphs.visible_text import visible_text
from engine.whole_files import written_whole

if TYPE_CHECKING:
    from engine.interventions.statistics import Interval
    from engine.projects.shared import SharedTable

SHOWN = 10


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "shared",
        help="the features that the traces of a project share, by frequency and mean influence, with intervals",
        description="Features that several traces of one dictionary have, at any token: how many have them, and their "
        "mean influence (neurons: relevance) over all of them, each with a range of 95 % confidence.",
    )
    add = command.add_argument
    add("project", type=Path, metavar="P.loupe", help="the project")
    add("--traces", metavar="N,N,…", help="only these traces (default: all)")
    add("--least", type=whole, default=2, metavar="N", help="features that at least so many traces have (default: 2)")
    add("--out", type=Path, metavar="FILE.csv|.json", help="write all of them; the terminal shows ten")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read, merge, print, write."""
    from engine.projects import Project
    from engine.projects.shared import find_shared

    out = arguments.out
    if out is not None and out.suffix.lower() not in (".csv", ".json"):
        raise RequestError(f"What is shared is written as .csv or .json; {out.name} ends in neither.")
    with Project.open(arguments.project, read_only=True) as project, interruptible() as cancel:
        known = [row.id for row in project.traces()]
        chosen = known if arguments.traces is None else _numbers(arguments.traces, known)
        table = find_shared(project, chosen, TerminalProgress(), cancel, least=arguments.least)
    print_table(table, arguments.least)
    if out is not None:
        text = as_csv(table) if out.suffix.lower() == ".csv" else json.dumps(table_json(table), indent=2)
        with written_whole(out) as file:
            file.write(text.encode("utf-8", "replace"))
        sys.stdout.write(f"Wrote: {out.absolute()}\n")
    return 0


def _numbers(text: str, known: list[int]) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    numbers = [int(part) for part in parts if part.isdecimal()]
    if len(numbers) != len(parts) or not set(numbers) <= set(known):
        raise RequestError(f"{text!r} does not name traces of the project; they are {', '.join(map(str, known[:20]))}.")
    return list(dict.fromkeys(numbers))


def print_table(table: SharedTable, least: int) -> None:
    """The features of most traces, and how many `least` of them have."""
    out = sys.stdout.write
    out(f"Shared:     {len(table.rows):,} features are in {least:,} or more of {len(table.traces):,} traces\n")
    for row in table.rows[:SHOWN]:
        one, often, strong = row.found, row.often, row.strong
        label = f"  {visible_text(row.label)}" if row.label else ""
        out(
            f"            L{one.layer:<3} {one.feature:>7}  in {len(one.graphs)} of {often.n} ({often.low:.0%} to "
            f"{often.high:.0%})  {table.measure} {strong.mean:.4f} ({strong.low:.4f} to {strong.high:.4f}){label}\n"
        )


def table_json(table: SharedTable) -> dict[str, Any]:
    """The whole table as plain values."""
    return {
        "traces": [{"number": n, "title": title} for n, title in zip(table.traces, table.titles, strict=True)],
        "measure": table.measure,
        "confidence": table.rows[0].often.confidence if table.rows else None,
        "features": [
            {
                "layer": row.found.layer,
                "feature": row.found.feature,
                "in": [table.traces[i] for i in row.found.graphs],
                "frequency": _range(row.often),
                "influence": _range(row.strong),
                "label": row.label,
            }
            for row in table.rows
        ],
    }


def _range(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def as_csv(table: SharedTable) -> str:
    """The whole table, one feature a line."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    ends = ("", "_low", "_high")
    rows.writerow(
        ["layer", "feature", "traces", *(f"frequency{end}" for end in ends), *(f"{table.measure}{end}" for end in ends),
         "label"]
    )  # fmt: skip
    for row in table.rows:
        numbers = (row.often.mean, row.often.low, row.often.high, row.strong.mean, row.strong.low, row.strong.high)
        shown = [f"{number:.6g}" for number in numbers]
        rows.writerow([row.found.layer, row.found.feature, len(row.found.graphs), *shown, row.label])
    return text.getvalue()
