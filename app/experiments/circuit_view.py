"""Whether a circuit is needed and enough: its four numbers, and its place among random sets."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QTabWidget, QWidget

from app.experiments.change_view import Controls
from app.experiments.tables import Figures
from app.experiments.words import probability_words
from app.reading import number

FULL = "The watched number with nothing ablated but the error nodes, where those are ablated."
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
        self.facts = Figures("The circuit’s figures", ("", "Watched", "Probability"))
        self.necessity, self.sufficiency = Controls(), Controls()
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.necessity, "Needed")
        self.tabs.addTab(self.sufficiency, "Enough")
        self.tabs.setTabToolTip(0, "How far the watched number falls without the circuit, beside random sets like it")
        self.tabs.setTabToolTip(1, "What the circuit keeps alone, beside random parts of the graph as large")
        self.addWidget(self.facts)
        self.addWidget(self.tabs)
        self.setSizes([260, 300])

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
        self.necessity.show_controls(result["necessity"])
        self.sufficiency.show_controls(result["sufficiency"])
