"""Every hour that work may wait takes servers off the fleet, until a day of it leaves the mean.

Work arrives in slots of a day that repeats, b_t in slot t, and must be done within w slots, its own
included. Online work holds o_t servers. A fleet of c can meet every deadline exactly when, for each
run of slots i…k, what arrives in it fits into what is left until its last deadline:
c·(k − i + w) ≥ Σ_{i…k} b + Σ_{i…k+w−1} o. The smallest c is the largest of these quotients.

Assumes: a day like every other, known loads, work that can be divided over servers and slots,
nothing lost when online work takes a server back.

Source: proved in the chapter; Yao, Demers and Shenker (1995) for jobs with deadlines in general.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_positive_integer,
    require_shape,
    require_work,
)

FloatArray = npt.NDArray[np.float64]


def daily_profile(peak_to_mean: float, slots: int) -> FloatArray:
    """A smooth day of mean 1 with a given peak in slot 0: exp(κ·cos 2πt/n) over its own mean.

    peak_to_mean: r in [1, n/2]. slots: n ≥ 2. κ is found by bisection, so that the largest value is
    r to about 1e-12. Returns shape (n,). Raises ValueError outside these ranges.

    >>> daily_profile(2.0, slots=4).round(6).tolist()  # x² : x : 1 : x with x = 1 + √2
    [2.0, 0.828427, 0.343146, 0.828427]
    """
    peak_to_mean, slots = as_number(peak_to_mean=peak_to_mean, slots=slots)
    require(slots % 1 == 0 and slots >= 2, "slots", "an integer of at least 2", slots)
    require(
        1 <= peak_to_mean <= slots / 2,
        "peak_to_mean",
        f"in [1, {slots / 2:g}], half of the slots",
        peak_to_mean,
    )
    require_work(slots, slots=slots)
    dip = np.cos(2 * np.pi * np.arange(int(slots)) / slots) - 1  # 0 at the peak
    low, high = 0.0, float(slots) ** 2
    for _ in range(80):
        middle = (low + high) / 2
        if 1 / np.exp(middle * dip).mean() < peak_to_mean:
            low = middle
        else:
            high = middle
    shape = np.exp(high * dip)
    return np.asarray(shape / shape.mean())


def _day(
    batch_demand: npt.ArrayLike, held_servers: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    """Both curves as arrays of one shape, refused when empty, negative or not finite."""
    batch = as_floats(batch_demand=batch_demand)
    held = np.zeros_like(batch) if held_servers is None else as_floats(held_servers=held_servers)
    require(batch.ndim == 1 and batch.size > 0, "batch_demand", "a non-empty line", batch.shape)
    require_shape(batch.shape, held_servers=held)
    for name, values in (("batch_demand", batch), ("held_servers", held)):
        require(
            np.all((values >= 0) & (values < math.inf)), name, "non-negative and finite", values
        )
    return batch, held


def smallest_fleet(
    batch_demand: npt.ArrayLike, window: int, held_servers: npt.ArrayLike | None = None
) -> float:
    """Smallest constant fleet that serves every slot's batch work within its window, day after day.

    batch_demand: b [server-slots that arrive in each slot], shape (n,), a day that repeats.
    window: w ≥ 1 [slots], its own included. held_servers: o, kept for online work, same shape.
    Returns c, not rounded. Raises ValueError on input outside these ranges.
    Runs of more than a day need no check: their quotient lies between that of the rest and the
    mean.

    >>> smallest_fleet([6.0, 0.0, 0.0], window=1), smallest_fleet([6.0, 0.0, 0.0], window=2)
    (6.0, 3.0)
    >>> smallest_fleet([6.0, 0.0, 0.0], window=3, held_servers=[1.0, 0.0, 2.0])
    3.0
    """
    batch, held = _day(batch_demand, held_servers)
    window = require_positive_integer(window=window)
    n, w = batch.size, int(window)
    require_work(window, window=window)
    require_work(float(n) ** 2, batch_demand=n)
    days = 3 + w // n
    arrived = np.r_[0.0, np.cumsum(np.tile(batch, days))]
    kept = np.r_[0.0, np.cumsum(np.tile(held, days))]
    first, length = np.arange(n)[:, None], np.arange(1, n + 1)
    work = arrived[first + length] - arrived[first]
    online = kept[first + length + w - 1] - kept[first]
    runs = (work + online) / (length + w - 1)
    return float(max(runs.max(), held.max(), batch.mean() + held.mean()))


@dataclass(frozen=True, eq=False)
class Backfill:
    """A day of backfill in its steady state: batch work done in each slot, and the longest wait."""

    done: FloatArray
    longest_window: int


def backfill(
    batch_demand: npt.ArrayLike, capacity: float, held_servers: npt.ArrayLike | None = None
) -> Backfill:
    """Serve batch work, oldest first, with what online work leaves, in a day that repeats.

    batch_demand, held_servers: as for `smallest_fleet`. capacity: c, at least the most that is held
    and the mean of both loads. Returns work done per slot, shape (n,), and the slots that the
    unluckiest work takes, its own included. Raises ValueError outside these ranges.

    >>> day = backfill([6.0, 0.0, 0.0], capacity=3.0)
    >>> day.done.tolist(), day.longest_window
    ([3.0, 3.0, 0.0], 2)
    """
    capacity = as_number(capacity=capacity)
    batch, held = _day(batch_demand, held_servers)
    least = max(held.max(), batch.mean() + held.mean())
    require(
        float(least) * (1 - 1e-12) <= capacity < math.inf,
        "capacity",
        f"finite and at least {least:g}, the highest hold and the mean load",
        capacity,
    )
    n = batch.size
    arriving = np.tile(batch, 3)  # a day to settle, the day that counts, a day to finish it
    change = np.cumsum(arriving - np.tile(np.maximum(capacity - held, 0.0), 3))
    waiting = change - np.minimum(np.minimum.accumulate(change), 0.0)
    done = arriving + np.r_[0.0, waiting[:-1]] - waiting
    tolerance = 1e-9 * max(1.0, float(batch.sum()))
    finished = np.searchsorted(np.cumsum(done), np.cumsum(arriving) - tolerance)
    taken = (finished - np.arange(3 * n) + 1)[n : 2 * n]
    return Backfill(done[n : 2 * n], int(np.max(taken[batch > 0], initial=0)))


def check_fleet_against_backfill() -> None:
    """The largest quotient is the smallest fleet: with that many engines, the simulated backfill
    meets every deadline; with a millionth less, it does not.

    Source: first-come-first-served simulation of 60 random days.
    """
    rng = np.random.default_rng(32)
    got, found = [], []
    for _ in range(60):
        n = int(rng.integers(3, 13))
        batch = rng.exponential(1.0, n) * (rng.random(n) < 0.6) + 0.01
        held, window = rng.integers(0, 4, n).astype(float), int(rng.integers(1, n + 1))
        low = max(held.max(), batch.mean() + held.mean())
        high = held.max() + batch.max()
        if backfill(batch, low, held).longest_window <= window:
            high = low
        while high - low > 1e-7:
            middle = (low + high) / 2
            if backfill(batch, middle, held).longest_window <= window:
                high = middle
            else:
                low = middle
        got.append(smallest_fleet(batch, window, held))
        found.append(high)
    checks.close("60 days", got, found, atol=1e-6, kind="simulation")


def check_a_day_over_the_peak() -> None:
    """With as much batch work as online work, whose peak is at least twice its mean, the fleet for
    the peak is enough with a deadline of a day over that ratio, where batch work never arrives
    faster than the online peak. Work that arrives all in one slot takes twice as long, and nine
    tenths of that is too short.

    Source: the argument of the section on windows; 100 random days of 240 slots, and a day that is
    at its peak from the slot of the work on until nothing is left.
    """
    rng, slots, asked = np.random.default_rng(35), 240, {1: [0.0], 2: [0.0]}
    for k in range(100):
        held = np.repeat(rng.exponential(1.0, 24) ** (1 + k % 3), 10)
        held += max(0.0, 0.1 - held.min())
        peak = held.max() / held.mean()
        if peak < 2:
            continue
        spread = np.minimum(rng.permutation(held), held.max())
        once = np.zeros(slots)
        once[rng.integers(slots)] = held.sum()
        for batch, days in ((spread, 1), (once, 2)):
            window = math.ceil(days * slots / peak) + 1
            asked[days].append(smallest_fleet(batch, min(window, slots), held) / held.max())
    for days, label in ((1, "spread"), (2, "at once")):
        checks.close(f"{label}: largest fleet over the peak", max(asked[days]), 1.0, rtol=1e-9)
    worst = np.where(np.arange(slots) < 96, 2.5, 0.0)  # a mean of 1
    dump = np.r_[240.0, np.zeros(slots - 1)]
    enough, short = (smallest_fleet(dump, window, worst) for window in (192, 172))
    checks.close("at once, 2/2.5 of a day", enough, 2.5, rtol=1e-12)
    checks.holds("a tenth less", short > 2.6, got=short)


def check_of_unequal_days_the_busiest_counts() -> None:
    """In a week, a deadline of a day over the ratio of the peak to the busiest day's mean is long
    enough, however unequal the days are. A day over the ratio to the week's mean is not: with flat
    weekdays and weekends at a tenth of them, the fleet is a quarter larger.

    Source: the argument of the section on windows, day by day; 40 random weeks of hours.
    """
    rng, fleets = np.random.default_rng(36), []
    for _ in range(40):
        week = (rng.uniform(0.1, 1.0, (7, 1)) * rng.exponential(1.0, (7, 24))).ravel()
        days = np.lib.stride_tricks.sliding_window_view(np.tile(week, 2), 24).mean(axis=1)
        peak = float(week.max() / days.max())
        if peak >= 2:
            fleets.append(smallest_fleet(week, math.ceil(24 / peak) + 1, week) / week.max())
    checks.close(f"{len(fleets)} weeks: largest over the peak", max(fleets), 1.0, rtol=1e-9)
    flat = np.outer([1.0] * 5 + [0.1] * 2, daily_profile(1.5, 24)).ravel()
    peak = float(flat.max() / flat.mean())
    over = smallest_fleet(flat, math.ceil(24 / peak) + 1, flat) / float(flat.max())
    checks.inside("flat weekdays: peak over the week's mean", peak, 2.0, 2.1)
    checks.inside("flat weekdays: fleet over the peak", over, 1.2, 1.3)
