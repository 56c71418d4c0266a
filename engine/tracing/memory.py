"""How much memory a trace will take, before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import MachineError
from engine.models.memory import available_bytes
from engine.tracing.batches import CACHED_ROWS, FEWEST
from engine.tracing.selection import CANDIDATE_BYTES, CANDIDATES_PER_NODE
from engine.tracing.spec import TraceSpec
from engine.tracing.workers import MOST_WORKERS

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

FLOAT = 4


def estimate_bytes(model: LanguageModel, n_tokens: int, spec: TraceSpec) -> int:
    """An upper estimate of what a trace takes beyond the loaded model, in bytes.

    Patterns and residuals of the recording, what features keep of it, one batch of the sweep, and the rows.
    """
    weights = model.weights
    recording = features = 0
    for layer in weights.layers:
        heads = layer.attention.n_heads
        # The pattern, twice while the model still holds its own; seven residual-sized vectors; three MLP-wide ones.
        recording += 2 * heads * n_tokens * n_tokens + 7 * n_tokens * weights.d_model
        features += 5 * n_tokens * layer.mlp.width
    nodes = max(spec.max_nodes, 0 if spec.nodes is None else len(spec.nodes)) + spec.target.top_logits
    columns = nodes + (3 * weights.n_layers + 2) * n_tokens
    rows = 3 * nodes * columns + max(CANDIDATES_PER_NODE * nodes * nodes, CANDIDATE_BYTES // FLOAT)
    widest = max([layer.mlp.width for layer in weights.layers] + [weights.d_model])
    # Each worker's gradient, its values on the way through attention, and what a dictionary contracts of it.
    batch = MOST_WORKERS * max(CACHED_ROWS, n_tokens * FEWEST) * (4 * weights.d_model + 2 * widest)
    return FLOAT * (recording + features + rows + batch + 4 * weights.vocab_size)


def require_memory(model: LanguageModel, n_tokens: int, spec: TraceSpec) -> None:
    """`MachineError` where a trace would not fit into what is free now (on a GPU: into what it has free)."""
    needed, free = estimate_bytes(model, n_tokens, spec), available_bytes(model.device)
    if needed > free:
        raise MachineError(
            f"Tracing {n_tokens} tokens needs about {needed / 2**30:.1f} GB of memory and {free / 2**30:.1f} GB are "
            "free; use a shorter prompt or fewer nodes, or close other programs."
        )
