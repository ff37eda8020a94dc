"""Batches of lines: by hand, by a slow loop, and what the record says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.machines.reader import READER, Reader, serve_batches
from serving_mathematics.core.machines.running import Run, run_engine


@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=30),
    st.lists(st.floats(0.1, 3.0), min_size=4, max_size=4),
    st.integers(1, 4),
)
def test_batches_keep_their_rules(arrivals: list[float], times: list[float], largest: int) -> None:
    moments = np.sort(arrivals)
    begin, end = serve_batches(moments, times, largest)
    assert np.all(begin >= moments)
    assert np.all(np.diff(begin) >= 0)
    starts, sizes = np.unique(begin, return_counts=True)
    assert sizes.max() <= largest
    ends = np.array([end[begin == start][0] for start in starts])
    assert np.allclose(ends - starts, np.array(times)[sizes - 1])
    assert np.all(starts[1:] >= ends[:-1] - 1e-12)
    for start, size in zip(starts, sizes, strict=True):  # nobody is left behind with room
        left = (moments <= start) & (begin > start)
        assert size == largest or not left.any()


def test_the_record_is_a_line_through_nothing() -> None:
    sizes = np.array(list(READER.measured_s))
    per_line = READER.batch_s(sizes) / sizes
    assert per_line.max() / per_line.min() < 1.35
    assert READER.how_wrong.runs == 40 * sizes.size
    assert READER.how_wrong.low <= 1.0 <= READER.how_wrong.high
    assert READER.ceiling_per_s == pytest.approx(8 / float(READER.batch_s(8)))
    assert READER.price_per_hour == READER.device_price_per_hour


def test_a_full_reader_does_what_the_ceiling_says() -> None:
    run = run_engine(READER, 3 * READER.ceiling_per_s, 4000, np.random.default_rng(1))
    assert 4000 / run.completion_s[-1] == pytest.approx(READER.ceiling_per_s, rel=0.01)
    assert run.busy_share > 0.99
    alone = run_engine(READER, 20.0, 4000, np.random.default_rng(1), places=1)
    assert alone.busy_share == pytest.approx(20 * float(READER.batch_s(1)), rel=0.05)
    assert isinstance(alone, Run)
    assert alone.places == 1
    same: Reader = READER.limited()
    assert same == READER
