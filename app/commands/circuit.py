"""What the commands of the Circuit menu do, and when each is possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.dialogs import Ask
from engine.graphs import Supernode

if TYPE_CHECKING:
    from app.window import MainWindow


class CircuitHands:
    """Acts on what is chosen in the diagram, in the list of pins and groups, or on the selected node."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self.session, self.edits = window.session, window.edits
        self.choice, self.desk = window.choice, window.desk

    # ---- when --------------------------------------------------------------------------------------------------

    def has_circuit(self) -> bool:
        """Something is pinned or grouped."""
        return bool(self.session.circuit.nodes)

    def has_group(self) -> bool:
        """A group is chosen, or a node of one, and the project takes edits."""
        return self.session.can_edit and self.choice.supernode is not None

    def _to_group(self) -> list[int]:
        """Chosen nodes where there are two or more; else the pinned nodes that are in no group yet."""
        chosen = self.choice.nodes
        return list(chosen) if len(chosen) >= 2 else self.window.conditions.loose_pins()

    def can_group(self) -> bool:
        """There are two nodes or more to group."""
        return self.session.can_edit and len(self._to_group()) >= 2

    def group_title(self) -> str:
        """Says which nodes would be grouped."""
        return "&Group chosen nodes" if len(self.choice.nodes) >= 2 else "&Group pinned nodes"

    def fold_title(self) -> str:
        """Collapse or expand, by what is chosen."""
        group = self.choice.supernode
        return "E&xpand group" if group is not None and group.collapsed else "&Collapse group"

    def can_fold_all(self) -> bool:
        """There are groups."""
        return self.session.can_edit and bool(self.session.circuit.supernodes)

    def _movable(self) -> tuple[tuple[int, ...], tuple[Supernode, ...]]:
        """What would be put into a group: chosen nodes and groups."""
        return self.choice.nodes, self.choice.supernodes

    def _homes(self) -> list[Supernode]:
        """The groups that the chosen boxes may be put into: not themselves, nor what lies in them."""
        nodes, groups = self._movable()
        circuit, barred = self.session.circuit, {one.id for one in groups}
        while True:
            inside = {one.id for one in circuit.supernodes if one.parent in barred} - barred
            if not inside:
                break
            barred |= inside
        homes = [one for one in circuit.supernodes if one.id not in barred]
        return [
            one
            for one in homes
            if not (set(nodes) <= set(one.nodes) and all(group.parent == one.id for group in groups))
        ]

    def can_put_into(self) -> bool:
        """There is something chosen, and a group it is not in."""
        return self.session.can_edit and bool(self.choice.places) and bool(self._homes())

    def can_take_out(self) -> bool:
        """What is chosen last lies in a group."""
        if not self.session.can_edit or not self.choice.places:
            return False
        last = self.choice.places[-1]
        if isinstance(last, int):
            return self.choice.supernode is not None and not self.choice.supernodes
        return bool(self.choice.supernodes) and self.choice.supernodes[-1].parent is not None

    def can_remove(self) -> bool:
        """Something of the circuit is chosen."""
        return self.session.can_edit and bool(set(self.choice.members) & set(self.session.circuit.nodes))

    def _pair(self) -> tuple[int, int] | None:
        """The two nodes that paths would run between: chosen ones, else the selected one and the one before it."""
        if len(self.choice.nodes) == 2 and not self.choice.supernodes:
            return self.choice.nodes[0], self.choice.nodes[1]
        before, now = self.session.visited.previous, self.session.selected
        if self.choice.places == (now,) and before is not None and now >= 0 and before != now:
            return before, now
        return None

    def can_show_paths(self) -> bool:
        """Two nodes are chosen, or were selected one after the other, in a graph that is whole."""
        return self.session.graph is not None and not self.session.growing and self._pair() is not None

    def can_suggest(self) -> bool:
        """A graph is open whose project takes suggestions."""
        return self.session.can_edit and not self.session.growing

    def can_decide(self) -> bool:
        """A suggestion is in hand."""
        return self.session.can_edit and self.window.area.circuit.suggestions.current() is not None

    # ---- groups ------------------------------------------------------------------------------------------------

    def group(self) -> None:
        """Group the chosen nodes, or the pinned ones that are in no group."""
        self.window.hands.group(self._to_group())

    def ungroup(self) -> None:
        """Take the group apart."""
        if self.choice.supernode is not None:
            self.edits.ungroup(self.choice.supernode.id)

    def rename(self) -> None:
        """Rename the group in place."""
        self.window.show_dock("circuit")
        self.window.circuit.edit_group_name()

    def recolour(self, colour: str) -> None:
        """Give the group a colour."""
        if self.choice.supernode is not None:
            self.edits.recolour_group(self.choice.supernode.id, colour)

    def note(self) -> None:
        """Write on the group what one thinks of it."""
        group = self.choice.supernode
        if group is None:
            return
        text = Ask.long_text(self.window, "Note on the group", f"What do you think of “{group.name}”?", group.note)
        if text is not None:
            self.edits.note_group(group.id, text)

    def fold(self) -> None:
        """Draw the group as one box, or open it."""
        group = self.choice.supernode
        if group is not None:
            self.edits.collapse([group.id], not group.collapsed)
            self.choice.choose((group.place,))

    def fold_all(self) -> None:
        """Draw every group as one box."""
        self._fold_all(True)

    def unfold_all(self) -> None:
        """Open every group."""
        self._fold_all(False)

    def _fold_all(self, collapsed: bool) -> None:
        self.edits.collapse([one.id for one in self.session.circuit.supernodes], collapsed)

    def put_into(self) -> None:
        """Put what is chosen into a group."""
        homes = self._homes()
        number = Ask.choice(
            self.window, "Put into group", "Put what is chosen into", [_called(one, i) for i, one in enumerate(homes)]
        )
        if number is not None:
            nodes, groups = self._movable()
            self.edits.put_into(homes[number].id, nodes, [one.id for one in groups])

    def take_out(self) -> None:
        """Take a node out of its group, or a group out of the one around it."""
        last, group = self.choice.places[-1], self.choice.supernode
        if group is None:
            return
        if isinstance(last, int):
            self.edits.remove_from_group(group.id, last)
        else:
            self.edits.take_out(group.id)

    def remove(self) -> None:
        """Take the chosen nodes, and those of chosen groups, out of the circuit."""
        inside = set(self.session.circuit.nodes)
        self.edits.leave_circuit([node for node in self.choice.members if node in inside])

    # ---- paths and suggestions ---------------------------------------------------------------------------------

    def show_paths(self) -> None:
        """Look for the strongest paths between two nodes."""
        pair = self._pair()
        if pair is not None:
            self.window.look.show_circuit()
            self.window.area.circuit.show_paths()
            self.desk.find_paths(*pair)

    def suggest(self) -> None:
        """Look for nodes to pin and nodes to group."""
        self.window.look.show_circuit()
        self.window.area.circuit.show_suggestions()
        self.desk.look_for_suggestions()

    def accept(self) -> None:
        """Make what the suggestion in hand says."""
        found = self.window.area.circuit.suggestions.current()
        if found is not None:
            self.edits.accept(found.id)

    def refuse(self) -> None:
        """Refuse the suggestion in hand for good."""
        found = self.window.area.circuit.suggestions.current()
        if found is not None:
            self.edits.refuse(found.id)

    # ---- the diagram -------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Show the whole diagram."""
        self.window.area.circuit.diagram.fit()

    def nudge(self, dx: float, dy: float) -> None:
        """Move the chosen boxes one step; `dy` grows upwards."""
        self.window.area.circuit.diagram.nudge(dx, dy)

    def can_nudge(self) -> bool:
        """Something of the diagram is chosen that may be moved."""
        return self.window.area.circuit.diagram.can_nudge()

    def go(self) -> None:
        """Put the keyboard into the diagram."""
        self.window.look.show_circuit()
        self.window.hands.focus(self.window.area.circuit.diagram)


def _called(group: Supernode, number: int) -> str:
    """A group in a list of choices; numbered, for two may have the same name."""
    count = f"{len(group.nodes)} node{'' if len(group.nodes) == 1 else 's'}"
    return f"{number + 1}. {group.name} ({count})"
