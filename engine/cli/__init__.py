"""The command line: the engine's jobs without a window. Progress goes to stderr, results to stdout."""

from __future__ import annotations

from engine.cli.main import main

__all__ = ["main"]
