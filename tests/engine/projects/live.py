"""Live traces of a tiny model, for tests that need what tracing really writes, many times a second."""

from __future__ import annotations

from typing import Any

import torch

from engine.projects import Asked, Project, rerun
from engine.tracing import Trace, trace
from engine.tracing.spec import Prompt, Target, TraceSpec
from tests.engine.tracing.tiny_models import features_of, tiny_model

FAMILY, KIND = "llama", "relu"


def prepare() -> None:
    """Make the model, in one thread: what is forked afterwards may trace, too."""
    torch.set_num_threads(1)
    trace_live(0)


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
