"""A project with two traces, and what several tests ask of one."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.graphs.graph import AttributionGraph
from engine.projects import Project
from tests.graph_builder import build_graph

REPORT = {"settings": {"prompt": {"text": "The capital of Texas is"}}, "seconds": {"recording": 0.25}}


def memory_folder() -> Path:
    """A new folder, in memory where there is such a place: these tests commit thousands of times, and a drive that is
    busy would make them ten times slower without testing more."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a new project may be made, alone in its folder."""
    folder = memory_folder()
    yield folder / "texas.loupe"
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def two_traces(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a project with two traces, 1 and 2."""
    path = tmp_path_factory.mktemp("two") / "texas.loupe"
    with Project.create(path) as made:
        for number in (1, 2):
            graph = small_graph(number)
            assert made.add_trace({**REPORT, "number": number}, graph, title=f"Trace {number}") == number
    return path.read_bytes()


@pytest.fixture
def project(path: Path, two_traces: bytes) -> Iterator[Project]:
    """A project with two traces, 1 and 2."""
    path.write_bytes(two_traces)
    with Project.open(path) as project:
        yield project


def small_graph(seed: int = 0) -> AttributionGraph:
    return build_graph(n_layers=4, n_positions=4, n_features=20, seed=seed)


def assert_same_graph(found: AttributionGraph, wanted: AttributionGraph) -> None:
    for column in fields(AttributionGraph):
        one, other = getattr(found, column.name), getattr(wanted, column.name)
        if isinstance(other, np.ndarray):
            assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), column.name
        elif column.name == "meta":
            assert json.dumps(one) == json.dumps(other)  # NaN is not equal to itself
        else:
            assert (type(one), one) == (type(other), other), column.name


def everything(project: Project) -> dict[str, Any]:
    """All that a person wrote, as the window would read it."""
    rows = project.traces()
    return {
        "name": project.name,
        "traces": [(row.id, row.title) for row in rows],
        "annotations": {row.id: project.annotations(row.id) for row in rows},
    }


def change_file(path: Path, sql: str, *values: Any) -> None:
    """Change a closed project behind the program's back."""
    connection = sqlite3.connect(path)
    try:
        connection.create_function("unhexed", 1, bytes.fromhex)  # SQLite has unhex() from 3.41 on
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute(sql, values)
        connection.commit()
    finally:
        connection.close()
