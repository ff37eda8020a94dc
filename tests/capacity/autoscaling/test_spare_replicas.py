"""Reserves: scipy as oracle, limits, simulation by another road, and the errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.autoscaling import spare_replicas
from serving_mathematics.capacity.autoscaling.exercises import keep_alive
from serving_mathematics.capacity.autoscaling.spare_replicas import (
    scale_to_zero,
    warm_replicas,
)


@given(st.floats(0.0, 40.0), st.floats(0.001, 0.999))
def test_warm_pool_is_a_poisson_tail(mean: float, miss: float) -> None:
    warm = warm_replicas(mean / 600, 600.0, miss)
    assert stats.poisson.sf(warm - 1, mean) <= miss + 1e-12
    if warm:
        assert stats.poisson.sf(warm - 2, mean) > miss - 1e-12


@given(st.floats(1e-4, 1.0), st.floats(0.01, 0.99), st.floats(0.0, 500.0))
def test_scale_to_zero_turns_keep_alive_round(rate: float, cold: float, startup: float) -> None:
    kept, paid = keep_alive(rate, cold, startup)
    late, also_paid = scale_to_zero(rate, kept, startup)
    assert late == pytest.approx(cold, rel=1e-9)
    assert also_paid == pytest.approx(paid, rel=1e-9)


def test_scale_to_zero_limits() -> None:
    assert scale_to_zero(1e-9, 300.0, 180.0, 30.0)[0] == pytest.approx(1.0, abs=1e-6)
    assert scale_to_zero(1.0, 1e6, 180.0, 30.0) == pytest.approx((0.0, 1.0))
    assert scale_to_zero(0.1, 0.0, 0.0, 20.0) == (1.0, 0.0)  # late by the poll alone, paid never


def test_paid_time_by_simulation() -> None:
    """Cycles drawn one by one: gap, half a poll, start, and gaps as long as they are short."""
    rng = np.random.default_rng(4)
    rate, kept, startup, polling = 1 / 300, 200.0, 100.0, 60.0
    cycles, paid, whole, requests, late = 20_000, 0.0, 0.0, 0, 0
    for _ in range(cycles):
        poll = rng.uniform(0, polling)
        meanwhile = rng.poisson(rate * (poll + startup))
        warm = 0.0
        while (gap := rng.exponential(1 / rate)) <= kept:
            warm += gap
            requests += 1
        requests, late = requests + 1 + meanwhile, late + 1 + meanwhile
        paid += startup + warm + kept
        whole += poll + startup + warm + gap
    share, cost = scale_to_zero(rate, kept, startup, polling)
    assert late / requests == pytest.approx(share, abs=0.006)
    assert paid / whole == pytest.approx(cost, abs=0.006)


def test_students_quantiles() -> None:
    assert stats.t.ppf(0.975, 15) == pytest.approx(spare_replicas.STUDENT_T_975[15], abs=1e-6)
