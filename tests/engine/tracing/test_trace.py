"""A whole trace on small models: budget, forced nodes, targets, the report, symmetries, cancelling."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.errors import Cancelled, RequestError
from engine.graphs import AttributionGraph, NodeKind, scores
from engine.models import forward
from engine.tracing import Prompt, Target, Trace, TraceSpec, trace
from tests.engine.graphs import dense_reference as dense
from tests.engine.tracing.tiny_models import FAMILIES, features_of, tiny_model

PROMPT = Prompt("5 9 3 17 22 8")
EVERYTHING = TraceSpec(PROMPT, max_nodes=10_000, edge_mass=1.0)


def run(family: str = "llama", kind: str = "relu", spec: TraceSpec = EVERYTHING) -> Trace:
    return trace(tiny_model(family), features_of(family, kind), spec)  # type: ignore[arg-type]


def keyed_edges(graph: AttributionGraph) -> dict[tuple[object, ...], float]:
    def key(node: int) -> tuple[int, ...]:
        return tuple(int(column[node]) for column in (graph.kind, graph.layer, graph.position, graph.feature))

    return {(key(s), key(t)): float(w) for s, t, w in zip(graph.source, graph.target, graph.weight, strict=True)}


@pytest.mark.parametrize("kind", ["neurons", "relu", "skip", "cross-layer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_is_whole_and_conserves(family: str, kind: str) -> None:
    result = run(family, kind)
    graph = result.graph
    assert graph.conservation_error.max() < 5e-5  # float32 columns; the float64 sweep itself is far below
    assert result.report["conservation_error"] < 1e-9
    assert result.report["unexplored"] == pytest.approx(0, abs=1e-9)
    assert (graph.rest_absolute <= 1e-5 * graph.input_mass[graph.traced]).all()
    assert (np.diff(graph.target) >= 0).all()
    below = graph.layer[graph.source] < graph.layer[graph.target]
    # An attention bias is written in the target's own layer, between attention and MLP.
    same = (graph.kind[graph.source] == NodeKind.BIAS) & (graph.layer[graph.source] == graph.layer[graph.target])
    assert (below | same).all()
    placed = graph.position[graph.source] >= 0
    assert (graph.position[graph.source] <= graph.position[graph.target])[placed].all()


def test_the_report_is_plain_and_complete() -> None:
    report = run(spec=replace(EVERYTHING, max_nodes=20)).report
    expected = "top_tokens nodes edges replacement completeness conservation_error unexplored seconds settings versions"
    assert set(expected.split()) <= set(report)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert sum(v for k, v in report["seconds"].items() if k != "total") == pytest.approx(report["seconds"]["total"])
    assert report["feature_nodes"] == 20


def test_scores_of_the_whole_graph_equal_the_dense_definition() -> None:
    result = run("llama", "relu", replace(EVERYTHING, compatible=True))
    replacement, completeness = dense.scores(result.graph)
    assert result.report["compatible"]["replacement"] == pytest.approx(replacement, rel=1e-6)
    assert result.report["compatible"]["completeness"] == pytest.approx(completeness, rel=1e-6)
    assert not (result.graph.kind == NodeKind.BIAS).any()
    assert result.graph.conservation_error.max() < 1e-5, "what biases write must be in the rest"


def test_influence_found_on_the_way_down_equals_influence_of_the_finished_graph() -> None:
    graph = run("llama", "relu").graph
    weight = dense.logit_weight(graph)
    extra = np.zeros(graph.n_nodes)
    extra[graph.traced] = graph.rest_absolute
    expected = dense.influence(dense.normalise(dense.adjacency(graph), extra), weight / weight.sum())
    not_logit = graph.kind != NodeKind.LOGIT
    assert np.allclose(graph.influence[not_logit], expected[not_logit], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", ["neurons", "relu", "topk"])
@pytest.mark.parametrize("budget", [1, 7, 40])
def test_a_budget_is_kept_and_its_edges_are_those_of_the_whole_graph(kind: str, budget: int) -> None:
    whole, part = run(kind=kind).graph, run(kind=kind, spec=replace(EVERYTHING, max_nodes=budget))
    assert len(part.graph.of_kind(NodeKind.FEATURE)) == budget
    edges = keyed_edges(whole)
    for key, weight in keyed_edges(part.graph).items():
        assert weight == pytest.approx(edges[key], rel=1e-4, abs=1e-6)
    assert part.graph.conservation_error.max() < 1e-5
    assert 0 < part.report["unexplored"] < 1


def test_unexplored_falls_as_the_budget_grows() -> None:
    shares = [run(spec=replace(EVERYTHING, max_nodes=n)).report["unexplored"] for n in (1, 5, 20, 80)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_unexplored_is_the_influence_that_ends_on_features_without_a_node() -> None:
    """Everything the logits pass down ends on embeddings, errors, biases or features without a row."""
    result = run(spec=replace(EVERYTHING, max_nodes=25))
    graph = result.graph
    ends = (graph.kind != NodeKind.FEATURE) & (graph.kind != NodeKind.LOGIT)
    assert graph.influence[ends].sum() + result.report["unexplored"] == pytest.approx(1, abs=1e-5)


def test_forced_nodes_are_exactly_the_nodes() -> None:
    whole = run().graph
    some = [int(node) for node in whole.of_kind(NodeKind.FEATURE)[3::17]]
    nodes = tuple((int(whole.layer[n]), int(whole.position[n]), int(whole.feature[n])) for n in some)
    part = run(spec=replace(EVERYTHING, nodes=nodes)).graph
    features = part.of_kind(NodeKind.FEATURE)
    found = {(int(part.layer[n]), int(part.position[n]), int(part.feature[n])) for n in features}
    assert found == set(nodes)
    edges = keyed_edges(whole)
    assert all(weight == pytest.approx(edges[key], rel=1e-4, abs=1e-6) for key, weight in keyed_edges(part).items())


@pytest.mark.parametrize("node", [(0, 1, 10_000), (99, 1, 0), (0, 50, 0)])
def test_a_forced_node_that_is_not_active_is_refused(node: tuple[int, int, int]) -> None:
    with pytest.raises(RequestError, match="not active|no layer"):
        run(spec=replace(EVERYTHING, nodes=(node,)))


def test_permuting_features_permutes_the_graph() -> None:
    family = "gemma3"
    model, features = tiny_model(family), features_of(family, "relu")
    assert isinstance(features, TranscoderFeatures)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    permuted = TranscoderFeatures(
        "permuted",
        "permuted",
        [
            None
            if one is None
            else replace(one, w_enc=one.w_enc[order], b_enc=one.b_enc[order], w_dec=one.w_dec[order])
            for one in features.transcoders
        ],
        [layer.mlp_gain for layer in model.weights.layers],
    )
    spec = replace(EVERYTHING, max_nodes=60)
    before = trace(model, features, spec).graph  # type: ignore[arg-type]
    after = trace(model, permuted, spec).graph  # type: ignore[arg-type]
    feature = after.feature.copy()
    is_feature = after.kind == NodeKind.FEATURE
    feature[is_feature] = order.numpy()[feature[is_feature]]
    renamed = replace(after, feature=feature)
    first, second = keyed_edges(before), keyed_edges(renamed)
    assert first.keys() == second.keys()
    assert all(weight == pytest.approx(second[key], rel=1e-5, abs=1e-7) for key, weight in first.items())
    assert scores(before).replacement == pytest.approx(scores(after).replacement, rel=1e-6)


@pytest.mark.parametrize("family", ["llama", "gemma3", "neox"])
def test_a_cross_layer_set_that_writes_only_at_home_is_the_per_layer_set(family: str) -> None:
    model, plain = tiny_model(family), features_of(family, "relu")
    assert isinstance(plain, TranscoderFeatures)
    count = model.weights.n_layers
    wide = []
    for layer, one in enumerate(plain.transcoders):
        assert one is not None
        assert isinstance(one.w_dec, torch.Tensor)
        decoder = torch.zeros(one.width, count - layer, 24, dtype=torch.float64)
        decoder[:, 0] = one.w_dec
        wide.append(replace(one, w_dec=decoder))
    crossed = TranscoderFeatures("crossed", "crossed", wide, plain.gains)
    before = trace(model, plain, EVERYTHING).graph  # type: ignore[arg-type]
    after = trace(model, crossed, EVERYTHING).graph  # type: ignore[arg-type]
    first, second = keyed_edges(before), keyed_edges(after)
    assert first.keys() == second.keys()
    assert all(weight == pytest.approx(second[key], rel=1e-5, abs=1e-7) for key, weight in first.items())


def test_a_difference_is_the_difference_of_two_rows() -> None:
    single = {token: run(spec=replace(EVERYTHING, target=Target(token=token))).graph for token in ("4", "11")}
    both = run(spec=replace(EVERYTHING, target=Target(token="4", against="11"))).graph
    rows = {name: dense.adjacency(graph)[-1] for name, graph in {**single, "both": both}.items()}
    assert np.allclose(rows["both"], rows["4"] - rows["11"], atol=1e-5)
    assert both.logit_text == ("<4> − <11>",)


def test_a_direction_can_be_a_logit() -> None:
    model = tiny_model("llama")
    vector = model.weights.unembed[4] - model.weights.unembed.mean(0)
    logit = run(spec=replace(EVERYTHING, target=Target(token="4"))).graph
    direction = run(spec=replace(EVERYTHING, target=Target(direction=tuple(vector.tolist())))).graph
    assert np.allclose(dense.adjacency(logit)[-1], dense.adjacency(direction)[-1], atol=1e-6)


def test_a_weighted_sum_is_the_sum_of_rows() -> None:
    single = {token: run(spec=replace(EVERYTHING, target=Target(token=token))).graph for token in ("4", "11")}
    weighted = run(spec=replace(EVERYTHING, target=Target(weighted=(("4", 2.0), ("11", -2.0))))).graph
    expected = 2 * (dense.adjacency(single["4"])[-1] - dense.adjacency(single["11"])[-1])
    assert np.allclose(dense.adjacency(weighted)[-1], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["neurons", "relu", "cross-layer"])
@pytest.mark.parametrize("family", ["llama-biased", "gemma3", "neox", "gpt2"])
def test_a_feature_as_the_target_has_the_row_it_has_as_a_node(family: str, kind: str) -> None:
    whole = run(family, kind).graph
    node = int(whole.of_kind(NodeKind.FEATURE)[-5])
    feature = (int(whole.layer[node]), int(whole.position[node]), int(whole.feature[node]))
    assert feature[0] > 0
    result = run(family, kind, replace(EVERYTHING, target=Target(feature=feature)))
    alone = result.graph
    target = int(alone.of_kind(NodeKind.LOGIT)[0])
    in_whole, edges = keyed_edges(whole), keyed_edges(alone)

    def key(graph: AttributionGraph, one: int) -> tuple[int, ...]:
        return tuple(int(column[one]) for column in (graph.kind, graph.layer, graph.position, graph.feature))

    row = {source: weight for (source, at), weight in edges.items() if at == key(alone, target)}
    expected = {source: weight for (source, at), weight in in_whole.items() if at == key(whole, node)}
    assert row.keys() == expected.keys()
    assert all(weight == pytest.approx(expected[source], rel=1e-4, abs=1e-6) for source, weight in row.items())
    assert result.report["conservation_error"] < 1e-9
    assert (alone.layer[alone.of_kind(NodeKind.FEATURE)] < feature[0]).all()
    assert alone.logit_text == (f"layer {feature[0]} · {feature[2]}",)


def test_a_feature_that_is_not_active_cannot_be_traced() -> None:
    with pytest.raises(RequestError, match="not active"):
        run(spec=replace(EVERYTHING, target=Target(feature=(1, 2, 10_000))))


def test_a_wrong_direction_is_refused() -> None:
    with pytest.raises(RequestError, match="24"):
        run(spec=replace(EVERYTHING, target=Target(direction=(1.0, 2.0))))


def test_an_earlier_position_is_the_shorter_prompt() -> None:
    early = run(spec=replace(EVERYTHING, target=Target(position=3))).graph
    short = run(spec=replace(EVERYTHING, prompt=Prompt("5 9 3"))).graph
    assert keyed_edges(early) == keyed_edges(short)
    assert early.tokens == short.tokens


@pytest.mark.parametrize("position", [7, -8, 100])
def test_a_position_outside_the_prompt_is_refused(position: int) -> None:
    with pytest.raises(RequestError, match="0 to 6"):
        run(spec=replace(EVERYTHING, target=Target(position=position)))


def test_automatic_targets_are_the_smallest_set_with_the_mass() -> None:
    graph = run(spec=replace(EVERYTHING, target=Target(top_logits=30, logit_mass=0.6))).graph
    logits = tiny_model("llama").hf(torch.tensor([[0, 5, 9, 3, 17, 22, 8]])).logits[0, -1]
    probability = logits.softmax(-1).sort(descending=True).values
    count = len(graph.logit_probability)
    assert np.allclose(graph.logit_probability, probability[:count], rtol=1e-5)
    assert probability[:count].sum() >= 0.6 > probability[: count - 1].sum()


@pytest.fixture
def one_worker() -> Iterator[None]:
    """Batches one after the other, so that every run reports as often."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("kind", ["neurons", "relu"])
