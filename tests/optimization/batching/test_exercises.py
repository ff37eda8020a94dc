"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import EIGHT_BILLION, Engine
from serving_mathematics.optimization.batching.exercises import (
    passed_share,
    sequences_that_fit,
    token_budget_for,
    what_to_change,
)


def test_a_budget_passes_in_proportion() -> None:
    assert passed_share(512, 0.02, 10.0, 1000, 280) == pytest.approx(2.0)
    assert passed_share(1024, 0.04, 20.0, 1000, 280) == pytest.approx(1.0)
    assert passed_share(1024, 0.04, 20.0, 280, 1000) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("place", "bad"), [(0, 0), (0, 1.5), (1, 0), (2, -1), (3, 0), (4, math.nan)]
)
def test_impossible_loads_are_refused(place: int, bad: float) -> None:
    names = ("token_budget", "step_s", "arrival_rate", "prompt_tokens", "output_tokens")
    arguments: list[Any] = [512, 0.02, 10.0, 1000, 280]
    arguments[place] = bad
    with pytest.raises(ValueError, match=f"{names[place]} must be"):
        passed_share(*arguments)


def test_what_hurts_most_is_changed_first() -> None:
    assert what_to_change(0.5, 2.0, 9, 9, 1.0) == "leave blocks free"
    assert what_to_change(0.0, 2.0, 9, 9, 1.0) == "smaller budget"
    assert what_to_change(0.0, 2.0, 9, 9, 0.2) == "another replica"
    assert what_to_change(0.0, 2.0, 0, 9, 0.2) == "smaller budget"
    assert what_to_change(0.0, 0.2, 9, 0, 1.0) == "more memory"
    assert what_to_change(0.0, 0.2, 9, 0, 0.2) == "more places"
    assert what_to_change(0.0, 0.2, 9, 1, 0.2) == "larger budget"
    assert what_to_change(0.0, 0.2, 0, 0, 1.0) == "nothing"


@pytest.mark.parametrize(
    ("place", "bad", "name"),
    [
        (0, -0.1, "preempted_share"),
        (1, math.nan, "gap_over_promise"),
        (2, -1, "waiting"),
        (3, 0.5, "free_places"),
        (4, 1.1, "cache"),
    ],
)
def test_a_dashboard_without_sense_is_refused(place: int, bad: float, name: str) -> None:
    arguments: list[Any] = [0.0, 0.5, 0, 0, 0.5]
    arguments[place] = bad
    with pytest.raises(ValueError, match=f"{name} must be"):
        what_to_change(*arguments)


def test_token_budget_counts_who_decodes() -> None:
    assert token_budget_for(0.05, 10, 0.04, 0.001) == 20
    assert token_budget_for(0.05, 0, 0.01, 0.001) == 40
    with pytest.raises(ValueError, match="step_target_s must be at least"):
        token_budget_for(0.05, 10, 0.05, 0.001)


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
    endless = Engine(1.0, kv_blocks=2**36)  # 2²⁵ blocks in the mean, of a billion steps
    assert sequences_that_fit([16], [2**30], endless, margin=0) == 2**11 - 1


@pytest.mark.parametrize("bad", [0, -1, 1.5, 1e99, math.nan, math.inf])
def test_counts_in_exercises_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="prompt_tokens must be positive integers"):
        sequences_that_fit([bad, 3], [1, 2], EIGHT_BILLION)
    with pytest.raises(ValueError, match="output_tokens must be positive integers"):
        sequences_that_fit([1, 3], [bad, 2], EIGHT_BILLION)
    if bad in (-1, 1.5) or not math.isfinite(bad):
        with pytest.raises(ValueError, match="sequences must be a non-negative integer"):
            token_budget_for(0.1, bad, 0.0, 0.001)
