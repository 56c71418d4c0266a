"""Whole database files whose rows lie: about arrays, graphs, history and annotations."""

from __future__ import annotations

import json
import sqlite3
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from engine.errors import RequestError
from engine.projects import Project, arrays
from engine.projects.faults import DamageError
from engine.projects.schema import EDITED, TABLES, USER_VERSION
from tests.engine.projects.conftest import change_file, everything, small_graph

GRAPH = small_graph(1)
N, E = GRAPH.n_nodes, GRAPH.n_edges


@pytest.fixture
def closed(project: Project) -> Path:
    project.pin(1, [1])
    project.close()
    return project.path


def put_column(path: Path, name: str, array: np.ndarray[Any, Any]) -> None:
    """Give trace 1 another column, well packed."""
    packed = arrays.pack(array)
    change_file(
        path,
        "INSERT OR IGNORE INTO array (sha256, dtype, shape, codec, raw_bytes, data) VALUES (?, ?, ?, ?, ?, ?)",
        *(packed.sha256, packed.dtype, packed.shape, packed.codec, packed.raw_bytes, packed.data),
    )
    change_file(
        path,
        "UPDATE graph_column SET array = (SELECT id FROM array WHERE sha256 = ?) WHERE trace = 1 AND name = ?",
        packed.sha256,
        name,
    )


def texts(*items: object) -> np.ndarray[Any, Any]:
    return np.frombuffer(json.dumps(items).encode(), dtype=np.uint8).copy()


def changed(name: str, at: int, value: float) -> np.ndarray[Any, Any]:
    column: np.ndarray[Any, Any] = getattr(GRAPH, name).copy()
    column[at] = value
    return column


def swapped_targets() -> np.ndarray[Any, Any]:
    """The targets with two neighbours exchanged, so that with equal weights nothing but their order is wrong."""
    layer = GRAPH.layer
    for at in range(E - 1):
        target = GRAPH.target.copy()
        target[[at, at + 1]] = target[[at + 1, at]]
        rising = (layer[GRAPH.source] <= layer[target]).all() and (GRAPH.source != target).all()
        if target[at] > target[at + 1] and rising:
            return target
    raise AssertionError("the graph has no such edges")


BAD_COLUMNS: dict[str, tuple[Any, ...]] = {
    "a kind that is none": ("kind", changed("kind", 0, 5)),
    "a logit without its text": ("kind", changed("kind", 0, 4)),
    "a layer too low": ("layer", changed("layer", 0, -2)),
    "a layer too high": ("layer", changed("layer", -1, 5)),
    "a position too low": ("position", changed("position", 0, -2)),
    "a position too high": ("position", changed("position", 0, 4)),
    "a feature below none": ("feature", changed("feature", 0, -2)),
    "an activation that is no number": ("activation", changed("activation", 0, np.nan)),
    "an endless influence": ("influence", changed("influence", 0, np.inf)),
    "a negative influence": ("influence", changed("influence", 0, -0.5)),
    "a column too short": ("layer", GRAPH.layer[:-1]),
    "a column too long": ("weight", np.append(GRAPH.weight, np.float32(0))),
    "a source below zero": ("source", changed("source", 3, -1)),
    "a source that is not there": ("source", changed("source", 3, N)),
    "a node that feeds itself": ("source", GRAPH.target),
    "edges that go down": ("layer", np.where(GRAPH.kind == 2, 4, GRAPH.layer).astype(np.int32)),
    "a target that is not there": ("target", changed("target", -1, N)),
    "targets out of order": ("target", swapped_targets(), "weight", np.ones(E, dtype=np.float32)),
    "weights out of order": ("weight", np.sort(np.abs(GRAPH.weight))),
    "a weight that is no number": ("weight", changed("weight", -1, np.nan)),
    "an endless weight": ("weight", changed("weight", 0, -np.inf)),
    "a traced node below zero": ("traced", changed("traced", 0, -1)),
    "a traced node that is not there": ("traced", changed("traced", -1, N)),
    "a node traced twice": ("traced", changed("traced", 1, GRAPH.traced[0])),
    "fewer values than rows": ("value", GRAPH.value[1:]),
    "a value that is no number": ("value", changed("value", 0, np.nan)),
    "an endless rest": ("rest", changed("rest", 0, -np.inf)),
    "an endless sum": ("rest_absolute", changed("rest_absolute", 0, np.inf)),
    "fewer logits than nodes": ("logit_token", GRAPH.logit_token[1:]),
    "a token below a direction": ("logit_token", changed("logit_token", 0, -2)),
    "a probability that is no number": ("logit_probability", changed("logit_probability", 0, np.nan)),
    "a negative probability": ("logit_probability", changed("logit_probability", 0, -0.1)),
    "fewer texts than logits": ("logit_text", texts(" Austin")),
    "fewer token ids than tokens": ("token_ids", np.arange(3)),
    "more tokens than ids": ("tokens", texts("a", "b", "c", "d", "e")),
    "tokens that are no text": ("tokens", texts("a", "b", "c", 4)),
    "tokens that are no list": ("tokens", np.frombuffer(b'{"a":1}', dtype=np.uint8)),
    "tokens that are no JSON": ("tokens", np.frombuffer(b'["a", "b', dtype=np.uint8)),
    "tokens that are no UTF-8": ("tokens", np.frombuffer(b'["a", "b", "c", "\xff"]', dtype=np.uint8)),
    "tokens nested without end": ("tokens", np.frombuffer(b"[" * 200_000, dtype=np.uint8)),
    "another dtype": ("weight", GRAPH.weight.astype(np.float64)),
    "another number of dimensions": ("weight", GRAPH.weight.reshape(1, -1)),
}


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_columns_that_cannot_be_right(closed: Path, name: str) -> None:
    columns = BAD_COLUMNS[name]
    for column, array in zip(columns[::2], columns[1::2], strict=True):
        put_column(closed, column, array)
    with Project.open(closed) as project:
        with pytest.raises(RequestError, match=r"texas\.loupe is damaged; open a copy of it that is whole, or"):
            project.load_graph(1)
        assert project.load_graph(2).n_nodes == small_graph(2).n_nodes, "the other trace is still there"
        assert project.annotations(1).pins == (1,)


