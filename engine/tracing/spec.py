"""What is asked of one trace. Plain values only, so that it can be stored, sent to another thread, and run again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from engine.models.prompt import Prompt

__all__ = ["Prompt", "Target", "TraceSpec"]


@dataclass(frozen=True)
class Target:
    """What is traced, at one position.

    Neither `token` nor `token_id` nor `direction`: the smallest set of top tokens that holds `logit_mass` of the
    probability, at most `top_logits`. `against` makes it the difference of two tokens (against the top token where no
    token is named), `weighted` a sum of tokens with weights. `direction` is a vector in the space that the unembedding
    reads (after the final norm), of length d_model. `feature` is (layer, position, feature) of an active feature or a
    neuron; its own position then counts.
    """

    token: str | None = None
    token_id: int | None = None
    against: str | None = None
    against_id: int | None = None
    weighted: tuple[tuple[str, float], ...] | None = None
    direction: tuple[float, ...] | None = None
    feature: tuple[int, int, int] | None = None
    position: int = -1  # counts BOS as 0; negative from the end
    top_logits: int = 10
    logit_mass: float = 0.95


@dataclass(frozen=True)
class TraceSpec:
    """One trace: prompt, target, and how much of the graph to build."""

    prompt: Prompt
    target: Target = Target()
    max_nodes: int = 1000
    # (layer, position, feature) of every feature node, instead of the budget.
    nodes: tuple[tuple[int, int, int], ...] | None = None
    edge_mass: float = 0.995
    compatible: bool = False
    node_threshold: float = 0.8
    edge_threshold: float = 0.98

    def settings(self) -> dict[str, Any]:
        """The same as plain JSON values; a forced node list and a direction only by their length."""
        plain = asdict(self)
        plain["nodes"] = None if self.nodes is None else len(self.nodes)
        if self.target.direction is not None:
            plain["target"]["direction"] = f"{len(self.target.direction)} numbers"
        return plain
