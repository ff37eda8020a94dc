"""Seeds by place, mergeable moments and chunks: oracles, limits, properties, errors."""

from __future__ import annotations

import functools
from concurrent import futures
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.reference.scale_out import (
    Moments,
    chunk_limits,
    most_workers,
    place_rng,
    sample_moments,
    simulate_chunk,
)

SAMPLES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30)


def test_places_are_spawned_children() -> None:
    children = np.random.SeedSequence(11).spawn(6)
    for place in (0, 5):
        expected = np.random.default_rng(children[place]).integers(0, 2**60, 5)
        assert place_rng(11, place).integers(0, 2**60, 5).tolist() == expected.tolist()
    assert place_rng(1, 0).random() != place_rng(0, 1).random()


@given(SAMPLES, SAMPLES, SAMPLES)
def test_moments_merge_as_samples_join(one: Any, two: Any, three: Any) -> None:
    whole = sample_moments(one + two + three)
    parts = [sample_moments(part) for part in (one, two, three)]
    left = functools.reduce(Moments.merged, parts)
    right = parts[0].merged(parts[1].merged(parts[2]))
    for merged in (left, right):
        assert merged.count == whole.count
        assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-9)
        assert merged.squares == pytest.approx(whole.squares, rel=1e-9, abs=1e-6)


def test_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=33)
    assert sample_moments(values).standard_error() == pytest.approx(stats.sem(values))
    with pytest.raises(ValueError, match="count must be at least 2"):
        sample_moments([1.0]).standard_error()


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_a_sweep_on_threads_is_that_in_this_process(chunk: int) -> None:
    """To the bit where chunks are the same, to rounding with others."""
    spans = [(first, min(first + chunk, 40)) for first in range(0, 40, chunk)]
    alone = [simulate_chunk(2, *span) for span in spans]
    with futures.ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(simulate_chunk, 2, *span) for span in reversed(spans)]
        assert [task.result() for task in reversed(tasks)] == alone
    merged = functools.reduce(Moments.merged, alone)
    assert merged.mean == pytest.approx(simulate_chunk(2, 0, 40).mean, rel=1e-13)


def test_the_scenario_is_the_queue_that_it_says() -> None:
    """Long scenarios wait what an M/M/1 at 80% does, and short ones, which begin empty, less."""
    long = simulate_chunk(4, 0, 60, customers=20_000)
    assert abs(long.mean - 4.0) < 3.5 * long.standard_error() + 0.02
    short = simulate_chunk(4, 0, 2000, customers=2)
    half = 0.8 / 1.8  # the second waits with P(service > gap), 1 on average if it does, halved
    assert abs(short.mean - half / 2) < 3.5 * short.standard_error()


WORK = st.tuples(
    st.integers(100, 10**7),
    st.floats(1e-4, 10.0),
    st.integers(2, 3000),
    st.floats(1e-6, 0.1),
    st.floats(0.01, 0.3),
    st.floats(1.0, 10.0),
)


@given(WORK)
def test_limits_are_the_last_that_keep_the_share(work: Any) -> None:
    items, item_s, workers, dispatch_s, share, spread = work
    least, most = chunk_limits(items, item_s, workers, dispatch_s, share, spread)

    def overhead(chunk: int) -> float:
        return workers * dispatch_s / (workers * dispatch_s + chunk * item_s)

    def waiting(chunk: int) -> float:
        return (workers - 1) * spread * chunk / items

    assert overhead(least) <= share * (1 + 1e-9)
    assert least == 1 or overhead(least - 1) > share * (1 - 1e-9)
    assert most == 1 or waiting(most) <= share * (1 + 1e-9)
    assert most == items or waiting(most + 1) > share * (1 - 1e-9)


@given(WORK)
def test_more_workers_than_most_leave_no_chunk(work: Any) -> None:
    items, item_s, _, dispatch_s, share, spread = work
    most = most_workers(items, item_s, dispatch_s, share, spread)
    product = share**2 * items * item_s / ((1 - share) * spread * dispatch_s)
    assert most == 1 or most * (most - 1) <= product * (1 + 1e-6)
    assert (most + 1) * most > product * (1 - 1e-6)
    low, high = chunk_limits(items, item_s, 2 * most + 1, dispatch_s, share, spread)
    assert low >= high


def test_as_many_as_the_bound_allows_are_most() -> None:
    """W(W − 1) may be 0.3² · items · (7 / 3) / 0.7, which is 0.3 of the items."""
    work = {"item_s": 7.0, "dispatch_s": 3.0, "share": 0.3}
    assert [most_workers(items, **work) for items in (99, 100, 101)] == [5, 6, 6]


def test_one_worker_waits_for_nobody() -> None:
    assert chunk_limits(50, 1.0, 1, 0.01)[1] == 50
    assert chunk_limits(50, 1.0, 5, 0.0)[0] == 1
