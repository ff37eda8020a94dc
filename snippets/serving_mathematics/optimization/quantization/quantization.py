"""Affine quantization: x ≈ s·(q − z) with whole numbers q of b bits, and sums of such products.

One scale s for a layer, for each of its units or for each group of a unit's inputs; zero points z
make room for numbers that are not spread around 0. Scales that do not change along a sum leave it,
Σ s(q − z)·s'(q' − z') = s·s'·Σ(q − z)(q' − z'), so that the sum is one of whole numbers.

Assumes: finite numbers; range from the smallest and largest value, nothing clipped; round half to
even.

Source: ONNX operators QuantizeLinear and DynamicQuantizeLinear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, as_number, require, require_all_positive

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Quantized:
    """Codes q of the shape of the numbers, with a scale s and a zero point z that broadcast; whole
    numbers of any type, kept with 64 bits. Raises ValueError on others, and on a scale that is not
    positive.

    >>> Quantized(np.array([0, 255], np.uint8), np.array([0.5]), np.uint8(128)).values().tolist()
    [-64.0, 63.5]
    """

    codes: IntArray
    scale: FloatArray
    zero: IntArray

    def __post_init__(self) -> None:
        """Refuse what is no code: in narrow types q − z would wrap."""
        object.__setattr__(self, "scale", np.array(require_all_positive(scale=self.scale), float))
        for name in ("codes", "zero"):
            numbers = as_floats(**{name: getattr(self, name)})
            whole = bool(np.all((numbers == np.floor(numbers)) & (np.abs(numbers) < 2**31)))
            require(whole, name, f"whole numbers below {2**31:,} in size", numbers)
            object.__setattr__(self, name, numbers.astype(np.int64))

    def values(self) -> FloatArray:
        """The numbers that the codes stand for, s·(q − z)."""
        return np.asarray((self.codes - self.zero) * self.scale)


def quantize(
    values: npt.ArrayLike, bits: int, symmetric: bool = True, axis: int | None = None
) -> Quantized:
    """Codes of b bits for numbers, with one scale for all of them or one for each line.

    values: finite, any shape but empty. bits: b, an integer from 2 to 16. symmetric: codes from
    −(2^(b−1) − 1) to 2^(b−1) − 1 with z = 0; otherwise from 0 to 2^b − 1, over a range that is
    widened to include 0, so that 0 stays 0. axis: numbers along it share a scale; None: all do.
    Where all numbers are 0, the scale is 1. Raises ValueError on other input.

    >>> quantize([-1.0, 0.2, 0.5], bits=3).codes.tolist()  # steps of a third
    [-3, 1, 2]
    >>> quantize([-1.0, 0.5, 2.0], bits=2, symmetric=False).values().tolist()
    [-1.0, 0.0, 2.0]
    """
    bits = as_number(bits=bits)
    x = as_floats(values=values)
    require(x.size > 0 and np.isfinite(x).all(), "values", "finite and not empty", x)
    require(2 <= bits <= 16 and bits % 1 == 0, "bits", "an integer from 2 to 16", bits)
    inside = axis is None or (-x.ndim <= axis < x.ndim and axis % 1 == 0)
    require(inside, "axis", f"None or an axis of {x.ndim}", axis)
    if symmetric:
        high = 2 ** (int(bits) - 1) - 1
        low, smallest = -high, np.zeros(1)
        step = np.abs(x).max(axis=axis, keepdims=True) / high
    else:
        low, high = 0, 2 ** int(bits) - 1
        smallest = np.minimum(x.min(axis=axis, keepdims=True), 0.0)
        step = np.maximum(x.max(axis=axis, keepdims=True), 0.0) / high - smallest / high
    scale = np.where(step > 0, step, 1.0)
    zero = np.rint(-smallest / scale)
    codes = np.clip(np.rint(x / scale) + zero, low, high)
    return Quantized(codes.astype(np.int64), scale, zero.astype(np.int64))


def integer_product(left: Quantized, right: Quantized) -> FloatArray:
    """Matrix product of two quantized matrices, summed in whole numbers and scaled once.

    left: shape (m, k), one scale or one per row. right: shape (k, n), one scale or one per column.
    Raises ValueError when a scale changes along k, because then it cannot leave the sum.

    >>> left = Quantized(np.array([[3, 1]]), scale=np.array([[0.5]]), zero=np.array([[1]]))
    >>> right = Quantized(np.array([[2], [4]]), scale=np.array([[0.25]]), zero=np.array([[0]]))
    >>> integer_product(left, right).tolist()  # (3 − 1)·2 + (1 − 1)·4, times an eighth
    [[0.5]]
    """
    require(left.codes.ndim == 2, "left", "a matrix", left.codes.shape)
    rows = left.codes.shape[1]
    fits = right.codes.ndim == 2 and right.codes.shape[0] == rows
    require(fits, "right", f"a matrix of {rows} rows", right.codes.shape)
    by_row, by_column = np.atleast_2d(left.scale), np.atleast_2d(right.scale)
    require(by_row.shape[1] == 1, "left", "scaled per row or as a whole", by_row.shape)
    require(by_column.shape[0] == 1, "right", "scaled per column or as a whole", by_column.shape)
    factors = [(part.codes - part.zero).astype(float) for part in (left, right)]
    sums = factors[0] @ factors[1]  # whole numbers below 2^53, so that a float holds them exactly
    return np.asarray(sums * by_row * by_column)


def check_rounding_error() -> None:
    """No error exceeds half a step, 0 stays 0, and codes use both ends of their range.

    Source: the bound s/2 on 3,000 random numbers with an offset, for both kinds of codes.
    """
    x = np.append(np.random.default_rng(1).normal(0.7, 1.0, 3000), 0.0)
    for symmetric, ends in ((True, 127), (False, 255)):
        got = quantize(x, 8, symmetric=symmetric)
        worst = float(np.abs(got.values() - x).max() / got.scale[0])
        label = "symmetric" if symmetric else "with zero point"
        checks.inside(f"{label}: largest error [steps]", worst, 0.4, 0.5 + 1e-9, kind="identity")
        checks.equal(f"{label}: 0", float(got.values()[-1]), 0.0)
        checks.equal(f"{label}: largest code", int(np.abs(got.codes).max()), ends)


def check_published_codes() -> None:
    """Scale and zero point are those of ONNX's operator for activations.

    Source: ONNX, DynamicQuantizeLinear, test cases with scale 0.0196078438 and zero point 153, and
    0.0156862754 and 255.
    """
    for x, scale, zero in (
        ([0.0, 2.0, -3.0, -2.5, 1.34, 0.5], 0.0196078438, 153),
        ([-1.0, -2.1, -1.3, -2.5, -3.34, -4.0], 0.0156862754, 255),
    ):
        got = quantize(x, 8, symmetric=False)
        checks.close("scale", got.scale[0], scale, atol=1e-9, kind="published")
        checks.equal("zero point", int(got.zero[0]), zero, kind="published")


def check_integer_product() -> None:
    """Summing codes and scaling once gives the product of the rounded matrices.

    Source: the same matrices, multiplied in floating point.
    """
    rng = np.random.default_rng(2)
    x, w = rng.normal(1, 1, (5, 40)), rng.normal(0, 1, (40, 7))
    for axis, name in ((None, "one scale"), (1, "a scale per row")):
        left = quantize(x, 8, symmetric=False, axis=axis)
        right = quantize(w, 8, axis=0)
        exact = left.values() @ right.values()
        checks.close(name, integer_product(left, right), exact, atol=1e-11)


def check_granularity() -> None:
    """The fewer weights share a scale, the smaller the error: with one scale for all, one for each
    output, and one for each block of 8 and of 2.

    Source: squared errors with one scale, one for each output, and one for blocks of 8 and of 2.
    """
    w = np.random.default_rng(6).standard_t(4, size=(32, 5))
    errors = [float(np.square(quantize(w, 4).values() - w).sum())]
    for group in (32, 8, 2):
        blocks = w.reshape(-1, group, 5)
        errors.append(float(np.square(quantize(blocks, 4, axis=1).values() - blocks).sum()))
    checks.holds("errors fall", bool(np.all(np.diff(errors) < 0)), got=np.round(errors, 2).tolist())
