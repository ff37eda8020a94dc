"""Bodies of requests and answers over HTTP: JSON, or JSON with the numbers behind it as bytes.

The binary extension of the Open Inference Protocol puts a tensor's bytes behind the JSON object and
says in a header how long the object is; `binary_data_size` stands in the tensor in the place of
`data`. An object as long as the body has no bytes behind it: it is JSON as ever, and is read here
in one pass by pydantic's parser, which is compiled.

Assumes: one input tensor of float32 pixels from 0 to 1.

Source: Open Inference Protocol, inference_rest.md; binary tensor data extension of Triton and
KServe.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, model_validator

from serving_mathematics.support import checks
from serving_mathematics.support.files import read_json
from serving_mathematics.support.require import as_number, require

Ink = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_NUMBERS = re.compile(rb"\[[-+0-9.eE,\s]*+\]")  # in a row
Floats = npt.NDArray[np.float32]
Body = TypeVar("Body", bound=BaseModel)
JSON_BYTES = "Inference-Header-Content-Length"  # the header that says how long the object is


class TensorHead(BaseModel):
    """What a tensor of images is, without its numbers: rows of 64, at most 256 of them."""

    model_config = ConfigDict(strict=True)
    name: Literal["pixels"]
    datatype: Literal["FP32"]
    shape: Annotated[list[Annotated[int, Field(ge=1, le=256)]], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def columns(self) -> Self:
        """The shape is that of the model."""
        if self.shape[1] != 64:
            raise ValueError(f"shape must be [n, 64], got {self.shape}")
        return self


class PixelTensor(TensorHead):
    """Images whose numbers stand in the object."""

    data: Annotated[list[Ink], Field(max_length=256 * 64), FailFast()]

    @model_validator(mode="after")
    def agree(self) -> Self:
        """The data have the shape."""
        if len(self.data) != 64 * self.shape[0]:
            raise ValueError(f"data must be {64 * self.shape[0]} numbers, got {len(self.data)}")
        return self


class InferRequest(BaseModel):
    """A request for the scores of some images."""

    model_config = ConfigDict(strict=True)
    inputs: Annotated[list[PixelTensor], Field(min_length=1, max_length=1)]


class LogitTensor(BaseModel):
    """Ten scores a row."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float]


class InferResponse(BaseModel):
    """The answer to an InferRequest."""

    model_name: str
    outputs: list[LogitTensor]


class ErrorAnswer(BaseModel):
    """The answer to a request that was not served."""

    error: str


class _BinarySize(BaseModel):
    """How many bytes of a tensor stand behind the object."""

    model_config = ConfigDict(strict=True)
    binary_data_size: int


class _BinaryTensor(TensorHead):
    """Images whose numbers stand behind the object."""

    parameters: _BinarySize

    @model_validator(mode="after")
    def agree(self) -> Self:
        """The bytes have the shape."""
        expected, got = 256 * self.shape[0], self.parameters.binary_data_size
        if got != expected:
            raise ValueError(f"binary_data_size must be {expected}, got {got}")
        return self


class _OutputForm(BaseModel):
    """Whether the scores are wanted as bytes too."""

    model_config = ConfigDict(strict=True)
    binary_data_output: bool = False


class _BinaryRequest(BaseModel):
    """A request for the scores of images that follow as bytes."""

    model_config = ConfigDict(strict=True)
    parameters: _OutputForm = _OutputForm()
    inputs: Annotated[list[_BinaryTensor], Field(min_length=1, max_length=1)]


def _reason(errors: Sequence[Any]) -> str:
    """Where and why a request was refused, from the first of pydantic's errors, without its input.

    >>> _reason([{"loc": ("body", "inputs", 0), "msg": "Field required", "input": float("nan")}])
    'body.inputs.0: Field required'
    """
    return f"{'.'.join(map(str, errors[0]['loc'])) or 'body'}: {errors[0]['msg']}"


def _once(kind: type[Body], body: bytes) -> Body:
    """A body as what it is to be. Of a name that stands there twice another reader, such as a proxy
    with rules, may take the other value: raises ValueError, and pydantic's on all else.

    >>> _once(ErrorAnswer, b'{"error": "a", "error": "b"}')
    Traceback (most recent call last):
    ValueError: 'error' must be given once, got it twice
    """
    read = kind.model_validate_json(body)
    _require_names_once(body)
    return read


def _require_names_once(body: bytes) -> None:
    """Raise ValueError where an object of a body has a name twice. Rows of numbers, most of a large
    body, have no names and are passed over, unless what is left is refused.

    >>> _require_names_once(b'{"data": [1, 2], "data": [3]}')
    Traceback (most recent call last):
    ValueError: 'data' must be given once, got it twice
    """
    try:
        read_json(_NUMBERS.sub(b"[]", body).decode())
    except ValueError:
        read_json(body.decode())


