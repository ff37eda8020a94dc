"""Solutions of the exercises on overload control, each checked against a second way to the same
number.

Assumes: what each function says; where a queue appears it is M/M/1 at one server, first come first
served.

Source: derived here from the formulas of `storms`.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

from serving_mathematics.capacity.overload_control.storms import retry_amplification, storm_band
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "nested_attempts": (
        "A layer passes a failure up only when all its attempts have failed, so layers multiply"
        " their attempts: solve it for one layer with that many. Watch 0/0 when every call "
        "fails."
    ),
    "what_rages": (
        "Compare first attempts with the capacity, then all attempts. Only the first kind needs "
        "more engines; the second ends when retries are switched off."
    ),
    "accepted_rate": (
        "Divide the server's second into time for services and time for refusals. Below "
        "capacity nothing is refused; with throttling the clients send at most κ requests for "
        "each accepted one, or fewer when the load is low."
    ),
}


def nested_attempts(failure: float, attempts: int, layers: int) -> float:
    """Mean number of calls that reach the bottom of a stack for one request when every layer
    retries.

    failure: p of a call at the bottom, in [0, 1]. attempts: n ≥ 1 by each layer. layers: L ≥ 1
    that retry. Raises ValueError outside these ranges.

    >>> nested_attempts(failure=1.0, attempts=4, layers=3)
    64.0
    """
    failure = require_in("[0, 1]", failure=failure)
    attempts, layers = require_positive_integer(attempts=attempts, layers=layers)
    few = attempts == 1 or layers < 50  # 2^50 is above 10^15
    total = attempts**layers if few else math.inf
    require(total <= 10**15, "layers", f"such that {attempts}^layers is at most 10^15", layers)
    if failure in (0, 1):
        return float(total) if failure else 1.0
    # a layer fails when all its attempts have: 1 + p + … + p^(n^L − 1), as of one layer
    return -math.expm1(total * math.log(failure)) / (1 - failure)


def what_rages(first_per_s: float, attempts_per_s: float, capacity_per_s: float) -> str:
    """What a dashboard says: "overload", "storm", "risk" or "calm".

    first_per_s: first attempts, counted apart from retries. attempts_per_s: all that arrive.
    capacity_per_s: that the fleet answers at most. "overload" where first attempts alone reach the
    capacity; "storm" where only all attempts do; "risk" where one retry for each would reach it;
    else "calm". Raises ValueError on rates that are not positive, and on fewer attempts than first
    ones.

    >>> what_rages(first_per_s=30.0, attempts_per_s=90.0, capacity_per_s=80.0)
    'storm'
    """
    first_per_s, capacity_per_s = require_positive(
        first_per_s=first_per_s, capacity_per_s=capacity_per_s
    )
    attempts_per_s = require_positive(attempts_per_s=attempts_per_s)
    rule = f"at least first_per_s = {first_per_s:g}"
    require(attempts_per_s >= first_per_s, "attempts_per_s", rule, attempts_per_s)
    if first_per_s >= capacity_per_s:
        return "overload"
    if attempts_per_s >= capacity_per_s:
        return "storm"
    return "risk" if 2 * first_per_s >= capacity_per_s else "calm"


def accepted_rate(
    offered_rate: float, service_rate: float, refusal_cost: float, multiplier: float = math.inf
) -> float:
    """Requests a second that a server completes when refusing one takes a share of the work of
    serving one.

    offered_rate: λ [1/s]. service_rate: μ [1/s]. refusal_cost: c, time of a refusal over the time
    of a service, in [0, 1). multiplier: κ of adaptive throttling at the clients, which let at most
    κ requests through for each that is accepted. Raises ValueError outside these ranges.

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
    # the server's time is a/μ for services and c(sent − a)/μ for refusals, 1 together
    unthrottled = max(0.0, service_rate - refusal_cost * offered_rate) / (1 - refusal_cost)
    if math.isinf(multiplier):
        return unthrottled
    return max(unthrottled, service_rate / (1 + refusal_cost * (multiplier - 1)))


def example() -> SimpleNamespace:
    """Answers that the page prints beside an exercise."""
    return SimpleNamespace(
        nested_calls=nested_attempts(1.0, 4, 3),
        board_then=what_rages(40.0, 155.0, 100.0),
        board_now=what_rages(120.0, 130.0, 100.0),
        costly_accepted=accepted_rate(300.0, 100.0, 0.2),
        costly_throttled=accepted_rate(300.0, 100.0, 0.2, multiplier=2.0),
        costly_none=1 / 0.2,
    )


def check_nested_attempts() -> None:
    """Three layers of four attempts each make 64 calls when everything fails, and few when little
    does.

    Source: SRE book, chapter 22, for the 64; layer by layer, each failing only when all its
    attempts have failed.
    """
    checks.close("all fail", nested_attempts(1.0, 4, 3), 64.0, kind="published")
    checks.close("all of five layers", nested_attempts(1.0, 2, 5), 32.0)
    checks.close("half of two", nested_attempts(0.5, 3, 2), 2 - 0.5**8, rtol=1e-12)
    for failure in (0.0, 0.02, 0.3, 0.9):
        calls, failing = 1.0, failure
        for _ in range(3):
            calls, failing = calls * retry_amplification(failing, 3), failing**4
        checks.close(f"p = {failure}", nested_attempts(failure, 4, 3), calls, rtol=1e-12)


def check_what_rages() -> None:
    """Each answer is given where the rates are as it says; what is called a storm lies in the band
    in which a storm feeds itself.

    Source: by hand; `storm_band` with the attempts of each request.
    """
    for rates, expected in (
        ((100, 100, 100), "overload"),
        ((99, 100, 100), "storm"),
        ((50, 99, 100), "risk"),
        ((49, 99, 100), "calm"),
    ):
        checks.equal(f"{rates}", what_rages(*rates), expected)
    for first, arrive in ((40, 155), (26, 100), (25, 99), (60, 100), (99, 99), (100, 150)):
        low, high = storm_band(100.0, arrive / first)
        rages = what_rages(first, arrive, 100) == "storm"
        checks.equal(f"{first} of {arrive}: a storm", rages, low <= first < high)


def check_refusing_costs() -> None:
    """At three times the capacity, a refusal that costs a fifth of a service halves what is served;
    throttling by the clients saves most of it.

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
    checks.equal("none from 1/c times it on", accepted_rate(500.0, 100.0, 0.2), 0.0)
    checks.close("μ = 40", accepted_rate(60.0, 40.0, 0.25), (40 - 15) / 0.75, rtol=1e-12)
    few = accepted_rate(150.0, 100.0, 0.1, multiplier=10.0)
    checks.close("too few to throttle", few, (100 - 0.1 * 150) / 0.9, rtol=1e-12)
    checks.close("λ = 900, κ = 2", accepted_rate(900.0, 100.0, 0.2, 2.0), 100 / 1.2, rtol=1e-12)
    for multiplier in (2.0, 3.5):
        throttled = accepted_rate(900.0, 100.0, 0.2, multiplier)
        refused = multiplier * throttled - throttled
        spent = throttled / 100 + 0.2 * refused / 100
        checks.close(f"time spent, κ = {multiplier:g}", spent, 1.0, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Impossible probabilities, refusals that cost more than a service, and fewer attempts than
    first attempts are refused by name."""
    checks.raises("dear", accepted_rate, 1.0, 1.0, 1.0, match="refusal_cost must be in [0, 1)")
    checks.raises("p = −1", nested_attempts, -1.0, 2, 2, match="failure must be in [0, 1]")
    checks.raises("fewer", what_rages, 2.0, 1.0, 9.0, match="attempts_per_s must be at least")
