"""What an engine's gauges read at a load, and which of them still say how much is missing.

An engine that batches finishes b/(s + d·b) requests a second with b = min(n, K) of its n requests
in a step. With Poisson arrivals n is a birth–death chain, p(n) ∝ Π λ/μ(j), whose tail beyond K is
geometric with ρ = λ(s + dK)/K. The share of time with a step under way, the requests that run and
those that wait follow, and what runs takes memory: the gauges of today's engines. All but the
waiting ones stop at a largest value, and those are nearly none until the engine is nearly full.

Assumes: one replica with a share of its own of the traffic; exponential sizes, so that requests of
a batch leave one by one; memory for K requests.

Source: birth–death balance (Kleinrock 1975, section 3.1); Little (1961) for the wait; vLLM's names
of the gauges.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_mathematics.capacity.autoscaling.autoscaler_simulation import outcome, simulate
from serving_mathematics.core.batching.batching_engine import engine_rates
from serving_mathematics.core.fleet.scaling_rules import Policy, hpa, hpa_waiting
from serving_mathematics.core.queues.erlang import mean_wait
from serving_mathematics.core.queues.queue_simulator import BATCHES, MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.measuring import digits
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIXED_S, PER_ITEM_S, PLACES = 4.0, 0.0625, 64  # of the worked engine, by choice: 8 s when full
TOKENS = 250  # of an answer in the simulated engine, a step for each
LOADS = (0.5, 0.8, 0.95)
SIMULATED, STEPS = 0.9, 160_000
CALM = 0.8  # load at whose readings the worked targets are set, by choice


@dataclass(frozen=True)
class Gauges:
    """Means of what an engine reports; memory in use is `running` in other units."""

    busy: float  # share of time with a step under way
    running: float  # requests in the step: vllm:num_requests_running
    waiting: float  # requests without a place: vllm:num_requests_waiting


def engine_gauges(arrival_rate: float, fixed_s: float, per_item_s: float, places: int) -> Gauges:
    """Mean readings of an engine at a load.

    arrival_rate: λ [1/s]. fixed_s: s, time of an answer's steps whatever they hold [s]. per_item_s:
    d, further time for each request in them [s]. places: K, most requests in a step. Raises
    ValueError on input outside the ranges of `engine_rates`, on a negative rate, or on one at which
    nothing settles, λ(s + dK)/K ≥ 1.

    >>> gauges = engine_gauges(0.5, fixed_s=1.0, per_item_s=0.0, places=1)  # M/M/1 at half load
    >>> gauges.busy, gauges.running, gauges.waiting
    (0.5, 0.5, 0.5)
    """
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    places = require_positive_integer(places=places)
    require(places <= 1_000_000, "places", "at most 1,000,000", places)
    per_item_s = require_non_negative(per_item_s=per_item_s)
    rates = engine_rates(places, fixed_s, float(per_item_s), places)
    load = arrival_rate / float(rates[-1])
    require(load < 1, "arrival_rate", f"below what it serves, {rates[-1]:.6g}", arrival_rate)
    with np.errstate(divide="ignore"):
        logs = np.concatenate([[0.0], np.cumsum(np.log(arrival_rate / rates))])
    weight = np.exp(logs - logs.max())  # of 0 … K requests
    beyond = weight[-1] * load / (1 - load)  # of more than K together
    total = weight.sum() + beyond
    running = (np.arange(places + 1) @ weight + places * beyond) / total
    waiting = beyond / (1 - load) / total
    return Gauges(float(1 - weight[0] / total), float(running), float(waiting))


def load_at_waiting(waiting: float, fixed_s: float, per_item_s: float, places: int) -> float:
    """The load, as a share of what the engine serves, at which so many requests wait on average.

    waiting: positive. The rest as for `engine_gauges`. Raises ValueError outside these ranges.

    >>> load_at_waiting(0.5, fixed_s=1.0, per_item_s=0.0, places=1)  # M/M/1: ρ²/(1 − ρ)
    0.5
    """
    waiting = require_positive(waiting=waiting)
    places = require_positive_integer(places=places)
    require(places <= 1_000_000, "places", "at most 1,000,000", places)
    require_work(60 * places, places=places)
    per_item_s = require_non_negative(per_item_s=per_item_s)
    most = float(engine_rates(places, fixed_s, float(per_item_s), places)[-1])
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        few = engine_gauges(middle * most, fixed_s, per_item_s, places).waiting < waiting
        low, high = (middle, high) if few else (low, middle)
    return high


@functools.cache
def _simulated(load: float) -> dict[str, MeanEstimate]:
    """Running and waiting requests of a second engine, whose answers are tokens: a step gives one
    to every request in it, and takes its share of s and d. Errors from BATCHES parts of the run.
    """
    rng = np.random.default_rng(31)
    rate = load * PLACES / (FIXED_S + PER_ITEM_S * PLACES)
    arrivals = np.cumsum(rng.exponential(1 / rate, STEPS)).tolist()
    tokens = rng.geometric(1 / TOKENS, STEPS).tolist()  # of each answer
    finished = [0] * (STEPS + max(tokens))  # in each step
    length, run, wait = [], [], []
    now, came, begun, left = 0.0, 0, 0, 0
    for k in range(STEPS):
        while arrivals[came] <= now:
            came += 1
        while begun < came and begun - left < PLACES:
            finished[k + tokens[begun] - 1] += 1
            begun += 1
        batch = begun - left
        length.append((FIXED_S + PER_ITEM_S * batch) / TOKENS if batch else arrivals[came] - now)
        run.append(batch)
        wait.append(came - begun)
        now += length[k]
        left += finished[k]
    edges = np.linspace(STEPS // 10, STEPS, BATCHES + 1, dtype=int)[:-1]
    lasted, found = np.add.reduceat(length, edges), {}
    for name, values in (("running", run), ("waiting", wait)):
        means = np.add.reduceat(np.multiply(values, length), edges) / lasted
        error = float(means.std(ddof=1)) / math.sqrt(BATCHES)
        found[name] = MeanEstimate(float(means.mean()), error, STUDENT_T_975[31] * error)
    return found


def _row(name: str, readings: list[float], overload: float, decimals: int) -> str:
    """A gauge at the loads, and by how much it asks for more at four times the capacity."""
    cells = [f"{reading:.{decimals}f}" for reading in readings]
    grows = overload / readings[LOADS.index(CALM)]
    return f"| {name} | {' | '.join(cells)} | {overload:,.0f} | × {digits(grows)} |"


def example() -> SimpleNamespace:
    """Readings of the worked engine at LOADS, and after a minute of four times its capacity."""
    engine = (FIXED_S, PER_ITEM_S, PLACES)
    most = float(engine_rates(PLACES, *engine)[-1])
    gauges = [engine_gauges(load * most, *engine) for load in LOADS]
    left = 60 * 3 * most  # wait after a minute in which 4·most come and 1·most leave, every second
    rows = (
        _row("a step is under way [%]", [100 * g.busy for g in gauges], 100.0, 0),
        _row("running, or memory in use", [g.running for g in gauges], PLACES, 0),
        _row("waiting", [g.waiting for g in gauges], left, 2),
        _row("running and waiting", [g.running + g.waiting for g in gauges], PLACES + left, 0),
    )
    return SimpleNamespace(
        gauge_rows="\n".join(rows),
        engine_places=PLACES,
        engine_alone_s=FIXED_S + PER_ITEM_S,
        engine_full_s=FIXED_S + PER_ITEM_S * PLACES,
        engine_per_s=most,
        load_at_five_percent=100 * load_at_waiting(5.0, *engine),
        load_at_one_percent=100 * load_at_waiting(1.0, *engine),
    )


def figure_gauges(figure: Figure) -> None:
    """Waiting requests say nothing until the engine is nearly full, and everything else says
    nothing more once it is; only their sum with the running ones goes on from one to the other.

    Means of an engine with 64 places, exact; points are an engine, simulated at 90%, that gives one
    token to each request in a step, with 95% intervals.

    Alt: Line chart of requests against load from 30 to 99 percent. The running ones rise from 11 to
    62; the waiting ones lie at zero until 80 percent and then rise more and more steeply, to 54 at
    the end; the sum follows the first and then bends up as the second does, to 116.
    """
    axes = figure.subplots()
    engine = (FIXED_S, PER_ITEM_S, PLACES)
    most = float(engine_rates(PLACES, *engine)[-1])
    loads = np.linspace(0.3, 0.985, 80)
    gauges = [engine_gauges(load * most, *engine) for load in loads]
    running, waiting = (np.array([getattr(g, n) for g in gauges]) for n in ("running", "waiting"))
    axes.plot(100 * loads, running + waiting, color="C0", linestyle="--")
    axes.plot(100 * loads, running, color="C1")
    axes.plot(100 * loads, waiting, color="C3")
    for name, colour in (("running", "C1"), ("waiting", "C3")):
        found = _simulated(SIMULATED)[name]
        axes.errorbar(100 * SIMULATED, found.mean, found.half_width, fmt="o", color=colour)
    for text, x, y, colour in (
        ("running and waiting", 83, 66, "C0"),
        ("running", 62, 19, "C1"),
        ("waiting", 83, 6, "C3"),
    ):
        axes.annotate(text, (x, y), color=colour, ha="right" if colour == "C0" else "left")
    axes.set(xlabel="load [% of capacity]", ylabel="requests", xlim=(30, 100), ylim=(0, 120))


def check_limits_are_erlangs() -> None:
    """An engine whose steps do not grow is a queue with K servers, and its waiting requests are
    those of Erlang's formula.

    Source: Erlang C by way of Little's law, λ times the mean wait; λS for the running ones.
    """
    for places, load in ((1, 0.8), (8, 0.7), (64, 0.95)):
        rate = load * places / 2.0
        got = engine_gauges(rate, 2.0, 0.0, places)
        waiting = rate * mean_wait(rate, 2.0, places)
        checks.close(f"waiting, {places} places", got.waiting, waiting, rtol=1e-9)
        checks.close(f"running, {places} places", got.running, 2.0 * rate, rtol=1e-9)


def check_an_engine_of_tokens_agrees() -> None:
    """A simulated engine that gives a token to each of its requests in every step reads the same.

    Source: 160,000 steps at 90% load, answers of geometric length, errors of 32 parts.
    """
    most = float(engine_rates(PLACES, FIXED_S, PER_ITEM_S, PLACES)[-1])
    exact = engine_gauges(SIMULATED * most, FIXED_S, PER_ITEM_S, PLACES)
    for name, estimate in _simulated(SIMULATED).items():
        checks.covers(f"{name} at {SIMULATED:.0%}", estimate, getattr(exact, name))


def check_which_gauge_says_how_much() -> None:
    """At half load nobody waits and at four times the capacity running requests have stopped: only
    the sum is above zero in the first and grows with the overload in the second. So it is with
    steps that do not grow, and with steps that are all growth.

    Source: three engines of the same capacity; arithmetic of a minute at four times of it.
    """
    for label, fixed, per_item in (
        ("worked", FIXED_S, PER_ITEM_S),
        ("constant steps", FIXED_S + PER_ITEM_S * PLACES, 0.0),
        ("growing steps", 0.4, PER_ITEM_S + 3.6 / PLACES),
    ):
        most = float(engine_rates(PLACES, fixed, per_item, PLACES)[-1])
        calm, usual = (engine_gauges(load * most, fixed, per_item, PLACES) for load in (0.5, 0.8))
        checks.inside(f"{label}: waiting at half load", calm.waiting, 0.0, 0.01)
        checks.inside(f"{label}: running, full over usual", PLACES / usual.running, 1.0, 5.0)
        total = (PLACES + 180 * most) / (usual.running + usual.waiting)
        checks.inside(f"{label}: all, in overload over usual", total, 20.0, 200.0)


def check_waiting_alone_swings() -> None:
    """Under a steady load a fleet that is scaled on waiting requests alone makes every fifth
    request wait or more, with one slot and with sixteen in a replica, where the sum of all makes
    none wait.

    Source: four simulated hours of Poisson requests of 30 s for 30 and 96 slots, a start-up of
    180 s, at most twice the fleet at which they begin; the rule with the tutorial's threshold of 5.
    """
    for slots, load in ((1, 30), (16, 96)):
        rng = np.random.default_rng(69)
        count = load * 480
        arrivals = np.cumsum(rng.exponential(30.0 / load, count))
        services, fleet = rng.exponential(30.0, count), math.ceil(1.3 * load / slots)
        policies = hpa_waiting(5.0, slots), hpa(0.8 * slots, signal="concurrency")
        late = []
        for policy in policies:
            bounded = partial(_bounded, policy, 2 * fleet)
            run = simulate(
                arrivals,
                services,
                bounded,
                replicas=fleet,
                sync_s=15.0,
                startup_s=180.0,
                slots=slots,
            )
            late.append(100 * outcome(run, 10.0).violations)
        checks.inside(f"{slots} slots, waiting alone: late [%]", late[0], 20.0, 100.0)
        checks.inside(f"{slots} slots, all in the system: late [%]", late[1], 0.0, 1.0)


def _bounded(policy: Policy, most: int, *seen: Any) -> int:
    """What a policy asks for, at most so many."""
    return min(most, policy(*seen))


def check_bad_input_is_refused() -> None:
    """Loads that never settle and negative rates are errors that name the argument."""
    checks.raises("too much", engine_gauges, 8.0, 4.0, 0.0625, 64, match="arrival_rate must be bel")
    checks.raises("negative", engine_gauges, -1.0, 4.0, 0.0, 64, match="arrival_rate must be non-n")
    checks.raises(
        "half a place",
        engine_gauges,
        1.0,
        4.0,
        0.0,
        1.5,
        match="must be a positive integer, got 1.5",
    )
    checks.raises("nobody", load_at_waiting, 0.0, 4.0, 0.0, 64, match="waiting must be positive")
