"""Graphs handed out while a trace goes on: each is what a cancel at that moment keeps; together they cost little."""

from __future__ import annotations

import threading
from dataclasses import fields, replace

import numpy as np
import pytest

from engine.graphs import AttributionGraph, NodeKind
from engine.tracing import Prompt, TraceSpec, batches, hand_out, rows, trace, workers
from engine.tracing.hand_out import SHARE, SPACING, HandOut
from tests.engine.tracing.tiny_models import features_of, tiny_model

SPEC = TraceSpec(Prompt("5 9 3 17 22 8"), max_nodes=40)


def assert_same(one: AttributionGraph, other: AttributionGraph) -> None:
    for column in fields(AttributionGraph):
        if column.name != "meta":
            here, there = getattr(one, column.name), getattr(other, column.name)
            assert np.array_equal(here, there) if isinstance(here, np.ndarray) else here == there, column.name
    assert {**one.meta, "seconds": None} == {**other.meta, "seconds": None}


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand out at every chance, from batches as small as they can be, one after the other."""
    monkeypatch.setattr(rows, "CACHED_ROWS", 1)
    monkeypatch.setattr(batches, "FEWEST", 2)
    monkeypatch.setattr(workers, "MOST_WORKERS", 1)
    monkeypatch.setattr(hand_out, "SPACING", 0.0)
    monkeypatch.setattr(hand_out, "SHARE", float("inf"))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("kind", ["neurons", "relu", "cross-layer"])
def test_each_graph_is_what_a_cancel_at_that_moment_keeps(kind: str) -> None:
    model, features = tiny_model("llama"), features_of("llama", kind)
    handed: list[AttributionGraph] = []
    whole = trace(model, features, SPEC, on_graph=handed.append).graph  # type: ignore[arg-type]
    assert len(handed) > 2
    counts = [len(graph.of_kind(NodeKind.FEATURE)) for graph in handed]
    assert counts[0] == 0
    assert len(handed[0].of_kind(NodeKind.LOGIT)) == len(whole.of_kind(NodeKind.LOGIT))
    assert counts == sorted(set(counts))
    assert counts[-1] < len(whole.of_kind(NodeKind.FEATURE))
    assert whole.meta["complete"]
    for number, graph in enumerate(handed):
        assert not graph.meta["complete"]
        assert graph.conservation_error.max() < 5e-5
        cancel, calls = threading.Event(), iter(range(len(handed)))

        def stop(_: AttributionGraph, last: int = number, calls: object = calls, cancel: object = cancel) -> None:
            if next(calls) == last:  # type: ignore[call-overload]
                cancel.set()  # type: ignore[attr-defined]

        kept = trace(model, features, SPEC, cancel=cancel, keep_partial=True, on_graph=stop)  # type: ignore[arg-type]
        assert_same(kept.graph, graph)


@pytest.mark.usefixtures("eager")
def test_handing_out_changes_nothing_in_the_end() -> None:
    model, features = tiny_model("llama"), features_of("llama", "relu")
    handed: list[AttributionGraph] = []

    def take(graph: AttributionGraph) -> None:
        handed.append(graph)
        for name in ("influence", "weight", "value", "rest"):
            getattr(graph, name)[...] = 7  # the window may do as it likes with what it was given

    assert_same(
        trace(model, features, SPEC, on_graph=take).graph,  # type: ignore[arg-type]
        trace(model, features, SPEC).graph,  # type: ignore[arg-type]
    )
    assert handed


class Watch:
    """A clock that goes on when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("cost_per_row", [1e-6, 1e-5, 1e-4])
def test_handing_out_keeps_to_its_share_of_the_time(cost_per_row: float) -> None:
    graph = trace(tiny_model("llama"), features_of("llama", "relu"), replace(SPEC, max_nodes=2)).graph  # type: ignore[arg-type]
    watch, times = Watch(), []
    hands = HandOut(lambda _: times.append(watch.now), watch)
    watch.now = 0.5
    for n_rows in range(1, 1001):

        def build(n_rows: int = n_rows) -> AttributionGraph:
            watch.now += cost_per_row * n_rows
            return graph

        hands.offer(n_rows, build)
        watch.now += 0.01
    assert hands.count == len(times) >= 2
    assert times[0] == pytest.approx(0.5, abs=0.01)
    assert hands.spent <= SHARE * watch.now
    assert np.diff(times).min() >= SPACING


@pytest.mark.parametrize("handed_out", [False, True])
def test_progress_is_said_inside_a_batch(handed_out: bool) -> None:
    """One layer of one batch is the longest that nothing is heard and a cancel waits."""
    said: list[tuple[str, float]] = []
    model = tiny_model("llama")
    trace(
        model,  # type: ignore[arg-type]
        features_of("llama", "relu"),
        SPEC,
        lambda *step: said.append(step),
        on_graph=(lambda graph: None) if handed_out else None,
    )
    fractions = [fraction for _, fraction in said]
    assert fractions == sorted(fractions)
    top = [fraction for stage, fraction in said if stage == f"Tracing layer {model.weights.n_layers - 1}"]
    assert len(set(top)) >= model.weights.n_layers - 1
    # The targets' own rows go through every layer, twice where the first of them are handed out before anything else.
    own = [fraction for stage, fraction in said if stage == "Tracing the targets"]
    assert len(set(own)) >= model.weights.n_layers * (2 if handed_out else 1)
