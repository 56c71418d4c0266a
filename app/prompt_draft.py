"""What is typed in the prompt bar, kept for the next time while it is typed."""

from __future__ import annotations

from PySide6.QtCore import QObject, Slot

from app.panels.prompt_bar import PromptBar
from app.recent import Memory
from app.session import Session
from app.typing_pause import TypingPause


class PromptDraft(QObject):
    """Keeps the draft in the project; where none is open, beside the layout."""

    def __init__(self, session: Session, bar: PromptBar, memory: Memory, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.bar, self.memory = session, bar, memory
        self._pause = TypingPause(self)
        self._pause.timeout.connect(self.keep)
        bar.editor.textChanged.connect(self._pause.begin)
        session.prompt.chipsChanged.connect(self._pause.begin)
        session.traceChanged.connect(self._pause.begin)

    @Slot()
    def keep(self) -> None:
        """Keep it now."""
        self._pause.stop()
        self.bar.take_typed()
        self.session.keep_prompt()
        self.memory.set_draft("" if self.session.project is not None else self.session.prompt.draft.text)

    def restore(self) -> None:
        """Put what was typed while no project was open there again."""
        if self.session.project is None and not self.session.prompt.draft.text:
            self.session.prompt.edit(text=self.memory.draft())

    def stop(self) -> None:
        """The window closes."""
        self._pause.stop()
