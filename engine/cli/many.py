"""`circuit-loupe trace --prompts FILE --project P.loupe`: a list of prompts into one project, and what they share."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from engine.cli.shared import print_table, table_json
from engine.cli.terminal import TerminalProgress, interruptible
from engine.errors import Cancelled, RequestError
from engine.graphs.visible_text import visible_text
from engine.progress import part
from engine.whole_files import written_whole

if TYPE_CHECKING:
    from engine.projects import Project
    from engine.projects.study import Studied
    from engine.tracing.spec import TraceSpec

_REFUSED_SHOWN = 5
_ONE_GRAPH = ("json", "arrays", "image", "nodes", "target_feature", "direction")
INTERRUPTED = 130


def add_flags(add: Any) -> None:
    """The flags that make many traces of one command."""
    add("--prompts", metavar="FILE", help="trace every prompt of a text file (one a line) or a CSV (columns prompt, "
        "and if wanted target, against) into --project; those it holds already are left out")  # fmt: skip
    add(
        "--ray", metavar="ADDRESS", help="with --prompts: share them out on the Ray cluster there (local: this machine)"
    )


def check(arguments: argparse.Namespace) -> None:
    """Refuse flags that mean one graph, and a list without a project to put it in."""
    if arguments.prompt is not None:
        raise RequestError("Give a prompt or --prompts FILE, not both.")
    if arguments.project is None:
        raise RequestError("--prompts needs --project FILE.loupe, where its traces are kept.")
    for name in _ONE_GRAPH:
        if getattr(arguments, name) is not None:
            raise RequestError(f"--{name.replace('_', '-')} is for one prompt; export from the project afterwards.")


def run(arguments: argparse.Namespace, like: TraceSpec, project: Project) -> int:
    """Trace the list, print what became of it and what its traces share."""
    from pathlib import Path

    from engine.projects.shared import LEAST, find_shared
    from engine.projects.study import read_prompts

    specs = [one.spec(like) for one in read_prompts(Path(arguments.prompts))]
    progress = TerminalProgress()
    with interruptible() as cancel:
        try:
            studied = _studied(arguments, specs, project, progress, cancel)
        except (Cancelled, KeyboardInterrupt):
            sys.stderr.write("circuit-loupe: Interrupted; the same command goes on where this one stopped.\n")
            return INTERRUPTED
        table = None
        if len(studied.traces) >= LEAST:
            table = find_shared(project, studied.traces, part(progress, 0.0, 1.0), cancel)
    _print(studied, len(specs))
    if table is not None:
        print_table(table, LEAST)
    if arguments.report is not None:
        report = {**_json(studied), "shared": None if table is None else table_json(table)}
        with written_whole(arguments.report) as file:
            file.write(json.dumps(report, indent=2, ensure_ascii=False).encode("utf-8", "replace"))
        sys.stdout.write(f"Wrote:      report   {arguments.report}\n")
    return 0 if studied.traces else RequestError.exit_status


def _studied(
    arguments: argparse.Namespace, specs: list[TraceSpec], project: Project, progress: TerminalProgress, cancel: Any
) -> Studied:
    from engine.dictionaries import load_features
    from engine.models import load_model
    from engine.projects.ray_workers import WorkerPlan, over_ray
    from engine.projects.study import in_turn, study

    device, dtype = arguments.device, arguments.dtype
    # With a cluster too: what it is tells which traces are there already.
    model = load_model(arguments.model, device=device, dtype=dtype, progress=part(progress, 0.0, 0.1), cancel=cancel)
    features = load_features(
        arguments.features, model, trust=arguments.trust_features, progress=part(progress, 0.1, 0.15), cancel=cancel
    )
    if arguments.ray is None:
        tracer = in_turn(model, features, cancel)
    else:
        plan = WorkerPlan(arguments.model, arguments.features, arguments.trust_features, device, dtype)
        tracer = over_ray(arguments.ray, plan, cancel)
    identity = (model.fingerprint, features.fingerprint)
    return study(project, specs, arguments.features, identity, tracer, part(progress, 0.15, 1.0), cancel)


def _print(studied: Studied, total: int) -> None:
    out = sys.stdout.write
    out(f"Prompts:    {total:,}: {len(studied.traced):,} traced, {len(studied.there):,} there already, ")
    out(f"{len(studied.refused):,} refused\n")
    for prompt, sentence in studied.refused[:_REFUSED_SHOWN]:
        out(f"Refused:    {visible_text(prompt)[:60]}: {sentence}\n")
    if len(studied.refused) > _REFUSED_SHOWN:
        out(f"            and {len(studied.refused) - _REFUSED_SHOWN:,} more; --report names them\n")


def _json(studied: Studied) -> dict[str, Any]:
    return {
        "traced": list(studied.traced),
        "there": list(studied.there),
        "refused": [{"prompt": prompt, "why": why} for prompt, why in studied.refused],
    }
