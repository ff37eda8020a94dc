"""Calibration, frontier, threshold and paired differences: oracles, properties, refusals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats
from serving_mathematics.architecture.model_routers.digits_cascade import (
    LARGE,
    MIDDLE,
    SMALL,
    Frontier,
    cascade_frontier,
    choose_threshold,
    confidences,
    fit_temperature,
    multiplications,
    paired_difference,
)
from serving_mathematics.core.classifiers.digits_classifier import Classifier

OUTCOMES = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), st.booleans()), min_size=1, max_size=40
)


def test_confidences_are_scipys() -> None:
    z = np.random.default_rng(0).normal(0, 50, (20, 10))
    for temperature in (0.5, 1.0, 30.0):
        expected = special.softmax(z / temperature, axis=1).max(axis=1)
        np.testing.assert_allclose(confidences(z, temperature), expected, rtol=1e-12)
    assert confidences([[1e4, -1e4]]).tolist() == [1.0]


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_temperature_minimizes_the_log_loss(true: float) -> None:
    """Labels drawn at a temperature; the fit agrees with scipy's minimum and with the truth."""
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, (4000, 5))
    labels = (special.softmax(z / true, axis=1).cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)

    def loss(log_t: float) -> float:
        return -float(
            special.log_softmax(z / math.exp(log_t), axis=1)[np.arange(4000), labels].mean()
        )

    best = optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    got = fit_temperature(z, labels)
    assert got == pytest.approx(math.exp(best.x), rel=1e-4)
    assert got == pytest.approx(true, rel=0.1)


def test_temperature_stays_in_its_range() -> None:
    assert fit_temperature([[1.0, 0.0]], [0]) == pytest.approx(0.01, rel=1e-6)
    assert fit_temperature([[1.0, 0.0]], [1]) == pytest.approx(100.0, rel=1e-6)


@given(OUTCOMES)
def test_frontier_is_a_loop(outcomes: list[tuple[float, bool, bool]]) -> None:
    p, small, large = (np.array(column) for column in zip(*outcomes, strict=True))
    frontier = cascade_frontier(p, small, large)
    assert isinstance(frontier, Frontier)
    assert frontier.thresholds[-1] == math.inf
    for threshold, deferred, accuracy in zip(
        frontier.thresholds, frontier.deferred, frontier.accuracy, strict=True
    ):
        assert deferred == pytest.approx(np.mean(p < threshold))
        assert accuracy == pytest.approx(np.mean(np.where(p < threshold, large, small)))
    assert frontier.deferred[0] == 0.0
    assert frontier.deferred[-1] == 1.0


@given(OUTCOMES, st.floats(0, 1))
def test_threshold_is_the_lowest_that_is_good_enough(
    outcomes: list[tuple[float, bool, bool]], tolerance: float
) -> None:
    p, small, large = (np.array(column) for column in zip(*outcomes, strict=True))
    frontier = cascade_frontier(p, small, large)
    threshold = choose_threshold(frontier, tolerance)
    floor = large.mean() - tolerance - 1e-9
    assert np.where(p < threshold, large, small).mean() >= floor
    for lower in frontier.thresholds[frontier.thresholds < threshold]:
        assert np.where(p < lower, large, small).mean() < floor + 2e-9


def test_tolerance_is_inclusive() -> None:
    frontier = cascade_frontier([0.9, 0.8, 0.7, 0.6], [True, True, True, False], [True] * 4)
    assert choose_threshold(frontier) == 0.7
    assert choose_threshold(frontier, 0.25) == 0.6
    assert choose_threshold(frontier, 0.24) == 0.7


def test_paired_difference_is_the_paired_t_statistic() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random(300) < 0.9, rng.random(300) < 0.85
    got = paired_difference(first, second)
    test = stats.ttest_rel(first.astype(float), second.astype(float))
    assert got.mean / got.standard_error == pytest.approx(test.statistic)
    assert got.half_width == pytest.approx(1.959964 * got.standard_error, rel=1e-6)
    assert paired_difference(first, first).standard_error == 0.0


def test_multiplications_are_the_weights() -> None:
    for hidden in (SMALL, MIDDLE, LARGE):
        widths = [64, hidden, 10] if hidden else [64, 10]
        layers = tuple((np.zeros((a, b)), np.zeros(b)) for a, b in itertools.pairwise(widths))
        biases = sum(b.size for _, b in layers)
        assert multiplications(hidden) == Classifier(layers).parameters - biases


def test_answers_are_refused() -> None:
    for bad in ([1], [True, True], [[True]]):
        with pytest.raises(ValueError, match="small_right must be booleans"):
            cascade_frontier([0.5], bad, [True])
        with pytest.raises(ValueError, match="large_right must be booleans"):
            cascade_frontier([0.5], [True], bad)
    with pytest.raises(ValueError, match="first_right must be two or more"):
        paired_difference([True], [True])
    with pytest.raises(ValueError, match="first_right must be booleans"):
        paired_difference([1, 0], [True, True])
    with pytest.raises(ValueError, match="second_right must be booleans"):
        paired_difference([True, True], [True])
