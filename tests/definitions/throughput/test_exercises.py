"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.throughput.exercises import (
    engine_from_tests,
    idle_clients,
    share_of_ceiling,
)


@given(st.integers(1, 5000), st.floats(0, 100), st.floats(0.1, 50), st.floats(0.1, 100))
def test_share_is_users_over_those_at_the_ceiling(
    users: int, away: float, answer: float, ceiling: float
) -> None:
    share = share_of_ceiling(users, away, answer, ceiling)
    full = (away + answer) * ceiling  # users who fill it
    assert share == pytest.approx(min(1.0, users / full))


@given(st.integers(1, 500), st.floats(0.01, 50), st.floats(0.0, 1.0))
def test_idle_clients_and_those_who_wait_are_all(clients: int, rate: float, part: float) -> None:
    response = max(part * clients / rate, 1e-9)
    assert idle_clients(clients, rate, response) == pytest.approx(
        clients - rate * response, abs=1e-6
    )


def test_more_waiting_than_clients_is_refused() -> None:
    assert idle_clients(10, 1.0, 10.05) == 0  # rounding of a report
    for response in (10.2, math.nan, 0.0):
        with pytest.raises(ValueError, match="response_s must be"):
            idle_clients(10, 1.0, response)


@given(st.floats(0.001, 1.0), st.floats(0.0, 0.5), st.integers(1, 64))
def test_two_tests_give_the_engine_back(fixed: float, item: float, most: int) -> None:
    sizes = np.array([1.0, 3.0, 8.0])
    got = engine_from_tests(sizes, fixed + item * sizes, most)
    assert got[:2] == pytest.approx((fixed, item), abs=1e-9)
    assert got[2] == pytest.approx(most / (fixed + item * most))


@pytest.mark.parametrize(
    ("batches", "steps", "most", "message"),
    [
        ([4], [1.0], 8, "batches must be of two sizes"),
        ([[1, 2]], [[1.0, 2.0]], 8, "batches must be of two sizes"),
        ([1, 2], [1.0], 8, r"steps_s must be of shape \(2,\)"),
        ([0.5, 2], [1.0, 2.0], 8, "batches must be finite and at least 1"),
        ([1, math.inf], [1.0, 2.0], 8, "batches must be finite and at least 1"),
        ([1, 2], [1.0, 0.0], 8, "steps_s must be positive and finite"),
        ([1, 2], [1.0, math.nan], 8, "steps_s must be positive and finite"),
        ([1, 2], [1.0, 2.5], 8, "steps_s must be a rising line above 0"),
        ([1, 2], [2.0, 1.0], 8, "steps_s must be a rising line above 0"),
        ([1, 2], [1.0, 1.5], 0, "max_batch must be a positive integer"),
    ],
)
def test_bad_engine_tests_are_refused(
    batches: list[float], steps: list[float], most: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        engine_from_tests(batches, steps, most)
