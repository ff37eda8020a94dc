"""Very long queues without a loop over customers: time itself is cut into parallel lanes.

A block of customers is an array of shape (rows, lanes), numbered down the columns, so that one
numpy call on a row moves every lane one customer on. With one server a lane that starts with wait
w has W_n = C_n − min(M_n, −w), where C is the running sum of the increments and M its running
minimum: all lanes are walked from w = 0 and stitched afterwards. With several servers every lane
starts as if nobody were there, and is walked again from where the lane before it ended, but only
until both walks have the same state: from there on they are the same.

Assumes: one queue, first come first served, no abandonment, identical servers.

Source: Lindley (1952) for one server; Kiefer and Wolfowitz (1955) for several; Heidelberger and
Stone (1990) for pieces of time simulated side by side from a guessed state, and corrected by
simulating a little of each again.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_in,
    require_non_negative,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MARK_EVERY = 32  # rows between two comparisons with the walk before
ROWS_PER_SERVER = 128  # rows of a log: lanes must be longer than the memory of the queue
FEWEST_LANES, MOST_LANES = 32, 512  # of a log: with fewer it is left to the heap
SHAPE_ONE = (256, 1024)  # of a block of a long run with one server: 2 MiB an array
SHAPE_MANY = (512, 512)  # with several: longer lanes, of which a smaller share is walked twice


def _running(operation: np.ufunc, rows: FloatArray) -> None:
    """Replace each row by the operation on it and all rows before it.

    `operation.accumulate(rows, axis=0)` does the same one column at a time.
    """
    for before, row in itertools.pairwise(rows):
        operation(before, row, out=row)


def lindley_loop(increments: npt.ArrayLike, wait: float = 0.0) -> FloatArray:
    """Waits with one server, one customer after the other: W ← max(0, W + x).

    increments: x, the service time of the customer before less the gap to it [s], shape (n,).
    wait: of the customer before the first [s], ≥ 0. Returns n waits [s]. Raises ValueError on
    anything else.

    >>> lindley_loop([1.0, -0.5, -2.0, 0.25]).tolist()
    [1.0, 0.5, 0.0, 0.25]
    """
    steps = as_floats(increments=increments)
    require(steps.ndim == 1 and steps.size > 0, "increments", "non-empty (n,)", steps.shape)
    require_all_finite(increments=steps)
    wait = require_non_negative(wait=wait)
    waits = []
    for step in steps.tolist():
        wait = max(0.0, wait + step)
        waits.append(wait)
    return np.array(waits)


def lindley_lanes(
    increments: FloatArray, wait: float = 0.0, scratch: FloatArray | None = None
) -> float:
    """Replace increments by waits, in place, all lanes at once; returns the last wait [s].

    increments: as for `lindley_loop`, shape (rows, lanes), in order of time down the columns.
    wait: of the customer before the first [s], ≥ 0. scratch: an array of the same shape to
    overwrite; made when absent. Raises ValueError on another shape or increments not finite.

    >>> block = np.array([[1.0, -2.0], [-0.5, 0.25]])  # time goes 1.0, -0.5, -2.0, 0.25
    >>> lindley_lanes(block), block.tolist()
    (0.25, [[1.0, 0.0], [0.5, 0.25]])
    """
    kept = type(increments) is np.ndarray and increments.dtype == np.float64
    require(kept, "increments", "an array of float64, which is overwritten", type(increments))
    require(
        increments.ndim == 2 and increments.size > 0,
        "increments",
        "a non-empty (rows, lanes) array",
        increments.shape,
    )
    wait = require_non_negative(wait=wait)
    lowest = np.empty_like(increments) if scratch is None else scratch
    require(lowest.shape == increments.shape, "scratch", f"{increments.shape}", lowest.shape)
    _running(np.add, increments)
    require_all_finite(increments=increments[-1])
    lowest[0] = increments[0]
    for before, row, low in zip(lowest[:-1], increments[1:], lowest[1:], strict=True):
        np.minimum(before, row, out=low)
    floors = np.empty(increments.shape[1])  # −w of each lane
    for lane, (total, low) in enumerate(
        zip(increments[-1].tolist(), lowest[-1].tolist(), strict=True)
    ):
        floors[lane] = -wait
        wait = total - min(low, -wait)
    np.minimum(lowest, floors, out=lowest)
    np.subtract(increments, lowest, out=increments)
    return wait


def _walk(
    arrivals: FloatArray,
    services: FloatArray,
    lanes: IntArray,
    free_at: FloatArray,
    waits: FloatArray,
    marks: FloatArray,
) -> IntArray:
    """Walk these lanes from the states `free_at`, each until it meets what the last walk left in
    `marks`, and write waits and marks. Returns the lanes that never met it."""
    everything = lanes.size == arrivals.shape[1]
    for number, mark in enumerate(marks):
        rows = slice(number * MARK_EVERY, (number + 1) * MARK_EVERY)
        chosen = slice(None) if everything else lanes
        came, took, waited = arrivals[rows, chosen], services[rows, chosen], waits[rows, chosen]
        done, later = np.empty_like(free_at[0]), np.empty_like(free_at[1:])
        for arrival, service, wait in zip(came, took, waited, strict=True):
            np.maximum(arrival, free_at[0], out=done)
            np.subtract(done, arrival, out=wait)
            np.add(done, service, out=done)
            np.maximum(free_at[:-1], done, out=later)  # insert `done` among the sorted others
            np.maximum(free_at[-1], done, out=done)
            np.minimum(later, free_at[1:], out=free_at[:-1])
            free_at[-1] = done
        waits[rows, chosen] = waited
        np.maximum(free_at, came[-1], out=free_at)  # idle is idle, no matter since when
        differ = (free_at != mark[:, chosen]).any(axis=0)
        mark[:, chosen] = free_at
        if not differ.all():
            lanes, free_at, everything = lanes[differ], free_at[:, differ], False
        if not lanes.size:
            break
    return lanes


def kiefer_wolfowitz_lanes(
    arrivals: FloatArray,
    services: FloatArray,
    free_at: FloatArray,
    waits: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Waits with several servers, all lanes at once, equal to the loop over customers to the bit.

    arrivals, services: times of arrival and durations [s], shape (rows, lanes), in order of time
    down the columns. free_at: when each of the c servers becomes free [s], sorted, −inf for never
    used. waits: an array of the shape of arrivals to overwrite; made when absent. Returns the
    waits and the servers' times after the last customer (not before its arrival, which changes
    nothing). Raises ValueError on other shapes or values.

    >>> came, took = np.array([[0.0, 2.0], [1.0, 2.5]]), np.array([[3.0, 1.0], [5.0, 1.0]])
    >>> waits, free_at = kiefer_wolfowitz_lanes(came, took, np.array([-np.inf, -np.inf]))
    >>> waits.tolist(), free_at.tolist()  # time goes 0.0, 1.0, 2.0, 2.5
    ([[0.0, 1.0], [0.0, 1.5]], [5.0, 6.0])
    """
    arrivals, services = as_floats(arrivals=arrivals), as_floats(services=services)
    free_at = as_floats(free_at=free_at)
    shape = arrivals.shape
    require(len(shape) == 2 and arrivals.size > 0, "arrivals", "non-empty (rows, lanes)", shape)
    in_order = np.all(arrivals[1:] >= arrivals[:-1])
    in_order &= np.all(arrivals[0, 1:] >= arrivals[-1, :-1])
    in_order &= np.isfinite(arrivals[0, 0]) & np.isfinite(arrivals[-1, -1])
    require(in_order, "arrivals", "finite, sorted down the columns", arrivals)
    require(services.shape == shape, "services", f"of shape {shape}", services.shape)
    positive = np.all((services >= 0) & (services < math.inf))
    require(positive, "services", "non-negative and finite", services)
    sorted_up = free_at.ndim == 1 and free_at.size > 0 and bool(np.all(free_at[:-1] <= free_at[1:]))
    sorted_up = sorted_up and bool(free_at[-1] < math.inf)
    require(sorted_up, "free_at", "of shape (c,), sorted, below infinity", free_at)
    waits = np.empty(shape) if waits is None else waits
    require(waits.shape == shape, "waits", f"of shape {shape}", waits.shape)
    marks = np.full((math.ceil(shape[0] / MARK_EVERY), free_at.size, shape[1]), np.nan)
    lanes, states = np.arange(shape[1]), np.full((free_at.size, shape[1]), -np.inf)
    states[:, 0] = free_at
    while lanes.size:
        ended_elsewhere = _walk(arrivals, services, lanes, states, waits, marks)
        lanes = ended_elsewhere[ended_elsewhere < shape[1] - 1] + 1
        states = marks[-1][:, lanes - 1]
    return waits, marks[-1][:, -1].copy()


