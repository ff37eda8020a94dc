"""Which device is cheaper for a piece of work: the one that is cheap per operation or per byte.

On a device with peak π, bandwidth β and price C, work of I operations per byte costs
C·max(1/π, 1/(Iβ)) per operation. Of two devices, one cheaper per operation (C/π) and the other per
byte (C/β), the first is cheaper exactly above

    I* = max(C/β) / max(C/π),

each maximum over the two. A decode step has I = 2Nb/(w + bk), which stays below 2N/k however many
sequences share it.

Assumes: peaks and bandwidths as printed, fully used; prices in proportion to time; work of either
phase can be moved; as many sequences in a step on both, which memory must hold.

Source: Williams et al. (2009) for the roofline, as in Latency, throughput and cost; Patel et al.
(2024) for phases on different devices; the border is derived here.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.hardware.roofline import (
    A100_BANDWIDTH,
    A100_PEAK,
    H100_BANDWIDTH,
    H100_PEAK,
    attainable_flops,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_non_negative,
    require_positive,
)

FloatArray = npt.NDArray[np.float64]

H100_PRICE = 2.16  # over that of an A100; assumed, a ratio quoted from Splitwise
PARAMETERS = 8.03e9  # of Llama-3-8B, in two bytes each
KV_BYTES_PER_TOKEN = 131_072  # of the same model
CONTEXT_TOKENS = 1000  # of a sequence that decodes, in the worked numbers
PROMPT_TOKENS = 1500

A100 = (A100_PEAK, A100_BANDWIDTH, 1.0)
H100 = (H100_PEAK, H100_BANDWIDTH, H100_PRICE)


def border_intensity(
    peak_flops: tuple[float, float], bandwidth: tuple[float, float], price: tuple[float, float]
) -> float:
    """Operations per byte above which the device with cheaper operations is the cheaper one.

    peak_flops: π of both devices [FLOP/s]. bandwidth: β [B/s]. price: C, of equal times, in any
    currency. Infinite when one device is nowhere dearer than the other. Raises ValueError unless
    each is two positive and finite numbers.

    >>> border_intensity(peak_flops=(100.0, 400.0), bandwidth=(2.0, 4.0), price=(1.0, 3.0))
    75.0
    """
    peak_flops, bandwidth, price = as_numbers(
        peak_flops=peak_flops, bandwidth=bandwidth, price=price
    )
    pairs = {"peak_flops": peak_flops, "bandwidth": bandwidth, "price": price}
    for name, pair in pairs.items():
        fine = len(pair) == 2 and all(0 < value < math.inf for value in pair)
        require(fine, name, "two positive and finite numbers", pair)
    per_operation = [cost / peak for cost, peak in zip(price, peak_flops, strict=True)]
    per_byte = [cost / rate for cost, rate in zip(price, bandwidth, strict=True)]
    operations, moved = per_operation[0] - per_operation[1], per_byte[0] - per_byte[1]
    if operations * moved >= 0:
        return math.inf
    return max(per_byte) / max(per_operation)


def decode_intensity(
    batch: npt.ArrayLike, parameters: float, weight_bytes: float, kv_bytes: float
) -> FloatArray:
    """Operations per byte of a step that decodes one token of each sequence: 2Nb/(w + bk).

    batch: b ≥ 1, any shape. parameters: N. weight_bytes: of all of them [B]. kv_bytes: k, cache of
    one sequence [B], 0 to leave it out. Raises ValueError outside these ranges.

    >>> decode_intensity([1, 4], parameters=6.0, weight_bytes=12.0, kv_bytes=3.0).tolist()
    [0.8, 2.0]
    """
    b = as_floats(batch=batch)
    large = b.size > 0 and np.all((b >= 1) & (b < math.inf))
    require(large, "batch", "non-empty, at least 1 and finite", b)
    parameters, weight_bytes = require_positive(parameters=parameters, weight_bytes=weight_bytes)
    kv_bytes = require_non_negative(kv_bytes=kv_bytes)
    return np.asarray(2 * parameters * b / (weight_bytes + b * kv_bytes))


def _cost(intensity: npt.ArrayLike, device: tuple[float, float, float]) -> FloatArray:
    """Price of an operation on a device, in seconds of an A100."""
    peak, bandwidth, price = device
    return np.asarray(price / attainable_flops(intensity, peak, bandwidth))


def _decoding(batch: npt.ArrayLike, context: float) -> FloatArray:
    return decode_intensity(batch, PARAMETERS, 2 * PARAMETERS, context * KV_BYTES_PER_TOKEN)


def _border() -> float:
    return border_intensity(*zip(A100, H100, strict=True))


def example() -> SimpleNamespace:
    """Numbers quoted in the text: an A100 and an H100 of 2.16 times its price."""
    return SimpleNamespace(
        price_ratio=H100_PRICE,
        context_at_border=2 * PARAMETERS / KV_BYTES_PER_TOKEN / _border(),
    )


def figure_cost_by_intensity(figure: Figure) -> None:
    """The device with more operations for its price is cheaper only above a border of operations
    per byte: prompts lie above it, decode steps below.

    An A100, whose price at its peak is 1, and an H100 at 2.16 times the price. Dots on the cheaper
    device: steps that decode 1, 16 and 64 sequences of 1,000 tokens with a model of 8 billion
    parameters, and a prompt of 1,500 tokens.

    Alt: Price of an operation against operations per byte, both logarithmic. Two lines fall side by
    side, the A100 below the H100, until the A100 becomes level; the H100 keeps falling, crosses it
    at a dashed line and becomes level lower. Three dots for decoding lie on the A100's line before
    the crossing, a dot for a prompt on the H100's line beyond it.
    """
    axes = figure.subplots()
    intensity = np.geomspace(0.2, 3000, 400)
    unit = _cost(1e9, A100)
    for name, device, colour, at in (
        ("A100", A100, "C4", (900, 1.12)),
        ("H100", H100, "C0", (13, 20)),
    ):
        axes.plot(intensity, _cost(intensity, device) / unit, color=colour)
        axes.annotate(name, at, color=colour)
    axes.axvline(_border(), color="C5", linestyle="--")
    axes.annotate(f"border at {_border():.0f}", (230, 60), color="C5")
    for batch in (1, 16, 64):
        x = float(_decoding(batch, CONTEXT_TOKENS))
        y = float(_cost(x, A100) / unit)
        axes.plot(x, y, "o", color="C4")
        axes.annotate(f"decode {batch}", (0.88 * x, 0.6 * y), ha="right")
    axes.plot(PROMPT_TOKENS, _cost(PROMPT_TOKENS, H100) / unit, "o", color="C0")
    axes.annotate("prompt", (PROMPT_TOKENS, 0.48), ha="center")
    axes.set(xscale="log", yscale="log", xlim=(0.2, 3000), ylim=(0.35, 300))
    axes.minorticks_off()
    axes.set(xlabel="operations per byte [FLOP/B]", ylabel="price of an operation, relative")


def check_border_of_two_devices() -> None:
    """Below the border the device that is cheap per byte costs less, above it the other does, and
    at it both cost the same; without a border one is cheaper everywhere.

    Source: the attainable rate of the roofline chapter for 300 random pairs, on 200 intensities
    each.
    """
    rng = np.random.default_rng(81)
    intensity = np.geomspace(1e-3, 1e5, 200)
    wrong, unequal, borders = 0, 0.0, 0
    for _ in range(300):
        peaks, rates = 10 ** rng.uniform(1, 3, 2), 10 ** rng.uniform(0, 2, 2)
        prices = rng.uniform(0.5, 5, 2)
        border = border_intensity(tuple(peaks), tuple(rates), tuple(prices))
        costs = [
            price / attainable_flops(intensity, peak, rate)
            for peak, rate, price in zip(peaks, rates, prices, strict=True)
        ]
        first = costs[0] < costs[1]
        if math.isinf(border):
            wrong += not (np.all(first) or not np.any(first))
            continue
        borders += 1
        cheap_above = int(np.argmin(prices / peaks))
        wrong += int(np.sum(first != ((intensity > border) == (cheap_above == 0))))
        at = [
            float(price / attainable_flops(border, peak, rate))
            for peak, rate, price in zip(peaks, rates, prices, strict=True)
        ]
        unequal = max(unequal, abs(at[0] / at[1] - 1))
    checks.equal("intensities on the wrong side", wrong, 0)
    checks.close("costs at the border, ratio less 1", unequal, 0.0, atol=1e-12)
    checks.inside("pairs with a border", borders, 50, 250)


def check_decode_steps_stay_below() -> None:
    """With 1,000 tokens of context, no batch brings decoding to the border between A100 and H100;
    with 400 tokens, a batch of 587 sequences is the first to do so.

    Source: bytes and operations of a step by hand; 2N/k for endless batches.
    """
    checks.close("border", _border(), 2.16 * 312e12 / 3.35e12, rtol=1e-12)
    by_hand = 2 * 8.03e9 * 64 / (2 * 8.03e9 + 64 * 1000 * 131_072)
    checks.close("64 sequences", float(_decoding(64, 1000)), by_hand, rtol=1e-12)
    limit = 16.06e9 / (1000 * 131_072)
    checks.close("endless batch", float(_decoding(1e9, 1000)), limit, rtol=1e-5)
    checks.holds("it stays below", limit < _border(), got=limit)
    first, last = (float(_decoding(batch, 400)) for batch in (586, 587))
    checks.holds("400 tokens, 586 and 587", first < _border() < last, got=f"{first}, {last}")
