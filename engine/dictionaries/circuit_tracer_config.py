"""circuit-tracer's config.yaml: which model a set is for, where it was hooked, and its activation.

Format: circuit-tracer v0.5.0. Read by YAML's safe loader, which runs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engine.dictionaries.transcoders import ReadSite, WriteSite
from engine.errors import RequestError

CONFIG_NAME = "config.yaml"
CONFIG_BYTES = 1 << 20
PER_LAYER, CROSS_LAYER = "transcoder_set", "cross_layer_transcoder"
READ_SITES: dict[str, ReadSite] = {
    "mlp.hook_in": "mlp_input",
    "hook_mlp_in": "residual",
    "hook_resid_mid": "residual",
    "ln2.hook_normalized": "normalised",
}
WRITE_SITES: dict[str, WriteSite] = {"mlp.hook_out": "mlp_output", "hook_mlp_out": "branch_output"}
# What the library takes where the file does not say.
_DEFAULT_READ = {PER_LAYER: "mlp.hook_in", CROSS_LAYER: "hook_resid_mid"}


@dataclass(frozen=True)
class TranscoderConfig:
    """What config.yaml says, checked."""

    model_name: str
    reads: ReadSite
    writes: WriteSite
    top_k: int | None


def read_config(path: Path, kind: str) -> TranscoderConfig:
    """Check config.yaml of a set of this kind; missing keys mean the layout's defaults."""
    raw = _load(path)
    named = str(raw.get("model_kind", kind))[:60]
    if named != kind:
        raise RequestError(
            f"The dictionary's config calls it a {named!r}, but its files are those of a {kind!r}; correct config.yaml."
        )
    is_top_k = str(raw.get("activation", "")).lower() == "topk"
    top_k = raw.get("k") if is_top_k else None
    if is_top_k and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
        raise RequestError("The dictionary's config names TopK without a whole number k above 0; correct config.yaml.")
    return TranscoderConfig(
        model_name=str(raw.get("model_name", ""))[:200],
        reads=_site(raw, "feature_input_hook", _DEFAULT_READ[kind], READ_SITES),
        writes=_site(raw, "feature_output_hook", "hook_mlp_out", WRITE_SITES),
        top_k=top_k,
    )


def _load(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    if path.stat().st_size > CONFIG_BYTES:
        raise RequestError(f"{path.name} is larger than a dictionary's config can be; choose the folder again.")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"{path} is not a readable YAML file; get the dictionary again.") from error
    if not isinstance(raw, dict):
        raise RequestError(f"{path} does not describe a dictionary; get the dictionary again.")
    return raw


def _site(raw: dict[str, Any], key: str, default: str, known: dict[str, Any]) -> Any:
    name = str(raw.get(key, default))
    if name not in known:
        raise RequestError(f"The dictionary's {key} is {name[:60]!r}; known are {', '.join(known)}.")
    return known[name]
