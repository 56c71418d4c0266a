"""The list of changes of the next experiment, and the line below it that edits those that are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from PySide6.QtCore import QEvent, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDoubleSpinBox,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.experiments.desk import ExperimentDesk
from app.experiments.draft import change_node, key_of
from app.experiments.head_line import HeadLine
from app.experiments.words import HOWS, PLACES, WITH_VALUE, change_name, place_words, token_words, what_words
from app.panels.flow import FlowRow
from app.panels.plain import Hint, MutedLabel, tip
from engine.graphs import AttributionGraph
from engine.graphs.visible_text import visible_text
from engine.interventions.changes import Change, Elsewhere, How

EMPTY = (
    "Nothing is changed yet. Select a node, or groups in the diagram, and press X (“Change this”), or add an attention "
    "head: it is listed here, and you say what becomes of it."
)
ROWS = 4


class ChangesTree(QTreeWidget):
    """What is changed, and to what. Delete takes a row away; a chosen row selects its node."""

    removeAsked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("changes")
        self.setAccessibleName("What the experiment changes")
        self.setHeaderLabels(["Changed", "To", "Where"])
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)

    def event(self, event: QEvent) -> bool:
        """Delete is this list's own while it has the keyboard."""
        if event.type() == QEvent.Type.ShortcutOverride and _is_delete(event):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Delete takes the chosen rows out."""
        if _is_delete(event):
            self.removeAsked.emit()
        else:
            super().keyPressEvent(event)

    def fit(self) -> None:
        """As high as its rows, up to a few."""
        rows = min(max(self.topLevelItemCount(), 1), ROWS) + 1
        self.setFixedHeight(rows * (self.fontMetrics().height() + 6) + 6)

    def changeEvent(self, event: QEvent) -> None:
        """Larger text, higher rows."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self.fit()


def _is_delete(event: QEvent) -> bool:
    return isinstance(event, QKeyEvent) and event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace)


