"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.rest_grpc.exercises import (
    compression_pays_below,
    many_calls_s,
    survives,
    zigzag,
)
from serving_mathematics.architecture.rest_grpc.wire_format import field


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
