"""Looking early: multivariate normal rectangles as oracle, monotony, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.architecture.shadow_canary.repeated_looks import (
    crossing_probability,
    pocock_constant,
)


@given(st.lists(st.floats(0.3, 4.0), min_size=2, max_size=2), st.floats(-3, 3))
def test_two_looks_are_a_bivariate_rectangle(thresholds: list[float], effect: float) -> None:
    mean = effect * np.array([math.sqrt(0.5), 1.0])
    law = stats.multivariate_normal(mean, [[1, math.sqrt(0.5)], [math.sqrt(0.5), 1]])
    bound = np.array(thresholds)
    inside = law.cdf(bound, lower_limit=-bound)
    assert crossing_probability(thresholds, effect) == pytest.approx(1 - inside, abs=2e-5)


@given(st.floats(0.1, 6), st.floats(-4, 4))
def test_one_look_is_the_normal_tail(threshold: float, effect: float) -> None:
    expected = stats.norm.sf(threshold - effect) + stats.norm.cdf(-threshold - effect)
    assert crossing_probability([threshold], effect) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.floats(1.0, 3.0), min_size=1, max_size=8))
def test_another_look_only_adds(thresholds: list[float]) -> None:
    fewer = crossing_probability(thresholds)
    more = crossing_probability([*thresholds, 2.0])
    single = max(2 * stats.norm.sf(c) for c in thresholds)
    assert single - 1e-9 <= fewer < more <= sum(2 * stats.norm.sf(c) for c in [*thresholds, 2.0])


def test_pocock_constant_inverts_the_recursion() -> None:
    for looks, alpha in ((1, 0.05), (7, 0.01), (30, 0.2)):
        constant = pocock_constant(looks, alpha)
        assert crossing_probability([constant] * looks) == pytest.approx(alpha, abs=1e-9)
    assert pocock_constant(10) > pocock_constant(5) > pocock_constant(5, 0.1)


def test_the_widest_bounds_are_resolved() -> None:
    """Many looks far out: between the single tail and the sum of tails, where a fixed number of
    nodes gave probabilities below 0."""
    for threshold, looks in ((4.0, 200), (6.0, 100), (5.0, 120), (9.0, 40)):
        tail = 2 * stats.norm.sf(threshold)
        got = crossing_probability([threshold] * looks)
        assert tail - 1e-9 < got < looks * tail + 1e-9
    assert crossing_probability([12.0] * 3) == pytest.approx(0, abs=1e-12)
    assert crossing_probability([pocock_constant(60, 1e-4)] * 60) == pytest.approx(1e-4, abs=1e-9)
    assert pocock_constant(1, 1e-4) == pytest.approx(stats.norm.isf(0.5e-4), abs=1e-6)
    assert pocock_constant(1, 0.5) == pytest.approx(stats.norm.isf(0.25), abs=1e-9)


def test_one_number_is_no_list_of_looks() -> None:
    for bad in (1.96, [[1.96]], "1.96"):
        with pytest.raises(ValueError, match="thresholds must be a list with one number for every"):
            crossing_probability(bad)  # type: ignore[arg-type]
