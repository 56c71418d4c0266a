"""What the benchmark asks of a loaded model, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.models.recording import Recording, record

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel


def record_ids(model: LanguageModel, ids: Sequence[int]) -> Recording:
    """One recorded run; the first position holds a special token."""
    return record(model.hf, model.weights, ids, first_position=1)
