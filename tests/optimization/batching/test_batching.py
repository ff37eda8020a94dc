"""Batch rates, static efficiency, the bulk-service chain and batch forming; the exercises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.optimization.batching.batching import (
    _batch_rate,
    _greedy_latency,
    static_efficiency,
)
from serving_mathematics.optimization.batching.exercises import (
    token_budget_for,
)


def test_batch_rate_rises_to_its_limit() -> None:
    rates = [_batch_rate(batch, 0.002, 0.01) for batch in (1, 2, 50, 10**8)]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(1 / 0.012)
    assert rates[-1] == pytest.approx(500.0)
    assert _batch_rate(7, 0.5, 0.0) == pytest.approx(2.0)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 3))
def test_static_efficiency_is_the_mean_over_all_batches(lengths: list[int], batch: int) -> None:
    grids = np.meshgrid(*[lengths] * batch)
    longest = np.max(np.stack(grids), axis=0).mean()
    assert static_efficiency(lengths, batch) == pytest.approx(np.mean(lengths) / longest)


def test_static_efficiency_has_its_limits() -> None:
    assert static_efficiency([5, 5, 5], 64) == pytest.approx(1.0)
    assert static_efficiency([1, 2, 9], 1) == pytest.approx(1.0)
    assert static_efficiency([1, 3], 10_000) == pytest.approx(2 / 3)


def _chain_by_brute_force(
    rate: float, per_item: float, fixed: float, largest: int
) -> tuple[float, float]:
    """The same chain, walked with scipy's probabilities and powers instead of a linear system."""
    size = 200
    chain, time = np.zeros((size, size)), np.zeros(size)
    for waiting in range(size):
        served = min(max(waiting, 1), largest)
        time[waiting] = per_item * served + fixed
        left = max(waiting - served, 0)
        chain[waiting, left:] = stats.poisson(rate * time[waiting]).pmf(np.arange(size - left))
    chain[:, -1] += 1 - chain.sum(axis=1)
    share = np.linalg.matrix_power(chain, 4096)[0]
    waiting = np.arange(size)
    inside = share @ (np.maximum(waiting, 1) * time + rate * time**2 / 2)
    cycle = share @ (time + (waiting == 0) / rate)
    return inside / cycle / rate, rate * cycle


@pytest.mark.parametrize(("rate", "largest"), [(50.0, 3), (300.0, 4), (650.0, 20), (100.0, 64)])
def test_greedy_latency_against_brute_force(rate: float, largest: int) -> None:
    got = _greedy_latency(rate, 0.001, 0.005, largest)
    assert got == pytest.approx(_chain_by_brute_force(rate, 0.001, 0.005, largest), rel=1e-6)


def test_greedy_latency_has_its_limits() -> None:
    latency_s, batch = _greedy_latency(1e-3, 0.001, 0.005, 20)
    assert latency_s == pytest.approx(0.006, rel=1e-4)
    assert batch == pytest.approx(1.0, rel=1e-4)
    nearly_full = _greedy_latency(0.979 * 800, 0.001, 0.005, 20)
    assert nearly_full[1] > 18
    assert nearly_full[0] > 0.05


BAD: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (_batch_rate, (0, 0.1, 0.1), "batch must be a positive integer, got 0"),
    (_batch_rate, (1.5, 0.1, 0.1), "batch must be"),
    (_batch_rate, (1, 0.0, 0.1), "per_item_s must be positive"),
    (_batch_rate, (1, 0.1, -1.0), "fixed_s must be non-negative"),
    (static_efficiency, ([], 2), "lengths must be"),
    (static_efficiency, ([1, 0], 2), "lengths must be"),
    (static_efficiency, ([1, math.inf], 2), "lengths must be"),
    (static_efficiency, ([1], 0), "batch must be"),
    (_greedy_latency, (0.0, 0.1, 0.1, 2), "arrival_rate must be"),
    (_greedy_latency, (9.9, 0.1, 0.0, 2), "arrival_rate must be"),
    (_greedy_latency, (1.0, 0.1, 0.1, 0), "largest must be"),
    (_greedy_latency, (1.0, 0.1, 0.1, 1001), "largest must be"),
    (token_budget_for, (1.0, -1, 0.1, 0.1), "sequences must be"),
    (token_budget_for, (1.0, 0, -1.0, 0.1), "decode_s must be"),
    (token_budget_for, (math.nan, 0, 0.1, 0.1), "step_target_s must be positive"),
    (token_budget_for, (1.0, 0, 0.1, 0.0), "prompt_token_s must be positive"),
]


@pytest.mark.parametrize(("function", "arguments", "message"), BAD)
def test_bad_input_is_refused(
    function: Callable[..., Any], arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_a_whole_float_is_a_limit() -> None:
    assert _greedy_latency(3.0, 0.1, 0.1, 4.0) == _greedy_latency(3.0, 0.1, 0.1, 4)  # type: ignore[arg-type]
