"""Times of expert kernels: the term of the step, its two regimes, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.architectures import Architecture, Attention, FeedForward
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.step_time import FITTED, count_work, decode_step_s
from serving_mathematics.machine.mixture_of_experts.expert_kernels import (
    ROUTINGS,
    _line,
    _scored,
    _touched_as_routed,
    experts_s,
)
from serving_mathematics.machine.mixture_of_experts.expert_routing import experts_a_token


def test_routing_touches_what_it_says() -> None:
    assert _touched_as_routed("Qwen3-30B-A3B", "balanced", 3) == 24
    assert _touched_as_routed("Qwen3-30B-A3B", "balanced", 100) == 128
    for routing in ROUTINGS[1:]:
        assert _touched_as_routed("Qwen3-30B-A3B", routing, 1) <= 8
        assert 40 < _touched_as_routed("Qwen3-30B-A3B", routing, 16) < 90


def test_what_is_left_out_is_faster_than_the_data_sheet() -> None:
    """And nothing else: every balanced kernel of DeepSeek-V3 with vLLM or SGLang at 64 tokens."""
    scored = _scored()
    assert scored["DeepSeek-V3"]["impossible"].sum() > 20
    assert sum(found["impossible"].sum() for found in scored.values()) == (
        scored["DeepSeek-V3"]["impossible"].sum()
    )
    for backend, beaten in (("vllm", True), ("sglang", True), ("trtllm", False)):
        line = _line(backend=backend, model="DeepSeek-V3", devices=1, routing="balanced")
        seconds = line["seconds"][line["x"].index(64)]
        assert (seconds < 256 * 3 * 7168 * 2048 / 3.35e12) is beaten


@pytest.mark.parametrize("tokens", [1.0, 7.0, 64.0, 20_000.0])
def test_it_is_the_term_of_a_decoding_step(tokens: float) -> None:
    """Ten layers of nothing but experts take ten times as long, and a vocabulary of one."""
    part = FeedForward(0, 5_000_000, experts=64, chosen=4)
    model = Architecture("experts", 8, 1, 1, 131072, ((10, Attention("none", 0), part),))
    one = replace(WORKED, architecture=model, concurrency=tokens)
    bare = replace(FITTED, factor_trtllm=0.0, factor_sglang=0.0, factor_vllm=0.0, sequence_s=0.0)
    step = float(decode_step_s(count_work([one]), bare, np.array([tokens]), np.zeros(1))[0])
    kernel = experts_s(
        tokens * experts_a_token(part, tokens),
        4 * tokens,
        5_000_000,
        2.0,
        one.system.bandwidth_bytes_per_s,
        one.system.bf16_flops_per_s * FITTED.prompt_expert_share,
        floor_s=0.0,
    )
    assert step == pytest.approx(10 * kernel, rel=1e-6)