def read_body(body: bytes, json_bytes: int) -> tuple[Floats, bool]:
    """The images of a request, shape (n, 64), and whether their scores are wanted as bytes.

    body: a JSON object, and the bytes behind it if it says so. json_bytes: length of the object.
    Raises ValueError (pydantic's ValidationError is one) on anything but one FP32 tensor “pixels”
    with 1 to 256 rows of 64 numbers from 0 to 1, and on a name that an object has twice.

    >>> head = b'{"inputs":[{"name":"pixels","datatype":"FP32","shape":[1,64],'
    >>> head += b'"parameters":{"binary_data_size":256}}]}'
    >>> pixels, binary = read_body(head + bytes(256), len(head))
    >>> pixels.shape, binary
    ((1, 64), False)
    """
    json_bytes = as_number(json_bytes=json_bytes)
    rule = f"in [1, {len(body)}], by {JSON_BYTES}"
    require(0 < json_bytes <= len(body), "json_bytes", rule, json_bytes)
    if json_bytes == len(body):
        (tensor,) = _once(InferRequest, body).inputs
        return np.array(tensor.data, dtype=np.float32).reshape(tensor.shape), False
    request = _once(_BinaryRequest, body[:json_bytes])
    (head,), got = request.inputs, len(body) - json_bytes
    expected = head.parameters.binary_data_size
    require(got == expected, "the body", f"{expected} bytes behind the object", got)
    pixels = np.frombuffer(body, dtype="<f4", offset=json_bytes).reshape(head.shape)
    inside = (pixels >= 0) & (pixels <= 1)  # NaN is not
    require(inside.all(), "inputs.0", "numbers from 0 to 1", pixels[~inside][:1])
    return pixels, request.parameters.binary_data_output


def _write_body(logits: Floats, *, binary: bool) -> tuple[bytes, int]:
    """The body of an answer, and how many bytes of it are the JSON object.

    logits: scores, shape (n, 10). binary: put them behind the object.

    >>> body, json_bytes = _write_body(np.zeros((1, 10), np.float32), binary=True)
    >>> len(body) - json_bytes, body[json_bytes - 26 : json_bytes]
    (40, b'{"binary_data_size":40}}]}')
    """
    head: dict[str, Any] = {"name": "logits", "datatype": "FP32", "shape": list(logits.shape)}
    if binary:
        head["parameters"] = {"binary_data_size": logits.nbytes}
        written = json.dumps(
            {"model_name": "digits", "outputs": [head]}, separators=(",", ":")
        ).encode()
        return written + logits.astype("<f4").tobytes(), len(written)
    answer = LogitTensor(**head, data=logits.ravel().tolist())
    written = InferResponse(model_name="digits", outputs=[answer]).model_dump_json().encode()
    return written, len(written)


def check_requests_are_typed() -> None:
    """A request of the right type passes; NaN, text, truth values and wrong shapes do not.

    Source: the protocol's datatypes; JSON has no NaN, which Python's parser accepts all the same.
    """
    good: dict[str, Any] = {"name": "pixels", "datatype": "FP32", "shape": [1, 64]}
    accepted = InferRequest.model_validate({"inputs": [good | {"data": [0.5] * 63 + [1]}]})
    checks.equal("an integer is a number", accepted.inputs[0].data[-1], 1.0)

    def refusal(change: dict[str, Any]) -> str:
        tensor = good | {"data": [0.5] * 64} | change
        try:
            InferRequest.model_validate({"inputs": [tensor]})
        except ValidationError as error:
            return _reason(error.errors())
        return "accepted"

    for label, change, message in (
        ("NaN", {"data": [math.nan] * 64}, "data.0: Input should be a finite number"),
        ("above 1", {"data": [1e39] * 64}, "data.0: Input should be less than or equal to 1"),
        ("text", {"data": ["1"] * 64}, "data.0: Input should be a valid number"),
        ("truth", {"data": [True] * 64}, "data.0: Input should be a valid number"),
        ("63 numbers", {"data": [0.5] * 63}, "0: Value error, data must be 64 numbers, got 63"),
        ("1 × 63", {"shape": [1, 63]}, "0: Value error, shape must be [n, 64], got [1, 63]"),
        ("257 rows", {"shape": [257, 64]}, "shape.0: Input should be less than or equal to 256"),
        ("FP64", {"datatype": "FP64"}, "datatype: Input should be 'FP32'"),
    ):
        path = "inputs.0." if not message.startswith("0:") else "inputs."
        checks.equal(label, refusal(change), path + message)


def check_bytes_are_the_same_numbers() -> None:
    """Both forms of a request are the same float32, and the bytes of an answer are its scores.

    Source: numpy's own bytes; the JSON of Python's library.
    """
    pixels = np.random.default_rng(3).random((2, 64)).astype(np.float32)
    tensor: dict[str, Any] = {"name": "pixels", "datatype": "FP32", "shape": [2, 64]}
    text = json.dumps({"inputs": [tensor | {"data": pixels.ravel().tolist()}]}).encode()
    behind = tensor | {"parameters": {"binary_data_size": 512}}
    head = json.dumps({"parameters": {"binary_data_output": True}, "inputs": [behind]}).encode()
    for label, body, size, binary in (
        ("JSON", text, len(text), False),
        ("bytes", head + pixels.tobytes(), len(head), True),
    ):
        read, wanted = read_body(body, size)
        checks.equal(f"{label}: equal numbers", int((read == pixels).sum()), 128)
        checks.equal(f"{label}: scores as bytes", wanted, binary)
    answer, size = _write_body(pixels, binary=True)
    checks.equal("answer: object and bytes", len(answer), size + pixels.nbytes)
    checks.equal("answer: bytes", answer[size:] == pixels.tobytes(), True)
    (outputs,) = json.loads(_write_body(pixels, binary=False)[0])["outputs"]
    same = np.array(outputs["data"], dtype=np.float32).reshape(2, 64) == pixels
    checks.equal("answer: numbers", int(same.sum()), 128)
