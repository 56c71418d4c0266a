"""How far a training has come, in [0, 1], by steps or by time, and the learning rate there."""

from __future__ import annotations

from dataclasses import dataclass

from engine.training.settings import TrainSettings

# What is left of the learning rate at the end.
FINAL_SHARE = 0.03


@dataclass(frozen=True)
class Window:
    """The part of the schedule that one round covers, `steps` steps of each layer."""

    start: float
    end: float
    steps: int

    def at(self, step: int) -> float:
        """The share of the whole training that is done before a step of this round."""
        return self.start + (self.end - self.start) * step / self.steps

    @property
    def is_last(self) -> bool:
        """Whether the training ends with this round."""
        return self.end >= 1


def total_steps(settings: TrainSettings, available: int) -> int:
    """Steps of each layer where no time ends the training; `available` positions of text there are."""
    return max(1, min(settings.tokens, available) * settings.passes // settings.batch)


def window(settings: TrainSettings, total: int, done: int, steps: int, seconds: float, last: float) -> Window:
    """The next round's part, after `done` of `total` steps and so many seconds, where the last round took `last`.

    A rest of less than half a round is not worth one: it is taken into this one.
    """
    start, end = done / total, (done + steps) / total
    if settings.minutes is not None:
        limit = settings.minutes * 60
        start, end = max(start, seconds / limit), max(end, (seconds + last) / limit)
    start = min(start, 1.0)
    if 1 - end < (end - start) / 2:
        end = 1.0
    return Window(start, end, steps)


def rate(settings: TrainSettings, share: float, step: int) -> float:
    """The learning rate: warm-up by steps, then constant, then a linear fall over the last share."""
    warm = min(1.0, (step + 1) / max(settings.warm_up, 1))
    begin = 1 - settings.decay_share
    if share <= begin:
        return settings.learning_rate * warm
    return settings.learning_rate * warm * (1 - (1 - FINAL_SHARE) * (share - begin) / settings.decay_share)


def in_last_part(settings: TrainSettings, share: float) -> bool:
    """Whether a threshold chooses by now."""
    return share >= 1 - settings.decay_share and settings.decay_share > 0
