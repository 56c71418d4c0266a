"""What sets of changes write into the residual stream, as vectors: what predictions start from."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.dictionaries.transcoders import to_residual
from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings
from engine.interventions.elsewhere import Others
from engine.interventions.plan import FeatureEntries, HeadEntries, Plan, lay_out
from engine.interventions.prediction import FeatureAt, Write, predicted_effects
from engine.interventions.run import record_other, subject_of
from engine.interventions.sites import Site
from engine.progress import Progress, checkpoint, silent


def predicted_changes(
    case: Case,
    sets: Sequence[Sequence[Change]],
    settings: Settings,
    features: Sequence[FeatureAt] = (),
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> NDArray[np.float64]:
    """(S, features + targets): how far the graph says each set moves each feature's activation and each target.

    Paths pass through the features of layers whose MLPs the settings leave free, to first order. Sets that hold
    different layers are predicted one after the other.
    """
    n_layers = case.model.weights.n_layers
    found = np.zeros((len(sets), len(features) + len(case.targets.vectors)))
    by_range: dict[range, list[int]] = {}
    for number, changes in enumerate(sets):
        by_range.setdefault(settings.range_for(changes, n_layers), []).append(number)
    for held, numbers in by_range.items():
        checkpoint(cancel)
        written = writes_of(case, [sets[number] for number in numbers], settings, cancel)
        if not written:
            continue
        effects = predicted_effects(
            case.frozen,
            [write for _, write in written],
            features,
            case.targets,
            through=lambda layer, held=held: layer not in held,  # type: ignore[misc]
            progress=progress,
            cancel=cancel,
        )
        for column, (number, _) in enumerate(written):
            found[numbers[number]] += effects[:, column]
    return found


def writes_of(
    case: Case, sets: Sequence[Sequence[Change]], settings: Settings, cancel: threading.Event | None = None
) -> list[tuple[int, Write]]:
    """For each set (its number), the vectors by which its changes move the residual stream where they write."""
    model, recording = case.model, case.recording
    with torch.no_grad():
        subject = subject_of(model.weights, recording, case.features, sets, cancel)
        others = Others(model.weights, case.features, lambda ids: record_other(model, ids, cancel), cancel)
        plan = lay_out(subject, sets, settings, others, cancel)
        found: list[tuple[int, Write]] = []
        for layer, entries in plan.features.items():
            site = subject.sites[layer]
            assert site is not None
            found += _features(case, plan, layer, site, entries)
        for layer, vectors in plan.vectors.items():
            place = "embedding" if layer < 0 else "mlp"
            rows = zip(vectors.set.tolist(), vectors.position.tolist(), vectors.vector, strict=True)
            found += [(number, Write(place, layer, position, row)) for number, position, row in rows]
        for layer, heads in plan.heads.items():
            found += _heads(case, layer, heads)
    return found


def _features(case: Case, plan: Plan, layer: int, site: Site, entries: FeatureEntries) -> list[tuple[int, Write]]:
    found = []
    for place in range(min(site.layers_written, case.frozen.n_layers - layer)):
        amount = entries.value - entries.recorded
        offset = site.offset(entries.feature, place)
        if offset is not None:
            amount = amount + offset.to(amount) * (entries.share - entries.recorded_share)
        rows = site.decoder(entries.feature, place).to(amount.dtype) * amount[:, None]
        rows = to_residual(rows, case.recording.layers[layer + place], site.writes, entries.position)
        for number, position, row in zip(entries.set.tolist(), entries.position.tolist(), rows, strict=True):
            # Where MLPs are held, what is written beyond the held layers is cut.
            if plan.recompute or layer + place in plan.held[number]:
                found.append((number, Write("mlp", layer + place, position, row)))
    return found


def _heads(case: Case, layer: int, entries: HeadEntries) -> list[tuple[int, Write]]:
    w, record = case.model.weights.layers[layer].attention, case.recording.layers[layer]
    maps = w.w_o.to(entries.value.dtype).T.reshape(w.n_heads, w.d_head, -1)  # (H, h, d)
    rows = ((entries.value - entries.recorded)[:, None] @ maps[entries.head])[:, 0]
    post = record.attention_post_norm
    if post is not None:
        rows = _at(rows - rows.mean(-1, keepdim=True) if post.centred else rows, post.scale, entries.position)
    written = zip(entries.set.tolist(), entries.position.tolist(), rows, strict=True)
    return [(number, Write("attention", layer, position, row)) for number, position, row in written]


def _at(rows: Tensor, scale: Tensor, position: Tensor) -> Tensor:
    return rows * scale[position]
