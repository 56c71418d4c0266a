"""What the window asks of the engine about the meaning of features; torch is imported at call time only."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import MachineError
from engine.progress import Progress, part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.engine_calls import EngineState
    from engine.evidence.feature_index import FeatureIndex
    from engine.evidence.pages import Example
    from engine.evidence.published_pages import PublishedPages
    from engine.graphs import AttributionGraph

SHIPPED = ""  # instead of a folder: the text that comes with the program
_TEXT_SHARE = 0.1


def open_pages(
    dictionary: str | None, model: str | None, name: str, folder: str, progress: Progress, cancel: threading.Event
) -> tuple[FeatureIndex | PublishedPages | None, str]:
    """The index of a dictionary with a model, or published pages of a folder a person chose; ready, so that a page
    comes at once. Where there is none, beside it what to say of one that nearly fits.
    """
    from engine.evidence.index_places import find_index, why_no_index
    from engine.evidence.published_pages import PublishedPages

    if folder:
        return PublishedPages(Path(folder)), ""
    index = find_index(dictionary, model)
    if index is None:
        return None, why_no_index(dictionary, model, name) or ""
    index.warm()
    return index, ""


def make_index(state: EngineState, source: str, folder: str, progress: Progress, cancel: threading.Event) -> str:
    """Index a folder of texts, or the text that ships, for the loaded model; gives the index's path.

    What is done is kept: the same call goes on where it was stopped.
    """
    from app.engine_calls import loaded_features
    from engine.evidence.corpus import read_texts, shipped_texts
    from engine.evidence.identity import identity_of
    from engine.evidence.index_places import index_path, work_folder
    from engine.evidence.indexing import build_index

    model = state.require()
    features = loaded_features(state, source, False, part(progress, 0.0, 0.05), cancel)
    path = index_path(identity_of(model, features), f"{model.name}-{features.name}")
    step = part(progress, 0.05, _TEXT_SHARE)
    if folder == SHIPPED:
        corpus = shipped_texts(model.tokenizer, progress=step, cancel=cancel)
    else:
        corpus = read_texts(Path(folder), model.tokenizer, progress=step, cancel=cancel)
    # Each text has work of its own, so that another one may be tried in between.
    work = work_folder(path) / corpus.digest[:16]
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{path.parent} cannot be written ({error.strerror}); free it or mend that.") from error
    build_index(model, features, corpus, path, None, part(progress, _TEXT_SHARE, 1.0), cancel, work=work)
    shutil.rmtree(work.parent, ignore_errors=True)
    return str(path)


def active_together(
    path: str, graph: AttributionGraph, nodes: Sequence[int], progress: Progress, cancel: threading.Event
) -> NDArray[np.float64]:
    """(n, n) how alike nodes are by when their features are active, nan where the index does not say."""
    from engine.evidence.likeness import likeness_of

    chosen = list(nodes)
    layer, feature, activation = (column[chosen].tolist() for column in (graph.layer, graph.feature, graph.activation))
    return likeness_of(Path(path), layer, feature, activation, progress, cancel)


def own_text(
    state: EngineState, source: str, layer: int, feature: int, text: str, progress: Progress, cancel: threading.Event
) -> Example:
    """What a feature does on a text that was typed."""
    from app.engine_calls import loaded_features
    from engine.evidence.own_text import try_text

    features = loaded_features(state, source, False, progress, cancel)
    return try_text(state.require(), features, layer, feature, text, cancel)
