"""Limits, oracles, properties and errors of `core.queues.size_based`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.core.queues.size_based import (
    EXPONENTIAL,
    UNEVEN,
    Sizes,
    mean_response,
    predicted_sjf_mean,
    response_by_size,
)

from tests.optimization.hardware_scheduling.test_hardware_scheduling import MIXTURES
from tests.profiles import costly


@pytest.mark.parametrize("sizes", MIXTURES)
def test_moments_and_tails_are_those_of_the_density(sizes: Sizes) -> None:
    for x in (0.1, 1.0, 7.0):
        for order in (1, 2):
            expected = integrate.quad(lambda t: t**order * sizes.density(np.array(t)), 0, x)[0]  # noqa: B023
            got = float(sizes.moment_below(np.array(x), order))
            assert got == pytest.approx(expected, rel=1e-7)
        above = integrate.quad(lambda t: float(sizes.density(np.array(t))), x, np.inf)[0]
        assert float(sizes.above(np.array(x))) == pytest.approx(above, rel=1e-6)
    for order in (1, 2):
        limit = float(sizes.moment_below(np.array(1e4), order))
        assert sizes.moment(order) == pytest.approx(limit, rel=1e-12)


def test_drawn_sizes_are_the_mixture() -> None:
    drawn = UNEVEN.draw(np.random.default_rng(1), 40_000)
    assert drawn.shape == (40_000,)
    assert stats.kstest(UNEVEN.above(drawn), "uniform").pvalue > 0.001


@pytest.mark.parametrize("sizes", MIXTURES)
@pytest.mark.parametrize("load", [0.3, 0.9])
def test_shortest_remaining_against_scipy(sizes: Sizes, load: float) -> None:
    rate = load / sizes.moment(1)

    def room(t: float) -> float:
        return 1 - rate * float(sizes.moment_below(np.array(t), 1))

    for x in (0.05, 1.0, 10.0):
        residence = integrate.quad(lambda t: 1 / room(t), 0, x, limit=200)[0]
        tail = float(sizes.above(np.array(x)))
        ahead = integrate.quad(lambda t: t * float(sizes.above(np.array(t))), 0, x)[0]
        # E[S²; S ≤ x] + x²P(S > x) = 2∫₀ˣ t P(S > t) dt
        expected = residence + rate * ahead / room(x) ** 2
        got = float(response_by_size("srpt", x, rate, sizes))
        assert tail > 0
        assert got == pytest.approx(expected, rel=1e-6)


@costly
@given(
    st.floats(0.05, 0.95),
    st.floats(0.01, 20),
    st.floats(0.05, 0.95),
    st.floats(0.05, 1.0),
    st.floats(1.0, 20.0),
)
def test_order_between_policies(
    load: float, x: float, share: float, short: float, long: float
) -> None:
    sizes = Sizes((share, 1 - share), (short, long))
    rate = load / sizes.moment(1)
    fcfs, sjf, srpt = (
        float(response_by_size(policy, x, rate, sizes)) for policy in ("fcfs", "sjf", "srpt")
    )
    assert x <= srpt
    # ρ(x) ≤ ρ, so shortest first multiplies the wait by (1 − ρ)/(1 − ρ(x))², at most 1/(1 − ρ)
    assert (1 - load) * (fcfs - x) <= (sjf - x) * (1 + 1e-9)
    assert (sjf - x) * (1 - load) <= (fcfs - x) * (1 + 1e-9)
    mean = [mean_response(policy, rate, sizes) for policy in ("srpt", "sjf", "fcfs")]
    assert mean[0] <= mean[1] * (1 + 1e-6) <= mean[2] * (1 + 2e-6)


def test_limits_of_small_load_and_small_sizes() -> None:
    for policy in ("fcfs", "sjf", "srpt"):
        assert response_by_size(policy, [0.5, 3.0], 0.0, UNEVEN) == pytest.approx([0.5, 3.0])
    tiny = 1e-6
    assert float(response_by_size("srpt", tiny, 0.9, EXPONENTIAL)) == pytest.approx(tiny, rel=1e-4)
    wait = float(response_by_size("sjf", tiny, 0.9, EXPONENTIAL)) - tiny
    assert wait == pytest.approx(0.9, rel=1e-4)  # the residual of what is in service
    assert response_by_size("sjf", np.ones((2, 3)), 0.5, UNEVEN).shape == (2, 3)


def test_heavy_traffic_gains_grow_as_the_published_order_says() -> None:
    """1/((1 − ρ) ln(e/(1 − ρ))) for M/M/1, Bansal (2005)."""
    scaled = [
        mean_response("srpt", load, EXPONENTIAL) * (1 - load) * math.log(math.e / (1 - load))
        for load in (0.9, 0.99, 0.999)
    ]
    assert min(scaled) > 0.5
    assert max(scaled) < 2


@pytest.mark.parametrize("error", [0.3, 1.0])
def test_predictions_against_scipy(error: float) -> None:
    rate = 0.8

    def load_below(y: float) -> float:
        def work(x: float) -> float:
            return x * math.exp(-x) * stats.norm.cdf(math.log(y / x) / error)

        return rate * integrate.quad(work, 1e-9, 50)[0]

    logs = np.linspace(-9, 6, 101)
    room = np.array([1 - load_below(math.exp(log)) for log in logs])
    nodes = np.linspace(-8, 8, 161)

    def density(log: float) -> float:
        x = np.exp(log - error * nodes)
        return float(np.sum(x * np.exp(-x) * stats.norm.pdf(nodes)) * (nodes[1] - nodes[0]))

    step = logs[1] - logs[0]
    expected = 1 + rate * step * sum(density(log) / r**2 for log, r in zip(logs, room, strict=True))
    assert predicted_sjf_mean(rate, EXPONENTIAL, error) == pytest.approx(expected, rel=2e-4)
