"""Hedged and tied requests, simulated: servers with a queue each, a second copy on another server.

Requests arrive in a Poisson stream and go to a server chosen at random. Every server is first come
first served. A hedged request that has not been answered d after its arrival sends a second copy to
another server, and the first answer counts. Three things can happen to the other copy: it runs to
its end (nobody tells the server), it is removed from queue or server when the first answer comes
(`"completion"`), or it is removed from its queue when the first copy starts (`"start"`).

Without cancellation a copy's answer is known when it joins its queue, so many replications can be
walked side by side. Tied requests, both copies at once and removal on start, need no queue at all:
the copy that starts first is the one at the server with less work, so the request simply joins the
shorter of two workloads.

Assumes: servers are alike, messages and removals take no time, nobody leaves, times in mean service
times.

Source: Dean and Barroso (2013) for both policies; Ayesta and others (2019) for removal on
start as joining the shortest workload.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections import deque
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Literal

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.erlang import mean_wait
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_all_finite,
    require_all_non_negative,
    require_in,
    require_positive,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
HICCUP_S, HICCUP_SHARE = (
    15.0,
    0.02,
)  # a pause of the server in one service of fifty [mean services, 1]
NEVER = 1e300  # [mean service times]
BUDGET_BURST = 10.0  # most second copies that an unused budget saves up [requests]


@dataclass(frozen=True)
class Workload:
    """What r independent fleets are asked to do; times in mean service times.

    arrivals: sorted times, shape (r, n). services: service times of both copies, shape (2, r, n).
    servers: where each copy goes, shape (2, r, n), the two of a request different. fleet: servers
    per fleet.
    """

    arrivals: FloatArray
    services: FloatArray
    servers: IntArray
    fleet: int

    def beside(self, *others: Workload) -> Workload:
        """These fleets followed by those of other workloads, as large and with as many requests."""
        all_of = (self, *others)
        return Workload(
            arrivals=np.concatenate([w.arrivals for w in all_of]),
            services=np.concatenate([w.services for w in all_of], axis=1),
            servers=np.concatenate([w.servers for w in all_of], axis=1),
            fleet=self.fleet,
        )


def poisson_workload(
    rng: np.random.Generator, utilization: float, fleet: int, requests: int, replications: int
) -> Workload:
    """Poisson arrivals at rate ρ per server, exponential service of mean 1, servers at random,
    copies independent.

    utilization: ρ > 0 without hedges; 1 and more is an overload. fleet: servers, at least 2.
    requests: n per replication. replications: r. Raises ValueError outside these ranges.
    """
    fleet, requests, replications = as_number(
        fleet=fleet, requests=requests, replications=replications
    )
    held = (requests + 200) * replications
    require_work(held, requests=requests, replications=replications)
    utilization = require_positive(utilization=utilization)
    for name, value, least in (
        ("fleet", fleet, 2),
        ("requests", requests, 1),
        ("replications", replications, 1),
    ):
        rule = f"an integer of at least {least}"
        require(value % 1 == 0 and value >= least, name, rule, value)
    require(fleet <= 2**31, "fleet", "at most 2³¹", fleet)
    shape = (replications, requests)
    first = rng.integers(fleet, size=shape)
    return Workload(
        arrivals=np.cumsum(rng.exponential(1 / (utilization * fleet), shape), axis=1),
        services=rng.exponential(1.0, (2, *shape)),
        servers=np.stack([first, (first + 1 + rng.integers(fleet - 1, size=shape)) % fleet]),
        fleet=fleet,
    )


def hedged_responses(
    workload: Workload,
    delay: float | npt.ArrayLike,
    *,
    budget: float | npt.ArrayLike = math.inf,
    initial_work: npt.ArrayLike = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """Responses of hedged requests whose slower copy runs to its end, and the share of requests
    hedged.

    delay: d ≥ 0 [mean service times], infinite for no hedging. budget: hedges allowed per request,
    earned at each arrival and saved up to BUDGET_BURST; infinite for no limit. Both are one for all
    replications or of shape (r,). initial_work: work in front of each server at time 0, any shape
    that broadcasts to (r, fleet). Returns responses of shape (r, n) and shares of shape (r,).
    Raises ValueError on bad input.

    >>> workload = Workload(
    ...     arrivals=np.array([[0.0, 1.0]]),
    ...     services=np.array([[[4.0, 2.0]], [[1.0, 1.5]]]),
    ...     servers=np.array([[[0, 0]], [[1, 1]]]),
    ...     fleet=2,
    ... )
    >>> [values.tolist() for values in hedged_responses(workload, delay=2.0)]
    [[[3.0, 3.5]], [1.0]]
    """
    delay, initial_work = as_numbers(delay=delay, initial_work=initial_work)
    arrivals, fleet = workload.arrivals, workload.fleet
    lanes, requests = arrivals.shape
    initial_work = require_all_non_negative(initial_work=initial_work)
    require(np.all(np.asarray(delay) >= 0), "delay", "non-negative", delay)
    require(np.all(np.asarray(budget) > 0), "budget", "positive", budget)
    delays = np.broadcast_to(as_floats(delay=delay), (lanes,))
    budgets = np.broadcast_to(as_floats(budget=budget), (lanes,))
    work = np.broadcast_to(as_floats(initial_work=initial_work), (lanes, fleet))
    # One row of n + 1 slots per lane, for first copies and again for second ones. In the last slot
    # stands an arrival that never comes, to a server of its own: a lane that has finished stays
    # there.
    lane = np.arange(lanes)
    arrival, last = np.full((2, lanes, requests + 1), NEVER), np.zeros((2, lanes, 1), dtype=int)
    arrival[..., :-1] = arrivals
    arrival, places = arrival.ravel(), workload.servers + fleet * lane[:, None]
    server = np.concatenate([places, last + fleet * lanes], axis=2).ravel()
    service = np.concatenate([workload.services, last], axis=2).ravel()
    slots = lanes * (requests + 1)
    timer, timer_of = np.full(slots, math.inf), np.zeros(slots, dtype=np.int64)
    response = np.full(2 * slots, math.inf)
    free_at = np.append(work, 0.0)
    first = lane * (requests + 1)
    next_arrival, next_timer, last_timer = first.copy(), first.copy(), first.copy()
    limited = bool(np.any(budgets < math.inf))
    tokens, refusals = np.where(budgets < math.inf, 0.0, math.inf), np.zeros(lanes)
    most = np.where(budgets < math.inf, BUDGET_BURST, math.inf)
    while True:
        timer_at, arrival_at = timer[next_timer], arrival[next_arrival]
        now = np.minimum(timer_at, arrival_at)
        if now.min() == NEVER:
            hedged = (next_timer - first - refusals) / requests
            return response.reshape(2, lanes, -1)[..., :-1].min(axis=0), hedged
        is_timer = timer_at <= arrival_at
        copy = np.where(is_timer, timer_of[next_timer], next_arrival)
        place = server[copy]
        done = np.maximum(now, free_at[place]) + service[copy]
        taken = done - arrival[copy]
        if limited:  # a second copy that is refused changes nothing
            refused = is_timer & (tokens < 1)
            done, taken = (
                np.where(refused, free_at[place], done),
                np.where(refused, math.inf, taken),
            )
            earned = np.where(is_timer, refused - 1.0, np.minimum(budgets, 1.0))
            tokens = np.minimum(tokens + earned, most)
            refusals += refused
        free_at[place] = done
        response[copy] = taken
        is_arrival = ~is_timer
        late = is_arrival & (taken > delays)
        timer[last_timer] = np.where(late, now + delays, math.inf)
        timer_of[last_timer] = copy + slots
        last_timer += late
        next_timer += is_timer
        next_arrival += is_arrival & (arrival_at < NEVER)


def tied_responses(workload: Workload) -> FloatArray:
    """Responses when both copies join a queue at once and the first to start removes the other,
    shape (r, n).

    The copy at the server that becomes free earlier starts first, so the other never costs any
    work. A tie goes to the first copy. Service times are those of the copy that runs.

    >>> workload = Workload(
    ...     arrivals=np.array([[0.0, 1.0]]),
    ...     services=np.array([[[4.0, 2.0]], [[1.0, 1.5]]]),
    ...     servers=np.array([[[0, 0]], [[1, 1]]]),
    ...     fleet=2,
    ... )
    >>> tied_responses(workload).tolist()
    [[4.0, 1.5]]
    """
    lanes, requests = workload.arrivals.shape
    lane = np.arange(lanes)
    free_at = np.zeros((lanes, workload.fleet))
    responses = np.empty((lanes, requests))
    for i in range(requests):
        now, places = workload.arrivals[:, i], workload.servers[:, :, i]
        starts = np.maximum(now, free_at[lane, places])
        copy = (starts[1] < starts[0]).astype(np.int64)
        done = starts[copy, lane] + workload.services[copy, lane, i]
        free_at[lane, places[copy, lane]] = done
        responses[:, i] = done - now
    return responses


def responses_by_event(
    workload: Workload, delay: float, cancel: Literal["never", "completion", "start"]
) -> tuple[FloatArray, float]:
    """Responses of the first replication, one event at a time, for any rule of cancellation, and
    the work per request.

    delay: d ≥ 0 [mean service times], infinite for no hedging. cancel: when the other copy is
    removed; with "start" no second copy leaves once the first has started. Returns responses of
    shape (n,) and the mean time that servers spent on a request, both copies together [mean service
    times]. Raises ValueError on a negative delay or an unknown rule.

    >>> workload = Workload(
    ...     arrivals=np.array([[0.0, 1.0]]),
    ...     services=np.array([[[4.0, 2.0]], [[1.0, 1.5]]]),
    ...     servers=np.array([[[0, 0]], [[1, 1]]]),
    ...     fleet=2,
    ... )
    >>> responses, work = responses_by_event(workload, delay=2.0, cancel="completion")
    >>> responses.tolist(), work
    ([3.0, 3.5], 3.5)
    """
    delay = as_number(delay=delay)
    require(delay >= 0, "delay", "non-negative", delay)
    rules = ("never", "completion", "start")
    require(cancel in rules, "cancel", f"one of {rules}", cancel)
    arrivals = [*workload.arrivals[0].tolist(), math.inf]
    services, servers = workload.services[:, 0].tolist(), workload.servers[:, 0].tolist()
    requests = len(arrivals) - 1
    response = [math.inf] * requests
    started = [False] * requests
    queues: list[deque[tuple[int, int]]] = [deque() for _ in range(workload.fleet)]
    ends: list[tuple[float, int, int, int, float]] = []  # time, server, request, copy, its start
    current: list[tuple[float, int, int, int, float] | None] = [None] * workload.fleet  # of `ends`
    timers: deque[tuple[float, int]] = deque()
    at_completion, at_start, work = cancel == "completion", cancel == "start", 0.0

    def start_next(place: int, now: float) -> None:
        current[place], queue = None, queues[place]
        while queue:
            request, copy = queue.popleft()
            answered = at_completion and response[request] < math.inf
            if not answered and not (at_start and started[request]):
                started[request] = True
                current[place] = end = (now + services[copy][request], place, request, copy, now)
                heapq.heappush(ends, end)
                return

    def join(request: int, copy: int, now: float) -> None:
        place = servers[copy][request]
        queues[place].append((request, copy))
        if current[place] is None:
            start_next(place, now)

    coming = 0
    while ends or timers or coming < requests:
        timer, arrival = timers[0][0] if timers else math.inf, arrivals[coming]
        if ends and ends[0][0] < timer and ends[0][0] < arrival:
            end = heapq.heappop(ends)
            now, place, request, copy, start = end
            if current[place] is not end:
                continue  # this copy was removed while it ran
            work += now - start
            start_next(place, now)
            if response[request] == math.inf:
                response[request] = now - arrivals[request]
            if at_completion:
                other = servers[1 - copy][request]
                twin = current[other]
                if twin is not None and twin[2] == request:
                    work += now - twin[4]
                    start_next(other, now)
        elif timer <= arrival:
            now, request = timers.popleft()
            if response[request] == math.inf and not (at_start and started[request]):
                join(request, 1, now)
        else:
            now = arrival
            join(coming, 0, now)
            if delay < math.inf:
                timers.append((now + delay, coming))
            coming += 1
    return np.array(response), work / requests


def quantile_estimate(responses: FloatArray, probability: float) -> MeanEstimate:
    """Quantile of all responses together, with the standard error from the quantiles of the
    replications.

    responses: shape (r, n), r ≥ 2, warm-up removed. probability: q in (0, 1). The half-width is
    1.96 standard errors. Raises ValueError outside these ranges.

    >>> quantile_estimate(np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]), 0.5).mean
    3.0
    """
    responses = as_floats(responses=responses)
    require(
        responses.ndim == 2 and responses.shape[0] >= 2 and responses.shape[1] >= 1,
        "responses",
        "of shape (r, n) with r ≥ 2",
        responses.shape,
    )
    responses = require_all_finite(responses=responses)
    probability = require_in("(0, 1)", probability=probability)
    each = np.quantile(responses, probability, axis=1)
    error = float(each.std(ddof=1)) / math.sqrt(each.size)
    return MeanEstimate(float(np.quantile(responses, probability)), error, 1.96 * error)


def example() -> SimpleNamespace:
    """The table of policies in the text."""
    (steady, steady_work), (hiccup, hiccup_work) = _policies()
    shown = [
        {name: f"{e.mean:.2f} ± {e.half_width:.2f}" for name, e in kind.items()}
        for kind in (steady, hiccup)
    ]
    return SimpleNamespace(
        **shown[0],
        **{f"hiccup_{name}": text for name, text in shown[1].items()},
        work_hedged=steady_work["hedged"].mean,
        work_hedged_removed=steady_work["hedged_removed"].mean,
        work_twice_removed=steady_work["twice_removed"].mean,
        hiccup_work_hedged_removed=hiccup_work["hedged_removed"].mean,
        hiccup_work_twice_removed=hiccup_work["twice_removed"].mean,
        work_error=max(
            e.half_width for kind in (steady_work, hiccup_work) for e in kind.values()
        ),  # the largest half-width of a 95% interval of work
        tied_gain=100 * (1 - steady["tied"].mean / steady["alone"].mean),
    )


def _at_once(workload: Workload, copies: int) -> FloatArray:
    """Responses of one copy, or of two that both join their queues on arrival and run to their end,
    shape (r, n): `hedged_responses` with an infinite delay or with none, where nobody waits for a
    timer."""
    lanes, requests = workload.arrivals.shape
    lane, free_at = np.arange(lanes), np.zeros((lanes, workload.fleet))
    responses = np.empty((lanes, requests))
    servers, services = (each[:copies] for each in (workload.servers, workload.services))
    for i in range(requests):
        now, places = workload.arrivals[:, i], servers[:, :, i]
        done = np.maximum(now, free_at[lane, places]) + services[:, :, i]
        free_at[lane, places] = done
        responses[:, i] = done.min(axis=0) - now
    return responses


def _of_runs(values: npt.ArrayLike) -> MeanEstimate:
    """Mean of independent runs; of four with Student's t, of many with the normal quantile."""
    each = as_floats(values=values).ravel()
    error = float(each.std(ddof=1)) / math.sqrt(each.size)
    quantile = STUDENT_T_975[3] if each.size == 4 else 1.96
    return MeanEstimate(float(each.mean()), error, quantile * error)


