"""Files that are not what they say: cut short, flipped, foreign, newer. Each gives a sentence, none an accident."""

from __future__ import annotations

import random
import sqlite3
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from engine.errors import LoupeError, MachineError, RequestError
from engine.projects import Project
from tests.engine.projects.conftest import assert_same_graph, change_file, small_graph


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a project with a little of everything."""
    path = tmp_path_factory.mktemp("whole") / "whole.loupe"
    with Project.create(path) as project:
        project.add_trace({"settings": {"prompt": {"text": "Texas"}}}, small_graph(1), title="one")
        project.pin(1, [1, 2])
        project.set_label(1, 3, "label")
        project.add_group(1, "group", [4, 5])
        project.set_note(1, "note " * 50)
        project.set_position(1, "group 1", 1.0, 2.0)
        project.set_view(1, {"nodes": 0.8})
        project.set_setting("draft", {"text": "The"})
        project.save_effects("a", [1, 2])
    with Project.open(path) as project:
        project.undo()
    return path.read_bytes()


def use_everything(path: Path) -> None:
    """Everything a window does with a project; only sentences for users may come out."""
    with Project.open(path) as project:
        asks: list[Callable[[], object]] = [
            *(partial(ask, 1) for ask in (project.load_graph, project.report, project.annotations, project.view)),
            lambda: project.search("label note"),
            lambda: project.setting("draft"),
            lambda: project.effects("a"),
            lambda: (project.name, project.undo_title, project.redo_title),
            lambda: [project.restore_snapshot(row.id) for row in project.snapshots()],
            lambda: project.set_label(1, 3, "again"),
            lambda: project.add_group(1, "again", [4]),
            lambda: [project.undo() for _ in range(4)],
            lambda: [project.redo() for _ in range(4)],
            lambda: project.pin(1, [7]),
            lambda: project.add_trace({}, small_graph(2), title="more"),
            lambda: [project.load_graph(row.id) for row in project.traces()],
        ]
        for ask in asks:
            try:
                ask()
            except (RequestError, MachineError) as error:
                check_sentence(error)


def check_sentence(error: LoupeError) -> None:
    assert error.sentence.endswith(".")
    assert "\n" not in error.sentence


def refused(path: Path, sentence: str) -> None:
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(RequestError, match=sentence) as error:
            Project.open(path, read_only=read_only)
        check_sentence(error.value)
    assert path.read_bytes() == before


def test_a_whole_file_passes(whole: bytes, path: Path) -> None:
    path.write_bytes(whole)
    use_everything(path)
    path.write_bytes(whole)
    with Project.open(path) as project:
        assert_same_graph(project.load_graph(1), small_graph(1))


def test_a_file_cut_short_anywhere(whole: bytes, path: Path) -> None:
    chance = random.Random(1)
    lengths = [*range(0, 110, 7), 99, 100, 101, 4095, 4096, 4097, len(whole) - 1]
    lengths += [chance.randrange(len(whole)) for _ in range(150)] + list(range(4096, len(whole), 4096))
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(RequestError, match=r"cut short|empty file") as error:
            Project.open(path)
        check_sentence(error.value)


def test_flipped_bits(whole: bytes, path: Path) -> None:
    chance = random.Random(2)
    opened = 0
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 8])):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            use_everything(path)
            opened += 1
        except (RequestError, MachineError) as error:
            check_sentence(error)
    assert 0 < opened < 100, "some flips must be found at opening, and some later"


def test_overwritten_pages(whole: bytes, path: Path) -> None:
    chance = random.Random(3)
    for page in range(len(whole) // 4096):
        for filler in (bytes(4096), chance.randbytes(4096)):
            path.write_bytes(whole[: page * 4096] + filler + whole[(page + 1) * 4096 :])
            try:
                use_everything(path)
            except (RequestError, MachineError) as error:
                check_sentence(error)


def test_a_lost_page_of_an_index_is_found_at_opening(whole: bytes, path: Path) -> None:
    path.write_bytes(whole)
    connection = sqlite3.connect(path)
    name = "sqlite_autoindex_array_1"
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    connection.close()
    path.write_bytes(whole[: (page - 1) * 4096] + b"\x0a" + bytes(4095) + whole[page * 4096 :])
    refused(path, "is damaged")


def test_flips_inside_an_array_are_found(whole: bytes, path: Path) -> None:
    path.write_bytes(whole)
    connection = sqlite3.connect(path)
    blobs = connection.execute("SELECT data FROM array WHERE length(data) > 30").fetchall()
    connection.close()
    found = 0
    for (blob,) in blobs:
        at = whole.find(blob)
        if at < 0:
            continue  # spread over several pages
        damaged = bytearray(whole)
        damaged[at + len(blob) // 2] ^= 16
        path.write_bytes(damaged)
        with Project.open(path) as project, pytest.raises(RequestError, match="damaged"):
            project.load_graph(1)
        found += 1
    assert found > 5


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"texas\.loupe is an empty file, not a project"),
        (b"To be or not to be, that is the question.\n" * 9, "is not a Circuit Loupe project; choose a .loupe file"),
        (b"\x89PNG\r\n\x1a\n", "is not a Circuit Loupe project"),
        (b"SQLite format 3\0", "was cut short"),
        (b"SQLite for", "was cut short"),
    ],
)
def test_files_that_are_something_else(path: Path, content: bytes, sentence: str) -> None:
    path.write_bytes(content)
    refused(path, sentence)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"There is no file .*; check the name, or make a new project there"):
        Project.open(tmp_path / "none.loupe")
    with pytest.raises(RequestError, match=r"is a folder; choose a \.loupe file"):
        Project.open(tmp_path)
    assert list(tmp_path.iterdir()) == [], "looking for a file must not make one"


def test_a_database_of_another_program(path: Path) -> None:
    change_file(path, "CREATE TABLE moz_places (id INTEGER)")
    refused(path, "is a database of another program")


def patched(whole: bytes, at: int, value: int) -> bytes:
    return whole[:at] + struct.pack(">I", value) + whole[at + 4 :]


def test_versions(whole: bytes, path: Path) -> None:
    path.write_bytes(patched(whole, 60, 7))
    refused(path, "carries no format version")
    path.write_bytes(patched(whole, 68, 0x4C4F5551))
    refused(path, "is a database of another program")
    path.write_bytes(whole[:16] + b"\x03\x00" + whole[18:])
    refused(path, "damaged in its first bytes")


def test_a_newer_minor_version_is_read_and_not_written(whole: bytes, path: Path) -> None:
    path.write_bytes(whole)
    change_file(path, "ALTER TABLE label ADD COLUMN author TEXT")
    change_file(path, "CREATE TABLE intervention (id INTEGER PRIMARY KEY) STRICT")
    change_file(path, "CREATE INDEX quick ON label (author)")
    refused(path, "is damaged")
    change_file(path, "PRAGMA user_version = 65538")
    before = path.read_bytes()
    with Project.open(path) as project:
        assert project.read_only_reason == (
            "A newer Circuit Loupe wrote this project, so it is open for reading only; update to edit it."
        )
        assert project.annotations(1).labels == {3: "label"}
        assert_same_graph(project.load_graph(1), small_graph(1))
        with pytest.raises(RequestError, match="update to edit it"):
            project.pin(1, [1])
    assert path.read_bytes() == before
    change_file(path, "ALTER TABLE label RENAME COLUMN text TO words")
    refused(path, "is damaged")


def newer_major(whole: bytes, path: Path, *statements: str) -> None:
    path.write_bytes(whole)
    for statement in (*statements, f"PRAGMA user_version = {9 << 16}"):
        change_file(path, statement)


def test_a_newer_major_version_is_read_as_far_as_it_is_known(whole: bytes, path: Path) -> None:
    newer_major(
        whole,
        path,
        "ALTER TABLE label ADD COLUMN author TEXT",
        "CREATE TABLE intervention (id INTEGER PRIMARY KEY) STRICT",
        "DROP TABLE effect",
        "ALTER TABLE snapshot RENAME TO state",
        "ALTER TABLE trace DROP COLUMN spec",
        "DROP TABLE words",
        "CREATE INDEX quick ON label (author)",
    )
    before = path.read_bytes()
    with Project.open(path) as project:
        assert project.read_only_reason == (
            "A newer Circuit Loupe wrote this project in a format of its own, so it is open for reading only, without "
            "what is new in it; update to edit it."
        )
        assert project.annotations(1).labels == {3: "label"}
        assert [hit.text for hit in project.search("label")] == ["label"]
        assert_same_graph(project.load_graph(1), small_graph(1))
        with pytest.raises(RequestError, match="update to edit it"):
            project.pin(1, [1])
        project.save_copy(path.with_name("copy.loupe"))
    assert path.read_bytes() == before
    with Project.open(path.with_name("copy.loupe")) as copy:
        assert not copy.read_only, "a copy is a project of this version"
        copy.pin(1, [1])
        assert copy.annotations(1).labels == {3: "label"}


def test_a_newer_major_version_with_nothing_known_in_it(whole: bytes, path: Path) -> None:
    newer_major(whole, path, "PRAGMA foreign_keys=OFF", "ALTER TABLE trace RENAME COLUMN n_nodes TO size")
    refused(path, "holds nothing this program can read; update")
    newer_major(whole, path, "CREATE VIEW v AS SELECT 1")
    refused(path, "holds a view")
    path.write_bytes(patched(whole, 60, 0xFFFF_FFFF))
    with Project.open(path) as project:
        assert project.read_only


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON pin BEGIN DELETE FROM trace; END", "holds a trigger, which no project has"),
        ("CREATE VIEW v AS SELECT 1", "holds a view, which no project has"),
        ("CREATE TABLE extra (id INTEGER)", "is damaged"),
        ("CREATE INDEX extra ON label (abs(node))", "is damaged"),
        ("DROP TABLE effect", "is damaged"),
        ("ALTER TABLE label ADD COLUMN made TEXT GENERATED ALWAYS AS (1)", "is damaged"),
        ("DELETE FROM project", "is damaged"),
        ("INSERT INTO pin VALUES (99, 0, 0)", "is damaged"),
        ("UPDATE graph_column SET array = 999 WHERE name = 'kind'", "is damaged"),
    ],
)
def test_schemas_no_project_has(whole: bytes, path: Path, statement: str, sentence: str) -> None:
    path.write_bytes(whole)
    change_file(path, statement)
    refused(path, sentence)


def test_a_hostile_newer_version_has_no_trigger_either(whole: bytes, path: Path) -> None:
    path.write_bytes(patched(whole, 60, 1 << 16 | 9))
    change_file(path, "CREATE VIEW v AS SELECT 1")
    refused(path, "holds a view")
