"""Time-parallel simulators: equal to the loops on every log, in memory that does not grow."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.queues import long_runs
from serving_mathematics.core.queues.long_runs import (
    fast_waits,
    kiefer_wolfowitz_lanes,
    lindley_lanes,
    lindley_loop,
    long_run_means,
)
from serving_mathematics.core.queues.queue_simulator import fifo_waits

FloatArray = npt.NDArray[np.float64]


def log_of(seed: int, size: int, load: float, service: str) -> tuple[FloatArray, FloatArray]:
    """Arrivals in bursts of up to three at a time, or one by one, and services of a kind."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1.0, size) * (rng.random(size) < 0.6)  # some arrive together
    services = {
        "constant": np.full(size, load),
        "exponential": rng.exponential(load, size),
        "bursty": rng.exponential(load, size) * rng.choice([0.0, 0.1, 8.0], size),
        "none": np.zeros(size),
    }[service]
    return np.cumsum(gaps), services


LOGS = {
    "seed": st.integers(0, 10**6),
    "rows": st.integers(1, 70),
    "lanes": st.integers(1, 12),
    "load": st.floats(0.05, 6.0),
    "service": st.sampled_from(["constant", "exponential", "bursty", "none"]),
}


@given(**LOGS, servers=st.integers(1, 9))
def test_lanes_equal_the_heap_to_the_bit(
    seed: int, rows: int, lanes: int, load: float, service: str, servers: int
) -> None:
    """Also when the queue is saturated and no lane ever meets the walk before."""
    arrivals, services = log_of(seed, rows * lanes, load, service)
    expected = fifo_waits(arrivals, services, servers) if servers > 1 else None
    came, took = arrivals.reshape(lanes, rows).T, services.reshape(lanes, rows).T
    waits, free_at = kiefer_wolfowitz_lanes(came, took, np.full(servers, -np.inf))
    if expected is None:
        np.testing.assert_allclose(
            waits.T.ravel(), fifo_waits(arrivals, services), atol=1e-9 * rows * lanes
        )
    else:
        np.testing.assert_array_equal(waits.T.ravel(), expected)
    ends = np.append(np.zeros(servers), np.sort(arrivals + waits.T.ravel() + services))[-servers:]
    np.testing.assert_allclose(free_at, np.maximum(ends, arrivals[-1]), rtol=1e-12)


@given(**LOGS, servers=st.integers(2, 5), cut=st.integers(1, 11))
def test_the_state_carries_over_to_the_next_block(
    seed: int, rows: int, lanes: int, load: float, service: str, servers: int, cut: int
) -> None:
    lanes += 1
    arrivals, services = log_of(seed, rows * lanes, load, service)
    cut = min(cut, lanes - 1) * rows
    free_at, parts = np.full(servers, -np.inf), []
    for part in (slice(0, cut), slice(cut, None)):
        came, took = (v[part].reshape(-1, rows).T.copy() for v in (arrivals, services))
        waits, free_at = kiefer_wolfowitz_lanes(came, took, free_at)
        parts.append(waits.T.ravel())
    np.testing.assert_array_equal(np.concatenate(parts), fifo_waits(arrivals, services, servers))


@given(**LOGS, wait=st.floats(0, 50))
def test_stitched_lanes_equal_the_loop(
    seed: int, rows: int, lanes: int, load: float, service: str, wait: float
) -> None:
    arrivals, services = log_of(seed, rows * lanes, load, service)
    steps = services - np.diff(arrivals, prepend=0.0)
    block = steps.reshape(lanes, rows).T.copy()
    last = lindley_lanes(block, wait, np.empty_like(block))
    loop = lindley_loop(steps, wait)
    np.testing.assert_allclose(block.T.ravel(), loop, atol=1e-9)
    assert last == block[-1, -1] == pytest.approx(loop[-1], abs=1e-9)
    assert block.min() >= 0


def test_lindley_steps_are_the_waits_of_the_queue() -> None:
    arrivals, services = log_of(4, 5000, 0.5, "exponential")
    steps = services[:-1] - np.diff(arrivals)
    np.testing.assert_allclose(lindley_loop(steps), fifo_waits(arrivals, services)[1:], atol=1e-9)


@pytest.mark.parametrize(("size", "servers"), [(9000, 2), (8191, 2), (8192, 2), (13_001, 3)])
def test_fast_waits_equal_the_simple_ones(size: int, servers: int) -> None:
    for service in ("exponential", "bursty", "constant"):
        arrivals, services = log_of(size, size, 0.55 * servers, service)
        waits = fast_waits(arrivals, services, servers)
        np.testing.assert_array_equal(waits, fifo_waits(arrivals, services, servers))


