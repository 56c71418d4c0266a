"""Change features, error nodes, embeddings and heads of a recorded prompt, and run the model again.

What each mode holds constant, and what is compared with what: docs/interventions.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from engine.interventions.changes import Change, Elsewhere, Outcome, Settings, Watched, read_change

if TYPE_CHECKING:
    from engine.interventions.case import Case, Metric, open_case
    from engine.interventions.circuit_evidence import CircuitResult, CircuitSpec, examine_circuit
    from engine.interventions.circuit_search import SearchResult, SearchSpec, find_circuit, universe_of
    from engine.interventions.continuation import Continuation, Sampling, continue_changed
    from engine.interventions.experiment import ExperimentResult, ExperimentSpec, run_experiment
    from engine.interventions.run import intervene
    from engine.interventions.sweeps import SweepResult, SweepSpec, sweep
    from engine.interventions.verify import VerifyResult, VerifySpec, verify_graph

# What needs torch is loaded only when it is asked for.
_WHERE = {
    "Case": "case",
    "CircuitResult": "circuit_evidence",
    "CircuitSpec": "circuit_evidence",
    "Continuation": "continuation",
    "ExperimentResult": "experiment",
    "ExperimentSpec": "experiment",
    "Metric": "case",
    "Sampling": "continuation",
    "SearchResult": "circuit_search",
    "SearchSpec": "circuit_search",
    "SweepResult": "sweeps",
    "SweepSpec": "sweeps",
    "VerifyResult": "verify",
    "VerifySpec": "verify",
    "continue_changed": "continuation",
    "examine_circuit": "circuit_evidence",
    "find_circuit": "circuit_search",
    "intervene": "run",
    "open_case": "case",
    "run_experiment": "experiment",
    "sweep": "sweeps",
    "universe_of": "circuit_search",
    "verify_graph": "verify",
}

__all__ = [
    "Case",
    "Change",
    "CircuitResult",
    "CircuitSpec",
    "Continuation",
    "Elsewhere",
    "ExperimentResult",
    "ExperimentSpec",
    "Metric",
    "Outcome",
    "Sampling",
    "SearchResult",
    "SearchSpec",
    "Settings",
    "SweepResult",
    "SweepSpec",
    "VerifyResult",
    "VerifySpec",
    "Watched",
    "continue_changed",
    "examine_circuit",
    "find_circuit",
    "intervene",
    "open_case",
    "read_change",
    "run_experiment",
    "sweep",
    "universe_of",
    "verify_graph",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
