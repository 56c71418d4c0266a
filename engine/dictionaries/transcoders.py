"""Per-layer transcoders: sparse features that read the MLP's input and write an approximation of its output.

a = activation(W_enc x + b_enc), y ~ a W_dec + b_dec (+ W_skip x). JumpReLU keeps a pre-activation that is above its
threshold, ReLU a positive one, TopK the k largest of a position. Features at the first position are left out where
that position holds a special token, as in circuit-tracer; what the MLP writes there goes to the bias node.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.dictionaries.features import Contraction
from engine.models.recording import LayerRecord, Recording
from engine.progress import Progress, checkpoint, silent

# Where a transcoder's input was taken: after the MLP's norm, after the norm but before its gain, before the norm.
ReadSite = Literal["mlp_input", "normalised", "residual"]
# Where its output belongs: the MLP's own output, or that output after a post-norm (the same where there is none).
WriteSite = Literal["mlp_output", "branch_output"]


@dataclass(frozen=True)
class Transcoder:
    """One layer's weights; n features, residual width d."""

    w_enc: Tensor  # (n, d)
    b_enc: Tensor  # (n,)
    w_dec: Tensor  # (n, d)
    b_dec: Tensor  # (d,)
    threshold: Tensor | None = None  # (n,) of JumpReLU
    top_k: int | None = None
    w_skip: Tensor | None = None  # (d, d): y += W_skip x
    reads: ReadSite = "mlp_input"
    writes: WriteSite = "branch_output"

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.w_enc.shape[0])

    def pre_activations(self, x: Tensor) -> Tensor:
        """(T, n) for inputs x (T, d)."""
        return x @ self.w_enc.to(x.dtype).T + self.b_enc.to(x.dtype)

    def gate(self, pre: Tensor) -> Tensor:
        """(T, n) bool: which features are active."""
        if self.top_k is not None:
            kept = pre.topk(min(self.top_k, pre.shape[-1]), dim=-1).indices
            mask = torch.zeros_like(pre, dtype=torch.bool).scatter_(-1, kept, True)
            return mask & (pre > 0)
        return pre > (0 if self.threshold is None else self.threshold.to(pre.dtype))

    def output(self, x: Tensor) -> Tensor:
        """(T, d) the reconstruction for inputs x (T, d)."""
        pre = self.pre_activations(x)
        written = torch.where(self.gate(pre), pre, 0) @ self.w_dec.to(x.dtype) + self.b_dec.to(x.dtype)
        return written if self.w_skip is None else written + x @ self.w_skip.to(x.dtype).T


def site_input(record: LayerRecord, gain: Tensor, reads: ReadSite) -> Tensor:
    """(T, d) what a transcoder reads at this layer."""
    if reads == "residual":
        return record.mid
    if reads == "normalised":
        shift = record.mlp_norm.shift
        centred = record.mlp_input if shift is None else record.mlp_input - shift
        return centred / gain
    return record.mlp_input


def site_output(record: LayerRecord, writes: WriteSite) -> Tensor:
    """(T, d) what a transcoder approximates at this layer."""
    if writes == "mlp_output" or record.mlp_post_norm is None:
        return record.mlp_output
    return _after_post(record, record.mlp_output)


def _after_post(record: LayerRecord, y: Tensor) -> Tensor:
    post = record.mlp_post_norm
    if post is None:
        return y
    out = post.apply(y)
    return out if post.shift is None else out + post.shift


