"""What a file says about nodes or links and this program has no column for, kept compactly, one entry a key.

Each record of the file is compared with the record that this program would write; only differences are kept:

    {"every": v}                      the same value in every record
    {"at": {"3": v}, "absent": [5]}   the value of some records, and those that lack the key
    {"each": [...], "absent": [5]}    a value a record (null where absent)
    {"none": true}                    no record has the key
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]
Columns = dict[str, Record]


class _Missing:
    """No value: the record lacks the key."""


MISSING = _Missing()


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are written alike (1, 1.0 and true are not, nor are 0.0 and -0.0)."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return bool(one == other) and (one != 0 or repr(one) == repr(other))
    if isinstance(one, dict | list):
        return _same_inside(one, other)
    return bool(one == other)


def _same_inside(one: Any, other: Any) -> bool:
    if len(one) != len(other):
        return False
    if isinstance(one, dict):
        return all(key in other and same(value, other[key]) for key, value in one.items())
    return all(same(a, b) for a, b in zip(one, other, strict=True))


def keep_differences(records: Sequence[Record], expected: Sequence[Record]) -> Columns:
    """What must be known to get `records` back from `expected`."""
    keys: dict[str, None] = {}
    for record in (*records, *expected):
        keys.update(dict.fromkeys(record))
    columns = {}
    for key in keys:
        values = [record.get(key, MISSING) for record in records]
        column = keep_column(values, [record.get(key, MISSING) for record in expected])
        if column is not None:
            columns[key] = column
    return columns


def keep_column(values: Sequence[Any], expected: Sequence[Any]) -> Record | None:
    """One key's differences; None where there are none."""
    differing = [i for i, value in enumerate(values) if not same(value, expected[i])]
    if not differing:
        return None
    absent = [i for i, value in enumerate(values) if value is MISSING]
    if len(absent) == len(values):
        return {"none": True}
    if len(differing) == len(values) and not absent and all(same(value, values[0]) for value in values):
        return {"every": values[0]}
    if 2 * len(differing) > len(values):
        return {"each": [None if value is MISSING else value for value in values], "absent": absent}
    given = {str(i): values[i] for i in differing if values[i] is not MISSING}
    return {"at": given, "absent": [i for i in differing if values[i] is MISSING]}


def put_back(records: list[Record], columns: Columns) -> None:
    """Change the records this program would write into those that were kept.

    Raises `ValueError`, `KeyError`, `TypeError` or `IndexError` for columns that `keep_differences` did not make.
    """
    for key, column in columns.items():
        _put_column(records, key, column)


def _put_column(records: list[Record], key: str, column: Record) -> None:
    if "every" in column:
        for record in records:
            record[key] = column["every"]
    elif "none" in column:
        for record in records:
            record.pop(key, None)
    else:
        given = enumerate(column["each"]) if "each" in column else ((int(i), v) for i, v in column["at"].items())
        if "each" in column and len(column["each"]) != len(records):
            raise ValueError(f"{key} of another length")
        for i, value in given:
            records[i][key] = value
        for i in column["absent"]:
            records[i].pop(key, None)
