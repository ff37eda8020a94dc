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

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import (
    alert_firing,
    errors_to_fire,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    require,
    require_in,
    require_positive,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
SLO = 0.999  # objective of the examples
PAGE = 14.4  # burn rate of the one-hour page; SRE Workbook, table 5-8
WINDOWS = 12  # short windows in a long one


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
    if clump == 1:  # one term is left of each sum
        grows = np.maximum(((requests + 1) / steps - 1) * odds, 0.0)
        counts[1:] = counts[0] * np.cumprod(grows)
    for k in range(1, computed + 1) if clump > 1 else ():
        weights = ((requests + 1) * steps[:k] / k - 1) * odds * sizes[:k]
        counts[k] = max(float(weights @ counts[k - 1 :: -1]), 0.0)
    tail = float(counts[most:].sum()) + max(1 - float(counts.sum()) - 1e-12, 0.0)
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


def _monthly(requests_per_h: int, clump: float) -> float:
    """Pages in 30 days of the one-hour rule, of a service that spends its budget."""
    return 8640 * false_pages(requests_per_h // WINDOWS, 0.001, SLO, PAGE, clump=clump)


def _poisson(mean: float, most: int) -> FloatArray:
    """P(X = k) of a Poisson count for k = 0…most."""
    steps = np.log(mean) - np.log(np.arange(1, most + 1))
    return np.asarray(np.exp(np.cumsum(np.append(-mean, steps))))


def _of_random_traffic(requests_per_h: float, least: int = 1) -> float:
    """Pages in 30 days of the one-hour rule, of a service that spends its budget on requests that
    come independently, to a ten-thousandth. Any failure is enough for the short window, which holds
    up to 480 an hour; so the good requests of a window must be fewer than its failures allow."""
    rate, most = 1 - SLO, 20  # failures of a short window, at most
    good = requests_per_h / WINDOWS * (1 - rate)  # in a short window, on average
    size = int(WINDOWS * good + 12 * math.sqrt(WINDOWS * good)) + 9
    shared = _poisson((WINDOWS - 1) * good, size)
    below = np.append(0.0, np.cumsum(_poisson(good, size)))  # P(fewer than k)
    failed = _poisson(requests_per_h / WINDOWS * rate, most)
    between = _poisson((WINDOWS - 2) * requests_per_h / WINDOWS * rate, most)
    allowed = np.ceil(np.arange(3 * most + 1) * (1 / (PAGE * rate) - 1)).astype(np.intp)
    fires = below[np.clip(allowed[:, None] - np.arange(size + 1), 0, size + 1)]
    fires[:least] = 0.0
    begins = 0.0
    for middle, last in np.ndindex(most + 1, most + 1):
        told = fires[middle + last : middle + last + most + 1]
        fired = failed @ told if last else np.zeros(size + 1)
        pages = float(shared * (failed[1:] @ told[1:]) @ (1 - fired))
        begins += float(between[middle] * failed[last]) * pages
    return float(8640 * begins)


def figure_false_pages(figure: Figure) -> None:
    """Below a few hundred requests an hour, the one-hour page wakes people for nothing.

    The service spends exactly its budget; each line is for one mean size of clumps. Points are
    simulated months with 95% intervals.

    Alt: Curves on a logarithmic axis against requests per hour from 12 to 6,000, for failures that
    come alone and in clumps of two, three and five on average. The first is a sawtooth that
    falls below one page a year at about three hundred requests an hour. The others start lower,
    rise, and fall below it at one to four thousand. Simulated points lie on the curves.
    """
    axes = figure.subplots()
    loads = np.unique(np.round(np.geomspace(1, 500, 60)).astype(int)) * 12
    for clump, colour, name, at in (
        (5.0, "C3", "in fives", 2400),
        (3.0, "C1", "in threes", 1200),
        (2.0, "C2", "in twos", 600),
        (1.0, "C0", "alone", 132),
    ):
        pages = [_monthly(load, clump) for load in loads.tolist()]
        axes.loglog(loads, pages, color=colour, label=name)
        counts = _months(at, clump)
        half = 1.96 * counts.std(ddof=1) / math.sqrt(counts.size)
        axes.errorbar([at], [counts.mean()], [half], fmt="o", color=colour)
    axes.axhline(1 / 12, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("one a year", (13, 0.1), color="C4")
    axes.legend(title="failures come", alignment="left", loc="lower left", labelspacing=0.3)
    axes.set(xlim=(12, 6000), ylim=(1e-3, 100))
    axes.set_xticks([12, 60, 300, 1200, 6000], ["12", "60", "300", "1,200", "6,000"])
    axes.set_yticks([0.001, 0.01, 0.1, 1, 10, 100], ["0.001", "0.01", "0.1", "1", "10", "100"])
    axes.minorticks_off()
    axes.set(xlabel="requests per hour", ylabel="false pages in 30 days")


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


def check_pages_of_random_traffic() -> None:
    """Where requests arrive independently, so that windows hold different numbers of them, the sum
    over failures and good requests agrees with simulated months.

    Source: simulation, five minutes at a time, with rates of what came; three standard errors.
    """
    for load, months in ((60, 20), (132, 40)):
        rng = np.random.default_rng([74, load, 1])
        shape = (months, 8640 + WINDOWS)
        failed = rng.poisson(load / WINDOWS * 0.001, shape)
        came = failed + rng.poisson(load / WINDOWS * 0.999, shape)
        both = np.cumsum([failed, came], axis=2)
        errors, requests = both[:, :, WINDOWS:] - both[:, :, :-WINDOWS]
        firing = (errors > PAGE * 0.001 * requests) & (failed > PAGE * 0.001 * came)[:, WINDOWS:]
        pages = (firing[:, 1:] & ~firing[:, :-1]).sum(axis=1)
        error = float(pages.std(ddof=1)) / math.sqrt(months)
        estimate = MeanEstimate(float(pages.mean()), error, 0)
        checks.covers(f"{load} an hour", estimate, _of_random_traffic(load))


def check_false_pages_in_a_month() -> None:
    """The expected number of false pages agrees with simulated months, with failures that come
    alone or in clumps.

    Source: simulation of independent months, five minutes at a time; three standard errors.
    """
    for load, clump in ((60, 1.0), (132, 1.0), (600, 2.0), (1200, 3.0), (2400, 5.0)):
        pages = _months(load, clump)
        error = float(pages.std(ddof=1)) / math.sqrt(pages.size)
        estimate = MeanEstimate(float(pages.mean()), error, 0)
        label = f"{load} an hour, {clump:g} together"
        checks.covers(label, estimate, _monthly(load, clump))
