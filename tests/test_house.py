"""The health of the house: no file grows too long without a reason, and what the docs name is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

LONGEST = 500
# A longer file says why in its first line, in these words.
REASON = "longer than 500 lines because"
ROOMS = ("app/", "docs/", "engine/", "packaging/", "resources/", "tests/")
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "packaging" / "README.md"])
# Named by docs for a file that a person makes, or that a test or a benchmark writes.
MADE = re.compile(r"[*{<…]|\.\.\.")


def sources() -> list[Path]:
    """Every Python file of the repository that is kept in git, or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    ).stdout.split("\n")  # fmt: skip
    found = [REPOSITORY / name for name in listed if name and (REPOSITORY / name).is_file()]
    return found or [path for room in ROOMS for path in (REPOSITORY / room).rglob("*.py")]


def test_a_long_file_has_a_reason() -> None:
    found = sources()
    assert len(found) > 400
    without = []
    for path in found:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > LONGEST and REASON not in lines[0]:
            without.append(f"{path.relative_to(REPOSITORY)}: {len(lines)} lines")
    assert not without, f"split these, or say in the first line “{REASON} …”: {without}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [found.split("#")[0] for found in re.findall(r"\]\(([^)\s]+)\)", text)]
    gone = [link for link in links if link and "://" not in link and not (page.parent / link).exists()]
    for name in re.findall(r"(?<![\w/.-])((?:app|docs|engine|packaging|resources|tests)/[\w./-]*\w)", text):
        if not MADE.search(name) and not (REPOSITORY / name).exists() and not (REPOSITORY / f"{name}.py").exists():
            gone.append(name)
    assert not gone, f"{page.name} names what is not there: {sorted(set(gone))}"
