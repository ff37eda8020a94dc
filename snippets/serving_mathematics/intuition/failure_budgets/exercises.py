"""Solutions: what dependencies leave over, shared causes, guards for low traffic, proof by counts.

An objective s over dependencies with the product a leaves the share 1 − s/a to one's own failures.
A cause that stops all servers at once bounds what redundancy can reach. A page that begins with an
error has k−1 others in the hour before it, which counts false pages without a simulation. An upper
confidence bound below 1−s proves the objective.

Assumes: the models of the chapter; in the second exercise one shared cause beside independent ones.

Source: Treynor, Dahlin, Rau and Beyer (2017); Clopper and Pearson (1934); the definitions of the
chapter.
"""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.reliability.availability import clopper_pearson, k_of_n, series
from serving_mathematics.intuition.failure_budgets.false_pages import (
    binomial_probabilities,
    page_start_probability,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "own_downtime": (
        "Availabilities of things that are all needed multiply, your own included. So divide "
        "the objective by the product of the dependencies; subtracting budgets is right only to"
        " first order."
    ),
    "shared_cause_availability": (
        "Take the common cause out first: with its probability all are down. What remains for "
        "each server must be divided by that factor, so that each keeps its availability; then "
        "k of n independent ones."
    ),
    "errors_worth_a_page": (
        "Multiply the errors of a month by the chance that an error finds k − 1 others in the "
        "hour before it. That is a binomial tail over one request fewer; take the smallest k "
        "that keeps the product small enough."
    ),
    "requests_to_prove": (
        "The upper bound of Clopper and Pearson falls as requests are added: find the first "
        "number at which it is within 1 − s. Their interval is two-sided, so the confidence has"
        " to be converted."
    ),
}


def own_downtime(slo: float, availabilities: npt.ArrayLike, period_s: float) -> float:
    """Downtime that the service itself may have beside critical dependencies, (1 − s/∏a)·T [s].

    slo: s in (0, 1). availabilities: a_i in [0, 1], shape (n,). period_s: T [s]. Raises ValueError
    outside these ranges, and when the dependencies alone miss the objective.

    >>> round(own_downtime(slo=0.72, availabilities=[0.9, 0.9], period_s=900.0), 6)
    100.0
    """
    slo = require_in("(0, 1)", slo=slo)
    period_s = require_positive(period_s=period_s)
    ceiling = series(availabilities)
    require(ceiling >= slo, "availabilities", f"of a product of at least {slo}", ceiling)
    return (1 - slo / ceiling) * period_s


def shared_cause_availability(
    needed: int, deployed: int, availability: float, shared: float
) -> float:
    """Probability that k of n servers work when a share of each one's downtime hits all at once.

    needed: k. deployed: n. availability: a in (0, 1) of each server, all causes together. shared:
    β in [0, 1], the share of a server's unavailability 1−a that is common to all. Raises ValueError
    outside these ranges.

    >>> round(shared_cause_availability(1, 2, availability=0.9, shared=1.0), 12)
    0.9
    """
    availability = require_in("(0, 1)", availability=availability)
    shared = require_in("[0, 1]", shared=shared)
    common = 1 - shared * (1 - availability)
    return common * k_of_n(needed, [min(availability / common, 1.0)] * deployed)


def errors_worth_a_page(requests_per_h: int, error_rate: float, pages_per_month: float) -> int:
    """Fewest errors in an hour to ask for, so that steady errors page no oftener than wanted.

    requests_per_h: n ≥ 1, evenly spread. error_rate: e in (0, 1). pages_per_month: accepted false
    pages in 30 days, > 0. A page begins with an error that has k−1 others among the n−1 requests
    before it, so there are at most 720·n·e·P(X ≥ k−1) of them. Raises ValueError outside these
    ranges, and when no number of errors suffices.

    >>> errors_worth_a_page(requests_per_h=10, error_rate=0.001, pages_per_month=8.0)
    1
    """
    requests_per_h = require_positive_integer(requests_per_h=requests_per_h)
    pages_per_month = require_positive(pages_per_month=pages_per_month)
    others = binomial_probabilities(requests_per_h - 1, error_rate)
    pages = 720 * requests_per_h * error_rate * np.cumsum(others[::-1])[::-1]
    enough = np.flatnonzero(pages <= pages_per_month)
    require(enough.size > 0, "pages_per_month", f"at least {pages[-1]:.3g}", pages_per_month)
    return int(enough[0]) + 1


