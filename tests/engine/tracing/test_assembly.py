"""Edges as they lie in a graph: each row by falling size, and nothing of a row lost between edges and rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from engine.tracing import assembly, found_rows
from engine.tracing.found_rows import Rows

# Sizes that meet again, both signs, both zeros, and what lies between the smallest numbers.
WEIGHTS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 1e-30, -1e-45, 1e37]) | st.floats(-4, 4, width=32)


def rows(kept: NDArray[np.float32]) -> Rows:
    found = Rows(torch.from_numpy(kept), torch.zeros(len(kept)).double(), torch.zeros(len(kept)).double())
    found.signed += found.kept.sum(-1, dtype=torch.float64)
    found.absolute += found.kept.abs().sum(-1, dtype=torch.float64)
    return found


@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=WEIGHTS), st.data())
def test_rows_are_in_falling_order_and_whole(kept: NDArray[np.float32], data: st.DataObject) -> None:
    n_columns = kept.shape[1]
    column = np.array(data.draw(st.permutations(range(n_columns)))[: data.draw(st.integers(1, n_columns))])
    whole, cut = rows(kept), data.draw(st.integers(0, len(kept)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(found_rows, "EDGES_AT_ONCE", data.draw(st.integers(1, 80)))
        edges = assembly.SortedEdges([whole[:cut], whole[cut:]], column, np.arange(len(column), dtype=np.int32) + 100)
    assert len(edges.count) == len(edges.rest) == len(edges.rest_absolute) == len(kept)
    first = 0
    for row, count in enumerate(edges.count):
        here = slice(first, first + int(count))
        first += int(count)
        taken = [(number, float(kept[row, at])) for number, at in enumerate(column, 100) if kept[row, at] != 0]
        # Python's own sort keeps the order of equals.
        expected = sorted(taken, key=lambda one: -abs(one[1]))
        assert list(zip(edges.source[here].tolist(), edges.weight[here].tolist(), strict=True)) == expected
        left = [float(kept[row, at]) for at in range(n_columns) if at not in column]
        scale = max(np.abs(kept[row]).astype(np.float64).sum(), 1e-38)
        assert abs(edges.rest[row] - sum(left)) <= 1e-6 * scale
        assert abs(edges.rest_absolute[row] - sum(map(abs, left))) <= 1e-6 * scale
    assert first == len(edges.source) == len(edges.weight)