def test_the_choice_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def lanes(came: FloatArray, took: FloatArray, free_at: FloatArray) -> Any:
        taken.append(came.shape[1])
        return kiefer_wolfowitz_lanes(came, took, free_at)

    monkeypatch.setattr(long_runs, "kiefer_wolfowitz_lanes", lanes)
    for size, servers in ((8191, 2), (8192, 2), (20_000, 1), (200_000, 2)):
        arrivals, services = log_of(1, size, 0.3, "exponential")
        fast_waits(arrivals, services, servers)
    assert taken == [32, 512]


@pytest.mark.parametrize("servers", [1, 4])
def test_a_run_is_the_queue_that_it_says(servers: int) -> None:
    """Every block's mean is that of the plain simulator on the same random numbers."""
    rows, lanes, blocks = 40, 6, 3
    found = long_run_means(
        np.random.default_rng(8), 0.9, blocks, servers=servers, shape=(rows, lanes)
    )
    rng = np.random.default_rng(8)
    gaps, services = np.empty((2, blocks, rows, lanes))
    for block in range(blocks):
        gaps[block] = rng.standard_exponential((rows, lanes)) / (0.9 * servers)
        services[block] = rng.standard_exponential((rows, lanes))
    in_time = [values.transpose(0, 2, 1).ravel() for values in (gaps, services)]
    if servers == 1:  # a block's service comes before its gap
        waits = lindley_loop(in_time[1] - in_time[0])
    else:
        waits = fifo_waits(np.cumsum(in_time[0]), in_time[1], servers)
    expected = waits.reshape(blocks, -1).mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("scvs", "exact"), [((1.0, 0.0), 2.0), ((1.0, 4.0), 10.0), ((0.0, 0.0), 0.0)]
)
def test_gamma_times_of_a_run(scvs: tuple[float, float], exact: float) -> None:
    """Pollaczek–Khinchine: ρ/(1−ρ)·(1 + C²)/2 at 80% busy."""
    means = long_run_means(
        np.random.default_rng(2), 0.8, 33, arrival_scv=scvs[0], service_scv=scvs[1]
    )[1:]
    error = means.std(ddof=1) / math.sqrt(32)
    assert abs(means.mean() - exact) <= 4 * error + 1e-9
    assert error < 0.02 * exact + 1e-9


def test_bursty_arrivals_wait_longer() -> None:
    calm, bursty = (
        long_run_means(
            np.random.default_rng(3), 0.7, 9, servers=3, arrival_scv=scv, shape=(256, 128)
        )[1:].mean()
        for scv in (1.0, 6.0)
    )
    assert bursty > 2 * calm


@pytest.mark.parametrize("servers", [1, 3])
def test_memory_does_not_grow_with_the_run(servers: int) -> None:
    def peak(blocks: int) -> int:
        tracemalloc.start()
        long_run_means(np.random.default_rng(0), 0.7, blocks, servers=servers, shape=(128, 128))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2)
    assert peak(60) < 1.1 * peak(3)


BLOCK = np.array([[0.0, 2.0], [1.0, 3.0]])
FREE = np.array([-math.inf, 1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"waits": np.zeros((2, 3))}, r"waits must be of shape \(2, 2\)"),
    ],
)
def test_bad_blocks_are_refused(change: dict[str, FloatArray], message: str) -> None:
    arguments = {"arrivals": BLOCK, "services": BLOCK, "free_at": FREE} | change
    with pytest.raises(ValueError, match=message):
        kiefer_wolfowitz_lanes(**arguments)


def test_other_bad_input_of_the_lanes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scratch must be \(2, 2\)"):
        lindley_lanes(BLOCK.copy(), 0.0, np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"arrival_times must be of shape \(n,\)"):
        fast_waits(BLOCK, BLOCK, 2)
    with pytest.raises(ValueError, match=r"service_times must be of shape \(9000,\)"):
        fast_waits(np.arange(9000.0), np.ones(5), 2)
    with pytest.raises(ValueError, match="arrivals must be finite, sorted"):
        fast_waits(np.arange(9000.0)[::-1], np.ones(9000), 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (0, 5)}, "shape must be two positive integers"),
        ({"shape": (5,)}, "shape must be two positive integers"),
    ],
)
def test_bad_runs_are_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"utilization": 0.5, "blocks": 2} | change
    with pytest.raises(ValueError, match=message):
        long_run_means(np.random.default_rng(0), **arguments)