def fast_waits(
    arrival_times: npt.ArrayLike, service_times: npt.ArrayLike, servers: int = 1
) -> FloatArray:
    """The waits of `fifo_waits` for a log of any length: to the bit with several servers.

    arrival_times: sorted times [s], shape (n,). service_times: durations [s], non-negative, shape
    (n,). servers: number of identical servers. One server, and logs of fewer than 4,096 customers a
    server, are left to `fifo_waits`. Returns the waits [s], shape (n,). Raises ValueError on other
    input.

    >>> fast_waits([0, 1, 2.5, 3, 3.2, 8], [2, 1, 1, 0.5, 1, 1], servers=2).round(9).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.3, 0.0]
    """
    arrivals, services = (
        as_floats(arrival_times=arrival_times),
        as_floats(service_times=service_times),
    )
    require(arrivals.ndim == 1, "arrival_times", "of shape (n,)", arrivals.shape)
    servers = require_positive_integer(servers=servers)
    require_work(servers, servers=servers)
    lanes = min(MOST_LANES, arrivals.size // (ROWS_PER_SERVER * int(servers)))
    if servers == 1 or lanes < FEWEST_LANES or services.shape != arrivals.shape:
        return fifo_waits(arrivals, services, servers)
    missing = np.zeros(-arrivals.size % lanes)  # customers of no work behind the last
    came, took = (
        np.ascontiguousarray(np.append(values, missing + last).reshape(lanes, -1).T)
        for values, last in ((arrivals, arrivals[-1]), (services, 0.0))
    )
    waits, _ = kiefer_wolfowitz_lanes(came, took, np.full(int(servers), -np.inf))
    return waits.T.ravel()[: arrivals.size]


def _draw(rng: np.random.Generator, mean: float, scv: float, out: FloatArray) -> None:
    """Fill an array with gamma times of this mean and squared coefficient of variation."""
    if scv == 0:
        out.fill(mean)
    elif scv == 1:
        rng.standard_exponential(out=out)
        np.multiply(out, mean, out=out)
    else:
        rng.standard_gamma(1 / scv, out=out)
        np.multiply(out, mean * scv, out=out)


def long_run_means(
    rng: np.random.Generator,
    utilization: float,
    blocks: int,
    *,
    servers: int = 1,
    arrival_scv: float = 1.0,
    service_scv: float = 1.0,
    shape: tuple[int, int] | None = None,
) -> FloatArray:
    """Mean wait in each block of one long run of a G/G/c queue that starts empty, in mean service
    times, in memory that does not grow with the run.

    utilization: ρ in (0, 1). blocks: how many, one after the other. servers: c. arrival_scv,
    service_scv: squared coefficients of variation of gamma times, ≥ 0. shape: rows and lanes of a
    block; by default 262,144 customers. Returns shape (blocks,): drop the first, and give the rest
    to `batch_means`. Raises ValueError outside these ranges.

    >>> long_run_means(np.random.default_rng(0), 0.5, 2, arrival_scv=0, service_scv=0).tolist()
    [0.0, 0.0]
    """
    blocks, servers, arrival_scv, service_scv = as_number(
        blocks=blocks, servers=servers, arrival_scv=arrival_scv, service_scv=service_scv
    )
    utilization = require_in("(0, 1)", utilization=utilization)
    for name, count in (("blocks", blocks), ("servers", servers)):
        require(count % 1 == 0 and count >= 1, name, "a positive integer", count)
    for name, scv in (("arrival_scv", arrival_scv), ("service_scv", service_scv)):
        require(0 <= scv < math.inf, name, "non-negative and finite", scv)
    size = shape or (SHAPE_ONE if servers == 1 else SHAPE_MANY)
    require(len(size) == 2 and min(size) >= 1, "shape", "two positive integers", size)
    require_work(blocks * size[0] * size[1] * servers / 20, blocks=blocks, servers=servers)
    gaps, services, waits = np.empty(size), np.empty(size), np.empty(size)
    means, wait, clock, free_at = np.empty(int(blocks)), 0.0, 0.0, np.full(int(servers), -np.inf)
    for block in range(means.size):
        _draw(rng, 1 / (utilization * servers), arrival_scv, gaps)
        _draw(rng, 1.0, service_scv, services)
        if servers == 1:
            np.subtract(services, gaps, out=services)
            wait = lindley_lanes(services, wait, waits)
            means[block] = services.mean()
            continue
        _running(np.add, gaps)
        starts = np.cumsum(np.append(clock, gaps[-1]))
        np.add(gaps, starts[:-1], out=gaps)
        clock = float(starts[-1])
        free_at = kiefer_wolfowitz_lanes(gaps, services, free_at, waits)[1]
        means[block] = waits.mean()
    return means


def _block(
    seed: int, shape: tuple[int, int], servers: int, utilization: float, scv: float
) -> tuple[FloatArray, FloatArray]:
    """Poisson arrivals and gamma services of a block, and the same in order of time."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / (utilization * servers), math.prod(shape)))
    services = np.empty(arrivals.size)
    _draw(rng, 1.0, scv, services)
    return arrivals, services


def _lanes_of(values: FloatArray, rows: int) -> FloatArray:
    """A log as a block."""
    return np.ascontiguousarray(values.reshape(-1, rows).T)


def check_lindley_lanes() -> None:
    """Stitched lanes give the waits of the loop, also when the first customer finds others.

    Source: Lindley's recursion, one customer after the other, and by hand.
    """
    block = np.array([[1.0, -2.0], [-0.5, 0.25]])
    checks.close("last wait by hand", lindley_lanes(block), 0.25)
    checks.close("waits by hand", block.T.ravel(), [1.0, 0.5, 0.0, 0.25])
    arrivals, services = _block(1, (200, 100), 1, 0.9, 4.0)
    steps = services - np.diff(arrivals, prepend=0)
    for wait in (0.0, 300.0):
        lanes = _lanes_of(steps, 200)
        last = lindley_lanes(lanes, wait)
        loop = lindley_loop(steps, wait)
        worst = np.abs(lanes.T.ravel() - loop).max()
        checks.close(f"largest difference from {wait:g} s", worst, 0.0, atol=1e-10)
        checks.close(f"last wait from {wait:g} s", last, loop[-1], atol=1e-10)


def check_kiefer_wolfowitz_lanes() -> None:
    """Lanes that start empty and are corrected give the waits of the loop to the bit: constant,
    exponential and bursty services, at 50%, 80% and 95% busy, over two blocks.

    Source: `fifo_waits`, a heap, one customer after the other.
    """
    for servers, utilization, scv in ((2, 0.8, 1.0), (8, 0.5, 0.0), (8, 0.95, 1.0), (3, 0.8, 4.0)):
        arrivals, services = _block(servers, (128, 96), servers, utilization, scv)
        half, free_at, waits = arrivals.size // 2, np.full(servers, -np.inf), []
        for part in (slice(0, half), slice(half, None)):
            came, took = _lanes_of(arrivals[part], 128), _lanes_of(services[part], 128)
            block, free_at = kiefer_wolfowitz_lanes(came, took, free_at)
            waits.append(block.T.ravel())
        exact = fifo_waits(arrivals, services, servers)
        different = int((np.concatenate(waits) != exact).sum())
        label = f"c = {servers}, {utilization:.0%} busy, C² = {scv:g}: waits that differ"
        checks.equal(label, different, 0)


def check_fast_waits() -> None:
    """A log of any length, cut into lanes with customers of no work at the end, has the waits of
    the loop to the bit.

    Source: `fifo_waits`.
    """
    arrivals, services = _block(5, (1, 30_001), 2, 0.9, 1.0)
    got, exact = fast_waits(arrivals, services, 2), fifo_waits(arrivals, services, 2)
    checks.equal("waits", got.size, exact.size)
    checks.equal("waits that differ", int((got != exact).sum()), 0)


def check_long_runs() -> None:
    """Twelve million customers of M/M/1 and one and a half of M/M/8 wait what the formulas say.

    Source: ρ/(1 − ρ) at 80% busy; Erlang C, C(8, 5.6)/(8 − 5.6), at 70%; standard error of the
    run's own batch means.
    """
    one = long_run_means(np.random.default_rng(11), 0.8, 65, shape=(256, 720))
    checks.covers("M/M/1 [service times]", batch_means(one[1:]), 4.0)
    eight = long_run_means(np.random.default_rng(13), 0.7, 65, servers=8, shape=(128, 180))
    terms = [5.6**k / math.factorial(k) for k in range(8)]
    queue = 5.6**8 / math.factorial(8) / 0.3
    exact = queue / (sum(terms) + queue) / 2.4
    checks.covers("M/M/8 [service times]", batch_means(eight[1:]), exact)
