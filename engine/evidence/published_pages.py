"""Feature pages that others published, read from a folder into the form of our own.

Two layouts: one JSON file a feature, named by the Cantor number of layer and feature, or packed: `index.json.gz` gives
for each layer the name of a file and the places in it, each record being 4 bytes of length (little-endian) and JSON
compressed by zlib or gzip. Texts are data: they are never run and never markup.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from engine.evidence.pages import Example, FeaturePage, Side

PACKED = "index.json.gz"
# A page of a hundred examples is below 1 MB; what is larger was made to hurt, or is no page.
MOST_PAGE_BYTES = 1 << 24
_MOST_INDEX_BYTES = 1 << 28
_MOST_EXAMPLES = 2000
_MOST_TOKENS = 4096


def cantor(layer: int, feature: int) -> int:
    """The number under which a page is published."""
    return (layer + feature) * (layer + feature + 1) // 2 + feature


class PublishedPages:
    """A folder of pages. Raises `RequestError` where it holds none that are known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[int, tuple[Path, list[int]]] = {}
        if (folder / PACKED).is_file():
            self._places = _packed_places(folder)
        elif not folder.is_dir() or not any(one.stem.isdigit() for one in folder.glob("*.json")):
            raise RequestError(
                f"{folder} holds no feature pages; choose a folder of numbered .json files, or one with {PACKED}."
            )

    def page(self, layer: int, feature: int) -> FeaturePage:
        """The page of a feature. Raises `RequestError` where it is not there, or no such page."""
        raw = self._packed(layer, feature) if self._places else self._single(layer, feature)
        try:
            stored = json.loads(raw.decode("utf-8"))
            return _page(layer, feature, stored, f"pages in {self.folder.name}")
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise RequestError(
                f"The page of feature {feature} of layer {layer} in {self.folder} is damaged; get it again."
            ) from error

    def _single(self, layer: int, feature: int) -> bytes:
        path = self.folder / f"{cantor(layer, feature)}.json"
        if not path.is_file():
            raise _missing(layer, feature, self.folder)
        if path.stat().st_size > MOST_PAGE_BYTES:
            raise RequestError(f"{path} is too large for a feature page; get it again.")
        return path.read_bytes()

    def _packed(self, layer: int, feature: int) -> bytes:
        if layer not in self._places:
            raise _missing(layer, feature, self.folder)
        path, places = self._places[layer]
        if not 0 <= feature < len(places) - 1:
            raise _missing(layer, feature, self.folder)
        start, end = places[feature], places[feature + 1]
        if not 4 <= end - start <= MOST_PAGE_BYTES:
            raise _missing(layer, feature, self.folder)
        try:
            with path.open("rb") as file:
                file.seek(start)
                record = file.read(end - start)
        except OSError as error:
            raise RequestError(f"{path} cannot be read ({error.strerror}); get the pages again.") from error
        length = int.from_bytes(record[:4], "little")
        return _inflated(record[4 : 4 + length], path)


def _packed_places(folder: Path) -> dict[int, tuple[Path, list[int]]]:
    """File and offsets of each layer; a name never leads out of the folder."""
    path = folder / PACKED
    try:
        with gzip.open(path) as file:
            raw = file.read(_MOST_INDEX_BYTES + 1)
        if len(raw) > _MOST_INDEX_BYTES:
            raise ValueError("too large")
        stored = json.loads(raw.decode("utf-8"))
        listed = stored.items() if isinstance(stored, dict) else enumerate(stored)
        found = {}
        for layer, entry in listed:
            name = Path(str(entry["filename"])).name
            places = entry["offsets"]
            if not all(isinstance(one, int) and one >= 0 for one in places):
                raise ValueError("offsets")
            found[int(str(layer).removeprefix("layer_"))] = (folder / name, places)
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, RecursionError) as error:
        raise RequestError(f"{path} is no list of feature pages; get it again.") from error
    if not found:
        raise RequestError(f"{path} lists no feature pages; get it again.")
    return found


def _inflated(data: bytes, path: Path) -> bytes:
    # 32 more bits of window tell zlib's and gzip's heads apart by themselves.
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        found = stream.decompress(data, MOST_PAGE_BYTES)
    except zlib.error as error:
        raise RequestError(f"A page in {path} is damaged; get the pages again.") from error
    if stream.unconsumed_tail:
        raise RequestError(f"A page in {path} is too large; get the pages again.")
    return found


def _page(layer: int, feature: int, stored: Mapping[str, Any], source: str) -> FeaturePage:
    examples = [
        _example(str(part["quantile_name"]), one)
        for part in stored["examples_quantiles"]
        for one in part["examples"][:_MOST_EXAMPLES]
    ][:_MOST_EXAMPLES]
    maximum = _number(stored.get("act_max"), max((one.value for one in examples), default=0.0))
    least = _number(stored.get("act_min"), 0.0)
    counts = tuple(_number(one, 0.0) for one in stored.get("histogram") or ())[:4096]
    width = (maximum - least) / max(len(counts), 1)
    edges = tuple(least + width * number for number in range(len(counts) + 1)) if counts and width > 0 else ()
    side = Side(maximum, edges, counts if edges else (), tuple(examples))
    density = stored.get("activation_frequency")
    logits = [tuple(map(str, stored.get(name) or ()))[:100] for name in ("top_logits", "bottom_logits")]
    return FeaturePage(
        layer,
        feature,
        (side,),
        None if density is None else min(max(_number(density, 0.0), 0.0), 1.0),
        source,
        top_logits=logits[0],
        bottom_logits=logits[1],
    )


def _example(section: str, stored: Mapping[str, Any]) -> Example:
    tokens = tuple(map(str, stored["tokens"]))[:_MOST_TOKENS]
    activations = tuple(_number(one, 0.0) for one in stored["tokens_acts_list"])[:_MOST_TOKENS]
    if len(tokens) != len(activations) or not tokens:
        raise ValueError("tokens and activations differ")
    peak = max(range(len(activations)), key=activations.__getitem__)
    return Example(
        section, tokens, activations, peak, activations[peak], repeated=bool(stored.get("is_repeated_datapoint"))
    )


def _number(value: Any, otherwise: float) -> float:
    if value is None:
        return otherwise
    found = float(value)
    if not math.isfinite(found):
        raise ValueError("not a finite number")
    return found


def _missing(layer: int, feature: int, folder: Path) -> RequestError:
    return RequestError(
        f"There is no page of feature {feature} of layer {layer} in {folder}; it was not published there."
    )
