"""Many independent scenarios on many workers: how large a task must be, and how many workers the
work can use.

N scenarios of w seconds go out in N/k tasks of k each. One process hands them out and collects
them, d seconds a task, and W workers do them. If nothing overlaps, that takes N·d/k + N·w/W, of
which the overhead is the share W·d/(W·d + k·w): below ε for k ≥ W·d·(1−ε)/(ε·w). The last task may
keep the others waiting for s·k·w·(1−1/W), s being the longest task's work over the mean: less than
a share ε for k ≤ ε·N/(s·(W−1)). Both limits meet where W(W−1) = ε²·N·w/((1−ε)·s·d), the most
workers that the work can use.

Assumes: independent scenarios; workers of one speed; w measured while all cores are busy; the
overhead of a task does not depend on its size.

Source: Graham (1966) for the last task; Chan, Golub and LeVeque (1982) for merging moments; NumPy
documentation, parallel random number generation.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
)

RECORD = "scale_out"
GOAL = 0.05  # share of the workers' time that overhead may take, and waiting at the end
MILLION = 1_000_000  # scenarios of the worked example
SPREAD = 3.0  # its longest task over the mean
KINDS = {"threads": ("threads", "C2"), "processes": ("processes", "C0"), "dask": ("Dask", "C1")}


def place_rng(seed: int, place: int) -> np.random.Generator:
    """The random numbers of one scenario, whoever runs it, when, and beside which others.

    seed: of the sweep. place: of the scenario, from 0. Raises ValueError unless both are whole
    numbers from 0.

    >>> child = np.random.SeedSequence(7).spawn(4)[3]
    >>> bool(place_rng(7, 3).random() == np.random.default_rng(child).random())
    True
    """
    seed, place = as_number(seed=seed, place=place)
    for name, value in (("seed", seed), ("place", place)):
        require(value % 1 == 0 and value >= 0, name, "a whole number from 0", value)
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=(int(place),)))


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations: what a task returns in place of its sample."""

    count: int
    mean: float
    squares: float

    def merged(self, other: Self) -> Self:
        """The moments of both samples together."""
        count = self.count + other.count
        step = other.mean - self.mean
        mean = self.mean + step * other.count / count
        squares = self.squares + other.squares + step**2 * self.count * other.count / count
        return type(self)(count, mean, squares)

    def standard_error(self) -> float:
        """Of the mean, for independent observations; at least two."""
        require(self.count >= 2, "count", "at least 2", self.count)
        return math.sqrt(self.squares / (self.count - 1) / self.count)


def sample_moments(values: npt.ArrayLike) -> Moments:
    """Moments of a sample.

    values: finite, shape (n,), n ≥ 1. Raises ValueError on anything else.

    >>> first, second = sample_moments([1.0, 2.0]), sample_moments([6.0])
    >>> first.merged(second), sample_moments([1.0, 2.0, 6.0])
    (Moments(count=3, mean=3.0, squares=14.0), Moments(count=3, mean=3.0, squares=14.0))
    """
    sample = as_floats(values=values)
    require(sample.ndim == 1 and sample.size > 0, "values", "non-empty (n,)", sample.shape)
    require_all_finite(values=sample)
    mean = float(sample.mean())
    return Moments(sample.size, mean, float(((sample - mean) ** 2).sum()))


def chunk_limits(
    items: int,
    item_s: float,
    workers: int,
    dispatch_s: float,
    share: float = 0.05,
    spread: float = 1.0,
) -> tuple[int, int]:
    """Fewest and most scenarios in a task for which neither overhead nor the wait for the last task
    takes more than a share of the workers' time.

    items: N. item_s: w, of one scenario [s]. workers: W. dispatch_s: d, of the process that hands
    out the tasks, each [s]. share: ε in (0, 1). spread: s ≥ 1, work of the longest task over the
    mean. When the first exceeds the second, the work is too little for so many workers. Raises
    ValueError outside these ranges.

    >>> chunk_limits(10_000, item_s=0.01, workers=5, dispatch_s=0.001)  # 0.095 s, and 1.25 s
    (10, 125)
    """
    spread = as_number(spread=spread)
    items, workers = require_positive_integer(items=items, workers=workers)
    item_s = require_positive(item_s=item_s)
    dispatch_s = require_non_negative(dispatch_s=dispatch_s)
    share = require_in("(0, 1)", share=share)
    require(1 <= spread < math.inf, "spread", "finite and at least 1", spread)
    least = workers * dispatch_s * (1 - share) / (share * item_s)
    most = share * items / (spread * (workers - 1)) if workers > 1 else items
    return max(1, math.ceil(least)), max(1, math.floor(min(most, items)))


