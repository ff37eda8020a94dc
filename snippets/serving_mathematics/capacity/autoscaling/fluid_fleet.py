"""A fleet that is scaled while it serves, second by second, as a fluid.

N requests in the fleet are spread evenly over the c replicas that serve, which end c·X(N/c) of them
a second; beyond c·K they wait. At every tick a policy sees the taken share of the places and the
mean number of requests in the fleet since the last one, and says how many replicas there should
be. A new one serves after the start-up, a surplus one hands its requests on. A request is late if
it waits longer than the promise for its first token, or comes while tokens come slower than
promised.

`python -m serving_mathematics.capacity.autoscaling.fluid_fleet` simulates a fleet request by
request, in a few seconds, and writes records/fluid_fleet.json.

Assumes: no noise, which in an engine with hundreds of places is small; a router that spreads
evenly; hardware always to be had; a start-up that always takes the same time.

Source: balance of flows, and `core.fleet` for the check, request by request.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.autoscaling.replica_response import Replica, replica_of
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.scaling import Scaling
from serving_mathematics.core.fleet.scaling_rules import Policy, fixed, hpa
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import recorded
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
    waiting: requests without a place. wait_s: for a place, of who comes then. late: whether so.
    """

    late_share: float
    replica_hours: float
    ordered: IntArray
    ready: IntArray
    waiting: FloatArray
    wait_s: FloatArray
    late: npt.NDArray[np.bool_]


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
    return _FleetRun(missed, paid_s / 3600, np.array(ordered), serving, waiting, wait_s, late)


def _spike(replica: Replica, least: float, most: float) -> FloatArray:
    """Half an hour at one load, and ten minutes of it at another."""
    load = np.full(1800, least * replica.most_per_s)
    load[300:900] = most * replica.most_per_s
    return load


def _on_requests(share: float) -> Policy:
    """A target of requests inside, as a share of the places."""
    return hpa(share * CHAT.places, signal="concurrency")


class _OneByOne(NamedTuple):
    """Share of the requests that are late, and what is paid."""

    late_share: float
    replica_hours: float


@recorded(_OneByOne, "fluid_fleet")
def _one_by_one(share: float, seconds: int = 1800) -> _OneByOne:
    """The beginning of the spike, request by request."""
    rng, load = np.random.default_rng(1), _spike(replica_of(CHAT), 1.0, 3.2)[:seconds]
    count = rng.poisson(load).astype(np.intp)
    arrivals = np.sort(np.repeat(np.arange(load.size), count) + rng.random(count.sum()))
    drawn = draw_lengths(rng, CHAT.traffic, arrivals.size)
    asked = Requests(arrivals, drawn.prompt_tokens, drawn.output_tokens)
    scaling = Scaling(lambda: _on_requests(share), CHAT.engine, TICK_S, 120.0, 1, 12)
    one = simulate_fleet(asked, Fleet([CHAT.engine] * 2, scaling=scaling))
    later = np.maximum(drawn.output_tokens - 1, 1)
    late = one.first_token_s - arrivals > CHAT.promise.ttft_s
    late |= (one.completion_s - one.first_token_s) / later > CHAT.promise.tpot_s
    return _OneByOne(float(late.mean()), float(one.paid_s.sum()) / 3600)


def check_against_requests_one_by_one() -> None:
    """The fluid says how late a fleet is, and what it costs, to a quarter for a cool target; and
    with a hot target both swing, and are late more than twice as often.

    Source: `core.fleet`, about 70,000 requests with lengths of the machine's trace.
    """
    chat = replica_of(CHAT)
    load = _spike(chat, 1.0, 3.2)
    lates = {}
    for share in (0.2, 0.6):
        policy, one = _on_requests(share), _one_by_one(share)
        fluid = _run_fleet(load, policy, chat, replicas=2, startup_s=120.0, most=12)
        lates[share] = (fluid.late_share, one.late_share)
        label = f"target {100 * share:.0f}% of the places"
        got = f"fluid {fluid.late_share:.3f}, {fluid.replica_hours:.2f} h; one by one"
        got += f" {one.late_share:.3f}, {one.replica_hours:.2f} h"
        if share < 0.5:
            ratio = fluid.late_share / one.late_share
            checks.inside(f"{label}: late, {got}", ratio, 0.75, 1.25, kind="simulation")
            ratio = fluid.replica_hours / one.replica_hours
            checks.inside(f"{label}: paid", ratio, 0.75, 1.25, kind="simulation")
    for kind, cool, hot in zip(("fluid", "one by one"), *lates.values(), strict=True):
        checks.holds(f"{kind}: a hot target is later", hot > 1.33 * cool, got=[cool, hot])


def check_a_run_is_made_again() -> None:
    """Seven minutes of the record, request by request again, are as late and cost as much.

    Source: the record, and its command.
    """
    checks.close("to 420 s", _one_by_one.again(0.2, 420), _one_by_one(0.2, 420), rtol=1e-6)


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


if __name__ == "__main__":
    _one_by_one.make()
