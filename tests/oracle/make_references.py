"""Write circuit-tracer's own graphs of the cases into tests/oracle/references/. Run by `make references`.

Its argument is the folder of the prepared starter model.

Runs inside an environment that holds circuit-tracer (the registry's 0.5.0, which is a fork of upstream's v0.5.0; the
version and TransformerLens' are stored with every graph) and never inside this project's. It imports nothing of the
engine.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.oracle import starter_case, tiny_case
from tests.oracle.peer_model import reopened, replacement_model
from tests.oracle.transcoder_case import Case, write_dictionary


def one_word_a_token(folder: Path) -> Any:
    """The tiny cases' tokenizer."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(tiny_case.VOCAB)}, unk_token="w2"))
    names = {"bos_token": "w0", "eos_token": "w1", "pad_token": "w1", "unk_token": "w2"}
    return reopened(PreTrainedTokenizerFast(tokenizer_object=words, **names), folder)


def versions() -> np.ndarray:
    """Which libraries a reference is made with."""
    names = ("circuit-tracer", "transformer-lens", "transformers", "torch")
    return np.array([f"{name} {metadata.version(name)}" for name in names])


def reference(case: Case, hf: Any, ids: Sequence[int], tokens: Any, **settings: Any) -> dict[str, np.ndarray]:
    """circuit-tracer's graph of a case as arrays; `tokens(folder)` gives a tokenizer that has that folder."""
    from circuit_tracer import attribute
    from circuit_tracer.graph import compute_graph_scores, prune_graph

    with tempfile.TemporaryDirectory() as name:
        write_dictionary(case, Path(name))
        model = replacement_model(case, Path(name), hf, tokens(Path(name) / "tokenizer"))
        with torch.no_grad():
            difference = float((model(torch.tensor([list(ids)])) - hf(torch.tensor([list(ids)])).logits).abs().max())
        assert difference < 1e-4, f"{case.name}: the two models differ by {difference}"
        graph = attribute(torch.tensor(ids), model, batch_size=32, **settings)
    replacement, completeness = compute_graph_scores(graph)
    pruned = prune_graph(graph, 0.8, 0.98)
    return {
        "adjacency": graph.adjacency_matrix.numpy().astype(np.float32),
        "active_features": graph.active_features[graph.selected_features].numpy().astype(np.int32),
        "activation_values": graph.activation_values[graph.selected_features].numpy().astype(np.float32),
        "active_count": np.array(len(graph.active_features)),
        "logit_tokens": graph.logit_token_ids.numpy().astype(np.int32),
        "logit_probabilities": graph.logit_probabilities.numpy().astype(np.float32),
        "scores": np.array([float(replacement), float(completeness)]),
        "node_mask": pruned.node_mask.numpy(),
        "edge_mask": np.packbits(pruned.edge_mask.numpy()),
        "logit_difference": np.array(difference),
        "versions": versions(),
    }


def write_reference(name: str, arrays: dict[str, np.ndarray]) -> None:
    """Keep one graph and say how large it is."""
    folder = Path(__file__).parent / "references"
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    sys.stdout.write(
        f"{name}: {arrays['adjacency'].shape[0]} nodes, logits agree to {arrays['logit_difference']:.1e}\n"
    )


def main() -> None:
    for case in tiny_case.CASES:
        settings = {"max_n_logits": 5, "desired_logit_prob": 0.8}
        hf = tiny_case.hf_model(case.family)
        write_reference(case.name, reference(case, hf, tiny_case.PROMPT, one_word_a_token, **settings))
    starter = Path(sys.argv[1])
    hf, words = starter_case.hf_model(starter), starter_case.tokenizer(starter)
    assert tuple(words("<|im_start|>" + starter_case.TEXT)["input_ids"]) == starter_case.TOKENS
    for case in starter_case.CASES:
        settings = {
            "max_n_logits": starter_case.TOP_LOGITS,
            "desired_logit_prob": starter_case.LOGIT_MASS,
            "max_feature_nodes": starter_case.MAX_NODES,
        }
        arrays = reference(case, hf, starter_case.TOKENS, lambda folder: reopened(words, folder), **settings)
        # Features and logits alone have rows; the rest of the matrix is empty.
        write_reference(case.name, arrays)


if __name__ == "__main__":
    main()
