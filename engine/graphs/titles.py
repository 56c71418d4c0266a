"""What a trace is called until a person renames it: the end of its prompt, and what is explained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from engine.graphs.graph import AttributionGraph
from engine.graphs.visible_text import BLANK, visible_text

ARROW = " → "  # between what was said and what is explained
LONGEST = 48  # letters of the prompt, and of what is explained
_NAMED = 2  # explained tokens


def trace_title(prompt: str, explained: Sequence[str] = ()) -> str:
    """The end of a prompt, and the texts explained, of which the first two are named: "… Texas is → Austin, El…"."""
    words = visible_text(" ".join(prompt.split()))
    short = words if len(words) <= LONGEST else "…" + words[1 - LONGEST :]
    if not explained:
        return short
    names = ", ".join(_explained(text) for text in explained[:_NAMED])
    return f"{short}{ARROW}{names}" + ("…" if len(explained) > _NAMED else "")


def title_of(report: dict[str, Any], graph: AttributionGraph) -> str:
    """The title of a trace by its report, which may be another program's: what it does not say, the graph does."""
    explained = [graph.logit_text[i] for i in (-graph.logit_probability).argsort(kind="stable").tolist()]
    target = report.get("target")
    if not explained and isinstance(target, dict) and isinstance(target.get("tokens"), list):
        explained = [str(text) for text in target["tokens"]]  # a feature
    return trace_title(prompt_of(report, graph), explained)


def prompt_of(report: dict[str, Any], graph: AttributionGraph) -> str:
    """The prompt as a person typed it; where the report does not say, the tokens of the graph."""
    settings = report.get("settings")
    prompt = settings.get("prompt") if isinstance(settings, dict) else None
    text = prompt.get("text") if isinstance(prompt, dict) else prompt
    return text if isinstance(text, str) and text else "".join(graph.tokens)


def _explained(text: str) -> str:
    # A difference of two tokens is " Austin −  Dallas".
    words = re.sub(" {2,}", " ", visible_text(text).strip(BLANK)) or BLANK
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
