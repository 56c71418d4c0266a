"""GraphML, for networkx, Gephi, yEd and the like: every column a typed attribute, edges with weight and share.

Written and read in one pass, without holding a tree of a million edges; the reader takes what this program wrote.
Characters that XML has no form for are shown as ⟨U+0007⟩; their exact texts are in the attribute `circuit_loupe` of
the graph.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from engine.errors import RequestError
from engine.graphs.formats.graph_file import GraphFile, Groups
from engine.graphs.formats.json_document import parse_json
from engine.graphs.formats.promises import MAX_EDGES, MAX_NODES
from engine.graphs.formats.whole_graph import (
    EDGE_TYPES,
    NODE_TYPES,
    assemble,
    decimal,
    graph_text,
    node_rows,
    read_graph_text,
)
from engine.graphs.graph import AttributionGraph
from engine.progress import Progress, silent, watched
from engine.whole_files import written_whole

FORM = "GraphML"
LARGEST_FILE = 4 * 2**30
_SPACE = "http://graphml.graphdrawing.org/xmlns"
_ILLEGAL = re.compile("[^\t\n\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_GRAPH_KEY = "circuit_loupe"
_CHUNK = 2**20
_NODE = re.compile(r"n(0|[1-9][0-9]{0,8})\Z")


def write_graphml(
    graph: AttributionGraph,
    path: Path,
    *,
    pins: tuple[int, ...] = (),
    groups: Groups = (),
    labels: Mapping[int, str] | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> None:
    """Write the whole graph, with pins, supernodes and labels if given; raises `Cancelled`, and then writes nothing."""
    count = graph.n_nodes + graph.n_edges
    with written_whole(path) as file:
        lines = _lines(GraphFile(graph, pins, groups, labels or {}))
        for line in watched(lines, count, f"Writing {path.name}", progress, cancel):
            file.write(line.encode())


def rendered(text: object) -> str:
    """Text as it stands in the file."""
    return _ILLEGAL.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", str(text))


def _lines(file: GraphFile) -> Iterator[str]:
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="{_SPACE}">\n'
    for of, types in (("graph", {_GRAPH_KEY: "string"}), ("node", NODE_TYPES), ("edge", EDGE_TYPES)):
        for name, kind in types.items():
            yield f'<key id="{name}" for="{of}" attr.name="{name}" attr.type="{kind}"/>\n'
    yield '<graph edgedefault="directed">\n'
    yield f'<data key="{_GRAPH_KEY}">{escape(rendered(graph_text(file)))}</data>\n'
    for node, row in enumerate(node_rows(file)):
        cells = "".join(
            f"<data key={quoteattr(name)}>{escape(rendered(value))}</data>"
            for name, value in row.items()
            if value is not None
        )
        yield f'<node id="n{node}">{cells}</node>\n'
    graph = file.graph
    for source, target, weight, share in zip(
        graph.source.tolist(), graph.target.tolist(), graph.weight, graph.share, strict=True
    ):
        cells = f'<data key="weight">{decimal(weight)}</data><data key="share">{decimal(share)}</data>'
        yield f'<edge source="n{source}" target="n{target}">{cells}</edge>\n'
    yield "</graph>\n</graphml>\n"


def read_graphml(path: Path) -> GraphFile:
    """Read what `write_graphml` wrote; `RequestError` for anything else. Documents with a DTD are never expanded."""
    if path.stat().st_size > LARGEST_FILE:
        raise RequestError(f"{path.name} is larger than {LARGEST_FILE >> 30} GB; it was not opened.")
    reader = _Reader()
    try:
        with path.open("rb") as file:
            reader.read(file)
        whole = read_graph_text(parse_json(reader.whole.encode(), path.name))
        return assemble(whole, reader.nodes, (reader.source, reader.target, reader.weight), FORM, rendered, str)
    except RequestError:
        raise
    except (expat.ExpatError, ValueError, TypeError, OverflowError, LookupError) as error:
        raise RequestError(f"{path.name} is not GraphML that this program wrote, or it is damaged.") from error


class _Reader:
    """Takes the events of the parser; memory grows with the graph alone."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, str]] = []
        self.source: list[int] = []
        self.target: list[int] = []
        self.weight: list[float] = []
        self.whole = ""
        self._row: dict[str, str] | None = None
        self._key: str | None = None
        self._text: list[str] = []

    def read(self, file: IO[bytes]) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        while chunk := file.read(_CHUNK):
            parser.Parse(chunk, False)
        parser.Parse(b"", True)

    def _refuse(self, *_: Any) -> None:
        raise ValueError("a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "data":
            self._key, self._text = attributes["key"], []
        elif name == "node":
            if attributes["id"] != f"n{len(self.nodes)}" or len(self.nodes) >= MAX_NODES:
                raise ValueError("nodes in another order")
            self._row = {}
        elif name == "edge":
            if len(self.source) >= MAX_EDGES:
                raise ValueError("too many edges")
            self.source.append(_node_number(attributes["source"]))
            self.target.append(_node_number(attributes["target"]))
            self._row = {}
        elif name not in ("graphml", "key", "graph"):
            raise ValueError("another element")

    def _characters(self, text: str) -> None:
        if self._key is not None:
            self._text.append(text)

    def _end(self, name: str) -> None:
        if name == "data" and self._key is not None:
            text = "".join(self._text)
            if self._row is not None:
                self._row[self._key] = text
            elif self._key == _GRAPH_KEY:
                self.whole = text
            self._key = None
        elif name == "node" and self._row is not None:
            self.nodes.append(dict.fromkeys(NODE_TYPES, "") | self._row)
            self._row = None
        elif name == "edge" and self._row is not None:
            self.weight.append(float(self._row["weight"]))
            self._row = None


def _node_number(text: str) -> int:
    found = _NODE.match(text)
    if found is None:
        raise ValueError("an end that is no node")
    return int(found.group(1))
