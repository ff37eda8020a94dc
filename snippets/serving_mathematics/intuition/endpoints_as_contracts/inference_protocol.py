"""A malformed request gets status 400 and the path of the wrong field, whatever it contains.

An Open Inference Protocol request is JSON: inputs with name, shape, datatype and data. The number
of elements is the product of the shape, and raw bytes are that times the size of an element. A
validator that never raises turns every text into either a request or a list of field errors.

Assumes: JSON with tensor data inline, validated by pydantic 2; values are not coerced, which the
protocol leaves to the server; fields that the protocol does not name are ignored.

Source: Open Inference Protocol, REST, sections Inference, Tensor Data and Tensor Data Types
(github.com/kserve/open-inference-protocol, commit 7ef512b).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Annotated, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from serving_mathematics.support import checks
from serving_mathematics.support.require import as_numbers, require

ELEMENT_BYTES = {  # [B], Open Inference Protocol, Tensor Data Types; BYTES has no fixed size
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
}
LARGEST_SIZE = 2**64 - 1  # [elements], a dimension is an unsigned 64-bit integer; same source
LARGEST_RANK = 64  # dimensions; numpy 2's own limit, since the protocol sets none
Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
]
STRICT = ConfigDict(strict=True)  # no coercion: "1" is no number, true is not 1
RULES = {  # what pydantic's errors ask for, in the protocol's words
    "model_type": "an object",
    "dict_type": "an object",
    "list_type": "a list",
    "too_short": "a non-empty list",
    "too_long": f"a list of at most {LARGEST_RANK}",
    "missing": "given",
    "string_type": "a string",
    "string_unicode": "a string of Unicode characters",
    "string_too_short": "a non-empty string",
    "literal_error": "a type of the protocol",
    "int_type": "an integer in [0, 2⁶⁴)",
    "greater_than_equal": "an integer in [0, 2⁶⁴)",
    "less_than_equal": "an integer in [0, 2⁶⁴)",
}


def element_count(shape: Sequence[int]) -> int:
    """Number of elements of a tensor, the product of its sizes, in exact integers.

    shape: integers in [0, 2⁶⁴). Raises ValueError otherwise.

    >>> element_count([2, 4])
    8
    >>> element_count([2**32, 2**32]) == 2**64
    True
    """
    shape = as_numbers(shape=shape)
    sizes = [0 <= size < 2**64 and size % 1 == 0 for size in shape]
    require(all(sizes), "shape", "made of integers in [0, 2⁶⁴)", list(shape))
    return math.prod(int(size) for size in shape)


def raw_bytes(datatype: str, shape: Sequence[int]) -> int:
    """Size of a tensor's elements in row-major order without padding [B].

    datatype: a key of ELEMENT_BYTES. shape: as for `element_count`. Raises ValueError otherwise.

    >>> raw_bytes("FP32", [2, 4])
    32
    """
    shape = as_numbers(shape=shape)
    require(datatype in ELEMENT_BYTES, "datatype", "of fixed size", repr(datatype))
    return ELEMENT_BYTES[datatype] * element_count(shape)


def fits(value: object, datatype: str) -> bool:
    """Whether a JSON value is an element of a datatype, without coercion.

    true is not 1, 1.0 is no integer, and NaN, infinities and numbers beyond the type's range fit
    nothing. Raises ValueError on an unknown datatype.

    >>> fits(255, "UINT8"), fits(256, "UINT8"), fits(True, "UINT8"), fits(1, "FP32")
    (True, False, False, True)
    """
    known = datatype == "BYTES" or datatype in ELEMENT_BYTES
    require(known, "datatype", "a type of the protocol", repr(datatype))
    if datatype == "BYTES":
        return isinstance(value, str)
    if datatype == "BOOL" or isinstance(value, bool):
        return datatype == "BOOL" and isinstance(value, bool)
    if datatype.startswith("FP"):
        largest = float(np.finfo(f"float{datatype[2:]}").max)
        return isinstance(value, int | float) and -largest <= value <= largest
    limits = np.iinfo(datatype.lower())
    return isinstance(value, int) and int(limits.min) <= value <= int(limits.max)


def _wrong(at: tuple[int | str, ...], rule: str, value: object) -> PydanticCustomError:
    """An error for pydantic, at a place within the field."""
    context = {"at": at, "rule": rule, "got": _shown(value)}
    return PydanticCustomError("contract", "must be {rule}, got {got}", context)


def _parameter(value: object) -> object:
    """Parameters are strings, numbers or booleans."""
    if not isinstance(value, str | int | float):
        raise _wrong((), "a string, number or boolean", value)
    return value


def _unique(tensors: list[TensorData]) -> list[TensorData]:
    """No tensor's name stands twice in a list."""
    seen: set[str] = set()
    for i, tensor in enumerate(tensors):
        if tensor.name in seen:
            raise _wrong((i, "name"), "unique", tensor.name)
        seen.add(tensor.name)
    return tensors


