"""Write what circuit-tracer's own interventions give into tests/oracle/references/. Run by `make references`.

Its argument is the folder of the prepared starter model. Runs inside the environment that holds circuit-tracer and
imports nothing of the engine.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.oracle import starter_case, tiny_case
from tests.oracle.intervention_case import FEATURE_STEP, MODES, NEW_TOKENS, TOKEN_STEP, as_array, rows_for
from tests.oracle.make_references import one_word_a_token, versions
from tests.oracle.peer_model import reopened, replacement_model
from tests.oracle.transcoder_case import Case, write_dictionary


def reference(case: Case, hf: Any, ids: Sequence[int], tokens: Any, steps: tuple[int, int]) -> dict[str, np.ndarray]:
    """Logits and activations of every mode, at the last position, and a continuation; every so many of them."""
    token_step, feature_step = steps
    with tempfile.TemporaryDirectory() as name:
        write_dictionary(case, Path(name))
        model = replacement_model(case, Path(name), hf, tokens(Path(name) / "tokenizer"))
        generate, prompt = model.generate, torch.tensor(ids)
        # TransformerLens generates from a batch of prompts, circuit-tracer's hooks count positions in a single one.
        model.generate = lambda tokens, **settings: generate(tokens[None], **settings)
        with torch.no_grad():
            model.ensure_tokenized(prompt)
            logits, activations = model.get_activations(prompt)
            active = activations.nonzero().numpy()
            rows = rows_for(active, activations[tuple(active.T)].numpy(), case.n_layers, len(ids))
            asked = [
                (row.layer, slice(row.position, None if row.last < 0 else row.last + 1), row.feature, row.value)
                for row in rows
            ]
            found = {"rows": as_array(rows), "clean": logits[0, -1, ::token_step].numpy(), "versions": versions()}
            for mode in MODES:
                settings = {
                    "constrained_layers": mode.range_of(case.n_layers),
                    "freeze_attention": mode.freeze_attention,
                }
                logits, activations = model.feature_intervention(prompt, asked, **settings)
                _, linear = model.feature_intervention(prompt, asked, apply_activation_function=False, **settings)
                found[f"{mode.name}-logits"] = logits[0, -1, ::token_step].numpy()
                found[f"{mode.name}-activations"] = activations[:, -1, ::feature_step].numpy()
                found[f"{mode.name}-linear"] = linear[:, -1, ::feature_step].numpy()
                _, logits, _ = model.feature_intervention_generate(
                    prompt,
                    asked,
                    **settings,
                    do_sample=False,
                    max_new_tokens=NEW_TOKENS,
                    stop_at_eos=False,
                    verbose=False,
                )
                found[f"{mode.name}-generated"] = logits.argmax(-1).numpy()[:NEW_TOKENS]
                found[f"{mode.name}-generated-logits"] = logits[:NEW_TOKENS, ::token_step].numpy()
    return found


def write_reference(name: str, arrays: dict[str, np.ndarray]) -> None:
    """Keep one case and say what it generated."""
    folder = Path(__file__).parent / "references"
    np.savez_compressed(folder / f"interventions-{name}.npz", **arrays)
    sys.stdout.write(f"interventions of {name}: {[arrays[f'{mode.name}-generated'].tolist() for mode in MODES]}\n")


def main() -> None:
    for case in tiny_case.CASES:
        hf = tiny_case.hf_model(case.family)
        write_reference(case.name, reference(case, hf, tiny_case.PROMPT, one_word_a_token, (1, 1)))
    starter = Path(sys.argv[1])
    hf, words = starter_case.hf_model(starter), starter_case.tokenizer(starter)
    for case in starter_case.CASES:
        steps = (TOKEN_STEP, FEATURE_STEP)
        arrays = reference(case, hf, starter_case.TOKENS, lambda folder: reopened(words, folder), steps)
        write_reference(case.name, arrays)


if __name__ == "__main__":
    main()
