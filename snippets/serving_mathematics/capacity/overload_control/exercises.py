"""Solutions of the exercises on overload control, each checked against a second way to the same
number.

Assumes: what each function says; where a queue appears it is M/M/1 at one server, first come first
served.

Source: derived here from the formulas of `overload_control`, `retry_storms`, `retry_budgets` and
`shedding`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from serving_mathematics.capacity.overload_control.overload_control import (
    blocking_probability,
    bounded_goodput,
)
from serving_mathematics.capacity.overload_control.retry_storms import retry_amplification
from serving_mathematics.capacity.overload_control.shedding import guardrail
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "nested_attempts": (
        "A layer passes a failure up only when all its attempts have failed, so layers multiply"
        " their attempts: solve it for one layer with that many. Watch 0/0 when every call "
        "fails."
    ),
    "shed_with_hysteresis": (
        "Remember the last decision: it selects which threshold the next signal is compared "
        "with. At exactly either threshold the answer is to shed."
    ),
    "queue_limit": (
        "With K inside, itself included, a request waits for K exponential services. It is in "
        "time when a Poisson number with mean μτ is at least K; subtract terms until the chance"
        " is too small."
    ),
    "accepted_rate": (
        "Divide the server's second into time for services and time for refusals. Below "
        "capacity nothing is refused; with throttling the clients send at most K requests for "
        "each accepted one, or fewer when the load is low."
    ),
    "expired_share": (
        "Add the weights of an idle server, of waits below the limit and of waits beyond it: "
        "the share beyond is the answer. Take λ = μ as a case of its own, and keep exponents "
        "negative when λ exceeds μ."
    ),
}


def nested_attempts(failure: float, attempts: int, layers: int) -> float:
    """Mean number of calls that reach the bottom of a stack for one request when every layer
    retries.

    failure: p of a call at the bottom, in [0, 1]. attempts: n ≥ 1 by each layer. layers: L ≥ 1
    that retry. Layer upon layer is one layer with n^L attempts: 1 + p + … + p^{n^L − 1}. Raises
    ValueError outside these ranges.

    >>> nested_attempts(failure=1.0, attempts=4, layers=3)
    64.0
    """
    failure = require_in("[0, 1]", failure=failure)
    attempts, layers = require_positive_integer(attempts=attempts, layers=layers)
    total = int(attempts) ** int(layers)
    require(total <= 10**15, "layers", f"such that {attempts}^layers is at most 10^15", layers)
    if failure in (0, 1):
        return float(total) if failure else 1.0
    return -math.expm1(total * math.log(failure)) / (1 - failure)


def shed_with_hysteresis(signals: Sequence[float], high: float, low: float) -> list[bool]:
    """Whether to shed at each signal: from `high` on, and then until the signal falls below `low`.

    signals: utilizations in [0, 1] in order of time. high, low: thresholds, 0 ≤ low ≤ high ≤ 1;
    starts not shedding. Raises ValueError outside these ranges.

    >>> shed_with_hysteresis([0.6, 0.8, 0.6, 0.4, 0.6], high=0.7, low=0.5)
    [False, True, True, False, False]
    """
    low = as_number(low=low)
    high = require_in("[0, 1]", high=high)
    require(0 <= low <= high, "low", f"in [0, {high}]", low)
    shedding, decisions = False, []
    for signal in signals:
        signal = require_in("[0, 1]", signals=signal)
        shedding = signal >= (low if shedding else high)
        decisions.append(shedding)
    return decisions


def queue_limit(service_rate: float, deadline_s: float, probability: float) -> int:
    """Most places K at which even the request that takes the last one is answered in time often
    enough.

    service_rate: μ [1/s], exponential service. deadline_s: τ [s]. probability: of an answer in
    time, in (0, 1). Its time is Erlang(K, μ), in time exactly when a busy server would finish K
    requests within τ. Raises ValueError outside the ranges and when even an idle server is too
    slow, 1 − e^{−μτ} < probability.

    >>> queue_limit(service_rate=100.0, deadline_s=0.1, probability=0.95)
    5
    """
    probability = as_number(probability=probability)
    service_rate, deadline_s = require_positive(service_rate=service_rate, deadline_s=deadline_s)
    served = service_rate * deadline_s
    most = -math.expm1(-served)
    require(0 < probability <= most, "probability", f"in (0, {most:.6g}]", probability)
    places, in_time = 0, 1.0
    while True:
        in_time -= math.exp(places * math.log(served) - served - math.lgamma(places + 1))
        if in_time < probability:
            return places
        places += 1


def accepted_rate(
    offered_rate: float, service_rate: float, refusal_cost: float, multiplier: float = math.inf
) -> float:
    """Requests a second that a server completes when refusing one takes a share of the work of
    serving one.

    offered_rate: λ [1/s]. service_rate: μ [1/s]. refusal_cost: c, time of a refusal over the time
    of a service, in [0, 1). multiplier: K of adaptive throttling at the clients, which let at most
    K requests through for each that is accepted. Above capacity the time divides as a/μ + c(sent −
    a)/μ = 1. Raises ValueError outside these ranges.

    >>> accepted_rate(offered_rate=300.0, service_rate=100.0, refusal_cost=0.2)
    50.0
    """
    multiplier = as_number(multiplier=multiplier)
    offered_rate, service_rate = require_positive(
        offered_rate=offered_rate, service_rate=service_rate
    )
    refusal_cost = require_in("[0, 1)", refusal_cost=refusal_cost)
    require(multiplier >= 1, "multiplier", "at least 1", multiplier)
    if offered_rate <= service_rate:
        return offered_rate
    unthrottled = max(0.0, service_rate - refusal_cost * offered_rate) / (1 - refusal_cost)
    if math.isinf(multiplier):
        return unthrottled
    return max(unthrottled, service_rate / (1 + refusal_cost * (multiplier - 1)))


def expired_share(arrival_rate: float, service_rate: float, wait_limit_s: float) -> float:
    """Share of the requests that a queue drops because their service has not begun within a wait
    limit, M/M/1.

    arrival_rate: λ [1/s], may exceed μ. service_rate: μ [1/s]. wait_limit_s: w ≥ 0 [s]. The wait
    that an arrival faces has density λπ₀e^{−(μ−λ)x} up to w and λπ₀e^{λw−μx} beyond it, where
    nobody joins any more, and π₀ makes the total 1. Raises ValueError outside these ranges.

    >>> round(expired_share(arrival_rate=100.0, service_rate=100.0, wait_limit_s=0.1), 6)
    0.083333
    """
    arrival_rate, service_rate = require_positive(
        arrival_rate=arrival_rate, service_rate=service_rate
    )
    wait_limit_s = require_non_negative(wait_limit_s=wait_limit_s)
    gap, load = service_rate - arrival_rate, arrival_rate / service_rate
    fading = math.exp(-abs(gap) * wait_limit_s)
    within = wait_limit_s if gap == 0 else -math.expm1(-abs(gap) * wait_limit_s) / abs(gap)
    idle, beyond = (1.0, load * fading) if gap >= 0 else (fading, load)  # relative weights
    return beyond / (idle + arrival_rate * within + beyond)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: μ = 100/s, τ = 0.1 s."""
    return SimpleNamespace(
        nested_calls=nested_attempts(1.0, 4, 3),
        costly_accepted=accepted_rate(300.0, 100.0, 0.2),
        costly_throttled=accepted_rate(300.0, 100.0, 0.2, multiplier=2.0),
        expired_percent=100 * expired_share(120.0, 100.0, 0.05),
        limit_of_10=queue_limit(100.0, 0.1, 0.95),
        limit_of_100=queue_limit(1000.0, 0.1, 0.95),
    )


