"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.streaming.exercises import (
    Waste,
    longest_chunk,
    tpot_of_bundles,
    unread_tokens,
)
from serving_mathematics.architecture.streaming.streaming import (
    stream_metrics,
)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=2, max_size=20))
def test_single_tokens_are_their_own_bundles(events: list[tuple[float, int]]) -> None:
    times = np.cumsum([gap for gap, _ in events])
    per_event, per_token = tpot_of_bundles(times, [1] * len(events))
    assert per_event == per_token == pytest.approx(stream_metrics(times).tpot_s, abs=1e-9)
    per_event, per_token = tpot_of_bundles(times, [count for _, count in events])
    assert per_token <= per_event


@given(st.floats(0.001, 0.5), st.floats(0.002, 2), st.floats(100, 1e5))
def test_the_longest_chunk_is_the_longest(step: float, more: float, rate: float) -> None:
    if more * rate < 2:
        return
    chunk = longest_chunk(step + more, step, rate)
    assert step + chunk / rate <= (step + more) * (1 + 1e-9)
    assert step + (chunk + 1) / rate > (step + more) * (1 - 1e-9)


@given(st.floats(0, 2), st.floats(0, 0.1), st.integers(1, 200), st.floats(0, 3), st.floats(0, 2))
def test_waste_has_its_limits(
    ttft: float, tpot: float, tokens: int, rate: float, notice: float
) -> None:
    waste = unread_tokens(ttft, tpot, tokens, rate, notice)
    assert 0 <= waste.unread <= waste.generated <= tokens * (1 + 1e-12)
    assert unread_tokens(ttft, tpot, tokens, rate, 0.0).unread == pytest.approx(0, abs=1e-9)
    assert unread_tokens(ttft, tpot, tokens, rate, math.inf).generated == tokens
    assert isinstance(waste, Waste)
