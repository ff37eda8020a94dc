"""Limits and oracles of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.machine.mixture_of_experts.exercises import (
    busiest_with_copies,
    step_longer,
    tokens_for_share,
)
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
