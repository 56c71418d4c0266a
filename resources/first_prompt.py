"""Print the first sample prompt: what `make run` traces on a machine without a display."""

from __future__ import annotations

import json
import sys
from importlib import resources


def first_prompt() -> str:
    """The text of the first sample."""
    samples = json.loads((resources.files("resources") / "prompts.json").read_text(encoding="utf-8"))
    return str((samples["prompts"] if isinstance(samples, dict) else samples)[0]["text"])


if __name__ == "__main__":
    sys.stdout.write(first_prompt())
