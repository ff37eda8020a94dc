"""The roofline: what a device attains by the intensity of what it computes, and a decoding step.

A kernel of intensity I [FLOP/byte] runs at min(π, βI). A decode step of B sequences takes
max(2BN/π, weights/β) + B·KV/β.

Assumes: peaks are reached, weights and cache come from memory once per step, equal contexts.

Source: Williams, Waterman and Patterson (2009) for the roofline; Austin et al. (2025), part 7, for
the intensity of a matrix product and the general step time.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_all_positive,
    require_non_negative,
    require_positive,
)

H100_PEAK, H100_BANDWIDTH = 989.4e12, 3.35e12  # [FLOP/s] bf16 dense, [B/s], SXM; Lockwood, H100
A100_PEAK, A100_BANDWIDTH = 312e12, 2.039e12  # [FLOP/s] fp16 dense, [B/s], 80 GB SXM; Lockwood
TPU_V5E_PEAK, TPU_V5E_BANDWIDTH = 1.97e14, 8.2e11  # [FLOP/s], [B/s], Austin et al. (2025), part 7
LLAMA_7B_PARAMETERS = 6_738_415_616  # Llama 2 7B, all of them, embeddings too
LLAMA_7B_KV = 2 * 32 * 4096 * 2  # [B/token] keys and values, 32 layers of width 4096, fp16
CONTEXT = 2048  # [tokens] of the worked example


def ridge_intensity(peak_flops: float, bandwidth: float) -> float:
    """Intensity at which the two roofs meet, R = π/β [FLOP/byte].

    peak_flops: π [FLOP/s]. bandwidth: β [B/s]. Raises ValueError unless both are positive and
    finite.

    >>> ridge_intensity(peak_flops=600.0, bandwidth=3.0)
    200.0
    """
    peak_flops, bandwidth = require_positive(peak_flops=peak_flops, bandwidth=bandwidth)
    return peak_flops / bandwidth


def attainable_flops(
    intensity: npt.ArrayLike, peak_flops: float, bandwidth: float
) -> npt.NDArray[np.float64]:
    """Highest rate that a kernel of this intensity can reach, min(π, βI) [FLOP/s].

    intensity: I [FLOP/byte], any shape. peak_flops: π [FLOP/s]. bandwidth: β [B/s]. Returns the
    shape of intensity. Raises ValueError unless all are positive and finite.

    >>> attainable_flops([1.0, 500.0], peak_flops=600.0, bandwidth=3.0).tolist()
    [3.0, 600.0]
    """
    bandwidth = as_number(bandwidth=bandwidth)
    values = as_floats(intensity=intensity)
    require(
        values.size > 0 and np.all((values > 0) & (values < math.inf)),
        "intensity",
        "non-empty, positive and finite",
        intensity,
    )
    return np.asarray(bandwidth * np.minimum(ridge_intensity(peak_flops, bandwidth), values))


def matmul_intensity(batch: float, width: float, hidden: float) -> float:
    """Intensity of [B, D] times [D, F] in two-byte numbers, BDF/(BD + DF + BF) [FLOP/byte].

    batch: B tokens. width: D. hidden: F. 2BDF operations on 2(BD + DF + BF) bytes. Raises
    ValueError unless all are positive and finite.

    >>> matmul_intensity(batch=2.0, width=4.0, hidden=4.0)
    1.0
    """
    batch, width, hidden = require_positive(batch=batch, width=width, hidden=hidden)
    return 1 / (1 / batch + 1 / width + 1 / hidden)


def decode_step_time(
    batch: npt.ArrayLike,
    parameters: float,
    weight_bytes: float,
    kv_bytes: float,
    peak_flops: float,
    bandwidth: float,
) -> npt.NDArray[np.float64]:
    """Time by two roofs of a step that gives each of B sequences one token, which is TPOT [s].

    batch: B ≥ 1, any shape. parameters: N. weight_bytes: all of them [B]. kv_bytes: cache of one
    sequence [B], 0 to leave it out. peak_flops, bandwidth: π [FLOP/s] and β [B/s], of all devices
    together. Returns max(2BN/π, weights/β) + B·KV/β, shape of batch. Raises ValueError outside
    these ranges.

    >>> float(decode_step_time(2, 3.0, 6.0, 1.0, peak_flops=60.0, bandwidth=2.0))
    4.0
    """
    sequences = as_floats(batch=require_all_finite(batch=batch))
    require(
        sequences.size > 0 and np.all(sequences >= 1),
        "batch",
        "non-empty, at least 1 and finite",
        batch,
    )
    parameters, weight_bytes = require_positive(parameters=parameters, weight_bytes=weight_bytes)
    kv_bytes = require_non_negative(kv_bytes=kv_bytes)
    peak_flops, bandwidth = require_positive(peak_flops=peak_flops, bandwidth=bandwidth)
    linear = np.maximum(2 * sequences * parameters / peak_flops, weight_bytes / bandwidth)
    return np.asarray(linear + sequences * kv_bytes / bandwidth)


def cost_per_million(price_per_hour: float, tokens_per_s: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Price of a million tokens, 10⁶·C/(3600·X) [currency of the price].

    price_per_hour: C of all devices together. tokens_per_s: X, any shape. Raises ValueError unless
    both are positive and finite.

    >>> float(cost_per_million(3.6, tokens_per_s=500.0))
    2.0
    """
    rate = as_floats(tokens_per_s=require_all_positive(tokens_per_s=tokens_per_s))
    price_per_hour = require_positive(price_per_hour=price_per_hour)
    require(rate.size > 0, "tokens_per_s", "non-empty, positive and finite", tokens_per_s)
    return np.asarray(1e6 * price_per_hour / (3600 * rate))
