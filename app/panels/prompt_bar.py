"""The prompt bar: model, dictionary, prompt, tokens, what comes next, and Trace."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.commands import Registry
from app.dropped_files import TextBox
from app.panels.aim import AimPicker
from app.panels.banner import Banner
from app.panels.chips import ChipStrip
from app.panels.flow import FlowRow
from app.panels.model_picker import FeaturesPicker, ModelPicker
from app.panels.plain import Hint, MutedLabel
from app.panels.token_bars import TokenBars
from app.runs import Runs
from app.session import Session
from app.theme import current_theme, icon

TYPING_PAUSE_MS = 250


class PromptEditor(TextBox):
    """Plain text; Enter asks for a trace, Shift+Enter begins a line."""

    submitted = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter without Shift is not a newline."""
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain:
            self.submitted.emit()
            return
        super().keyPressEvent(event)


class PromptBar(QWidget):
    """Everything above the graph."""

    def __init__(self, session: Session, runs: Runs, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("prompt-bar")
        self.session, self.runs, self.registry = session, runs, registry
        self.banner = Banner("prompt")
        self.models = ModelPicker()
        self.features = FeaturesPicker()
        self.aim = AimPicker(registry)
        self.target, self.against = self.aim.target, self.aim.against
        self._make_prompt()
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(TYPING_PAUSE_MS)
        self._pause.timeout.connect(self._typed)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(8, 6, 8, 6)
        outer.setSpacing(6)
        outer.addWidget(self._controls())
        outer.addLayout(self._body())
        outer.addWidget(self.banner)
        self._connect()
        self._show_draft()
        self._show_chips()
        self._show_next()

    # ---- building ----------------------------------------------------------------------------------------------

    def _make_prompt(self) -> None:
        self.editor = PromptEditor()
        self.editor.setObjectName("prompt-editor")
        self.editor.setAccessibleName("Prompt")
        self.editor.setPlaceholderText("Type a prompt, for example: The capital of Texas is")
        self.editor.setTabChangesFocus(True)
        self.bos = QCheckBox("BOS")
        self.bos.setToolTip("Begin the prompt with the model's own start token; without it many models answer worse")
        self.bos.setAccessibleName("Begin the prompt with the start token")
        self.chat = QCheckBox("Chat")
        self.chat.setToolTip("Put the prompt into the model's chat template, as a message of the user")
        self.chat.setAccessibleName("Use the chat template")
        self.system = QLineEdit()
        self.system.setPlaceholderText("System text (may stay empty)")
        self.system.setAccessibleName("System text of the chat template")
        self.chips = ChipStrip()
        self.bars = TokenBars()
        self.count = QSpinBox()
        self.count.setRange(1, 200)
        self.count.setValue(8)
        self.count.setSuffix(" tokens")
        self.count.setAccessibleName("How many tokens to generate")

    def _button(self, command_id: str, style: Qt.ToolButtonStyle) -> QToolButton:
        button = QToolButton()
        action = self.registry.action(command_id)
        button.setDefaultAction(action)
        button.setToolButtonStyle(style)
        button.setAccessibleName(action.command.words)
        button.setObjectName(f"button-{command_id}")
        return button

    def _controls(self) -> QWidget:
        """What is read, and what is done with it: side by side, or below each other with large text."""
        reading, doing = QWidget(), QWidget()
        row, row_after = QHBoxLayout(reading), QHBoxLayout(doing)
        for part in (row, row_after):
            part.setContentsMargins(0, 0, 0, 0)
            part.setSpacing(6)
        reading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        beside = Qt.ToolButtonStyle.ToolButtonTextBesideIcon
        row.addWidget(MutedLabel("Model"))
        row.addWidget(self.models, 3)
        row.addWidget(MutedLabel("Dictionary"))
        row.addWidget(self.features, 2)
        row.addSpacing(8)
        row.addWidget(self.bos)
        row.addWidget(self.chat)
        row.addWidget(self.system, 2)
        row.addStretch(1)
        row_after.addWidget(self.count)
        row_after.addWidget(self._button("trace.generate", beside))
        row_after.addSpacing(8)
        row_after.addWidget(self.aim)
        self.trace_button = self._button("trace.run", beside)
        self.trace_button.setObjectName("primary")
        self.restyle()
        row_after.addWidget(self.trace_button)
        controls = FlowRow(gap=14)
        controls.flow.addWidget(reading)
        controls.flow.addWidget(doing)
        return controls

    def _body(self) -> QGridLayout:
        self.chip_stack = QStackedWidget()
        self.chip_hint = Hint("")
        self.chip_hint.setMargin(4)
        self.chip_stack.addWidget(self.chip_hint)
        self.chip_stack.addWidget(self.chips)
        self.bar_stack = QStackedWidget()
        self.bar_hint = Hint("What the model says next appears here; click a token to see why.")
        self.bar_hint.setMargin(4)
        self.bar_stack.addWidget(self.bar_hint)
        self.bar_stack.addWidget(self.bars)
        body = QGridLayout()
        body.setHorizontalSpacing(10)
        body.setVerticalSpacing(4)
        body.addWidget(self.editor, 0, 0)
        body.addWidget(self.chip_stack, 1, 0)
        body.addWidget(self.bar_stack, 0, 1, 2, 1)
        body.setColumnStretch(0, 1)
        body.setRowStretch(1, 1)
        body.setAlignment(self.bar_stack, Qt.AlignmentFlag.AlignTop)
        self._fit_text()
        return body

    def _fit_text(self) -> None:
        """Two lines of prompt and two rows of chips beside four rows of bars, whatever the size of text."""
        metrics = self.fontMetrics()
        self.editor.setFixedHeight(2 * metrics.lineSpacing() + 14)
        self.chip_stack.setMinimumHeight(2 * (metrics.height() + 6))
        self.bar_stack.setFixedSize(QSize(22 * metrics.height(), 4 * (metrics.height() + 5) + 6))

    def changeEvent(self, event: QEvent) -> None:
        """Larger text needs more room."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and hasattr(self, "bar_stack"):
            self._fit_text()

    def _connect(self) -> None:
        prompt = self.session.prompt
        prompt.draftChanged.connect(self._show_draft)
        prompt.chipsChanged.connect(self._show_chips)
        prompt.nextChanged.connect(self._show_next)
        self.runs.modelChanged.connect(self._show_model)
        self.runs.modelChanged.connect(self._show_chips)
        self.runs.featuresChanged.connect(self._show_model)
        self.editor.textChanged.connect(self._pause.start)
        self.editor.submitted.connect(self._submit)
        self.system.textEdited.connect(self._pause.start)
        self.aim.submitted.connect(self._submit)
        self.bos.clicked.connect(self._typed)
        self.chat.clicked.connect(self._chat_switched)
        self.models.chosen.connect(self._choose_model)
        self.features.chosen.connect(self.runs.choose_features)
        self.models.commanded.connect(self.registry.run)
        self.features.commanded.connect(self.registry.run)
        self.chips.chosen.connect(self.runs.trace_chip)
        self.bars.chosen.connect(self.runs.trace_token)
        self.banner.helpRequested.connect(self.registry.run)

    # ---- from the person ---------------------------------------------------------------------------------------

    @Slot()
    def _typed(self) -> None:
        self._pause.stop()
        self.banner.dismiss()
        self.take_typed()
        if self.runs.model is None and self.session.prompt.draft.text.strip() and not self.runs.host.busy:
            self.runs.load_model()

    def take_typed(self) -> None:
        """Have the session know what is in the bar, and no more."""
        self.session.prompt.edit(
            text=self.editor.toPlainText(),
            bos=self.bos.isChecked(),
            chat=self.chat.isChecked(),
            system=self.system.text(),
        )

    @Slot()
    def _chat_switched(self) -> None:
        self._typed()
        self._show_draft()

    @Slot()
    def _submit(self) -> None:
        self.registry.run("trace.run")

    def commit(self) -> None:
        """Take what was typed, without waiting for a pause."""
        self._typed()

    def clear_targets(self) -> None:
        """Explain the likeliest tokens again."""
        self.aim.forget()

    @Slot(str)
    def _choose_model(self, source: str) -> None:
        self.runs.choose_model(source)
        if self.session.prompt.draft.text.strip():
            self.runs.load_model()

    def restyle(self) -> None:
        """Fill the one button that matters with the accent."""
        theme = current_theme()
        self.aim.restyle()
        self.trace_button.setStyleSheet(
            f"QToolButton {{ background: {theme.accent}; color: {theme.accent_text}; padding: 4px 12px; }}"
            f"QToolButton:hover {{ background: {theme.link}; }}"
            f"QToolButton:focus {{ border-color: {theme.text}; }}"
            f"QToolButton:disabled {{ background: {theme.hover}; color: {theme.disabled}; }}"
        )
        # The icon of the action is drawn in the text colour, which would vanish on the accent.
        self.registry.action("trace.run").setIcon(icon("trace", theme.accent_text))

    # ---- from the session --------------------------------------------------------------------------------------

    @Slot()
    def _show_draft(self) -> None:
        draft = self.session.prompt.draft
        if self.editor.toPlainText() != draft.text:
            self.editor.blockSignals(True)
            self.editor.setPlainText(draft.text)
            self.editor.blockSignals(False)
        self.bos.setChecked(draft.bos)
        self.chat.setChecked(draft.chat)
        self.system.setVisible(draft.chat)
        if self.system.text() != draft.system:
            self.system.setText(draft.system)

    @Slot()
    def _show_chips(self) -> None:
        prompt = self.session.prompt
        self.chips.show_chips(prompt.chips, prompt.traced)
        self.chip_stack.setCurrentIndex(1 if prompt.chips else 0)
        if not prompt.draft.text.strip():
            words = "The prompt's tokens appear here; click one to see why the model says it."
        elif self.runs.model is None:
            words = "The tokens appear once the model is loaded."
        else:
            words = "This prompt has no tokens."
        self.chip_hint.setText(words)

    @Slot()
    def _show_next(self) -> None:
        tokens = self.session.prompt.next
        self.bars.bars.set_tokens(tokens)
        self.bar_stack.setCurrentIndex(1 if tokens else 0)
        self.aim.show_tokens(tokens)

    @Slot()
    def _show_model(self) -> None:
        self.models.show_source(self.runs.wanted_model)
        self.features.show_source(self.runs.wanted_features)
        model = self.runs.model
        self.chat.setEnabled(model is None or model.tokenizer.has_chat_template)
        self.bos.setEnabled(model is None or model.tokenizer.bos_id is not None)
