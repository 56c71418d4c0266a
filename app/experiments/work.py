"""What experiments ask of the engine's thread: plain functions, without Qt. Torch is imported at call time only."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from app.engine_calls import EngineState, loaded_features
from app.experiments.draft import Draft
from engine.progress import Progress, part
from engine.projects import Asked

if TYPE_CHECKING:
    from engine.graphs import AttributionGraph
    from engine.interventions.baselines import Ablation
    from engine.interventions.case import Case
    from engine.interventions.circuit_evidence import Errors
    from engine.interventions.circuit_search import Method
    from engine.interventions.kept import Record
    from engine.interventions.sweeps import Over

FeatureAt = tuple[int, int, int]
# Of a job, what opening the prompt takes.
OPENING = 0.15


def open_case(state: EngineState, asked: Asked, progress: Progress, cancel: threading.Event) -> Case:
    """The traced prompt, run and read with its dictionary; the last one is remembered."""
    from engine.interventions.case import open_case as open_new

    if state.case is not None and state.case[0] == asked:
        return state.case[1]
    state.case = None  # the one before may go first
    # The graph was made with this dictionary: whoever insisted on it need not insist again.
    features = loaded_features(state, asked.features, True, part(progress, 0, 0.3), cancel)
    case = open_new(state.require(), features, asked.spec, part(progress, 0.3, 1), cancel)
    state.case = (asked, case)
    return case


def run_change(
    state: EngineState,
    asked: Asked,
    draft: Draft,
    watched: tuple[FeatureAt, ...],
    title: str,
    progress: Progress,
    cancel: threading.Event,
) -> Record:
    """Change what the draft says, predict, measure, and compare with random changes that are like it."""
    from engine.interventions.experiment import ExperimentSpec, record_experiment, run_experiment

    case = open_case(state, asked, part(progress, 0, OPENING), cancel)
    spec = ExperimentSpec(draft.changes, draft.settings, watched, draft.controls, draft.seed)
    result = run_experiment(case, spec, part(progress, OPENING, 1), cancel)
    return record_experiment(case, spec, result, asked.features, title)


def continue_text(
    state: EngineState, asked: Asked, draft: Draft, title: str, progress: Progress, cancel: threading.Event
) -> Record:
    """Continue the prompt without the changes and with them."""
    from engine.interventions.continued import ContinuedSpec, continue_both, record_continued

    case = open_case(state, asked, part(progress, 0, OPENING), cancel)
    spec = ContinuedSpec(draft.changes, draft.settings, draft.tokens, draft.seeds, draft.temperature)
    result = continue_both(case, spec, part(progress, OPENING, 1), cancel)
    return record_continued(case, spec, result, asked.features, title)


def test_circuit(
    state: EngineState,
    asked: Asked,
    draft: Draft,
    other: tuple[int, ...] | None,
    features: tuple[FeatureAt, ...],
    graph: AttributionGraph,
    title: str,
    progress: Progress,
    cancel: threading.Event,
) -> Record:
    """Ablate a circuit, everything else of its graph, and random sets."""
    from engine.interventions.circuit_evidence import CircuitSpec, examine_circuit, record_circuit
    from engine.interventions.circuit_search import universe_of

    case = open_case(state, asked, part(progress, 0, OPENING), cancel)
    spec = CircuitSpec(
        features,
        universe_of(case, graph),
        cast("Ablation", draft.ablation),
        other,
        cast("Errors", draft.errors if case.features.has_errors else "kept"),
        controls=draft.controls,
        seed=draft.seed,
    )
    result = examine_circuit(case, spec, part(progress, OPENING, 1), cancel)
    return record_circuit(case, spec, result, asked.features, title)


def search_circuit(
    state: EngineState,
    asked: Asked,
    draft: Draft,
    other: tuple[int, ...] | None,
    graph: AttributionGraph,
    title: str,
    progress: Progress,
    cancel: threading.Event,
) -> Record:
    """Look for the smallest part of a graph's features that keeps a share of the behaviour."""
    from engine.interventions.circuit_search import SearchSpec, find_circuit, record_search, universe_of

    case = open_case(state, asked, part(progress, 0, OPENING), cancel)
    spec = SearchSpec(
        universe_of(case, graph),
        draft.share,
        cast("Method", draft.method),
        cast("Ablation", draft.ablation),
        other,
        cast("Errors", draft.errors if case.features.has_errors else "kept"),
        seed=draft.seed,
    )
    result = find_circuit(case, spec, part(progress, OPENING, 1), cancel)
    return record_search(case, spec, result, asked.features, title)


