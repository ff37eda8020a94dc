"""Solutions of the exercises on batch serving, each checked against a second way to the same
number.

Assumes: what each function says; schedules are list schedules on identical workers.

Source: derived here from the formulas of `batch_serving` and `checkpointing`.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.batch_serving.batch_serving import (
    OVERHEAD_S,
    ROW_S,
    ROWS,
    SIXTEEN_MIN,
    SPREAD,
    best_shards,
    latest_finish_s,
)
from serving_mathematics.architecture.batch_serving.checkpointing import (
    DAY_S,
    HOUR_S,
    expected_completion_s,
)
from serving_mathematics.core.queues.list_scheduling import (
    list_schedule,
    lpt_schedule,
    makespan_floor,
    optimal_makespan,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_positive,
    require_positive_integer,
    require_shape,
)

HINTS = {
    "missing_and_repeated": (
        "Count how often each row number occurs. Zeros that stand next to each other make one "
        "range, so look for the places at which zero begins and ends; ranges exclude their end."
    ),
    "excess_over_optimum": (
        "No schedule is shorter than the work divided by the machines, nor than its longest "
        "shard: `makespan_floor` is the larger of both. Compare with the last end, not with the"
        " sum of the durations."
    ),
    "largest_shard_s": (
        "A failure repeats the shard from its beginning, so a shard of τ takes `M·(exp(τ/M) − 1)` "
        "on average. Only the ratio τ/M matters; solve for it by bisection, and start above "
        "zero where it is 0/0."
    ),
    "workers_for_deadline": (
        "For each number of workers take its own `best_shards`, then compare `latest_finish_s` "
        "with the deadline. Dividing the work by the deadline forgets overheads and the last "
        "shard that all wait for."
    ),
}


def missing_and_repeated(
    row_numbers: npt.ArrayLike, rows: int
) -> tuple[list[tuple[int, int]], list[int]]:
    """Ranges of rows that an output lacks, ends excluded, and the rows that it has more than once.

    row_numbers: integers of shape (k,) in any order. rows: number of rows of the input, n ≥ 1.
    Raises ValueError when a number is not one of 0 … n−1.

    >>> missing_and_repeated([4, 0, 1, 4], rows=6)
    ([(2, 4), (5, 6)], [4])
    """
    rows = require_positive_integer(rows=rows)
    numbers = np.asarray(row_numbers)
    require(numbers.ndim == 1, "row_numbers", "of shape (k,)", numbers.shape)
    known = numbers.size == 0 or np.all((numbers >= 0) & (numbers < rows) & (numbers % 1 == 0))
    require(known, "row_numbers", f"integers from 0 to {rows - 1}", numbers)
    counts = np.bincount(numbers.astype(np.int64), minlength=rows)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], counts == 0, [False]])))
    ranges = [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
    return ranges, np.flatnonzero(counts > 1).tolist()


def excess_over_optimum(start: npt.ArrayLike, end: npt.ArrayLike, machines: int) -> float:
    """From the log of a finished job, a bound on how much longer it took than the best schedule
    would have, as a share of the best.

    start, end: of each shard, shape (n,), on a clock that began at 0. machines: m ≥ 1. No schedule
    beats `makespan_floor` of the durations. Raises ValueError when a shard ends before it starts.

    >>> excess_over_optimum([0.0, 0.0, 1.0], [1.0, 1.0, 3.0], machines=2)
    0.5
    """
    starts, ends = as_floats(start=start), as_floats(end=end)
    require(starts.ndim == 1 and starts.size > 0, "start", "non-empty (n,)", starts.shape)
    require_shape(starts.shape, end=ends)
    ordered = np.all((starts >= 0) & (starts < ends) & (ends < math.inf))
    require(ordered, "end", "after the start, which is not negative", ends)
    return float(ends.max()) / makespan_floor(ends - starts, machines) - 1


def largest_shard_s(failure_gap_s: float, loss: float) -> float:
    """The longest shard of which failures make no more than a given share be repeated, on average.

    failure_gap_s: M > 0 between failures of the worker. loss: share of the work, above 0. A shard
    of τ takes M(e^{τ/M} − 1) with its repetitions; bisection for M(e^{τ/M} − 1)/τ = 1 + loss.
    Raises ValueError outside these ranges.

    >>> round(largest_shard_s(failure_gap_s=100.0, loss=math.e - 2), 9)
    100.0
    """
    loss = as_number(loss=loss)
    failure_gap_s = require_positive(failure_gap_s=failure_gap_s)
    require(0 < loss < 1e6, "loss", "in (0, 10⁶)", loss)
    low, high = 0.0, 100.0
    for _ in range(100):
        x = (low + high) / 2
        if math.expm1(x) <= (1 + loss) * x:
            low = x
        else:
            high = x
    return low * failure_gap_s


def workers_for_deadline(
    work_s: float, overhead_s: float, spread: float, deadline_s: float
) -> tuple[int, int]:
    """The fewest workers with which the job is done by the deadline in any order of its shards, and
    how many shards it then has.

    work_s: of all shards [s], above 0. overhead_s: of each shard [s], above 0. spread: work of the
    largest shard over the mean, at least 1. deadline_s: above 0 [s]. The latest finish falls with
    every worker only as long as there is work to share, so at most 10,000 are tried. Raises
    ValueError outside these ranges, and when these are too few.

    >>> workers_for_deadline(work_s=100.0, overhead_s=1.0, spread=1.0, deadline_s=61.0)
    (2, 10)
    """
    deadline_s = require_positive(deadline_s=deadline_s)
    for workers in range(1, 10_001):
        shards = best_shards(work_s, workers, overhead_s, spread)
        if latest_finish_s(work_s, workers, overhead_s, shards, spread) <= deadline_s:
            return workers, shards
    raise ValueError(f"deadline_s must be within reach of 10,000 workers, got {deadline_s}")


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    workers, shards = workers_for_deadline(ROWS * ROW_S, OVERHEAD_S, SPREAD, 8 * HOUR_S)
    plan = list_schedule(SIXTEEN_MIN, 4)
    return SimpleNamespace(
        deadline_workers=workers,
        deadline_shards=shards,
        tight_workers=workers_for_deadline(ROWS * ROW_S, OVERHEAD_S, SPREAD, HOUR_S)[0],
        five_percent_shard_h=largest_shard_s(DAY_S, 0.05) / HOUR_S,
        arrival_excess_percent=100 * excess_over_optimum(plan.start, plan.end, 4),
    )


def check_missing_and_repeated() -> None:
    """Rows that were taken out and rows that were written twice are found, and nothing else.

    Source: sets of Python on 300 rows with known damage.
    """
    rng = np.random.default_rng(5)
    kept = [row for row in range(300) if not 40 <= row < 60 and row not in (0, 299)]
    written = rng.permutation([*kept, 7, 7, 250]).tolist()
    missing, repeated = missing_and_repeated(written, 300)
    lacking = sorted(set(range(300)) - set(written))
    checks.equal("missing", [r for a, b in missing for r in range(a, b)], lacking)
    checks.equal("ranges", missing, [(0, 1), (40, 60), (299, 300)])
    checks.equal("repeated", repeated, [7, 250])
    checks.equal("whole", missing_and_repeated(range(300), 300), ([], []))


def check_workers_for_deadline() -> None:
    """With the workers found the job is in time, and with one fewer no number of shards helps.

    Source: the latest finish for every number of shards up to 4,000.
    """
    for work, overhead, spread, deadline in ((5e4, 3.0, 2.0, 4000.0), (1e4, 1.0, 1.0, 1500.0)):
        workers, shards = workers_for_deadline(work, overhead, spread, deadline)
        there = latest_finish_s(work, workers, overhead, shards, spread)
        checks.holds(f"W = {work:g}: {workers} workers", there <= deadline, got=there)
        fewer = min(
            latest_finish_s(work, workers - 1, overhead, n, spread)
            for n in range(math.ceil(spread), 4000)
        )
        checks.holds(f"W = {work:g}: one fewer", fewer > deadline, got=fewer)
    checks.equal("time enough for one", workers_for_deadline(1e3, 1.0, 1.0, 1500.0)[0], 1)


def check_largest_shard() -> None:
    """A shard of the length found loses the given share; a small share makes it 2 · loss · M long.

    Source: the mean time of one stretch without a checkpoint, `expected_completion_s`.
    """
    for gap_s, loss in ((DAY_S, 0.05), (HOUR_S, 0.01), (10.0, 3.0)):
        shard_s = largest_shard_s(gap_s, loss)
        taken = expected_completion_s(shard_s, shard_s, 0.0, gap_s) / shard_s - 1
        checks.close(f"M = {gap_s:g} s", taken, loss, rtol=1e-9)
    checks.close(
        "small losses, 2·loss·M [s]", largest_shard_s(DAY_S, 1e-4), 2e-4 * DAY_S, rtol=1e-3
    )


def check_excess() -> None:
    """The bound from the log is never below the true excess, and both agree for Graham's instances.

    Source: optima by branch and bound of 60 random jobs; 11 against 9 by hand.
    """
    rng = np.random.default_rng(8)
    below = 0
    for _ in range(60):
        jobs = rng.integers(1, 30, 9).astype(float)
        plan = list_schedule(jobs, 3)
        true = plan.makespan / optimal_makespan(jobs.tolist(), 3) - 1
        below += excess_over_optimum(plan.start, plan.end, 3) < true - 1e-12
    checks.equal("bounds below the truth", below, 0)
    plan = lpt_schedule([5.0, 5, 4, 4, 3, 3, 3], 3)
    checks.close("11 against 9", excess_over_optimum(plan.start, plan.end, 3), 2 / 9, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Unknown rows, deadlines out of reach and logs that run backwards name the argument."""
    checks.raises("row 6 of 6", missing_and_repeated, [6], 6, match="row_numbers must be integers")
    checks.raises("too soon", workers_for_deadline, 1.0, 1.0, 1.0, 0.5, match="deadline_s must be")
    checks.raises("no loss", largest_shard_s, 1.0, 0.0, match="loss must be in (0, 10⁶)")
    checks.raises("backwards", excess_over_optimum, [2.0], [1.0], 1, match="end must be after the")
