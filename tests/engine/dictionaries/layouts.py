"""Every layout that is read, each on a tiny model of some family."""

from __future__ import annotations

from collections.abc import Callable

from tests.engine.dictionaries.cross_layer_layouts import (
    circuit_tracer_cross,
    clt_training,
    crosslayer_coding,
    gemma_scope_2_cross,
)
from tests.engine.dictionaries.layout import Layout, Written
from tests.engine.dictionaries.per_layer_layouts import (
    circuit_tracer_plain,
    gemma_scope,
    gemma_scope_2,
    saelens,
    sparsify,
)


def _layout(
    name: str, format_: str, family: str, reads: str, writes: str, write: Callable[..., Written], **settings: object
) -> Layout:
    return Layout(name, format_, family, reads, writes, lambda folder: write(folder, **settings))


_CT, _GS2, _CLT = "circuit-tracer cross-layer", "Gemma Scope 2", "sparsify and clt-training"
_IN, _MID, _RAW, _OUT, _BRANCH = "mlp_input", "residual", "normalised", "mlp_output", "branch_output"
LAYOUTS = (
    _layout("circuit-tracer", "circuit-tracer", "llama", _IN, _BRANCH, circuit_tracer_plain),
    _layout("ct-cross-relu", _CT, "llama", _MID, _BRANCH, circuit_tracer_cross, jump_relu=False, skip=False),
    _layout("ct-cross-jumprelu", _CT, "gemma2", _MID, _BRANCH, circuit_tracer_cross, jump_relu=True, skip=False),
    _layout("ct-cross-skip", _CT, "qwen3", _MID, _BRANCH, circuit_tracer_cross, jump_relu=True, skip=True),
    _layout("gemma-scope", "Gemma Scope", "gemma2", _RAW, _BRANCH, gemma_scope),
    _layout("gemma-scope-compressed", "Gemma Scope", "gemma2", _RAW, _BRANCH, gemma_scope, compressed=True),
    _layout("gemma-scope-fortran", "Gemma Scope", "gemma2", _RAW, _BRANCH, gemma_scope, fortran=True),
    _layout("gemma-scope-2", _GS2, "gemma3", _IN, _BRANCH, gemma_scope_2, affine=False),
    _layout("gemma-scope-2-affine", _GS2, "gemma3", _IN, _BRANCH, gemma_scope_2, affine=True),
    _layout("gemma-scope-2-cross", _GS2, "gemma3", _IN, _BRANCH, gemma_scope_2_cross, counts="all"),
    _layout("gemma-scope-2-cross-own", _GS2, "gemma3", _IN, _BRANCH, gemma_scope_2_cross, counts="own"),
    _layout("gemma-scope-2-cross-short", _GS2, "gemma3", _IN, _BRANCH, gemma_scope_2_cross, counts="short"),
    _layout("saelens", "SAELens", "llama-biased", _RAW, _OUT, saelens, architecture="transcoder"),
    _layout("saelens-skip", "SAELens", "gpt2", _RAW, _OUT, saelens, architecture="skip_transcoder"),
    _layout("saelens-jump", "SAELens", "olmo2", _RAW, _OUT, saelens, architecture="jumprelu_transcoder", nested=False),
    _layout("saelens-jump-skip", "SAELens", "neox", _RAW, _OUT, saelens, architecture="jumprelu_skip_transcoder"),
    _layout("sparsify", _CLT, "mistral", _IN, _OUT, sparsify, skip=False),
    _layout("sparsify-skip", _CLT, "neox", _IN, _OUT, sparsify, skip=True),
    _layout("sparsify-groups", _CLT, "qwen2", _IN, _OUT, sparsify, skip=True, activation="groupmax"),
    _layout("clt-training", _CLT, "llama", _MID, _OUT, clt_training),
    _layout("clt-training-near", _CLT, "llama", _MID, _OUT, clt_training, reach=2, divide=True),
    _layout("clt-training-divided", _CLT, "llama", _MID, _OUT, clt_training, divide=True),
    _layout("clt-training-concat", _CLT, "llama", _MID, _OUT, clt_training, tied="concat"),
    _layout("clt-training-by-source", _CLT, "phi3", _MID, _OUT, clt_training, tied="source"),
    _layout("clt-training-joined", _CLT, "llama", _MID, _OUT, clt_training, tied="per-layer"),
    _layout("clt-training-joined-near", _CLT, "olmo2", _MID, _OUT, clt_training, tied="per-layer", reach=2),
    _layout("clt-training-twice", _CLT, "llama", _MID, _OUT, clt_training, tied="twice", divide=True),
    _layout("clt-training-batch", _CLT, "llama", _MID, _OUT, clt_training, activation="batchtopk"),
    _layout("clt-training-alone", _CLT, "llama", _MID, _OUT, clt_training, tied="alone"),
    *(
        _layout(
            f"crosslayer-{tying}-{norm}",
            "crosslayer-coding",
            family,
            _IN,
            _OUT,
            crosslayer_coding,
            tying=tying,
            norm=norm,
            jump_relu=jump_relu,
        )
        for tying, norm, family, jump_relu in (
            ("none", "none", "gpt2", True),
            ("none", "mean_std", "qwen2", False),
            ("per_source", "sqrt_d_model", "gemma2", True),
            ("per_target", "mean_std", "gpt2", True),
        )
    ),
)
