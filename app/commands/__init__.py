"""Every action of the program: one registry feeds menus, toolbar, shortcuts, the palette and the help sheet."""

from app.commands.edits import Edits
from app.commands.registry import MENUS, Command, CommandAction, Registry
from app.commands.tree_edits import TreeEdits

__all__ = ["MENUS", "Command", "CommandAction", "Edits", "Registry", "TreeEdits"]
