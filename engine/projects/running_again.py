"""Run a kept trace again, and say whether the graph is the same and what has changed since."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.graphs.sameness import TOLERANCE, Sameness, compare_graphs
from engine.progress import Progress, silent

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.models.language_model import LanguageModel
    from engine.projects.project import Project
    from engine.tracing.run import Trace

# What of a report a graph depends on, in the words of a sentence. Times, scores and counts follow from these.
_PROVENANCE = {
    ("model", "name"): "model",
    ("model", "fingerprint"): "model's fingerprint",
    ("features", "name"): "dictionary",
    ("features", "fingerprint"): "dictionary's fingerprint",
    ("machine", "device"): "device",
    ("machine", "dtype"): "number format",
}


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was; `before` or `now` is "" where nobody said."""

    what: str
    before: str
    now: str


@dataclass(frozen=True)
class Rerun:
    """A trace run again: how its graph compares with the kept one, and what it was made with then and now."""

    trace: int
    graph: Sameness
    differences: tuple[Difference, ...]
    complete: bool  # whether the kept trace was; one that was stopped early has fewer nodes
    result: Trace

    @property
    def sentence(self) -> str:
        """What came out, for a person."""
        found = self.graph
        if found.identical:
            return "The graph is the same, bit for bit."
        if found.same:
            return (
                f"The graph is the same: all {found.edges_compared:,} edges agree within {TOLERANCE:.0e} of the "
                f"largest into their node (the worst differs by {found.largest:.1e})."
            )
        parts = [
            *([f"{found.only_first:,} nodes are gone"] if found.only_first else []),
            *([f"{found.only_second:,} are new"] if found.only_second else []),
            *(
                [
                    f"{found.edges_beyond:,} of {found.edges_compared:,} edges differ by more than {TOLERANCE:.0e} of "
                    f"the largest into their node (the worst by {found.largest:.1e})"
                ]
                if found.edges_beyond
                else []
            ),
        ]
        early = "" if self.complete else " The kept trace was stopped early."
        return f"The graph is not the same: {', '.join(parts)}.{early}"


def rerun(
    project: Project,
    trace_id: int,
    model: LanguageModel,
    features: Features,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Rerun:
    """Trace again what a project kept, with a model and a dictionary that the caller loaded. Writes nothing.

    Raises `RequestError` where the project does not say how the trace was made, and what `trace` raises.
    """
    from engine.tracing.run import trace

    asked, kept, before = project.asked(trace_id), project.load_graph(trace_id), project.report(trace_id)
    result = trace(model, features, asked.spec, progress, cancel)
    return Rerun(
        trace_id,
        compare_graphs(kept, result.graph),
        differences(before, result.report),
        bool(before.get("complete", True)),
        result,
    )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What two reports say differently about what a graph depends on."""
    found = [
        Difference(what, _said(before, part, name), _said(now, part, name))
        for (part, name), what in _PROVENANCE.items()
    ]
    versions = [before.get("versions"), now.get("versions")]
    names = dict.fromkeys(name for one in versions if isinstance(one, dict) for name in one)
    found += [
        Difference(f"version of {name}", _said(before, "versions", name), _said(now, "versions", name))
        for name in names
    ]
    return tuple(one for one in found if one.before != one.now)


def _said(report: Mapping[str, Any], part: str, name: str) -> str:
    table = report.get(part)
    value = table.get(name) if isinstance(table, dict) else None
    return "" if value is None else str(value)
