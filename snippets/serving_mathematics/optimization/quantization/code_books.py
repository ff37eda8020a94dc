"""Which numbers a code of b bits should stand for when the weights are Gaussian.

Every code book rounds to the nearest of its values, so that cells end halfway between neighbours.
A value at its cell's mean cannot be improved; alternating the two conditions is Lloyd's and Max's
iteration and ends at the least mean squared error. With equal steps only the step is free. NF4
takes quantiles instead, so that all codes are used about equally often, and adds an exact 0.

Assumes: a normal distribution with mean 0 and standard deviation 1, known before.

Source: Max (1960), tables I and II; Lloyd (1982); Dettmers et al. (2023), section 3 and appendix E,
with bitsandbytes' create_normal_map.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.optimization.quantization.bits_and_noise import (
    SINE_CREST,
    full_scale_sqnr_db,
    sqnr_db,
)
from serving_mathematics.optimization.quantization.quantization import quantize
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import TENTHS, half_width
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

NF4_PUBLISHED = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)  # Dettmers et al. (2023), appendix E: what the derivation is compared with
MAX_STEPS = (1.596, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308)  # Max (1960), table II


def _cells(code: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Probability of every cell of a code book under N(0, 1), and ∫x·φ(x)dx over it."""
    edges = (code[1:] + code[:-1]) / 2
    below = [0.5 * math.erfc(-edge / math.sqrt(2)) for edge in edges]
    density = np.exp(-np.square(edges) / 2) / math.sqrt(2 * math.pi)
    probability = np.diff(np.array([0.0, *below, 1.0]))
    return probability, -np.diff(np.array([0.0, *density, 0.0]))


def gaussian_distortion(code: npt.ArrayLike) -> float:
    """Mean squared error of rounding a standard normal number to the nearest value of a code book.

    code: strictly increasing and finite, shape (n,), n ≥ 1. D = 1 − 2Σy_i·m_i + Σy_i²·p_i with p_i
    the probability of cell i and m_i its share of the mean. Raises ValueError on other input.

    >>> gaussian_distortion([0.0])
    1.0
    """
    y = as_floats(code=code)
    fine = y.ndim == 1 and y.size > 0 and np.isfinite(y).all() and np.all(np.diff(y) > 0)
    require(fine, "code", "strictly increasing, finite and not empty", y)
    probability, moment = _cells(y)
    return float(1 - 2 * y @ moment + np.square(y) @ probability)


def lloyd_max(levels: int, tolerance: float = 1e-10) -> FloatArray:
    """The code book with the least mean squared error for N(0, 1), by Lloyd's and Max's iteration.

    levels: n, an integer from 1 to 64. Starts at the quantiles of N(0, 3), the density of the best
    values when there are many; moves every value to the mean of its cell, and keeps both sides
    alike, until none moves by more than the tolerance, in (0, 1). Shape (n,). Raises ValueError
    outside these ranges.

    >>> lloyd_max(2).round(6).tolist()  # ± √(2/π)
    [-0.797885, 0.797885]
    """
    levels = as_number(levels=levels)
    require(1 <= levels <= 64 and levels % 1 == 0, "levels", "an integer from 1 to 64", levels)
    tolerance = require_in("(0, 1)", tolerance=tolerance)
    middle = (np.arange(int(levels)) + 0.5) / levels
    code = np.array([math.sqrt(3) * NormalDist().inv_cdf(share) for share in middle])
    moved = math.inf
    while moved > tolerance:
        probability, moment = _cells(code)
        better = moment / probability
        better = (better - better[::-1]) / 2
        moved = float(np.abs(better - code).max())
        code = better
    return code


def uniform_code(levels: int, step: float) -> FloatArray:
    """Values at equal distances around 0, (i − (n − 1)/2)·step, shape (n,).

    levels: n, a positive integer. step: positive. Raises ValueError outside these ranges.

    >>> uniform_code(4, step=1.0).tolist()
    [-1.5, -0.5, 0.5, 1.5]
    """
    levels = require_positive_integer(levels=levels)
    require_work(levels, levels=levels)
    step = require_positive(step=step)
    return np.asarray((np.arange(int(levels)) - (levels - 1) / 2) * step)


