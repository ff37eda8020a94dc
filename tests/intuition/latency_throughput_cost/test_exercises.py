"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from serving_mathematics.core.hardware.roofline import (
    attainable_flops,
    cost_per_million,
    critical_batch,
    decode_step_time,
    largest_batch,
    matmul_intensity,
    ridge_intensity,
)
from serving_mathematics.intuition.latency_throughput_cost.exercises import (
    batch_in_memory,
    cheapest_device,
    weight_compression_gain,
)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_bad_machines(bad: float) -> None:
    with pytest.raises(ValueError, match="peak_flops must be positive and finite"):
        ridge_intensity(bad, 1.0)
    with pytest.raises(ValueError, match="bandwidth must be positive and finite"):
        attainable_flops(1.0, 1.0, bad)
    with pytest.raises(ValueError, match="intensity must be"):
        attainable_flops([1.0, bad], 1.0, 1.0)
    with pytest.raises(ValueError, match="batch must be positive"):
        matmul_intensity(bad, 1.0, 1.0)
    with pytest.raises(ValueError, match="width must be positive"):
        matmul_intensity(1.0, bad, 1.0)
    with pytest.raises(ValueError, match="hidden must be positive"):
        matmul_intensity(1.0, 1.0, bad)
    with pytest.raises(ValueError, match="ridge must be"):
        critical_batch(bad, 1e4, 1e4)
    with pytest.raises(ValueError, match="batch must be"):
        decode_step_time(bad, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="parameters must be"):
        decode_step_time(1, bad, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="weight_bytes must be"):
        decode_step_time(1, 1.0, bad, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="limit_s must be"):
        largest_batch(bad, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="price_per_hour must be"):
        cost_per_million(bad, 1.0)
    with pytest.raises(ValueError, match="tokens_per_s must be"):
        cost_per_million(1.0, [1.0, bad])
    with pytest.raises(ValueError, match="limit_s must be"):
        cheapest_device({"a": (1e9, 1e9, 1e9, 1.0)}, 1.0, 1.0, 1, bad)


def test_memory_is_filled_to_the_last_sequence() -> None:
    assert batch_in_memory(100.0, 40.0, 2.0, 10) == 3
    assert batch_in_memory(99.0, 40.0, 2.0, 10) == 2
    for arguments, name in (
        ((100.0, 0.0, 2.0, 10), "weight_bytes"),
        ((100.0, 4.0, 0.0, 10), "kv_bytes_per_token"),
        ((100.0, 4.0, 1.0, 2.5), "context_tokens"),
        ((5.0, 4.0, 1.0, 2), "memory_bytes"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be"):
            batch_in_memory(*arguments)


def test_compression_gain_falls_with_the_batch() -> None:
    gains = [weight_compression_gain(b, 7e9, 1e9, 1e15, 3e12) for b in (1, 4, 16, 64, 256)]
    assert gains == sorted(gains, reverse=True)
    assert weight_compression_gain(1, 7e9, 0, 1e15, 3e12, new_bytes=1.0) == pytest.approx(2.0)
    for bad in (0.0, math.nan, 3.0):
        with pytest.raises(ValueError, match="new_bytes must be"):
            weight_compression_gain(1, 1.0, 1.0, 1.0, 1.0, new_bytes=bad)
    with pytest.raises(ValueError, match="old_bytes must be"):
        weight_compression_gain(1, 1.0, 1.0, 1.0, 1.0, old_bytes=math.inf)


def test_cheapest_device_obeys_memory_and_objective() -> None:
    small = {"small": (1e15, 1e12, 12e9, 1.0)}
    assert cheapest_device(small, 5e9, 1e6, 1000, 1.0)[1] == 2  # memory decides
    assert cheapest_device(small, 5e9, 1e6, 1000, 0.0115)[1] == 1  # the objective decides
    tight = small | {"full": (1e15, 9e12, 10.5e9, 0.1)}  # weights fit, no cache beside them
    assert cheapest_device(tight, 5e9, 1e6, 1000, 1.0)[0] == "small"
    with pytest.raises(ValueError, match="devices must be able"):
        cheapest_device(small, 5e9, 1e6, 1000, 0.010)
    with pytest.raises(ValueError, match="devices must be able"):
        cheapest_device({}, 5e9, 1e6, 1000, 0.010)
