from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.engine_calls import Effects, LoadedModel, NextToken
from app.prompt_state import Draft, PromptState
from app.token_choice import meant_token
from engine.models.language_model import LanguageModel

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def loaded(model: LanguageModel) -> LoadedModel:
    return LoadedModel(model.name, model.name, model.fingerprint, "cpu", "float32", 30, model.tokenizer)


def test_tokens_are_shown_with_blanks_and_special_tokens(qapp: QApplication, smollm: LanguageModel) -> None:
    prompt = PromptState()
    prompt.set_model(loaded(smollm))
    prompt.edit(text="The capital of Texas is")
    assert [chip.visible for chip in prompt.chips] == ["<|im_start|>", "The", "␣capital", "␣of", "␣Texas", "␣is"]
    assert [chip.special for chip in prompt.chips] == [True, False, False, False, False, False]
    prompt.edit(bos=False)
    assert prompt.chips[0].visible == "The"


def test_the_chat_template_is_a_choice(qapp: QApplication, smollm: LanguageModel) -> None:
    prompt = PromptState()
    prompt.set_model(loaded(smollm))
    prompt.edit(text="Hello", chat=True, system="Be brief.")
    said = "".join(chip.text for chip in prompt.chips)
    assert "Be brief." in said
    assert "assistant" in said
    assert sum(chip.special for chip in prompt.chips) >= 4


def test_generated_tokens_follow_the_prompt_and_go_when_it_changes(qapp: QApplication, smollm: LanguageModel) -> None:
    prompt = PromptState()
    prompt.set_model(loaded(smollm))
    prompt.edit(text="The capital of Texas is")
    austin = smollm.tokenizer.single_token(" Austin")
    prompt.set_generated((NextToken(austin, " Austin", 0.3),))
    prompt.set_generated((NextToken(austin, " Austin", 0.3),))
    assert [chip.visible for chip in prompt.chips if chip.generated] == ["␣Austin"]
    assert len(prompt.all_ids) == len(prompt.ids) + 1
    prompt.edit(text="The capital of France is")
    assert not any(chip.generated for chip in prompt.chips)


def test_a_snapshot_comes_back_without_the_model(qapp: QApplication, smollm: LanguageModel, qtbot: QtBot) -> None:
    prompt = PromptState()
    prompt.set_model(loaded(smollm))
    prompt.edit(text="The opposite of hot is", bos=False)
    prompt.set_next((NextToken(5, " cold", 0.5),))
    prompt.set_traced(2)
    other = PromptState()
    with qtbot.waitSignals([other.draftChanged, other.chipsChanged, other.nextChanged]):
        assert other.restore(prompt.snapshot())
    assert (other.draft, other.chips, other.next, other.traced) == (prompt.draft, prompt.chips, prompt.next, 2)


@given(JSON)
def test_what_any_file_holds_is_a_draft_or_is_refused(stored: object) -> None:
    assert isinstance(Draft.from_json(stored), Draft)
    assert Effects.from_json(stored) is None or isinstance(Effects.from_json(stored), Effects)


@given(JSON)
def test_a_snapshot_of_any_file_never_breaks_the_window(qapp: QApplication, stored: object) -> None:
    prompt = PromptState()
    if not prompt.restore(stored):
        assert prompt.chips == ()


def test_tokens_of_another_kind_are_refused(qapp: QApplication) -> None:
    """A snapshot of the right form with values that would break what draws them."""
    chip = {"token_id": 1, "text": "a", "visible": "a", "special": False, "generated": False, "probability": None}
    token = {"token_id": 1, "text": "a", "probability": 0.5}
    whole = {"draft": {"text": "a"}, "chips": [chip], "next": [token], "traced": 0, "read_by": "m"}
    assert PromptState().restore(whole)
    for name in chip:
        assert not PromptState().restore({**whole, "chips": [{**chip, name: [0]}]}), name
    for name in token:
        assert not PromptState().restore({**whole, "next": [{**token, name: None}]}), name
    for number in (True, -1, 2**63):
        assert not PromptState().restore({**whole, "chips": [{**chip, "token_id": number}]}), number


def test_a_token_is_meant_as_it_is_read() -> None:
    likely = [" Austin", " the", "Dallas"]
    assert meant_token("Austin", likely) == " Austin"
    assert meant_token("␣Austin", likely) == " Austin"
    assert meant_token("Dallas", likely) == "Dallas"
    assert meant_token("⏎", likely) == "\n"
    assert meant_token("Houston", likely) == "Houston"