@functools.cache
def _policies() -> tuple[
    tuple[dict[str, MeanEstimate], dict[str, MeanEstimate]],
    tuple[dict[str, MeanEstimate], dict[str, MeanEstimate]],
]:
    """The p99 of every policy, and the work per request of some, at 40% load without stalls and
    with them; hedges leave at the unhedged p95.
    """
    fleets, requests, warm_up = 112, 1600, 300
    rngs = [np.random.default_rng(seed) for seed in (46, 47)]

    def draw(stalls: bool, requests: int, replications: int) -> Workload:
        drawn = poisson_workload(rngs[stalls], 0.4, 10, requests, replications)
        if not stalls:
            return drawn
        pauses = HICCUP_S * (rngs[stalls].random(drawn.services.shape) < HICCUP_SHARE)
        return replace(drawn, services=(1 - HICCUP_S * HICCUP_SHARE) * drawn.services + pauses)

    both = draw(False, requests, fleets).beside(draw(True, requests, fleets))
    alone, twice = _at_once(both, 1), _at_once(both, 2)
    unhedged = alone.reshape(2, fleets, requests)[..., warm_up:]
    delays = np.quantile(unhedged, 0.95, axis=(1, 2))
    hedged, share = hedged_responses(both, np.repeat(delays, fleets))
    pooled = fifo_waits(both.arrivals, both.services[0], 10) + both.services[0]
    side_by_side = {"alone": alone, "hedged": hedged, "twice": twice}
    side_by_side |= {"tied": tied_responses(both), "pooled": pooled}
    found = []
    for stalls, delay in enumerate(delays.tolist()):
        responses = {
            name: values.reshape(2, fleets, requests)[stalls, :, warm_up:]
            for name, values in side_by_side.items()
        }
        work = {"hedged": _of_runs(1 + share.reshape(2, fleets)[stalls])}
        long = [draw(bool(stalls), 8400 + warm_up, 1) for _ in range(4)]
        for name, after in (("hedged_removed", delay), ("twice_removed", 0.0)):
            runs = [responses_by_event(run, after, "completion") for run in long]
            work[name] = _of_runs([busy for _, busy in runs])
            responses[name] = np.concatenate([one[warm_up:] for one, _ in runs]).reshape(24, -1)
        found.append(({n: quantile_estimate(r, 0.99) for n, r in responses.items()}, work))
    return found[0], found[1]


