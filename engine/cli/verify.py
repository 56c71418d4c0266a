"""`circuit-loupe verify`: whether a graph can be believed, measured on its own prompt."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.asked import (
    add_model_flags,
    add_prompt_flags,
    asked_prompt,
    asked_target,
    check_report,
    open_asked,
    open_kept,
    write_report,
)
from engine.cli.numbers import seed, whole
from engine.cli.terminal import TerminalProgress, interruptible
from engine.errors import RequestError
from engine.progress import part
from engine.tracing.spec import TraceSpec

if TYPE_CHECKING:
    from engine.interventions.verify import VerifyResult

DOES_NOT_HOLD = 4


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command and its flags."""
    command = commands.add_parser(
        "verify",
        help="verify a graph: conservation, edges, how far predictions reach, and whether influence matters",
        description="Trace a prompt (or take a project's trace) and measure whether its graph can be believed: "
        "conservation; edges against interventions; perturbations in the model and in what the graph stands for, layer "
        "by layer; influence against ablations. Exit status: 0 done, 4 done but conservation or edges do not hold, 2 "
        "the request is wrong, 3 the machine cannot, 130 interrupted.",
    )
    add = command.add_argument
    add("prompt", metavar="PROMPT|P.loupe", help="the prompt, or with --trace a project")
    add("--trace", type=int, metavar="N", help="verify this trace of the project that is named")
    add_model_flags(add)
    add_prompt_flags(add)
    add("--max-nodes", type=whole, default=1000, metavar="N", help="budget of feature nodes (default: 1000)")
    add("--sources", type=whole, metavar="N", help="features that are changed to check edges")
    add("--ablated", type=whole, metavar="N", help="features that are ablated one by one")
    add(
        "--controls",
        type=whole,
        metavar="N",
        help="random features beside each source, for its edges’ p (100 and up; default: none)",
    )
    add("--seed", type=seed, default=0, metavar="N", help="of the sample (default: 0)")
    add("--report", type=Path, metavar="FILE.json", help="what is printed and all points, as JSON")
    # Left open, they are what a project's trace was made with.
    command.set_defaults(run=run, features=None, device=None, dtype=None)


def run(arguments: argparse.Namespace) -> int:
    """Trace or read, verify, print."""
    check_report(arguments.report)
    if not arguments.prompt:
        raise RequestError("The prompt is empty; give some text.")
    result = _verify(arguments)
    write_report(arguments.report, result.plain())
    _print(result)
    wrong = [one for one in result.parts if one.name in ("conservation", "edges") and not one.passed]
    return DOES_NOT_HOLD if wrong else 0


def _verify(arguments: argparse.Namespace) -> VerifyResult:
    from engine.interventions.case import open_case
    from engine.interventions.verify import VerifySpec, verify_graph
    from engine.projects import Project
    from engine.tracing.kept import trace_or_recall

    spec = VerifySpec(seed=arguments.seed)
    spec = replace(
        spec,
        sources=arguments.sources or spec.sources,
        ablated=arguments.ablated or spec.ablated,
        controls=arguments.controls or 0,
    )
    progress = TerminalProgress()
    with interruptible() as cancel:
        if arguments.trace is not None:
            path = Path(arguments.prompt)
            with Project.open(path, read_only=True) as project:
                model, features, asked = open_kept(arguments, project, part(progress, 0, 0.3), cancel)
                graph, report = project.load_graph(arguments.trace), project.report(arguments.trace)
            asked_spec = asked.spec
        else:
            model, features = open_asked(arguments, part(progress, 0, 0.2), cancel)
            asked_spec = TraceSpec(asked_prompt(arguments), asked_target(arguments), max_nodes=arguments.max_nodes)
            traced = trace_or_recall(model, features, asked_spec, part(progress, 0.2, 0.4), cancel)
            graph, report = traced.graph, traced.report
        case = open_case(model, features, asked_spec, part(progress, 0.4, 0.45), cancel)
        conservation = float(report.get("conservation_error", float("nan")))
        return verify_graph(case, graph, conservation, spec, part(progress, 0.45, 1), cancel)


def _print(result: VerifyResult) -> None:
    out = sys.stdout.write
    for one in result.parts:
        out(f"{one.name.capitalize() + ':':<14}{'holds' if one.passed else 'DOES NOT HOLD'} - {one.sentence}\n")
    out(f"Sample:       {result.settings}\n")
    out(f"Verdict:      {result.sentence}\n")
