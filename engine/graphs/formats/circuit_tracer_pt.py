"""circuit-tracer's .pt graphs: the unpruned graph as a dense matrix, read without torch and without running anything.

Rows are targets, columns sources, in the order [selected features | errors, layer by layer | tokens | logits]. Keys
changed over the years: `scan` became `scan_name`, `logit_tokens` became `logit_targets`, at first a tensor of ids.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.graphs.formats.graph_file import GraphFile, Repairs, shown
from engine.graphs.formats.inert_pickle import Built, Forbidden
from engine.graphs.formats.promises import MAX_LAYERS, require_promises
from engine.graphs.formats.provenance import file_influence, imported_report
from engine.graphs.formats.torch_archive import TorchArchive
from engine.graphs.graph import EMBEDDING_LAYER, AttributionGraph, NodeKind

FORM = "circuit-tracer .pt"
# A dense graph of 10,000 nodes has some 30 million edges, most of them next to nothing: each row then keeps its
# strongest, so many that all rows together keep this number.
MOST_EDGES = 8_000_000
_ROWS = 256
_NEEDED = (
    "input_string",
    "adjacency_matrix",
    "cfg",
    "active_features",
    "logit_probabilities",
    "input_tokens",
    "selected_features",
    "activation_values",
)


def read_pt(path: Path) -> GraphFile:
    """Read a graph that circuit-tracer saved.

    Raises `RequestError` for a file that names anything but a graph's own classes, and for one that is damaged.
    """
    try:
        archive = TorchArchive(path)
        values = archive.value
        if not isinstance(values, dict) or not all(name in values for name in _NEEDED):
            raise RequestError(f"{path.name} is a torch file, but holds no graph of circuit-tracer.")
        return _read(archive, values, path.name)
    except Forbidden as error:
        raise RequestError(
            f"{path.name} names {shown(error, 60)}, which no graph needs and which may be made to run; "
            "it was not opened, and nothing in it was run."
        ) from error
    except (
        *(ValueError, KeyError, TypeError, IndexError, OSError, OverflowError, EOFError, AttributeError),
        *(zipfile.BadZipFile, RuntimeError, NotImplementedError, RecursionError),
    ) as error:
        raise RequestError(f"{path.name} is no graph of circuit-tracer, or it is damaged ({error}).") from error


def _read(archive: TorchArchive, values: Mapping[str, Any], name: str) -> GraphFile:
    repairs = Repairs()
    config = _config(values["cfg"])
    n_layers = config.get("n_layers")
    if type(n_layers) is not int or not 0 < n_layers <= MAX_LAYERS:
        raise ValueError("cfg.n_layers")
    token_ids = _ids(archive, values["input_tokens"], "input_tokens")
    logits, texts = _logits(archive, values)
    nodes = _Nodes(archive, values, n_layers, token_ids, logits)
    matrix = archive.tensor(values["adjacency_matrix"], 2)
    if matrix.shape != (nodes.count, nodes.count):
        raise ValueError(f"adjacency_matrix of {matrix.shape}, where the other tensors make {nodes.count} nodes")
    source, target, weight = _edges(matrix, nodes.layer, repairs)
    probability = np.asarray(archive.tensor(values["logit_probabilities"], 1), np.float32)
    empty = np.zeros(0, np.float32)
    graph = AttributionGraph(
        **nodes.columns(),
        influence=np.zeros(nodes.count, np.float32),
        source=source,
        target=target,
        weight=weight,
        # No row is claimed to be traced: biases have no node here, so that rows do not sum to their values.
        traced=np.zeros(0, np.int32),
        value=empty,
        rest=empty,
        rest_absolute=empty,
        tokens=tuple(f"⟨{one}⟩" for one in token_ids),
        token_ids=tuple(token_ids),
        logit_token=np.array(logits, np.int32),
        logit_text=texts,
        logit_probability=probability,
        n_layers=n_layers,
    )
    repairs.add("The file has the ids of the prompt's tokens and not their texts: they are shown as ⟨id⟩")
    require_promises(graph)
    graph = replace(graph, influence=file_influence(graph))
    return _file(graph, values, config, name, repairs)


def _file(
    graph: AttributionGraph, values: Mapping[str, Any], config: Mapping[str, Any], name: str, repairs: Repairs
) -> GraphFile:
    scan = values.get("scan", values.get("scan_name"))
    scan = ", ".join(one for one in scan if isinstance(one, str)) if isinstance(scan, list) else scan
    model = config.get("model_name") or config.get("tokenizer_name")
    prompt = values["input_string"]
    sentences = repairs.sentences()
    plain = {key: value for key, value in config.items() if isinstance(value, str | int | float | bool | None)}
    vocabulary = values.get("vocab_size")
    report = imported_report(
        graph,
        form=FORM,
        name=name,
        prompt=prompt if isinstance(prompt, str) else "",
        model=model if isinstance(model, str) and model else "unknown",
        features=scan if isinstance(scan, str) and scan else "unknown",
        repairs=sentences,
        extra={
            "cfg": {key: value for key, value in plain.items() if not isinstance(value, float) or np.isfinite(value)},
            "vocab_size": vocabulary if type(vocabulary) is int else None,
        },
    )
    return GraphFile(replace(graph, meta=report), form=FORM, repairs=sentences)


def _config(value: Any) -> dict[str, Any]:
    """The configuration's fields; the class that held them is not needed."""
    state = value.state if isinstance(value, Built) else value
    if isinstance(state, tuple) and len(state) == 2:  # of classes with slots
        state = state[1] if isinstance(state[1], dict) else state[0]
    if not isinstance(state, dict):
        raise ValueError("cfg")
    return {key: one for key, one in state.items() if isinstance(key, str)}


