"""The program `circuit-loupe`: a window, or the command line when a command is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.errors import MachineError


def wants_window(arguments: Sequence[str]) -> bool:
    """True without arguments and for one project file; everything else is the command line's."""
    if not arguments:
        return True
    return len(arguments) == 1 and (arguments[0].endswith(".loupe") or Path(arguments[0]).is_file())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not wants_window(arguments):
        from engine.cli import main as command_line

        return int(command_line(arguments))
    from app.startup import prepare_environment, require_display, require_qt

    prepare_environment()
    try:
        require_display(os.environ)
        if sys.platform == "win32":
            # torch 2.9 and later must be imported before Qt on Windows (WinError 1114 otherwise).
            import torch  # noqa: F401
        require_qt(os.environ)
    except MachineError as error:
        sys.stderr.write(f"circuit-loupe: {error.sentence}\n")
        return error.exit_status
    from app.application import run

    return run(Path(arguments[0]) if arguments else None)


if __name__ == "__main__":
    sys.exit(main())
