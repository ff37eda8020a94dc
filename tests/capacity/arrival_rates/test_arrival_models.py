"""Markov-modulated arrivals: against scipy, brute-force chains, and known limits."""

from __future__ import annotations

import math
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, linalg, stats
from serving_mathematics.capacity.arrival_rates.arrival_models import (
    _uniform_in_order,
    batch_dispersion,
    mmpp_dispersion,
    mmpp_gap_cv,
    mmpp_mean_rate,
    mmpp_mean_time,
    modulated_arrivals,
    switching_edges,
    switching_generator,
)

Q3 = np.array([[-0.5, 0.3, 0.2], [0.1, -0.4, 0.3], [0.0, 1.0, -1.0]])
RATES3 = np.array([8.0, 0.0, 3.0])
LAW3 = linalg.null_space(Q3.T)[:, 0]
LAW3 = LAW3 / LAW3.sum()
VALUES3, VECTORS3 = np.linalg.eig(Q3)
small = st.floats(0.01, 20)


def transition(u: float) -> np.ndarray:
    """P(u) = e^{Qu} from the eigenvectors."""
    return np.real(VECTORS3 * np.exp(VALUES3 * u) @ np.linalg.inv(VECTORS3))


def test_generator() -> None:
    assert switching_generator((2.0, 3.0)).tolist() == [[-2.0, 2.0], [3.0, -3.0]]


def test_mean_rate_of_three_phases() -> None:
    assert mmpp_mean_rate(RATES3, Q3) == pytest.approx(LAW3 @ RATES3)


def test_one_phase_is_poisson() -> None:
    one = [[0.0]]
    assert mmpp_mean_rate([3.0], one) == 3.0
    assert mmpp_dispersion(7.0, [3.0], one) == 1.0
    assert mmpp_gap_cv([3.0], one) == pytest.approx(1.0)
    assert mmpp_mean_time([3.0], one, 4.0) == pytest.approx(1.0)


def test_a_phase_that_is_left_for_good_does_not_count() -> None:
    q = np.array([[-1.0, 1.0, 0.0], [0.0, -0.2, 0.2], [0.0, 0.3, -0.3]])
    assert mmpp_mean_rate([99.0, 5.0, 1.0], q) == pytest.approx(0.6 * 5 + 0.4)


@pytest.mark.parametrize("window", [1e-3, 0.4, 5.0, 300.0])
def test_dispersion_is_the_integral_of_the_autocovariance(window: float) -> None:
    mean = LAW3 @ RATES3

    def covariance(u: float) -> float:
        return float(LAW3 * RATES3 @ transition(u) @ RATES3 - mean**2)

    double = integrate.quad(lambda u: (window - u) * covariance(u), 0, min(window, 80.0), limit=200)
    expected = 1 + 2 * double[0] / (mean * window)
    assert mmpp_dispersion(window, RATES3, Q3) == pytest.approx(expected, rel=1e-7)


def test_dispersion_grows_to_its_limit() -> None:
    windows = [0.1, 1.0, 10.0, 1e3, 1e5, math.inf]
    index = [mmpp_dispersion(w, RATES3, Q3) for w in windows]
    assert index == sorted(index)
    assert index[-2] == pytest.approx(index[-1], rel=1e-4)
    assert mmpp_dispersion(1e-7, RATES3, Q3) == pytest.approx(1.0, abs=1e-4)


def test_gap_cv_from_the_phase_type_law() -> None:
    start = LAW3 * RATES3 / (LAW3 @ RATES3)
    values, vectors = np.linalg.eig(Q3 - np.diag(RATES3))
    weights = start @ vectors * (np.linalg.inv(vectors) @ np.ones(3))

    def survival(t: float) -> float:
        return float(np.real(weights @ np.exp(values * t)))

    moments = [integrate.quad(survival, 0, 90)[0]]
    moments.append(integrate.quad(lambda t: 2 * t * survival(t), 0, 90)[0])
    expected = math.sqrt(moments[1] / moments[0] ** 2 - 1)
    assert mmpp_gap_cv(RATES3, Q3) == pytest.approx(expected, rel=1e-6)


