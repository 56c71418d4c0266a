"""Text sampled from the model itself, with a kept seed: where no corpus is at hand, what the model says is its own.

Models with a chat template answer short requests about words of their vocabulary; others continue a short beginning.
Runs of equal length go through together, so that a weight is read once for all of them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import RequestError
from engine.evidence.corpus import Corpus, corpus_of
from engine.evidence.index_state import load_corpus, save_corpus
from engine.models.forward import KeyValueCache, run, unembed
from engine.models.prompt import Prompt
from engine.progress import Progress, checkpoint, silent

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

REQUESTS = (
    "Tell me about{}.",
    "Write a short story about{}.",
    "Write a news report about{}.",
    "Explain{} to a child.",
    "Write a dialogue in which two people argue about{}.",
    "Write an encyclopedia article about{}, with names, places and dates.",
    "Write a short Python program about{}.",
    "Write a letter that mentions{}.",
)
BEGINNINGS = ("The{}", "In{}", "Why{}", "When the{}", "She said that{}", "How to{}")
_SHORTEST_WORD, _COMMON = 4, 20_000


@dataclass(frozen=True)
class SamplingSettings:
    """How text is sampled; all of it is kept beside what is made of it."""

    tokens: int
    seed: int = 0
    temperature: float = 0.9
    top_p: float = 0.97
    length: int = 160  # tokens of an answer, at most
    batch: int = 64  # runs at a time

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.length < 1 or self.batch < 1 or not 0 < self.top_p <= 1 or self.temperature <= 0:
            raise RequestError("Sampling needs at least one token, a temperature above 0 and a top-p of at most 1.")


def sample_corpus(
    model: LanguageModel,
    settings: SamplingSettings,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Corpus:
    """At least `settings.tokens` tokens that the model wrote; each answer is a document, without the request.

    The same seed, model, device and version give the same text. Raises `Cancelled` within one layer.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    words = _words(model)
    documents: list[NDArray[np.uint32]] = []
    count = round_number = 0
    while count < settings.tokens:
        progress(f"Sampling text: {count:,} of {settings.tokens:,} tokens", count / settings.tokens)
        prompts = _prompts(model, words, round_number, settings.batch, generator)
        answers = _answers(model, prompts, settings, generator, cancel)
        documents += answers
        count += sum(map(len, answers))
        round_number += 1
    progress("Sampling text", 1.0)
    return corpus_of(documents, f"{count:,} tokens that {model.name} wrote (seed {settings.seed})")


def kept_sample(
    model: LanguageModel,
    settings: SamplingSettings,
    folder: Path,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Corpus:
    """The same, kept in a folder: what this model wrote there with these settings is not sampled again."""
    made_by = f"{model.fingerprint} {settings}"
    found = load_corpus(folder, made_by)
    if found is None:
        found = sample_corpus(model, settings, progress, cancel)
        save_corpus(folder, found, made_by)
    return found


def _words(model: LanguageModel) -> list[str]:
    """Whole words, blank in front, that are one token: the lower numbers of a vocabulary are the commoner ones."""
    texts = (model.tokenizer.token_text(number) for number in range(min(model.tokenizer.vocab_size, _COMMON)))
    found = [text for text in texts if text[:1] == " " and len(text) > _SHORTEST_WORD and text[1:].isalpha()]
    return found or [" something"]


def _prompts(
    model: LanguageModel, words: list[str], number: int, count: int, generator: torch.Generator
) -> list[list[int]]:
    """Prompts of equal length: one form, and words that are one token each."""
    chat = model.tokenizer.has_chat_template
    forms = REQUESTS if chat else BEGINNINGS
    form = forms[number % len(forms)]
    picked = torch.randint(len(words), (count,), generator=generator).tolist()
    made = [model.tokenizer.encode(Prompt(form.format(words[i]), chat=chat)) for i in picked]
    usual = int(np.bincount([len(one) for one in made]).argmax())
    return [one for one in made if len(one) == usual]


def _answers(
    model: LanguageModel,
    prompts: list[list[int]],
    settings: SamplingSettings,
    generator: torch.Generator,
    cancel: threading.Event | None,
) -> list[NDArray[np.uint32]]:
    weights, device = model.weights, model.weights.device
    cache, step = KeyValueCache(weights.n_layers), torch.tensor(prompts, device=device)
    ends = torch.tensor(sorted(model.tokenizer.eos_ids) or [-1], device=device)
    length = min(settings.length, weights.context - step.shape[1])
    written = np.zeros((len(prompts), max(length, 0)), dtype=np.uint32)
    size = np.full(len(prompts), written.shape[1])
    done = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    for at in range(written.shape[1]):
        checkpoint(cancel)
        final = run(weights, step, cache=cache, cancel=cancel)[:, -1].contiguous()
        token = _drawn(unembed(weights, final).float().cpu(), settings, generator).to(device)
        ended = torch.isin(token, ends) & ~done
        size[ended.cpu().numpy()] = at
        done |= ended
        written[:, at] = token.cpu().numpy()
        if bool(done.all()):
            break
        step = token[:, None]
    return [row[:end] for row, end in zip(written, size.tolist(), strict=True) if end]


def _drawn(logits: Tensor, settings: SamplingSettings, generator: torch.Generator) -> Tensor:
    """(B,) tokens drawn from the smallest set whose probability reaches top-p."""
    values, tokens = logits.topk(min(200, logits.shape[1]), dim=-1)
    share = ((values - logits.logsumexp(-1, keepdim=True)) / settings.temperature).softmax(-1)
    before = share.cumsum(-1) - share
    share = share.masked_fill(before >= settings.top_p, 0.0)
    picked = torch.multinomial(share, 1, generator=generator)
    return tokens.gather(-1, picked)[:, 0]
