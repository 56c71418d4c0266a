"""Drawings from a terminal: SVG by the engine itself, PNG and PDF through the window's renderer."""

from __future__ import annotations

from pathlib import Path

from engine.errors import RequestError
from engine.whole_files import written_whole

DRAWINGS = (".svg", ".pdf", ".png")


def write_drawing(text: str, path: Path) -> None:
    """Write an SVG text as the name's ending says, whole or not at all.

    Raises RequestError where the window's libraries are missing, and what `written_whole` raises.
    """
    ending = path.suffix.lower()
    if ending == ".svg":
        with written_whole(path) as file:
            file.write(text.encode("utf-8"))
        return
    try:
        # The one arrow from the engine to the window's renderer, taken only when a PNG or a PDF is asked for.
        from app.canvas.picture import write_drawing as render
    except ImportError as error:
        kind = ending[1:].upper()
        raise RequestError(f"A {kind} needs the window's libraries, which are not installed; write an .svg.") from error
    render(text, path)
