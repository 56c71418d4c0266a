"""A recording from the cache is the recording: continued, shortened, or branched off, it equals one made afresh."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import Cancelled
from engine.models import attention, forward, recording_cache
from engine.models.recording import FrozenNorm, Recording, record
from engine.models.recording_cache import RecordingCache, size
from tests.engine.models.test_forward import CASES, IDS, distance, from_files, reference, saved
from tests.engine.tracing.tiny_models import tiny_model


def tensors(recording: Recording) -> dict[str, torch.Tensor]:
    found = {"final": recording.final, "final_norm": recording.final_norm.scale}
    for number, layer in enumerate(recording.layers):
        found[f"{number}.pattern"] = layer.pattern
        for field in dataclasses.fields(layer):
            value = getattr(layer, field.name)
            if isinstance(value, torch.Tensor):
                found[f"{number}.{field.name}"] = value
            elif isinstance(value, FrozenNorm):
                found[f"{number}.{field.name}"] = value.scale
    return found


def assert_same(one: Recording, other: Recording) -> None:
    assert one.token_ids == other.token_ids
    assert one.first_position == other.first_position
    ours, theirs = tensors(one), tensors(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].shape == theirs[name].shape, name
        assert distance(ours[name], theirs[name]) < 1e-12, name


@pytest.fixture
def run_positions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many positions each run of the model was given."""
    counts: list[int] = []
    embed = forward.embed

    def counted(weights: Any, ids: torch.Tensor, start: int = 0) -> torch.Tensor:
        counts.append(ids.shape[1])
        return embed(weights, ids, start)

    monkeypatch.setattr(forward, "embed", counted)
    return counts


@pytest.mark.parametrize("case", CASES)
def test_a_continued_prompt_is_recorded_from_where_it_goes_on(
    case: str, tmp_path: Path, run_positions: list[int]
) -> None:
    weights = from_files(saved(reference(case), tmp_path / "model"))
    cache = RecordingCache()
    cache.record(weights, IDS[:7])
    longer = cache.record(weights, IDS, first_position=1)
    again = "long" in case and case != "longrope-short"
    assert run_positions == ([7, len(IDS)] if again else [7, len(IDS) - 7])
    assert_same(longer, record(weights, IDS, first_position=1))


@pytest.mark.parametrize(
    ("ids", "anew"),
    [
        (IDS, 0),  # the same
        (IDS[:9], 1),  # a beginning: only its last position
        ([*IDS[:5], 7, 7, 7], 3),  # another end
        ([*IDS, 3], 1),
        ([1, *IDS], len(IDS) + 1),  # another beginning
    ],
)
@pytest.mark.parametrize("family", ["gemma3", "gpt2", "neox"])
def test_what_is_common_is_not_run_again(family: str, ids: list[int], anew: int, run_positions: list[int]) -> None:
    weights, cache = tiny_model(family).weights, RecordingCache()
    cache.record(weights, IDS, first_position=1)
    found = cache.record(weights, ids)
    assert sum(run_positions) == len(IDS) + anew
    assert_same(found, record(weights, ids))


def test_patterns_that_are_not_kept_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, cache = tiny_model("gemma2").weights, RecordingCache()
    cache.record(weights, IDS[:9])
    monkeypatch.setattr(recording_cache, "PATTERN_BYTES", 0)
    longer = cache.record(weights, IDS)
    assert longer.layers[1].kept_pattern is None
    monkeypatch.setattr(recording_cache, "PATTERN_BYTES", 1 << 30)
    branch = cache.record(weights, [*IDS[:12], 4])
    assert branch.layers[1].kept_pattern is not None
    for found in (longer, branch):
        fresh = record(weights, found.token_ids)
        assert distance(found.layers[2].pattern, fresh.layers[2].pattern) < 1e-12


def test_the_cache_is_bounded() -> None:
    weights, cache = tiny_model("llama").weights, RecordingCache(most=2)
    prompts = [[number, 5, 9] for number in range(4)]
    for prompt in prompts:
        cache.record(weights, prompt)
    assert len(cache) == 2
    one = size(record(weights, prompts[0]))
    # Each layer holds at least four residual-sized tensors and its pattern.
    assert one >= 3 * 8 * (4 * 3 * weights.d_model + 4 * 9)
    for most_bytes, kept in ((3 * one, 3), (3 * one - 1, 2), (one - 1, 0)):
        cache = RecordingCache(most=9, most_bytes=most_bytes)
        for prompt in prompts:
            cache.record(weights, prompt)
        assert len(cache) == kept
    cache = RecordingCache()
    cache.record(weights, IDS)
    cache.clear()
    assert len(cache) == 0


def test_the_last_used_is_kept(run_positions: list[int]) -> None:
    weights, cache = tiny_model("llama").weights, RecordingCache(most=2)
    for first in (2, 3, 2, 4, 2):
        cache.record(weights, [first, 5, 9])
    assert run_positions == [3, 3, 3]


def test_a_cancelled_continuation_leaves_what_was_there() -> None:
    weights, cache, cancel = tiny_model("llama").weights, RecordingCache(), threading.Event()
    cache.record(weights, IDS[:5])
    cancel.set()
    with pytest.raises(Cancelled):
        cache.record(weights, IDS, cancel=cancel)
    assert len(cache) == 1
    assert_same(cache.record(weights, IDS), record(weights, IDS))


def test_a_cache_of_keys_grows_without_losing_any() -> None:
    held, parts = attention.LayerCache(), torch.randn(2, 3, 200, 4).split([1, 1, 40, 70, 88], dim=2)
    for part in parts:
        keys, values = held.extend(part, -part)
    assert torch.equal(keys, torch.cat(parts, dim=2))
    assert torch.equal(values, -torch.cat(parts, dim=2))
