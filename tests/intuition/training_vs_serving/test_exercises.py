"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.training_vs_serving.exercises import (
    efficient,
    implied_demand,
    payback_tokens,
)
from serving_mathematics.intuition.training_vs_serving.training_vs_serving import (
    PRINTED,
    ScalingLaw,
    compute_optimal_tokens,
    forward_flops,
    lifetime_flops,
    lifetime_optimum,
    loss,
    tokens_for_loss,
)

from tests.intuition.training_vs_serving.test_training_vs_serving import LAWS, SIZES

BAD = [math.nan, math.inf, -1.0]


@given(LAWS, SIZES, st.floats(1.01, 100.0))
def test_implied_demand_inverts_the_optimum(law: ScalingLaw, size: float, longer: float) -> None:
    tokens = longer * compute_optimal_tokens(law, size)
    best = lifetime_optimum(law, loss(law, size, tokens), implied_demand(law, size, tokens))
    assert best.parameters == pytest.approx(size, rel=1e-7)
    assert best.tokens == pytest.approx(tokens, rel=1e-7)


def test_efficient_with_ties() -> None:
    assert efficient([5.0, 5.0, 5.0], [2.0, 1.0, 1.0]) == [1]
    assert efficient([1.0, 2.0], [3.0, 3.0]) == [1]
    assert efficient([9.0], [1.0]) == [0]


def test_payback_by_hand() -> None:
    assert payback_tokens(1.0, 30.0, 3.0, 8.0, 3.0) == pytest.approx((180 - 144) / (2 * 2 * 3))
    assert payback_tokens(1.0, 8.0, 3.0, 8.0) == 0.0


@pytest.mark.parametrize("bad", [*BAD, 0.0])
def test_sizes_and_tokens_are_positive(bad: float) -> None:
    with pytest.raises(ValueError, match="parameters must be positive"):
        forward_flops(bad)
    with pytest.raises(ValueError, match="parameters must be positive"):
        lifetime_flops(bad, 1.0)
    with pytest.raises(ValueError, match="tokens must be positive"):
        lifetime_flops(1.0, bad)
    with pytest.raises(ValueError, match="parameters must be positive"):
        loss(PRINTED, bad, 1.0)
    with pytest.raises(ValueError, match="tokens must be positive"):
        loss(PRINTED, 1.0, bad)
    with pytest.raises(ValueError, match="parameters must be positive"):
        compute_optimal_tokens(PRINTED, bad)
    with pytest.raises(ValueError, match="parameters must be positive"):
        tokens_for_loss(PRINTED, bad, 2.0)
    with pytest.raises(ValueError, match="small must be positive"):
        payback_tokens(bad, 1.0, 2.0, 1.0)
    with pytest.raises(ValueError, match="serving_price must be positive"):
        payback_tokens(1.0, 1.0, 2.0, 1.0, bad)


@pytest.mark.parametrize("bad", BAD)
def test_other_bad_numbers(bad: float) -> None:
    with pytest.raises(ValueError, match="layers must be"):
        forward_flops(1.0, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="context_tokens must be"):
        forward_flops(1.0, 1, bad, 1.0)
    with pytest.raises(ValueError, match="attention_width must be"):
        forward_flops(1.0, 1, 1.0, bad)
    with pytest.raises(ValueError, match="inference_tokens must be"):
        lifetime_flops(1.0, 1.0, bad)
    with pytest.raises(ValueError, match="inference_tokens must be"):
        lifetime_optimum(PRINTED, 2.0, bad)
    with pytest.raises(ValueError, match="target_loss must be"):
        tokens_for_loss(PRINTED, 1e9, bad)
    with pytest.raises(ValueError, match="target_loss must be"):
        lifetime_optimum(PRINTED, bad)
    with pytest.raises(ValueError, match="tokens must be finite"):
        implied_demand(PRINTED, 1e9, bad)
    with pytest.raises(ValueError, match="large must be finite"):
        payback_tokens(1.0, 1.0, bad, 1.0)


def test_bad_lists() -> None:
    with pytest.raises(ValueError, match="costs must be of shape"):
        efficient([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="qualities must be of shape"):
        efficient([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="costs must be finite"):
        efficient([1.0], [math.inf])
    with pytest.raises(ValueError, match="large must be finite and above 2"):
        payback_tokens(2.0, 1.0, 2.0, 1.0)
