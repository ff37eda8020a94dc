"""Approximations of the mean wait: oracles by root search and quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats
from serving_mathematics.core.queues.variability import (
    allen_cunneen_wait,
    gamma_arrivals_wait,
    kingman_bound,
    pollaczek_khinchine_wait,
    vut_wait,
)

RHO = st.floats(0.01, 0.99)
SCV = st.floats(0.0, 50.0)
SERVERS = st.integers(1, 40)


def gamma_by_root_search(rho: float, scv: float) -> float:
    """σ by Brent's method, with the transform integrated numerically."""
    gap = stats.gamma(1 / scv, scale=scv / rho)
    quantiles = gap.ppf((np.arange(40_000) + 0.5) / 40_000)
    sigma = optimize.brentq(lambda s: float(np.exp(-(1 - s) * quantiles).mean()) - s, 0, 1 - 1e-6)
    return float(sigma / (1 - sigma))


@pytest.mark.parametrize(("rho", "scv"), [(0.5, 0.3), (0.8, 0.3), (0.8, 4.0), (0.4, 2.0)])
def test_gamma_arrivals_by_root_search(rho: float, scv: float) -> None:
    assert gamma_arrivals_wait(rho, scv) == pytest.approx(gamma_by_root_search(rho, scv), rel=2e-3)


@given(st.floats(0.01, 0.999), st.floats(0.0, 1e4))
def test_gamma_arrivals_solve_their_equation(rho: float, scv: float) -> None:
    wait = gamma_arrivals_wait(rho, scv)
    sigma = wait / (1 + wait)
    stretch = scv * (1 - sigma) / rho
    log_transform = -(1 - sigma) / rho if stretch < 1e-9 else -math.log1p(stretch) / scv
    assert math.exp(log_transform) == pytest.approx(sigma, rel=1e-7, abs=1e-12)
    assert 0 <= sigma < 1


@given(st.floats(0.05, 0.99), st.floats(0.0, 20.0), st.floats(0.0, 20.0))
def test_gamma_arrivals_wait_rises_with_variability(rho: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert gamma_arrivals_wait(rho, low) <= gamma_arrivals_wait(rho, high) * (1 + 1e-9)


def test_gamma_arrivals_limits() -> None:
    assert gamma_arrivals_wait(0.7, 1.0) == pytest.approx(0.7 / 0.3, rel=1e-13)
    assert gamma_arrivals_wait(0.7, 1e-10) == pytest.approx(gamma_arrivals_wait(0.7, 0.0), rel=1e-9)
    assert gamma_arrivals_wait(0.7, 5e-324) == gamma_arrivals_wait(0.7, 0.0)
    sigma = -special.lambertw(-math.exp(-1 / 0.7) / 0.7).real * 0.7  # σ = e^{−(1−σ)/ρ}, D/M/1
    assert gamma_arrivals_wait(0.7, 0.0) == pytest.approx(sigma / (1 - sigma), rel=1e-12)


@given(RHO, SCV)
def test_kingman_bound_is_never_below_the_exact_waits(rho: float, scv: float) -> None:
    spread = math.sqrt(scv)
    slack = 1 + 1e-9
    assert gamma_arrivals_wait(rho, scv) <= kingman_bound(rho, 1.0, spread / rho, 1.0) * slack
    assert pollaczek_khinchine_wait(rho, scv) <= kingman_bound(rho, 1.0, 1 / rho, spread) * slack


@given(RHO, SCV, SCV, st.floats(0.01, 100.0))
def test_kingman_bound_in_squared_variation(
    rho: float, arrival_scv: float, service_scv: float, service: float
) -> None:
    """(C_a²/ρ + ρ·C_s²)/(2(1−ρ)) service times in any unit; above VUT by C_a²(1+ρ)/(2ρ)."""
    bound = kingman_bound(
        rho / service,
        service,
        math.sqrt(arrival_scv) * service / rho,
        math.sqrt(service_scv) * service,
    )
    expected = (arrival_scv / rho + rho * service_scv) / (2 * (1 - rho))
    assert bound == pytest.approx(service * expected, rel=1e-9)
    gap = arrival_scv * (1 + rho) / (2 * rho)
    assert bound / service - vut_wait(rho, arrival_scv, service_scv) == pytest.approx(
        gap, rel=1e-6, abs=1e-9
    )


@given(RHO, SCV, SCV)
def test_one_server_formulas_agree(rho: float, arrival_scv: float, service_scv: float) -> None:
    expected = vut_wait(rho, arrival_scv, service_scv)
    assert allen_cunneen_wait(rho, 1, arrival_scv, service_scv) == pytest.approx(expected, rel=1e-9)
    assert pollaczek_khinchine_wait(rho, service_scv) == pytest.approx(
        vut_wait(rho, 1.0, service_scv)
    )


@given(RHO, SERVERS)
def test_allen_cunneen_is_exact_for_exponentials(rho: float, servers: int) -> None:
    load = rho * servers
    at = stats.poisson.pmf(servers, load) / (1 - rho)
    waiting = at / (stats.poisson.cdf(servers - 1, load) + at)
    assert allen_cunneen_wait(rho, servers, 1, 1) == pytest.approx(
        waiting / (servers - load), rel=1e-10
    )


@given(RHO, SERVERS, SCV, SCV)
def test_it_scales_with_the_variability(rho: float, servers: int, ca2: float, cs2: float) -> None:
    assert allen_cunneen_wait(rho, servers, ca2, cs2) == pytest.approx(
        allen_cunneen_wait(rho, servers, 1, 1) * (ca2 + cs2) / 2, rel=1e-12
    )


def test_many_busy_servers_approach_heavy_traffic() -> None:
    assert allen_cunneen_wait(0.9999, 4, 2.0, 0.5) == pytest.approx(1.25 / 4 / 1e-4, rel=1e-3)


def test_idle_queues_have_no_wait() -> None:
    assert pollaczek_khinchine_wait(0.0, 3.0) == 0
    assert vut_wait(0.0, 3.0, 3.0) == 0
    assert allen_cunneen_wait(0.0, 3, 3.0, 3.0) == 0
    assert kingman_bound(0.5, 1.0, 0.0, 0.0) == 0  # D/D/1
