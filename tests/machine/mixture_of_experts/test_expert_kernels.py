"""Times of expert kernels: the term of the step, its two regimes, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.step_time import (
    expert_floor_s,
)
from serving_mathematics.machine.mixture_of_experts import expert_kernels
from serving_mathematics.machine.mixture_of_experts.expert_kernels import (
    _MIXTURES,
    ROUTINGS,
    _kernels,
    _scored,
    _touched_as_routed,
)


def test_shapes_are_those_of_the_configurations() -> None:
    from serving_mathematics.core.hardware.catalogue import find_model

    for name, mixture in _MIXTURES.items():
        assert mixture.bytes_a_value > 0
        part = find_model(name)[0].layers[-1][2]
        assert part.expert_parameters == mixture.part.expert_parameters, name
        assert (part.experts, part.chosen) == (mixture.part.experts, mixture.part.chosen), name


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
        line = _kernels(
            system="h100_sxm", backend=backend, model="DeepSeek-V3", devices=1, routing="balanced"
        )
        seconds = line["seconds"][line["x"].index(64)]
        assert (seconds < 256 * 3 * 7168 * 2048 / 3.35e12) is beaten


def test_a_kernel_that_multiplies_is_scored_by_its_choices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a device that multiplies slowly: each token's choices. What takes as long as reading is
    possible, a step of 512 tokens decodes, and lines of other devices are others."""
    mixture = _MIXTURES["Mixtral-8x7B"]
    slow = replace(find_system("h100_sxm"), bf16_flops_per_s=1e12)
    read_s = 8 * mixture.part.expert_parameters * 2.0 / slow.bandwidth_bytes_per_s
    line = {"system": "h100_sxm", "backend": "vllm", "model": "Mixtral-8x7B", "devices": 1}
    line |= {"routing": "balanced", "x": [64, 512, 513], "seconds": [read_s, 1.0, 1.0]}
    others = [line | {"devices": 2}, line | {"system": "b200_sxm"}]
    monkeypatch.setattr(expert_kernels, "_lines", lambda _: [line, *others])
    monkeypatch.setattr(expert_kernels, "find_system", lambda _: slow)
    scored = _scored.__wrapped__("h100_sxm")["Mixtral-8x7B"]
    floor_s = expert_floor_s(slow.generation, "vllm", 2.0, False)
    times = [
        floor_s + 2 * 2 * tokens * mixture.part.expert_parameters / 1e12 for tokens in (64, 512)
    ]
    assert scored["routed"] == pytest.approx([times[0] / read_s, times[1]])
    assert scored["impossible"].tolist() == [0.0, 0.0]
