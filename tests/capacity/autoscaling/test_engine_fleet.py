"""The fleet of engines against a slow one that keeps every answer's rest, and the errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.autoscaling.autoscaler_simulation import Policy
from serving_mathematics.capacity.autoscaling.engine_fleet import place_speeds, simulate_engines
from serving_mathematics.core.fleet.scaling_rules import fixed, hpa, hpa_latency

from tests.profiles import costly


@dataclass
class Replica:
    ready_at: float
    rest: list[float] = field(default_factory=list)  # work left of each answer
    withdrawn: bool = False


def slow_fleet(
    arrivals: list[float],
    work: list[float],
    policy: Policy,
    *,
    replicas: int,
    sync_s: float,
    startup_s: float,
    places: int,
    fixed_share: float,
) -> tuple[list[float], list[tuple[int, float, float]], list[int], float]:
    """Waits, (ready, taken share, in the system) at each tick, counts ordered, replica-seconds:
    from event to event with every answer's rest, and no heap.
    """
    fleet = [Replica(0.0) for _ in range(replicas)]
    begin = [math.nan] * len(arrivals)
    queue: list[int] = []
    seen: list[tuple[int, float, float]] = []
    counts: list[int] = []
    now, came, paid, ordered = 0.0, 0, 0.0, replicas
    sums = [0.0, 0.0, 0.0]

    def speed(held: int) -> float:
        return 1.0 / (fixed_share + (1.0 - fixed_share) * held / places)

    def fill() -> None:
        while queue:
            free = [r for r in fleet if not r.withdrawn and r.ready_at <= now]
            room = [r for r in free if len(r.rest) < places]
            if not room:
                return
            first = queue.pop(0)
            begin[first] = now
            min(room, key=lambda r: len(r.rest)).rest.append(work[first])

    def run(until: float) -> None:
        nonlocal now, came, paid
        while True:
            spans = [min(r.rest) / speed(len(r.rest)) for r in fleet if r.rest]
            nexts = [now + span for span in spans] + [r.ready_at for r in fleet if r.ready_at > now]
            then = min([until, *nexts, *arrivals[came : came + 1]])
            open_ones = [r for r in fleet if not r.withdrawn and r.ready_at <= now]
            held = sum(len(r.rest) for r in open_ones)
            for k, rate in enumerate((held, held + len(queue), len(open_ones))):
                sums[k] += rate * (then - now) if rate else 0.0
            paid += (then - now) * sum(1 for r in fleet if r.withdrawn and r.rest)
            for replica in fleet:
                done = (then - now) * speed(len(replica.rest)) if replica.rest else 0.0
                replica.rest = [rest - done for rest in replica.rest]
            now = then
            for replica in fleet:
                replica.rest = [rest for rest in replica.rest if rest > 1e-9]
            fill()
            if now == until:
                return
            while came < len(arrivals) and arrivals[came] <= now:
                queue.append(came)
                came += 1
            fill()

    for tick in range(max(1, math.ceil(arrivals[-1] / sync_s))):
        run((tick + 1) * sync_s)
        ready = sum(not r.withdrawn and r.ready_at <= now for r in fleet)
        seen.append((ready, sums[0] / (sums[2] * places), sums[1] / sync_s))
        sums[:] = [0.0, 0.0, 0.0]
        paid += ordered * sync_s
        wanted = policy(now, ordered, *seen[-1])
        counts.append(wanted)
        fleet += [Replica(now + startup_s) for _ in range(wanted - ordered)]
        for _ in range(ordered - wanted):
            waiting = [r for r in fleet if r.ready_at > now]
            if waiting:
                fleet.remove(max(waiting, key=lambda r: r.ready_at))
            else:
                open_ones = [r for r in fleet if not r.withdrawn]
                min(open_ones, key=lambda r: len(r.rest)).withdrawn = True
        ordered = wanted
        fill()
    run(1e9)
    return [b - a for a, b in zip(arrivals, begin, strict=True)], seen, counts, paid


@costly
@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 3]),
    st.sampled_from([3.0, 5.0, 12.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.booleans(),
)
def test_the_fleet_equals_the_slow_one(
    seed: int, places: int, startup_s: float, fixed_share: float, by_latency: bool
) -> None:
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1.0, 100) * np.where(np.arange(100) % 50 < 25, 0.3, 2.0)
    arrivals, work = np.cumsum(gaps), rng.exponential(4.0, 100)
    seen: list[tuple[int, float, float]] = []

    def make() -> Policy:
        if by_latency:
            return hpa_latency(5.0, 4.0, places, fixed_share, stabilization_s=15.0)
        return hpa(0.6, stabilization_s=15.0)

    policy = make()

    def watched(time: float, ordered: int, ready: int, busy: float, load: float) -> int:
        seen.append((ready, busy, load))
        return policy(time, ordered, ready, busy, load)

    setting: dict[str, Any] = {"replicas": 3, "sync_s": 5.0, "startup_s": startup_s}
    setting |= {"places": places, "fixed_share": fixed_share}
    fast = simulate_engines(arrivals, work, watched, **setting)
    waits, slow_seen, counts, paid = slow_fleet(arrivals.tolist(), work.tolist(), make(), **setting)
    np.testing.assert_allclose(fast.waits_s, waits, atol=1e-6)
    np.testing.assert_allclose(np.array(seen), np.array(slow_seen), atol=1e-6)
    assert fast.replicas.tolist() == counts
    assert fast.replica_seconds == pytest.approx(paid)


def test_speeds() -> None:
    assert place_speeds(16, 1.0).tolist() == [1.0] * 17
    shared = place_speeds(16, 0.0)
    assert (shared[1:] * np.arange(1, 17)).tolist() == [16.0] * 16  # one speed for all together
    assert np.all(np.diff(place_speeds(64, 0.5)[1:]) < 0)
    assert place_speeds(64, 0.3)[-1] == 1.0


def test_what_waits_at_the_end_is_served_by_the_fleet_as_ordered() -> None:
    answers = iter([2])
    run = simulate_engines(
        [0.0] * 4,
        [8.0] * 4,
        lambda *_: next(answers),
        replicas=1,
        sync_s=1.0,
        startup_s=2.0,
        places=2,
        fixed_share=1.0,
    )
    assert run.waits_s.tolist() == [0.0, 0.0, 3.0, 3.0]
    assert run.replica_seconds == 1.0


def test_a_withdrawn_replica_is_paid_for_until_its_last_answer() -> None:
    answers = iter([1, 1])
    run = simulate_engines(
        [0.0, 0.0],
        [8.0, 6.0],
        lambda *_: next(answers),
        replicas=2,
        sync_s=4.0,
        startup_s=0.0,
        places=2,
        fixed_share=1.0,
        end_s=8.0,
    )
    assert run.replica_seconds == 8.0 + 4.0 + 4.0  # two to 4 s, one to 8 s, the first to 8 s


def test_a_request_at_the_tick_comes_after_the_decision() -> None:
    answers = iter([1, 1])
    run = simulate_engines(
        [10.0, 10.0],
        [5.0, 5.0],
        lambda *_: next(answers),
        replicas=2,
        sync_s=10.0,
        startup_s=0.0,
        places=1,
        fixed_share=1.0,
        end_s=20.0,
    )
    assert run.waits_s.tolist() == [0.0, 5.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"work_s": [1.0, 1.0]}, r"work_s must be of shape \(1,\)"),
        ({"end_s": 0.5}, "end_s must be finite and not before the last arrival"),
        ({"end_s": 1e8}, "end_s must be at most 1e\\+07"),
    ],
)
def test_the_fleet_refuses(arguments: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {
        "arrival_times": [1.0],
        "work_s": [1.0],
        "policy": fixed(1),
        "replicas": 1,
        "sync_s": 1.0,
        "startup_s": 1.0,
        "places": 2,
        "fixed_share": 0.5,
    }
    with pytest.raises(ValueError, match=message):
        simulate_engines(**(usual | arguments))
