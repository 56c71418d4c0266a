"""What the program is made of, and under which terms: from the installed packages, or from the bundle's own list."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PROGRAM = "circuit-loupe"
BUNDLED = "LICENCES.txt"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
_TEXTS = re.compile(r"(licen[cs]e|copying|notice|authors)", re.IGNORECASE)
_LINE = "=" * 78


@dataclass(frozen=True)
class Part:
    """One package that comes with the program: its licence in a few words, and the texts that go with it."""

    name: str
    version: str
    licence: str
    texts: tuple[str, ...]


def needed() -> set[str]:
    """Names of the program and of all packages that it needs to run here."""
    found: dict[str, str] = {}
    waiting = [PROGRAM]
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            one = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # It is needed on other platforms only.
        found[key] = name
        waiting += _always(one.requires or ())
    return set(found.values())


def _always(requirements: Iterable[str]) -> list[str]:
    """Names of what is always needed: extras are left out, and markers of platforms are settled by what is there."""
    named = (_NAME.match(one) for one in requirements if "extra ==" not in one)
    return [found.group(0) for found in named if found is not None]


def _licence(one: metadata.Distribution) -> str:
    info = one.metadata
    said = next((info[name] for name in ("License-Expression", "License") if name in info), "")
    if said and "\n" not in said and len(said) < 120:
        return said
    classified = [line.rpartition(" :: ")[2] for line in info.get_all("Classifier") or () if line.startswith("License")]
    return ", ".join(classified) or "see its text"


def _texts(one: metadata.Distribution) -> Iterable[str]:
    for file in one.files or ():
        if ".dist-info" in str(file) and _TEXTS.search(file.name):
            path = Path(str(file.locate()))
            if path.is_file():
                yield path.read_text(encoding="utf-8", errors="replace").strip()


def _part(name: str) -> Part:
    one = metadata.distribution(name)
    return Part(one.metadata["Name"], one.version, _licence(one), tuple(_texts(one)))


def as_text(names: Iterable[str], more: Iterable[Part] = ()) -> str:
    """The packages of these names, and more, in one text: an overview, then each licence's words."""
    everything = [*sorted(map(_part, names), key=lambda part: part.name.lower()), *more]
    overview = [f"{part.name} {part.version}: {part.licence}".replace(" :", ":") for part in everything]
    pieces = ["\n".join(overview)]
    for part in everything:
        if part.texts:
            pieces.append(f"{_LINE}\n{part.name} {part.version}\n{_LINE}\n\n" + "\n\n".join(part.texts))
    return "\n\n".join(pieces) + "\n"


def licences() -> str:
    """The text that the About box shows: the bundle's own list where this is a bundle."""
    inside = getattr(sys, "_MEIPASS", None)
    if inside is not None and (Path(inside) / BUNDLED).is_file():
        return (Path(inside) / BUNDLED).read_text(encoding="utf-8", errors="replace")
    return as_text(needed())
