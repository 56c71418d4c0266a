"""However a sweep is cut, shared out or folded, it finds the same edges: each fast path beside the plain one."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Cancelled, RequestError
from engine.graphs import NodeKind
from engine.models.recording import record
from engine.tracing import Prompt, Target, TraceSpec, batches, frozen, products, rows, sources, trace, workers
from engine.tracing.batches import cut
from engine.tracing.frozen_model import FrozenModel
from engine.tracing.run import Swept, sweep_prompt
from engine.tracing.workers import run_all
from tests.engine.tracing.tiny_models import features_of, tiny_model

PROMPT = (0, 5, 9, 3, 17, 22, 8, 11)
CASES = [
    ("llama", "relu"),
    ("llama", "skip"),
    ("llama-biased", "skip"),
    ("gemma2", "before-post-norm"),
    ("gpt2", "topk"),
    ("neox", "jumprelu"),
    ("qwen3", "one-layer"),
    ("llama", "neurons"),
    ("olmo2", "cross-layer"),
]


def swept(family: str, kind: str, *, forced: bool = False) -> Swept:
    model, features = tiny_model(family), features_of(family, kind)
    recording = record(model.weights, PROMPT, first_position=1)
    spec = TraceSpec(Prompt(token_ids=PROMPT), Target(top_logits=3), max_nodes=50)
    if forced:
        spec = TraceSpec(spec.prompt, spec.target, nodes=chosen(swept(family, kind)))
    return sweep_prompt(model, features, spec, recording)[0]  # type: ignore[arg-type]


def chosen(found: Swept) -> tuple[tuple[int, int, int], ...]:
    """The features that a budget took, as a list to force."""
    return tuple(
        (layer, int(found.layers[layer].position[number]), int(found.layers[layer].feature[number]))
        for layer, block in sorted(found.table.layers.items())
        for number in block.numbers
    )


def assert_same_rows(one: Swept, other: Swept) -> None:
    assert one.table.layers.keys() == other.table.layers.keys()
    assert one.table.layers
    blocks = [(one.table.logits, other.table.logits)]
    blocks += [(block, other.table.layers[layer]) for layer, block in one.table.layers.items()]
    for here, there in blocks:
        assert torch.equal(here.numbers, there.numbers)
        for name in ("kept", "signed", "absolute"):
            first, second = getattr(here.rows, name), getattr(there.rows, name)
            assert torch.allclose(first, second, rtol=1e-11, atol=1e-12 * float(first.abs().max())), name
    assert torch.allclose(one.table.influence, other.table.influence, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("family", "kind"), CASES)
@pytest.mark.parametrize("forced", [False, True])
def test_batches_of_any_size_give_the_same_rows(
    family: str, kind: str, forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = swept(family, kind, forced=forced)
    nodes = chosen(plain)
    for rows_at_once, fewest, step in ((1, 1, 0), (1, 3, 5), (10**6, 10**6, 10**6)):
        monkeypatch.setattr(rows, "CACHED_ROWS", rows_at_once)
        monkeypatch.setattr(batches, "FEWEST", fewest)
        monkeypatch.setattr(batches, "STEP_ROWS", step)
        other = swept(family, kind, forced=forced)
        assert chosen(other) == nodes
        assert_same_rows(plain, other)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_a_constant_first_position_is_folded_exactly(family: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folded = swept(family, kind, forced=True)
    listed = all(sources is not None for sources in folded.model.listed)
    skips = any(features.has_skip for features in folded.layers)
    assert folded.model.foldable == (listed and not skips)
    monkeypatch.setattr(FrozenModel, "foldable", False)
    assert_same_rows(folded, swept(family, kind, forced=True))


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_sources_laid_out_as_rows_are_what_the_dictionary_contracts(
    family: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = swept(family, kind, forced=True)
    # A skip parts the MLP's bias from attention's, where attention has one.
    parted = (family, kind) == ("llama-biased", "skip")
    assert any(sources is not None for sources in listed.model.listed) != (parted or kind in ("neurons", "cross-layer"))
    monkeypatch.setattr(FrozenModel, "listed", (None,) * listed.model.n_layers)
    assert_same_rows(listed, swept(family, kind, forced=True))


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_bands_of_keys_and_patterns_that_are_not_kept_change_nothing(
    family: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = swept(family, kind, forced=True)
    monkeypatch.setattr(frozen, "KEY_BAND", 3)
    assert_same_rows(plain, swept(family, kind, forced=True))
    monkeypatch.setattr(frozen, "kept_bytes", lambda device: 0)
    monkeypatch.setattr(sources, "KEPT_BYTES", 0)
    monkeypatch.setattr(sources, "BAND", 2)
    unkept = swept(family, kind, forced=True)
    assert not any(block.keep for block in unkept.model.attention)
    assert all(one is None or one.kept is None for one in unkept.model.listed)
    assert_same_rows(plain, unkept)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_rows(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = swept("llama", "relu", forced=True)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        monkeypatch.setattr(rows, "CACHED_ROWS", 1)
        monkeypatch.setattr(batches, "FEWEST", 2)
        assert_same_rows(plain, swept("llama", "relu", forced=True))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_every_way_to_a_product_is_the_same() -> None:
    x, weight = torch.randn(70, 48), torch.randn(20, 48)
    exact = x.double() @ weight.double().T
    for way in (products.linear_for(x), torch.nn.functional.linear):
        assert torch.allclose(way(x, weight).double(), exact, rtol=1e-4, atol=1e-4)
    wide = products.linear_for(x.double())(x.double(), weight.double())
    assert torch.allclose(wide, exact, rtol=1e-12, atol=1e-12)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 11)), min_size=1, max_size=80),
    st.integers(1, 300),
)
def test_a_cut_holds_every_target_once(targets: list[tuple[int, int]], rows_at_once: int) -> None:
    positions, layers = np.array([p for p, _ in targets]), np.array([layer for _, layer in targets])
    found = cut(positions, layers, rows_at_once)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(targets)))
    for batch in found:
        assert (np.diff(layers[batch]) <= 0).all()
        width = positions[batch].max() + 1
        assert len(batch) <= max(rows_at_once // width, batches.FEWEST)
    assert [positions[batch].max() for batch in found] == sorted((positions[b].max() for b in found), reverse=True)


def test_a_cut_costs_no_more_than_any_cut_into_bands() -> None:
    rng = np.random.default_rng(3)
    positions, layers = rng.integers(0, 6, 40), rng.integers(0, 5, 40)
    top = layers.max() + 1

    def cost(groups: list[list[int]]) -> float:
        total = 0.0
        for group in groups:
            members = np.isin(positions, group)
            if members.any():
                width = positions[members].max() + 1
                total += width * (layers[members] + 1).sum() + top * (batches.STEP_ROWS + width)
        return total

    values = sorted(set(positions.tolist()))
    every = []
    for walls in range(2 ** (len(values) - 1)):
        groups = [[values[0]]]
        for number, value in enumerate(values[1:]):
            if walls >> number & 1:
                groups.append([])
            groups[-1].append(value)
        every.append(cost(groups))
    mine = cost([sorted(set(positions[batch].tolist())) for batch in cut(positions, layers, 10**6)])
    assert mine == pytest.approx(min(every))


def test_workers_pass_on_what_goes_wrong_and_stop_the_others() -> None:
    stopped = []

    def work(number: int, stop: threading.Event) -> int:
        if number == 0:
            raise ValueError("this one fails")
        stopped.append(stop.wait(30))
        return number

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="this one fails"):
            list(run_all(range(4), work, lambda: None, torch.device("cpu")))
    finally:
        torch.set_num_threads(before)
    assert all(stopped)


def test_a_cancel_reaches_work_that_is_under_way() -> None:
    cancel, ended = threading.Event(), []

    def work(number: int, stop: threading.Event) -> int:
        cancel.set()
        ended.append(stop.wait(30))
        return number

    def look() -> None:
        if cancel.is_set():
            raise Cancelled

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(Cancelled):
            list(run_all(range(5), work, look, torch.device("cpu")))
    finally:
        torch.set_num_threads(before)
    assert ended
    assert all(ended)


def test_results_come_with_the_number_of_their_item() -> None:
    def work(number: int, stop: threading.Event) -> int:
        time.sleep(0.001 * (number % 3))
        return number * number

    for threads in (1, 3):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            found = dict(run_all(range(9), work, lambda: None, torch.device("cpu")))
        finally:
            torch.set_num_threads(before)
        assert found == {number: number * number for number in range(9)}
        assert workers.MOST_WORKERS > 1


@pytest.mark.parametrize("kind", ["relu", "neurons", "cross-layer"])
def test_what_bfloat16_operands_cost_is_measured(kind: str) -> None:
    model, features = tiny_model("llama"), features_of("llama", kind)
    plain = trace(model, features, TraceSpec(Prompt(token_ids=PROMPT), max_nodes=40))  # type: ignore[arg-type]
    nodes = tuple(
        (int(plain.graph.layer[n]), int(plain.graph.position[n]), int(plain.graph.feature[n]))
        for n in plain.graph.of_kind(NodeKind.FEATURE)
    )
    found_rows = {}
    for dtype in ("float32", "bfloat16"):
        spec = TraceSpec(Prompt(token_ids=PROMPT), nodes=nodes, edge_mass=1.0, sweep_dtype=dtype)
        found = trace(model, features, spec)  # type: ignore[arg-type]
        graph = found.graph
        edges = np.zeros((graph.n_nodes, graph.n_nodes))
        edges[graph.target, graph.source] = graph.weight
        found_rows[dtype] = (edges, found.report["sweep_error"])
    exact, said = found_rows["float32"][0], found_rows["bfloat16"][1]
    assert found_rows["float32"][1] is None
    size = np.abs(exact).max(1)
    off = (np.abs(found_rows["bfloat16"][0] - exact).max(1)[size > 0] / size[size > 0]).max()
    # Fewer rows than are checked: all of them were.
    assert 1e-5 < off < 0.05
    assert said == pytest.approx(off, rel=1e-3)


def test_a_sweep_in_another_dtype_is_refused() -> None:
    model, features = tiny_model("llama"), features_of("llama", "relu")
    with pytest.raises(RequestError, match="float32 or in bfloat16, not in 'float16'"):
        trace(model, features, TraceSpec(Prompt(token_ids=PROMPT), sweep_dtype="float16"))  # type: ignore[arg-type]