class ChangesList(QWidget):
    """Edits the changes of the desk's draft: those that are chosen, or all where none is."""

    def __init__(self, desk: ExperimentDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk, self.session = desk, desk.session
        self._filling = False
        self.tree = ChangesTree()
        self.hint = Hint(EMPTY)
        self.how, self.where, self.end = QComboBox(), QComboBox(), QComboBox()
        self.trace, self.token = QComboBox(), QComboBox()
        self.value = QDoubleSpinBox()
        self.heads = HeadLine()
        self.editor = self._line()
        self.source = FlowRow(gap=5)
        for part in (MutedLabel("from"), self.trace, MutedLabel("at"), self.token):
            self.source.flow.addWidget(part)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self.hint, self.tree, self.heads, self.editor, self.source):
            column.addWidget(widget)
        desk.draftChanged.connect(self._show)
        self.session.annotationsChanged.connect(self._show)
        self.tree.itemSelectionChanged.connect(self._chosen)
        for box in (self.how, self.where, self.end):
            box.activated.connect(self._edited)
        self.trace.activated.connect(self._other_trace)
        self.token.activated.connect(self._edited)
        self.value.valueChanged.connect(self._edited)
        self.heads.chosen.connect(self._other_head)
        self._show()

    def _line(self) -> FlowRow:
        line = FlowRow(gap=5)
        named = ((self.how, "What becomes of it"), (self.where, "Where it is changed"), (self.end, "The last token"))
        for box, name in (*named, (self.trace, "The trace it is swapped from"), (self.token, "The token there")):
            box.setAccessibleName(name)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
        for combo, choices in ((self.how, HOWS), (self.where, PLACES)):
            for key, word, meaning in choices:
                combo.addItem(word, key)
                combo.setItemData(combo.count() - 1, tip(meaning), Qt.ItemDataRole.ToolTipRole)
        self.value.setAccessibleName("Value or multiple")
        self.value.setRange(-1e6, 1e6)
        self.value.setDecimals(2)
        self.value.setSingleStep(0.5)
        self.value.setKeyboardTracking(False)
        for widget in (self.how, self.value, self.where, self.end):
            line.flow.addWidget(widget)
        return line

    # ---- showing -----------------------------------------------------------------------------------------------

    @Slot()
    def _show(self) -> None:
        graph, changes = self.desk.graph, self.desk.draft.changes
        self._filling = True
        chosen = set(self.chosen())
        self.tree.clear()
        if graph is not None:
            for number, change in enumerate(changes):
                item = self._item(graph, change)
                self.tree.addTopLevelItem(item)
                item.setSelected(number in chosen)
        self.tree.fit()
        self.hint.setVisible(not changes)
        for widget in (self.tree, self.editor):
            widget.setVisible(bool(changes))
        self._show_editor()
        self._filling = False

    def _item(self, graph: AttributionGraph, change: Change) -> QTreeWidgetItem:
        node = change_node(graph, change)
        name = change_name(graph, self.session.annotations.labels, change, node)
        item = QTreeWidgetItem([name, what_words(change), place_words(graph, change)])
        words = change.name if node < 0 else f"{change.name}: {graph.describe(node)}"
        for column in range(3):
            item.setToolTip(column, tip(words))
        return item

    def _show_editor(self) -> None:
        graph, picked = self.desk.graph, self.picked()
        if graph is None or not picked:
            self.source.hide()
            self.heads.hide()
            return
        first = picked[0]
        self.heads.setVisible(len(picked) == 1 and first.kind == "head")
        if first.kind == "head":
            self.heads.show_change(graph, first)
        self.how.setCurrentIndex([key for key, _, _ in HOWS].index(first.how))
        self.how.setToolTip(tip(HOWS[self.how.currentIndex()][2]))
        self.value.setEnabled(first.how in WITH_VALUE)
        self.value.setValue({"ablate": 0.0, "flip": -1.0}.get(first.how, first.value))
        self.value.setSuffix(" ×" if first.how != "set" else "")
        place = "onward" if first.onward else "here" if first.last is None else "span"
        self.where.setCurrentIndex([key for key, _, _ in PLACES].index(place))
        self.where.setToolTip(tip(PLACES[self.where.currentIndex()][2]))
        self._fill_end(graph, first)
        self.end.setVisible(place == "span")
        self.source.setVisible(first.how == "swap")
        if first.how == "swap":
            self._fill_source(first)

    def _fill_end(self, graph: AttributionGraph, change: Change) -> None:
        self.end.clear()
        for position in range(change.position, len(graph.tokens)):
            self.end.addItem(f"{position} {token_words(graph, position)}", position)
        self.end.setCurrentIndex(max(0, (change.position if change.last is None else change.last) - change.position))

    def _fill_source(self, change: Change) -> None:
        """The other traces of the same model, and the tokens of the one that is chosen."""
        self.trace.clear()
        found = -1
        for number, title in self.desk.others():
            self.trace.addItem(visible_text(title, 40), number)
            graph = self.desk.other(number)
            if found < 0 and graph is not None and change.source is not None:
                found = self.trace.count() - 1 if graph.token_ids == change.source.token_ids else -1
        self.trace.setCurrentIndex(max(found, 0))
        self._fill_tokens(-1 if change.source is None else change.source.position)

    def _fill_tokens(self, position: int) -> None:
        self.token.clear()
        number = self.trace.currentData()
        graph = None if number is None else self.desk.other(number)
        for place, text in enumerate(() if graph is None else graph.tokens):
            self.token.addItem(f"{place} {visible_text(text)}", place)
        self.token.setCurrentIndex(min(position, self.token.count() - 1) if position >= 0 else self.token.count() - 1)

    # ---- choosing ----------------------------------------------------------------------------------------------

    def chosen(self) -> list[int]:
        """The rows that are chosen."""
        return sorted(self.tree.indexOfTopLevelItem(item) for item in self.tree.selectedItems())

    def picked(self) -> list[Change]:
        """The changes that are edited: those chosen, or all."""
        changes, chosen = self.desk.draft.changes, self.chosen()
        return [changes[number] for number in chosen if number < len(changes)] or list(changes)

    @Slot()
    def _chosen(self) -> None:
        graph, picked = self.desk.graph, self.picked()
        if self._filling or graph is None:
            return
        self._filling = True
        self._show_editor()
        self._filling = False
        if self.tree.selectedItems() and picked:
            node = change_node(graph, picked[-1])
            if node >= 0:
                self.session.select(node)

    # ---- editing -----------------------------------------------------------------------------------------------

    @Slot()
    def _other_trace(self) -> None:
        self._fill_tokens(-1)
        self._edited()

    @Slot()
    def _edited(self) -> None:
        graph = self.desk.graph
        if not self._filling and graph is not None:
            self.change(self._new)

    @Slot(int, int, int)
    def _other_head(self, layer: int, position: int, head: int) -> None:
        there = {key_of(one) for one in self.desk.draft.changes}
        if ("head", layer, position, head) in there:
            self._show()  # it is changed already
            return
        self.change(
            lambda one: replace(
                one,
                layer=layer,
                position=position,
                index=head,
                last=None if one.last is None else max(one.last, position),
            )
        )

    def change(self, new: Callable[[Change], Change]) -> None:
        """Put other changes in the place of those that are edited."""
        picked = {id(one) for one in self.picked()}
        changes = tuple(new(one) if id(one) in picked else one for one in self.desk.draft.changes)
        self.desk.set_draft(replace(self.desk.draft, changes=changes))

    def _new(self, change: Change) -> Change:
        """A change as the line says it; what goes with none of its kind stays as it was."""
        how = cast(How, self.how.currentData())
        if how == "set" and change.kind != "feature":
            how = change.how
        source = self._source(change) if how == "swap" else None
        if how == "swap" and source is None:
            self.session.report_problem(
                "graph", "Swapping needs another trace of this model in the project; trace another prompt first."
            )
            how = change.how
            source = change.source
        value = change.value if change.how != how else self.value.value()
        if how not in WITH_VALUE or (how == "swap" and change.how != "swap"):
            value = 1.0
        elif change.how != how:
            value = {"scale": 2.0}.get(how, value)
        place, last = str(self.where.currentData()), None
        if place == "span":
            graph = self.desk.graph
            count = 0 if graph is None else len(graph.tokens)
            asked = self.end.currentData() if change.last is not None else count - 1
            last = max(int(asked if asked is not None else count - 1), change.position)
        onward = place == "onward" and change.kind in ("feature", "head")
        return replace(change, how=how, value=value, last=last, onward=onward, source=source)

    def _source(self, change: Change) -> Elsewhere | None:
        """Where it is swapped from: what the boxes say, else the same token of the first other trace."""
        if change.how == "swap" and self.trace.currentData() is not None:
            number = int(self.trace.currentData())
        else:
            number = next((found for found, _ in self.desk.others()), -1)
        graph = self.desk.other(number) if number >= 0 else None
        if graph is None:
            return None
        if change.how == "swap" and self.token.currentData() is not None:
            return Elsewhere(graph.token_ids, int(self.token.currentData()))
        return Elsewhere(graph.token_ids, min(change.position, len(graph.token_ids) - 1))