def test_progress_rises_and_a_cancel_stops(kind: str) -> None:
    seen: list[float] = []
    trace(
        tiny_model("llama"),  # type: ignore[arg-type]
        features_of("llama", kind),
        EVERYTHING,
        progress=lambda stage, fraction: seen.append(fraction),
        reuse=False,
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    for after in (1, len(seen) // 2, len(seen) - 3):
        cancel = threading.Event()
        calls = iter(range(len(seen)))

        def stop(
            stage: str, fraction: float, after: int = after, calls: object = calls, cancel: threading.Event = cancel
        ) -> None:
            if next(calls) == after:  # type: ignore[call-overload]
                cancel.set()

        with pytest.raises(Cancelled):
            trace(tiny_model("llama"), features_of("llama", kind), EVERYTHING, stop, cancel, reuse=False)  # type: ignore[arg-type]


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("kind", ["neurons", "relu", "cross-layer"])
@pytest.mark.parametrize("after", [5, 7, 9])
def test_a_stopped_trace_keeps_what_it_found(kind: str, after: int) -> None:
    """Every row of the partial graph is a row of the whole one, and what is missing counts as unexplored."""
    cancel, calls = threading.Event(), iter(range(1000))

    def stop(stage: str, fraction: float) -> None:
        # The targets' own rows are there by then.
        if stage.startswith("Tracing") and "targets" not in stage and next(calls) == after:
            cancel.set()

    spec = replace(EVERYTHING, prompt=Prompt("5 9 3 17 22 8 " * 3))
    model, features = tiny_model("llama"), features_of("llama", kind)
    whole = trace(model, features, spec).graph  # type: ignore[arg-type]
    found = trace(model, features, spec, stop, cancel, keep_partial=True)  # type: ignore[arg-type]
    assert not found.report["complete"]
    assert 0 < len(found.graph.of_kind(NodeKind.FEATURE)) < len(whole.of_kind(NodeKind.FEATURE))
    assert found.graph.conservation_error.max() < 5e-5
    assert 0 < found.report["unexplored"] <= 1
    edges = keyed_edges(whole)
    assert all(
        weight == pytest.approx(edges[key], rel=1e-4, abs=1e-6) for key, weight in keyed_edges(found.graph).items()
    )


def test_too_little_memory_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.errors import MachineError
    from engine.tracing import memory

    monkeypatch.setattr(memory, "available_bytes", lambda device: 10_000_000)
    with pytest.raises(MachineError, match="shorter prompt"):
        run()


def test_a_prompt_that_goes_on_from_another_is_traced_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second prompt begins as the first: only what follows is run, and the graph is that of a whole run."""
    model, ran = tiny_model("gemma2"), list[int]()
    features, embed = features_of("gemma2", "relu"), forward.embed

    def counted(weights: Any, ids: torch.Tensor, start: int = 0) -> torch.Tensor:
        ran.append(ids.shape[1])
        return embed(weights, ids, start)

    monkeypatch.setattr(forward, "embed", counted)
    model.recordings.clear()
    trace(model, features, TraceSpec(Prompt("5 9 3")))  # type: ignore[arg-type]
    longer = TraceSpec(Prompt("5 9 3 17 22"))
    continued = trace(model, features, longer)  # type: ignore[arg-type]
    afresh = trace(model, features, longer, reuse=False)  # type: ignore[arg-type]
    assert ran == [4, 2, 6]
    assert (continued.graph.feature == afresh.graph.feature).all()
    assert np.allclose(continued.graph.weight, afresh.graph.weight, rtol=0, atol=1e-6)
    assert continued.report["conservation_error"] < 1e-9


@pytest.mark.parametrize(("kind", "reads"), [("relu", [1, 1, 2]), ("neurons", [1, 1, 2]), ("cross-layer", [1, 2, 3])])
def test_another_target_of_a_prompt_finds_its_features_read(
    kind: str, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, features, read = tiny_model("llama"), features_of("llama", kind), list[int]()
    plain = type(features).read

    def counted(self: Any, *arguments: Any) -> Any:
        read.append(1)
        return plain(self, *arguments)

    monkeypatch.setattr(type(features), "read", counted)
    model.recordings.clear()
    counts, graphs = [], []
    for target, reuse in ((Target(token_id=3), True), (Target(token_id=4), True), (Target(token_id=4), False)):
        spec = TraceSpec(Prompt("5 9 3 30"), target)
        graphs.append(trace(model, features, spec, reuse=reuse).graph)  # type: ignore[arg-type]
        counts.append(len(read))
    assert counts == reads
    assert np.array_equal(graphs[1].weight, graphs[2].weight)
