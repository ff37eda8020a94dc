"""Formats as their tools write them, and those that are not known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from serving_mathematics.core.hardware.deployments import own_precision
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.core.hardware.weight_formats import published_precision
from serving_mathematics.planner.questions.questions import read_choices

from tests.core.hardware.configs import PLAIN


@pytest.mark.parametrize(
    ("told", "precision"),
    [
        ({}, "bf16"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_algo": "NVFP4"}, "fp4"),
        ({"quant_method": "compressed-tensors", "num_bits": 4, "type": "int"}, "int4"),
        ({"quant_method": "modelopt", "num_bits": 4, "type": "float"}, "fp4"),
        ({"quant_method": "awq"}, "int4"),
    ],
)
def test_published_precision_is_told(told: dict[str, object], precision: str) -> None:
    assert published_precision({"quantization_config": told}) == precision


@pytest.mark.parametrize(
    ("told", "precision"),
    [
        ({"quant_method": "gptq", "bits": 4}, "int4"),
        ({"quant_method": "awq", "bits": 4, "comment": "not fp4, not fp8"}, "int4"),
        ({"quant_method": "fp8", "comment": "not fp4, not mxfp4"}, "fp8"),
        ({"quant_method": "auto-round", "bits": 4}, "int4"),
        ({"quant_algo": "W4A16_AWQ"}, "int4"),
        ({"quantization": {"quant_algo": "NVFP4"}}, "fp4"),
        ({"quant_method": "fp8", "bits": 8}, "fp8"),
        ({"quant_algo": "MIXED_PRECISION", "num_bits": 4, "type": "float"}, "fp4"),
        ({"quant_algo": "MIXED_PRECISION",
          "quantized_layers": {"a": {"quant_algo": "FP8"}, "b": {"quant_algo": "NVFP4"}}}, "fp4"),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "a": {"weights": {"num_bits": 8, "type": "float"}, "input_activations": {"num_bits": 8}}
        }}, "fp8"),
        ({"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized",
          "config_groups": {"a": {"weights": {"num_bits": 4, "type": "float"}}}}, "mxfp4"),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp8_e4m3"}}},
         "fp8"),
    ],
)  # fmt: skip
def test_formats_are_read_by_their_fields(told: dict[str, object], precision: str) -> None:
    assert published_precision({"quantization_config": told}) == precision


@pytest.mark.parametrize(
    ("told", "got"),
    [
        ({"quant_method": "gptq", "bits": 8}, "quant_method 'gptq', bits 8"),
        ({"quant_method": "gptq", "bits": 3}, "quant_method 'gptq', bits 3"),
        ({"quant_method": "gptq"}, "quant_method 'gptq'"),
        ({"quant_method": "awq", "bits": 8}, "quant_method 'awq', bits 8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "quant_method 'bitsandbytes', lo"),
        ({"quant_method": "hqq", "note": "fp8"}, "quant_method 'hqq'"),
        ({"quant_method": "exl2", "bits": 4.0}, "quant_method 'exl2', bits 4.0"),
        ({"load_in_8bit": True}, "load_in_8bit True"),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "a": {"weights": {"num_bits": 8, "type": "int"}}}}, "quant_method 'compressed-"),
        ({"quant_algo": "MIXED_PRECISION"}, "quant_algo 'MIXED_PRECISION'"),
        ({"quant_algo": "INT8_SQ"}, "quant_algo 'INT8_SQ'"),
        ({"note": "fp4"}, "neither"),
        ({"quant_method": "fp8", "bits": 4}, "quant_method 'fp8', bits 4"),
        ({"quant_method": "mxfp4", "bits": 8}, "quant_method 'mxfp4', bits 8"),
    ],
)  # fmt: skip
def test_a_format_that_is_not_known_is_said_by_the_reader(
    told: dict[str, object], got: str
) -> None:
    config = {"quantization_config": told}
    with pytest.raises(ValueError, match=f"quantization_config must be of fp8, .*, got {got}"):
        published_precision(config)
    model = read_architecture(PLAIN | config, "a")
    with pytest.raises(ValueError, match=r"a: quantization_config must be .*; or say a precision"):
        own_precision(model)


@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn", "x"])
def test_a_type_of_numbers_that_is_not_known_is_no_bf16(dtype: str) -> None:
    with pytest.raises(ValueError, match=f"torch_dtype must be bfloat16, .*, got '{dtype}'"):
        published_precision({"torch_dtype": dtype})
    assert (
        published_precision({"torch_dtype": dtype, "quantization": {"quant_algo": "FP8"}}) == "fp8"
    )
    assert published_precision({"dtype": "float32"}) == "bf16"


def test_a_precision_that_is_said_takes_the_place_of_a_format(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(PLAIN | {"quantization_config": {"quant_method": "hqq"}}))
    asked = {"rate_per_s": 1, "model": str(file), "mean_prompt_tokens": 100}
    with pytest.raises(ValueError, match=r"precision: .*quantization_config must be of"):
        read_choices(asked)
    assert read_choices(asked | {"precision": "fp8"})[0].deployment.precision == "fp8"
