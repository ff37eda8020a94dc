"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.tail_latency.exercises import (
    promised_p99,
    slow_sessions,
    whose_tail,
)


@given(
    st.lists(st.tuples(st.floats(0, 0.9), st.integers(0, 50)), min_size=1, max_size=6),
)
def test_slow_sessions_by_brute_force(parts: list[tuple[float, int]]) -> None:
    p, n = [a for a, _ in parts], [b for _, b in parts]
    share, worst = slow_sessions(p, n)
    assert share == pytest.approx(1 - math.prod((1 - a) ** b for a, b in parts), abs=1e-12)

    def without(i: int) -> float:
        return slow_sessions([*p[:i], 0.0, *p[i + 1 :]], n)[0]

    assert without(worst) == pytest.approx(min(without(i) for i in range(len(p))), abs=1e-12)


@given(st.floats(0.01, 9), st.floats(0, 9), st.floats(0, 9))
def test_whose_tail_is_by_its_times(first: float, queue: float, prefill: float) -> None:
    said = whose_tail(first, queue, prefill)
    assert (said == "others") == (queue > first / 2)
    assert (said == "own") == (queue <= first / 2 < prefill)
    assert (said == "elsewhere") == (queue + prefill < first / 2)
    assert said == whose_tail(2 * first, 2 * queue, 2 * prefill)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=30),
    st.integers(0, 20),
    st.sampled_from([0.5, 0.7, 0.9, 0.97]),
)
def test_promised_percentile_by_brute_force(times: list[int], delay: int, q: float) -> None:
    def late(at: float) -> float:
        alone = float(np.mean(np.array(times) > at))
        return alone * (float(np.mean(np.array(times) > at - delay)) if at >= delay else 1.0)

    alone, promised = promised_p99(times, delay, q)
    room = 1 - q + 1e-12
    assert promised == min(at for at in range(60) if late(at) <= room)
    assert alone == min(at for at in range(60) if np.mean(np.array(times) > at) <= room)
    assert promised <= alone
    tenths = promised_p99(np.array(times) / 10, delay / 10, q)  # whose sums floats miss by a digit
    assert tenths == pytest.approx((alone / 10, promised / 10), abs=1e-9)


def test_one_time_is_no_sample() -> None:
    with pytest.raises(ValueError, match="first_s must be of shape"):
        promised_p99(1.0, 1.0)
