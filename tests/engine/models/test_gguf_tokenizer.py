"""Token ids against independent tokenizers: digits, code, blanks, markup, emoji, accents."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from engine.errors import RequestError
from engine.models import starters
from engine.models.gguf_file import GgufFile
from engine.models.gguf_tokenizer import build_tokenizer
from engine.models.prompt import Prompt
from engine.models.tokens import ModelTokenizer
from tests.engine.models.gguf_samples import MERGES, vocabulary, write_llama
from tests.engine.models.reference_tokenizers import PlainBpe, gguf_fields, sentencepiece_of, trained_sentencepiece

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

SCORES = [0.0] * len(vocabulary())
Encode = Callable[[str], list[int]]
TEXTS = [
    "The capital of Texas is",
    "12",
    "In 1984, 365 days; 3.14159 and 1,000,000",
    "  12   345  ",
    "x  9  y",
    "\n\n7\n 8\t9",
    "½ ² Ⅳ ٣٤ 五",
    "def f(x):\n    if x > 10:\n        return x ** 2\n\n\treturn None\n",
    "class A:\n\n\n    pass  # two  blanks",
    "a  b   c    d     e",
    "   leading and trailing   ",
    " ",
    "  ",
    " " * 40,
    "word" + " " * 31 + "word" + " " * 33,
    "\t\t\ttabs\t\tand\ttabs",
    "\n" * 35 + "end",
    "\r\nWindows\r\n\r\nlines\r",
    "<html><body class='x'><h1>Title</h1><br/>a &amp; b</body></html>",
    "<table><tr><td>1</td></tr></table>",
    "Hello 👋🏽 world 🏳️‍🌈 🇫🇷 😀😃",
    "naïve café, Übergröße, ÅÄÖ, garçon, pequeño, ČĆŽŠ",
    "e\u0301 combining, ﬁ ligature, İstanbul ẞ",
    "日本語の文章です。中文也可以。한국어",
    "Здравствуй, мир! Γειά σου Κόσμε שלום مرحبا",
    "It's I'll we've they'd DON'T can’t",
    'Le contraire de "petit" est "',
    "http://example.org/a_b?c=d&e=%20#f",
    "\u00a0no-break\u2009thin\u3000wide\u200bzero",
    "math: ∑ᵢ xᵢ² ≤ ∞ → √2 ± 10⁻³",
    "control \x01\x07 \x1b[0m \x7f",
    "byte order \ufeff and \U0010ffff",
    "tail blank ",
]
PIECES = [*" \n\t0123456789", *"abcdeé日😀½", "  ", "    ", "ing", " the", "<b>", "</b>", "'s", "def ", "\u00a0", "..."]


def random_texts(count: int) -> list[str]:
    draw = random.Random(7)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 30))) for _ in range(count)]


def encoder(model: LanguageModel) -> Encode:
    return lambda text: model.tokenizer.encode(Prompt(text, bos=False))


@pytest.fixture(scope="module")
def smollm_pair() -> tuple[Encode, Encode]:
    """SmolLM2's tokenizer as it is built today (a prepared folder may be older), and plain BPE."""
    with GgufFile(starters.starter_parts(starters.SMOLLM)[0]) as file:
        return built(file), PlainBpe(file).encode


@pytest.fixture(scope="module")
def gemma_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encode, Encode]:
    """Gemma's tokenizer as it is built today, and SentencePiece."""
    path = tmp_path_factory.mktemp("gemma") / "gemma.gguf"
    path.write_bytes(b"".join(part.read_bytes() for part in starters.starter_parts(starters.GEMMA)))
    with GgufFile(path) as file:
        pair = built(file), sentencepiece_of(file).EncodeAsIds
    path.unlink()
    return pair


def built(file: GgufFile) -> Encode:
    tokenizer = build_tokenizer(file)
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


def test_smollm_ids_are_those_of_plain_bpe(smollm: LanguageModel, smollm_pair: tuple[Encode, Encode]) -> None:
    encode, reference = smollm_pair
    for text in TEXTS + random_texts(500):
        assert encode(text) == reference(text), text
        assert encoder(smollm)(text) == encode(text)


def test_gemma_ids_are_sentencepieces(gemma: LanguageModel, gemma_pair: tuple[Encode, Encode]) -> None:
    encode, reference = gemma_pair
    for text in TEXTS + random_texts(500):
        assert encode(text) == reference(text), text
        assert encoder(gemma)(text) == encode(text)


def test_known_ids(smollm_pair: tuple[Encode, Encode]) -> None:
    encode, _ = smollm_pair
    assert encode("\n\n7") == [1116, 39]  # without the split of digits: 198, 198, 39
    assert encode("<|im_start|>user") == [1, *encode("user")]


def test_texts_come_back(smollm: LanguageModel, gemma: LanguageModel) -> None:
    for model in (smollm, gemma):
        encode = encoder(model)
        for text in TEXTS + random_texts(100):
            if model is smollm and any(ord(character) < 32 and character not in "\n\t\r" for character in text):
                continue  # SmolLM2's vocabulary lacks some control characters
            if model is smollm and "\U0010ffff" in text:
                continue  # and the bytes F4 8F BF BF
            ids = encode(text)
            assert model.tokenizer.join(ids) == text
            single = [t for t in model.tokenizer.texts(ids) if "\ufffd" not in t]
            assert all(piece in text for piece in single)


def tiny(path: Path, **changes: Any) -> GgufFile:
    return GgufFile(write_llama(path / "tiny.gguf", changes={f"tokenizer.ggml.{k}": v for k, v in changes.items()}))


