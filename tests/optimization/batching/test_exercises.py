"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import EIGHT_BILLION, Engine
from serving_mathematics.optimization.batching.exercises import (
    sequences_that_fit,
    servers_for_target,
    sorted_efficiency,
    token_budget_for,
)


def test_servers_for_target_at_an_exact_multiple() -> None:
    assert servers_for_target(1600.0, 0.05, 0.001, 0.005) == (2, pytest.approx(0.8))


def test_sorted_efficiency_of_one_is_perfect() -> None:
    assert sorted_efficiency([3, 1, 2], 1) == 1.0
    assert sorted_efficiency([1, 2, 3, 10], 4) == pytest.approx(16 / 40)


def test_token_budget_counts_context() -> None:
    engine = Engine(0.01, prefill_token_s=0.001, decode_token_s=0.002, context_token_s=1e-5)
    assert token_budget_for(0.05, 10, 1000, engine) == 20
    assert token_budget_for(0.05, 0, 0, engine) == 40


def test_sequences_that_fit_grow_with_memory_and_shrink_with_margin() -> None:
    lengths = [100, 300], [50, 10]
    small, large = (
        sequences_that_fit(*lengths, Engine(1.0, kv_blocks=blocks)) for blocks in (100, 1000)
    )
    assert small < large < 1000
    assert sequences_that_fit(*lengths, Engine(1.0, kv_blocks=100), margin=0) > small
    held = [-(-tokens // 16) for tokens in [*range(100, 150), *range(300, 310)]]
    mean, deviation = np.mean(held), np.std(held)
    assert mean * small + 3 * deviation * math.sqrt(small) <= 100
    assert mean * (small + 1) + 3 * deviation * math.sqrt(small + 1) > 100


@pytest.mark.parametrize("bad", [0, -1, 1.5, 1e99, math.nan, math.inf])
def test_counts_in_exercises_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="prompt_tokens must be positive integers"):
        sequences_that_fit([bad, 3], [1, 2], EIGHT_BILLION)
    with pytest.raises(ValueError, match="output_tokens must be positive integers"):
        sequences_that_fit([1, 3], [bad, 2], EIGHT_BILLION)
    if bad in (-1, 1.5) or not math.isfinite(bad):
        with pytest.raises(ValueError, match="sequences must be a non-negative integer"):
            token_budget_for(0.1, bad, 0, EIGHT_BILLION)
    if bad == -1 or not math.isfinite(bad):
        with pytest.raises(ValueError, match="context must be non-negative and finite"):
            token_budget_for(0.1, 1, bad, EIGHT_BILLION)
