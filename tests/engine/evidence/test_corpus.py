"""Texts become documents and contexts; nothing to read is one sentence; sampled text is the same for the same seed."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Cancelled, RequestError
from engine.evidence.corpus import SHORTEST, Corpus, corpus_of, joined, read_texts, shipped_texts
from engine.evidence.own_text import try_text
from engine.evidence.sampling import SamplingSettings, kept_sample, sample_corpus
from engine.models.language_model import LanguageModel
from tests.engine.evidence.indexed import alone, corpus
from tests.engine.tracing.tiny_models import features_of, tiny_model


def test_a_folder_of_texts(tmp_path: Path, smollm: LanguageModel) -> None:
    (tmp_path / "b.md").write_text("Second file.")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "c.TXT").write_bytes(b"bytes \xff that are no text")
    (tmp_path / "a.txt").write_text("One page.\fAnother page.\f\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    found = read_texts(tmp_path, smollm.tokenizer)
    documents = [
        smollm.tokenizer.join(found.tokens[start:end].tolist())
        for start, end in zip(found.starts[:-1].tolist(), found.starts[1:].tolist(), strict=True)
    ]
    assert documents == ["One page.", "Another page.", "Second file.", "bytes \ufffd that are no text"]
    few = read_texts(tmp_path, smollm.tokenizer, most_tokens=5)
    assert len(few.tokens) == 5
    assert found.digest != few.digest == read_texts(tmp_path, smollm.tokenizer, most_tokens=5).digest


def test_nothing_to_read_is_one_sentence(tmp_path: Path, smollm: LanguageModel) -> None:
    with pytest.raises(RequestError, match=r"no text in .*; choose a folder with \.txt"):
        read_texts(tmp_path, smollm.tokenizer)
    (tmp_path / "blank.txt").write_text(" \n\f ")
    with pytest.raises(RequestError, match="no text in the texts in"):
        read_texts(tmp_path, smollm.tokenizer)
    with pytest.raises(RequestError, match="There is no folder"):
        read_texts(tmp_path / "gone", smollm.tokenizer)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        shipped_texts(smollm.tokenizer, cancel=stop)


def test_contexts_cover_every_token_once_and_cross_no_document() -> None:
    text = corpus(3)
    found = text.contexts(11)
    covered = np.zeros(len(text.tokens), dtype=int)
    for start, end in found.tolist():
        assert SHORTEST <= end - start <= 11
        assert not ((text.starts > start) & (text.starts < end)).any()
        covered[start:end] += 1
    assert covered.max() == 1
    assert (np.diff(found[:, 1] - found[:, 0]) <= 0).all()
    short = corpus_of([np.array([3, 4, 5], dtype=np.uint32)], "short")
    assert short.contexts(11).tolist() == [[0, 3]]


def test_corpora_are_joined(smollm: LanguageModel) -> None:
    one, other = corpus(1, 4), corpus(2, 3)
    both = joined([one, other])
    assert both.tokens.tolist() == [*one.tokens.tolist(), *other.tokens.tolist()]
    assert len(both.starts) == len(one.starts) + len(other.starts) - 1
    shipped = shipped_texts(smollm.tokenizer, most_tokens=2000)
    assert "The capital of" in smollm.tokenizer.join(shipped.tokens.tolist())


def test_the_model_writes_the_same_text_for_the_same_seed(smollm: LanguageModel) -> None:
    settings = SamplingSettings(4, seed=4, length=2, batch=2)
    one, again = (sample_corpus(smollm, settings) for _ in range(2))
    other = sample_corpus(smollm, replace(settings, seed=5))
    assert one.digest == again.digest != other.digest
    assert len(one.tokens) >= 4
    assert np.diff(one.starts).max() <= 2
    assert not np.isin(one.tokens, sorted(smollm.tokenizer.eos_ids)).any()
    assert "seed 4" in one.name
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        sample_corpus(smollm, settings, cancel=stop)
    with pytest.raises(RequestError, match="at least one token"):
        SamplingSettings(0)


def test_kept_text_is_taken_up_by_the_model_and_settings_that_wrote_it_alone(
    tmp_path: Path, smollm: LanguageModel
) -> None:
    settings = SamplingSettings(4, seed=4, length=2, batch=2)
    one = kept_sample(smollm, settings, tmp_path)
    held = tmp_path / "corpus.safetensors"
    before = held.stat().st_mtime_ns
    assert kept_sample(smollm, settings, tmp_path).digest == one.digest
    assert held.stat().st_mtime_ns == before
    # More text was asked for, or by another model, whose tokens are others: what is there is not that.
    more = kept_sample(smollm, replace(settings, tokens=9), tmp_path)
    assert len(more.tokens) >= 9
    stranger = LanguageModel(smollm.weights, smollm.tokenizer, name="x", source="x", fingerprint="another")
    before = held.stat().st_mtime_ns
    kept_sample(stranger, replace(settings, tokens=9), tmp_path)
    assert held.stat().st_mtime_ns > before
    held.write_bytes(held.read_bytes()[:-3])
    with pytest.raises(RequestError, match="damaged; remove that folder"):
        kept_sample(stranger, replace(settings, tokens=9), tmp_path)


@pytest.mark.parametrize("kind", ["neurons", "topk"])
def test_an_own_text_gives_what_the_index_counts(kind: str) -> None:
    text = Corpus(np.array([7, 9, 11, 13, 5], dtype=np.uint32), np.array([0, 5], dtype=np.int64), "")
    values, places = alone("gemma2", kind, text, 1)
    model, features = tiny_model("gemma2"), features_of("gemma2", kind)
    for feature in range(0, values.shape[1], 5):
        found = try_text(model, features, 1, feature, "7 9 11 13 5")  # type: ignore[arg-type]
        assert np.isnan(found.activations[0])
        assert np.array(found.activations)[places + 1] == pytest.approx(values[:, feature], rel=1e-5, abs=1e-6)
        assert found.tokens[1] == "<7>"
    with pytest.raises(RequestError, match="no feature 99 of layer 1"):
        try_text(model, features, 1, 99, "7")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="600 tokens; try at most 512"):
        try_text(model, features, 1, 0, " ".join(["7"] * 599))  # type: ignore[arg-type]
