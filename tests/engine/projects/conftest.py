"""A project with two traces, and what several tests ask of one."""

from __future__ import annotations

import json
import sqlite3
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a new project may be made."""
    return tmp_path / "texas.loupe"


@pytest.fixture
def project(path: Path) -> Iterator[Project]:
    """A project with two traces, 1 and 2."""
    with Project.create(path) as made:
        for number in (1, 2):
            graph = small_graph(number)
            assert made.add_trace({**REPORT, "number": number}, graph, title=f"Trace {number}") == number
        yield made


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
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute(sql, values)
        connection.commit()
    finally:
        connection.close()
