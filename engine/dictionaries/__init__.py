"""Where features come from: the model's own neurons, or transcoders read from files."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from engine.errors import RequestError
from engine.progress import Progress, part, silent

if TYPE_CHECKING:
    from engine.dictionaries.features import Features, LayerFeatures
    from engine.dictionaries.transcoder_set import TranscoderFeatures
    from engine.models.language_model import LanguageModel
    from engine.models.weights import ModelWeights

__all__ = ["NEURONS", "Features", "LayerFeatures", "formats", "load_features"]

# What `load_features` is given for the model's own neurons.
NEURONS = "neurons"


class Format(Protocol):
    """A module that reads one layout of files."""

    def matches(self, path: Path) -> bool:
        """Whether the files there are of this layout, by their tensors' names."""

    def read(
        self, path: Path, weights: ModelWeights, progress: Progress, cancel: threading.Event | None
    ) -> TranscoderFeatures:
        """Read them for a model; `RequestError` with what does not fit."""


def formats() -> dict[str, Format]:
    """Every layout that is read, by the name people know it under."""
    from engine.dictionaries import (
        circuit_tracer_cross_layer,
        circuit_tracer_files,
        crosslayer_coding,
        gemma_scope,
        gemma_scope_2,
        saelens_files,
        sparsify_files,
    )

    modules = {
        "circuit-tracer": circuit_tracer_files,
        "circuit-tracer cross-layer": circuit_tracer_cross_layer,
        "Gemma Scope": gemma_scope,
        "Gemma Scope 2": gemma_scope_2,
        "SAELens": saelens_files,
        "sparsify and clt-training": sparsify_files,
        "crosslayer-coding": crosslayer_coding,
    }
    return cast(dict[str, Format], modules)


def load_features(
    source: str | Path | None,
    model: LanguageModel,
    *,
    trust: bool = False,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Features:
    """Open a dictionary for a model: None or "neurons", files in a layout of `formats`, a starter's or a published id.

    A dictionary that fits the model worse than a constant does is refused, unless `trust` (docs/dictionaries.md).

    Raises
    ------
    RequestError
        Nothing there, a layout that is not known, damaged files, sizes that are not this model's, or a bad fit.
    Cancelled
        The user asked to stop.
    """
    if source is None or str(source) == NEURONS:
        from engine.dictionaries.neurons import NeuronFeatures

        return NeuronFeatures(model.weights)
    from engine.dictionaries.fidelity import require_fidelity
    from engine.dictionaries.starter_sets import find_starter_set
    from engine.models import published

    path = Path(source).expanduser()
    if not path.exists():
        starter = find_starter_set(str(source))
        path = starter.path if starter is not None else published.downloaded_dictionary(str(source)) or path
    if not path.exists():
        raise RequestError(
            f"There is no dictionary at {path}; give 'neurons', the path of a dictionary's folder, or the id of one "
            "that was downloaded (circuit-loupe models lists them)."
        )
    found = next((layout for layout in formats().values() if layout.matches(path)), None)
    if found is None:
        raise _unknown(path)
    features = found.read(path, model.weights, part(progress, 0.0, 0.7), cancel)
    if not trust:
        require_fidelity(features, model, part(progress, 0.7, 1.0), cancel)
    progress("Dictionary ready", 1.0)
    return features


def __getattr__(name: str) -> object:
    """Load what needs torch only when it is asked for."""
    if name in {"Features", "LayerFeatures"}:
        from engine.dictionaries import features

        return getattr(features, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _unknown(path: Path) -> RequestError:
    """Why nothing there is read: its first weight file's own fault, or tensors that no layout has."""
    from engine.dictionaries.layer_files import open_weights, weight_files
    from engine.dictionaries.tensor_headers import printable

    held = ""
    if files := weight_files(path):
        try:
            names = [printable(name) for name in sorted(open_weights(files[0]).places)[:8]]
        except RequestError as error:
            return error
        held = f"; {files[0].name} has {', '.join(names) or 'no tensors'}"
    return RequestError(
        f"{path} holds no dictionary that is known{held}. Transcoders of {', '.join(formats())} are read, as "
        "safetensors or npz files."
    )
