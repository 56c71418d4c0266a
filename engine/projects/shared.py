"""The merged view of several traces: which features they share, how often, how strongly, and how sure that is."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import RequestError
from engine.graphs import AttributionGraph
from engine.graphs.comparison import SharedFeature, shared_features
from engine.graphs.visible_text import visible_text
from engine.progress import Progress, checkpoint, silent
from engine.projects.feature_labels import dictionary_identity
from engine.projects.project import Project

if TYPE_CHECKING:
    from engine.interventions.statistics import Interval

LEAST = 2  # traces that must be chosen, and that a feature must be in


@dataclass(frozen=True)
class SharedRow:
    """One feature of several traces.

    `often`: the share of traces that have it, `strong`: its mean influence (or relevance) over all of them, 0 where it
    is missing, both with the range that holds the same over all such prompts with a confidence of 95 % (Wilson 1927; a
    percentile bootstrap). `places` has one text a trace, "" where the trace does not have it.
    """

    found: SharedFeature
    often: Interval
    strong: Interval
    places: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class SharedTable:
    """What several traces share, features of most traces first. `measure`: "influence" or "relevance"."""

    traces: tuple[int, ...]
    titles: tuple[str, ...]
    rows: tuple[SharedRow, ...]
    measure: str


def find_shared(
    project: Project,
    traces: Sequence[int],
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    *,
    least: int = LEAST,
) -> SharedTable:
    """Read traces of one project and find the features that `least` or more of them have.

    Raises
    ------
    RequestError
        Traces of different dictionaries, whose feature numbers mean different things, or fewer than two traces.
    DamagedProjectError
        A trace cannot be read.
    Cancelled
        The user asked to stop.
    """
    if len(traces) < LEAST:
        raise RequestError("Features are shared by two or more traces; choose more, or trace more prompts.")
    # Late: its folder brings torch, which the window's start must not.
    from engine.interventions.statistics import mean_intervals, share_interval

    names = {dictionary_identity(project.report(trace)) for trace in traces}
    if len(names - {None}) > 1:
        raise RequestError(
            "These traces come from different dictionaries, whose feature numbers mean different things; choose traces "
            "of one."
        )
    labels: list[dict[int, str]] = []
    tokens: list[tuple[str, ...]] = []
    measures: list[str] = []

    def read() -> Iterator[AttributionGraph]:
        for done, trace in enumerate(traces):
            progress("Reading the graphs", done / (len(traces) + 1))
            checkpoint(cancel)
            graph = project.load_graph(trace)
            labels.append(project.annotations(trace).labels)
            tokens.append(tuple(graph.tokens))
            measures.append(graph.measure)
            yield graph

    found = shared_features(read(), least)
    progress("Comparing the graphs", len(traces) / (len(traces) + 1))
    checkpoint(cancel)
    strong = mean_intervals([one.influences for one in found])
    rows = tuple(
        SharedRow(
            one,
            share_interval(len(one.graphs), len(traces)),
            interval,
            tuple(_places(tokens[i], ends) for i, ends in enumerate(one.positions)),
            _label(labels, one),
        )
        for one, interval in zip(found, strong, strict=True)
    )
    titles = {row.id: row.title for row in project.traces()}
    return SharedTable(tuple(traces), tuple(titles.get(t, "") for t in traces), rows, measures[0])


def _label(labels: Sequence[dict[int, str]], found: SharedFeature) -> str:
    """Every name the feature has in these traces, once each."""
    names = [labels[i].get(node, "") for i, nodes in enumerate(found.nodes) for node in nodes]
    return " | ".join(dict.fromkeys(text for text in names if text))


def _places(tokens: Sequence[str], ends: Sequence[int]) -> str:
    """Where a graph has a feature: "␣petit −3, ␣est −1"."""
    return ", ".join(f"{visible_text(tokens[len(tokens) + end])} {end}".replace("-", "−") for end in ends)
