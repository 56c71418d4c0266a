from __future__ import annotations

import pytest

from engine.sizes import byte_words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 MB"),
        (1000, "0 MB"),
        (540_200_000, "540 MB"),
        (999_400_000, "999 MB"),
        (999_600_000, "1.0 GB"),
        (2**31, "2.1 GB"),
        (50e9, "50.0 GB"),
        (3.2e13, "32,000.0 GB"),
    ],
)
def test_sizes_are_said_in_powers_of_ten(count: float, words: str) -> None:
    assert byte_words(count) == words
