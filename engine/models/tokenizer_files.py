"""The tokenizer and the chat template of a model folder, from tokenizer.json and the settings beside it."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from engine.errors import RequestError
from engine.models.cache import read_json
from engine.models.chat_template import ChatTemplate
from engine.models.hf_folder import ModelFolder
from engine.models.tokens import ModelTokenizer

_LARGEST_TOKENIZER = 256 << 20  # bytes


def load_tokenizer(folder: ModelFolder, vocab_size: int) -> ModelTokenizer:
    """The folder's tokenizer, from tokenizer.json itself.

    No tokenizer class is asked for by name: some of transformers' build another pipeline than the file's.

    Raises
    ------
    RequestError
        A tokenizer file is damaged.
    """
    path = folder.path / "tokenizer.json"
    try:
        if path.stat().st_size > _LARGEST_TOKENIZER:
            raise ValueError("too large")
        tokenizer = Tokenizer.from_file(str(path))
    except (MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises bare Exception, and a Rust panic is not even that
        raise RequestError(f"{path} is damaged; fetch the model again.") from error
    settings = _optional_json(folder, "tokenizer_config.json")
    generation = _optional_json(folder, "generation_config.json")
    special = {
        name: text
        for name in ("bos_token", "eos_token", "pad_token", "unk_token")
        if (text := _token_text(settings.get(name))) is not None
    }
    # "bos_token": null says that the model has none, whatever its config gives.
    bos = folder.config.get("bos_token_id")
    if "bos_token" in settings:
        bos = tokenizer.token_to_id(special["bos_token"]) if "bos_token" in special else None
    eos = _ids(folder.config.get("eos_token_id")) | _ids(generation.get("eos_token_id"))
    if "eos_token" in special:
        eos |= _ids(tokenizer.token_to_id(special["eos_token"]))
    template = _chat_template(folder, settings)
    return ModelTokenizer(
        tokenizer,
        vocab_size=vocab_size,
        bos_id=min(_ids(bos), default=None),
        eos_ids=eos,
        chat=None if template is None else ChatTemplate(template, special),
    )


def _optional_json(folder: ModelFolder, name: str) -> dict[str, Any]:
    path = folder.path / name
    try:
        value = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} is damaged or cannot be read; fetch the model again.") from error
    return value if isinstance(value, dict) else {}


def _token_text(value: object) -> str | None:
    """A special token is given as its text, or as an object with the text in it."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _ids(value: object) -> set[int]:
    """Token ids given as a number, a list, or not at all."""
    values = value if isinstance(value, list) else [value]
    return {entry for entry in values if isinstance(entry, int) and not isinstance(entry, bool) and entry >= 0}


def _chat_template(folder: ModelFolder, settings: dict[str, Any]) -> str | None:
    path = folder.path / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8") or None
        except (OSError, ValueError) as error:
            raise RequestError(f"{path} is damaged or cannot be read; fetch the model again.") from error
    template = settings.get("chat_template") or _optional_json(folder, "chat_template.json").get("chat_template")
    if isinstance(template, list):  # several by name
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) and template else None
