"""What long prompts cost: seconds and peak memory, beside the floor of the sweep's own products. Run by hand.

python -m tests.benchmarks.long_prompts lengths     SmolLM2 and transcoders, 256 nodes, 15 to 1,000 tokens;
                                                        --picture FILE.png draws them
python -m tests.benchmarks.long_prompts neurons     SmolLM2's neurons, 1,000 tokens, 1,000 nodes
python -m tests.benchmarks.long_prompts gemma       a Gemma-2-2B-shaped model in bfloat16, 2,300 tokens, 64 nodes
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from engine.tracing import Prompt, Target, TraceSpec, trace
from tests.benchmarks import spoken
from tests.benchmarks.against_circuit_tracer import ROOT, floor_gflop, prepared
from tests.benchmarks.side_loupe import best_rate

PROMPTS = {"lengths": (15, 60, 250, 1000), "neurons": (1000,), "gemma": (2300,)}
TEXT = ROOT / "resources" / "fidelity_text.txt"
GEMMA_2_2B = {
    "model_type": "gemma2",
    "vocab_size": 256_000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "query_pre_attn_scalar": 256,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
}


class RandomTensors:
    """Any tensor that is asked for, random, in bfloat16."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def has(self, name: str) -> bool:
        return name != "lm_head.weight"

    def take(self, name: str, *shape: int) -> Tensor:
        scale = 0.1 if len(shape) == 1 else shape[-1] ** -0.5
        out = torch.empty(shape, dtype=torch.bfloat16)
        # A piece at a time: drawn wide, kept narrow.
        for piece in out.view(shape[0], -1).split(4096):
            piece.copy_(torch.randn(piece.shape, generator=self.generator) * scale)
        return out


class Numbers:
    """A tokenizer of numbers."""

    vocab_size = 256_000

    def encode(self, prompt: Prompt) -> list[int]:
        return list(prompt.token_ids or ())

    def is_special(self, token: int) -> bool:
        return token == 2

    def token_text(self, token: int) -> str:
        return f"<{token}>"

    def texts(self, ids: Any) -> list[str]:
        return [self.token_text(one) for one in ids]


def gemma_shaped() -> tuple[Any, Any, tuple[int, ...]]:
    """A random model of that shape, per-layer TopK transcoders of 2,048 features, and 2,300 random tokens."""
    from engine.dictionaries.transcoder_set import TranscoderFeatures
    from engine.dictionaries.transcoders import Transcoder
    from engine.models.families import read_model

    weights = read_model(GEMMA_2_2B, RandomTensors())
    generator, d, n = torch.Generator().manual_seed(1), 2304, 2048
    transcoders = [
        Transcoder(
            w_enc=torch.randn(n, d, generator=generator),
            b_enc=torch.zeros(n),
            w_dec=torch.randn(n, d, generator=generator) * 0.01,
            b_dec=torch.zeros(d),
            top_k=32,
        )
        for _ in weights.layers
    ]
    features = TranscoderFeatures("random", "random", transcoders, [layer.mlp_gain for layer in weights.layers])
    model = SimpleNamespace(
        weights=weights,
        tokenizer=Numbers(),
        name="Gemma-2-2B-shaped",
        fingerprint="random",
        source="benchmark",
        device=torch.device("cpu"),
        dtype=torch.bfloat16,
    )
    ids = torch.randint(3, 256_000, (2299,), generator=generator).tolist()
    return model, features, (2, *ids)


def measured(model: Any, features: Any, ids: tuple[int, ...], nodes: int) -> dict[str, Any]:
    """One trace, in its own process: seconds by phase, peak above what was loaded, floor."""
    before = spoken.peak_reset()
    started = time.perf_counter()
    found = trace(model, features, TraceSpec(Prompt(token_ids=ids), Target(), max_nodes=nodes), reuse=False)
    seconds = time.perf_counter() - started
    graph, layer = found.graph, model.weights.layers[0].attention
    sizes = {
        "d": model.weights.d_model,
        "layers": model.weights.n_layers,
        "heads": layer.n_heads,
        "kv_heads": layer.n_kv_heads,
        "head": layer.d_head,
    }
    traced = [(int(graph.layer[n]), int(graph.position[n]), 0) for n in graph.traced if graph.layer[n] < graph.n_layers]
    return {
        "tokens": len(ids),
        "nodes": len(traced),
        "seconds": seconds,
        "phases": found.report["seconds"],
        "peak_above_loaded": spoken.peak() - before,
        "loaded": before,
        "conservation": found.report["conservation_error"],
        "active": found.report["active_features"],
        "floor_gflop": floor_gflop(traced, len(graph.logit_text), found.report["active_features"], len(ids), sizes),
    }


