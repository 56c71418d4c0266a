"""`circuit-loupe models`: what is on this machine, what each can do and what fits."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.cli.terminal import TerminalProgress, interruptible
from engine.graphs.formats.atomic import written_whole


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser("models", help="models and dictionaries found on this machine, and what fits")
    command.add_argument("--report", type=Path, metavar="FILE.json", help="write the same as JSON")
    command.add_argument("--prepare", metavar="ID", help="prepare a starter model now, so that it opens at once")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    from engine.models import find_models, prepare_starter

    if arguments.prepare is not None:
        with interruptible() as cancel:
            prepare_starter(arguments.prepare, TerminalProgress(), cancel)
    models = find_models()
    for model in models:
        can = "trace with neurons or transcoders" + (", chat" if model.chat else "")
        fits = "fits" if model.fits else "does not fit"
        ready = "ready" if model.prepared else "will be prepared on first use"
        sys.stdout.write(
            f"{model.id}\n"
            f"    {model.title} ({model.family}); {can}; {ready}\n"
            f"    {model.size_bytes / 1e6:,.0f} MB on disk, needs about {model.memory_bytes / 2**30:.1f} GB of memory: "
            f"{fits}; licence: {model.licence}\n"
        )
    if not models:
        sys.stdout.write("No model was found; give `trace --model` the path of a Hugging Face folder or a GGUF file.\n")
    sys.stdout.write(
        "\nDictionaries: neurons (built in, for every model); a folder of per-layer transcoders by its path.\n"
    )
    if arguments.report is not None:
        listed = [{**asdict(model), "path": None if model.path is None else str(model.path)} for model in models]
        with written_whole(arguments.report) as file:
            file.write(json.dumps({"models": listed, "dictionaries": ["neurons"]}, indent=2).encode())
    return 0
