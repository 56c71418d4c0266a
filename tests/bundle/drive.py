"""Drives a program as a person does: a real X display and keys, and nothing of the program's own here."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 120.0


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait for something to be so; says what was missing where it never was."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} seconds in vain for {what}")


@contextmanager
def display() -> Iterator[str]:
    """A screen of 1440 x 900 that nobody sees."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1440x900x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            yield f":{numbers.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


class Program:
    """One run of the bundle: no network, no Python on PATH, its folder read-only, an empty home."""

    def __init__(self, bundle: Path, home: Path, screen: str, *arguments: str) -> None:
        self.screen = screen
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            alone(bundle, home, {"DISPLAY": screen}, *arguments), stderr=subprocess.PIPE, text=True
        )

    def _xdotool(self, *arguments: str) -> str:
        environment = {**os.environ, "DISPLAY": self.screen}
        done = subprocess.run(["xdotool", *arguments], env=environment, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def window(self, title: str) -> str:
        """The number of the visible window of this title (a pattern), which gets the keyboard."""

        def find() -> str:
            assert self.process.poll() is None, f"the program ended: {self.process.communicate()[1]}"
            return self._xdotool("search", "--onlyvisible", "--name", title)

        number = str(until(find, f"a window {title!r}")).split()[-1]
        self._xdotool("windowfocus", "--sync", number)
        return number

    def keys(self, *names: str) -> None:
        """Press keys, one after the other."""
        self._xdotool("key", "--delay", "60", *names)

    def type(self, text: str) -> None:
        """Type text."""
        self._xdotool("type", "--delay", "15", text)

    def picture(self, path: Path) -> None:
        """What the screen shows, where ImageMagick is there to take it."""
        if shutil.which("import"):
            subprocess.run(["import", "-display", self.screen, "-window", "root", str(path)], check=False)

    def end(self) -> int:
        """The exit status, once it has ended."""
        errors = self.process.communicate(timeout=PATIENCE)[1]
        assert "Traceback" not in errors, errors
        return self.process.returncode


def alone(bundle: Path, home: Path, more: dict[str, str], *arguments: str) -> list[str]:
    """The command that runs the bundle cut off from the network, from Python and from writing where it lies.

    The namespaces of Linux do it where they may be made; elsewhere the environment alone must do.
    """
    environment = {"HOME": str(home), "PATH": "/nonexistent", "XDG_RUNTIME_DIR": str(home), "LANG": "C.UTF-8", **more}
    clean = ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]
    program = [str(bundle / "circuit-loupe"), *arguments]
    if not can_unshare():
        return [*clean, *program]
    script = f'mount --bind "{bundle}" "{bundle}" && mount -o remount,bind,ro "{bundle}" && exec "$@"'
    return ["unshare", "-mn", "sh", "-c", script, "sh", *clean, *program]


def can_unshare() -> bool:
    """Whether this user may make namespaces for mounts and the network."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-mn", "true"], capture_output=True, check=False).returncode == 0
