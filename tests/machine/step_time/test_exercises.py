"""Limits of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from serving_mathematics.machine.step_time.exercises import (
    floor_and_rate,
    gain_from_dashboard,
    largest_batch,
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


def test_largest_batch() -> None:
    assert largest_batch(1.0, 0.0, 0.1, 99) == 10  # just fits
    assert largest_batch(1.0, 0.05, 0.1, 99) == 9
    assert largest_batch(1.0, 0.0, 0.1, 7) == 7