def test_the_columns_are_put_as_the_test_says(closed: Path) -> None:
    """The counterpart: a column put the same way, but right, loads."""
    put_column(closed, "weight", np.ones(E, dtype=np.float32))
    with Project.open(closed) as project:
        assert (project.load_graph(1).weight == 1).all()


@pytest.mark.parametrize(
    "change",
    [
        "dtype = 'object'",
        "dtype = '|O'",
        "dtype = 'U5'",
        "dtype = 'uint32'",
        "dtype = 'float64'",
        "dtype = ''",
        "shape = '[-1]'",
        "shape = '[1e2]'",
        "shape = '[true]'",
        "shape = '[]'",
        "shape = '{}'",
        "shape = '[99999999999999999999999]'",
        "shape = '[' || char(10)",
        f"shape = '[{E}, 1]'",
        f"shape = '[{E - 1}]'",
        "codec = 'pickle'",
        "codec = 'raw'",
        "codec = iif(codec = 'zstd', 'zstd-bytes', 'zstd')",
        "raw_bytes = raw_bytes + 4",
        "raw_bytes = -4",
        "sha256 = 'f'",
        "data = x''",
        "data = x'80049500'",
        "data = unhexed(hex(data) || hex(data))",
        "data = unhexed(hex(data) || '00')",
        "data = substr(data, 1, length(data) - 3)",
        "data = zeroblob(3000000)",
    ],
)
def test_arrays_that_lie_about_themselves(closed: Path, change: str) -> None:
    which = "(SELECT array FROM graph_column WHERE trace = 1 AND name = 'weight')"
    change_file(closed, f"UPDATE array SET {change} WHERE id = {which}")
    with Project.open(closed) as project, pytest.raises(RequestError, match="is damaged"):
        project.load_graph(1)


def bomb(size: int, claimed: int | None) -> bytes:
    """A zstd frame of zeros, 32,000 times smaller than what it holds; its header may claim another size."""
    parameters = zstandard.ZstdCompressionParameters.from_level(19, write_content_size=claimed is not None)
    packer = zstandard.ZstdCompressor(compression_params=parameters)
    if claimed is None:
        stream = packer.compressobj()
        return stream.compress(bytes(size)) + stream.flush()
    frame = packer.compress(bytes(size))
    header = zstandard.frame_header_size(frame)
    # Magic, a descriptor that says "8 bytes of content size", a window of 8 MiB, the size, then the blocks as they are.
    return frame[:4] + b"\xc0\x68" + struct.pack("<Q", claimed) + frame[header:]


