"""Collapse: Wilson's interval against scipy, means by time against a loop, refusals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.tail_latency.hedging_collapse import P95, mean_response_by_time
from serving_mathematics.core.queues.shares import NORMAL_975, wilson_interval
from serving_mathematics.support.intervals import STUDENT_T_975


def test_normal_quantile_and_the_worked_delay() -> None:
    assert pytest.approx(stats.norm.ppf(0.975), rel=1e-14) == NORMAL_975
    assert pytest.approx(stats.t.ppf(0.975, 23), abs=1e-9) == STUDENT_T_975[23]
    assert pytest.approx(stats.expon.ppf(0.95, scale=1 / 0.4)) == P95


@given(st.integers(0, 10_000))
def test_means_by_time_are_those_of_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(0.1, (3, 200)), axis=1)
    responses = rng.exponential(1.0, (3, 200))
    starts, ends = np.array([0.0, 2.0, 3.0]), np.array([4.0, 5.0, 8.0])
    got = mean_response_by_time(arrivals, responses, starts, ends)
    for fleet in range(3):
        for k in range(3):
            inside = (arrivals[fleet] >= starts[k]) & (arrivals[fleet] < ends[k])
            assert got[fleet, k] == pytest.approx(responses[fleet, inside].mean())


def test_interval_includes_its_start_and_not_its_end() -> None:
    got = mean_response_by_time([[1.0, 2.0, 3.0]], [[5.0, 7.0, 11.0]], [1.0, 2.0], [2.0, 3.0])
    assert got.tolist() == [[5.0, 7.0]]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: wilson_interval(-1, 4), "successes must be an integer from 0 to 4, got -1"),
        (lambda: wilson_interval(1.5, 4), "successes must be an integer from 0 to 4"),  # type: ignore[arg-type]
        (
            lambda: mean_response_by_time([[0.0, 1.0]], [[1.0]], [0.0], [1.0]),
            r"responses must be of shape \(1, 2\), got \(1, 1\)",
        ),
        (
            lambda: mean_response_by_time([[0.0], [5.0]], [[1.0], [1.0]], [0.0], [1.0]),
            "starts must be of intervals with requests",
        ),
    ],
)
def test_refusals(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
