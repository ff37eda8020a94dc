"""Burn-rate alerts on counts: when they fire, and what they catch in a month.

An alert with threshold b* fires while the error rate exceeds b*(1−s) both in a long window and in
a short one of a twelfth of its length. With n requests in a window that takes ⌊b*(1−s)·n⌋ + 1
errors.

Assumes: alerts evaluated at the end of every interval, on the counts of whole intervals.

Source: Beyer et al. (2018), chapter 5, “Multiwindow, Multi-Burn-Rate Alerts” and table 5-8.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_in,
    require_positive,
    require_positive_integer,
    require_shape,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Counts = npt.NDArray[np.int64]
SLO = 0.999  # objective of the examples
DAY_MIN = 1440  # min
RULES = (("1 h page", 60, 5, 14.4), ("6 h page", 360, 30, 6.0), ("3 d ticket", 4320, 360, 1.0))
# name, long and short window [min], burn rate: SRE Workbook, table 5-8


def errors_to_fire(requests: npt.ArrayLike, slo: float, burn: float) -> Counts:
    """Fewest errors that lift the error rate of n requests above a burn rate, ⌊b*(1−s)n⌋ + 1.

    requests: n, integers ≥ 0, any shape. slo: s in (0, 1). burn: b* > 0. The result has the shape
    of n. A product within 1e-9 of an integer counts as it. Raises ValueError outside these ranges.

    >>> errors_to_fire([10, 69, 70, 1000], slo=0.999, burn=14.4).tolist()
    [1, 1, 2, 15]
    """
    counts = as_floats(requests=requests)
    require(
        np.all((counts >= 0) & (counts < math.inf) & (np.rint(counts) == counts)),
        "requests",
        "non-negative integers",
        counts,
    )
    slo = require_in("(0, 1)", slo=slo)
    burn = require_positive(burn=burn)
    most = burn * float(counts.max(initial=0.0))
    require(most <= 2**53, "burn", "such that errors can be counted, up to 2**53", burn)
    return (np.floor(burn * (1 - slo) * counts + 1e-9) + 1).astype(np.int64)


def alert_firing(
    requests: npt.ArrayLike,
    errors: npt.ArrayLike,
    long: int,
    short: int,
    slo: float,
    burn: float,
) -> npt.NDArray[np.bool_]:
    """Whether the alert fires at the end of each interval: above b* in the long and short window.

    requests, errors: counts per interval, shape (..., n); independent series in the leading axes.
    long, short: lengths of the windows [intervals], 1 ≤ short ≤ long. Nothing fires before the
    data fill the long window. slo: s in (0, 1). burn: b* > 0. Raises ValueError on other values and
    on more errors than requests.

    >>> alert_firing([10] * 4, [0, 5, 5, 0], long=3, short=1, slo=0.9, burn=1.0).tolist()
    [False, False, True, False]
    """
    long = as_number(long=long)
    served, failed = as_floats(requests=requests), as_floats(errors=errors)
    require(served.ndim >= 1 and served.size > 0, "requests", "a non-empty array", served.shape)
    require_shape(served.shape, errors=failed)
    require(np.all((failed >= 0) & (failed <= served)), "errors", "in 0…requests", failed)
    short = require_positive_integer(short=short)
    require(long % 1 == 0 and long >= short, "long", "an integer ≥ short", long)

    def exceeds(window: int) -> npt.NDArray[np.bool_]:
        sums = []
        for counts in (served, failed):
            total = np.cumsum(counts, axis=-1)
            total[..., window:] -= total[..., :-window].copy()
            sums.append(total)
        return sums[1] >= errors_to_fire(sums[0], slo, burn)

    return exceeds(long) & exceeds(short) & (np.arange(served.shape[-1]) >= long - 1)


def simulated_month(
    rng: np.random.Generator, requests_per_min: int, incidents: list[tuple[float, float, float]]
) -> tuple[Counts, Counts]:
    """Requests and errors of each minute of 30 days, with errors at 0.02% and incidents on top.

    requests_per_min: mean of the Poisson number of requests. incidents: (start [d], length [d],
    error rate). Returns two arrays of shape (43200,). Raises ValueError on rates outside [0, 1]
    and on other days.
    """
    rates = np.full(30 * DAY_MIN, 0.0002)
    for start, length, rate in as_numbers(incidents=incidents):
        inside = 0 <= start <= 30 and 0 <= length <= 30
        require(inside, "incidents", "of starts and lengths in [0, 30] days", (start, length))
        require(0 <= rate <= 1, "incidents", "of error rates in [0, 1]", rate)
        rates[round(start * DAY_MIN) : round((start + length) * DAY_MIN)] = rate
    requests_per_min = require_positive(requests_per_min=requests_per_min)
    require_work(requests_per_min, requests_per_min=requests_per_min)
    requests = rng.poisson(requests_per_min, rates.size)
    return requests, rng.binomial(requests, rates)


FAST = (8.0, 20 / DAY_MIN, 0.25)  # day, length [d], error rate: burn rate 250 for 20 minutes
SLOW = (17.0, 4.0, 0.003)  # burn rate 3 for four days, below both pages


def _starts(firing: npt.NDArray[np.bool_]) -> Counts:
    """Indices at which a series of evaluations begins to fire."""
    return np.flatnonzero(firing & ~np.r_[False, firing[:-1]])


def example() -> SimpleNamespace:
    """Worked numbers of the chapter, in the unit that the name says."""
    requests, errors = simulated_month(np.random.default_rng(71), 600, [FAST, SLOW])
    page, _, ticket = (
        _starts(alert_firing(requests, errors, long, short, SLO, burn))
        for _, long, short, burn in RULES
    )
    budget = (1 - SLO) * requests.sum()
    fast, slow = round(FAST[0] * DAY_MIN), round(SLOW[0] * DAY_MIN)
    opened = ticket[ticket > slow][0]
    return SimpleNamespace(
        fast_page_min=float(page[0] + 1 - fast),
        fast_spent_percent=100 * float(errors[fast : fast + 20].sum() / budget),
        slow_ticket_h=float(opened + 1 - slow) / 60,
        slow_spent_percent=100 * float(errors[slow:opened].sum() / budget),
        month_left_percent=100 * float(1 - errors.sum() / budget),
    )


def figure_month(figure: Figure) -> None:
    """A fast burn pages within the hour; a slow one, below every page, opens a ticket.

    Simulated month of 600 requests a minute, objective 99.9%. Twenty minutes of 25% errors on day
    8, then four days of 0.3% from day 17. The bars below show when each alert fires; they
    are drawn at least three hours wide.

    Alt: Two panels over 30 days. Above, the remaining budget falls slowly from 100 percent, drops
    by 12 points on day 8 and by 40 points between days 17 and 21, and ends near 30 percent. Below,
    three rows: the one-hour page and the six-hour page fire briefly on day 8, the three-day ticket
    fires on day 8 and from day 18 until day 21.
    """
    requests, errors = simulated_month(np.random.default_rng(71), 600, [FAST, SLOW])
    figure.set_size_inches(5.8, 4.3)
    axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    left = 100 * (1 - np.cumsum(errors) / ((1 - SLO) * requests.sum()))
    shown = np.unique(np.r_[np.arange(0, left.size, 144), np.arange(11_500, 11_560, 2)])
    axes.plot((shown + 1) / DAY_MIN, left[shown], color="C0")
    axes.annotate("fast: 25% errors, 20 min", (8.3, 90), color="C3")
    axes.annotate("slow: 0.3% errors, 4 d", (19.4, 68), color="C1")
    for row, ((_, long, short, burn), colour) in enumerate(
        zip(RULES, ("C3", "C3", "C1"), strict=True)
    ):
        firing = alert_firing(requests, errors, long, short, SLO, burn)
        starts, ends = _starts(firing), _starts(~firing)
        for start in starts.tolist():
            end = next((e for e in ends.tolist() if e > start), firing.size)
            width = max((end - start) / DAY_MIN, 0.12)
            strip.broken_barh([(start / DAY_MIN, width)], (1.6 - row, 0.8), color=colour)
    strip.set_yticks([2, 1, 0], [name for name, *_ in RULES])
    strip.grid(False)
    axes.tick_params(labelbottom=True)
    axes.set(ylim=(0, 103), xlabel="day", ylabel="budget left [%]")
    strip.set(xlim=(0, 30), ylim=(-0.6, 2.6), xlabel="day", ylabel="firing")


def check_windows_of_the_workbook() -> None:
    """After 15% errors for ten minutes the page comes in the sixth minute and goes in five.

    Source: Beyer et al. (2018), figure 5-6: “after 5 minutes”, and 5 minutes after the errors; for
    one window alone, 60 min less the time to fire, 14.4 budgets of 0.1% at 15%.
    """
    requests = np.full(300, 1000)
    errors = np.zeros(300, dtype=int)
    errors[100:110] = 150
    firing = np.flatnonzero(alert_firing(requests, errors, 60, 5, SLO, 14.4))
    checks.close("fires after [min]", firing[0] + 1 - 100, 5, atol=1, kind="published")
    checks.close("stops after [min]", firing[-1] + 1 - 109, 5, atol=1, kind="published")
    alone = np.flatnonzero(alert_firing(requests, errors, 60, 60, SLO, 14.4))
    checks.close("one window alone [min]", alone[-1] + 1 - 109, 60 - 60 * 0.0144 / 0.15, atol=1)


def check_first_error_pages() -> None:
    """Up to 69 requests an hour a single error fires the page, at 70 it takes two.

    Source: exact fractions, the smallest count above 14.4/1000 of the requests; 10 an hour pages
    “immediately” in Beyer et al. (2018).
    """
    counts = np.arange(1, 2001)
    by_hand = [next(k for k in range(99) if 10_000 * k > 144 * n) for n in counts.tolist()]
    checks.close("errors to fire, n = 1 … 2000", errors_to_fire(counts, SLO, 14.4), by_hand)
    checks.close("10 an hour", errors_to_fire(10, SLO, 14.4), 1, kind="published")


def check_month_of_two_burns() -> None:
    """Of the simulated month's burns the fast one is paged, the slow one only opens a ticket.

    Source: the formulas T·b/(w·b*) of the chapter with Poisson traffic; the budget by counting.
    """
    values = example()
    due = 60 * 14.4 / 250
    checks.close("page after [min]", values.fast_page_min, due, atol=1.5, kind="simulation")
    checks.close("fast spent [%]", values.fast_spent_percent, 100 * 250 * 20 / 43_200, rtol=0.03)
    due = 72 * (1 - 0.2) / (3 - 0.2)  # the base rate of 0.2 had filled the window
    checks.close("ticket after [h]", values.slow_ticket_h, due, rtol=0.05, kind="simulation")
    requests, errors = simulated_month(np.random.default_rng(71), 600, [FAST, SLOW])
    for name, long, short, burn in RULES[:2]:
        starts = _starts(alert_firing(requests, errors, long, short, SLO, burn))
        checks.equal(f"{name}: day of each", sorted({int(s // DAY_MIN) for s in starts}), [8])


def check_bad_input_is_refused() -> None:
    """Fractions of requests, more errors than requests and mixed-up windows are errors."""
    checks.raises("half", errors_to_fire, 1.5, SLO, 1.0, match="requests must be non-negative int")
    checks.raises(
        "2 of 1 failed", alert_firing, [1], [2], 2, 1, SLO, 1.0, match="errors must be in 0…requ"
    )
    checks.raises(
        "short above long", alert_firing, [1], [0], 1, 2, SLO, 1.0, match="long must be an integer"
    )
