"""The closed loop: response time law, bounds, mean value analysis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.littles_law.closed_loop import (
    mean_value_analysis,
    response_time,
    saturating_users,
)

times = st.floats(0.001, 10)


@given(st.integers(1, 60), times, st.floats(0, 20))
def test_recursion_obeys_law_and_bounds(users: int, service: float, think: float) -> None:
    throughput, response = mean_value_analysis(users, service, think)
    assert throughput.shape == response.shape == (users,)
    counts = np.arange(1, users + 1)
    assert throughput * (response + think) == pytest.approx(counts)
    limit = np.minimum(counts / (service + think), 1 / service)
    assert np.all(throughput <= limit * (1 + 1e-9))
    assert np.all(response >= np.maximum(service, counts * service - think) * (1 - 1e-9))
    assert np.all(np.diff(response) >= -1e-9)


@given(st.integers(1, 25), times, times)
def test_recursion_solves_the_balance_equations(users: int, service: float, think: float) -> None:
    """Stationary distribution of the birth–death chain by a linear solve."""
    generator = np.zeros((users + 1, users + 1))
    for k in range(users):
        generator[k, k + 1] = (users - k) / think
        generator[k + 1, k] = 1 / service
    generator -= np.diag(generator.sum(axis=1))
    system = np.vstack([generator.T, np.ones(users + 1)])
    share = np.linalg.lstsq(system, np.append(np.zeros(users + 1), 1.0), rcond=None)[0]
    throughput, response = mean_value_analysis(users, service, think)
    assert throughput[-1] == pytest.approx((1 - share[0]) / service, rel=1e-6)
    waiting = share @ np.arange(users + 1)
    assert throughput[-1] * response[-1] == pytest.approx(waiting, rel=1e-6, abs=1e-9)


def test_no_thinking_is_a_full_house() -> None:
    throughput, response = mean_value_analysis(4, 0.5, 0.0)
    assert throughput == pytest.approx([2.0] * 4)
    assert response == pytest.approx([0.5, 1.0, 1.5, 2.0])


def test_bounds_meet_at_the_saturating_users() -> None:
    users = saturating_users(0.25, 2.0)
    assert users == 9.0
    assert users / (0.25 + 2.0) == pytest.approx(1 / 0.25)
    assert saturating_users(0.25, 0.0) == 1.0


@given(st.integers(1, 1000), st.floats(0.01, 1000), st.floats(0, 10))
def test_response_time_inverts_the_law(users: int, response: float, think: float) -> None:
    throughput = users / (response + think)
    assert response_time(users, throughput, think) == pytest.approx(response, rel=1e-6)


def test_users_who_only_think_wait_for_nothing() -> None:
    assert response_time(10, 10.0, 1.0) == 0.0


def test_impossible_throughput_is_refused() -> None:
    with pytest.raises(ValueError, match="throughput_per_s must be at most 10/2"):
        response_time(10, 5.1, 2.0)