def requests_to_prove(slo: float, failures: int, confidence: float = 0.95) -> int:
    """Fewest requests with x failures that prove the objective: upper bound at most 1−s.

    slo: s in (0, 1). failures: x ≥ 0. confidence: one-sided, in (0.5, 1). The bound falls with the
    number of requests, so it is found by doubling and halving. Raises ValueError outside these
    ranges.

    >>> requests_to_prove(slo=0.5, failures=0, confidence=0.875)
    3
    """
    slo = require_in("(0, 1)", slo=slo)
    failures = require_non_negative_integer(failures=failures)
    confidence = require_in("(0.5, 1)", confidence=confidence)

    def proves(trials: int) -> bool:
        return clopper_pearson(failures, trials, 2 * confidence - 1)[1] <= 1 - slo

    low, high = failures, max(1, 2 * failures)  # x failures among x requests prove nothing
    while not proves(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return high


def example() -> SimpleNamespace:
    """Answers to the exercises, in the unit that the name says."""
    guard = errors_worth_a_page(12, 0.001, 1 / 12)
    return SimpleNamespace(
        own_min=own_downtime(0.9999, [0.99999] * 5, 365 * 86_400.0) / 60,
        shared_percent=100 * shared_cause_availability(10, 12, 0.99, 0.1),
        shared_ceiling_percent=100 * (1 - 0.1 * 0.01),
        guard_errors=guard,
        guard_delay_min=60 * guard / 12,
        prove_seven=requests_to_prove(0.999, 7),
    )


def check_own_downtime() -> None:
    """With its own downtime and its dependencies', a service meets the objective exactly.

    Source: the product of all availabilities, one's own included, in exact fractions.
    """
    parts = [0.9995, 0.9999, 0.9998]
    own = own_downtime(0.999, parts, 86_400.0)
    product = Fraction(1) - Fraction(own) / 86_400
    for part in parts:
        product *= Fraction(part)
    checks.close("product", float(product), 0.999, rtol=1e-12)
    checks.close("none left", own_downtime(0.81, [0.9, 0.9], 100.0), 0.0, atol=1e-9)


def check_shared_cause() -> None:
    """A shared cause gives what simulated fleets give, and each server keeps its availability.

    Source: 200,000 simulated fleets of six, of which four are needed; three standard errors.
    """
    rng = np.random.default_rng(81)
    common = rng.random(200_000) < 1 - 0.3 * 0.1
    alone = rng.random((200_000, 6)) < 0.9 / (1 - 0.3 * 0.1)
    up = common[:, None] & alone
    works = up.sum(axis=1) >= 4
    noise = 3 * float(works.std()) / math.sqrt(works.size)
    got = shared_cause_availability(4, 6, 0.9, 0.3)
    checks.close("4 of 6", float(works.mean()), got, atol=noise, kind="simulation")
    checks.close(
        "one server", float(up[:, 0].mean()), 0.9, atol=3 * 0.3 / 200_000**0.5, kind="simulation"
    )
    checks.close("nothing shared", shared_cause_availability(4, 6, 0.9, 0), k_of_n(4, [0.9] * 6))


def check_guard_against_simulation() -> None:
    """With the guard, 400 simulated months have no more false pages than asked for.

    Source: every error of independent requests that has k−1 others within the last hour, counted
    in the simulation; it counts page starts too often, never too seldom.
    """
    rng = np.random.default_rng(82)
    load, rate = 36, 0.002
    requests = 400 * 720 * load
    at = np.cumsum(rng.geometric(rate, round(1.1 * requests * rate)))  # from error to error
    at = at[at < requests]
    for wanted in (5.0, 0.3):
        guard, noise = errors_worth_a_page(load, rate, wanted), 3 * math.sqrt(wanted / 400)
        enough, fewer = (
            int((at[k - 1 :] - at[: at.size - k + 1] < load).sum()) / 400
            for k in (guard, guard - 1)
        )
        checks.inside(f"pages a month, {guard} errors", enough, 0, wanted + noise)
        checks.inside(f"with {guard - 1}", fewer, wanted - noise, 720 * load * rate + 1)
    checks.close(
        "bound of one error",
        720 * 60 * 0.001,
        8640 * page_start_probability(5, 0.001, 0.999, 14.4),
        rtol=0.02,
    )


def check_proof_by_counts() -> None:
    """The smallest proof is one request longer than what the binomial tail does not allow.

    Source: P(X ≤ x) at p = 1−s in exact fractions, at the answer and at one request less.
    """
    for slo, failures in ((0.99, 2), (0.98, 5)):
        n, p = requests_to_prove(slo, failures), Fraction(1) - Fraction(slo)
        tails = [
            float(sum(math.comb(m, i) * p**i * (1 - p) ** (m - i) for i in range(failures + 1)))
            for m in (n - 1, n)
        ]
        checks.holds(f"s = {slo}, x = {failures}", tails[1] <= 0.05 < tails[0], got=tails)


def check_bad_input_is_refused() -> None:
    """Impossible objectives, shares and targets are errors that name the argument."""
    checks.raises(
        "hopeless", own_downtime, 0.9, [0.9, 0.9], 1.0, match="availabilities must be of a product"
    )
    checks.raises(
        "β = 2", shared_cause_availability, 1, 2, 0.9, 2.0, match="shared must be in [0, 1]"
    )
    checks.raises(
        "always", errors_worth_a_page, 1, 0.9, 1.0, match="pages_per_month must be at least 648"
    )
    checks.raises("percent", requests_to_prove, 99.9, 0, match="slo must be in (0, 1), got 99.9")
