"""Builds the tokenizer of a GGUF file by hand, with the components that give the original model's token ids.

transformers' own reader of GGUF tokenizers leaves out SmolLM2's split of digits and breaks Gemma's long runs of blanks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from engine.errors import RequestError
from engine.models.gguf_file import GgufFile

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_BLANK = "\u2581"  # SentencePiece's visible blank
_LONGEST_TOKEN = 1024  # characters; splitting a token takes the square of its length


def build_tokenizer(file: GgufFile) -> Tokenizer:
    """The tokenizer of the file, ready to be saved as tokenizer.json.

    Raises
    ------
    RequestError
        A kind of tokenizer that this program does not know, or lists that do not fit each other.
    """
    kind = (file.metadata.get("tokenizer.ggml.model"), file.metadata.get("tokenizer.ggml.pre"))
    try:
        if kind == ("gpt2", "smollm"):
            return _byte_level(file)
        if kind[0] == "llama" and not file.metadata.get("tokenizer.ggml.remove_extra_whitespaces"):
            return _sentencepiece(file)
    except (ValueError, TypeError, OverflowError) as error:  # what the library says of lists it cannot use
        raise _damaged(file, "its vocabulary cannot be used") from error
    raise RequestError(
        f"{file.path.name} has a tokenizer of the kind {_name(kind[0])} / {_name(kind[1])}, which cannot be read from "
        "GGUF; open the model's Hugging Face folder instead."
    )


def tokenizer_config(file: GgufFile) -> dict[str, Any]:
    """tokenizer_config.json: the special tokens by name.

    The class is named because a concrete one would build its own pipeline and give other ids.
    """
    tokens, _ = _vocabulary(file)
    config: dict[str, Any] = {
        "tokenizer_class": "TokenizersBackend",
        "clean_up_tokenization_spaces": False,
        "model_max_length": file.metadata.get(f"{file.metadata.get('general.architecture')}.context_length"),
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        index = file.metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(index, int) and 0 <= index < len(tokens):
            config[f"{name}_token"] = tokens[index]
    return config


def chat_template(file: GgufFile) -> str | None:
    """The file's chat template, a jinja text, or None."""
    template = file.metadata.get("tokenizer.chat_template")
    return template if isinstance(template, str) and template else None


def _byte_level(file: GgufFile) -> Tokenizer:
    """GPT-2's BPE over bytes; "smollm" splits every digit off first."""
    tokens, types = _vocabulary(file)
    merges = file.metadata.get("tokenizer.ggml.merges")
    if not isinstance(merges, list) or not all(isinstance(merge, str) for merge in merges):
        raise _damaged(file, "its merges are missing")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    known = set(tokens)
    if any(len(pair) != 2 or pair[0] + pair[-1] not in known or not known.issuperset(pair) for pair in pairs):
        raise _damaged(file, "its merges do not fit its vocabulary")
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(_added(tokens, types, _CONTROL))
    tokenizer.add_tokens(_added(tokens, types, _USER_DEFINED))
    return tokenizer


def _sentencepiece(file: GgufFile) -> Tokenizer:
    """SentencePiece's BPE: no merges in the file, the score is the rank; unknown characters fall back to bytes.

    Unless the file says no, a blank is put in front of the text, and as in llama.cpp after each control token.
    """
    tokens, types = _vocabulary(file)
    scores = file.metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, np.ndarray) or scores.shape != (len(tokens),) or not np.isfinite(scores).all():
        raise _damaged(file, "its scores do not fit its vocabulary")
    unknown, bos = tokens[_id(file, tokens, "unknown", 0)], _id(file, tokens, "bos", 1)
    prefix = file.metadata.get("tokenizer.ggml.add_space_prefix") is not False
    # The file stores the runs of blanks as real blanks.
    tokens = [_BLANK * len(token) if token and not token.strip(" ") else token for token in tokens]
    if len(set(tokens)) != len(tokens):
        raise _damaged(file, "its vocabulary holds a token twice")
    if prefix and any(types[i] == _USER_DEFINED and token.startswith(_BLANK) for i, token in enumerate(tokens)):
        raise RequestError(
            f"{file.path.name} has tokens of blanks and puts a blank in front of the text, which cannot be read from "
            "GGUF; open the model's Hugging Face folder instead."
        )
    known = set(tokens)
    normal = np.flatnonzero(types == _NORMAL)
    ranked = [tokens[i] for i in normal[np.argsort(-scores[normal], kind="stable")]]
    merges = [
        (token[:cut], token[cut:])
        for token in ranked
        for cut in range(1, len(token))
        if token[:cut] in known and token[cut:] in known
    ]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=merges,
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    visible = normalizers.Replace(" ", _BLANK)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_BLANK), visible]) if prefix else visible
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    tokenizer.add_special_tokens(_added(tokens, types, _CONTROL))
    # Runs of blanks are matched after the normaliser has made them visible: the longest run wins, as in SentencePiece.
    tokenizer.add_tokens(_added(tokens, types, _USER_DEFINED))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{tokens[bos]} $A", pair=f"{tokens[bos]} $A {tokens[bos]}:1 $B:1", special_tokens=[(tokens[bos], bos)]
    )
    return tokenizer


def _vocabulary(file: GgufFile) -> tuple[list[str], np.ndarray[Any, Any]]:
    tokens, types = file.metadata.get("tokenizer.ggml.tokens"), file.metadata.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens[:1]):
        raise _damaged(file, "its vocabulary is missing")
    if not isinstance(types, np.ndarray) or types.shape != (len(tokens),):
        raise _damaged(file, "its token types do not fit its vocabulary")
    if len(set(tokens)) != len(tokens):
        raise _damaged(file, "its vocabulary holds a token twice")
    if max(map(len, tokens)) > _LONGEST_TOKEN:
        raise _damaged(file, f"its vocabulary holds a token of more than {_LONGEST_TOKEN:,} characters")
    return tokens, types


def _id(file: GgufFile, tokens: list[str], key: str, default: int) -> int:
    """The id of a special token; where the file is silent, Llama's own, as llama.cpp takes them."""
    index = file.metadata.get(f"tokenizer.ggml.{key}_token_id", default)
    if not isinstance(index, int) or not 0 <= index < len(tokens):
        raise _damaged(file, f"its {key} token is missing")
    return index


def _added(tokens: list[str], types: np.ndarray[Any, Any], kind: int) -> list[AddedToken]:
    special = kind == _CONTROL
    return [
        AddedToken(tokens[i], normalized=not special and tokens[i].startswith(_BLANK), special=special)
        for i in np.flatnonzero(types == kind)
        if tokens[i]
    ]


def _damaged(file: GgufFile, reason: str) -> RequestError:
    return RequestError(f"{file.path.name} is damaged: {reason}; download or copy it again.")


def _name(value: object) -> str:
    return repr(value[:40]) if isinstance(value, str) else "unknown"
