"""What the keys do to the selected node and to the circuit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import shiboken6
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QWidget

from app.canvas.walking import Step

if TYPE_CHECKING:
    from app.window import MainWindow


def first_control(panel: QWidget) -> QWidget | None:
    """The first thing in a panel that takes the keyboard focus, where there is one to be seen."""
    widget: QWidget | None = panel
    while widget is not None:
        takes = bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus)
        if takes and (widget is panel or panel.isAncestorOf(widget)) and widget.isEnabled() and widget.isVisible():
            return widget
        following = widget.nextInFocusChain()
        widget = None if following is panel else following
    return None


class Hands:
    """Pins, labels, groups, and moving the keyboard focus."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self.session, self.edits = window.session, window.edits
        self._gathering = False
        self._before_label: QWidget | None = None  # what had the keyboard

    # ---- edits -------------------------------------------------------------------------------------------------

    def toggle_pin(self) -> None:
        """Pin the selected node, or take its pin away."""
        self.edits.toggle_pin(self.session.selected)

    def label(self) -> None:
        """Put the cursor into the label of the selected node."""
        self.window.show_dock("inspector")
        if not self.window.inspector.label.hasFocus():
            self._before_label = QApplication.focusWidget()
        self.window.inspector.edit_label()

    def leave_label(self) -> None:
        """The label is written: the keyboard goes back to where it was, so that its keys mean the graph again."""
        before, self._before_label = self._before_label, None
        if before is not None and shiboken6.isValid(before) and before.isVisible() and before.isEnabled():
            self.focus(before)
        else:
            self.go_graph()

    def label_history(self) -> None:
        """List the labels the selected node had."""
        self.window.show_dock("inspector")
        self.window.inspector.label_line.show_history()

    def copy_name(self) -> None:
        """Copy the selected node's name."""
        QGuiApplication.clipboard().setText(self.session.node_name(self.session.selected))

    def group(self, nodes: list[int]) -> None:
        """Group nodes and begin to name the group, unless a label names it."""
        if self.edits.group(nodes):
            newest = self.session.annotations.groups[-1]
            if newest.name.startswith("Group of"):
                self.window.show_dock("circuit")
                self.window.circuit.edit_group_name(newest.id)

    def group_by_clicking(self) -> None:
        """Begin to gather nodes with clicks; the second time, group them."""
        canvas = self.window.area.shown_canvas
        self._gathering = not self._gathering
        if self._gathering:
            canvas.begin_grouping()
        else:
            canvas.end_grouping()

    # ---- focus -------------------------------------------------------------------------------------------------

    def find(self) -> None:
        """Open the find bar, with the cursor in it."""
        self.window.area.find_bar.open()

    def find_next(self) -> None:
        """Select the next node found."""
        self.session.finding.step(1)

    def find_previous(self) -> None:
        """Select the node found before this one."""
        self.session.finding.step(-1)

    def find_filters(self) -> None:
        """Show or hide the small controls of the find bar."""
        self.window.area.find_bar.toggle_filters()

    def find_filters_shown(self) -> bool:
        """Whether the small controls of the find bar are shown."""
        bar = self.window.area.find_bar
        return bar.is_open and not bar.filters.isHidden()

    def find_close(self) -> None:
        """Close the find bar."""
        self.window.area.find_bar.close_bar()

    def find_is_open(self) -> bool:
        """Whether the find bar is open."""
        return self.window.area.find_bar.is_open

    def next_panel(self) -> None:
        """Go to the next panel."""
        self._step_panel(1)

    def previous_panel(self) -> None:
        """Go to the panel before."""
        self._step_panel(-1)

    def _step_panel(self, by: int) -> None:
        """Focus the first control of the next panel that has one, around the end."""
        panels = [panel for panel in self.window.panels() if first_control(panel) is not None]
        focused = QApplication.focusWidget()
        here = [
            at
            for at, panel in enumerate(panels)
            if focused is panel or (focused is not None and panel.isAncestorOf(focused))
        ]
        if panels:
            at = (here[0] + by) if here else (0 if by > 0 else -1)
            control = first_control(panels[at % len(panels)])
            if control is not None:
                self.focus(control)

    def go_prompt(self) -> None:
        """Go to the prompt."""
        self.focus(self.window.prompt_bar.editor)

    def go_graph(self) -> None:
        """Go to the graph."""
        self.focus(self.window.area.shown_canvas)

    def walk(self, step: Step) -> None:
        """Go to the graph, and in it to the next node in a direction."""
        self.go_graph()
        self.window.area.shown_canvas.walk(step)

    def freeze(self) -> None:
        """Freeze what is hovered, or let it go."""
        self.window.area.shown_canvas.toggle_hold()

    def can_freeze(self) -> bool:
        """The pointer is on a node, or one is frozen."""
        return self.window.area.shown_canvas.hovered() >= 0

    def is_frozen(self) -> bool:
        """What was hovered stays so."""
        return self.window.area.shown_canvas.held

    def go_table(self) -> None:
        """Go to the node table."""
        self.window.look.show_table(True)
        self.focus(self.window.area.table.table)

    def go_inputs(self) -> None:
        """Go to the list of inputs."""
        self.window.show_dock("connections")
        self.focus(self.window.connections.input_table)

    def go_outputs(self) -> None:
        """Go to the list of outputs."""
        self.window.show_dock("connections")
        self.focus(self.window.connections.output_table)

    @staticmethod
    def focus(widget: QWidget) -> None:
        """Put the keyboard into a widget."""
        widget.setFocus(Qt.FocusReason.ShortcutFocusReason)
