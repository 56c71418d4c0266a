"""`circuit-loupe train`: transcoders for a model, from a text and what the model itself writes, with a card."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.index import with_time_left
from engine.cli.numbers import seed, whole
from engine.cli.terminal import TerminalProgress, interruptible
from engine.errors import Cancelled, RequestError

if TYPE_CHECKING:
    from engine.training import Measured, TrainSettings

_INTERRUPTED = 130


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command and its flags."""
    command = commands.add_parser(
        "train",
        help="train transcoders for a model",
        description="Train TopK transcoders for a model, a layer each, and write them in circuit-tracer's layout as "
        "JumpReLU with a card. Half of the text is written by the model itself, half comes from --text or ships. "
        "Stopped, the same command goes on from the last checkpoint. Progress goes to stderr. Exit status: 0 done, 2 "
        "the request is wrong, 3 the machine cannot, 130 interrupted.",
    )
    add = command.add_argument
    add("out", type=Path, metavar="FOLDER", help="where the transcoders go")
    add("--model", metavar="ID|PATH", help="a model's id, folder or GGUF file (default: the starter)")
    add("--text", type=Path, metavar="FOLDER", help="a folder of .txt or .md files, or one file")
    add("--sample-share", type=float, metavar="SHARE", help="of the tokens, from the model itself (default: 0.5)")
    add("--width", type=whole, metavar="N", help="features a layer (default: 2048)")
    add("--k", type=whole, metavar="N", help="active features a position, on average (default: 32)")
    add("--no-skip", action="store_true", help="without an affine skip")
    add("--cross-layer", action="store_true", help="features write to their own layer and every later one")
    add("--tokens", type=whole, metavar="N", help="different tokens read, at most (default: 400000)")
    add("--passes", type=whole, metavar="N", help="how often each is trained on (default: 4)")
    add("--minutes", type=float, metavar="N", help="end the schedule after so long, sampling not counted")
    add(
        "--storage",
        choices=["float32", "bfloat16", "int8", "int4"],
        help="(default: bfloat16; int8 and int4 are small, and read by this program alone)",
    )
    add(
        "--keep", type=whole, metavar="N", help="features a layer that are stored, those that write most (default: all)"
    )
    add("--learning-rate", type=float, metavar="R", help="of Adam (default: 0.002)")
    add("--context", type=whole, metavar="N", help="tokens read at once (default: 128)")
    add("--batch", type=whole, metavar="N", help="positions a step (default: 1024)")
    add("--buffer-gb", type=float, metavar="GB", help="disk for recorded activations (default: 4)")
    add("--seed", type=seed, help="of everything random (default: 0)")
    add("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="(default: auto)")
    add("--dtype", default="bfloat16", choices=["float32", "bfloat16"], help="of the model (default: bfloat16)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train and say what came of it."""
    if arguments.text is not None and not arguments.text.exists():
        raise RequestError(f"There is no folder {arguments.text}; give one with .txt or .md files.")
    settings = _settings(arguments)
    # Without a terminal each new text is a line: how long it takes would be one a second.
    bar = TerminalProgress()
    progress = with_time_left(bar) if sys.stderr.isatty() else bar
    try:
        with interruptible() as cancel:
            from engine.models import load_model
            from engine.training import train

            model = load_model(arguments.model, device=arguments.device, dtype=arguments.dtype, cancel=cancel)
            history = train(
                model,
                settings,
                arguments.out,
                folder=arguments.text,
                prompts=_sample_prompts(),
                on_round=_print_round,
                progress=progress,
                cancel=cancel,
            )
    except Cancelled:
        sys.stderr.write("\nStopped; the same command goes on from the last checkpoint.\n")
        return _INTERRUPTED
    last = history[-1]
    sys.stdout.write(
        f"{arguments.out}\n"
        f"    {len(last['fvu'])} layers of {settings.keep or settings.width:,} features; "
        f"mean FVU {_mean(last['fvu']):.3f}, "
        f"L0 {_mean(last['l0']):.1f}, dead {_mean(last['dead']):.1%}, CE recovered {last['ce_recovered']:.3f}\n"
        f"    open it with: circuit-loupe trace PROMPT --features {arguments.out}\n"
    )
    return 0


def _settings(arguments: argparse.Namespace) -> TrainSettings:
    from engine.training import TrainSettings

    sizes = ("width", "k", "tokens", "passes", "minutes", "storage", "keep")
    names = (*sizes, "learning_rate", "context", "batch", "buffer_gb", "seed")
    given: dict[str, Any] = {name: getattr(arguments, name) for name in names}
    given["sampled_share"] = arguments.sample_share
    given = {name: value for name, value in given.items() if value is not None}
    return TrainSettings(skip=not arguments.no_skip, cross_layer=arguments.cross_layer, **given)


def _sample_prompts() -> list[str]:
    """The sample prompts, whose graphs the card tells about."""
    held = json.loads((resources.files("resources") / "prompts.json").read_text(encoding="utf-8"))
    return [one["text"] for one in held["prompts"]]


def _print_round(measured: Measured) -> None:
    sys.stderr.write(
        f"{measured['share']:4.0%} {measured['positions']:,} positions: FVU {_mean(measured['fvu']):.3f}, "
        f"CE recovered {measured['ce_recovered']:.3f}\n"
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
