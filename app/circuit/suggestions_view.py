"""Suggested pins and groups: previews with a reason, accepted or refused one by one."""

from __future__ import annotations

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import (
    QToolButton,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.circuit.desk import CircuitDesk
from app.circuit.short_list import ShortList, row_of
from app.circuit.words import name_of
from app.commands import Registry
from app.panels.flow import FlowRow
from app.panels.plain import Hint, MutedLabel, tip
from engine.projects import Suggestion

NUMBER_ROLE = Qt.ItemDataRole.UserRole
HINT = (
    "Press Suggest: nodes that are worth pinning next, and nodes that may be one group, each with a reason. Nothing "
    "changes before you accept it."
)
NOTHING_MORE = "Nothing is left to suggest for this circuit. What you refused does not come back; Undo brings it back."
WITHOUT_BOS = "Hide BOS is on: nothing at the start token is suggested."
AT_BOS = "Hide BOS above the graph leaves out what stands at the start token."
NO_DECODERS = "With the model in memory, what features write counts for groups, too."
STABLE = "How often it is suggested again when a fifth of the edges is left out at random"


class SuggestionsView(QWidget):
    """A list of open suggestions; the current one lights up on the canvas."""

    def __init__(self, desk: CircuitDesk, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk, self.session, self.registry = desk, desk.session, registry
        self.list = ShortList("Suggested pins and groups", ("Suggestion", "Stable"))
        self.list.setObjectName("suggestions")
        self.reason = MutedLabel(wrap=True)
        self.note = MutedLabel(wrap=True)
        self.hint = Hint(HINT)
        self.hint.setMargin(0)  # in line with the notes above it
        row = FlowRow(gap=2)
        self.buttons: dict[str, QToolButton] = {}
        for command in ("circuit.suggest", "circuit.accept", "circuit.refuse"):
            button = self.buttons[command] = QToolButton()
            button.setDefaultAction(registry.action(command))
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setAccessibleName(registry.action(command).command.words)
            row.flow.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.setSpacing(3)
        column.addWidget(row)
        column.addWidget(self.list, 1)
        column.addWidget(self.reason)
        column.addWidget(self.note)
        column.addWidget(self.hint, 1)
        self._filling = False
        self._shown: list[Suggestion] = []
        self.list.currentItemChanged.connect(self._chosen)
        desk.suggestionsChanged.connect(self._show)
        self.session.traceChanged.connect(self._show)
        self._show()

    @Slot()
    def _show(self) -> None:
        before, index = self.current(), self._index()
        in_light = before is not None and self.session.lit == before.nodes
        found = self.desk.suggestions()
        self._filling = True
        self._shown = found
        self.list.clear()
        for kind, title in (("pin", "Pin"), ("group", "Group")):
            some = [one for one in found if one.kind == kind]
            if some:
                top = self.list.add_section(title)
                for one in some:
                    self._add(top, one)
        self.list.expandAll()
        self.list.setVisible(bool(found))
        # What can be done now, so that the row fits narrow panels: the bar above the diagram suggests at any time.
        for command, button in self.buttons.items():
            button.setVisible((command == "circuit.suggest") != bool(found))
        self._note(found)
        self.hint.setText(NOTHING_MORE if self.desk.searched else HINT)
        self.hint.setVisible(not found)
        self._filling = False
        # After one is decided the next one is in hand, so that a list is worked off without the mouse.
        if before is not None and found:
            kept = next((i for i, one in enumerate(found) if one.id == before.id), min(index, len(found) - 1))
            self.list.setCurrentItem(self.list.rows()[kept])
        self._tell(light=in_light)

    def _note(self, found: list[Suggestion]) -> None:
        """What was left out, and what could be."""
        graph, notes = self.session.graph, []
        if self.session.settings.hide_bos:
            notes.append(WITHOUT_BOS)
        elif graph is not None and any(graph.position[node] == 0 for one in found for node in one.nodes):
            notes.append(AT_BOS)
        if graph is not None and not self.desk.compares_decoders:
            notes.append(NO_DECODERS)
        self.note.setText(" ".join(notes))
        self.note.setVisible(bool(notes))

    def _add(self, section: QTreeWidgetItem, one: Suggestion) -> None:
        graph = self.session.graph
        stable = "" if one.stability is None else f"{100 * one.stability:.0f} %"
        labels = self.session.annotations.labels
        names = [name_of(graph, labels, node) for node in one.nodes] if graph is not None else []
        words = f"{len(names)}: {', '.join(names)}" if one.kind == "group" else "".join(names)
        item = row_of(section, words, stable)
        item.setData(0, NUMBER_ROLE, one.id)
        item.setToolTip(0, tip("\n".join([one.text, *names]) if one.kind == "group" else "\n".join(names)))
        item.setToolTip(1, tip(STABLE))

    def _index(self) -> int:
        item = self.list.currentItem()
        items = self.list.rows()
        return items.index(item) if item in items else 0

    def current(self) -> Suggestion | None:
        """The suggestion in hand."""
        item = self.list.currentItem()
        number = None if item is None else item.data(0, NUMBER_ROLE)
        return next((one for one in self._shown if one.id == number), None)

    @Slot(QTreeWidgetItem, QTreeWidgetItem)
    def _chosen(self, _item: QTreeWidgetItem | None, _before: QTreeWidgetItem | None) -> None:
        if not self._filling:
            self._tell(light=True)
            self.registry.refresh()

    def _tell(self, *, light: bool) -> None:
        """Say why, and show on the canvas what is meant."""
        one = self.current()
        self.reason.setVisible(one is not None)
        if one is not None:
            stable = "" if one.stability is None else f" · comes again in {100 * one.stability:.0f} % of resamples"
            self.reason.setText(f"{one.reason}{stable}")
            if light:
                self.session.light(one.nodes)
