"""Opening a graph file of any form. Which one it is, its content says; its name says nothing."""

from __future__ import annotations

import zipfile
from pathlib import Path

from engine.errors import MachineError, RequestError
from engine.graphs.formats import arrays, csv_tables, whole_graph
from engine.graphs.formats.arrays import read_npz
from engine.graphs.formats.circuit_tracer_pt import read_pt
from engine.graphs.formats.csv_tables import read_csv
from engine.graphs.formats.graph_file import GraphFile
from engine.graphs.formats.graphml import read_graphml
from engine.graphs.formats.json_document import read_json
from engine.graphs.formats.neuronpedia_reading import read_document

_FIRST = 512
_KNOWN = "a graph JSON, a .pt of circuit-tracer, or GraphML, CSV or npz that this program wrote"
# Beginnings of files that are something else, and what to do about them.
_OTHERS = {
    b"SQLite format 3\0": "is a project; open it instead of importing it",
    b"\x1f\x8b": "is compressed; unpack it first",
    b"BZh": "is compressed; unpack it first",
    b"\xfd7zXZ": "is compressed; unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed; unpack it first",
    b"\x80": "is a bare pickle, which is never opened; save the graph again with a torch of 1.6 or later",
    b"GGUF": "is a model; give a graph",
}


def read_graph_file(path: Path) -> GraphFile:
    """Read a graph file of any known form.

    Raises `RequestError` with one sentence for what is none, or damaged, and `MachineError` where memory is too small.
    """
    if not path.is_file():
        raise RequestError(f"There is no file {path}; give the path of {_KNOWN}.")
    try:
        with path.open("rb") as file:
            first = file.read(_FIRST)
        return _read(path, first)
    except MemoryError as error:
        raise MachineError(f"{path.name} does not fit into memory; close other programs and try again.") from error
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}); check that you may open it.") from error


def _read(path: Path, first: bytes) -> GraphFile:
    for beginning, sentence in _OTHERS.items():
        if first.startswith(beginning):
            raise RequestError(f"{path.name} {sentence}.")
    if first.startswith(b"PK\x03\x04"):
        return _read_zip(path)
    text = _text(first)
    if text.startswith("<"):
        return read_graphml(path)
    if text.startswith(("{", "[")):
        return _read_json(path)
    header = text.split("\n")[0].strip()
    if header in (",".join(csv_tables.NODE_HEADER), ",".join(csv_tables.EDGE_HEADER)):
        return read_csv(path)
    raise RequestError(f"{path.name} is no graph file; give {_KNOWN}.")


def _text(first: bytes) -> str:
    """The first characters, whatever Unicode form they are in; enough to tell one form from another."""
    for mark in (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"):
        first = first.removeprefix(mark)
    return first.replace(b"\0", b"").decode("utf-8", "replace").lstrip()


def _read_zip(path: Path) -> GraphFile:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rsplit("/", 1)[-1] for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise RequestError(f"{path.name} is a zip that is damaged or cut short; open a copy that is whole.") from error
    if "data.pkl" in names:
        return read_pt(path)
    if f"{arrays.COLUMNS[0]}.npy" in names:
        return read_npz(path)
    if csv_tables.GRAPH in names:
        return read_csv(path)
    raise RequestError(f"{path.name} is a zip without a graph in it; give {_KNOWN}.")


def _read_json(path: Path) -> GraphFile:
    document = read_json(path)
    if isinstance(document, dict) and whole_graph.MARK in document:
        return read_csv(path)
    return read_document(document, path.name)
