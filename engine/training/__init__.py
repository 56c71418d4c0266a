"""Training transcoders for a loaded model: what the rest may use. torch is imported only when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.training.measuring import Measured
    from engine.training.run import train
    from engine.training.settings import Plan, TrainSettings, plan

_WHERE = {"Measured": "measuring", "Plan": "settings", "TrainSettings": "settings", "plan": "settings", "train": "run"}

__all__ = ["Measured", "Plan", "TrainSettings", "plan", "train"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
