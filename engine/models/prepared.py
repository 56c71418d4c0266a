"""Turns a GGUF file into a Hugging Face folder in the cache, and tells whether such a folder is still whole.

Weights are dequantised in float32, rounded to bfloat16 and streamed into model.safetensors block by block, so that a
model of any size is prepared in a few hundred megabytes. The folder appears under its name only when it is complete,
with a manifest of every file's size, time and sha256.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import LoupeError, MachineError, RequestError
from engine.models import fingerprint
from engine.models.cache import machine_errors, new_folder, read_json, require_space, write_json
from engine.models.gguf_file import GgufFile
from engine.models.gguf_weights import Conversion, plan_conversion, read_slot
from engine.progress import Progress, checkpoint, part, silent

MANIFEST = "manifest.json"
# Raise it when what is written changes: folders of an older recipe are made again.
RECIPE = 1
_REQUIRED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_SPARE = 64 << 20  # bytes beyond the weights: tokenizer files and some air
_LARGEST_BFLOAT16 = 3.38e38


@dataclass(frozen=True)
class Origin:
    """Where a prepared model came from. `notices` are texts kept beside the weights: name -> text."""

    title: str
    source: str
    sha256: str
    licence: str
    notices: Mapping[str, str]


def prepare_gguf(
    path: Path,
    folder: Path,
    origin: Origin,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> None:
    """Write the Hugging Face folder `folder` from the GGUF file `path`, replacing what is there.

    Raises
    ------
    RequestError
        The file is damaged or of a kind that cannot be read.
    MachineError
        The disk is full or the folder cannot be written.
    Cancelled
        The user asked to stop; nothing is left behind.
    """
    progress(f"Reading {path.name}", 0.0)
    with GgufFile(path) as file:
        conversion = plan_conversion(file)
        needed = 2 * conversion.n_parameters + _SPARE
        with machine_errors(folder, needed), new_folder(folder) as new:
            require_space(new, needed)
            digest = _write_weights(new / "model.safetensors", file, conversion, part(progress, 0.02, 0.85), cancel)
            progress("Building the tokenizer", 0.86)
            checkpoint(cancel)
            _write_texts(new, file, conversion, origin.notices)
            checkpoint(cancel)
            progress("Writing the checksums", 0.97)
            _write_manifest(new, origin, {"model.safetensors": digest})
    progress("Prepared", 1.0)


def _write_weights(
    path: Path, file: GgufFile, conversion: Conversion, progress: Progress, cancel: threading.Event | None
) -> str:
    """Write the safetensors file and give its sha256. Layout: https://github.com/huggingface/safetensors#format"""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for slot in conversion.slots:
        end = offset + 2 * int(np.prod(slot.shape))
        header[slot.name] = {"dtype": "BF16", "shape": list(slot.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest, written = hashlib.sha256(), 0
    with path.open("wb") as out:
        for data in (struct.pack("<Q", len(text)), text):
            out.write(data)
            digest.update(data)
        for slot in conversion.slots:
            for block in read_slot(file, slot):
                checkpoint(cancel)
                rounded = to_bfloat16(block)
                if rounded is None:
                    raise RequestError(
                        f"{file.path.name} is damaged: the tensor {slot.source} holds values that are not numbers; "
                        "download or copy it again."
                    )
                out.write(rounded.data)
                digest.update(rounded.data)
                written += block.size
                progress("Unpacking the weights", written / conversion.n_parameters)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16] | None:
    """Round float32 to the nearest bfloat16, ties to even, as its 16 bits; None if a value is not a finite number."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    # max of |x| is NaN if any value is, and infinite if any is: one pass tells both.
    if not float(np.abs(values).max(initial=0.0)) < _LARGEST_BFLOAT16:
        return None
    bits = values.view(np.uint32)
    return ((bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)).astype(np.uint16)


def _write_texts(folder: Path, file: GgufFile, conversion: Conversion, notices: Mapping[str, str]) -> None:
    from engine.models import gguf_tokenizer

    write_json(folder / "config.json", conversion.config)
    write_json(folder / "tokenizer_config.json", gguf_tokenizer.tokenizer_config(file))
    texts = {**notices, "tokenizer.json": gguf_tokenizer.build_tokenizer(file).to_str(pretty=False)}
    if (template := gguf_tokenizer.chat_template(file)) is not None:
        texts["chat_template.jinja"] = template
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")


def _write_manifest(folder: Path, origin: Origin, known: Mapping[str, str]) -> None:
    files = {
        path.name: {
            "size": path.stat().st_size,
            "mtime_ns": path.stat().st_mtime_ns,
            "sha256": known.get(path.name) or fingerprint.file_sha256(path),
        }
        for path in sorted(folder.iterdir())
    }
    write_json(
        folder / MANIFEST,
        {
            "recipe": RECIPE,
            "title": origin.title,
            "source": origin.source,
            "source_sha256": origin.sha256,
            "licence": origin.licence,
            "files": files,
        },
    )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a prepared folder if it is well formed and of today's recipe, else None."""
    try:
        manifest = read_json(folder / MANIFEST, largest=1 << 20)
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict) or manifest.get("recipe") != RECIPE:
        return None
    files = manifest.get("files")
    if not isinstance(files, dict) or not set(_REQUIRED) <= set(files):
        return None
    for name, entry in files.items():
        if Path(name).name != name or not isinstance(entry, dict):
            return None
        if not isinstance(entry.get("size"), int) or not isinstance(entry.get("sha256"), str):
            return None
    return manifest


def damage(
    folder: Path,
    *,
    checksums: Literal["never", "changed", "always"] = "changed",
    cancel: threading.Event | None = None,
) -> str | None:
    """What is wrong with a prepared folder, in a few words, or None if it is whole.

    Sizes are compared each time; `checksums`: "changed" computes those of files whose time is not the one noted.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return "its list of checksums is missing or not readable"
    touched = False
    for name, entry in manifest["files"].items():
        path = folder / name
        try:
            stat = path.stat()
            if stat.st_size != entry["size"]:
                return f"{name} has {stat.st_size:,} bytes instead of {entry['size']:,}"
            unchanged = stat.st_mtime_ns == entry.get("mtime_ns")
            if checksums == "never" or (unchanged and checksums == "changed"):
                continue
            if fingerprint.file_sha256(path, cancel=cancel) != entry["sha256"]:
                return f"the checksum of {name} differs"
        except OSError:
            return f"{name} is missing or cannot be read"
        touched = touched or not unchanged
        entry["mtime_ns"] = stat.st_mtime_ns
    if touched:
        # The files are right and were only copied or touched: note their new times, if that can be done.
        with contextlib.suppress(MachineError):
            write_json(folder / MANIFEST, manifest)
    return None


def prepared_fingerprint(folder: Path) -> str:
    """The model's fingerprint from the manifest: costs nothing."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise LoupeError(f"{folder} lost its list of checksums while it was read; start the program again.")
    return fingerprint.combined({name: entry["sha256"] for name, entry in manifest["files"].items()})
