"""Autoscaling rules as controllers: what they see at a tick, what they remember, what they ask for.

Kubernetes' HPA asks for ⌈n·m/target⌉ replicas unless the ratio m/target is within a tolerance, and
keeps the highest recommendation of the last five minutes. Knative's asks for ⌈concurrency/target⌉
over a long window, or over a short one while it panics. A plan orders ahead of known demand. A
policy is a function of five numbers: the time [s], the replicas ordered (ready and starting), the
ready ones, and two means since the last tick, the busy share of the ready slots and the requests in
the system, waiting ones included. Each call makes a fresh policy, which drives one run.

Assumes: one policy acts alone, its ticks are evenly spaced, metrics arrive without delay or error.

Source: Kubernetes, replica_calculator.go (Tolerances.isWithin, GetResourceReplicas), horizontal.go
(stabilizeRecommendationWithBehaviors) and the documentation of Horizontal Pod Autoscaling; Knative
Serving, pkg/autoscaler/scaling/autoscaler.go (Scale) and config-autoscaler.
"""

# In one piece: rules of one signature beside each other, to be compared; a third are checks of
# them.

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    require_shape,
    require_work,
)

HPA_TOLERANCE = 0.1  # ratio, Kubernetes --horizontal-pod-autoscaler-tolerance, default
KNATIVE_PANIC_THRESHOLD = 2.0  # ratio, Knative panic-threshold-percentage: "200.0"
KNATIVE_MAX_SCALE_UP = 1000.0  # ratio per tick, Knative max-scale-up-rate: "1000.0"
KNATIVE_MAX_SCALE_DOWN = 2.0  # ratio per tick, Knative max-scale-down-rate: "2.0"
HPA_STABILIZATION_S = 300.0  # [s] --horizontal-pod-autoscaler-downscale-stabilization, default
HPA_SCALE_UP_RATIO = 2  # per 15 s, default scaleUp policy "Percent 100"
HPA_SCALE_UP_REPLICAS = 4  # per 15 s, default scaleUp policy "Pods 4"; the larger limit holds
KNATIVE_TICK_S = 2.0  # [s] config-autoscaler, tick-interval
KNATIVE_STABLE_WINDOW_S = 60.0  # [s] config-autoscaler, stable-window
KNATIVE_PANIC_WINDOW_S = 6.0  # [s] config-autoscaler, panic-window-percentage 10 of the stable one

Policy = Callable[[float, int, int, float, float], int]


def _whole(replicas: float) -> int:
    """Round up to whole replicas; an excess below 1e-9 is rounding noise and buys none."""
    return math.ceil(replicas - 1e-9)


