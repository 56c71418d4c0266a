"""The model's own MLP neurons as features: no download, no error node, every edge exact (method: RelP).

A gated neuron j is h = phi(g) u with g = w_g.x + b_g, u = w_u.x + b_u. With s = phi(g)/g it reads
v_in = 1/2 s (u w_g + g w_u), so that v_in.x plus the biases' share 1/2 s (u b_g + g b_u) is h exactly, and it writes
h W_down[:, j]. A plain neuron is phi(z): v_in = s w, bias share s b. Edges into a neuron divide its value among its
inputs; they do not predict its change.
"""

from __future__ import annotations

import threading
from functools import cached_property

import torch
from torch import Tensor

from engine.dictionaries.features import Contraction
from engine.dictionaries.linearisation import slope_through_origin, value_and_derivative
from engine.models.recording import LayerRecord, Recording
from engine.models.weights import MlpWeights, ModelWeights
from engine.progress import Progress, checkpoint, silent

# Gradient rows contracted at a time.
CACHED_ROWS = 128


class NeuronLayer:
    """Every neuron of one layer at every position: S = T * m, neuron j at position p is number p * m + j."""

    error: Tensor | None = None
    has_skip = False
    can_list = False

    def __init__(self, mlp: MlpWeights, record: LayerRecord, layer: int) -> None:
        self.write_layers = range(layer, layer + 1)
        self._mlp = mlp
        self._record = record
        x = record.mlp_input
        up = _linear(x, mlp.w_up, mlp.b_up)
        if mlp.w_gate is None:
            self._slope = slope_through_origin(up, mlp.activation)
            self._gate_share = None
            self._up_share = self._slope  # (T, m) weight of w_up in v_in
            self._value = self._slope * up
        else:
            gate = _linear(x, mlp.w_gate, mlp.b_gate)
            slope = slope_through_origin(gate, mlp.activation)
            self._gate_share = 0.5 * slope * up  # (T, m) weight of w_gate in v_in
            self._up_share = 0.5 * slope * gate
            self._value = slope * gate * up
        self.bias = self._written_bias()

    @property
    def _width(self) -> int:
        return self._mlp.width

    @cached_property
    def position(self) -> Tensor:
        """(S,) int64."""
        positions = torch.arange(self._value.shape[0], device=self._value.device)
        return positions.repeat_interleave(self._width)

    @cached_property
    def feature(self) -> Tensor:
        """(S,) int64."""
        return torch.arange(self._width, device=self._value.device).repeat(self._value.shape[0])

    @property
    def activation(self) -> Tensor:
        """(S,) the neuron's value h."""
        return self._value.reshape(-1)

    def written_rows(self, some: slice) -> Tensor:
        """(k, d) what these neurons write; all of them are too many."""
        index = torch.arange(len(self.activation), device=self._value.device)[some]
        position, neuron = index // self._width, index % self._width
        rows = self._mlp.w_down[:, neuron].T.to(self._value.dtype) * self._value[position, neuron, None]
        post = self._record.mlp_post_norm
        if post is None:
            return rows
        return (rows - rows.mean(-1, keepdim=True) if post.centred else rows) * post.scale[position]

    def edges(self, gradient: Tensor) -> Tensor:
        """(n, T' * m) direct effects h * (W_down^T gradient), the post-norm's frozen scale included."""
        per_position = self._through_down(gradient)
        per_position *= self._value[: gradient.shape[0], None, :]
        return per_position.transpose(0, 1).reshape(gradient.shape[1], -1)

    def contract(self, gradient: Tensor, pick: Tensor) -> Contraction:
        """Sums and picked effects without laying out every edge: there are T' * m of them for each target.

        Some positions at a time, so that what they give is summed up while it is in the processor's cache.
        """
        pulled, w_down = self._pulled(gradient), self._mlp.w_down.to(gradient.dtype)
        n_positions, n, d = pulled.shape
        value = self._value[:n_positions]
        # All neurons of a position together write one vector: their effects' sum needs no single one of them.
        written = value @ w_down.T
        signed = torch.bmm(pulled, written[:, :, None])[..., 0].sum(0, dtype=torch.float64)
        position, neuron = pick // self._width, pick % self._width
        picked, absolute = pulled.new_empty(n, len(pick)), torch.zeros_like(signed)
        step = max(CACHED_ROWS // max(n, 1), 1)
        ends = torch.searchsorted(position, torch.arange(0, n_positions + step, step, device=position.device)).tolist()
        for number, start in enumerate(range(0, n_positions, step)):
            here = value[start : start + step]
            through = (pulled[start : start + step].reshape(-1, d) @ w_down).view(len(here), n, -1)  # without h
            some = slice(ends[number], ends[number + 1])
            at, which = position[some] - start, neuron[some]
            picked[:, some] = (through[at, :, which] * here[at, which, None]).T
            absolute += torch.bmm(through.abs_(), here.abs()[:, :, None])[..., 0].sum(0, dtype=torch.float64)
        return Contraction(picked, signed, absolute)

    def read_vectors(self, index: Tensor) -> Tensor:
        """(k, d) v_in before the MLP's norm."""
        return self._record.mlp_norm.pull_at(self._read_after_norm(index), self.position[index])

    def jacobian_vectors(self, index: Tensor) -> Tensor:
        """(k, d) the true slope of each neuron's value, norm scales held: u phi'(g) w_g + phi(g) w_u, or phi'(z) w.

        What predicts a change; `read_vectors` divides the value instead and is about half as steep.
        """
        position, neuron = self.position[index], self.feature[index]
        mlp, x = self._mlp, self._record.mlp_input[position]
        up_rows = mlp.w_up[neuron].to(x.dtype)
        up = (x * up_rows).sum(-1) + _at(mlp.b_up, neuron, x)
        if mlp.w_gate is None:
            vectors = value_and_derivative(up, mlp.activation)[1][:, None] * up_rows
        else:
            gate_rows = mlp.w_gate[neuron].to(x.dtype)
            gate = (x * gate_rows).sum(-1) + _at(mlp.b_gate, neuron, x)
            value, derivative = value_and_derivative(gate, mlp.activation)
            vectors = (up * derivative)[:, None] * gate_rows + value[:, None] * up_rows
        return self._record.mlp_norm.pull_at(vectors, position)

    def values(self, index: Tensor) -> Tensor:
        """(k,) v_in.x at the recorded residual plus the constant part."""
        vectors, rows = self.read_vectors(index).double(), self._record.mid[self.position[index]].double()
        return (vectors * rows).sum(-1) + self.own_bias(index).double()

    def own_bias(self, index: Tensor) -> Tensor:
        """(k,) shares of b_gate and b_up, and of the norm's shift."""
        position, neuron = self.position[index], self.feature[index]
        own = self._up_share[position, neuron] * _at(self._mlp.b_up, neuron, self._value)
        if self._gate_share is not None:
            own = own + self._gate_share[position, neuron] * _at(self._mlp.b_gate, neuron, self._value)
        if self._record.mlp_norm.shift is not None:
            own = own + self._read_after_norm(index) @ self._record.mlp_norm.shift.to(self._value.dtype)
        return own

    def pull_skip(self, gradient: Tensor) -> Tensor | None:
        """Neurons have no bypass."""
        return None

    def pull_features(self, gradient: Tensor) -> Tensor:
        """(T', n, d) through all neurons of the layer at once: W_down, the shares, then W_gate and W_up."""
        n_positions = gradient.shape[0]
        through = self._through_down(gradient)
        mlp = self._mlp
        out = (through * self._up_share[:n_positions, None, :]) @ mlp.w_up.to(through.dtype)
        if self._gate_share is not None and mlp.w_gate is not None:
            out = out + (through * self._gate_share[:n_positions, None, :]) @ mlp.w_gate.to(through.dtype)
        return self._record.mlp_norm.pull(out)

    def pull_jacobian(self, gradient: Tensor) -> Tensor:
        """(T', n, d) through all neurons as they answer a small change, norm scales held: phi'(g) u and phi(g)."""
        n_positions, mlp = gradient.shape[0], self._mlp
        through = self._through_down(gradient)
        x = self._record.mlp_input[:n_positions]
        up = _linear(x, mlp.w_up, mlp.b_up)
        if mlp.w_gate is None:
            out = (through * value_and_derivative(up, mlp.activation)[1][:, None, :]) @ mlp.w_up.to(through.dtype)
        else:
            value, derivative = value_and_derivative(_linear(x, mlp.w_gate, mlp.b_gate), mlp.activation)
            out = (through * value[:, None, :]) @ mlp.w_up.to(through.dtype)
            out += (through * (derivative * up)[:, None, :]) @ mlp.w_gate.to(through.dtype)
        return self._record.mlp_norm.pull(out)

    def push_jacobian(self, change: Tensor) -> Tensor:
        """(..., T, d) how far a small change (..., T, d) of what the MLP reads moves what it writes, to first order."""
        mlp, x = self._mlp, self._record.mlp_input
        up = _linear(x, mlp.w_up, mlp.b_up)
        if mlp.w_gate is None:
            moved = value_and_derivative(up, mlp.activation)[1] * _linear(change, mlp.w_up, None)
        else:
            value, derivative = value_and_derivative(_linear(x, mlp.w_gate, mlp.b_gate), mlp.activation)
            moved = value * _linear(change, mlp.w_up, None) + derivative * up * _linear(change, mlp.w_gate, None)
        return _linear(moved, mlp.w_down, None)

    def _through_down(self, gradient: Tensor) -> Tensor:
        pulled = self._pulled(gradient)
        return pulled @ self._mlp.w_down.to(pulled.dtype)  # (T', n, m)

    def _pulled(self, gradient: Tensor) -> Tensor:
        """(T', n, d) back through the norm after the MLP, if there is one."""
        post = self._record.mlp_post_norm
        return gradient if post is None else post.pull(gradient)

    def _read_after_norm(self, index: Tensor) -> Tensor:
        position, neuron = self.position[index], self.feature[index]
        vectors = self._up_share[position, neuron, None] * self._mlp.w_up[neuron].to(self._value.dtype)
        if self._gate_share is not None and self._mlp.w_gate is not None:
            share = self._gate_share[position, neuron, None]
            vectors = vectors + share * self._mlp.w_gate[neuron].to(self._value.dtype)
        return vectors

    def _written_bias(self) -> Tensor | None:
        """b_down and the post-norm's shift, as they reach the residual stream."""
        post = self._record.mlp_post_norm
        written = None
        if self._mlp.b_down is not None:
            rows = self._mlp.b_down.to(self._value.dtype).expand(self._value.shape[0], -1)
            written = rows if post is None else post.apply(rows)
        if post is not None and post.shift is not None:
            written = post.shift.expand_as(self._record.mid) if written is None else written + post.shift
        return written


class NeuronFeatures:
    """The neuron dictionary of a model."""

    name = "neurons"
    kind = "neurons"
    fingerprint = "neurons"
    has_errors = False

    def __init__(self, weights: ModelWeights) -> None:
        self._weights = weights

    def read(
        self, recording: Recording, progress: Progress = silent, cancel: threading.Event | None = None
    ) -> list[NeuronLayer]:
        """Every neuron at every position, the first included."""
        layers = []
        for number, (layer, record) in enumerate(zip(self._weights.layers, recording.layers, strict=True)):
            checkpoint(cancel)
            progress("Reading neurons", number / self._weights.n_layers)
            layers.append(NeuronLayer(layer.mlp, record, number))
        return layers


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out = x @ weight.to(x.dtype).T
    return out if bias is None else out + bias.to(x.dtype)


def _at(bias: Tensor | None, index: Tensor, like: Tensor) -> Tensor:
    return torch.zeros(len(index), dtype=like.dtype, device=like.device) if bias is None else bias[index].to(like.dtype)
