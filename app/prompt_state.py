"""What is in the prompt bar: the prompt, its tokens, what the model says next and generated, the token traced."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.engine_calls import LoadedModel, NextToken, prompt_ids
from engine.errors import LoupeError
from engine.tracing.spec import Prompt


@dataclass(frozen=True)
class Draft:
    """What a person has typed and switched in the prompt bar."""

    text: str = ""
    bos: bool = True
    chat: bool = False
    system: str = ""

    def prompt(self) -> Prompt:
        """The prompt to trace."""
        return Prompt(self.text, bos=self.bos, chat=self.chat, system=self.system or None)

    def as_json(self) -> dict[str, Any]:
        """The form a project keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Any) -> Draft:
        """What a project kept; anything of another form is left at its default."""
        known = stored if isinstance(stored, dict) else {}
        system = known.get("system")
        return cls(
            text=str(known.get("text", "")),
            bos=bool(known.get("bos", True)),
            chat=bool(known.get("chat", False)),
            system=str(system) if system else "",
        )


@dataclass(frozen=True)
class Chip:
    """One token as shown: `visible` has its blanks and newlines made visible."""

    token_id: int
    text: str
    visible: str
    special: bool
    generated: bool = False
    probability: float | None = None


class PromptState(QObject):
    """The prompt bar's part of the session."""

    draftChanged = Signal()
    chipsChanged = Signal()
    nextChanged = Signal()
    problem = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.draft = Draft()
        self.model: LoadedModel | None = None
        self.chips: tuple[Chip, ...] = ()
        # The fingerprint of the model whose tokens the chips are.
        self.read_by = ""
        self.next: tuple[NextToken, ...] = ()
        # The token that the open trace explains; it may lie one behind the last chip, where the model would go on.
        self.traced: int | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        """The prompt's tokens, generated ones left out."""
        return tuple(chip.token_id for chip in self.chips if not chip.generated)

    @property
    def all_ids(self) -> tuple[int, ...]:
        """The prompt's tokens and the generated ones."""
        return tuple(chip.token_id for chip in self.chips)

    def edit(self, **changes: Any) -> None:
        """Change the draft; its tokens follow if a model is loaded, and what was generated goes."""
        draft = replace(self.draft, **changes)
        if draft == self.draft:
            return
        self.draft = draft
        self.draftChanged.emit()
        self.tokenise()

    def set_model(self, model: LoadedModel | None) -> None:
        """Another model reads the prompt from now on; tokens that are its own already stay, generated ones too."""
        self.model = model
        if model is not None and self.chips and self.read_by == model.fingerprint:
            self.chipsChanged.emit()
        elif model is not None:
            self.tokenise()

    @property
    def is_own(self) -> bool:
        """Whether the chips are tokens of the model in memory."""
        return self.model is not None and self.read_by == self.model.fingerprint

    def forget_tokens(self) -> None:
        """The tokens of the model before mean nothing to the next one."""
        self.chips, self.traced, self.read_by = (), None, ""
        self.set_next(())
        self.chipsChanged.emit()

    def tokenise(self) -> None:
        """Find the draft's tokens again."""
        self.traced = None
        self.set_next(())
        chips: tuple[Chip, ...] = ()
        if self.model is not None and self.draft.text.strip():
            try:
                chips = self._chips(prompt_ids(self.model, self.draft.prompt()))
            except LoupeError as error:
                self.problem.emit(error.sentence)
        self.chips = chips
        self.read_by = "" if self.model is None else self.model.fingerprint
        self.chipsChanged.emit()

    def _chips(self, ids: tuple[int, ...]) -> tuple[Chip, ...]:
        assert self.model is not None
        tokenizer = self.model.tokenizer
        return tuple(Chip(i, tokenizer.token_text(i), tokenizer.visible(i), tokenizer.is_special(i)) for i in ids)

    def set_next(self, tokens: tuple[NextToken, ...]) -> None:
        """What the model says comes next after the prompt."""
        self.next = tokens
        self.nextChanged.emit()

    def set_generated(self, tokens: tuple[NextToken, ...]) -> None:
        """Put generated tokens after the prompt, in place of earlier ones."""
        assert self.model is not None
        tokenizer = self.model.tokenizer
        prompt = tuple(chip for chip in self.chips if not chip.generated)
        self.chips = prompt + tuple(
            Chip(
                token.token_id,
                token.text,
                tokenizer.visible(token.token_id),
                tokenizer.is_special(token.token_id),
                True,
                token.probability,
            )
            for token in tokens
        )
        self.chipsChanged.emit()

    def set_traced(self, index: int | None) -> None:
        """Mark the chip that the open trace explains."""
        if index != self.traced:
            self.traced = index
            self.chipsChanged.emit()

    def snapshot(self) -> dict[str, Any]:
        """Draft, tokens and what was generated, as a project keeps them beside a trace."""
        return {
            "draft": self.draft.as_json(),
            "chips": [asdict(chip) for chip in self.chips],
            "next": [asdict(token) for token in self.next],
            "traced": self.traced,
            "read_by": self.read_by,
        }

    def restore(self, stored: Any) -> bool:
        """Show a snapshot again, without needing the model; False where it is not of this form."""
        try:
            draft = Draft.from_json(stored["draft"])
            chips = tuple(Chip(**chip) for chip in stored["chips"])
            tokens = tuple(NextToken(**token) for token in stored["next"])
            traced, read_by = stored["traced"], str(stored["read_by"])
        except (KeyError, TypeError):
            return False
        # A file of somebody else may hold anything.
        if not (all(map(_is_token, chips)) and all(map(_is_token, tokens))):
            return False
        self.draft, self.chips, self.next, self.read_by = draft, chips, tokens, read_by
        self.traced = traced if isinstance(traced, int) and 0 <= traced <= len(chips) else None
        self.draftChanged.emit()
        self.chipsChanged.emit()
        self.nextChanged.emit()
        return True


def _is_token(one: Chip | NextToken) -> bool:
    """Whether what was kept of a token is of the kinds that it should be."""
    texts = (one.text, one.visible) if isinstance(one, Chip) else (one.text,)
    switches = (one.special, one.generated) if isinstance(one, Chip) else ()
    return (
        type(one.token_id) is int
        and 0 <= one.token_id < 2**31
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(switch, bool) for switch in switches)
        and (isinstance(one.probability, float | int) or (isinstance(one, Chip) and one.probability is None))
    )
