"""From a model folder's safetensors to `ModelWeights`: each tensor read by its name, one at a time, without a module.

Files are memory-mapped. What is stored as it is computed in stays where it lies; what is stored narrower (bfloat16 for
a model in float32) is widened tensor by tensor, so that a model never takes more than itself and its largest tensor.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from engine.errors import Cancelled, LoupeError, MachineError, RequestError
from engine.models.families import read_model
from engine.models.hf_folder import ModelFolder
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, silent

# Tensors that older checkpoints carry and no model reads: computed buffers, a copy of the tied embedding.
_HARMLESS = (
    "rotary_emb.inv_freq",
    ".masked_bias",
    ".attn.bias",
    ".attention.bias",
    "lm_head.weight",
    "embed_out.weight",
)


def read_weights(
    folder: ModelFolder,
    dtype: torch.dtype,
    device: torch.device,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> ModelWeights:
    """The model's weights by role, in `dtype` on `device`.

    Raises
    ------
    RequestError
        The config does not fit the weights, is damaged, or asks for what is not computed.
    MachineError
        Memory ran out.
    Cancelled
        Between two tensors.
    """
    where = f"config.json in {folder.path}"
    with _sentences(folder):
        plan = _Plan(folder)
        read_model(folder.config, plan, where)
        plan.check()
        with contextlib.ExitStack() as files:
            return read_model(folder.config, _Files(folder, files, dtype, device, progress, cancel), where)


class _Plan:
    """Stands in for the files: every tensor has its shape and no numbers, and what does not fit is noted.

    A config that describes another or a larger model is refused before memory is taken for it.
    """

    def __init__(self, folder: ModelFolder) -> None:
        self._folder = folder
        self._taken: set[str] = set()
        self._missing: list[str] = []
        self._wrong: list[str] = []

    def has(self, name: str) -> bool:
        return name in self._folder.shapes

    def take(self, name: str, *shape: int) -> Tensor:
        self._taken.add(name)
        found = self._folder.shapes.get(name)
        if found is None:
            self._missing.append(name)
        elif found != shape:
            self._wrong.append(name)
        # A config may claim a thousand million layers.
        if len(self._missing) > len(self._folder.shapes):
            self.check()
        return torch.empty(shape, device="meta")

    def check(self) -> None:
        """Refuse tensors that are missing, of other shapes, or left over."""
        left = [name for name in self._folder.shapes if name not in self._taken and not name.endswith(_HARMLESS)]
        what = ""
        for names, word in (
            (self._wrong, "of another shape"),
            (left, "left over"),
            (self._missing, "missing"),
        ):
            what = f"{len(names)} tensors are {word}, {names[0][:80]} first" if names else what
        if what:
            raise RequestError(
                f"The weights in {self._folder.path} do not fit its config.json ({what}); fetch the model again."
            )


class _Files:
    """The tensors themselves."""

    def __init__(
        self,
        folder: ModelFolder,
        open_files: contextlib.ExitStack,
        dtype: torch.dtype,
        device: torch.device,
        progress: Progress,
        cancel: threading.Event | None,
    ) -> None:
        self._folder = folder
        self._where: dict[str, Any] = {}
        for path in folder.weight_files:
            file = open_files.enter_context(safe_open(path, framework="pt"))
            self._where |= dict.fromkeys(file.keys(), file)
        self._format: Mapping[str, Any] = {"device": device, "dtype": dtype}
        self._progress = progress
        self._cancel = cancel
        self._done = 0

    def has(self, name: str) -> bool:
        return name in self._folder.shapes

    def take(self, name: str, *shape: int) -> Tensor:
        checkpoint(self._cancel)
        self._progress("Loading the model", self._done / len(self._folder.shapes))
        self._done += 1
        stored = self._folder.stored_names[name]
        tensor: Tensor = self._where[stored].get_tensor(stored)
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} changed while it was read")
        return tensor.to(**self._format)


@contextlib.contextmanager
def _sentences(folder: ModelFolder) -> Iterator[None]:
    """Whatever a library says of a config or a weight file it cannot use becomes one sentence."""
    try:
        yield
    except (LoupeError, Cancelled):
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise MachineError(
            f"Memory ran out while {folder.path.name} was loaded; close other programs or choose a smaller model."
        ) from error
    except Exception as error:
        raise RequestError(
            f"The model in {folder.path} cannot be loaded ({type(error).__name__}): its files are damaged or do not "
            "fit each other; fetch it again."
        ) from error
