"""What an index costs beside the plain forward passes, and, for transcoders, beside their encoders' own products.

    python -m tests.benchmarks.indexing [--features PATH] [--tokens 16000] [--dtype bfloat16]

Prints processor seconds of (a) the forward passes alone, (b) the encoders' products alone, (c) indexing without its
last step, and the ratio (c - b) / a, which is to stay below 1.3; then what the last step takes, and a page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from engine.dictionaries import load_features
from engine.dictionaries.matrices import in_memory
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.evidence.activations import ActivationReader
from engine.evidence.corpus import shipped_texts
from engine.evidence.feature_index import FeatureIndex
from engine.evidence.index_pages import write_pages
from engine.evidence.index_settings import IndexSettings
from engine.evidence.index_state import IndexState
from engine.evidence.indexing import _batches, _take_in, index_bytes
from engine.models import load_model
from engine.models.forward import run
from engine.progress import silent

BOUND = 1.3
FILLING = 4  # batches
PAGES = 210


def main() -> int:
    """Measure and print; status 1 where the ratio is above the bound."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", default="neurons")
    parser.add_argument("--tokens", type=int, default=16_000)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    asked = parser.parse_args()
    model = load_model(None, dtype=asked.dtype)
    features = load_features(asked.features, model)
    settings = IndexSettings()
    corpus = shipped_texts(model.tokenizer, most_tokens=asked.tokens)
    reader = ActivationReader(features, model.weights)
    widths = {layer: reader.width(layer) for layer in range(model.weights.n_layers)}
    state = IndexState(widths, reader.sides, settings.reach, model.weights.device)
    batches = list(_batches(corpus, settings))
    # What fills the records at first is little of a real corpus: the ratio is that of the batches after it.
    plain = encoders = indexed = first = 0.0
    for number, batch in enumerate(batches):
        spent = _seconds(partial(_take_in, model, reader, state, corpus, batch, settings, number, None))
        if number < FILLING:
            first += spent
            continue
        ids = torch.ones(len(batch), 1 + len(batch[0]), dtype=torch.int64)
        plain += _seconds(partial(run, model.weights, ids))
        encoders += _encoding(features, ids.numel(), model.weights.dtype)
        indexed += spent
    ratio = (indexed - encoders) / max(plain, 1e-9)
    out = sys.stdout.write
    out(f"the first {FILLING} of {len(batches)} batches {first:.1f} s; the others: forward {plain:.1f} s, ")
    out(f"encoders {encoders:.1f} s, indexing {indexed:.1f} s\n")
    out(f"ratio {ratio:.2f} (bound {BOUND}); records {index_bytes(model, features, settings) / 1e6:,.0f} MB\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.features"
        last = _seconds(
            partial(write_pages, model, features, corpus, state, settings, len(corpus.tokens), path, silent, None)
        )
        index = FeatureIndex(path)
        index.warm()
        held = [one for one, width in widths.items() if width]
        some = [(layer, number * 7 % widths[layer]) for number in range(PAGES) for layer in [held[number % len(held)]]]
        pages = [_seconds(partial(index.page, *one)) * 1e3 for one in some]
        mean, most = sum(pages) / PAGES, max(pages)
        out(f"labels and file {last:.1f} s, {path.stat().st_size / 1e6:.1f} MB; ")
        out(f"a page {mean:.2f} ms, the slowest of {PAGES} {most:.2f} ms\n")
        index.close()
    return int(ratio > BOUND)


def _encoding(features: object, tokens: int, dtype: torch.dtype) -> float:
    """The encoders' products alone, over as many tokens, in the model's number format."""
    if not isinstance(features, TranscoderFeatures):
        return 0.0
    total = 0.0
    for one in features.transcoders:
        if one is not None:
            matrix = in_memory(one.w_enc).to(dtype)
            x = torch.randn(tokens, matrix.shape[1], dtype=dtype)
            total += _seconds(partial(torch.mm, x, matrix.T))
    return total


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    raise SystemExit(main())
