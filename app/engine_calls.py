"""What the window asks of the engine: functions for the engine thread. Torch is imported at call time only."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.errors import RequestError
from engine.preferences import read_preferences
from engine.progress import Progress
from engine.tracing.spec import Prompt, TraceSpec

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from engine.dictionaries.features import Features
    from engine.graphs import AttributionGraph
    from engine.graphs.formats import GraphFile
    from engine.interventions.case import Case
    from engine.models.language_model import LanguageModel
    from engine.models.tokens import ModelTokenizer
    from engine.projects import Asked, Project, Rerun
    from engine.tracing import Trace

NEURONS = "neurons"


@dataclass(frozen=True)
class LoadedModel:
    """What the window may know of a loaded model: plain values, and the tokenizer, which is cheap and thread-safe."""

    source: str
    name: str
    fingerprint: str
    device: str
    dtype: str
    n_layers: int
    tokenizer: ModelTokenizer


@dataclass(frozen=True)
class LoadedFeatures:
    """What the window may know of a loaded dictionary."""

    source: str
    name: str


@dataclass(frozen=True)
class NextToken:
    """One candidate for the next token, or one token that was generated."""

    token_id: int
    text: str
    probability: float


@dataclass(frozen=True)
class Effects:
    """What a feature writes, read through the final norm and the unembedding: (token text, value) pairs."""

    top: tuple[tuple[str, float], ...]
    bottom: tuple[tuple[str, float], ...]

    def as_json(self) -> dict[str, Any]:
        """The form a project keeps."""
        return {"top": [list(pair) for pair in self.top], "bottom": [list(pair) for pair in self.bottom]}

    def turned(self) -> Effects:
        """The same for a feature whose activation is negative: it lowers what a unit of it would raise."""
        return Effects(tuple((t, -v) for t, v in self.bottom), tuple((t, -v) for t, v in self.top))

    @classmethod
    def from_json(cls, stored: Any) -> Effects | None:
        """What a project kept, or None where it is not of this form."""
        try:
            top, bottom = (tuple((str(t), float(v)) for t, v in stored[key]) for key in ("top", "bottom"))
        except (KeyError, TypeError, ValueError):
            return None
        return cls(top, bottom)


@dataclass(frozen=True)
class DownloadFacts:
    """What a download would bring, in bytes: in all, not here yet, and free on the disk; and how many files."""

    total: int
    missing: int
    free: int
    files: int


@dataclass(frozen=True)
class Directions:
    """What the feature nodes of one graph write, (F, d) of length 1, and what they were read for."""

    source: str
    layer: NDArray[np.int32]  # the graph's own columns: another graph has others
    model: LanguageModel
    unit: NDArray[np.float32]


class EngineState:
    """The model and the dictionary in memory. Touched by the engine thread only."""

    def __init__(self) -> None:
        self.model: LanguageModel | None = None
        self.features: Features | None = None
        self.features_source: str | None = None
        # Directions of the features of one graph, by what they were read for: the next node needs the same ones.
        self.directions: Directions | None = None
        # The traced prompt that experiments were last made on, by what was asked of its trace.
        self.case: tuple[Asked, Case] | None = None

    def require(self) -> LanguageModel:
        """The loaded model; RequestError without one."""
        if self.model is None:
            raise RequestError("No model is loaded; choose one above the prompt.")
        return self.model


def leave_a_core() -> None:
    """Keep one core for painting; the number of threads belongs to the thread that calls torch."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))


def open_model(state: EngineState, source: str, progress: Progress, cancel: threading.Event) -> LoadedModel:
    """Load a model in place of the one there is. The old one is let go first, so that memory holds one at a time."""
    leave_a_core()
    from engine.models.loading import load_model

    state.model = state.features = state.features_source = state.directions = state.case = None
    model = load_model(source, device=read_preferences().device, progress=progress, cancel=cancel)
    state.model = model
    return LoadedModel(
        source=source,
        name=model.name,
        fingerprint=model.fingerprint,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        n_layers=int(model.weights.n_layers),
        tokenizer=model.tokenizer,
    )


def open_features(
    state: EngineState, source: str, trust: bool, progress: Progress, cancel: threading.Event
) -> LoadedFeatures:
    """Load a dictionary for the loaded model."""
    features = loaded_features(state, source, trust, progress, cancel)
    return LoadedFeatures(source, str(features.name))


