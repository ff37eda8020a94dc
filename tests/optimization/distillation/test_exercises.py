"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.core.batching.speculative_decoding import expected_tokens
from serving_mathematics.optimization.distillation.exercises import (
    acceptance_from_log,
    acceptance_without_probabilities,
    best_length_in_batch,
    seeds_needed,
)
from serving_mathematics.optimization.distillation.speculative_sampling import acceptance_rate


@given(st.floats(0.001, 0.1), st.floats(0, 0.2), st.floats(0, 0.9))
def test_seeds_are_the_fewest(gain: float, sd: float, share: float) -> None:
    image_error = share * gain / stats.norm.ppf(0.975)
    seeds = seeds_needed(gain, sd, image_error)

    def reach(count: int) -> float:
        return float(stats.norm.ppf(0.975)) * math.hypot(sd / math.sqrt(count), image_error)

    assert reach(seeds) <= gain * (1 + 1e-9)
    assert seeds == 2 or reach(seeds - 1) > gain * (1 - 1e-9)


@given(st.floats(0, 1), st.integers(1, 40))
def test_log_is_inverted(alpha: float, gamma: int) -> None:
    share = (expected_tokens(alpha, gamma) - 1) / gamma
    found = acceptance_from_log(share, gamma)
    assert (expected_tokens(found, gamma) - 1) / gamma == pytest.approx(share, abs=1e-12)
    assert alpha ** (1 if gamma == 1 else gamma) <= share + 1e-12 <= alpha + 2e-12


def test_log_of_one_token_is_alpha() -> None:
    assert acceptance_from_log(0.37, 1) == pytest.approx(0.37)
    assert acceptance_from_log(0.5, 2) == pytest.approx((math.sqrt(5) - 1) / 2)


@given(st.integers(0, 10**6))
def test_probabilities_never_hurt(seed: int) -> None:
    p, q = np.random.default_rng(seed).dirichlet(np.full(7, 0.5), 2)
    assert acceptance_without_probabilities(p, q) <= acceptance_rate(p, q) + 1e-12
    assert acceptance_without_probabilities(p, q) == pytest.approx(float(p @ q))


def test_batches_shorten_drafts() -> None:
    lengths = [best_length_in_batch(0.8, 0.05, batch, 300.0) for batch in range(1, 320, 7)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == 8
    assert lengths[-1] == 0
    assert best_length_in_batch(0.8, 0.05, 1, 300.0, longest=3) == 3
    assert best_length_in_batch(0.8, 0.05, 150, 300.0) == 1
    assert best_length_in_batch(0.05, 0.06, 1, 300.0) == 0


@pytest.mark.parametrize("bad", [0, -1, 1.5, math.nan, math.inf])
def test_solutions_refuse(bad: Any) -> None:
    with pytest.raises(ValueError, match="draft_tokens must be a positive integer"):
        acceptance_from_log(0.5, bad)
    with pytest.raises(ValueError, match="batch must be a positive integer"):
        best_length_in_batch(0.5, 0.1, bad, 9.0)
    with pytest.raises(ValueError, match="longest must be a positive integer"):
        best_length_in_batch(0.5, 0.1, 1, 9.0, bad)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_solutions_refuse_ranges(bad: float) -> None:
    with pytest.raises(ValueError, match="gain must be positive"):
        seeds_needed(bad, 0.1)
    with pytest.raises(ValueError, match="seed_sd must be non-negative"):
        seeds_needed(0.1, bad)
    with pytest.raises(ValueError, match=r"image_error must be in \[0, 0\.051\)"):
        seeds_needed(0.1, 0.1, bad)
    with pytest.raises(ValueError, match=r"accepted_share must be in \[0, 1\]"):
        acceptance_from_log(bad, 3)
    with pytest.raises(ValueError, match="cost_ratio must be positive"):
        best_length_in_batch(0.5, bad, 1, 9.0)
    with pytest.raises(ValueError, match="free_positions must be positive"):
        best_length_in_batch(0.5, 0.1, 1, bad)
    with pytest.raises(ValueError, match="acceptance must be in"):
        best_length_in_batch(bad, 0.1, 1, 9.0)
    with pytest.raises(ValueError, match="q must be a distribution"):
        acceptance_without_probabilities([1.0, 0.0], [bad, 0.0])
