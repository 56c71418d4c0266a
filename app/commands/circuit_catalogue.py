"""The commands of the Circuit menu."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app.commands.registry import Command
from engine.graphs.colours import GROUP_COLOURS

if TYPE_CHECKING:
    from app.window import MainWindow

CIRCUIT = "&Circuit"


def circuit_commands(window: MainWindow) -> list[Command]:
    """Groups, paths, suggestions and the diagram."""
    hands, asked, circuit = window.hands, window.conditions, window.circuit_hands
    colours = [
        Command(f"edit.colour.{name.lower().replace(' ', '_')}", f"Colour group {name.lower()}", CIRCUIT,
                partial(circuit.recolour, colour), (), "", circuit.has_group, section=1)
        for name, colour in GROUP_COLOURS
    ]  # fmt: skip
    nudges = [
        Command(f"circuit.move.{way}", f"Move box {way}", CIRCUIT, partial(circuit.nudge, dx, dy), (), "",
                circuit.can_nudge, section=6, shown_keys=f"Alt+{way.capitalize()}",
                tip="Move what is chosen in the diagram one step; its place is kept")
        for way, dx, dy in (("left", -1, 0), ("right", 1, 0), ("up", 0, 1), ("down", 0, -1))
    ]  # fmt: skip
    return [
        Command("edit.group_pins", circuit.group_title, CIRCUIT, circuit.group, ("Ctrl+G",), "group",
                circuit.can_group, tip="Make one group of the chosen nodes, or of the pinned ones in none yet"),
        Command("edit.group_clicks", "Group nodes by clicking", CIRCUIT, hands.group_by_clicking, (), "group",
                asked.can_edit, shown_keys="hold G",
                tip="Click nodes one after the other, then choose this again; the same as holding G"),
        Command("edit.ungroup", "&Ungroup", CIRCUIT, circuit.ungroup, ("Ctrl+Shift+G",), "ungroup",
                circuit.has_group, tip="Take the group apart; what is in it stays"),
        Command("edit.rename_group", "&Rename group", CIRCUIT, circuit.rename, ("F2",), "label", circuit.has_group,
                section=1),
        *colours,
        Command("circuit.note", "&Note on group…", CIRCUIT, circuit.note, ("N",), "note", circuit.has_group,
                section=1, tip="Write on the group what you think of it"),
        Command("circuit.fold", circuit.fold_title, CIRCUIT, circuit.fold, ("O",), "fold", circuit.has_group,
                section=2, tip="Draw the group as one box, or open it"),
        Command("circuit.fold_all", "Collapse all groups", CIRCUIT, circuit.fold_all, (), "", circuit.can_fold_all,
                section=2),
        Command("circuit.unfold_all", "Expand all groups", CIRCUIT, circuit.unfold_all, (), "",
                circuit.can_fold_all, section=2),
        Command("circuit.put_into", "Put &into group…", CIRCUIT, circuit.put_into, (), "into", circuit.can_put_into,
                section=3, tip="Put the chosen nodes and groups into a group"),
        Command("circuit.take_out", "Take &out of group", CIRCUIT, circuit.take_out, (), "out",
                circuit.can_take_out, section=3, tip="Take the node, or the group, out of the group around it"),
        Command("circuit.remove", "Remo&ve from circuit", CIRCUIT, circuit.remove, ("Del",), "delete",
                circuit.can_remove, section=3, tip="Unpin the chosen nodes and take them out of their groups"),
        Command("circuit.paths", "Show &paths", CIRCUIT, circuit.show_paths, ("Ctrl+P",), "paths",
                circuit.can_show_paths, section=4,
                tip="The strongest paths between two nodes: choose both in the diagram, or select one after the other"),
        Command("circuit.suggest", "&Suggest", CIRCUIT, circuit.suggest, (), "suggest", circuit.can_suggest,
                section=5, tip="Suggest nodes to pin and nodes to group; nothing changes before you accept it"),
        Command("circuit.accept", "&Accept", CIRCUIT, circuit.accept, ("Ctrl+Shift+A",), "check",
                circuit.can_decide, section=5, tip="Accept the suggestion in hand"),
        Command("circuit.refuse", "Re&fuse", CIRCUIT, circuit.refuse, ("Ctrl+Shift+R",), "close",
                circuit.can_decide, section=5, tip="Refuse the suggestion in hand; it does not come back"),
        Command("circuit.fit", "Fit &diagram", CIRCUIT, circuit.fit, (), "fit", circuit.has_circuit, section=6),
        *nudges,
        Command("circuit.go", "&Go to the diagram", CIRCUIT, circuit.go, ("Ctrl+5",), "", asked.has_graph, section=6),
        Command("view.circuit", "S&how the circuit", CIRCUIT, window.look.toggle_circuit, ("D",), "",
                checked=window.look.circuit_shown, section=6, tip="Show the circuit's diagram below the graph"),
    ]  # fmt: skip