def hpa_replicas(
    replicas: int,
    metric: float,
    target: float,
    *,
    not_ready: int = 0,
    metric_type: Literal["Resource", "Pods", "External"] = "Resource",
    tolerance_up: float = HPA_TOLERANCE,
    tolerance_down: float = HPA_TOLERANCE,
) -> int:
    """Replicas that Kubernetes' Horizontal Pod Autoscaler asks for: ⌈n·m/target⌉ outside the
    tolerance, else n; what starting ones count for hangs on the type of the metric.

    replicas: n, ready and starting ones. metric: m, mean over the ready ones, in the unit of
    target. not_ready: how many of the n are still starting, without a metric of their own.
    metric_type: "Resource" is CPU, where starting ones count as 0 while m is above target and are
    left out below; "Pods" a number that each replica tells, where they count as 0 above and as the
    target below, so none is called off; "External" one number of the fleet with a target of type
    `Value`, as KEDA hands it on: they are always left out, so fewer than n may be asked for while m
    is above target. tolerance_up, tolerance_down: the ratio m/target may lie in [1 − down, 1 + up].
    Returns at least 1, the default minimum. Raises ValueError on input outside these ranges.
    Source: Kubernetes, replica_calculator.go, GetResourceReplicas, calcPlainMetricReplicas,
    getUsageRatioReplicaCount and Tolerances.isWithin.

    >>> hpa_replicas(50, metric=90, target=75)
    60
    >>> hpa_replicas(10, metric=90, target=75, not_ready=1)  # 9·90/75 = 10.8 is within 10% of 10
    10
    >>> hpa_replicas(10, metric=30, target=75, not_ready=4, metric_type="Pods")  # 6·30/75 + 4
    7
    >>> hpa_replicas(10, metric=90, target=75, not_ready=4, metric_type="External")  # 6·90/75
    8
    """
    not_ready = as_number(not_ready=not_ready)
    replicas = require_positive_integer(replicas=replicas)
    metric = require_non_negative(metric=metric)
    target = require_positive(target=target)
    require(
        not_ready % 1 == 0 and 0 <= not_ready < replicas,
        "not_ready",
        f"an integer in [0, {replicas})",
        not_ready,
    )
    types = ("Resource", "Pods", "External")
    require(metric_type in types, "metric_type", f"one of {', '.join(types)}", metric_type)
    tolerance_up = require_non_negative(tolerance_up=tolerance_up)
    tolerance_down = require_in("[0, 1]", tolerance_down=tolerance_down)
    ready = replicas - not_ready
    own = ratio = metric / target
    wanted = ready * own
    if not_ready > 0 and metric_type != "External" and (own > 1 or metric_type == "Pods"):
        wanted += not_ready if own < 1 else 0
        ratio = wanted / replicas
        if own > 1 > ratio:  # counting the starting ones would turn growth into shrinkage
            return replicas
    if 1 - tolerance_down <= ratio <= 1 + tolerance_up:
        return replicas
    return max(1, _whole(wanted))


def knative_replicas(
    stable_concurrency: float,
    panic_concurrency: float,
    target: float,
    ready: int,
    *,
    panic_threshold: float = KNATIVE_PANIC_THRESHOLD,
    max_scale_up: float = KNATIVE_MAX_SCALE_UP,
    max_scale_down: float = KNATIVE_MAX_SCALE_DOWN,
) -> tuple[int, int, bool]:
    """What Knative's autoscaler reads at one tick: replicas by the stable window, by the panic
    window, and whether to panic.

    stable_concurrency, panic_concurrency: requests in the system, waiting ones included, averaged
    over the long (60 s) and the short window (6 s). target: requests per replica. ready: replicas
    that can serve; none counts as one. It panics when the short window asks for at least
    panic_threshold times the ready replicas. max_scale_up, max_scale_down: largest ratio to the
    ready replicas in one tick. Raises ValueError on input outside these ranges.
    Source: Knative Serving, autoscaler.go, Scale; config-autoscaler for the defaults.

    >>> knative_replicas(stable_concurrency=30, panic_concurrency=100, target=7, ready=5)
    (5, 15, True)
    """
    panic_threshold, max_scale_up, max_scale_down = as_number(
        panic_threshold=panic_threshold, max_scale_up=max_scale_up, max_scale_down=max_scale_down
    )
    stable_concurrency, panic_concurrency = require_non_negative(
        stable_concurrency=stable_concurrency, panic_concurrency=panic_concurrency
    )
    target = require_positive(target=target)
    ready = require_non_negative_integer(ready=ready)
    require(
        1 < panic_threshold < math.inf, "panic_threshold", "above 1 and finite", panic_threshold
    )
    require(1 < max_scale_up < math.inf, "max_scale_up", "above 1 and finite", max_scale_up)
    require(1 < max_scale_down < math.inf, "max_scale_down", "above 1 and finite", max_scale_down)
    ready = max(1, ready)
    lowest, highest = math.floor(ready / max_scale_down), _whole(max_scale_up * ready)
    stable, panic = _whole(stable_concurrency / target), _whole(panic_concurrency / target)
    over = panic >= panic_threshold * ready
    return min(max(stable, lowest), highest), min(max(panic, lowest), highest), over


