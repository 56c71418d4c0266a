"""How much memory a trace will take, before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import MachineError
from engine.models.memory import available_bytes
from engine.models.recording import PATTERN_BYTES
from engine.sizes import byte_words
from engine.tracing.batches import CACHED_ROWS, FEWEST
from engine.tracing.frozen import kept_bytes
from engine.tracing.selection import CANDIDATE_BYTES, CANDIDATES_PER_NODE
from engine.tracing.spec import TraceSpec
from engine.tracing.workers import MOST_WORKERS

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

FLOAT = 4
# What the libraries take at first use, and what the allocator holds beside what is asked of it: measured.
LIBRARIES = 48 * 2**20
HELD = 1.5


def estimate_bytes(model: LanguageModel, n_tokens: int, spec: TraceSpec, *, neurons: bool = True) -> int:
    """An upper estimate of what a trace takes beyond the loaded model, in bytes.

    Patterns and residuals of the recording, what neurons keep of it, a batch of the sweep for each worker, the rows,
    and what the allocator holds beside them. What a transcoder's active features take is known, and asked for, once
    they are; what is kept of them only for speed is bounded by what is free then.
    """
    import torch

    weights = model.weights
    patterns = widest_pattern = features = residual = 0
    for layer in weights.layers:
        pattern = layer.attention.n_heads * n_tokens * n_tokens
        patterns += pattern
        widest_pattern = max(widest_pattern, pattern)
        residual += 9 * n_tokens * weights.d_model  # residuals, MLP input and output, norm scales
        features += 8 * n_tokens * layer.mlp.width if neurons else 0  # three values, a relevance, two numbers
    workers = min(torch.get_num_threads(), MOST_WORKERS)
    # Held patterns, their folded form where it is kept, and one layer's with what it is made from where it is not.
    folded = patterns if FLOAT * patterns <= kept_bytes(model.device) else 0
    patterns = min(patterns, PATTERN_BYTES // FLOAT) + folded + 4 * workers * widest_pattern
    nodes = max(spec.max_nodes, 0 if spec.nodes is None else len(spec.nodes)) + spec.target.top_logits
    columns = nodes + (3 * weights.n_layers + 2) * n_tokens
    candidates = 0 if neurons else max(CANDIDATES_PER_NODE * nodes * nodes, CANDIDATE_BYTES // FLOAT)
    rows = 3 * nodes * columns + candidates
    widest = max(layer.mlp.width for layer in weights.layers)
    batch = workers * max(CACHED_ROWS, n_tokens * FEWEST) * 5 * weights.d_model
    forward = n_tokens * (4 * widest + 4 * weights.d_model)
    numbers = patterns + residual + features + rows + batch + forward + 4 * weights.vocab_size
    return LIBRARIES + int(HELD * FLOAT * numbers)


def require_memory(model: LanguageModel, n_tokens: int, spec: TraceSpec, *, neurons: bool) -> None:
    """`MachineError` where a trace would not fit into what is free now (on a GPU: into what it has free)."""
    needed, free = estimate_bytes(model, n_tokens, spec, neurons=neurons), available_bytes(model.device)
    if needed > free:
        raise MachineError(
            f"Tracing {n_tokens} tokens needs about {byte_words(needed)} of memory and {byte_words(free)} are "
            "free; use a shorter prompt or fewer nodes, or close other programs."
        )