def most_workers(
    items: int, item_s: float, dispatch_s: float, share: float = 0.05, spread: float = 1.0
) -> int:
    """How many workers lose no more than a share to overhead or the last task, whatever the order:
    the largest W with W(W−1) ≤ ε²·N·w/((1−ε)·s·d). Equal tasks, one a worker, can use more.

    Arguments as for `chunk_limits`, with dispatch_s positive. Raises ValueError outside these
    ranges.

    >>> most_workers(11_400, item_s=0.02, dispatch_s=0.01)  # W(W−1) ≤ 60
    8
    """
    spread = as_number(spread=spread)
    items = require_positive_integer(items=items)
    item_s, dispatch_s = require_positive(item_s=item_s, dispatch_s=dispatch_s)
    share = require_in("(0, 1)", share=share)
    require(1 <= spread < math.inf, "spread", "finite and at least 1", spread)
    product = share**2 * items * item_s / ((1 - share) * spread * dispatch_s)
    return max(1, math.floor((1 + math.sqrt(1 + 4 * product)) / 2 + 1e-9))


def simulate_chunk(seed: int, first: int, last: int, customers: int = 200) -> Moments:
    """What a task of a sweep does: scenarios from one place to another, each with its own random
    numbers, and their moments back. The scenario is the mean wait of a queue that opens empty, 80%
    busy, in service times.

    seed: of the sweep. first, last: places, first < last. customers: of a scenario. Raises
    ValueError outside these ranges.

    >>> simulate_chunk(0, 0, 3) == simulate_chunk(0, 0, 3), simulate_chunk(0, 0, 3).count
    (True, 3)
    """
    first = as_number(first=first)
    last, customers = require_positive_integer(last=last, customers=customers)
    require(0 <= first < last, "first", f"from 0 and below last = {last}", first)
    require(last - first <= 1e6, "last", "at most a million after first", last)
    require_work(200 * last, last=last)
    customers = require_in("[1, 1e8]", customers=customers)
    means = []
    for place in range(first, last):
        rng = place_rng(seed, place)
        arrivals = np.cumsum(rng.exponential(1.25, customers))
        means.append(float(fifo_waits(arrivals, rng.exponential(1.0, customers)).mean()))
    return sample_moments(means)


@functools.cache
def _record() -> dict[str, Any]:
    """What was measured."""
    return read_record(RECORD)


def _empty_s(kind: str, workers: int) -> float:
    """Measured time of a task without work [s]."""
    return float(_record()["empty_s"][kind][str(workers)])


def _one_each_workers(item_s: float, dispatch_s: float) -> int:
    """The most workers that lose no more than the goal where a task is one scenario."""
    return math.floor(GOAL * item_s / ((1 - GOAL) * dispatch_s))


def _recorded(kind: str) -> tuple[list[float], list[float]]:
    """Of the record's tasks, shortest first, the time inside one [s], and the share of the workers'
    time that was not spent inside."""
    rows = [row for row in _record()["cells"] if row["kind"] == kind]
    inside_s = [row["inside_s"] / row["tasks"] for row in rows]
    return inside_s, [1 - row["inside_s"] / (_record()["workers"] * row["wall_s"]) for row in rows]


def _equal_workers(items: int, item_s: float, dispatch_s: float) -> int:
    """The same where every worker gets one task of equal scenarios, W²·d ≤ ε·N·w/(1−ε)."""
    return math.isqrt(int(GOAL * items * item_s / ((1 - GOAL) * dispatch_s)))


