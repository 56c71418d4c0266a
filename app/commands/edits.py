"""Every edit of an investigation: written to the project at once, each one step of undo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from app.session import Session
from engine.errors import LoupeError, MachineError
from engine.graphs.circuit import PlaceKey
from engine.graphs.visible_text import visible_text
from engine.projects import Annotations, FileLostError, Group, Project

LONGEST = 40  # of a text in a sentence


class Edits:
    """Changes pins, labels, groups, notes and titles. Errors become a sentence in the panel concerned."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def _write(self, place: str, edit: Callable[[Project, int], object], typed: tuple[str, str] | None = None) -> bool:
        """Make an edit. `typed`: for a text, what it is on (the same each time) and what it is in words: it is held
        where the file does not take it.
        """
        session = self.session
        if session.project is None or session.trace_id is None:
            return False
        if session.project.read_only:
            session.report_problem(
                place, "This project is open for reading only; save it as a new file to edit it.", "file.save_as"
            )
            return False
        number = session.trace_id
        key = "" if typed is None else self._key(typed[0])
        try:
            edit(session.project, number)
        except (FileLostError, MachineError) as error:
            if typed is None:
                session.report_error(place, error)
            else:
                session.file.hold(key, typed[1], lambda project: edit(project, number), error)
            return False
        except LoupeError as error:
            session.report_error(place, error)
            return False
        session.file.held.drop(key)
        session.refresh()
        return True

    def _key(self, what: str) -> str:
        return f"{what} of trace {self.session.trace_id}"

    def _is_there(self, what: str) -> None:
        """The file holds what is wanted of a text: nothing else that was typed there waits any more."""
        self.session.file.held.drop(self._key(what))

    # ---- pins and labels ---------------------------------------------------------------------------------------

    def pin(self, nodes: Iterable[int]) -> bool:
        """Pin nodes that are not pinned yet."""
        pinned = set(self.session.annotations.pins)
        new = [node for node in dict.fromkeys(nodes) if node not in pinned]
        return bool(new) and self._write("graph", lambda project, trace: project.pin(trace, new))

    def unpin(self, nodes: Iterable[int]) -> bool:
        """Take pins away."""
        pinned = set(self.session.annotations.pins)
        old = [node for node in dict.fromkeys(nodes) if node in pinned]
        return bool(old) and self._write("graph", lambda project, trace: project.unpin(trace, old))

    def toggle_pin(self, node: int) -> bool:
        """Pin a node, or take its pin away."""
        return self.unpin([node]) if node in self.session.annotations.pins else self.pin([node])

    def label(self, node: int, text: str, *, everywhere: bool = False, merge: str | None = None) -> bool:
        """Name a node in this trace, or its feature everywhere; an empty text takes the name away. `merge`: what is
        typed under one key is one step.
        """
        text, present = " ".join(text.split()), self.session.annotations
        if text == present.labels.get(node, "") and (not text or everywhere == (node in present.everywhere)):
            self._is_there(f"label of {node}")
            return False
        typed = f"label of {node}", f"the label “{visible_text(text, LONGEST)}”"
        if everywhere:
            return self._write(
                "inspector", lambda project, trace: project.label_everywhere(trace, node, text, merge=merge), typed
            )
        return self._write("inspector", lambda project, trace: project.set_label(trace, node, text, merge=merge), typed)

    def take_back(self, merge: str) -> bool:
        """Take back what was typed under a key, leaving no step; False where it was not the last that was done."""
        taken: list[object] = []
        self._write("inspector", lambda project, _: taken.append(project.take_back(merge)))
        return taken != [None] and bool(taken)

    def give_labels(self, texts: Mapping[int, str]) -> bool:
        """Give nodes automatic labels; those that a person or a file named keep theirs."""
        return self._write("inspector", lambda project, trace: project.give_labels(trace, texts, source="automatic"))

    # ---- groups ------------------------------------------------------------------------------------------------

    def group(self, nodes: Iterable[int], name: str = "") -> bool:
        """Group nodes, two or more; those of other groups move here."""
        chosen = list(dict.fromkeys(nodes))
        if len(chosen) < 2:
            self.session.report_problem("graph", "A group needs two nodes or more; pin or choose another one.")
            return False
        labels = self.session.annotations.labels
        title = name or next((labels[node] for node in chosen if node in labels), f"Group of {len(chosen)}")
        return self._write("graph", lambda project, trace: project.add_group(trace, title, chosen))

    def ungroup(self, group: int) -> bool:
        """Take a group apart; its nodes stay pinned."""
        return self._write("graph", lambda project, trace: project.remove_group(trace, group))

    def rename_group(self, group: int, name: str) -> bool:
        """Give a group another name."""
        name = " ".join(name.split())
        found = find_group(self.session.annotations, group)
        if not name or found is None or found.name == name:
            return False
        typed = f"name of group {group}", f"the name “{visible_text(name, LONGEST)}” of a group"
        return self._write("graph", lambda project, trace: project.rename_group(trace, group, name), typed)

    def recolour_group(self, group: int, colour: str) -> bool:
        """Give a group another colour ('#rrggbb')."""
        found = find_group(self.session.annotations, group)
        if found is None or found.colour == colour:
            return False
        return self._write("graph", lambda project, trace: project.recolour_group(trace, group, colour))

    def collapse(self, groups: Sequence[int], collapsed: bool) -> bool:
        """Draw groups as one box each, or open them."""
        chosen = list(groups)
        return bool(chosen) and self._write(
            "graph", lambda project, trace: project.collapse_groups(trace, chosen, collapsed)
        )

    def note_group(self, group: int, text: str) -> bool:
        """Write on a group what one thinks of it; an empty text takes the note away."""
        found = find_group(self.session.annotations, group)
        if found is None or found.note == text.strip():
            return False
        typed = f"note on group {group}", f"the note on {visible_text(found.name, LONGEST)}"
        return self._write("graph", lambda project, trace: project.set_group_note(trace, group, text.strip()), typed)

    def put_into(self, group: int, nodes: Sequence[int], groups: Sequence[int]) -> bool:
        """Put nodes and groups into a group."""
        return self._write("graph", lambda project, trace: project.put_into_group(trace, group, nodes, groups))

    def take_out(self, group: int) -> bool:
        """Take a group out of the one it lies in."""
        annotations = self.session.annotations
        found = find_group(annotations, group)
        around = None if found is None or found.parent is None else find_group(annotations, found.parent)
        if around is None:
            return False
        return self._write("graph", lambda project, trace: project.nest_group(trace, group, around.parent))

    def move(self, places: Mapping[PlaceKey, tuple[float, float]], merge: str) -> bool:
        """Put boxes of the diagram somewhere else; moves with the same `merge`, one after the other, are one step."""

        def edit(project: Project, trace: int) -> None:
            for key, (x, y) in places.items():
                project.set_position(trace, key, x, y, merge=merge)

        return self._write("graph", edit)

    def leave_circuit(self, nodes: Sequence[int]) -> bool:
        """Take nodes out of the circuit: their pins, and their places in groups."""
        chosen = list(nodes)
        return bool(chosen) and self._write("graph", lambda project, trace: project.leave_circuit(trace, chosen))

    def accept(self, suggestion: int) -> bool:
        """Make what was suggested."""
        return self._write("graph", lambda project, _: project.suggestions.accept(suggestion))

    def refuse(self, suggestion: int) -> bool:
        """Refuse a suggestion: it does not come back, unless this is undone."""
        return self._write("graph", lambda project, _: project.suggestions.refuse(suggestion))

    def remove_from_group(self, group: int, node: int) -> bool:
        """Take one node out of a group; it stays pinned. A group left with nothing goes."""
        return self._write("graph", lambda project, trace: project.take_out_of_group(trace, group, node))

    # ---- the trace ---------------------------------------------------------------------------------------------

    def note(self, text: str) -> bool:
        """Keep the notes of the open trace."""
        if text == self.session.annotations.note:
            self._is_there("note")
            return False
        typed = "note", "the note on this trace"
        return self._write("investigation", lambda project, trace: project.set_note(trace, text, merge="note"), typed)

    # ---- undo --------------------------------------------------------------------------------------------------

    def undo(self) -> bool:
        """Take the last edit back, whichever trace it was made on."""
        return self._step(lambda project: project.undo())

    def redo(self) -> bool:
        """Make the edit again that was taken back last."""
        return self._step(lambda project: project.redo())

    def _step(self, step: Callable[[Project], object]) -> bool:
        session = self.session
        if session.project is None or session.project.read_only:
            return False
        try:
            done = step(session.project)
        except LoupeError as error:
            session.report_error("investigation", error)
            return False
        if done is None:
            return False
        trace = getattr(done, "trace", None)
        session.refresh(trace if isinstance(trace, int) else None)
        return True


def find_group(annotations: Annotations, group: int) -> Group | None:
    """The group of that number, or None."""
    return next((found for found in annotations.groups if found.id == group), None)


def group_of(annotations: Annotations, node: int) -> Group | None:
    """The group a node belongs to, or None."""
    return next((found for found in annotations.groups if node in found.nodes), None)
