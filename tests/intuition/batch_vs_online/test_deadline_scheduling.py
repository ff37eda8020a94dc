"""Fleets for deadlines against linear programming and a unit-by-unit queue; limits and errors."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from serving_mathematics.intuition.batch_vs_online.deadline_scheduling import (
    Backfill,
    backfill,
    daily_profile,
    smallest_fleet,
)

DAYS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=6)


def fleet_by_linear_programming(batch: list[int], held: list[int], window: int) -> float:
    """Least c such that flows x[t, j] ≥ 0 from slot t to slot t + j (mod n) fit into c − o."""
    n = len(batch)
    cost = np.r_[np.zeros(n * window), 1.0]
    supply = np.zeros((n, n * window + 1))
    room = np.zeros((n, n * window + 1))
    room[:, -1] = -1.0
    for t in range(n):
        for j in range(window):
            supply[t, t * window + j] = 1.0
            room[(t + j) % n, t * window + j] += 1.0
    bounds = [(0.0, None)] * (n * window) + [(float(max(held)), None)]
    answer = linprog(cost, room, -np.array(held, float), supply, np.array(batch, float), bounds)
    assert answer.success
    assert answer.fun is not None
    return float(answer.fun)


@given(DAYS, st.integers(1, 8))
def test_smallest_fleet_by_linear_programming(day: list[tuple[int, int]], window: int) -> None:
    batch, held = [b for b, _ in day], [o for _, o in day]
    expected = fleet_by_linear_programming(batch, held, window)
    assert smallest_fleet(batch, window, held) == pytest.approx(expected, abs=1e-7)


@given(DAYS)
def test_patience_never_needs_more(day: list[tuple[int, int]]) -> None:
    batch, held = [b for b, _ in day], [o for _, o in day]
    fleets = [smallest_fleet(batch, w, held) for w in range(1, 9)]
    assert all(later <= now + 1e-12 for now, later in pairwise(fleets))
    assert fleets[0] == pytest.approx(max(b + o for b, o in day))
    mean = sum(batch) / len(day) + sum(held) / len(day)
    assert smallest_fleet(batch, len(day), held) == pytest.approx(max(mean, *held, 0))


@given(DAYS, st.integers(0, 4))
def test_backfill_unit_by_unit(day: list[tuple[int, int]], extra: int) -> None:
    batch, held = [b for b, _ in day], [o for _, o in day]
    n = len(day)
    fleet = max(*held, math.ceil((sum(batch) + sum(held)) / n), 0) + extra
    queue: list[int] = []
    done, longest = [0] * (4 * n), 0
    for slot in range(4 * n):
        queue += [slot] * batch[slot % n]
        for _ in range(min(len(queue), fleet - held[slot % n])):
            born = queue.pop(0)
            done[slot] += 1
            if n <= born < 2 * n:
                longest = max(longest, slot - born + 1)
    plan = backfill(batch, float(fleet), held)
    assert plan.done == pytest.approx(done[n : 2 * n], abs=1e-9)
    assert plan.longest_window == longest


def test_work_from_yesterday_counts() -> None:
    plan = backfill([0.0, 0.0, 6.0], 2.0)
    assert isinstance(plan, Backfill)
    assert plan.done.tolist() == [2.0, 2.0, 2.0]
    assert plan.longest_window == 3
    assert backfill([0.0, 0.0], 1.0).longest_window == 0


@given(st.floats(1.0, 12.0), st.integers(24, 96))
def test_profile(peak: float, slots: int) -> None:
    day = daily_profile(peak, slots)
    assert day.shape == (slots,)
    assert day.mean() == pytest.approx(1.0)
    assert day[0] == pytest.approx(peak, rel=1e-9)
    assert np.all(np.diff(day[: slots // 2 + 1]) <= 1e-12)
    assert day[1:] == pytest.approx(day[1:][::-1])


def test_shapes_and_small_fleets() -> None:
    for empty in ([], [[1.0]]):
        with pytest.raises(ValueError, match="batch_demand must be a non-empty line"):
            smallest_fleet(empty, 1)
    with pytest.raises(ValueError, match="capacity must be finite and at least 2"):
        backfill([1.0, 1.0], 1.9, [0.0, 2.0])
    with pytest.raises(ValueError, match="capacity must be finite and at least 3"):
        backfill([2.0, 2.0], 2.9, [1.0, 1.0])
