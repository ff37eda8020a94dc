"""The outage simulation in cases that can be worked out, and the fluid backlog against a traced
queue."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.overload_control.outage_recovery import (
    late_after_outage_s,
    simulate_outage,
)
from serving_mathematics.capacity.overload_control.overload_control import (
    bounded_goodput,
    fifo_goodput,
)
from serving_mathematics.core.queues.queue_simulator import fifo_waits

from tests.clockwork import CLOCKWORK


def simulate(seed: int, base: float = 40.0, deadline: float = 0.1, **options: Any) -> np.ndarray:
    return simulate_outage(np.random.default_rng(seed), base, 100.0, deadline, **options)


@given(st.floats(0.5, 30), st.floats(5, 90), st.floats(0.02, 0.5))
def test_fluid_backlog_against_even_arrivals(outage: float, rate: float, deadline: float) -> None:
    """Arrivals at even gaps and constant service: the last late request arrived when the formula
    says."""
    arrivals = np.arange(0, outage + 400, 1 / rate)
    arrivals = np.concatenate(
        [[0.0], arrivals]
    )  # the outage is a first request that takes that long
    services = np.append(outage, np.full(arrivals.size - 1, 0.01))
    late = arrivals[1:][fifo_waits(arrivals, services)[1:] + 0.01 > deadline]
    expected = late_after_outage_s(outage, rate, 100.0, deadline)
    if 0 < expected < 300:
        assert late[-1] - outage == pytest.approx(expected, abs=2 / rate + 2 / (100 - rate))


def test_short_outages_leave_nothing_late() -> None:
    assert late_after_outage_s(0.0, 40.0, 100.0, 0.1) == 0.0
    assert late_after_outage_s(0.2, 40.0, 100.0, 0.1) == 0.0
    assert late_after_outage_s(0.3, 40.0, 100.0, 0.1) > 0.0


def test_without_an_outage_it_is_the_queue_of_the_chapter() -> None:
    calm = [simulate(i, 80.0, outage_s=(0.0, 0.0), horizon_s=100)[5:].mean() for i in range(10)]
    error = np.std(calm, ddof=1) / math.sqrt(len(calm))
    assert abs(np.mean(calm) - fifo_goodput(80.0, 100.0, 0.1)) < 4 * error
    held = [
        simulate(i, 150.0, outage_s=(0.0, 0.0), horizon_s=100, capacity=6)[5:].mean()
        for i in range(10)
    ]
    error = np.std(held, ddof=1) / math.sqrt(len(held))
    assert abs(np.mean(held) - bounded_goodput(150.0, 100.0, 0.1, 6)) < 4 * error


def test_nothing_is_answered_during_an_outage() -> None:
    for options in ({}, {"capacity": 6}, {"skip_expired": True}, {"retries": 3}):
        run = simulate(1, **options)
        assert run.shape == (60,)
        assert run[11:20].sum() == 0
        assert run[2:9].min() > 0


def test_retries_recover_what_a_full_server_refused() -> None:
    without, with_retries = (
        np.mean([simulate(i, 60.0, capacity=3, retries=n, outage_s=(0.0, 0.0)) for i in range(5)])
        for n in (0, 3)
    )
    assert without < 0.95 * 60 < with_retries


def test_a_budget_of_nothing_spends_its_bucket_and_stops() -> None:
    """Ten saved retries, then none: the same as no retries but for ten requests."""
    none = simulate(3, capacity=1, retries=0, outage_s=(0.0, 0.0))
    few = simulate(3, capacity=1, retries=3, budget=0.0, outage_s=(0.0, 0.0))
    many = simulate(3, capacity=1, retries=3, outage_s=(0.0, 0.0))
    assert abs(few.sum() - none.sum()) < 60
    assert many.sum() > none.sum() + 200


def first_attempts(seed: int, base: float, horizon: int) -> np.ndarray:
    """The arrivals that a simulation with this seed has."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, horizon, rng.poisson(base * horizon)))


@pytest.mark.parametrize("retries", [0, 1, 3, 6])
def test_each_retry_reaches_one_deadline_further_back(retries: int) -> None:
    """A fast server that drops what expired, back after 10 s, with a deadline of 1 s.

    An attempt lives for a deadline, so R retries save what came up to R + 1 seconds before.
    """
    run = simulate_outage(
        np.random.default_rng(11),
        50.0,
        1e6,
        1.0,
        retries=retries,
        skip_expired=True,
        outage_s=(0.0, 10.0),
        horizon_s=12,
    )
    first = first_attempts(11, 50.0, 12)
    saved = (first > 10 - 1 - retries) & (first < 11)
    assert run[10] == pytest.approx(saved.sum(), abs=1)


