"""The reader's buffer: brute force for every stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.streaming.playout_buffer import (
    read_times_s,
    reading_gap_s,
    smallest_start_delay_s,
)

steps = st.lists(st.floats(0, 2), min_size=1, max_size=30)


@given(steps, st.floats(0.01, 2), st.floats(0, 5))
def test_reading_follows_its_recursion(gaps: list[float], gap: float, delay: float) -> None:
    arrival = np.cumsum(gaps)
    clock = arrival[0] + delay
    expected = [clock]
    for time in arrival[1:]:
        clock = max(time, clock + gap)
        expected.append(clock)
    assert read_times_s(arrival, gap, delay).tolist() == pytest.approx(expected)


@given(steps, st.floats(0.01, 2))
def test_the_smallest_delay_is_the_smallest(gaps: list[float], gap: float) -> None:
    arrival = np.cumsum(gaps)
    delay = smallest_start_delay_s(arrival, gap)

    def waits(start_delay: float) -> bool:
        schedule = arrival[0] + start_delay + gap * np.arange(arrival.size)
        return bool(np.any(arrival > schedule + 1e-9))

    assert not waits(delay)
    assert delay >= 0
    if delay > 1e-6:
        assert waits(delay - 1e-7)
    held_back = read_times_s(arrival, gap, delay)
    assert np.diff(held_back) == pytest.approx(gap)
    assert held_back[-1] == pytest.approx(read_times_s(arrival, gap)[-1])


def test_reading_speed_has_units() -> None:
    assert reading_gap_s(60.0, 1.0) == 1.0
    assert reading_gap_s(120.0, 1.0) == 0.5
    assert reading_gap_s(60.0, 0.5) == 0.5
