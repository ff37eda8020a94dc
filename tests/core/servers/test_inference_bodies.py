"""Bodies over HTTP: what is sent comes back as the same float32, or is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from serving_mathematics.core.servers.inference_bodies import (
    ErrorAnswer,
    InferRequest,
    InferResponse,
    LogitTensor,
    PixelTensor,
    TensorHead,
    _BinaryRequest,
    _BinarySize,
    _BinaryTensor,
    _OutputForm,
    _reason,
    _write_body,
    read_body,
)

TENSOR: dict[str, Any] = {"name": "pixels", "datatype": "FP32"}


def object_of(rows: int, size: int | None = None, **more: Any) -> bytes:
    parameters = {"binary_data_size": 256 * rows if size is None else size}
    tensor = TENSOR | {"shape": [rows, 64], "parameters": parameters}
    return json.dumps({"inputs": [tensor]} | more).encode()


@given(st.integers(1, 256), st.integers(0, 2**32 - 1), st.booleans())
def test_bytes_come_through_unchanged(rows: int, seed: int, wanted: bool) -> None:
    pixels = np.random.default_rng(seed).random((rows, 64)).astype(np.float32)
    head = object_of(rows, parameters={"binary_data_output": wanted})
    read, binary = read_body(head + pixels.tobytes(), len(head))
    np.testing.assert_array_equal(read, pixels)
    assert read.dtype == np.dtype(np.float32)
    assert binary is wanted
    text = json.dumps(
        {"inputs": [TENSOR | {"shape": [rows, 64], "data": pixels.ravel().tolist()}]}
    ).encode()
    read, binary = read_body(text, len(text))
    np.testing.assert_array_equal(read, pixels)
    assert binary is False


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_answers_hold_the_scores(values: list[float]) -> None:
    logits = np.array([values], dtype=np.float32)
    body, size = _write_body(logits, binary=True)
    (output,) = json.loads(body[:size])["outputs"]
    assert output["parameters"] == {"binary_data_size": 4 * len(values)}
    assert body[size:] == logits.tobytes()
    body, size = _write_body(logits, binary=False)
    assert size == len(body)
    (output,) = json.loads(body)["outputs"]
    assert output["shape"] == [1, len(values)]
    np.testing.assert_array_equal(np.array(output["data"], np.float32), logits[0])


@pytest.mark.parametrize("value", [-1e-9, 1.0000001, np.nan, np.inf])
def test_one_number_outside_is_refused(value: float) -> None:
    for place in (0, 63):
        pixels = np.full(64, 0.5, np.float32)
        pixels[place] = value
        head = object_of(1)
        with pytest.raises(ValueError, match=r"inputs\.0 must be numbers from 0 to 1"):
            read_body(head + pixels.tobytes(), len(head))
    edges = np.array([0.0, 1.0] * 32, np.float32)
    assert read_body(head + edges.tobytes(), len(head))[0].tolist() == [edges.tolist()]


def test_types() -> None:
    assert TensorHead(**TENSOR, shape=[256, 64]).shape == [256, 64]
    size = _BinarySize(binary_data_size=256)
    assert _BinaryTensor(**TENSOR, shape=[1, 64], parameters=size).parameters == size
    assert _OutputForm().binary_data_output is False
    for rows, told, message in (
        (1, 255, "inputs.0: Value error, binary_data_size must be 256, got 255"),
        (0, 0, "inputs.0.shape.0: Input should be greater than or equal to 1"),
        (257, 257 * 256, "inputs.0.shape.0: Input should be less than or equal to 256"),
    ):
        with pytest.raises(ValidationError) as caught:
            _BinaryRequest.model_validate_json(object_of(rows, told))
        assert _reason(caught.value.errors()) == message


def test_json_types() -> None:
    tensor = PixelTensor(**TENSOR, shape=[1, 64], data=[0.5] * 64)
    assert InferRequest(inputs=[tensor]).inputs == [tensor]
    logits = LogitTensor(name="logits", datatype="FP32", shape=[1, 2], data=[1.0, 2.0])
    answer = InferResponse(model_name="digits", outputs=[logits])
    assert answer.model_dump()["outputs"][0]["data"] == [1.0, 2.0]
    assert ErrorAnswer(error="no").model_dump() == {"error": "no"}
    with pytest.raises(ValidationError, match="data must be 128 numbers, got 64"):
        PixelTensor(**TENSOR, shape=[2, 64], data=[0.5] * 64)
