"""Which features TopK keeps: of a position, one a group, or of the whole prompt."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.dictionaries.transcoders import Choice, Transcoder
from tests.engine.dictionaries.layout import batch_top_k, group_max, top_k


def kept(pre: Tensor, k: int, choice: Choice) -> Tensor:
    """Values after the gate."""
    d, n = 2, pre.shape[1]
    zeros = torch.zeros(n, d, dtype=pre.dtype)
    coder = Transcoder(zeros, zeros[:, 0], zeros, zeros[0], top_k=k, choice=choice)
    return torch.where(coder.gate(pre), pre, 0)


@pytest.mark.parametrize("seed", range(5))
def test_as_the_programs_encoders(seed: int) -> None:
    pre = torch.randn(7, 24, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.equal(kept(pre, 4, "position"), top_k(pre, 4))
    assert torch.equal(kept(pre, 4, "group"), group_max(pre, 4))
    assert torch.equal(kept(pre, 4, "prompt"), batch_top_k(pre, 4))


def test_one_loud_position_keeps_no_more_than_four_times_its_share() -> None:
    pre = torch.rand(6, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pre[0] += 100
    active = kept(pre, 1, "prompt") > 0
    assert torch.equal(kept(pre, 1, "prompt"), batch_top_k(pre, 1))
    assert active[0].sum() == 4 and active[1:].sum() == 2


def test_nothing_that_is_not_positive_is_active() -> None:
    pre = -torch.rand(3, 8, dtype=torch.float64)
    pre[1, 5] = 0.5
    choices: tuple[Choice, ...] = ("position", "group", "prompt")
    for choice in choices:
        assert kept(pre, 2, choice).nonzero().tolist() == [[1, 5]]
