"""Solutions: the batch volume that makes half price fair, a day at 100%, spot capacity, and jobs
with deadlines of their own.

A fleet that sells gaps at a share s of the online price asks less than a batch fleet of its own
from x = c − a/s busy servers on. A fleet that is exactly as large as its mean load collects a
backlog that grows with √T only. A server that may be taken away repeats the work since its last
checkpoint. Jobs with deadlines of their own need the largest intensity of any interval.

Assumes: the chapter's models; Poisson arrivals with exponential service for the backlog, many
requests; interruptions at a constant rate, none during a restart.

Source: the chapter; the reflected random walk for the backlog; renewal argument for spot; Yao,
Demers and Shenker (1995) for jobs.
"""

from __future__ import annotations

import heapq
import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.intuition.batch_vs_online.batch_vs_online import shared_prices
from serving_mathematics.intuition.batch_vs_online.deadline_scheduling import smallest_fleet
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_all_finite,
    require_all_positive,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_shape,
)

HINTS = {
    "fair_batch_load": (
        "Write both bills at an online price of 1 a server: what batch pays at its share s, and"
        " the shared fleet less what online pays. Batch pays less from where its own fleet "
        "would cost more than its bill."
    ),
    "backlog_at_full_load": (
        "At load 1 the work left is a random walk that cannot fall below zero: its mean grows "
        "with the square root of the time. Divide by the fleet, which grows with λ and the "
        "service time."
    ),
    "spot_price": (
        "A stretch of work and checkpoint is repeated until no interruption falls into it, "
        "which takes `(exp(ντ) − 1)/ν` on average with the checkpoint in τ. Pay for restarts too, "
        "and divide by the work alone."
    ),
    "fleet_for_jobs": (
        "Only intervals from a release to a deadline can be tightest. For each, add the jobs "
        "that lie inside completely and divide by its length; a job that merely overlaps could "
        "be done outside."
    ),
}


def fair_batch_load(servers: int, online_load: float, batch_price: float) -> float:
    """Batch load from which a shared fleet asks less of batch work than a fleet of its own.

    servers: c. online_load: a, mean busy servers, in (0, c]. batch_price: share s of the online
    price that batch pays, in (0, 1]. Returns c − a/s, at least 0. Raises ValueError outside these
    ranges.

    >>> fair_batch_load(servers=12, online_load=3.0, batch_price=0.5)
    6.0
    """
    online_load = as_number(online_load=online_load)
    servers = require_positive_integer(servers=servers)
    require(0 < online_load <= servers, "online_load", f"in (0, {servers}]", online_load)
    batch_price = require_in("(0, 1]", batch_price=batch_price)
    return max(0.0, servers - online_load / batch_price)


def backlog_at_full_load(arrival_rate: float, time_s: float) -> float:
    """Mean delay of new work after a time T on a fleet that is exactly as large as its load [s].

    arrival_rate: λ [1/s]. time_s: T since the fleet was empty, long enough for many arrivals [s].
    The work left over is a reflected random walk with variance 2λS² per second, so its mean is
    √(2/π·2λS²T), and λS servers clear it: S cancels, 2√(T/(πλ)).
    Raises ValueError unless both are positive and finite.

    >>> round(backlog_at_full_load(arrival_rate=math.pi, time_s=math.pi**2), 9)
    2.0
    """
    arrival_rate, time_s = require_positive(arrival_rate=arrival_rate, time_s=time_s)
    return 2 * math.sqrt(time_s / (math.pi * arrival_rate))


def spot_price(
    price_share: float,
    interruptions_per_h: float,
    checkpoint_every_h: float,
    checkpoint_h: float,
    restart_h: float,
) -> float:
    """Price of an hour of finished work on servers that may be taken away, on-demand = 1.

    price_share: spot over on-demand price, in (0, 1]. interruptions_per_h: ν ≥ 0.
    checkpoint_every_h: work τ between two checkpoints, positive. checkpoint_h: time δ ≥ 0 to write
    one. restart_h: R ≥ 0, paid for, after every interruption. Raises ValueError outside these
    ranges. A stretch of τ + δ takes (1/ν + R)(e^{ν(τ+δ)} − 1) on average, restarts and repeated
    work included.

    >>> spot_price(0.4, 0.0, checkpoint_every_h=1.0, checkpoint_h=0.25, restart_h=0.1)
    0.5
    """
    price_share = require_in("(0, 1]", price_share=price_share)
    checkpoint_every_h = require_positive(checkpoint_every_h=checkpoint_every_h)
    interruptions_per_h, checkpoint_h, restart_h = require_non_negative(
        interruptions_per_h=interruptions_per_h, checkpoint_h=checkpoint_h, restart_h=restart_h
    )
    stretch = checkpoint_every_h + checkpoint_h
    lost = interruptions_per_h * stretch
    require(lost <= 50, "interruptions per stretch", "at most 50, or nothing is finished", lost)
    growth = math.expm1(lost) / interruptions_per_h if interruptions_per_h else stretch
    paid = growth * (1 + interruptions_per_h * restart_h)
    return price_share * paid / checkpoint_every_h


