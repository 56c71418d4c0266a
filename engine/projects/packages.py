"""A project as it is given to others: what it holds, without paths, names of people, and what was taken back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import sqlite_utils

from engine.projects import encoding
from engine.projects.connection import connect, transaction
from engine.projects.faults import DamageError, plainly
from engine.projects.opening import make_file
from engine.projects.placing import placed
from engine.projects.rows import index_text
from engine.projects.schema import EDITED

_LIVE = "IN (SELECT id FROM trace WHERE deleted = 0)"
# What goes along, in an order in which nothing refers to what is not there yet. The history, kept states, and the
# settings of the window do not: they hold what was deleted, and where files are.
_CONTENT: dict[str, str] = {
    "array": f"id IN (SELECT array FROM graph_column WHERE trace {_LIVE})",
    "trace": "deleted = 0",
    "graph_column": f"trace {_LIVE}",
    **{table: f"trace {_LIVE}" for table in ("pin", "label", "supernode")},
    "member": f"supernode IN (SELECT id FROM supernode WHERE trace {_LIVE})",
    **{table: f"trace {_LIVE}" for table in ("note", "place", "view", "suggestion")},
    "effect": "1",
    "feature_label": "1",
    "label_version": f"trace = 0 OR trace {_LIVE}",
    "item": f"trace = 0 OR trace {_LIVE}",
    "tag": "1",
    "experiment": f"deleted = 0 AND (trace = 0 OR trace {_LIVE})",
}
_JSON = {"report", "meta", "spec", "content", "settings", "result", "value"}
# A prompt is what was traced: another text would be another trace.
_AS_IT_IS = {("trace", "prompt"), ("trace", "target")}
_PROMPTS = {"prompt", "tokens", "token", "text"}

_HOME = re.compile(r"(?:/home/|/Users/|[A-Za-z]:[\\/]+Users[\\/]+)[^/\\\s\"':;,]+")
_START = r"(?<![\w.~/\\:])(?:[A-Za-z]:[\\/]+|\\\\|/|~[\\/]|file:/+)"
_PATH = re.compile(_START + r"(?:[^/\\\s\"'<>:;,]+[\\/]+)+([^/\\\s\"'<>:;,]*)")
_A_HOME = re.compile(r"(?:/home/|/Users/|[A-Za-z]:[\\/]+Users[\\/]+)[^/\\]+[/\\]*\Z|/root/?\Z")
_WHOLE_PATH = re.compile(r"(?:[A-Za-z]:[\\/]|\\\\|/|~[\\/]|file:/)[^\n]*\Z")


def make_package(db: sqlite_utils.Database, name: str, path: Path, *, overwrite: bool) -> None:
    """Write what the project holds to a new file, ready to be given away.

    Raises `RequestError` if something is there already, `MachineError` if it cannot be written.
    """
    with placed(path, overwrite=overwrite) as temporary, plainly(path.name):
        make_file(temporary, without_paths(name), overwrite=False)
        package = connect(temporary, "rw")
        try:
            with transaction(package):
                package.conn.execute("PRAGMA defer_foreign_keys=ON")
                for table, where in _CONTENT.items():
                    for row in db.query(f"SELECT * FROM {table} WHERE {where}"):
                        _write(package, table, {column: _clean(table, column, row[column]) for column in row})
        finally:
            package.conn.close()


def _write(package: sqlite_utils.Database, table: str, row: dict[str, Any]) -> None:
    package.conn.execute(
        f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )
    edited = EDITED.get(table)
    if edited is not None and edited.item is not None:
        index_text(package, table, row)


def _clean(table: str, column: str, value: Any) -> Any:
    if not isinstance(value, str) or table == "array" or (table, column) in _AS_IT_IS:
        return value
    if column in _JSON:
        try:
            return encoding.write(_walk(encoding.read(value)))
        except DamageError:
            return "{}"
    return without_paths(value)


def _walk(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {without_paths(name): _walk(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_walk(one, key) for one in value]
    if not isinstance(value, str) or key in _PROMPTS:
        return value
    if not _WHOLE_PATH.match(value):
        return without_paths(value)
    return "~" if _A_HOME.match(value) or value.rstrip("/\\") == str(Path.home()) else last_part(value)


def last_part(path: str) -> str:
    """The name at the end of a path of any system."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def without_paths(text: str) -> str:
    """A text in which every absolute path is only its last part, and no home folder is named."""
    home = str(Path.home())
    text = _HOME.sub("~", text.replace(home, "~") if len(home) > len("/root") else text)
    return _PATH.sub(lambda found: found[1] or last_part(found[0]), text)
