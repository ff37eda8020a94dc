"""The closed network by states and by simulation: hand cases, brute force, properties, errors."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.queues.closed_network import (
    convolution_throughput,
    mean_gap,
    simulate_cycles,
)
from serving_mathematics.core.queues.queue_simulator import batch_means

DEMANDS = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=4)


def brute_constant(clients: int, demands: list[float], think: float) -> float:
    """The sum of ΠD^n·Z^m/m! over every state, one state at a time."""
    return math.fsum(
        math.prod(d**k for d, k in zip(demands, state, strict=True))
        * think ** (clients - sum(state))
        / math.factorial(clients - sum(state))
        for state in product(range(clients + 1), repeat=len(demands))
        if sum(state) <= clients
    )


@given(st.integers(1, 6), DEMANDS, st.floats(0.0, 20.0))
def test_convolution_is_the_sum_over_states(
    clients: int, demands: list[float], think: float
) -> None:
    constants = [brute_constant(n, demands, think) for n in (clients - 1, clients)]
    expected = constants[0] / constants[1]
    got = convolution_throughput(clients, demands, think)[-1]
    assert got == pytest.approx(expected, rel=1e-10)


@given(DEMANDS, st.floats(0.0, 50.0))
def test_throughput_rises_with_clients_up_to_the_ceiling(
    demands: list[float], think: float
) -> None:
    throughput = convolution_throughput(40, demands, think)
    assert np.all(np.diff(throughput) >= -1e-12 * throughput[:-1])
    assert throughput[-1] <= (1 + 1e-12) / max(demands)


def test_order_of_the_servers_does_not_matter() -> None:
    one, other = ([0.3, 1.0, 0.1], [1.0, 0.1, 0.3])
    assert convolution_throughput(30, one, 4.0) == pytest.approx(
        convolution_throughput(30, other, 4.0), rel=1e-12
    )


def test_thousands_of_clients_do_not_overflow() -> None:
    throughput = convolution_throughput(3000, [0.02, 0.006], 30.0)
    assert np.all(np.isfinite(throughput))
    assert throughput[-1] == pytest.approx(50.0, rel=1e-9)
    assert throughput[0] == pytest.approx(1 / 30.026, rel=1e-12)


def test_two_clients_by_hand() -> None:
    # constant service, no thinking, two servers of 2 s and 1 s: one answer every 2 s once settled
    done, busy = simulate_cycles(
        np.random.default_rng(3), 2, [2.0, 1.0], 0.0, service_scv=0.0, cycles=50
    )
    assert np.diff(done)[2:] == pytest.approx(2.0)
    assert busy[1] == pytest.approx(50.0)
    assert 50 * 2.0 <= busy[0] <= 52 * 2.0


def test_one_client_with_random_service_never_waits() -> None:
    rng = np.random.default_rng(4)
    done, busy = simulate_cycles(rng, 1, [1.0, 0.5], 2.0, cycles=500)
    start = done[-1] - busy.sum() - 2.0 * 499
    assert 0 <= start <= 3.5  # the client's first request comes within its first cycle


def test_same_seed_same_run() -> None:
    runs = [
        simulate_cycles(np.random.default_rng(5), 4, [1.0], 3.0, cycles=100)[0] for _ in range(2)
    ]
    assert np.array_equal(runs[0], runs[1])


def test_completions_come_in_order_and_first_come_first_served() -> None:
    done, _ = simulate_cycles(np.random.default_rng(6), 9, [0.3, 1.0], 2.0, cycles=300)
    assert done.shape == (300,)
    assert np.all(np.diff(done) >= 0)


def test_mean_gap_drops_the_first_tenth() -> None:
    gaps = np.ones(4266)  # of 4267 completions the first 426 go, and 3840 gaps stay
    gaps[:426] = 1000.0  # before the cut
    gaps[426] = 3841.0  # the first that counts
    times = np.cumsum(np.r_[0.0, gaps])
    estimate = mean_gap(times)
    assert estimate.mean == pytest.approx((3841 + 3839) / 3840)
    assert estimate == batch_means(np.diff(times[426:]))


def test_bad_runs_are_refused() -> None:
    rng = np.random.default_rng(0)
    for cycles in (0, 1.5, math.nan):
        with pytest.raises(ValueError, match="cycles must be a positive integer"):
            simulate_cycles(rng, 1, [1.0], 1.0, cycles=cycles)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scv must be non-negative and finite"):
        simulate_cycles(rng, 1, [1.0], 1.0, service_scv=-1.0)
    for log in ([3.0, 2.0], [[1.0, 2.0]], [math.nan, 1.0]):
        with pytest.raises(ValueError, match="completions_s must be"):
            mean_gap(log)
    with pytest.raises(ValueError, match="series must be at least"):
        mean_gap(np.arange(20.0))
