"""Targets from files: a weighted sum of tokens (a JSON object), or a direction (a .npy or a JSON list of numbers)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from engine.errors import RequestError

LARGEST_LIST_BYTES = 64 * 2**20


def read_target_file(path: Path) -> dict[str, Any]:
    """The part of a `Target` that a file describes: `weighted`, a sum of tokens, or `direction`.

    Raises `RequestError` for a file that holds neither.
    """
    weighted = read_weighted(path)
    return {"direction": read_direction(path)} if weighted is None else {"weighted": weighted}


def read_weighted(path: Path) -> tuple[tuple[str, float], ...] | None:
    """Tokens and weights of a JSON object such as {" Austin": 1, " Dallas": -0.5}; None where it is something else."""
    if path.suffix == ".npy" or not path.is_file() or path.stat().st_size > LARGEST_LIST_BYTES:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            return None
        tokens = tuple((str(token), float(weight)) for token, weight in content.items())
    except (ValueError, TypeError, RecursionError, OSError):
        return None
    if not tokens or not all(math.isfinite(weight) for _, weight in tokens):
        raise RequestError(f'{path} names no tokens with finite weights; give an object such as {{" Austin": 1}}.')
    return tokens


def read_direction(path: Path) -> tuple[float, ...]:
    """The numbers of a direction: a one-dimensional .npy, or a JSON list."""
    import numpy as np

    if not path.is_file():
        raise RequestError(f"There is no file {path}; give a .npy or JSON file that holds the direction.")
    try:
        if path.stat().st_size > LARGEST_LIST_BYTES:
            raise ValueError("too large")
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else json.loads(path.read_text())
        numbers = tuple(float(one) for one in np.asarray(values, dtype=np.float64).reshape(-1))
    except (ValueError, TypeError, OSError) as error:
        raise RequestError(
            f"{path} is not a list of numbers; give a .npy or JSON file with d_model numbers."
        ) from error
    if not numbers or not all(map(math.isfinite, numbers)):
        raise RequestError(f"{path} holds no direction: give d_model finite numbers.")
    return numbers
