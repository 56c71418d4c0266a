"""Turns the tensors of a GGUF file into those of transformers' model of the same family, and writes its config.

What differs between the two, tested against transformers' own loader: the Llama converter interleaves the rows of Q
and K for its rotary embedding; the Gemma converter stores every norm's weight plus one; and the Gemma file leaves out
the local rotary base, the pattern of sliding layers and the attention scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.models.gguf_file import GgufFile

_LARGEST_COUNT = 1 << 24  # no width, vocabulary or context of a model comes near it
_ELSEWHERE = "open the model's Hugging Face folder instead."


@dataclass(frozen=True)
class Slot:
    """One tensor of the transformers model and where it comes from.

    `interleaved_heads`: the number of heads whose rows must be put back in order (0: as they are).
    `plus_one`: the file stores the weight plus one.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    interleaved_heads: int = 0
    plus_one: bool = False


@dataclass(frozen=True)
class Conversion:
    """How a GGUF file becomes a Hugging Face folder: its config.json and its tensors."""

    config: dict[str, Any]
    slots: tuple[Slot, ...]

    @property
    def n_parameters(self) -> int:
        """Numbers in all tensors together."""
        return sum(int(np.prod(slot.shape)) for slot in self.slots)


def plan_conversion(file: GgufFile) -> Conversion:
    """Work out the config and the list of tensors, and check that the file holds exactly those, in these shapes.

    Raises
    ------
    RequestError
        Another architecture, a field missing or out of range, a tensor missing, misshapen or left over.
    """
    architecture = file.metadata.get("general.architecture")
    build = _ARCHITECTURES.get(architecture) if isinstance(architecture, str) else None
    if build is None:
        raise RequestError(
            f"{file.path.name} holds a model of the architecture {str(architecture)[:40]!r}, and GGUF files of "
            f"{' and '.join(sorted(_ARCHITECTURES))} can be read; {_ELSEWHERE}"
        )
    conversion = build(_Fields(file, str(architecture)))
    _check_tensors(file, conversion)
    return conversion


def read_slot(file: GgufFile, slot: Slot) -> Iterator[NDArray[np.float32]]:
    """Yield the tensor of transformers' model as (n, last dimension) float32 blocks, in order."""
    order = None
    if slot.interleaved_heads:
        half = slot.shape[0] // slot.interleaved_heads // 2
        # The file pairs row j of a head with row j + half; transformers wants the halves one after the other.
        order = np.arange(slot.shape[0]).reshape(slot.interleaved_heads, half, 2).swapaxes(1, 2).ravel()
    for block in file.rows(slot.source, order):
        yield block - np.float32(1) if slot.plus_one else block


class _Fields:
    """The metadata of one architecture, checked as it is read."""

    def __init__(self, file: GgufFile, architecture: str) -> None:
        self.file = file
        self.prefix = architecture

    def _fail(self, key: str) -> RequestError:
        return RequestError(
            f"{self.file.path.name} is damaged: its field {key} is missing or makes no sense; download it again."
        )

    def count(self, key: str, default: int | None = None) -> int:
        """A positive whole number."""
        name = f"{self.prefix}.{key}"
        value = self.file.metadata.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LARGEST_COUNT:
            raise self._fail(name)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive finite number, cleared of the rounding of float32."""
        name = f"{self.prefix}.{key}"
        value = self.file.metadata.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            raise self._fail(name)
        return float(f"{value:.6g}")

    def rope_scaling(self) -> dict[str, Any]:
        """Rotary scaling of the layers with the file's own base: none or linear."""
        kind = self.file.metadata.get(f"{self.prefix}.rope.scaling.type", "none")
        if kind == "none":
            return {"rope_type": "default"}
        if kind == "linear":
            return {"rope_type": "linear", "factor": self.number("rope.scaling.factor")}
        raise RequestError(f"{self.file.path.name} scales its positions by {str(kind)[:40]!r}; {_ELSEWHERE}")

    def token_id(self, key: str) -> int | None:
        value = self.file.metadata.get(f"tokenizer.ggml.{key}_token_id")
        return value if isinstance(value, int) and 0 <= value < self.vocabulary() else None

    def vocabulary(self) -> int:
        tokens = self.file.metadata.get("tokenizer.ggml.tokens")
        if not isinstance(tokens, list) or not tokens:
            raise RequestError(f"{self.file.path.name} holds no tokenizer; {_ELSEWHERE}")
        return len(tokens)

    def layers(self) -> int:
        n_layers = self.count("block_count")
        if n_layers > len(self.file.tensors):  # every layer has tensors: a bound before anything grows with it
            raise self._fail(f"{self.prefix}.block_count")
        return n_layers

    def shared_config(self) -> dict[str, Any]:
        """The fields of config.json that every architecture has."""
        return {
            "vocab_size": self.vocabulary(),
            "hidden_size": self.count("embedding_length"),
            "intermediate_size": self.count("feed_forward_length"),
            "num_hidden_layers": self.layers(),
            "num_attention_heads": self.count("attention.head_count"),
            "num_key_value_heads": self.count("attention.head_count_kv", self.count("attention.head_count")),
            "max_position_embeddings": self.count("context_length"),
            "rms_norm_eps": self.number("attention.layer_norm_rms_epsilon"),
            "bos_token_id": self.token_id("bos"),
            "eos_token_id": self.token_id("eos"),
            "pad_token_id": self.token_id("padding"),
            "attention_bias": False,
            "tie_word_embeddings": "output.weight" not in self.file.tensors,
            "dtype": "bfloat16",
        }


