"""What MLPs read and write, recorded once for all layers, in a buffer of fixed size that lies in a file.

The file is mapped: what memory is free holds it, and what is not free does not fail. Each round overwrites the oldest
slot, so that every position stays for as many rounds as there are slots.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.errors import MachineError
from engine.models.forward import BlockValues, run
from engine.models.norms import normalise
from engine.progress import Progress, checkpoint, silent
from engine.sizes import byte_words
from engine.training.text import Pieces

if TYPE_CHECKING:
    from engine.models.weights import ModelWeights

# Tokens that go through the model together.
_RUN_TOKENS = 4096


class ActivationBuffer:
    """Inputs and outputs of every layer's MLP at `capacity` positions, (L, 2, capacity, d) in bfloat16."""

    def __init__(self, path: Path, weights: ModelWeights, capacity: int) -> None:
        self._path, self._weights = path, weights
        shape = (weights.n_layers, 2, capacity, weights.d_model)
        count = shape[0] * shape[1] * shape[2] * shape[3]
        _reserve(path, 2 * count)
        self._held = torch.from_file(str(path), shared=True, size=count, dtype=torch.bfloat16).view(shape)
        self.filled = 0
        self.recorded = 0  # in all, those overwritten since included

    @property
    def capacity(self) -> int:
        """Positions that fit."""
        return int(self._held.shape[2])

    def fill(
        self, pieces: Pieces, count: int, *, progress: Progress = silent, cancel: threading.Event | None = None
    ) -> int:
        """Run pieces through the model until `count` positions are recorded over the oldest; gives pieces used.

        Fewer positions are recorded where the pieces end first.
        """
        done = used = 0
        while done < count and used < len(pieces):
            batch = pieces.take(slice(used, used + max(1, _RUN_TOKENS // pieces.ids.shape[1])))
            # No more pieces than are needed: what does not fit would be lost.
            enough = int(((batch.length - batch.first).cumsum(0) < count - done).sum()) + 1
            batch = batch.take(slice(0, enough))
            done += self._record(batch, count - done, cancel)
            used += len(batch)
            progress("Recording the model's MLPs", done / count)
        return used

    def _record(self, batch: Pieces, most: int, cancel: threading.Event | None) -> int:
        device = self._weights.device
        longest = int(batch.length.max())
        place = torch.arange(longest)
        mask = (place >= batch.first) & (place < batch.length[:, None])
        # The newest overwrite the oldest, round the end of the buffer.
        count = min(int(mask.sum()), most)
        where = (torch.arange(count) + self.recorded) % self.capacity
        kept = mask.flatten().nonzero()[:count, 0].to(device)

        def keep(number: int, values: BlockValues) -> None:
            outputs = branch_of(self._weights, number, values)
            for side, one in enumerate((values.mlp_input, outputs)):
                self._held[number, side].index_copy_(0, where, one.flatten(0, 1)[kept].to("cpu", torch.bfloat16))

        run(self._weights, batch.ids[:, :longest].to(device), each=keep, cancel=cancel)
        self.recorded += count
        self.filled = min(self.capacity, self.recorded)
        return count

    def rows(self, layer: int, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Inputs and outputs (B, d) of a layer at some positions, on the model's device."""
        device = self._weights.device
        return self._held[layer, 0][index].to(device), self._held[layer, 1][index].to(device)

    def close(self) -> None:
        """Delete the file."""
        del self._held
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def branch_of(weights: ModelWeights, layer: int, values: BlockValues) -> Tensor:
    """(B, T, d) what an MLP's branch adds to the residual stream: after a post-norm, where there is one."""
    post = weights.layers[layer].mlp_post_norm
    return values.mlp_output if post is None else normalise(post, values.mlp_output)


def _reserve(path: Path, size: int) -> None:
    """A file of that size whose blocks are really there: a full disk is found now, not by a bus error later."""
    try:
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                zeros = bytes(1 << 24)
                for start in range(0, size, len(zeros)):
                    checkpoint(None)
                    file.write(zeros[: min(len(zeros), size - start)])
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise MachineError(
                f"The disk is full: {byte_words(size)} are needed for recorded activations in {path.parent}; free "
                "some space, choose another folder, or a smaller buffer."
            ) from error
        raise MachineError(f"{path.parent} cannot be written ({error.strerror}); choose another folder.") from error
