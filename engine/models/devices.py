"""Where a model runs and with which numbers."""

from __future__ import annotations

import torch

from engine.errors import MachineError, RequestError

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" is the GPU where there is one ("cuda", then "mps"), else the processor.

    Raises
    ------
    RequestError
        No such name.
    MachineError
        This machine, or this build of PyTorch, has no such device.
    """
    kind, _, number = name.partition(":")
    if kind not in DEVICES or (number and (kind != "cuda" or not number.isdecimal())):
        raise RequestError(f"There is no device {name!r}; choose auto, cpu, cuda or mps.")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if kind == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    if (kind == "cuda" and not cuda) or (kind == "mps" and not mps):
        raise MachineError(f"PyTorch finds no {kind} device on this machine; choose auto or cpu.")
    if number and int(number) >= torch.cuda.device_count():
        raise MachineError(f"This machine has {torch.cuda.device_count()} GPUs, so there is no {name}; choose cuda.")
    return torch.device(name)


def choose_dtype(name: str = "float32") -> torch.dtype:
    """The number format the model computes in; float16 is left out because Gemma overflows in it."""
    if name not in DTYPES:
        raise RequestError(f"The model cannot compute in {name!r}; choose float32 or bfloat16.")
    return DTYPES[name]
