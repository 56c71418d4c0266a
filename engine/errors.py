"""The errors a user may meet: each carries one sentence that says what to do next, and an exit status."""

from __future__ import annotations


class LoupeError(Exception):
    """A failure with one clear sentence for the user.

    Parameters
    ----------
    sentence:
        What happened and what to do next, without markup.
    """

    exit_status = 1

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class RequestError(LoupeError):
    """The request is wrong: a bad path, an unknown token, a damaged or foreign file."""

    exit_status = 2


class MachineError(LoupeError):
    """The machine cannot: no display, too little memory, disk full, not writable."""

    exit_status = 3


class Cancelled(Exception):  # noqa: N818 - not an error: the user asked for it
    """Raised inside a job at a checkpoint after the user asked it to stop."""