def loaded_features(
    state: EngineState, source: str, trust: bool, progress: Progress, cancel: threading.Event
) -> Features:
    """The dictionary in memory; loaded first where it is not yet."""
    from engine.dictionaries import load_features

    model = state.require()
    if state.features is None or state.features_source != source:
        state.features = state.case = None
        state.features = load_features(source, model, trust=trust, progress=progress, cancel=cancel)
        state.features_source = source
    return state.features


def next_tokens(
    state: EngineState, ids: tuple[int, ...], count: int, progress: Progress, cancel: threading.Event
) -> tuple[NextToken, ...]:
    """The `count` likeliest next tokens."""
    found = state.require().top_tokens(ids, count)
    return tuple(NextToken(int(token.id), str(token.text), float(token.probability)) for token in found)


def generate(
    state: EngineState, ids: tuple[int, ...], count: int, progress: Progress, cancel: threading.Event
) -> tuple[NextToken, ...]:
    """Continue the prompt greedily by at most `count` tokens."""
    found = state.require().generate(ids, count, progress=progress, cancel=cancel)
    return tuple(NextToken(int(token.id), str(token.text), float(token.probability)) for token in found)


def run_trace(
    state: EngineState,
    spec: TraceSpec,
    features: str,
    trust: bool,
    on_graph: Callable[[AttributionGraph], None],
    progress: Progress,
    cancel: threading.Event,
) -> Trace:
    """Trace one prompt; the dictionary is loaded first where it is not yet. Stopped midway, it keeps what it found.

    `on_graph` is given the graph as it grows, in the engine's thread.
    """
    from engine.progress import part
    from engine.tracing import trace

    dictionary = loaded_features(state, features, trust, part(progress, 0.0, 0.05), cancel)
    step = part(progress, 0.05, 1.0)
    return trace(state.require(), dictionary, spec, progress=step, cancel=cancel, keep_partial=True, on_graph=on_graph)


@dataclass(frozen=True)
class SeriesSoFar:
    """What a series of traces has found: the answer's tokens, and each finished trace's number and graph."""

    answer: tuple[NextToken, ...]
    stored: tuple[tuple[int, AttributionGraph], ...] = ()


def run_series(
    state: EngineState,
    project: Project,
    spec: TraceSpec,
    features: str,
    trust: bool,
    answer: tuple[NextToken, ...] | int,
    tell: Callable[[SeriesSoFar], None],
    progress: Progress,
    cancel: threading.Event,
) -> SeriesSoFar:
    """Trace each token of an answer, or of one of so many tokens that is generated first.

    Every trace is in the project as soon as it is done, so that nothing is lost when the rest is cancelled; `tell` is
    given all that is there, in the engine's thread.
    """
    from engine.graphs.titles import trace_title
    from engine.progress import checkpoint, part
    from engine.projects import Asked
    from engine.tracing.series import trace_series

    dictionary = loaded_features(state, features, trust, part(progress, 0.0, 0.05), cancel)
    ids = tuple(state.require().tokenizer.encode(spec.prompt))
    if isinstance(answer, int):
        answer = generate(state, ids, answer, part(progress, 0.05, 0.1), cancel)
    so_far = SeriesSoFar(answer)
    tell(so_far)
    tokens = [token.token_id for token in answer]
    for trace in trace_series(state.require(), dictionary, spec, tokens, part(progress, 0.1, 1.0), cancel):
        checkpoint(cancel)
        done = len(so_far.stored)
        said = spec.prompt.text + "".join(token.text for token in answer[:done])
        title = trace_title(said, [answer[done].text])
        number = project.add_trace(trace.report, trace.graph, title=title, asked=Asked(trace.spec, features))
        warm(trace.graph)
        so_far = SeriesSoFar(answer, (*so_far.stored, (number, trace.graph)))
        tell(so_far)
    return so_far


def read_trace(
    project: Project, traces: tuple[int, ...], progress: Progress, cancel: threading.Event
) -> dict[int, AttributionGraph]:
    """Read traces, ready to be drawn, so that the window does not wait for it."""
    from engine.progress import checkpoint

    found = {}
    for done, trace in enumerate(traces):
        checkpoint(cancel)
        progress("Reading the graph", done / len(traces))
        found[trace] = project.load_graph(trace)
        warm(found[trace])
    return found


