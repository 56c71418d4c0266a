"""How the window looks: theme, text size, layout, and what of the graph is hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QApplication, QWidget

from app.recent import LAYOUT_VERSION
from app.theme import apply_theme

if TYPE_CHECKING:
    from app.window import MainWindow

SMALLEST, LARGEST, STEP = 7.0, 22.0, 1.0
# What of the height the form, a sentence and a plot need.
EXPERIMENTS_SHARE = 0.52


class Look:
    """The View menu's work; remembered between runs."""

    def __init__(self, window: MainWindow, app: QApplication) -> None:
        self.window, self.app = window, app
        self.scheme = window.memory.text("theme", "system")
        if self.scheme not in ("system", "light", "dark"):
            self.scheme = "system"
        self.colour_blind = window.memory.text("colour_blind", "no") == "yes"
        self.size_by = window.memory.text("size_by", "influence")
        if self.size_by not in ("influence", "activation", "none"):
            self.size_by = "influence"
        self.all_edges = False
        self._normal_size = app.font().pointSizeF()

    def start(self) -> None:
        """Wear the remembered theme and text size."""
        try:
            size = float(self.window.memory.text("text_size", "0"))
        except ValueError:
            size = 0.0
        if SMALLEST <= size <= LARGEST:
            self._wear_size(size)
        self._wear()

    # ---- theme and text ----------------------------------------------------------------------------------------

    def set_theme(self, scheme: str) -> None:
        """Wear "light", "dark" or the "system"'s theme."""
        self.scheme = scheme
        self.window.memory.set_text("theme", scheme)
        self._wear()
        self.window.registry.refresh()

    def is_theme(self, scheme: str) -> bool:
        """Whether this is the chosen theme."""
        return self.scheme == scheme

    def toggle_colour_blind(self) -> None:
        """Exchange the two colours of signs."""
        self.colour_blind = not self.colour_blind
        self.window.memory.set_text("colour_blind", "yes" if self.colour_blind else "no")
        self._wear()

    def is_colour_blind(self) -> bool:
        """Whether signs are orange and blue."""
        return self.colour_blind

    def _wear(self) -> None:
        apply_theme(self.app, self.scheme, colour_blind=self.colour_blind)

    def larger(self) -> None:
        """A step larger text."""
        self._set_size(self.app.font().pointSizeF() + STEP)

    def smaller(self) -> None:
        """A step smaller text."""
        self._set_size(self.app.font().pointSizeF() - STEP)

    def normal(self) -> None:
        """Text as large as the system says."""
        self._set_size(self._normal_size)

    def text_scale(self) -> float:
        """How large text is beside what the system says."""
        return self.app.font().pointSizeF() / self._normal_size

    def text_size(self) -> float:
        """How large text is, in points."""
        return self.app.font().pointSizeF()

    def set_text_size(self, size: float) -> None:
        """Text of so many points, as far as there is room."""
        self._set_size(size)

    def _set_size(self, size: float) -> None:
        before = self.app.font().pointSizeF()
        size = min(max(size, SMALLEST), max(LARGEST, 2 * self._normal_size))
        self._wear_size(size)
        self.window.fit_text(size / before)
        self.window.memory.set_text("text_size", "0" if size == self._normal_size else str(size))

    def _wear_size(self, size: float) -> None:
        font = self.app.font()
        font.setPointSizeF(size)
        self.app.setFont(font)
        # Under a style sheet widgets keep the font they were polished with until the sheet is set again.
        self.app.setStyleSheet(self.app.styleSheet())

    # ---- the graph ---------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Show the whole graph."""
        self.window.area.shown_canvas.fit()

    def zoom_in(self) -> None:
        """A step closer."""
        self.window.area.shown_canvas.zoom_in()

    def zoom_out(self) -> None:
        """A step away."""
        self.window.area.shown_canvas.zoom_out()

    def set_size_by(self, what: str) -> None:
        """Let the size of features say "influence", "activation" or "none"."""
        self.size_by = what
        self.window.memory.set_text("size_by", what)
        self.show_size()
        self.window.registry.refresh()

    def is_size_by(self, what: str) -> bool:
        """Whether this is what the size of features says."""
        return self.size_by == what

    def show_size(self) -> None:
        """Draw the features of the open graph in the chosen size."""
        area = self.window.area
        for canvas in (area.canvas, area.compare.left, area.compare.right):
            canvas.set_size_by(self.size_by)

    def toggle_all_edges(self) -> None:
        """Draw every edge in view, or only those of what is in focus."""
        self.all_edges = not self.all_edges
        self.window.area.canvas.set_all_edges(self.all_edges)

    def all_edges_shown(self) -> bool:
        """Whether every edge in view is drawn."""
        return self.all_edges

    def toggle_errors(self) -> None:
        """Hide or show error nodes."""
        self._toggle("hide_errors")

    def errors_hidden(self) -> bool:
        """Whether error nodes are hidden."""
        return self.window.session.settings.hide_errors

    def toggle_bos(self) -> None:
        """Hide or show the nodes at the start token."""
        self._toggle("hide_bos")

    def bos_hidden(self) -> bool:
        """Whether the nodes at the start token are hidden."""
        return self.window.session.settings.hide_bos

    def _toggle(self, setting: str) -> None:
        session = self.window.session
        session.set_view(**{setting: not getattr(session.settings, setting)})
        session.keep_view()

    def toggle_table(self) -> None:
        """Hide or show the node table."""
        self.show_table(not self.table_shown())

    def show_table(self, on: bool) -> None:
        """Show or hide the node table."""
        self._show_lower(self.window.area.table, on)

    def table_shown(self) -> bool:
        """Whether the node table is shown."""
        return self.window.area.is_in_front(self.window.area.table)

    def toggle_circuit(self) -> None:
        """Hide or show the circuit's diagram."""
        self._show_lower(self.window.area.circuit, not self.circuit_shown())

    def show_circuit(self) -> None:
        """Bring the circuit's diagram to the front."""
        self._show_lower(self.window.area.circuit, True)

    def circuit_shown(self) -> bool:
        """Whether the circuit's diagram is shown."""
        return self.window.area.is_in_front(self.window.area.circuit)

    def toggle_experiments(self) -> None:
        """Hide or show the experiments."""
        self._show_lower(self.window.area.experiments, not self.experiments_shown())

    def show_experiments(self) -> None:
        """Bring the experiments to the front."""
        self._show_lower(self.window.area.experiments, True)
        self.window.area.make_room(EXPERIMENTS_SHARE)

    def experiments_shown(self) -> bool:
        """Whether the experiments are shown."""
        return self.window.area.is_in_front(self.window.area.experiments)

    def _show_lower(self, page: QWidget, on: bool) -> None:
        area = self.window.area
        if on:
            area.show_lower(page)
        elif area.is_in_front(page):
            area.hide_lower()

    # ---- layout ------------------------------------------------------------------------------------------------

    def keep_layout(self) -> None:
        """Remember where the window and its panels are."""
        memory, window = self.window.memory, self.window
        memory.set_bytes("window/geometry", window.saveGeometry())
        memory.set_bytes("window/state", window.saveState(LAYOUT_VERSION))
        memory.set_bytes("window/lower", window.area.splitter.saveState())
        memory.flush()

    def restore_layout(self) -> None:
        """Put the window and its panels where they were."""
        memory, window = self.window.memory, self.window
        geometry, state, graph = (memory.bytes(f"window/{name}") for name in ("geometry", "state", "lower"))
        if geometry is not None:
            window.restoreGeometry(geometry)
        if state is not None:
            window.restoreState(state, LAYOUT_VERSION)
        if graph is not None:
            window.area.splitter.restoreState(graph)

    def reset_layout(self) -> None:
        """Put all panels back where they were at first."""
        self.window.memory.forget("window/geometry", "window/state", "window/lower")
        self.window.arrange()
        self.show_table(True)
