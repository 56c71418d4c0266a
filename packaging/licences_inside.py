"""Whose licences a bundle has to name: its packages, Python, PyInstaller, and the libraries of a Debian system."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from app.licences import PROGRAM, Part


def packages_inside(places: Iterable[str]) -> set[str]:
    """Names of the packages that these modules and files of a bundle come from.

    What a package asks for is no answer: torch asks for sympy, which is left out, and tabulate brings
    wcwidth in without asking for it.
    """
    owners = metadata.packages_distributions()
    tops = {re.split(r"[./\\]", place)[0] for place in places}
    return {PROGRAM, *(owner for top in tops for owner in owners.get(top, ()))}


def maker_parts() -> list[Part]:
    """Python itself, and PyInstaller, whose start program is part of every bundle."""
    python = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    text = python.read_text(encoding="utf-8", errors="replace") if python.is_file() else ""
    version = platform.python_version()
    own = Part("Python", version, "PSF-2.0", (text.strip(),) if text else ("https://docs.python.org/3/license.html",))
    maker = metadata.distribution("pyinstaller")
    texts = [str(path.locate()) for path in maker.files or () if path.name == "COPYING.txt"]
    words = tuple(Path(path).read_text(encoding="utf-8", errors="replace").strip() for path in texts)
    licence = "GPL-2.0-or-later with an exception for the programs it bundles"
    return [own, Part("PyInstaller", maker.version, licence, words)]


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
