"""How many shards a job should have.

A worker that is free takes the next shard of a list. When the last one to end was started no worker
was free, so all m had been busy until then with something else, and the job ends by

    C ≤ W/m + n·o/m + (1 − 1/m)(p + o),

with W the work of all rows, o the overhead of each of n shards, and p the work of the largest. Cut
from a list of rows, p is known for every n, and the best n is looked up. With equal rows it is
√((m−1)W/o). That is best for the bound: where nothing goes wrong, m equal shards end sooner.

Assumes: equal workers, shards that are not interrupted, all there at the start.

Source: Graham (1966) for the bound; the optimum is its least value.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]
TRIED = 400  # numbers of shards that are looked at
UNLIKE = 200, 1.0  # customers, and the spread of the logarithm of what a row of theirs takes
CUT, START_S, DRAWS = 20, 120.0, 100  # shards of four engine-hours; start of each; jobs


def list_schedule(durations: npt.ArrayLike, machines: int) -> tuple[FloatArray, FloatArray]:
    """When each shard starts and ends, if every engine that is free takes the next shard of the
    list.

    durations: of the shards, shape (n,), n ≥ 1, non-negative. machines: m ≥ 1, at most a million.
    Returns starts and ends, shape (n,). Raises ValueError outside these ranges.

    >>> starts, ends = list_schedule([3.0, 1.0, 1.0, 2.0], machines=2)
    >>> starts.tolist(), ends.tolist()
    ([0.0, 0.0, 1.0, 2.0], [3.0, 1.0, 2.0, 4.0])
    """
    times = as_floats(durations=durations)
    require(times.ndim == 1 and times.size > 0, "durations", "non-empty (n,)", times.shape)
    times = require_all_non_negative(durations=times)
    machines = require_positive_integer(machines=machines)
    require(machines <= 1e6, "machines", "at most a million", machines)
    starts = fifo_waits(np.zeros(times.size), times, machines)  # a queue in which all are there
    return starts, starts + times


def latest_finish_s(
    work_s: float, machines: int, overhead_s: float, shards: int, largest_s: float
) -> float:
    """Time by which n shards are done in any order, W/m + n·o/m + (1 − 1/m)(p + o).

    work_s: W, work of all rows, not negative [s]. machines: m ≥ 1. overhead_s: o of each shard, not
    negative [s]. shards: n ≥ 1. largest_s: p, work of the largest shard, from W/n to W [s]. Raises
    ValueError outside these ranges.

    >>> latest_finish_s(work_s=80.0, machines=4, overhead_s=1.0, shards=40, largest_s=4.0)
    33.75
    """
    work_s, overhead_s = require_non_negative(work_s=work_s, overhead_s=overhead_s)
    machines, shards = require_positive_integer(machines=machines, shards=shards)
    largest_s = require_non_negative(largest_s=largest_s)
    held = (1 - 1e-9) * work_s / shards <= largest_s <= (1 + 1e-9) * work_s
    require(held, "largest_s", "from the mean of the shards to the work of all", largest_s)
    return (work_s + shards * overhead_s) / machines + (1 - 1 / machines) * (largest_s + overhead_s)


def best_shards(rows_s: npt.ArrayLike, machines: int, overhead_s: float) -> int:
    """The number of shards, cut to about as many rows each, with the earliest `latest_finish_s`.

    rows_s: work of each row in the order in which they are cut, positive [s], shape (N,). machines:
    m ≥ 1. overhead_s: o of each shard, positive [s]. Tries every number from one shard to one for
    each row, or 400 of these numbers if there are more; returns the smallest of equally good ones.
    Raises ValueError outside these ranges.

    >>> best_shards([1.0] * 100, machines=5, overhead_s=1.0)  # √(4·100/1)
    20
    """
    rows = as_floats(rows_s=rows_s)
    require(rows.ndim == 1 and rows.size > 0, "rows_s", "non-empty (N,)", rows.shape)
    require((rows > 0) & (rows < math.inf), "rows_s", "positive and finite", rows)
    machines = require_positive_integer(machines=machines)
    overhead_s = require_positive(overhead_s=overhead_s)
    done = np.append(0.0, np.cumsum(rows))
    best, earliest = 1, math.inf
    spaced = np.linspace if rows.size <= TRIED else np.geomspace
    tried = np.unique(np.rint(spaced(1, rows.size, min(rows.size, TRIED))).astype(np.int64))
    for shards in tried.tolist():
        cuts = np.rint(np.linspace(0, rows.size, shards + 1)).astype(np.int64)
        largest = float(np.diff(done[cuts]).max())
        ends = latest_finish_s(float(done[-1]), int(machines), overhead_s, shards, largest)
        if ends < earliest * (1 - 1e-12):
            best, earliest = shards, ends
    return best


@functools.cache
def _sorted_ends() -> tuple[float, float]:
    """When a job of rows sorted by customer ends on four engines, over one of the same rows mixed:
    its shards taken as they are cut, and the longest first, averaged over draws. Popularity falls
    as one over the rank."""
    rng, (customers, spread), found = np.random.default_rng(5), UNLIKE, []
    popular = 1 / np.arange(1.0, customers + 1)
    for _ in range(DRAWS):
        who = rng.permutation(customers)[rng.choice(customers, 20_000, p=popular / popular.sum())]
        rows = rng.lognormal(0.0, spread, customers)[who]
        rows *= 14_400 / rows.sum()
        cut, mixed = (
            np.array([shard.sum() + START_S for shard in np.array_split(rows[order], CUT)])
            for order in (np.argsort(who, kind="stable"), np.arange(who.size))
        )
        ends = [list_schedule(one, 4)[1].max() for one in (cut, -np.sort(-cut), mixed)]
        found.append((ends[0] / ends[2], ends[1] / ends[2]))
    as_cut, longest_first = np.mean(found, axis=0).tolist()
    return as_cut, longest_first


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    return SimpleNamespace(unlike_percent=100 * (_sorted_ends()[0] - 1), cut=CUT)


def check_sorted_shards_go_longest_first() -> None:
    """Where customers' rows differ in length, so do shards of sorted rows: taken as they are cut,
    they end 3 to 12% later than shards of mixed rows; taken longest first, at most 2% later.

    Source: 100 drawn jobs, whose next shard goes to the next free engine.
    """
    as_cut, longest_first = _sorted_ends()
    checks.inside("as cut, over mixed", as_cut, 1.03, 1.12)
    checks.inside("longest first, over mixed", longest_first, 0.95, 1.02)


def check_the_last_shard_by_hand() -> None:
    """Graham's worst list ends after 2m − 1, where another order would end after m, and the bound
    is exactly 2m − 1.

    Source: m(m−1) shards of length 1 and then one of length m, by hand.
    """
    for machines in (2, 3, 4, 16):
        shards = [1.0] * (machines * (machines - 1)) + [float(machines)]
        ends = list_schedule(shards, machines)[1]
        checks.close(f"m = {machines}: end", float(ends.max()), 2 * machines - 1)
        bound = latest_finish_s(sum(shards), machines, 0.0, len(shards), machines)
        checks.close(f"m = {machines}: bound", bound, 2 * machines - 1, rtol=1e-12)


def check_best_shards() -> None:
    """For equal rows, the best number is near √((m−1)W/o). If nothing goes wrong, one shard for
    each engine ends sooner; if one engine takes a third longer, it ends later.

    Source: the derivative of the bound, by hand; shards that go to the next free engine.
    """
    machines, work, overhead = 4, 14_400.0, 4.0
    best = 4 * round(math.sqrt((machines - 1) * work / overhead) / 4)
    for slow in (1.0, 4 / 3):
        ends = []
        for shards in (machines, best):
            free = [0.0] * machines
            for _ in range(shards):
                first = free.index(min(free))
                took_s = work / shards + overhead
                free[first] += took_s * (slow if first == machines - 1 else 1.0)
            ends.append(max(free))
        told = "{:.0f} and {:.0f} s".format(*ends)
        label = f"one engine {slow:.2f} times as slow, {machines} or {best} shards"
        checks.holds(label, (ends[0] < ends[1]) == (slow == 1.0), got=told)
    for rows, machines, overhead in ((2000, 16, 2), (600, 5, 1), (777, 3, 5)):
        found = best_shards(np.ones(rows), machines, float(overhead))
        checks.close(f"{rows} rows", found, math.sqrt((machines - 1) * rows / overhead), rtol=0.05)
