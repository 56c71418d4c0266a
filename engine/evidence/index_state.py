"""An index while it is made: what is kept of every layer, and how it gets to the disk and back after a kill."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from engine.errors import RequestError
from engine.evidence.corpus import Corpus
from engine.evidence.index_settings import Reach
from engine.evidence.tally import LayerTally
from engine.progress import checkpoint
from engine.whole_files import written_whole

STATE, CORPUS = "state.safetensors", "corpus.safetensors"


class IndexState:
    """The tallies of every layer that has features, and how many batches they have seen."""

    def __init__(self, widths: Mapping[int, int], sides: int, reach: Reach, device: torch.device | str) -> None:
        self.batches = 0
        self.layers = {layer: LayerTally(width, sides, reach, device) for layer, width in widths.items() if width}

    @staticmethod
    def bytes_of(widths: Mapping[int, int], sides: int, reach: Reach) -> int:
        """Bytes of main memory, or of the GPU's, that all tallies take."""
        return sum(LayerTally.bytes_of(width, sides, reach) for width in widths.values())

    def save(self, folder: Path, identity: Mapping[str, Any], cancel: threading.Event | None = None) -> None:
        """Write all of it; what was there before stays until this is complete."""
        checkpoint(cancel)
        tensors = {f"{layer}/{name}": one for layer, tally in self.layers.items() for name, one in tally.state.items()}
        _write(folder / STATE, tensors, {**identity, "batches": self.batches})

    def load(self, folder: Path, identity: Mapping[str, Any]) -> bool:
        """Take up what was written; False where nothing was. `RequestError` where it is of something else."""
        path = folder / STATE
        if not path.exists():
            return False
        try:
            with safe_open(path, "pt") as file:
                stored = json.loads((file.metadata() or {})["index"])
                batches = stored.pop("batches")
                if stored != json.loads(json.dumps(identity)):
                    raise RequestError(
                        f"{folder.name} holds half an index of another text, dictionary or other settings; remove that "
                        "folder, or give the index another name."
                    )
                for layer, tally in self.layers.items():
                    for name, tensor in tally.state.items():
                        held = file.get_tensor(f"{layer}/{name}")
                        if held.shape != tensor.shape or held.dtype != tensor.dtype:
                            raise ValueError(name)
                        tensor.copy_(held)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise RequestError(f"What was kept in {folder} is damaged; remove that folder and begin anew.") from error
        self.batches = int(batches)
        return True


def save_corpus(folder: Path, corpus: Corpus, made_by: str) -> None:
    """Keep the text, so that going on needs no sampling and no files; `made_by` tells it from every other."""
    tensors = {"tokens": torch.from_numpy(corpus.tokens.astype(np.int64)), "starts": torch.from_numpy(corpus.starts)}
    _write(folder / CORPUS, tensors, {"name": corpus.name, "made_by": made_by})


def load_corpus(folder: Path, made_by: str) -> Corpus | None:
    """The text that was kept, or None: also where it is another one, of another model's tokens or other settings."""
    path = folder / CORPUS
    if not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            about = json.loads((file.metadata() or {})["index"])
            if about.get("made_by") != made_by:
                return None
            name = str(about["name"])
            tokens, starts = file.get_tensor("tokens"), file.get_tensor("starts")
        if starts[0] != 0 or starts[-1] != len(tokens) or (np.diff(starts) <= 0).any() or (tokens < 0).any():
            raise ValueError("starts")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise RequestError(f"What was kept in {folder} is damaged; remove that folder and begin anew.") from error
    return Corpus(tokens.astype(np.uint32), starts.astype(np.int64), name)


def _write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    plain = {name: one.detach().cpu().contiguous() for name, one in tensors.items()}
    data = save(plain, metadata={"index": json.dumps(about)})
    with written_whole(path) as file:
        file.write(data)