def check_nested_attempts() -> None:
    """Three layers of four attempts each make 64 calls when everything fails, and few when little
    does.

    Source: SRE book, chapter 22, for the 64; layer by layer, each failing only when all its
    attempts have failed.
    """
    checks.close("all fail", nested_attempts(1.0, 4, 3), 64.0, kind="published")
    for failure in (0.0, 0.02, 0.3, 0.9):
        calls, failing = 1.0, failure
        for _ in range(3):
            calls, failing = calls * retry_amplification(failing, 3), failing**4
        checks.close(f"p = {failure}", nested_attempts(failure, 4, 3), calls, rtol=1e-12)


def check_queue_limit() -> None:
    """The last place of the limit still answers in time, one more would not.

    Source: 140,000 sums of K exponential services for each K; the goodput of `bounded_goodput` per
    admitted request.
    """
    rng = np.random.default_rng(9)
    for rate, deadline, probability in ((100.0, 0.1, 0.9), (40.0, 0.5, 0.99)):
        places = queue_limit(rate, deadline, probability)
        kept, lost = (
            float((rng.gamma(k, 1 / rate, 140_000) <= deadline).mean())
            for k in (places, places + 1)
        )
        label = f"μτ = {rate * deadline:g}, {probability:.0%}"
        checks.inside(f"{label}: last of {places}", kept, probability - 0.003, 1.0)
        checks.inside(f"{label}: last of {places + 1}", lost, 0.0, probability + 0.003)
    limit = queue_limit(100.0, 0.1, 0.95)
    flood = (
        bounded_goodput(1e9, 100.0, 0.1, limit) / 100.0
    )  # every admitted request takes the last place
    one_more = bounded_goodput(1e9, 100.0, 0.1, limit + 1) / 100.0
    checks.holds("flooded, limit", flood >= 0.95, got=flood)
    checks.holds("flooded, one more", one_more < 0.95, got=one_more)


