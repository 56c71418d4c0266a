"""What traces really take of memory beside what is estimated. Run by hand, on Linux.

    python -m tests.benchmarks.memory_estimate [TOKENS ...] [--nodes N] [--features NAME]

Each trace runs in a process of its own: the model and the dictionary are loaded, a trace of three tokens warms the
libraries up, then the highest resident memory of one trace is compared with what was resident before it. The estimate
is made before a trace starts; what the active features of a transcoder write is known once they are: what must be kept
of it is asked for then, what is kept for speed alone only where there is room.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import spoken
from tests.oracle.starter_case import CASES, MODEL
from tests.oracle.transcoder_case import write_dictionary

ROOT = Path(__file__).parent.parent.parent
TEXT = "The capital of Texas is Austin and the capital of France is Paris, which people like to visit in spring. "


def measure(source: str, tokens: int, nodes: int) -> dict[str, float]:
    """Peak and estimate of one trace, in bytes; inside its own process."""
    from engine.dictionaries import load_features
    from engine.dictionaries.transcoder_set import TranscoderFeatures, room_needed
    from engine.models import load_model
    from engine.tracing import Prompt, Target, TraceSpec, trace
    from engine.tracing.memory import estimate_bytes
    from engine.tracing.sources import KEPT_BYTES

    model = load_model(MODEL, device="cpu")
    features = load_features(source, model, trust=True)
    ids = tuple(model.tokenizer.encode(Prompt(TEXT * (1 + tokens // 10))))[:tokens]
    assert len(ids) == tokens

    def spec(count: int, budget: int) -> TraceSpec:
        return TraceSpec(Prompt(token_ids=ids[:count]), Target(), max_nodes=budget)

    trace(model, features, spec(3, 10))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = spoken.peak_reset()
    result = trace(model, features, spec(tokens, nodes))
    peak = spoken.peak() - before
    written = 0
    if isinstance(features, TranscoderFeatures):
        layers = features.read(model.recordings.record(model.weights, ids, first_position=1))
        listed = sum(layer.rows_bytes for layer in layers if layer.can_list)
        written = room_needed(layers) + (listed if listed <= KEPT_BYTES else 0)
    return {
        "written": written,
        "peak": peak,
        "estimate": estimate_bytes(model, tokens, spec(tokens, nodes), neurons=not features.has_errors),
        "nodes": result.graph.n_nodes,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tokens", nargs="*", type=int, default=[6, 60, 250])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--features", action="append", choices=["neurons", *(case.name for case in CASES)])
    parser.add_argument("--child", nargs=2)
    asked = parser.parse_args()
    if asked.child:
        found = measure(asked.child[0], int(asked.child[1]), asked.nodes)
        sys.stdout.write(json.dumps(found) + "\n")
        return
    with tempfile.TemporaryDirectory() as name:
        for case in CASES:
            write_dictionary(case, Path(name) / case.name)
        for source in asked.features or ["neurons", *(case.name for case in CASES)]:
            source = source if source == "neurons" else str(Path(name) / source)
            for tokens in asked.tokens or [6, 60, 250]:
                words = ["--nodes", str(asked.nodes), "--child", source, str(tokens)]
                command = [sys.executable, "-m", "tests.benchmarks.memory_estimate", *words]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
                one = json.loads(done.stdout.splitlines()[-1])
                sys.stdout.write(
                    f"{Path(source).name:21} {tokens:4} tokens  estimate {one['estimate'] / 2**20:6.0f} MB  "
                    f"features {one['written'] / 2**20:6.0f} MB  peak {one['peak'] / 2**20:6.0f} MB  "
                    f"peak / both {one['peak'] / (one['estimate'] + one['written']):.2f}\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