def check_hand_worked_hedges() -> None:
    """Three requests to two servers, traced by hand under every rule.

    Source: by hand. Server 0 serves request 0 for 4 s. Request 1 comes to it at 1 and waits.
    Request 2 comes to server 1 at 3. Second copies leave after 1 s and would take 9, 3 and 2 s.
    """
    workload = Workload(
        arrivals=np.array([[0.0, 1.0, 3.0]]),
        services=np.array([[[4.0, 2.0, 1.0]], [[9.0, 3.0, 2.0]]]),
        servers=np.array([[[0, 0, 1]], [[1, 1, 0]]]),
        fleet=2,
    )
    alone, work = responses_by_event(workload, math.inf, "never")
    checks.close("no second copies", [*alone, work], [4, 5, 1, 7 / 3], rtol=1e-12)
    hedged, work = responses_by_event(workload, 1.0, "never")
    checks.close("losers run on", [*hedged, work], [4, 5, 5, 7], rtol=1e-12)
    hedged, work = responses_by_event(workload, 1.0, "completion")
    checks.close("removed on completion", [*hedged, work], [4, 5, 4, 13 / 3], rtol=1e-12)
    hedged, work = responses_by_event(workload, 1.0, "start")
    checks.close("removed on start", [*hedged, work], [4, 4, 3, 3], rtol=1e-12)


