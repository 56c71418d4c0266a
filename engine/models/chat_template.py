"""A model's chat template: a jinja text that came with the model, rendered in a sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import RequestError

_LARGEST = 1 << 20  # characters
# What a template's own mistakes, or its malice, may raise.
_FAILURES = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class ChatTemplate:
    """The template's text and the special tokens it may name (bos_token, eos_token...)."""

    text: str
    special: Mapping[str, str]

    def render(self, user: str, system: str | None = None) -> str:
        """One user turn, with a system text if given, up to where the model answers.

        Raises
        ------
        RequestError
            The template refuses the messages or does not work.
        """
        # Imported here: a prompt without chat never needs it.
        from jinja2 import TemplateError

        from engine.models.template_sandbox import sandbox

        messages = [{"role": "user", "content": user}]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        given: dict[str, Any] = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": True}
        try:
            if len(self.text) > _LARGEST:
                raise ValueError("it is too long")
            return sandbox().from_string(self.text).render(given | dict(self.special))
        except (TemplateError, *_FAILURES) as error:
            reason = (str(error).splitlines() or ["it does not work"])[0][:200]
            raise RequestError(
                f"The model's chat template refuses this prompt ({reason}); leave the system text out or turn chat off."
            ) from error
