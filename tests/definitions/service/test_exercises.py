"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.service.exercises import (
    merged_quantile,
    reviewable_threshold,
    with_fallback,
)
from serving_mathematics.definitions.service.service import (
    Service,
)
from serving_mathematics.definitions.service.thresholded_decision import expected_cost

from tests.definitions.service.test_service import (
    CELLS,
    FloatArray,
    assert_same,
    outcomes,
    services,
)


@given(
    st.lists(st.lists(st.integers(0, 20), min_size=4, max_size=4), min_size=1, max_size=5),
    st.floats(0.05, 0.95),
)
def test_merged_quantile_has_its_share_below(counts: list[list[int]], q: float) -> None:
    bounds = np.array([0.5, 1.0, 2.0, 5.0])
    merged = np.array(counts).sum(axis=0)
    if merged.sum() == 0:
        return
    value = merged_quantile(bounds, counts, q)
    spread = np.interp(value, [0.0, *bounds], np.concatenate([[0], np.cumsum(merged)]))
    assert spread == pytest.approx(q * merged.sum())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]], [[1]], 0.5), r"bounds_s must be of shape \(b,\)"),
        (([0.0, 1.0], [[1, 1]], 0.5), "bounds_s must be positive and finite and rising"),
        (([1.0, 1.0], [[1, 1]], 0.5), "bounds_s must be positive and finite and rising"),
        (([1.0, math.inf], [[1, 1]], 0.5), "bounds_s must be positive and finite and rising"),
        (([1.0, 2.0], [1, 1], 0.5), r"counts must be of shape \(replicas, 2\)"),
        (([1.0, 2.0], [[1]], 0.5), r"counts must be of shape \(replicas, 2\)"),
        (([1.0, 2.0], [[1, -1]], 0.5), "counts must be non-negative and finite"),
        (([1.0, 2.0], [[1, math.nan]], 0.5), "counts must be non-negative and finite"),
        (([1.0, 2.0], [[1, 1]], 1.0), r"probability must be in \(0, 1\)"),
        (([1.0, 2.0], [[0, 0]], 0.5), "counts must be of one request or more"),
    ],
)
def test_bad_histograms_are_refused(
    arguments: tuple[list[float], list[list[float]], float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        merged_quantile(*arguments)


@given(services(), services(), st.integers(1, CELLS - 1))
def test_fallback_by_enumeration(primary: Service, spare: Service, timeout: int) -> None:
    results, leaving = [], 1.0
    for cell, ok, p in outcomes(primary):
        if cell > timeout:
            continue
        leaving -= p
        if ok:
            results.append((cell, True, p))
        else:
            results += [(cell + k, o, p * q) for k, o, q in outcomes(spare)]
    results += [(timeout + k, o, leaving * q) for k, o, q in outcomes(spare)]
    combined = with_fallback(primary, spare, timeout)
    assert_same(combined, results)
    in_time = float(primary.ok[: timeout + 1].sum())
    assert combined.cost == pytest.approx(primary.cost + (1 - in_time) * spare.cost)


def test_bad_fallbacks_are_refused() -> None:
    two = Service(np.array([0.5, 0.5]), np.zeros(2), 1.0, 0.0)
    for timeout in (0, 2, 0.5, math.nan):
        with pytest.raises(ValueError, match=r"timeout_cells must be an integer in \[1, 2\)"):
            with_fallback(two, two, timeout)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fallback must be on the grid"):
        with_fallback(two, Service(two.ok, two.failed, 2.0, 0.0), 1)


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=12),
    st.integers(0, 12),
    st.floats(0.1, 10.0),
    st.floats(0.1, 10.0),
)
def test_no_fitting_threshold_is_cheaper(
    twentieths: list[int], capacity: int, alarm: float, miss: float
) -> None:
    scores = np.array(twentieths) / 20
    chosen = reviewable_threshold(scores, capacity, alarm, miss)
    none = float((scores * miss).mean())
    cost = none if chosen > 1 else expected_cost(scores, chosen, alarm, miss)
    assert (scores >= chosen).sum() <= capacity
    others = [expected_cost(scores, t, alarm, miss) for t in scores if _fits(scores, t, capacity)]
    assert cost <= min([none, *others]) + 1e-12


def _fits(scores: FloatArray, threshold: float, capacity: int) -> bool:
    return int((scores >= threshold).sum()) <= capacity


def test_reviewable_threshold_edges() -> None:
    assert reviewable_threshold([0.9, 0.9], 1, 1.0, 9.0) == math.inf
    assert reviewable_threshold([0.9, 0.9, 0.2], 2, 1.0, 9.0) == 0.9
    assert reviewable_threshold([0.9, 0.9], 2, 1.0, 9.0) == 0.1
    with pytest.raises(ValueError, match=r"scores must be of shape \(n,\)"):
        reviewable_threshold([], 1, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"scores must be in \[0, 1\]"):
        reviewable_threshold([1.2], 1, 1.0, 1.0)
    for capacity in (-1, 0.5, math.nan):
        with pytest.raises(ValueError, match="capacity must be a non-negative integer"):
            reviewable_threshold([0.5], capacity, 1.0, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="false_positive_cost must be positive"):
        reviewable_threshold([0.5], 1, 0.0, 1.0)
