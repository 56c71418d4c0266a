"""The small JSON and YAML files beside a dictionary's weights: bounded, run nothing, every value checked when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from engine.dictionaries.tensor_headers import label, printable
from engine.errors import RequestError
from engine.models.plain_yaml import parse_yaml

LARGEST_SETTINGS = 1 << 20
LONGEST_TEXT = 200


class Settings:
    """What a file says, by key; every reading method raises `RequestError` naming file and key."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self.path = path
        self.values = values

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def text(self, key: str, default: str = "") -> str:
        """A short text."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.refuse(key, "is not a text")
        return printable(value, LONGEST_TEXT)

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.refuse(key, "is neither true nor false")
        return value

    def count(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number, no smaller than `least`."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
            self.refuse(key, f"is not a whole number from {least} up")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of short texts; one text is a list of one."""
        value = self.values.get(key)
        value = [value] if isinstance(value, str) else value
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > 10_000 or not all(isinstance(one, str) for one in value):
            self.refuse(key, "is not a list of texts")
        return [printable(one, 1000) for one in value]

    def numbers(self, key: str, count: int) -> list[float]:
        """A list of so many finite numbers."""
        value = self.values.get(key)
        if not isinstance(value, list) or len(value) != count:
            self.refuse(key, f"is not a list of {count} numbers")
        if not all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e30 for one in value):
            self.refuse(key, "holds what is not a finite number")
        return [float(one) for one in value]

    def inner(self, key: str) -> Settings:
        """The settings inside a key; empty where there are none."""
        value = self.values.get(key)
        if value is None:
            return Settings(self.path, {})
        if not isinstance(value, dict):
            self.refuse(key, "holds no settings")
        return Settings(self.path, value)

    def refuse(self, key: str, why: str) -> NoReturn:
        """Raise a `RequestError` about a key."""
        raise RequestError(f"{key} of {label(self.path)} {why}; get the dictionary again, or correct the file.")


def read_json(path: Path, largest: int = LARGEST_SETTINGS) -> Settings:
    """A JSON file of settings; `RequestError` where it is missing, too large, or not readable."""
    text = _bounded(path, largest)
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path} is not a readable JSON file; get the dictionary again.") from error
    return _settings(path, raw)


def read_yaml(path: Path) -> Settings:
    """A YAML file of settings; empty where there is none, `RequestError` where it is too large or not readable."""
    if not path.exists():
        return Settings(path, {})
    text = _bounded(path, LARGEST_SETTINGS)
    try:
        raw = parse_yaml(text)
    except ValueError as error:
        raise RequestError(f"{path} is not a readable YAML file; get the dictionary again.") from error
    return _settings(path, {} if raw is None else raw)


def _bounded(path: Path, largest: int) -> str:
    try:
        if path.stat().st_size > largest:
            raise RequestError(f"{label(path)} is larger than a dictionary's settings can be; choose the folder again.")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path} cannot be read; get the dictionary again.") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not a text file; get the dictionary again.") from error


def _settings(path: Path, raw: Any) -> Settings:
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise RequestError(f"{path} is no config of a dictionary; get the dictionary again.")
    return Settings(path, raw)