def check_lanes_equal_events() -> None:
    """The replications walked side by side give the responses of the event-by-event loop.

    Source: two implementations of each model; 500 requests to each of three fleets of five servers
    at ρ = 0.6, which finish after different numbers of events.
    """
    workload = poisson_workload(np.random.default_rng(41), 0.6, 5, 500, 3)
    delays = (0.0, 2.0, math.inf)
    hedged, _ = hedged_responses(workload, delays)
    for row, copies in ((0, 2), (2, 1)):
        worst = np.abs(hedged[row] - _at_once(workload, copies)[row]).max()
        checks.close(f"{copies} at once, largest difference", worst, 0.0, atol=1e-9)
    tied = tied_responses(workload)
    for i, delay in enumerate(delays):
        alone = Workload(
            workload.arrivals[i : i + 1],
            workload.services[:, i : i + 1],
            workload.servers[:, i : i + 1],
            workload.fleet,
        )
        worst = np.abs(hedged[i] - responses_by_event(alone, delay, "never")[0]).max()
        checks.close(f"hedged after {delay:g}, largest difference", worst, 0.0, atol=1e-9)
        worst = np.abs(tied[i] - responses_by_event(alone, 0.0, "start")[0]).max()
        checks.close(f"tied, fleet {i}, largest difference", worst, 0.0, atol=1e-9)


