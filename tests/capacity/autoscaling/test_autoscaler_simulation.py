"""The closed loop against a slow one that keeps every slot as an object, and the errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.autoscaling.autoscaler_simulation import (
    Outcome,
    Policy,
    Run,
    outcome,
    simulate,
)
from serving_mathematics.core.fleet.scaling_rules import fixed, hpa, knative

from tests.profiles import costly


@dataclass
class Slot:
    ready_at: float
    withdrawn: bool = False
    jobs: list[tuple[float, float]] = field(default_factory=list)

    @property
    def free_at(self) -> float:
        return max(self.ready_at, self.jobs[-1][1] if self.jobs else 0.0)


def overlap(start: float, end: float, low: float, high: float) -> float:
    return max(0.0, min(end, high) - max(start, low))


def slow_loop(
    arrivals: list[float],
    services: list[float],
    policy: Policy,
    *,
    replicas: int,
    sync_s: float,
    startup_s: float,
    slots: int,
) -> tuple[list[float], list[tuple[int, float, float]], list[int], float]:
    """Waits, (ready, utilization, concurrency) at each tick, counts ordered, replica-seconds."""
    fleet = [[Slot(0.0) for _ in range(slots)] for _ in range(replicas)]
    begin: list[float] = []
    seen: list[tuple[int, float, float]] = []
    counts: list[int] = []
    paid = 0.0
    ordered = replicas
    ticks = max(1, math.ceil(arrivals[-1] / sync_s))

    def serve(until: float) -> None:
        while len(begin) < len(arrivals):
            open_slots = [s for replica in fleet for s in replica if not s.withdrawn]
            slot = min(open_slots, key=lambda s: s.free_at)
            start = max(arrivals[len(begin)], slot.free_at)
            if start >= until:
                return
            slot.jobs.append((start, start + services[len(begin)]))
            begin.append(start)

    for tick in range(ticks):
        low, high = tick * sync_s, (tick + 1) * sync_s
        serve(high)
        active = [s for replica in fleet for s in replica if not s.withdrawn]
        capacity = sum(overlap(s.ready_at, math.inf, low, high) for s in active)
        busy = sum(overlap(*job, low, high) for s in active for job in s.jobs)
        waiting = sum(
            overlap(a, begin[i] if i < len(begin) else math.inf, low, high)
            for i, a in enumerate(arrivals)
        )
        ready = sum(s.ready_at <= high for s in active) // slots
        seen.append((ready, busy / capacity, (busy + waiting) / sync_s))
        paid += ordered * sync_s
        wanted = policy(high, ordered, *seen[-1])
        counts.append(wanted)
        fleet += [[Slot(high + startup_s) for _ in range(slots)] for _ in range(wanted - ordered)]
        for _ in range(ordered - wanted):
            idle = [r for r in fleet if r[0].ready_at > high and not r[0].withdrawn]
            if idle:
                latest = max(idle, key=lambda r: r[0].ready_at)
                fleet = [r for r in fleet if r is not latest]
                continue
            open_slots = [s for r in fleet for s in r if not s.withdrawn and s.ready_at <= high]
            first = sorted(open_slots, key=lambda s: s.free_at)[:slots]
            for slot in first:
                slot.withdrawn = True
            paid += max(0.0, max(s.free_at for s in first) - high)
        ordered = wanted
        fleet = [r for r in fleet if not all(s.withdrawn for s in r)]
    serve(math.inf)
    return [b - a for a, b in zip(arrivals, begin, strict=True)], seen, counts, paid


def run_both(seed: int, make: Any, slots: int, startup_s: float) -> None:
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1.0, 120) * np.where(np.arange(120) % 60 < 30, 0.3, 2.0)
    arrivals, services = np.cumsum(gaps), rng.exponential(4.0, 120)
    seen: list[tuple[int, float, float]] = []

    def watched(time: float, ordered: int, ready: int, busy: float, load: float) -> int:
        seen.append((ready, busy, load))
        return int(policy(time, ordered, ready, busy, load))

    policy = make()
    setting = {"replicas": 3, "sync_s": 5.0, "startup_s": startup_s, "slots": slots}
    fast = simulate(arrivals, services, watched, **setting)
    waits, slow_seen, counts, paid = slow_loop(
        arrivals.tolist(), services.tolist(), make(), **setting
    )
    np.testing.assert_allclose(fast.waits_s, waits, atol=1e-9)
    np.testing.assert_allclose(np.array(seen), np.array(slow_seen), atol=1e-9)
    assert fast.replicas.tolist() == counts
    assert fast.replica_seconds == pytest.approx(paid)


@costly
@given(st.integers(0, 10_000), st.sampled_from([1, 3]), st.sampled_from([0.0, 5.0, 12.0]))
def test_loop_equals_the_slow_one_under_hpa(seed: int, slots: int, startup_s: float) -> None:
    run_both(seed, lambda: hpa(0.6, stabilization_s=15.0), slots, startup_s)


@costly
@given(st.integers(0, 10_000), st.sampled_from([1, 3]), st.sampled_from([0.0, 5.0, 12.0]))
def test_loop_equals_the_slow_one_under_knative(seed: int, slots: int, startup_s: float) -> None:
    run_both(
        seed,
        lambda: knative(0.7 * slots, tick_s=5.0, panic_window_s=5.0, stable_window_s=15.0),
        slots,
        startup_s,
    )


def test_starting_replicas_are_cancelled_before_ready_ones_leave() -> None:
    answers = iter([4, 3, 1, 1, 1])
    run = simulate(
        [0.0, 50.0], [1.0, 1.0], lambda *_: next(answers), replicas=1, sync_s=10.0, startup_s=25.0
    )
    assert run.replicas.tolist() == [4, 3, 1, 1, 1]
    assert run.ready.tolist() == [1, 1, 1, 1, 1]
    assert run.replica_seconds == 10 * (1 + 4 + 3 + 1 + 1)


def test_the_rest_is_served_by_the_fleet_as_it_stands() -> None:
    run = simulate([0.0] * 4, [7.0] * 4, fixed(2), replicas=2, sync_s=1.0, startup_s=0.0)
    assert run.waits_s.tolist() == [0.0, 0.0, 7.0, 7.0]
    assert run.tick_times_s.tolist() == [1.0]
    longer = simulate(
        [0.0] * 4, [7.0] * 4, fixed(2), replicas=2, sync_s=1.0, startup_s=0.0, end_s=3.5
    )
    assert longer.tick_times_s.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert longer.replica_seconds == 8.0


def test_outcome_counts() -> None:
    def made(counts: list[int]) -> Outcome:
        ticks = np.arange(1.0, len(counts) + 1)
        return outcome(Run(np.arange(101.0), ticks, np.array(counts), np.array(counts), 1800.0), 90)

    steady, wild = made([3, 3, 3]), made([1, 3, 3, 2, 2, 1, 5, 5])
    assert steady.direction_changes == 0
    assert wild.direction_changes == 2
    assert wild.peak_replicas == 5
    assert wild.replica_hours == 0.5
    assert wild.violations == pytest.approx(10 / 101)  # 91 … 100, not 90 itself
    assert wild.p99_wait_s == pytest.approx(99.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"service_times": [1.0, 1.0]}, r"service_times must be of shape \(1,\)"),
    ],
)
def test_simulate_refuses(arguments: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {
        "arrival_times": [1.0],
        "service_times": [1.0],
        "policy": fixed(1),
        "replicas": 1,
        "sync_s": 1.0,
        "startup_s": 1.0,
    }
    with pytest.raises(ValueError, match=message):
        simulate(**(usual | arguments))


def test_idle_ticks_read_exactly_zero() -> None:
    """Late in a long trace the metrics must not pick up what rounding left of earlier sums."""
    arrivals = np.concatenate((np.linspace(0.0, 900.0, 5000), [99_999.0]))
    seen: list[tuple[float, float]] = []

    def policy(_time: float, _ordered: int, _ready: int, busy: float, load: float) -> int:
        seen.append((busy, load))
        return 7

    services = np.random.default_rng(0).exponential(1.0, arrivals.size)
    simulate(arrivals, services, policy, replicas=7, sync_s=15.0, startup_s=0.0)
    assert seen[0][0] > 0.5
    assert set(seen[70:6660]) == {(0.0, 0.0)}


def test_a_request_at_the_tick_comes_after_the_decision() -> None:
    answers = iter([1, 1])
    run = simulate(
        [10.0, 10.0],
        [5.0, 5.0],
        lambda *_: next(answers),
        replicas=2,
        sync_s=10.0,
        startup_s=0.0,
        end_s=20.0,
    )
    assert run.waits_s.tolist() == [0.0, 5.0]  # one replica is withdrawn, idle, before they come
    assert run.replica_seconds == 30.0


def test_metrics_are_never_negative() -> None:
    """0.1·3 − 0.2 is above 0.1 in floating point; a request that ends at 0.2 must not show it."""
    seen: list[float] = []

    def policy(_time: float, _ordered: int, _ready: int, busy: float, load: float) -> int:
        seen.extend((busy, load))
        return 1

    simulate([0.0], [0.2], policy, replicas=1, sync_s=0.1, startup_s=0.0, end_s=0.5)
    assert seen[:4] == [1.0, 1.0, 1.0, 1.0]
    assert seen[4:] == [0.0] * 6
