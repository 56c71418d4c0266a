"""A graph for each generated token: traces along time, each over the prompt and what came before the token."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.dictionaries.features import Features
from engine.errors import RequestError
from engine.progress import Progress, checkpoint, part, silent
from engine.tracing.run import Trace, trace
from engine.tracing.spec import Prompt, Target, TraceSpec

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel


def trace_series(
    model: LanguageModel,
    features: Features,
    spec: TraceSpec,
    new_tokens: int | Sequence[int],
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Iterator[Trace]:
    """Trace each token that follows the prompt, one after the other; a trace is given as soon as it is there.

    `new_tokens` is how many to generate (greedily, fewer where the model ends its text), or the tokens themselves. A
    spec that names no target traces the token that came; one that does traces its own target at every step. Its
    position counts for neither: it is always the last. The traces taken stay valid when `Cancelled` is raised.

    Raises `RequestError` at once for a count below one, no tokens, a target that is a feature of one position, or a
    list of forced nodes, which would be the same for every prompt.
    """
    if (isinstance(new_tokens, int) and new_tokens < 1) or (not isinstance(new_tokens, int) and not len(new_tokens)):
        raise RequestError("A series needs at least one new token; ask for one or more.")
    if spec.target.feature is not None or spec.nodes is not None:
        raise RequestError("A feature or node list of one prompt cannot be traced along a series; choose tokens.")
    return _traces(model, features, spec, new_tokens, progress, cancel)


def _traces(
    model: LanguageModel,
    features: Features,
    spec: TraceSpec,
    new_tokens: int | Sequence[int],
    progress: Progress,
    cancel: threading.Event | None,
) -> Iterator[Trace]:
    ids, start = list(model.tokenizer.encode(spec.prompt)), 0.0
    if isinstance(new_tokens, int):
        start = 0.1
        generated = model.generate(ids, new_tokens, progress=part(progress, 0.0, start), cancel=cancel)
        coming = [token.id for token in generated]
    else:
        coming = [int(token) for token in new_tokens]
    step = (1 - start) / max(len(coming), 1)
    for done, token in enumerate(coming):
        checkpoint(cancel)
        prompt = Prompt(text=spec.prompt.text, token_ids=(*ids, *coming[:done]))
        own = replace(spec, prompt=prompt, target=_target(spec.target, token))
        stage = part(progress, start + done * step, start + (done + 1) * step)
        yield trace(model, features, own, stage, cancel)


def _target(asked: Target, token: int) -> Target:
    """The target of one step: the one asked for, or the token that came."""
    named = (asked.token, asked.token_id, asked.against, asked.against_id, asked.weighted, asked.direction)
    if any(one is not None for one in named):
        return replace(asked, position=-1)
    return replace(asked, token_id=token, position=-1)