def check_two_tied_servers_are_one_queue() -> None:
    """With two servers, tied requests are answered exactly as from one queue in front of both.

    Source: every request stands in both queues, so they are one; the waits of the queue simulator
    with two servers, and the M/M/2 mean in closed form.
    """
    workload = poisson_workload(np.random.default_rng(42), 0.8, 2, 1030, 128)
    workload = replace(workload, services=np.stack([workload.services[0]] * 2))
    tied = tied_responses(workload)
    pooled = fifo_waits(workload.arrivals, workload.services[0], 2) + workload.services[0]
    checks.close("largest difference", np.abs(tied - pooled).max(), 0.0, atol=1e-9)
    estimate = batch_means(tied[:, 400:].ravel())
    checks.covers("mean of 128 fleets", estimate, 1 + mean_wait(1.6, 1.0, servers=2))


def check_removal_on_completion() -> None:
    """Two copies at once to ten servers at ρ = 0.7, removed on completion, take the exact mean of
    redundancy-d.

    Source: Gardner and others (2017): Σ_{i=d}^{k} 1/(kμ·C(k−1, d−1)/C(i−1, d−1) − kλ) for
    exponential independent copies, here with d = 2 and k = 10; exponential copies that share the
    work leave the work per request at 1.
    """
    workload = poisson_workload(np.random.default_rng(43), 0.7, 10, 28_000, 1)
    responses, work = responses_by_event(workload, 0.0, "completion")
    exact = sum(1 / (10 * 9 / (i - 1) - 10 * 0.7) for i in range(2, 11))
    checks.covers("mean response", batch_means(responses[1000:]), exact)
    error = 1 / math.sqrt(28_000)  # of the mean of as many exponential times
    checks.close("work per request", work, 1.0, atol=3 * error, kind="simulation")


