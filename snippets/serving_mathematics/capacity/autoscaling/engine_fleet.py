"""An autoscaled fleet of engines whose steps take longer as they fill, request by request.

A replica holds at most K requests. With n of them an answer that takes w in a full engine advances
at the speed 1/(f + (1 − f)·n/K), where f is the share of a full step that does not depend on what
is in it: reading the weights. With f = 1 a place has a constant speed, and the fleet is the queue
of `autoscaler_simulation`; with f near 0 a replica shares one speed among its requests. Requests
wait in one queue, first come first served, and begin at the replica that has fewest. A policy sees
at each tick what it sees there, with places for slots, and is paid for in the same way.

Assumes: a router that knows how many requests each replica has; an answer's work known to nobody;
prompts within the work; hardware always to be had, a start-up that always takes the same time.

Source: birth–death balance of one engine, `engine_signals`, for the speed; Kubernetes,
documentation of Horizontal Pod Autoscaling, for the control loop.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.autoscaling.autoscaler_simulation import (
    Policy,
    Run,
    _to_withdraw,
    simulate,
)
from serving_mathematics.capacity.autoscaling.engine_signals import engine_gauges
from serving_mathematics.core.fleet.scaling_rules import fixed
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_all_sorted,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_shape,
    require_work,
)

FloatArray = npt.NDArray[np.float64]


def place_speeds(places: int, fixed_share: float) -> FloatArray:
    """Speed of each request in an engine that holds 0 … K of them, over that in a full engine.

    places: K, at most 10,000. fixed_share: f in [0, 1]. Returns shape (K + 1,); for none in the
    engine, what one alone would have. Raises ValueError on input outside these ranges.

    >>> place_speeds(4, 0.5).tolist()
    [1.6, 1.6, 1.3333333333333333, 1.1428571428571428, 1.0]
    """
    places = require_positive_integer(places=places)
    require(places <= 10_000, "places", "at most 10,000", places)
    fixed_share = require_in("[0, 1]", fixed_share=fixed_share)
    held = np.maximum(1.0, np.arange(places + 1))
    speeds: FloatArray = 1.0 / (fixed_share + (1.0 - fixed_share) * held / places)
    return speeds


def simulate_engines(
    arrival_times: npt.ArrayLike,
    work_s: npt.ArrayLike,
    policy: Policy,
    *,
    replicas: int,
    sync_s: float,
    startup_s: float,
    places: int,
    fixed_share: float,
    end_s: float | None = None,
) -> Run:
    """Drive one policy through a trace on engines that slow down as they fill.

    arrival_times: sorted, from 0 on [s], shape (n,). work_s: times of the answers in a full engine
    [s], shape (n,). policy: fresh, called every sync_s [s], with the taken share of the ready
    places and the mean number of requests in the system. replicas: ready at time 0. startup_s:
    order to readiness [s]. places, fixed_share: as for `place_speeds`. end_s: when the controller
    stops [s], by default at the last arrival, rounded up to a tick; those that wait then are begun
    by the fleet as ordered. Surplus replicas are taken from those that start, latest first, then
    from those with fewest requests, which finish what they hold. Raises ValueError on bad input,
    and when the policy asks for less than one replica.

    >>> alone = dict(replicas=1, sync_s=9.0, startup_s=0.0, places=2, fixed_share=0.0)
    >>> simulate_engines([0.0, 2.0, 2.0], [8.0] * 3, lambda *_: 1, **alone).waits_s.tolist()
    [0.0, 0.0, 4.0]
    """
    arrivals = as_floats(arrival_times=arrival_times)
    work = as_floats(work_s=work_s)
    require(
        arrivals.ndim == 1 and arrivals.size > 0,
        "arrival_times",
        "a non-empty array in one dimension",
        arrivals.shape,
    )
    require_all_non_negative(arrival_times=arrivals, work_s=work)
    require_all_sorted(arrival_times=arrivals)
    require_shape(arrivals.shape, work_s=work)
    replicas = require_positive_integer(replicas=replicas)
    require_work(200 * replicas, replicas=replicas)
    sync_s = require_positive(sync_s=sync_s)
    startup_s = require_non_negative(startup_s=startup_s)
    end = float(arrivals[-1]) if end_s is None else end_s
    end = require_non_negative(end_s=end)
    require(end >= arrivals[-1], "end_s", "finite and not before the last arrival", end)
    require(end <= 1e7 * sync_s, "end_s", f"at most {1e7 * sync_s:g}, ten million ticks", end)
    speeds = place_speeds(places, fixed_share).tolist()
    ticks = max(1, math.ceil(end / sync_s))
    arrive, works, total = [*arrivals.tolist(), math.inf], work.tolist(), arrivals.size
    begin = [0.0] * total

    held: list[int] = []  # requests of each replica that there ever was
    done: list[float] = []  # work that a request there since the start would have done [s]
    since: list[float] = []  # time of that [s]
    ends: list[list[float]] = []  # heaps: values of `done` at which a request is finished
    events: list[tuple[float, int, int]] = []  # a heap: next end at a replica, as scheduled
    version: list[int] = []  # of a replica's schedule; others in the heap are void
    serving: list[int] = []  # replicas that take requests
    draining: set[int] = set()
    starting: deque[tuple[float, int]] = deque()  # (ready at, replicas)
    came = begun = running = 0  # requests so far; in the places of serving replicas
    now = paid_s = busy_time = system_time = ready_time = 0.0
    ordered = int(replicas)
    history: list[tuple[int, int]] = []

    def open_replicas(count: int) -> None:
        for _ in range(count):
            serving.append(len(held))
            held.append(0)
            done.append(0.0)
            since.append(now)
            ends.append([])
            version.append(0)
        fill()

    def advance(replica: int) -> None:
        done[replica] += (now - since[replica]) * speeds[held[replica]]
        since[replica] = now

    def schedule(replica: int) -> None:
        version[replica] += 1
        left = ends[replica]
        if left:
            wait = max(0.0, left[0] - done[replica]) / speeds[held[replica]]
            heapq.heappush(events, (now + wait, replica, version[replica]))

    def fill() -> None:
        """Begin those that wait, one after the other, where there is most room."""
        nonlocal begun, running
        while begun < came and serving:
            replica = min(serving, key=held.__getitem__)
            if held[replica] == places:
                return
            advance(replica)
            heapq.heappush(ends[replica], done[replica] + works[begun])
            held[replica] += 1
            schedule(replica)
            begin[begun] = now
            begun += 1
            running += 1

    def serve(until: float) -> None:
        """All that happens up to a time."""
        nonlocal came, running, now, paid_s, busy_time, system_time, ready_time
        while True:
            while events and events[0][2] != version[events[0][1]]:
                heapq.heappop(events)
            ready_at = starting[0][0] if starting else math.inf
            ended_at = events[0][0] if events else math.inf
            then = min(until, arrive[came], ready_at, ended_at)
            if then == math.inf:
                return
            span = then - now
            busy_time += running * span
            system_time += (running + came - begun) * span
            ready_time += len(serving) * span
            now = then
            if ended_at == then:
                replica = heapq.heappop(events)[1]
                advance(replica)
                heapq.heappop(ends[replica])
                held[replica] -= 1
                schedule(replica)
                if replica not in draining:
                    running -= 1
                    fill()
                elif not held[replica]:
                    draining.remove(replica)
                    paid_s += now
            elif ready_at == then:
                open_replicas(starting.popleft()[1])
            elif then == until:
                return
            else:
                came += 1
                fill()

    open_replicas(ordered)
    for tick in range(1, ticks + 1):
        serve(tick * sync_s)
        wanted = policy(
            now,
            ordered,
            len(serving),
            busy_time / (ready_time * places),
            system_time / sync_s,
        )
        require(wanted >= 1, "policy", "a function that asks for at least one replica", wanted)
        busy_time = system_time = ready_time = 0.0
        paid_s += ordered * sync_s
        if wanted > ordered:
            starting.append((now + startup_s, wanted - ordered))
        for _ in range(_to_withdraw(ordered - wanted, starting)):
            replica = min(serving, key=held.__getitem__)
            serving.remove(replica)
            running -= held[replica]
            if held[replica]:  # finishes what it holds, and is paid for to the end of that
                draining.add(replica)
                paid_s -= now
        ordered = wanted
        history.append((ordered, len(serving)))
    serve(math.inf)  # nobody is asked any more
    fleet = np.array(history)
    times: FloatArray = sync_s * np.arange(1, ticks + 1, dtype=np.float64)
    return Run(np.array(begin) - arrivals, times, fleet[:, 0], fleet[:, 1], paid_s)


def check_constant_speed_is_the_queue() -> None:
    """With steps that do not depend on what they hold the waits are those of slots of constant
    speed, request by request, while replicas start too.

    Source: `simulate` of autoscaler_simulation, another implementation, on 4,000 requests.
    """
    rng = np.random.default_rng(61)
    arrivals = np.cumsum(rng.exponential(1 / 10.0, 4000))
    work = rng.exponential(1.0, arrivals.size)
    times: dict[str, Any] = {"replicas": 2, "sync_s": 15.0, "startup_s": 40.0}
    slots = simulate(arrivals, work, fixed(3), slots=4, **times)
    engines = simulate_engines(arrivals, work, fixed(3), places=4, fixed_share=1.0, **times)
    difference = float(np.abs(slots.waits_s - engines.waits_s).max())
    checks.close("largest difference in a wait [s]", difference, 0.0, atol=1e-6)
    checks.inside(
        "mean wait, so that there is something to compare [s]", slots.waits_s.mean(), 1, 9
    )
    checks.close("paid [replica-seconds]", engines.replica_seconds, slots.replica_seconds)


def check_one_engine_is_the_birth_death_chain() -> None:
    """One engine that slows down holds as many requests as its birth–death chain says.

    Source: `engine_gauges`, exact for exponential work; 42,000 requests at 85% load, batch means of
    the waits by Little's law.
    """
    rng = np.random.default_rng(62)
    places, fixed_share, rate = 8, 0.4, 0.85 * 8
    arrivals = np.cumsum(rng.exponential(1 / rate, 42_000))
    alone: dict[str, Any] = {"replicas": 1, "sync_s": 1000.0, "startup_s": 0.0}
    run = simulate_engines(
        arrivals,
        rng.exponential(1.0, arrivals.size),
        fixed(1),
        places=places,
        fixed_share=fixed_share,
        **alone,
    )
    exact = engine_gauges(rate, fixed_share, (1 - fixed_share) / places, places)
    checks.covers("mean wait [s]", batch_means(run.waits_s[5000:]), exact.waiting / rate)


def check_hand_worked_engine() -> None:
    """Three answers in an engine with two places that share one speed, traced by hand: two at a
    time take twice as long, one alone runs at twice the speed of a full engine.

    Source: by hand; works of 8 s in a full engine. The first runs alone to 2 s and has 4 of its 8 s
    done, then beside the second to 6 s, when the third takes its place; the second has 4 done then,
    and 4 left beside the third, to 10 s, which is alone from there with 4 left, to 12 s.
    """
    seen: list[tuple[float, ...]] = []

    def watching(*observed: float) -> int:
        seen.append(observed)
        return 1

    run = simulate_engines(
        [0.0, 2.0, 2.0],
        [8.0] * 3,
        watching,
        replicas=1,
        sync_s=4.0,
        startup_s=0.0,
        places=2,
        fixed_share=0.0,
        end_s=16.0,
    )
    checks.close("waits [s]", run.waits_s, [0, 0, 4], atol=1e-12)
    taken = [observed[3] for observed in seen]
    checks.close("taken share of the places", taken, [0.75, 1.0, 0.75, 0.0], atol=1e-12)
    inside = [observed[4] for observed in seen]
    checks.close("in the system", inside, [2.0, 2.5, 1.5, 0.0], atol=1e-12)
    checks.close("paid [replica-seconds]", run.replica_seconds, 16.0)


def check_bad_input_is_refused() -> None:
    """Shares beyond one, places that are none and unsorted arrivals are errors."""
    checks.raises("share", place_speeds, 4, 1.5, match="fixed_share must be in [0, 1], got 1.5")
    checks.raises("no place", place_speeds, 0, 0.5, match="places must be a positive integer")
    usual: dict[str, Any] = {
        "replicas": 1,
        "sync_s": 1.0,
        "startup_s": 0.0,
        "places": 2,
        "fixed_share": 0.5,
    }
    checks.raises(
        "backwards",
        lambda: simulate_engines([2.0, 1.0], [1.0, 1.0], fixed(1), **usual),
        match="arrival_times must be",
    )
    checks.raises(
        "nobody",
        lambda: simulate_engines([1.0], [1.0], lambda *_seen: 0, **usual),
        match="policy must be a function that asks for at least one replica",
    )