def put_bomb(path: Path, data: bytes, entries: int, *, counts: bool) -> None:
    """Put a frame where the weights are; `counts`: let the trace's row agree."""
    shape, raw = json.dumps([entries]), entries * 4
    which = "(SELECT array FROM graph_column WHERE trace = 1 AND name = 'weight')"
    change_file(
        path,
        f"UPDATE array SET shape = ?, raw_bytes = ?, data = ?, codec = 'zstd' WHERE id = {which}",
        *(shape, raw, data),
    )
    if counts:
        change_file(path, "UPDATE trace SET n_edges = ? WHERE id = 1", entries)


@pytest.mark.parametrize(
    ("held", "claimed", "entries", "counts"),
    [
        (32 * 2**20, 32 * 2**20, E, False),  # holds more than its row says
        (32 * 2**20, E * 4, E, False),  # and its header agrees with the row
        (32 * 2**20, None, E, False),  # and its header says nothing
        (1000, 2**33, 2**31, True),  # a header of 8 GB, and all counts agree
        (1000, 2**33, E, False),
        (1000, 2**62, 2**60, True),
        (1000, 100 * 2**20, 25 * 2**20, True),  # below the cap: allocated, then found empty
    ],
)
def test_bombs_are_not_unpacked(closed: Path, held: int, claimed: int | None, entries: int, counts: bool) -> None:
    data = bomb(held, claimed)
    assert len(data) < 1200
    put_bomb(closed, data, entries, counts=counts)
    with Project.open(closed) as project:
        tracemalloc.start()
        try:
            with pytest.raises(RequestError, match="is damaged"):
                project.load_graph(1)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < (120 if claimed == 100 * 2**20 else 4) * 2**20


def test_a_bomb_in_a_column_of_any_length(closed: Path) -> None:
    size = 300 * 2**20
    which = "(SELECT array FROM graph_column WHERE trace = 1 AND name = 'tokens')"
    change = f"UPDATE array SET shape = ?, raw_bytes = ?, data = ? WHERE id = {which}"
    change_file(closed, change, json.dumps([size]), size, bomb(1000, size))
    with Project.open(closed) as project:
        tracemalloc.start()
        try:
            with pytest.raises(RequestError, match="is damaged"):
                project.load_graph(1)
            assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("shape", ["[5.0]", "[-5]", '["5"]', "5", "[5, 1]", "[[5]]", "[null]"])
def test_shapes_that_are_none_even_with_the_right_hash(shape: str) -> None:
    packed = arrays.pack(np.frombuffer(b"hello", dtype=np.uint8))
    row = {**vars(packed), "shape": shape, "sha256": arrays._hash("uint8", shape, b"hello")}
    with pytest.raises(DamageError):
        arrays.unpack(row, "uint8", (None,))
    assert arrays.unpack(dict(vars(packed)), "uint8", (None,)).tobytes() == b"hello"


def test_an_empty_array_of_either_codec() -> None:
    row = dict(vars(arrays.pack(np.zeros(0, dtype=np.int32))))
    for codec in arrays.CODECS:
        assert arrays.unpack({**row, "codec": codec}, "int32", (None,)).tolist() == []


def test_a_bomb_would_go_off(closed: Path) -> None:
    """The counterpart: the frames above are real, and the memory they would take is seen."""
    tracemalloc.start()
    try:
        unpacked = zstandard.ZstdDecompressor().decompress(bomb(32 * 2**20, 32 * 2**20))
        assert tracemalloc.get_traced_memory()[1] > 30 * 2**20
    finally:
        tracemalloc.stop()
    assert len(unpacked) == 32 * 2**20
    assert not any(unpacked)


@pytest.mark.parametrize(
    "change",
    [
        "n_nodes = -1",
        "n_edges = 9223372036854775807",
        "n_layers = 9223372036854775807",
        "n_layers = -1",
        "measure = 'magic'",
        "report = '['",
        "report = '[1]'",
        "report = replace(hex(zeroblob(100000)), '00', '[')",
        "meta = 'null'",
        "meta = '{\"a\": 1' || char(0) || '}'",
    ],
)
def test_traces_that_lie_about_themselves(closed: Path, change: str) -> None:
    change_file(closed, f"UPDATE trace SET {change} WHERE id = 1")
    if change.startswith("report"):
        change_file(closed, "UPDATE trace SET meta = NULL WHERE id = 1")
    with Project.open(closed) as project, pytest.raises(RequestError, match="is damaged"):
        project.load_graph(1)


