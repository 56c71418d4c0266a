"""Reading a project of a newer major version: what this program knows of its tables, in a private copy.

Nothing is promised of such a file but that it is a whole database: columns may have gone, or hold something else. Rows
that the tables of this version do not take are left out, and every graph is checked when it is read, as always.
"""

from __future__ import annotations

from collections import Counter

import sqlite_utils

from engine.errors import RequestError
from engine.projects.connection import connect_private, transaction
from engine.projects.opening import fill
from engine.projects.texts import MAX_NAME
from engine.projects.tolerant_copying import COPIED, copy_name, copy_table, drop_without_reference, index_all


def known_part(db: sqlite_utils.Database, name: str) -> sqlite_utils.Database:
    """What of a newer project is understood, as a project of this version. The caller closes it.

    Raises `RequestError` if nothing in it is.
    """
    copy = connect_private()
    left_out: Counter[str] = Counter()
    try:
        fill(copy, name.rpartition(".")[0][:MAX_NAME] or name[:MAX_NAME])
        copy.conn.execute("PRAGMA foreign_keys=OFF")  # references are checked when every row is there
        with transaction(copy):
            copy_name(db, copy)
            for table in COPIED:
                copy_table(db, copy, table, left_out, check_arrays=False)
            drop_without_reference(copy, left_out)
            index_all(copy)
        copy.conn.execute("PRAGMA foreign_keys=ON")
        if not any(copy[table].count for table in ("trace", "item", "experiment", "feature_label")):
            raise RequestError(
                f"{name} was written by a newer Circuit Loupe and holds nothing this program can read; update Circuit "
                "Loupe to open it."
            )
    except BaseException:
        copy.conn.close()
        raise
    return copy
