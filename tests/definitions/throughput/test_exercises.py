"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

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


@given(st.floats(0.001, 1.0), st.floats(0.0, 0.5), st.integers(1, 64))
def test_two_tests_give_the_engine_back(fixed: float, item: float, most: int) -> None:
    sizes = np.array([1.0, 3.0, 8.0])
    got = engine_from_tests(sizes, fixed + item * sizes, most)
    assert got[:2] == pytest.approx((fixed, item), abs=1e-9)
    assert got[2] == pytest.approx(most / (fixed + item * most))
