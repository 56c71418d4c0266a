"""What the page of models and dictionaries lists: plain rows, made from the catalogue without asking any network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.engine_calls import NEURONS
from engine.dictionaries.starter_sets import STARTER_SETS, StarterSet, find_starter_set
from engine.models.published import downloaded_dictionary
from engine.sizes import byte_words

if TYPE_CHECKING:
    from engine.models.catalogue import ModelEntry
    from engine.models.published import PublishedEntry

HERE, MODELS, DICTIONARIES = "On this machine", "Published models", "Published dictionaries"


@dataclass(frozen=True)
class ShelfRow:
    """One model or dictionary as it is listed.

    `source`: what loads it; `model`: of a dictionary, the id of its model, "" where it is not known. `here`: it lies on
    this machine. `usable` and `downloadable`: which buttons it has. `about`: sentences to read when it is chosen.
    """

    group: str
    what: str  # "model" or "dictionary"
    source: str
    model: str
    title: str
    size: str
    memory: str
    licence: str
    state: str
    here: bool
    usable: bool
    downloadable: bool
    about: tuple[str, ...]

    def holds(self, words: str) -> bool:
        """Whether every word typed is somewhere in the row."""
        text = " ".join((self.title, self.source, self.model, self.what, self.licence, self.state)).lower()
        return all(word in text for word in words.lower().split())


def is_here(dictionary: str) -> bool:
    """Whether a dictionary can be loaded from this machine: neurons, a path, or a published one that was fetched."""
    if dictionary in ("", NEURONS):
        return dictionary == NEURONS
    if find_starter_set(dictionary) is not None:
        return True
    return Path(dictionary).exists() or downloaded_dictionary(dictionary) is not None


def shelf_rows(
    models: Sequence[ModelEntry], opened: Sequence[str], published: Sequence[PublishedEntry]
) -> list[ShelfRow]:
    """Everything to list: what is here first, then published models, then published dictionaries."""
    known = {entry.id: entry for entry in published}
    rows = [_model_here(entry, known.get(entry.id)) for entry in models]
    rows.append(_neurons())
    rows += [_starter_set(one) for one in STARTER_SETS]
    rows += [_published(entry, HERE) for entry in published if entry.what == "dictionary" and entry.path is not None]
    rows += [_opened(source) for source in opened]
    listed = {entry.id for entry in models}
    rows += [_published(one, MODELS) for one in published if one.what == "model" and one.id not in listed]
    rows += [_published(one, DICTIONARIES) for one in published if one.what == "dictionary" and one.path is None]
    return rows


def _memory(size: int | None, fits: bool | None) -> str:
    if size is None:
        return "not known"
    return byte_words(size) + ("" if fits is None else ", fits" if fits else ", too large")


def _model_here(entry: ModelEntry, known: PublishedEntry | None) -> ShelfRow:
    obstacle = None if known is None else known.obstacle
    about = [f"{entry.id} ({entry.family})"]
    if not entry.prepared:
        about.append("It is prepared on first use.")
    if not entry.fits:
        about.append(_too_large(entry.memory_bytes, "model"))
    return ShelfRow(
        group=HERE,
        what="model",
        source=entry.id,
        model=entry.id,
        title=entry.title,
        size=byte_words(entry.size_bytes),
        memory=_memory(entry.memory_bytes, entry.fits),
        licence=entry.licence,
        state="here" if obstacle is None else "cannot be opened yet",
        here=True,
        usable=entry.fits and obstacle is None,
        downloadable=False,
        about=(*about, *_cannot(obstacle)),
    )


def _neurons() -> ShelfRow:
    about = "The model's own MLP neurons: nothing to download, every token, no error nodes."
    return ShelfRow(
        HERE, "dictionary", NEURONS, "", "Neurons", "none", "none", "", "built in", True, True, False, (about,)
    )


def _starter_set(one: StarterSet) -> ShelfRow:
    about = (
        f"{one.id}, for {one.model}.",
        one.measured,
        f"Made by this program's own training; its card: {one.path / 'README.md'}",
    )
    return ShelfRow(
        group=HERE,
        what="dictionary",
        source=one.id,
        model=one.model,
        title=one.title,
        size=byte_words(one.size_bytes),
        memory=byte_words(4 * one.size_bytes),
        licence=one.licence,
        state="comes with the program",
        here=True,
        usable=True,
        downloadable=False,
        about=about,
    )


def _opened(source: str) -> ShelfRow:
    about = f"A dictionary that was opened from {source}."
    title = Path(source).name or source
    return ShelfRow(
        HERE, "dictionary", source, "", title, "not known", "not known", "", "here", True, True, False, (about,)
    )


def _published(entry: PublishedEntry, group: str) -> ShelfRow:
    here, fits = entry.path is not None, entry.fits()
    about = [f"{entry.id}{f', for {entry.model}' if entry.what == 'dictionary' and entry.model else ''}"]
    about.append(f"Licence: {entry.licence}. Its page: {entry.page}")
    if entry.gated:
        about.append("Its terms have to be accepted on its page before it can be downloaded.")
    if entry.note:
        about.append(f"Note: {entry.note}.")
    memory = entry.memory_bytes()
    if fits is False and memory is not None:
        about.append(_too_large(memory, entry.what))
    return ShelfRow(
        group=group,
        what=entry.what,
        source=entry.id,
        model=entry.model,
        title=entry.title,
        size="asked first" if entry.size_bytes is None else byte_words(entry.size_bytes),
        memory=_memory(memory, fits),
        licence=entry.licence,
        state=_state(entry),
        here=here,
        usable=here and entry.obstacle is None,
        downloadable=not here and entry.downloadable,
        about=(*about, *_cannot(entry.obstacle)),
    )


def _state(entry: PublishedEntry) -> str:
    if entry.obstacle is not None:
        return "cannot be opened yet"
    if entry.path is not None:
        return "here"
    return f"{byte_words(entry.partial_bytes)} of it here" if entry.partial_bytes else "to download"


def _too_large(memory: int, what: str) -> str:
    it = "It" if what == "model" else "With its model, and held whole, it"
    return f"{it} needs about {byte_words(memory)} of memory in float32, more than this machine has."


def _cannot(obstacle: str | None) -> tuple[str, ...]:
    return () if obstacle is None else (f"It cannot be opened: {obstacle}.",)
