"""Nights of four engines: by hand, and against a list schedule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.batch_serving.batch_serving import list_schedule
from serving_mathematics.architecture.batch_serving.night_of_shards import (
    BACK_S,
    ENGINES,
    KILLED_AT_S,
    MISHAPS,
    _night,
    _rows_s,
    _shards_s,
    example,
)


@given(st.lists(st.floats(1, 500), min_size=1, max_size=30), st.floats(0, 50))
def test_an_undisturbed_night_is_a_list_schedule(work: list[float], overhead: float) -> None:
    bars = _night(np.array(work), overhead, MISHAPS[0])
    ends = list_schedule(np.array(work) + overhead, ENGINES)[1]
    assert max(end for *_, end, _ in bars) == pytest.approx(ends.max())


def test_a_killed_shard_is_done_again_by_whoever_is_free() -> None:
    """Four shards of an hour; the last engine is killed, and another takes its shard at the end."""
    bars = _night(np.full(4, 3600.0), 0.0, MISHAPS[1])
    lost = [(engine, start, end) for engine, start, end, state in bars if state == "broken"]
    assert lost == [(ENGINES - 1, 0.0, KILLED_AT_S)]
    back = KILLED_AT_S + BACK_S
    again = [bar for bar in bars if bar[3] == "answer" and bar[1] >= back]
    assert again == [(ENGINES - 1, back, back + 3600.0, "answer")]


def test_a_slower_engine_takes_fewer_shards() -> None:
    bars = _night(np.full(40, 100.0), 0.0, MISHAPS[2])
    counts = [sum(b[0] == e and b[3] == "answer" for b in bars) for e in range(ENGINES)]
    assert counts == [11, 11, 10, 8] or counts[-1] < min(counts[:-1])


def test_shards_are_all_rows() -> None:
    for count in (1, 7, 64):
        shards = _shards_s(count)
        assert shards.size == count
        assert shards.sum() == pytest.approx(_rows_s().sum())
        assert shards.max() < 1.1 * shards.mean()


def test_engines_for_ten_million_rows_end_in_time_whatever_the_order() -> None:
    """By hand: 10⁷/23.02 s of work. One engine fewer is late in the worst order of shards."""
    told = example()
    for engines, rate, overhead_s in (
        (told.ten_million_running, 23.02, 3.58),
        (told.ten_million_starting, 23.02, 123.58),
    ):
        work_s = 1e7 / rate
        ends = [
            (work_s + n * overhead_s) / m + (1 - 1 / m) * (work_s / n + overhead_s)
            for m in (engines - 1, engines)
            for n in [round(((m - 1) * work_s / overhead_s) ** 0.5)]
        ]
        assert ends[1] <= 8 * 3600 < ends[0]
    assert told.ten_million_running == 16  # 15.1 by the rate alone
