"""The last touches of a bundle: what belongs beside the program, the archive, and what all of it weighs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
LISTED = 15
# Libraries of Python and of compiled packages carry tables for debuggers. Those of torch and Qt come without, and those
# that a wheel's repair tool has changed (numpy.libs) do not survive `strip`.
_STRIPPED = ("*.so", "libpython*.so*")
_LEFT_AS_THEY_ARE = ("torch", "PySide6", "shiboken6", "numpy.libs")


def add_platform_files(bundle: Path) -> None:
    """Menu entry, file association and icon, as this platform wants them."""
    for name in ("LICENSE", "THIRD_PARTY.md"):
        shutil.copy(HERE.parent / name, bundle)
    if sys.platform.startswith("linux"):
        share = bundle / "share"
        share.mkdir(exist_ok=True)
        for path in (HERE / "linux").glob("circuit-loupe.*"):
            shutil.copy(path, share)
        shutil.copy(HERE / "icons" / "circuit-loupe.png", share)
        shutil.copy(HERE / "linux" / "install.sh", bundle)
    elif sys.platform == "win32":
        shutil.copy(HERE / "windows" / "associate.ps1", bundle)


def strip_tables(bundle: Path) -> int:
    """Take the debuggers' tables out of libraries, where the tool for it is there; bytes saved."""
    tool = shutil.which("strip")
    if tool is None or not sys.platform.startswith("linux"):
        return 0
    inside = bundle / "_internal"
    found = {
        path for pattern in _STRIPPED for path in inside.rglob(pattern) if path.is_file() and not path.is_symlink()
    }
    libraries = [path for path in sorted(found) if path.relative_to(inside).parts[0] not in _LEFT_AS_THEY_ARE]
    before = sum(path.stat().st_size for path in libraries)
    subprocess.run([tool, "--strip-debug", *map(str, libraries)], check=True)
    return before - sum(path.stat().st_size for path in libraries)


def weigh(bundle: Path) -> str:
    """Bytes of the whole and of its heaviest parts."""
    parts: Counter[str] = Counter()
    for path in bundle.rglob("*"):
        if path.is_file() and not path.is_symlink():
            inside = path.relative_to(bundle).parts
            parts[inside[1] if len(inside) > 2 else inside[-1]] += path.stat().st_size
    lines = [f"{size / 1e6:8.0f} MB  {name}" for name, size in parts.most_common(LISTED)]
    return "\n".join([f"{sum(parts.values()) / 1e6:8.0f} MB  in all, of which", *lines])


def pack(bundle: Path) -> Path:
    """The folder as one .tar.gz file (elsewhere than on Linux a .zip), beside it."""
    name = bundle.parent / f"circuit-loupe-{version('circuit-loupe')}-{sys.platform}"
    if not sys.platform.startswith("linux"):
        return Path(shutil.make_archive(str(name), "zip", bundle.parent, bundle.name))
    path = name.with_name(name.name + ".tar.gz")
    with tarfile.open(path, "w:gz", compresslevel=6) as archive:
        archive.add(bundle, bundle.name)
    return path


def main() -> None:
    """Finish the bundle named on the command line; `--pack` makes the archive too."""
    bundle = Path(sys.argv[1])
    add_platform_files(bundle)
    strip_tables(bundle)
    sys.stdout.write(weigh(bundle) + "\n")
    if "--pack" in sys.argv:
        packed = pack(bundle)
        sys.stdout.write(f"{packed.stat().st_size / 1e6:8.0f} MB  {packed}\n")


if __name__ == "__main__":
    main()