def sweep_change(
    state: EngineState,
    asked: Asked,
    draft: Draft,
    over: Over,
    title: str,
    progress: Progress,
    cancel: threading.Event,
) -> Record:
    """Run the changes at many doses, or with many ranges of layers held."""
    from engine.interventions.sweeps import SweepSpec, record_sweep, sweep

    case = open_case(state, asked, part(progress, 0, OPENING), cancel)
    settings = replace(draft.settings, layers=None) if over == "layers" else draft.settings
    spec = SweepSpec(draft.changes, over, settings)
    return record_sweep(case, spec, sweep(case, spec, part(progress, OPENING, 1), cancel), asked.features, title)


def run_on_paraphrases(
    state: EngineState, asked: Asked, draft: Draft, title: str, progress: Progress, cancel: threading.Event
) -> Record:
    """Make the same change on the prompt and on its paraphrases."""
    from engine.interventions.paraphrases import ParaphrasesSpec, on_paraphrases, record_paraphrases
    from engine.models.prompt import Prompt

    case = open_case(state, asked, part(progress, 0, OPENING), cancel)
    said = asked.spec.prompt
    encode = case.model.tokenizer.encode
    prompts = tuple(
        # Token ids given directly had no BOS added; a paraphrase is text.
        tuple(encode(Prompt(text) if said.token_ids is not None else replace(said, text=text)))
        for text in draft.paraphrases
    )
    spec = ParaphrasesSpec(draft.changes, prompts, draft.settings, draft.controls, draft.seed)
    result = on_paraphrases(case, spec, part(progress, OPENING, 1), cancel)
    return record_paraphrases(case, spec, result, asked.features, title)


def measure_groups(
    state: EngineState,
    asked: Asked,
    draft: Draft,
    names: tuple[str, ...],
    groups: tuple[tuple[FeatureAt, ...], ...],
    title: str,
    progress: Progress,
    cancel: threading.Event,
) -> Record:
    """What each group of features does to each other one."""
    from engine.interventions.matrix import MatrixSpec, group_effects, record_matrix

    case = open_case(state, asked, part(progress, 0, OPENING), cancel)
    spec = MatrixSpec(names, groups, replace(draft.settings, layers=None))
    result = group_effects(case, spec, part(progress, OPENING, 1), cancel)
    return record_matrix(case, spec, result, asked.features, title)


def verify(
    state: EngineState,
    asked: Asked,
    graph: AttributionGraph,
    conservation: float,
    seed: int,
    controls: int,
    title: str,
    progress: Progress,
    cancel: threading.Event,
) -> Record:
    """Verify a graph against the model it was made of."""
    from engine.interventions.verify import VerifySpec, record_verify, verify_graph

    case = open_case(state, asked, part(progress, 0, OPENING), cancel)
    spec = VerifySpec(seed=seed, controls=controls)
    result = verify_graph(case, graph, conservation, spec, part(progress, OPENING, 1), cancel)
    return record_verify(case, spec, result, asked.features, title)


@dataclass(frozen=True)
class Again:
    """An experiment that was run once more, and whether its result held."""

    record: Record
    held: bool
    sentence: str


def run_again(
    state: EngineState,
    asked: Asked,
    kind: str,
    title: str,
    settings: dict[str, Any],
    before: dict[str, Any],
    progress: Progress,
    cancel: threading.Event,
) -> Again:
    """Do what the project kept once more, and compare."""
    from engine.interventions.again import run_again

    case = open_case(state, asked, part(progress, 0, OPENING), cancel)
    record = run_again(case, kind, settings, title, part(progress, OPENING, 1), cancel)
    return _compared(kind, before, record)


def verify_again(
    state: EngineState,
    asked: Asked,
    graph: AttributionGraph,
    conservation: float,
    seed: int,
    controls: int,
    title: str,
    before: dict[str, Any],
    progress: Progress,
    cancel: threading.Event,
) -> Again:
    """Verify a graph once more, and compare."""
    return _compared(
        "verify", before, verify(state, asked, graph, conservation, seed, controls, title, progress, cancel)
    )


def _compared(kind: str, before: dict[str, Any], record: Record) -> Again:
    from engine.interventions.again import compare

    found = compare(kind, before, record.result)
    return Again(record, found.held, found.sentence)
