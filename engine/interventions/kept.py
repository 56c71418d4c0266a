"""Experiments as plain JSON values: what was done and what came out, as a project keeps them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Dataclasses, arrays and tuples as JSON values; a number that does not exist (NaN, infinite) becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True)
class Record:
    """An experiment that was run, ready to be kept (`Experiments.add(**record.columns)`).

    `settings` is all that is needed to run it again, given the model and the dictionary; `result` what came out, with
    `sentence` (what it says, for a person) and `evidence`.
    """

    kind: str
    title: str
    settings: dict[str, Any]
    result: dict[str, Any]

    @property
    def evidence(self) -> str:
        """What the outcome says of its claim, in the words that a project keeps."""
        return str(self.result.get("evidence", "untested"))

    @property
    def columns(self) -> dict[str, Any]:
        """The arguments of `engine.projects.experiments.Experiments.add`, but for the trace."""
        return {
            "kind": self.kind,
            "title": self.title,
            "settings": self.settings,
            "result": self.result,
            "evidence": self.evidence,
        }
