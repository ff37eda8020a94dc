"""Bursts, overlaps and common causes against scipy, brute force and limits."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.definitions.slo_sla.outage_dependence import (
    _down_together,
    _share,
    pair_downtime_exceeds,
)


def test_share_of_months_has_the_binomial_error() -> None:
    point = _share(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), 3.0)
    error = math.sqrt(0.2 * 0.8 / 5)
    assert (point.mean, point.standard_error) == pytest.approx((0.2, error))
    assert point.half_width == pytest.approx(stats.norm.ppf(0.975) * error, rel=1e-3)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20)), max_size=12),
    st.integers(1, 4),
)
def test_down_together_counts_every_second(outages: list[tuple[int, int]], together: int) -> None:
    starts = [float(s) for s, _ in outages]
    ends = [float(s + n) for s, n in outages]
    edges = [5.0, 17.0, 30.0, 55.0]
    seconds = [
        sum(s <= x < e for s, e in zip(starts, ends, strict=True)) >= together for x in range(60)
    ]
    expected = [sum(seconds[int(a) : int(b)]) for a, b in pairwise(edges)]
    assert _down_together(starts, ends, together, edges).tolist() == expected


@given(st.floats(0, 2000), st.floats(0.1, 40), st.floats(10, 900), st.floats(0, 1))
def test_pair_equals_both_kinds_of_outages(
    allowed: float, mean: float, length: float, shared: float
) -> None:
    """Condition on the numbers of both kinds; sum their gamma distributions on a fine grid."""
    period = 2_592_000.0
    overlaps = 2 * ((1 - shared) * mean) ** 2 * length / period
    common = shared * mean
    # one kind at a time: a geometric number of phases of half the length is one common outage
    n = np.arange(0, 500)
    weights = stats.poisson.pmf(np.arange(0, 120), common)
    phases = np.zeros(500)
    for j, weight in enumerate(weights):
        extra = stats.nbinom.pmf(n - j, j, 0.5) if j else (n == 0).astype(float)
        phases += weight * extra
    phases = np.convolve(phases, stats.poisson.pmf(n, overlaps))[:500]
    expected = (phases[1:] * stats.gamma.sf(2 * allowed / length, n[1:])).sum()
    got = pair_downtime_exceeds(allowed, mean, length, period, shared)
    assert got == pytest.approx(expected, abs=1e-8)


def test_more_in_common_is_worse() -> None:
    risk = [pair_downtime_exceeds(259.2, 4.32, 600.0, 2_592_000.0, b) for b in np.linspace(0, 1, 9)]
    assert np.all(np.diff(risk) > 0)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((1.0, 101.0, 1.0, 1e6, 1.0), "common outages must be"),
    ],
)
def test_pair_refuses(arguments: tuple[float, float, float, float, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        pair_downtime_exceeds(*arguments)


def test_no_outages_no_downtime() -> None:
    assert pair_downtime_exceeds(0.0, 0.0, 60.0, 1e6, 0.5) == 0
    assert pair_downtime_exceeds(0.0, 100.0, 60.0, 1e6, 1.0) == pytest.approx(1)
