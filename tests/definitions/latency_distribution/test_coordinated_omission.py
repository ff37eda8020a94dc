"""The arithmetic of a stalled loop: a recursion and HdrHistogram's loop as oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.latency_distribution.coordinated_omission import (
    closed_loop_latencies,
    corrected_latencies,
)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=40), st.floats(0.1, 3))
def test_closed_loop_is_the_recursion(service: list[float], interval: float) -> None:
    sent, due = closed_loop_latencies(service, interval)
    done = 0.0
    for i, s in enumerate(service):
        done = max(done, i * interval) + s
        assert sent[i] == s
        assert due[i] == pytest.approx(done - i * interval, abs=1e-9)


def test_latencies_as_sent_are_not_the_array_that_was_given() -> None:
    given_s = np.array([1.0, 5.0])
    sent, _ = closed_loop_latencies(given_s, 2.0)
    sent *= 1000
    assert given_s.tolist() == [1.0, 5.0]


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(1, 50))
def test_correction_is_hdrhistograms_loop(latencies: list[int], interval: int) -> None:
    expected = list(latencies)
    for x in latencies:
        missing = x - interval
        while missing >= interval:
            expected.append(missing)
            missing -= interval
    assert sorted(corrected_latencies(latencies, interval).tolist()) == sorted(expected)
