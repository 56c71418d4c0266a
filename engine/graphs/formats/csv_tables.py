"""CSV for spreadsheets: a table of nodes, a table of edges, and a JSON text beside them with all that is exact.

In one .zip (nodes.csv, edges.csv, graph.json), or as three files with one name in front. A cell with a text that a
spreadsheet would take for a formula (=, +, -, @, a tab or a carriage return first) begins with an apostrophe, and so
does one that begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
import re
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from engine.errors import RequestError
from engine.graphs.formats.arrays import require_plain
from engine.graphs.formats.graph_file import GraphFile, Groups
from engine.graphs.formats.json_document import LARGEST_FILE as LARGEST_JSON
from engine.graphs.formats.json_document import parse_json
from engine.graphs.formats.promises import MAX_EDGES, MAX_NODES
from engine.graphs.formats.whole_graph import (
    NODE_TYPES,
    Cell,
    assemble,
    decimal,
    graph_text,
    node_rows,
    read_graph_text,
)
from engine.graphs.graph import AttributionGraph
from engine.progress import Progress, silent, watched
from engine.whole_files import written_whole

FORM = "CSV tables"
NODES, EDGES, GRAPH = "nodes.csv", "edges.csv", "graph.json"
PARTS = (NODES, EDGES, GRAPH)
NODE_HEADER = ("node", *NODE_TYPES)
EDGE_HEADER = ("source", "target", "weight", "share")
LARGEST_FILE = 4 * 2**30
_FORMULA = "=+-@\t\r'"
# What spreadsheets and Python's own reader disagree about, or what UTF-8 has no form for.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_LONGEST_CELL = 2**20
_Row = TypeVar("_Row")


def rendered(text: object) -> str:
    """Text as it stands in a cell."""
    plain = _ILLEGAL.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", str(text))
    return f"'{plain}" if plain and plain[0] in _FORMULA else plain


def _unguarded(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:2] in tuple(_FORMULA) else cell


def part_paths(path: Path) -> tuple[Path, Path, Path]:
    """The three files that stand for `path` where it is no .zip: its name without .csv, then .nodes.csv and so on."""
    stem = path.name[:-4] if path.name.lower().endswith(".csv") else path.name
    nodes, edges, graph = (path.with_name(f"{stem}.{part}") for part in PARTS)
    return nodes, edges, graph


def write_csv(
    graph: AttributionGraph,
    path: Path,
    *,
    pins: tuple[int, ...] = (),
    groups: Groups = (),
    labels: Mapping[int, str] | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> tuple[Path, ...]:
    """Write the whole graph, with pins, supernodes and labels if given; the paths that were written.

    Raises `Cancelled`; of three tables those that were whole by then stay.
    """
    watch = _Watch(f"Writing {path.name}", progress, cancel)
    file = GraphFile(graph, pins, groups, labels or {})
    if path.suffix.lower() == ".zip":
        with written_whole(path) as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in PARTS:
                with archive.open(part, "w", force_zip64=True) as entry:
                    _write_part(file, part, entry, watch)
        return (path,)
    paths = part_paths(path)
    for part, one in zip(PARTS, paths, strict=True):
        with written_whole(one) as raw:
            _write_part(file, part, raw, watch)
    return paths


@dataclass(frozen=True)
class _Watch:
    stage: str
    progress: Progress
    cancel: threading.Event | None

    def rows(self, rows: Iterable[_Row], count: int) -> Iterator[_Row]:
        """The same rows, told about; the nodes are few beside the edges."""
        return watched(rows, count, self.stage, self.progress, self.cancel)


def _write_part(file: GraphFile, part: str, raw: IO[bytes], watch: _Watch) -> None:
    if part == GRAPH:
        raw.write(graph_text(file).encode())
        return
    # The mark tells spreadsheets that the text is UTF-8.
    text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="", write_through=False)
    writer = csv.writer(text)
    if part == NODES:
        writer.writerow(NODE_HEADER)
        nodes = ([node, *map(_cell, row.items())] for node, row in enumerate(node_rows(file)))
        writer.writerows(watch.rows(nodes, file.graph.n_nodes))
    else:
        graph = file.graph
        writer.writerow(EDGE_HEADER)
        weights, shares = map(decimal, graph.weight), map(decimal, graph.share)
        edges = zip(graph.source.tolist(), graph.target.tolist(), weights, shares, strict=True)
        writer.writerows(watch.rows(edges, graph.n_edges))
    text.flush()
    text.detach()


def _cell(item: tuple[str, Cell]) -> object:
    name, value = item
    if value is None:
        return ""
    return rendered(value) if NODE_TYPES[name] == "string" else value


def read_csv(path: Path) -> GraphFile:
    """Read the .zip or, given any of the three files, all three; `RequestError` for anything else."""
    try:
        with _parts(path) as opened:
            return _read(opened, path.name)
    except RequestError:
        raise
    except (
        *(ValueError, KeyError, TypeError, OverflowError, OSError, EOFError, csv.Error),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    ) as error:
        raise RequestError(f"{path.name} is no table of a graph that this program wrote, or it is damaged.") from error


def _read(opened: Callable[[str], IO[bytes]], name: str) -> GraphFile:
    with opened(GRAPH) as raw:
        data = raw.read(LARGEST_JSON + 1)
    if len(data) > LARGEST_JSON:
        raise ValueError("too large")
    whole = read_graph_text(parse_json(data, name))
    with _rows(opened, NODES, NODE_HEADER) as rows:
        nodes = _nodes(rows)
    with _rows(opened, EDGES, EDGE_HEADER) as rows:
        edges = _edges(rows)
    return assemble(whole, nodes, edges, FORM, rendered, _unguarded)


@contextmanager
def _parts(path: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """A way to open each of the three parts."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_FILE:
                raise RequestError(f"{path.name} would unpack to more than {LARGEST_FILE >> 30} GB; it was not opened.")
            require_plain(archive)
            yield archive.open
        return
    stem = next((path.name[: -len(part) - 1] for part in PARTS if path.name.endswith(f".{part}")), None)
    if stem is None:
        raise RequestError(f"{path.name} is one of three tables; their names must end in .{', .'.join(PARTS)}.")
    files = {part: path.with_name(f"{stem}.{part}") for part in PARTS}
    for one in files.values():
        if not one.is_file():
            raise RequestError(f"{path.name} belongs to {one.name}, which is not beside it; put the three together.")
        if one.stat().st_size > LARGEST_FILE:
            raise RequestError(f"{one.name} is larger than {LARGEST_FILE >> 30} GB; it was not opened.")
    yield lambda part: files[part].open("rb")


