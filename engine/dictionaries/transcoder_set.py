"""A transcoder for every layer of a model, per-layer or cross-layer, and what they leave unexplained."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.dictionaries.transcoder_layer import TranscoderLayer
from engine.dictionaries.transcoders import Transcoder, branch_output, site_input, to_residual
from engine.errors import MachineError
from engine.models.memory import available_bytes
from engine.models.recording import LayerRecord, Recording
from engine.progress import Progress, checkpoint, silent
from engine.sizes import byte_words


def room_needed(layers: Sequence[TranscoderLayer]) -> int:
    """Bytes of what active features write: all that cross-layer ones do is kept, of others a layer's, twice."""
    kept = sum(layer.rows_bytes * len(layer.write_layers) for layer in layers if len(layer.write_layers) > 1)
    return kept + 2 * max((layer.rows_bytes for layer in layers), default=0)


def _require_room(layers: Sequence[TranscoderLayer], device: torch.device) -> None:
    """`MachineError` where what active features write, known now, would not fit into what is free."""
    needed, free = room_needed(layers), available_bytes(device)
    if needed > free:
        active = sum(len(layer.position) for layer in layers)
        raise MachineError(
            f"The {active:,} features active on this prompt need about {byte_words(needed)} of memory and "
            f"{byte_words(free)} are free; use a shorter prompt, or close other programs."
        )


class TranscoderFeatures:
    """A set of transcoders, one a layer; where a layer has none, and nothing writes there, all of it is error."""

    kind = "transcoders"
    has_errors = True

    def __init__(
        self, name: str, fingerprint: str, transcoders: Sequence[Transcoder | None], gains: Sequence[Tensor]
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.transcoders = list(transcoders)
        self.gains = list(gains)  # (d,) each: the gain of the norm before the MLP

    def read(
        self, recording: Recording, progress: Progress = silent, cancel: threading.Event | None = None
    ) -> list[TranscoderLayer]:
        """The active features of every layer, errors and biases included."""
        records, first = recording.layers, recording.first_position
        layers: list[TranscoderLayer] = []
        for layer, (transcoder, gain) in enumerate(zip(self.transcoders, self.gains, strict=True)):
            checkpoint(cancel)
            progress("Reading features", layer / len(records))
            layers.append(TranscoderLayer(transcoder, layer, records, gain, first))
        _require_room(layers, records[0].pre.device)
        for layer, here in enumerate(layers):
            here.bias, here.error = self._constants(layer, layers, records[layer], first)
        return layers

    def _constants(
        self, layer: int, layers: Sequence[TranscoderLayer], record: LayerRecord, first: int
    ) -> tuple[Tensor | None, Tensor]:
        """What is written after a layer's MLP by biases, and what nothing explains, both (T, d)."""
        transcoder = self.transcoders[layer]
        target = branch_output(record)
        writers = [one for one in layers[: layer + 1] if one.transcoder is not None and layer in one.write_layers]
        if transcoder is None and not writers:
            return None, target
        bias = torch.zeros_like(target) if transcoder is None else self._written_bias(transcoder, layer, record)
        explained = bias
        for writer in writers:
            explained = explained.index_add(0, writer.position, writer.written_at(layer))
        if transcoder is not None and transcoder.w_skip is not None:
            x = site_input(record, self.gains[layer], transcoder.reads)
            explained = explained + self._skipped(transcoder, x, record)
            # The skip of a constant (the norm's shift) is constant; only its linear part is swept through.
            shift = record.mlp_norm.shift
            if shift is not None and transcoder.reads == "mlp_input":
                bias = bias + self._skipped(transcoder, torch.zeros_like(x) + shift, record)
        error = target - explained
        # Positions that are left out write a constant: everything but what the linear skip still carries.
        bias = bias.clone()
        bias[:first] += error[:first]
        error[:first] = 0
        return bias, error

    @staticmethod
    def _written_bias(transcoder: Transcoder, layer: int, record: LayerRecord) -> Tensor:
        constant = transcoder.b_dec.to(record.mid.dtype).expand_as(record.mid)
        bias = to_residual(constant, record, transcoder.writes)
        post = record.mlp_post_norm
        if transcoder.writes == "mlp_output" and post is not None and post.shift is not None:
            bias = bias + post.shift
        return bias

    @staticmethod
    def _skipped(transcoder: Transcoder, x: Tensor, record: LayerRecord) -> Tensor:
        assert transcoder.w_skip is not None
        return to_residual(x @ transcoder.w_skip.to(x.dtype).T, record, transcoder.writes)