class TranscoderLayer:
    """The active features of one layer's transcoder on one recording."""

    def __init__(self, transcoder: Transcoder | None, record: LayerRecord, gain: Tensor, first_position: int) -> None:
        self._transcoder = transcoder
        self._record = record
        self._gain = gain
        target = _after_post(record, record.mlp_output)  # (T, d) what really reaches the residual stream
        empty = torch.zeros(0, dtype=torch.long, device=target.device)
        self.bias: Tensor | None = None
        if transcoder is None:
            self.position, self.feature, self.activation = empty, empty, target.new_zeros(0)
            self._decoded, self._starts = target.new_zeros(0, target.shape[1]), [0] * (len(target) + 1)
            self.error: Tensor | None = target
            return
        x = site_input(record, gain, transcoder.reads)
        pre = transcoder.pre_activations(x)
        gate = transcoder.gate(pre)
        gate[:first_position] = False
        self.position, self.feature = gate.nonzero(as_tuple=True)  # sorted by (position, feature)
        self.activation = pre[self.position, self.feature]
        counts = torch.bincount(self.position, minlength=len(target))
        self._starts = [0, *counts.cumsum(0).tolist()]
        written = transcoder.w_dec[self.feature].to(x.dtype) * self.activation[:, None]
        self._decoded = self._to_residual(written, self.position)  # (S, d) v_out of each active feature
        constant = transcoder.b_dec.to(x.dtype).expand_as(x)
        bias = self._to_residual(constant, None)
        post = record.mlp_post_norm
        if self._inside_post and post is not None and post.shift is not None:
            bias = bias + post.shift
        explained = bias.index_add(0, self.position, self._decoded)
        if transcoder.w_skip is not None:
            explained = explained + self._to_residual(x @ transcoder.w_skip.to(x.dtype).T, None)
        error = target - explained
        if transcoder.w_skip is not None:
            # The skip of a constant (the norm's shift) is constant; only its linear part is swept through.
            bias = bias + self._skip_of_shift()
        # Positions that are left out write a constant: everything but what the linear skip still carries.
        bias = bias.clone()
        bias[:first_position] += error[:first_position]
        error[:first_position] = 0
        self.bias, self.error = bias, error

    @property
    def _inside_post(self) -> bool:
        """Whether a post-norm lies between this transcoder's output and the residual stream."""
        return self._transcoder is not None and self._transcoder.writes == "mlp_output"

    def _to_residual(self, written: Tensor, positions: Tensor | None) -> Tensor:
        """Scale vectors at the write site to what reaches the residual stream: by the frozen post-norm."""
        post = self._record.mlp_post_norm
        if post is None or not self._inside_post:
            return written
        if positions is None:
            return post.apply(written)
        centred = written - written.mean(-1, keepdim=True) if post.centred else written
        return centred * post.scale[positions]

    def edges(self, gradient: Tensor) -> Tensor:
        """(n, S') one product for each position: gradient (n, d) with the position's decoded vectors."""
        n_positions, n_targets, _ = gradient.shape
        out = gradient.new_empty(n_targets, self._starts[n_positions])
        for position in range(n_positions):
            start, end = self._starts[position], self._starts[position + 1]
            if end > start:
                torch.mm(gradient[position], self._decoded[start:end].T, out=out[:, start:end])
        return out

    def contract(self, gradient: Tensor, pick: Tensor) -> Contraction:
        """Sums over the active features, and the picked ones."""
        edges = self.edges(gradient)
        size = edges.abs().sum(-1, dtype=torch.float64)
        return Contraction(edges[:, pick], edges.sum(-1, dtype=torch.float64), size)

    def read_vectors(self, index: Tensor) -> Tensor:
        """(k, d) encoder rows pulled back through what lies between the residual stream and the read site."""
        assert self._transcoder is not None
        rows = self._transcoder.w_enc[self.feature[index]].to(self.activation.dtype)
        return self._read_back(rows, self.position[index])

    def _read_back(self, rows: Tensor, positions: Tensor) -> Tensor:
        assert self._transcoder is not None
        if self._transcoder.reads == "residual":
            return rows
        if self._transcoder.reads == "normalised":
            rows = rows / self._gain.to(rows.dtype)
        return self._record.mlp_norm.pull_at(rows, positions)

    def values(self, index: Tensor) -> Tensor:
        """(k,) pre-activations from the residual stream: v_in.x plus the constant part, in float64."""
        vectors, rows = self.read_vectors(index).double(), self._record.mid[self.position[index]].double()
        return (vectors * rows).sum(-1) + self.own_bias(index).double()

    def own_bias(self, index: Tensor) -> Tensor:
        """(k,) encoder bias, and the norm's shift read through the encoder."""
        assert self._transcoder is not None
        own = self._transcoder.b_enc[self.feature[index]].to(self.activation.dtype)
        shift = self._record.mlp_norm.shift
        if shift is not None and self._transcoder.reads == "mlp_input":
            own = own + self._transcoder.w_enc[self.feature[index]].to(own.dtype) @ shift.to(own.dtype)
        return own

    def pull_skip(self, gradient: Tensor) -> Tensor | None:
        """(T', n, d) back through W_skip to the residual stream before the MLP."""
        if self._transcoder is None or self._transcoder.w_skip is None:
            return None
        post = self._record.mlp_post_norm
        inside = post.pull(gradient) if post is not None and self._inside_post else gradient
        return self._pull_read(inside @ self._transcoder.w_skip.to(gradient.dtype))

    def pull_features(self, gradient: Tensor) -> Tensor:
        """(T', n, d) through the active features, their gates held: decoder rows, then read vectors."""
        out = torch.zeros_like(gradient)
        if self._transcoder is None:
            return out
        every = torch.arange(self._starts[gradient.shape[0]], device=gradient.device)
        reads = self.read_vectors(every)
        rows = self._transcoder.w_dec[self.feature[every]].to(gradient.dtype)
        writes = self._to_residual(rows, self.position[every])  # not the activation: a gate passes the change
        for position in range(gradient.shape[0]):
            start, end = self._starts[position], self._starts[position + 1]
            out[position] = (gradient[position] @ writes[start:end].T) @ reads[start:end]
        return out

    def _pull_read(self, gradient: Tensor) -> Tensor:
        assert self._transcoder is not None
        if self._transcoder.reads == "residual":
            return gradient
        if self._transcoder.reads == "normalised":
            gradient = gradient / self._gain.to(gradient.dtype)
        return self._record.mlp_norm.pull(gradient)

    def _skip_of_shift(self) -> Tensor:
        assert self._transcoder is not None
        assert self._transcoder.w_skip is not None
        shift = self._record.mlp_norm.shift
        zero = torch.zeros_like(self._record.mid)
        if shift is None or self._transcoder.reads != "mlp_input":
            return zero
        return self._to_residual((zero + shift) @ self._transcoder.w_skip.to(zero.dtype).T, None)


class TranscoderFeatures:
    """A set of per-layer transcoders, one a layer; a layer without one is an error node."""

    kind = "transcoders"
    has_errors = True

    def __init__(self, name: str, fingerprint: str, transcoders: list[Transcoder | None], gains: list[Tensor]) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.transcoders = transcoders
        self._gains = gains  # (d,) each: the gain of the norm before the MLP

    def read(
        self, recording: Recording, progress: Progress = silent, cancel: threading.Event | None = None
    ) -> list[TranscoderLayer]:
        """The active features of every layer."""
        layers = []
        for number, (transcoder, record, gain) in enumerate(
            zip(self.transcoders, recording.layers, self._gains, strict=True)
        ):
            checkpoint(cancel)
            progress("Reading features", number / len(recording.layers))
            layers.append(TranscoderLayer(transcoder, record, gain, recording.first_position))
        return layers
