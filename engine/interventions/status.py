"""The evidence status of what an experiment claims: set by what was run, never by hand.

hypothesis     nothing was run that could speak for or against it
attribution    the graph predicts the direction that was measured; no random changes stand beside it yet
intervention   random changes that are like it do significantly less
replicated     so it is again with other random changes, or on another prompt
contradicted   random changes that are like it do as much
unclear        what was run speaks for it in part
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["hypothesis", "attribution", "intervention", "replicated", "contradicted", "unclear"]


@dataclass(frozen=True)
class Kept:
    """One experiment as a project keeps it."""

    kind: str
    evidence: str
    settings: Mapping[str, Any]
    result: Mapping[str, Any]


def status_of(one: Kept, others: Iterable[Kept]) -> Status:
    """The status of one experiment's claim; `others` are all that the project keeps, in any order."""
    if one.evidence == "supported":
        own, run = claim_of(one), _run_of(one)
        again = own is not None and any(
            other.evidence == "supported" and claim_of(other) == own and _run_of(other) != run for other in others
        )
        return "replicated" if again else "intervention"
    if one.evidence in ("contradicted", "unclear"):
        return "contradicted" if one.evidence == "contradicted" else "unclear"
    return "attribution" if _predicted(one) else "hypothesis"


def claim_of(one: Kept) -> tuple[Any, ...] | None:
    """What an experiment is about, whatever its prompt and seed; None where that is not known.

    Changes of the same nodes in the same way; the same features as a circuit. Positions are those of a prompt.
    """
    spec = one.settings.get("experiment")
    try:
        if not isinstance(spec, Mapping):
            return None
        if one.kind == "intervention":
            nodes = [(str(c["kind"]), int(c["layer"]), int(c["index"]), c["how"], c["value"]) for c in spec["changes"]]
            return ("change", *sorted(nodes))
        if one.kind == "circuit":
            return ("circuit", *sorted((int(layer), int(feature)) for layer, _, feature in spec["features"]))
    except (KeyError, TypeError, ValueError):
        return None
    return None


def _run_of(one: Kept) -> tuple[Any, ...]:
    """What makes a run another one: its prompt, and the seed of its random changes."""
    spec, provenance = one.settings.get("experiment"), one.result.get("provenance")
    seed = spec.get("seed") if isinstance(spec, Mapping) else None
    tokens = provenance.get("token_ids") if isinstance(provenance, Mapping) else None
    return seed, tuple(tokens) if isinstance(tokens, (list, tuple)) else None


def _predicted(one: Kept) -> bool:
    """Whether the graph foresaw the direction in which the watched number moved."""
    numbers = [one.result.get(name) for name in ("recorded", "changed", "predicted")]
    if one.kind != "intervention" or not all(isinstance(number, (int, float)) for number in numbers):
        return False
    recorded, changed, predicted = (float(number) for number in numbers if isinstance(number, (int, float)))
    return (changed - recorded) * predicted > 0