PIN = {"trace": 1, "node": 1, "rank": 0}
KEY = {"trace": 1, "node": 1}
HISTORIES: dict[str, Any] = {
    "no list": {"table": "pin"},
    "no change": ["pin"],
    "a table no edit changes": [{"table": "owner", "key": {"id": 1}, "before": {"id": 1}, "after": {"id": 1}}],
    "the schema": [{"table": "sqlite_master", "key": {}, "before": None, "after": {}}],
    "a statement for a table": [{"table": "pin; DROP TABLE pin; --", "key": KEY, "before": None, "after": PIN}],
    "a list for a table": [{"table": ["pin"], "key": KEY, "before": None, "after": PIN}],
    "a statement for a column": [
        {"table": "pin", "key": KEY, "before": None, "after": {**PIN, "rank = 0; DROP TABLE pin; --": 1}}
    ],
    "a column too few": [{"table": "pin", "key": KEY, "before": None, "after": KEY}],
    "a column no edit changes": [
        {
            "table": "trace",
            "key": {"id": 1},
            "before": {"id": 1, "title": "Trace 1", "deleted": 0, "parent": 0, "rank": 0, "n_nodes": N},
            "after": {"id": 1, "title": "Trace 1", "deleted": 0, "parent": 0, "rank": 0, "n_nodes": 10**9},
        }
    ],
    "a text for a number": [{"table": "pin", "key": KEY, "before": None, "after": {**PIN, "rank": "0"}}],
    "a truth for a number": [{"table": "pin", "key": KEY, "before": None, "after": {**PIN, "rank": False}}],
    "a number no column holds": [{"table": "pin", "key": KEY, "before": None, "after": {**PIN, "rank": 2**63}}],
    "another key": [{"table": "pin", "key": {"trace": 1, "node": 2}, "before": None, "after": PIN}],
    "a row that changes its key": [{"table": "pin", "key": KEY, "before": PIN, "after": {**PIN, "node": 2}}],
    "a project to nothing": [
        {"table": "project", "key": {"id": 1}, "before": None, "after": {"id": 1, "name": "texas"}}
    ],
    "a trace out of nothing": [
        {
            "table": "trace",
            "key": {"id": 3},
            "before": None,
            "after": {"id": 3, "title": "x", "deleted": 0, "parent": 0, "rank": 2},
        }
    ],
    "a trace to nothing": [
        {
            "table": "trace",
            "key": {"id": 1},
            "before": {"id": 1, "title": "Trace 1", "deleted": 0, "parent": 0, "rank": 0},
            "after": None,
        }
    ],
    "no row at all": [{"table": "pin", "key": KEY, "before": None, "after": None}],
    "a row that is otherwise": [{"table": "pin", "key": KEY, "before": None, "after": {**PIN, "rank": 5}}],
    "a row that is not there": [
        {"table": "pin", "key": {**KEY, "node": 3}, "before": None, "after": {**PIN, "node": 3}}
    ],
    "one row that is as it says and one that is not": [
        {"table": "pin", "key": {**KEY, "node": 3}, "before": None, "after": {**PIN, "node": 3}},
        {"table": "pin", "key": KEY, "before": None, "after": PIN},
    ],
    "a trace that is not there": [
        {"table": "pin", "key": KEY, "before": {"trace": 1, "node": 1, "rank": 0}, "after": None},
        {"table": "pin", "key": {"trace": 9, "node": 1}, "before": {**PIN, "trace": 9}, "after": None},
    ],
}


@pytest.mark.parametrize("name", HISTORIES)
def test_histories_of_other_files(closed: Path, name: str) -> None:
    change_file(closed, "UPDATE history SET changes = ?", json.dumps(HISTORIES[name]))
    with Project.open(closed) as project:
        before, rows = everything(project), dump(closed)
        with pytest.raises(RequestError, match="is damaged"):
            project.undo()
        assert everything(project) == before
        assert dump(closed) == rows


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [line for line in connection.iterdump() if '"owner"' not in line]
    finally:
        connection.close()


@pytest.mark.parametrize("text", ["", "[", "null", "[" * 100_000, "[1e999]", '[{"table": NaN}]'])
def test_histories_that_are_no_json(closed: Path, text: str) -> None:
    change_file(closed, "UPDATE history SET changes = ?", text)
    with Project.open(closed) as project, pytest.raises(RequestError, match="is damaged"):
        project.undo()


