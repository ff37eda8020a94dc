"""In which numbers weights were published: what a file says of its format, by its fields.

Source: Hugging Face `config.json` files as published by their models' authors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_mathematics.support.require import require

PLAIN_TYPES = (
    *(None, "", "auto", "bfloat16", "float16", "float32", "torch.bfloat16", "torch.float16"),
)
QUANT_METHODS = {"fp8": "fp8", "fbgemm_fp8": "fp8", "ptpc_fp8": "fp8", "mxfp4": "mxfp4"}
FOUR_BITS = "gptq", "awq", "gptq_marlin", "awq_marlin", "auto-round"  # by whole numbers of `bits`
QUANT_ALGORITHMS = {  # of ModelOpt
    **dict.fromkeys(("FP8", "FP8_PER_CHANNEL_PER_TOKEN", "FP8_PB_WO"), "fp8"),
    **dict.fromkeys(("NVFP4", "NVFP4_AWQ"), "fp4"),
    **dict.fromkeys(("W4A16_AWQ", "INT4_AWQ"), "int4"),
    **dict.fromkeys(("MXFP4", "W4A8_MXFP4_FP8", "W4A16_MXFP4"), "mxfp4"),
}
WEIGHT_NUMBERS = {("4", "float"): "fp4", ("4", "int"): "int4", ("8", "float"): "fp8"}  # by bits
KNOWN_FORMATS = (
    "fp8, mxfp4, gptq or awq of 4 bits, or modelopt, compressed-tensors or quark of floats of 4 or "
    "8 bits or whole numbers of 4"
)
_TOLD_OF_FORMAT = (
    *("quant_method", "quant_algo", "format", "bits", "w_bit", "load_in_4bit", "load_in_8bit"),
)


class _UnknownFormat(ValueError):
    """Weights in a format that is not known here; a precision that is said takes its place."""


def published_precision(config: Mapping[str, Any]) -> str:
    """Precision of the published weights: `bf16`, `fp8`, `fp4`, `mxfp4` or `int4`.

    config: the dictionary of a `config.json`, with `quantization_config` where there is one. Raises
    ValueError on one that is not known, such as whole numbers of eight bits.

    >>> published_precision({"quantization_config": {"quant_method": "mxfp4"}})
    'mxfp4'
    >>> published_precision({})
    'bf16'
    """
    quantization = config.get("quantization_config") or config.get("quantization") or {}
    fine = isinstance(quantization, Mapping)
    require(fine, "quantization_config", "an object", repr(quantization)[:60])
    inner = quantization.get("quantization")
    quantization = inner if isinstance(inner, Mapping) else quantization  # as ModelOpt nests it
    if not quantization:
        dtype = config.get("torch_dtype") or config.get("dtype")
        if isinstance(dtype, str) and dtype not in PLAIN_TYPES:
            rule = "bfloat16, float16 or float32, or have a quantization_config"
            raise _UnknownFormat(f"torch_dtype must be {rule}, got {dtype[:40]!r}")
        return "bf16"
    method = str(quantization.get("quant_method") or "").lower()
    algorithm = str(quantization.get("quant_algo") or "").upper()
    bits = next((quantization[key] for key in ("bits", "w_bit") if key in quantization), None)
    found: str | None = None
    if algorithm == "MIXED_PRECISION":
        found = _fewest_bits(_formats_of_layers(quantization)) or _format_of_numbers(quantization)
    elif algorithm:
        found = QUANT_ALGORITHMS.get(algorithm)
    elif method in FOUR_BITS:
        found = "int4" if bits == 4 or (bits is None and method == "awq") else None
    elif str(quantization.get("format") or "").startswith("mxfp4"):
        found = "mxfp4"
    else:
        found = QUANT_METHODS.get(method) or _format_of_numbers(quantization)
        if bits is not None and bits != {"fp8": 8}.get(str(found), 4):
            found = None
    if found is None:
        shown = {
            key: quantization[key] for key in _TOLD_OF_FORMAT if quantization.get(key) is not None
        }
        got = ", ".join(f"{key} {repr(value)[:40]}" for key, value in shown.items()) or "neither"
        raise _UnknownFormat(f"quantization_config must be of {KNOWN_FORMATS}, got {got}")
    return found


def _formats_of_layers(quantization: Mapping[str, Any]) -> list[str | None]:
    """Formats of the layers of which each says its own."""
    layers = quantization.get("quantized_layers")
    parts = layers.values() if isinstance(layers, Mapping) else ()
    return [
        QUANT_ALGORITHMS.get(str(part.get("quant_algo")).upper())
        for part in parts
        if isinstance(part, Mapping)
    ]


def _format_of_numbers(quantization: Mapping[str, Any]) -> str | None:
    """The format of weights that are described by their bits and kind of number, or by a type."""
    every = quantization.get("global_quant_config")
    if isinstance(every, Mapping):  # of Quark
        weight = every.get("weight")
        kind = str(weight.get("dtype")) if isinstance(weight, Mapping) else ""
        return {"fp8_e4m3": "fp8", "fp4": "fp4"}.get(kind)
    groups = quantization.get("config_groups")
    parts: list[Any] = [quantization]
    if isinstance(groups, Mapping):
        parts = [group.get("weights") for group in groups.values() if isinstance(group, Mapping)]
    return _fewest_bits(
        [
            WEIGHT_NUMBERS.get((str(part.get("num_bits")), str(part.get("type") or "int")))
            for part in parts
            if isinstance(part, Mapping)
        ]
    )


def _fewest_bits(found: list[str | None]) -> str | None:
    """The format of most weights where layers differ: of experts, which have the fewest bits; None
    where one is not known."""
    if not found or None in found:
        return None
    return min((one for one in found if one), key=lambda one: one == "fp8")
