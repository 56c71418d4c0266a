"""The strip above the graph: how much of it is shown, and how much that explains."""

from __future__ import annotations

import math

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QSizePolicy, QSlider, QToolButton, QWidget

from app.commands import Registry
from app.panels.flow import FlowRow, together
from app.panels.plain import MutedLabel, PlainLabel, tip
from app.session import Session

REST_MS = 500
STEPS = 1000
STRIP_COMMANDS = ("go.back", "go.forward", "view.fit")


class ThresholdSlider(QSlider):
    """A share in (0, 1], in steps of a thousandth; finer near 1, where it matters."""

    def __init__(self, name: str, explained: str, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setRange(10, STEPS)
        self.setSingleStep(5)
        self.setPageStep(50)
        self.setFixedWidth(60)  # with the others on one line of a window of 1440
        self.setAccessibleName(name)
        self.setToolTip(tip(explained))

    @property
    def share(self) -> float:
        """The value as a share."""
        return self.value() / STEPS

    def show_share(self, share: float) -> None:
        """Move to a share without telling anyone."""
        self.blockSignals(True)
        self.setValue(round(share * STEPS))
        self.blockSignals(False)


class DensitySlider(QSlider):
    """The largest activation density shown, in steps of a tenth of a power of ten, from 1e-5 to all."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setRange(0, 50)
        self.setPageStep(10)
        self.setFixedWidth(54)
        self.setAccessibleName("Largest activation density")
        self.setToolTip(
            tip(
                "Hides features that are active at more than this share of the indexed text's tokens. Features that "
                "are active nearly everywhere say little about one prompt."
            )
        )

    @property
    def density(self) -> float:
        """The value as a share; 1 at the right end, where everything is shown."""
        return float(10.0 ** (self.value() / 10 - 5))

    def show_density(self, density: float) -> None:
        """Move to a density without telling anyone."""
        self.blockSignals(True)
        self.setValue(round(10 * (math.log10(density) + 5)))
        self.blockSignals(False)


class ViewStrip(QWidget):
    """Sliders with a live read-out; where they come to rest is kept with the trace."""

    def __init__(self, session: Session, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.influence = ThresholdSlider(
            "Influence kept", "Shows the strongest nodes that together hold this share of the influence on the output."
        )
        self.edges = ThresholdSlider(
            "Edges kept", "Shows the strongest edges that together hold this share of the effects between shown nodes."
        )
        self.density = DensitySlider()
        self.influence_value, self.edges_value, self.density_value = PlainLabel(), PlainLabel(), PlainLabel()
        self.hide_errors = QCheckBox("Hide errors")
        self.hide_errors.setToolTip("Hide the nodes that stand for what the dictionary misses")
        self.hide_bos = QCheckBox("Hide BOS")
        self.hide_bos.setToolTip("Hide the nodes at the start token")
        self.readout = MutedLabel()
        self.readout.setObjectName("view-readout")
        buttons = []
        for command in STRIP_COMMANDS:
            button = QToolButton()
            button.setDefaultAction(registry.action(command))
            button.setAccessibleName(registry.action(command).command.words)
            buttons.append(button)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 4, 8, 4)
        parts = FlowRow(gap=8)
        for widgets in (
            buttons,
            (MutedLabel("Influence"), self.influence, self.influence_value),
            (MutedLabel("Edges"), self.edges, self.edges_value),
        ):
            parts.flow.addWidget(together(*widgets))
        self._density_part = together(MutedLabel("Density"), self.density, self.density_value)
        parts.flow.addWidget(self._density_part)
        parts.flow.addWidget(together(self.hide_errors, self.hide_bos))
        self.readout.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.readout.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        parts.flow.addWidget(self.readout)
        row.addWidget(parts)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(session.keep_view)
        self.influence.valueChanged.connect(self._moved)
        self.edges.valueChanged.connect(self._moved)
        self.density.valueChanged.connect(self._moved)
        self.hide_errors.toggled.connect(self._moved)
        self.hide_bos.toggled.connect(self._moved)
        session.traceChanged.connect(self._show)
        session.viewChanged.connect(self._show)
        session.densityChanged.connect(self._show)
        self._show()

    @Slot()
    def _moved(self) -> None:
        self.session.set_view(
            node_threshold=self.influence.share,
            edge_threshold=self.edges.share,
            hide_errors=self.hide_errors.isChecked(),
            hide_bos=self.hide_bos.isChecked(),
            density=self.density.density,
        )
        self._rest.start()

    def commit(self) -> None:
        """Keep the sliders now: another trace or the end is near."""
        if self._rest.isActive():
            self._rest.stop()
            self.session.keep_view()

    @Slot()
    def _show(self) -> None:
        session = self.session
        settings, view, graph = session.settings, session.view, session.graph
        self.setEnabled(graph is not None)
        self.influence.show_share(settings.node_threshold)
        self.edges.show_share(settings.edge_threshold)
        self.influence_value.setText(f"{100 * settings.node_threshold:.1f} %")
        self.edges_value.setText(f"{100 * settings.edge_threshold:.1f} %")
        self.density.show_density(settings.density)
        self.density_value.setText(f"≤ {100 * settings.density:.2g} %")
        self.density_value.setVisible(settings.density < 1)  # at its end the slider hides nothing
        self._density_part.setVisible(session.density is not None)
        for box, on in ((self.hide_errors, settings.hide_errors), (self.hide_bos, settings.hide_bos)):
            box.blockSignals(True)
            box.setChecked(on)
            box.blockSignals(False)
        has_errors = graph is not None and bool((graph.kind == 1).any())
        self.hide_errors.setVisible(has_errors or settings.hide_errors)
        if graph is None or view is None:
            self.readout.setText("")
            return
        self.readout.setText(
            f"{int(view.nodes.sum()):,} of {graph.n_nodes:,} nodes, explains {100 * view.explained:.0f} %"
        )
        measure = "relevance" if graph.measure == "relevance" else "influence"
        words = (
            f"{int(view.edges.sum()):,} of {graph.n_edges:,} edges are in view. The shown nodes hold "
            f"{100 * view.explained:.1f} % of the {measure} of all nodes in this graph."
        )
        self.readout.setToolTip(tip(words))
