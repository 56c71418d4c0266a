from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.time_left import MIN_SECONDS, TimeLeft, say


def test_says_nothing_before_enough_is_known() -> None:
    estimate = TimeLeft(started=0.0)
    assert estimate.update(0.5, 0.5) is None
    assert estimate.update(MIN_SECONDS + 0.1, 0.01) is None


def test_a_steady_job_ends_when_it_was_said_to() -> None:
    estimate = TimeLeft(started=0.0)
    left = None
    for second in range(1, 6):
        left = estimate.update(float(second), second / 10)
    assert left is not None
    assert abs(left - 5.0) < 0.5


def test_a_job_that_slows_down_is_believed() -> None:
    estimate = TimeLeft(started=0.0)
    for tenth in range(1, 21):
        estimate.update(tenth / 10, tenth / 40)
    slow = estimate.update(8.0, 0.51)
    assert slow is not None
    assert slow > 20


@given(st.lists(st.tuples(st.floats(0.01, 5.0), st.floats(0.0, 1.0)), max_size=40))
def test_never_negative_whatever_is_reported(steps: list[tuple[float, float]]) -> None:
    estimate, now = TimeLeft(started=0.0), 0.0
    for wait, fraction in steps:
        now += wait
        left = estimate.update(now, fraction)
        assert left is None or left >= 0


def test_words_are_no_more_exact_than_an_estimate() -> None:
    assert say(2.2) == "a few seconds left"
    assert say(17.0) == "about 15 s left"
    assert say(70.0) == "about a minute left"
    assert say(200.0) == "about 3 min left"
