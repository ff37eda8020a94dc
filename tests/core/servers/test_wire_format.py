"""The wire format against the protobuf library, json and properties."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.servers.grpc_server import messages
from serving_mathematics.core.servers.wire_format import (
    base64_bytes,
    field,
    most_rows,
    raw_floats,
    request_json,
    request_protobuf,
    varint,
)

FLOAT32 = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_are_those_of_the_library(value: int) -> None:
    library = wrappers_pb2.Int64Value(value=value).SerializeToString()
    assert library == (field(1, value) if value else b"")  # a default is not sent


@given(st.integers(0, 2**64 - 1))
def test_unsigned_integers_are_those_of_the_library(value: int) -> None:
    assert len(varint(value)) == max(1, math.ceil(value.bit_length() / 7))
    assert wrappers_pb2.UInt64Value.FromString(field(1, value)).value == value


@given(st.text(max_size=200), st.binary(max_size=200))
def test_text_and_bytes_are_those_of_the_library(text: str, content: bytes) -> None:
    assert wrappers_pb2.StringValue.FromString(field(1, text)).value == text
    assert wrappers_pb2.BytesValue(value=content).SerializeToString() == (
        field(1, content) if content else b""
    )


@pytest.mark.parametrize("number", [1, 15, 16, 2047, 2048, 2**29 - 1])
def test_field_numbers(number: int) -> None:
    for value, wire_type, rest in ((5, 0, b"\x05"), (b"ab", 2, b"\x02ab")):
        assert field(number, value) == varint(8 * number + wire_type) + rest
    with pytest.raises(ValueError, match=r"number must be in \[1, 2²⁹\)"):
        field(2**29, 1)


def test_a_nested_message_is_bytes() -> None:
    inner = field(1, "name") + field(3, 7)
    parsed = descriptor_pb2.DescriptorProto.FromString(field(2, inner))
    assert (parsed.field[0].name, parsed.field[0].number) == ("name", 7)


@given(st.lists(FLOAT32, min_size=1, max_size=40), st.booleans())
def test_requests_are_read_by_the_library(numbers: list[float], raw: bool) -> None:
    table = np.array([numbers])
    request = messages()["ModelInferRequest"].FromString(request_protobuf(table, raw=raw))
    (tensor,) = request.inputs
    assert (request.model_name, tensor.name, tensor.datatype) == ("digits", "pixels", "FP32")
    assert list(tensor.shape) == [1, len(numbers)]
    floats = table.astype("<f4")
    assert list(request.raw_input_contents) == ([floats.tobytes()] if raw else [])
    assert list(tensor.contents.fp32_contents) == ([] if raw else floats[0].tolist())
    assert request.ByteSize() == len(request_protobuf(table, raw=raw))


@given(st.lists(FLOAT32, min_size=1, max_size=40), st.booleans())
def test_json_carries_the_same_float32(numbers: list[float], shortest: bool) -> None:
    (tensor,) = json.loads(request_json([numbers], shortest=shortest))["inputs"]
    assert tensor["shape"] == [1, len(numbers)]
    assert tensor["datatype"] == "FP32"
    floats = np.array(numbers, dtype=np.float32)
    np.testing.assert_array_equal(np.array(tensor["data"], dtype=np.float32), floats)
    for x, sent in zip(floats, tensor["data"], strict=True):
        exact, rounded = float(x), float(str(x))
        assert sent in ((exact, rounded) if shortest else (exact,))
        assert not shortest or len(repr(sent)) == min(len(repr(exact)), len(repr(rounded)))
    assert b" " not in request_json([numbers])


@given(FLOAT32)
def test_shortest_is_never_longer(number: float) -> None:
    assert len(request_json([[number]])) <= len(request_json([[number]], shortest=False))


def test_raw_floats_are_little_endian() -> None:
    largest = float(np.finfo(np.float32).max)
    assert np.frombuffer(raw_floats([[1, -largest]]), "<f4").tolist() == [1, -largest]
    for bad in (math.nan, math.inf, -math.inf, 3.5e38):
        with pytest.raises(ValueError, match="values must be finite float32"):
            raw_floats([1.0, bad])


@pytest.mark.parametrize("encode", [request_json, request_protobuf])
def test_tables_only(encode: object) -> None:
    for bad in ([1.0], [[]], [[[1.0]]], 1.0):
        with pytest.raises(ValueError, match="images must be of shape"):
            encode(bad)  # type: ignore[operator]
    for number in (math.nan, -math.inf, 1e39):
        with pytest.raises(ValueError, match="finite float32"):
            encode([[0.0, number]])  # type: ignore[operator]


@given(st.binary(max_size=100))
def test_base64_is_that_of_the_library(content: bytes) -> None:
    assert base64_bytes(len(content)) == len(base64.b64encode(content))


@given(st.integers(1, 300), st.integers(1, 20_000))
def test_most_rows_fit_and_one_more_does_not(columns: int, limit: int) -> None:
    rows = most_rows(columns, limit)
    if rows:
        assert len(request_protobuf(np.zeros((rows, columns)), raw=True)) <= limit
    assert len(request_protobuf(np.zeros((rows + 1, columns)), raw=True)) > limit
