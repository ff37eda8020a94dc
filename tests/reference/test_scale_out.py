"""Seeds by place, mergeable moments, chunks and estimates: oracles, limits, properties, errors."""

from __future__ import annotations

import functools
import math
from concurrent import futures
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.reference.scale_out import (
    Estimate,
    Moments,
    chunk_limits,
    dispatched_finish_s,
    most_workers,
    place_rng,
    sample_moments,
    simulate_chunk,
    sweep_estimate,
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


def test_one_worker_waits_for_nobody() -> None:
    assert chunk_limits(50, 1.0, 1, 0.01)[1] == 50
    found = sweep_estimate(50, 1.0, 1, 0.01)
    assert (found.chunk, found.tasks, found.finish_s) == (50, 1, pytest.approx(50.01))
    free = sweep_estimate(50, 1.0, 5, 0.0)
    assert (free.chunk, free.overhead_share) == (1, 0.0)


def test_no_chunk_ends_before_the_estimate() -> None:
    items, item_s, workers, dispatch_s, spread = 5000, 0.02, 12, 0.003, 2.0
    found = sweep_estimate(items, item_s, workers, dispatch_s, spread=spread)
    ends = [
        math.ceil(items / chunk) * dispatch_s
        + items * item_s / workers
        + (1 - 1 / workers) * spread * chunk * item_s
        for chunk in range(1, 400)
    ]
    assert found.finish_s == pytest.approx(min(ends), rel=2e-3)
    assert found.finish_s == pytest.approx(ends[found.chunk - 1])


def test_estimates_add_up() -> None:
    found = sweep_estimate(
        10**6, 2.0, 256, 1e-3, spread=3.0, item_bytes=1000, price_per_core_hour=0.05
    )
    assert isinstance(found, Estimate)
    assert found.tasks == math.ceil(10**6 / found.chunk)
    assert found.core_hours == pytest.approx(256 * found.finish_s / 3600)
    assert found.core_hours >= 2e6 / 3600
    assert found.price == pytest.approx(0.05 * found.core_hours)
    assert found.result_bytes == 1e9
    least, most = chunk_limits(10**6, 2.0, 256, 1e-3, spread=3.0)
    assert least <= found.chunk <= most
    assert found.overhead_share < 0.05


@given(
    st.lists(st.floats(0.0, 5.0), min_size=1, max_size=40), st.integers(1, 6), st.floats(0.0, 1.0)
)
def test_dispatched_finish(durations: list[float], workers: int, dispatch_s: float) -> None:
    found = dispatched_finish_s(durations, workers, dispatch_s)
    handing, work = len(durations) * dispatch_s, sum(durations) / workers
    latest = handing + work + (1 - 1 / workers) * max(durations)
    assert max(handing, work) - 1e-9 <= found <= latest + 1e-9
    if dispatch_s == 0 and workers == 1:
        assert found == pytest.approx(sum(durations))


def test_dispatch_by_brute_force() -> None:
    """Steps of a clock of a hundredth."""
    rng = np.random.default_rng(3)
    durations = (rng.integers(1, 300, 30) / 100).tolist()
    left, ends, handed = list(durations), [0.0] * 4, 0
    for tick in range(100_000):
        now = tick / 100
        while left and now >= (handed + 1) * 0.05 - 1e-9 and min(ends) <= now + 1e-9:
            ends[ends.index(min(ends))] = now + left.pop(0)
            handed += 1
        if not left and max(ends) <= now + 1e-9:
            break
    assert dispatched_finish_s(durations, 4, 0.05) == pytest.approx(now)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate_chunk(0, -1, 2), "first must be from 0"),
    ],
)
def test_bad_input_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
