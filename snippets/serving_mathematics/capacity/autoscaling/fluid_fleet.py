"""A fleet that is scaled while it serves, second by second, as a fluid.

N requests in the fleet are spread evenly over the c replicas that serve, which end c·X(N/c) of them
a second; beyond c·K they wait. At every tick a policy sees the taken share of the places and the
mean number of requests in the fleet since the last one, and says how many replicas there should
be. A new one serves after the start-up, a surplus one hands its requests on. A request is late if
it waits longer than the promise for its first token, or comes while tokens come slower than
promised.

Assumes: no noise, which in an engine with hundreds of places is small; a router that spreads
evenly; hardware always to be had; a start-up that always takes the same time.

Source: balance of flows; `spike` holds it against the same loads request by request.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.autoscaling.replica_response import Replica
from serving_mathematics.core.fleet.scaling_rules import Policy

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
TICK_S = 15  # between two looks of Kubernetes' autoscaler


@dataclass(frozen=True, eq=False)
class _FleetRun:
    """What became of a load; of each second, but for ordered, of each tick.

    late_share: of the requests. replica_hours: paid, from each order on. ordered, ready: replicas.
    waiting: requests without a place.
    """

    late_share: float
    replica_hours: float
    ordered: IntArray
    ready: IntArray
    waiting: FloatArray


def _run_fleet(
    load_per_s: npt.ArrayLike,
    policy: Policy,
    replica: Replica,
    *,
    replicas: int,
    startup_s: float,
    most: int = 10_000,
    work: npt.ArrayLike | None = None,
) -> _FleetRun:
    """Drive one policy through a load.

    load_per_s: requests a second, of each second, shape (n,). policy: fresh. replicas: ready at
    first, with what they hold in a steady state. startup_s: order to readiness [s]. most: replicas
    that may be ordered. work: of a request in each second, over the mean, shape (n,).

    >>> small = Replica(np.array([0.0, 1.0, 1.5]), np.array([0.02, 0.02, 0.03]), 2, 1.0)
    >>> run = _run_fleet([3.0] * 30, lambda *_: 3, small, replicas=1, startup_s=0.0)
    >>> run.waiting[[0, 10]].tolist(), run.ready[[0, 29]].tolist()
    ([0.0, 15.0], [1, 3])
    """
    load = np.asarray(load_per_s)
    heavy = np.ones(load.size) if work is None else np.asarray(work)
    rates, places = replica.rates.tolist(), replica.places
    ready, starting = replicas, deque[tuple[float, int]]()  # when they serve, how many
    inside = ready * float(replica.inside(min(load[0] * heavy[0] / ready, replica.most_per_s)))
    ordered: list[int] = []
    served: list[int] = []
    held: list[float] = []
    area = taken = 0.0
    for second, (arriving, each) in enumerate(zip(load.tolist(), heavy.tolist(), strict=True)):
        while starting and starting[0][0] <= second:
            ready += starting.popleft()[1]
        served.append(ready)
        held.append(inside)
        area += inside
        own = inside / ready
        if own < places:
            low = int(own)
            rate = rates[low] + (own - low) * (rates[low + 1] - rates[low])
            taken += own / places
        else:
            rate = rates[places]
            taken += 1.0
        inside = max(0.0, inside + arriving - ready * rate / each)
        if (second + 1) % TICK_S:
            continue
        there = ready + sum(count for _, count in starting)
        wanted = min(policy(second + 1.0, there, ready, taken / TICK_S, area / TICK_S), most)
        area = taken = 0.0
        ordered.append(wanted)
        if wanted > there:
            starting.append((second + 1 + startup_s, wanted - there))
        surplus = max(0, there - wanted)
        while surplus and starting:  # those that start are called off first
            when, count = starting.pop()
            if count > surplus:
                starting.append((when, count - surplus))
            surplus = max(0, surplus - count)
        ready -= surplus
    serving, own_share = np.array(served), np.array(held) / np.array(served)
    waiting = np.maximum(own_share - places, 0.0) * serving
    wait_s = waiting * heavy / (serving * replica.most_per_s)
    late = (own_share > replica.held) | (wait_s > replica.ttft_s)
    missed = float((load * late).sum() / max(load.sum(), 1e-300))
    counts = np.repeat([replicas, *ordered], TICK_S)[: load.size]  # paid from the order on
    paid_s = float(np.maximum(counts, serving).sum())
    return _FleetRun(missed, paid_s / 3600, np.array(ordered), serving, waiting)
