"""`circuit-loupe intervene PROMPT --set PLACE=VALUE`: change nodes, predict, run the model, compare with chance."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.asked import (
    add_model_flags,
    add_prompt_flags,
    asked_prompt,
    asked_target,
    check_report,
    open_asked,
    write_report,
)
from engine.cli.change_texts import GRAMMAR, read_change_text, read_watched, swapped
from engine.cli.numbers import seed, whole
from engine.cli.terminal import TerminalProgress, interruptible
from engine.errors import RequestError
from engine.graphs.visible_text import visible_text
from engine.interventions.changes import Settings
from engine.models.prompt import Prompt
from engine.progress import part
from engine.tracing.spec import TraceSpec

if TYPE_CHECKING:
    from engine.interventions.continued import ContinuedResult
    from engine.interventions.experiment import ExperimentResult
    from engine.interventions.paraphrases import ParaphrasesResult

FeatureAt = tuple[int, int, int]


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command and its flags."""
    command = commands.add_parser(
        "intervene",
        help="change features, neurons, errors, tokens or heads, and see what the model says then",
        description="Change nodes of a prompt and run the model again: what was predicted beside what was measured, "
        "the tokens before and after, random changes that are like it, and the text that follows. Exit status: 0 done, "
        "2 the request is wrong, 3 the machine cannot, 130 interrupted.",
    )
    add = command.add_argument
    add(
        "prompt",
        metavar="PROMPT",
        help="the text; the model's BOS is put in front unless it begins with a special token",
    )
    add("--set", action="append", required=True, metavar="PLACE=VALUE", help=f"a change; may be repeated: {GRAMMAR}")
    add("--other", metavar="PROMPT", help="the prompt that swaps take their values from")
    add("--mode", default="constrained", choices=["constrained", "iterative", "direct"], help="(default: constrained)")
    add("--layers", metavar="A-B", help="layers whose MLPs are held in the mode constrained (default: those changed)")
    add("--attention", default="frozen", choices=["frozen", "live"], help="(default: frozen)")
    add(
        "--watch",
        action="append",
        default=[],
        metavar="L14/P5/F7",
        help="predict and measure this feature too; may be repeated",
    )
    add("--top", type=whole, default=10, metavar="N", help="print so many tokens (default: 10)")
    add("--generate", type=whole, metavar="N", help="continue the text by so many tokens, with and without the changes")
    add("--seeds", metavar="N,N,…", help="sample the text with these seeds instead of greedily")
    add("--temperature", type=float, default=1.0, metavar="T", help="of sampled texts (default: 1)")
    add(
        "--controls",
        type=int,
        default=0,
        metavar="N",
        help="random changes that are like it: 0 (default), or 100 and up",
    )
    add("--seed", type=seed, default=0, metavar="N", help="of the random changes and the resamples (default: 0)")
    add(
        "--paraphrase",
        action="append",
        default=[],
        metavar="PROMPT",
        help="make the same change where this prompt has the same tokens; give two or more, for a bootstrap interval",
    )
    add_model_flags(add)
    add_prompt_flags(add)
    add("--report", type=Path, metavar="FILE.json", help="everything that was measured, as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Change, measure, print."""
    check_report(arguments.report)
    if not arguments.prompt:
        raise RequestError("The prompt is empty; give some text.")
    if arguments.controls < 0:
        raise RequestError(f"{arguments.controls} random changes cannot be drawn; give 0, or 100 and up.")
    changes = [read_change_text(text) for text in arguments.set]
    settings = Settings(arguments.mode, arguments.attention, _layers(arguments.layers))
    seeds = _seeds(arguments.seeds)
    if seeds and arguments.generate is None:
        raise RequestError("--seeds draw the text that --generate N continues; give both.")
    watched = tuple(read_watched(text) for text in arguments.watch)
    result, text, over = _run(arguments, changes, watched, settings, seeds)
    found = {"experiment": result, "text": text, "paraphrases": over}
    write_report(arguments.report, {name: None if one is None else one.plain() for name, one in found.items()})
    _print(result, text, watched, arguments.top)
    if over is not None:
        _print_paraphrases(over)
    return 0


def _run(
    arguments: argparse.Namespace,
    changes: list[Any],
    watched: tuple[FeatureAt, ...],
    settings: Settings,
    seeds: tuple[int, ...],
) -> tuple[ExperimentResult, ContinuedResult | None, ParaphrasesResult | None]:
    from engine.interventions.case import open_case
    from engine.interventions.continued import ContinuedSpec, continue_both
    from engine.interventions.experiment import ExperimentSpec, run_experiment
    from engine.interventions.paraphrases import ParaphrasesSpec, on_paraphrases, require_prompts
    from engine.interventions.run import require_runnable

    progress = TerminalProgress()
    with interruptible() as cancel:
        model, features = open_asked(arguments, part(progress, 0, 0.3), cancel)
        prompt = asked_prompt(arguments)
        other = None
        if arguments.other is not None:
            other = model.tokenizer.encode(Prompt(arguments.other, bos=prompt.bos, chat=prompt.chat))
        final = tuple(swapped(one, other) for one in changes)
        case = open_case(model, features, TraceSpec(prompt, asked_target(arguments)), part(progress, 0.3, 0.4), cancel)
        require_runnable(model, case.recording, features, final, settings, watched)
        prompts = tuple(tuple(model.tokenizer.encode(replace(prompt, text=text))) for text in arguments.paraphrase)
        others = ParaphrasesSpec(final, prompts, settings, arguments.controls, arguments.seed)
        if prompts:
            require_prompts(case, others)
        experiment = ExperimentSpec(final, settings, watched, arguments.controls, arguments.seed)
        result = run_experiment(case, experiment, part(progress, 0.4, 0.6), cancel)
        text = over = None
        if arguments.generate is not None:
            spec = ContinuedSpec(final, settings, arguments.generate, seeds, arguments.temperature)
            text = continue_both(case, spec, part(progress, 0.6, 0.7), cancel)
        if prompts:
            over = on_paraphrases(case, others, part(progress, 0.7, 1), cancel)
        return result, text, over


def _layers(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text.strip())
    if found is None:
        raise RequestError(f"{text!r} is no range of layers; give two numbers such as 5-12.")
    return int(found[1]), int(found[2] or found[1])


def _seeds(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise RequestError(f"{text!r} names no seeds; give whole numbers such as 0,1,2.")
    return tuple(int(part) for part in parts)


def _print(result: ExperimentResult, text: ContinuedResult | None, watched: tuple[FeatureAt, ...], top: int) -> None:
    out = sys.stdout.write
    out(f"Changed:    {result.sentence}\n")
    out(f"Held:       {result.settings}\n")
    out(f"Predicted:  {result.predicted:+.3f}, measured {result.change:+.3f} ({result.prediction})\n")
    if watched:
        _print_watched(result, watched)
    out(f"KL:         {result.kl:.4f} nats over the whole vocabulary\n")
    out("Tokens:     before -> after: probability, logit, rank\n")
    for one in result.tokens[:top]:
        found = one.outcome
        out(
            f"            {visible_text(one.text, 24):<24} {found.probability_before:.4f} -> {found.probability:.4f}  "
            f"{found.logit_before:.2f} -> {found.logit:.2f}  {found.rank_before + 1:,} -> {found.rank + 1:,}\n"
        )
    if result.controls is not None:
        out(f"Controls:   {result.controls.sentence} (seed {result.controls.seed}); p = {result.controls.p:.4g}\n")
    for pair in () if text is None else text.pairs:
        seed = "" if pair.without.seed is None else f" (seed {pair.without.seed})"
        out(f"Text:       {visible_text(''.join(pair.without.tokens))}{seed}\n")
        out(f"Changed:    {visible_text(''.join(pair.changed.tokens))}{seed}\n")
    if text is not None and text.naming is not None:
        out(f"Texts:      {visible_text(text.sentence)}\n")


def _print_paraphrases(found: ParaphrasesResult) -> None:
    out = sys.stdout.write
    out(f"Paraphrases: {found.sentence}\n")
    for one in found.prompts:
        beside = "" if one.p is None else f", random changes {one.median:.2f}, p = {one.p:.2g}"
        active = "" if one.active == one.features else f" ({one.active} of {one.features} active)"
        out(
            f"            {visible_text(one.prompt, 60)}: {one.change:+.2f}, predicted {one.predicted:+.2f}{beside}"
            f"{active}\n"
        )


def _print_watched(result: ExperimentResult, watched: tuple[FeatureAt, ...]) -> None:
    """What was predicted and measured of each watched feature, and of all together with the targets."""
    out, found = sys.stdout.write, {(one.layer, one.position, one.feature): one for one in result.points}
    for layer, position, feature in watched:
        name, one = f"L{layer}/P{position}/F{feature}", found.get((layer, position, feature))
        if one is None:
            out(f"            {name} is not active or lies before the changes: nothing is predicted of it\n")
        else:
            out(f"            {name} {one.predicted:+.3g}, measured {one.measured:+.3g} (was {one.recorded:.3g})\n")
    agreed = result.agreement
    if agreed.n > 1:
        out(f"            all {agreed.n}: correlation {agreed.pearson:.2f}, same sign {agreed.same_sign:.0%}\n")
