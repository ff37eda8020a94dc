"""Limits, oracles, properties and errors of `core.queues.mean_value_analysis`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.queues.mean_value_analysis import (
    asymptotic_bounds,
    exact_mva,
    saturation_clients,
)

DEMANDS = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=5)
CLIENTS = st.integers(1, 30)
THINK = st.floats(0.0, 50.0)


def by_states(clients: int, demands: list[float], think: float) -> list[float]:
    """X(n) = G(n−1)/G(n), with G summed over all states, station by station."""
    constants = [think**m / math.factorial(m) for m in range(clients + 1)]
    for demand in demands:
        for n in range(1, clients + 1):
            constants[n] += demand * constants[n - 1]
    return [constants[n - 1] / constants[n] for n in range(1, clients + 1)]


@given(CLIENTS, DEMANDS, THINK)
def test_recursion_equals_states(clients: int, demands: list[float], think: float) -> None:
    throughput, residence = exact_mva(clients, demands, think)
    assert throughput == pytest.approx(by_states(clients, demands, think), rel=1e-9)
    inside = throughput * residence.sum(axis=1)
    assert inside + throughput * think == pytest.approx(np.arange(1, clients + 1), rel=1e-12)


@given(CLIENTS, DEMANDS, THINK)
def test_bounds_enclose(clients: int, demands: list[float], think: float) -> None:
    exact = exact_mva(clients, demands, think)[0][-1]
    least, greatest = asymptotic_bounds(clients, demands, think)
    assert least * (1 - 1e-9) <= exact <= greatest * (1 + 1e-9)


def test_one_client_never_waits_and_many_only_wait() -> None:
    throughput, residence = exact_mva(400, [0.5, 2.0], 3.0)
    assert residence[0].tolist() == [0.5, 2.0]
    assert throughput[0] == pytest.approx(1 / 5.5)
    assert throughput[-1] == pytest.approx(0.5, rel=1e-9)
    # each further client adds the slowest server's demand to the response
    assert np.diff(residence.sum(axis=1))[-1] == pytest.approx(2.0, rel=1e-6)


def test_bounds_by_hand() -> None:
    assert saturation_clients([2.0, 3.0], 10.0) == pytest.approx(5.0)
    assert asymptotic_bounds(2, [2.0, 3.0], 10.0) == pytest.approx((2 / 20, 2 / 15))
    assert asymptotic_bounds(9, [2.0, 3.0], 10.0) == pytest.approx((9 / 55, 1 / 3))


def test_the_curve_is_furthest_from_the_bound_at_saturation() -> None:
    demands, think = [0.006, 0.02, 0.002], 0.1
    exact, _ = exact_mva(24, demands, think)
    gaps = [asymptotic_bounds(n, demands, think)[1] - exact[n - 1] for n in range(1, 25)]
    assert abs(1 + int(np.argmax(gaps)) - saturation_clients(demands, think)) < 1
