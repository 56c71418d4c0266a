"""A model's chat template: a jinja text that came with the model, rendered in a sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import RequestError

_LARGEST = 1 << 20  # characters


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
        # Imported here: it brings half of transformers, and a prompt without chat never needs it.
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        messages = [{"role": "user", "content": user}]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        try:
            if len(self.text) > _LARGEST:
                raise ValueError("it is too long")
            rendered = render_jinja_template(
                [messages], chat_template=self.text, add_generation_prompt=True, **dict(self.special)
            )
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            reason = (str(error).splitlines() or ["it does not work"])[0][:200]
            raise RequestError(
                f"The model's chat template refuses this prompt ({reason}); leave the system text out or turn chat off."
            ) from error
        text = rendered[0] if isinstance(rendered, tuple) else rendered
        return str(text[0] if isinstance(text, list) else text)
