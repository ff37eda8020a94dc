"""An engine that batches is a server whose rate rises with what it holds, and so is its ceiling.

With k requests it runs b = min(k, B) of them together in a step of s + d·b, a rate of
b/(s + d·b). One request alone keeps it busy for s + d, yet the ceiling is B/(s + d·B), not
1/(s + d). In a closed loop with other servers of demands D_k and a time away of Z the throughput
is exact, one client at a time: an arrival finds the engine as a loop with one client less does,

    R(n) = Σ_j j/μ(j)·p(j−1 | n−1),    p(j | n) = X(n)/μ(j)·p(j−1 | n−1).

A step finishes its requests, as that of an encoder does. Where an answer takes m of them, s and d
are m times those of a step: b/(m·(s + d·b)).

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
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]


def engine_rates(clients: int, fixed_s: float, per_item_s: float, max_batch: int) -> FloatArray:
    """Rate at which an engine finishes requests when it holds 1, 2, …, N of them [1/s], shape (N,).

    clients: N. fixed_s: s, time of a step whatever it holds [s]. per_item_s: d, further time for
    each request in it [s]. max_batch: B, most requests in a step. Raises ValueError on counts that
    are not positive integers, a non-positive s, or a negative d.

    >>> engine_rates(3, fixed_s=1.0, per_item_s=1.0, max_batch=2).round(9).tolist()
    [0.5, 0.666666667, 0.666666667]
    """
    clients, max_batch = require_positive_integer(clients=clients, max_batch=max_batch)
    require_work(clients, clients=clients)
    fixed_s = require_positive(fixed_s=fixed_s)
    per_item_s = require_non_negative(per_item_s=per_item_s)
    batch = np.minimum(np.arange(1, int(clients) + 1), max_batch)
    return np.asarray(batch / (fixed_s + per_item_s * batch))


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
    rates, away_s = engine_rates(300, 0.018, 0.002, 16), 0.1
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
    free = load_dependent_mva([], away_s, engine_rates(64, 0.02, 0.0, 64))
    checks.close("batching for free", free, np.arange(1, 65) / 0.12, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Empty batches, free steps, engines without rates and loops without a pause are errors."""
    checks.raises("batch 0", engine_rates, 1, 1.0, 0.0, 0, match="max_batch must be a positive")
    checks.raises("free step", engine_rates, 1, 0.0, 0.0, 1, match="fixed_s must be positive")
    checks.raises("no rates", load_dependent_mva, [], 1.0, [], match="rates_per_s must be an (N,)")
    checks.raises("nothing else", load_dependent_mva, [], 0.0, [1.0], match="think_time_s must be")
