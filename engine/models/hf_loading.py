"""Builds the transformers model and the tokenizer of a folder that `hf_folder` has found whole.

The weights are handed over as tensors, so that transformers opens no other file of the folder and asks no network:
no adapters, no code that came with the model, no pickles.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from tokenizers import Tokenizer

from engine.errors import Cancelled, LoupeError, MachineError, RequestError
from engine.models.cache import read_json
from engine.models.chat_template import ChatTemplate
from engine.models.hf_folder import ModelFolder
from engine.models.text_part import load_text
from engine.models.tokens import ModelTokenizer

# Fields of config.json that make transformers fetch or run something else.
_DROPPED = ("auto_map", "fusion_config", "transformers_weights", "quantization_config", "_name_or_path")
# Tensors that older checkpoints carry and no model reads: computed buffers, a copy of the tied embedding.
_HARMLESS = ("rotary_emb.inv_freq", ".masked_bias", ".attn.bias", "lm_head.weight")
_LARGEST_TOKENIZER = 256 << 20  # bytes


def load_hf(folder: ModelFolder, dtype: torch.dtype, device: torch.device) -> Any:
    """The model in evaluation mode with eager attention, without gradients, on `device`.

    Raises
    ------
    RequestError
        The config does not fit the weights, or is damaged.
    MachineError
        Memory ran out.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    with _quiet(), _sentences(folder):
        plain = {key: value for key, value in folder.config.items() if key not in _DROPPED}
        config = transformers.AutoConfig.for_model(**plain)
        model_class = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[folder.model_type])
        _check_size(folder, model_class, config)
        weights: dict[str, torch.Tensor] = {}
        for file in folder.weight_files:
            weights |= load_text(file, folder.stored_names)
        hf, report = model_class.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=dtype,
            attn_implementation="eager",
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        _check_report(folder, report)
        return hf.eval().requires_grad_(False).to(device)


def _check_report(folder: ModelFolder, report: dict[str, Any]) -> None:
    """Refuse what transformers would only warn of: tensors made up at random, or left out."""
    missing = sorted(report["missing_keys"])
    unused = sorted(name for name in report["unexpected_keys"] if not name.endswith(_HARMLESS))
    what = "shapes differ" if report["mismatched_keys"] or report["error_msgs"] else ""
    for names, word in ((missing, "missing"), (unused, "left over")):
        what = f"{len(names)} tensors are {word}, {names[0][:80]} first" if names else what
    if what:
        raise RequestError(f"The weights in {folder.path} do not fit its config.json ({what}); fetch the model again.")


def _check_size(folder: ModelFolder, model_class: Any, config: Any) -> None:
    """Refuse a config that describes a larger model than the files hold, before memory is taken for it."""
    embedding = max((math.prod(shape) for shape in folder.shapes.values()), default=0)
    layers = getattr(config, "num_hidden_layers", 0)
    if not 0 < layers <= len(folder.shapes):
        raise RequestError(f"The weights in {folder.path} do not fit its config.json; fetch the model again.")
    with torch.device("meta"):
        described = sum(parameter.numel() for parameter in model_class(config).parameters())
    # A tied unembedding is described once more and stored once.
    if described > folder.n_parameters + embedding:
        raise RequestError(
            f"config.json in {folder.path} describes {described:,} weights and the files hold "
            f"{folder.n_parameters:,}; fetch the model again."
        )


def load_tokenizer(folder: ModelFolder, vocab_size: int) -> ModelTokenizer:
    """The folder's tokenizer, from tokenizer.json itself.

    transformers' tokenizer classes are not asked: some of them build another pipeline than the file's.

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


@contextlib.contextmanager
def _sentences(folder: ModelFolder) -> Iterator[None]:
    """Whatever the library says of a config or a weight file it cannot use becomes one sentence."""
    try:
        yield
    except (LoupeError, Cancelled):
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise MachineError(
            f"Memory ran out while {folder.path.name} was loaded; close other programs or choose a smaller model."
        ) from error
    except Exception as error:
        raise RequestError(
            f"The model in {folder.path} cannot be loaded ({type(error).__name__}): its files are damaged or do not "
            "fit each other; fetch it again."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Transformers without progress bars and reports on stderr: what they say is reported by ours."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