def rerun_trace(
    state: EngineState, project: Project, trace: int, features: str, progress: Progress, cancel: threading.Event
) -> Rerun:
    """Trace again what a project kept, with the loaded model, and compare; nothing is written."""
    from engine.progress import part
    from engine.projects import rerun

    dictionary = loaded_features(state, features, False, part(progress, 0.0, 0.05), cancel)
    return rerun(project, trace, state.require(), dictionary, part(progress, 0.05, 1.0), cancel)


def warm(graph: AttributionGraph) -> None:
    """Work out what drawing needs of a graph: it keeps it."""
    _ = graph.share
    if graph.n_nodes:
        graph.outputs(0)


def feature_effects(
    state: EngineState, features: str, layer: int, feature: int, progress: Progress, cancel: threading.Event
) -> Effects:
    """Top and bottom logits of one feature."""
    from engine.evidence import logit_effects

    dictionary = loaded_features(state, features, False, progress, cancel)
    found = logit_effects(state.require(), dictionary, layer, feature, k=10)
    top, bottom = (tuple((str(text), float(value)) for text, value in side) for side in (found.top, found.bottom))
    return Effects(top, bottom)


def decoder_likeness(
    state: EngineState,
    source: str,
    graph: AttributionGraph,
    row: int,
    progress: Progress,
    cancel: threading.Event,
) -> NDArray[np.float32]:
    """(F,) cosines of one feature node's decoder with those of every feature node of a graph, in their order.

    `row` is the node's place among the graph's feature nodes.
    """
    from engine.evidence import unit_decoders
    from engine.graphs import NodeKind

    model, known = state.require(), state.directions
    if known is None or known.source != source or known.layer is not graph.layer or known.model is not model:
        dictionary = loaded_features(state, source, False, progress, cancel)
        nodes = graph.of_kind(NodeKind.FEATURE)
        unit = unit_decoders(model, dictionary, graph.layer[nodes], graph.feature[nodes], progress, cancel)
        known = state.directions = Directions(source, graph.layer, model, unit)
    found: NDArray[np.float32] = known.unit @ known.unit[row]
    return found


def written_by(
    state: EngineState,
    source: str,
    graph: AttributionGraph,
    nodes: Sequence[int],
    progress: Progress,
    cancel: threading.Event,
) -> NDArray[np.float32]:
    """(n, d) unit vectors of what feature nodes write here: their decoders, turned where they are active negatively."""
    import numpy as np

    from engine.evidence import unit_decoders

    dictionary, chosen = loaded_features(state, source, False, progress, cancel), list(nodes)
    unit = unit_decoders(state.require(), dictionary, graph.layer[chosen], graph.feature[chosen], progress, cancel)
    turned: NDArray[np.float32] = unit * np.where(graph.activation[chosen] < 0, -1, 1).astype(np.float32)[:, None]
    return turned


def ask_download_size(entry_id: str, progress: Progress, cancel: threading.Event) -> DownloadFacts:
    """Ask the hub how large a published entry is. Goes to the network; writes nothing."""
    from engine.models.downloads import download_size

    size = download_size(entry_id, cancel=cancel)
    return DownloadFacts(size.total_bytes, size.missing_bytes, size.free_bytes, size.files)


def download_entry(entry_id: str, progress: Progress, cancel: threading.Event) -> str:
    """Fetch a published model or dictionary; gives its folder. Goes to the network."""
    from engine.models.downloads import download

    return str(download(entry_id, progress, cancel))


def read_graph(path: Path, progress: Progress, cancel: threading.Event) -> GraphFile:
    """Read a graph file of any form; no model is needed, but a large file takes a while."""
    from engine.graphs.formats import read_graph_file

    progress(f"Reading {path.name}", 0.0)
    return read_graph_file(path)


def prompt_ids(model: LoadedModel, prompt: Prompt) -> tuple[int, ...]:
    """The tokens of a prompt; cheap, called by the window itself."""
    return tuple(int(i) for i in model.tokenizer.encode(prompt))


def bind(function: Any, *arguments: Any) -> Any:
    """A job from one of the functions above: what is left are `progress` and `cancel`."""
    return partial(function, *arguments)
