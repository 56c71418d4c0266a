"""Published pages come out as they were written, whichever way they are packed; damaged ones are one sentence."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RequestError
from engine.evidence.published_pages import MOST_PAGE_BYTES, PublishedPages, cantor

PAGE: dict[str, Any] = {
    "index": 7,
    "examples_quantiles": [
        {
            "quantile_name": "Top",
            "examples": [
                {
                    "tokens": ["The", " capital", " of", " <b>Texas</b>"],
                    "tokens_acts_list": [0, 0.5, 0, 4.25],
                    "train_token_ind": 3,
                    "is_repeated_datapoint": True,
                }
            ],
        },
        {"quantile_name": "Subsample Interval 0", "examples": [{"tokens": ["x"], "tokens_acts_list": [1.5]}]},
    ],
    "top_logits": [" Austin"],
    "bottom_logits": [" Paris"],
    "act_min": 0.0,
    "act_max": 5.0,
    "histogram": [10, 5, 1, 0, 1],
    "activation_frequency": 0.0125,
}


def single(folder: Path, page: Any, layer: int = 2, feature: int = 7) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{cantor(layer, feature)}.json").write_text(json.dumps(page))
    return folder


def in_one_file(folder: Path, page: Any, compress: Any) -> Path:
    folder.mkdir(exist_ok=True)
    records = []
    for number in range(9):
        data = compress(json.dumps({**page, "index": number, "act_max": 5.0 + number}).encode())
        records.append(len(data).to_bytes(4, "little") + data)
    offsets = [0]
    for record in records:
        offsets.append(offsets[-1] + len(record))
    (folder / "layer_2.bin").write_bytes(b"".join(records))
    (folder / "index.json.gz").write_bytes(
        gzip.compress(json.dumps({"2": {"filename": "layer_2.bin", "offsets": offsets}}).encode())
    )
    return folder


def test_a_page_of_its_own_file(tmp_path: Path) -> None:
    assert cantor(2, 7) == 52  # (9 * 10) / 2 + 7
    page = PublishedPages(single(tmp_path / "pages", PAGE)).page(2, 7)
    side = page.sides[0]
    assert (page.density, side.maximum, side.counts) == (0.0125, 5.0, (10.0, 5.0, 1.0, 0.0, 1.0))
    assert side.edges == pytest.approx((0, 1, 2, 3, 4, 5))
    first, second = side.examples
    assert (first.section, first.tokens[3], first.peak, first.value) == ("Top", " <b>Texas</b>", 3, 4.25)
    assert (first.repeated, second.repeated) == (True, False)
    assert (page.top_logits, page.bottom_logits) == ((" Austin",), (" Paris",))


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
def test_pages_packed_in_one_file(tmp_path: Path, compress: Any) -> None:
    pages = PublishedPages(in_one_file(tmp_path / "packed", PAGE, compress))
    for feature in (0, 4, 8):
        assert pages.page(2, feature).sides[0].maximum == 5.0 + feature
    with pytest.raises(RequestError, match="no page of feature 9 of layer 2"):
        pages.page(2, 9)
    with pytest.raises(RequestError, match="no page of feature 0 of layer 3"):
        pages.page(3, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {
            "examples_quantiles": [
                {"quantile_name": "Top", "examples": [{"tokens": ["a", "b"], "tokens_acts_list": [1]}]}
            ]
        },
        {**PAGE, "histogram": ["many"]},
        {**PAGE, "act_max": float("inf")},
        {"index": 7},
    ],
)
def test_damaged_pages_are_one_sentence(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(RequestError, match="page of feature 7 of layer 2 in .* is damaged; get it again"):
        PublishedPages(single(tmp_path / "pages", wrong)).page(2, 7)


def test_what_would_fill_memory_or_lead_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no feature pages"):
        PublishedPages(tmp_path)
    bomb = in_one_file(tmp_path / "bomb", {**PAGE, "pad": " " * (MOST_PAGE_BYTES + 10)}, zlib.compress)
    with pytest.raises(RequestError, match="too large"):
        PublishedPages(bomb).page(2, 0)
    (tmp_path / "secret.bin").write_bytes(b"\x05\0\0\0hello")
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.json.gz").write_bytes(gzip.compress(b'{"2": {"filename": "../secret.bin", "offsets": [0, 9]}}'))
    with pytest.raises(RequestError, match="cannot be read"):
        PublishedPages(out).page(2, 0)
    (out / "index.json.gz").write_bytes(b"no gzip")
    with pytest.raises(RequestError, match="no list of feature pages"):
        PublishedPages(out)
