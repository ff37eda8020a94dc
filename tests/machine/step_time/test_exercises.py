"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from serving_mathematics.machine.step_time.exercises import (
    even_reading,
    floor_and_rate,
    largest_batch,
)


def test_floor_and_rate() -> None:
    assert floor_and_rate(1.0, 3.0, 3.0, 7.0) == (1.0, 0.5)
    assert floor_and_rate(1.0, 2.0, 3.0, 6.0)[0] == 0.0
    for late in (6.1, 2.0, math.nan):
        with pytest.raises(ValueError, match="large_s must be"):
            floor_and_rate(1.0, 2.0, 3.0, late)
    with pytest.raises(ValueError, match="large_bytes must be above 1"):
        floor_and_rate(1.0, 2.0, 1.0, 3.0)


def test_even_reading() -> None:
    assert even_reading(10.0, 2.0, 5) == 1.0
    assert even_reading(10.0, 2.0, 1) == 5.0
    with pytest.raises(ValueError, match="sequences must be"):
        even_reading(1.0, 1.0, 0)
    with pytest.raises(ValueError, match="weight_bytes must be"):
        even_reading(0.0, 1.0, 1)


def test_largest_batch() -> None:
    assert largest_batch(1.0, 0.0, 0.1, 99) == 10  # just fits
    assert largest_batch(1.0, 0.05, 0.1, 99) == 9
    assert largest_batch(1.0, 0.0, 0.1, 7) == 7
    assert largest_batch(1.0, 2.0, 0.1, 7) == 0
    with pytest.raises(ValueError, match="room must be"):
        largest_batch(1.0, 0.0, 0.1, 0)
