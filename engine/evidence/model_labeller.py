"""A local language model as a labeller: asked what texts have in common, and whether words hold for a text."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.evidence.pages import Example
from engine.models.generation import last_logits
from engine.models.prompt import Prompt

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

# Tokens shown of an example: what comes before a peak explains it.
BEFORE, AFTER = 16, 5
MOST_WORDS, MOST_TOKENS = 8, 24
_ASK = """Each of these texts has one piece marked with << and >>.

{texts}

In a few words: what do the marked pieces, or what is said just before them, have in common? Answer with these words \
alone."""
_TEST = """This text has one piece marked with << and >>.

{text}

Does "{words}" describe the marked piece, or what is said just before it? Answer Yes or No."""
_YES, _NO = ("Yes", " Yes", "yes", " yes"), ("No", " No", "no", " no")
_AROUND = " \t\"'`*.:;,-“”‘’"


class ModelLabeller:
    """Puts the questions to a model, as a user's turn where it has a chat template. It answers greedily, so that the
    same model says the same; a yes is a next token that is likelier a yes than a no.

    Raises `Cancelled` within one layer, and `RequestError` for texts that the model cannot read at once.
    """

    def __init__(self, model: LanguageModel, cancel: threading.Event | None = None) -> None:
        self._model, self._cancel = model, cancel
        self._chat = model.tokenizer.has_chat_template
        self._yes, self._no = (self._first_tokens(words) for words in (_YES, _NO))

    def label(self, examples: Sequence[Example]) -> str | None:
        """What the texts have in common, in the model's words; None where it says none."""
        texts = "\n".join(f"{number}. {marked(one)}" for number, one in enumerate(examples, start=1))
        ids = self._ids(_ASK.format(texts=texts), "In common:")
        said = self._model.generate(ids, MOST_TOKENS, cancel=self._cancel)
        ends = self._model.tokenizer.eos_ids
        return plain_words(self._model.tokenizer.join([one.id for one in said if one.id not in ends]))

    def holds(self, words: str, example: Example) -> bool:
        """Whether the model finds that the words hold for a text."""
        ids = self._ids(_TEST.format(text=marked(example), words=words), "Answer:")
        logits = last_logits(self._model.weights, ids, cancel=self._cancel)
        return bool(max(logits[one] for one in self._yes) > max(logits[one] for one in self._no))

    def _ids(self, question: str, begin: str) -> list[int]:
        text = question if self._chat else f"{question}\n\n{begin}"
        return self._model.tokenizer.encode(Prompt(text, chat=self._chat))

    def _first_tokens(self, words: Sequence[str]) -> list[int]:
        return [self._model.tokenizer.encode(Prompt(word, bos=False))[0] for word in words]


def marked(example: Example) -> str:
    """A text in one line, its peak between << and >>."""
    peak, tokens = example.peak, example.tokens
    before, after = "".join(tokens[max(peak - BEFORE, 0) : peak]), "".join(tokens[peak + 1 : peak + 1 + AFTER])
    at = tokens[peak]
    blank = " " if at[:1].isspace() else ""
    return " ".join(f"{before}{blank}<<{at.strip() or repr(at)[1:-1]}>>{after}".split())


def plain_words(said: str) -> str | None:
    """The first line of an answer, without marks around it and cut to a label's length; None where nothing is left."""
    lines = [line.strip(_AROUND) for line in said.splitlines()]
    first = next((line for line in lines if line), "")
    return " ".join(first.split()[:MOST_WORDS]).strip(_AROUND) or None
