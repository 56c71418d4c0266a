"""The names that libraries give to the places where a dictionary was hooked, and which layer a name belongs to.

TransformerLens names ("blocks.3.ln2.hook_normalized") and modules of transformers' models ("layers.3.mlp").
"""

from __future__ import annotations

import re

from engine.dictionaries.transcoders import ReadSite, WriteSite

READ_SITES: dict[str, ReadSite] = {
    "mlp.hook_in": "mlp_input",
    "hook_mlp_in": "residual",
    "hook_resid_mid": "residual",
    "ln2.hook_normalized": "normalised",
}
WRITE_SITES: dict[str, WriteSite] = {"mlp.hook_out": "mlp_output", "hook_mlp_out": "branch_output"}
# How each place is called when the program speaks of it.
READ_NAMES: dict[ReadSite, str] = {
    "mlp_input": "mlp.hook_in",
    "normalised": "ln2.hook_normalized",
    "residual": "hook_resid_mid",
}
WRITE_NAMES: dict[WriteSite, str] = {"mlp_output": "mlp.hook_out", "branch_output": "hook_mlp_out"}

# The norm before the MLP, by the families' own names; in Llama and its kin its name is that of Gemma's other norm.
_NORMS_BEFORE = ("pre_feedforward_layernorm", "ln_2", "post_attention_layernorm")
_NORM_AFTER = "post_feedforward_layernorm"
_BLOCK = re.compile(r"(?:^|\.)(?:blocks|layers|h)\.([0-9]{1,4}|\{\})\.(.+)$")


def layer_of_hook(name: str) -> int | None:
    """The layer in a hook's or a module's name, None where it has none."""
    found = _BLOCK.search(name + ".")
    return int(found[1]) if found and found[1] != "{}" else None


def read_site(name: str) -> ReadSite | None:
    """Where a hook or a module's "input" or "output" reads; without either word a module's input is meant."""
    inside = _inside(name)
    if inside in READ_SITES:
        return READ_SITES[inside]
    module, _, end = inside.rpartition(".") if inside.endswith((".input", ".output")) else (inside, "", "input")
    if module.startswith("mlp"):
        return "mlp_input" if end == "input" else None
    if module in _NORMS_BEFORE:
        return "residual" if end == "input" else "mlp_input"
    return None


def write_site(name: str) -> WriteSite | None:
    """What a hook or a module's "output" is; without the word a module's output is meant."""
    inside = _inside(name)
    if inside in WRITE_SITES:
        return WRITE_SITES[inside]
    module = inside.removesuffix(".output")
    if module == _NORM_AFTER:
        return "branch_output"
    return "mlp_output" if module in ("mlp", "mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h") else None


def _inside(name: str) -> str:
    """The part of a name inside its block."""
    found = _BLOCK.search(name)
    return found[2] if found else name
