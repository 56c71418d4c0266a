"""How long work reports where it is, and how it is told to stop.

A job is a plain function that takes `progress` and `cancel`. It knows neither Qt nor a terminal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from engine.errors import Cancelled

# progress("Tracing layer 12", 0.4): what is happening, and the share of the whole job done, in [0, 1].
Progress = Callable[[str, float], None]


_Item = TypeVar("_Item")


def silent(stage: str, fraction: float) -> None:
    """Report nothing: the default where nobody watches."""


def checkpoint(cancel: threading.Event | None) -> None:
    """Raise `Cancelled` if the user asked the job to stop. Called between batches and between layers."""
    if cancel is not None and cancel.is_set():
        raise Cancelled


def watched(
    items: Iterable[_Item],
    count: int,
    stage: str,
    progress: Progress,
    cancel: threading.Event | None,
    every: int = 1000,
) -> Iterator[_Item]:
    """The same items, `count` of them, telling where they are and raising `Cancelled` between every thousand."""
    for number, item in enumerate(items):
        if number % every == 0:
            checkpoint(cancel)
            progress(stage, number / max(count, 1))
        yield item


def part(progress: Progress, start: float, end: float) -> Progress:
    """Give a step of a longer job its own 0-to-1 scale inside [start, end] of the whole."""

    def report(stage: str, fraction: float) -> None:
        progress(stage, start + (end - start) * min(max(fraction, 0.0), 1.0))

    return report
