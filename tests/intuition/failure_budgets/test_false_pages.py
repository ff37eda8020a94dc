"""False pages: brute force over all counts, scipy as oracle, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.intuition.failure_budgets.false_pages import (
    _of_random_traffic,
    failure_counts,
    false_pages,
)


@given(st.integers(1, 3000), st.floats(1e-5, 0.1), st.integers(1, 60))
def test_failures_that_come_alone_are_scipy(trials: int, p: float, most: int) -> None:
    got = failure_counts(trials, p, most)
    expected = stats.binom.pmf(np.arange(most), trials, p)
    np.testing.assert_allclose(got[:-1], expected, rtol=1e-8, atol=1e-200)
    assert got[-1] == pytest.approx(stats.binom.sf(most - 1, trials, p), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("requests", "rate", "clump"), [(5, 0.3, 2.0), (40, 0.05, 4.0)])
def test_clumps_are_sums_of_geometric_numbers(requests: int, rate: float, clump: float) -> None:
    most = 12
    causes = stats.binom.pmf(np.arange(requests + 1), requests, rate / clump)
    size = np.append(0.0, stats.geom.pmf(np.arange(1, most), 1 / clump))
    expected, together = np.zeros(most), np.append(1.0, np.zeros(most - 1))
    for chance in causes:
        expected += chance * together
        together = np.convolve(together, size)[:most]
    got = failure_counts(requests, rate, most, clump)
    np.testing.assert_allclose(got[:-1], expected, rtol=1e-9)
    assert got.sum() == pytest.approx(1)


@given(st.integers(1, 60), st.floats(1e-4, 0.05), st.floats(1, 5))
def test_a_page_begins_with_an_error(m: int, rate: float, clump: float) -> None:
    starts = false_pages(m, rate, 0.99, 14.4, clump=clump)
    assert 0 <= starts <= m * rate * (1 + 1e-9)
    assert false_pages(m, rate, 0.99, 14.4, least=30, clump=clump) <= starts * (1 + 1e-6) + 1e-12


def test_pages_of_random_traffic_by_all_that_may_come() -> None:
    """Failures and good requests of the newest window and of those before, each tried against the
    rule: 11 of the 12 windows of an hour are in the hour that ended five minutes earlier, too."""
    few, good, shared = (stats.poisson.pmf(np.arange(60), mean) for mean in (0.015, 14.985, 0.15))
    rest = stats.poisson.pmf(np.arange(300), 11 * 14.985)  # good requests of the windows of both
    failed, came, others = np.ix_(np.arange(7), np.arange(60), np.arange(300))
    begins = 0.0
    for middle, last in np.ndindex(7, 7):
        errors = middle + last + failed
        burns = (errors > 0.0144 * (errors + came + others)) & (errors >= 3)
        now = burns & (failed > 0.0144 * (failed + came))
        before = burns & (last > 0)
        page, paged = (np.einsum("fgo,f,g->o", x, few[:7], good) for x in (now, before))
        begins += shared[middle] * few[last] * (rest @ (page * (1 - paged)))
    assert _of_random_traffic(180, least=3) == pytest.approx(8640 * begins, rel=1e-6)
