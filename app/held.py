"""What was written, traced or measured and could not be kept: held in the window until the project takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import LoupeError
from engine.projects import Project


@dataclass(frozen=True)
class HeldWork:
    """One thing that is not in the file: what it is, in words, and how it is put there."""

    words: str
    put: Callable[[Project], object]


class Held:
    """All that is held, oldest first. What has the same key is the same thing, written anew."""

    def __init__(self) -> None:
        self._all: dict[str, HeldWork] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def words(self) -> str:
        """What is held: "the note on this trace and 2 more"."""
        first, *more = [one.words for one in self._all.values()] or [""]
        return first if not more else f"{first} and {len(more)} more"

    def hold(self, key: str, words: str, put: Callable[[Project], object]) -> None:
        """Hold one thing."""
        self._all.pop(key, None)
        self._all[key] = HeldWork(words, put)

    def drop(self, key: str) -> None:
        """It is in the file now, or no longer wanted."""
        self._all.pop(key, None)

    def clear(self) -> None:
        """Nobody wants any of it."""
        self._all.clear()

    def put_into(self, project: Project) -> list[str]:
        """Put into a project what it takes, oldest first; what that was, in words. The rest stays held."""
        done: list[str] = []
        for key, one in list(self._all.items()):
            try:
                one.put(project)
            except LoupeError:
                return done
            self._all.pop(key, None)
            done.append(one.words)
        return done
