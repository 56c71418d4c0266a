"""The unpruned graph as a NumPy .npz archive: one array a column, no object arrays, nothing that could run.

Entries, one a node: `kind` (uint8, names in `kind_names`), `layer`, `position`, `feature`, `activation`, `influence`.
One an edge: `source`, `target`, `weight`. One a traced target, whose node numbers are in `traced`: `value`, `rest`,
`rest_absolute`. Then `tokens`, `token_ids`, `logit_token`, `logit_text`, `logit_probability`, `n_layers`, `measure`,
and `meta`: exact texts, the report, pins, supernodes and labels as JSON text.
"""

from __future__ import annotations

import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import RequestError
from engine.graphs.formats.graph_file import GraphFile, Groups, annotations_as_json, read_annotations
from engine.graphs.formats.promises import MAX_EDGES, require_promises
from engine.graphs.graph import KIND_NAMES, AttributionGraph
from engine.whole_files import written_whole

FORM = "npz arrays"
NODE_COLUMNS = ("kind", "layer", "position", "feature", "activation", "influence")
EDGE_COLUMNS = ("source", "target", "weight")
TARGET_COLUMNS = ("traced", "value", "rest", "rest_absolute")
OTHER_COLUMNS = ("logit_token", "logit_probability")
COLUMNS = (*NODE_COLUMNS, *EDGE_COLUMNS, *TARGET_COLUMNS, *OTHER_COLUMNS)
FLOATS = frozenset(("activation", "influence", "weight", "value", "rest", "rest_absolute", "logit_probability"))
# Unpacked sizes: of everything, and of one array.
LARGEST_BYTES = 8 * 2**30
LARGEST_ARRAY = 2**30
LONGEST = MAX_EDGES


def column_type(name: str) -> np.dtype[Any]:
    """The type of a column's entries."""
    return np.dtype(np.uint8 if name == "kind" else np.float32 if name in FLOATS else np.int32)


def save_npz(
    graph: AttributionGraph,
    path: Path,
    *,
    pins: tuple[int, ...] = (),
    groups: Groups = (),
    labels: Mapping[int, str] | None = None,
) -> None:
    """Write a graph, and what a person added to it, whole or not at all."""
    columns = {name: getattr(graph, name) for name in COLUMNS}
    texts = {"tokens": list(graph.tokens), "logit_text": list(graph.logit_text), "report": graph.meta}
    if pins or groups or labels:
        texts["annotations"] = annotations_as_json(pins, groups, labels or {})
    with written_whole(path) as file:
        np.savez_compressed(
            file,
            kind_names=np.array(KIND_NAMES),
            # These two are for people who open the file; lone surrogates have no form in such arrays.
            tokens=np.array([_plain(text) for text in graph.tokens], dtype=np.str_),
            token_ids=np.array(graph.token_ids, dtype=np.int64),
            logit_text=np.array([_plain(text) for text in graph.logit_text], dtype=np.str_),
            n_layers=np.array(graph.n_layers),
            measure=np.array(graph.measure),
            # Unicode arrays drop trailing zero characters; the exact texts are here.
            meta=np.array(json.dumps(texts, ensure_ascii=True)),
            **columns,
        )


def load_npz(path: Path) -> AttributionGraph:
    """Read the graph that `save_npz` wrote; `RequestError` where it is damaged or something else."""
    return read_npz(path).graph


def read_npz(path: Path) -> GraphFile:
    """Read what `save_npz` wrote; `RequestError` where it is damaged or something else.

    Every array's size, type and shape are checked before it is unpacked, and the graph's promises after.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
                raise RequestError(
                    f"{path.name} would unpack to more than {LARGEST_BYTES >> 30} GB; it was not opened."
                )
            require_plain(archive)
            graph, texts = _graph(archive)
        require_promises(graph)
        annotations = read_annotations(texts.get("annotations", {}), graph.n_nodes)
        return GraphFile(graph, *annotations, form=FORM)
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError, RecursionError, RuntimeError),
        # What NumPy's reader of headers lets through.
        *(SyntaxError, tokenize.TokenError),
    ) as error:
        raise RequestError(f"{path} is not a graph that this program wrote, or it is damaged.") from error


def require_plain(archive: zipfile.ZipFile) -> None:
    """Raise `ValueError` for entries packed in a way that neither NumPy nor this program uses."""
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in archive.infolist()):
        raise ValueError("packed in another way")


def _graph(archive: zipfile.ZipFile) -> tuple[AttributionGraph, dict[str, Any]]:
    texts = json.loads(_text(archive, "meta"), parse_constant=_refuse)
    columns = {name: _array(archive, name, column_type(name)) for name in COLUMNS}
    graph = AttributionGraph(
        **columns,
        tokens=_texts(texts["tokens"]),
        token_ids=tuple(_array(archive, "token_ids", np.dtype(np.int64)).tolist()),
        logit_text=_texts(texts["logit_text"]),
        n_layers=int(_array(archive, "n_layers", np.dtype(np.int64), ndim=0)),
        measure=_text(archive, "measure"),
        meta=texts["report"],
    )
    if not isinstance(graph.meta, dict):
        raise ValueError("a report of another form")
    return graph, texts


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("texts of another form")
    return tuple(value)


def _array(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], ndim: int = 1) -> np.ndarray[Any, Any]:
    """One array of the type and number of dimensions it must have."""
    found, data = _unpacked(archive, name, ndim)
    if found != dtype:
        raise ValueError(f"{name} of another type")
    return np.frombuffer(data, dtype).copy() if ndim else np.frombuffer(data, dtype)[0]


def _text(archive: zipfile.ZipFile, name: str) -> str:
    found, data = _unpacked(archive, name, 0)
    if found.kind != "U":
        raise ValueError(f"{name} is no text")
    return data.decode("utf-32-le").rstrip("\x00")


def _unpacked(archive: zipfile.ZipFile, name: str, ndim: int) -> tuple[np.dtype[Any], bytes]:
    """The type and the bytes of an array; what the header says must be exactly what the entry holds."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if (
            dtype.hasobject
            or dtype.byteorder == ">"
            or len(shape) != ndim
            or not all(size <= LONGEST for size in shape)
        ):
            raise ValueError(f"{name} of another form")
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size != entry.file_size - file.tell() or size > LARGEST_ARRAY:
            raise ValueError(f"{name} of another size")
        data = file.read(size)
    if len(data) != size:
        raise ValueError(f"{name} is cut short")
    return dtype, data


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
