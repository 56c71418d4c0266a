"""Whether a circuit is needed and enough: its four numbers, and its place among random sets."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QTabWidget, QWidget

from app.experiments.change_view import Controls
from app.experiments.plots import Lines
from app.experiments.tables import Figures
from app.experiments.words import probability_words
from app.panels.plain import tip
from app.reading import number

FULL = "The watched number with nothing ablated but the error nodes, where those are ablated."
CURVES_TIP = (
    "How much of the behaviour is kept when only so many features stay (strong line: faithfulness), and when only so "
    "many are taken away (the other: completeness). The circuit’s own come first, then the rest of the graph."
)
TIPS = {
    "the model": FULL,
    "without the circuit": "Every feature of the circuit ablated, everything else as it is.",
    "the circuit alone": "Every feature of the graph ablated but those of the circuit.",
    "nothing left": "Every feature of the graph ablated.",
    "faithfulness": "(circuit alone − nothing left) / (the model − nothing left): 100 % keeps all of the behaviour.",
    "completeness": "The same of what is left without the circuit: near 0 % where the circuit is all there is.",
}


class CircuitView(QSplitter):
    """The table, and the controls of necessity and of sufficiency."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setChildrenCollapsible(False)
        self.facts = Figures("The circuit’s figures", ("", "Watched", "Probability"), whole_names=True)
        self.necessity, self.sufficiency = Controls(), Controls()
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.necessity, "Needed")
        self.tabs.addTab(self.sufficiency, "Enough")
        self.plot = Lines("Faithfulness and completeness by size", "features", "of the behaviour")
        self.plot.setToolTip(tip(CURVES_TIP))
        self.tabs.addTab(self.plot, "Curves")
        self.tabs.setTabToolTip(2, CURVES_TIP)
        self.tabs.setTabToolTip(0, "How far the watched number falls without the circuit, beside random sets like it")
        self.tabs.setTabToolTip(1, "What the circuit keeps alone, beside random parts of the graph as large")
        self.addWidget(self.facts)
        self.addWidget(self.tabs)
        self.setSizes([290, 290])

    def show_result(self, settings: dict[str, Any], result: dict[str, Any]) -> None:
        """Show what a project kept."""
        names = tuple(TIPS)
        values = [float(result[key]) for key in ("full", "without", "alone", "nothing")]
        shares = [result["probability"], result["probability_without"], result["probability_alone"], None]
        rows = [
            (name, number(value), "" if share is None else probability_words(float(share)))
            for name, value, share in zip(names, values, shares, strict=False)
        ]
        for name in ("faithfulness", "completeness"):
            value = result[name]
            rows.append((name, "–" if value is None else f"{float(value):.0%}", ""))
        rows.append(("features", f"{int(result['size']):,} of {int(result['universe']):,}", ""))
        self.facts.fill(rows, [*(TIPS[name] for name in names), "In the circuit, of those that were asked about"])
        curves = [curve_of(one, role) for one, role in zip(result["curves"], ("first", "second"), strict=True)]
        self.plot.show_curves(curves, level=1, logarithmic=True)
        self.necessity.show_controls(result["necessity"])
        self.sufficiency.show_controls(result["sufficiency"])


def curve_of(one: dict[str, Any], role: str) -> tuple[str, list[float], list[float], str]:
    """A curve without its beginning, which a logarithm has no place for."""
    pairs = zip(one["curve"]["sizes"], one["curve"]["values"], strict=True)
    shown = [(float(x), float(y)) for x, y in pairs if x and y is not None]
    return str(one["name"]), [x for x, _ in shown], [y for _, y in shown], role
