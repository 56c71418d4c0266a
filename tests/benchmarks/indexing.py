"""What an index costs beside the plain forward passes, and, for transcoders, beside their encoders' own products.

    python -m tests.benchmarks.indexing [--features PATH] [--tokens 8000] [--dtype bfloat16]

Prints processor seconds of (a) the forward passes alone, (b) the encoders' products alone, (c) indexing without its
last step, and the ratio (c - b) / a, which is to stay below 1.3; then what the last step takes, and a page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
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
ROUNDS = 3


def main() -> int:
    """Measure and print; status 1 where the ratio is above the bound."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", default="neurons")
    parser.add_argument("--tokens", type=int, default=8000)
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
    # The first batch fills the records; afterwards few contexts are among the strongest.
    _take_in(model, reader, state, corpus, batches[0], settings, 0, None)
    plain = encoders = indexed = 0.0
    for number, batch in enumerate(batches[1:], start=1):
        rows = [corpus.tokens[one.start : one.stop].tolist() for one in batch]
        length = max(map(len, rows))
        ids = torch.tensor([[1, *row, *[0] * (length - len(row))] for row in rows])
        plain += min(_seconds(lambda ids=ids: run(model.weights, ids)) for _ in range(ROUNDS))  # type: ignore[misc]
        encoders += _encoding(features, ids.numel())
        indexed += _seconds(lambda n=number, b=batch: _take_in(model, reader, state, corpus, b, settings, n, None))  # type: ignore[misc]
    ratio = (indexed - encoders) / plain
    out = sys.stdout.write
    out(f"forward {plain:.2f} s, encoders {encoders:.2f} s, indexing {indexed:.2f} s, {len(corpus.tokens):,} tokens\n")
    out(f"ratio {ratio:.2f} (bound {BOUND}); records {index_bytes(model, features, settings) / 1e6:,.0f} MB\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.features"
        last = _seconds(
            lambda: write_pages(model, features, corpus, state, settings, len(corpus.tokens), path, silent, None)
        )
        index = FeatureIndex(path)
        index.warm()
        layer, start = next(one for one, width in widths.items() if width), time.perf_counter()
        for feature in range(200):
            index.page(layer, feature * 7 % widths[layer])
        page = (time.perf_counter() - start) / 200
        out(f"labels and file {last:.1f} s, {path.stat().st_size / 1e6:.1f} MB; a page {page * 1e3:.2f} ms\n")
        index.close()
    return int(ratio > BOUND)


def _encoding(features: object, tokens: int) -> float:
    """The encoders' products alone, over as many tokens."""
    if not isinstance(features, TranscoderFeatures):
        return 0.0
    total = 0.0
    for one in features.transcoders:
        if one is not None:
            matrix = in_memory(one.w_enc).float()
            x = torch.randn(tokens, matrix.shape[1])
            total += min(_seconds(lambda x=x, matrix=matrix: x @ matrix.T) for _ in range(ROUNDS))  # type: ignore[misc]
    return total


def _seconds(work: object) -> float:
    start = time.process_time()
    work()  # type: ignore[operator]
    return time.process_time() - start


if __name__ == "__main__":
    raise SystemExit(main())
