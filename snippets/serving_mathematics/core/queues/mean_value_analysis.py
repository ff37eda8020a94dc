"""A closed loop of clients and stations: its throughput, exactly and within bounds.

With N clients that think for Z and need D_k of server k, X ≤ min(1/D_max, N/(D + Z)). With
exponential service an arrival finds the queues of a loop with one client less:
R_k(n) = D_k·(1 + Q_k(n−1)), X(n) = n/(Z + ΣR_k(n)), Q_k(n) = X(n)R_k(n).

Assumes: single servers, one class of clients, exponential service if the order is first come first
served.

Source: Denning and Buzen (1978) for the upper bounds; Reiser and Lavenberg (1980) for the
recursion.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_non_negative,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]


def _network(
    clients: int, demands_s: npt.ArrayLike, think_time_s: float
) -> tuple[int, FloatArray, float]:
    """The same, the demands as an array, when the network makes sense."""
    clients = require_positive_integer(clients=clients)
    demands = as_floats(demands_s=demands_s)
    require(demands.ndim == 1 and demands.size > 0, "demands_s", "a (K,) array", demands.shape)
    require_all_positive(demands_s=demands)
    think_time_s = require_non_negative(think_time_s=think_time_s)
    return clients, demands, think_time_s


def saturation_clients(demands_s: npt.ArrayLike, think_time_s: float) -> float:
    """Number of clients N* = (D + Z)/D_max at which the two upper bounds on throughput meet.

    demands_s: D_k, time that a request keeps server k busy [s], shape (K,). think_time_s: Z [s].
    Raises ValueError on empty or non-positive demands, or a negative Z.

    >>> saturation_clients([1.0, 4.0], think_time_s=15.0)
    5.0
    """
    _, demands, think_time_s = _network(1, demands_s, think_time_s)
    return (float(demands.sum()) + think_time_s) / float(demands.max())


def asymptotic_bounds(
    clients: int, demands_s: npt.ArrayLike, think_time_s: float
) -> tuple[float, float]:
    """Least and greatest throughput [1/s] of N clients, whatever the distributions.

    clients: N. Other arguments and errors as for `saturation_clients`.
    Least: whoever waits, waits for work on the others, so R ≤ ND. Greatest: nobody ever waits, or
    the slowest server never rests. Source: Denning and Buzen (1978) for the greatest.

    >>> asymptotic_bounds(2, [1.0, 4.0], think_time_s=10.0)
    (0.1, 0.13333333333333333)
    """
    clients, demands, think_time_s = _network(clients, demands_s, think_time_s)
    total = float(demands.sum())
    least = clients / (clients * total + think_time_s)
    return least, min(1 / float(demands.max()), clients / (total + think_time_s))


def exact_mva(
    clients: int, demands_s: npt.ArrayLike, think_time_s: float
) -> tuple[FloatArray, FloatArray]:
    """Exact throughput and time at each server with 1, 2, …, N clients: mean value analysis.

    Arguments and errors as for `asymptotic_bounds`.
    Returns throughput [1/s], shape (N,), and residence times, wait and service [s], shape (N, K);
    their product is the mean number at each server. Source: Reiser and Lavenberg (1980).

    >>> throughput, residence = exact_mva(2, [1.0, 1.0], think_time_s=2.0)
    >>> throughput.round(9).tolist(), residence.tolist()  # X(1) = 1/4, so each queue holds 1/4
    ([0.25, 0.444444444], [[1.0, 1.0], [1.25, 1.25]])
    """
    clients, demands, think_time_s = _network(clients, demands_s, think_time_s)
    require_work(clients * (200.0 + demands.size), clients=clients)
    throughput = np.empty(int(clients))
    residence = np.empty((int(clients), demands.size))
    queues = np.zeros(demands.size)
    for n in range(1, int(clients) + 1):
        residence[n - 1] = demands * (1 + queues)
        throughput[n - 1] = n / (think_time_s + residence[n - 1].sum())
        queues = throughput[n - 1] * residence[n - 1]
    return throughput, residence
