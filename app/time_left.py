"""How long a job still takes, said only once enough is known."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MIN_SECONDS = 1.5
MIN_FRACTION = 0.04
WINDOW_SECONDS = 6.0


@dataclass
class TimeLeft:
    """Estimates from the pace of the last seconds, and from the whole run; the slower of the two is believed."""

    started: float
    _samples: deque[tuple[float, float]] = field(default_factory=deque)

    def update(self, now: float, fraction: float) -> float | None:
        """Seconds left after `fraction` of the job at time `now` (s); None while too little is known."""
        if self._samples and fraction < self._samples[-1][1]:
            self._samples.clear()  # A new job within the job: its pace is not known yet.
        self._samples.append((now, fraction))
        while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()
        elapsed = now - self.started
        if elapsed < MIN_SECONDS or fraction < MIN_FRACTION:
            return None
        left = (1.0 - fraction) * elapsed / fraction
        first_time, first_fraction = self._samples[0]
        gained = fraction - first_fraction
        if gained > 0 and now > first_time:
            left = max(left, (1.0 - fraction) * (now - first_time) / gained)
        return left


def say(seconds: float) -> str:
    """A duration in words no more exact than an estimate can be."""
    if seconds < 4:
        return "a few seconds left"
    if seconds < 55:
        return f"about {5 * round(seconds / 5) or 5} s left"
    if seconds < 90:
        return "about a minute left"
    return f"about {round(seconds / 60)} min left"
