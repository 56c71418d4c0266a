"""What all tests share: an environment without network or display, and the two real models, loaded once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before anything imports torch, Qt or huggingface_hub: they read these once.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Prepared models stay between runs: preparing takes seconds and half a gigabyte.
os.environ["CIRCUIT_LOUPE_CACHE"] = str(Path(__file__).parent.parent / ".cache-tests")
# Settings are each process's own, where several share the tests.
os.environ["CIRCUIT_LOUPE_HOME"] = (
    f"{os.environ['CIRCUIT_LOUPE_CACHE']}/home{os.environ.get('PYTEST_XDIST_WORKER', '')}"
)

import pytest

REPOSITORY = Path(__file__).parent.parent

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel


def transformers_model(name: str) -> Any:
    """A starter as transformers itself loads it, in float32 with eager attention: the tests' oracle."""
    from transformers import AutoModelForCausalLM

    from engine.models.starters import prepare_starter

    return AutoModelForCausalLM.from_pretrained(
        prepare_starter(name), dtype="float32", attn_implementation="eager"
    ).eval()


@pytest.fixture(scope="session")
def smollm_hf() -> Any:
    """SmolLM2-135M-Instruct by transformers. Shared: do not change it."""
    return transformers_model("SmolLM2-135M-Instruct")


@pytest.fixture(scope="session")
def gemma_hf() -> Any:
    """Gemma-3-270m by transformers. Shared: do not change it."""
    return transformers_model("Gemma-3-270m")


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
