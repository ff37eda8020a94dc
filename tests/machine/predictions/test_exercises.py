"""Limits of the exercises, beyond their checks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.machine.predictions.exercises import (
    ridge_tokens,
    running_requests,
    what_is_off,
)


def test_running_requests() -> None:
    assert running_requests(10, 0.0, 0.1, 5) == 10
    assert running_requests(10, 0.5, 0.1, 6) == 5


@given(
    st.floats(1, 20),
    st.floats(1, 50),
    st.sampled_from([1.0, 1.1, 1.2, 2.0]),
    st.sampled_from([0.5, 1.0, 1.1, 1.3]),
)
def test_a_line_is_off_in_its_start_or_its_slope(
    start: float, added: float, step: float, each: float
) -> None:
    told = what_is_off((start, start + added), (step * start, step * start + each * added))
    wanted = {
        (True, True): "both",
        (True, False): "every step",
        (False, True): "each sequence",
        (False, False): "neither",
    }
    assert told == wanted[step > 1.15, each > 1.15]


def test_ridge_tokens() -> None:
    assert ridge_tokens(1000, 10, 1) == 50
