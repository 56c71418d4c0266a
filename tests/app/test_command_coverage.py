"""No command without a test that runs it, and no list of commands that is out of date."""

from __future__ import annotations

import re
from pathlib import Path

from app.commands.catalogue import all_commands
from app.commands.reference import as_markdown
from app.window import MainWindow

HERE = Path(__file__).parent
MARK = re.compile(r"mark\.command\(([^)]*)\)")


def marked() -> set[str]:
    """The commands that tests of the window are marked with; each such test fails where it does not run them."""
    texts = [path.read_text(encoding="utf-8") for path in HERE.rglob("test_*.py")]
    return {name for text in texts for found in MARK.findall(text) for name in re.findall(r'"([^"]+)"', found)}


def test_every_command_has_a_test(window: MainWindow) -> None:
    there = {command.id for command in all_commands(window)}
    missing = sorted(there - marked())
    assert not missing, f"no test is marked with @pytest.mark.command of: {', '.join(missing)}"
    gone = sorted(marked() - there)
    assert not gone, f"tests are marked with commands that are not there: {', '.join(gone)}"


def test_the_page_of_commands_is_current(window: MainWindow) -> None:
    written = (HERE.parent.parent / "docs" / "commands.md").read_text(encoding="utf-8")
    page = as_markdown(window.registry)
    assert page == written, "the commands have changed: run `make commands` and commit docs/commands.md"
    for action in window.registry.actions():
        assert f"| {action.command.name} |" in page
