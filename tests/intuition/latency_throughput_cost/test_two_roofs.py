"""Where two roofs meet, as the page says it."""

from __future__ import annotations

import pytest
from serving_mathematics.core.hardware.roofline import attainable_flops
from serving_mathematics.intuition.latency_throughput_cost.two_roofs import example


def test_the_ridge_is_the_last_intensity_on_the_slope() -> None:
    ridge = example().ridge_h100
    below, above = attainable_flops([0.9 * ridge, 1.1 * ridge], 989.4e12, 3.35e12).tolist()
    assert below == pytest.approx(0.9 * 989.4e12)
    assert above == 989.4e12
