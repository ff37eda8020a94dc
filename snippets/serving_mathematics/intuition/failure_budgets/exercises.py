"""Solutions: hours that are left, what a dashboard says, and errors to ask for at low traffic.

What remains of the budget over the burn rate is the time that is left. An alert needs both of its
windows and a least number of errors. A page that asks for k errors begins with one that has k−1
others in the hour before it, which bounds false pages without a simulation.

Assumes: the models of the chapter; in the third exercise failures that come alone.

Source: Beyer et al. (2018), chapter 5; the definitions of the chapter.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import errors_to_fire
from serving_mathematics.intuition.failure_budgets.failure_budgets import (
    DAY,
    HOUR,
    burn_rate,
    exhaustion_time,
)
from serving_mathematics.intuition.failure_budgets.false_pages import failure_counts, false_pages
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_numbers,
    require,
    require_in,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "hours_left": (
        "The burn rate is the error rate over 1 − s. A full budget lasts the period "
        "divided by it, and half of a budget half as long."
    ),
    "verdict": (
        "Count the errors that each window needs, ⌊b*(1−s)n⌋ + 1. If both windows have them, "
        "page, unless there are too few errors; if only the long one has them, it is over. "
        "Otherwise it is quiet."
    ),
    "errors_worth_a_page": (
        "Multiply the errors of a month by the chance that an error finds k − 1 others in the "
        "hour before it. That is a binomial tail; take the smallest k that keeps the product "
        "small enough."
    ),
}


def hours_left(slo: float, period_days: float, error_rate: float, left: float) -> float:
    """Hours of mean traffic until the budget is gone at an error rate.

    slo: s in (0, 1). period_days: T [d]. error_rate: e in (0, 1]. left: r in [0, 1], the share of
    the budget that remains. Raises ValueError outside these ranges.

    >>> round(hours_left(slo=0.99, period_days=10.0, error_rate=0.24, left=1.0), 9)
    10.0
    """
    slo = require_in("(0, 1)", slo=slo)
    period_days = require_positive(period_days=period_days)
    error_rate = require_in("(0, 1]", error_rate=error_rate)
    left = require_in("[0, 1]", left=left)
    return left * period_days * 24 * (1 - slo) / error_rate


def verdict(
    long: tuple[int, int], short: tuple[int, int], slo: float, burn: float, least: int
) -> str:
    """What two windows say: "page", "too few", "over" or "quiet".

    long, short: (requests, errors) of each window, errors at most requests. slo: s in (0, 1). burn:
    b* > 0. least: errors to ask for in the long window. "too few" where only their number is
    missing, "over" where the long window alone is above b*. Raises ValueError outside these ranges.

    >>> verdict((1000, 20), (80, 9), slo=0.999, burn=14.4, least=3)
    'page'
    """
    least = require_positive_integer(least=least)
    long, short = as_numbers(long=long, short=short)
    above = []
    for name, (requests, errors) in (("long", long), ("short", short)):
        counts = 0 <= errors <= requests and requests % 1 == errors % 1 == 0
        require(counts, name, "of errors in 0…requests, both counts", (requests, errors))
        need = int(errors_to_fire(requests, slo, burn))
        above.append(errors >= need)
    if all(above):
        return "page" if long[1] >= least else "too few"
    return "over" if above[0] else "quiet"


def errors_worth_a_page(requests_per_h: int, error_rate: float, pages_per_month: float) -> int:
    """Fewest errors to require in an hour so that steady errors page no more often than wanted.

    requests_per_h: n ≥ 1, evenly spread. error_rate: e in (0, 0.5]. pages_per_month: accepted false
    pages in 30 days, > 0. A page begins with an error that has k−1 others among the n requests
    before it; count every such error. Raises ValueError outside these ranges.

    >>> errors_worth_a_page(requests_per_h=10, error_rate=0.001, pages_per_month=8.0)
    1
    """
    requests_per_h = require_positive_integer(requests_per_h=requests_per_h)
    error_rate = require_in("(0, 0.5]", error_rate=error_rate)
    pages_per_month = require_positive(pages_per_month=pages_per_month)
    errors, others = 720 * requests_per_h * error_rate, 0
    while True:
        chance = failure_counts(requests_per_h, error_rate, others)[-1] if others else 1.0
        if errors * chance <= pages_per_month:
            return others + 1
        others += 1


def example() -> SimpleNamespace:
    """Answers to the exercises, in the unit that the name says."""
    return SimpleNamespace(
        pencil_h=hours_left(0.999, 30.0, 0.005, 0.5),
        board_says=verdict((2400, 41), (200, 0), 0.999, 14.4, 5),
        board_at_night=verdict((48, 2), (4, 1), 0.999, 14.4, 5),
        guard_of_120=errors_worth_a_page(120, 0.001, 1 / 12),
    )


def check_hours_left() -> None:
    """The hours are those that the burn rate leaves of a full budget, times what remains.

    Source: `exhaustion_time` of the chapter; 720 h over a burn rate of 5, halved, by hand.
    """
    for slo, days, rate, left in ((0.999, 30.0, 0.02, 0.5), (0.995, 28.0, 0.04, 1.0)):
        due = exhaustion_time(burn_rate(rate, slo), days * DAY, left) / HOUR
        checks.close(f"{slo}, {days:g} d", hours_left(slo, days, rate, left), due, rtol=1e-12)
    checks.close("by hand", hours_left(0.999, 30.0, 0.005, 0.5), 72.0, rtol=1e-12)
    checks.close("nothing left", hours_left(0.9, 7.0, 0.5, 0.0), 0.0, atol=1e-12)


def check_verdict() -> None:
    """Each verdict is given where it is due, to a single error.

    Source: 14.4/1000 of the requests by hand: 35 errors of 2,400 fire, and three of 200.
    """
    for long, short, least, expected in (
        ((2400, 35), (200, 3), 3, "page"),
        ((2400, 35), (200, 3), 36, "too few"),
        ((2400, 35), (200, 3), 4, "page"),
        ((2400, 35), (200, 2), 3, "over"),
        ((2400, 35), (200, 2), 36, "over"),
        ((2400, 34), (200, 3), 3, "quiet"),
        ((60, 1), (5, 1), 1, "page"),
        ((60, 1), (5, 1), 3, "too few"),
        ((0, 0), (0, 0), 1, "quiet"),
    ):
        checks.equal(f"{long}, {short}", verdict(long, short, 0.999, 14.4, least), expected)
    for errors, expected in ((50, "quiet"), (51, "page")):  # of 100, where half are allowed
        got = verdict((100, errors), (10, 6), 0.75, 2.0, 1)
        checks.equal(f"75%, burn rate 2, {errors} errors", got, expected)


def check_guard_against_exact_pages() -> None:
    """With the guard, there are no more false pages than wanted, by the exact sum and simulated;
    with one error less, as many or more are simulated.

    Source: `false_pages` at the guard; 400 simulated months of errors with k−1 others within the
    last hour, three standard errors.
    """
    for load, rate, wanted in ((60, 0.001, 1 / 12), (240, 0.001, 1 / 12), (36, 0.002, 0.3)):
        k = errors_worth_a_page(load, rate, wanted)
        got = 8640 * false_pages(load // 12, rate, 0.999, 14.4, least=k)
        checks.inside(f"{load} an hour, {k} errors", got, 0, wanted)
    chances = [math.comb(10, k) * 0.1**k * 0.9 ** (10 - k) for k in range(11)]
    pages = [720 * math.fsum(chances[k - 1 :]) for k in (3, 4)]  # 10 an hour, a tenth fails
    checks.holds("190 and 51 a month", pages[0] > 100 >= pages[1], got=pages)
    checks.equal("100 a month by hand", errors_worth_a_page(10, 0.1, 100.0), 4)
    checks.equal("as many as wanted", errors_worth_a_page(10, 0.5, 3600.0), 1)
    checks.equal("half of ten an hour fail", errors_worth_a_page(10, 0.5, 10.0), 11)
    rng, load, rate, wanted = np.random.default_rng(82), 36, 0.002, 0.3
    requests = 400 * 720 * load
    at = np.cumsum(rng.geometric(rate, round(1.1 * requests * rate)))  # from error to error
    at = at[at < requests]
    guard, noise = errors_worth_a_page(load, rate, wanted), 3 * math.sqrt(wanted / 400)
    enough, fewer = (
        int((at[k - 1 :] - at[: at.size - k + 1] < load).sum()) / 400 for k in (guard, guard - 1)
    )
    checks.inside(f"simulated, {guard} errors", enough, 0, wanted + noise, kind="simulation")
    checks.inside(
        f"with {guard - 1}", fewer, wanted - noise, 720 * load * rate + 1, kind="simulation"
    )


def check_bad_input_is_refused() -> None:
    """Impossible objectives, more errors than requests, and no page wanted at all are refused."""
    checks.raises("percent", hours_left, 99.9, 30.0, 0.1, 1.0, match="slo must be in (0, 1)")
    checks.raises("2 of 1", verdict, (1, 2), (1, 0), 0.999, 14.4, 1, match="long must be of errors")
    checks.raises("never", errors_worth_a_page, 9, 0.1, 0.0, match="pages_per_month must be")
