"""How alike features are by when they are active: what an index knows of it, as the measures of a graph's nodes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.evidence.feature_index import FeatureIndex
from engine.progress import Progress, checkpoint


def likeness_of(
    path: Path,
    layer: Sequence[int],
    feature: Sequence[int],
    activation: Sequence[float],
    progress: Progress,
    cancel: threading.Event,
) -> NDArray[np.float64]:
    """(n, n) cosines of features over the indexed text, nan where the index does not say; the same feature has 1.

    The index keeps the cosine of each feature with the few most like it. Two that are active on opposite sides of zero
    (neurons) say nothing. Raises `RequestError` and `Cancelled`.
    """
    index = FeatureIndex(path)
    names = list(zip(layer, feature, strict=True))
    rows: dict[tuple[int, int], list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    found = np.full((len(names), len(names)), np.nan)
    try:
        for done, (name, own) in enumerate(rows.items()):
            checkpoint(cancel)
            progress("Reading what is active together", done / len(rows))
            found[np.ix_(own, own)] = 1.0
            try:
                near = index.page(*name).near
            except RequestError:
                continue  # Not in this index.
            for one in near:
                others = rows.get((one.layer, one.feature), [])
                found[np.ix_(own, others)] = found[np.ix_(others, own)] = one.likeness
    finally:
        index.close()
    sign = np.sign(np.array(activation))
    found[sign[:, None] != sign] = np.nan
    return found
