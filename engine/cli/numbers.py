"""Numbers on the command line: read by argparse, refused in one sentence."""

from __future__ import annotations

import argparse
import math


def whole(text: str) -> int:
    """A whole number above 0."""
    number = int(text) if text.lstrip("-").isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def seed(text: str) -> int:
    """What random numbers are drawn from: 0 or more."""
    number = int(text) if text.isdecimal() else -1
    if number < 0 or number >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; give a whole number such as 0")
    return number


def share(text: str) -> float:
    """A share above 0 and up to 1."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and up to 1")
    return number