def fixed(replicas: int) -> Policy:
    """Always the same number of replicas; raises ValueError unless it is a positive integer.

    >>> fixed(7)(0.0, 7, 7, 0.9, 40.0)
    7
    """
    replicas = require_positive_integer(replicas=replicas)
    return lambda *_seen: int(replicas)


def hpa(
    target: float,
    *,
    signal: Literal["utilization", "concurrency"] = "utilization",
    stabilization_s: float = HPA_STABILIZATION_S,
) -> Policy:
    """Kubernetes' autoscaler: up at once within its rate limit, down to the highest recommendation
    of the window.

    target: utilization in (0, 1], a metric of the type Resource, or requests in the system per
    ready replica, one of the type Pods, when signal is "concurrency". stabilization_s:
    recommendations of this last time [s], and the fleet found at first, hold it up. Raises
    ValueError on input outside these ranges.

    >>> policy = hpa(0.5)
    >>> [policy(15.0 * k, 10, 10, u, 0.0) for k, u in enumerate((0.5, 0.2, 0.8))]
    [10, 10, 16]
    """
    target = as_number(target=target)
    require(
        signal in ("utilization", "concurrency"), "signal", "'utilization' or 'concurrency'", signal
    )
    highest = 1.0 if signal == "utilization" else math.inf
    require(
        0 < target <= highest and target < math.inf,
        "target",
        f"in (0, {highest:g}] and finite",
        target,
    )
    stabilization_s = require_non_negative(stabilization_s=stabilization_s)

    def asked(replicas: int, ready: int, utilization: float, concurrency: float) -> int:
        starting = replicas - ready
        if signal == "utilization":
            return hpa_replicas(replicas, utilization, target, not_ready=starting)
        own = concurrency / ready
        return hpa_replicas(replicas, own, target, not_ready=starting, metric_type="Pods")

    return damped(asked, stabilization_s)


def hpa_waiting(
    threshold: float, slots: int, *, stabilization_s: float = HPA_STABILIZATION_S
) -> Policy:
    """Kubernetes' autoscaler on an engine's waiting requests alone, an external metric with an
    average value: the total over the threshold, whoever is ready.

    threshold: waiting requests per replica, positive. slots: requests that a replica serves at
    once; the others wait. stabilization_s: as for `hpa`. Never below one replica. Raises ValueError
    on input outside these ranges.

    >>> policy = hpa_waiting(5.0, slots=16)
    >>> [policy(15.0 * k, 10, 10, 1.0, 160.0 + w) for k, w in enumerate((50.0, 75.0, 0.0))]
    [10, 15, 10]
    """
    threshold = require_positive(threshold=threshold)
    slots = require_positive_integer(slots=slots)
    stabilization_s = require_non_negative(stabilization_s=stabilization_s)

    def asked(replicas: int, ready: int, utilization: float, concurrency: float) -> int:
        waiting = max(0.0, concurrency - utilization * ready * slots)
        return hpa_replicas(replicas, waiting / replicas, threshold)

    return damped(asked, stabilization_s)


def damped(
    asked: Callable[[int, int, float, float], int], stabilization_s: float = HPA_STABILIZATION_S
) -> Policy:
    """What a rule asks for, up at once within Kubernetes' rate limit, down to the highest
    recommendation of the last stabilization_s [s].

    asked: of the replicas ordered and ready, the taken share of their places and the requests in
    the system. Raises ValueError on a negative time.

    >>> policy = damped(lambda replicas, ready, taken, requests: round(requests / 10))
    >>> [policy(15.0 * k, 4, 4, 0.5, requests) for k, requests in enumerate((40.0, 20.0, 200.0))]
    [4, 4, 8]
    """
    stabilization_s = require_non_negative(stabilization_s=stabilization_s)
    recommended: deque[tuple[float, int]] = deque()  # (time [s], replicas), oldest first

    def policy(
        time_s: float, replicas: int, ready: int, utilization: float, concurrency: float
    ) -> int:
        wanted = asked(replicas, ready, utilization, concurrency)
        if not recommended:  # the controller starts from the fleet that it finds
            recommended.append((time_s, replicas))
        recommended.append((time_s, wanted))
        while recommended[0][0] <= time_s - stabilization_s and len(recommended) > 1:
            recommended.popleft()
        if wanted < replicas:
            return min(replicas, max([count for _, count in recommended]))
        return min(wanted, max(HPA_SCALE_UP_RATIO * replicas, replicas + HPA_SCALE_UP_REPLICAS))

    return policy