def _ids(archive: TorchArchive, value: Any, name: str) -> list[int]:
    """Token ids, from a tensor or a list."""
    ids = value if isinstance(value, list) else archive.tensor(value, 1).tolist()
    if not all(type(one) is int and 0 <= one < 2**31 for one in ids) or not ids:
        raise ValueError(name)
    return ids


def _logits(archive: TorchArchive, values: Mapping[str, Any]) -> tuple[list[int], tuple[str, ...]]:
    """Ids and texts of the targets; ids above the vocabulary are targets a person made up."""
    targets = values["logit_targets"] if "logit_targets" in values else values["logit_tokens"]
    if not isinstance(targets, list):
        ids = _ids(archive, targets, "logit_tokens")
        return ids, tuple(f"token {one}" for one in ids)
    pairs = [_target(one) for one in targets]
    return [number for _, number in pairs], tuple(text or f"token {number}" for text, number in pairs)


def _target(value: Any) -> tuple[str, int]:
    found = value.arguments if isinstance(value, Built) and value.of.name == "LogitTarget" else value
    text, number = found
    if not isinstance(text, str) or type(number) is not int or not 0 <= number < 2**31:
        raise ValueError("logit_targets")
    return text, number


class _Nodes:
    """Node columns in the file's order."""

    def __init__(
        self, archive: TorchArchive, values: Mapping[str, Any], n_layers: int, token_ids: list[int], logits: list[int]
    ) -> None:
        active = archive.tensor(values["active_features"], 2)
        if active.shape[1] != 3:
            raise ValueError("active_features")
        selected = np.asarray(archive.tensor(values["selected_features"], 1), np.int64)
        activation = archive.tensor(values["activation_values"], 1)
        if len(activation) != len(active) or ((selected < 0) | (selected >= len(active))).any():
            raise ValueError("selected_features")
        picked = np.asarray(active[selected], np.int64)
        # What int32 cannot hold no model has.
        if (picked < 0).any() or (picked >= [n_layers, len(token_ids), 2**31]).any():
            raise ValueError("active_features")
        n_pos, n_logits = len(token_ids), len(logits)
        counts = (len(selected), n_layers * n_pos, n_pos, n_logits)
        self.count = sum(counts)
        self._kinds = np.repeat([NodeKind.FEATURE, NodeKind.ERROR, NodeKind.EMBEDDING, NodeKind.LOGIT], counts)
        places = np.arange(n_pos)
        self.layer = np.concatenate(
            [
                picked[:, 0],
                np.repeat(np.arange(n_layers), n_pos),
                np.full(n_pos, EMBEDDING_LAYER),
                [n_layers] * n_logits,
            ]
        ).astype(np.int32)
        self._position = np.concatenate([picked[:, 1], np.tile(places, n_layers), places, [n_pos - 1] * n_logits])
        self._feature = np.concatenate([picked[:, 2], np.full(counts[1], -1), token_ids, logits])
        self._activation = np.zeros(self.count, np.float32)
        self._activation[: len(selected)] = activation[selected]

    def columns(self) -> dict[str, Any]:
        """As `AttributionGraph` names them."""
        return {
            "kind": self._kinds.astype(np.uint8),
            "layer": self.layer,
            "position": self._position.astype(np.int32),
            "feature": self._feature.astype(np.int32),
            "activation": self._activation,
        }


def _edges(
    matrix: np.ndarray[Any, Any], layer: NDArray[np.int32], repairs: Repairs
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Everything in the matrix that is not 0, sorted by target and falling |weight|; the strongest if it is a lot."""
    longest = max(MOST_EDGES // len(matrix), 1)
    sources, targets, weights = [], [], []
    total, count = 0.0, 0
    for first in range(0, len(matrix), _ROWS):
        block = np.asarray(matrix[first : first + _ROWS], np.float32)
        if not np.isfinite(block).all():
            row, column = np.argwhere(~np.isfinite(block))[0]
            raise ValueError(f"adjacency_matrix[{first + row}, {column}] is no finite number")
        up = layer[None, :] < layer[first : first + len(block), None]
        wrong = np.argwhere((block != 0) & ~up)
        if len(wrong):
            place = f"adjacency_matrix[{first + wrong[0][0]}, {wrong[0][1]}]"
            repairs.add("Entries that lead to the same or a lower layer were left out", place, len(wrong))
        row, column = np.nonzero(np.where(up, block, 0))
        weight = block[row, column]
        order = np.lexsort((-np.abs(weight), row))
        total, count = total + float(np.abs(weight, dtype=np.float64).sum()), count + len(row)
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        order = order[rank < longest]
        targets.append((first + row[order]).astype(np.int32))
        sources.append(column[order].astype(np.int32))
        weights.append(weight[order])
    source, target, weight = np.concatenate(sources), np.concatenate(targets), np.concatenate(weights)
    if len(source) < count:
        share = float(np.abs(weight, dtype=np.float64).sum()) / total
        repairs.add(
            f"Of {count:,} edges {len(source):,} were kept, the strongest {longest:,} of each row: {share:.2%} of the "
            "sum of absolute weights"
        )
    return source, target, weight
