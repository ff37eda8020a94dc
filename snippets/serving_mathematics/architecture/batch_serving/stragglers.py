"""At the end of a job free workers watch the last tasks; a second copy of each costs little and
removes most of the wait.

n tasks on m workers, any worker that is free takes the next task. With exponential durations of
mean 1 the last of them ends after (n − m)/m + H_m on average: full speed, and then the slowest of
m. If a free worker copies a running task once there is no other, r tasks left are worked on by
min(2r, m) workers, and the end is (n − m)/m + Σ_{r=1}^{m} 1/min(2r, m), which hardly grows with m.

Assumes: the duration belongs to the attempt and not to the task, so that a copy draws anew; the
loser is stopped at once; a task may run twice, so its output must be idempotent.

Source: Dean and Ghemawat (2004), sections 3.5, 3.6 and 5.4, for backup tasks and their effect; the
means from the memoryless property.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MACHINES = 50
SLOW_SHARE, SLOWDOWN = 0.02, 5.0  # share of slow attempts, and how much longer they take


@dataclass(frozen=True)
class Outcome:
    """When the last task ended, and for how long workers were busy in all."""

    makespan: float
    busy: float


def run_with_copies(
    first: npt.ArrayLike, machines: int, second: npt.ArrayLike | None = None
) -> Outcome:
    """A job whose free workers, when no task is left to start, copy the one that has run longest.

    first: shape (n,), n ≥ 1, duration of each task's first attempt, in order of start. machines:
    m ≥ 1. second: shape (n,), duration of a copy if one is made; without it none is. A task has at
    most one copy; the first to end counts and stops the other. Raises ValueError outside this.

    >>> run_with_copies([1.0, 9.0], machines=2)
    Outcome(makespan=9.0, busy=10.0)
    >>> run_with_copies([1.0, 9.0], machines=2, second=[1.0, 1.0])
    Outcome(makespan=2.0, busy=4.0)
    """
    durations = as_floats(first=first)
    copies = None if second is None else as_floats(second=second)
    for name, values in (("first", durations), ("second", copies)):
        if values is not None:
            require(values.ndim == 1 and values.size > 0, name, "non-empty (n,)", values.shape)
            require(values.shape == durations.shape, name, "as long as first", values.shape)
            positive = np.all((values > 0) & (values < math.inf))
            require(positive, name, "positive and finite", values)
    machines = require_positive_integer(machines=machines)
    ends: list[tuple[float, int]] = []  # of attempts
    started: dict[int, list[float]] = {}  # by task that runs, in order of start
    now, busy, begun, free = 0.0, 0.0, 0, int(machines)
    once, again = durations.tolist(), [] if copies is None else copies.tolist()
    lone: list[int] = []  # tasks that run without a copy, in order of start
    while begun < durations.size or started:
        while free and begun < durations.size:
            heapq.heappush(ends, (now + once[begun], begun))
            started[begun] = [now]
            lone.append(begun)
            begun, free = begun + 1, free - 1
        if copies is not None and begun == durations.size:
            lone = [task for task in lone if task in started]
            while free and lone:
                task = lone.pop(0)
                heapq.heappush(ends, (now + again[task], task))
                started[task].append(now)
                free -= 1
        now, task = heapq.heappop(ends)
        if task in started:
            attempts = started.pop(task)
            for start in attempts:
                busy += now - start
            free += len(attempts)
    end = now
    return Outcome(end, busy)


def mean_makespan(tasks: int, machines: int, *, copies: bool) -> float:
    """Mean makespan of n exponential tasks of mean 1 on m workers, with copies at the end or
    without.

    tasks: n ≥ 1. machines: m ≥ 1. copies: whether a free worker copies a running task. Raises
    ValueError outside these ranges. Whenever k attempts run, the next ends after 1/k on average.

    >>> mean_makespan(4, machines=2, copies=False), mean_makespan(4, machines=2, copies=True)
    (2.5, 2.0)
    """
    tasks = require_positive_integer(tasks=tasks)
    tasks = require_in("[1, 1e7]", tasks=tasks)
    machines = require_positive_integer(machines=machines)
    require(copies in (True, False), "copies", "True or False", copies)
    attempts = (min((1 + copies) * left, machines) for left in range(1, int(tasks) + 1))
    return math.fsum(1 / running for running in attempts)


def simulate_makespan(
    rng: np.random.Generator,
    tasks: int,
    machines: int,
    slow_share: float,
    slowdown: float,
    *,
    copies: bool,
    runs: int = 100,
) -> tuple[MeanEstimate, MeanEstimate]:
    """Mean makespan, and mean busy time per task, when an attempt takes 0.9 to 1.1, or is slow.

    tasks: n. machines: m. slow_share: probability that an attempt is slow, in [0, 1]. slowdown: how
    much longer it then takes, at least 1. copies: as in `run_with_copies`. runs: independent jobs,
    10 to 10^6. Raises ValueError outside these ranges.
    """
    slowdown, runs = as_number(slowdown=slowdown, runs=runs)
    tasks = require_positive_integer(tasks=tasks)
    slow_share = require_in("[0, 1]", slow_share=slow_share)
    require(1 <= slowdown < math.inf, "slowdown", "at least 1 and finite", slowdown)
    require(runs % 1 == 0 and 10 <= runs <= 10**6, "runs", "an integer from 10 to 10^6", runs)
    require_work(tasks * runs + 200 * tasks + 200 * runs, tasks=tasks, runs=runs)
    outcomes = []
    for _ in range(runs):
        drawn = rng.uniform(0.9, 1.1, (2, tasks))
        drawn *= np.where(rng.random((2, tasks)) < slow_share, slowdown, 1.0)
        outcomes.append(run_with_copies(drawn[0], machines, drawn[1] if copies else None))
    table = np.array([(outcome.makespan, outcome.busy / tasks) for outcome in outcomes])
    errors = table.std(axis=0, ddof=1) / math.sqrt(runs)
    end, busy = (
        MeanEstimate(float(mean), float(error), 1.96 * float(error))
        for mean, error in zip(table.mean(axis=0), errors, strict=True)
    )
    return end, busy


def _ratio_percent(of: MeanEstimate, to: MeanEstimate) -> tuple[float, float]:
    """Ratio of two independent means in percent, with the half-width of its 95% interval."""
    ratio = 100 * of.mean / to.mean
    return ratio, ratio * math.hypot(of.half_width / of.mean, to.half_width / to.mean)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    rng = np.random.default_rng(6)
    (alone, alone_busy), (copied, copied_busy) = (
        simulate_makespan(
            rng, 4 * MACHINES, MACHINES, SLOW_SHARE, SLOWDOWN, copies=copies, runs=150
        )
        for copies in (False, True)
    )
    left, left_half = _ratio_percent(copied, alone)
    work, work_half = _ratio_percent(copied_busy, alone_busy)
    return SimpleNamespace(
        tail_machines=MACHINES,
        tail_alone=mean_makespan(MACHINES, MACHINES, copies=False),
        tail_copied=mean_makespan(MACHINES, MACHINES, copies=True),
        tail_alone_1000=mean_makespan(1000, 1000, copies=False),
        tail_copied_1000=mean_makespan(1000, 1000, copies=True),
        slow_alone=alone.mean,
        slow_alone_half=alone.half_width,
        slow_copied=copied.mean,
        slow_copied_half=copied.half_width,
        slow_cut_percent=100 - left,
        slow_cut_half=left_half,
        slow_extra_percent=work - 100,
        slow_extra_half=work_half,
        mapreduce_percent=100 * (1283 / 891 - 1),
    )


def figure_copies(figure: Figure) -> None:
    """Stragglers hold a job up by a whole slow task; copies at its end bring it close to the work
    per worker.

    Fifty workers; one attempt in fifty takes five times as long. Points are means of 21 simulated
    jobs with 95% confidence intervals, the dotted line is the work over the workers.

    Alt: Line chart of the makespan in durations of a task against the tasks per worker from 1 to
    12. Without copies it lies about three above the dotted line of the work per worker, at four
    tasks per worker near 7.7. With copies it lies less than one above the dotted line, at four
    tasks near 5.1.
    """
    rng = np.random.default_rng(10)
    axes = figure.subplots()
    waves = (1, 2, 4, 6, 9, 12)
    mean = 1 + SLOW_SHARE * (SLOWDOWN - 1)
    for copies, colour, text, place in (
        (False, "C1", "no copies", (3.0, 9.2)),
        (True, "C0", "copies at the end", (6.6, 5.6)),
    ):
        ends = [
            simulate_makespan(
                rng, n * MACHINES, MACHINES, SLOW_SHARE, SLOWDOWN, copies=copies, runs=21
            )[0]
            for n in waves
        ]
        axes.errorbar(
            waves,
            [end.mean for end in ends],
            [end.half_width for end in ends],
            fmt="o-",
            color=colour,
        )
        axes.annotate(text, place, color=colour)
    axes.plot([0, 12], [0, 12 * mean], color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("work per worker", (8.9, 7.7), color="C4")
    axes.set(xlim=(0, 12.4), ylim=(0, 17))
    axes.set(xlabel="tasks per worker [1]", ylabel="makespan [durations of a task]")


def check_exponential_means() -> None:
    """Simulated jobs with exponential tasks end when the formulas say, with copies and without.

    Source: 400 simulated jobs each; sums of 1/k by hand, and H_50.
    """
    rng = np.random.default_rng(7)
    for tasks, machines in ((30, 10), (20, 20), (3, 8)):
        for copies in (False, True):
            ends = []
            for _ in range(400):
                drawn = rng.exponential(1.0, (2, tasks))
                ends.append(
                    run_with_copies(drawn[0], machines, drawn[1] if copies else None).makespan
                )
            error = float(np.std(ends, ddof=1)) / 20
            run = MeanEstimate(float(np.mean(ends)), error, 1.96 * error)
            label = f"n = {tasks}, m = {machines}, {'copies' if copies else 'none'}"
            checks.covers(label, run, mean_makespan(tasks, machines, copies=copies))
    by_hand = 2 + 1 / 4 * 3 + 1 / 2  # n = 12, m = 4: 8 gaps at full speed, then 4, 4, 4 and 2
    checks.close("n = 12, m = 4, copies", mean_makespan(12, 4, copies=True), by_hand, rtol=1e-15)
    harmonic = math.fsum(1 / k for k in range(1, 51))
    checks.close("n = m = 50", mean_makespan(50, 50, copies=False), harmonic, rtol=1e-15)


def check_mapreduce() -> None:
    """Without backup tasks, Google's sort took 44% longer.

    Source: Dean and Ghemawat (2004), section 5.4: 1283 s against 891 s.
    """
    checks.close("1283/891 − 1 [%]", 100 * (1283 / 891 - 1), 44, atol=0.5, kind="published")


def check_copies_by_hand() -> None:
    """Copies start when no task is left, longest runner first, and never a second of one task.

    Source: four jobs worked out by hand.
    """
    older = run_with_copies([10.0, 10.0, 1.0], 3, [2.0, 20.0, 9.0])
    checks.equal("the first of two to be copied", [older.makespan, older.busy], [10.0, 23.0])
    slow = run_with_copies([5.0, 1.0, 8.0], 2, [1.0, 1.0, 2.0])
    checks.equal("a copy when a worker is free", [slow.makespan, slow.busy], [7.0, 14.0])
    checks.equal("as good as none", run_with_copies([3.0], 4, [9.0]), Outcome(3.0, 6.0))
    checks.equal("nothing to copy", run_with_copies([1.0] * 6, 3, [1.0] * 6), Outcome(2.0, 6.0))


def check_bad_input_is_refused() -> None:
    """Tasks without duration, copies of other tasks and shares above 1 name the argument."""
    checks.raises("zero", run_with_copies, [0.0], 1, match="first must be positive")
    checks.raises("other", run_with_copies, [1.0], 1, [1.0, 1.0], match="second must be as long")
    checks.raises("NaN", run_with_copies, [1.0], 1, [math.nan], match="second must be positive")
    checks.raises(
        "m = 0", mean_makespan, 1, 0, copies=True, match="machines must be a positive integer"
    )
    rng = np.random.default_rng(0)
    checks.raises(
        "share", simulate_makespan, rng, 1, 1, 1.5, 2.0, copies=True, match="slow_share must be in"
    )
