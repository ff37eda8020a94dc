"""The simulator: brute force, properties of every FIFO queue, and honest confidence intervals."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.core.queues.queue_simulator import (
    BATCHES,
    MeanEstimate,
    batch_means,
    fifo_waits,
    gamma_times,
    simulate_mean_wait,
    warm_up_length,
)

FloatArray = npt.NDArray[np.float64]
LOGS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 80)), min_size=1, max_size=25).map(
    lambda pairs: (np.cumsum([g for g, _ in pairs]) / 10, np.array([s for _, s in pairs]) / 10)
)
SERVERS = st.integers(1, 6)


def brute_force_waits(arrivals: FloatArray, services: FloatArray, servers: int) -> list[float]:
    """Each customer starts at the first instant from its arrival on that has a free server."""
    starts: list[float] = []
    for i, arrival in enumerate(arrivals.tolist()):
        ends = [s + d for s, d in zip(starts, services.tolist(), strict=False)]
        candidates = sorted(t for t in [arrival, *ends] if t >= arrival)
        starts.append(next(t for t in candidates if sum(e > t for e in ends) < servers))
        assert i == 0 or starts[-1] >= starts[-2] - 1e-9
    return [s - a for s, a in zip(starts, arrivals.tolist(), strict=True)]


@given(LOGS, SERVERS)
def test_waits_equal_brute_force(log: tuple[FloatArray, FloatArray], servers: int) -> None:
    arrivals, services = np.round(log[0] * 16) / 16, np.round(log[1] * 16) / 16  # exact in binary
    waits = fifo_waits(arrivals, services, servers)
    assert waits.tolist() == pytest.approx(brute_force_waits(arrivals, services, servers), abs=1e-9)


@given(LOGS, SERVERS)
def test_replications_side_by_side_equal_the_heap(
    log: tuple[FloatArray, FloatArray], servers: int
) -> None:
    arrivals, services = log
    lanes = fifo_waits(
        np.array([arrivals, arrivals + 3.0]), np.array([services, services[::-1]]), servers
    )
    assert lanes.shape == (2, arrivals.size)
    np.testing.assert_array_equal(lanes[0], fifo_waits(arrivals, services, servers))
    np.testing.assert_array_equal(lanes[1], fifo_waits(arrivals + 3.0, services[::-1], servers))


@given(LOGS, SERVERS)
def test_nobody_waits_beside_a_free_server(
    log: tuple[FloatArray, FloatArray], servers: int
) -> None:
    """Work conservation: while a customer waits, all servers work; never do more than c work."""
    arrivals, services = log
    starts = arrivals + fifo_waits(arrivals, services, servers)
    ends = starts + services
    for t in np.concatenate([arrivals, (arrivals + starts) / 2]):
        working = int(np.sum((starts <= t + 1e-9) & (t < ends - 1e-9)))
        assert working <= servers
        if np.any((arrivals <= t - 1e-6) & (t < starts - 1e-6)):
            assert int(np.sum((starts <= t + 1e-6) & (t < ends + 1e-6))) >= servers


@pytest.mark.parametrize("scv", [0.0, 0.25, 1.0, 4.0])
def test_gamma_times_follow_their_distribution(scv: float) -> None:
    times = gamma_times(np.random.default_rng(7), 3.0, scv, (40, 50))
    assert times.shape == (40, 50)
    if scv == 0:
        assert np.all(times == 3.0)
    else:
        law = stats.gamma(1 / scv, scale=3.0 * scv)
        assert stats.kstest(times.ravel(), law.cdf).pvalue > 1e-3
        assert law.mean() == pytest.approx(3.0)
        assert law.var() / law.mean() ** 2 == pytest.approx(scv)


@pytest.mark.parametrize("size", [-1, 1.5, math.nan, math.inf, (2, -1), (2, 0.5)])
@pytest.mark.parametrize("scv", [0.0, 1.0, 4.0])
def test_bad_sizes_are_refused(size: int | tuple[int, ...], scv: float) -> None:
    with pytest.raises(ValueError, match="size must be made of integers ≥ 0"):
        gamma_times(np.random.default_rng(0), 1.0, scv, size)
    assert gamma_times(np.random.default_rng(0), 1.0, scv, (0, 3)).shape == (0, 3)


def test_warm_up_cut_minimises_the_squared_standard_error() -> None:
    rng = np.random.default_rng(11)
    for decay in (0.0, 0.5, 3.0):
        series = decay * np.exp(-np.arange(303) / 20) + rng.normal(0, 0.3, 303)
        fives = series[:300].reshape(-1, 5).mean(axis=1)
        scores = [np.var(fives[d:]) / (fives.size - d) for d in range(fives.size // 2)]
        assert warm_up_length(series) == 5 * int(np.argmin(scores))


def test_warm_up_rule_behaviour() -> None:
    steady = np.tile([1.0, 3.0], 200)
    assert warm_up_length(steady) == 0
    transient = np.r_[np.full(60, 50.0), steady]
    assert warm_up_length(transient) == 60
    trend = np.linspace(0, 1, 400)  # never steady: the cut goes as far as it may
    assert warm_up_length(trend) == 5 * (80 // 2 - 1)
    assert warm_up_length(np.full(20, 2.0)) == 0
    assert warm_up_length(steady + 1e9) == 0  # no cancellation


def test_batch_means_by_hand() -> None:
    estimate = batch_means(np.r_[[99.0, 99.0, 99.0], np.repeat(np.arange(BATCHES), 4)])
    assert isinstance(estimate, MeanEstimate)
    assert estimate.mean == pytest.approx((BATCHES - 1) / 2)  # the first three do not count
    variance = BATCHES * (BATCHES + 1) / 12  # of 0 … B−1, with B−1 in the denominator
    assert estimate.standard_error == pytest.approx(math.sqrt(variance / BATCHES))
    quantile = stats.t.ppf(0.975, BATCHES - 1)
    assert estimate.half_width == pytest.approx(quantile * estimate.standard_error)


def test_intervals_cover_as_often_as_they_say() -> None:
    """400 runs at ρ = 0.5: the count of 95% intervals that hold the mean is binomial."""
    rng, runs, n = np.random.default_rng(17), 400, 8000
    arrivals = np.cumsum(rng.exponential(2.0, (runs, n)), axis=1)
    waits = fifo_waits(arrivals, rng.exponential(1.0, (runs, n)))
    estimates = [batch_means(run[500:]) for run in waits]
    held = sum(abs(e.mean - 1.0) <= e.half_width for e in estimates)
    assert 0.91 * runs <= held <= 0.98 * runs  # binomial: 0.95 ± 0.033 at three standard errors
    spread = np.std([e.mean for e in estimates], ddof=1)
    claimed = math.sqrt(np.mean([e.standard_error**2 for e in estimates]))
    assert claimed == pytest.approx(spread, rel=0.15)


def test_simulated_means_of_known_queues() -> None:
    rng = np.random.default_rng(19)
    for estimate, expected in (
        (simulate_mean_wait(rng, 0.6, service_scv=0.25), 0.6 / 0.4 * 1.25 / 2),  # M/E4/1
        (simulate_mean_wait(rng, 0.5, servers=2, customers=60_000), 1 / 3),  # M/M/2
        (simulate_mean_wait(rng, 0.5, arrival_scv=0.0), 0.25500097491597545),  # D/M/1
    ):
        assert abs(estimate.mean - expected) < 4 * estimate.standard_error
        assert estimate.standard_error < 0.03 * expected
    still = simulate_mean_wait(rng, 0.9, arrival_scv=0.0, service_scv=0.0, customers=1000)
    assert still.mean == pytest.approx(0, abs=1e-9)
