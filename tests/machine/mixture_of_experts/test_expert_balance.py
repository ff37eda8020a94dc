"""Experts over devices: a dense model as oracle, limits, draws, records."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.machine.mixture_of_experts.expert_balance import (
    _by_chance,
    _measured,
    _skewed,
    compute_bound_tokens,
    example,
)
from serving_mathematics.machine.predictions.exercises import ridge_tokens


@given(st.integers(1, 400), st.floats(0.5, 4), st.data())
def test_sparse_layers_need_as_many_more_tokens(
    experts: int, size: float, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(1, experts))
    part = FeedForward(0, 1, experts, chosen)
    dense = ridge_tokens(989e12, 3.35e12, size)
    found = compute_bound_tokens(part, size, 3.35e12, 989e12)
    assert found == pytest.approx(dense * experts / chosen)


def test_at_that_many_tokens_both_times_are_equal() -> None:
    part = FeedForward(0, 7e6, 64, 4)  # type: ignore[arg-type]
    tokens = compute_bound_tokens(part, 1.0, 8e12, 4e15)
    read = 64 * 7e6 * 1.0 / 8e12
    assert 2 * tokens * 4 * 7e6 / 4e15 == pytest.approx(read)


def test_chance_evens_out_and_skew_does_not() -> None:
    assert _by_chance(32, 8)[0] > _by_chance(512, 8)[0] > 1
    assert _by_chance(128, 64)[0] > _by_chance(128, 8)[0]
    assert _skewed(2048) > 1.3 > _by_chance(2048, 8)[0]


def test_chance_of_one_device_and_of_one_token() -> None:
    assert _by_chance(64, 1) == (1.0, 0.0)
    # one token of eight choices over 256 devices: eight of them have one, 32 times the mean
    assert _by_chance(1, 256)[0] == pytest.approx(32)


def test_chance_is_known_to_its_error() -> None:
    """1.126 and 1.62 were found with four thousand draws each."""
    for devices, expected in ((8, 1.126), (64, 1.617)):
        told, error = _by_chance(128, devices)
        assert 0 < error < 0.02
        assert told == pytest.approx(expected, abs=4 * error)


def test_numbers_of_the_page() -> None:
    told = example()
    assert told.measured_2048 == _measured(2048)
    assert told.sparse_ridge == pytest.approx(48 * told.dense_ridge)
    assert told.out_us < told.back_us


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_numbers_are_named(bad: float) -> None:
    part = FeedForward(0, 1, 8, 2)
    with pytest.raises(ValueError, match="bytes_a_value must be positive and finite"):
        compute_bound_tokens(part, bad, 1e12, 1e15)
    with pytest.raises(ValueError, match="part must be a layer with experts"):
        compute_bound_tokens(FeedForward(3), 2, 1e12, 1e15)
