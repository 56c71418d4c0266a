"""Experiments: change nodes, measure what follows beside what the graph predicts, and know whether to believe it."""

from __future__ import annotations

from app.experiments.desk import ExperimentDesk
from app.experiments.page import ExperimentPage

__all__ = ["ExperimentDesk", "ExperimentPage"]
