"""Who goes unserved when demand exceeds capacity: the impatient, the unimportant, the old, or
whoever comes last.

Impatience: in M/M/n+M (Erlang-A) a waiting request leaves at rate θ, so that the queue is stable
at any load. Importance: with non-preemptive priorities the mean wait of class k is
R/((1−σ_{k−1})(1−σ_k)), where σ_k is the load of classes 1…k and R the mean residual service that
an arrival finds; the classes above the first saturated one keep a finite wait however much the
others send. Age: CoDel gives a queue that has not been empty lately a short wait limit.

Assumes: Poisson arrivals; exponential service and patience for Erlang-A; one server, any service
distribution that is the same for all classes for the priorities.

Source: Garnett, Mandelbaum and Reiman (2002) for Erlang-A; Cobham (1954), eq. 3, for the
priorities; RFC 8289 for CoDel, and Maurer (2015) for its use in servers.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_non_negative,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]

TARGET_S = 0.005  # CoDel's acceptable standing queue delay [s], RFC 8289
INTERVAL_S = 0.1  # how long CoDel tolerates more than the target [s], RFC 8289


@dataclass(frozen=True)
class Patience:
    """Steady state of Erlang-A: shares of the arrivals that leave unserved and that wait, and the
    mean queue."""

    abandon: float
    wait: float
    queue: float


def erlang_a(
    arrival_rate: float, service_rate: float, servers: int, abandonment_rate: float
) -> Patience:
    """Abandonment, waiting and queue length in M/M/n+M, stable at any load.

    arrival_rate: λ [1/s]. service_rate: μ of one server [1/s]. servers: n. abandonment_rate: θ =
    1/mean patience [1/s]. States above n have weights ∏ λ/(nμ + kθ) relative to state n; those
    below come from Erlang's B recursion, inverted. Raises ValueError unless rates are positive and
    finite, n is a positive integer, and λ/θ is below 10^7 (the sum's size).

    >>> result = erlang_a(arrival_rate=1.0, service_rate=1.0, servers=1, abandonment_rate=1.0)
    >>> round(result.wait, 6), round(result.abandon, 6)
    (0.632121, 0.367879)
    """
    abandonment_rate = as_number(abandonment_rate=abandonment_rate)
    arrival_rate, service_rate = require_positive(
        arrival_rate=arrival_rate, service_rate=service_rate
    )
    servers = require_positive_integer(servers=servers)
    servers = require_in("[1, 1e7]", servers=servers)
    patience = f"positive and finite and above {arrival_rate / 1e7:g}"
    require(
        arrival_rate / 1e7 < abandonment_rate < math.inf,
        "abandonment_rate",
        patience,
        abandonment_rate,
    )
    abandonment_rate = float(require_positive(abandonment_rate=abandonment_rate))
    load = arrival_rate / service_rate
    inverse = 1.0  # 1/B(k, load)
    for k in range(1, int(servers) + 1):
        inverse = 1 + k / load * inverse
    longest = arrival_rate / abandonment_rate  # the queue at which abandonment alone keeps up
    queue = np.arange(int(longest + 40 * math.sqrt(longest)) + 200)
    steps = np.log(arrival_rate / (servers * service_rate + queue[1:] * abandonment_rate))
    log_weight = np.concatenate([[0.0], np.cumsum(steps)])
    top = float(log_weight.max())
    weight = np.exp(log_weight - top)
    total = (inverse - 1) * math.exp(-top) + float(weight.sum())
    mean_queue = float(queue @ weight) / total
    return Patience(
        abandonment_rate * mean_queue / arrival_rate, float(weight.sum()) / total, mean_queue
    )


def priority_waits(
    arrival_rates: npt.ArrayLike, mean_service_s: float, service_scv: float = 1.0
) -> FloatArray:
    """Mean wait of each class in a single-server queue with non-preemptive priorities [s],
    infinite where starved.

    arrival_rates: λ_k [1/s], shape (classes,), most important first. mean_service_s: S [s], same
    for all classes. service_scv: squared coefficient of variation of the service time. The total
    load may exceed 1: the first class that does not fit takes what capacity is left, and it and
    those after it wait without bound. Raises ValueError on empty, negative or non-finite rates and
    on times outside their range. Source: Cobham (1954), eq. 3; above saturation the server never
    rests, so that R = S(1 + C²)/2.

    >>> priority_waits([0.3, 0.5], mean_service_s=1.0).round(6).tolist()
    [1.142857, 5.714286]
    """
    rates = as_floats(arrival_rates=arrival_rates)
    shape = "a non-empty array of one dimension"
    require(rates.ndim == 1 and rates.size > 0, "arrival_rates", shape, rates.shape)
    require_all_non_negative(arrival_rates=rates)
    mean_service_s = require_positive(mean_service_s=mean_service_s)
    service_scv = require_non_negative(service_scv=service_scv)
    load = np.cumsum(rates) * mean_service_s
    above = np.concatenate([[0.0], load[:-1]])
    residual = min(1.0, float(load[-1])) * mean_service_s * (1 + service_scv) / 2
    waits = np.full(rates.shape, math.inf)
    fits = load < 1
    waits[fits] = residual / ((1 - above[fits]) * (1 - load[fits]))
    return waits


def guardrail(signals: Sequence[float], threshold: float) -> list[str]:
    """What to do with each request: "allow" below the threshold, "escalate" from the threshold on.

    signals: a utilization, risk or queue age that was scaled to [0, 1], one per request.
    threshold: in [0, 1]. To escalate is to take the request off the normal path: a cheaper answer,
    a human, or a refusal. Raises ValueError when a signal or the threshold is outside [0, 1]; a
    NaN must never pass as "allow".

    >>> guardrail([0.2, 0.7], threshold=0.7)
    ['allow', 'escalate']
    """
    threshold = require_in("[0, 1]", threshold=threshold)
    read = [require_in("[0, 1]", signals=signal) for signal in signals]
    return ["escalate" if signal >= threshold else "allow" for signal in read]


def wait_limit(since_empty_s: float) -> float:
    """How long a request may wait in the queue before it is dropped [s], the rule for servers
    derived from CoDel.

    since_empty_s: time since the queue was last empty [s]. A queue that empties now and then is a
    burst and may hold requests for INTERVAL_S; one that has not been empty for that long is
    standing, and holds them for TARGET_S. Raises ValueError on a negative or non-finite time.
    Source: Maurer (2015), Controlled Delay.

    >>> wait_limit(since_empty_s=0.02), wait_limit(since_empty_s=3.0)
    (0.1, 0.005)
    """
    since_empty_s = require_non_negative(since_empty_s=since_empty_s)
    return TARGET_S if since_empty_s > INTERVAL_S else INTERVAL_S


def codel_drop_times(drops: int) -> FloatArray:
    """When CoDel drops, counted from its first drop [s]: the n-th gap is INTERVAL_S/√n, so drops
    come ever faster.

    drops: how many, at least 1, while the delay stays above the target. Raises ValueError
    otherwise. Source: RFC 8289, the control law next = t + INTERVAL/√count.

    >>> codel_drop_times(4).round(4).tolist()
    [0.0, 0.1, 0.1707, 0.2284]
    """
    drops = require_positive_integer(drops=drops)
    require_work(drops, drops=drops)
    return np.concatenate([[0.0], np.cumsum(INTERVAL_S / np.sqrt(np.arange(1, int(drops))))])


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    balanced = erlang_a(100.0, 1.0, 100, 1.0)
    important, sheddable = priority_waits([0.3, 0.5], 1.0).tolist()
    decisions = guardrail([0.05, 0.20, 0.45, 0.80, 0.95], 0.70)
    return SimpleNamespace(
        abandon_percent=100 * balanced.abandon,
        wait_percent=100 * balanced.wait,
        abandon_overload_percent=100 * erlang_a(200.0, 1.0, 100, 1.0).abandon,
        important_wait=important,
        sheddable_wait=sheddable,
        important_wait_overload=float(priority_waits([0.3, 5.0], 1.0)[0]),
        allowed=decisions.count("allow"),
        escalated=decisions.count("escalate"),
        drops_first_second=int(np.sum(codel_drop_times(100) <= 1.0)),
        queue_wait_limit_ms=1000 * wait_limit(1.0),
    )


def _priority_simulation(
    rng: np.random.Generator, rates: Sequence[float], customers: int
) -> Iterator[FloatArray]:
    """Waits of each class in order of service: exponential service of mean 1, the best class next,
    never interrupted."""
    gaps = rng.exponential(1 / sum(rates), customers)
    classes = rng.choice(len(rates), customers, p=np.array(rates) / sum(rates)).tolist()
    arrivals, services = np.cumsum(gaps).tolist(), rng.exponential(1.0, customers).tolist()
    waits: list[list[float]] = [[] for _ in rates]
    queue: list[tuple[int, int]] = []
    free_at = 0.0
    for i, now in enumerate(arrivals):
        while queue and free_at <= now:
            kind, first = heapq.heappop(queue)
            waits[kind].append(free_at - arrivals[first])
            free_at += services[first]
        if free_at <= now:
            waits[classes[i]].append(0.0)
            free_at = now + services[i]
        else:
            heapq.heappush(queue, (classes[i], i))
    return (np.array(wait) for wait in waits)


def check_erlang_a() -> None:
    """A hundred servers at a load of a hundred: half the requests wait, one in 25 gives up.

    Source: with θ = μ requests leave at one rate, waiting or served, so that their number is
    Poisson: P(N ≥ n) and E[(N − n)⁺]/λ of Poisson(100).
    """
    result = erlang_a(100.0, 1.0, 100, 1.0)
    checks.close("abandon", result.abandon, 0.03986100, atol=5e-9)
    checks.close("wait", result.wait, 0.51329880, atol=5e-9)
    number = np.arange(400)
    poisson = np.exp(number * math.log(100.0) - 100.0 - np.cumsum(np.log(np.maximum(number, 1))))
    checks.close("wait, Poisson", result.wait, poisson[100:].sum(), rtol=1e-10)
    excess = np.maximum(number - 100, 0)
    checks.close("abandon, Poisson", result.abandon, poisson @ excess / 100.0, rtol=1e-10)


def check_erlang_a_limits() -> None:
    """Great patience gives Erlang C, none gives Erlang B, and far above capacity the excess leaves.

    Source: C(14, 10) = 0.1741 and B(14, 10) summed term by term; the fluid share 1 − nμ/λ.
    """
    terms = [10.0**k / math.factorial(k) for k in range(15)]
    erlang_b = terms[14] / sum(terms)
    erlang_c = terms[14] * 3.5 / (sum(terms[:14]) + terms[14] * 3.5)
    checks.close("θ = 0.00001, wait", erlang_a(10.0, 1.0, 14, 1e-5).wait, erlang_c, rtol=1e-4)
    checks.close("θ = 10⁶, abandon", erlang_a(10.0, 1.0, 14, 1e6).abandon, erlang_b, rtol=1e-4)
    checks.close("λ = 2nμ, abandon", erlang_a(200.0, 1.0, 100, 1.0).abandon, 0.5, atol=1e-9)


def check_priorities() -> None:
    """At a load of 0.8 the important 0.3 wait 1.14 service times and the other 0.5 wait 5.71.

    Source: by hand 0.8/0.7 and 0.8/(0.7 · 0.2); Kleinrock's conservation law Σ ρ_k W_k = ρ·W_FIFO;
    a simulated queue of 105,000 requests, and another at a total load of 1.5 in which only the
    second class starves.
    """
    waits = priority_waits([0.3, 0.5], 1.0).tolist()
    checks.close("important", waits[0], 1.142857, atol=5e-7)
    checks.close("sheddable", waits[1], 5.714286, atol=5e-7)
    checks.close("Σ ρ_k W_k", 0.3 * waits[0] + 0.5 * waits[1], 0.8 * 0.8 / 0.2, rtol=1e-12)
    first, second = _priority_simulation(np.random.default_rng(4), [0.3, 0.5], 105_000)
    checks.covers("important, simulated", batch_means(first[5_000:]), waits[0])
    checks.covers("sheddable, simulated", batch_means(second[5_000:]), waits[1])
    saved, _ = _priority_simulation(np.random.default_rng(5), [0.3, 1.2], 70_000)
    overload = priority_waits([0.3, 1.2], 1.0).tolist()
    checks.covers("important at load 1.5", batch_means(saved[1_000:]), overload[0])
    checks.close("important at load 1.5, by hand", overload[0], 1 / 0.7, rtol=1e-12)
    checks.equal("sheddable at load 1.5", overload[1], math.inf)


def check_guardrail() -> None:
    """Of the signals 0.05, 0.20, 0.45, 0.80 and 0.95 a threshold of 0.70 allows three and
    escalates two.

    Source: by hand; the order of the answers is the order of the requests.
    """
    decisions = guardrail([0.05, 0.20, 0.45, 0.80, 0.95], 0.70)
    checks.equal("decisions", decisions, ["allow"] * 3 + ["escalate"] * 2)


def check_codel() -> None:
    """CoDel's target is 5 ms and its interval 100 ms; servers use the same two numbers.

    Source: RFC 8289 for TARGET, INTERVAL and INTERVAL/√count; Maurer (2015) for 5 ms and 100 ms in
    servers; the gaps by hand.
    """
    checks.close("standing queue [s]", wait_limit(0.2), 0.005, kind="published")
    checks.close("burst [s]", wait_limit(0.05), 0.1, kind="published")
    gaps = [0.1, 0.1 / math.sqrt(2), 0.1 / math.sqrt(3), 0.05]
    checks.close("first gaps [s]", np.diff(codel_drop_times(5)), gaps, rtol=1e-12)
    zeta = -1.4603545088  # ζ(1/2), the constant of Σ 1/√k = 2√n + ζ(1/2) + 1/(2√n) + …
    expected = 0.1 * (2 * 50.0 + zeta + 0.01)
    checks.close("2,501st drop [s]", codel_drop_times(2501)[-1], expected, atol=1e-6)


def check_bad_input_is_refused() -> None:
    """Eternal patience, NaN signals and negative rates are errors that name the argument."""
    checks.raises("θ = 0", erlang_a, 1.0, 1.0, 1, 0.0, match="abandonment_rate must be positive")
    checks.raises("NaN signal", guardrail, [0.1, math.nan], 0.7, match="signals must be in [0, 1]")
    checks.raises("negative", priority_waits, [0.1, -0.1], 1.0, match="arrival_rates must be")
    checks.raises("no drop", codel_drop_times, 0, match="drops must be a positive integer")
    checks.raises("negative age", wait_limit, -1.0, match="since_empty_s must be non-negative")
