"""Edits of the project's tree: written at once, each one step of undo, whether a trace is open or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from app.session import Session
from engine.errors import LoupeError, MachineError
from engine.projects import TOP, FileLostError, Project, TreeRef

Made = TypeVar("Made")


class TreeEdits:
    """Changes folders, notes, prompts, circuits, titles, places and tags. Errors become a sentence beside the tree."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def _write(self, edit: Callable[[Project], Made], typed: tuple[str, str] | None = None) -> Made | None:
        """Make an edit. `typed`: for a text, what it is on and what it is in words; it is held where the file does not
        take it.
        """
        session = self.session
        if session.read_only:
            sentence = "This project is open for reading only; save it as a new file to edit it."
            session.report_problem("investigation", sentence, "file.save_as")
            return None
        try:
            done = edit(session.ensure_project())
        except (FileLostError, MachineError) as error:
            if typed is None:
                session.report_error("investigation", error)
            else:
                session.file.hold(*typed, edit, error)
            return None
        except LoupeError as error:
            session.report_error("investigation", error)
            return None
        if typed is not None:
            session.file.held.drop(typed[0])
        session.refresh()
        return done

    # ---- making ------------------------------------------------------------------------------------------------

    def add_folder(self, title: str, folder: int = TOP, refs: Sequence[TreeRef] = ()) -> TreeRef | None:
        """Make a folder, with `refs` in it."""
        return self._write(lambda project: project.tree.gather(refs, _line(title), folder=folder))

    def add_note(self, title: str, folder: int = TOP) -> TreeRef | None:
        """Begin a note that belongs to no trace."""
        return self._write(lambda project: project.tree.add_note(_line(title), folder=folder))

    def add_prompt(self, title: str, text: str, settings: dict[str, Any], folder: int = TOP) -> TreeRef | None:
        """Keep a prompt, with what is needed to trace it."""
        return self._write(lambda project: project.tree.add_prompt(_line(title), text, settings, folder=folder))

    def keep_circuit(self, trace: int, title: str) -> TreeRef | None:
        """Keep the pins, groups and positions of a trace as they are now."""
        return self._write(lambda project: project.tree.keep_circuit(trace, _line(title)))

    def duplicate(self, ref: TreeRef) -> TreeRef | None:
        """Copy an entry with all that is in it."""
        return self._write(lambda project: project.tree.duplicate(ref))

    # ---- changing ----------------------------------------------------------------------------------------------

    def _change(self, edit: Callable[[Project], object], typed: tuple[str, str] | None = None) -> bool:
        return self._write(lambda project: edit(project) is not None, typed) is True

    def show_circuit(self, ref: TreeRef) -> bool:
        """Put a kept circuit on its trace, in place of what is pinned and grouped there."""
        return self._change(lambda project: project.tree.show_circuit(ref))

    def rename(self, ref: TreeRef, title: str) -> bool:
        """Give an entry another title."""
        return bool(_line(title)) and self._change(lambda project: project.tree.rename(ref, _line(title)))

    def write(self, ref: TreeRef, text: str) -> bool:
        """Write the text of a note or a prompt, or the note on a circuit."""
        typed = f"text of {ref.table} {ref.number}", "what you wrote in the tree"
        return self._change(lambda project: project.tree.write(ref, text, merge="text"), typed)

    def move(self, refs: Sequence[TreeRef], folder: int, before: TreeRef | None = None) -> bool:
        """Put entries into a folder, before one that is there or at the end."""
        return bool(refs) and self._change(lambda project: project.tree.move(refs, folder, before=before))

    def delete(self, refs: Sequence[TreeRef]) -> bool:
        """Take entries out of the project; undo brings them back with everything in them."""
        return bool(refs) and self._change(lambda project: project.tree.delete(refs))

    def tag(self, refs: Sequence[TreeRef], text: str) -> bool:
        """Put a tag on entries."""
        return bool(refs) and self._change(lambda project: project.tree.tag(refs, text))

    def untag(self, refs: Sequence[TreeRef], text: str) -> bool:
        """Take a tag away."""
        return bool(refs) and self._change(lambda project: project.tree.untag(refs, text))


def _line(text: str) -> str:
    return " ".join(text.split())
