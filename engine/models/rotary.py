"""Rotary positions: queries and keys turned by an angle that grows with their position (Su et al. 2021, RoFormer).

Frequencies and angles are float32 whatever the model is, as in every implementation that models are trained with.
Shapes: T positions, r the entries of a head that are turned, in two halves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.errors import RequestError


@dataclass(frozen=True)
class Rotary:
    """How positions turn.

    `frequencies`: (r/2,) radians a position. `gain` multiplies cosine and sine. `beyond`: a number of positions, and
    the frequencies used instead by runs that are longer (LongRoPE).
    """

    frequencies: Tensor
    gain: float = 1.0
    beyond: tuple[int, Tensor] | None = None

    def angles(self, start: int, end: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosine and sine (T, r/2), float32, of positions `start` to `end` in a run that is `end` positions long."""
        frequencies = self.frequencies
        if self.beyond is not None and end > self.beyond[0]:
            frequencies = self.beyond[1]
        positions = torch.arange(start, end, device=device, dtype=torch.float32)
        angles = positions[:, None] * frequencies.to(device)
        return angles.cos() * self.gain, angles.sin() * self.gain


def turn(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn x (..., T, h) by its positions' angles: entry i of the first half with entry i of the second."""
    cos, sin = (part.to(x.dtype) for part in angles)
    half = cos.shape[-1]
    first, second = x[..., :half], x[..., half : 2 * half]
    turned = [first * cos - second * sin, second * cos + first * sin]
    return torch.cat(turned if 2 * half == x.shape[-1] else [*turned, x[..., 2 * half :]], dim=-1)


def read_rotary(parameters: Mapping[str, Any], d_head: int, context: int) -> Rotary:
    """The rotary positions that a config describes (`rope_parameters`, with theta and kind in it).

    Raises
    ------
    RequestError
        A kind that is not computed here.
    KeyError, TypeError, ValueError, ArithmeticError
        Parameters that make no sense; the caller knows the file's name.
    """
    kind = parameters["rope_type"]
    if kind not in _KINDS:
        raise RequestError(
            f"This model's rotary positions are of the kind {str(kind)[:40]!r}, which is not computed here; fetch an "
            f"edition with one of: {', '.join(_KINDS)}."
        )
    width = int(d_head * float(parameters.get("partial_rotary_factor") or 1.0))
    wavelengths = float(parameters["rope_theta"]) ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
    rotary = _KINDS[kind](parameters, wavelengths, context)
    if not torch.isfinite(rotary.frequencies).all():
        raise ValueError("frequencies that are not numbers")
    return rotary


def _default(parameters: Mapping[str, Any], wavelengths: Tensor, context: int) -> Rotary:
    return Rotary(1.0 / wavelengths)


def _linear(parameters: Mapping[str, Any], wavelengths: Tensor, context: int) -> Rotary:
    return Rotary(1.0 / wavelengths / float(parameters["factor"]))


def _llama3(parameters: Mapping[str, Any], wavelengths: Tensor, context: int) -> Rotary:
    """Llama 3.1: long waves slowed by `factor`, short ones kept, those between blended."""
    factor, trained = float(parameters["factor"]), parameters["original_max_position_embeddings"]
    low, high = float(parameters["low_freq_factor"]), float(parameters["high_freq_factor"])
    kept = 1.0 / wavelengths
    length = 2 * math.pi / kept
    share = (trained / length - low) / (high - low)
    blended = (1 - share) * (kept / factor) + share * kept
    between = torch.where(length > trained / low, kept / factor, blended)
    return Rotary(torch.where(length < trained / high, kept, between))


def _yarn(parameters: Mapping[str, Any], wavelengths: Tensor, context: int) -> Rotary:
    """YaRN (Peng et al. 2023, arXiv 2309.00071): a ramp over the entries between kept and slowed frequencies."""
    trained = parameters["original_max_position_embeddings"]
    factor = float(parameters.get("factor") or context / trained)
    width, theta = 2 * len(wavelengths), float(parameters["rope_theta"])

    def entry(turns: float) -> float:
        """The entry that turns so many times over the trained length."""
        return width * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = entry(parameters.get("beta_fast") or 32), entry(parameters.get("beta_slow") or 1)
    if parameters.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    # The small step keeps the ramp from dividing by zero, as in the published code.
    steps = torch.arange(width // 2, dtype=torch.float32) - first
    slowed = (steps / ((last if last != first else last + 0.001) - first)).clamp(0, 1)
    kept = 1 - slowed
    frequencies = 1.0 / (factor * wavelengths) * (1 - kept) + 1.0 / wavelengths * kept
    return Rotary(frequencies, _yarn_gain(parameters, factor))


def _yarn_gain(parameters: Mapping[str, Any], factor: float) -> float:
    given = parameters.get("attention_factor")
    if given is not None:
        return float(given)

    def grown(scale: float) -> float:
        return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0

    scale, scale_all = parameters.get("mscale"), parameters.get("mscale_all_dim")
    return grown(scale) / grown(scale_all) if scale and scale_all else grown(1.0)


def _longrope(parameters: Mapping[str, Any], wavelengths: Tensor, context: int) -> Rotary:
    """LongRoPE (Ding et al. 2024, arXiv 2402.13753): a factor for each entry, others for runs that are longer."""
    trained = parameters["original_max_position_embeddings"]
    factor = float(parameters.get("factor") or context / trained)
    gain = parameters.get("attention_factor")
    if gain is None:
        gain = math.sqrt(1 + math.log(factor) / math.log(trained)) if factor > 1 else 1.0
    short, long = (torch.tensor(parameters[name], dtype=torch.float32) for name in ("short_factor", "long_factor"))
    if short.shape != wavelengths.shape or long.shape != wavelengths.shape:
        raise ValueError("as many factors as entries are needed")
    return Rotary(1.0 / (short * wavelengths), float(gain), (int(trained), 1.0 / (long * wavelengths)))


_KINDS: dict[str, Callable[[Mapping[str, Any], Tensor, int], Rotary]] = {
    "default": _default,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