def test_a_small_vocabulary_merges_as_told(tmp_path: Path) -> None:
    with tiny(tmp_path) as file:
        assert build_tokenizer(file).encode("hello the").tokens == ["hello", "Ġt", "he"]  # "he" ranks first


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pre": "llama-bpe"}, r"'gpt2' / 'llama-bpe'.*Hugging Face folder"),
        ({"model": "bert"}, "'bert'"),
        ({"merges": None}, "merges are missing"),
        ({"merges": [*MERGES, "z z"]}, "merges do not fit"),
        ({"merges": [*MERGES, "one"]}, "merges do not fit"),
        ({"token_type": [1, 1]}, "token types do not fit"),
        ({"tokens": ["a"] * len(vocabulary())}, "holds a token twice"),
        ({"tokens": ["a" * 2000, *vocabulary()[1:]]}, "more than 1,024 characters"),
        ({"model": "llama", "add_space_prefix": False}, "scores do not fit"),
        ({"model": "llama", "remove_extra_whitespaces": True}, "cannot be read from GGUF"),
        ({"model": "llama", "scores": SCORES, "unknown_token_id": 1 << 20}, "unknown token is missing"),
        ({"model": "llama", "add_space_prefix": False, "scores": [float("nan")] * len(SCORES)}, "scores"),
    ],
)
def test_tokenizers_that_cannot_be_built_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with tiny(tmp_path, **changes) as file, pytest.raises(RequestError, match=words):
        build_tokenizer(file)


def test_a_small_sentencepiece_takes_the_best_score_first(tmp_path: Path) -> None:
    tokens = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "a",
        "b",
        "▁",
        "ab",
        "ba",
    ]
    types = [3, 3, 3, 3] + [6] * 256 + [1] * 5
    scores = np.zeros(len(tokens), np.float32)
    scores[-5:] = [-3, -4, -5, -2, -1]
    for better, expected in ((-1, ["a", "ba"]), (-2.5, ["ab", "a"])):
        scores[-1] = better
        with tiny(
            tmp_path,
            model="llama",
            add_space_prefix=False,
            tokens=tokens,
            token_type=types,
            scores=[float(score) for score in scores],
            bos_token_id=2,
            unknown_token_id=3,
        ) as file:
            tokenizer = build_tokenizer(file)
        assert tokenizer.encode("aba", add_special_tokens=False).tokens == expected
        assert tokenizer.encode("c b", add_special_tokens=False).tokens == ["<0x63>", "▁", "b"]
        assert tokenizer.decode(tokenizer.encode("é a").ids) == "é a"


@pytest.fixture(scope="module")
def llama_kind(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelTokenizer, Encode]:
    """A tokenizer of Llama's kind, trained here, through a GGUF file; and SentencePiece itself."""
    corpus = resources.files("resources").joinpath("fidelity_text.txt").read_text(encoding="utf-8")
    reference = trained_sentencepiece(corpus + "\n".join(TEXTS[:-4]), 1200)
    with tiny(tmp_path_factory.mktemp("llama"), **gguf_fields(reference)) as file:
        tokenizer = Tokenizer.from_str(build_tokenizer(file).to_str())  # as a prepared folder keeps it
        bos = file.metadata["tokenizer.ggml.bos_token_id"]
    return ModelTokenizer(tokenizer, vocab_size=1200, bos_id=bos), reference.EncodeAsIds


def test_llama_ids_are_sentencepieces(llama_kind: tuple[ModelTokenizer, Encode]) -> None:
    tokenizer, reference = llama_kind
    for text in TEXTS + random_texts(2000):
        ids = tokenizer.encode(Prompt(text, bos=False))
        assert ids == reference(text), text
        assert tokenizer.join(ids) == f" {text}"
        assert tokenizer.encode(Prompt(text)) == [1, *ids]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_text_has_sentencepieces_ids(llama_kind: tuple[ModelTokenizer, Encode], text: str) -> None:
    tokenizer, reference = llama_kind
    assert tokenizer.encode(Prompt(text, bos=False)) == reference(text)


def test_a_control_token_is_itself_and_a_blank_follows_as_in_llama_cpp(
    llama_kind: tuple[ModelTokenizer, Encode],
) -> None:
    tokenizer, reference = llama_kind
    assert tokenizer.encode(Prompt("<s>Texas is")) == [1, *reference("Texas is")]
    assert tokenizer.encode(Prompt("is</s>Texas", bos=False)) == [*reference("is"), 2, *reference("Texas")]


def test_a_token_is_named_as_it_stands_in_a_text(llama_kind: tuple[ModelTokenizer, Encode]) -> None:
    tokenizer, reference = llama_kind
    (the,) = reference("the")
    assert tokenizer.token_text(the) == " the"
    assert tokenizer.single_token(" the") == the
    with pytest.raises(RequestError, match="only with a blank in front; give ' the'"):
        tokenizer.single_token("the")
    inside = tokenizer.single_token("t")
    assert tokenizer.token_text(inside) == "t"
    assert tokenizer.single_token(" t") != inside
    assert tokenizer.token_text(tokenizer.single_token(" ")) == " "
    with pytest.raises(RequestError, match="is [2-9] tokens"):
        tokenizer.single_token("thequick")


def test_tokens_of_blanks_beside_a_blank_in_front_are_refused(tmp_path: Path) -> None:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "▁▁"]
    fields = {"tokens": tokens, "token_type": [2, 3, 3, *[6] * 256, 1, 1, 4], "scores": [0.0] * len(tokens)}
    with tiny(tmp_path, model="llama", **fields) as file, pytest.raises(RequestError, match="Hugging Face folder"):
        build_tokenizer(file)
    with tiny(tmp_path, model="llama", add_space_prefix=False, **fields) as file:
        assert build_tokenizer(file).encode("a  a", add_special_tokens=False).tokens == ["a", "▁▁", "a"]
