"""The short form of `make fuzz`: changed files give a sentence or are used; none crashes or hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.engine.projects.test_killed import ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="fork exists on POSIX only")


def test_changed_files_neither_crash_nor_hang() -> None:
    command = [sys.executable, "-m", "tests.engine.projects.fuzz", "--inputs", "500", "--seed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["inputs"] == 500
    kinds = ("a project, used", "a project, parts refused", "a project, refused", "an array, read", "an array, refused")
    for what in (*kinds, "labels, read", "labels, refused", "steps, read", "steps, refused"):
        assert found.get(what, 0) > 0, found
