"""Live traces and experiments of a tiny model, for tests that need what is really written, many times a second."""

from __future__ import annotations

from typing import Any

import torch

from engine.graphs.graph import NodeKind
from engine.interventions.again import compare, run_again
from engine.interventions.case import Case, open_case
from engine.interventions.changes import Change
from engine.interventions.experiment import ExperimentSpec, record_experiment, run_experiment
from engine.interventions.kept import Record
from engine.projects import Asked, Project, rerun
from engine.tracing import Trace, trace
from engine.tracing.spec import Prompt, Target, TraceSpec
from tests.engine.tracing.tiny_models import features_of, tiny_model

FAMILY, KIND = "llama", "relu"


def prepare() -> None:
    """Make the model, in one thread: what is forked afterwards may trace, too."""
    torch.set_num_threads(1)
    experiment_live(0, trace_live(0))


def asked(number: int) -> Asked:
    """What is asked of a trace: another prompt and target for each number."""
    text = " ".join(str(2 + (number * step) % 37) for step in (1, 3, 5, 7, 11))
    return Asked(TraceSpec(Prompt(text), Target(token_id=2 + number % 37), max_nodes=60), KIND)


def trace_live(number: int) -> Trace:
    """Trace it."""
    model: Any = tiny_model(FAMILY)
    return trace(model, features_of(FAMILY, KIND), asked(number).spec, reuse=False)


def is_the_same(project: Project, number: int) -> bool:
    """Whether a kept trace still comes out as it is kept, from what the project holds of it alone."""
    model: Any = tiny_model(FAMILY)
    return rerun(project, number, model, features_of(FAMILY, KIND)).graph.same


def experiment_live(number: int, found: Trace) -> Record:
    """Ablate the feature of most influence in a trace, and measure what the model says then."""
    graph = found.graph
    node = int(graph.of_kind(NodeKind.FEATURE)[graph.influence[graph.of_kind(NodeKind.FEATURE)].argmax()])
    place = (int(graph.layer[node]), int(graph.position[node]), int(graph.feature[node]))
    spec = ExperimentSpec((Change("feature", *place, how="ablate"),))
    case = _case(number)
    return record_experiment(case, spec, run_experiment(case, spec), KIND, f"experiment {number}")


def holds(project: Project, experiment: int, number: int) -> bool:
    """Whether a kept experiment still comes out as it is kept, from what the project holds of it alone."""
    settings, result = project.experiments.settings(experiment), project.experiments.result(experiment)
    again = run_again(_case(number), "intervention", settings, "again")
    return compare("intervention", result, again.result).held


def _case(number: int) -> Case:
    model: Any = tiny_model(FAMILY)
    return open_case(model, features_of(FAMILY, KIND), asked(number).spec)
