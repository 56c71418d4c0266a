"""`circuit-loupe index`: examples, histograms and labels for every feature of a dictionary, from a text."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.numbers import seed, whole
from engine.cli.terminal import TerminalProgress, interruptible
from engine.errors import Cancelled, MachineError, RequestError
from engine.graphs.visible_text import visible_text
from engine.progress import Progress, part
from engine.sizes import byte_words

if TYPE_CHECKING:
    import threading

    from engine.evidence.corpus import Corpus
    from engine.evidence.index_settings import IndexSettings
    from engine.models.language_model import LanguageModel

_INTERRUPTED = 130
_TEXT_SHARE = 0.1


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command and its flags."""
    command = commands.add_parser(
        "index",
        help="index a text: examples, histograms, density and labels for every feature",
        description="Run a text once through a model and a dictionary and keep, for each feature, where it is most "
        "active. Without --text and --sample the text that ships is used. Stopped, it goes on where it was. Progress "
        "goes to stderr. Exit status: 0 done, 2 the request is wrong, 3 the machine cannot, 130 interrupted.",
    )
    add = command.add_argument
    add("--model", metavar="ID|PATH", help="a model's id, folder or GGUF file (default: the starter)")
    add("--features", metavar="neurons|PATH", default="neurons", help="the dictionary (default: neurons)")
    add("--trust-features", action="store_true", help="open a dictionary even if it does not describe the model")
    add("--text", type=Path, metavar="FOLDER", help="a folder of .txt or .md files, or one file")
    add("--shipped", action="store_true", help="the free text that ships, also beside --text or --sample")
    add("--sample", type=whole, metavar="N", help="N tokens that the model writes itself")
    add("--tokens", type=whole, metavar="N", help="at most N tokens of --text and of the text that ships")
    add("--seed", type=seed, default=0, help="of sampling and of the samples that are kept (default: 0)")
    add("--layers", metavar="A-B,C", help="only these layers, such as 0-5,12 (default: all)")
    add("--context", type=whole, default=127, metavar="N", help="tokens read at once (default: 127)")
    add("--examples", type=whole, default=12, metavar="N", help="strongest examples kept a feature, at most 16")
    add("--samples", type=int, default=4, metavar="N", help="weaker examples kept a feature, at most 4")
    add("--window", default="15,8", metavar="B,A", help="activations kept before and after a peak (default: 15,8)")
    add("--levels", type=whole, default=255, metavar="N", help="steps of an activation, at most 255: fewer is smaller")
    add("--near", type=int, default=6, metavar="N", help="features alike that are kept, at most 6 (default: 6)")
    add("--bins", type=whole, default=16, metavar="N", help="half octaves of a histogram (default: 16)")
    add("--out", type=Path, metavar="FILE.features", help="where to (default: where the window looks for it)")
    add("--fresh", action="store_true", help="begin anew, whatever was kept of this index")
    add("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="(default: auto)")
    add("--dtype", default="bfloat16", choices=["float32", "bfloat16"], help="(default: bfloat16)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the index and say what it holds."""
    settings = _settings(arguments)
    if arguments.text is not None and not arguments.text.exists():
        raise RequestError(f"There is no folder {arguments.text}; give one with .txt or .md files.")
    try:
        with interruptible() as cancel:
            path = _made(arguments, settings, cancel)
    except Cancelled:
        sys.stderr.write("\nStopped; what was done is kept, and the same command goes on from there.\n")
        return _INTERRUPTED
    _print(path)
    return 0


def _made(arguments: argparse.Namespace, settings: IndexSettings, cancel: threading.Event) -> Path:
    from engine.dictionaries import load_features
    from engine.evidence.identity import identity_of
    from engine.evidence.index_places import index_path, work_folder
    from engine.evidence.indexing import build_index, index_bytes
    from engine.models import load_model

    progress = with_time_left(TerminalProgress())
    model = load_model(arguments.model, device=arguments.device, dtype=arguments.dtype, cancel=cancel)
    features = load_features(arguments.features, model, trust=arguments.trust_features, cancel=cancel)
    path = arguments.out or index_path(identity_of(model, features), f"{model.name}-{features.name}")
    work = work_folder(path)
    if arguments.fresh:
        shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{work.parent} cannot be written ({error.strerror}); choose another --out.") from error
    try:
        corpus = _corpus(arguments, model, work, part(progress, 0.0, _TEXT_SHARE), cancel)
    except RequestError:
        with suppress(OSError):
            work.rmdir()  # Nothing is in it yet.
        raise
    sys.stderr.write(
        f"{len(corpus.tokens):,} tokens; keeps {byte_words(index_bytes(model, features, settings))} in memory\n"
    )
    build_index(model, features, corpus, path, settings, part(progress, _TEXT_SHARE, 1.0), cancel, work=work)
    shutil.rmtree(work, ignore_errors=True)
    return path


def _corpus(
    arguments: argparse.Namespace, model: LanguageModel, work: Path, progress: Progress, cancel: threading.Event
) -> Corpus:
    """The text asked for; text that was sampled for this index before is not sampled again."""
    from engine.evidence.corpus import joined, read_texts, shipped_texts
    from engine.evidence.sampling import SamplingSettings, kept_sample

    parts = []
    if arguments.shipped or (arguments.text is None and arguments.sample is None):
        parts.append(shipped_texts(model.tokenizer, most_tokens=arguments.tokens, cancel=cancel))
    if arguments.text is not None:
        parts.append(
            read_texts(arguments.text, model.tokenizer, most_tokens=arguments.tokens, progress=progress, cancel=cancel)
        )
    if arguments.sample is not None:
        parts.append(kept_sample(model, SamplingSettings(arguments.sample, arguments.seed), work, progress, cancel))
    return joined(parts)


def _settings(arguments: argparse.Namespace) -> IndexSettings:
    from engine.evidence.index_settings import IndexSettings

    before, after = read_pair(arguments.window)
    return IndexSettings(
        context=arguments.context,
        layers=None if arguments.layers is None else read_layers(arguments.layers),
        top=arguments.examples,
        drawn=arguments.samples,
        before=before,
        after=after,
        levels=arguments.levels,
        near=arguments.near,
        bins=arguments.bins,
        seed=arguments.seed,
    )


def read_layers(text: str) -> tuple[int, ...]:
    """Layers such as 0-5,12."""
    found: list[int] = []
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        if not first.isdigit() or not (last or first).isdigit() or int(last or first) > 10_000:
            raise RequestError(f"{text!r} names no layers; give numbers and ranges, such as 0-5,12.")
        found += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(found))


def read_pair(text: str) -> tuple[int, int]:
    """Two numbers such as 15,8."""
    first, _, last = text.partition(",")
    if not first.isdigit() or not last.isdigit():
        raise RequestError(f"{text!r} is no window; give the tokens before and after a peak, such as 15,8.")
    return int(first), int(last)


def with_time_left(progress: Progress) -> Progress:
    """Adds how long the rest takes, once a share is done that says something."""
    start = time.monotonic()

    def report(stage: str, fraction: float) -> None:
        done = (fraction - _TEXT_SHARE) / (1 - _TEXT_SHARE)
        nonlocal start
        if fraction <= _TEXT_SHARE:
            start = time.monotonic()
        left = (time.monotonic() - start) * (1 - done) / done if done > 0.02 else 0.0
        said = f", about {left / 60:.0f} min left" if left > 90 else (f", about {left:.0f} s left" if left else "")
        progress(stage if fraction >= 1 else f"{stage}{said}", fraction)

    return report


def _print(path: Path) -> None:
    from engine.evidence.feature_index import FeatureIndex

    index = FeatureIndex(path)
    head = index.head
    out = sys.stdout.write
    out(f"Index:      {path} ({byte_words(path.stat().st_size)})\n")
    out(f"Of:         {visible_text(head.dictionary_name)} of {visible_text(head.model_name)}\n")
    out(f"Text:       {head.tokens_seen:,} tokens: {visible_text(head.corpus)}\n")
    out(f"Features:   {sum(head.widths):,} in {len(head.layers)} layers\n")
    index.close()
