"""Thresholds and their costs: brute force over requests with known truth, edges, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.service.thresholded_decision import cost_threshold, escalated

COST = st.floats(0.01, 100.0)


@given(st.floats(0, 1), COST, COST)
def test_acting_from_the_threshold_on_is_the_cheaper_side(
    score: float, alarm: float, miss: float
) -> None:
    acts = bool(escalated([score], cost_threshold(alarm, miss))[0])
    chosen = (1 - score) * alarm if acts else score * miss
    assert chosen <= min((1 - score) * alarm, score * miss) * (1 + 1e-9) + 1e-12


def test_requests_whose_truth_is_known_cost_least_there() -> None:
    """Ten requests that score k/10 and of which k are positive are calibrated to the last one."""
    scores = np.repeat(np.arange(11) / 10, 10)
    positive = np.concatenate([np.arange(10) < k for k in range(11)])

    def cost(threshold: float) -> float:
        acts = escalated(scores, threshold)
        return float((2.0 * (acts & ~positive) + 3.0 * (~acts & positive)).sum())

    best = cost(cost_threshold(2.0, 3.0))
    assert all(best <= cost(float(other)) for other in np.linspace(0, 1, 41))


def test_threshold_itself_is_acted_upon() -> None:
    assert escalated([[0.69, 0.7], [0.71, 1.0]], 0.7).tolist() == [[False, True], [True, True]]
    assert escalated([], 0.5).tolist() == []


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_other_bad_input_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"scores must be in \[0, 1\]"):
        escalated([bad], 0.5)
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\]"):
        escalated([0.5], bad)
