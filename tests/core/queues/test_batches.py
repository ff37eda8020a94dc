"""Batches: their rules by a slow look, full ones, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.queues.batches import form_batches


@given(
    st.lists(st.floats(0, 20), min_size=1, max_size=30).map(sorted),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.5, 3.0, math.inf]),
    st.floats(0, 2),
    st.floats(0, 1),
)
def test_form_batches_keeps_its_rules(
    times: list[float], largest: int, window_s: float, fixed: float, per_item: float
) -> None:
    start, end = form_batches(times, lambda i, j: fixed + per_item * (j - i), largest, window_s)
    arrivals, first, free = np.array(times), 0, -math.inf
    while first < arrivals.size:
        members = 1
        while first + members < arrivals.size and members < largest:
            if arrivals[first + members] > start[first]:
                break
            members += 1
        last = first + members
        assert np.all(start[first:last] == start[first])
        assert end[first] == pytest.approx(start[first] + fixed + per_item * members)
        assert np.all(arrivals[first:last] <= start[first])
        assert start[first] >= free
        full = members == largest
        due = max(arrivals[last - 1] if full else times[first] + window_s, free)
        if full:
            due = max(free, min(arrivals[last - 1], times[first] + window_s))
        elif math.isinf(window_s):
            due = max(free, times[-1])
        assert start[first] == pytest.approx(due)
        first, free = last, end[first]


def test_static_batches_wait_until_they_are_full() -> None:
    start, _ = form_batches([0, 1, 2, 3, 9], lambda *_: 0.5, 2, math.inf)
    assert start.tolist() == [1, 1, 3, 3, 9]


def test_a_whole_float_is_a_limit() -> None:
    args = [0.0, 1.0, 1.5, 9.0], lambda *_: 2.0
    whole, real = form_batches(*args, 2, 0.5), form_batches(*args, 2.0, 0.5)  # type: ignore[arg-type]
    assert np.array_equal(whole, real)
