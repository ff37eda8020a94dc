"""What a language model's weights are rounded to: 16, eight and four bits, scales counted.

A matrix has a row of inputs for each output. Scales stand for a matrix, for a row, or for a block
of a row. Where a format is for products as well, the rows of activations are rounded by it too,
with scales that are found for each row: whole numbers and floats of eight bits per token, block
formats in their blocks.

Assumes: scales of 16 bits, unrounded here, beside whole numbers, E4M3 and NF4; those of the block
formats as they are defined; nothing calibrated, nothing left out.

Source: OCP 8-bit Floating Point Specification (OFP8) 1.0 for E4M3; the sources of `block_formats`
and for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.optimization.quantization.bits_and_noise import bits_per_weight
from serving_mathematics.optimization.quantization.block_formats import (
    E4M3_LARGEST,
    block_rounded,
    float_code,
    mxfp4,
    mxfp8,
    nearest,
    normal_float,
    nvfp4,
)
from serving_mathematics.optimization.quantization.quantization import quantize
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require, require_positive_integer

FloatArray = npt.NDArray[np.float64]
Rounding = Callable[[npt.NDArray[np.floating]], npt.NDArray[np.floating]]

LARGE_BLOCK = 192  # the largest that divides 576 and 1,536 inputs; 128 does not


def bfloat16(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Numbers in bfloat16, the upper half of a single float: nearest, ties to even.

    values: finite, not empty, within single precision. Returns their shape. Raises ValueError on
    other input.

    >>> bfloat16([1.0, 1.005, 3.14159]).tolist()
    [1.0, 1.0078125, 3.140625]
    """
    whole = as_floats(values=values)
    fits = whole.size > 0 and bool((np.abs(whole) < 3.39e38).all())
    require(fits, "values", "finite, not empty and below 3.39e38 in size", whole)
    bits = np.ascontiguousarray(whole, dtype=np.float32).view(np.uint32)
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.asarray(kept, dtype=np.uint32).view(np.float32).reshape(whole.shape)


def e4m3(values: npt.ArrayLike, axis: int | None = None) -> FloatArray:
    """Numbers in floats of eight bits, E4M3, with a scale that makes the largest of them 448.

    values: finite, any shape but empty. axis: numbers along it share a scale; None: all do. Returns
    their shape. Raises ValueError on other input.

    >>> e4m3([896.0, 2.3]).tolist()  # the scale is 2
    [896.0, 2.25]
    """
    x = as_floats(values=values)
    require(x.size > 0 and np.isfinite(x).all(), "values", "finite and not empty", x)
    inside = axis is None or (-x.ndim <= axis < x.ndim and axis % 1 == 0)
    require(inside, "axis", f"None or an axis of {x.ndim}", axis)
    scale = np.abs(x).max(axis=axis, keepdims=True) / E4M3_LARGEST
    scale = np.where(scale > 0, scale, 1.0)
    return np.asarray(nearest(x / scale, float_code(4, 3, reserved=1)) * scale)


@dataclass(frozen=True)
class Format:
    """A way to store a matrix.

    code_bits: of a weight. scale_bits: of what weights share. group: of a row that share it; 0 for
    the whole row, and None where the whole matrix does. rounded: rows of weights as they are read
    back. rows: the same for activations, where products are computed in the format.
    """

    name: str
    code_bits: int
    scale_bits: int
    group: int | None
    rounded: Rounding
    rows: Rounding | None = None

    def bits(self, outputs: int, inputs: int) -> float:
        """Bits of a weight in a matrix, with its share of the scales."""
        outputs, inputs = require_positive_integer(outputs=outputs, inputs=inputs)
        shared = outputs * inputs if self.group is None else self.group or inputs
        return bits_per_weight(self.code_bits, [(self.scale_bits, shared)] * bool(self.scale_bits))