def _projections(config: dict[str, Any], at: str, to: str, *, interleaved: bool) -> Iterator[Slot]:
    """The seven matrices of a gated layer: Q, K, V, O, gate, up and down."""
    width, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    queries, keys = (heads, kv_heads) if interleaved else (0, 0)
    yield Slot(f"{to}self_attn.q_proj.weight", f"{at}attn_q.weight", (heads * head, width), queries)
    yield Slot(f"{to}self_attn.k_proj.weight", f"{at}attn_k.weight", (kv_heads * head, width), keys)
    yield Slot(f"{to}self_attn.v_proj.weight", f"{at}attn_v.weight", (kv_heads * head, width))
    yield Slot(f"{to}self_attn.o_proj.weight", f"{at}attn_output.weight", (width, heads * head))
    yield Slot(f"{to}mlp.gate_proj.weight", f"{at}ffn_gate.weight", (inner, width))
    yield Slot(f"{to}mlp.up_proj.weight", f"{at}ffn_up.weight", (inner, width))
    yield Slot(f"{to}mlp.down_proj.weight", f"{at}ffn_down.weight", (width, inner))


def _slots(
    config: dict[str, Any], norms: dict[str, tuple[str, int]], *, interleaved: bool, plus_one: bool
) -> tuple[Slot, ...]:
    """Every tensor. `norms`: the norms of a layer, name in the file -> (name in transformers, width)."""
    width, vocabulary = config["hidden_size"], config["vocab_size"]
    slots = [
        Slot("model.embed_tokens.weight", "token_embd.weight", (vocabulary, width)),
        Slot("model.norm.weight", "output_norm.weight", (width,), plus_one=plus_one),
    ]
    if not config["tie_word_embeddings"]:
        slots.append(Slot("lm_head.weight", "output.weight", (vocabulary, width)))
    for layer in range(config["num_hidden_layers"]):
        at, to = f"blk.{layer}.", f"model.layers.{layer}."
        slots += _projections(config, at, to, interleaved=interleaved)
        slots += [
            Slot(f"{to}{name}.weight", f"{at}{source}.weight", (size,), plus_one=plus_one)
            for source, (name, size) in norms.items()
        ]
    return tuple(slots)


def _llama(fields: _Fields) -> Conversion:
    config = fields.shared_config()
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if fields.file.metadata.get("llama.expert_count"):
        raise RequestError(f"{fields.file.path.name} is a mixture of experts; {_ELSEWHERE}")
    config |= {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "mlp_bias": False,
        "head_dim": fields.count("rope.dimension_count", max(1, width // heads)),
        "rope_parameters": fields.rope_scaling() | {"rope_theta": fields.number("rope.freq_base", 10000.0)},
    }
    norms = {"attn_norm": ("input_layernorm", width), "ffn_norm": ("post_attention_layernorm", width)}
    return Conversion(config, _slots(config, norms, interleaved=True, plus_one=False))


def _gemma3(fields: _Fields) -> Conversion:
    config = fields.shared_config()
    width, head, n_layers = config["hidden_size"], fields.count("attention.key_length"), config["num_hidden_layers"]
    config |= {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "head_dim": head,
        # The 27B model (62 layers) alone divides by the width of a head, not by the key's (llama.cpp, gemma3.cpp).
        "query_pre_attn_scalar": width // config["num_attention_heads"] if n_layers == 62 else head,
        "sliding_window": fields.count("attention.sliding_window"),
        "layer_types": ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(n_layers)],
        "rope_parameters": {
            "full_attention": fields.rope_scaling() | {"rope_theta": fields.number("rope.freq_base", 1e6)},
            "sliding_attention": {"rope_type": "default", "rope_theta": fields.number("rope.freq_base_swa", 1e4)},
        },
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    }
    norms = {
        "attn_norm": ("input_layernorm", width),
        "post_attention_norm": ("post_attention_layernorm", width),
        "ffn_norm": ("pre_feedforward_layernorm", width),
        "post_ffw_norm": ("post_feedforward_layernorm", width),
        "attn_q_norm": ("self_attn.q_norm", head),
        "attn_k_norm": ("self_attn.k_norm", head),
    }
    return Conversion(config, _slots(config, norms, interleaved=False, plus_one=True))


_ARCHITECTURES: dict[str, Callable[[_Fields], Conversion]] = {"llama": _llama, "gemma3": _gemma3}


def _check_tensors(file: GgufFile, conversion: Conversion) -> None:
    config = conversion.config
    if config["head_dim"] % 2 or config["num_attention_heads"] % config["num_key_value_heads"]:
        raise RequestError(f"{file.path.name} is damaged: its attention heads make no sense; download it again.")
    for slot in conversion.slots:
        entry = file.tensors.get(slot.source)
        if entry is None:
            raise RequestError(f"{file.path.name} is damaged: the tensor {slot.source} is missing; download it again.")
        if entry.shape != slot.shape:
            raise RequestError(
                f"{file.path.name} is damaged: the tensor {slot.source} has the shape {entry.shape}, not {slot.shape}; "
                "download it again."
            )
    # A tensor that is not read would be left out in silence: biases, rotary factors, experts.
    extra = sorted(set(file.tensors) - {slot.source for slot in conversion.slots})
    if extra:
        raise RequestError(
            f"{file.path.name} holds {len(extra)} tensors that this program does not read, {extra[0][:60]!r} first; "
            f"{_ELSEWHERE}"
        )
