"""What a click on a sample of the start page does: one trace, or several and then what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from app.samples import load_samples

if TYPE_CHECKING:
    from app.window import MainWindow


class SampleRuns(QObject):
    """Traces samples as a person would by hand; several one after the other, until one of them is stopped or fails."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self.window = window
        self.samples = load_samples()
        self._left: list[str] = []  # texts still to trace
        self._begun = 0
        self._before: set[int] = set()  # traces that were there before
        window.host.idle.connect(self._go_on)

    @Slot(str)
    def run_one(self, text: str) -> None:
        """Trace one sample with the model it was checked with."""
        self._left, self._begun = [], 0
        self._trace(self.samples.model, text)

    @Slot()
    def run_several(self) -> None:
        """Trace the prompts that belong together, then list the features that their graphs share."""
        several, session = self.samples.several, self.window.session
        self.window.models.fill()  # it may have been installed meanwhile
        if several.model not in self.window.runs.known_models:
            session.report_problem(
                "start",
                f"These prompts need {several.model}, which is not on this machine: see what is, and how to get it.",
                "trace.models",
            )
            return
        self._before = self._traces()
        self._left = [sample.text for sample in several.prompts]
        self._begun = 0
        self._step()

    def _traces(self) -> set[int]:
        project = self.window.session.project
        return set() if project is None else {row.id for row in project.traces()}

    def _step(self) -> None:
        self._begun += 1
        self._trace(self.samples.several.model, self._left.pop(0))

    def _trace(self, model: str, text: str) -> None:
        window = self.window
        if window.runs.wanted_model != model:
            window.runs.choose_model(model)
            window.prompt_bar.models.show_source(model)
        window.session.prompt.edit(text=text, bos=True, chat=False)
        window.prompt_bar.clear_targets()
        window.runs.trace()

    @Slot()
    def _go_on(self) -> None:
        """Nothing runs any more: the next one, or what they share."""
        if not self._begun:
            return
        made = sorted(self._traces() - self._before)
        if len(made) != self._begun:  # stopped, or it failed: the person was told
            self._left, self._begun = [], 0
        elif self._left:
            self._step()
        else:
            self._begun = 0
            self.window.area.show_lower(self.window.shared_panel)
            self.window.shared.find(made)
