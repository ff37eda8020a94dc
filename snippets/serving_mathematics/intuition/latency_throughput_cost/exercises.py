"""Solutions: batch that fits in memory, gain of smaller weights, cheapest device for an objective.

Memory holds (M − weights)/(KV per token · context) sequences. Smaller weights shorten only the part
of a step that reads weights, so the gain fades as the batch grows. The cheapest device is the one
whose largest batch within memory and objective has the lowest price per token.

Assumes: the step time of the chapter; contexts of one length; nothing else takes memory.

Source: Austin et al. (2025), part 7, for the step time; the definitions of the chapter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace

from serving_mathematics.core.hardware.roofline import (
    cost_per_million,
    decode_step_time,
    largest_batch,
)
from serving_mathematics.intuition.latency_throughput_cost.latency_throughput_cost import (
    HBM_BYTES,
    KV_BYTES,
    PARAMETERS,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "batch_in_memory": (
        "Take the weights once from the memory and divide the rest by the cache of one sequence"
        " at its full context. Part of a sequence does not count."
    ),
    "weight_compression_gain": (
        "Use `decode_step_time` twice. Only the bytes of the weights change; the cache is read "
        "as before and the arithmetic stays, so the gain fades as the batch grows."
    ),
    "cheapest_device": (
        "For each device the batch is limited by memory and by the objective: take the smaller."
        " The price of a token is the price of the time of a step over its batch, so a dear "
        "device can win."
    ),
}


def batch_in_memory(
    memory_bytes: float, weight_bytes: float, kv_bytes_per_token: float, context_tokens: int
) -> int:
    """Most sequences whose caches fit beside the weights.

    memory_bytes: of all devices [B]. weight_bytes [B]. kv_bytes_per_token: of one sequence [B].
    context_tokens: input and output together. Raises ValueError unless all are positive and finite,
    and when not even one sequence fits.

    >>> batch_in_memory(100.0, weight_bytes=40.0, kv_bytes_per_token=2.0, context_tokens=10)
    3
    """
    memory_bytes, weight_bytes, kv_bytes_per_token = require_positive(
        memory_bytes=memory_bytes, weight_bytes=weight_bytes, kv_bytes_per_token=kv_bytes_per_token
    )
    context_tokens = require_positive_integer(context_tokens=context_tokens)
    cache = kv_bytes_per_token * context_tokens
    needed = weight_bytes + cache
    require(memory_bytes >= needed, "memory_bytes", f"at least {needed:g}", memory_bytes)
    return int((memory_bytes - weight_bytes) // cache)


def weight_compression_gain(
    batch: int,
    parameters: float,
    kv_bytes: float,
    peak_flops: float,
    bandwidth: float,
    *,
    old_bytes: float = 2.0,
    new_bytes: float = 0.5,
) -> float:
    """Step time with old weights over step time with smaller ones; the cache stays as it is.

    batch: B. parameters: N. kv_bytes: cache of one sequence [B]. peak_flops, bandwidth: of all
    devices. old_bytes, new_bytes: per parameter, new at most old. Arithmetic stays in the old
    precision. Raises ValueError outside these ranges.

    >>> weight_compression_gain(1, 8.0, 4.0, peak_flops=1e9, bandwidth=1.0)
    2.5
    """
    new_bytes = as_number(new_bytes=new_bytes)
    old_bytes = require_positive(old_bytes=old_bytes)
    require(0 < new_bytes <= old_bytes, "new_bytes", f"in (0, {old_bytes:g}]", new_bytes)
    before, after = (
        decode_step_time(batch, parameters, parameters * size, kv_bytes, peak_flops, bandwidth)
        for size in (old_bytes, new_bytes)
    )
    return float(before / after)


def cheapest_device(
    devices: Mapping[str, tuple[float, float, float, float]],
    parameters: float,
    kv_bytes_per_token: float,
    context_tokens: int,
    limit_s: float,
) -> tuple[str, int, float]:
    """Device, batch and price per million tokens that is lowest within memory and objective.

    devices: by name (π [FLOP/s], β [B/s], memory [B], price per hour). parameters: N, of two bytes.
    limit_s: objective for TPOT [s]. A device that cannot hold or serve one sequence is left out.
    Raises ValueError when none remains or the objective is not positive and finite.

    >>> two = {"old": (1e15, 1e12, 1e11, 1.0), "new": (1e15, 2e12, 1e11, 3.0)}
    >>> name, batch, price = cheapest_device(two, 5e9, 1e6, 1000, limit_s=0.030)
    >>> name, batch, round(price, 4)
    ('old', 20, 0.4167)
    """
    limit_s = require_positive(limit_s=limit_s)
    weights, cache = 2 * parameters, kv_bytes_per_token * context_tokens
    offers = []
    for name, (peak, bandwidth, memory, price) in devices.items():
        fits = memory >= weights + cache
        alone = decode_step_time(1, parameters, weights, cache, peak, bandwidth)
        if fits and alone <= limit_s:
            batch = min(
                batch_in_memory(memory, weights, kv_bytes_per_token, context_tokens),
                largest_batch(limit_s, parameters, weights, cache, peak, bandwidth),
            )
            step = decode_step_time(batch, parameters, weights, cache, peak, bandwidth)
            offers.append((float(cost_per_million(price, batch / step)), name, batch))
    require(len(offers) > 0, "devices", "able to serve one sequence", list(devices))
    price, name, batch = min(offers)
    return name, batch, price


def example() -> SimpleNamespace:
    """Answers to the exercises, in the unit that the name says."""
    machine = (PARAMETERS, KV_BYTES * 2048, 989.4e12, 3.35e12)
    return SimpleNamespace(
        batch_at_4096=batch_in_memory(HBM_BYTES, 2 * PARAMETERS, KV_BYTES, 4096),
        gain_alone=weight_compression_gain(1, *machine),
        gain_at_64=weight_compression_gain(64, *machine),
    )


def check_memory() -> None:
    """On eight TPU v5e with 16 GB each Llama 2 13B fits with 15 caches of 6.7 GB, not with 16.

    Source: Austin et al. (2025), part 7: 133.2 for 16 sequences against 128 (printed as GiB).
    """
    batch = batch_in_memory(128e9, 26e9, 6.7e9 / 8192, 8192)
    checks.equal("sequences", batch, 15)
    checks.close("16 would need [GB]", 26 + 16 * 6.7, 133.2, atol=0.05, kind="published")


def check_compression_fades() -> None:
    """Weights a quarter as large speed a lone sequence up, and do nothing where arithmetic rules.

    Source: limits of the step time: without cache 4 at batch 1, and 1 at a large batch.
    """
    lone = weight_compression_gain(1, 7e9, 0.0, 1e15, 3e12)
    checks.close("no cache, batch 1", lone, 4.0, rtol=1e-12)
    crowd = weight_compression_gain(4000, 7e9, 0.0, 1e15, 3e12)
    checks.close("batch 4000", crowd, 1.0, rtol=1e-12)
    checks.close("half cache", weight_compression_gain(1, 1.0, 2.0, 1e9, 1.0), 1.6, rtol=1e-12)


def check_cheapest_device() -> None:
    """The choice has the lowest price among all devices and batches that are allowed.

    Source: every device and batch up to 300 tried one by one.
    """
    devices = {
        "a": (312e12, 2.0e12, 80e9, 1.5),
        "b": (989e12, 3.35e12, 80e9, 2.5),
        "c": (366e12, 0.864e12, 48e9, 0.9),
        "d": (989e12, 5.0e12, 14.5e9, 0.1),  # holds the weights and not one sequence
    }
    for limit in (0.0046, 0.012, 0.025, 0.060):
        best = (math.inf, "", 0)
        for name, (peak, bandwidth, memory, price) in devices.items():
            for batch in range(1, 300):
                step = max(14e9 * batch / peak, 14e9 / bandwidth) + 1e9 * batch / bandwidth
                if step <= limit and 14e9 + 1e9 * batch <= memory:
                    best = min(best, (price * 1e6 * step / batch / 3600, name, batch))
        name, batch, price = cheapest_device(devices, 7e9, 1e6, 1000, limit)
        checks.equal(f"within {1e3 * limit:g} ms", (name, batch), best[1:])
        checks.close("its price", price, best[0], rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """What cannot hold a sequence, grow by compression or meet an objective is refused."""
    checks.raises("too small", batch_in_memory, 1.0, 2.0, 1.0, 1, match="memory_bytes must be")
    checks.raises("NaN", batch_in_memory, math.nan, 2.0, 1.0, 1, match="memory_bytes must be")
    checks.raises(
        "larger", weight_compression_gain, 1, 1.0, 1.0, 1.0, 1.0, new_bytes=4.0, match="new_bytes"
    )
    one = {"a": (1.0, 1.0, 1.0, 1.0)}
    checks.raises("none", cheapest_device, one, 9.0, 1.0, 1, 1.0, match="devices must be able")