def fleet_for_jobs(
    release_h: npt.ArrayLike, due_h: npt.ArrayLike, work: npt.ArrayLike
) -> tuple[float, float, float]:
    """Smallest constant fleet for jobs with their own deadlines, and the interval that forces it.

    release_h: earliest start [h], shape (n,). due_h: deadline, after the release [h], same shape.
    work: server-hours, positive, same shape; a job may use many servers at once.
    Returns (fleet, start, end): the largest Σ work of the jobs inside [start, end] over its length,
    the earliest and shortest such interval first. Raises ValueError on input outside these ranges.

    >>> fleet_for_jobs([0.0, 1.0], [10.0, 3.0], [4.0, 6.0])
    (3.0, 1.0, 3.0)
    """
    release, due, amount = (np.asarray(values, dtype=float) for values in (release_h, due_h, work))
    require(release.ndim == 1 and release.size > 0, "release_h", "a non-empty line", release.shape)
    release = require_all_finite(release_h=release)
    require_shape(release.shape, due_h=due)
    require(np.all((due > release) & (due < math.inf)), "due_h", "finite, after release_h", due)
    require_shape(release.shape, work=amount)
    amount = require_all_positive(work=amount)
    best = (0.0, math.nan, math.nan)
    for start in np.unique(release).tolist():
        for end in np.unique(due[due > start]).tolist():
            inside = (release >= start) & (due <= end)
            intensity = float(amount[inside].sum()) / (end - start)
            if intensity > best[0]:
                best = (intensity, start, end)
    return best


def example() -> SimpleNamespace:
    """Worked numbers: λ = 100/s, S = 50 ms, peak over mean 2.5; shares in percent."""
    release, due, work = [0.0, 8.0, 18.0], [24.0, 12.0, 22.0], [48.0, 20.0, 8.0]
    return SimpleNamespace(
        fair_load=fair_batch_load(21, 5.0, 0.5),
        day_delay_s=backlog_at_full_load(100.0, 86_400.0),
        spot_hourly=spot_price(0.4, 0.1, 1.0, 0.02, 0.1),
        spot_twelve_hours=spot_price(0.4, 0.1, 12.0, 0.02, 0.1),
        jobs_fleet=fleet_for_jobs(release, due, work)[0],
        jobs_mean=sum(work) / 24,
    )


def check_fair_load_against_prices() -> None:
    """At the returned load batch pays exactly what a fleet of its own costs, and below it more.

    Source: the prices of the chapter, evaluated there.
    """
    for servers, online, share in ((21, 5.0, 0.5), (40, 9.0, 0.3), (30, 14.0, 0.7)):
        load = fair_batch_load(servers, online, share)
        label = f"{servers} servers, {online:g} online, {share:g}"
        checks.close(label, shared_prices(servers, online, load, share)[1], 1.0, rtol=1e-12)
        less = shared_prices(servers, online, load - 1, share)[1]
        checks.holds(f"{label}: one less", less > 1, got=less)


