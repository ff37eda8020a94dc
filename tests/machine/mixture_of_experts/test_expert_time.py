"""Times of a layer's experts: the term of the step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.architectures import Architecture, Attention, FeedForward
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.step_time import FITTED, count_work, decode_step_s
from serving_mathematics.machine.mixture_of_experts.expert_routing import experts_a_token
from serving_mathematics.machine.mixture_of_experts.expert_time import experts_s


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
