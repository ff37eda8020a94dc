"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.utilization.exercises import (
    busy_from_log,
)


@given(
    st.lists(st.tuples(st.integers(-5, 15), st.integers(0, 10)), min_size=1, max_size=12),
    st.integers(0, 5),
)
def test_log_gauges_equal_counting_ticks(log: list[tuple[int, int]], first: int) -> None:
    starts = [start for start, _ in log]
    ends = [start + length for start, length in log]
    last, servers = first + 8, len(log)
    ticks = [sum(s <= t < e for s, e in zip(starts, ends, strict=True)) for t in range(first, last)]
    busy, any_server = busy_from_log(starts, ends, servers, first, last)
    assert busy == pytest.approx(sum(ticks) / (8 * servers))
    assert any_server == pytest.approx(sum(tick > 0 for tick in ticks) / 8)
