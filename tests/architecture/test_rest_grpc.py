"""The latency model at its limits, and the exercises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.exercises.rest_grpc import (
    compression_pays_below,
    many_calls_s,
    survives,
    zigzag,
)
from serving_mathematics.architecture.rest_grpc import (
    HANDSHAKES,
    call_latency_s,
    example,
    flights,
    round_trips,
    worthwhile_work_s,
)
from serving_mathematics.architecture.wire_format import field


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


@given(st.integers(-(2**63), 2**63 - 1))
def test_zigzag_is_that_of_the_library(value: int) -> None:
    assert zigzag(value) == (value << 1 ^ value >> 63) % 2**64
    file = descriptor_pb2.FileDescriptorProto(name="z.proto", syntax="proto3")
    message = file.message_type.add(name="Z")
    message.field.add(name="z", number=1, label=1, type=18)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("Z"))
    assert kind.FromString(field(1, zigzag(value))).z == value


@pytest.mark.parametrize("bad", [2**63, -(2**63) - 1, 0.5])
def test_zigzag_range(bad: float) -> None:
    with pytest.raises(ValueError, match="value must be an integer"):
        zigzag(bad)  # type: ignore[arg-type]


def test_compression_limits() -> None:
    assert compression_pays_below(1.0, 1e6, 1e6) == 0
    assert compression_pays_below(0.5, 1e6, 1e6) == pytest.approx(0.25e6)
    assert compression_pays_below(0.5, 1e6, 1e15) == pytest.approx(0.5e6)
    for bad in ((0.0, 1, 1), (1.1, 1, 1), (math.nan, 1, 1), (0.5, 0, 1), (0.5, 1, math.inf)):
        with pytest.raises(ValueError, match="must be"):
            compression_pays_below(*bad)


def test_many_calls_limits() -> None:
    assert many_calls_s(7, 7, 0.05, 0, 1e6) == 0.05
    assert many_calls_s(7, 100, 0.05, 0, 1e6) == 0.05
    assert many_calls_s(7, 6, 0.05, 0, 1e6) == 0.1
    assert many_calls_s(7, 1, 0.05, 1e6, 1e6) == pytest.approx(7 * 1.05)
    for bad in ((0, 1, 1, 1, 1), (1, 0.5, 1, 1, 1), (1, 1, -1, 1, 1), (1, 1, 1, math.nan, 1)):
        with pytest.raises(ValueError, match="must be"):
            many_calls_s(*bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bytes_per_s must be"):
        many_calls_s(1, 1, 1, 1, 0)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1))
def test_nine_digits_keep_every_float32(numbers: list[float]) -> None:
    assert survives(numbers, 9).all()
    assert survives([numbers], 17).shape == (1, len(numbers))


def test_few_digits_lose_numbers() -> None:
    assert survives([8388609.5, 0.25], 2).tolist() == [False, True]
    assert not survives(np.float32(1) + np.finfo(np.float32).eps, 7).any()
    for bad in (0, 18, 2.5):
        with pytest.raises(ValueError, match=r"digits must be in \[1, 17\]"):
            survives([1.0], bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="values must be finite float32"):
        survives([math.inf], 9)
