"""Shares of reserved and paged memory against loops over the steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.caching.paged_memory import (
    paged_use,
    slot_shares,
)

REQUESTS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 40)), min_size=1, max_size=8)


@given(REQUESTS, st.integers(1, 40))
def test_paged_use_counts_steps(requests: list[tuple[int, int]], block: int) -> None:
    held = [n for p, o in requests for n in range(p, p + o)]
    taken = [block * math.ceil(n / block) for n in held]
    prompts, outputs = zip(*requests, strict=True)
    assert paged_use(prompts, outputs, block) == pytest.approx(sum(held) / sum(taken))


@given(REQUESTS, st.integers(0, 50))
def test_shares_count_steps(requests: list[tuple[int, int]], spare: int) -> None:
    prompts, outputs = (np.array(x) for x in zip(*requests, strict=True))
    slots = prompts + outputs - 1 + spare
    used = later = never = 0
    for p, o, reserved in zip(prompts.tolist(), outputs.tolist(), slots.tolist(), strict=True):
        for held in range(p, p + o):
            used += held
            later += p + o - 1 - held
            never += reserved - (p + o - 1)
    total = used + later + never
    got = slot_shares(prompts, outputs, slots)
    assert got == pytest.approx((used / total, later / total, never / total), abs=1e-12)
    assert sum(got) == pytest.approx(1.0)


def test_limits() -> None:
    assert paged_use([5, 9], [3, 2], 1) == 1.0
    assert slot_shares([7], [1], 7) == (1.0, 0.0, 0.0)
    assert slot_shares([7, 1], [1, 1], 7)[0] == pytest.approx(8 / 14)


def test_shapes_and_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="prompts must be a non-empty"):
        slot_shares([], [], 9)
    with pytest.raises(ValueError, match="prompts must be a non-empty"):
        paged_use(5, 5, 9)
    with pytest.raises(ValueError, match="outputs must be of shape"):
        paged_use([1, 2], [1], 9)
    with pytest.raises(ValueError, match="slots must be a number or of shape"):
        slot_shares([1, 2], [1, 2], [9, 9, 9])
    for bad in (8.9, math.nan, math.inf):
        with pytest.raises(ValueError, match="slots must be finite"):
            slot_shares([5], [5], bad)


def test_lengths_beyond_counting_are_refused() -> None:
    with pytest.raises(ValueError, match="prompts must be positive integers below"):
        paged_use([1e99, 4.0], [2.0, 3.0], 16)
    with pytest.raises(ValueError, match="prompts must be positive integers below"):
        paged_use([2**31], [2], 16)


def test_the_most_that_is_counted() -> None:
    assert slot_shares([2**31 - 1], [2**31 - 1], 2**32)
    with pytest.raises(ValueError, match="outputs must be positive integers below"):
        slot_shares([1], [2**31], 2**32)
