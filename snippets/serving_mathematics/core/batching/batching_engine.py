"""A closed loop around an engine whose rate depends on what it holds, exactly.

With j requests the engine finishes μ(j) a second. In a loop with other servers of demands D_k and a
time away of Z the throughput is exact, one client at a time: an arrival finds the engine as a loop
with one client less does,

    R(n) = Σ_j j/μ(j)·p(j−1 | n−1),    p(j | n) = X(n)/μ(j)·p(j−1 | n−1).

Assumes: steps and services are exponential; requests of a batch leave one by one, at the rate of
the batch; one engine; one class of clients.

Source: Reiser and Lavenberg (1980) for mean value analysis, the LINE solver's `pfqn_mvald` for the
form with rates; p(0 | n) = G⁻(n)/G(n) from the normalizing constants, without a difference.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.mean_value_analysis import exact_mva
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_positive,
)

FloatArray = npt.NDArray[np.float64]


def load_dependent_mva(
    demands_s: npt.ArrayLike, think_time_s: float, rates_per_s: npt.ArrayLike
) -> FloatArray:
    """Exact throughput with 1, 2, …, N clients of a loop around an engine and other servers [1/s].

    demands_s: D_k of the other servers [s], shape (K,), K ≥ 0. think_time_s: Z [s], above 0 when
    there are none. rates_per_s: μ(j), rate of the engine when it holds j = 1 … N requests, shape
    (N,). Returns shape (N,). Raises ValueError outside these ranges. All terms are positive:
    p(0 | n) is p(0 | n−1)·X(n)/X⁻(n), with X⁻ the throughput of the loop without the engine.

    >>> load_dependent_mva([], 3.0, [1.0, 2.0, 3.0]).round(9).tolist()  # nobody waits: n/(3 + 1)
    [0.25, 0.5, 0.75]
    """
    rates = as_floats(rates_per_s=rates_per_s)
    require(rates.ndim == 1 and rates.size > 0, "rates_per_s", "an (N,) array", rates.shape)
    require(np.all((rates > 0) & (rates < math.inf)), "rates_per_s", "positive and finite", rates)
    demands, count = as_floats(demands_s=demands_s), rates.size
    numbers = np.arange(1, count + 1)
    if demands.size:
        without = exact_mva(count, demands, think_time_s)[0]
    else:
        think_time_s = require_positive(think_time_s=think_time_s)
        without = numbers / think_time_s
    throughput, queues = np.empty(count), np.zeros(demands.size)
    held = np.array([1.0])  # p(0 … n−1 | n−1)
    for n in range(1, count + 1):
        engine = float((numbers[:n] / rates[:n] * held).sum())
        others = demands * (1 + queues)
        throughput[n - 1] = n / (think_time_s + float(others.sum()) + engine)
        queues = throughput[n - 1] * others
        empty = held[0] * throughput[n - 1] / without[n - 1]
        held = np.r_[empty, throughput[n - 1] / rates[:n] * held]
    return throughput


def check_recursion_against_states() -> None:
    """Alone in the loop the engine has the throughput that its states give, up to 300 clients; with
    a constant rate it is a plain server; when nobody waits it is n/(Z + s).

    Source: weights of the birth–death chain; `exact_mva`; by hand.
    """
    batch, away_s = np.minimum(np.arange(1.0, 301), 16), 0.1
    rates = batch / (0.018 + 0.002 * batch)
    got = load_dependent_mva([], away_s, rates)
    for n in (1, 2, 15, 16, 17, 48, 300):
        steps = (n - np.arange(n)) / away_s / rates[:n]  # from j inside to j + 1, over the way back
        logs = np.append(0.0, np.cumsum(np.log(steps)))
        weights = np.exp(logs - logs.max())
        states = float(weights[1:] @ rates[:n] / weights.sum())
        checks.close(f"{n} clients", float(got[n - 1]), states, rtol=1e-9)
    plain = exact_mva(300, [0.006, 0.02], away_s)[0]
    one = load_dependent_mva([0.006], away_s, np.full(300, 50.0))
    checks.close("one at a time, with another server", one, plain, rtol=1e-9)
    free = load_dependent_mva([], away_s, np.arange(1.0, 65) / 0.02)
    checks.close("batching for free", free, np.arange(1, 65) / 0.12, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Engines without rates and loops without a pause are errors."""
    checks.raises("no rates", load_dependent_mva, [], 1.0, [], match="rates_per_s must be an (N,)")
    checks.raises("nothing else", load_dependent_mva, [], 0.0, [1.0], match="think_time_s must be")
