"""Experiments in a project: what was done, what came out, and what that says of the claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.errors import RequestError
from engine.projects import encoding
from engine.projects.encoding import now
from engine.projects.faults import DamageError
from engine.projects.ledger import Ledger
from engine.projects.rows import index_text
from engine.projects.texts import MAX_NAME, clean_content, clean_text
from engine.projects.tree_rows import TOP, TreeRef, check_folder, entry_row, last_rank

# What experiments say of a claim; each experiment has one.
EVIDENCE = ("untested", "supported", "contradicted", "unclear")


@dataclass(frozen=True)
class ExperimentRow:
    """One experiment, without what came out."""

    id: int
    title: str
    created: str  # ISO 8601, UTC
    trace: int  # 0: of no trace
    kind: str
    evidence: str  # one of EVIDENCE


class Experiments:
    """The experiments of one project. They are added like traces, which is no step of undo. What an experiment
    says of its claim is written once, by what was run; nothing here changes it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(
        self,
        kind: str,
        title: str,
        settings: dict[str, Any],
        result: dict[str, Any],
        *,
        trace: int = 0,
        evidence: str = "untested",
    ) -> int:
        """Keep an experiment; its number. May be called from any thread.

        `settings` is all that is needed to do it again, `result` what came out: plain JSON values.
        """
        row: dict[str, Any] = {
            "title": clean_text(title, MAX_NAME, "A title"),
            "deleted": 0,
            "evidence": _asked(evidence),
        }
        row |= {"created": now(), "trace": int(trace), "kind": clean_text(kind, MAX_NAME, "A kind")}
        row |= {"settings": clean_content(settings, "Settings"), "result": clean_content(result, "A result")}
        with self._ledger.file.writing() as db:
            folder = entry_row(db, TreeRef("trace", trace))["parent"] if trace else TOP
            row |= {"parent": check_folder(db, folder), "rank": last_rank(db, folder) + 1}
            cursor = db.conn.execute(
                f"INSERT INTO experiment ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
            )
            number = int(cursor.lastrowid)
            index_text(db, "experiment", {"id": number, "title": row["title"]})
        return number

    def all(self, trace: int | None = None) -> list[ExperimentRow]:
        """The experiments, oldest first; those of one trace, or all that are of none or of one that is there."""
        with self._ledger.reading() as db:
            rows = db.conn.execute(
                "SELECT id, title, created, trace, kind, evidence FROM experiment WHERE deleted = 0 AND "
                "(trace = 0 OR trace IN (SELECT id FROM trace WHERE deleted = 0)) ORDER BY id"
            ).fetchall()
            if any(row[5] not in EVIDENCE for row in rows):
                raise DamageError("an outcome of no kind")
        return [ExperimentRow(*row) for row in rows if trace in (None, row[3])]

    def settings(self, number: int) -> dict[str, Any]:
        """What was done."""
        return self._json(number, "settings")

    def result(self, number: int) -> dict[str, Any]:
        """What came out."""
        return self._json(number, "result")

    def _json(self, number: int, column: str) -> dict[str, Any]:
        with self._ledger.reading() as db:
            entry_row(db, TreeRef("experiment", number))
            row = db.conn.execute(f"SELECT {column} FROM experiment WHERE id = ?", (number,)).fetchone()
            return encoding.read_table(row[0])


def _asked(evidence: str) -> str:
    if evidence not in EVIDENCE:
        raise RequestError(f"{evidence!r} is no outcome; say one of {', '.join(EVIDENCE)}.")
    return evidence
