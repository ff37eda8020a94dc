"""Softmax, thresholds and their costs: scipy, brute force, properties and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats
from serving_mathematics.definitions.service.thresholded_decision import (
    at_temperature,
    cost_threshold,
    escalated,
    expected_cost,
    incurred_costs,
    softmax,
)

LOGITS = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=6)
COST = st.floats(0.01, 100.0)


@given(LOGITS, st.floats(-1e4, 1e4))
def test_softmax_is_scipys_and_ignores_a_shift(logits: list[float], shift: float) -> None:
    result = softmax(logits)
    assert result.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(result, special.softmax(logits), atol=1e-14)
    np.testing.assert_allclose(softmax(np.array(logits) + shift), result, atol=1e-11)


def test_softmax_of_many_rows_is_softmax_of_each() -> None:
    rows = np.random.default_rng(1).normal(0, 500, (3, 4, 5))
    result = softmax(rows)
    for index in np.ndindex(3, 4):
        np.testing.assert_allclose(result[index], special.softmax(rows[index]), rtol=1e-10)
    assert softmax([[0.0], [5.0]]).tolist() == [[1.0], [1.0]]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), COST, COST, st.floats(0, 1))
def test_no_threshold_is_cheaper(
    scores: list[float], alarm: float, miss: float, other: float
) -> None:
    best = cost_threshold(alarm, miss)
    lowest = expected_cost(scores, best, alarm, miss)
    assert lowest <= expected_cost(scores, other, alarm, miss) + 1e-12
    each = [min((1 - p) * alarm, p * miss) for p in scores]  # act where acting is cheaper
    assert lowest == pytest.approx(float(np.mean(each)), abs=1e-12)


def test_expected_cost_of_beta_scores() -> None:
    law, threshold = stats.beta(2, 5), 0.3
    scores = law.ppf((np.arange(20_000) + 0.5) / 20_000)
    missed, _ = integrate.quad(lambda p: p * law.pdf(p), 0, threshold)
    alarms, _ = integrate.quad(lambda p: (1 - p) * law.pdf(p), threshold, 1)
    expected = 4 * alarms + 7 * missed
    assert expected_cost(scores, threshold, 4.0, 7.0) == pytest.approx(expected, rel=1e-3)


def test_incurred_costs_average_to_the_expected_cost() -> None:
    """Ten requests that score k/10 and of which k are positive are calibrated to the last one."""
    scores = np.repeat(np.arange(11) / 10, 10)
    positive = np.concatenate([np.arange(10) < k for k in range(11)])
    for threshold in (0.0, 0.25, 0.5, 1.0):
        incurred = incurred_costs(scores, positive, threshold, 2.0, 3.0).mean()
        assert incurred == pytest.approx(expected_cost(scores, threshold, 2.0, 3.0))


@given(st.floats(0.001, 0.999), st.floats(0.1, 10.0))
def test_temperature_divides_the_logit(p: float, temperature: float) -> None:
    expected = special.expit(special.logit(p) / temperature)
    assert at_temperature([p], temperature)[0] == pytest.approx(expected, rel=1e-10)
    back = at_temperature(at_temperature([p], 2.0), 0.5)[0]
    assert back == pytest.approx(p, rel=1e-9)
    two_classes = softmax([0.0, special.logit(p) / temperature])[1]
    assert at_temperature([p], temperature)[0] == pytest.approx(two_classes, rel=1e-9)


def test_threshold_itself_is_acted_upon() -> None:
    assert escalated([[0.69, 0.7], [0.71, 1.0]], 0.7).tolist() == [[False, True], [True, True]]
    assert escalated([], 0.5).tolist() == []
    assert incurred_costs([0.7], [False], 0.7, 5.0, 1.0).tolist() == [5.0]
    assert expected_cost([0.7], 0.7, 5.0, 1.0) == pytest.approx(1.5)


def test_other_bad_input_is_refused() -> None:
    for empty in (np.array([]), np.array(3.0)):
        with pytest.raises(ValueError, match="logits must be an array of one class or more"):
            softmax(empty)
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="logits must be finite"):
            softmax([0.0, bad])
    with pytest.raises(ValueError, match="scores must be one or more"):
        expected_cost([], 0.5, 1.0, 1.0)
    for truth in ([1, 0], [True], [[True, False]]):
        with pytest.raises(ValueError, match=r"positive must be booleans of shape \(2,\)"):
            incurred_costs([0.1, 0.2], truth, 0.5, 1.0, 1.0)
    for edge in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"scores must be in \(0, 1\)"):
            at_temperature([edge], 2.0)