def knative(
    target: float,
    *,
    tick_s: float = KNATIVE_TICK_S,
    stable_window_s: float = KNATIVE_STABLE_WINDOW_S,
    panic_window_s: float = KNATIVE_PANIC_WINDOW_S,
    scale_down_delay_s: float = 0.0,
) -> Policy:
    """Knative's autoscaler: the stable window of concurrency rules until the panic window asks for
    twice what is ready.

    While it panics, and for a stable window after, the fleet only grows. target: requests per
    replica, waiting ones included. tick_s: time between ticks [s]; windows average whole ticks, as
    many as there are until they are full. scale_down_delay_s: the highest count asked for in this
    time rules [s]. It never scales to zero. Raises ValueError unless 0 < tick_s ≤ panic_window_s ≤
    stable_window_s < ∞, or on another bad argument.

    >>> policy = knative(1.0)
    >>> [policy(2.0 * k, 5, 5, 1.0, c) for k, c in enumerate((5.0, 25.0, 0.0))]
    [5, 15, 15]
    """
    stable_window_s, panic_window_s = as_number(
        stable_window_s=stable_window_s, panic_window_s=panic_window_s
    )
    target, tick_s = require_positive(target=target, tick_s=tick_s)
    require(
        tick_s <= panic_window_s < math.inf,
        "panic_window_s",
        f"at least tick_s = {tick_s:g} and finite",
        panic_window_s,
    )
    require(
        panic_window_s <= stable_window_s < math.inf,
        "stable_window_s",
        f"at least panic_window_s = {panic_window_s:g} and finite",
        stable_window_s,
    )
    scale_down_delay_s = require_non_negative(scale_down_delay_s=scale_down_delay_s)
    require_work((stable_window_s + scale_down_delay_s) / tick_s, tick_s=tick_s)
    window: deque[float] = deque(maxlen=round(stable_window_s / tick_s))
    short: deque[float] = deque(maxlen=round(panic_window_s / tick_s))
    asked: deque[int] = deque(maxlen=max(1, round(scale_down_delay_s / tick_s)))
    panicked_at, highest = -math.inf, 0

    def policy(
        time_s: float, _replicas: int, ready: int, _utilization: float, concurrency: float
    ) -> int:
        nonlocal panicked_at, highest
        window.append(concurrency)
        short.append(concurrency)
        stable, panic, over = knative_replicas(
            sum(window) / len(window), sum(short) / len(short), target, ready
        )
        if over:
            panicked_at = time_s
        panicking = time_s <= panicked_at + stable_window_s
        highest = max(highest, stable, panic) if panicking else 0
        asked.append(highest if panicking else stable)
        return max(1, *asked)

    return policy


