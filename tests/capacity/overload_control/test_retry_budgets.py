"""Throttling and token buckets at their edges, and against plain re-implementations."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.overload_control.retry_budgets import (
    retries_allowed,
    retry_tokens,
    throttle_probability,
    throttled_rate,
    tolerated_failures,
)


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(1, 5))
def test_throttle_is_a_probability(requests: int, share: float, multiplier: float) -> None:
    accepts = share * requests
    probability = throttle_probability(requests, accepts, multiplier)
    assert 0 <= probability < 1
    if requests <= multiplier * accepts:
        assert probability == 0
    else:
        assert probability == pytest.approx((requests - multiplier * accepts) / (requests + 1))


def test_throttle_before_the_first_request() -> None:
    assert throttle_probability(0, 0) == 0.0
    assert throttle_probability(1, 0) == 0.5


@given(st.floats(0, 1e6), st.floats(0.1, 1e6), st.floats(1, 10))
def test_throttled_rate_is_consistent(offered: float, capacity: float, multiplier: float) -> None:
    sent = throttled_rate(offered, capacity, multiplier)
    assert sent == min(offered, multiplier * min(sent, capacity)) or sent == pytest.approx(offered)
    assert sent <= offered


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 20), st.integers(1, 3000))
def test_tokens_exactly(outcomes: list[bool], full: int, thousandths: int) -> None:
    left, expected = Fraction(full), []
    for success in outcomes:
        left += Fraction(thousandths, 1000) if success else -1
        left = max(Fraction(0), min(Fraction(full), left))
        expected.append(float(left))
    tokens = retry_tokens(outcomes, full, thousandths / 1000)
    assert tokens.tolist() == pytest.approx(expected)
    exact = [Fraction(value).limit_denominator(1000) > Fraction(full, 2) for value in expected]
    assert retries_allowed(tokens, full).tolist() == exact


def test_tokens_do_not_drift() -> None:
    """Ten tenths are a token: the half is not crossed by rounding."""
    tokens = retry_tokens([False] * 6 + [True] * 10, 10, 0.1)
    assert tokens[-1] == 5.0
    assert not retries_allowed(tokens, 10)[-1]


def test_failures_in_a_row_until_retries_stop() -> None:
    for full, stop in ((10, 5), (5, 3), (1, 1)):
        allowed = retries_allowed(retry_tokens([False] * full, full, 0.1), full)
        assert int(np.argmin(allowed)) + 1 == stop


@given(st.floats(0.001, 100))
def test_tolerated_failures_balance(ratio: float) -> None:
    share = tolerated_failures(ratio)
    assert share * 1 == pytest.approx((1 - share) * ratio)


def test_ranges_are_refused() -> None:
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="requests must be non-negative and finite"):
            throttle_probability(bad, 0)
        with pytest.raises(ValueError, match="offered_rate must be non-negative and finite"):
            throttled_rate(bad, 1.0)
    for bad in (-1.0, 11.0, math.nan):
        with pytest.raises(ValueError, match=r"accepts must be in \[0, 10\]"):
            throttle_probability(10, bad)
    for bad in (0.99, math.nan, math.inf):
        with pytest.raises(ValueError, match="multiplier must be finite and at least 1"):
            throttle_probability(10, 5, bad)
        with pytest.raises(ValueError, match="multiplier must be finite and at least 1"):
            throttled_rate(10, 5, bad)
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="capacity must be positive and finite"):
            throttled_rate(1.0, bad)
        with pytest.raises(ValueError, match="token_ratio must be positive and finite"):
            tolerated_failures(bad)
        with pytest.raises(ValueError, match="token_ratio must be a positive multiple"):
            retry_tokens([], 4, bad)
    with pytest.raises(ValueError, match="token_ratio must be a positive multiple"):
        retry_tokens([], 4, 1.0005)
    wrong: list[Any] = [0, 1.5, math.nan, math.inf]
    for size in wrong:
        with pytest.raises(ValueError, match="max_tokens must be a positive integer"):
            retry_tokens([True], size, 0.1)
    for tokens in ([-0.1], [4.1], [math.nan]):
        with pytest.raises(ValueError, match=r"tokens must be in \[0, 4\]"):
            retries_allowed(tokens, 4)
