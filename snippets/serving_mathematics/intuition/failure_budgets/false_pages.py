"""How often a burn-rate alert pages although nothing has changed.

Failures of a steady service come alone, or a few together with one cause. In either case the counts
in the short windows are independent, and the probability that an alert over a long and a short
window begins to fire is a double sum: given the counts that two neighbouring evaluations share, the
newest short window decides the one and the oldest the other. Times the number of evaluations it is
the expected number of pages, exactly.

Assumes: the same number of requests in every short window, evaluations at the end of each; causes
independent of each other, a geometric number of failures each, all in one short window.

Source: Beyer et al. (2018), chapter 5, “Low-Traffic Services and Error Budget Alerting”; Panjer
(1981) for the counts of a compound distribution.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import (
    alert_firing,
    errors_to_fire,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
SLO = 0.999  # objective of the examples
PAGE = 14.4  # burn rate of the one-hour page; SRE Workbook, table 5-8
WINDOWS = 12  # short windows in a long one
YEARLY = 1 / 12  # pages a month: one a year
GUARDS = ((1.0, 1.0, 5), (6.0, 2.5, 6))  # window [h], burn rate over 14.4/w, errors to ask for
HOURS = (0.5, 1.0, 3.0, 6.0)  # long windows of the slider; each fires at 2% of the budget of 30 days


def failure_counts(requests: int, error_rate: float, most: int, clump: float = 1.0) -> FloatArray:
    """P(X = k) for k = 0…most − 1 failures among n requests, and last P(X ≥ most).

    requests: n ≥ 1. error_rate: e in (0, 0.5]. most: ≥ 1. clump: mean failures of one cause, a
    geometric number, ≥ 1; at 1 the counts are binomial. By Panjer's recursion over a binomial
    number of causes. Raises ValueError outside these ranges.

    >>> failure_counts(2, 0.5, most=3).round(12).tolist()
    [0.25, 0.5, 0.25, 0.0]
    """
    requests, most = require_positive_integer(requests=requests, most=most)
    error_rate = require_in("(0, 0.5]", error_rate=error_rate)
    clump = require_positive(clump=clump)
    require(clump >= 1, "clump", "at least 1", clump)
    causes = error_rate / clump
    require(requests * causes <= 500, "requests", f"at most {500 / causes:g}", requests)
    computed = 2 * most + 50  # what lies above is summed, so that small tails keep their digits
    require_work(computed**2, most=most)
    sizes = np.concatenate([[1.0], np.cumprod(np.full(computed - 1, 1 - 1 / clump))]) / clump
    steps, odds = np.arange(1, computed + 1), causes / (1 - causes)
    counts = np.zeros(computed + 1)
    counts[0] = math.exp(requests * math.log1p(-causes))
    for k in range(1, computed + 1):
        weights = ((requests + 1) * steps[:k] / k - 1) * odds * sizes[:k]
        counts[k] = max(float(weights @ counts[k - 1 :: -1]), 0.0)
    beyond = max(1 - float(counts.sum()), 0.0)
    tail = float(counts[most:].sum()) + (beyond if beyond > 1e-12 else 0.0)
    return np.append(counts[:most], tail)


def false_pages(
    requests_short: int,
    error_rate: float,
    slo: float,
    burn: float,
    least: int = 1,
    clump: float = 1.0,
) -> float:
    """Probability that the alert begins to fire at an evaluation although nothing has changed.

    requests_short: m ≥ 1 in each short window, of which twelve make the long one. error_rate: e.
    slo: s in (0, 1). burn: b*. least: errors to ask for in the long window at least. clump: as for
    `failure_counts`. Times the evaluations in a month it is the expected number of pages. Raises
    ValueError outside these ranges.

    >>> round(8640 * false_pages(5, error_rate=0.001, slo=0.999, burn=14.4), 1)  # 60 an hour
    42.9
    """
    requests_short, least = require_positive_integer(requests_short=requests_short, least=least)
    in_short = int(errors_to_fire(requests_short, slo, burn))
    need = max(int(errors_to_fire(WINDOWS * requests_short, slo, burn)), least)
    require_work(4 * need**2, requests_short=requests_short)
    short = failure_counts(requests_short, error_rate, need, clump)
    shared = np.append(1.0, np.zeros(need))  # counts of the windows that two evaluations share
    for _ in range(WINDOWS - 2):
        exact = np.convolve(shared, short)
        shared = np.append(exact[:need], exact[need:].sum())
    at_least = np.cumsum(short[::-1])[::-1]
    middle, last = np.ix_(np.arange(need + 1), np.arange(need + 1))
    missing = np.maximum(need - middle - last, 0)
    fires = at_least[np.maximum(missing, in_short)]
    fired = np.where(last >= in_short, at_least[missing], 0.0)
    return float((shared[middle] * short[last] * fires * (1 - fired)).sum())


def _in_a_month(
    requests_per_h: float,
    error_rate: float = 0.001,
    hours: float = 1.0,
    least: int = 1,
    clump: float = 1.0,
    wrong: float = 1.0,
) -> float:
    """Pages in 30 days of a rule that fires at 2% of the budget. wrong: factor on its threshold."""
    m = round(requests_per_h * hours / WINDOWS)
    burn = wrong * PAGE / hours
    return 720 * WINDOWS / hours * false_pages(m, error_rate, SLO, burn, least, clump)


def _quiet_from(step: int, clump: float = 1.0, wrong: float = 1.0) -> int:
    """Requests an hour from which on steady failures page less than once a year."""
    loud = (n for n in range(200 * step, 0, -step) if _in_a_month(n, clump=clump, wrong=wrong))
    return step + next(n for n in loud if _in_a_month(n, clump=clump, wrong=wrong) > YEARLY)


def _guard(requests_per_h: int, clump: float = 1.0) -> int:
    """Fewest errors in an hour to ask for, so that a steady service pages less than yearly."""
    found = (k for k in range(1, 100) if _in_a_month(requests_per_h, least=k, clump=clump) < YEARLY)
    return next(found)


def example() -> SimpleNamespace:
    """Worked numbers of the chapter: pages of the one-hour alert in 30 days, and shares of time."""
    return SimpleNamespace(
        pages_at_60=_in_a_month(60),
        single_error_pages=max(n for n in range(1, 100) if errors_to_fire(n, SLO, PAGE) == 1),
        quiet_load=_quiet_from(12),
        quiet_load_low=_quiet_from(12, wrong=1.2),
        quiet_load_high=_quiet_from(12, wrong=0.8),
        quiet_load_of_three=_quiet_from(60, clump=3.0),
        pages_at_600=_in_a_month(600),
        pages_at_600_of_three=_in_a_month(600, clump=3.0),
        night_pages=_in_a_month(60) / 2,
        safe_errors=GUARDS[0][2],
        guard_at_60=_guard(60),
        guard_delay_min=float(_guard(60)),
        guard_spent_percent=100 * _guard(60) / (60 * 720 * 0.001),
        guard_of_three=_guard(60, clump=3.0),
        six_hours_at_480=_in_a_month(480, hours=6.0),
        six_hours_quiet=max(n for n in range(240, 4800, 24) if _in_a_month(n, hours=6.0) > YEARLY)
        + 24,
    )


def figure_false_pages(figure: Figure) -> None:
    """Below a few hundred requests an hour, the one-hour page wakes people for nothing.

    Expected pages in 30 days of a service that spends exactly its budget of 99.9%, by the number of
    failures that one cause has on average. Points are simulated months with 95% confidence
    intervals.

    Alt: Curves on a logarithmic axis against requests per hour from 12 to 6,000, for failures that
    come alone and in clumps of two, three and five on average. The first is a sawtooth that
    falls below one page a year at 288 requests an hour. The others start lower, rise, and fall
    below it at one to four thousand. Simulated points lie on the curves.
    """
    axes = figure.subplots()
    loads = np.unique(np.round(np.geomspace(1, 500, 60)).astype(int)) * 12
    for clump, colour, name, at in (
        (1.0, "C0", "alone", 132),
        (2.0, "C2", "in twos", 600),
        (3.0, "C1", "in threes", 1200),
        (5.0, "C3", "in fives", 2400),
    ):
        pages = [_in_a_month(load, clump=clump) for load in loads.tolist()]
        axes.loglog(loads, pages, color=colour, label=name)
        counts = _months(at, clump)
        half = 1.96 * counts.std(ddof=1) / math.sqrt(counts.size)
        axes.errorbar([at], [counts.mean()], [half], fmt="o", color=colour)
    axes.axhline(YEARLY, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("one a year", (13, 0.1), color="C4", fontsize=9)
    axes.legend(title="failures come", alignment="left", loc="lower left")
    axes.set(xlim=(12, 6000), ylim=(1e-3, 100))
    axes.set_xticks([12, 60, 300, 1200, 6000], ["12", "60", "300", "1,200", "6,000"])
    axes.set_yticks([0.001, 0.01, 0.1, 1, 10, 100], ["0.001", "0.01", "0.1", "1", "10", "100"])
    axes.minorticks_off()
    axes.set(xlabel="requests per hour", ylabel="false pages in 30 days")


def figure_windows(figure: Figure) -> None:
    """A page costs the same number of errors over any window; a long one collects them by itself.

    Expected pages in 30 days of a service that spends exactly its budget of 99.9%, for rules that
    fire when 2% of the month's budget is gone within the window.

    Alt: Four curves on logarithmic axes against requests per hour from 24 to 4,800. All begin near
    17 pages a month. The rule over half an hour falls below one a year first, at about
    240 requests an hour, then those over one, three and six hours; the last near two thousand.
    """
    axes = figure.subplots()
    loads = _LOADS
    for hours, colour in zip(HOURS, ("C0", "C2", "C1", "C3"), strict=True):
        pages = [_in_a_month(load, hours=hours) for load in loads]
        axes.loglog(loads, pages, color=colour, marker=".", label=_rule(hours))
    axes.axhline(YEARLY, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("one a year", (25, 0.1), color="C4", fontsize=9)
    axes.legend(title="window, and burn rate", alignment="left", loc="lower left")
    axes.set(xlim=(24, 4800), ylim=(1e-3, 100))
    axes.set_xticks([24, 120, 480, 1200, 4800], ["24", "120", "480", "1,200", "4,800"])
    axes.set_yticks([0.001, 0.01, 0.1, 1, 10, 100], ["0.001", "0.01", "0.1", "1", "10", "100"])
    axes.minorticks_off()
    axes.set(xlabel="requests per hour", ylabel="false pages in 30 days")


_LOADS = (24, 48, 72, 96, 120, 144, 192, 240, 360, 480, 720, 960, 1440, 2400, 4800)


def _rule(hours: float) -> str:
    """A window and its burn rate, as read."""
    window = "30 min" if hours < 1 else f"{hours:g} h"
    return f"{window} at {PAGE / hours:g}"


def slider_windows() -> dict[str, Any]:
    """Move the traffic and the window, and ask for more errors before anyone is woken."""
    leasts = (1, 2, 3, 5, 8)

    def over(value: Any) -> list[list[list[float]]]:
        return [[[value(n, h, k) for k in leasts] for h in HOURS] for n in _LOADS]

    def errors(n: int, hours: float, least: int) -> int:
        return max(int(errors_to_fire(round(n * hours), SLO, PAGE / hours)), least)

    return {
        "controls": [
            {"label": "traffic", "values": _LOADS, "text": "{:,} requests an hour", "start": 120},
            {
                "label": "rule",
                "values": [_rule(h) for h in HOURS],
                "start": _rule(1.0),
            },
            {"label": "errors", "values": leasts, "text": "at least {} errors", "start": 1},
        ],
        "x": {"label": "requests per hour", "unit": "", "log": True},
        "y": {
            "label": "false pages in 30 days",
            "unit": "",
            "log": True,
            "range": (1e-3, 100),
            "limit": {"at": YEARLY, "label": "one a year"},
        },
        "curves": [
            {
                "label": "pages",
                "unit": "",
                "values": over(lambda n, h, k: max(_in_a_month(n, hours=h, least=k), 1e-9)),
                "decimals": 2,
            }
        ],
        "readouts": [
            {
                "label": "outage",
                "unit": "min",
                "values": over(lambda n, h, k: 60 * errors(n, h, k) / n),
                "decimals": 1,
            },
            {
                "label": "twentieth",
                "unit": "min",
                "values": over(lambda n, h, k: 60 * errors(n, h, k) / (0.05 * n)),
                "decimals": 0,
            },
            {
                "label": "spent",
                "unit": "%",
                "values": over(lambda n, h, k: 100 * errors(n, h, k) / (0.001 * 720 * n)),
                "decimals": 1,
            },
        ],
        "reading": "With {traffic}, a rule of {rule} and {errors}, a service that just keeps 99.9%"
        " wakes you {pages} times in 30 days. A full outage is noticed after {outage}, one failing"
        " request in twenty after {twentieth}; {spent} of the month's budget is gone by then.",
    }


@functools.cache
def _months(requests_per_h: int, clump: float) -> npt.NDArray[np.int64]:
    """Pages in each of some simulated months of a service that spends its budget."""
    rng = np.random.default_rng([73, requests_per_h, round(clump)])
    m, starts = requests_per_h // WINDOWS, []
    for _ in range(60):
        causes = rng.binomial(m, 0.001 / clump, 8640 + WINDOWS)
        failures = causes + rng.negative_binomial(np.maximum(causes, 1), 1 / clump) * (causes > 0)
        requests = np.full(causes.size, m)
        firing = alert_firing(requests, np.minimum(failures, m), WINDOWS, 1, SLO, PAGE)
        starts.append((firing[WINDOWS:] & ~firing[WINDOWS - 1 : -1]).sum())
    return np.array(starts)


def check_false_pages_written_out() -> None:
    """The chance that a page begins is a sum over three binomial counts.

    Source: the sum over the oldest, the shared and the newest windows, with exact binomial
    coefficients.
    """
    for m, rate in ((1, 0.001), (9, 0.0005), (20, 0.001)):
        need = int(errors_to_fire(12 * m, SLO, PAGE))

        def chance(n: int, k: int, p: float = rate) -> float:
            return math.comb(n, k) * p**k * (1 - p) ** (n - k)

        total = sum(
            chance(m, oldest) * chance(10 * m, shared) * chance(m, last) * chance(m, newest)
            for last in range(m + 1)
            for newest in range(1, m + 1)
            for shared in range(need + 9)
            if newest + shared + last >= need
            for oldest in range(m + 1)
            if not (last >= 1 and oldest + shared + last >= need)
        )
        got = false_pages(m, rate, SLO, PAGE)
        checks.close(f"{12 * m} an hour", got, total, rtol=1e-6)


def check_false_pages_in_a_month() -> None:
    """The expected number of false pages agrees with simulated months, whatever comes together.

    Source: simulation of independent months, five minutes at a time; three standard errors.
    """
    for load, clump in ((60, 1.0), (132, 1.0), (600, 2.0), (1200, 3.0), (2400, 5.0)):
        pages = _months(load, clump)
        error = float(pages.std(ddof=1)) / math.sqrt(pages.size)
        estimate = MeanEstimate(float(pages.mean()), error, 0)
        label = f"{load} an hour, {clump:g} together"
        checks.covers(label, estimate, _in_a_month(load, clump=clump))


def check_guard_keeps_the_nights() -> None:
    """At every traffic the errors to ask for keep false pages below one a year, and one fewer does
    not; where failures come in threes the same guard is far too low.

    Source: the expected pages at the guard, at one error less, and with clumps.
    """
    for load in (12, 60, 120, 240):
        k = _guard(load)
        checks.inside(f"{load} an hour, {k} errors", _in_a_month(load, least=k), 0, YEARLY)
        fewer = _in_a_month(load, least=k - 1) if k > 1 else math.inf
        checks.holds(f"{load} an hour, {k - 1} errors page oftener", fewer > YEARLY, got=fewer)
        loud = _in_a_month(load, least=k, clump=3.0)
        checks.holds(f"{load} an hour, in threes", loud > 12 * YEARLY, got=loud)


def check_guards_of_the_rules() -> None:
    """Five errors in the hour and six in six hours keep both pages below one a year at any traffic.

    Source: the expected pages of both rules at every load up to 1,200 requests an hour.
    """
    for hours, wrong, least in GUARDS:
        pages = [
            _in_a_month(n, hours=hours, wrong=wrong, least=least) for n in range(12, 1201, 12)
        ]
        checks.inside(f"{hours:g} h, {least} errors", max(pages), 0, YEARLY)


def check_longest_quiet_window() -> None:
    """At 2% of the budget a longer window always pages oftener for nothing, and all windows ask for
    the same number of errors.

    Source: the expected pages of the slider's rules, failures alone, in threes, and with a
    threshold wrong by a fifth either way; ⌊14.4·0.001·n⌋ + 1 by hand.
    """
    for load in (240, 480, 960):
        need = [int(errors_to_fire(round(load * h), SLO, PAGE / h)) for h in HOURS]
        checks.equal(f"{load} an hour: errors", need, [math.floor(0.0144 * load) + 1] * len(HOURS))
        for clump, wrong in ((1.0, 1.0), (3.0, 1.0), (1.0, 0.8), (1.0, 1.2)):
            pages = [_in_a_month(load, hours=h, clump=clump, wrong=wrong) for h in HOURS]
            told = f"{load} an hour, {clump:g} together, threshold × {wrong:g}"
            checks.holds(told, pages == sorted(pages), got=pages)


def check_bad_input_is_refused() -> None:
    """Certain errors, clumps of less than one and negative thresholds are refused by name."""
    checks.raises("e = 1", failure_counts, 3, 1.0, 3, match="error_rate must be in (0, 0.5]")
    checks.raises("half a failure", failure_counts, 3, 0.1, 3, 0.5, match="clump must be at least")
    checks.raises("burn −1", false_pages, 3, 0.1, SLO, -1.0, match="burn must be pos")
