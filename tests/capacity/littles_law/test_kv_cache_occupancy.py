"""Weighted Little's law on the key-value cache."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from serving_mathematics.capacity.littles_law.kv_cache_occupancy import (
    _residence_s,
    _tokens_in_cache,
    mean_held,
    token_seconds,
)
from serving_mathematics.capacity.littles_law.littles_law import mean_in_flight


@given(st.integers(0, 5000), st.integers(1, 400), st.floats(0, 5), st.floats(0, 0.5))
def test_token_seconds_is_a_sum_over_tokens(
    prompt: int, output: int, prefill: float, interval: float
) -> None:
    stays = [prefill + (output - 1) * interval] * prompt
    stays += [(output - k) * interval for k in range(1, output + 1)]
    expected = math.fsum(stays)
    assert float(token_seconds(prompt, output, prefill, interval)) == pytest.approx(expected)


@given(st.integers(0, 50), st.integers(2, 12), st.floats(0.1, 2), st.floats(0.1, 0.5))
def test_token_seconds_is_the_area_of_the_path(
    prompt: int, output: int, prefill: float, interval: float
) -> None:
    """Integrate what one request holds between the moments at which it changes."""
    jumps = [0.0] + [prefill + k * interval for k in range(output)]
    middles = (np.array(jumps[1:]) + np.array(jumps[:-1])) / 2
    held = _tokens_in_cache([0.0], [prompt], [output], prefill, interval, middles)
    area = float(held @ np.diff(jumps))
    assert area == pytest.approx(float(token_seconds(prompt, output, prefill, interval)))


def test_path_adds_requests_and_forgets_them() -> None:
    at = [-0.1, 0.0, 1.0, 1.6, 2.0, 2.6, 3.1]
    found = _tokens_in_cache([0.0, 1.5], [10, 100], [3, 2], 1.0, 0.5, at)
    assert found.tolist() == [0, 10, 11, 112, 100, 101, 0]


def test_single_token_holds_only_its_prompt() -> None:
    assert float(token_seconds(50, 1, 0.4, 0.1)) == pytest.approx(20.0)
    assert _residence_s(1, 0.4, 0.1) == 0.4


def test_shapes_broadcast() -> None:
    found = token_seconds([0, 100], [[1], [3]], 1.0, 0.5)
    assert found.tolist() == [[0.0, 100.0], [1.5, 201.5]]


def test_many_small_tokens_approach_the_integral() -> None:
    """τ → 0 with oτ fixed: the output ramps linearly, ∫ u du = (oτ)²/2 in units of 1/τ."""
    output, length = 100_000, 4.0
    interval = length / output
    ramp = integrate.quad(lambda u: u / interval, 0, length)[0]
    assert float(token_seconds(0, output, 0.0, interval)) == pytest.approx(ramp, rel=2e-5)


@given(st.floats(0, 100), st.lists(st.floats(0, 50), min_size=1, max_size=20))
def test_weight_one_is_littles_law(rate: float, sojourns: list[float]) -> None:
    expected = mean_in_flight(rate, float(np.mean(sojourns)))
    assert mean_held(rate, sojourns) == pytest.approx(expected)


def test_empty_prompts_samples_and_mismatched_paths_are_refused() -> None:
    with pytest.raises(ValueError, match="prompt_tokens must be non-empty"):
        token_seconds([], 1, 0.1, 0.1)
    for bad in ([], [math.nan], [math.inf]):
        with pytest.raises(ValueError, match="held_over_life must be non-empty and finite"):
            mean_held(1.0, bad)
    with pytest.raises(ValueError, match="admitted_s must be of shape"):
        _tokens_in_cache([0.0], [1, 2], [1], 0.1, 0.1, [0.0])
    with pytest.raises(ValueError, match="admitted_s must be of shape"):
        _tokens_in_cache(0.0, 1, 1, 0.1, 0.1, [0.0])
    with pytest.raises(ValueError, match="admitted_s must be of shape"):
        _tokens_in_cache([0.0, 1.0], [1, 2], [1], 0.1, 0.1, [0.0])
    with pytest.raises(ValueError, match="token_interval_s must be positive"):
        _tokens_in_cache([0.0], [1], [1], 0.1, 0.0, [0.0])
    with pytest.raises(ValueError, match="at must be finite"):
        _tokens_in_cache([0.0], [1], [1], 0.1, 0.1, [math.nan])
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="admitted_s must be finite"):
            _tokens_in_cache([bad], [1], [1], 0.1, 0.1, [0.0])
    for bad in (math.nan, math.inf, -1.0):
        with pytest.raises(ValueError, match="prompt_tokens must be non-negative and finite"):
            _tokens_in_cache([0.0], [bad], [1], 0.1, 0.1, [0.0])
