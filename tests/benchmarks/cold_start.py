"""Where the time goes from the command to the first edges and to the graph, each run a process of its own.

    python -m tests.benchmarks.cold_start [--runs N] [--model ID] [--against CHECKOUT]

The stages are told by the trace's own reports and its first graph, the targets' own rows, so that another checkout can
be measured beside this one, in turn. The model must be prepared and its files in the system's cache: the first run of
each is not counted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
STAGES = (
    "interpreter, command line",
    "import torch",
    "load the model",
    "record",
    "read features, first rows",
    "rank and all rows",
    "graph",
)
FIRST_EDGES = STAGES.index("read features, first rows") + 1


def measure(model_id: str | None, prompt: str) -> list[float]:
    """Seconds of each stage; inside its own process, whose start the parent gave."""
    marks = [float(os.environ["COLD_START"]), 0.0]
    from engine.cli.main import parser
    from engine.tracing.spec import Prompt, TraceSpec

    parser()
    marks[1] = time.time()
    import torch

    assert torch.__version__
    marks.append(time.time())
    from engine.dictionaries import load_features
    from engine.models import load_model

    model = load_model(model_id, device="cpu")
    features = load_features(None, model)
    from engine.tracing.run import trace

    marks.append(time.time())
    seen: dict[str, float] = {}
    first: list[float] = []

    def progress(stage: str, share: float) -> None:
        seen.setdefault(" ".join(stage.split()[:2]), time.time())

    def shown(graph: object) -> None:
        first.append(time.time())

    report = trace(model, features, TraceSpec(Prompt(prompt)), progress, on_graph=shown).report
    end = time.time()
    recorded = marks[-1] + report["seconds"]["prompt"] + report["seconds"]["model"]
    marks += [recorded, first[0], seen["Building the"], end]
    return [later - earlier for earlier, later in itertools.pairwise(marks)]


def run(checkout: Path, model_id: str | None, prompt: str) -> list[float]:
    """One cold process of a checkout."""
    command = [sys.executable, str(Path(__file__)), "--child", prompt, *(["--model", model_id] if model_id else [])]
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    environment["COLD_START"] = repr(time.time())
    done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Run, in turn, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--model")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--child", metavar="PROMPT")
    arguments = parser.parse_args()
    if arguments.child is not None:
        sys.stdout.write(json.dumps(measure(arguments.model, arguments.child)))
        return
    checkouts = [ROOT, *([arguments.against] if arguments.against else [])]
    runs: list[list[list[float]]] = [[] for _ in checkouts]
    for number in range(arguments.runs + 1):
        for found, checkout in zip(runs, checkouts, strict=True):
            stages = run(checkout, arguments.model, "The capital of Texas is")
            if number:
                found.append(stages)
    lines = [[statistics.median(one[i] for one in found) for found in runs] for i in range(len(STAGES))]
    for name, values in zip(STAGES, lines, strict=True):
        sys.stdout.write(f"{name:28}" + "".join(f"{value:9.2f}" for value in values) + "\n")
    for name, count in (("to the first edges", FIRST_EDGES), ("to the graph", len(STAGES))):
        totals = [[sum(one[:count]) for one in found] for found in runs]
        text = "".join(f"{statistics.median(t):9.2f} ({min(t):.2f} to {max(t):.2f})" for t in totals)
        sys.stdout.write(f"{name:28}{text}\n")
    if len(runs) > 1:
        ratios = [sum(b[:FIRST_EDGES]) / sum(a[:FIRST_EDGES]) for a, b in zip(*runs, strict=True)]
        sys.stdout.write(f"first edges, pair by pair: {statistics.median(ratios):.2f} times as soon\n")


if __name__ == "__main__":
    main()