def _elements(data: list[object], shape: list[int]) -> list[tuple[tuple[int, ...], object]]:
    """The elements of flat or nested data and their places; level by level, not recursively."""
    flat = [((i,), item) for i, item in enumerate(data)]
    if not any(isinstance(item, list) for item in data):
        expected = math.prod(shape)
        if len(data) != expected:
            raise _wrong((), f"{_shown(expected)} elements for shape {shape}", len(data))
        return [*flat]
    level: list[tuple[tuple[int, ...], object]] = [((), data)]
    for size in shape:
        below: list[tuple[tuple[int, ...], object]] = []
        for at, item in level:
            if not isinstance(item, list) or len(item) != size:
                got = len(item) if isinstance(item, list) else item
                raise _wrong(at, f"a list of {size}", got)
            below += [((*at, i), x) for i, x in enumerate(item)]
        level = below
    return level


Size = Annotated[int, Field(ge=0, le=LARGEST_SIZE)]
Parameters = dict[str, Annotated[object, AfterValidator(_parameter)]]
Tensors = Annotated[list["TensorData"], Field(min_length=1), AfterValidator(_unique)]


class RequestedOutput(BaseModel):
    """A tensor's name and parameters: all that a request says about an output."""

    model_config = STRICT
    name: Annotated[str, Field(min_length=1)]
    parameters: Parameters = {}


class TensorData(RequestedOutput):
    """An input of a request or an output of a response, with its data nested or flat."""

    model_config = STRICT
    shape: Annotated[list[Size], Field(max_length=LARGEST_RANK)]
    datatype: Datatype
    data: list[object]

    @field_validator("data")
    @classmethod
    def _agrees(cls, data: list[object], info: ValidationInfo) -> list[object]:
        """The data have the shape and are of the datatype, where these two are sound."""
        if "shape" in info.data and "datatype" in info.data:
            for at, item in _elements(data, info.data["shape"]):
                if not fits(item, info.data["datatype"]):
                    raise _wrong(at, info.data["datatype"], item)
        return data


class InferenceRequest(BaseModel):
    """The body of a request: inputs, and the outputs that are asked for."""

    model_config = STRICT
    id: str = ""
    parameters: Parameters = {}
    inputs: Tensors
    outputs: list[RequestedOutput] = []


class InferenceResponse(BaseModel):
    """The body of a response; the context of the validation is the id sent, or None."""

    model_config = STRICT
    model_name: str
    model_version: str = ""
    id: Annotated[str, Field(validate_default=True)] = ""
    parameters: Parameters = {}
    outputs: Tensors

    @field_validator("id")
    @classmethod
    def _comes_back(cls, value: str, info: ValidationInfo) -> str:
        """The id of the request is the id of its response."""
        if info.context is not None and value != info.context:
            raise _wrong((), repr(info.context), value or None)
        return value


def errors_of(
    model: type[BaseModel], body: object, path: str = "", context: object = None
) -> list[str]:
    """What a model refuses in parsed JSON, each as “path: must be rule, got value”.

    model: one of the models above. path: where the body stands, such as "inputs[0]". context: what
    the model compares with, if anything. Of a tensor's data, the first error only.

    >>> class Named(BaseModel):
    ...     name: str
    >>> errors_of(Named, {"name": 3}, "outputs[0]")
    ['outputs[0].name: must be a string, got 3']
    """
    try:
        model.model_validate(body, context=context)
    except ValidationError as error:
        return [_line(details, path) for details in error.errors(include_url=False)]
    return []


def tensor_errors(tensor: object, path: str) -> list[str]:
    """What is wrong with one input or output tensor, each as “path: must be rule, got value”.

    tensor: parsed JSON. path: where it stands, such as "inputs[0]". Of the data, the first error
    only. Nested data must have the shape; flat data its number of elements.

    >>> bad = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [1, 2, 3]}
    >>> tensor_errors(bad, "inputs[0]")
    ['inputs[0].data: must be 8 elements for shape [2, 4], got 3']
    """
    return errors_of(TensorData, tensor, path)