def check_unhedged_tail() -> None:
    """Without hedging each server is an M/M/1 queue: 1% of requests exceed ln 100/(1−ρ).

    Source: the M/M/1 quantile; 192 fleets of ten servers started in the steady state.
    """
    rng = np.random.default_rng(44)
    workload = poisson_workload(rng, 0.6, 10, 700, 192)
    work = rng.exponential(1 / 0.4, (192, 10)) * (rng.random((192, 10)) < 0.6)
    responses, share = hedged_responses(workload, math.inf, initial_work=work)
    late = (responses > math.log(100) / 0.4).mean(axis=1)
    error = float(late.std(ddof=1)) / math.sqrt(late.size)
    checks.covers("share beyond it", MeanEstimate(float(late.mean()), error, 1.96 * error), 0.01)
    checks.close("share hedged", share.max(), 0.0)


def check_what_tying_can_and_cannot_do() -> None:
    """Tied requests shorten the tail that waiting makes, and not the one that stalled servers make.

    Source: the policies simulated on the same arrivals; a request that has started cannot be
    rescued by a tied copy, so its p99 stays beyond the 15 service times of a stall.
    """
    (steady, _), (stalled, _) = _policies()
    for label, kind, better, worse in (
        ("waiting: tied beats hedged", steady, "tied", "hedged"),
        (
            "stalls: both at once, removed on completion, beats tied",
            stalled,
            "twice_removed",
            "tied",
        ),
        ("one copy beats both at once when losers run on", steady, "alone", "twice"),
    ):
        low, high = kind[better], kind[worse]
        error = math.hypot(low.standard_error, high.standard_error)
        checks.holds(
            label,
            low.mean + 3 * error < high.mean,
            got=f"{low.mean:.2f} < {high.mean:.2f}, ± {error:.2f}",
            kind="simulation",
        )
    checks.holds("tied p99 with stalls", stalled["tied"].mean > HICCUP_S, got=stalled["tied"].mean)


def check_budget_is_kept() -> None:
    """With a budget of 5%, no fleet sends more second copies than 5% of its requests, even in
    overload.

    Source: the budget's definition; ρ = 1.2, where every request is late.
    """
    workload = poisson_workload(np.random.default_rng(45), 1.2, 4, 1000, 8)
    budgets = np.repeat([math.inf, 0.05], 8)
    free, kept = np.split(hedged_responses(workload.beside(workload), 1.0, budget=budgets)[1], 2)
    checks.holds("without budget, most are hedged", bool(free.min() > 0.5), got=free.min())
    checks.inside("with budget, largest share", kept.max(), 0.04, 0.05)


def check_bad_input_is_refused() -> None:
    """Negative delays, fleets of one server, no budget and unknown rules are errors."""
    rng = np.random.default_rng(0)
    workload = poisson_workload(rng, 0.5, 2, 10, 1)
    checks.raises("d < 0", hedged_responses, workload, -1.0, match="delay must be non-negative")
    checks.raises("NaN delay", hedged_responses, workload, math.nan, match="delay must be non-neg")
    checks.raises("no budget", hedged_responses, workload, 1.0, budget=0.0, match="budget must be")
    checks.raises("one server", poisson_workload, rng, 0.5, 1, 10, 1, match="fleet must be an int")
    checks.raises("no such rule", responses_by_event, workload, 1.0, "always", match="cancel must")
