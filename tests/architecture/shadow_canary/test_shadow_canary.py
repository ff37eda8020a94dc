"""Sizes of a canary and bounds of error rates: oracles, limits, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.architecture.shadow_canary.shadow_canary import (
    _error_harm,
    canary_answers,
    samples_per_arm,
)


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.floats(0.01, 0.2), st.floats(0.5, 0.99))
def test_samples_have_the_power_of_the_normal_model(
    old: float, new: float, alpha: float, power: float
) -> None:
    if abs(old - new) < 1e-3:
        return
    n, pooled = samples_per_arm(old, new, alpha, power), (old + new) / 2
    limit = stats.norm.ppf(1 - alpha / 2) * math.sqrt(2 * pooled * (1 - pooled) / n)
    for count, comparison in ((n, np.greater_equal), (n - 1, np.less_equal)):
        error = math.sqrt((old * (1 - old) + new * (1 - new)) / count)
        reached = stats.norm.sf((limit * math.sqrt(n / count) - abs(new - old)) / error)
        assert comparison(reached, power) or reached == pytest.approx(power, abs=1e-9)
    assert samples_per_arm(new, old, alpha, power) == n


@given(st.floats(0.001, 0.999))
def test_a_canary_has_the_power_of_the_normal_model(share: float) -> None:
    """m answers of the new version and m(1 − f)/f of the old one; near rates are as means."""
    old, new, answers = 0.01, 0.02, canary_answers(0.01, 0.02, share)
    pooled = share * new + (1 - share) * old
    for count, comparison in ((answers, np.greater_equal), (answers - 1, np.less_equal)):
        others = count * (1 - share) / share
        limit = stats.norm.ppf(0.975) * math.sqrt(pooled * (1 - pooled) * (1 / count + 1 / others))
        error = math.sqrt(new * (1 - new) / count + old * (1 - old) / others)
        reached = stats.norm.sf((limit - (new - old)) / error)
        assert comparison(reached, 0.8) or reached == pytest.approx(0.8, abs=1e-9)
    assert canary_answers(0.01, 0.02) == samples_per_arm(0.01, 0.02)
    alike = canary_answers(0.5, 0.501, share) * 2 * (1 - share)
    assert alike == pytest.approx(samples_per_arm(0.5, 0.501), rel=0.01)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(50, 2000), st.floats(0.001, 0.4))
def test_error_bounds_are_newcombe_from_scipy(old: int, new: int, n: int, level: float) -> None:
    m = 2 * n
    a = stats.binomtest(old, n).proportion_ci(1 - 2 * level, method="wilson")
    b = stats.binomtest(new, m).proportion_ci(1 - 2 * level, method="wilson")
    p, q = old / n, new / m
    got = _error_harm(old, n, new, m, level)
    assert got[0] == pytest.approx(q - p - math.hypot(q - b.low, a.high - p), abs=1e-9)
    assert got[1] == pytest.approx(q - p + math.hypot(b.high - q, p - a.low), abs=1e-9)
