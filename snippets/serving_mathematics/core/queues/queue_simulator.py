"""First-come-first-served queues, simulated as arrays.

A single server needs no loop: with C_k the work brought by the first k customers and A_k the
arrival times, customer n waits W_n = max_{k≤n}(A_k − C_{k−1}) − (A_n − C_{n−1}), a running maximum.
Several servers keep their sorted times of becoming free. A simulated mean is reported with the
standard error of batch means, after a warm-up that MSER-5 chose, because successive waits are far
from independent.

Assumes: one queue, first come first served, no abandonment, identical servers.

Source: Lindley (1952) for one server; Kiefer and Wolfowitz (1955) for several; Asmussen and Glynn
(2007) for batch means; White (1997) and White, Cobb and Spratt (2000) for MSER-5.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_all_finite,
    require_all_non_negative,
    require_all_sorted,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_shape,
    require_work,
)

FloatArray = npt.NDArray[np.float64]

BATCHES = 32  # batches of a run, enough for a stable variance, few enough to be long


@dataclass(frozen=True)
class MeanEstimate:
    """A simulated mean, its standard error and the half-width of its 95% interval, in one unit."""

    mean: float
    standard_error: float
    half_width: float


def fifo_waits(
    arrival_times: npt.ArrayLike, service_times: npt.ArrayLike, servers: int = 1
) -> FloatArray:
    """Waiting time of every customer of a first-come-first-served queue that starts empty.

    arrival_times: sorted times [s], shape (n,), or (r, n) for r replications side by side.
    service_times: durations [s], non-negative, same shape.
    servers: number of identical servers.
    Returns the waits [s] in the same shape.
    Raises ValueError on empty, non-finite, unsorted or mismatched input.

    >>> fifo_waits([0, 1, 2.5, 3, 3.2, 8], [2, 1, 1, 0.5, 1, 1]).round(9).tolist()
    [0.0, 1.0, 0.5, 1.0, 1.3, 0.0]
    """
    arrivals, services = (
        as_floats(arrival_times=arrival_times),
        as_floats(service_times=service_times),
    )
    require(
        arrivals.ndim in (1, 2) and arrivals.size > 0,
        "arrival_times",
        "a non-empty (n,) or (r, n) array",
        arrivals.shape,
    )
    require_shape(arrivals.shape, service_times=services)
    require_all_sorted(arrival_times=arrivals)
    require_all_non_negative(service_times=services)
    servers = require_positive_integer(servers=servers)
    require_work(servers, servers=servers)
    if servers == 1:
        idle_credit = arrivals - (np.cumsum(services, axis=-1) - services)
        return np.asarray(np.maximum.accumulate(idle_credit, axis=-1) - idle_credit)
    if arrivals.ndim == 1:
        return _heap_waits(arrivals, services, int(servers))
    return _lane_waits(arrivals, services, int(servers))


def _heap_waits(arrivals: FloatArray, services: FloatArray, servers: int) -> FloatArray:
    """One replication: each customer takes the server that becomes free first."""
    free_at, starts = [-math.inf] * servers, []
    for arrival, service in zip(arrivals.tolist(), services.tolist(), strict=True):
        start = arrival if arrival > free_at[0] else free_at[0]
        starts.append(start)
        heapq.heapreplace(free_at, start + service)
    return np.array(starts) - arrivals


def _lane_waits(arrivals: FloatArray, services: FloatArray, servers: int) -> FloatArray:
    """Many replications in step: row j of `free_at` is each lane's (j+1)-th free server's time."""
    free_at = np.full((servers, arrivals.shape[0]), -np.inf)
    waits = np.empty_like(arrivals)
    for i in range(arrivals.shape[1]):
        start = np.maximum(arrivals[:, i], free_at[0])
        waits[:, i] = start - arrivals[:, i]
        done = start + services[:, i]
        free_at[:-1] = np.minimum(np.maximum(free_at[:-1], done), free_at[1:])
        free_at[-1] = np.maximum(free_at[-1], done)
    return waits


def gamma_times(
    rng: np.random.Generator, mean: float, scv: float, size: int | tuple[int, ...]
) -> FloatArray:
    """Independent positive durations with the given mean and squared coefficient of variation.

    mean: [s]. scv: variance over squared mean, ≥ 0; 0 gives constants, 1 the exponential.
    size: shape of the result, integers ≥ 0.
    Returns durations [s]. Raises ValueError outside these ranges.

    >>> gamma_times(np.random.default_rng(0), mean=2.0, scv=0.0, size=3).tolist()
    [2.0, 2.0, 2.0]
    """
    size = as_numbers(size=size)
    mean = require_positive(mean=mean)
    scv = require_non_negative(scv=scv)
    whole = all(0 <= n < math.inf and n % 1 == 0 for n in np.atleast_1d(size))
    require(whole, "size", "made of integers ≥ 0", size)
    shape = tuple(int(n) for n in np.atleast_1d(size))
    require_work(math.prod(shape), size=size)
    if scv == 0:
        return np.full(shape, float(mean))
    if scv == 1:
        return np.asarray(rng.exponential(mean, shape))
    return np.asarray(rng.gamma(1 / scv, mean * scv, shape))


def warm_up_length(series: npt.ArrayLike) -> int:
    """How many observations to discard from the start: the MSER-5 rule.

    series: observations in order, shape (n,), n ≥ 20. Averages of five are formed; the cut
    minimises the squared standard error of what is left, searched over the first half. A cut near
    n/2 means that the run is too short.
    Returns a multiple of 5. Raises ValueError on fewer than 20 or non-finite observations.
    Source: White (1997); averages of five from White, Cobb and Spratt (2000).

    >>> warm_up_length([9.0] * 10 + [1.0, 2.0] * 45)
    10
    """
    values = as_floats(series=series)
    require(
        values.ndim == 1 and values.size >= 20,
        "series",
        "at least 20 observations in one dimension",
        values.shape,
    )
    require_all_finite(series=values)
    fives = values[: values.size // 5 * 5].reshape(-1, 5).mean(axis=1)
    left = np.arange(fives.size, 0, -1)
    centred = fives - fives.mean()  # keeps the subtraction below from cancelling
    sums, squares = np.cumsum(centred[::-1])[::-1], np.cumsum(centred[::-1] ** 2)[::-1]
    squared_error = (squares - sums**2 / left) / left**2
    return 5 * int(np.argmin(squared_error[: fives.size // 2]))


def batch_means(series: npt.ArrayLike) -> MeanEstimate:
    """Mean of a correlated series with a 95% confidence interval from BATCHES consecutive batches.

    series: observations after warm-up, shape (n,), n ≥ 2·BATCHES; the first n mod BATCHES drop out.
    The interval is honest when a batch is much longer than the correlation lasts: at ρ = 0.9, runs
    of 200,000 waits (batches of 6,250) hold the true mean in about 90% of cases instead of 95%.
    Raises ValueError on a shorter, non-finite or many-dimensional series.
    Source: Asmussen and Glynn (2007).

    >>> batch_means([1.0, 3.0] * 64).mean
    2.0
    """
    values = as_floats(series=series)
    require(
        values.ndim == 1 and values.size >= 2 * BATCHES,
        "series",
        f"at least {2 * BATCHES} observations",
        values.shape,
    )
    require_all_finite(series=values)
    means = values[values.size % BATCHES :].reshape(BATCHES, -1).mean(axis=1)
    error = float(means.std(ddof=1)) / math.sqrt(BATCHES)
    return MeanEstimate(float(means.mean()), error, STUDENT_T_975[31] * error)


def simulate_mean_wait(
    rng: np.random.Generator,
    utilization: float,
    *,
    servers: int = 1,
    arrival_scv: float = 1.0,
    service_scv: float = 1.0,
    customers: int = 200_000,
) -> MeanEstimate:
    """Mean wait of a G/G/c queue with gamma interarrival and service times, in mean service times.

    utilization: ρ in (0, 1). servers: c. arrival_scv, service_scv: squared coefficients of
    variation. customers: length of the run, warm-up included.
    Raises ValueError outside these ranges.

    >>> simulate_mean_wait(np.random.default_rng(0), 0.5, arrival_scv=0, service_scv=0).mean
    0.0
    """
    customers = as_number(customers=customers)
    utilization = require_in("(0, 1)", utilization=utilization)
    servers = require_positive_integer(servers=servers)
    arrival_scv, service_scv = require_non_negative(
        arrival_scv=arrival_scv, service_scv=service_scv
    )
    require(
        customers % 1 == 0 and customers >= 1000,
        "customers",
        "an integer of at least 1000",
        customers,
    )
    require_work(customers + servers, servers=servers, customers=customers)
    arrivals = np.cumsum(gamma_times(rng, 1 / (utilization * servers), arrival_scv, customers))
    waits = fifo_waits(arrivals, gamma_times(rng, 1.0, service_scv, customers), servers)
    return batch_means(waits[warm_up_length(waits) :])


def check_hand_worked_waits() -> None:
    """Six customers traced by hand through one server and through two.

    Source: Lindley's recursion W' = max(0, W + S − gap), applied by hand.
    """
    arrivals, services = [0, 1, 2.5, 3, 3.2, 8], [2, 1, 1, 0.5, 1, 1]
    checks.close(
        "waits with one server", fifo_waits(arrivals, services), [0, 1, 0.5, 1, 1.3, 0], atol=1e-12
    )
    checks.close(
        "waits with two servers",
        fifo_waits(arrivals, services, 2),
        [0, 0, 0, 0, 0.3, 0],
        atol=1e-12,
    )


def check_lanes_equal_heap() -> None:
    """Replications walked side by side give the waits of the one-at-a-time loop, to the bit.

    Source: two implementations of Kiefer and Wolfowitz (1955).
    """
    rng = np.random.default_rng(1)
    arrivals = np.cumsum(rng.exponential(0.3, (4, 500)), axis=1)
    services = rng.exponential(1.0, (4, 500))
    one_by_one = np.array([fifo_waits(a, s, 4) for a, s in zip(arrivals, services, strict=True)])
    checks.close(
        "largest difference [s]", np.abs(fifo_waits(arrivals, services, 4) - one_by_one).max(), 0.0
    )


def check_simulated_mean_wait() -> None:
    """A simulated M/M/1 at ρ = 0.8 waits four service times on average.

    Source: ρ/(1−ρ) = 4; the interval is the run's own, from batch means.
    """
    estimate = simulate_mean_wait(np.random.default_rng(8), 0.8, customers=700_000)
    checks.covers("mean wait [service times]", estimate, 4.0)