def brute_mean_time(rates: np.ndarray, q: np.ndarray, mu: float, levels: int) -> float:
    """Mean time of the chain cut off at a level, from its balance equations."""
    m = len(rates)
    chain = np.zeros((levels * m, levels * m))
    for k in range(levels):
        here = slice(k * m, (k + 1) * m)
        chain[here, here] += q
        if k + 1 < levels:
            chain[here, (k + 1) * m : (k + 2) * m] += np.diag(rates)
            chain[here, here] -= np.diag(rates)
        if k:
            chain[here, (k - 1) * m : k * m] += mu * np.eye(m)
            chain[here, here] -= mu * np.eye(m)
    balance = np.vstack([chain.T[1:], np.ones(levels * m)])
    law = np.linalg.solve(balance, np.eye(levels * m)[-1])
    per_level = law.reshape(levels, m).sum(axis=1)
    return float(np.arange(levels) @ per_level) / mmpp_mean_rate(rates, q)


@pytest.mark.parametrize("mu", [5.0, 9.0, 40.0])
def test_mean_time_of_three_phases_by_brute_force(mu: float) -> None:
    expected = brute_mean_time(RATES3, Q3, mu, 250)
    assert mmpp_mean_time(RATES3, Q3, mu) == pytest.approx(expected, rel=1e-8)


@given(small, small, small, small, st.floats(0.05, 0.97))
def test_bursts_never_help(a: float, b: float, r1: float, r2: float, rho: float) -> None:
    q = switching_generator((r1, r2))
    mean = mmpp_mean_rate((a, b), q)
    time = mmpp_mean_time((a, b), q, mean / rho)
    assert time >= 1 / (mean / rho - mean) * (1 - 1e-9)
    assert mmpp_dispersion(3.0, (a, b), q) >= 1 - 1e-9
    assert mmpp_gap_cv((a, b), q) >= 1 - 1e-9


@given(small, small, small, small, st.floats(0.1, 10))
def test_the_unit_of_time_does_not_matter(
    a: float, b: float, r1: float, r2: float, unit: float
) -> None:
    q = switching_generator((r1, r2))
    mu = 1.3 * mmpp_mean_rate((a, b), q)
    scaled = mmpp_mean_time((a * unit, b * unit), q * unit, mu * unit) * unit
    assert scaled == pytest.approx(mmpp_mean_time((a, b), q, mu), rel=1e-7)
    index = mmpp_dispersion(2.0 / unit, (a * unit, b * unit), q * unit)
    assert index == pytest.approx(mmpp_dispersion(2.0, (a, b), q), rel=1e-6)


def test_nearly_saturated_and_very_slow_chains_converge() -> None:
    q = switching_generator((0.1, 0.05))
    for excess in (1e-2, 1e-4, 1e-6, 1e-8):  # 31/(μ−λ) is the heavy-traffic term
        heavy = mmpp_mean_time((10.0, 1.0), q, 4.0 * (1 + excess))
        assert heavy == pytest.approx(31 / (4 * excess), rel=2e-7, abs=6)
    slow = switching_generator((1e-4, 1e-4))
    expected = (1 / 4 + 4 / 1) / 2 / 2.5
    assert mmpp_mean_time((1.0, 4.0), slow * 1e-4, 5.0) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("rates", "generator", "rule"),
    [
        ([1.0, 2.0], [[-1.0, 1.0], [1.0, -1.1]], "rows that sum to zero"),
        ([1.0, 2.0], [[1.0, -1.0], [1.0, -1.0]], "non-negative entries off the diagonal"),
        ([1.0, 2.0], [[math.nan, 1.0], [1.0, -1.0]], "generator must be finite"),
        ([1.0, 2.0], [[0.0, 0.0], [0.0, 0.0]], "one closed class"),
        ([0.0, 0.0], switching_generator((1, 1)), "rates must be positive in a phase"),
        ([1.0, 0.0], [[-1.0, 1.0], [0.0, 0.0]], "rates must be positive in a phase"),
    ],
)
def test_bad_phases(rates: object, generator: object, rule: str) -> None:
    for function in (
        mmpp_mean_rate,
        mmpp_gap_cv,
        lambda r, g: mmpp_dispersion(1.0, r, g),
        lambda r, g: mmpp_mean_time(r, g, 100.0),
    ):
        with pytest.raises(ValueError, match=rule):
            function(rates, generator)


