"""Where two roofs meet, as the page says it."""

from __future__ import annotations

import pytest
from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.core.hardware.roofline import attainable_flops
from serving_mathematics.intuition.latency_throughput_cost.two_roofs import example
from serving_mathematics.machine.attention_memory.attention_memory import (
    attention_flops,
    read_bytes,
)


def test_the_ridge_is_the_last_intensity_on_the_slope() -> None:
    ridge = example().ridge_h100
    below, above = attainable_flops([0.9 * ridge, 1.1 * ridge], 989.4e12, 3.35e12).tolist()
    assert below == pytest.approx(0.9 * 989.4e12)
    assert above == 989.4e12


def test_attention_is_lifted_by_shared_heads_as_attention_memory_counts_it() -> None:
    shown = example()
    for name, got in (
        ("Llama-3.1-70B", shown.grouped_intensity),
        ("DeepSeek-R1", shown.latent_intensity),
    ):
        model, _ = find_model(name)
        assert got == pytest.approx(attention_flops(model, 1) / read_bytes(model, 1), rel=1e-12)
    assert 1 < shown.grouped_intensity < shown.latent_intensity < shown.ridge_h100
