"""After an outage a long queue stays late until its backlog is gone, and with retries it may never
recover.

During an outage of D seconds λD requests pile up. A server without a queue limit works them off
oldest first, all of them late, and answers nothing in time until the newest request waits less
than its deadline τ, which takes another (λD − μτ)/(μ − λ) seconds. Where expired requests are
dropped, or where there was no room for them, it is back at once. With up to R retries and λ(1 + R)
> μ the backlog grows for ever, outage or not. Waiting before a retry, and for a random time, moves
the retries and takes none away, so the backlog still grows.

Assumes: Poisson arrivals, exponential service at one server, a retry as soon as the deadline has
passed, or after a backoff of base·2^k with full jitter.

Source: event simulation, checked against M/M/1 and the fluid backlog; Bronson et al. (2021) for
the state that outlives its trigger; a bucket filled by first attempts and emptied by retries as in
Finagle's retry budget; Brooker (2015) for full jitter.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.overload_control.overload_control import fifo_goodput
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    as_numbers,
    require,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

SERVICE_RATE = 100.0  # μ of the worked numbers [1/s]
DEADLINE_S = 0.1  # τ of the worked numbers [s]
PLACES = 6  # queue limit of the worked numbers, the request in service included
BUDGET = 0.1  # retries per first attempt; 10% in the SRE book, chapter 21
BUCKET = 10.0  # most retries that a budget saves up in the simulation
BACKOFF = (0.1, 10.0)  # first and longest backoff of the worked numbers [s], by choice
AFTER_S = 90  # how long after its outage a storm is watched [s]


def late_after_outage_s(
    outage_s: float, arrival_rate: float, service_rate: float, deadline_s: float
) -> float:
    """How long after an outage an unlimited queue still answers everything late [s], without
    retries.

    outage_s: D [s]. arrival_rate: λ [1/s], below μ. service_rate: μ [1/s]. deadline_s: τ [s].
    Fluid approximation (λD − μτ)/(μ − λ), 0 for an outage that ends in time. Raises ValueError
    outside these ranges.

    >>> late_after_outage_s(outage_s=10.0, arrival_rate=40.0, service_rate=100.0, deadline_s=0.1)
    6.5
    """
    arrival_rate = as_number(arrival_rate=arrival_rate)
    outage_s = require_non_negative(outage_s=outage_s)
    service_rate = require_positive(service_rate=service_rate)
    require(
        0 < arrival_rate < service_rate, "arrival_rate", f"in (0, {service_rate})", arrival_rate
    )
    deadline_s = require_positive(deadline_s=deadline_s)
    excess = arrival_rate * outage_s - service_rate * deadline_s
    return max(0.0, excess) / (service_rate - arrival_rate)


def simulate_outage(
    rng: np.random.Generator,
    base_rate: float,
    service_rate: float,
    deadline_s: float,
    *,
    retries: int = 0,
    budget: float = math.inf,
    capacity: int | None = None,
    skip_expired: bool = False,
    backoff_s: tuple[float, float] = (0.0, 0.0),
    outage_s: tuple[float, float] = (10.0, 20.0),
    horizon_s: int = 60,
) -> FloatArray:
    """Requests answered in time in each second of a simulated server that starts no work during an
    outage.

    base_rate: first attempts [1/s], Poisson. service_rate: μ [1/s], exponential service.
    deadline_s: τ [s]; an attempt without an answer by then is repeated at once, up to `retries`
    times, whether it was refused, late or dropped. budget: retries per first attempt, from a
    bucket that holds BUCKET. capacity: places at the server, no limit by default. skip_expired:
    the server drops what has waited τ. backoff_s: base and cap of a backoff with full jitter, so
    that retry k waits a time that is uniform up to min(cap, base·2^(k−1)) on top [s]. outage_s:
    begin and end [s]. horizon_s: whole seconds to simulate. Returns counts, shape (horizon_s,).
    Raises ValueError on rates, times or places that are not positive and finite.
    """
    base_rate, service_rate, deadline_s = require_positive(
        base_rate=base_rate, service_rate=service_rate, deadline_s=deadline_s
    )
    budget, backoff_s = as_number(budget=budget), as_numbers(backoff_s=backoff_s)
    retries = require_non_negative_integer(retries=retries)
    require(budget >= 0, "budget", "non-negative", budget)
    capacity = None if capacity is None else as_number(capacity=capacity)
    whole = capacity is None or (1 <= capacity < math.inf and capacity % 1 == 0)
    require(whole, "capacity", "None or a positive integer", capacity)
    require(
        0 <= outage_s[0] <= outage_s[1] < math.inf, "outage_s", "begin and end, in order", outage_s
    )
    ordered = 0 <= backoff_s[0] <= backoff_s[1] < math.inf
    require(ordered, "backoff_s", "base and cap, in order", backoff_s)
    horizon_s = require_positive_integer(horizon_s=horizon_s)
    asked = 20 * (1 + retries) * base_rate * horizon_s + 200 * horizon_s
    require_work(asked, base_rate=base_rate, retries=retries, horizon_s=horizon_s)
    first = rng.uniform(0, horizon_s, rng.poisson(base_rate * horizon_s))
    coming = [*np.sort(first).tolist(), math.inf]
    services = iter(rng.exponential(1 / service_rate, first.size * (1 + retries)).tolist())
    jitter = iter(rng.random(first.size * retries if backoff_s[1] else 0).tolist())
    answered, arrived = [0.0] * horizon_s, 0
    again: list[tuple[float, int]] = []  # times of retries, and which retry of its request each is
    places = None if capacity is None or capacity >= 2**31 else int(capacity)
    leaving: deque[float] = deque(maxlen=places)  # when the last that got a place will have left
    bucket = BUCKET if budget < math.inf else math.inf
    free_at, tokens = 0.0, bucket
    stops, goes_on = outage_s
    while True:
        if again and again[0][0] < coming[arrived]:
            now, attempt = heapq.heappop(again)
        else:
            now, attempt = coming[arrived], 0
            arrived += 1
            tokens = min(bucket, tokens + budget)
        if now >= horizon_s:
            return np.array(answered)
        in_time = False
        if places is None or len(leaving) < places or leaving[0] <= now:
            start = now if now > free_at else free_at
            if stops <= start < goes_on:
                start = goes_on
            expired = skip_expired and start - now >= deadline_s
            free_at = start if expired else start + next(services)
            leaving.append(free_at)
            in_time = not expired and free_at - now <= deadline_s
        if in_time and free_at < horizon_s:
            answered[int(free_at)] += 1
        elif not in_time and attempt < retries and tokens >= 1:
            tokens -= 1
            longest = min(backoff_s[1], backoff_s[0] * 2.0**attempt)
            wait = longest * next(jitter) if longest else 0.0
            heapq.heappush(again, (now + deadline_s + wait, attempt + 1))


@functools.cache
def _storm_times() -> FloatArray:
    """When the last request was answered in 20 simulated storms at λ₀ = 60 [s], without any
    outage; ∞ if never."""
    times = []
    for seed in range(20):
        rng = np.random.default_rng([60, seed])
        run = simulate_outage(
            rng, 60.0, SERVICE_RATE, DEADLINE_S, retries=3, outage_s=(0.0, 0.0), horizon_s=60
        )
        last = float(np.flatnonzero(run)[-1]) + 1
        times.append(last if last < 58 else math.inf)
    return np.array(times)


@functools.cache
def _after_an_outage(budget: float, backoff: bool) -> FloatArray:
    """Answers in time per second in the last ten seconds that a storm is watched after an outage of
    10 s, at 40 a second with three retries, of eight runs with a budget and four without."""
    horizon = 20 + AFTER_S
    runs = [
        simulate_outage(
            np.random.default_rng([40, seed]),
            40.0,
            SERVICE_RATE,
            DEADLINE_S,
            retries=3,
            budget=budget,
            backoff_s=BACKOFF if backoff else (0.0, 0.0),
            horizon_s=horizon,
        )[-10:]
        for seed in range(8 if budget < math.inf else 4)
    ]
    return np.asarray(np.array(runs).mean(axis=1))


@functools.cache
def _patient_storms() -> int:
    """Of 20 runs at 60 a second without an outage, how many collapse within a minute when the first
    backoff is up to a second."""
    last = []
    for seed in range(20):
        run = simulate_outage(
            np.random.default_rng([60, seed]),
            60.0,
            SERVICE_RATE,
            DEADLINE_S,
            retries=3,
            backoff_s=(10 * BACKOFF[0], 6 * BACKOFF[1]),
            outage_s=(0.0, 0.0),
            horizon_s=60,
        )
        last.append(float(np.flatnonzero(run)[-1]) + 1)
    return int(np.sum(np.array(last) < 58))


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    storms = _storm_times()
    return SimpleNamespace(
        storm_after_s=float(np.median(storms)),
        storm_after_low_s=float(
            np.sort(storms)[5]
        ),  # 95% interval of the median: the 6th and the 15th of 20
        storm_after_high_s=float(np.sort(storms)[14]),
        storm_runs=int(np.isfinite(storms).sum()),
        backoff_first_s=BACKOFF[0],
        backoff_second_s=min(BACKOFF[1], 2 * BACKOFF[0]),
        backoff_third_s=min(BACKOFF[1], 4 * BACKOFF[0]),
        watched_s=AFTER_S,
        storm_with_jitter=float(_after_an_outage(math.inf, True).mean()),
        budget_with_jitter=float(_after_an_outage(BUDGET, True).mean()),
        patient_storms=_patient_storms(),
        red_s=late_after_outage_s(10.0, 40.0, SERVICE_RATE, DEADLINE_S),
    )


def figure_recovery(figure: Figure) -> None:
    """After an outage of 10 s a short queue recovers at once, a long one after its backlog, and
    with retries never.

    Event simulation, mean of five runs: 40 requests a second at a server of 100 a second, no work
    from 10 s to 20 s, deadline 0.1 s.

    Alt: Answers in time per second over 50 seconds. All four curves run near 40 and drop to zero
    at 10 s. With six places the curve returns to 40 at 20 s. Without a limit and without retries
    it returns after about 27 s, with a retry budget after about 28 s, and with three retries it
    stays at zero to the end.
    """
    axes = figure.subplots()
    axes.axvspan(10, 20, color="C4", alpha=0.12)
    for text, where, colour, style, retries, budget, places in (
        ("3 retries: never", (30.5, 2), "C3", "-", 3, math.inf, None),
        ("budget 10%", (30.2, 20), "C2", "-", 3, BUDGET, None),
        ("no retries", (30.2, 27), "C1", "-", 0, math.inf, None),
        ("3 retries, 6 places", (21.5, 49), "C0", "-", 3, math.inf, PLACES),
    ):
        runs = [
            simulate_outage(
                np.random.default_rng([40, seed]),
                40.0,
                SERVICE_RATE,
                DEADLINE_S,
                retries=retries,
                budget=budget,
                capacity=places,
                horizon_s=50,
            )
            for seed in range(5)
        ]
        axes.step(
            np.arange(51),
            np.append(np.mean(runs, axis=0), np.nan),
            where="post",
            color=colour,
            linestyle=style,
        )
        axes.annotate(text, where, color=colour)
    axes.annotate("outage", (15, 49), ha="center", color="C4")
    axes.set(xlim=(0, 50), ylim=(0, 55))
    axes.set(xlabel="time [s]", ylabel="answers in time [1/s]")


def _replicate(
    runs: int,
    first_s: int,
    *,
    base_rate: float,
    capacity: int | None = None,
    retries: int = 0,
    skip_expired: bool = False,
    outage_s: tuple[float, float] = (10.0, 20.0),
    horizon_s: int = 50,
) -> MeanEstimate:
    """Mean number of answers in time from second `first_s` on, over independent runs."""
    totals = np.array(
        [
            simulate_outage(
                np.random.default_rng([7, seed]),
                base_rate,
                SERVICE_RATE,
                DEADLINE_S,
                retries=retries,
                capacity=capacity,
                skip_expired=skip_expired,
                outage_s=outage_s,
                horizon_s=horizon_s,
            )[first_s:].sum()
            for seed in range(runs)
        ]
    )
    error = float(totals.std(ddof=1)) / math.sqrt(runs)
    return MeanEstimate(float(totals.mean()), error, 2 * error)


def check_backlog_after_an_outage() -> None:
    """Without retries the answers stay late until the backlog is worked off, 6.5 s after a 10 s
    outage at 40 a second.

    Source: fluid backlog (λD − μτ)/(μ − λ) = 6.5 s, then M/M/1 goodput; 24 simulated outages.
    """
    late = late_after_outage_s(10.0, 40.0, 100.0, 0.1)
    checks.close("late after the outage [s]", late, (400 - 10) / 60, rtol=1e-12)
    expected = fifo_goodput(40.0, 100.0, 0.1) * (30 - 6.5)
    checks.covers("answers from 20 s to 50 s", _replicate(24, 20, base_rate=40.0), expected)


def check_storms() -> None:
    """At 60 a second a storm needs no outage: chance alone starts it, and a short queue or expiry
    stops it.

    Source: 20 simulated runs of 60 s without a limit; 8 of 50 s with a 10 s outage and with each
    remedy, whose mean is compared with 60 answers a second.
    """
    checks.inside("runs that collapsed", float(np.isfinite(_storm_times()).sum()), 15, 20)
    for label, places, skip in (("six places", PLACES, False), ("expired dropped", None, True)):
        run = _replicate(8, 22, base_rate=60.0, retries=3, capacity=places, skip_expired=skip)
        checks.inside(f"{label}: answers per second", run.mean / 28, 57.0, 62.0)


def check_jitter_does_not_end_a_storm() -> None:
    """Ninety seconds after an outage at 40 a second, three retries with exponential backoff and
    full jitter still leave no answer in time; a budget of 10% leaves nearly all.

    Source: the load of a collapse, λ₀(1 + R) = 160 of 100 a second whenever the retries come; eight
    runs with a budget, four of each without. At 20 a second, 80 with all retries, the same backoff
    recovers.
    """
    for label, backoff in (("at once", False), ("full jitter", True)):
        stuck = _after_an_outage(math.inf, backoff)
        checks.close(f"3 retries, {label}", stuck.mean(), 0.0, kind="simulation")
    kept = _after_an_outage(BUDGET, True)
    checks.inside("budget 10%, full jitter", float(kept.mean()), 39.0, 41.0, kind="simulation")
    light = simulate_outage(
        np.random.default_rng(20),
        20.0,
        SERVICE_RATE,
        DEADLINE_S,
        retries=3,
        backoff_s=BACKOFF,
        horizon_s=20 + AFTER_S,
    )
    checks.inside("at 20 a second", float(light[-20:].mean()), 18.0, 22.0, kind="simulation")


def check_bad_input_is_refused() -> None:
    """Reversed outages, NaN budgets and overloaded backlogs are errors that name the argument."""
    rng = np.random.default_rng(0)
    checks.raises(
        "reversed",
        simulate_outage,
        rng,
        1.0,
        1.0,
        1.0,
        outage_s=(2.0, 1.0),
        match="outage_s must be",
    )
    checks.raises(
        "NaN budget", simulate_outage, rng, 1.0, 1.0, 1.0, budget=math.nan, match="budget must be"
    )
    checks.raises(
        "cap", simulate_outage, rng, 1.0, 1.0, 1.0, backoff_s=(2.0, 1.0), match="backoff_s must be"
    )
    checks.raises("λ = μ", late_after_outage_s, 1.0, 2.0, 2.0, 1.0, match="arrival_rate must be in")
