"""Many prompts in one project: read from a list, traced one after the other or by many workers, and never twice.

Every trace is in the project as soon as it is done. What a killed run left is found there again by what was asked and
by which model and dictionary answered, so that the next run goes on where that one stopped.
"""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Cancelled, LoupeError, RequestError
from engine.graphs.titles import title_of
from engine.progress import Progress, checkpoint, part, silent
from engine.projects.project import Project
from engine.projects.traces import Asked
from engine.tracing.spec import TraceSpec

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.models.language_model import LanguageModel
    from engine.tracing.run import Trace

LARGEST_FILE = 1 << 26  # bytes
_COLUMNS = ("prompt", "target", "against")


@dataclass(frozen=True)
class ListedPrompt:
    """One line of a list: a prompt, and the tokens to explain where the list names them."""

    text: str
    target: str | None = None
    against: str | None = None

    def spec(self, like: TraceSpec) -> TraceSpec:
        """What to trace, with everything else as in `like`."""
        target = like.target
        if self.target is not None:
            target = replace(target, token=self.target, against=self.against)
        return replace(like, prompt=replace(like.prompt, text=self.text), target=target)


@dataclass(frozen=True)
class Studied:
    """What became of a list: numbers of traces made now, how many were there before, and prompts that were refused."""

    traced: tuple[int, ...]
    there: tuple[int, ...]
    refused: tuple[tuple[str, str], ...]  # (prompt, sentence)

    @property
    def traces(self) -> tuple[int, ...]:
        """All traces of the list that the project holds."""
        return tuple(sorted((*self.there, *self.traced)))


def read_prompts(path: Path) -> list[ListedPrompt]:
    r"""The prompts of a file, each once, in their order.

    A name that ends in .csv is a table whose first line names its columns: `prompt`, and if wanted `target` and
    `against` (one token each, blanks count). Any other file is text, one prompt a line, `\n` for a new line inside it.

    Raises
    ------
    RequestError
        No such file, too large, not UTF-8, no prompt in it, or a table without a column of that name.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise RequestError(f"{path} is larger than {LARGEST_FILE >> 20} MB; split it.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read as text; give a text file or a CSV of prompts in UTF-8.") from error
    found = _table(text, path) if path.suffix.lower() == ".csv" else _lines(text)
    prompts = list(dict.fromkeys(one for one in found if one.text.strip()))
    if not prompts:
        raise RequestError(f"{path} holds no prompt; write one a line.")
    return prompts


def _lines(text: str) -> Iterator[ListedPrompt]:
    # Not splitlines: it would also cut at the line and page separators that a prompt may hold.
    return (ListedPrompt(line.replace("\\n", "\n")) for line in text.split("\n"))


def _table(text: str, path: Path) -> Iterator[ListedPrompt]:
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise RequestError(
            f"{path} is not a CSV table ({error}); mend it, or give text with one prompt a line."
        ) from error
    if not rows or "prompt" not in rows[0]:
        raise RequestError(
            f"{path} has no column `prompt`; its first line must name the columns: {', '.join(_COLUMNS)}."
        )
    for row in rows:
        prompt, target, against = (row.get(name) for name in _COLUMNS)
        if against and not target:
            raise RequestError(f"{path} has a line with `against` and no `target`; name both tokens.")
        yield ListedPrompt(prompt or "", target or None, against or None)


def already_there(project: Project, model: str, dictionary: str) -> dict[TraceSpec, int]:
    """What the project holds of this model and dictionary (their fingerprints), by what was asked."""
    found = {}
    for row in project.traces():
        report = project.report(row.id)
        made_by = [(report.get(what) or {}).get("fingerprint") for what in ("model", "features")]
        if made_by != [model, dictionary]:
            continue
        try:
            found[project.asked(row.id).spec] = row.id
        except LoupeError:
            continue  # It came from another program.
    return found


# Gives, for specs in any order, (spec, its trace or why it was refused).
Tracer = Callable[[Sequence[TraceSpec]], Iterable[tuple[TraceSpec, "Trace | str"]]]


def in_turn(model: LanguageModel, features: Features, cancel: threading.Event | None = None) -> Tracer:
    """Trace one prompt after the other in this process."""
    from engine.tracing.run import trace

    def run(specs: Sequence[TraceSpec]) -> Iterator[tuple[TraceSpec, Trace | str]]:
        for spec in specs:
            try:
                yield spec, trace(model, features, spec, cancel=cancel)
            except Cancelled:
                raise
            except LoupeError as error:
                yield spec, error.sentence

    return run


def study(
    project: Project,
    specs: Sequence[TraceSpec],
    source: str,
    identity: tuple[str, str],
    tracer: Tracer,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Studied:
    """Trace what the project does not hold yet; each trace is in it as soon as it is done.

    `source` is where the dictionary was loaded from, `identity` the fingerprints of the model and the dictionary. A
    prompt that is refused (an unknown token, too long) is noted and the others go on.

    Raises
    ------
    Cancelled
        The user asked to stop; what is done is in the project.
    MachineError
        The project cannot be written.
    """
    known = already_there(project, *identity)
    missing = [spec for spec in specs if spec not in known]
    traced: list[int] = []
    refused: list[tuple[str, str]] = []
    step = part(progress, 0.0, 1.0)
    step(_stage(0, len(missing)), 0.0)
    for done, (spec, outcome) in enumerate(tracer(missing), 1):
        if isinstance(outcome, str):
            refused.append((spec.prompt.text, outcome))
        else:
            title = title_of(outcome.report, outcome.graph)
            traced.append(project.add_trace(outcome.report, outcome.graph, title=title, asked=Asked(spec, source)))
        step(_stage(done, len(missing)), done / len(missing))
        checkpoint(cancel)
    there = tuple(known[spec] for spec in specs if spec in known)
    return Studied(tuple(traced), there, tuple(refused))


def _stage(done: int, total: int) -> str:
    return f"Tracing prompts, {done} of {total} done"
