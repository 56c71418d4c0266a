"""Many changed runs of one prompt at once, layer by layer, from the first layer and position that any of them touches.

What comes before is the recorded run's. Runs are in the order in which they begin to differ, so that each layer carries
only those that already do. Shapes: b runs so far, T' positions from `start` on, d residual width, W watched features.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from engine.interventions.block import NormName, run_block
from engine.interventions.changes import Watched
from engine.interventions.heads import HeldAttention
from engine.interventions.plan import FeatureEntries, HeadEntries, Plan, Subject, activation_at, too_large, watched_at
from engine.interventions.sites import Reading, Site
from engine.interventions.written import Writes, overflowing
from engine.models.attention import LayerCache, attend, project_keys_values
from engine.models.forward import KeyValueCache, unembed, unembed_normed
from engine.models.mlp import mlp
from engine.models.norms import normalise
from engine.models.recording import FrozenNorm
from engine.models.weights import LayerWeights, NormWeights

_Entries = TypeVar("_Entries", FeatureEntries, HeadEntries)


@dataclass(frozen=True)
class Held:
    """What answers to the changes besides the MLPs: `attention` patterns and `norms` may be the recorded ones."""

    attention: bool
    norms: bool


@dataclass(frozen=True)
class Answers:
    """What b runs came to, in the order of the sets that were asked for."""

    final: Tensor  # (b, T', d) before the final norm
    linear: Tensor  # (b, W)
    activation: Tensor  # (b, W)


class ChangedRuns:
    """The runs of some sets of a plan. `cache` keeps keys and values of all positions, for what is generated."""

    def __init__(
        self,
        subject: Subject,
        plan: Plan,
        sets: Sequence[int],
        held: Held,
        watched: Sequence[Watched],
        recorded: tuple[Tensor, Tensor],
        cache: KeyValueCache | None = None,
    ) -> None:
        self._subject, self._plan, self._held, self._cache = subject, plan, held, cache
        self._order = sorted(sets, key=lambda one: plan.first_layer[one])
        self._begin = [0 if cache is not None else plan.first_layer[one] for one in self._order]
        self._asked = list(sets)
        recording, device = subject.recording, subject.weights.device
        n = recording.n_positions
        self._start = 0 if cache is not None else min((plan.first_position[one] for one in sets), default=n)
        self._run_of = torch.full((len(plan.first_layer),), -1, dtype=torch.long, device=device)
        self._run_of[torch.tensor(self._order, device=device)] = torch.arange(len(self._order), device=device)
        self._writes = Writes(subject.weights.n_layers, len(self._order))
        self._watched = watched
        self._linear, self._activation = (one.repeat(len(self._order), 1) for one in recorded)

    def run(self, cancel: threading.Event | None) -> Answers:
        """Run every layer."""
        recording = self._subject.recording
        x = recording.final.new_zeros(0, recording.n_positions - self._start, recording.final.shape[1])
        for number, layer in enumerate(self._subject.weights.layers):
            x = self._joined(x, recording.layers[number].pre, number)
            if len(x):
                x = self._with_vectors(x, -1) if number == 0 else x
                x = self._with_vectors(run_block(self, number, layer, x, cancel), number)
        x = self._joined(x, recording.final, self._subject.weights.n_layers)
        if over := self._writes.overflowed | overflowing(x):
            raise too_large(self._plan.sets[self._order[min(over)]])
        back = self._run_of[torch.tensor(self._asked, device=x.device)]
        return Answers(x[back], self._linear[back], self._activation[back])

    def logits(self, final: Tensor, positions: Sequence[int]) -> Tensor:
        """(b, P, V) at positions of the prompt, for what `run` gave; recorded ones where nothing was run again."""
        rows = torch.stack([self._final_at(final, position) for position in positions], dim=1).flatten(0, 1)
        weights, recording = self._subject.weights, self._subject.recording
        if self._held.norms:
            at = torch.tensor(positions, device=rows.device).repeat(len(final))
            norm = recording.final_norm
            centred = rows - rows.mean(-1, keepdim=True) if norm.centred else rows
            normed = centred * norm.scale[at]
            logits = unembed_normed(weights, normed if norm.shift is None else normed + norm.shift)
        else:
            logits = unembed(weights, rows)
        return logits.view(len(final), len(positions), -1)

    def _final_at(self, final: Tensor, position: int) -> Tensor:
        if position < self._start:
            return self._subject.recording.final[position].expand(len(final), -1)
        return final[:, position - self._start]

    def _joined(self, x: Tensor, recorded: Tensor, layer: int) -> Tensor:
        """With the runs that begin to differ in this layer."""
        count = sum(begin <= layer for begin in self._begin)
        if count == len(x):
            return x
        return torch.cat([x, recorded[self._start :].expand(count - len(x), -1, -1)])

    def norm(self, number: int, name: NormName, x: Tensor) -> Tensor:
        """A norm, its denominator recorded where norms are held."""
        weights = self._subject.weights.layers[number]
        frozen: FrozenNorm | None = getattr(self._subject.recording.layers[number], name)
        if not self._held.norms:
            norm: NormWeights | None = getattr(weights, name)
            return x if norm is None else normalise(norm, x)
        if frozen is None:
            return x
        centred = x - x.mean(-1, keepdim=True) if frozen.centred else x
        out = centred * frozen.scale[self._start :]
        return out if frozen.shift is None else out + frozen.shift

    def attention(self, number: int, read: Tensor, cancel: threading.Event | None) -> Tensor:
        """What attention writes, with the recorded pattern or with its own."""
        layer, record = self._subject.weights.layers[number], self._subject.recording.layers[number]
        w = layer.attention
        narrow = read.to(w.w_o.dtype)
        cache = None if self._cache is None else self._cache.layers[number]
        entries = self._mine(self._plan.heads.get(number))

        def changed(heads: Tensor) -> Tensor:
            return heads if entries is None else self._with_heads(heads, entries)

        if self._held.attention:
            if cache is not None:
                like = normalise(layer.attention_norm, record.pre[None]).to(narrow) if self._held.norms else None
                cache.extend(*project_keys_values(w, narrow, 0, like))
            joined = changed(HeldAttention(w, record, self._start)(narrow)).flatten(2)
            return functional.linear(joined, w.w_o, w.b_o).to(read.dtype)
        if cache is None:
            cache = self._recorded_keys(layer, number, len(read))
        return attend(w, narrow, cache=cache, cancel=cancel, change=changed)[0].to(read.dtype)

    def _recorded_keys(self, layer: LayerWeights, number: int, runs: int) -> LayerCache | None:
        """Keys and values of the positions before the first that changes."""
        if not self._start:
            return None
        before = self._subject.recording.layers[number].pre[None, : self._start]
        read = normalise(layer.attention_norm, before).to(layer.attention.w_o.dtype)
        keys, values = project_keys_values(layer.attention, read, 0)
        cache = LayerCache()
        cache.extend(keys.expand(runs, -1, -1, -1), values.expand(runs, -1, -1, -1))
        return cache

    def _with_heads(self, heads: Tensor, entries: HeadEntries) -> Tensor:
        """(b, T', H, h) with what heads put out replaced, or moved by as much as they were from the recorded."""
        heads, at = heads.clone(), (entries.set, entries.position, entries.head)
        new = entries.value if self._plan.recompute else heads[at] + (entries.value - entries.recorded)
        heads[at] = new.to(heads.dtype)
        return heads

    def mlp(self, number: int, mlp_input: Tensor) -> Tensor:
        """What the MLPs write, those that are held as recorded."""
        held, w = self._held_in(number, len(mlp_input)), self._subject.weights.layers[number]
        if not any(held):
            return mlp(w.mlp, mlp_input.to(w.attention.w_o.dtype)).to(mlp_input.dtype)
        written = self._subject.recording.layers[number].mlp_output[self._start :].repeat(len(mlp_input), 1, 1)
        if not all(held):
            free = torch.tensor([not one for one in held], device=written.device)
            written[free] = mlp(w.mlp, mlp_input[free].to(w.attention.w_o.dtype)).to(written.dtype)
        return written

    def features(self, number: int, mid: Tensor, mlp_input: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """What changed features write more, those of lower layers included; watched ones are read."""
        site = self._subject.sites[number]
        entries = self._mine(self._plan.features.get(number))
        watched = [(place, one) for place, one in enumerate(self._watched) if self._is_here(number, one)]
        if site is not None and (entries is not None or watched or site.skips):
            record = self._subject.recording.layers[number]
            x, recorded = site.reads(mid, mlp_input), site.reads(record.mid, record.mlp_input)
            reading = Reading(x, self._start, recorded[: self._start])
            self._watch(site, reading, watched)
            if site.skips:
                self._skip(number, site, x - recorded[self._start :])
            if entries is not None:
                self._write(number, site, reading, entries)
        return self._writes.take(number, len(mid))

    def _held_in(self, number: int, runs: int) -> list[bool]:
        """(b) whether a layer's MLP output is held."""
        return [number in self._plan.held[one] for one in self._order[:runs]]

    def _is_here(self, number: int, one: Watched) -> bool:
        return one.layer == number and one.position >= self._start

    def _watch(self, site: Site, reading: Reading, watched: Sequence[tuple[int, Watched]]) -> None:
        if not watched:
            return
        runs, device = len(reading.x), reading.x.device
        position = torch.tensor([one.position - self._start for _, one in watched], device=device).repeat(runs)
        feature = torch.tensor([one.feature for _, one in watched], device=device).repeat(runs)
        divided = torch.tensor([one.divided for _, one in watched], device=device).repeat(runs)
        run = torch.arange(runs, device=device).repeat_interleave(len(watched))
        linear, activation = watched_at(site, reading, run, position, feature, divided)
        columns = torch.tensor([place for place, _ in watched], device=device)
        self._linear[:runs, columns] = linear.view(runs, -1).to(self._linear)
        self._activation[:runs, columns] = activation.view(runs, -1).to(self._activation)

    def _skip(self, number: int, site: Site, change: Tensor) -> None:
        """Where MLPs are held, the linear bypass still answers to the change of what it reads."""
        held = self._held_in(number, len(change))
        if any(held):
            mask = torch.tensor(held, device=change.device, dtype=change.dtype)[:, None, None]
            self._writes.room(number, site, change)[: len(change)] += site.skip(change) * mask

    def _write(self, number: int, site: Site, reading: Reading, entries: FeatureEntries) -> None:
        now, now_share = entries.recorded, entries.recorded_share
        if self._plan.recompute:
            now = activation_at(site, reading, entries.set, entries.position, entries.feature)[1].to(now)
            now_share = (now > 0).to(now)
        place, change = (entries.set, entries.position), (entries.value - now, entries.share - now_share)
        self._writes.add(number, site, reading.x, place, entries.feature, change, self._reaches)

    def _reaches(self, run: Tensor, layer: int) -> Tensor:
        """(k,) bool: whether a write to a layer counts; where MLPs are held, only within the range."""
        open_ = [self._plan.recompute or layer in self._plan.held[one] for one in self._order]
        return torch.tensor(open_, device=run.device)[run]

    def _with_vectors(self, x: Tensor, layer: int) -> Tensor:
        entries = self._plan.vectors.get(layer)
        if entries is None:
            return x
        run = self._run_of[entries.set]
        mine = (run >= 0) & self._reached_vectors(run, layer)
        place = (run[mine], entries.position[mine] - self._start)
        return x.index_put(place, entries.vector[mine].to(x), accumulate=True)

    def _reached_vectors(self, run: Tensor, layer: int) -> Tensor:
        if layer < 0:
            return torch.ones_like(run, dtype=torch.bool)
        return self._reaches(run.clamp_min(0), layer)

    def _mine(self, entries: _Entries | None) -> _Entries | None:
        """Those of these runs: `set` becomes the run's number, `position` counts from the first one."""
        if entries is None:
            return None
        run = self._run_of[entries.set]
        some = (run >= 0).nonzero()[:, 0]
        if not len(some):
            return None
        picked = entries.pick(some)
        return replace(picked, set=run[some], position=picked.position - self._start)
