"""What all tests share: an environment without network or display, and the two real models, loaded once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

# Before anything imports torch, Qt or huggingface_hub: they read these once.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Prepared models stay between runs: preparing takes seconds and half a gigabyte.
os.environ["CIRCUIT_LOUPE_CACHE"] = str(Path(__file__).parent.parent / ".cache-tests")
os.environ["CIRCUIT_LOUPE_HOME"] = os.environ["CIRCUIT_LOUPE_CACHE"] + "/home"

import pytest

REPOSITORY = Path(__file__).parent.parent

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel


@pytest.fixture(scope="session")
def smollm() -> LanguageModel:
    """SmolLM2-135M-Instruct in float32 on the processor. Shared: do not change it."""
    from engine.models import load_model

    return load_model("SmolLM2-135M-Instruct", device="cpu")


@pytest.fixture(scope="session")
def gemma() -> LanguageModel:
    """Gemma-3-270m in float32 on the processor. Shared: do not change it."""
    from engine.models import load_model

    return load_model("Gemma-3-270m", device="cpu")