def _busy_question_s() -> float:
    """A question of the planner on a core of a machine whose cores are all busy [s]."""
    planner = _record()["planner"]
    return float(planner["question_s"]) / float(_record()["efficiency"])


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    record = _record()
    planner, workers = record["planner"], int(record["workers"])
    dask_s, question = _empty_s("dask", workers), _busy_question_s()
    empty = {kind: 1e6 * _empty_s(kind, workers) for kind in KINDS}
    task_ms = {kind: 1e3 * workers * _empty_s(kind, workers) * (1 - GOAL) / GOAL for kind in KINDS}
    rates = {
        kind: max(row["items"] / row["wall_s"] for row in record["cells"] if row["kind"] == kind)
        for kind in ("none", *KINDS)
    }
    short_s, lost = _recorded("threads")
    return SimpleNamespace(
        measured_on=record["date"],
        measured_python=record["versions"]["python"],
        measured_dask=record["versions"]["distributed"],
        measured_system=f"{record['machine']['system']} on {record['machine']['architecture']}",
        workers=workers,
        question_s=planner["question_s"],
        question_requests=planner["requests"],
        ten_thousand_h=10_000 * planner["question_s"] / 3600,
        million_days=MILLION * planner["question_s"] / 86_400,
        sixteen_days=MILLION
        * _busy_question_s()
        / 16
        / 86_400,  # a million questions on sixteen cores
        empty_threads_us=empty["threads"],  # with all workers
        empty_processes_us=empty["processes"],
        empty_dask_us=empty["dask"],
        task_threads_ms=task_ms["threads"],  # for overhead of 5%, with all workers
        task_processes_ms=task_ms["processes"],
        task_dask_ms=task_ms["dask"],
        short_task_ms=1e3 * short_s[1],
        short_lost_percent=100 * lost[1],
        efficiency_percent=100 * record["efficiency"],
        rate_none=rates["none"],  # scenarios a second, the largest chunk
        rate_threads=rates["threads"],
        rate_processes=rates["processes"],
        rate_dask=rates["dask"],
        question_spread=SPREAD,
        most_workers=most_workers(MILLION, question, dask_s, GOAL, SPREAD),
        few_workers_cheap=most_workers(10_000, 0.001, dask_s, GOAL),  # scenarios of one length
        equal_workers=_equal_workers(10_000, 0.001, dask_s),
        one_each_workers=_one_each_workers(question, dask_s),
    )


def figure_overhead(figure: Figure) -> None:
    """On every executor overhead falls as tasks last longer; on threads tasks may be shortest, and
    on Dask they have to be longest.

    Points: share of the workers' time that was not spent inside tasks, recorded for tasks of one
    scenario to a thousand. Curves: W·d/(W·d + task), computed from the time of tasks without work;
    points lie above them by the wait for the last tasks and by whatever else the machine did.

    Alt: Share of overhead against the length of a task on logarithmic axes, from 0.05 ms to more
    than a second. Three falling curves with points about them, threads lowest, then processes, then
    Dask. A dashed line marks 5 percent.
    """
    axes = figure.subplots()
    workers = int(_record()["workers"])
    lengths = np.geomspace(5e-5, 3.0, 60)
    for kind, (name, colour) in KINDS.items():
        handing = workers * _empty_s(kind, workers)
        axes.plot(1e3 * lengths, handing / (handing + lengths), color=colour, label=name)
        inside_s, share = _recorded(kind)
        axes.plot(np.multiply(1e3, inside_s), share, "o", color=colour, markersize=5)
    axes.axhline(GOAL, color="C4", linestyle="--")
    axes.annotate("5%", (2500, GOAL * 1.1), color="C4", ha="right")
    axes.legend(loc="lower left", reverse=True)
    axes.set(xscale="log", yscale="log", xlim=(0.04, 3500), ylim=(1e-3, 1.3))
    axes.set_yticks([0.001, 0.01, 0.1, 1], ["0.1%", "1%", "10%", "100%"])
    axes.set_xticks([0.1, 1, 10, 100, 1000], ["0.1", "1", "10", "100", "1,000"])
    axes.minorticks_off()
    axes.set(xlabel="work of a task [ms]", ylabel="overhead [share of the workers' time]")


