"""What texts a project takes, and how edits name things in the list of steps."""

from __future__ import annotations

from engine.errors import RequestError
from engine.projects import encoding
from engine.projects.faults import DamageError

MAX_NAME = 1_000
MAX_NOTE = 1_000_000
MAX_CONTENT = 16_000_000
# Who gave a label.
SOURCES = ("person", "imported", "automatic")
_TITLE_WORDS = 60


def clean_text(text: str, longest: int, what: str) -> str:
    """Text as it can be stored: plain, encodable. Raises `RequestError` if it is too long."""
    if len(text) > longest:
        raise RequestError(f"{what} holds at most {longest:,} characters; shorten it.")
    return encoding.encodable(text)


def clean_content(value: object, what: str) -> str:
    """JSON as it can be stored. Raises `RequestError` if it is too long or no JSON."""
    try:
        text = encoding.write(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"{what} must be plain JSON values; {error}.") from error
    return clean_text(text, MAX_CONTENT, what)


def known_source(source: str) -> str:
    """Who gave a label, if it is one of `SOURCES`; `DamageError` otherwise."""
    if source not in SOURCES:
        raise DamageError("a label of nobody")
    return source


def asked_source(source: str) -> str:
    """The same for what a caller says; raises `RequestError`."""
    if source not in SOURCES:
        raise RequestError(f"{source!r} gives no labels; say one of {', '.join(SOURCES)}.")
    return source


def short(text: str) -> str:
    """A text as it stands in the title of an edit."""
    line = " ".join(text.split())
    return line if len(line) <= _TITLE_WORDS else line[: _TITLE_WORDS - 1] + "…"


def counted(number: int, what: str) -> str:
    """A number of things: "1 node", "2 nodes"."""
    return f"1 {what}" if number == 1 else f"{number} {what}s"
