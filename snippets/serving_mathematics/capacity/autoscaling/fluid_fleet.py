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
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.autoscaling.replica_response import Replica, replica_of
from serving_mathematics.core.fleet.scaling_rules import Policy, fixed
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_all_positive,
    require_non_negative,
    require_positive_integer,
    require_shape,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
TICK_S = 15  # between two looks of Kubernetes' autoscaler


@dataclass(frozen=True, eq=False)
class _FleetRun:
    """What became of a load; of each second, but for ordered, of each tick.

    late_share: of the requests. replica_hours: paid, from each order on. ordered, ready: replicas.
    waiting: requests without a place. wait_s: for a place, of who comes then.
    """

    late_share: float
    replica_hours: float
    ordered: IntArray
    ready: IntArray
    waiting: FloatArray
    wait_s: FloatArray


# In one piece: one loop, whose numbers are all of its state: as locals they are read fastest.
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
    that may be ordered. work: of a request in each second, over the mean, shape (n,). Raises
    ValueError on bad input, and when the policy asks for less than one.

    >>> small = Replica(np.array([0.0, 1.0, 1.5]), np.array([0.02, 0.02, 0.03]), 2, 1.0)
    >>> run = _run_fleet([3.0] * 30, lambda *_: 3, small, replicas=1, startup_s=0.0)
    >>> run.waiting[[0, 10]].tolist(), run.ready[[0, 29]].tolist()
    ([0.0, 15.0], [1, 3])
    """
    load = as_floats(load_per_s=load_per_s)
    rule = "of shape (n,), n ≥ 1"
    require(load.ndim == 1 and load.size > 0, "load_per_s", rule, load.shape)
    require_all_non_negative(load_per_s=load)
    heavy = np.ones(load.size) if work is None else as_floats(work=work)
    require_all_positive(work=heavy)
    require_shape(load.shape, work=heavy)
    replicas, most = require_positive_integer(replicas=replicas, most=most)
    startup_s = require_non_negative(startup_s=startup_s)
    require_work(50 * load.size, load_per_s=load.size)
    rates, places = replica.rates.tolist(), replica.places
    ready, starting = int(replicas), deque[tuple[float, int]]()  # when they serve, how many
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
        wanted = policy(second + 1.0, there, ready, taken / TICK_S, area / TICK_S)
        require(wanted >= 1, "policy", "a function that asks for at least one replica", wanted)
        wanted = min(int(wanted), int(most))
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
    counts = np.repeat([int(replicas), *ordered], TICK_S)[: load.size]  # paid from the order on
    paid_s = float(np.maximum(counts, serving).sum())
    return _FleetRun(missed, paid_s / 3600, np.array(ordered), serving, waiting, wait_s)


def check_backlog_by_hand() -> None:
    """While nobody new is ready, what is too much collects.

    Source: (λ − cX)·t for a fixed fleet whose places are full from the beginning.
    """
    chat = replica_of(CHAT)
    over = np.full(120, 3.5 * chat.most_per_s)
    run = _run_fleet(over, fixed(3), chat, replicas=3, startup_s=0.0)
    expected = 119 * 0.5 * chat.most_per_s
    checks.close("waiting after 119 s", float(run.waiting[-1]), expected, rtol=1e-9)
    wait_s = expected / (3 * chat.most_per_s)
    checks.close("wait then [s]", float(run.wait_s[-1]), wait_s, rtol=1e-9)


def check_bad_input_is_refused() -> None:
    """No load, work of other seconds and a policy that asks for nobody are errors."""
    chat = replica_of(CHAT)
    usual: dict[str, Any] = {"replicas": 1, "startup_s": 0.0}

    def run(load: list[float], policy: Policy, **more: Any) -> None:
        _run_fleet(load, policy, chat, **usual, **more)

    checks.raises("none", run, [], fixed(1), match="load_per_s must be of shape")
    told = "work must be of shape"
    checks.raises("work", lambda: run([1.0], fixed(1), work=[1.0, 1.0]), match=told)
    told = "policy must be a function"
    checks.raises("nobody", run, [1.0] * 15, lambda *_seen: 0, match=told)
