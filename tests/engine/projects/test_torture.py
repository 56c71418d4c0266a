"""The short form of `make torture`: killed at random moments, nothing that was said is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.engine.projects.conftest import memory_folder
from tests.engine.projects.test_killed import ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL and fork exist on POSIX only")


def test_nothing_said_is_lost_whenever_it_is_killed() -> None:
    folder = memory_folder()
    command = [sys.executable, "-m", "tests.engine.projects.torture", "--kills", "30", "--folder", str(folder)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        folder.rmdir()
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["kills"] == 30
    assert figures["edits said"] > 30, "the test must let it work"
    assert figures["of them traced live"] > 0, "some are traced while it is killed"