def optimal_step(levels: int) -> float:
    """Step of the equally spaced code book with the least mean squared error for N(0, 1).

    levels: n, an even integer from 2 to 1024. By golden-section search between 1/n and 4, where the
    error first falls and then rises. Raises ValueError outside this range.

    >>> round(optimal_step(4), 4)
    0.9957
    """
    levels = as_number(levels=levels)
    even = 2 <= levels <= 1024 and levels % 2 == 0
    require(even, "levels", "an even integer from 2 to 1024", levels)
    ratio = (math.sqrt(5) - 1) / 2
    low, high = 1 / levels, 4.0
    while high - low > 1e-8 * high:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        errors = [gaussian_distortion(uniform_code(levels, step)) for step in (left, right)]
        low, high = (low, right) if errors[0] < errors[1] else (left, high)
    return (low + high) / 2


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


def _db(distortion: float) -> float:
    """SQNR [dB] of a signal of variance 1."""
    return -10 * math.log10(distortion)


def _uniform_db(bits: int) -> float:
    """SQNR [dB] of the best equal steps for N(0, 1)."""
    return _db(gaussian_distortion(uniform_code(2**bits, _best_step(bits))))


@functools.cache
def _lloyd(levels: int) -> FloatArray:
    return lloyd_max(levels)


@functools.cache
def _best_step(bits: int) -> float:
    return optimal_step(2**bits)


