"""The active features of one layer's transcoder on one recorded prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.dictionaries.features import Contraction
from engine.dictionaries.matrices import take_rows
from engine.dictionaries.transcoders import Transcoder, site_input, to_residual
from engine.models.recording import LayerRecord


class TranscoderLayer:
    """S active features of layer `layer`, sorted by (position, feature), and what they write where.

    Features at the first positions are left out where those hold special tokens, as in circuit-tracer; what the MLP
    writes there goes to the bias node. `error` and `bias` belong to the layer, not to its features: they are set by
    whoever knows all features that write there.
    """

    def __init__(
        self,
        transcoder: Transcoder | None,
        layer: int,
        records: Sequence[LayerRecord],
        gain: Tensor,
        first_position: int,
    ) -> None:
        self.transcoder = transcoder
        self.layer = layer
        self.error: Tensor | None = None
        self.bias: Tensor | None = None
        self._record = records[layer]
        self._gain = gain
        n_positions = len(self._record.mid)
        if transcoder is None:
            empty = torch.zeros(0, dtype=torch.long, device=self._record.mid.device)
            self.write_layers = range(layer, layer + 1)
            self.position, self.feature, self.activation = empty, empty, self._record.mid.new_zeros(0)
            self._starts = [0] * (n_positions + 1)
            self._written = {layer: self._record.mid.new_zeros(0, self._record.mid.shape[1])}
            self._records = records
            return
        pre = transcoder.pre_activations(site_input(self._record, gain, transcoder.reads))
        gate = transcoder.gate(pre)
        gate[:first_position] = False
        self.position, self.feature = gate.nonzero(as_tuple=True)  # sorted by (position, feature)
        self.activation = pre[self.position, self.feature]
        counts = torch.bincount(self.position, minlength=n_positions)
        self._starts = [0, *counts.cumsum(0).tolist()]
        self.write_layers = range(layer, min(layer + transcoder.layers_written, len(records)))
        # Decoder rows scaled to the residual stream of each layer written, (S, d), without the activation: kept where
        # they are needed at many layers, taken when needed where it is only one.
        self._written = {}
        self._records = records

    def _decoder_rows(self, at: int, some: slice) -> Tensor:
        transcoder = self.transcoder
        assert transcoder is not None
        feature, activation = self.feature[some], self.activation[some]
        place = at - self.layer if len(transcoder.w_dec.shape) == 3 else None
        rows = take_rows(transcoder.w_dec, feature, place).to(activation.dtype)
        share = transcoder.written_share(feature, activation, at - self.layer)
        if share is not None:
            rows = rows * share[:, None]
        return to_residual(rows, self._records[at], transcoder.writes, self.position[some])

    def written_at(self, layer: int) -> Tensor:
        """(S, d) what each feature really writes at a layer."""
        return self._rows(layer) * self.activation[:, None]

    @property
    def has_skip(self) -> bool:
        """Whether the transcoder has an affine skip."""
        return self.transcoder is not None and self.transcoder.w_skip is not None

    @property
    def can_list(self) -> bool:
        """Features that write at their own layer only can be laid out as rows."""
        return len(self.write_layers) == 1

    def written_rows(self, some: slice) -> Tensor:
        """(k, d) what these features write at their own layer."""
        if self.transcoder is None:
            return self._written[self.layer]
        return self._decoder_rows(self.layer, some) * self.activation[some, None]

    @property
    def rows_bytes(self) -> int:
        """What the active features' decoder rows take at one layer."""
        return len(self.position) * self._record.mid.shape[1] * self._record.mid.element_size()

    def _rows(self, layer: int) -> Tensor:
        if layer in self._written:
            return self._written[layer]
        rows = self._decoder_rows(layer, slice(None))
        if len(self.write_layers) > 1:
            self._written[layer] = rows
        return rows

    def units(self, gradient: Tensor, layer: int) -> Tensor:
        """(n, S') effect of one unit of each feature through what it writes at `layer`: one product a position."""
        n_positions, n_targets, _ = gradient.shape
        out, rows = gradient.new_empty(n_targets, self._starts[n_positions]), self._rows(layer)
        for position in range(n_positions):
            start, end = self._starts[position], self._starts[position + 1]
            if end > start:
                torch.mm(gradient[position], rows[start:end].T, out=out[:, start:end])
        return out

    def edges_from(self, units: Tensor) -> Tensor:
        """(n, S') direct effects, given the effects of units summed over the layers written."""
        return units * self.activation[: units.shape[1]]

    def edges(self, gradient: Tensor) -> Tensor:
        """(n, S') direct effects of features that write at their own layer only."""
        return self.edges_from(self.units(gradient, self.layer))

    def contraction_from(self, units: Tensor, pick: Tensor) -> Contraction:
        """Sums over the active features, and the picked ones."""
        edges = self.edges_from(units)
        size = edges.abs().sum(-1, dtype=torch.float64)
        return Contraction(edges[:, pick], edges.sum(-1, dtype=torch.float64), size)

    def contract(self, gradient: Tensor, pick: Tensor) -> Contraction:
        """The same for features that write at their own layer only."""
        return self.contraction_from(self.units(gradient, self.layer), pick)

    def read_vectors(self, index: Tensor) -> Tensor:
        """(k, d) encoder rows pulled back through what lies between the residual stream and the read site."""
        assert self.transcoder is not None
        rows = self._encoder_rows(index)
        if self.transcoder.reads == "residual":
            return rows
        if self.transcoder.reads == "normalised":
            rows = rows / self._gain.to(rows.dtype)
        return self._record.mlp_norm.pull_at(rows, self.position[index])

    def jacobian_vectors(self, index: Tensor) -> Tensor:
        """(k, d) the slope of each active feature: the vector it reads."""
        return self.read_vectors(index)

    def values(self, index: Tensor) -> Tensor:
        """(k,) pre-activations from the residual stream: v_in.x plus the constant part, in float64."""
        vectors, rows = self.read_vectors(index).double(), self._record.mid[self.position[index]].double()
        return (vectors * rows).sum(-1) + self.own_bias(index).double()

    def own_bias(self, index: Tensor) -> Tensor:
        """(k,) encoder bias, and the norm's shift read through the encoder."""
        assert self.transcoder is not None
        own = self.transcoder.b_enc[self.feature[index]].to(self.activation.dtype)
        shift = self._record.mlp_norm.shift
        if shift is not None and self.transcoder.reads == "mlp_input":
            own = own + self._encoder_rows(index) @ shift.to(own.dtype)
        return own

    def _encoder_rows(self, index: Tensor) -> Tensor:
        assert self.transcoder is not None
        return take_rows(self.transcoder.w_enc, self.feature[index]).to(self.activation.dtype)

    def pull_units(self, units: Tensor, n_positions: int) -> Tensor:
        """(T', n, d) through the active features, their gates held: effects of units (n, S') times read vectors."""
        out = self._record.mid.new_zeros(n_positions, units.shape[0], self._record.mid.shape[1])
        if not units.shape[1]:
            return out
        reads = self.read_vectors(torch.arange(units.shape[1], device=units.device))
        for position in range(n_positions):
            start, end = self._starts[position], self._starts[position + 1]
            out[position] = units[:, start:end] @ reads[start:end]
        return out

    def pull_features(self, gradient: Tensor) -> Tensor:
        """(T', n, d) through features that write at their own layer only."""
        return self.pull_units(self.units(gradient, self.layer), gradient.shape[0])

    def pull_jacobian(self, gradient: Tensor) -> Tensor:
        """(T', n, d) through features as they answer a small change: a gate that is held is their slope."""
        return self.pull_features(gradient)

    def pull_skip(self, gradient: Tensor) -> Tensor | None:
        """(T', n, d) back through W_skip to the residual stream before the MLP."""
        if self.transcoder is None or self.transcoder.w_skip is None:
            return None
        post = self._record.mlp_post_norm
        inside = post.pull(gradient) if post is not None and self.transcoder.writes == "mlp_output" else gradient
        pulled = inside @ self.transcoder.w_skip.to(gradient.dtype)
        if self.transcoder.reads == "residual":
            return pulled
        if self.transcoder.reads == "normalised":
            pulled = pulled / self._gain.to(gradient.dtype)
        return self._record.mlp_norm.pull(pulled)
