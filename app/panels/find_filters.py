"""Small controls for those who do not know the query language: each writes its term into the query."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, QSize, Signal, Slot
from PySide6.QtWidgets import QComboBox, QLineEdit, QSizePolicy, QSpinBox, QWidget

from app.find_query import SIGN_SCOPE, value_of, with_value
from app.panels.flow import FlowLayout, together
from app.panels.plain import MutedLabel, tip
from app.session import Session
from engine.graphs import KIND_NAMES, AttributionGraph
from engine.graphs.visible_text import visible_text

ANY = "any"
_NO_LAYER = -1
_LONGEST_TOKEN = 14


class FindFilters(QWidget):
    """Kind, layers, token, sign of the effect, activation, influence, density; `edited` tells the new query."""

    edited = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._graph: AttributionGraph | None = None
        self._query = ""
        self.kind = _choice("Kind of node", [(ANY, ""), *((name, name) for name in KIND_NAMES)])
        self.first, self.last = _layer("Lowest layer"), _layer("Highest layer")
        self.token = _choice("Token of the prompt", [(ANY, "")])
        self.token.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.token.setMinimumContentsLength(6)
        self.sign = _choice("Sign of the effect on the target", [(ANY, ""), ("positive", "+"), ("negative", "-")])
        self.sign.setToolTip(tip(SIGN_SCOPE))
        self.activation = _amount("Smallest activation", "2.5")
        self.influence = _amount("Smallest influence", "1%")
        self.influence_title = MutedLabel("Influence ≥")
        self.density = _amount("Largest activation density", "1%")
        self.density.setToolTip(tip("The share of the indexed text's tokens at which a feature is active, such as 1%"))
        line = FlowLayout(self, gap=9)
        line.setContentsMargins(8, 0, 8, 4)
        for title, controls in (
            (MutedLabel("Kind"), (self.kind,)),
            (MutedLabel("Layers"), (self.first, MutedLabel("to"), self.last)),
            (MutedLabel("Token"), (self.token,)),
            (MutedLabel("Effect"), (self.sign,)),
            (MutedLabel("Activation ≥"), (self.activation,)),
            (self.influence_title, (self.influence,)),
        ):
            line.addWidget(together(title, *controls))
        self._density_part = together(MutedLabel("Density ≤"), self.density)
        line.addWidget(self._density_part)
        policy = self.sizePolicy()
        policy.setHeightForWidth(True)
        policy.setVerticalPolicy(QSizePolicy.Policy.Minimum)
        self.setSizePolicy(policy)
        for box in (self.kind, self.token, self.sign):
            box.currentIndexChanged.connect(self._changed)
        for spin in (self.first, self.last):
            spin.valueChanged.connect(self._layers_changed)
        for field in (self.activation, self.influence, self.density):
            field.textEdited.connect(self._changed)
        session.densityChanged.connect(self._show_density)
        self._show_density()

    def show_query(self, query: str) -> None:
        """Show what a query says; what a control cannot show stands as "any" and stays in the query."""
        self._query = query
        self._show_graph()
        first, last = _ends(value_of(query, "layer"))
        shown = (
            *((self.kind, value_of(query, "kind")), (self.token, value_of(query, "position"))),
            (self.sign, value_of(query, "sign")),
        )
        for box, value in shown:
            with QSignalBlocker(box):
                box.setCurrentIndex(max(box.findData(value), 0))
        for spin, number in ((self.first, first), (self.last, last)):
            with QSignalBlocker(spin):
                spin.setValue(number)
        for field, key, sign in self._amounts():
            if not field.hasFocus():
                field.setText(value_of(query, key, sign))
        self._show_density()

    def _amounts(self) -> tuple[tuple[QLineEdit, str, str], ...]:
        return (
            (self.activation, "activation", ">="),
            (self.influence, "influence", ">="),
            (self.density, "density", "<="),
        )

    @Slot()
    def _show_density(self) -> None:
        """Only where a text was indexed, or where the query asks for it all the same."""
        self._density_part.setVisible(self._session.density is not None or bool(self.density.text()))

    def _show_graph(self) -> None:
        graph = self._session.graph
        if graph is None or graph is self._graph:
            return
        self._graph = graph
        with QSignalBlocker(self.token):
            self.token.clear()
            self.token.addItem(ANY, "")
            for position, text in enumerate(graph.tokens):
                self.token.addItem(f"{visible_text(text, _LONGEST_TOKEN)} ({position})", str(position))
        for spin in (self.first, self.last):
            with QSignalBlocker(spin):
                spin.setRange(_NO_LAYER, max(graph.n_layers - 1, 0))
        neurons = graph.measure == "relevance"
        self.influence_title.setText("Relevance ≥" if neurons else "Influence ≥")

    @Slot()
    def _changed(self) -> None:
        query = self._query
        for box, key in ((self.kind, "kind"), (self.token, "position"), (self.sign, "sign")):
            if self.sender() is box:
                query = with_value(query, key, str(box.currentData()))
        for field, key, sign in self._amounts():
            if self.sender() is field:
                query = with_value(query, key, field.text().strip(), sign)
        self._tell(query)

    @Slot()
    def _layers_changed(self) -> None:
        first, last = self.first.value(), self.last.value()
        if first == last:
            text = "" if first == _NO_LAYER else str(first)
        else:
            text = f"{'' if first == _NO_LAYER else first}..{'' if last == _NO_LAYER else last}"
        self._tell(with_value(self._query, "layer", text))

    def _tell(self, query: str) -> None:
        self._query = query
        self.edited.emit(query)


def _ends(text: str) -> tuple[int, int]:
    """The lowest and highest layer a term allows, `_NO_LAYER` for an end that is open or not one range."""
    low, dots, high = text.partition("..")
    ends = (low, high) if dots else (low, low)
    if not all(end.isdigit() or (dots and not end) for end in ends):
        return _NO_LAYER, _NO_LAYER
    first, last = (int(end) if end else _NO_LAYER for end in ends)
    return first, last


def _choice(name: str, entries: list[tuple[str, str]]) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(name)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
    for text, value in entries:
        box.addItem(text, value)
    return box


def _layer(name: str) -> QSpinBox:
    spin = QSpinBox()
    spin.setAccessibleName(name)
    spin.setSpecialValueText(ANY)
    spin.setRange(_NO_LAYER, 0)
    return spin


class _AmountField(QLineEdit):
    """As wide as a number, whatever the size of text."""

    def sizeHint(self) -> QSize:
        hint = super().sizeHint()
        hint.setWidth(self.fontMetrics().horizontalAdvance("00000") + 16)
        return hint


def _amount(name: str, example: str) -> QLineEdit:
    field = _AmountField()
    field.setAccessibleName(name)
    field.setPlaceholderText(ANY)
    field.setToolTip(tip(f"A number, such as {example}"))
    field.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
    return field
