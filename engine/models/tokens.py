"""Text to token ids and back, and what a token looks like on screen."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

from engine.errors import RequestError
from engine.models.chat_template import ChatTemplate
from engine.models.prompt import Prompt

_BLANK = "\u2581"  # SentencePiece's visible blank
_VISIBLE = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽"}


@dataclass(frozen=True)
class TokenProbability:
    """A token that may come next. `probability` in [0, 1]."""

    id: int
    text: str
    probability: float


@dataclass(frozen=True)
class GeneratedToken:
    """A token that the model chose, with the probability it gave it."""

    id: int
    text: str
    probability: float


class ModelTokenizer:
    """The tokenizer of one model.

    Parameters
    ----------
    tokenizer:
        As in the model's tokenizer.json.
    vocab_size:
        Number of logits of the model; it may be larger than the tokenizer's vocabulary.
    bos_id, eos_ids:
        From the model's config; None or empty where it has none.
    chat:
        The chat template, where the model has one.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        vocab_size: int,
        bos_id: int | None = None,
        eos_ids: Iterable[int] = (),
        chat: ChatTemplate | None = None,
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._chat = chat
        self.vocab_size = vocab_size
        self.bos_id = bos_id
        self.eos_ids = frozenset(eos_ids)
        added = tokenizer.get_added_tokens_decoder()
        self._added = {index: token.content for index, token in added.items()}
        self._special = {index for index, token in added.items() if token.special}
        self._special |= self.eos_ids | ({bos_id} if bos_id is not None else set())

    @property
    def has_chat_template(self) -> bool:
        """Whether prompts can be put as a user's turn."""
        return self._chat is not None

    def is_special(self, token_id: int) -> bool:
        """Whether the token stands for markup such as BOS rather than for text."""
        return token_id in self._special

    def encode(self, prompt: Prompt) -> list[int]:
        """The prompt's token ids, with BOS in front unless it begins with a special token or the prompt says no.

        Raises
        ------
        RequestError
            The prompt is empty, names an id the model does not have, or asks for chat where there is no template.
        """
        if prompt.token_ids is not None:
            return self._given(prompt.token_ids)
        if not prompt.text:
            raise RequestError("The prompt is empty; type some text.")
        text = prompt.text
        if prompt.chat:
            if self._chat is None:
                raise RequestError("This model has no chat template; turn chat off.")
            text = self._chat.render(prompt.text, prompt.system)
        ids = self._encode_text(text)
        if not ids:
            raise RequestError("The prompt holds no character that this model knows; type some text.")
        if prompt.bos and self.bos_id is not None and not self.is_special(ids[0]):
            ids.insert(0, self.bos_id)
        return ids

    def token_text(self, token_id: int) -> str:
        """The exact text that this token adds; a part of a character becomes the replacement character."""
        return self._bytes(token_id).decode("utf-8", "replace")

    def texts(self, ids: Sequence[int]) -> list[str]:
        """The text of each token."""
        return [self.token_text(token_id) for token_id in ids]

    def join(self, ids: Sequence[int]) -> str:
        """The text of all tokens together: characters that are spread over several tokens become whole."""
        return b"".join(map(self._bytes, ids)).decode("utf-8", "replace")

    def visible(self, token_id: int) -> str:
        """The token for a chip: blanks, line ends and everything without a shape of its own made visible."""
        if token_id in self._special or token_id >= self._known:
            return self.token_text(token_id)
        data = self._bytes(token_id)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return "".join(f"<0x{byte:02X}>" for byte in data)
        return "".join(_VISIBLE.get(character) or _shown(character) for character in text)

    def single_token(self, text: str) -> int:
        """The id of the one token that `text` is.

        Raises
        ------
        RequestError
            The text is empty, or more or less than one token: the sentence says which.
        """
        if not text:
            raise RequestError('The token is empty; give one token, such as " Austin".')
        ids = self._encode_exactly(text)
        if len(ids) == 1 and self.join(ids) == text:
            return ids[0]
        if not ids or self.join(ids) not in (text, f" {text}"):
            raise RequestError(f"{text!r} holds a character that this model's vocabulary lacks; give another token.")
        if len(ids) == 1:
            raise RequestError(f"{text!r} is a token only with a blank in front; give {f' {text}'!r}.")
        listed = ", ".join(repr(part) for part in self.texts(ids[:8])) + (", ..." if len(ids) > 8 else "")
        raise RequestError(f"{text!r} is {len(ids)} tokens ({listed}); give exactly one of the model's tokens.")

    def _given(self, token_ids: Sequence[int]) -> list[int]:
        if not token_ids:
            raise RequestError("The list of token ids is empty; give at least one.")
        for token_id in token_ids:
            if not 0 <= token_id < self.vocab_size:
                raise RequestError(f"The model has no token {token_id}; its ids go from 0 to {self.vocab_size - 1}.")
        return list(token_ids)

    def _encode_exactly(self, text: str) -> list[int]:
        """The tokens that `text` is where it stands in the middle of a text: Llama's put a blank in front of any."""
        ids = self._encode_text(text)
        if self.join(ids) != f" {text}":
            return ids
        if text.startswith(" ") and text.strip(" "):
            return self._encode_text(text[1:])
        known = self._tokenizer.token_to_id(text.replace(" ", _BLANK))
        return ids if known is None else [known]

    def _encode_text(self, text: str) -> list[int]:
        try:
            # Without the tokenizer's own template: BOS is decided in one place.
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        except (TypeError, UnicodeEncodeError) as error:
            raise RequestError("The text holds half of a surrogate pair, which is no character; remove it.") from error

    @cached_property
    def _known(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @cached_property
    def _byte_level(self) -> dict[str, int] | None:
        """For byte-level BPE: the byte that each character of a token stands for."""
        decoder: Any = self._tokenizer.decoder
        return _byte_of_character() if decoder is not None and "ByteLevel" in repr(decoder) else None

    def _bytes(self, token_id: int) -> bytes:
        token = self._added.get(token_id)
        if token is not None:
            return token.replace(_BLANK, " ").encode() if token_id not in self._special else token.encode()
        token = self._tokenizer.id_to_token(token_id) if 0 <= token_id < self._known else None
        if token is None:
            return f"<id {token_id}>".encode()
        if self._byte_level is not None:
            return b"".join(bytes([self._byte_level[c]]) if c in self._byte_level else c.encode() for c in token)
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            try:
                return bytes([int(token[3:5], 16)])
            except ValueError:
                pass
        return token.replace(_BLANK, " ").encode()


def _shown(character: str) -> str:
    """A character that has a shape as it is, any other (controls, marks of direction, zero width) by its number."""
    if unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"):
        return f"<U+{ord(character):04X}>"
    return "␣" if unicodedata.category(character) == "Zs" else character


def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: printable bytes stand for themselves, the others for the characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    return table | {chr(0x100 + index): byte for index, byte in enumerate(others)}
