"""A hundred changed runs in one batch beside a hundred separate forward passes, in one run of this program.

    python -m tests.benchmarks.interventions [--prompt TEXT] [--at POSITION] [--repeats 3] [--out FILE.json]

Each set changes five neurons of one layer at one position, as random controls do that stand beside an experiment there.
A separate pass is the model's own over the whole prompt with one row of logits, and nothing changed: what one control
costs at least where nothing is shared. Each repeat measures the separate passes and then every batch; the median of the
repeats counts, and what is printed is the share that a batch takes of the separate passes, by the clock and in
processor time, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.dictionaries import load_features
from engine.interventions import Change, Settings, intervene
from engine.models import load_model
from engine.models.generation import last_logits
from engine.models.prompt import Prompt
from engine.models.recording import record

PROMPT = "Fact: the capital of the state containing Dallas is"
# "Dallas": experiments change what a word of the prompt stands for, which is seldom its first one.
POSITION = 9
MEMBERS = 5
MODES = (Settings("constrained"), Settings("iterative"), Settings("iterative", "live"), Settings("direct"))


def spent(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds by the clock and of processor time that it takes once."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def batches(width: int, depth: int, position: int, count: int) -> list[tuple[str, int, Settings, list[list[Change]]]]:
    """Every batch that is measured: where, layer, settings and sets."""
    return [
        (
            where,
            layer,
            settings,
            [
                [
                    Change("feature", layer, position, (7 * number + 31 * one) % width, "scale", -2.0)
                    for one in range(MEMBERS)
                ]
                for number in range(count)
            ],
        )
        for where, layer in (("early layer", 2), ("mid-depth", depth // 2))
        for settings in MODES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--at", type=int, default=POSITION)
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = load_model(asked.model, device="cpu")
    features = load_features("neurons", model)
    ids = model.tokenizer.encode(Prompt(asked.prompt))
    recording = record(model.weights, ids, first_position=1)
    depth, width = model.weights.n_layers, model.weights.layers[0].mlp.width
    sys.stdout.write(
        f"{asked.sets} sets of {MEMBERS} neurons at position {asked.at} of {len(ids)} tokens, {depth} layers, "
        f"{asked.threads} threads\n"
    )
    asked_batches = batches(width, depth, asked.at, asked.sets)
    shares: list[list[tuple[float, float]]] = [[] for _ in asked_batches]
    for _ in range(asked.repeats):
        separate = spent(lambda: [last_logits(model.weights, ids) for _ in range(asked.sets)])
        for number, (_, _, settings, sets) in enumerate(asked_batches):
            took = spent(partial(intervene, model, recording, features, sets, settings))
            shares[number].append((took[0] / separate[0], took[1] / separate[1]))
    found = []
    for (where, layer, settings, _), pairs in zip(asked_batches, shares, strict=True):
        clock, processor = (statistics.median(one[column] for one in pairs) for column in (0, 1))
        name = f"{settings.mode}, attention {settings.attention}"
        found.append({"where": where, "layer": layer, "settings": name, "clock": clock, "processor": processor})
        sys.stdout.write(
            f"{where:<12} layer {layer:<3} {name:<32} {clock:.3f} by the clock, {processor:.3f} processor\n"
        )
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps({"prompt": asked.prompt, "at": asked.at, "found": found}, indent=2))


if __name__ == "__main__":
    main()
