"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.arrival_rates.exercises import (
    example,
    pools,
    routed_dispersion,
    what_bursts,
)


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(0, 1e6)), min_size=1, max_size=9))
def test_one_pool_needs_no_more_than_two(minutes: list[tuple[float, float]]) -> None:
    prompts, answers = ([one[i] for one in minutes] for i in (0, 1))
    one, read, written = pools(prompts, answers, 0.0001, 0.001)
    assert max(read, written) <= one <= read + written
    with pytest.raises(ValueError, match="answer_tokens must be"):
        pools(prompts, [*answers, 1.0], 0.0001, 0.001)


def test_what_bursts_at_its_edges() -> None:
    assert what_bursts(0.79, 9.0) == "paced"
    with pytest.raises(ValueError, match="by_minute must be"):
        what_bursts(1.0, -1.0)


@given(st.floats(0, 50), st.floats(0.01, 1), st.floats(0.01, 1))
def test_routing_twice_is_routing_once(index: float, first: float, second: float) -> None:
    twice = routed_dispersion(routed_dispersion(index, first), second)
    assert twice == pytest.approx(routed_dispersion(index, first * second), abs=1e-9)
    assert routed_dispersion(index, 1.0) == pytest.approx(index, abs=1e-12)


def test_the_pencil_gets_the_pools_from_what_the_page_prints() -> None:
    told = example()
    prompts, answers = 0.00001 * told.pool_prompts, 0.0001 * told.pool_answers
    for due, mean, peak in (
        (told.pool_read, prompts, told.pool_prompts_peak),
        (told.pool_written, answers, told.pool_answers_peak),
        (told.pool_one, prompts + answers, told.pool_both_peak),
    ):
        assert math.ceil(300 * mean * round(peak, 3) / 60) == due
