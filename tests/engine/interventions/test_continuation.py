"""Continuing a changed prompt through the cache is running all of it anew, token by token; seeds repeat."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import Cancelled, RequestError
from engine.interventions import Change, Sampling, Settings, continue_changed
from engine.models.recording import record
from tests.engine.interventions.hooked_run import Asked, FeatureValue, HeadValue, HookedRun, Seen
from tests.engine.tracing.tiny_models import FAMILIES, TinyModel, features_of, tiny_model

IDS = (0, 5, 9, 3, 17)
LIVE = Settings("iterative", "live")


def anew(model: TinyModel, features: Any, changes: list[Change], ids: list[int]) -> np.ndarray:
    """Logits after all of `ids`, everything live, by hooks; each open-ended change at every position it reaches."""
    base = HookedRun(model, features, Asked(), None, 1)
    base.run(ids)
    values, heads = [], []
    for change in changes:
        for position in change.positions(len(ids)):
            if change.kind == "feature":
                values.append(FeatureValue(change.layer, position, change.index, change.value))
            else:
                zero = torch.zeros_like(base.seen.heads[change.layer][position, change.index])
                heads.append(HeadValue(change.layer, position, change.index, zero))
    asked = Asked(values, (), heads, attention=False, recompute=True)
    seen: Seen = HookedRun(model, features, asked, base.seen, 1).run(ids)
    return seen.logits[-1].numpy()


@pytest.mark.parametrize("kind", ["neurons", "cross-layer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_cache_gives_what_running_everything_anew_gives(family: str, kind: str) -> None:
    """Attention live, nothing held: then each new token's logits are those of one run over the whole text so far."""
    model, features = tiny_model(family), features_of(family, kind)
    changes = [
        Change("feature", 0, 2, 4, "set", 1.2, onward=True),
        Change("feature", 2, 3, 6, "set", -0.7),
        Change("head", 1, 2, 3, "ablate", onward=True),
    ]
    recording = record(model.weights, IDS, first_position=1)
    (found,) = continue_changed(model, recording, features, changes, LIVE, max_new_tokens=4, keep_logits=True)  # type: ignore[arg-type]
    ids = list(IDS)
    for token, logits in zip(found.tokens, found.logits, strict=True):
        expected = anew(model, features, changes, ids)
        assert np.allclose(logits, expected, rtol=1e-5, atol=1e-5)
        assert token.id == int(expected.argmax())
        ids.append(token.id)
    assert len(found.tokens) == 4


def run(changes: list[Change], **settings: Any) -> Any:
    model, features = tiny_model("llama"), features_of("llama", "relu")
    recording = record(model.weights, IDS, first_position=1)
    return continue_changed(model, recording, features, changes, LIVE, **settings)  # type: ignore[arg-type]


def test_no_change_is_the_models_own_continuation() -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        text = model.hf.generate(
            torch.tensor([IDS]), max_new_tokens=6, do_sample=False, use_cache=False, eos_token_id=None
        )
    (found,) = run([], max_new_tokens=6)
    assert [token.id for token in found.tokens] == text[0, len(IDS) :].tolist()
    assert found.seed is None


def test_a_seed_gives_the_same_text_beside_whichever_others() -> None:
    changes = [Change("feature", 1, 2, 4, "set", 2.0, onward=True)]
    several = run(changes, max_new_tokens=6, sampling=Sampling((3, 4, 5), temperature=2.0))
    alone = run(changes, max_new_tokens=6, sampling=Sampling((4,), temperature=2.0))
    assert [token.id for token in several[1].tokens] == [token.id for token in alone[0].tokens]
    assert len({tuple(token.id for token in one.tokens) for one in several}) == 3
    assert [one.seed for one in several] == [3, 4, 5]


def test_draws_have_the_models_shares() -> None:
    """Two thousand first tokens: their shares are the softmax of the logits over the temperature."""
    model, features = tiny_model("llama"), features_of("llama", "relu")
    recording = record(model.weights, IDS, first_position=1)
    sampling = Sampling(tuple(range(2000)), temperature=3.0, most=5)
    found = continue_changed(  # type: ignore[call-overload]
        model, recording, features, [], LIVE, max_new_tokens=1, sampling=sampling, keep_logits=True
    )
    logits = torch.tensor(found[0].logits[0], dtype=torch.float64)
    best = logits.topk(5)
    shares = (best.values / 3.0).softmax(-1)
    drawn = torch.tensor([one.tokens[0].id for one in found])
    for token, share in zip(best.indices, shares, strict=True):
        assert abs(float((drawn == token).double().mean()) - float(share)) < 4 * float((share / 2000).sqrt())
    assert set(drawn.tolist()) <= set(best.indices.tolist())


def test_a_multiple_goes_on_as_a_multiple_of_what_the_run_has() -> None:
    """Ablating onwards keeps a neuron at nothing: the same as setting it to nothing."""
    model, features = tiny_model("gemma3"), features_of("gemma3", "neurons")
    recording = record(model.weights, IDS, first_position=1)
    one, other = (
        continue_changed(  # type: ignore[call-overload]
            model,
            recording,
            features,
            [Change("feature", 1, 1, index, how, value, onward=True) for index in range(6)],
            LIVE,
            max_new_tokens=5,
            keep_logits=True,
        )[0]
        for how, value in (("ablate", 1.0), ("set", 0.0))
    )
    assert np.allclose(one.logits, other.logits, atol=1e-6)
    plain = continue_changed(model, recording, features, [], LIVE, max_new_tokens=5, keep_logits=True)[0]  # type: ignore[arg-type]
    assert not np.allclose(one.logits, plain.logits, atol=1e-3)


@pytest.mark.parametrize(
    ("sampling", "word"),
    [(Sampling((1,), temperature=0.0), "temperature"), (Sampling(()), "seeds"), (Sampling((1,), most=0), "likeliest")],
)
def test_draws_that_cannot_be_made_are_refused(sampling: Sampling, word: str) -> None:
    with pytest.raises(RequestError, match=word):
        run([], max_new_tokens=2, sampling=sampling)


def test_generation_stops_when_told() -> None:
    cancel, heard = threading.Event(), []

    def on_token(number: int, token: Any) -> None:
        heard.append((number, token.id))
        if len(heard) == 3:
            cancel.set()

    with pytest.raises(Cancelled):
        run([], max_new_tokens=10, on_token=on_token, cancel=cancel)
    assert len(heard) == 3
