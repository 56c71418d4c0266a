"""What every command that runs a prompt asks for: the prompt, its target, the model and the dictionary."""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.numbers import share, whole
from engine.errors import MachineError, RequestError
from engine.models.opened import What, remember_opened
from engine.progress import Progress, part
from engine.tracing.spec import Prompt, Target
from engine.whole_files import written_whole

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.models.language_model import LanguageModel
    from engine.projects import Asked, Project


def add_model_flags(add: Any) -> None:
    """Which model and dictionary, and where they compute."""
    add("--model", metavar="ID|PATH", help="a model's id, folder or GGUF file (default: the starter)")
    add("--features", metavar="neurons|PATH", default="neurons", help="the dictionary (default: neurons)")
    add("--trust-features", action="store_true", help="open a dictionary even if it does not describe the model")
    add("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="(default: auto)")
    add("--dtype", default="float32", choices=["float32", "bfloat16"], help="(default: float32)")


def add_prompt_flags(add: Any) -> None:
    """How the prompt is read, and which tokens at which position are its target."""
    add(
        "--target", metavar="TOKEN", default="auto", help='one token such as " Austin" (default: auto, the likely ones)'
    )
    add("--against", metavar="TOKEN", help="trace the difference of the target and this token")
    add("--position", type=int, default=-1, metavar="N", help="position traced; BOS counts as 0 (default: the last)")
    add("--no-bos", action="store_true", help="do not put the model's BOS in front")
    add("--chat", action="store_true", help="put the prompt as a user's turn of the model's chat template")
    add("--top-logits", type=whole, default=10, metavar="N", help="at most so many tokens traced (default: 10)")
    add("--logit-mass", type=share, default=0.95, metavar="SHARE", help="of this probability (default: 0.95)")


def asked_prompt(arguments: argparse.Namespace) -> Prompt:
    """The prompt that was asked for."""
    return Prompt(arguments.prompt or "", bos=not arguments.no_bos, chat=arguments.chat)


def asked_target(arguments: argparse.Namespace, **more: Any) -> Target:
    """The target that was asked for."""
    return Target(
        token=None if arguments.target == "auto" else arguments.target,
        against=arguments.against,
        position=arguments.position,
        top_logits=arguments.top_logits,
        logit_mass=arguments.logit_mass,
        **more,
    )


def open_asked(
    arguments: argparse.Namespace, progress: Progress, cancel: threading.Event
) -> tuple[LanguageModel, Features]:
    """The model and the dictionary that were asked for; what was opened from a path is remembered."""
    from engine.dictionaries import NEURONS, load_features
    from engine.models import load_model

    source = arguments.features or NEURONS
    model = load_model(
        arguments.model,
        device=arguments.device or "auto",
        dtype=arguments.dtype or "float32",
        progress=part(progress, 0, 0.75),
        cancel=cancel,
    )
    _remember("models", arguments.model)
    features = load_features(
        source, model, trust=arguments.trust_features, progress=part(progress, 0.75, 1), cancel=cancel
    )
    _remember("dictionaries", source)
    return model, features


def open_kept(
    arguments: argparse.Namespace, project: Project, progress: Progress, cancel: threading.Event
) -> tuple[LanguageModel, Features, Asked]:
    """The model and the dictionary that a project's trace was made with, or those named instead; and what was asked."""
    from engine.dictionaries import load_features
    from engine.models import load_model

    asked, report = project.asked(arguments.trace), project.report(arguments.trace)
    made_by, machine = report.get("model", {}), report.get("machine", {})
    model = load_model(
        arguments.model or made_by.get("source") or made_by.get("name"),
        device=arguments.device or _device(str(machine.get("device", "auto"))),
        dtype=arguments.dtype or str(machine.get("dtype", "float32")),
        progress=part(progress, 0, 0.75),
        cancel=cancel,
    )
    features = load_features(
        arguments.features or asked.features,
        model,
        trust=arguments.trust_features,
        progress=part(progress, 0.75, 1),
        cancel=cancel,
    )
    return model, features, asked


def check_report(path: Path | None) -> None:
    """Refuse before the work what could not be written after it."""
    if path is not None and not path.absolute().parent.is_dir():
        raise RequestError(f"There is no folder {path.absolute().parent}; make it or choose another for {path.name}.")
    if path is not None and path.is_dir():
        raise RequestError(f"{path} is a folder; give the name of a file.")


def write_report(path: Path | None, report: dict[str, Any]) -> None:
    """What was printed, as JSON, where that was asked for."""
    if path is not None:
        with written_whole(path) as file:
            file.write(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"))


def _remember(what: What, source: str | None) -> None:
    """`circuit-loupe models` and the window list what was opened from a path."""
    if source is not None and Path(source).expanduser().exists():
        remember_opened(what, Path(source))


def _device(name: str) -> str:
    """The device the trace was made on, where this machine has it; a difference that is then said."""
    from engine.models import choose_device

    try:
        choose_device(name)
    except (MachineError, RequestError):
        return "auto"
    return name
