"""Many prompts on an existing Ray cluster: each worker loads the model once and traces what it is handed.

Only this process writes the project; Ray (the extra `ray`) does the scheduling, the transport and the restarts.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import LoupeError, MachineError, RequestError
from engine.progress import checkpoint
from engine.projects.study import Tracer
from engine.tracing.spec import TraceSpec

if TYPE_CHECKING:
    from engine.tracing.run import Trace

LOCAL = "local"
CPUS_OF_ONE = 4  # cores of a worker, where a node has so many
_WAIT_SECONDS = 0.25


@dataclass(frozen=True)
class WorkerPlan:
    """What every worker loads; a path must be there on every node. `source` None is the starter."""

    source: str | None
    features: str
    trust: bool = False
    device: str = "auto"
    dtype: str = "float32"


class Worker:
    """Runs in a process of the cluster."""

    def __init__(self, plan: WorkerPlan) -> None:
        from engine.dictionaries import load_features
        from engine.models import load_model

        self.model = load_model(plan.source, device=plan.device, dtype=plan.dtype)
        self.features = load_features(plan.features, self.model, trust=plan.trust)

    def trace(self, number: int, spec: TraceSpec) -> tuple[int, Trace | str]:
        """A trace, or the sentence that refuses it."""
        from engine.tracing.run import trace

        try:
            return number, trace(self.model, self.features, spec)
        except LoupeError as error:
            return number, error.sentence


def over_ray(address: str, plan: WorkerPlan, cancel: threading.Event | None = None) -> Tracer:
    """Share specs out over the cluster at `address` ("local": one on this machine, for as long as it takes).

    Raises
    ------
    RequestError
        Ray is not installed.
    MachineError
        No cluster answers there, or its workers cannot load the model.
    """
    try:
        import ray
    except ImportError as error:
        raise RequestError(
            'Ray is not installed; run `pip install "circuit-loupe[ray]"`, or leave --ray out to trace here.'
        ) from error

    def run(specs: Sequence[TraceSpec]) -> Iterator[tuple[TraceSpec, Trace | str]]:
        if not specs:
            return
        try:
            ray.init(address=None if address == LOCAL else address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise MachineError(f"No Ray cluster answers at {address}; start one with `ray start --head`.") from error
        try:
            yield from _shared_out(ray, plan, specs, cancel)
        except ray.exceptions.RayError as error:
            why = str(error).strip().splitlines()
            raise MachineError(
                f"The Ray cluster's workers failed ({why[-1][:200] if why else type(error).__name__}); check that the "
                "program, the model and the dictionary are on every node."
            ) from error
        finally:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.shutdown()

    return run


def _shared_out(
    ray: Any, plan: WorkerPlan, specs: Sequence[TraceSpec], cancel: threading.Event | None
) -> Iterator[tuple[TraceSpec, Trace | str]]:
    """As many workers as the cluster has room for; each gets its next spec when it hands one back."""
    resources = ray.cluster_resources()
    cpus = max(1, min(CPUS_OF_ONE, int(resources.get("CPU", 1))))
    gpus = int(resources.get("GPU", 0)) if plan.device in ("auto", "cuda") else 0
    room = gpus or int(resources.get("CPU", 1)) // cpus
    kind = ray.remote(num_cpus=cpus, num_gpus=1 if gpus else 0)(Worker)
    workers = [kind.remote(plan) for _ in range(max(1, min(room, len(specs))))]
    waiting = iter(enumerate(specs))
    running = {}
    for worker in workers:
        number, spec = next(waiting)
        running[worker.trace.remote(number, spec)] = worker
    while running:
        checkpoint(cancel)
        done, _ = ray.wait(list(running), timeout=_WAIT_SECONDS)
        for reference in done:
            worker = running.pop(reference)
            following = next(waiting, None)
            if following is not None:
                running[worker.trace.remote(*following)] = worker
            number, outcome = ray.get(reference)
            yield specs[number], outcome