@pytest.mark.parametrize("mu", [0.0, 4.0, math.nan, math.inf])
def test_bad_service_rate(mu: float) -> None:
    q = switching_generator((0.1, 0.05))
    with pytest.raises(ValueError, match="service_rate must be finite and above"):
        mmpp_mean_time((10.0, 1.0), q, mu)
    with pytest.raises(ValueError, match="service_rate must be finite and above"):
        mmpp_mean_time([3.0], [[0.0]], 3.0)


def test_pieces_have_poisson_counts_and_uniform_times() -> None:
    rng = np.random.default_rng(7)
    edges, rates = [2.0, 3.0, 7.0, 7.5], [50.0, 0.0, 400.0]
    counts = []
    for _ in range(400):
        times = modulated_arrivals(rng, edges, rates)
        assert np.all(np.diff(times) >= 0)
        counts.append(np.histogram(times, edges)[0])
    means = np.mean(counts, axis=0)
    assert means[1] == 0
    assert means[[0, 2]] == pytest.approx([50, 200], abs=4 * math.sqrt(200 / 400))
    assert np.var(counts, axis=0)[2] == pytest.approx(200, rel=0.3)
    times = modulated_arrivals(rng, edges, rates)
    assert stats.kstest(times[times > 7] - 7, stats.uniform(0, 0.5).cdf).pvalue > 1e-3


def test_no_rate_no_arrivals() -> None:
    assert modulated_arrivals(np.random.default_rng(0), [0, 9], [0.0]).size == 0


def test_more_requests_than_memory_holds_are_refused_with_their_number() -> None:
    none = Mock(poisson=lambda _: 0, standard_exponential=np.ones)
    assert modulated_arrivals(none, [0, 1, 2], [4e8, 6e8]).size == 0  # the most there may be
    with pytest.raises(ValueError, match=r"a thousand million requests at most, got 1500000000\.0"):
        modulated_arrivals(none, [0, 1, 2], [6e8, 9e8])


@pytest.mark.parametrize(
    ("edges", "rates", "rule"),
    [
        ([0.0, 1.0], [1.0, 2.0], "rates must be of shape"),
    ],
)
def test_bad_pieces(edges: list[float], rates: list[float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        modulated_arrivals(np.random.default_rng(0), edges, rates)


def test_path_of_the_chain_is_stationary() -> None:
    rng = np.random.default_rng(11)
    starts, held = [], np.zeros(2)
    stays: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(800):
        edges, phases = switching_edges(rng, (0.5, 0.2), 20.0)
        assert edges[0] == 0
        assert edges[-1] == 20
        assert np.all(np.diff(edges) > 0)
        assert edges.size == phases.size + 1
        assert np.all(np.diff(phases) != 0)
        starts.append(phases[0])
        held += np.bincount(phases, np.diff(edges), 2)
        for phase, stay in zip(phases[1:-1], np.diff(edges)[1:-1], strict=True):
            stays[int(phase)].append(float(stay))
    assert np.mean(starts) == pytest.approx(5 / 7, abs=0.06)
    assert held[1] / held.sum() == pytest.approx(5 / 7, abs=0.02)
    assert np.mean(stays[0]) < np.mean(stays[1])


def test_long_stays_have_their_means() -> None:
    edges, phases = switching_edges(np.random.default_rng(12), (4.0, 1.0), 5000.0)
    stays = np.diff(edges)
    assert stays[phases == 0].mean() == pytest.approx(0.25, rel=0.08)
    assert stays[phases == 1].mean() == pytest.approx(1.0, rel=0.08)


def test_batches_of_one_are_poisson() -> None:
    assert batch_dispersion([1], [1.0]) == 1
    assert batch_dispersion([7], [1.0]) == 7
    geometric = 0.2 * 0.8 ** np.arange(400)
    assert batch_dispersion(np.arange(1, 401), geometric) == pytest.approx(2 / 0.2 - 1)


def test_uniform_places_are_order_statistics() -> None:
    """The k-th of n is Beta(k, n + 1 − k), whose mean is k/(n + 1)."""
    rng = np.random.default_rng(4)
    places = np.array([_uniform_in_order(rng, 4, 10.0) for _ in range(4000)]) / 10
    order = np.arange(1, 5)
    errors = np.sqrt(order * (5 - order) / (25 * 6) / len(places))
    np.testing.assert_array_less(np.abs(places.mean(axis=0) - order / 5), 4 * errors)
    assert np.all(np.diff(places, axis=1) > 0)
    assert _uniform_in_order(rng, 0, 10.0).size == 0
