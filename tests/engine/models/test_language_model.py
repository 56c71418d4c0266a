"""The real models: what they say, how well they read, and how they go on."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from engine.errors import Cancelled, RequestError
from engine.models import forward
from engine.models.prompt import Prompt

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel
    from engine.models.tokens import GeneratedToken

SMOLLM_SAYS = [
    ("The capital of Texas is", " Austin", 0.31),
    ("The Eiffel Tower is in the city of", " Paris", 0.43),
    ("When Mary and John went to the store, John gave a drink to", " Mary", 0.84),
    ("The opposite of hot is", " cold", 0.26),
    ('The opposite of "small" is "', "large", 0.29),
]
GEMMA_SAYS = [
    ("Fact: Michael Jordan plays the sport of", " basketball", 0.61),
    ('Le contraire de "petit" est "', "grand", 0.35),
    ('El contrario de "pequeño" es "', "grande", 0.36),
    ('The opposite of "small" is "', "large", 0.34),
]
PARAGRAPH = (
    "Photosynthesis is the process by which green plants use sunlight to make their own food. It takes place in the "
    "chloroplasts of plant cells, which contain a green pigment called chlorophyll. During photosynthesis, plants "
    "take in carbon dioxide from the air and water from the soil. Using the energy of sunlight, they convert carbon "
    "dioxide and water into glucose, a simple sugar, and release oxygen as a byproduct. The glucose is used by the "
    "plant as a source of energy, or it is stored as starch for later use. Photosynthesis is important because it "
    "provides the oxygen that humans and other animals need to breathe. It also forms the basis of the food chain, "
    "since almost all living things depend on plants for food, either directly or indirectly. Without photosynthesis,"
    " there would be no oxygen in the atmosphere and life on Earth as we know it would not be possible. The rate of "
    "photosynthesis depends on several factors, including the amount of light, the temperature, and the concentration"
    " of carbon dioxide in the air."
)


@pytest.mark.parametrize(("prompt", "token", "probability"), SMOLLM_SAYS)
def test_smollm_says(smollm: LanguageModel, prompt: str, token: str, probability: float) -> None:
    (top, second) = smollm.top_tokens(smollm.tokenizer.encode(Prompt(prompt)), 2)
    assert top.text == token
    assert top.probability == pytest.approx(probability, abs=0.03)
    assert second.probability < top.probability


@pytest.mark.parametrize(("prompt", "token", "probability"), GEMMA_SAYS)
def test_gemma_says(gemma: LanguageModel, prompt: str, token: str, probability: float) -> None:
    (top,) = gemma.top_tokens(gemma.tokenizer.encode(Prompt(prompt)), 1)
    assert top.text == token
    assert top.probability == pytest.approx(probability, abs=0.03)


def test_without_bos_smollm_does_not_say_austin(smollm: LanguageModel) -> None:
    (top,) = smollm.top_tokens(smollm.tokenizer.encode(Prompt("The capital of Texas is", bos=False)), 1)
    assert top.text != " Austin"


def all_logits(model: LanguageModel, ids: list[int]) -> torch.Tensor:
    return forward.unembed(model.weights, forward.run(model.weights, torch.tensor([ids]))[0])


def perplexity(model: LanguageModel, text: str) -> float:
    ids = model.tokenizer.encode(Prompt(text))
    return math.exp(torch.nn.functional.cross_entropy(all_logits(model, ids)[:-1], torch.tensor(ids[1:])).item())


@pytest.mark.parametrize("name", ["smollm", "gemma"])
def test_logits_of_a_paragraph_are_those_of_transformers(name: str, request: pytest.FixtureRequest) -> None:
    """199 tokens in float32. Measured: equal to the last bit; another processor may round otherwise."""
    model, hf = request.getfixturevalue(name), request.getfixturevalue(f"{name}_hf")
    ids = model.tokenizer.encode(Prompt(PARAGRAPH))
    with torch.no_grad():
        theirs = hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    ours = all_logits(model, ids)
    assert (ours - theirs).abs().max() < 2e-4
    assert (ours.argmax(-1) == theirs.argmax(-1)).all()


def test_perplexity_of_a_paragraph(smollm: LanguageModel, gemma: LanguageModel) -> None:
    """Measured: 4.35 and 3.95. A wrong order of Q and K hides in single prompts and shows here."""
    assert len(smollm.tokenizer.encode(Prompt(PARAGRAPH))) == 199
    assert perplexity(smollm, PARAGRAPH) < 5
    assert perplexity(gemma, PARAGRAPH) < 4.6


def test_the_perplexity_bound_sees_a_wrong_order_of_q_and_k(smollm: LanguageModel) -> None:
    """The bound above would fail if the rows of Q and K stayed as the file has them: measured 41.6."""
    attention = [layer.attention for layer in smollm.weights.layers]
    matrices = [(block.w_q, 9) for block in attention] + [(block.w_k, 3) for block in attention]
    with torch.no_grad():
        kept = [weight.clone() for weight, _ in matrices]
        try:
            for weight, heads in matrices:
                shape = weight.shape
                as_in_file = weight.view(heads, 2, shape[0] // heads // 2, shape[1]).swapaxes(1, 2).reshape(shape)
                weight.copy_(as_in_file.clone())
            wrong = perplexity(smollm, PARAGRAPH)
        finally:
            for (weight, _), old in zip(matrices, kept, strict=True):
                weight.copy_(old)
    assert wrong > 20


def test_the_models_are_ready_to_be_traced(smollm: LanguageModel, gemma: LanguageModel) -> None:
    for model in (smollm, gemma):
        assert model.dtype is torch.float32
        assert model.device.type == "cpu"
        assert not any(layer.mlp.w_up.requires_grad for layer in model.weights.layers)
        assert model.weights.vocab_size == model.tokenizer.vocab_size
        assert len(model.fingerprint) == 64
    assert smollm.fingerprint != gemma.fingerprint


def test_logits_are_those_of_the_whole_sequence(gemma: LanguageModel) -> None:
    ids = gemma.tokenizer.encode(Prompt("Fact: Michael Jordan plays the sport of"))
    logits = gemma.next_token_logits(ids)
    assert logits.dtype == np.float32
    assert logits.shape == (gemma.tokenizer.vocab_size,)
    assert np.allclose(logits, all_logits(gemma, ids)[-1].numpy(), atol=1e-3)


def test_the_unembedding_reads_one_flat_row(gemma: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 a slice of three dimensions costs thirty times as much on a processor."""
    shapes: list[tuple[int, ...]] = []
    linear = torch.nn.functional.linear

    def seen(x: torch.Tensor, weight: torch.Tensor, *rest: torch.Tensor | None) -> torch.Tensor:
        if weight is gemma.weights.unembed:
            shapes.append(tuple(x.shape))
        return linear(x, weight, *rest)

    monkeypatch.setattr(forward.functional, "linear", seen)
    gemma.generate([2, 504, 3575], 2)
    assert shapes == [(1, 640), (1, 640)]


