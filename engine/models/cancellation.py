"""Makes a forward pass of a transformers model stoppable within one layer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from torch import nn

from engine.progress import checkpoint


@contextlib.contextmanager
def cancellable(hf: nn.Module, cancel: threading.Event | None) -> Iterator[None]:
    """Raise `Cancelled` before the next layer of `hf` runs once `cancel` is set; the model is unchanged afterwards."""
    checkpoint(cancel)
    if cancel is None:
        yield
        return

    def stop_here(module: nn.Module, args: object) -> None:
        checkpoint(cancel)

    with contextlib.ExitStack() as hooks:
        for layer in _layers(hf):
            hooks.callback(layer.register_forward_pre_hook(stop_here).remove)
        yield


def _layers(hf: nn.Module) -> list[nn.Module]:
    """The modules of every list of layers: in transformers' models a ModuleList holds the blocks."""
    found = [layer for module in hf.modules() if isinstance(module, nn.ModuleList) for layer in module]
    return found or [module for module in hf.modules() if not list(module.children())]