SNAPSHOT = [table for table, edited in EDITED.items() if edited.snapshot]


def snapshot_of(**tables: Any) -> str:
    content = json.dumps({**{table: [] for table in SNAPSHOT}, **tables})
    return f"INSERT INTO snapshot VALUES (1, 'x', '{content}')"


@pytest.mark.parametrize(
    ("statement", "use"),
    [
        (f"INSERT INTO pin VALUES (1, {N}, 0)", "annotations"),
        ("INSERT INTO pin VALUES (1, -1, 0)", "annotations"),
        (f"INSERT INTO label VALUES (1, {N}, 'x', 'person')", "annotations"),
        ("INSERT INTO place VALUES (1, '[1]', 0.0, 0.0)", "annotations"),
        ("INSERT INTO place VALUES (1, 'true', 0.0, 0.0)", "annotations"),
        ("INSERT INTO place VALUES (1, 'x', 0.0, 0.0)", "annotations"),
        ("INSERT INTO place VALUES (1, '2', 9e999, 0.0)", "annotations"),
        ("INSERT INTO supernode VALUES (5, 1, 'x', 'red\"/><script>', 0, 0, '')", "annotations"),
        ("INSERT INTO supernode VALUES (5, 1, 'x', '', 0, 5, '')", "annotations"),
        ("INSERT INTO supernode VALUES (5, 1, 'x', '', 0, 6, '')", "annotations"),
        ("INSERT INTO supernode VALUES (5, 1, 'x', '', 0, 6, ''), (6, 1, 'x', '', 0, 5, '')", "annotations"),
        ("INSERT INTO label VALUES (1, 2, 'x', 'nobody')", "annotations"),
        ("INSERT INTO pin VALUES (1, 2, 9223372036854775807)", "pin"),
        ("INSERT INTO sqlite_sequence VALUES ('supernode', 'x')", "group"),
        ("INSERT INTO sqlite_sequence VALUES ('supernode', 9223372036854775807)", "group"),
        ("INSERT INTO view VALUES (1, '[]')", "view"),
        ("INSERT INTO setting VALUES ('draft', '{')", "setting"),
        ("INSERT INTO effect VALUES ('a', '{')", "effects"),
        ("INSERT INTO words (text, kind, trace, item) VALUES ('needle', 'label', 1, 'x')", "search"),
        ("INSERT INTO snapshot VALUES (1, 'x', '{}')", "snapshot"),
        ("INSERT INTO snapshot VALUES (1, 'x', '[')", "snapshot"),
        (
            snapshot_of(**{table: 0 for table in SNAPSHOT}),
            "snapshot",
        ),
        (
            snapshot_of(pin=[{"trace": 1}]),
            "snapshot",
        ),
        (
            snapshot_of(member=[{"supernode": 7, "node": 1, "rank": 0}]),
            "snapshot",
        ),
    ],
)
def test_rows_that_cannot_be_right(closed: Path, statement: str, use: str) -> None:
    change_file(closed, statement)
    with Project.open(closed) as project:
        uses: dict[str, Callable[[], object]] = {
            "annotations": lambda: project.annotations(1),
            "pin": lambda: project.pin(1, [3]),
            "group": lambda: project.add_group(1, "x", [1]),
            "view": lambda: project.view(1),
            "setting": lambda: project.setting("draft"),
            "effects": lambda: project.effects("a"),
            "search": lambda: project.search("needle"),
            "snapshot": lambda: project.restore_snapshot(1),
        }
        with pytest.raises(RequestError, match="is damaged"):
            uses[use]()
        assert project.name == "texas"


def test_a_flipped_bit_in_a_label_costs_one_letter(closed: Path) -> None:
    change_file(closed, "INSERT INTO label VALUES (1, 2, CAST(x'4175ff74696e' AS TEXT), 'person')")
    with Project.open(closed) as project:
        assert project.annotations(1).labels == {2: "Au\ufffdtin"}
        project.set_label(1, 2, "Austin")
        project.undo()
        project.redo()
        assert project.annotations(1).labels == {2: "Austin"}


def test_the_tables_of_this_version_are_these() -> None:
    """A file is compared with these words: whoever changes one must raise the version and bring old files along."""
    import hashlib

    words = "\n".join(" ".join(sql.split()) for sql in TABLES.values())
    assert USER_VERSION == 1 << 16 | 1
    assert hashlib.sha256(words.encode()).hexdigest()[:16] == "c2ec044b9ad6dc40"
