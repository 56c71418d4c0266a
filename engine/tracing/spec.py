"""What is asked of one trace. Plain values only, so that it can be stored, sent to another thread, and run again."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.models.prompt import Prompt

__all__ = ["Prompt", "Target", "TraceSpec", "read_spec"]


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
    """One trace: prompt, target, and how much of the graph to build.

    `max_nodes` is the budget of feature nodes, chosen by influence on the targets (decisions/0009); `nodes` names them
    instead. `edge_mass`, in [0, 1]: the share of each row's sum of |edges| that is kept; what is not stays in `rest`.
    `node_threshold` and `edge_threshold`, in [0, 1]: what `prune` is given where the graph is written or drawn.
    `compatible`: as circuit-tracer, without bias nodes, all edges kept, logits before the softcap.
    """

    prompt: Prompt
    target: Target = Target()
    max_nodes: int = 1000
    # (layer, position, feature) of every feature node, instead of the budget.
    nodes: tuple[tuple[int, int, int], ...] | None = None
    edge_mass: float = 0.995
    compatible: bool = False
    node_threshold: float = 0.8
    edge_threshold: float = 0.98
    # "bfloat16": the sweep multiplies in bfloat16, which is faster and less exact; the report measures by how much.
    sweep_dtype: str = "float32"

    def settings(self) -> dict[str, Any]:
        """The same as plain JSON values; a forced node list and a direction only by their length."""
        # A long list of nodes is left out before everything is copied.
        plain = asdict(replace(self, nodes=None))
        plain["nodes"] = None if self.nodes is None else len(self.nodes)
        if self.target.direction is not None:
            plain["target"]["direction"] = f"{len(self.target.direction)} numbers"
        return plain

    def plain(self) -> dict[str, Any]:
        """Everything as plain JSON values: `read_spec` gives the same spec again."""
        return asdict(self)


def read_spec(plain: dict[str, Any]) -> TraceSpec:
    """The spec that `plain` wrote; raises `ValueError` for anything else."""
    try:
        prompt, target = Prompt(**plain["prompt"]), Target(**plain["target"])
        prompt = replace(prompt, token_ids=_numbers(prompt.token_ids, int))
        weighted = None if target.weighted is None else tuple((_text(t), _finite(w)) for t, w in target.weighted)
        target = replace(
            target,
            weighted=weighted,
            direction=_numbers(target.direction, float),
            feature=None if target.feature is None else _triple(target.feature),
        )
        nodes = None if plain["nodes"] is None else tuple(_triple(node) for node in plain["nodes"])
        spec = TraceSpec(**{**plain, "prompt": prompt, "target": target, "nodes": nodes})
    except (KeyError, TypeError) as error:
        raise ValueError(f"no settings of a trace ({error})") from error
    for settings in (spec.prompt, spec.target, spec):
        _check(settings)
    return spec


# Of what type each setting is; those that are None where they do not apply are not named twice.
_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("text", "system", "token", "against", "sweep_dtype"), str),
    **dict.fromkeys(("bos", "chat", "compatible"), bool),
    **dict.fromkeys(("token_id", "against_id", "position", "top_logits", "max_nodes"), int),
    **dict.fromkeys(("logit_mass", "edge_mass", "node_threshold", "edge_threshold"), (int, float)),
}
_MAY_BE_NONE = {"system", "token", "against", "token_id", "against_id"}


def _check(settings: Prompt | Target | TraceSpec) -> None:
    for name, kind in _TYPES.items():
        value = getattr(settings, name, None)
        if not hasattr(settings, name) or (value is None and name in _MAY_BE_NONE):
            continue
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{name} is not a setting of this kind")


def _numbers(values: Any, kind: type) -> Any:
    if values is None:
        return None
    return tuple(_finite(value) if kind is float else _whole(value) for value in values)


def _triple(values: Any) -> tuple[int, int, int]:
    layer, position, feature = (_whole(value) for value in values)
    return layer, position, feature


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def _finite(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value
