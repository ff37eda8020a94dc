"""Differences of pairs, minutes and answers: scipy and brute force as oracles, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from serving_mathematics.architecture.shadow_canary.paired_means import (
    _quality_harm,
    time_harm,
)


def score(w: int, r: int, n: int, loss: float) -> float:
    """z of the hypothesis “the loss is this”, with the likeliest shares under it."""

    def unlikely(q: float) -> float:
        p = q + loss
        parts = ((w, p), (r, q), (n - w - r, 1 - p - q))
        return -sum(k * math.log(x) for k, x in parts if k)

    lowest, highest = max(0.0, -loss) + 1e-13, (1 - loss) / 2 - 1e-13
    q = optimize.minimize_scalar(
        unlikely, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}
    ).x
    return float((w - r - n * loss) / math.sqrt(n * (2 * q + loss - loss**2)))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(85, 3000), st.floats(0.001, 0.4))
def test_quality_bounds_invert_the_score_test(w: int, r: int, n: int, level: float) -> None:
    got = _quality_harm(w, r, n, level)
    z = stats.norm.isf(level)
    assert got[0] < (w - r) / n < got[1]
    assert score(w, r, n, got[0]) == pytest.approx(z, abs=1e-4)
    assert score(w, r, n, got[1]) == pytest.approx(-z, abs=1e-4)
    mirrored = _quality_harm(r, w, n, level)
    assert mirrored == pytest.approx((-got[1], -got[0]), abs=1e-9)


def test_quality_bounds_without_discordant_pairs_are_wilsons() -> None:
    for pairs in (1, 500):
        wilson = stats.binomtest(0, pairs).proportion_ci(0.9, method="wilson").high
        assert _quality_harm(0, 0, pairs, 0.05) == pytest.approx((-wilson, wilson), abs=1e-9)


@given(st.integers(5, 40), st.floats(0.005, 0.4))
def test_time_bounds_are_student_s_of_the_logarithms(minutes: int, level: float) -> None:
    rng = np.random.default_rng(minutes)
    old, new = rng.lognormal(-4, 0.1, minutes), rng.lognormal(-3.9, 0.1, minutes)
    interval = stats.ttest_rel(np.log(new), np.log(old)).confidence_interval(1 - 2 * level)
    low, high = time_harm(old, new, level)
    expected = pytest.approx((interval.low, interval.high), rel=1e-5)
    assert (math.log1p(low), math.log1p(high)) == expected
    unit = time_harm(1000 * old, 1000 * new, level)
    assert unit == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [([1.0], [2.0], "baseline_s must be of shape"), ([1.0, 2.0], [1.0], "candidate_s must be of")],
)
def test_times_of_another_shape_are_refused_by_their_own_name(
    old: list[float], new: list[float], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        time_harm(old, new, 0.05)
