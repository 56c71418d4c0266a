"""Figures about figures, against counting by hand, closed forms and each other's definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.interventions.curves import Curve, curve_sizes, faithfulness, make_curve
from engine.interventions.outcomes import kl_divergence, token_outcomes
from engine.interventions.statistics import (
    agreement,
    benjamini_hochberg,
    bootstrap_interval,
    permutation_p,
    ranks,
    spearman,
)

NUMBERS = st.lists(st.integers(-5, 5), min_size=2, max_size=30)


def test_p_counts_ties_and_itself() -> None:
    assert permutation_p(3.0, [1, 2, 3, 4]) == (1 + 2) / 5
    assert permutation_p(9.0, [1] * 99) == 1 / 100
    assert permutation_p(0.0, [1] * 9) == 1.0


def test_p_of_a_random_member_is_uniform_over_all_orders() -> None:
    # Whichever of n + 1 different numbers is taken for the effect, the p-values are 1/(n+1), 2/(n+1), ... once each.
    values = [0.3, 1.4, -2.0, 5.0, 0.9]
    found = sorted(permutation_p(one, [v for v in values if v != one]) for one in values)
    assert np.allclose(found, np.arange(1, 6) / 5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusted_p_values_are_the_smallest_level_that_rejects(p_values: list[float]) -> None:
    # The procedure's own definition: at level q, reject the k smallest for the largest k with p_(k) <= k q / m.
    adjusted = benjamini_hochberg(p_values)
    m, ordered = len(p_values), sorted(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        levels = [ordered[k - 1] * m / k for k in range(1, m + 1) if ordered[k - 1] >= p]
        assert q == pytest.approx(min(1.0, *levels))


@given(NUMBERS)
def test_ranks_count_smaller_and_half_of_equal(values: list[int]) -> None:
    expected = [sum(o < v for o in values) + (sum(o == v for o in values) + 1) / 2 for v in values]
    assert ranks(values).tolist() == expected


@given(st.permutations(list(range(7))))
def test_spearman_without_ties_is_the_textbook_formula(order: list[int]) -> None:
    d2 = sum((one - at) ** 2 for at, one in enumerate(order))
    assert spearman(range(7), order) == pytest.approx(1 - 6 * d2 / (7 * (49 - 1)))


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=3, max_size=20))
def test_pearson_is_numpys(pairs: list[tuple[float, float]]) -> None:
    x, y = np.array(pairs).T
    found = agreement(x, y)
    if x.std() > 1e-3 and y.std() > 1e-3:
        assert found.pearson == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-7)
    if np.abs(x).max() > 1e-3:
        assert found.slope == pytest.approx(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0], abs=1e-7)


def test_signs_are_compared_where_there_are_any() -> None:
    assert agreement([1, -1, 2, 0], [3, 2, 1, -1]).same_sign == pytest.approx(2 / 3)
    assert math.isnan(agreement([0, 0], [1, 2]).same_sign)
    assert math.isnan(agreement([1, 1], [1, 2]).pearson)


def test_bootstrap_is_every_resample() -> None:
    # With three values all 27 resamples can be listed: their quantiles are what many random ones come to.
    values = [1.0, 2.0, 6.0]
    every = [sum(one) / 3 for one in itertools.product(values, repeat=3)]
    found = bootstrap_interval(values, resamples=40_000, confidence=0.8)
    assert found.mean == 3.0
    assert found.low == pytest.approx(np.quantile(every, 0.1), abs=0.35)
    assert found.high == pytest.approx(np.quantile(every, 0.9), abs=0.35)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert math.isnan(bootstrap_interval([1.0]).low) and bootstrap_interval([1.0]).mean == 1.0


def test_outcomes_by_hand() -> None:
    before, after = torch.log(torch.tensor([0.5, 0.3, 0.2])), torch.log(torch.tensor([0.1, 0.3, 0.6])) + 7
    expected = 0.5 * math.log(5) + 0 + 0.2 * math.log(0.2 / 0.6)
    assert kl_divergence(before, after[None])[0] == pytest.approx(expected, abs=1e-6)
    first, last = token_outcomes(before, after, [0, 2])
    assert (first.rank_before, first.rank, last.rank_before, last.rank) == (0, 2, 2, 0)
    assert first.probability == pytest.approx(0.1) and last.probability_before == pytest.approx(0.2)
    assert first.logit == pytest.approx(math.log(0.1) + 7)


def test_areas_of_a_curve_with_a_known_integral() -> None:
    # f(k) = 2k up to 1: area 1, |1 - f| has two triangles of 1/4 each.
    curve = make_curve([0, 2, 4], [10.0, 14.0, 18.0], count=4, full=14.0, empty=10.0)
    assert curve.values == (0.0, 1.0, 2.0) and curve.shares == (0.0, 0.5, 1.0)
    assert curve.cpr == pytest.approx(1.0) and curve.cmd == pytest.approx(0.5)
    assert Curve((0, 4), (0.0, 1.0), (1.0, 1.0)).cmd == 0.0


def test_faithfulness_is_one_for_the_model_and_zero_for_nothing() -> None:
    assert faithfulness([3.0, 1.0, 2.0], 3.0, 1.0).tolist() == [1.0, 0.0, 0.5]
    assert np.isnan(faithfulness([3.0], 2.0, 2.0)).all()
    assert curve_sizes(1000) == (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    assert curve_sizes(3) == (0, 1, 2, 3)
