"""The evidence status of what an experiment claims: worked out from what was run, and nowhere to be set by hand.

hypothesis     nothing was run that could speak for or against it
attribution    the graph predicts the direction that was measured; no random changes stand beside it yet
intervention   random changes that are like it do significantly less
replicated     so it is on another prompt as well, in the same direction
contradicted   random changes that are like it do as much
unclear        what was run speaks for it in part, and in part against it

Another seed alone replicates nothing: it draws other random changes, and what is claimed is measured as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["hypothesis", "attribution", "intervention", "replicated", "contradicted", "unclear"]
Prompt = tuple[int, ...]
# Kinds of experiments that claim something; the same claim may be tested by several.
CLAIMS: Mapping[str, str] = {"intervention": "change", "paraphrases": "change", "circuit": "circuit"}
JUDGED = ("supported", "contradicted")


@dataclass(frozen=True)
class Kept:
    """One experiment as a project keeps it."""

    kind: str
    evidence: str
    settings: Mapping[str, Any]
    result: Mapping[str, Any]


def status_of(one: Kept, others: Iterable[Kept]) -> Status:
    """The status of one experiment's claim; `others` are all that the project keeps, in any order."""
    if one.evidence == "unclear":
        return "unclear"
    if one.evidence not in JUDGED:
        return "attribution" if _predicted(one) else "hypothesis"
    claim = claim_of(one)
    same = [one, *(other for other in others if claim is not None and claim_of(other) == claim)]
    direction = _direction(one)
    speaking_for = [kept for kept in same if kept.evidence == "supported" and _direction(kept) == direction]
    if any(kept.evidence in JUDGED and kept not in speaking_for for kept in same) and speaking_for:
        return "unclear"
    if not speaking_for:
        return "contradicted"
    prompts = {prompt for kept in speaking_for for prompt in _prompts(kept)}
    return "replicated" if len(prompts) > 1 else "intervention"


def claim_of(one: Kept) -> tuple[Any, ...] | None:
    """What an experiment is about, whatever its prompt and seed; None where that is not known.

    The same nodes changed in the same way (or the same features as a circuit, ablated in the same way), with the same
    held, and the same number watched. Positions are those of a prompt.
    """
    spec = one.settings.get("experiment")
    try:
        if not isinstance(spec, Mapping):
            return None
        held = spec.get("settings") or {}
        about = (CLAIMS.get(one.kind), held.get("mode"), held.get("attention"), one.result.get("metric"))
        if one.kind in ("intervention", "paraphrases"):
            nodes = [(str(c["kind"]), int(c["layer"]), int(c["index"]), c["how"], c["value"]) for c in spec["changes"]]
            return (*about, *sorted(nodes))
        if one.kind == "circuit":
            features = sorted((int(layer), int(feature)) for layer, _, feature in spec["features"])
            return (*about, spec.get("ablation"), spec.get("errors"), *features)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return None


def _prompts(one: Kept) -> set[Prompt | None]:
    """The prompts (their tokens) on which an experiment found its claim supported."""
    provenance = one.result.get("provenance")
    rows: Any = one.result.get("prompts") if one.kind == "paraphrases" else [provenance]
    found = set()
    for row in rows if isinstance(rows, (list, tuple)) else ():
        tokens = row.get("token_ids") if isinstance(row, Mapping) else None
        if one.kind != "paraphrases" or (isinstance(row, Mapping) and row.get("supported") is True):
            found.add(tuple(tokens) if isinstance(tokens, (list, tuple)) else None)
    return found


def _direction(one: Kept) -> int:
    """Which way the watched number moved: 1, -1, or 0 where that is not part of the claim."""
    recorded, changed = one.result.get("recorded"), one.result.get("changed")
    if CLAIMS.get(one.kind) != "change" or not isinstance(recorded, (int, float)):
        return 0
    return 0 if not isinstance(changed, (int, float)) else (changed > recorded) - (changed < recorded)


def _predicted(one: Kept) -> bool:
    """Whether the graph foresaw the direction in which the watched number moved."""
    numbers = [one.result.get(name) for name in ("recorded", "changed", "predicted")]
    if one.kind != "intervention" or not all(isinstance(number, (int, float)) for number in numbers):
        return False
    recorded, changed, predicted = (float(number) for number in numbers if isinstance(number, (int, float)))
    return (changed - recorded) * predicted > 0