def request_errors(body: object) -> list[str]:
    """Everything wrong with a request, as “path: must be rule, got value”; empty if it is sound.

    body: parsed JSON. Never raises, whatever the body is.

    >>> request_errors({"inputs": [{"name": "x", "shape": [1], "datatype": "F32", "data": [1]}]})
    ["inputs[0].datatype: must be a type of the protocol, got 'F32'"]
    """
    return errors_of(InferenceRequest, body)


def response_errors(body: object, request_id: str | None = None) -> list[str]:
    """Everything wrong with an inference response to a request with this id; empty if it is sound.

    body: parsed JSON. request_id: the id sent, which must come back, or None. Never raises.

    >>> response_errors({"model_name": "iris", "id": "41", "outputs": []}, request_id="42")
    ["id: must be '42', got '41'", 'outputs: must be a non-empty list, got []']
    """
    return errors_of(InferenceResponse, body, context=request_id)


def status_of(text: str) -> tuple[int, list[str]]:
    """HTTP status for the text of a request, 200 or 400, and the errors for the body.

    Never raises: text that is no JSON, or nested too deeply to be parsed, is the caller's mistake.

    >>> status_of('{"inputs": 3}')
    (400, ['inputs: must be a list, got 3'])
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        return 400, [f"body: must be JSON, got {type(error).__name__}"]
    errors = request_errors(body)
    return (400 if errors else 200), errors


def _shown(value: object) -> str:
    """A value in at most forty characters, and without walking through a long list."""
    if isinstance(value, list | dict) and value:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 2**64:
        return "a larger integer" if value > 0 else "a smaller integer"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _line(details: ErrorDetails, path: str) -> str:
    """One error of pydantic as “path: must be rule, got value”."""
    context = details.get("ctx", {})
    for step in (*details["loc"], *context.get("at", ())):
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    kind = details["type"]
    rule = context.get("rule") or RULES.get(kind) or f"valid ({kind})"
    got = context.get("got") or ("nothing" if kind == "missing" else _shown(details["input"]))
    return f"{path.lstrip('.') or 'body'}: must be {rule}, got {got}"


def _request(**changes: object) -> dict[str, object]:
    """Two irises, with some fields of the input replaced."""
    data = [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]
    return {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": data, **changes}]}


PUBLISHED_REQUEST = (  # the protocol's own example, section Inference Request Examples
    '{"id": "42", "inputs": ['
    '{"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},'
    '{"name": "input1", "shape": [3], "datatype": "BOOL", "data": [true]}],'
    '"outputs": [{"name": "output0"}]}'
)
PUBLISHED_RESPONSE = (  # same section; a comma after "42" that is missing there is put in
    '{"id": "42", "outputs": [{"name": "output0", "shape": [3, 2], "datatype": "FP32",'
    '"data": [1.0, 1.1, 2.0, 2.1, 3.0, 3.1]}]}'
)


def example() -> SimpleNamespace:
    """The numbers and messages quoted in the text."""
    nested = _request(data=[[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, None, 1.6]])
    return SimpleNamespace(
        iris_elements=element_count([2, 4]),
        iris_raw_bytes=raw_bytes("FP32", [2, 4]),
        wrapped_elements=int(np.prod(np.array([2**32, 2**32], dtype=np.int64))),
        published_error=status_of(PUBLISHED_REQUEST)[1][0],
        published_response_error=response_errors(json.loads(PUBLISHED_RESPONSE), "42")[0],
        nested_error=request_errors(nested)[0],
        half_error=request_errors(_request(datatype="FP16", shape=[1], data=[70000]))[0],
    )


def check_sizes() -> None:
    """FP32 of shape [2, 4] has 8 elements in 32 raw bytes, as numpy stores it.

    Source: numpy's own size and nbytes; the protocol's table of sizes.
    """
    checks.equal("elements of [2, 4]", element_count([2, 4]), 8, kind="published")
    checks.equal("raw bytes of FP32 [2, 4]", raw_bytes("FP32", [2, 4]), 32, kind="published")
    numpy_names = {kind: kind.lower().replace("fp", "float") for kind in ELEMENT_BYTES}
    stored = [np.zeros((3, 5), dtype=name).nbytes for name in numpy_names.values()]
    checks.equal(
        "raw bytes of [3, 5], all types", [raw_bytes(k, [3, 5]) for k in numpy_names], stored
    )
    checks.equal("a scalar has one element", element_count([]), 1)


def check_good_requests_pass() -> None:
    """Nested and flat data, every datatype at its limits, and an empty batch are accepted.

    Source: Tensor Data, whose matrix [1 2; 4 5] is given in both forms; limits of numpy's types.
    """
    for form in ([[1, 2], [4, 5]], [1, 2, 4, 5]):
        body = _request(shape=[2, 2], datatype="INT64", data=form)
        checks.equal(f"data {form}", request_errors(body), [], kind="published")
    for kind in sorted(ELEMENT_BYTES.keys() - {"BOOL"}):
        if kind.startswith("FP"):
            largest = float(np.finfo(f"float{kind[2:]}").max)
            data: list[float] = [-largest, largest]
        else:
            data = [int(np.iinfo(kind.lower()).min), int(np.iinfo(kind.lower()).max)]
        text = json.dumps(_request(shape=[2], datatype=kind, data=data))
        checks.equal(f"{kind} limits", status_of(text), (200, []))
    checks.equal("an empty batch", request_errors(_request(shape=[0, 4], data=[])), [])


def check_bad_requests_name_the_field() -> None:
    """Each mistake gets status 400 and the path of its field.

    Source: written by hand, one mistake at a time, from the protocol's rules.
    """
    good = _request()["inputs"][0]  # type: ignore[index]
    for path, body in (
        ("body", []),
        ("inputs", {}),
        ("inputs", {"inputs": []}),
        ("id", {**_request(), "id": 42}),
        ("parameters.k", {**_request(), "parameters": {"k": [1]}}),
        ("outputs[0].name", {**_request(), "outputs": [{}]}),
        ("inputs[0].name", _request(name="")),
        ("inputs[1].name", {"inputs": [good, good]}),
        ("inputs[0].shape[0]", _request(shape=[-1, 4])),
        ("inputs[0].shape[1]", _request(shape=[2, True])),
        ("inputs[0].datatype", _request(datatype="fp32")),
        ("inputs[0].data", _request(data=[1, 2, 3])),
        ("inputs[0].data[0]", _request(shape=[2, 5])),
        ("inputs[0].shape", _request(shape=[1] * 65, data=[1])),
        ("inputs[0].data[1]", _request(data=[[1, 2, 3, 4], [1, 2, 3]])),
        ("inputs[0].data[1][0]", _request(data=[[1, 2, 3, 4], ["6.0", 2, 3, 4]])),
        ("inputs[0].data[0]", _request(shape=[1], datatype="UINT8", data=[256])),
        ("inputs[0].data[0]", _request(shape=[1], data=[float("nan")])),
    ):
        status, errors = status_of(json.dumps(body))
        found = errors[0].split(":")[0]
        checks.equal(path, (status, len(errors), found), (400, 1, path))


def check_hostile_texts_are_client_errors() -> None:
    """Texts made to crash a server get status 400, not an exception.

    Source: the protocol: a failed request must be indicated by an HTTP error status, typically 400.
    """
    wide = json.dumps(_request(shape=[2**32, 2**32], data=[]))
    for label, text in (
        ("no JSON", "{"),
        ("10,000 digits", "1" * 10_000),
        ("a product that wraps to 0 in int64", wide),
    ):
        checks.equal(label, status_of(text)[0], 400)
    if sys.platform == "emscripten":
        raise NotImplementedError("a stack whose end Python sees before the browser does")
    checks.equal("100,000 brackets", status_of("[" * 100_000)[0], 400)


def check_published_example_breaks_its_own_rules() -> None:
    """The protocol's example request sends one element for shape [3]; its response names no model.

    Source: Open Inference Protocol, REST, Inference Request Examples against Tensor Data and
    Inference Response JSON Object.
    """
    checks.equal(
        "request",
        status_of(PUBLISHED_REQUEST),
        (400, ["inputs[1].data: must be 3 elements for shape [3], got 1"]),
    )
    mended = PUBLISHED_REQUEST.replace("[true]", "[true, false, true]")
    checks.equal("request with three elements", status_of(mended), (200, []))
    response = json.loads(PUBLISHED_RESPONSE)
    checks.equal(
        "response", response_errors(response, "42"), ["model_name: must be given, got nothing"]
    )
    checks.equal("response with a name", response_errors({**response, "model_name": "m"}, "42"), [])


def check_bad_input_is_refused() -> None:
    """Sizes that are no sizes and unknown datatypes are refused."""
    checks.raises("negative size", element_count, [-1, 4], match="shape must be")
    checks.raises("half a size", element_count, [1.5], match="shape must be")
    checks.raises("size 2⁶⁴", element_count, [2**64], match="shape must be")
    checks.raises("NaN", element_count, [math.nan], match="shape must be")
    checks.raises("BYTES has no fixed size", raw_bytes, "BYTES", [1], match="datatype must be")
    checks.raises("unknown datatype", fits, 1, "BF16", match="datatype must be")