def greedy_without_cache(model: LanguageModel, ids: list[int], count: int) -> list[int]:
    ids, start = list(ids), len(ids)
    for _ in range(count):
        ids.append(int(model.next_token_logits(ids).argmax()))
        if ids[-1] in model.tokenizer.eos_ids:
            break
    return ids[start:]


def test_generating_is_choosing_the_best_token_again_and_again(smollm: LanguageModel, gemma: LanguageModel) -> None:
    for model in (smollm, gemma):
        ids = model.tokenizer.encode(Prompt("The capital of France is"))
        shares: list[float] = []
        streamed: list[GeneratedToken] = []

        def record(stage: str, share: float, shares: list[float] = shares) -> None:
            shares.append(share)

        found = model.generate(ids, 10, progress=record, on_token=streamed.append)
        assert [token.id for token in found] == greedy_without_cache(model, ids, 10)
        assert found == streamed
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        best = model.top_tokens([*ids, found[0].id], 1)[0]
        assert found[1].id == best.id
        assert found[1].probability == pytest.approx(best.probability, abs=1e-4)


def test_a_chat_answer_ends_with_the_end_token(smollm: LanguageModel) -> None:
    ids = smollm.tokenizer.encode(Prompt("What is the capital of France?", chat=True))
    found = smollm.generate(ids, 40)
    assert smollm.tokenizer.join([token.id for token in found]) == "The capital of France is Paris.<|im_end|>"


def test_nothing_is_generated_when_nothing_is_asked(smollm: LanguageModel) -> None:
    assert smollm.generate([1, 2], 0) == []


def test_cancel_stops_between_tokens(smollm: LanguageModel) -> None:
    cancel, found = threading.Event(), []

    def stop_at_third(token: GeneratedToken) -> None:
        found.append(token)
        if len(found) == 3:
            cancel.set()

    with pytest.raises(Cancelled):
        smollm.generate([1, 504], 50, cancel=cancel, on_token=stop_at_third)
    assert len(found) == 3


def test_cancel_stops_inside_a_forward_pass(smollm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel, layers_run = threading.Event(), 0
    block = forward.run_block

    def counted(*args: Any, **named: Any) -> forward.BlockValues:
        nonlocal layers_run
        values = block(*args, **named)
        layers_run += 1
        if layers_run == 4:
            cancel.set()
        return values

    with monkeypatch.context() as patched:
        patched.setattr(forward, "run_block", counted)
        with pytest.raises(Cancelled):
            smollm.generate([1, 504], 50, cancel=cancel)
    assert layers_run == 4
    assert len(smollm.generate([1, 504], 2)) == 2


@pytest.mark.parametrize(("ids", "words"), [([], "empty"), ([1] * 8193, "8,193 tokens"), ([49152], "no token 49152")])
def test_prompts_that_the_model_cannot_read(smollm: LanguageModel, ids: list[int], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        smollm.next_token_logits(ids)
    with pytest.raises(RequestError, match=words):
        smollm.generate(ids, 3)


def test_damaged_weights_show_as_one_sentence(smollm: LanguageModel) -> None:
    weight = smollm.weights.final_norm.gain
    with torch.no_grad():
        kept = weight[0].item()
        weight[0] = float("nan")
        try:
            with pytest.raises(RequestError, match="not a number"):
                smollm.next_token_logits([1, 2])
        finally:
            weight[0] = kept