def check_hysteresis() -> None:
    """Two thresholds change their mind less often than one, and with both at one value they are
    the guardrail.

    Source: by hand; `guardrail` on 2,000 noisy signals around the threshold.
    """
    by_hand = shed_with_hysteresis([0.69, 0.7, 0.5, 0.49, 0.69, 0.95], 0.7, 0.5)
    checks.equal("by hand", by_hand, [False, True, True, False, False, True])
    noisy = np.clip(np.random.default_rng(3).normal(0.7, 0.05, 2000), 0, 1).tolist()
    single = [decision == "escalate" for decision in guardrail(noisy, 0.7)]
    checks.equal("low = high", shed_with_hysteresis(noisy, 0.7, 0.7) == single, True)
    flips = int(np.abs(np.diff(shed_with_hysteresis(noisy, 0.75, 0.65))).sum())
    checks.inside("flips against one threshold", flips / np.abs(np.diff(single)).sum(), 0.0, 0.5)


def check_refusing_costs() -> None:
    """A refusal that costs a fifth of a service halves what is served at three times the load;
    throttling saves most of it.

    Source: the capacity left after refusing what was not accepted, iterated to its fixed point; by
    hand 100/1.2.
    """
    for load, cost in ((150.0, 0.1), (300.0, 0.2), (900.0, 0.2)):
        accepted = 0.0
        for _ in range(200):
            accepted = max(0.0, 100.0 - cost * (load - accepted))
        checks.close(
            f"λ = {load:g}, c = {cost}", accepted_rate(load, 100.0, cost), accepted, atol=1e-9
        )
    checks.equal("below capacity all", accepted_rate(80.0, 100.0, 0.2), 80.0)
    few = accepted_rate(150.0, 100.0, 0.1, multiplier=10.0)
    checks.close("too few to throttle", few, (100 - 0.1 * 150) / 0.9, rtol=1e-12)
    checks.close("λ = 900, K = 2", accepted_rate(900.0, 100.0, 0.2, 2.0), 100 / 1.2, rtol=1e-12)
    for multiplier in (2.0, 3.5):
        throttled = accepted_rate(900.0, 100.0, 0.2, multiplier)
        refused = multiplier * throttled - throttled
        spent = throttled / 100 + 0.2 * refused / 100
        checks.close(f"time spent, K = {multiplier:g}", spent, 1.0, rtol=1e-12)


def check_expired_share() -> None:
    """What is not dropped is what the server has time for, λ(1 − dropped) = μ(1 − idle), at any
    load.

    Source: simulated waits of 70,000 requests, of which those beyond the limit bring no work; a
    queue without waiting, M/M/1/1; at λ = μ by hand, 1/(2 + μw).
    """
    for arrival, limit in ((80.0, 0.05), (150.0, 0.1)):
        rng = np.random.default_rng(int(arrival))
        gaps, services = rng.exponential(1 / arrival, 70_000), rng.exponential(0.01, 70_000)
        wait, dropped = 0.0, []
        for gap, service in zip(gaps.tolist(), services.tolist(), strict=True):
            wait = max(0.0, wait - gap)
            dropped.append(float(wait > limit))
            wait += service * (wait <= limit)
        checks.covers(
            f"λ = {arrival:g}, simulated",
            batch_means(dropped),
            expired_share(arrival, 100.0, limit),
        )
    blocked = blocking_probability(130.0, 100.0, 1)
    checks.close("no waiting", expired_share(130.0, 100.0, 0.0), blocked, rtol=1e-12)
    checks.close("λ = μ, w = 0.2 s", expired_share(100.0, 100.0, 0.2), 1 / 22, rtol=1e-12)
    checks.close("long limit, λ = 2μ", expired_share(200.0, 100.0, 50.0), 0.5, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Deadlines that no server can meet, reversed thresholds and refusals dearer than service name
    the argument."""
    checks.raises("too slow", queue_limit, 1.0, 0.1, 0.9, match="probability must be in (0, 0.0951")
    checks.raises(
        "reversed", shed_with_hysteresis, [0.5], 0.5, 0.7, match="low must be in [0, 0.5]"
    )
    checks.raises("dear", accepted_rate, 1.0, 1.0, 1.0, match="refusal_cost must be in [0, 1)")
    checks.raises("p = −1", nested_attempts, -1.0, 2, 2, match="failure must be in [0, 1]")
    checks.raises("NaN limit", expired_share, 1.0, 1.0, math.nan, match="wait_limit_s must be")
