"""Floors beside the kernels that were measured, and their sums by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.architectures import Attention, FeedForward
from serving_mathematics.core.hardware.deployments import WORKED, Storage
from serving_mathematics.core.hardware.kernel_floors import (
    SMALL_S,
    attention_floor_s,
    expert_floor_s,
    feed_forward_floor_s,
    layers_floor_s,
    matrix_floor_s,
)
from serving_mathematics.core.hardware.step_time import MESSAGE_S
from serving_mathematics.support.measuring import read_record

FLOORS = read_record("machine_kernels")["systems"]


@pytest.mark.parametrize(
    ("system", "generation"),
    [
        ("a100_sxm", "ampere"),
        ("h100_sxm", "hopper"),
        ("h200_sxm", "hopper"),
        ("b200_sxm", "blackwell"),
    ],
)
def test_floors_are_those_of_measured_kernels(system: str, generation: str) -> None:
    """Medians of three backends lie around the floors; quantizing the input is measured with it."""
    measured = FLOORS[system]
    matrix = [
        measured["matrix floor [s]"][f"{b} bfloat16"]["median"]
        for b in ("sglang", "trtllm", "vllm")
    ]
    assert matrix_floor_s(generation, 2.0) == pytest.approx(np.median(matrix), rel=0.1)
    multiplies = generation != "ampere"  # in eight bits
    if multiplies:
        of = measured["matrix floor [s]"]
        eight = [of[f"{b} fp8_block"]["median"] for b in ("sglang", "trtllm")]
        assert matrix_floor_s(generation, 1.0) == pytest.approx(np.median(eight), rel=0.15)
    attention = [row["median"] for row in measured["attention floor [s]"].values()]
    kernel = attention_floor_s(Attention("full", 0), generation, 2.0)
    kernel -= 2 * matrix_floor_s(generation, 2.0) + 2 * SMALL_S
    assert min(attention) * 0.95 <= kernel <= max(attention)
    experts = measured["experts floor [s]"]
    for precision, name in ((1.0, "fp8_block"), (2.0, "bfloat16"))[0 if multiplies else 1 :]:
        found = [experts[f"{b} {name}"]["median"] for b in ("sglang", "trtllm", "vllm")]
        assert expert_floor_s(generation, "vllm", precision, False) == pytest.approx(
            np.median(found), rel=0.25
        )
    if not multiplies:  # whose newest kernels are SGLang's
        for precision, name in ((2.0, "bfloat16"), (0.53125, "int4_wo")):
            own = expert_floor_s(generation, "sglang", precision, False)
            assert own == pytest.approx(experts[f"sglang {name}"]["median"], rel=0.05)
    messages = [row["median"] for row in measured["message floor [s]"].values()]
    assert 0.8 * min(messages) < MESSAGE_S < 1.1 * max(messages)


def test_floors_add_up() -> None:
    kept = Storage(1.0, 1.0, 1.0, 2.0, 2.0)
    dense = feed_forward_floor_s(FeedForward(10), 64, "hopper", "vllm", kept, False)
    assert dense == pytest.approx(2 * 5.2e-6 + 2 * 2.5e-6)
    mixture = feed_forward_floor_s(FeedForward(64 * 8, 5, 8, 2), 64, "hopper", "vllm", kept, False)
    assert mixture == pytest.approx(32e-6 + 3.2e-6 + 4e-6 + 5e-6)
    shared = feed_forward_floor_s(FeedForward(9999, 5, 8, 2), 64, "hopper", "vllm", kept, False)
    assert shared == pytest.approx(mixture + 2 * 5.2e-6 + 2.5e-6)
    assert feed_forward_floor_s(FeedForward(0), 64, "hopper", "vllm", kept, False) == 0
    linear = attention_floor_s(Attention("linear", 1), "blackwell", 2.0)
    assert linear == pytest.approx(3 * 2.6e-6 + 7e-6 + 7.5e-6)
    plain = attention_floor_s(Attention("latent", 1), "hopper", 2.0)
    assert plain == pytest.approx(52e-6 + 2.5e-6)
    assert attention_floor_s(Attention("latent", 1), "blackwell", 2.0) == pytest.approx(42.5e-6)
    sparse = attention_floor_s(Attention("latent", 1, selected_tokens=2048), "hopper", 2.0)
    assert sparse - plain == pytest.approx(25e-6)
    assert attention_floor_s(Attention("none", 0), "hopper", 2.0) == 0
    layers = (3, Attention("linear", 1), FeedForward(10)), (2, Attention("none", 0), FeedForward(0))
    model = replace(WORKED.architecture, hidden=64, layers=layers)
    each = 3 * 5.2e-6 + 7e-6 + 7.5e-6  # matrices in eight bits
    assert layers_floor_s(model, "hopper", "vllm", kept) == pytest.approx(3 * (each + dense))
    blocks = attention_floor_s(Attention("full", 1, index_width=9), "hopper", 2.0)
    assert blocks == pytest.approx(attention_floor_s(Attention("full", 1), "hopper", 2.0) + 25e-6)


@pytest.mark.parametrize(
    ("generation", "backend", "bytes_a_value", "four_bit", "micros"),
    [
        ("blackwell", "vllm", 2.0, False, 22), ("blackwell", "vllm", 1.0, False, 29),
        ("blackwell", "vllm", 0.5625, False, 18), ("blackwell", "vllm", 0.53125, False, 50),
        ("blackwell", "vllm", 0.53125, True, 19), ("hopper", "trtllm", 0.53125, True, 72),
        ("hopper", "vllm", 0.53125, True, 40), ("hopper", "sglang", 0.53125, True, 36),
        ("hopper", "vllm", 0.53125, False, 50), ("hopper", "vllm", 2.0, False, 32),
    ],
)  # fmt: skip
def test_floors_of_experts_are_those_that_were_measured(
    generation: str, backend: str, bytes_a_value: float, four_bit: bool, micros: float
) -> None:
    found = expert_floor_s(generation, backend, bytes_a_value, four_bit)
    assert found == pytest.approx(micros * 1e-6)
