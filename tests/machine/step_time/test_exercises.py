"""Limits of the exercises, beyond their checks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.machine.step_time.exercises import (
    floor_and_rate,
    gain_from_dashboard,
    guesses_pay_up_to,
)


def test_floor_and_rate() -> None:
    assert floor_and_rate(1.0, 3.0, 3.0, 7.0) == (1.0, 0.5)
    assert floor_and_rate(1.0, 2.0, 3.0, 6.0)[0] == 0.0
    for late in (6.1, 2.0):
        with pytest.raises(ValueError, match="large_s must be"):
            floor_and_rate(1.0, 2.0, 3.0, late)


def test_gain_from_dashboard() -> None:
    assert gain_from_dashboard(2.0, 4.0, 2.0, 4.0) == 2.0  # all of it reads
    assert gain_from_dashboard(4.0, 4.0, 2.0, 1.0) == pytest.approx(4 / 6)  # a slower one


@given(
    st.tuples(st.floats(1, 9), st.floats(1, 9)),
    st.tuples(st.floats(1, 20), st.floats(1, 20)),
    st.integers(2, 40),
    st.floats(1, 4),
)
def test_guesses_pay_up_to(
    plain: tuple[float, float], guessed: tuple[float, float], most: int, yielded: float
) -> None:
    found = guesses_pay_up_to(plain, guessed, most, yielded)
    counts = np.arange(1, most + 1)
    gains = yielded * np.interp(counts, [1, most], plain) - np.interp(counts, [1, most], guessed)
    assert np.all(gains[found:] < 1e-9)
    assert found == 0 or gains[found - 1] > -1e-9
