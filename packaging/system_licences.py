"""The licences of the system's libraries that PyInstaller takes into a bundle made on Debian or a relative of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from app.licences import Part


def system_parts(libraries: Iterable[str]) -> list[Part]:
    """One part for each of the system's packages that these files come from; none where dpkg is not there."""
    if shutil.which("dpkg-query") is None:
        return []
    found: dict[str, Part] = {}
    for library in sorted(set(libraries)):
        package = _package(library)
        copyright_file = Path("/usr/share/doc") / package.partition(":")[0] / "copyright"
        if package and package not in found and copyright_file.is_file():
            text = copyright_file.read_text(encoding="utf-8", errors="replace").strip()
            found[package] = Part(package.partition(":")[0], _version(package), "see its text", (text,))
    return list(found.values())


def _asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _package(library: str) -> str:
    # Merged /usr: the package may have listed the file under either name.
    for path in (library, str(Path(library).resolve()), library.removeprefix("/usr")):
        owner = _asked("dpkg-query", "-S", path)
        if owner:
            return owner.splitlines()[0].rpartition(": ")[0].split(",")[0]
    return ""


def _version(package: str) -> str:
    return _asked("dpkg-query", "-W", "-f=${Version}", package)
