"""Both programs of a comparison run as processes of their own and are asked one thing at a time, as lines of JSON.

Imports nothing but the standard library, because each side runs in an environment of its own.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


def peak_reset() -> int:
    """Begin a new peak; returns the resident size now, in bytes (Linux; 0 elsewhere)."""
    try:
        with Path("/proc/self/clear_refs").open("w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return 0
    return _status("VmRSS")


def peak() -> int:
    """The largest resident size since `peak_reset`, in bytes."""
    return _status("VmHWM")


def _status(name: str) -> int:
    with Path("/proc/self/status").open(encoding="ascii") as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def answer(handlers: dict[str, Callable[..., Any]]) -> None:
    """Answer requests {"do": name, ...} from stdin until it ends; whatever a library prints goes to stderr."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        reply = handlers[request.pop("do")](**request)
        channel.write(json.dumps(reply) + "\n")
        channel.flush()


class Side:
    """The asking end: one program, its process, its answers."""

    def __init__(self, python: str, *arguments: str) -> None:
        import subprocess

        self.log: list[str] = []
        self._process = subprocess.Popen(
            [python, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            # Threads that wait do not spin: nobody else runs meanwhile, but each program's own pieces do.
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        assert self._process.stderr is not None
        self.log.extend(self._process.stderr)

    def ask(self, do: str, **request: Any) -> Any:
        """One request and its answer; the program's own last words where it died."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise RuntimeError("".join(self.log[-15:]) or f"ended with {self._process.returncode}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
