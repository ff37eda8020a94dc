"""The size scheduler against a server that is walked in small steps, and what every order keeps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.core.queues.size_scheduler import noisy_predictions, simulate_responses

POLICIES = ("fcfs", "sjf", "psjf", "srpt")

requests = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12
)


def walked(arrivals: list[int], sizes: list[int], guesses: list[int], policy: str) -> list[int]:
    """One unit of time after the other: completions, then arrivals one by one, then service."""
    left, end, waiting, running, clock = list(sizes), [0] * len(sizes), set[int](), -1, 0

    def key(i: int) -> tuple[int, int]:
        attained = sizes[i] - left[i] if policy == "srpt" else 0
        return (i if policy == "fcfs" else guesses[i] - attained), i

    while any(left):
        if running < 0 and waiting:
            running = min(waiting, key=key)
            waiting.remove(running)
        for i in (i for i, arrival in enumerate(arrivals) if arrival == clock):
            if running < 0:
                running = i
            elif policy in ("psjf", "srpt") and key(i)[0] < key(running)[0]:
                waiting.add(running)
                running = i
            else:
                waiting.add(i)
        clock += 1
        if running >= 0:
            left[running] -= 1
            if not left[running]:
                end[running], running = clock, -1
    return [done - arrival for done, arrival in zip(end, arrivals, strict=True)]


@pytest.mark.parametrize("policy", POLICIES)
@given(requests)
def test_equal_to_a_server_walked_in_steps(policy: str, drawn: list[tuple[int, int, int]]) -> None:
    arrivals = np.cumsum([gap for gap, _, _ in drawn]).tolist()
    sizes, guesses = [size for _, size, _ in drawn], [guess for _, _, guess in drawn]
    got = simulate_responses(arrivals, sizes, policy, guesses)
    assert got.tolist() == pytest.approx(walked(arrivals, sizes, guesses, policy))


@pytest.mark.parametrize("policy", POLICIES)
def test_every_order_ends_the_busy_periods_together(policy: str) -> None:
    rng = np.random.default_rng(3)
    arrivals, sizes = np.cumsum(rng.exponential(1.2, 3000)), rng.exponential(1.0, 3000)
    guesses = noisy_predictions(rng, sizes, 1.0)
    responses = simulate_responses(arrivals, sizes, policy, guesses)
    in_order = fifo_waits(arrivals, sizes) + sizes
    assert (responses >= sizes * (1 - 1e-9)).all()
    assert np.max(arrivals + responses) == pytest.approx(np.max(arrivals + in_order))
    if policy == "fcfs":
        assert responses == pytest.approx(in_order)


def test_equal_sizes_keep_the_order_of_arrival() -> None:
    rng = np.random.default_rng(4)
    arrivals, sizes = np.cumsum(rng.exponential(1.1, 500)), np.ones(500)
    for policy in POLICIES:
        responses = simulate_responses(arrivals, sizes, policy)
        assert responses == pytest.approx(fifo_waits(arrivals, sizes) + sizes)


def test_predictions_that_keep_the_rank_keep_the_order_without_counting_down() -> None:
    rng = np.random.default_rng(5)
    arrivals, sizes = np.cumsum(rng.exponential(1.1, 2000)), rng.exponential(1.0, 2000)
    for policy in ("sjf", "psjf"):
        exact = simulate_responses(arrivals, sizes, policy)
        assert simulate_responses(arrivals, sizes, policy, 7 * sizes**2) == pytest.approx(exact)


def test_noise_has_its_median_and_deviation() -> None:
    sizes = np.full(40_000, 3.0)
    ratio = np.log(noisy_predictions(np.random.default_rng(6), sizes, 0.7) / sizes)
    assert abs(np.mean(ratio)) < 4 * 0.7 / 200
    assert np.std(ratio) == pytest.approx(0.7, rel=0.02)
    assert noisy_predictions(np.random.default_rng(6), sizes.reshape(2, -1), 0.1).ndim == 2


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: simulate_responses([0.0], [1.0], "ps"), "policy must be a known policy, got ps"),
    (lambda: simulate_responses([], [], "sjf"), r"arrival_s must be of shape \(n,\)"),
    (lambda: simulate_responses([[0.0]], [[1.0]], "sjf"), r"arrival_s must be of shape \(n,\)"),
    (lambda: simulate_responses([1.0, 0.0], [1, 1], "sjf"), "arrival_s must be finite and sorted"),
    (lambda: simulate_responses([math.nan], [1], "sjf"), "arrival_s must be finite and sorted"),
    (lambda: simulate_responses([0.0], [1, 2], "sjf"), r"size_s must be of shape \(1,\)"),
    (lambda: simulate_responses([0.0], [math.inf], "sjf"), "size_s must be positive and finite"),
    (lambda: simulate_responses([0.0], [1], "sjf", [1, 2]), r"predicted_s must be of shape \(1,\)"),
    (lambda: simulate_responses([0.0], [1], "sjf", [0]), "predicted_s must be positive"),
    (lambda: noisy_predictions(np.random.default_rng(0), [0.0], 1.0), "size_s must be positive"),
    (lambda: noisy_predictions(np.random.default_rng(0), [], 1.0), "size_s must be positive"),
    (lambda: noisy_predictions(np.random.default_rng(0), [1.0], -1.0), "log_error must be"),
    (lambda: noisy_predictions(np.random.default_rng(0), [1.0], math.inf), "log_error must be"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_names_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
