"""docs/commands.md, made from the registry: python -m app.commands.reference docs/commands.md"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from app.commands.registry import MENUS, Command, Registry

INTRODUCTION = """# Commands

Every action of the window, in menu order. Ctrl+K finds any of them by a few letters; `F1` lists the keys.
This page is made from the program's own list of commands: `make commands` writes it anew.
"""


def as_markdown(registry: Registry) -> str:
    """The whole page: a table for each menu."""
    parts = [INTRODUCTION]
    for menu in MENUS:
        rows = [_row(action.command) for action in registry.of_menu(menu)]
        parts.append(
            f"## {menu.replace('&', '')}\n\n| command | keys | what it does |\n|---|---|---|\n" + "\n".join([*rows, ""])
        )
    return "\n".join(parts)


def _row(command: Command) -> str:
    # Keys as they are written in the source: a Mac's own signs would differ from one machine to the next.
    keys = ", ".join(f"`{key}`" for key in (*command.shortcuts, *filter(None, [command.shown_keys])))
    cells = (command.name, keys, command.tip)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main(path: Path) -> None:
    """Write the page; needs no display and touches no settings of the person's."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory() as home:
        from engine.places import HOME_VARIABLE

        os.environ[HOME_VARIABLE] = home
        from PySide6.QtWidgets import QApplication

        from app.window import MainWindow

        window = MainWindow(QApplication([]))
        path.write_text(as_markdown(window.registry), encoding="utf-8")
        window.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
