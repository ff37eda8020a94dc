"""False pages: brute force over all counts, scipy as oracle, bounds, errors."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.intuition.failure_budgets.false_pages import (
    binomial_probabilities,
    fire_probability,
    page_start_probability,
)


@given(st.integers(0, 3000), st.floats(1e-5, 0.999))
def test_binomial_probabilities_are_scipy(trials: int, p: float) -> None:
    got = binomial_probabilities(trials, p)
    expected = stats.binom.pmf(np.arange(trials + 1), trials, p)
    np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-200)
    assert got.sum() == pytest.approx(1.0)


def brute_probabilities(
    m: int, rate: float, slo: float, burn: float, windows: int
) -> tuple[float, float]:
    """Probability to fire, and to begin to, by listing the counts of windows + 1 short windows."""
    pmf = stats.binom.pmf(np.arange(m + 1), m, rate)
    fires = starts = 0.0
    for counts in product(range(m + 1), repeat=windows + 1):
        mass = math.prod(float(pmf[c]) for c in counts)
        now, before = (
            sum(part) > burn * (1 - slo) * windows * m + 1e-9
            and part[-1] > burn * (1 - slo) * m + 1e-9
            for part in (counts[1:], counts[:-1])
        )
        fires += mass * now
        starts += mass * (now and not before)
    return fires, starts


@pytest.mark.parametrize(
    ("m", "rate", "burn", "windows"),
    [(1, 0.3, 2.0, 4), (2, 0.2, 3.0, 5), (3, 0.1, 3.9, 4), (5, 0.3, 2.5, 3), (4, 0.4, 5.0, 2)],
)
def test_false_pages_by_listing_all_counts(m: int, rate: float, burn: float, windows: int) -> None:
    fires, starts = brute_probabilities(m, rate, 0.9, burn, windows)
    assert fire_probability(m, rate, 0.9, burn, windows) == pytest.approx(fires, rel=1e-9)
    assert page_start_probability(m, rate, 0.9, burn, windows) == pytest.approx(starts, rel=1e-9)


@given(st.integers(1, 60), st.floats(1e-4, 0.05))
def test_beginning_to_fire_is_rarer_than_firing_and_than_errors(m: int, rate: float) -> None:
    starts = page_start_probability(m, rate, 0.99, 14.4)
    assert 0 <= starts <= fire_probability(m, rate, 0.99, 14.4) * (1 + 1e-9)
    assert starts <= m * rate * (1 + 1e-9)


def test_an_alert_above_the_largest_burn_rate_never_fires() -> None:
    assert fire_probability(5, 0.9, 0.9, 10.0) == 0
    assert page_start_probability(5, 0.9, 0.9, 11.0) == 0
