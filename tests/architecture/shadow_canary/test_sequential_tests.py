"""Sequential tests: martingales, Wald's identities, brute loops, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.architecture.shadow_canary.sequential_tests import (
    LARGEST_LOG,
    _always_valid_p,
    _fixed_samples,
    _sprt_bounds,
    _sprt_exactly,
    _sprt_expected_samples,
    msprt_ratio,
)


@given(st.floats(0.001, 0.4), st.floats(0.001, 0.4))
def test_bounds_are_the_likelihood_ratios_of_the_errors(alpha: float, beta: float) -> None:
    upper, lower = _sprt_bounds(alpha, beta)
    assert math.exp(upper) == pytest.approx((1 - beta) / alpha)
    assert math.exp(lower) == pytest.approx(beta / (1 - alpha))
    mirrored = _sprt_bounds(beta, alpha)
    assert (upper, lower) == pytest.approx((-mirrored[1], -mirrored[0]))


@given(st.floats(0.01, 0.3), st.floats(0.35, 0.6), st.floats(0.01, 0.2), st.floats(0.01, 0.2))
def test_expected_samples_are_symmetric_and_positive(
    p0: float, p1: float, alpha: float, beta: float
) -> None:
    under_h0, under_h1 = _sprt_expected_samples(p0, p1, alpha, beta)
    assert under_h0 > 0
    assert under_h1 > 0
    swapped = _sprt_expected_samples(1 - p0, 1 - p1, alpha, beta)
    assert swapped == pytest.approx((under_h0, under_h1))
    assert _fixed_samples(p0, p1, alpha, beta) > 0
    tilted = stats.bernoulli(p0).pmf([1, 0]), stats.bernoulli(p1).pmf([1, 0])
    divergence = stats.entropy(tilted[1], tilted[0])
    wanted = stats.entropy([1 - beta, beta], [alpha, 1 - alpha])
    assert under_h1 == pytest.approx(wanted / divergence)


def test_fixed_samples_have_their_power() -> None:
    n = _fixed_samples(0.1, 0.2, 0.05, 0.1)
    limit = 0.1 + stats.norm.isf(0.05) * math.sqrt(0.09 / n)
    assert stats.norm.sf((limit - 0.2) / math.sqrt(0.16 / n)) == pytest.approx(0.9)
    assert _fixed_samples(0.8, 0.9, 0.05, 0.1) == pytest.approx(_fixed_samples(0.2, 0.1, 0.05, 0.1))


@given(st.integers(1, 300), st.floats(-1, 1), st.floats(0.1, 4), st.floats(0.01, 2))
def test_msprt_ratio_is_the_averaged_likelihood(
    count: int, mean: float, variance: float, mixing: float
) -> None:
    precision = count / variance + 1 / mixing
    centre, width = count * mean / variance / precision, precision**-0.5

    def integrand(effect: float) -> float:
        log = count * (mean * effect - effect**2 / 2) / variance
        return float(math.exp(log - peak) * stats.norm.pdf(effect, 0, math.sqrt(mixing)))

    peak = count * (mean * centre - centre**2 / 2) / variance
    averaged, _ = integrate.quad(integrand, centre - 12 * width, centre + 12 * width, epsrel=1e-10)
    got = float(msprt_ratio(count, mean, variance, mixing))
    assert math.log(got) == pytest.approx(min(math.log(averaged) + peak, LARGEST_LOG), abs=1e-6)


def test_msprt_ratio_has_mean_one_without_effect() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    ratios = msprt_ratio(4, nodes / 2, 1.0, 0.1)
    assert float(weights @ ratios) / math.sqrt(2 * math.pi) == pytest.approx(1.0, abs=1e-9)
    assert np.isfinite(msprt_ratio(10**6, 10.0, 1.0, 1.0))


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30))
def test_always_valid_p_only_falls(ratios: list[float]) -> None:
    p = _always_valid_p(ratios)
    assert p.tolist() == [min(1.0, 1 / max(ratios[: k + 1])) for k in range(len(ratios))]
    assert (np.diff(p) <= 0).all()


def test_always_valid_p_works_along_the_last_axis() -> None:
    both = _always_valid_p([[2.0, 1.0], [0.5, 10.0]])
    np.testing.assert_allclose(both, [[0.5, 0.5], [1.0, 0.1]])


def test_the_exact_test_stops_where_a_brute_loop_stops() -> None:
    """400 runs, request by request, beside the distribution over counts of errors."""
    upper, lower = _sprt_bounds(0.05, 0.2)
    accepted, means = _sprt_exactly()
    rng = np.random.default_rng(8)
    for rate, share, mean in zip((0.01, 0.02), accepted, means, strict=True):
        counts, above = [], 0
        for _ in range(400):
            total, count = 0.0, 0
            while lower < total < upper:
                total += math.log(2.0) if rng.random() < rate else math.log(0.98 / 0.99)
                count += 1
            counts.append(count)
            above += total >= upper
        assert abs(above / 400 - share) < 4 * math.sqrt(share * (1 - share) / 400)
        assert abs(np.mean(counts) - mean) < 4 * np.std(counts) / 20
