"""Goodput against scipy, quadrature and limits, and the solutions of the exercises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats
from serving_mathematics.capacity.overload_control.overload_control import (
    _in_time_per_s,
    best_capacity,
    blocking_probability,
    bounded_goodput,
    fifo_goodput,
    peak_load,
    simulate_goodput,
)

from tests.clockwork import CLOCKWORK

RATES = st.floats(0.01, 1000)


def test_blocking_limits() -> None:
    assert blocking_probability(3.0, 1.0, 1) == pytest.approx(0.75)
    assert blocking_probability(2.0, 1.0, 10_000) == pytest.approx(0.5)
    assert blocking_probability(0.5, 1.0, 2000) == 0.0


@given(RATES, RATES, st.integers(1, 60))
def test_blocking_solves_the_balance_equations(arrival: float, service: float, places: int) -> None:
    generator = np.diag(np.full(places, arrival), 1) + np.diag(np.full(places, service), -1)
    generator -= np.diag(generator.sum(axis=1))
    rows = np.vstack([generator.T / (arrival + service), np.ones(places + 1)])
    states = np.linalg.lstsq(rows, np.append(np.zeros(places + 1), 1.0), rcond=None)[0]
    assert blocking_probability(arrival, service, places) == pytest.approx(states[-1], abs=1e-7)


@given(st.floats(0.01, 0.99), RATES, st.floats(1e-3, 100))
def test_fifo_goodput_is_the_distribution_of_the_response(
    utilization: float, service: float, deadline: float
) -> None:
    arrival = utilization * service
    in_time = stats.expon(scale=1 / (service - arrival)).cdf(deadline)
    assert fifo_goodput(arrival, service, deadline) == pytest.approx(arrival * in_time, rel=1e-9)


@pytest.mark.parametrize("factor", [1.0, 1.5, 100.0])
def test_fifo_goodput_is_zero_from_saturation_on(factor: float) -> None:
    assert fifo_goodput(7.0 * factor, 7.0, 3.0) == 0.0


@given(st.floats(0.01, 500), st.floats(0.01, 100))
def test_peak_load_is_lambert_w(service: float, deadline: float) -> None:
    served = min(service * deadline, 600.0)
    service = served / deadline
    expected = (special.lambertw(math.exp(served + 1)).real - 1) / deadline
    peak = peak_load(service, deadline)
    assert peak == pytest.approx(expected, rel=1e-9)
    assert 0 < peak < service
    top = fifo_goodput(peak, service, deadline)
    for nearby in (peak * 0.99, min(peak * 1.01, (peak + service) / 2)):
        assert fifo_goodput(nearby, service, deadline) <= top * (1 + 1e-12)


def test_peak_load_approaches_half_for_hopeless_deadlines() -> None:
    assert peak_load(100.0, 1e-6) == pytest.approx(50.0, rel=1e-4)


@given(st.floats(0.05, 20), st.floats(0.1, 40), st.integers(1, 80))
def test_bounded_goodput_sums_gamma_distributions(
    utilization: float, served: float, places: int
) -> None:
    service = 5.0
    arrival, deadline = utilization * service, served / service
    weight = np.array([utilization**k for k in range(places + 1)])
    states = weight / weight.sum()
    in_time = stats.gamma(np.arange(1, places + 1), scale=1 / service).cdf(deadline)
    expected = arrival * float(states[:-1] @ in_time)
    assert bounded_goodput(arrival, service, deadline, places) == pytest.approx(
        expected, rel=1e-9, abs=1e-12
    )


def test_bounded_goodput_survives_extremes() -> None:
    assert bounded_goodput(1e6, 100.0, 0.1, 3000) == pytest.approx(0.0, abs=1e-6)
    assert bounded_goodput(1e-6, 100.0, 1.0, 3000) == pytest.approx(1e-6)
    assert bounded_goodput(1e12, 100.0, 0.1, 1) == pytest.approx(100 * -math.expm1(-10.0))


@pytest.mark.parametrize(
    ("load", "service", "deadline"), [(50, 100, 0.1), (300, 20, 0.4), (9, 9, 5)]
)
def test_best_capacity_has_no_better_neighbour(
    load: float, service: float, deadline: float
) -> None:
    best = best_capacity(load, service, deadline)
    goodput = [bounded_goodput(load, service, deadline, k) for k in range(1, 4 * best + 50)]
    assert goodput[best - 1] == pytest.approx(max(goodput))


def test_places_that_add_nothing_are_not_counted() -> None:
    """A server that is hardly used loses ρ^K of its requests with K places, 10⁻¹⁰ with five; which
    of more places is ahead was decided by rounding, and that by the processor.
    """
    for nudge in (1 - 1e-15, 1.0, 1 + 1e-15):
        assert best_capacity(1.0, 100.0, 0.1 * nudge) == best_capacity(1.0 * nudge, 100.0, 0.1)
    assert best_capacity(1.0, 100.0, 1.0) == 5


def test_more_load_wants_fewer_places() -> None:
    limits = [best_capacity(load, 100.0, 0.1) for load in (60, 80, 100, 150, 300, 3000)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > limits[-1]


def lifo_in_time(arrival: float, service: float, deadline: float) -> float:
    """Share in time of an overloaded newest-first queue: a busy period of M/M/1, then the
    service."""

    def busy(t: float) -> float:
        z = 2 * t * math.sqrt(arrival * service)
        decay = math.exp(z - (arrival + service) * t)
        return float(special.ive(1, z)) * decay / (t * math.sqrt(arrival / service))

    def integrand(t: float) -> float:
        return busy(t) * -math.expm1(-service * (deadline - t))

    return float(integrate.quad(integrand, 0, deadline, limit=200)[0])


def test_newest_first_agrees_with_the_busy_period() -> None:
    share = lifo_in_time(150.0, 100.0, 0.1)
    run = simulate_goodput(
        np.random.default_rng(2), 150.0, 100.0, 0.1, newest_first=True, customers=60_000
    )
    assert abs(run.mean - 150.0 * share) < 4 * run.standard_error


@pytest.mark.parametrize("capacity", [1, 2, None])
@pytest.mark.parametrize("newest_first", [False, True])
def test_who_comes_as_the_server_becomes_free_is_served(
    capacity: int | None, newest_first: bool
) -> None:
    """One a second, each a second long and due within one: all are in time."""
    found = simulate_goodput(
        CLOCKWORK, 1.0, 1.0, 1.0, capacity=capacity, newest_first=newest_first, customers=1000
    )
    assert (found.mean, found.half_width) == (1.0, 0.0)
    assert _in_time_per_s(np.arange(1, 33) / 16, np.full(32, 1 / 16), 1) == 16.0


def test_who_waited_is_served_before_who_comes() -> None:
    """One a second, each two seconds long, and one may wait: whom the server takes has waited."""
    rates = (1.0, 0.5, 3.5)
    assert simulate_goodput(CLOCKWORK, *rates, capacity=2, customers=1000).mean == 0.0
    assert simulate_goodput(CLOCKWORK, 1.0, 0.5, 4.0, capacity=2, customers=1000).mean == 0.5


def test_expiry_beats_dead_work() -> None:
    kept, dead = (
        simulate_goodput(np.random.default_rng(4), 120.0, 100.0, 0.1, skip_expired=skip)
        for skip in (True, False)
    )
    assert kept.mean > 10 * dead.mean
