"""Thresholds and their costs: brute force over requests with known truth, edges, errors."""

from __future__ import annotations

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


def test_threshold_itself_is_acted_upon() -> None:
    assert escalated([[0.69, 0.7], [0.71, 1.0]], 0.7).tolist() == [[False, True], [True, True]]
    assert escalated([], 0.5).tolist() == []
