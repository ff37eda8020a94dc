"""Weighted Little's law on the key-value cache."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.littles_law.kv_cache_occupancy import (
    mean_held,
    token_seconds,
)


@given(st.integers(0, 5000), st.integers(1, 400), st.floats(0, 5), st.floats(0, 0.5))
def test_token_seconds_is_a_sum_over_tokens(
    prompt: int, output: int, prefill: float, interval: float
) -> None:
    stays = [prefill + (output - 1) * interval] * prompt
    stays += [(output - k) * interval for k in range(1, output + 1)]
    expected = math.fsum(stays)
    assert float(token_seconds(prompt, output, prefill, interval)) == pytest.approx(expected)


def test_shapes_broadcast() -> None:
    found = token_seconds([0, 100], [[1], [3]], 1.0, 0.5)
    assert found.tolist() == [[0.0, 100.0], [1.5, 201.5]]


@given(st.floats(0, 100), st.lists(st.floats(0, 50), min_size=1, max_size=20))
def test_weight_one_is_littles_law(rate: float, sojourns: list[float]) -> None:
    assert mean_held(rate, sojourns) == pytest.approx(rate * np.mean(sojourns))
