"""Handing out the graph found so far while a trace goes on, seldom enough that it costs next to nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.graphs import AttributionGraph

OnGraph = Callable[[AttributionGraph], None]
# Seconds between two graphs, at least.
SPACING = 0.3
# The share of the time since the start that building and handing out may take together.
SHARE = 0.03


class HandOut:
    """Decides when a partial graph is worth its cost.

    The first is always built: it is small, and it is what a person waits for. Each later one only when what it will
    cost, foretold from the last one and the number of rows, keeps the whole below `SHARE` of the time gone by.
    """

    def __init__(self, receive: OnGraph, clock: Callable[[], float] = time.perf_counter) -> None:
        self._receive = receive
        self._clock = clock
        self._start = self._last = clock()
        self._cost, self._rows = 0.0, 1
        self.count = 0
        self.spent = 0.0  # seconds

    def offer(self, n_rows: int, build: Callable[[], AttributionGraph]) -> None:
        """Build and hand out the graph of `n_rows` rows, if it is time for one."""
        now = self._clock()
        if self.count:
            # The first graph is little more than what every graph costs, however small: its rows foretell nothing.
            rows = n_rows / self._rows if self.count > 1 else 1.0
            foretold = self._cost * rows
            if now - self._last < SPACING or self.spent + foretold > SHARE * (now - self._start):
                return
        self._receive(build())
        self._last = self._clock()
        self._cost, self._rows = self._last - now, max(n_rows, 1)
        self.spent += self._cost
        self.count += 1
