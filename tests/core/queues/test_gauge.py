"""The gauge of any busy server: scipy oracles, properties, errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.core.queues.gauge import any_busy

SERVERS = st.integers(1, 60)
RHO = st.floats(0.01, 0.99)


def any_busy_by_poisson(servers: int, load: float) -> float:
    """1 − p_0 with 1/p_0 = e^a·P(N < c) + a^c/c!/(1−ρ), N Poisson of mean a."""
    tail = stats.poisson.pmf(servers, load) / (1 - load / servers)
    return float(1 - math.exp(-load) / (stats.poisson.cdf(servers - 1, load) + tail))


@given(SERVERS, RHO)
def test_gauge_equals_poisson_sums(servers: int, rho: float) -> None:
    load = rho * servers
    assert any_busy(servers, load) == pytest.approx(any_busy_by_poisson(servers, load), rel=1e-11)


@given(SERVERS, RHO)
def test_gauge_lies_between_utilization_and_one(servers: int, rho: float) -> None:
    shown = any_busy(servers, rho * servers)
    assert rho * (1 - 1e-12) <= shown <= 1
    assert shown >= 1 - math.exp(-rho * servers) - 1e-12  # a queue keeps the servers busy
    assert any_busy(servers + 1, rho * servers) <= shown + 1e-12


def test_gauge_limits() -> None:
    assert any_busy(3, 0.0) == 0
    assert any_busy(1, 0.3) == pytest.approx(0.3, rel=1e-14)
    assert any_busy(5000, 4000.0) == 1
    assert any_busy(5000, 1e-9) == pytest.approx(1e-9, rel=1e-8)