def weight_formats() -> dict[str, Format]:
    """The formats by name, from many bits to few.

    >>> weight_formats()["int4, blocks of 32"].bits(outputs=576, inputs=1536)
    4.5
    """

    def blocks(bits: int, size: int, symmetric: bool = True) -> Rounding:
        def rounded(rows: npt.NDArray[np.floating]) -> FloatArray:
            cut = rows.reshape(-1, size)
            return quantize(cut, bits, symmetric=symmetric, axis=1).values().reshape(rows.shape)

        return rounded

    def whole(bits: int) -> Rounding:
        return lambda rows: quantize(rows, bits, axis=1).values()

    def nf4(rows: npt.NDArray[np.floating]) -> FloatArray:
        return block_rounded(rows, normal_float(4), 64)

    def half(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return rows.astype(np.float16)

    def per_row(rows: npt.NDArray[np.floating]) -> FloatArray:
        return e4m3(rows, axis=1)

    large = LARGE_BLOCK
    found = (
        Format("float16", 16, 0, None, half),
        Format("bfloat16", 16, 0, None, bfloat16),
        Format("int8, per output", 8, 16, 0, whole(8)),
        Format("int8, blocks of 32", 8, 16, 32, blocks(8, 32)),
        Format("E4M3, per matrix", 8, 16, None, e4m3),
        Format("E4M3, per output", 8, 16, 0, per_row),
        Format("MXFP8", 8, 8, 32, mxfp8),
        Format("int4, per output", 4, 16, 0, whole(4)),
        Format(f"int4, blocks of {large}", 4, 16, large, blocks(4, large)),
        Format("int4, blocks of 32", 4, 16, 32, blocks(4, 32)),
        Format(f"int4, zero point, blocks of {large}", 4, 20, large, blocks(4, large, False)),
        Format("int4, zero point, blocks of 32", 4, 20, 32, blocks(4, 32, False)),
        Format("NF4, blocks of 64", 4, 16, 64, nf4),
        Format("MXFP4", 4, 8, 32, mxfp4),
        Format("NVFP4", 4, 8, 16, nvfp4),
        Format("int8 products", 8, 16, 0, whole(8), whole(8)),
        Format("E4M3 products", 8, 16, 0, per_row, per_row),
        Format("MXFP8 products", 8, 8, 32, mxfp8, mxfp8),
        Format("MXFP4 products", 4, 8, 32, mxfp4, mxfp4),
        Format("NVFP4 products", 4, 8, 16, nvfp4, nvfp4),
    )
    return {one.name: one for one in found}


def check_formats_round_to_the_nearest() -> None:
    """What a format makes of a number is one of its values, and none is nearer.

    Source: all values of bfloat16 between 1 and 2 and of E4M3, one number at a time.
    """
    x = np.random.default_rng(3).uniform(1, 2, 300)
    steps = 1 + np.arange(129) / 128
    expected = [steps[np.argmin(abs(steps - value))] for value in x]
    checks.close("bfloat16, 300 numbers", bfloat16(x), np.array(expected), atol=0, rtol=1e-12)
    y = np.random.default_rng(4).standard_t(3, (3, 100))
    code = float_code(4, 3, reserved=1)
    for axis, parts in ((None, [y]), (1, list(y[:, None]))):
        expected = []
        for part in parts:
            scale = np.abs(part).max() / 448
            expected += [scale * code[np.argmin(abs(code - v / scale))] for v in part.ravel()]
        label = "a scale for all" if axis is None else "a scale a row"
        checks.close(f"E4M3, {label}", e4m3(y, axis).ravel(), np.array(expected), rtol=1e-12)


def check_bits_of_formats() -> None:
    """Scales are counted: whole rows hardly cost, blocks of 32 half a bit.

    Source: the sizes of the formats as published: MXFP4 136 bits in a block of 32, MXFP8 264, NVFP4
    4.5 bits without the scale of the tensor, and 16 bits over 576 inputs by hand.
    """
    formats = weight_formats()
    for name, expected in (
        ("MXFP4", 136 / 32),
        ("MXFP8", 264 / 32),
        ("NVFP4", 4.5),
        ("float16", 16.0),
        ("int8, per output", 8 + 16 / 576),
        ("int4, zero point, blocks of 32", 4 + 20 / 32),
    ):
        got = formats[name].bits(192, 576)
        checks.close(f"{name} [bits]", got, expected, atol=1e-12, kind="published")
