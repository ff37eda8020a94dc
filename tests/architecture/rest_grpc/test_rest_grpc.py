"""The latency model at its limits, and the exercises."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.rest_grpc.rest_grpc import (
    HANDSHAKES,
    call_latency_s,
    example,
    flights,
    round_trips,
    worthwhile_work_s,
)


@given(st.integers(1, 10**12), st.integers(1, 10**6))
def test_flights_are_the_fewest_that_hold_the_bytes(size: int, window: int) -> None:
    count = flights(size, window)
    assert window * (2 ** (count - 1) - 1) < size <= window * (2**count - 1)


def test_round_trips_add_up() -> None:
    assert round_trips(1, 1) == 1
    assert round_trips(14_601, 14_601) == 3
    assert round_trips(1, 43_801, handshakes=1) == 4
    assert HANDSHAKES == {"kept": 0, "TCP": 1, "TCP and TLS 1.3": 2}
    for bad in (-1, 0.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="handshakes must be a non-negative integer"):
            round_trips(1, 1, bad)  # type: ignore[arg-type]
    for nothing in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="request_bytes must be positive"):
            round_trips(nothing, 1)
        with pytest.raises(ValueError, match="answer_bytes must be positive"):
            round_trips(1, nothing)


def test_latency_is_linear_in_each_part() -> None:
    base = call_latency_s(2, 0.03, 1000, 1e6, 0.005)
    assert base == pytest.approx(0.06 + 0.001 + 0.005)
    assert call_latency_s(3, 0.03, 1000, 1e6, 0.005) - base == pytest.approx(0.03)
    assert call_latency_s(2, 0.03, 3000, 1e6, 0.005) - base == pytest.approx(0.002)
    assert call_latency_s(2, 0.03, 1000, 1e6) == pytest.approx(base - 0.005)
    assert call_latency_s(1, 0.0, 0, 1e6) == 0


def test_worthwhile_work_is_what_was_saved() -> None:
    assert worthwhile_work_s(14_600, 14_600, 0.05, 1e6) == 0
    assert worthwhile_work_s(14_600, 4600, 0.05, 1e6) == pytest.approx(0.01)
    assert worthwhile_work_s(14_601, 14_600, 0.05, 1e6) == pytest.approx(0.05 + 1e-6)
    with pytest.raises(ValueError, match="before_bytes must be finite, got inf"):
        worthwhile_work_s(math.inf, 1, 0.05, 1e6)
    for bad in (0, 15_000, math.nan):
        with pytest.raises(ValueError, match="after_bytes must be in"):
            worthwhile_work_s(14_600, bad, 0.05, 1e6)


def test_quoted_times_by_hand() -> None:
    """Round trips of 50 ms and 12,500 bytes a millisecond; of 0.5 ms and 1.25 million."""
    quoted = example()
    assert quoted.far_json_ms == pytest.approx(50 + 11_900 / 12_500)
    assert quoted.far_new_json_ms == pytest.approx(quoted.far_json_ms + 2 * 50)
    assert quoted.far_large_json_ms == pytest.approx(4 * 50 + 110_000 / 12_500)
    assert quoted.far_large_protobuf_ms == pytest.approx(2 * 50 + 41_000 / 12_500)
    assert quoted.near_protobuf_ms == pytest.approx(0.5 + 5000 / 1.25e6)
    assert quoted.worthwhile_near_us == pytest.approx(6900 / 1250)
