"""A prompt as the user gave it. Plain values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """A prompt as the user gave it.

    `token_ids` given directly are used as they are: no BOS is added and `text` is only a caption. `bos`: whether the
    model's BOS token is put in front. `chat`: as a user's turn in the model's chat template, after `system`, if any.
    """

    text: str = ""
    token_ids: tuple[int, ...] | None = None
    bos: bool = True
    chat: bool = False
    system: str | None = None
