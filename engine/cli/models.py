"""`circuit-loupe models`: what is on this machine, what others have published, what each can do and what fits."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.terminal import TerminalProgress, interruptible
from engine.dictionaries.starter_sets import STARTER_SETS
from engine.errors import Cancelled, RequestError
from engine.graphs.visible_text import visible_text
from engine.sizes import byte_words
from engine.whole_files import written_whole

if TYPE_CHECKING:
    from engine.models.catalogue import ModelEntry
    from engine.models.published import PublishedEntry

_INTERRUPTED = 130
_FITS_BFLOAT16 = "fits with --dtype bfloat16"


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "models", help="models and dictionaries on this machine, and published ones to download"
    )
    command.add_argument("--report", type=Path, metavar="FILE.json", help="write the same as JSON, with all there is")
    command.add_argument("--prepare", metavar="ID", help="prepare a starter model now, so that it opens at once")
    command.add_argument(
        "--download", metavar="ID", help="fetch a published model or dictionary; its size is said first"
    )
    command.add_argument("--yes", action="store_true", help="download without being asked")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list, or download."""
    if arguments.download is not None:
        if arguments.prepare is not None or arguments.report is not None:
            raise RequestError("--download stands alone; list, prepare or report in a command of its own.")
        return _download(arguments.download, arguments.yes)
    if arguments.yes:
        raise RequestError("--yes goes with --download ID; say what to download.")
    from engine.models import find_models, prepare_starter
    from engine.models.opened import opened
    from engine.models.published import published

    if arguments.prepare is not None:
        with interruptible() as cancel:
            prepare_starter(arguments.prepare, TerminalProgress(), cancel)
    models, others = find_models(opened("models")), published()
    fetched = [entry for entry in others if entry.what == "dictionary" and entry.path is not None]
    _print_here(models, fetched, opened("dictionaries"))
    _print_published(others)
    if arguments.report is not None:
        with written_whole(arguments.report) as file:
            file.write(json.dumps(_report(models, others), indent=2).encode())
    return 0


def _print_here(models: list[ModelEntry], dictionaries: list[PublishedEntry], opened: list[Path]) -> None:
    sys.stdout.write("On this machine\n\n")
    for model in models:
        can = "trace with neurons or transcoders" + (", chat" if model.chat else "")
        fits = "fits" if model.fits else _FITS_BFLOAT16 if model.fits_bfloat16 else "does not fit"
        ready = "ready" if model.prepared else "will be prepared on first use"
        sys.stdout.write(
            f"{visible_text(model.id)}\n"
            f"    {visible_text(model.title)} ({model.family}); {can}; {ready}\n"
            f"    {byte_words(model.size_bytes)} on disk, needs about {byte_words(model.memory_bytes)} of memory: "
            f"{fits}; licence: {visible_text(model.licence)}\n"
        )
    if not models:
        sys.stdout.write("No model was found; give `trace --model` the path of a Hugging Face folder or a GGUF file.\n")
    sys.stdout.write("\nDictionaries: neurons (built in, for every model); others by id or their folder's path.\n")
    for one in STARTER_SETS:
        sys.stdout.write(
            f"{one.id}\n    {one.title}, for {one.model}; comes with the program; licence: {one.licence}\n"
        )
    for entry in dictionaries:
        sys.stdout.write(f"{entry.id}\n    {entry.title}, for {entry.model}; {_opens(entry)}\n")
    for path in opened:
        sys.stdout.write(f"{visible_text(str(path))}\n    opened before\n")


def _print_published(entries: list[PublishedEntry]) -> None:
    sys.stdout.write(
        "\nPublished: `circuit-loupe models --download ID` fetches one; its exact size is asked and said first\n"
    )
    for model in (one for one in entries if one.what == "model"):
        _print_one(model, "")
        for dictionary in (one for one in entries if one.what == "dictionary" and one.model == model.id):
            _print_one(dictionary, "    ")
    for entry in (one for one in entries if one.what == "dictionary" and not one.model):
        _print_one(entry, "")


