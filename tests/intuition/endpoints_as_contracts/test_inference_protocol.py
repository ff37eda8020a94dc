"""The validator never raises, accepts what numpy can store, and finds every planted mistake."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.endpoints_as_contracts.inference_protocol import (
    ELEMENT_BYTES,
    Datatype,
    InferenceRequest,
    InferenceResponse,
    RequestedOutput,
    TensorData,
    element_count,
    errors_of,
    fits,
    raw_bytes,
    request_errors,
    response_errors,
    status_of,
    tensor_errors,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["inputs", "outputs", "name", "shape", "datatype", "data", "id"]), inner
        )
    ),
    max_leaves=12,
)
MODELS = (RequestedOutput, TensorData, InferenceRequest, InferenceResponse)
GOOD: dict[str, Any] = {"name": "x", "shape": [2, 2], "datatype": "INT32", "data": [1, 2, 4, 5]}


@given(values)
def test_no_json_makes_it_raise(body: object) -> None:
    errors = request_errors({"inputs": [body], "outputs": body, "parameters": body, "id": body})
    assert all(": must be" in error for error in errors)
    assert isinstance(response_errors(body, "42"), list)
    assert isinstance(response_errors({"outputs": [body]}), list)
    assert status_of(json.dumps(body))[0] in (200, 400)


@given(st.text(max_size=40))
def test_no_text_makes_it_raise(text: str) -> None:
    assert status_of(text)[0] == 400


@given(st.lists(st.integers(0, 3), max_size=4), st.sampled_from(sorted(ELEMENT_BYTES)))
def test_arrays_of_numpy_pass_nested_and_flat(shape: list[int], datatype: str) -> None:
    array = np.ones(shape, dtype=datatype.lower().replace("fp", "float"))
    assert element_count(shape) == array.size
    assert raw_bytes(datatype, shape) == array.nbytes
    nested = array.tolist() if shape else [array.item()]
    for data in (nested, array.ravel().tolist()):
        if array.size or data == []:
            tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
            assert list(tensor_errors(tensor, "t")) == []


@pytest.mark.parametrize("datatype", sorted(ELEMENT_BYTES.keys() - {"BOOL"}))
def test_limits_of_each_type(datatype: str) -> None:
    if datatype.startswith("FP"):
        info = np.finfo(f"float{datatype[2:]}")
        low, high, step = float(info.min), float(info.max), float(info.max) * 1e-2
        beyond = [math.inf, -math.inf, math.nan, 10**400]
        beyond += [] if datatype == "FP64" else [high + step, low - step]
    else:
        limits = np.iinfo(datatype.lower())
        low, high = int(limits.min), int(limits.max)
        beyond = [low - 1, high + 1, 1.0, math.nan]
    assert fits(low, datatype)
    assert fits(high, datatype)
    assert not any(fits(value, datatype) for value in [*beyond, True, "1", None, [1]])


def test_booleans_and_bytes() -> None:
    assert fits(True, "BOOL")
    assert not fits(1, "BOOL")
    assert fits("é", "BYTES")
    assert not fits(b"x", "BYTES")
    with pytest.raises(ValueError, match="datatype must be a type of the protocol"):
        fits(1, "FP8")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": 3}, "t.name: must be a string, got 3"),
        ({"shape": 4}, "t.shape: must be a list, got 4"),
        ({"shape": [2, 2.0]}, "t.shape[1]: must be an integer in [0, 2⁶⁴), got 2.0"),
        ({"shape": [2**64]}, "t.shape[0]: must be an integer in [0, 2⁶⁴), got a larger integer"),
        (
            {"shape": [-(2**64)]},
            "t.shape[0]: must be an integer in [0, 2⁶⁴), got a smaller integer",
        ),
        (
            {"shape": [1 - 2**64]},
            f"t.shape[0]: must be an integer in [0, 2⁶⁴), got {1 - 2**64}",
        ),
        ({"shape": [1] * 65}, "t.shape: must be a list of at most 64, got a list of 65"),
        ({"datatype": None}, "t.datatype: must be a type of the protocol, got nothing"),
        ({"datatype": ["FP32"]}, "t.datatype: must be a type of the protocol, got a list of 1"),
        ({"data": "1245"}, "t.data: must be a list, got '1245'"),
        ({"data": [1, 2, 4]}, "t.data: must be 4 elements for shape [2, 2], got 3"),
        ({"data": [[1, 2], [4]]}, "t.data[1]: must be a list of 2, got 1"),
        ({"data": [[1, 2], 4]}, "t.data[1]: must be a list of 2, got 4"),
        ({"data": [[1, 2], [4, [5]]]}, "t.data[1][1]: must be INT32, got a list of 1"),
        ({"data": [1, 2, 4, "y" * 99]}, "t.data[3]: must be INT32, got '" + "y" * 36 + "..."),
        ({"parameters": []}, "t.parameters: must be an object, got []"),
        (
            {"parameters": {"k": None}},
            "t.parameters.k: must be a string, number or boolean, got nothing",
        ),
    ],
)
def test_each_mistake_is_named(change: dict[str, Any], error: str) -> None:
    assert list(tensor_errors({**GOOD, **change}, "t")) == [error]


@pytest.mark.parametrize(("length", "shown"), [(38, "y" * 38 + "'"), (39, "y" * 36 + "...")])
def test_forty_characters_are_shown_in_full(length: int, shown: str) -> None:
    tensor = {**GOOD, "data": [1, 2, 4, "y" * length]}
    assert tensor_errors(tensor, "t") == [f"t.data[3]: must be INT32, got '{shown}"]


def test_places_of_deeper_elements_run_from_the_outside_in() -> None:
    tensor = {**GOOD, "shape": [1, 2, 2], "data": [[[1, 2], [4, None]]]}
    assert tensor_errors(tensor, "t") == ["t.data[0][1][1]: must be INT32, got nothing"]
    tensor = {**GOOD, "shape": [2, 2, 1], "data": [[[1], [2]], [[None], [5]]]}
    assert tensor_errors(tensor, "t") == ["t.data[1][0][0]: must be INT32, got nothing"]


def test_no_inputs_and_deep_nesting_are_client_errors() -> None:
    assert request_errors({"inputs": []}) == ["inputs: must be a non-empty list, got []"]
    status, errors = status_of("[" * 200_000)
    assert status == 400
    assert len(errors) == 1


def test_the_largest_size_and_rank_are_allowed() -> None:
    assert list(tensor_errors({**GOOD, "shape": [1] * 64, "data": [1]}, "t")) == []
    tensor = {**GOOD, "shape": [2**64 - 1] * 64, "data": []}
    assert len(list(tensor_errors(tensor, "t"))) == 1
    assert list(tensor_errors({**GOOD, "shape": [2**64 - 1, 0], "data": []}, "t")) == []


def test_several_mistakes_are_all_reported() -> None:
    body = {"id": 1, "inputs": [{}, 3], "outputs": [4, {"name": "y"}, {"name": ""}]}
    paths = [error.split(":")[0] for error in request_errors(body)]
    missing = [f"inputs[0].{field}" for field in ("name", "shape", "datatype", "data")]
    assert paths == ["id", *missing, "inputs[1]", "outputs[0]", "outputs[2].name"]
    assert request_errors({"inputs": [GOOD], "outputs": {}}) == ["outputs: must be a list, got {}"]


def test_responses() -> None:
    good = {"model_name": "m", "id": "42", "outputs": [GOOD], "parameters": {"p": 1.5}}
    assert response_errors(good) == response_errors(good, "42") == []
    assert response_errors({**good, "model_version": 2}) == [
        "model_version: must be a string, got 2"
    ]
    assert response_errors({**good, "outputs": [GOOD, GOOD]}) == [
        "outputs[1].name: must be unique, got 'x'"
    ]
    assert response_errors({"model_name": "m", "outputs": [GOOD]}, "42") == [
        "id: must be '42', got nothing"
    ]
    assert response_errors(3) == ["body: must be an object, got 3"]


@pytest.mark.parametrize("shape", [[-1], [0.5], [math.nan], [math.inf], [2**64], [10**400]])
def test_sizes_that_are_none(shape: list[int]) -> None:
    with pytest.raises(ValueError, match="shape must be"):
        element_count(shape)
    with pytest.raises(ValueError, match="datatype must be of fixed size"):
        raw_bytes("BYTES", [1])


def test_the_types_of_the_models_are_those_of_the_table() -> None:
    assert set(get_args(Datatype)) == {*ELEMENT_BYTES, "BYTES"}
    assert {model.model_config["strict"] for model in MODELS} == {True}
    assert set(TensorData.model_fields) == {"name", "parameters", "shape", "datatype", "data"}


def test_models_read_what_is_sound_and_errors_stand_at_a_path() -> None:
    request = InferenceRequest.model_validate({"inputs": [GOOD], "outputs": [{"name": "y"}]})
    assert request.inputs[0].data == GOOD["data"]
    assert request.outputs == [RequestedOutput(name="y")]
    response = InferenceResponse.model_validate({"model_name": "m", "outputs": [GOOD]})
    assert (response.id, response.model_version) == ("", "")
    assert errors_of(RequestedOutput, {"name": ""}, "a[0]") == [
        "a[0].name: must be a non-empty string, got ''"
    ]
    assert errors_of(RequestedOutput, []) == ["body: must be an object, got []"]


@pytest.mark.parametrize("field", ["name", "datatype"])
def test_half_a_surrogate_pair_is_no_name(field: str) -> None:
    status, errors = status_of(json.dumps({"inputs": [{**GOOD, field: "\ud800"}]}))
    assert status == 400
    assert errors[0].startswith(f"inputs[0].{field}: must be a string of Unicode characters")
    odd = {**GOOD, "parameters": {"\ud800": None}}
    assert status_of(json.dumps({"inputs": [odd]}))[0] == 400
