"""circuit-tracer's config.yaml: which model a set is for, where it was hooked, and its activation.

Format: circuit-tracer v0.5.0. Read by YAML's safe loader, which runs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engine.dictionaries.hooks import READ_SITES, WRITE_SITES
from engine.dictionaries.settings_files import Settings, read_yaml
from engine.dictionaries.transcoders import ReadSite, WriteSite
from engine.errors import RequestError

CONFIG_NAME = "config.yaml"
PER_LAYER, CROSS_LAYER = "transcoder_set", "cross_layer_transcoder"
# What the library takes where the file does not say.
DEFAULT_READ = {PER_LAYER: "mlp.hook_in", CROSS_LAYER: "hook_resid_mid"}

_Site = TypeVar("_Site", ReadSite, WriteSite)


@dataclass(frozen=True)
class TranscoderConfig:
    """What config.yaml says, checked."""

    model_name: str
    reads: ReadSite
    writes: WriteSite
    top_k: int | None


def read_config(path: Path, kind: str) -> TranscoderConfig:
    """Check config.yaml of a set of this kind; missing keys mean the layout's defaults."""
    raw = read_yaml(path)
    named = raw.text("model_kind", kind)
    if named != kind:
        raise RequestError(
            f"The dictionary's config calls it a {named!r}, but its files are those of a {kind!r}; correct config.yaml."
        )
    is_top_k = raw.text("activation").lower() == "topk"
    if is_top_k and "k" not in raw:
        raise RequestError("The dictionary's config names TopK without a whole number k above 0; correct config.yaml.")
    return TranscoderConfig(
        model_name=raw.text("model_name"),
        reads=site(raw, "feature_input_hook", DEFAULT_READ[kind], READ_SITES),
        writes=site(raw, "feature_output_hook", "hook_mlp_out", WRITE_SITES),
        top_k=raw.count("k") if is_top_k else None,
    )


def site(raw: Settings, key: str, default: str, known: dict[str, _Site]) -> _Site:
    """The place that a hook's name means; `RequestError` where it is unknown."""
    name = raw.text(key, default)
    if name not in known:
        raise RequestError(f"The dictionary's {key} is {name[:60]!r}; known are {', '.join(known)}.")
    return known[name]
