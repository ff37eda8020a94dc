"""One large channel takes the bits of all others; dividing it out moves the trouble to the weights.

Activations X (tokens × channels) with one scale have steps of peak/(2^(b−1) − 1). A channel that is
r times larger than the others leaves them a range of 1/r of the codes: log₂ r bits are gone. A
scale per token does not help, because every token has the large channel, and a scale per channel
cannot leave the sum over channels. SmoothQuant divides channel j by s_j and multiplies row j of the
weights by it, s_j = max|X_j|^α / max|W_j|^(1−α), which leaves the product as it was.

Assumes: outliers stay in the same channels for all tokens.

Source: Xiao et al. (2023), section 4, for s_j; Dettmers et al. (2022) for outliers in channels.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.optimization.quantization.bits_and_noise import full_scale_sqnr_db, sqnr_db
from serving_mathematics.optimization.quantization.quantization import quantize
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_in,
)

FloatArray = npt.NDArray[np.float64]

TOKENS, CHANNELS, OUTPUTS = 256, 128, 64  # of the worked layer


def smoothing_factors(
    activation_peaks: npt.ArrayLike, weight_peaks: npt.ArrayLike, strength: float = 0.5
) -> FloatArray:
    """What each channel is divided by and its weights multiplied by, max|X_j|^α / max|W_j|^(1−α).

    activation_peaks: max|X_j| over calibration tokens, positive, shape (channels,). weight_peaks:
    max|W_j| over the row of the channel, positive, same shape. strength: α in [0, 1]; 1 makes the
    activations equal, 0 the weights. Raises ValueError on other input.

    >>> smoothing_factors([16.0, 1.0], [1.0, 1.0]).tolist()
    [4.0, 1.0]
    """
    x, w = as_floats(activation_peaks=activation_peaks), as_floats(weight_peaks=weight_peaks)
    fine = x.ndim == 1 and x.size > 0 and np.all((x > 0) & (x < math.inf))
    require(fine, "activation_peaks", "positive and finite, of shape (n,)", x)
    fine = w.shape == x.shape and np.all((w > 0) & (w < math.inf))
    require(fine, "weight_peaks", f"positive and finite, of shape {x.shape}", w)
    strength = require_in("[0, 1]", strength=strength)
    return np.asarray(x**strength / w ** (1 - strength))


def smooth(
    activations: npt.ArrayLike, weights: npt.ArrayLike, strength: float = 0.5
) -> tuple[FloatArray, FloatArray]:
    """Activations divided and weights multiplied by the smoothing factors, with the same product.

    activations: X, shape (tokens, channels). weights: W, shape (channels, outputs). Both finite; a
    channel that is 0 in one of them stays as it is. strength: α in [0, 1]. Raises ValueError on
    other input.

    >>> x, w = smooth([[16.0, 1.0]], [[1.0], [1.0]])
    >>> x.tolist(), w.tolist()
    ([[4.0, 1.0]], [[4.0], [1.0]])
    """
    x, w = as_floats(activations=activations), as_floats(weights=weights)
    require(x.ndim == 2 and x.size > 0, "activations", "a non-empty matrix", x.shape)
    fits = w.ndim == 2 and w.size > 0 and w.shape[0] == x.shape[1]
    require(fits, "weights", f"a matrix of {x.shape[1]} rows", w.shape)
    require_all_finite(activations=x, weights=w)
    x_peaks, w_peaks = np.abs(x).max(axis=0), np.abs(w).max(axis=1)
    used = (x_peaks > 0) & (w_peaks > 0)
    factors = np.ones(x.shape[1])
    if used.any():
        factors[used] = smoothing_factors(x_peaks[used], w_peaks[used], strength)
    return x / factors, w * factors[:, None]


def bits_left(bits: int, outlier_ratio: float) -> float:
    """Bits that the ordinary numbers keep beside one that is r times their largest, b − log₂ r.

    bits: b, an integer from 2 to 16. outlier_ratio: r ≥ 1. Negative when they all become 0 or one
    step. Raises ValueError outside these ranges.

    >>> bits_left(8, outlier_ratio=16.0)
    4.0
    """
    bits, outlier_ratio = as_number(bits=bits, outlier_ratio=outlier_ratio)
    require(2 <= bits <= 16 and bits % 1 == 0, "bits", "an integer from 2 to 16", bits)
    require(1 <= outlier_ratio < math.inf, "outlier_ratio", "at least 1, finite", outlier_ratio)
    return bits - math.log2(outlier_ratio)


@functools.cache
def _layer(ratio: float) -> tuple[FloatArray, FloatArray]:
    """Gaussian activations of which channel 5 is r times as large, and Gaussian weights."""
    rng = np.random.default_rng(12)
    x = rng.normal(size=(TOKENS, CHANNELS))
    x[:, 5] *= ratio
    return x, rng.normal(size=(CHANNELS, OUTPUTS)) / math.sqrt(CHANNELS)


def _others(x: FloatArray) -> FloatArray:
    """All channels but the large one."""
    return np.delete(x, 5, axis=1)


def _ordinary_db(ratio: float, way: str) -> float:
    """SQNR [dB] of the ordinary channels when X is quantized to 8 bits in one of four ways."""
    x, w = _layer(ratio)
    if way == "smoothed":
        divided, _ = smooth(x, w)
        return sqnr_db(_others(divided), _others(quantize(divided, 8).values()))
    axis = {"per tensor": None, "per token": 1, "per channel": 0}[way]
    return sqnr_db(_others(x), _others(quantize(x, 8, axis=axis).values()))


def example() -> SimpleNamespace:
    """Numbers quoted in the text: the bits that an outlier of 100 leaves."""
    return SimpleNamespace(left_bits=bits_left(8, 100.0))


def figure_outlier_channel(figure: Figure) -> None:
    """One channel that is r times larger takes log₂ r bits from all others, unless it has its own
    scale or is divided out.

    Eight bits; signal to noise in the ordinary channels, by which numbers share a scale.

    Alt: Signal-to-noise ratio against the size of the outlier on a logarithmic axis. Per channel
    stays level, smoothed falls slowly, per tensor and per token fall steeply to nothing.
    """
    axes = figure.subplots()
    ratios = np.geomspace(1, 300, 10)
    for way, colour in (
        ("per channel", "C2"),
        ("smoothed", "C5"),
        ("per token", "C1"),
        ("per tensor", "C0"),
    ):
        levels = [_ordinary_db(r, way) for r in ratios]
        axes.plot(ratios, levels, "o-", markersize=3.5, color=colour)
        axes.annotate(way, (340, levels[-1]), color=colour, va="center")
    crest = 254 * math.sqrt(3) / 10 ** (_ordinary_db(1.0, "per tensor") / 20)
    line = [full_scale_sqnr_db(max(254 / r, 1.0), crest) for r in ratios]
    axes.plot(ratios, line, color="C4", linewidth=1)
    axes.annotate("log₂ r\nbits fewer", (22, 9), color="C4", ha="right", va="top")
    axes.set(xscale="log", xlim=(0.8, 2500), ylim=(-3, 49), xlabel="outlier over other channels")
    axes.set(ylabel="SQNR of the others [dB]")
    axes.minorticks_off()


def check_outlier_takes_bits() -> None:
    """An outlier of 100 costs the other channels log₂ 100 bits, 6.02 dB each; a scale per token
    recovers little, a scale per channel everything.

    Source: b − log₂ r with peaks instead of spreads, the SQNR of the ordinary channels alone at
    that many steps; while more than two steps are left.
    """
    for ratio in (4.0, 16.0):
        x, _ = _layer(ratio)
        others = _others(x)
        peak_ratio = float(np.abs(x).max() / np.abs(others).max())
        alone = sqnr_db(others, quantize(others, 8).values())
        expected = alone - 20 * math.log10(2.0) * (8 - bits_left(8, peak_ratio))
        got = _ordinary_db(ratio, "per tensor")
        checks.close(f"per tensor, r = {ratio:g} [dB]", got, expected, atol=0.3)
    gained = _ordinary_db(100.0, "per token") - _ordinary_db(100.0, "per tensor")
    kept = _ordinary_db(100.0, "per channel") - _ordinary_db(1.0, "per channel")
    checks.inside("gained per token [dB]", gained, 0.0, 10.0)
    checks.close("lost per channel [dB]", kept, 0.0, atol=0.01)


def check_smoothing() -> None:
    """The product stays the same; α = ½ makes the peaks of both sides of a channel equal; α = 0
    makes all channels of the weights equal, and α = 1 all channels of the activations.

    Source: exact arithmetic on a layer with an outlier of 30.
    """
    x, w = _layer(30.0)
    for strength in (0.0, 0.5, 1.0):
        left, right = smooth(x, w, strength)
        checks.close(f"product, α = {strength:g}", left @ right, x @ w, atol=1e-11)
        a, b = np.abs(left).max(axis=0), np.abs(right).max(axis=1)
        ends = {0.0: (b, np.ones(CHANNELS)), 0.5: (a, b), 1.0: (a, np.ones(CHANNELS))}
        checks.close(f"peaks, α = {strength:g}", *ends[strength], rtol=1e-12)
