"""In the inspector: the texts that make a feature most active, how often it is, its label, and a line to try a text."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Slot
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QToolButton, QVBoxLayout, QWidget

from app.commands import Edits, Registry
from app.evidence import EvidenceDesk
from app.panels.example_rows import ExampleRow, Histogram
from app.panels.plain import Heading, MutedLabel, PlainLabel, tip
from app.reading import kind_of, number
from app.session import Session
from engine.evidence.pages import TOP, Example, FeaturePage, Label, Side
from engine.graphs import NodeKind

FEW, MANY = 4, 16
TRY_DELAY_MS = 300
NOT_INDEXED = (
    "Not known yet: the texts that make it most active, how often it is, and a label. Index a text to see them "
    "(Trace, Index the text that ships, or a folder of your own)."
)
FIRST_TOKEN = (
    "This node is at the first token, where models park what they do not need: an index counts nothing there, and the "
    "texts below are about other tokens."
)
NO_LABEL = "No automatic label: no rule held on texts it was not found on."
TOO_FEW = "No automatic label: nothing in the indexed text makes it active on this side."
NO_LABEL_TIP = (
    "A label is given where one rule (the token, the one before or after, a word of the context, what it makes "
    "likelier, where it stands) holds for texts that it was not found on: score 0.7 at least, 0.15 above what labels "
    "of other features reach on them. What this feature is active at is not as simple, or too little of it was in the "
    "text; the examples may still tell you."
)
RULES = {
    "say": "the next token is one of those that it makes likelier",
    "token": "the token itself",
    "previous": "the token before",
    "next": "the token after",
    "context": "a word among the twelve tokens before",
    "start": "it is one of the first tokens of a text",
    "kind": "what kind of token it, the one before or the one after is",
}


class ExamplesView(QWidget):
    """What an index, or published pages, know of the selected feature."""

    def __init__(
        self, session: Session, desk: EvidenceDesk, edits: Edits, registry: Registry, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.session, self.desk, self.edits = session, desk, edits
        self._node = -1
        self._all = False
        self.title = Heading("Examples")
        self.state = MutedLabel(NOT_INDEXED, wrap=True)
        self.make = QToolButton()
        self.make.setDefaultAction(registry.action("evidence.index"))
        self.label = PlainLabel(wrap=True)
        self.use = QToolButton()
        self.use.setText("Use")
        self.use.setToolTip(tip("Take this as the node's label, as your own"))
        self.use.setAccessibleName("Use the automatic label")
        self.density = MutedLabel(wrap=True)
        self.histogram = Histogram()
        self.rows = [ExampleRow() for _ in range(MANY)]
        self.sections = [MutedLabel() for _ in range(MANY)]
        self.more = QToolButton()
        self.more.setAccessibleName("Show more or fewer examples")
        self.own = QLineEdit()
        self.own.setPlaceholderText("Try my own text")
        self.own.setAccessibleName("Try my own text on this feature")
        self.own.setToolTip(tip("What the feature does at each token of a text you type; the model must be loaded"))
        self.own_row = ExampleRow()
        self.own_said = MutedLabel(wrap=True)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(TRY_DELAY_MS)
        self._lay_out()
        self._pause.timeout.connect(self._try)
        self.own.textChanged.connect(self._typed)
        self.more.clicked.connect(self._toggle)
        self.use.clicked.connect(self._use)
        desk.changed.connect(self._again)
        desk.tried.connect(self._show_own)
        desk.runs.modelChanged.connect(self._again)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.title)
        for first, second in ((self.state, self.make), (self.label, self.use)):
            row = QHBoxLayout()
            row.addWidget(first, 1)
            row.addWidget(second)
            column.addLayout(row)
        for section, example in zip(self.sections, self.rows, strict=True):
            column.addWidget(section)
            column.addWidget(example)
        column.addWidget(self.more)
        column.addWidget(self.density)
        column.addWidget(self.histogram)
        column.addWidget(self.own)
        column.addWidget(self.own_row)
        column.addWidget(self.own_said)

    # ---- showing -----------------------------------------------------------------------------------------------

    def show_node(self, node: int) -> None:
        """Show what is known of a node; hidden where it is no feature."""
        graph = self.session.graph
        feature = graph is not None and node >= 0 and kind_of(graph, node) is NodeKind.FEATURE
        self.setVisible(feature)
        if not feature or graph is None:
            return
        if node != self._node:
            self._node, self._all = node, False
            self._forget_own()
        page, here = self.desk.page(node), float(graph.activation[node])
        side = None if page is None else page.side(here)
        self.state.setVisible(side is None)
        self.make.setVisible(side is None and self.desk.pages is None and not self.desk.opening)
        self.own.setEnabled(self.desk.can_try())
        for widget in (self.label, self.use, self.density, self.histogram, self.more):
            widget.setVisible(side is not None)
        if page is None or side is None:
            self.state.setText(self._why_not())
            self._fill([])
            return
        self._show_label(side.label, bool(side.examples))
        first = int(graph.position[node]) == 0
        self.state.setVisible(first)
        if first:
            self.state.setText(FIRST_TOKEN)
        self.density.setText(self._density(page))
        self.density.setToolTip(tip(self._density_words(page)))
        self.histogram.show_side(side, here)
        self._fill(side.examples, side, positive=here >= 0 or len(page.sides) == 1)

    def _why_not(self) -> str:
        if self.desk.opening:
            return "Looking for a feature index…"
        if self.desk.pages is None:
            return f"{self.desk.why_none} {NOT_INDEXED}".strip()
        return "The index holds nothing of this feature."

    def _show_label(self, label: Label | None, held_out: bool) -> None:
        self.use.setVisible(label is not None and self.session.can_edit)
        # Pages that others published come without labels, which says nothing about rules.
        self.label.setVisible(label is not None or self.desk.index is not None)
        if label is None:
            self.label.setText(NO_LABEL if held_out else TOO_FEW)
            self.label.setToolTip(tip(NO_LABEL_TIP))
            return
        self.label.setText(f"{label.text}  · automatic, score {label.score:.2f}, by chance {label.control:.2f}")
        self.label.setToolTip(
            tip(
                f"Given by a rule: {RULES.get(label.rule, label.rule)}. The score is how well it tells texts that make "
                "this feature active, and that it was not found on, from any text: 0.5 is chance, 1 is perfect (area "
                "under the ROC curve). By chance: the mean score of labels of other features on the same texts."
            )
        )

    @staticmethod
    def _density(page: FeaturePage) -> str:
        if page.density is None:
            return page.source
        share = 100 * page.density
        shown = f"{share:.2g}" if share < 10 else f"{share:.0f}"
        return f"Active at {shown} % of {page.tokens_seen:,} tokens" if page.tokens_seen else f"Active at {shown} %"

    @staticmethod
    def _density_words(page: FeaturePage) -> str:
        if len(page.sides) > 1:
            return (
                f"Of {page.source}. A neuron is hardly ever zero: the share of tokens at which it is larger, by size, "
                "than about a quarter of the largest in the text."
            )
        return f"The share of tokens at which the feature is active. Of {page.source}."

    def _fill(
        self, examples: list[Example] | tuple[Example, ...], side: Side | None = None, positive: bool = True
    ) -> None:
        shown = examples[: MANY if self._all else FEW]
        section = TOP
        for number_, (row, heading) in enumerate(zip(self.rows, self.sections, strict=True)):
            there = number_ < len(shown)
            row.setVisible(there)
            new = there and shown[number_].section != section
            heading.setVisible(new)
            if there and side is not None:
                section = shown[number_].section
                row.show_example(shown[number_], side.maximum, positive=positive)
                if new:
                    heading.setText(f"Activation {section}")
        self.more.setVisible(len(examples) > FEW)
        self.more.setText("Fewer" if self._all else f"{min(len(examples), MANY) - FEW} more")

    def _again(self) -> None:
        self.show_node(self.session.selected)

    # ---- from the person ---------------------------------------------------------------------------------------

    @Slot()
    def _toggle(self) -> None:
        self._all = not self._all
        self._again()

    @Slot()
    def _use(self) -> None:
        label = self.desk.label(self._node)
        if label is not None:
            self.edits.label(self._node, label.text)

    @Slot()
    def _typed(self) -> None:
        if self.own.text().strip():
            self._pause.start()
        else:
            self._forget_own()

    @Slot()
    def _try(self) -> None:
        if self._node >= 0 and self.own.text().strip():
            self.desk.try_text(self._node, self.own.text())

    @Slot(int, object)
    def _show_own(self, node: int, example: Example) -> None:
        if node != self._node:
            return
        known = [abs(one) for one in example.activations if one == one]
        side = self.desk.side(node)
        self.own_row.show_example(example, max([*known, 0.0 if side is None else side.maximum]))
        self.own_row.show()
        self.own_said.setText(f"{number(example.value)} at {example.tokens[example.peak].strip() or 'a blank'}")
        self.own_said.show()

    def _forget_own(self) -> None:
        self._pause.stop()
        self.own_row.hide()
        self.own_said.hide()
        if self.own.text().strip():
            self._pause.start()  # What was typed is tried on the next feature, too.