def check_places_have_their_own_numbers() -> None:
    """The random numbers of a place are those of NumPy's spawned child, so that no two places of
    two sweeps share them; with seed plus place, two sweeps share nearly all.

    Source: `SeedSequence.spawn`; NumPy's warning against adding the worker's number to the seed.
    """
    spawned = [
        np.random.default_rng(child).random() for child in np.random.SeedSequence(5).spawn(3)
    ]
    by_place = [place_rng(5, place).random() for place in range(3)]
    checks.equal("as spawned", by_place == spawned, True)
    firsts = {
        (seed, place): place_rng(seed, place).random() for seed in (0, 1) for place in range(50)
    }
    checks.equal("different streams of two sweeps of 50", len(set(firsts.values())), 100)
    added = {np.random.default_rng(seed + place).random() for seed in (0, 1) for place in range(50)}
    checks.equal("different streams of seed + place", len(added), 51)


def check_chunks_and_order() -> None:
    """Chunks of one size, done in any order and merged in the order of places, give the same
    moments to the bit; chunks of different sizes agree up to rounding.

    Source: the sample in one piece; chunks done in reverse.
    """
    whole = simulate_chunk(3, 0, 60)
    for size in (7, 20):
        spans = [(first, min(first + size, 60)) for first in range(0, 60, size)]
        done = {span: simulate_chunk(3, *span) for span in spans}
        backwards = {span: simulate_chunk(3, *span) for span in reversed(spans)}
        merged = functools.reduce(Moments.merged, [done[span] for span in spans])
        again = functools.reduce(Moments.merged, [backwards[span] for span in spans])
        checks.equal(f"chunks of {size}, in another order, the same", merged == again, True)
        checks.close(f"mean, chunks of {size}", merged.mean, whole.mean, rtol=1e-13)
        checks.close(f"squares, chunks of {size}", merged.squares, whole.squares, rtol=1e-12)


def check_chunk_limits() -> None:
    """With the smallest chunk the overhead is 5%, with the largest chunk the wait for the last task
    is, and at the largest number of workers the two chunks are the same. Up to some number of
    workers tasks of one scenario are long enough, and for one worker more they are not; the same
    holds for one equal task to each worker.

    Source: the time with nothing overlapped, computed term by term.
    """
    items, item_s, dispatch_s = MILLION, 0.3, 0.006
    least, most = chunk_limits(items, item_s, 100, dispatch_s, GOAL, SPREAD)
    handing, work = items / least * dispatch_s, items * item_s / 100
    checks.close("overhead at the least", handing / (handing + work), GOAL, rtol=0.02)
    wait = 0.99 * SPREAD * most * item_s
    checks.close("waiting at the most", wait / work, GOAL, rtol=0.02)
    end = most_workers(items, item_s, dispatch_s, GOAL, SPREAD)
    least, most = chunk_limits(items, item_s, end, dispatch_s, GOAL, SPREAD)
    checks.close("limits at the most workers", least, most, atol=2)
    ones = _one_each_workers(_busy_question_s(), _empty_s("dask", 2))
    for workers, chunk in ((ones, 1), (ones + 1, 2)):
        found, _ = chunk_limits(items, _busy_question_s(), workers, _empty_s("dask", 2))
        checks.equal(f"least, {workers} workers", found, chunk)
    once = _equal_workers(10_000, 0.001, dispatch_s)
    for workers, enough in ((once, True), (once + 1, False)):
        own_s = 10_000 * 0.001 / workers
        lost = 1 - own_s / (sum([dispatch_s] * workers) + own_s)  # of the last that gets its task
        label = f"{workers} workers, one task each: {100 * lost:.2f}% lost"
        checks.equal(label, lost <= GOAL, enough)


def check_recorded_overhead() -> None:
    """The longest tasks have less overhead than the shortest on every executor, a task costs least
    on threads and most on Dask, and all executors gave the same answers to the bit.

    Source: the record.
    """
    record, workers = _record(), int(_record()["workers"])
    empty = [_empty_s(kind, workers) for kind in KINDS]
    checks.holds("threads, processes, Dask", bool(np.all(np.diff(empty) > 0)), got=empty)
    for kind in KINDS:
        _, shares = _recorded(kind)
        checks.holds(f"{kind}: least of the longest tasks", shares[-1] < shares[0], got=shares)
    checks.equal("same moments", len(set(record["digests"].values())), 1)
    checks.equal("same plans", len(set(record["planner"]["digests"].values())), 1)
