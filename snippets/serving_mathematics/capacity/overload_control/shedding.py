"""Who goes unserved when demand exceeds capacity: the impatient, the old, or whoever comes last.

Impatience: in M/M/n+M (Erlang-A) a waiting request leaves at rate θ, so that the queue is stable
at any load. Age: CoDel gives a queue that has not been empty lately a short wait limit.

Assumes: Poisson arrivals; exponential service and patience for Erlang-A.

Source: Garnett, Mandelbaum and Reiman (2002) for Erlang-A; RFC 8289 for CoDel, and Maurer (2015)
for its use in servers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
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
    decisions = guardrail([0.05, 0.20, 0.45, 0.80, 0.95], 0.70)
    return SimpleNamespace(
        abandon_percent=100 * balanced.abandon,
        wait_percent=100 * balanced.wait,
        abandon_overload_percent=100 * erlang_a(200.0, 1.0, 100, 1.0).abandon,
        allowed=decisions.count("allow"),
        escalated=decisions.count("escalate"),
        drops_first_second=int(np.sum(codel_drop_times(100) <= 1.0)),
        queue_wait_limit_ms=1000 * wait_limit(1.0),
    )


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
    """Eternal patience, NaN signals and negative ages are errors that name the argument."""
    checks.raises("θ = 0", erlang_a, 1.0, 1.0, 1, 0.0, match="abandonment_rate must be positive")
    checks.raises("NaN signal", guardrail, [0.1, math.nan], 0.7, match="signals must be in [0, 1]")
    checks.raises("no drop", codel_drop_times, 0, match="drops must be a positive integer")
    checks.raises("negative age", wait_limit, -1.0, match="since_empty_s must be non-negative")
