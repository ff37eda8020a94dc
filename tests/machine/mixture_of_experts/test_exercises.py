"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.machine.mixture_of_experts.exercises import (
    busiest_with_copies,
    step_longer,
    tokens_for_share,
)
from serving_mathematics.machine.mixture_of_experts.exercises import example as answers
from serving_mathematics.machine.mixture_of_experts.expert_routing import experts_a_token


@given(st.floats(0.02, 0.98), st.integers(2, 300), st.data())
def test_enough_tokens_and_no_more(share: float, experts: int, data: st.DataObject) -> None:
    chosen = data.draw(st.integers(1, experts - 1))
    found = tokens_for_share(share, experts, chosen)
    part = FeedForward(0, 1, experts, chosen)
    assert experts_a_token(part, found) <= share * chosen
    assert found == 1 or experts_a_token(part, found - 1) > share * chosen


@given(st.floats(0, 1), st.floats(0.05, 1), st.floats(0.05, 1))
def test_a_step_grows_with_the_busiest_device(share: float, before: float, now: float) -> None:
    busiest_before, busiest_now = 1 / before, 1 / now
    rest = busiest_before * (1 - share)
    expected = (rest + share * busiest_now) / busiest_before
    assert step_longer(share, before, now) == pytest.approx(expected)


@given(st.lists(st.integers(0, 9), min_size=4, max_size=4), st.sampled_from([0, 2, 4]))
def test_copies_against_every_placement(loads: list[int], copies: int) -> None:
    """Greedy placing is within a third of the best of all placements of the same copies."""
    if sum(loads) == 0:
        return
    found = busiest_with_copies(loads, 2, copies)
    instances = [1] * 4
    for _ in range(copies):
        instances[max(range(4), key=lambda i: (loads[i] / instances[i], -i))] += 1
    parts = [loads[i] / instances[i] for i in range(4) for _ in range(instances[i])]
    half, mean = len(parts) // 2, sum(loads) / 2
    best = min(
        max(sum(parts[i] for i in range(len(parts)) if picks >> i & 1), 0)
        if bin(picks).count("1") != half
        else max(
            sum(parts[i] for i in range(len(parts)) if picks >> i & 1),
            sum(parts[i] for i in range(len(parts)) if not picks >> i & 1),
        )
        for picks in range(2 ** len(parts))
        if bin(picks).count("1") == half
    )
    assert best / mean - 1e-12 <= found <= 4 / 3 * best / mean + 1e-12


def test_answers_of_the_page() -> None:
    told = answers()
    assert told.without_copies > told.placed_only > told.with_copies >= 1
    assert told.half_of_mixture == pytest.approx(1.6 * 48, rel=0.03)
    assert told.board_longer == pytest.approx(0.4 * 0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_numbers_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\)"):
        tokens_for_share(bad, 8, 2)
    with pytest.raises(ValueError, match=r"balance_before must be in \(0, 1\]"):
        step_longer(0.5, bad, 0.5)
    with pytest.raises(ValueError, match="loads must be"):
        busiest_with_copies([1.0, bad], 2, 0)


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(ValueError, match="loads must be tokens, some of them"):
        busiest_with_copies([0, 0], 2, 0)
    with pytest.raises(ValueError, match="copies must be so that 2 devices divide 5"):
        busiest_with_copies([1, 2, 3, 4], 2, 1)
    with pytest.raises(ValueError, match="chosen must be below the 8 experts, got 8"):
        tokens_for_share(0.5, 8, 8)
