"""Prompts to ids: BOS, chat, ids given directly; tokens as a user sees and names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from engine.errors import RequestError
from engine.models.chat_template import ChatTemplate
from engine.models.prompt import Prompt
from engine.models.tokens import ModelTokenizer
from tests.engine.models.gguf_samples import byte_characters

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel


def bytes_tokenizer(chat: str | None = None, bos_id: int | None = 256) -> ModelTokenizer:
    """One token a byte, then <s> (256) and </s> (257); the model has three more logits."""
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(byte_characters())}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<s>", normalized=False), AddedToken("</s>", normalized=False)])
    template = None if chat is None else ChatTemplate(chat, {"bos_token": "<s>"})
    return ModelTokenizer(tokenizer, vocab_size=261, bos_id=bos_id, eos_ids=[257], chat=template)


def test_bos_goes_in_front_unless_a_special_token_is_there(smollm: LanguageModel, gemma: LanguageModel) -> None:
    for model, bos, special in ((smollm, 1, "<|im_end|>"), (gemma, 2, "<start_of_turn>")):
        tokenizer = model.tokenizer
        assert tokenizer.bos_id == bos
        assert tokenizer.is_special(bos)
        plain = tokenizer.encode(Prompt("Texas is", bos=False))
        assert tokenizer.encode(Prompt("Texas is")) == [bos, *plain]
        first, *rest = tokenizer.encode(Prompt(special + "Texas is"))
        assert tokenizer.is_special(first)
        assert first != bos
        assert rest == plain
        assert tokenizer.encode(Prompt("caption", token_ids=(5, 6))) == [5, 6]


def test_a_model_without_bos_gets_none() -> None:
    assert bytes_tokenizer(bos_id=None).encode(Prompt("a")) == [97]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Prompt(""), "empty"),
        (Prompt("", chat=True), "empty"),
        (Prompt(token_ids=()), "empty"),
        (Prompt(token_ids=(0, 261)), "no token 261; its ids go from 0 to 260"),
        (Prompt(token_ids=(-1,)), "no token -1"),
        (Prompt("a", chat=True), "no chat template"),
        (Prompt("a\ud800"), "surrogate"),
    ],
)
def test_prompts_that_cannot_be_are_refused(prompt: Prompt, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        bytes_tokenizer().encode(prompt)


def test_a_prompt_of_characters_that_the_model_lacks_is_refused(smollm: LanguageModel) -> None:
    with pytest.raises(RequestError, match="no character"):
        smollm.tokenizer.encode(Prompt("\x04"))


def test_chat_is_rendered_as_the_model_was_taught(smollm: LanguageModel, gemma: LanguageModel) -> None:
    tokenizer = smollm.tokenizer
    assert tokenizer.has_chat_template
    assert not gemma.tokenizer.has_chat_template
    ids = tokenizer.encode(Prompt("Hi", chat=True, system="Be brief."))
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.join(ids) == text
    assert ids.count(1) == 3
    default = tokenizer.join(tokenizer.encode(Prompt("Hi", chat=True)))
    assert default.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    with pytest.raises(RequestError, match="no chat template"):
        gemma.tokenizer.encode(Prompt("Hi", chat=True))


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no system here') }}",
        "{{ messages[7].content }}",
        "{% for x in %}",
        "{{ 1 // 0 }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for i in range(10000000) %}x{% endfor %}",
    ],
)
def test_a_template_that_refuses_or_misbehaves_is_one_sentence(template: str) -> None:
    with pytest.raises(RequestError, match="chat template refuses") as caught:
        bytes_tokenizer(template).encode(Prompt("a", chat=True))
    assert "\n" not in caught.value.sentence


def test_a_template_that_gives_bos_gets_no_second_one() -> None:
    assert bytes_tokenizer("{{ bos_token }}{{ messages[0].content }}").encode(Prompt("a", chat=True)) == [256, 97]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_texts_add_up_to_the_prompt(text: str) -> None:
    tokenizer = bytes_tokenizer(bos_id=None)
    ids = tokenizer.encode(Prompt(text))
    assert tokenizer.join(ids) == text
    assert len(tokenizer.texts(ids)) == len(ids)


def test_a_token_is_shown_with_its_blanks_and_bytes(smollm: LanguageModel, gemma: LanguageModel) -> None:
    def shown(model: LanguageModel, text: str) -> list[str]:
        return [model.tokenizer.visible(i) for i in model.tokenizer.encode(Prompt(text))]

    assert shown(smollm, " Austin\n\tx") == ["<|im_start|>", "␣Austin", "⏎", "⇥", "x"]
    assert shown(gemma, " Austin\n  x") == ["<bos>", "␣Austin", "⏎", "␣␣", "x"]
    assert shown(gemma, "\u202e") == ["<bos>", "<U+202E>"]
    assert "<0xF0>" in "".join(shown(smollm, "\U0001f9ff"))
    assert smollm.tokenizer.token_text(smollm.tokenizer.single_token(" Austin")) == " Austin"
    assert "\ufffd" in "".join(smollm.tokenizer.texts(smollm.tokenizer.encode(Prompt("\U0001f9ff"))))


def test_logits_beyond_the_vocabulary_have_a_name() -> None:
    tokenizer = bytes_tokenizer()
    assert tokenizer.token_text(260) == "<id 260>" == tokenizer.visible(260)
    assert not tokenizer.is_special(260)


def test_one_token_is_found_by_its_text(smollm: LanguageModel, gemma: LanguageModel) -> None:
    for model, first in ((smollm, "<|im_end|>"), (gemma, "<eos>")):
        tokenizer = model.tokenizer
        for text in (" Austin", "\n", " ", "7", "grand", first):
            assert tokenizer.token_text(tokenizer.single_token(text)) == text


def test_what_is_not_one_token_is_told_what_it_is(smollm: LanguageModel) -> None:
    tokenizer = smollm.tokenizer
    with pytest.raises(RequestError, match="empty"):
        tokenizer.single_token("")
    with pytest.raises(RequestError, match=r"' Austin Texas' is 2 tokens \(' Austin', ' Texas'\)"):
        tokenizer.single_token(" Austin Texas")
    with pytest.raises(RequestError, match=r"is 12 tokens \(.*, \.\.\.\)"):
        tokenizer.single_token("1" * 12)
    with pytest.raises(RequestError, match="vocabulary lacks"):
        tokenizer.single_token("\x04")
    with pytest.raises(RequestError, match="vocabulary lacks"):
        tokenizer.single_token("a\x04")
