"""Touched experts, draws of benchmarks and loads: limits, a brute count, and errors."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.machine.mixture_of_experts.expert_routing import (
    busiest_device,
    experts_a_token,
    skewed_counts,
    touched_by_popularity,
)


def test_touched_by_every_outcome() -> None:
    """Three tokens that take each of two experts or not: all 64 outcomes, weighed."""
    shares = (0.3, 0.8)
    total = 0.0
    for outcome in product((0, 1), repeat=6):
        chance = math.prod(
            shares[i % 2] if taken else 1 - shares[i % 2] for i, taken in enumerate(outcome)
        )
        total += chance * (any(outcome[0::2]) + any(outcome[1::2]))
    assert touched_by_popularity(shares, 3) == pytest.approx(total)


@given(st.integers(2, 300), st.data())
def test_a_token_alone_pays_for_its_own_and_a_crowd_for_all(
    experts: int, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(1, experts))
    part = FeedForward(0, 1, experts, chosen)
    assert experts_a_token(part, 1) == pytest.approx(chosen)
    assert 1e6 * experts_a_token(part, 1e6) == pytest.approx(experts)
    paid = [experts_a_token(part, tokens) for tokens in (1, 2, 5, 20, 100)]
    touched = [tokens * share for tokens, share in zip((1, 2, 5, 20, 100), paid, strict=True)]
    rounding = 1 + 1e-12
    assert all(later <= share * rounding for share, later in pairwise(paid))
    assert all(more * rounding >= fewer for fewer, more in pairwise(touched))


@given(st.integers(1, 300), st.integers(2, 64), st.floats(1.01, 2.5), st.integers(0, 99), st.data())
def test_skewed_draws_keep_their_promises(
    tokens: int, experts: int, exponent: float, seed: int, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(1, experts))
    counts = skewed_counts(tokens, experts, chosen, exponent, np.random.default_rng(seed))
    assert counts.sum() == tokens * chosen
    assert counts.min() >= 0
    assert counts.max() <= tokens


def test_skew_is_the_power_laws() -> None:
    """With many tokens, counts over their sum are those of a truncated power law."""
    rng = np.random.default_rng(5)
    counts = np.concatenate([skewed_counts(4000, 200, 2, 1.2, rng) for _ in range(20)])
    share = float((counts > 40).mean())  # the mean count
    low, high = 1.0, 3200.0 ** (-0.2)
    drawn = ((high - low) * np.linspace(0, 1, 200_001) + low) ** -5.0
    expected = float((drawn > drawn.mean()).mean())
    assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 4000) ** 0.5)
    assert skewed_counts(64, 8, 2, 1.2, np.random.default_rng(0)).tolist() == [
        13, 3, 2, 2, 29, 48, 12, 19,
    ]  # fmt: skip


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.sampled_from([1, 2, 4]))
def test_busiest_device_by_loops(counts: list[int], devices: int) -> None:
    if sum(counts) == 0:
        return
    size = 4 // devices
    groups = [counts[i * size : (i + 1) * size] for i in range(devices)]
    loads = [sum(group) for group in groups]
    touched, over = busiest_device(counts, devices)
    assert over == pytest.approx(max(loads) / (sum(counts) / devices))
    assert touched == sum(count > 0 for count in groups[loads.index(max(loads))])
    assert 1 <= over <= devices


def test_a_dense_layer_routes_nothing() -> None:
    with pytest.raises(ValueError, match="part must be a layer with"):
        experts_a_token(FeedForward(5), 4)
