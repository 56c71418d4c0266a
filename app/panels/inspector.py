"""The inspector: what the selected node is, its label, and what it writes."""

from __future__ import annotations

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QFormLayout, QGridLayout, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from app.commands import Edits, Registry
from app.effects import EffectsDesk
from app.engine_calls import Effects
from app.evidence import EvidenceDesk
from app.jobs import JobHost
from app.panels.banner import Banner
from app.panels.examples_view import ExamplesView
from app.panels.label_line import LabelLine
from app.panels.plain import Heading, Hint, MutedLabel, PlainLabel, tip
from app.panels.similar_list import SimilarList
from app.reading import GLYPHS, KIND_WORDS, activation_rank, kind_of, layer_word, number, percent, token_word
from app.session import Session
from app.similar import SimilarDesk
from engine.graphs import NodeKind
from engine.graphs.visible_text import visible_text

EFFECT_ROWS = 5


class InspectorPanel(QWidget):
    """The page of one node."""

    def __init__(
        self,
        session: Session,
        effects: EffectsDesk,
        evidence: EvidenceDesk,
        beside: JobHost,
        edits: Edits,
        registry: Registry,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.session, self.effects_desk, self.edits = session, effects, edits
        self._registry = registry
        self.runs = runs = effects.runs
        self.banner = Banner("inspector")
        self.banner.helpRequested.connect(registry.run)
        self.hint = Hint("Click a node in the graph, or choose one in the table, to read about it here.")
        self.name = Heading("")
        self.name.setWordWrap(True)
        self.where = MutedLabel("", wrap=True)
        self.label_line = LabelLine(session, edits, registry)
        self.label = self.label_line.edit
        self.examples = ExamplesView(session, evidence, edits, registry)
        self.similar = SimilarList(session, SimilarDesk(effects, beside, self, evidence))
        self.facts = QFormLayout()
        self.facts.setContentsMargins(0, 0, 0, 0)
        self.facts.setVerticalSpacing(2)
        self.activation, self.influence, self.value = (PlainLabel(wrap=True) for _ in range(3))
        self.activation_title, self.influence_title, self.value_title = (MutedLabel(), MutedLabel(), MutedLabel())
        self.facts.addRow(self.activation_title, self.activation)
        self.facts.addRow(self.influence_title, self.influence)
        self.facts.addRow(self.value_title, self.value)
        self.page = self._page()
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 8, 6)
        column.setSpacing(4)
        column.addWidget(self.banner)
        column.addWidget(self.hint)
        column.addWidget(self.page)
        column.addStretch(1)
        self.compute.clicked.connect(self._compute)
        session.leaving.connect(self._leave)
        session.selectionChanged.connect(self._show)
        session.annotationsChanged.connect(self._show_label)
        effects.changed.connect(self._show_effects)
        effects.stopped.connect(self._effects_stopped)
        runs.modelChanged.connect(self._show_effects_again)
        self._show(session.selected)

    def _page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.name)
        column.addWidget(self.where)
        column.addWidget(self.label_line)
        column.addLayout(self.facts)
        self.change = QToolButton()
        self.change.setDefaultAction(self._registry.action("experiment.change"))
        self.change.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.change.setAccessibleName("Change this in an experiment")
        column.addWidget(self.change)
        self.effects_title = Heading("Logit effects")
        self.effects_title.setToolTip(
            tip(
                "What this feature writes, read through the final norm and the unembedding: the tokens it makes "
                "likelier and less likely by its direct path to the output, active as it is here: where its activation "
                "is negative it lowers what it would raise."
            )
        )
        self.effects_state = MutedLabel("", wrap=True)
        self.compute = QPushButton("Compute")
        self.compute.setAccessibleName("Compute the logit effects")
        row = QHBoxLayout()
        row.addWidget(self.effects_state, 1)
        row.addWidget(self.compute)
        self.effects = QWidget()
        self.effects_grid = QGridLayout(self.effects)
        self.effects_grid.setContentsMargins(0, 0, 0, 0)
        self.effects_grid.setVerticalSpacing(1)
        self.effects_grid.setHorizontalSpacing(6)
        self._effect_labels = [self._effect_row(row_number) for row_number in range(EFFECT_ROWS)]
        self.effects_grid.setColumnStretch(0, 1)
        self.effects_grid.setColumnMinimumWidth(2, 8)  # a number belongs to the word at its left
        self.effects_grid.setColumnStretch(3, 1)
        column.addWidget(self.effects_title)
        column.addLayout(row)
        column.addWidget(self.effects)
        column.addWidget(self.examples)
        column.addWidget(self.similar)
        return page

    def _effect_row(self, row: int) -> tuple[PlainLabel, PlainLabel, PlainLabel, PlainLabel]:
        labels = (PlainLabel(), MutedLabel(), PlainLabel(), MutedLabel())
        for column, label in zip((0, 1, 3, 4), labels, strict=True):
            label.setMinimumWidth(10)
            if column in (1, 4):
                label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.effects_grid.addWidget(label, row + 1, column)
        if row == 0:
            self.effects_grid.addWidget(MutedLabel("makes likelier"), 0, 0, 1, 2)
            self.effects_grid.addWidget(MutedLabel("less likely"), 0, 3, 1, 2)
        return labels

    # ---- showing -----------------------------------------------------------------------------------------------

    @Slot(int)
    def _show(self, node: int) -> None:
        graph = self.session.graph
        shown = graph is not None and node >= 0
        self.hint.setVisible(not shown)
        self.page.setVisible(shown)
        if graph is None or node < 0:
            return
        kind = kind_of(graph, node)
        self.name.setText(f"{GLYPHS[kind]} {self._title(node, kind)}")
        self.where.setText(self._where(node, kind))
        self._fact(self.activation_title, self.activation, *self._activation(node, kind))
        relevance = graph.measure == "relevance"
        name = "Relevance" if relevance else "Influence"
        words = (
            "The absolute relevance that flows through this node in one linearised backward pass."
            if relevance
            else "The share of the explained tokens' weight that passes through this node."
        )
        # A logit is what is explained: nothing passes through it.
        name = "" if kind is NodeKind.LOGIT else name
        self._fact(self.influence_title, self.influence, name, number(float(graph.influence[node])), words)
        self._fact(self.value_title, self.value, *self._value(node, kind))
        self._show_label()
        self._show_effects(node)
        self.similar.show_node(node)
        self.examples.show_node(node)

    def _title(self, node: int, kind: NodeKind) -> str:
        graph = self.session.graph
        assert graph is not None
        if kind is NodeKind.FEATURE:
            word = "Neuron" if self._neurons() else "Feature"
            return f"{word} {int(graph.feature[node])} of layer {int(graph.layer[node])}"
        if kind is NodeKind.LOGIT:
            return f"Logit of {token_word(graph, node)}"
        if kind is NodeKind.EMBEDDING:
            return f"Embedding of {token_word(graph, node)}"
        return f"{KIND_WORDS[kind].capitalize()} of {layer_word(graph, node)}"

    def _neurons(self) -> bool:
        return bool(self.session.report.get("features", {}).get("kind") == "neurons")

    def _where(self, node: int, kind: NodeKind) -> str:
        graph = self.session.graph
        assert graph is not None
        position = int(graph.position[node])
        if position < 0:
            return "at no position: what the targets themselves add"
        token = visible_text(graph.tokens[position])
        explained = {
            NodeKind.ERROR: " · what the dictionary misses of this layer's output",
            NodeKind.BIAS: " · what biases and features left out write here",
        }.get(kind, "")
        return f"at {token}, token {position} of the prompt{explained}"

    def _activation(self, node: int, kind: NodeKind) -> tuple[str, str, str]:
        graph = self.session.graph
        assert graph is not None
        rank = activation_rank(graph, node)
        if rank is not None:
            word = "neurons" if self._neurons() else "features"
            above = f", above {percent(rank.below)} of {rank.count:,} in its layer" if rank.count > 1 else ""
            explained = (
                f"How active it is on this prompt. Compared with the {rank.count:,} active {word} of layer "
                f"{rank.layer} that are in this graph, by size and at every token: this share of them is less active. "
                "Those of the layer that are not in the graph do not count."
            )
            return "Activation", number(float(graph.activation[node])) + above, explained
        if kind is NodeKind.LOGIT:
            index = int((graph.of_kind(NodeKind.LOGIT) < node).sum())
            share = float(graph.logit_probability[index])
            return "Probability", percent(share), "How likely the model finds this token here"
        return "", "", ""

    def _value(self, node: int, kind: NodeKind) -> tuple[str, str, str]:
        graph = self.session.graph
        assert graph is not None
        found = (graph.traced == node).nonzero()[0]
        if not len(found):
            return "", "", ""
        row = int(found[0])
        value, error = float(graph.value[row]), float(graph.conservation_error[row])
        words = "The value its inputs add up to, and by how much of it their sum is off"
        return "Value", f"{number(value)}  (inputs add up to within {error:.0e})", words

    @staticmethod
    def _fact(title: MutedLabel, label: PlainLabel, name: str, text: str, words: str) -> None:
        title.setText(name)
        label.setText(text)
        for widget in (title, label):
            widget.setVisible(bool(name))
            widget.setToolTip(tip(words))

    @Slot()
    def _show_label(self) -> None:
        node = self.session.selected
        if self.session.graph is None or node < 0:
            return
        self.label_line.show_node(node)

    def _show_effects_again(self) -> None:
        self._show_effects(self.session.selected)
        self.similar.show_node(self.session.selected)

    @Slot(int)
    def _show_effects(self, node: int) -> None:
        graph = self.session.graph
        if graph is None or node < 0 or node != self.session.selected:
            return
        feature = kind_of(graph, node) is NodeKind.FEATURE
        known = self.effects_desk.known(node) if feature else None
        self.effects_title.setVisible(feature)
        self.effects.setVisible(known is not None)
        missing = feature and known is None
        possible = missing and self.effects_desk.can_compute()
        self.compute.setVisible(missing and not possible)
        self.compute.setText("Load the model")
        self.effects_state.setVisible(missing)
        if known is not None:
            turned = float(graph.activation[node]) < 0
            self._fill_effects(known.turned() if turned else known)
        elif possible:
            self.effects_state.setText("Reading what it writes…")
            self.effects_desk.find(node)
        else:
            self.effects_state.setText("Not known yet; the model that made this graph is needed once.")

    @Slot(int)
    def _effects_stopped(self, node: int) -> None:
        if node == self.session.selected and not self.effects.isVisible():
            self.effects_state.setText("Not read: another job went first.")
            self.compute.setText("Compute")
            self.compute.show()

    def _fill_effects(self, effects: Effects) -> None:
        for row, labels in enumerate(self._effect_labels):
            for side, offset in ((effects.top, 0), (effects.bottom, 2)):
                text, value = side[row] if row < len(side) else ("", 0.0)
                labels[offset].setText(visible_text(text, 16) if text else "")
                labels[offset].setToolTip(tip(text))
                labels[offset + 1].setText(number(value) if text else "")

    # ---- from the person ---------------------------------------------------------------------------------------

    def edit_label(self) -> None:
        """Put the cursor into the label."""
        self.label.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.label.selectAll()

    @Slot()
    def _leave(self) -> None:
        self.label_line.leave()

    @Slot()
    def _compute(self) -> None:
        source = self.session.report.get("model", {}).get("name") or ""
        if self.effects_desk.can_compute():
            self._show_effects(self.session.selected)
        elif self.runs.model is None:
            self.runs.load_model()
        else:
            sentence = f"This graph was made with {source or 'another model'}; choose that model above the prompt."
            self.session.report_problem("inspector", sentence)