@contextmanager
def _rows(opened: Callable[[str], IO[bytes]], part: str, header: tuple[str, ...]) -> Iterator[Iterator[list[str]]]:
    """The rows of a table below its header."""
    with opened(part) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(_short_lines(text), strict=True)
        if tuple(next(reader, [])) != header:
            raise ValueError("other columns")
        yield _of_length(reader, len(header))


def _of_length(reader: Iterable[list[str]], length: int) -> Iterator[list[str]]:
    for row in reader:
        if len(row) != length:
            raise ValueError("a row of another length")
        yield row


def _short_lines(text: Iterable[str]) -> Iterator[str]:
    for line in text:
        if len(line) > _LONGEST_CELL:
            raise ValueError("a line that is too long")
        yield line


def _nodes(rows: Iterable[list[str]]) -> list[dict[str, str]]:
    nodes: list[dict[str, str]] = []
    for number, row in enumerate(rows):
        if row[0] != str(number) or number >= MAX_NODES:
            raise ValueError("nodes in another order")
        nodes.append(dict(zip(NODE_HEADER, row, strict=True)))
    return nodes


def _edges(rows: Iterable[list[str]]) -> tuple[list[int], list[int], list[Any]]:
    source: list[int] = []
    target: list[int] = []
    weight: list[Any] = []
    for row in rows:
        if len(source) >= MAX_EDGES:
            raise ValueError("too many edges")
        source.append(int(row[0]))
        target.append(int(row[1]))
        weight.append(row[2])
    return source, target, weight
