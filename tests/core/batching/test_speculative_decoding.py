"""The formulas against sums and brute force over lengths, and their bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.speculative_decoding import (
    best_draft_length,
    expected_tokens,
    speedup,
)

ALPHAS, LENGTHS, COSTS = st.floats(0, 1), st.integers(0, 60), st.floats(0, 3)


@given(st.floats(0, 0.999), LENGTHS)
def test_closed_form_is_the_sum(alpha: float, gamma: int) -> None:
    summed = math.fsum(alpha**k for k in range(gamma + 1))
    assert expected_tokens(alpha, gamma) == pytest.approx(summed, rel=1e-12)


@given(ALPHAS, LENGTHS)
def test_tokens_are_between_one_and_all(alpha: float, gamma: int) -> None:
    tokens, rounding = expected_tokens(alpha, gamma), 1 + 1e-12
    assert tokens * rounding >= 1
    assert tokens <= (gamma + 1) * rounding
    assert expected_tokens(alpha, gamma + 1) * rounding >= tokens
    if alpha < 1:
        assert tokens <= 1 / (1 - alpha) + 1e-9
    assert expected_tokens(1.0, gamma) == gamma + 1
    assert expected_tokens(0.0, gamma) == 1


@given(ALPHAS, LENGTHS, COSTS)
def test_speed(alpha: float, gamma: int, cost: float) -> None:
    tokens = expected_tokens(alpha, gamma)
    assert speedup(alpha, gamma, cost) * (1 + gamma * cost) == pytest.approx(tokens)
    assert speedup(alpha, 0, cost) == 1


@given(st.floats(0, 0.97), st.floats(0.005, 2))
def test_best_length_is_best(alpha: float, cost: float) -> None:
    found = best_draft_length(alpha, cost)
    best = max(speedup(alpha, gamma, cost) for gamma in range(400))
    assert speedup(alpha, found, cost) == pytest.approx(best, rel=1e-12)
    if alpha <= cost:
        assert found == 0
    elif alpha > cost * (1 + 1e-9):
        assert found >= 1
        assert best >= (1 + alpha) / (1 + cost) - 1e-12
