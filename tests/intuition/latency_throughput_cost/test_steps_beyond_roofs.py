"""The roofline of a loop: below every model of it, in proportion to the device, and the record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.catalogue import deployed
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.step_terms import DATA_SHEET
from serving_mathematics.core.hardware.step_time import FITTED, count_work
from serving_mathematics.intuition.latency_throughput_cost.steps_beyond_roofs import (
    _runs,
    roofline_per_token_s,
)


@given(
    st.sampled_from(["Llama-3.1-70B", "DeepSeek-R1", "gpt-oss-120b", "Kimi-K3"]),
    st.sampled_from(["h200", "b200"]),
    st.sampled_from([1, 16, 300]),
)
def test_the_model_is_never_below_its_roofs(name: str, system: str, load: float) -> None:
    one = deployed(name, system, precision="fp8", tensor=8, concurrency=load)
    work = count_work([one])
    assert roofline_per_token_s(work)[0] < loop_latencies(work, FITTED).per_token_s[0]
    assert roofline_per_token_s(work)[0] <= loop_latencies(work, DATA_SHEET).per_token_s[0]


def test_twice_the_device_takes_half_the_time() -> None:
    fast = replace(
        WORKED.system,
        bandwidth_bytes_per_s=2 * WORKED.system.bandwidth_bytes_per_s,
        bf16_flops_per_s=2 * WORKED.system.bf16_flops_per_s,
    )
    both = count_work([WORKED, replace(WORKED, system=fast)])
    slow_s, fast_s = roofline_per_token_s(both)
    assert slow_s == pytest.approx(2 * fast_s)


def test_devices_share_roofs_without_messages() -> None:
    both = count_work([WORKED, replace(WORKED, tensor=8)])
    one_s, eight_s = roofline_per_token_s(both)
    assert one_s == pytest.approx(8 * eight_s)


def test_the_longer_of_two_is_below_their_sum() -> None:
    runs = _runs()
    assert np.all((runs.prompts >= 0) & (runs.prompts < 1))
    factor = runs.over_longer / runs.over_sum
    assert factor == pytest.approx(1 / np.maximum(runs.prompts, 1 - runs.prompts))


def test_no_deployment_is_refused() -> None:
    work = count_work([WORKED]).rows(np.array([False]))
    with pytest.raises(ValueError, match="work must be one deployment or more"):
        roofline_per_token_s(work)
