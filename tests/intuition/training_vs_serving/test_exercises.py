"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.training_vs_serving.exercises import (
    headroom,
    implied_demand,
    replicas_by_hand,
)
from serving_mathematics.intuition.training_vs_serving.training_vs_serving import (
    ScalingLaw,
    compute_optimal_tokens,
    lifetime_optimum,
    loss,
)

from tests.intuition.training_vs_serving.test_training_vs_serving import LAWS, SIZES


@given(LAWS, SIZES, st.floats(1.01, 100.0))
def test_implied_demand_inverts_the_optimum(law: ScalingLaw, size: float, longer: float) -> None:
    tokens = longer * compute_optimal_tokens(law, size)
    best = lifetime_optimum(law, loss(law, size, tokens), implied_demand(law, size, tokens))
    assert best.parameters == pytest.approx(size, rel=1e-7)
    assert best.tokens == pytest.approx(tokens, rel=1e-7)


@given(st.floats(0.001, 0.02), st.floats(0.01, 1.0), st.floats(1.05, 5), st.floats(1.05, 5))
def test_headroom_is_where_the_law_meets_the_promise(
    alone: float, own: float, now: float, then: float
) -> None:
    rate, more = (1 - 1 / now) / own, (1 - 1 / then) / own
    told = headroom(rate, alone * now, alone, alone * then, 1.0, 1e9)
    assert told == pytest.approx(min(more, 0.9 / own), rel=1e-6)
    assert replicas_by_hand(3.5 * more, alone, own, alone * then) == 4


@given(st.floats(0.05, 0.9), st.integers(4, 512))
def test_headroom_ends_with_the_places(share: float, places: int) -> None:
    """Nine tenths of the rate at which Little's law fills them, whatever the load now."""
    alone, own, later = 0.01, 0.04, 200.0
    full = places / (later * alone + places * own)
    rate = share * full
    gap = alone / (1 - rate * own)
    told = headroom(rate, gap, alone, 1e3, rate * later * gap, places)
    assert told == pytest.approx(0.9 * full, rel=1e-6)


def test_dashboards_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="limit_s must be above"):
        headroom(6.0, 0.02, 0.012, 0.012, 1, 9)
    with pytest.raises(ValueError, match="own_s must be positive"):
        replicas_by_hand(6.0, 0.02, 0.0, 0.03)
