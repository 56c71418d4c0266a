"""circuit-tracer's side of the comparison; runs in an environment that holds it; of ours only the tests' own pieces.

python -m tests.benchmarks.side_circuit_tracer MODEL_FOLDER TRANSCODER_FOLDER
"""

from __future__ import annotations

import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks import spoken
from tests.oracle import starter_case
from tests.oracle.peer_model import reopened, replacement_model
from tests.oracle.transcoder_case import Case


def load(folder: Path, transcoders: Path) -> Any:
    """Its replacement model with the weights that transformers reads from the folder."""
    hf = starter_case.hf_model(folder)
    case = Case(
        "benchmark", "llama", "transcoder_set", "mlp.hook_in", "mlp.hook_out", n_layers=hf.config.num_hidden_layers
    )
    words = reopened(starter_case.tokenizer(folder), transcoders / "tokenizer")
    model = replacement_model(case, transcoders, hf, words, context=2048, lazy_encoder=False)
    ids = torch.tensor([starter_case.TOKENS])
    with torch.no_grad():
        apart = float((model(ids) - hf(ids).logits).abs().max())
    assert apart < 1e-2, f"the two models differ by {apart}"
    return model


class Answers:
    """What can be asked."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def about(self) -> dict[str, Any]:
        """Versions and threads."""
        names = ("circuit-tracer", "transformer-lens", "transformers", "torch")
        return {"versions": {name: metadata.version(name) for name in names}, "threads": torch.get_num_threads()}

    def trace(self, ids: list[int], nodes: int, batch: int, out: str | None) -> dict[str, Any]:
        """One attribution with its own choice of `nodes` features; the graph's arrays go to `out`."""
        from circuit_tracer import attribute

        before = spoken.peak_reset()
        started, worked = time.perf_counter(), time.process_time()
        graph = attribute(
            torch.tensor(ids),
            self.model,
            max_n_logits=10,
            desired_logit_prob=0.95,
            batch_size=batch,
            max_feature_nodes=nodes,
        )
        seconds, work = time.perf_counter() - started, time.process_time() - worked
        used = spoken.peak() - before
        if out is not None:
            np.savez(
                out,
                adjacency=graph.adjacency_matrix.numpy(),
                active=graph.active_features.numpy().astype(np.int32),
                features=graph.active_features[graph.selected_features].numpy().astype(np.int32),
                logit_tokens=graph.logit_token_ids.numpy().astype(np.int32),
            )
        return {"seconds": seconds, "work": work, "memory": used, "active": len(graph.active_features)}


if __name__ == "__main__":
    answers = Answers(load(Path(sys.argv[1]), Path(sys.argv[2])))
    spoken.answer({"about": answers.about, "trace": answers.trace})
