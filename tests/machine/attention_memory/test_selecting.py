"""Selecting: a crossing against numpy, and what the record says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.machine.attention_memory.selecting import (
    _break_even,
    break_even_context,
    example,
)


@given(st.floats(0.1, 5), st.floats(0.01, 3), st.floats(0.1, 5), st.integers(3, 40))
def test_straight_lines_cross_where_they_do(
    start: float, slope: float, level: float, count: int
) -> None:
    places = np.linspace(1, 10, count)
    first = start + slope * places
    crossing = (level - start) / slope
    found = break_even_context(places.tolist(), first.tolist(), [level] * count)
    if 1 < crossing < 10 - 1e-9:
        assert found == pytest.approx(crossing)
    elif crossing > 10 + 1e-9 or crossing < 1 - 1e-9:
        assert math.isinf(found)


def test_the_first_crossing_counts() -> None:
    assert break_even_context([1, 2, 3, 4], [1, 3, 1, 3], [2, 2, 2, 2]) == 1.5
    assert break_even_context([1, 2], [1, 2], [2, 2]) == 2.0


def test_selecting_pays_sooner_in_larger_batches() -> None:
    assert 4096 < _break_even(64) < 8193 < 16385 < _break_even(16) < 32769
    assert math.isinf(_break_even(1))
    told = example()
    assert told.even_64 == pytest.approx(_break_even(told.even_sequences), abs=50)
