"""When the last of many jobs ends on equal machines: list scheduling, its bounds and the optimum.

Whenever a machine is free it takes the next job of a list. Whatever the order, the last one ends
within 2 − 1/m of the best possible time on m machines, and with the longest first within
4/3 − 1/(3m).

Assumes: identical machines, independent jobs that are not interrupted, all there at the start.

Source: Graham (1966) and (1969) for the bounds and the instances that attain them.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_all_non_negative,
    require_positive_integer,
    require_work,
)


@dataclass(frozen=True)
class Schedule:
    """Machine, start and end of each job, in the order in which the jobs were given."""

    machine: npt.NDArray[np.int64]
    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]

    @property
    def makespan(self) -> float:
        """When the last job ends."""
        return float(self.end.max())


def list_schedule(
    durations: npt.ArrayLike,
    machines: int,
    *,
    order: npt.ArrayLike | None = None,
    ready: npt.ArrayLike | None = None,
) -> Schedule:
    """What happens when every machine, whenever it is free, takes the next job of a list.

    durations: shape (n,), n ≥ 1, non-negative. machines: m ≥ 1. order: a permutation of 0 … n−1,
    as given by default. ready: shape (m,), when each machine becomes free, 0 by default; of several
    free machines the first takes the job. Raises ValueError outside this.

    >>> plan = list_schedule([3.0, 1.0, 1.0, 2.0], machines=2)
    >>> plan.machine.tolist(), plan.start.tolist(), plan.makespan
    ([0, 1, 1, 1], [0.0, 0.0, 1.0, 2.0], 4.0)
    """
    times = as_floats(durations=durations)
    require(times.ndim == 1 and times.size > 0, "durations", "non-empty (n,)", times.shape)
    require_all_non_negative(durations=times)
    machines = require_positive_integer(machines=machines)
    require_work(machines, machines=machines)
    turns = np.arange(times.size) if order is None else np.asarray(order)
    complete = np.array_equal(np.sort(turns), np.arange(times.size))
    require(complete, "order", f"a permutation of 0 … {times.size - 1}", turns)
    free_at = np.zeros(int(machines)) if ready is None else as_floats(ready=ready)
    require(free_at.shape == (machines,), "ready", f"of shape ({machines},)", free_at.shape)
    require_all_finite(ready=free_at)
    free = [(float(time), number) for number, time in enumerate(free_at)]
    heapq.heapify(free)
    machine, start = np.zeros(times.size, dtype=np.int64), np.zeros(times.size)
    for job in turns.tolist():
        start[job], machine[job] = free[0]
        heapq.heapreplace(free, (float(start[job] + times[job]), int(machine[job])))
    return Schedule(machine, start, start + times)


def lpt_schedule(durations: npt.ArrayLike, machines: int) -> Schedule:
    """The list schedule with the longest job first (LPT); equal jobs keep their order.

    Arguments and errors as for `list_schedule`.

    >>> lpt_schedule([3.0, 1.0, 1.0, 2.0], machines=2).makespan
    4.0
    """
    machines = as_number(machines=machines)
    require_work(machines, machines=machines)
    times = as_floats(durations=durations)
    require(times.ndim == 1, "durations", "non-empty (n,)", times.shape)
    return list_schedule(times, machines, order=np.argsort(-times, kind="stable"))


def makespan_floor(durations: npt.ArrayLike, machines: int) -> float:
    """A time below which no schedule of these jobs on m machines can end.

    The largest of the work per machine, the longest job, and for each k the k+1 shortest of the
    km+1 longest jobs, because some machine gets k+1 of these. Arguments as for `list_schedule`.
    Raises ValueError as it does.

    >>> makespan_floor([2.0, 2.0, 2.0], machines=2)
    4.0
    """
    times = as_floats(durations=durations)
    require(times.ndim == 1 and times.size > 0, "durations", "non-empty (n,)", times.shape)
    require_all_non_negative(durations=times)
    machines = require_positive_integer(machines=machines)
    longest = np.sort(times)[::-1]
    together = [
        longest[k * machines - k : k * machines + 1].sum()
        for k in range(1, (times.size - 1) // machines + 1)
    ]
    return float(max(times.sum() / machines, longest[0], *together, 0.0))


def list_ratio(machines: int) -> float:
    """Graham's bound 2 − 1/m on the makespan of any list schedule over the best one.

    machines: m ≥ 1. Raises ValueError otherwise. Source: Graham (1966).

    >>> list_ratio(machines=4)
    1.75
    """
    machines = require_positive_integer(machines=machines)
    return 2 - 1 / machines


def lpt_ratio(machines: int) -> float:
    """Graham's bound 4/3 − 1/(3m) on the makespan with the longest job first over the best one.

    machines: m ≥ 1. Raises ValueError otherwise. Source: Graham (1969).

    >>> round(lpt_ratio(machines=2), 12) == round(7 / 6, 12)
    True
    """
    machines = require_positive_integer(machines=machines)
    return 4 / 3 - 1 / (3 * machines)


def optimal_makespan(durations: Sequence[float], machines: int) -> float:
    """The shortest possible makespan, by branch and bound; for small instances.

    Jobs are placed longest first, on each machine in turn, except where the machine is as loaded
    as one already tried or the result could not beat the best so far. durations: at most 20 jobs,
    else as for `list_schedule`. Raises ValueError as it does.

    >>> optimal_makespan([3.0, 3.0, 2.0, 2.0, 2.0], machines=2)
    6.0
    """
    machines = as_number(machines=machines)
    require_work(machines, machines=machines)
    require(len(durations) <= 20, "durations", "at most 20 jobs", len(durations))
    best = lpt_schedule(durations, machines).makespan
    floor = makespan_floor(durations, machines)
    jobs, loads = sorted((float(time) for time in durations), reverse=True), [0.0] * int(machines)

    def place(job: int) -> None:
        nonlocal best
        if job == len(jobs):
            best = max(loads)
            return
        for load in sorted(set(loads)):
            if load + jobs[job] >= best or best <= floor:
                break
            machine = loads.index(load)
            loads[machine] = load + jobs[job]
            place(job + 1)
            loads[machine] = load

    place(0)
    return best