def _print_one(entry: PublishedEntry, indent: str) -> None:
    about = [entry.title, _size(entry.size_bytes), _fit(entry)]
    if entry.path is not None:
        about.append("here")
    elif entry.partial_bytes:
        about.append(f"{_size(entry.partial_bytes)} of it here, goes on with --download")
    terms = "; terms to be accepted first on its page" if entry.gated else ""
    sys.stdout.write(
        f"\n{indent}{entry.id}\n{indent}    {'; '.join(about)}\n{indent}    licence: {entry.licence}{terms}\n"
    )
    if entry.note:
        sys.stdout.write(f"{indent}    note: {entry.note}\n")
    if entry.obstacle is not None:
        sys.stdout.write(f"{indent}    {_opens(entry)}\n")


def _opens(entry: PublishedEntry) -> str:
    return "can be opened" if entry.obstacle is None else f"cannot be opened: {entry.obstacle}"


def _size(n_bytes: int | None) -> str:
    return "size not known before it is asked" if n_bytes is None else byte_words(n_bytes)


def _fit(entry: PublishedEntry) -> str:
    """What of this machine's memory it takes, its model included where it is a dictionary."""
    if entry.fits("float32") is None:
        return "memory not known"
    if entry.fits("float32"):
        return "fits in memory"
    if entry.fits("bfloat16"):
        return f"{_FITS_BFLOAT16} in memory"
    whole = " when it is held whole" if entry.what == "dictionary" else ""
    return f"larger than this machine's memory{whole}"


def _report(models: list[ModelEntry], entries: list[PublishedEntry]) -> dict[str, Any]:
    from engine.models.opened import opened

    here = [{**asdict(model), "path": None if model.path is None else str(model.path)} for model in models]
    published = [
        {
            **asdict(entry),
            "path": None if entry.path is None else str(entry.path),
            "page": entry.page,
            "downloadable": entry.downloadable,
            "memory_bytes": {dtype: entry.memory_bytes(dtype) for dtype in ("float32", "bfloat16")},
            "fits": {dtype: entry.fits(dtype) for dtype in ("float32", "bfloat16")},
        }
        for entry in entries
    ]
    ready = [str(path) for path in opened("dictionaries")]
    ready += [one.id for one in STARTER_SETS]
    ready += [entry.id for entry in entries if entry.what == "dictionary" and entry.path is not None]
    return {"models": here, "dictionaries": ["neurons", *ready], "published": published}


def _download(entry_id: str, agreed: bool) -> int:
    from engine.models.downloads import download, download_size
    from engine.models.published import find_published

    entry = find_published(entry_id)
    with interruptible() as cancel:
        size = download_size(entry.id, cancel=cancel)
        here = "" if size.missing_bytes == size.total_bytes else f", {_size(size.missing_bytes)} of it still missing"
        sys.stderr.write(
            f"{entry.id}: {_size(size.total_bytes)} in {size.files} files{here}; {_size(size.free_bytes)} are free on "
            f"the disk; licence: {entry.licence}\n"
        )
        if entry.obstacle is not None:
            sys.stderr.write(f"This program cannot open it yet: {entry.obstacle}.\n")
    if not agreed and not _asked("Download it? [y/N] "):
        return 0
    bar = TerminalProgress()

    def progress(stage: str, fraction: float) -> None:
        # Without a terminal each new text is a line: one is enough.
        known = f"{_size(round(fraction * size.total_bytes))} of {_size(size.total_bytes)}"
        bar(f"{known}  {stage}" if sys.stderr.isatty() else f"Downloading {entry.id}", fraction)

    try:
        with interruptible() as cancel:
            folder = download(entry.id, progress, cancel)
    except Cancelled:
        sys.stderr.write("\nStopped; what came is kept, and the same command goes on from there.\n")
        return _INTERRUPTED
    sys.stdout.write(f"{folder}\n")
    return 0


def _asked(question: str) -> bool:
    if not sys.stdin.isatty():
        raise RequestError("Nothing was downloaded: say --yes to download without being asked.")
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