def planned(times_s: npt.ArrayLike, replicas: npt.ArrayLike, *, lead_s: float) -> Policy:
    """A timetable, ordered ahead: at every moment the highest count planned from now to now + lead.

    times_s: increasing starts of the pieces of the plan [s], shape (n,); the first also covers what
    is before. replicas: whole counts of at least 1, same shape. lead_s: the start-up time [s].
    Raises ValueError on input outside these ranges.

    >>> policy = planned([0.0, 100.0], [3, 14], lead_s=30.0)
    >>> [policy(t, 3, 3, 0.5, 1.0) for t in (60.0, 70.0)]
    [3, 14]
    """
    starts, counts = as_floats(times_s=times_s), as_floats(replicas=replicas)
    require(
        starts.ndim == 1 and starts.size > 0,
        "times_s",
        "a non-empty array in one dimension",
        starts.shape,
    )
    require(
        np.all(np.isfinite(starts)) and np.all(np.diff(starts) > 0),
        "times_s",
        "finite and increasing",
        starts,
    )
    require_shape(starts.shape, replicas=counts)
    require(
        np.all((counts >= 1) & (counts < math.inf) & (counts == np.floor(counts))),
        "replicas",
        "whole and at least 1",
        counts,
    )
    lead_s = require_non_negative(lead_s=lead_s)
    edges, plan = starts.tolist(), [int(count) for count in counts]

    def policy(
        time_s: float, _replicas: int, _ready: int, _utilization: float, _concurrency: float
    ) -> int:
        first, last = (bisect.bisect_right(edges, time_s + ahead) for ahead in (0.0, lead_s))
        return max(plan[max(0, first - 1) : max(1, last)])

    return policy


def largest(*policies: Policy) -> Policy:
    """The highest count that any of the policies asks for; raises ValueError when there are none.

    >>> largest(lambda *_: 3, lambda *_: 5)(0.0, 3, 3, 0.5, 1.5)
    5
    """
    require(len(policies) > 0, "policies", "at least one policy", len(policies))
    return lambda *seen: max([policy(*seen) for policy in policies])


def check_hpa_asks_for() -> None:
    """Kubernetes' rule gives the replica counts of its documentation, and leaves ratios within ten
    percent alone.

    Source: Kubernetes blog of 28 April 2025 (50 replicas, 90% against 75%); Horizontal Pod
    Autoscaling, "Algorithm details" (200m against 100m doubles, 50m halves); Tolerances.isWithin
    for the band [0.9, 1.1].
    """
    checks.equal("50 replicas, 90 for 75", hpa_replicas(50, 90, 75), 60, kind="published")
    checks.equal("4 replicas, 200 for 100", hpa_replicas(4, 200, 100), 8, kind="published")
    checks.equal("4 replicas, 50 for 100", hpa_replicas(4, 50, 100), 2, kind="published")
    checks.equal("10 replicas, 56 for 50", hpa_replicas(10, 56, 50), 12)
    checks.equal("10 replicas, 54 for 50", hpa_replicas(10, 54, 50), 10)
    checks.equal("10 replicas, 44 for 50", hpa_replicas(10, 44, 50), 9)
    checks.equal(
        "edges of the band",
        [hpa_replicas(10, m, 50) for m in (44.9, 45, 55, 55.1)],
        [9, 10, 10, 12],
    )


def check_starting_replicas_damp_the_growth() -> None:
    """Replicas that are still starting count as idle when the fleet must grow, so one burst is not
    ordered twice.

    Source: Kubernetes, Horizontal Pod Autoscaling, "Algorithm details"; total work 10·100 at a
    target of 70 needs 15.
    """
    checks.equal("10 ready at 100 for 70", hpa_replicas(10, 100, 70), 15)
    checks.equal("5 more starting", hpa_replicas(15, 100, 70, not_ready=5), 15)
    checks.equal("10 more starting, reversed, so held", hpa_replicas(20, 100, 70, not_ready=10), 20)
    checks.equal("starting ones left out when shrinking", hpa_replicas(15, 35, 70, not_ready=5), 5)


