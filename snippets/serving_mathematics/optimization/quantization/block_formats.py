"""Four-bit formats: a code book, and one scale for each block of weights.

A block is divided by its largest magnitude and rounded to the nearest value of a code book; the
scale is kept. MXFP4 has blocks of 32 with a power of two for a scale, NVFP4 blocks of 16 with a
scale of eight bits and one more for the tensor; both have floats of four bits, E2M1, as codes.

Assumes: halfway numbers go down (formats say: to even), which no continuous weight notices.

Source: Rouhani et al. (2023) and the OCP Microscaling Formats (MX) 1.0 specification; NVIDIA (2025)
for NVFP4; Dettmers et al. (2023) for blocks of NF4.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]

MX_BLOCK, NV_BLOCK = 32, 16  # weights per scale of MXFP4 and NVFP4
E2M1_LARGEST, E4M3_LARGEST = 6.0, 448.0
NF4_PUBLISHED = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)  # Dettmers et al. (2023), appendix E: what the derivation is compared with


def normal_float(bits: int) -> FloatArray:
    """NormalFloat: quantiles of N(0, 1) over the largest of them, with an exact 0 among them.

    bits: b, an integer from 2 to 8. The 2^(b−1) positive values are the quantiles of probabilities
    at equal distances from ½ to 1 − δ, the 2^(b−1) − 1 negative ones likewise; δ is half the mean
    of 1/2^b and 1/(2^b − 1), as if there were 2^b cells on one side and one less on the other.
    Shape (2^b,), from −1 to 1. Raises ValueError outside this range.

    >>> normal_float(2).round(4).tolist()
    [-1.0, 0.0, 0.4358, 1.0]
    """
    bits = as_number(bits=bits)
    require(2 <= bits <= 8 and bits % 1 == 0, "bits", "an integer from 2 to 8", bits)
    cells = 2 ** int(bits)
    last = 1 - (1 / cells + 1 / (cells - 1)) / 4
    positive = [NormalDist().inv_cdf(p) for p in np.linspace(0.5, last, cells // 2 + 1)[1:]]
    negative = [-NormalDist().inv_cdf(p) for p in np.linspace(0.5, last, cells // 2)[1:]]
    return np.array([*reversed(negative), 0.0, *positive]) / positive[-1]


def float_code(exponent_bits: int, fraction_bits: int, reserved: int = 0) -> FloatArray:
    """All values of a small binary float with a sign and subnormal numbers, 0 counted once.

    exponent_bits: 1 to 5, with bias 2^(e−1) − 1 and no infinities. fraction_bits: 0 to 10.
    reserved: patterns at the upper end that are no numbers (1 for E4M3), fewer than there are.
    Raises ValueError outside these ranges.

    >>> float_code(2, 1)[7:].tolist()  # E2M1
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    """
    exponent_bits, fraction_bits, reserved = as_number(
        exponent_bits=exponent_bits, fraction_bits=fraction_bits, reserved=reserved
    )
    for name, value, low, high in (
        ("exponent_bits", exponent_bits, 1, 5),
        ("fraction_bits", fraction_bits, 0, 10),
    ):
        require(low <= value <= high and value % 1 == 0, name, f"from {low} to {high}", value)
    fractions, bias = 2 ** int(fraction_bits), 2 ** (int(exponent_bits) - 1) - 1
    patterns = np.arange(2 ** int(exponent_bits) * fractions)
    fewer = 0 <= reserved < patterns.size and reserved % 1 == 0
    require(fewer, "reserved", f"an integer below {patterns.size}", reserved)
    exponent, fraction = patterns // fractions, patterns % fractions / fractions
    normal = exponent > 0
    sizes = (normal + fraction) * 2.0 ** (np.maximum(exponent, 1) - bias)
    sizes = sizes[: sizes.size - int(reserved)]
    return np.concatenate([-sizes[:0:-1], sizes])


def nearest(values: npt.ArrayLike, code: npt.ArrayLike) -> FloatArray:
    """Every number rounded to the nearest value of a code book, halfway ones down.

    values: finite, any shape, not empty. code: strictly increasing, shape (n,), n ≥ 1. Beyond the
    ends numbers become the end. Raises ValueError on other input.

    >>> nearest([0.2, 0.8, 9.0], code=[0.0, 1.0, 4.0]).tolist()
    [0.0, 1.0, 4.0]
    """
    x, y = as_floats(values=values), as_floats(code=code)
    require(x.size > 0 and np.isfinite(x).all(), "values", "finite and not empty", x)
    fine = y.ndim == 1 and y.size > 0 and np.isfinite(y).all() and np.all(np.diff(y) > 0)
    require(fine, "code", "strictly increasing, finite and not empty", y)
    return np.asarray(y[np.searchsorted((y[1:] + y[:-1]) / 2, x)])


def _blocks(values: npt.ArrayLike, block: int) -> FloatArray:
    """The numbers as rows of one block each, or a ValueError."""
    x = as_floats(values=values)
    require(x.size > 0 and np.isfinite(x).all(), "values", "finite and not empty", x)
    block = require_positive_integer(block=block)
    whole = x.ndim > 0 and x.shape[-1] % block == 0
    require(whole, "values", f"in rows of whole blocks of {block}", x.shape)
    return x.reshape(-1, int(block))


def block_rounded(values: npt.ArrayLike, code: npt.ArrayLike, block: int) -> FloatArray:
    """Numbers rounded to a code book that is stretched to the largest magnitude of each block.

    values: finite, the last axis a multiple of the block. code: strictly increasing with a positive
    last value that no other exceeds in size. block: numbers that share a scale, a positive integer.
    Returns the shape of the values. Raises ValueError on other input.

    >>> block_rounded([4.0, 0.5, -0.5, 0.1], code=[-1.0, 0.0, 1.0], block=2).tolist()
    [4.0, 0.0, -0.5, 0.0]
    """
    rows, y = _blocks(values, block), as_floats(code=code)
    reaches = y.ndim == 1 and y.size > 0 and 0 < np.abs(y).max() == y[-1] < math.inf
    require(reaches, "code", "values up to a positive last one", y)
    scale = np.abs(rows).max(axis=1, keepdims=True) / y[-1]
    rounded = nearest(rows / np.where(scale > 0, scale, 1.0), y) * scale
    return np.asarray(rounded.reshape(np.shape(values)))


def _microscaled(values: npt.ArrayLike, code: FloatArray) -> FloatArray:
    """Blocks of 32 with a power of two for a scale, which brings the exponent of the largest size
    to that of the last value of the code."""
    rows = _blocks(values, MX_BLOCK)
    exponent = np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1] - np.frexp(code[-1])[1]
    scale = 2.0 ** np.clip(exponent, -127, 127)
    return np.asarray((nearest(rows / scale, code) * scale).reshape(np.shape(values)))


def mxfp4(values: npt.ArrayLike) -> FloatArray:
    """Numbers in MXFP4: blocks of 32, the scale 2^(⌊log₂ of the largest size⌋ − 2), E2M1 codes.

    values: finite, the last axis a multiple of 32. Magnitudes beyond 6 scales become 6. Returns the
    shape of the values. Raises ValueError on other input.

    >>> mxfp4([7.0, 1.2] + [0.0] * 30)[:2].tolist()  # the scale is 1
    [6.0, 1.0]
    """
    return _microscaled(values, float_code(2, 1))


def mxfp8(values: npt.ArrayLike) -> FloatArray:
    """Numbers in MXFP8: blocks of 32, the scale 2^(⌊log₂ of the largest size⌋ − 8), E4M3 codes.

    values: finite, the last axis a multiple of 32. Magnitudes beyond 448 scales become 448. Returns
    the shape of the values. Raises ValueError on other input.

    >>> mxfp8([500.0, 1.2] + [0.0] * 30)[:2].tolist()  # the scale is 1
    [448.0, 1.25]
    """
    return _microscaled(values, float_code(4, 3, reserved=1))


def nvfp4(values: npt.ArrayLike) -> FloatArray:
    """Numbers in NVFP4: blocks of 16 with a scale in E4M3, a scale of the tensor, E2M1 codes.

    values: finite, the last axis a multiple of 16. The scale of the tensor makes the largest scale
    of a block 448, the largest number of E4M3. Returns the shape of the values. Raises ValueError
    on other input.

    >>> nvfp4([6.0, 1.2] + [0.0] * 14)[:2].tolist()
    [6.0, 1.0]
    """
    rows = _blocks(values, NV_BLOCK)
    peaks = np.abs(rows).max(axis=1, keepdims=True)
    tensor = float(peaks.max()) / (E2M1_LARGEST * E4M3_LARGEST)
    if tensor == 0:
        return np.zeros(np.shape(values))
    scale = nearest(peaks / E2M1_LARGEST / tensor, float_code(4, 3, reserved=1)) * tensor
    codes = nearest(rows / np.where(scale > 0, scale, math.inf), float_code(2, 1))
    return np.asarray((codes * scale).reshape(np.shape(values)))


def check_small_floats() -> None:
    """E2M1 reaches 6 and E4M3 reaches 448, with the smallest steps of their subnormals.

    Source: OCP Microscaling Formats (MX) 1.0: E2M1 0.5 to 6; OCP 8-bit floating point: E4M3 2⁻⁹ to
    448.
    """
    tiny, eight = float_code(2, 1), float_code(4, 3, reserved=1)
    checks.close("E2M1 ends", tiny[[8, -1]], [0.5, 6.0], atol=0, kind="published", rtol=1e-15)
    checks.close("E4M3 ends", eight[[126 + 1, -1]], [2.0**-9, 448.0], rtol=1e-15, kind="published")
    checks.equal("E2M1, values", tiny.size, 15)
    half = float_code(5, 10, reserved=1024)
    checks.equal("E5M10 is half precision", float(half[-1]), float(np.finfo(np.float16).max))


def check_nf4() -> None:
    """The quantiles give all sixteen published values of NF4 to seven digits.

    Source: Dettmers et al. (2023), appendix E, computed there in single precision.
    """
    got = normal_float(4)
    for i in range(0, 16, 4):
        label = f"values {i + 1} to {i + 4}"
        checks.close(label, got[i : i + 4], NF4_PUBLISHED[i : i + 4], atol=2e-7, kind="published")


def check_formats_by_hand() -> None:
    """A loop over the numbers of a block gives what the array code gives.

    Source: the definitions, one number at a time, with math.floor(math.log2(…)) for the exponent.
    """
    x = np.random.default_rng(5).standard_t(3, size=(4, 96)) * 10.0 ** np.arange(-2, 2)[:, None]
    tiny = np.array([sign * size for sign in (1, -1) for size in (0, 0.5, 1, 1.5, 2, 3, 4, 6)])
    eight, tensor = float_code(4, 3, reserved=1), float(np.abs(x).max()) / (6 * 448)

    def shared(largest: float) -> float:
        return float(eight[np.argmin(abs(eight - largest / 6 / tensor))]) * tensor

    for name, told, size, code, scale_of in (
        ("MXFP4", mxfp4(x), 32, tiny, lambda most: 2.0 ** (math.floor(math.log2(most)) - 2)),
        ("MXFP8", mxfp8(x), 32, eight, lambda most: 2.0 ** (math.floor(math.log2(most)) - 8)),
        ("NVFP4", nvfp4(x), 16, tiny, shared),
    ):
        rounded = []
        for block in x.reshape(-1, size):
            scale = scale_of(max(abs(block)))
            rounded += [scale * code[np.argmin(abs(code - value / scale))] for value in block]
        checks.close(f"{name}, 384 numbers", told.ravel(), np.array(rounded), rtol=1e-12)