@pytest.mark.parametrize(("budget", "granted"), [(0.0, 10), (0.5, None), (math.inf, None)])
def test_a_budget_counts_its_retries(budget: float, granted: int | None) -> None:
    """An outage of 2 s, a deadline of 1 s: what came in the first second needs a retry each."""
    run = simulate_outage(
        np.random.default_rng(12),
        50.0,
        1e6,
        1.0,
        retries=1,
        budget=budget,
        skip_expired=True,
        outage_s=(0.0, 2.0),
        horizon_s=3,
    )
    first = first_attempts(12, 50.0, 3)
    asking = int((first < 1).sum())
    full = 10.0 if budget < math.inf else math.inf
    tokens, expected = full, 0
    for _ in range(asking):
        tokens = min(full, tokens + budget)
        if tokens >= 1:
            tokens, expected = tokens - 1, expected + 1
    assert granted is None or expected == granted
    assert asking > 30
    assert run[2] == pytest.approx((first > 1).sum() + expected, abs=1)


def test_a_place_is_free_as_soon_as_its_request_has_left() -> None:
    """Two a second, each half a second long, one place: all are answered, the last at the end."""
    found = simulate_outage(CLOCKWORK, 2.0, 2.0, 0.5, capacity=1, outage_s=(0.0, 0.0), horizon_s=5)
    assert found.tolist() == [1.0, 2.0, 2.0, 2.0, 2.0]


def test_one_second_is_enough() -> None:
    assert simulate(1, horizon_s=1, outage_s=(0.0, 0.0)).shape == (1,)


def test_a_budget_limits_the_backlog_of_an_outage() -> None:
    """With 10% more requests the queue of the outage takes (44·10 − 10)/56 s; the counts agree."""
    runs = [simulate(i, retries=3, budget=0.1, horizon_s=50)[20:].sum() for i in range(10)]
    late = (44 * 10 - 10) / (100 - 44)
    expected = 40 * (30 - late)
    assert abs(np.mean(runs) - expected) < 4 * np.std(runs, ddof=1) / math.sqrt(10) + 20


def test_answers_are_counted_once() -> None:
    for options in ({"retries": 3}, {"retries": 3, "capacity": 6}, {"skip_expired": True}):
        run = simulate(5, 40.0, deadline=0.5, horizon_s=20, outage_s=(5.0, 6.0), **options)
        rng = np.random.default_rng(5)
        assert run.sum() <= rng.poisson(40.0 * 20)


def test_the_same_seed_gives_the_same_run() -> None:
    assert simulate(7, retries=2).tolist() == simulate(7, retries=2).tolist()


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_rates_are_refused(bad: float) -> None:
    good = {"base_rate": 1.0, "service_rate": 1.0, "deadline_s": 1.0}
    for name in good:
        with pytest.raises(ValueError, match=f"{name} must be positive and finite"):
            simulate_outage(np.random.default_rng(0), **(good | {name: bad}))
    with pytest.raises(ValueError, match="service_rate must be positive and finite"):
        late_after_outage_s(1.0, 1.0, bad, 1.0)
    with pytest.raises(ValueError, match="deadline_s must be positive and finite"):
        late_after_outage_s(1.0, 1.0, 2.0, bad)
    with pytest.raises(ValueError, match=r"arrival_rate must be in \(0, 2.0\)"):
        late_after_outage_s(1.0, bad, 2.0, 1.0)


def test_backoff_moves_retries_and_takes_none_away() -> None:
    """Without a wait nothing changes; with an endless one no retry comes back; a cap bounds every
    wait, so that a server that is idle again has answered all of them."""
    for seed in range(3):
        plain = simulate(seed, retries=2)
        assert np.array_equal(plain, simulate(seed, retries=2, backoff_s=(0.0, 0.0)))
        never = simulate(seed, retries=2, backoff_s=(1e12, 1e12))
        assert np.array_equal(never, simulate(seed, retries=0))
        short = simulate(seed, retries=2, backoff_s=(1e-9, 1e12))
        assert abs(short.sum() - plain.sum()) < 0.2 * plain.sum()
    few = {"base_rate": 2.0, "service_rate": 1000.0, "deadline_s": 1.0}
    for cap in (0.5, 3.0):
        rng = np.random.default_rng(3)
        run = simulate_outage(
            rng, **few, retries=3, backoff_s=(0.5, cap), outage_s=(5.0, 15.0), horizon_s=60
        )
        settled = 15 + 3 * (1 + cap)
        assert run[:5].sum() + run[15:].sum() >= 0.75 * 2 * 60
        assert run[int(settled) + 1 :].sum() < 1.25 * 2 * (60 - settled)
