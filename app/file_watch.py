"""What becomes of the open project's file, what another program writes to it, and work that it does not take."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from app.held import Held
from engine.errors import LoupeError
from engine.graphs.visible_text import visible_text
from engine.projects import FileLostError, Project

if TYPE_CHECKING:
    from app.session import Session

SAVE_ELSEWHERE = "Save a copy elsewhere…"
IS_FREE = "The program that had this project has let go of it."


class FileWatch:
    """Says once what is wrong with the file, or that it is free now, and holds what it did not take."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.held = Held()
        self._said = ""  # what the last look at the file found

    def begin(self) -> None:
        """Another file is open: what others write to it counts from now on."""
        self._said = ""
        project = self.session.project
        if project is not None and project.read_only:
            with suppress(LoupeError):  # the next beat says what is wrong
                project.changed_elsewhere()

    def beat(self) -> None:
        """Say that this program is alive, and look at the file."""
        session = self.session
        if session.project is None:
            return
        before, self._said = self._said, ""
        try:
            session.project.heartbeat()
            free = session.project.is_free()
            changed = session.read_only and session.project.changed_elsewhere()
        except LoupeError as error:
            self._said = error.sentence
            if error.sentence != before:  # once: the person may have put it away
                session.report_error("project", error)
            return
        if changed:
            session.refresh()  # the program that has the file edits it
        if free:
            self._said = IS_FREE
            if before != IS_FREE:
                session.report_problem("project", IS_FREE, "file.edit_here")
        elif before:
            session.report_problem("project", "")
        self.put_held()

    @property
    def missing(self) -> str:
        """What is in no file, in words; "" where all is kept."""
        project = self.session.project
        if project is None or not (self.held or self.is_lost):
            return ""
        said = self._said if self.is_lost else f"{visible_text(project.path.name)} could not be written."
        return f"{said} Not in any file: {self.held.words}." if self.held else said

    @property
    def is_lost(self) -> bool:
        """Whether the open file is not there any more, or not the one that was opened."""
        return bool(self._said) and not self.is_free

    @property
    def is_free(self) -> bool:
        """Whether the program that had the file when it was opened here has let go of it."""
        return self._said == IS_FREE

    def hold(self, key: str, words: str, put: Callable[[Project], object], error: LoupeError) -> None:
        """Hold what a person wrote, or a job found, that the file did not take; say so with what went wrong."""
        session = self.session
        self.held.hold(key, words, put)
        sentence = f"{error.sentence} Held in this window until it can be kept: {self.held.words}."
        if isinstance(error, FileLostError) and session.read_only:
            session.projectChanged.emit()  # another program has it now
        session.report_problem("project", sentence, "file.save_as", SAVE_ELSEWHERE)

    def put_held(self) -> None:
        """Put what is held into the project, if it takes it by now."""
        session = self.session
        if not self.held or session.project is None or session.read_only or not self.held.put_into(session.project):
            return
        if not self.held:
            session.report_problem("project", "")
        session.refresh()
