"""Autoscaling formulas: limits, properties, and the errors."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.fleet.scaling_rules import (
    Policy,
    damped,
    fixed,
    hpa,
    hpa_replicas,
    hpa_waiting,
    knative,
    knative_replicas,
    largest,
    planned,
)

fleets = st.integers(1, 500)
whole_metrics = st.integers(0, 300)
whole_targets = st.integers(1, 100)


@given(fleets, whole_metrics, whole_targets)
def test_hpa_is_the_exact_ceiling_outside_the_band(n: int, metric: int, target: int) -> None:
    ratio = Fraction(metric, target)
    wanted = hpa_replicas(n, metric, target)
    if Fraction(9, 10) < ratio < Fraction(11, 10):
        assert wanted == n
    elif not Fraction(9, 10) <= ratio <= Fraction(11, 10):
        assert wanted == max(1, math.ceil(n * ratio))


@given(fleets, st.integers(0, 499), whole_metrics, whole_targets)
def test_hpa_with_starting_replicas_never_reverses(
    n: int, starting: int, metric: int, target: int
) -> None:
    starting = min(starting, n - 1)
    wanted = hpa_replicas(n, metric, target, not_ready=starting)
    if metric > target:
        assert n <= wanted <= max(n, math.ceil(Fraction((n - starting) * metric, target)))
    else:
        assert wanted <= n


def test_hpa_tolerances_act_on_their_own_side() -> None:
    assert hpa_replicas(100, 104, 100, tolerance_up=0.05, tolerance_down=0.0) == 100
    assert hpa_replicas(100, 106, 100, tolerance_up=0.05, tolerance_down=0.0) == 106
    assert hpa_replicas(100, 99, 100, tolerance_up=0.05, tolerance_down=0.0) == 99
    assert hpa_replicas(100, 94, 100, tolerance_up=0.0, tolerance_down=0.06) == 100
    assert hpa_replicas(100, 101, 100, tolerance_up=0.0, tolerance_down=0.06) == 101
    assert hpa_replicas(10, 150, 100, not_ready=4, tolerance_up=0.0) == 10  # 9 of 10, reversed
    assert hpa_replicas(10, 95, 100, not_ready=4, tolerance_down=0.0) == 6  # below: left out
    assert hpa_replicas(10, 190, 100, not_ready=4, tolerance_up=0.2) == 10  # 1.14, in the band
    assert hpa_replicas(10, 210, 100, not_ready=4, tolerance_up=0.2) == 13  # 1.26, out of it


@given(fleets, st.integers(0, 499), whole_metrics, whole_targets)
def test_an_external_value_multiplies_the_ready_ones_alone(
    n: int, starting: int, metric: int, target: int
) -> None:
    """As `getUsageRatioReplicaCount` of Kubernetes does; no direction is kept."""
    starting = min(starting, n - 1)
    wanted = hpa_replicas(n, metric, target, not_ready=starting, metric_type="External")
    if abs(metric / target - 1) > 0.1 + 1e-9:
        assert wanted == max(1, math.ceil(Fraction((n - starting) * metric, target)))
    elif abs(metric / target - 1) < 0.1 - 1e-9:
        assert wanted == n


@given(fleets, st.integers(0, 499), whole_metrics, whole_targets)
def test_a_metric_of_each_pod_is_made_up_for_starting_ones(
    n: int, starting: int, metric: int, target: int
) -> None:
    """As `calcPlainMetricReplicas` of Kubernetes does, pod by pod: one without a metric gets the
    target on the way down and 0 on the way up, and no direction is reversed.
    """
    starting = min(starting, n - 1)
    wanted = hpa_replicas(n, metric, target, not_ready=starting, metric_type="Pods")
    first = Fraction(metric, target)
    pods = [Fraction(metric)] * (n - starting)
    pods += [Fraction(target if first < 1 else 0)] * starting
    ratio = sum(pods) / (len(pods) * target)
    if first > 1 > ratio or Fraction(91, 100) < ratio < Fraction(109, 100):
        assert wanted == n
    elif abs(ratio - 1) > Fraction(11, 100):
        assert wanted == max(1, math.ceil(ratio * len(pods)))


def test_hpa_keeps_one_replica_and_ignores_rounding_noise() -> None:
    assert hpa_replicas(3, 0, 50) == 1
    assert hpa_replicas(25, 84, 75) == 28
    assert math.ceil(84 / 75 * 25) == 29
    assert hpa_replicas(1000, 50.0 * 1.2 + 1e-3, 50) == 1201  # a real excess still counts
    assert (hpa_replicas(1, 2 + 4e-10, 1), hpa_replicas(1, 2 + 2e-9, 1)) == (2, 3)


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0.1, 100), st.integers(0, 200))
def test_knative_stays_between_its_rate_limits(
    stable: float, panic: float, target: float, ready: int
) -> None:
    by_stable, by_panic, over = knative_replicas(stable, panic, target, ready, max_scale_up=3.0)
    counted = max(1, ready)
    for wanted, load in ((by_stable, stable), (by_panic, panic)):
        assert counted // 2 <= wanted <= 3 * counted
        if counted // 2 < wanted < 3 * counted:
            assert wanted - 1 < load / target + 1e-8
            assert wanted >= load / target - 1e-8
    if over:
        assert by_panic >= 2 * counted


def test_knative_counts_nobody_as_one_and_scales_to_zero_from_one() -> None:
    assert knative_replicas(0, 0, 1, 0) == (0, 0, False)
    assert knative_replicas(0, 2, 1, 0) == (0, 2, True)
    assert knative_replicas(0, 1, 1, 1, max_scale_down=1.5)[0] == 0
    assert knative_replicas(0, 0, 1, 9, max_scale_down=3.0)[:2] == (3, 3)
    assert knative_replicas(0, 29, 1, 10, panic_threshold=3.0)[2] is False
    assert knative_replicas(0, 30, 1, 10, panic_threshold=3.0)[2] is True
    assert knative_replicas(5000, 0, 1, 2)[0] == 2000  # the default limit of 1000 per tick
    assert knative_replicas(0, 0, 1, 8)[0] == 4  # the default limit of one half per tick


def drive(policy: Policy, step_s: float, seen: list[tuple[int, int, float, float]]) -> list[int]:
    return [policy(step_s * k, *values) for k, values in enumerate(seen)]


def test_fixed_and_largest() -> None:
    assert drive(fixed(3), 1.0, [(9, 1, 1.0, 99.0), (1, 1, 0.0, 0.0)]) == [3, 3]
    assert largest(fixed(2))(0.0, 1, 1, 0.0, 0.0) == 2
    memory = hpa(0.5)
    both = largest(memory, fixed(12))
    assert drive(both, 15.0, [(10, 10, 0.5, 0.0), (10, 10, 0.9, 0.0)]) == [12, 18]


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(0, 39), st.floats(0, 1)), min_size=1, max_size=60
    )
)
def test_hpa_policy_by_its_definition(seen: list[tuple[int, int, float]]) -> None:
    """Each answer from the whole history: the highest recommendation younger than 300 s rules."""
    policy = hpa(0.6)
    history: list[tuple[float, int]] = [(0.0, seen[0][0])]
    for k, (replicas, starting, utilization) in enumerate(seen):
        ready = replicas - min(starting, replicas - 1)
        now = 15.0 * k
        wanted = hpa_replicas(replicas, utilization, 0.6, not_ready=replicas - ready)
        history.append((now, wanted))
        held = max(count for time, count in history if time > now - 300.0)
        limit = max(2 * replicas, replicas + 4)
        expected = min(wanted, limit) if wanted >= replicas else min(replicas, held)
        assert policy(now, replicas, ready, utilization, 0.0) == expected


def test_hpa_signals_and_windows() -> None:
    queue = hpa(2.0, signal="concurrency")
    assert queue(0.0, 10, 10, 0.1, 30.0) == 15  # 30 requests for 2 each, whatever the utilization
    assert queue(15.0, 15, 10, 0.1, 36.0) == 18  # 3.6 per ready replica of 2: 36 for 2 each
    assert hpa(1.0)(0.0, 10, 10, 1.0, 500.0) == 10  # a utilization cannot exceed a target of 1
    kept = hpa(2.0, signal="concurrency", stabilization_s=0.0)
    assert kept(0.0, 10, 6, 0.1, 6.0) == 7  # 1 in each of 6, for 2, and the 4 that start
    at_once = hpa(0.5, stabilization_s=0.0)
    assert drive(at_once, 15.0, [(10, 10, 0.5, 0.0), (10, 10, 0.2, 0.0)]) == [10, 4]
    brief = hpa(0.5, stabilization_s=30.0)
    low = [(10, 10, 0.2, 0.0)] * 3
    assert drive(brief, 15.0, low) == [10, 10, 4]  # the fleet found at 0 s holds until 30 s


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": math.inf, "signal": "concurrency"}, "target must be in"),
        ({"signal": "memory"}, "signal must be"),
    ],
)
def test_hpa_policy_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hpa(**({"target": 0.5} | arguments))  # type: ignore[arg-type]


def test_a_type_of_metric_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="metric_type must be one of Resource, Pods, External"):
        hpa_replicas(3, 1, 2, metric_type="Object")  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 200)), min_size=1, max_size=70))
def test_knative_policy_by_its_definition(seen: list[tuple[int, float]]) -> None:
    """Each answer from the whole history of concurrency, panics and counts asked for."""
    policy = knative(1.5, tick_s=3.0, scale_down_delay_s=9.0)
    panics: list[float] = []
    asked: list[int] = []
    while_panicking: list[int] = []
    for k, (ready, _) in enumerate(seen):
        now = 3.0 * k
        load = [concurrency for _, concurrency in seen[: k + 1]]
        long, short = load[-20:], load[-2:]
        stable, panic, over = knative_replicas(
            sum(long) / len(long), sum(short) / len(short), 1.5, ready
        )
        panics += [now] * over
        if panics and now - panics[-1] <= 60.0:
            while_panicking.append(max(stable, panic))
            asked.append(max(while_panicking))
        else:
            while_panicking.clear()
            asked.append(stable)
        assert policy(now, 1, ready, 0.0, load[-1]) == max(1, *asked[-3:])


def test_knative_panics_afresh_and_never_below_the_stable_window() -> None:
    quiet, burst, ripple = (5, 5, 1.0, 5.0), (5, 5, 1.0, 100.0), (5, 5, 1.0, 30.0)
    counts = drive(knative(1.0), 2.0, [quiet] * 30 + [burst] + [quiet] * 60 + [ripple])
    assert counts[30] == 37
    assert counts[-2:] == [5, 14]  # the first panic is over and forgotten: (5 + 5 + 30)/3
    busy, shrunk = (100, 100, 1.0, 100.0), (1, 1, 1.0, 10.0)
    counts = drive(knative(1.0), 2.0, [busy] * 20 + [shrunk] * 5)
    assert counts[20:] == [96, 96, 96, 96, 96]  # (20·100 + 10)/21 rules over a short window of 70


def test_knative_defaults_are_two_seconds_and_six() -> None:
    default, explicit = (
        knative(1.0),
        knative(1.0, tick_s=2.0, stable_window_s=60.0, panic_window_s=6.0),
    )
    seen = [(5, 5, 1.0, float(c)) for c in [5] * 31 + [40, 0, 0, 9] + [5] * 40]
    assert drive(default, 2.0, seen) == drive(explicit, 2.0, seen)
    assert knative(1.0)(0.0, 3, 3, 0.0, 0.0) == 1  # never to zero


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.floats(-5, 100), st.floats(0, 40))
def test_plan_is_the_highest_ahead(counts: list[int], now: float, lead: float) -> None:
    starts = [10.0 * k for k in range(len(counts))]
    policy = planned(starts, counts, lead_s=lead)
    ends = [*starts[1:], math.inf]
    pieces = zip([-math.inf, *starts[1:]], ends, counts, strict=True)
    ahead = [count for start, end, count in pieces if start <= now + lead and end > now]
    assert policy(now, 1, 1, 0.0, 0.0) == max(ahead)


@given(st.integers(1, 50), st.integers(1, 32), st.floats(0.0, 1.0), st.floats(0.0, 5000.0))
def test_waiting_is_what_the_slots_do_not_hold(
    n: int, slots: int, busy: float, beyond: float
) -> None:
    """Whoever is ready, the total counts; without a queue the fleet shrinks after the window."""
    policy = hpa_waiting(5.0, slots)
    inside = busy * n * slots + beyond
    wanted = policy(0.0, n, n, busy, inside)
    asked = beyond / 5.0
    if asked > 1.1 * n:  # the tolerance is of what is asked for, before it is rounded up
        assert wanted == min(math.ceil(round(asked, 9)), max(2 * n, n + 4))
    else:
        assert wanted == n
    calm = hpa_waiting(5.0, slots, stabilization_s=0.0)
    assert calm(0.0, n, n, busy, busy * n * slots) == 1


def test_waiting_counts_no_ready_replica_twice() -> None:
    """Ten of twenty ready and full with 16 slots, and 130 more: 130/5 whatever is starting."""
    assert hpa_waiting(5.0, 16)(0.0, 20, 10, 1.0, 160.0 + 130.0) == 26


def test_damped_holds_up_and_limits() -> None:
    """Asked for nothing it keeps the fleet for five minutes; asked for much it doubles."""
    policy = damped(lambda _replicas, _ready, _taken, requests: int(requests))
    counts = [
        policy(15.0 * k, 10, 10, 0.5, float(asked)) for k, asked in enumerate([99] + [1] * 25)
    ]
    assert counts[0] == 20
    assert counts[19] == 10
    assert counts[21] == 1
