"""Times of expert kernels: the term of the step, its two regimes, and what is left out."""

from __future__ import annotations

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
