"""Damaged projects: nothing of the damaged file is written, what can be saved is saved, what was not is said."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from engine.cli import main
from engine.errors import LoupeError, RequestError
from engine.projects import Asked, DamagedProjectError, Project, rescue
from engine.tracing.spec import Prompt, TraceSpec
from tests.engine.projects.conftest import assert_same_graph, change_file, everything, small_graph
from tests.engine.projects.test_hostile_files import check_sentence
from tests.engine.projects.test_killed import INTERRUPTED, run
from tests.engine.projects.test_migration import OLD, check_content


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "texas.loupe"
    with Project.create(path) as project:
        for number in (1, 2):
            asked = Asked(TraceSpec(Prompt("Texas")), "neurons")
            project.add_trace({}, small_graph(number), title=f"Trace {number}", asked=asked)
            for node in range(8):
                project.set_label(number, node, f"label {number}.{node}")
        project.add_group(1, "group", [4, 5])
        project.set_note(1, "what is known")
        project.tree.add_note("Plan", "look at Dallas")
        project.feature_labels.set("d", 1, 2, "everywhere")
        project.experiments.add("ablate", "Without", {}, {"change": 1.0})
    return path.read_bytes()


def pages_of(content: bytes, path: Path, name: str) -> list[int]:
    path.write_bytes(content)
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    connection.close()
    return [int(page)]


def without_page(content: bytes, page: int, filler: bytes = bytes(4096)) -> bytes:
    return content[: (page - 1) * 4096] + filler + content[page * 4096 :]


def test_a_whole_file_is_saved_whole(whole: bytes, path: Path) -> None:
    path.write_bytes(whole)
    with Project.open(path, read_only=True) as project:
        state = everything(project)
    before = path.read_bytes()
    done = rescue(path)
    assert path.read_bytes() == before
    assert done.lost == ()
    assert done.project == path.with_name("texas (rescued).loupe")
    assert done.damaged == path.with_name("texas (damaged).loupe")
    assert done.damaged.read_bytes() == before
    assert (done.saved["trace"], done.saved["label"]) == (2, 16)
    with Project.open(done.project) as saved:
        assert everything(saved) == state
        assert_same_graph(saved.load_graph(2), small_graph(2))
        assert saved.undo_title is not None
        while saved.undo() is not None:
            pass
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(
        file.name for file in (path, done.project, done.damaged)
    )


def test_every_page_may_be_lost(whole: bytes, path: Path) -> None:
    """Whichever page is gone: most is saved, all of it can be used, and what was lost is said."""
    chance = random.Random(4)
    saved_both = 0
    for page in range(1, len(whole) // 4096 + 1, 2):
        filler = bytes(4096) if page % 4 == 1 else chance.randbytes(4096)
        content = without_page(whole, page, filler)
        path.write_bytes(content)
        done = rescue(path)
        assert path.read_bytes() == content
        assert all(sentence.endswith(".") for sentence in done.lost)
        with Project.open(done.project) as project:
            rows = project.traces()
            lost = [sentence for sentence in done.lost if "the graph is lost" in sentence]
            if not any("traces are lost" in sentence for sentence in done.lost):
                assert len(rows) + len(lost) == 2, (page, done.lost)
            saved_both += len(rows) == 2
            for row in rows:
                assert_same_graph(project.load_graph(row.id), small_graph(row.id))
                project.annotations(row.id)
                if not done.lost:
                    assert len(project.annotations(row.id).labels) == 8
            project.tree.entries()
            project.feature_labels.all()
            project.experiments.all()
            project.search("label")
            project.add_trace({}, small_graph(3), title="goes on")
        for file in path.parent.iterdir():
            file.unlink()
    assert saved_both > 0.7 * len(whole) / 8192


def test_a_lost_graph_leaves_what_was_written_on_it(whole: bytes, path: Path) -> None:
    path.write_bytes(whole)
    which = "(SELECT array FROM graph_column WHERE trace = 1 AND name = 'weight')"
    change_file(path, f"UPDATE array SET data = x'00' WHERE id = {which}")
    done = rescue(path)
    assert done.lost == (
        "Of the trace 'Trace 1' the graph is lost; what was written on it is in a note.",
        "Some parts of graphs are lost.",
        "The steps that could be undone, and the earlier states, are lost.",
    )
    with Project.open(done.project) as project:
        assert [row.title for row in project.traces()] == ["Trace 2"]
        (note,) = [entry for entry in project.tree.entries() if entry.title == "Rescued from Trace 1"]
        text = project.tree.text(note.ref)
        assert "what is known" in text
        assert "Label of node 3: label 1.3" in text
        assert "Supernode: group" in text
        assert '"max_nodes":1000' in text
        assert project.undo_title is None


def test_a_lost_index_of_words_costs_nothing(whole: bytes, path: Path) -> None:
    (page,) = pages_of(whole, path, "words_content")
    path.write_bytes(without_page(whole, page, b"\x0d" + bytes(4095)))
    done = rescue(path)
    assert done.lost == ()
    with Project.open(done.project) as project:
        assert [hit.kind for hit in project.search("Dallas")] == ["item"]
        assert project.undo() is not None


@pytest.mark.parametrize("filler", [bytes(4096), b"\xff" * 4096])
def test_the_first_page_may_be_lost(whole: bytes, path: Path, filler: bytes) -> None:
    path.write_bytes(without_page(whole, 1, filler))
    with pytest.raises(RequestError):
        Project.open(path)
    done = rescue(path)
    assert done.lost == ()
    with Project.open(done.project) as project:
        assert len(project.traces()) == 2


def test_a_broken_header_costs_nothing(whole: bytes, path: Path) -> None:
    path.write_bytes(b"\0" * 100 + whole[100:])
    assert rescue(path).lost == ()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_cut_short(whole: bytes, path: Path, share: float) -> None:
    path.write_bytes(whole[: int(len(whole) * share)])
    done = rescue(path)
    assert done.lost
    with Project.open(done.project) as project:
        assert project.name == "texas"
        for row in project.traces():
            project.load_graph(row.id)


def test_a_half_made_transaction_is_taken_back(whole: bytes, path: Path) -> None:
    path.write_bytes(whole)
    with run(INTERRUPTED, path):
        pass
    done = rescue(path)
    assert done.lost == ()
    with Project.open(done.project) as project:
        assert project.annotations(1).labels[3] == "label 1.3"
        assert project.setting("1") is None


def test_a_file_of_the_version_before(path: Path) -> None:
    shutil.copy(OLD, path)
    change_file(path, "DELETE FROM words_data")
    done = rescue(path)
    assert done.lost == ("The steps that could be undone, and the earlier states, are lost.",)
    with Project.open(done.project) as project:
        check_content(project)


@pytest.mark.parametrize("content", [b"", b"x" * 50, b"To be or not to be. " * 5000])
def test_what_was_never_a_project(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"Nothing of texas\.loupe could be saved"):
        rescue(path)
    assert path.read_bytes() == content
    assert len(list(path.parent.iterdir())) == 2


def test_no_file_is_written_over(whole: bytes, path: Path) -> None:
    path.write_bytes(whole)
    rescue(path)
    second = rescue(path)
    assert second.project.name == "texas (rescued 2).loupe"
    with pytest.raises(RequestError, match="already there"):
        rescue(path, second.project)
    with pytest.raises(RequestError, match="There is no file"):
        rescue(path.with_name("none.loupe"))


def test_hostile_tables_are_not_read(whole: bytes, path: Path) -> None:
    """A view with a table's name would run for ever; a generated column would compute."""
    path.write_bytes(whole)
    change_file(path, "DROP TABLE effect")
    change_file(
        path, "CREATE VIEW effect AS WITH RECURSIVE n(key) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT key FROM n"
    )
    done = rescue(path)
    assert done.saved["effect"] == 0
    assert done.saved["trace"] == 2


def test_random_damage(whole: bytes, path: Path) -> None:
    chance = random.Random(7)
    saved = 0
    for _ in range(12):
        content = bytearray(whole)
        for _ in range(chance.choice([1, 30, 300])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            done = rescue(path)
        except LoupeError as error:
            check_sentence(error)
        else:
            saved += 1
            with Project.open(done.project) as project:
                for row in project.traces():
                    project.load_graph(row.id)
                    project.annotations(row.id)
        for file in path.parent.iterdir():
            file.unlink()
    assert saved >= 8


def test_from_the_command_line(whole: bytes, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(whole[: int(len(whole) * 0.9)])
    with pytest.raises(DamagedProjectError, match="circuit-loupe rescue"):
        Project.open(path)
    assert main(["rescue", str(path), "--to", str(path.with_name("new.loupe"))]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Saved:  ")
    assert "Lost:   " in out
    assert "new.loupe" in out
    path.write_bytes(whole)
    assert main(["rescue", str(path)]) == 0
    assert "Lost:   nothing\n" in capsys.readouterr().out
    assert main(["rescue", str(path.with_name("none.loupe"))]) == 2
