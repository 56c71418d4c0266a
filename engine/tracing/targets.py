"""What a trace explains: logits, their differences, or a direction, as vectors at one position of the last residual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine.dictionaries.features import LayerFeatures
from engine.errors import RequestError
from engine.models.recording import Recording
from engine.models.weights import ModelWeights
from engine.tracing.selection import forced_plan
from engine.tracing.spec import Target

if TYPE_CHECKING:
    from engine.models.tokens import ModelTokenizer


@dataclass(frozen=True)
class TargetSet:
    """K targets at one position.

    v_in of logit t is f'(z_t) W_t - mean_v f'(z_v) W_v, read through the frozen final norm; f is the final softcap
    (f' = 1 without one, and in the compatible mode, where the value is the logit before the cap).
    """

    position: int
    vectors: Tensor  # (K, d) in the residual stream before the final norm; of a feature, where its MLP reads
    own_bias: Tensor  # (K,) the norm's shift read by each target; of a feature, its encoder bias too
    value: Tensor  # (K,) float64: vectors . residual + own_bias
    weight: np.ndarray  # (K,) float32: probability of a token; 1 for a difference or direction
    token: np.ndarray  # (K,) int32 vocabulary id; -1 for a difference or direction
    text: tuple[str, ...]
    # The layer of a feature that is traced; None: what is traced reads the residual stream after the last layer.
    layer: int | None = None


@dataclass(frozen=True)
class NextToken:
    """The model's own prediction at the traced position."""

    logits: Tensor  # (V,) after the softcap
    slopes: Tensor | None  # (V,) f'(z) of the softcap; None without one
    probability: Tensor  # (V,) float64


def predict(weights: ModelWeights, recording: Recording, position: int) -> NextToken:
    """Logits and probabilities at a position, from the recorded final residual."""
    normed = recording.final_norm.apply(recording.final)[position]
    if recording.final_norm.shift is not None:
        normed = normed + recording.final_norm.shift.to(normed.dtype)
    raw = normed @ weights.unembed.to(normed.dtype).T
    cap = weights.final_softcap
    logits = raw if cap is None else cap * torch.tanh(raw / cap)
    slopes = None if cap is None else 1 - (logits / cap).pow(2)
    return NextToken(logits, slopes, torch.softmax(logits.double(), dim=-1))


def choose_targets(
    target: Target,
    prediction: NextToken,
    weights: ModelWeights,
    recording: Recording,
    tokenizer: ModelTokenizer,
    *,
    position: int,
    compatible: bool,
) -> TargetSet:
    """Turn what was asked into vectors. `RequestError` for a text that is not exactly one token."""
    slopes = None if compatible else prediction.slopes
    row = _row_reader(weights, slopes, recording.final.dtype)
    if target.direction is not None:
        if len(target.direction) != weights.d_model:
            raise RequestError(
                f"The direction has {len(target.direction)} numbers, but this model needs {weights.d_model}; "
                "give one number for each dimension of the residual stream."
            )
        vector = torch.tensor(target.direction, dtype=recording.final.dtype, device=recording.final.device)
        return _finish(recording, position, vector[None], [1.0], [-1], ("direction",))
    if target.weighted is not None:
        rows = [(weight, row(tokenizer.single_token(text))) for text, weight in target.weighted]
        text = " + ".join(f"{weight:g} {text}" for text, weight in target.weighted)
        return _finish(recording, position, sum_of(rows)[None], [1.0], [-1], (text,))
    against = _token(target.against, target.against_id, tokenizer)
    token = _token(target.token, target.token_id, tokenizer)
    if against is not None:
        if token is None:
            token = int(prediction.probability.argmax())
        text = f"{tokenizer.token_text(token)} − {tokenizer.token_text(against)}"
        return _finish(recording, position, (row(token) - row(against))[None], [1.0], [-1], (text,))
    chosen = [token] if token is not None else _likely(prediction.probability, target.top_logits, target.logit_mass)
    mean = weights.unembed_mean if slopes is None else (slopes @ weights.unembed.to(slopes.dtype)) / len(slopes)
    vectors = torch.stack([row(one) for one in chosen]) - mean.to(recording.final.dtype)
    probabilities = [float(prediction.probability[one]) for one in chosen]
    return _finish(recording, position, vectors, probabilities, chosen, tuple(map(tokenizer.token_text, chosen)))


def feature_target(feature: tuple[int, int, int], layers: Sequence[LayerFeatures]) -> TargetSet:
    """An active feature as the only target; `RequestError` for one that is not active."""
    number = forced_plan([feature], layers).picked[feature[0]]
    layer, position, index = feature
    here = layers[layer]
    return TargetSet(
        position,
        here.read_vectors(number),
        here.own_bias(number),
        here.values(number),
        np.ones(1, np.float32),
        np.full(1, -1, np.int32),
        (f"layer {layer} · {index}",),
        layer,
    )


def sum_of(rows: Sequence[tuple[float, Tensor]]) -> Tensor:
    """(d,) the weighted sum of vectors."""
    total = torch.zeros_like(rows[0][1])
    for weight, row in rows:
        total = total + weight * row
    return total


def _row_reader(weights: ModelWeights, slopes: Tensor | None, dtype: torch.dtype) -> Callable[[int], Tensor]:
    def row(token: int) -> Tensor:
        vector = weights.unembed[token].to(dtype)
        return vector if slopes is None else vector * slopes[token]

    return row


def _token(text: str | None, number: int | None, tokenizer: ModelTokenizer) -> int | None:
    if number is not None:
        if not 0 <= number < tokenizer.vocab_size:
            raise RequestError(f"There is no token {number}; this model's tokens are 0 to {tokenizer.vocab_size - 1}.")
        return number
    return None if text is None else tokenizer.single_token(text)


def _likely(probability: Tensor, at_most: int, mass: float) -> list[int]:
    """The smallest set of tokens that holds `mass` of the probability, at most `at_most`."""
    top = probability.topk(min(at_most, len(probability)))
    enough = int((top.values.cumsum(0) < mass).sum()) + 1
    return [int(token) for token in top.indices[:enough]]


def _finish(
    recording: Recording, position: int, vectors: Tensor, weight: list[float], token: list[int], text: tuple[str, ...]
) -> TargetSet:
    norm = recording.final_norm
    here = torch.full((len(vectors),), position, device=vectors.device)
    own = torch.zeros(len(vectors), dtype=vectors.dtype, device=vectors.device)
    if norm.shift is not None:
        own = vectors @ norm.shift.to(vectors.dtype)
    read = norm.pull_at(vectors, here)
    value = read.double() @ recording.final[position].double() + own.double()
    return TargetSet(position, read, own, value, np.array(weight, np.float32), np.array(token, np.int32), text)
