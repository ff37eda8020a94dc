"""How often a burn-rate alert pages although nothing has changed.

Errors that come independently at the rate e are binomial in each window, so the probability that
an alert over a long and a short window fires at a given moment is a double sum. The probability
that it begins to fire is one as well: given the counts that two neighbouring evaluations share,
they are independent. The second times the number of evaluations is the expected number of pages.

Assumes: independent errors, the same number of requests in every short window, evaluations at the
end of each.

Source: Beyer et al. (2018), chapter 5, “Low-Traffic Services and Error Budget Alerting”.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.core.reliability.burn_rate_alerts import alert_firing, errors_to_fire
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SLO = 0.999  # objective of the examples
PAGE = 14.4  # burn rate of the one-hour page; SRE Workbook, table 5-8
WINDOWS_PER_MONTH = 30 * 24 * 12  # short windows of 5 min in 30 days


def _needed(requests_short: int, slo: float, burn: float, windows: int) -> tuple[int, int]:
    """Errors that fire the short window and the long one, ⌊b*(1−s)n⌋ + 1 of n requests."""
    requests_short = require_positive_integer(requests_short=requests_short)
    slo = require_in("(0, 1)", slo=slo)
    burn = require_positive(burn=burn)
    require(windows % 1 == 0 and windows >= 2, "windows", "an integer ≥ 2", windows)
    most = "at most a million requests in the long window"
    require(windows * requests_short <= 1e6, "requests_short", most, requests_short)
    require(burn * (1 - slo) <= 2, "burn", f"at most {2 / (1 - slo):g}", burn)
    allowed = burn * (1 - slo) * requests_short
    return math.floor(allowed + 1e-9) + 1, math.floor(allowed * windows + 1e-9) + 1


def binomial_probabilities(trials: int, probability: float) -> npt.NDArray[np.float64]:
    """P(X = k) for k = 0…n failures in n independent trials, shape (n+1,).

    trials: n ≥ 0. probability: p in (0, 1). By logarithms, so that no term under- or overflows on
    the way. Raises ValueError outside these ranges.

    >>> binomial_probabilities(2, 0.5).round(12).tolist()
    [0.25, 0.5, 0.25]
    """
    trials = require_non_negative_integer(trials=trials)
    require_work(trials, trials=trials)
    probability = require_in("(0, 1)", probability=probability)
    k = np.arange(1, trials + 1)
    ratios = np.log((trials - k + 1) / k) + math.log(probability) - math.log1p(-probability)
    logs = trials * math.log1p(-probability) + np.cumsum(np.r_[0.0, ratios])
    return np.asarray(np.exp(logs), dtype=np.float64)


def fire_probability(
    requests_short: int, error_rate: float, slo: float, burn: float, windows: int = 12
) -> float:
    """Probability that the alert fires at a given moment although errors come at a steady rate.

    requests_short: m ≥ 1 in each short window. error_rate: e in (0, 1). slo: s in (0, 1). burn: b*.
    windows: short windows in the long one, at least 2. Exact: the binomial counts of the last short
    window and of the rest of the long one are independent. Raises ValueError outside these ranges.

    >>> round(fire_probability(1, error_rate=0.001, slo=0.999, burn=14.4), 9)
    0.001
    """
    windows = as_number(windows=windows)
    error_rate = require_in("(0, 1)", error_rate=error_rate)
    in_short, in_long = _needed(requests_short, slo, burn, windows)
    last = binomial_probabilities(requests_short, error_rate)
    rest = binomial_probabilities((windows - 1) * requests_short, error_rate)
    at_least = np.r_[np.cumsum(rest[::-1])[::-1], 0.0]
    missing = np.maximum(in_long - np.arange(last.size), 0).clip(max=rest.size)
    return float((last * at_least[missing])[in_short:].sum())


def page_start_probability(
    requests_short: int, error_rate: float, slo: float, burn: float, windows: int = 12
) -> float:
    """Probability that the alert begins to fire at a given evaluation: it does now, not before.

    Arguments and errors as for `fire_probability`. Times the evaluations in a month it is the
    expected number of pages, exactly. Given the counts that two neighbouring evaluations share,
    the newest short window decides the one and the oldest the other, independently; counts above
    what fires are lumped together.

    >>> p = page_start_probability(1, error_rate=0.001, slo=0.999, burn=14.4, windows=2)
    >>> round(p, 9) == round(0.001 * 0.999, 9)
    True
    """
    windows = as_number(windows=windows)
    require_work(200 * windows, windows=windows)
    error_rate = require_in("(0, 1)", error_rate=error_rate)
    in_short, in_long = _needed(requests_short, slo, burn, windows)

    def lumped(trials: int) -> npt.NDArray[np.float64]:
        exact = np.r_[binomial_probabilities(trials, error_rate), np.zeros(in_long)]
        return np.asarray(np.r_[exact[:in_long], exact[in_long:].sum()], dtype=np.float64)

    short, shared = lumped(requests_short), lumped((windows - 2) * requests_short)
    at_least = np.cumsum(short[::-1])[::-1]
    middle, last = np.ix_(np.arange(in_long + 1), np.arange(in_long + 1))
    missing = np.maximum(in_long - middle - last, 0)
    fires = at_least[np.maximum(missing, in_short)]
    fired = np.where(last >= in_short, at_least[missing], 0.0)
    return float((shared[middle] * short[last] * fires * (1 - fired)).sum())


def _pages_per_month(requests_per_h: int, error_rate: float) -> float:
    return WINDOWS_PER_MONTH * page_start_probability(requests_per_h // 12, error_rate, SLO, PAGE)


def _largest_load(errors: int) -> int:
    """Most requests in a window of which this many errors already fire the page."""
    loads = np.arange(1, 1000)
    return int(loads[errors_to_fire(loads, SLO, 14.4) <= errors].max())


def example() -> SimpleNamespace:
    """Worked numbers of the chapter: pages of the one-hour alert in 30 days, and shares of time."""
    return SimpleNamespace(
        pages_at_12=_pages_per_month(12, 0.001),
        pages_at_60=_pages_per_month(60, 0.001),
        pages_at_72=_pages_per_month(72, 0.001),
        pages_at_240=_pages_per_month(240, 0.001),
        pages_at_480=_pages_per_month(480, 0.001),
        half_pages_at_240=_pages_per_month(240, 0.0005),
        ticket_share_percent=100 * fire_probability(3600, 0.001, SLO, 1.0),
        single_error_pages=_largest_load(1),
        two_errors_page=12 * (_largest_load(1) // 12 + 1),
        evaluations=30 * 24 * 12,
        quiet_load=max(n for n in range(12, 601, 12) if _pages_per_month(n, 0.001) > 1 / 12) + 12,
    )


def figure_false_pages(figure: Figure) -> None:
    """Below a few hundred requests an hour, the one-hour page wakes people for nothing.

    Expected false pages in 30 days of the alert over 1 h and 5 min at burn rate 14.4, for services
    with steady, independent errors. Each step down is one more error that firing takes. Points are
    means of simulated months with 95% confidence intervals.

    Alt: Sawtooth curves on a logarithmic axis against requests per hour from 12 to 600, for error
    rates that spend all, half and a tenth of the budget. They peak at 60 requests an hour with 43,
    22 and 4 pages a month and drop about tenfold at 72, 144, 216 and so on. The top one stays below
    one page a year from 288 requests an hour on. Simulated points lie on the curves.
    """
    rng = np.random.default_rng(72)
    axes = figure.subplots()
    loads = np.arange(12, 601, 12)
    for error_rate, colour, name in (
        (0.001, "C3", "all of its budget"),
        (0.0005, "C1", "half of it"),
        (0.0001, "C0", "a tenth of it"),
    ):
        pages = [_pages_per_month(load, error_rate) for load in loads.tolist()]
        axes.semilogy(loads, pages, color=colour, linewidth=1.4, label=name)
        if error_rate == 0.001:
            months = _months_of_budget()
        else:
            months = {load: _pages_of_months(rng, load, error_rate, 42) for load in (60, 132)}
        means = [pages.mean() for pages in months.values()]
        halves = [1.96 * pages.std(ddof=1) / math.sqrt(pages.size) for pages in months.values()]
        axes.errorbar(list(months), means, halves, fmt="o", color=colour)
    axes.axhline(1 / 12, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("one a year", (600, 1 / 12), color="C4", ha="right", va="bottom", fontsize=9)
    axes.legend(title="a service that spends", alignment="left", loc="upper right")
    axes.set(xlim=(0, 605), ylim=(1e-3, 100))
    axes.set_yticks([0.001, 0.01, 0.1, 1, 10, 100], ["0.001", "0.01", "0.1", "1", "10", "100"])
    axes.minorticks_off()
    axes.set(xlabel="requests per hour", ylabel="false pages in 30 days")


@functools.cache
def _months_of_budget() -> dict[int, npt.NDArray[np.int64]]:
    """Pages of each simulated month by requests per hour, of a service that spends its budget."""
    rng = np.random.default_rng(73)
    months = ((60, 42), (132, 84), (264, 84))
    return {load: _pages_of_months(rng, load, 0.001, count) for load, count in months}


def _pages_of_months(
    rng: np.random.Generator, requests_per_h: int, error_rate: float, months: int
) -> npt.NDArray[np.int64]:
    """Number of times that the one-hour page begins in each of some simulated months."""
    m, starts = requests_per_h // 12, []
    for _ in range(months):
        errors = rng.binomial(m, error_rate, WINDOWS_PER_MONTH + 12)
        firing = alert_firing(np.full(errors.size, m), errors, 12, 1, SLO, PAGE)
        starts.append((firing[12:] & ~firing[11:-1]).sum())
    return np.array(starts)


def check_counts_are_those_of_the_alerts() -> None:
    """The errors that fire a window are the same here as in the alerts on counts.

    Source: `errors_to_fire`, for 1 to 100 requests in five minutes and twelve times as many.
    """
    m = np.arange(1, 101)
    here = [_needed(n, SLO, PAGE, 12) for n in m.tolist()]
    both = np.column_stack([errors_to_fire(m, SLO, PAGE), errors_to_fire(12 * m, SLO, PAGE)])
    checks.close("short and long", here, both)


def check_false_page_probability() -> None:
    """The chance of a false page at a given moment is a double sum over two binomial counts.

    Source: the sum written out with exact binomial coefficients.
    """
    for m, rate in ((1, 0.001), (9, 0.0005), (20, 0.001)):
        need = int(errors_to_fire(12 * m, SLO, PAGE))
        total = 0.0
        for c in range(1, m + 1):
            for r in range(max(need - c, 0), 11 * m + 1):
                ways = math.comb(m, c) * math.comb(11 * m, r)
                total += ways * rate ** (c + r) * (1 - rate) ** (12 * m - c - r)
        checks.close(f"{12 * m} an hour", fire_probability(m, rate, SLO, PAGE), total, rtol=1e-10)


def check_false_pages_in_a_month() -> None:
    """The expected number of false pages agrees with simulated months.

    Source: simulation of independent months, five minutes at a time; three standard errors.
    """
    for load, pages in _months_of_budget().items():
        error = float(pages.std(ddof=1)) / math.sqrt(pages.size)
        estimate = MeanEstimate(float(pages.mean()), error, 0)
        checks.covers(f"{load} an hour", estimate, _pages_per_month(load, 0.001))


def check_short_window_does_not_prevent_false_pages() -> None:
    """Up to 69 requests in five minutes the short window never prevents the first page.

    Source: while one error in five minutes is enough, the long window can only be crossed by a
    fresh error; first firings of the long window alone in 40 simulated months.
    """
    checks.equal("one error fires 5 min", errors_to_fire([69, 70], SLO, PAGE).tolist(), [1, 2])
    errors = np.random.default_rng(74).binomial(12, 0.001, (40, WINDOWS_PER_MONTH))
    errors[:, :12] = 0  # the hour before the first evaluation
    requests = np.full(errors.shape, 12)
    both, alone = (alert_firing(requests, errors, 12, w, SLO, PAGE).argmax(axis=1) for w in (1, 12))
    checks.close("first firing, 40 months", both, alone)


def check_bad_input_is_refused() -> None:
    """Certain errors, single windows and negative thresholds are refused by name."""
    checks.raises("p = 1", binomial_probabilities, 3, 1.0, match="probability must be in (0, 1)")
    checks.raises(
        "one window", fire_probability, 3, 0.1, SLO, 1.0, 1, match="windows must be an integer ≥ 2"
    )
    checks.raises("burn −1", page_start_probability, 3, 0.1, SLO, -1.0, match="burn must be pos")
