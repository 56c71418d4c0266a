"""The circuit: what a person pinned and grouped, drawn, measured, followed along its paths, and added to."""

from __future__ import annotations

from app.circuit.choice import CircuitChoice
from app.circuit.desk import CircuitDesk
from app.circuit.page import CircuitPage

__all__ = ["CircuitChoice", "CircuitDesk", "CircuitPage"]
