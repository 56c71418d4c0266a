"""The words of the field as this program uses them, each with where it comes from: for the window and for docs/."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True)
class Word:
    """A term, what it means here, and its source."""

    term: str
    meaning: str
    source: str


def glossary() -> tuple[Word, ...]:
    """Every word, by name; from resources/glossary.json."""
    stored = json.loads((files("resources") / "glossary.json").read_text(encoding="utf-8"))
    return tuple(Word(str(one["term"]), str(one["meaning"]), str(one["source"])) for one in stored)


def as_markdown() -> str:
    """docs/glossary.md."""
    lines = ["# Glossary", "", "The same list is in the window: Help, Glossary. `make commands` writes this page.", ""]
    lines += [f"- **{word.term}**: {word.meaning} *({word.source})*" for word in glossary()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(as_markdown(), encoding="utf-8")
