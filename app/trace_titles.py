"""What a trace is called until a person renames it: the end of its prompt, and what is explained."""

from __future__ import annotations

from typing import Any

from engine.graphs.visible_text import visible_text

ARROW = " → "  # between what was said and what is explained
LONGEST = 48  # letters of the prompt


def _token(text: str) -> str:
    return visible_text(text).strip("␣") or "␣"


def trace_title(prompt: str, target: str | None = None, against: str | None = None) -> str:
    """The title of a trace; without a target it ends with the prompt, and `said_first` completes it."""
    words = " ".join(prompt.split())
    short = words if len(words) <= LONGEST else "…" + words[1 - LONGEST :]
    if target is None:
        return short
    return f"{short}{ARROW}{_token(target)}" + (f" − {_token(against)}" if against is not None else "")


def said_first(report: dict[str, Any]) -> str:
    """The end of a trace's title when the likeliest tokens are explained together: " → Austin, El…"."""
    target = report.get("target")
    tokens = target.get("tokens") if isinstance(target, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return ""
    names = [_token(str(token)) for token in tokens[:2]]
    return ARROW + ", ".join(names) + ("…" if len(tokens) > 2 else "")
