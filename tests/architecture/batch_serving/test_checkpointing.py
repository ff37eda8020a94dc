"""The mean completion against recursion and simulation, intervals against scipy and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special
from serving_mathematics.architecture.batch_serving.checkpointing import (
    _simulated,
    best_interval_s,
    expected_completion_s,
    young_interval_s,
)

from ...profiles import costly

POSITIVE = st.floats(1e-3, 1e3)


@costly
@given(POSITIVE, POSITIVE)
def test_best_interval_is_lambert(checkpoint: float, gap: float) -> None:
    if checkpoint > 30 * gap:
        return
    expected = gap * (1 + float(special.lambertw(-math.exp(-1 - checkpoint / gap)).real))
    assert best_interval_s(checkpoint, gap) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("checkpoint", [0.01, 0.3, 1.0, 5.0])
def test_best_interval_minimizes_the_mean(checkpoint: float) -> None:
    best = best_interval_s(checkpoint, 10.0)
    found = optimize.minimize_scalar(
        lambda x: math.expm1((x + checkpoint) / 10) / x, bounds=(1e-3, 10), method="bounded"
    )
    assert best == pytest.approx(found.x, rel=1e-3)


@given(POSITIVE, POSITIVE)
def test_intervals_scale_with_the_unit(checkpoint: float, gap: float) -> None:
    for function in (young_interval_s, best_interval_s):
        minutes = function(checkpoint, gap)
        assert function(60 * checkpoint, 60 * gap) == pytest.approx(60 * minutes, rel=1e-6)


def test_intervals_agree_for_cheap_checkpoints() -> None:
    for checkpoint in (1e-4, 1e-6):
        best = best_interval_s(checkpoint, 1.0)
        young = young_interval_s(checkpoint, 1.0)
        assert young / best - 1 == pytest.approx(2 / 3 * math.sqrt(checkpoint / 2), rel=0.05)
        share = checkpoint / 2  # Daly's series, with δ/2M
        daly = young * (1 + math.sqrt(share) / 3 + share / 9) - checkpoint
        assert daly == pytest.approx(best, rel=checkpoint)


def by_recursion(work: float, step: float, save: float, gap: float, restart: float) -> float:
    """Mean time by conditioning on the first failure, in each stretch and in each restart."""

    def passing(length: float) -> tuple[float, float]:
        """Probability to pass without failure, and mean time until passed or failed."""
        passed = math.exp(-length / gap)
        return passed, gap * (1 - passed)

    restarted, spent = passing(restart)
    after_failure = spent / restarted if restart else 0.0
    total, left = 0.0, work
    while left > 1e-9:
        passed, spent = passing(min(step, left) + save)
        total += (spent + (1 - passed) * after_failure) / passed
        left -= step
    return total


@given(st.floats(1, 30), st.floats(0.5, 5), st.floats(0, 2), st.floats(1, 50), st.floats(0.01, 3))
def test_mean_by_recursion(
    work: float, step: float, save: float, gap: float, restart: float
) -> None:
    step = min(step, work)
    expected = by_recursion(work, step, save, gap, restart)
    assert expected_completion_s(work, step, save, gap, restart) == pytest.approx(expected)


def test_mean_without_failures_counts_checkpoints() -> None:
    assert expected_completion_s(10.0, 2.0, 0.5, 1e12) == pytest.approx(12.5)
    assert expected_completion_s(10.0, 3.0, 0.5, 1e12) == pytest.approx(12.0)
    assert expected_completion_s(0.3, 0.1, 0.5, 1e12) == pytest.approx(1.8)
    assert 101.4 - math.floor(101.4 / 0.3) * 0.3 > 0  # and still no stretch of its own
    assert expected_completion_s(101.4, 0.3, 0.5, 1e12) == pytest.approx(101.4 + 338 * 0.5)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_mean_scales_with_the_unit(unit: float) -> None:
    inputs = 10.0, 3.0, 0.5, 4.0, 0.7
    expected = unit * expected_completion_s(*inputs)
    assert expected_completion_s(*(unit * one for one in inputs)) == pytest.approx(expected)


def test_mean_can_be_beyond_numbers() -> None:
    assert expected_completion_s(1e6, 1e6, 0.0, 1.0) == math.inf
    assert expected_completion_s(1.0, 1.0, 0.0, 1.0, restart_s=1e6) == math.inf


def by_clock(rng: np.random.Generator, work: float, step: float, save: float, gap: float) -> float:
    """One job, second by second of its own: failures come from a list of times made before."""
    failures = iter(np.cumsum(rng.exponential(gap, 10_000)).tolist())
    clock, done, next_failure = 0.0, 0.0, next(failures)
    while done < work - 1e-9:
        part = min(step, work - done)
        if clock + part + save <= next_failure:
            clock, done = clock + part + save, done + part
        else:
            clock, next_failure = next_failure + 0.7, next(failures)
            while clock > next_failure:
                clock, next_failure = next_failure + 0.7, next(failures)
    return clock


def test_simulations_agree() -> None:
    rng = np.random.default_rng(3)
    arguments = (12.0, 2.5, 0.4, 5.0)
    runs = [by_clock(rng, *arguments) for _ in range(3000)]
    error = np.std(runs, ddof=1) / math.sqrt(3000)
    simulated = _simulated(rng, *arguments, 0.7)
    exact = expected_completion_s(*arguments, 0.7)
    assert abs(np.mean(runs) - exact) <= 3 * error
    assert abs(simulated.mean - exact) <= 3 * simulated.standard_error


def test_regular_failures() -> None:
    """With a large shape failures come like a clock, every 10 s: 3 stretches of 3 s fit between."""
    regular = _simulated(np.random.default_rng(0), 12.0, 2.0, 1.0, 10.0, 0.5, shape=2000.0)
    # 10 s: 3 stretches; then 0.5 + 3·3 s fit as well
    assert regular.mean == pytest.approx(10 + 0.5 + 9, abs=0.05)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_completion_refuses(bad: float) -> None:
    good = {
        "work_s": 2.0,
        "interval_s": 1.0,
        "checkpoint_s": 1.0,
        "failure_gap_s": 1.0,
        "restart_s": 1.0,
    }
    for name in good:
        with pytest.raises(ValueError, match=f"{name} must be"):
            expected_completion_s(**(good | {name: bad}))
    with pytest.raises(ValueError, match=r"interval_s must be in \(0, 2\.0\], got 3"):
        expected_completion_s(**(good | {"interval_s": 3.0}))
