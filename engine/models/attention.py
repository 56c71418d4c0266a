"""Attention as the model computes it: projections, query and key norms, rotary turns, masks, soft caps, the pattern.

Shapes: B runs, T new positions, S positions seen so far (those in the cache and the new ones), d residual width, H
query heads in K groups of G, h head width. The softmax is in float32 or wider; products are in the model's own format.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.norms import normalise
from engine.models.rotary import turn
from engine.models.weights import AttentionWeights, NormWeights, wide
from engine.progress import checkpoint

# Numbers of a pattern that are computed at once: what lies between scores and values takes at most 64 MB in float32.
PATTERN_NUMBERS = 1 << 24


@dataclass
class LayerCache:
    """Keys (turned) and values of the positions that one layer has read, (B, K, S, h) each."""

    length: int = 0
    _room: list[Tensor] = field(default_factory=list)

    def repeat(self, runs: int) -> None:
        """Of one run make several."""
        self._room = [one[:, :, : self.length].repeat(runs, 1, 1, 1) for one in self._room]

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Take in those of T new positions; give all of them."""
        end = self.length + keys.shape[2]
        if not self._room or self._room[0].shape[2] < end:
            # Room for half as much again: a token at a time costs no copy each.
            shape = (*keys.shape[:2], end + max(end // 2, 32), keys.shape[3])
            old, self._room = self._room, [keys.new_empty(shape), values.new_empty(shape)]
            for new, before in zip(self._room, old, strict=False):
                new[:, :, : self.length] = before[:, :, : self.length]
        for room, added in zip(self._room, (keys, values), strict=True):
            room[:, :, self.length : end] = added
        self.length = end
        return self._room[0][:, :, :end], self._room[1][:, :, :end]


def attend(
    w: AttentionWeights,
    x: Tensor,
    *,
    cache: LayerCache | None = None,
    keep_pattern: bool = False,
    cancel: threading.Event | None = None,
    change: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """What attention writes (B, T, d) for x (B, T, d), which the norm has been applied to, before any post-norm.

    With `keep_pattern` also the pattern (B, H, T, S) in float32 or wider, of the weights that really multiplied.
    `change` is given what every head puts out, (B, T, H, h), and gives what goes on instead.
    """
    start = 0 if cache is None else cache.length
    queries = project_queries(w, x, start)
    keys, values = project_keys_values(w, x, start)
    if cache is not None:
        keys, values = cache.extend(keys, values)
    shape = (x.shape[0], w.n_heads, x.shape[1], keys.shape[2])
    kept = queries.new_zeros(shape, dtype=wide(x.dtype)) if keep_pattern else None
    mixed = []
    for begin, end, pattern in _bands(w, queries, keys):
        checkpoint(cancel)
        seen = pattern.shape[-1]
        if kept is not None:
            kept[:, :, begin:end, :seen] = pattern.flatten(1, 2)
        rows = (pattern.flatten(2, 3) @ values[:, :, :seen]).view(*pattern.shape[:4], w.d_head)
        mixed.append(rows.permute(0, 3, 1, 2, 4).flatten(2))  # (B, t, H*h)
    joined = mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1)
    if change is not None:
        joined = change(joined.view(*joined.shape[:2], w.n_heads, w.d_head)).flatten(2)
    return functional.linear(joined, w.w_o, w.b_o), kept


def attention_pattern(w: AttentionWeights, x: Tensor) -> Tensor:
    """The pattern (H, T, T) alone, of one run x (T, d) that the norm has been applied to: the same numbers again."""
    queries, (keys, _) = project_queries(w, x[None], 0), project_keys_values(w, x[None], 0)
    kept = queries.new_zeros((w.n_heads, x.shape[0], x.shape[0]), dtype=wide(x.dtype))
    for begin, end, pattern in _bands(w, queries, keys):
        kept[:, begin:end, : pattern.shape[-1]] = pattern[0].flatten(0, 1)
    return kept


def project_queries(w: AttentionWeights, x: Tensor, start: int) -> Tensor:
    """(B, K, G, T, h): queries of positions from `start`, normed and turned."""
    heads = _heads(functional.linear(x, w.w_q, w.b_q), w.q_norm, w.d_head)
    turned = _turned(w, heads, start)
    return turned.reshape(len(turned), w.n_kv_heads, -1, *turned.shape[2:])


def project_keys_values(
    w: AttentionWeights, x: Tensor, start: int, like: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(B, K, T, h) each: keys, normed and turned, and values, of positions from `start`.

    With `like` (B', T, d) the keys' norms have the denominators of what that reads.
    """
    held = None if like is None or w.k_norm is None else functional.linear(like, w.w_k, w.b_k)
    keys = _turned(w, _heads(functional.linear(x, w.w_k, w.b_k), w.k_norm, w.d_head, held), start)
    return keys, _heads(functional.linear(x, w.w_v, w.b_v), None, w.d_head)


def _heads(projected: Tensor, norm: NormWeights | None, d_head: int, like: Tensor | None = None) -> Tensor:
    """(B, heads, T, h) from (B, T, heads * h), normed over each head or over all of them together.

    With `like`, which is projected too, by its denominators.
    """
    if norm is not None and norm.gain.shape[0] != d_head:
        projected = normalise(norm, projected, like).to(projected.dtype)
        norm = None
    heads = _split(projected, d_head)
    like = None if like is None else _split(like, d_head)
    return heads if norm is None else normalise(norm, heads, like).to(heads.dtype)


def _split(projected: Tensor, d_head: int) -> Tensor:
    return projected.view(*projected.shape[:-1], -1, d_head).transpose(1, 2)


def _turned(w: AttentionWeights, heads: Tensor, start: int) -> Tensor:
    if w.rotary is None:
        return heads
    return turn(heads, w.rotary.angles(start, start + heads.shape[2], heads.device))


def _bands(w: AttentionWeights, queries: Tensor, keys: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """The pattern (B, K, G, t, S') of queries `begin` to `end`, band by band; S' the keys that the last one sees."""
    runs, length, total = keys.shape[0], queries.shape[3], keys.shape[2]
    step = max(1, PATTERN_NUMBERS // (runs * w.n_heads * total))
    for begin in range(0, length, step):
        end = min(begin + step, length)
        yield begin, end, _pattern(w, queries[:, :, :, begin:end], keys[:, :, : total - length + end])


def _pattern(w: AttentionWeights, queries: Tensor, keys: Tensor) -> Tensor:
    """(B, K, G, t, S) in the model's format: t queries, the last of which sees all S keys."""
    scores = (queries.flatten(2, 3) @ keys.transpose(-1, -2)).view(*queries.shape[:4], keys.shape[2])
    scores = scores.to(wide(scores.dtype)).mul_(w.scale)
    if w.softcap is not None:
        scores = scores.div_(w.softcap).tanh_().mul_(w.softcap)
    length, seen = scores.shape[-2:]
    if length > 1 or (w.window is not None and w.window < seen):
        query = torch.arange(seen - length, seen, device=scores.device)[:, None]
        key = torch.arange(seen, device=scores.device)
        hidden = key > query
        if w.window is not None:
            hidden |= key <= query - w.window
        scores = scores.masked_fill_(hidden, -torch.inf)
    return scores.softmax(dim=-1).to(queries.dtype)