def check_knative_asks_for() -> None:
    """Knative asks for concurrency over target, panics at twice the ready replicas, and always lets
    a fleet of two grow.

    Source: comment in autoscaler.go (rate limit 1.1, 2 replicas, concurrency 3, target 1: 3
    replicas); Alibaba Cloud's description of the algorithm (100 requests, 10 per container at 70%:
    15 replicas); the rest by hand.
    """
    limited = knative_replicas(3, 3, 1, 2, max_scale_up=1.1)
    checks.equal("2 replicas, 3 wanted, limit 1.1", limited[0], 3, kind="published")
    checks.equal("100 requests for 7", knative_replicas(100, 100, 7, 10)[0], 15, kind="published")
    checks.equal(
        "short window at 19, 20 of 10 ready",
        [knative_replicas(9, c, 1, 10)[2] for c in (19, 20)],
        [False, True],
    )
    checks.equal("no faster down than half", knative_replicas(0, 1, 1, 9)[:2], (4, 4))


def _ticks(policy: Policy, step_s: float, seen: list[tuple[int, int, float, float]]) -> list[int]:
    """What a policy asks for at ticks 0, step, 2·step, … given (replicas, ready, utilization,
    concurrency) at each.
    """
    return [policy(step_s * k, *values) for k, values in enumerate(seen)]


def check_downscale_waits_five_minutes() -> None:
    """After the last busy reading the HPA keeps the fleet for exactly 300 s, then falls to what it
    needs.

    Source: Kubernetes, stabilizeRecommendationWithBehaviors: the highest recommendation younger
    than the window; by hand.
    """
    counts = _ticks(hpa(0.7), 15.0, [(20, 20, 0.7, 0.0)] + [(20, 20, 0.35, 0.0)] * 21)
    checks.equal("readings at 20 after the busy one", counts[1:].count(20), 19)
    checks.equal("counts from 285 s on", counts[19:], [20, 10, 10])


def check_scale_up_is_rate_limited() -> None:
    """In one sync the HPA adds four replicas or doubles the fleet, whichever is more.

    Source: Kubernetes, Horizontal Pod Autoscaling, "Default Behavior".
    """
    for fleet, most in ((1, 5), (3, 7), (4, 8), (10, 20)):
        checks.equal(f"from {fleet}", _ticks(hpa(0.05), 15.0, [(fleet, fleet, 1.0, 0.0)]), [most])


def check_panic_never_shrinks() -> None:
    """One burst of 100 in a single tick lifts a fleet of 5 to 37 until 60 s after the short window
    has seen the last of it.

    Source: Knative Serving, autoscaler.go; by hand, (5 + 5 + 100)/3 = 36.7, seen by three windows,
    from 60 to 64 s.
    """
    quiet, burst = (5, 5, 1.0, 5.0), (5, 5, 1.0, 100.0)
    counts = _ticks(knative(1.0), 2.0, [quiet] * 30 + [burst] + [quiet] * 40)
    checks.equal("ticks at 37", counts.count(37), 33)
    checks.equal(
        "first and last of them [s]",
        [2 * counts.index(37), 2 * (len(counts) - 1 - counts[::-1].index(37))],
        [60, 124],
    )
    checks.equal("before and after", (counts[29], counts[63]), (5, 5))
    delayed = _ticks(
        knative(1.0, scale_down_delay_s=20.0), 2.0, [quiet] * 30 + [burst] + [quiet] * 50
    )
    checks.equal("ticks at 37 with a scale-down delay of 20 s", delayed.count(37), 33 + 9)


def check_plan_is_ordered_ahead() -> None:
    """A rise of the plan at noon, from 14 to 111, is ordered one start-up before noon.

    Source: by hand.
    """
    policy = planned([0.0, 43_200.0], [14, 111], lead_s=180.0)
    counts = [policy(t, 14, 14, 0.7, 10.0) for t in (0.0, 43_019.0, 43_020.0, 80_000.0)]
    checks.equal("midnight, 181 s before, 180 s before, evening", counts, [14, 14, 111, 111])
    both = largest(policy, fixed(20))
    checks.equal(
        "with a floor of 20", [both(t, 14, 14, 0.7, 10.0) for t in (0.0, 43_200.0)], [20, 111]
    )