def one(what: str, tokens: int) -> dict[str, Any]:
    """What one process measures."""
    if what == "gemma":
        return measured(*gemma_shaped(), nodes=64)
    from engine import load_features, load_model

    folder, dictionary = prepared(ROOT / "out" / "bench")
    model = load_model(folder)
    ids = model.tokenizer.encode(Prompt(TEXT.read_text(encoding="utf-8") * 3))[:tokens]
    features = load_features("neurons" if what == "neurons" else dictionary, model, trust=True)
    return measured(model, features, tuple(ids), nodes=1000 if what == "neurons" else 256)


def draw(found: list[dict[str, Any]], rate: float, path: Path) -> None:
    """The cost by length beside the floor at the machine's best rate, both axes logarithmic, as a PNG picture."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import pyqtgraph

    pyqtgraph.setConfigOptions(antialias=True, background="w", foreground="#1c2127")
    application = pyqtgraph.mkQApp()
    plot = pyqtgraph.PlotWidget()
    plot.resize(760, 460)
    plot.addLegend(offset=(20, 10))
    plot.showGrid(x=True, y=True, alpha=0.15)
    plot.setLabel("left", "seconds")
    plot.setLabel("bottom", "tokens of the prompt")
    tokens = [one["tokens"] for one in found]
    for name, colour, symbol, seconds in (
        ("whole trace", "#5a636e", "s", [one["seconds"] for one in found]),
        ("sweep", "#1b7837", "o", [one["phases"]["sweep"] for one in found]),
        (f"floor of the sweep at {rate:.0f} GFLOP/s", "#762a83", "d", [one["floor_gflop"] / rate for one in found]),
    ):
        pen = pyqtgraph.mkPen(colour, width=2)
        plot.plot(tokens, seconds, pen=pen, symbol=symbol, symbolBrush=colour, symbolPen=None, name=name)
    plot.setLogMode(x=True, y=True)
    for axis, ticks in (("bottom", tokens), ("left", (0.1, 1, 10, 100))):
        plot.getAxis(axis).setTicks([[(math.log10(one), f"{one:,}") for one in ticks]])
    application.processEvents()
    plot.grab().save(str(path))


def main() -> None:
    """Ask a process of its own for each figure, and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=PROMPTS)
    parser.add_argument("--picture", type=Path, help="draw the cost by length into this PNG file")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        sys.stdout.write(json.dumps(one(asked.what, asked.child)) + "\n")
        return
    results, rates = [], [best_rate()]
    for tokens in PROMPTS[asked.what]:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.long_prompts", asked.what, "--child", str(tokens)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        if ran.returncode:
            raise SystemExit(ran.stderr)
        found = json.loads(ran.stdout.splitlines()[-1])
        results.append(found)
        rates.append(best_rate())
        sweep = found["phases"]["sweep"]
        sys.stdout.write(
            f"{found['tokens']:>5} tokens, {found['nodes']:>5} nodes, {found['active']:>9,} active: "
            f"{found['seconds']:.1f} s, sweep {sweep:.1f} s for a floor of {found['floor_gflop']:,.0f} GFLOP "
            f"({found['floor_gflop'] / sweep:.0f} a second); peak {found['peak_above_loaded'] / 2**30:.2f} GiB above "
            f"{found['loaded'] / 2**30:.2f} loaded; conservation {found['conservation']:.1e}; {found['phases']}\n"
        )
        sys.stdout.flush()
    if asked.picture is not None:
        draw(results, statistics.median(rates), asked.picture)


if __name__ == "__main__":
    main()
