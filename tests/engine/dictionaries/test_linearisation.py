"""phi(z)/z equals a division where a division works, and its limit where it does not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.activations import ACT2FN

from engine.dictionaries.linearisation import slope_through_origin
from engine.models.families.parts import ACTIVATIONS


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@given(value=st.floats(-30, 30))
def test_slope_times_input_is_the_activation(name: str, value: float) -> None:
    z = torch.tensor([value], dtype=torch.float64)
    slope = slope_through_origin(z, ACTIVATIONS[name])
    assert torch.allclose(slope * z, ACT2FN[name](z), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu_pytorch_tanh"])
def test_the_limit_at_zero_is_finite(name: str) -> None:
    tiny = torch.tensor([0.0, 1e-300, -1e-300], dtype=torch.float64)
    assert torch.allclose(slope_through_origin(tiny, ACTIVATIONS[name]), torch.full((3,), 0.5, dtype=torch.float64))
