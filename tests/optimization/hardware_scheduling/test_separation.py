"""Prefill and decode: what chunks leave, a brute-force split, refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.hardware_scheduling.separation import (
    best_split,
    cache_bandwidth,
    chunked_capacity,
)

times = st.floats(0.01, 10)


@given(times, st.floats(0, 1), st.floats(0.001, 5))
def test_chunks_leave_what_the_streams_do_not_take(
    prefill: float, step: float, more: float
) -> None:
    gap = step + more
    capacity = chunked_capacity(prefill, step, gap)
    assert capacity * prefill * gap == pytest.approx(more, rel=1e-6)
    assert capacity <= 1 / prefill
    assert chunked_capacity(prefill, step, 2 * gap) >= capacity


def test_cache_bandwidth_is_a_product() -> None:
    assert cache_bandwidth(3.0, 7.0, 11.0) == 231.0
    assert cache_bandwidth(0.0, 7.0, 11.0) == 0.0


@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0), st.integers(2, 40))
def test_best_split_is_the_best_of_all(prefill: float, decode: float, devices: int) -> None:
    rates = [min(k * prefill, (devices - k) * decode) for k in range(1, devices)]
    split, rate = best_split(prefill, decode, devices)
    assert rate == max(rates) == rates[split - 1]


def test_best_split_of_many_devices_is_found_at_once() -> None:
    assert best_split(1.0, 3.0, 4 * 10**12) == (3 * 10**12, 3e12)
    assert best_split(1e-20, 1.0, 5) == (4, 4e-20)  # each phase keeps a device
    assert best_split(1.0, 1e-20, 5) == (1, 4e-20)
