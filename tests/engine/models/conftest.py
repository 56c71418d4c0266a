"""A hub on this machine, and an empty cache for what is fetched from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.models import published_samples
from tests.engine.models.hub_stand_in import StandIn, running


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, with a cache of our own and a small catalogue beside it."""
    return published_samples.own_machine(tmp_path, monkeypatch)


@pytest.fixture
def hub(tmp_path: Path, hub_cache: Path) -> Iterator[StandIn]:
    """A hub that holds the small catalogue's repositories."""
    with running(published_samples.repositories(tmp_path)) as server:
        yield server