def _weights(seed: int = 4) -> FloatArray:
    """A tensor of Gaussian numbers."""
    return np.random.default_rng(seed).normal(size=65_536)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: errors per variance, ratios in dB, probabilities in percent."""
    four = _lloyd(4)
    absmax = [sqnr_db(w, quantize(w, 8).values()) for w in map(_weights, range(4, 4 + TENTHS))]
    code = normal_float(4)
    used = _cells(code * NormalDist().inv_cdf(1 - (1 / 16 + 1 / 15) / 4))[0]
    return SimpleNamespace(
        uniform_4_bits_db=_uniform_db(4),
        lloyd_4_bits_db=_db(gaussian_distortion(_lloyd(16))),
        lloyd_4_levels_inner=float(four[2]),
        lloyd_4_levels_outer=float(four[3]),
        lloyd_4_levels_error=gaussian_distortion(four),
        bound_4_bits_db=full_scale_sqnr_db(2**4, math.sqrt(3)),
        uniform_8_bits_db=_uniform_db(8),
        absmax_8_bits_db=float(np.mean(absmax)),
        absmax_8_half_db=float(half_width(np.mean, absmax)),
        nf4_rarest_percent=100 * float(used.min()),
        nf4_commonest_percent=100 * float(used.max()),
        nf4_last=1 - (1 / 16 + 1 / 15) / 4,
    )


def figure_sqnr_by_bits(figure: Figure) -> None:
    """Each bit buys 6 dB; what is lost below the line depends on how the values are placed.

    Lines: a sine that fills the range, and the line of 6.02 dB per bit, which is a uniform signal
    and also Shannon's bound for a Gaussian one. Dots: a sampled sine and 65,536 Gaussian numbers
    that were quantized, with the range set by the largest. Squares: the best equal steps for a
    Gaussian; triangles: Lloyd's and Max's values.

    Alt: Chart of signal-to-noise ratio from 0 to 53 dB against 2 to 8 bits. Two parallel straight
    lines rise by 6 dB per bit, the sine line 1.8 dB above the other. Dots of the sine lie on or
    just below its line. Triangles lie a few dB below the lower line, squares below them with a
    growing distance. Dots of Gaussian numbers scaled by their largest lie lowest, about 8 dB below
    the line.
    """
    axes = figure.subplots()
    bits = np.arange(2, 9)
    axes.plot(bits, [full_scale_sqnr_db(2.0**b, SINE_CREST) for b in bits], color="C4", lw=1.2)
    axes.plot(bits, [full_scale_sqnr_db(2.0**b, math.sqrt(3)) for b in bits], "--", color="C4")
    phase = 2 * math.pi * (np.arange(20_000) + 0.5) / 20_000
    sine, weights = np.sin(phase), _weights()
    for signal, colour in ((sine, "C1"), (weights, "C0")):
        got = [sqnr_db(signal, quantize(signal, int(b), symmetric=False).values()) for b in bits]
        axes.plot(bits, got, "o", color=colour)
    axes.plot(bits, [_uniform_db(int(b)) for b in bits], "s", color="C2", markersize=5)
    few = bits[:4]
    lloyd = [_db(gaussian_distortion(_lloyd(2 ** int(b)))) for b in few]
    axes.plot(few, lloyd, "^", color="C5")
    for text, place, colour in (
        ("sine", (6.3, 45.0), "C1"),
        ("6.02 dB per bit", (2.0, 27.0), "C4"),
        ("best values (Lloyd, Max)", (5.2, 23.3), "C5"),
        ("best equal steps", (6.2, 29.0), "C2"),
        ("largest sets the range", (5.2, 17.0), "C0"),
    ):
        axes.annotate(text, place, color=colour)
    axes.set(xlim=(1.8, 8.2), ylim=(0, 53))
    axes.set(xlabel="bits per number", ylabel="signal to quantization noise [dB]")


def check_equal_steps() -> None:
    """The best equal steps for a Gaussian are those of Max's table, the errors too.

    Source: Max (1960), table II, four digits; errors for 4 and 16 steps to six.
    """
    for bits, published in enumerate(MAX_STEPS, start=1):
        got = _best_step(bits)
        places = 3 if bits == 1 else 4
        checks.close(
            f"step, {2**bits} values", got, published, atol=0.6 * 10**-places, kind="published"
        )
    for bits, error in ((2, 0.118846), (4, 0.011543)):
        got = gaussian_distortion(uniform_code(2**bits, _best_step(bits)))
        checks.close(f"error, {2**bits} values", got, error, atol=6e-7, kind="published")
    checks.close("16 values [dB]", _uniform_db(4), 19.38, atol=0.005, kind="published")


def check_lloyd_max() -> None:
    """The iteration ends at Max's values and errors, and no cell can be improved by moving one.

    Source: Max (1960), table I, with errors 0.117482 for 4 values and 0.034548 for 8; 2/π for two;
    the gradient by differences. For 16 values Max prints 0.009497, four units of the last digit
    less than what the iteration ends at.
    """
    checks.close("2 values", lloyd_max(2)[1], math.sqrt(2 / math.pi), atol=1e-9)
    four = _lloyd(4)
    checks.close("4 values", four[2:], [0.45278, 1.51042], atol=6e-6, kind="published")
    for levels, error in ((4, 0.117482), (8, 0.034548)):
        got = gaussian_distortion(_lloyd(levels))
        checks.close(f"error, {levels} values", got, error, atol=6e-7, kind="published")
    got = gaussian_distortion(_lloyd(16))
    checks.close("error, 16 values", got, 0.009497, atol=5e-6, kind="published")
    eight = _lloyd(8)
    for place in (0, 3):
        nudge = np.zeros(8)
        nudge[place] = 1e-5
        slope = gaussian_distortion(eight + nudge) - gaussian_distortion(eight - nudge)
        checks.close(f"∂D/∂y{place}", slope / 2e-5, 0.0, atol=1e-8)


def check_nf4() -> None:
    """The quantiles give all sixteen values of NF4 to seven digits, and use them nearly alike.

    Source: Dettmers et al. (2023), appendix E, computed there in single precision.
    """
    got = normal_float(4)
    for i in range(0, 16, 4):
        label = f"values {i + 1} to {i + 4}"
        checks.close(label, got[i : i + 4], NF4_PUBLISHED[i : i + 4], atol=2e-7, kind="published")
    checks.close(
        "offset in bitsandbytes", example().nf4_last, 0.9677083, atol=5e-8, kind="published"
    )


def check_bad_input_is_refused() -> None:
    """Code books out of order, no values and odd numbers of steps name the argument."""
    checks.raises("order", gaussian_distortion, [1.0, 0.0], match="code must be strictly")
    checks.raises("no values", lloyd_max, 0, match="levels must be an integer from 1")
    checks.raises("odd", optimal_step, 3, match="levels must be an even integer")
    checks.raises("step 0", uniform_code, 4, 0.0, match="step must be positive")
    checks.raises("one bit", normal_float, 1, match="bits must be an integer from 2")