def check_backlog_by_simulation() -> None:
    """After half an hour at 100% the simulated backlog is what the random walk says.

    Source: 420 simulated runs in steps of 3 s; the tolerance is 3 standard errors plus 0.58 of a
    step's standard deviation, by which looking once a step misses the reflection.
    """
    rng = np.random.default_rng(35)
    runs, seconds, step, rate, service = 420, 1800, 3, 40.0, 0.1
    left, lowest = np.zeros(runs), np.zeros(runs)
    for _ in range(seconds // step):
        arrived = rng.poisson(step * rate, runs)
        left += (rng.gamma(np.maximum(arrived, 1)) * (arrived > 0) - step * rate) * service
        lowest = np.minimum(lowest, left)
    delays = (left - lowest) / (rate * service)
    error = float(delays.std(ddof=1)) / math.sqrt(runs)
    missed = 0.58 * math.sqrt(2 * step / rate)
    checks.close(
        "mean delay after half an hour [s]",
        float(delays.mean()),
        backlog_at_full_load(rate, float(seconds)),
        atol=3 * error + missed,
        kind="simulation",
    )


def check_spot_by_simulation() -> None:
    """Stretches that are repeated until no interruption falls into them cost what the formula says.

    Source: 40,000 simulated stretches; without restarts and with few interruptions, half a stretch
    is lost per interruption.
    """
    rng = np.random.default_rng(36)
    rate, work, write, restart, share = 0.25, 3.0, 0.5, 0.4, 0.35
    paid = np.zeros(40_000)
    open_stretches = np.arange(paid.size)
    while open_stretches.size:
        until = rng.exponential(1 / rate, open_stretches.size)
        finished = until > work + write
        paid[open_stretches] += np.where(finished, work + write, until + restart)
        open_stretches = open_stretches[~finished]
    prices = share * paid / work
    estimate = MeanEstimate(float(prices.mean()), float(prices.std()) / 200, 0.0)
    checks.covers("price", estimate, spot_price(share, rate, work, write, restart))
    checks.close("rare: 1 + ντ/2", spot_price(1.0, 1e-3, 2.0, 0.0, 0.0), 1 + 1e-3, atol=1e-6)


def _lateness(release: list[float], due: list[float], work: list[float], fleet: float) -> float:
    """Largest lateness [h] when the fleet always works on the job with the earliest deadline."""
    order = sorted(range(len(release)), key=release.__getitem__)
    now, late, open_jobs = -math.inf, -math.inf, list[tuple[float, float]]()
    for index, job in enumerate(order):
        now = max(now, release[job])
        heapq.heappush(open_jobs, (due[job], work[job]))
        until = release[order[index + 1]] if index + 1 < len(order) else math.inf
        while open_jobs and now < until:
            deadline, left = heapq.heappop(open_jobs)
            done = now + left / fleet
            if done > until:
                heapq.heappush(open_jobs, (deadline, left - (until - now) * fleet))
                now = until
            else:
                now, late = done, max(late, done - deadline)
    return late


def check_jobs_against_earliest_deadline_first() -> None:
    """At the returned fleet, earliest deadline first finishes everything in time; 0.1% below it,
    something is late.

    Source: event simulation of 40 random sets of jobs; equal windows give the chapter's fleet.
    """
    rng = np.random.default_rng(37)
    at, below = [], []
    for _ in range(40):
        n = int(rng.integers(1, 12))
        release = rng.integers(0, 20, n).astype(float)
        due, work = release + rng.integers(1, 12, n), rng.exponential(3.0, n)
        fleet = fleet_for_jobs(release, due, work)[0]
        jobs = (release.tolist(), due.tolist(), work.tolist())
        at.append(_lateness(*jobs, fleet))
        below.append(_lateness(*jobs, 0.999 * fleet))
    checks.inside("largest lateness [h]", max(at), -12, 1e-9, kind="simulation")
    checks.holds("late below it", min(below) > 0, got=min(below), kind="simulation")
    day = np.tile([5.0, 1.0, 0.5, 2.0], 6)
    slots = np.arange(24.0)
    jobs_fleet = fleet_for_jobs(slots, slots + 3, day)[0]
    checks.inside(
        "six days of a cycle, at most", jobs_fleet, 0, smallest_fleet(day[:4], 3), kind="identity"
    )


def check_bad_input_is_refused() -> None:
    """Free batch work, hopeless spot servers and deadlines before the release are errors."""
    checks.raises("for nothing", fair_batch_load, 21, 5.0, 0.0, match="batch_price must be in (0")
    checks.raises("no time", backlog_at_full_load, 1.0, 0.0, match="time_s must be positive")
    checks.raises(
        "never finished", spot_price, 0.4, 10.0, 12.0, 0.0, 0.0, match="must be at most 50"
    )
    checks.raises(
        "due at once", fleet_for_jobs, [1.0], [1.0], [1.0], match="due_h must be finite, after"
    )
