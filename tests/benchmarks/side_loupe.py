"""This program's side of the comparison: `python -m tests.benchmarks.side_loupe MODEL DICTIONARY`."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine import load_features, load_model, trace
from engine.models.recording import record
from engine.tracing import Prompt, Target, TraceSpec
from engine.tracing.products import linear_for
from engine.tracing.run import versions
from tests.benchmarks import spoken

GEMM_ROWS, GEMM_WIDTH = 2048, 576


def best_rate() -> float:
    """The machine's best float32 matrix product at the sizes of a sweep, in GFLOP/s."""
    x, weight = torch.randn(GEMM_ROWS, GEMM_WIDTH), torch.randn(GEMM_WIDTH, GEMM_WIDTH)
    ways = [lambda: torch.mm(x, weight.T), lambda: linear_for(x)(x, weight)]
    if torch.backends.mkldnn.is_available():
        ways.append(lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""))
    best = float("inf")
    until = time.perf_counter() + 0.5
    while time.perf_counter() < until:
        for way in ways:
            started = time.perf_counter()
            way()
            best = min(best, time.perf_counter() - started)
    return 2 * GEMM_ROWS * GEMM_WIDTH * GEMM_WIDTH / best / 1e9


class Answers:
    """What can be asked."""

    def __init__(self, model: str, dictionary: str) -> None:
        self.model = load_model(model)
        self.features = load_features(dictionary, self.model, trust=True)

    def about(self) -> dict[str, Any]:
        """Versions and threads, and the model's sizes."""
        layer = self.model.weights.layers[0].attention
        sizes = {
            "d": self.model.weights.d_model,
            "layers": self.model.weights.n_layers,
            "heads": layer.n_heads,
            "kv_heads": layer.n_kv_heads,
            "head": layer.d_head,
        }
        return {"versions": versions(), "threads": torch.get_num_threads(), "sizes": sizes}

    def gemm(self) -> float:
        """See `best_rate`."""
        return best_rate()

    def encode(self, text: str) -> list[int]:
        """Token ids, the special first one included."""
        return list(self.model.tokenizer.encode(Prompt(text)))

    def trace(
        self,
        ids: list[int],
        nodes: list[list[int]] | None = None,
        budget: int = 1000,
        out: str | None = None,
        precision: str = "float32",
    ) -> dict[str, Any]:
        """One trace of exactly these nodes (layer, position, feature), or of a budget."""
        forced = None if nodes is None else tuple((a, b, c) for a, b, c in nodes)
        spec = TraceSpec(
            Prompt(token_ids=tuple(ids)),
            Target(),
            max_nodes=budget,
            nodes=forced,
            compatible=forced is not None,
            sweep_dtype=precision,
        )
        before = spoken.peak_reset()
        started, worked = time.perf_counter(), time.process_time()
        found = trace(self.model, self.features, spec, reuse=False)
        seconds, work = time.perf_counter() - started, time.process_time() - worked
        used = spoken.peak() - before
        graph = found.graph
        if out is not None:
            np.savez(
                out,
                kind=graph.kind,
                layer=graph.layer,
                position=graph.position,
                feature=graph.feature,
                source=graph.source,
                target=graph.target,
                weight=graph.weight,
                active=self._active(ids),
            )
        return {
            "seconds": seconds,
            "work": work,
            "memory": used,
            "phases": found.report["seconds"],
            "conservation": found.report["conservation_error"],
            "sweep_error": found.report["sweep_error"],
            "active": found.report["active_features"],
        }

    def _active(self, ids: list[int]) -> NDArray[np.int32]:
        """(n, 3) layer, position and number of every active feature."""
        first = 1 if self.model.tokenizer.is_special(ids[0]) else 0
        read = self.features.read(record(self.model.weights, ids, first_position=first))
        columns = [
            torch.stack([torch.full_like(one.position, layer), one.position, one.feature], 1)
            for layer, one in enumerate(read)
        ]
        return torch.cat(columns).numpy().astype(np.int32)


if __name__ == "__main__":
    answers = Answers(sys.argv[1], sys.argv[2])
    spoken.answer({name: getattr(answers, name) for name in ("about", "gemm", "encode", "trace")})
