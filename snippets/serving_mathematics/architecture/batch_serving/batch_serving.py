"""A batch job is finished when its last shard is, so the order and the size of the shards decide
how long the machines wait for one of them.

Whenever a machine is free it takes the next shard of a list. Whatever the order, the job then ends
within 2 − 1/m of the best possible time on m machines, and with the longest shards first within
4/3 − 1/(3m). Both follow from what the last shard to finish found: when it started no machine was
free, so all of them had been busy until then, and

    makespan ≤ W/m + (1 − 1/m)·p_last,

with W the work of all shards. The excess is part of one shard, hence small shards; but each costs
an overhead o, and n shards whose longest takes s times the mean end latest at
W/m + n·o/m + (1 − 1/m)(s·W/n + o), least at n = √(s(m−1)W/o) for an s that does not depend on n.

Assumes: identical machines, independent shards that are not interrupted, all there at the start.

Source: Graham (1966) and (1969) for the bounds and the instances that attain them.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.core.queues.list_scheduling import (
    list_ratio,
    list_schedule,
    lpt_ratio,
    lpt_schedule,
    makespan_floor,
    optimal_makespan,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 10_000_000
ROW_S = 0.02  # [s] to score one row on one worker
OVERHEAD_S = 2.0  # [s] per shard: start, read, commit
WORKERS = 16
SPREAD = 3.0  # longest shard over the mean
SIXTEEN_MIN = (9, 31, 5, 12, 7, 22, 4, 6, 15, 3, 8, 5, 11, 4, 6, 28)  # [min] shards as they arrive


def latest_finish_s(
    work_s: float, machines: int, overhead_s: float, shards: int, spread: float
) -> float:
    """Time by which n shards are done in any order, W/m + n·o/m + (1 − 1/m)(s·W/n + o).

    work_s: W ≥ 0 of all shards. machines: m ≥ 1. overhead_s: o ≥ 0 of each. shards: n ≥ 1. spread:
    s ≥ 1, work of the largest over the mean. Raises ValueError outside these ranges.

    >>> latest_finish_s(work_s=80.0, machines=4, overhead_s=1.0, shards=40, spread=2.0)
    33.75
    """
    spread = as_number(spread=spread)
    work_s = require_non_negative(work_s=work_s)
    machines = require_positive_integer(machines=machines)
    overhead_s = require_non_negative(overhead_s=overhead_s)
    shards = require_positive_integer(shards=shards)
    require(1 <= spread < math.inf, "spread", "at least 1 and finite", spread)
    last = min(spread, shards) * work_s / shards + overhead_s
    return (work_s + shards * overhead_s) / machines + (1 - 1 / machines) * last


def best_shards(work_s: float, machines: int, overhead_s: float, spread: float) -> int:
    """The number of shards with the earliest `latest_finish_s`, √(s(m−1)W/o) rounded to the better
    side, and at least one for each machine.

    Arguments as there, with work and overhead above 0. Raises ValueError outside these ranges.

    >>> best_shards(work_s=100.0, machines=5, overhead_s=1.0, spread=1.0)
    20
    """
    spread = as_number(spread=spread)
    work_s, overhead_s = require_positive(work_s=work_s, overhead_s=overhead_s)
    machines = require_positive_integer(machines=machines)
    require(1 <= spread < math.inf, "spread", "at least 1 and finite", spread)
    root = math.floor(math.sqrt(spread * (machines - 1) * work_s / overhead_s))
    sides = [max(root, machines), max(root + 1, machines)]
    return min(
        sides, key=lambda shards: latest_finish_s(work_s, machines, overhead_s, shards, spread)
    )


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    work_s = ROWS * ROW_S
    shards = best_shards(work_s, WORKERS, OVERHEAD_S, SPREAD)
    finish_h = [
        latest_finish_s(work_s, WORKERS, OVERHEAD_S, n, SPREAD) / 3600
        for n in (shards, 2 * WORKERS, ROWS // 100)
    ]
    return SimpleNamespace(
        arrival_min=list_schedule(SIXTEEN_MIN, 4).makespan,
        lpt_min=lpt_schedule(SIXTEEN_MIN, 4).makespan,
        optimum_min=optimal_makespan(SIXTEEN_MIN, 4),
        job_workers=WORKERS,
        one_worker_h=work_s / 3600,
        ideal_h=work_s / WORKERS / 3600,
        shard_count=shards,
        shards_per_worker=round(shards / WORKERS),
        shard_rows=round(ROWS / shards),
        shard_s=work_s / shards,
        finish_h=finish_h[0],
        few_shards_h=finish_h[1],
        many_shards_h=finish_h[2],
        list_ratio_16=list_ratio(WORKERS),
        lpt_ratio_16=lpt_ratio(WORKERS),
    )


def figure_gantt(figure: Figure) -> None:
    """The same sixteen shards on four workers: in order of arrival a long one starts late and three
    workers wait for it; with the longest first they finish nearly together.

    The dashed line is the work over the workers, which no schedule can beat.

    Alt: Two Gantt charts of four workers each, over minutes. In order of arrival three workers
    finish after 35 to 42 minutes and the fourth, whose shard of 28 minutes starts at minute 34,
    after 62. With the longest first all four finish after 43 to 45 minutes, next to the dashed line
    at 44.
    """
    figure.set_size_inches(5.8, 4.2)
    upper, lower = figure.subplots(2, sharex=True)
    plans = (
        (upper, list_schedule(SIXTEEN_MIN, 4), "order of arrival"),
        (lower, lpt_schedule(SIXTEEN_MIN, 4), "longest first"),
    )
    for axes, plan, name in plans:
        for machine, start, end in zip(plan.machine, plan.start, plan.end, strict=True):
            long = end - start > 20
            axes.barh(
                machine,
                end - start,
                left=start,
                height=0.7,
                color="C1" if long else "C0",
                alpha=0.85,
                edgecolor="C4",
                linewidth=0.8,
            )
            axes.annotate(
                f"{end - start:.0f}", ((start + end) / 2, machine), ha="center", va="center"
            )
        axes.axvline(makespan_floor(SIXTEEN_MIN, 4), color="C4", linestyle="--", linewidth=1.2)
        axes.set_title(f"{name}: {plan.makespan:.0f} min")
        axes.set(yticks=range(4), yticklabels=range(1, 5), ylabel="worker", xlabel="time [min]")
        axes.invert_yaxis()
        axes.grid(False)


def figure_shard_count(figure: Figure) -> None:
    """Few shards leave workers waiting for the last one, many shards drown in overhead; between
    them lies a wide optimum.

    Work for 3.5 hours on 16 workers, 2 s of overhead for each shard. The line is the latest finish
    when the largest shard takes three times the mean. Points are simulated jobs whose shards vary
    up to that (14 jobs each, mean and largest).

    Alt: Line chart of the finish in hours against the number of shards from 16 to 100,000 on a
    logarithmic axis. The latest finish falls from 13 hours at 16 shards to a flat minimum of 3.6
    hours near 2100 shards and rises to 7 hours at 100,000. Simulated jobs lie below it, 1 to 3
    hours for few shards, and on it from 512 shards on.
    """
    rng = np.random.default_rng(21)
    work_s = ROWS * ROW_S
    axes = figure.subplots()
    counts = np.unique(np.geomspace(WORKERS, 100_000, 120).astype(int))
    bound = [latest_finish_s(work_s, WORKERS, OVERHEAD_S, int(n), SPREAD) / 3600 for n in counts]
    axes.plot(counts, bound, color="C0")
    some, ends = (16, 32, 64, 128, 256, 512, 1024, 2048), []
    for n in some:
        for _ in range(14):
            weight = rng.choice([0.5, 3.0], n, p=[0.8, 0.2])
            shard_s = work_s * weight / max(weight.sum(), n) + OVERHEAD_S
            ends.append(list_schedule(shard_s, WORKERS).makespan / 3600)
    finished = np.reshape(ends, (len(some), 14))
    axes.plot(some, finished.mean(axis=1), "o", color="C2")
    axes.plot(some, finished.max(axis=1), "^", color="C1")
    axes.axhline(work_s / WORKERS / 3600, color="C4", linestyle=":", linewidth=1.2)
    best = best_shards(work_s, WORKERS, OVERHEAD_S, SPREAD)
    axes.axvline(best, color="C4", linestyle="--", linewidth=1.0)
    axes.annotate("latest possible", (34, 9.4), color="C0")
    axes.annotate("simulated, worst", (150, 5.3), color="C1")
    axes.annotate("simulated, mean", (17, 2.75), color="C2")
    axes.annotate("no waiting, no overhead", (2600, 2.9), color="C4")
    axes.annotate(f"√(s(m−1)W/o) = {best}", (2400, 11.5), color="C4")
    axes.set(xscale="log", ylim=(2.5, 13), xlabel="shards n [1]", ylabel="finish [h]")
    axes.set_xticks([100, 1000, 10_000, 100_000], ["100", "1,000", "10⁴", "10⁵"])
    axes.minorticks_off()


def check_published_instances() -> None:
    """Longest first takes 11 where 9 would do, and 7 where 6 would: exactly as bad as the bound
    allows.

    Source: optima by hand, {5,4}, {5,4}, {3,3,3} and {3,3}, {2,2,2}; Graham's family of 2m+1 jobs
    2m−1, 2m−1, …, m+1, m+1, m, m, m, with a makespan of 4m−1 against 3m.
    """
    for machines, jobs, longest_first, best in (
        (3, [5.0, 5, 4, 4, 3, 3, 3], 11, 9),
        (2, [3.0, 3, 2, 2, 2], 7, 6),
    ):
        got = lpt_schedule(jobs, machines).makespan
        checks.close(f"m = {machines}: longest first", got, longest_first)
        checks.close(f"m = {machines}: optimum", optimal_makespan(jobs, machines), best)
        checks.close(f"m = {machines}: bound", lpt_ratio(machines) * best, got, rtol=1e-15)
    for machines in (4, 7):
        pairs = [float(time) for time in range(2 * machines - 1, machines, -1) for _ in range(2)]
        jobs = [*pairs, *[float(machines)] * 3]
        got = lpt_schedule(jobs, machines).makespan
        checks.close(f"m = {machines}: longest first", got, 4 * machines - 1)
        checks.close(f"m = {machines}: bound", lpt_ratio(machines) * 3 * machines, got, rtol=1e-15)


def check_list_bound_is_attained() -> None:
    """m(m−1) jobs of 1 and then one of m take 2m−1 where m would do.

    Source: Graham's instance by hand; the optimum by branch and bound.
    """
    for machines in (2, 3, 4):
        jobs = [1.0] * (machines * (machines - 1)) + [float(machines)]
        got = list_schedule(jobs, machines).makespan
        checks.close(f"m = {machines}: this order", got, 2 * machines - 1)
        checks.close(f"m = {machines}: optimum", optimal_makespan(jobs, machines), machines)
        checks.close(f"m = {machines}: bound", list_ratio(machines) * machines, got)


def check_bounds_hold() -> None:
    """None of 200 random orders of small jobs takes more than the bound allows, longest first never
    more than its own, and the optimum never less than the floor.

    Source: optima by trying every assignment, 3^6 or 2^8 of them, in whole numbers.
    """
    rng = np.random.default_rng(3)
    worst_list, worst_lpt, wrong, below = 0.0, 0.0, 0, 0
    for trial in range(40):
        machines, n = (3, 6) if trial % 2 else (2, 8)
        jobs = rng.integers(1, 20, n).astype(float)
        places = np.array(list(product(range(machines), repeat=n)))
        loads = np.array([(places == k) @ jobs for k in range(machines)])
        best = float(loads.max(axis=0).min())
        wrong += optimal_makespan(jobs.tolist(), machines) != best
        below += makespan_floor(jobs, machines) > best
        for _ in range(5):
            order = rng.permutation(n)
            plan = list_schedule(jobs, machines, order=order)
            worst_list = max(worst_list, plan.makespan / best / list_ratio(machines))
        plan = lpt_schedule(jobs, machines)
        worst_lpt = max(worst_lpt, plan.makespan / best / lpt_ratio(machines))
    checks.equal("optima that differ", wrong, 0)
    checks.equal("floors above the optimum", below, 0)
    checks.inside("worst order over its bound", worst_list, 0.75, 1.0, kind="simulation")
    checks.inside("worst longest-first over its bound", worst_lpt, 0.75, 1.0, kind="simulation")


def check_best_shards() -> None:
    """The square root gives the best number of shards for 10 million rows, and for four other jobs.

    Source: the latest finish in exact fractions for every number of shards around it.
    """
    for work, machines, overhead, spread in (
        (200_000, 16, 2, 3),
        (100, 5, 1, 1),
        (5_000, 8, 3, 2),
        (777, 3, 5, 4),
        (10_000, 64, 1, 1),
    ):
        found = best_shards(float(work), machines, float(overhead), float(spread))
        exact = {
            n: Fraction(work + n * overhead, machines)
            + (1 - Fraction(1, machines)) * (Fraction(spread * work, n) + overhead)
            for n in range(max(machines, found // 2), 2 * found + 2)
        }
        checks.equal(f"W = {work}, m = {machines}", found, min(exact, key=lambda n: exact[n]))


def check_spread_depends_on_the_shards() -> None:
    """Cut by numbers of rows, the same lognormal rows have a spread of hardly more than 1 in 32
    shards and beyond 2 in 20,000: no spread holds for both.

    Source: two million drawn rows (σ = 1.5), added up.
    """
    rows = np.random.default_rng(22).lognormal(0.0, 1.5, 2_000_000)
    for shards, low, high in ((32, 1.0, 1.1), (20_000, 2.0, 20.0)):
        work = rows.reshape(shards, -1).sum(axis=1)
        spread = float(work.max() / work.mean())
        checks.inside(f"spread of {shards:,} shards", spread, low, high, kind="simulation")


def check_bad_input_is_refused() -> None:
    """Negative and endless jobs, half machines and orders with gaps are errors that name the
    argument."""
    checks.raises("negative", list_schedule, [1.0, -1.0], 2, match="durations must be non-negative")
    checks.raises("NaN", makespan_floor, [math.nan], 2, match="durations must be non-negative")
    checks.raises("none", lpt_schedule, [], 2, match="durations must be non-empty")
    checks.raises("machines", list_ratio, 1.5, match="machines must be a positive integer")
    checks.raises("order", list_schedule, [1.0, 2.0], 2, order=[0, 0], match="order must be a perm")
    checks.raises(
        "ready", list_schedule, [1.0], 2, ready=[0.0], match="ready must be of shape (2,)"
    )
    checks.raises("spread", best_shards, 1.0, 2, 1.0, 0.5, match="spread must be at least 1")
