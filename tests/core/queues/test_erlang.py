"""Limits, oracles, properties and errors of `core.queues.erlang`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.core.queues.erlang import (
    erlang_b,
    erlang_c,
    max_utilization,
    mean_wait,
    response_quantile,
    utilization,
    wait_exceeds,
)
from serving_mathematics.core.queues.queue_simulator import fifo_waits

SERVERS = st.integers(1, 60)
RHO = st.floats(0.01, 0.99)


def erlang_c_by_poisson(servers: int, load: float) -> float:
    """P(N = c)/(1−ρ) over P(N < c) + P(N = c)/(1−ρ), with N Poisson of mean a."""
    at = stats.poisson.pmf(servers, load) / (1 - load / servers)
    return float(at / (stats.poisson.cdf(servers - 1, load) + at))


@pytest.mark.parametrize("scv", [0.0, 0.25, 1.0, 4.0])
@pytest.mark.parametrize("rate", [200.0, 2000.0])
def test_workers_by_what_a_promise_leaves_keep_its_p99(rate: float, scv: float) -> None:
    """As few as bring P(W > promise − p99 of the service) down to a hundredth, simulated."""
    rng, mean, size = np.random.default_rng(3), 0.005, 60_000
    arrivals = rng.exponential(1 / rate, size).cumsum()
    services = rng.gamma(1 / scv, mean * scv, size) if scv else np.full(size, mean)
    slow = float(np.quantile(services, 0.99))
    for promise in (1.2 * slow, 3 * slow):
        workers = math.floor(rate * mean) + 1
        while wait_exceeds(promise - slow, rate, mean, workers) > 0.01:
            workers += 1
        waits = fifo_waits(arrivals, services, workers)
        assert np.quantile(waits + services, 0.99) < promise


@given(SERVERS, RHO)
def test_erlang_c_equals_poisson_sums(servers: int, rho: float) -> None:
    load = rho * servers
    assert erlang_c(servers, load) == pytest.approx(erlang_c_by_poisson(servers, load), rel=1e-11)


def test_erlang_c_of_a_thousand_servers() -> None:
    assert erlang_c(2000, 1950.0) == pytest.approx(erlang_c_by_poisson(2000, 1950.0), rel=1e-9)


@given(SERVERS, RHO, RHO)
def test_waiting_rises_with_load_and_falls_with_servers(
    servers: int, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert erlang_c(servers, low * servers) <= erlang_c(servers, high * servers)
    load = low * servers
    assert erlang_c(servers + 1, load) <= erlang_c(servers, load)
    assert mean_wait(load, 1.0, servers + 1) <= mean_wait(load, 1.0, servers)


@given(SERVERS, RHO, st.floats(0.01, 100.0))
def test_mean_wait_is_the_integral_of_its_tail(servers: int, rho: float, service: float) -> None:
    rate = rho * servers / service
    scale = service / (servers * (1 - rho))
    area, _ = integrate.quad(
        lambda x: scale * wait_exceeds(x * scale, rate, service, servers), 0, 60
    )
    assert mean_wait(rate, service, servers) == pytest.approx(area, rel=1e-7)


@given(SERVERS, RHO, st.floats(0.01, 100.0))
def test_waits_scale_with_the_unit_of_time(servers: int, rho: float, service: float) -> None:
    rate = rho * servers / service
    assert utilization(rate, service, servers) == pytest.approx(rho)
    assert mean_wait(rate, service, servers) == pytest.approx(
        service * mean_wait(rho * servers, 1.0, servers)
    )
    assert wait_exceeds(3 * service, rate, service, servers) == pytest.approx(
        wait_exceeds(3.0, rho * servers, 1.0, servers)
    )
    assert response_quantile(0.9, rho / service, service) == pytest.approx(
        service * response_quantile(0.9, rho, 1.0)
    )


def test_an_idle_queue_has_no_wait() -> None:
    assert utilization(0.0, 1.0) == 0
    assert mean_wait(0.0, 1.0, 3) == 0
    assert wait_exceeds(0.0, 0.0, 1.0, 3) == 0
    assert response_quantile(0.5, 0.0, 2.0) == pytest.approx(2 * math.log(2))
    assert response_quantile(0.0, 0.25, 2.0) == 0


@given(st.floats(0.01, 0.999), RHO)
def test_response_quantile_is_an_exponential_quantile(probability: float, rho: float) -> None:
    expected = stats.expon.ppf(probability, scale=3.0 / (1 - rho))
    assert response_quantile(probability, rho / 3.0, 3.0) == pytest.approx(expected)


@given(st.floats(0.01, 0.999), st.floats(1.001, 1000.0))
def test_max_utilization_inverts_the_quantile(probability: float, factor: float) -> None:
    slowdown = -math.log1p(-probability) * factor
    rho = max_utilization(probability, slowdown)
    assert 0 < rho < 1
    assert response_quantile(probability, rho, 1.0) == pytest.approx(slowdown, rel=1e-9)


def test_saturation_is_refused() -> None:
    for function in (utilization, mean_wait):
        with pytest.raises(ValueError, match=r"below 1 for a stable queue, got 1\.0"):
            function(2.0, 1.0, 2)


@given(SERVERS, st.floats(0.0, 200.0))
def test_erlang_b_is_a_truncated_poisson(servers: int, load: float) -> None:
    if load == 0:
        assert erlang_b(servers, load) == 0.0
        return
    expected = stats.poisson.pmf(servers, load) / stats.poisson.cdf(servers, load)
    assert erlang_b(servers, load) == pytest.approx(expected, rel=1e-9)


def test_erlang_b_of_thousands_and_of_overload() -> None:
    assert 0 < erlang_b(5000, 5000.0) < 0.02
    assert erlang_b(10, 1e6) == pytest.approx(1 - 10 / 1e6, rel=1e-9)  # ten of a million fit
