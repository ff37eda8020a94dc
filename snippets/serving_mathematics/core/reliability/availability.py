"""Availability of a system from its parts, and what counts of failures say about it.

Independent parts in series multiply their availabilities, in parallel their unavailabilities, and
k of n are a binomial sum. No failure in N trials bounds the failure probability by 1 − α^{1/N}, and
x failures by the Clopper–Pearson interval, the inversion of the binomial tails.

Assumes: parts that fail independently of each other; trials that fail independently and alike.

Source: Treynor, Dahlin, Rau and Beyer (2017); Hanley and Lippman-Hand (1983); Clopper and Pearson
(1934).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_positive_integer,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _parts(availabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    parts = as_floats(availabilities=availabilities)
    require(parts.ndim == 1 and parts.size > 0, "availabilities", "a non-empty list", parts)
    require(np.all((parts >= 0) & (parts <= 1)), "availabilities", "in [0, 1]", parts)
    return parts


def series(availabilities: npt.ArrayLike) -> float:
    """Availability of a system that needs all of its parts, ∏ a_i.

    availabilities: a_i in [0, 1], shape (n,). Raises ValueError outside these ranges.

    >>> series([0.5, 0.5, 0.8])
    0.2
    """
    return float(np.prod(_parts(availabilities)))


def parallel(availabilities: npt.ArrayLike) -> float:
    """Availability of a system that needs any one of its parts, 1 − ∏(1−a_i).

    Arguments and errors as for `series`.

    >>> parallel([0.5, 0.5, 0.8])
    0.95
    """
    return float(1 - np.prod(1 - _parts(availabilities)))


def k_of_n(needed: int, availabilities: npt.ArrayLike) -> float:
    """Probability that at least k of n parts work; the parts may differ.

    needed: k in 1…n. availabilities: a_i in [0, 1], shape (n,). The distribution of the number of
    working parts is built one part at a time. Raises ValueError outside these ranges.

    >>> k_of_n(2, [0.5, 0.5, 0.5])
    0.5
    """
    needed = as_number(needed=needed)
    parts = _parts(availabilities)
    require(
        needed % 1 == 0 and 1 <= needed <= parts.size,
        "needed",
        f"an integer in 1…{parts.size}",
        needed,
    )
    working = np.ones(1)
    for availability in parts.tolist():
        working = np.convolve(working, [1 - availability, availability])
    return float(working[int(needed) :].sum())


def zero_failure_bound(trials: int, confidence: float = 0.95) -> float:
    """Upper confidence bound on the failure probability after no failure in N trials, 1 − α^{1/N}.

    trials: N ≥ 1. confidence: 1 − α in (0, 1), one-sided. Raises ValueError outside these ranges.
    The rule of three, 3/n, is its approximation at 95%.

    >>> round(zero_failure_bound(trials=2, confidence=0.75), 12)
    0.5
    """
    trials = require_positive_integer(trials=trials)
    confidence = require_in("(0, 1)", confidence=confidence)
    return -math.expm1(math.log1p(-confidence) / trials)


def clopper_pearson(failures: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided confidence interval of a failure probability.

    failures: x in 0…N. trials: N ≥ 1. confidence: 1 − α in (0, 1). The lower end p solves
    P(X ≥ x; p) = α/2, the upper P(X ≤ x; p) = α/2, for a binomial X; each by bisection, because the
    tails are monotone in p. Raises ValueError outside these ranges.

    >>> low, high = clopper_pearson(failures=0, trials=2, confidence=0.5)
    >>> low, round(high, 12)
    (0.0, 0.5)
    """
    failures = as_number(failures=failures)
    trials = require_positive_integer(trials=trials)
    require(
        failures % 1 == 0 and 0 <= failures <= trials,
        "failures",
        f"an integer in 0…{trials}",
        failures,
    )
    confidence = require_in("(0, 1)", confidence=confidence)
    tail, steps = (1 - confidence) / 2, np.arange(1, failures + 1)
    log_ways = np.append(0.0, np.cumsum(np.log((trials - steps + 1) / steps)))  # to choose x of N

    def at_most(x: int, p: float) -> float:
        counts = np.arange(x + 1)
        logs = log_ways[: x + 1] + counts * (math.log(p) - math.log1p(-p))
        return float(np.exp(logs + trials * math.log1p(-p)).sum())

    def solve(falls_below: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(100):
            middle = (low + high) / 2
            if middle in (low, high):
                break
            low, high = (low, middle) if falls_below(middle) else (middle, high)
        return (low + high) / 2

    lower = 0.0 if failures == 0 else solve(lambda p: at_most(failures - 1, p) < 1 - tail)
    upper = 1.0 if failures == trials else solve(lambda p: at_most(failures, p) < tail)
    return lower, upper


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    needed = 1
    while zero_failure_bound(needed) > 0.001:
        needed += 1
    low, high = clopper_pearson(7, 10_000)
    return SimpleNamespace(
        five_dependencies_percent=100 * series([0.9999] * 5),
        five_times_budget=(1 - series([0.9999] * 5)) / (1 - 0.9999),
        two_copies_percent=100 * parallel([0.99, 0.99]),
        ten_of_ten_percent=100 * series([0.99] * 10),
        ten_of_twelve_percent=100 * k_of_n(10, [0.99] * 12),
        ten_of_eleven_percent=100 * k_of_n(10, [0.99] * 11),
        clean_trials=1000,
        clean_bound_percent=100 * zero_failure_bound(1000),
        trials_for_three_nines=needed,
        seen_failures=7,
        seen_trials=10_000,
        seen_low_percent=100 * low,
        seen_high_percent=100 * high,
    )


def figure_evidence(figure: Figure) -> None:
    """The closer the failures are to the budget, the more requests it takes to prove the objective.

    Bars are 95% Clopper–Pearson intervals of services that failed 0, 0.04 and 0.08% of their
    requests so far; without a failure they reach down to zero. The dashed line is the budget of
    three nines.

    Alt: Log-log chart of failure probability intervals against 1,000 to 300,000 requests observed.
    All intervals shrink with more requests. Without a failure the interval lies below 0.1 percent
    from 10,000 requests on, at 0.04 percent failed from 30,000 on, and at 0.08 percent failed
    only just at 100,000.
    """
    axes = figure.subplots()
    sizes = np.array([1000, 3000, 10_000, 30_000, 100_000, 300_000])
    for rate, colour, shift, name in (
        (0.0, "C2", 0.88, "no failure"),
        (0.0004, "C0", 1.0, "0.04% failed"),
        (0.0008, "C1", 1.14, "0.08% failed"),
    ):
        ends = np.array([clopper_pearson(round(rate * size), size) for size in sizes.tolist()])
        low, high = 100 * np.maximum(ends, 1e-5).T
        axes.vlines(sizes * shift, low, high, color=colour, linewidth=3, label=name)
    axes.axhline(0.1, color="C4", linestyle="--", linewidth=1.2)
    axes.annotate("three nines", (1.9e6, 0.1), color="C4", ha="right", va="bottom", fontsize=9)
    axes.legend(loc="upper right")
    axes.set(xscale="log", yscale="log", xlim=(650, 2e6), ylim=(1e-3, 1))
    axes.set_xticks([1000, 10_000, 100_000, 1_000_000], ["1,000", "10⁴", "10⁵", "10⁶"])
    axes.set_yticks([0.001, 0.01, 0.1, 1], ["0.001", "0.01", "0.1", "1"])
    axes.minorticks_off()
    axes.set(xlabel="requests observed", ylabel="failure probability [%]")


def check_dependencies_in_series() -> None:
    """Five critical dependencies of four nines leave 99.950010%, five times the budget of one.

    Source: the binomial expansion of (1 − 10⁻⁴)⁵ in exact fractions; Treynor et al. (2017) for the
    rule that a critical dependency needs an extra nine.
    """
    checks.close("0.9999⁵", series([0.9999] * 5), 0.99950010, atol=5e-9)
    exact = float(Fraction(9999, 10_000) ** 5)
    checks.close("in fractions", series([0.9999] * 5), exact, rtol=1e-14)
    with_extra = 1 - series([0.99999] * 5)
    checks.inside(
        "with an extra nine: share of 10⁻⁴", with_extra / 1e-4, 0.49, 0.5, kind="identity"
    )


def check_redundancy() -> None:
    """Twelve servers of 99% for a need of ten give 99.979438%; ten of ten would give 90.4%.

    Source: the binomial sum over 10, 11 and 12 working, in exact fractions; and 100,000 simulated
    fleets of unequal servers.
    """
    got = k_of_n(10, [0.99] * 12)
    checks.close("10 of 12", got, 0.99979438, atol=5e-9)
    a = Fraction(99, 100)
    exact = sum(math.comb(12, i) * a**i * (1 - a) ** (12 - i) for i in (10, 11, 12))
    checks.close("in fractions", got, float(exact), rtol=1e-13)
    each = np.array([0.5, 0.7, 0.9, 0.6, 0.8])
    up = (np.random.default_rng(61).random((100_000, 5)) < each).sum(axis=1) >= 3
    noise = 3 * float(up.std()) / math.sqrt(up.size)
    checks.close(
        "3 of 5, unequal", float(up.mean()), k_of_n(3, each), atol=noise, kind="simulation"
    )
    checks.close("all of n is series", k_of_n(5, each), series(each), rtol=1e-13)
    checks.close("one of n is parallel", k_of_n(1, each), parallel(each), rtol=1e-13)


def check_no_failure_is_not_zero() -> None:
    """A thousand requests without a failure allow 0.3%; three nines take 2,995 of them.

    Source: (1−p)ⁿ = α evaluated at the bound; the rule of three, 3/n, of Hanley and Lippman-Hand
    (1983).
    """
    bound = zero_failure_bound(1000)
    checks.close("(1−p)ⁿ at the bound", (1 - bound) ** 1000, 0.05, rtol=1e-9)
    checks.close("rule of three", bound, 3 / 1000, rtol=0.005, kind="published")
    checks.equal(
        "2,994 too few", zero_failure_bound(2994) > 0.001 >= zero_failure_bound(2995), True
    )


def check_interval_covers() -> None:
    """The 95% interval contains the true probability in at least 95% of all possible counts.

    Source: coverage summed exactly over the binomial distribution of the count, n = 60.
    """
    intervals = [clopper_pearson(x, 60) for x in range(61)]
    for p in (0.01, 0.05, 0.3):
        mass = [math.comb(60, x) * p**x * (1 - p) ** (60 - x) for x in range(61)]
        inside = [low <= p <= high for low, high in intervals]
        coverage = sum(m for m, covered in zip(mass, inside, strict=True) if covered)
        checks.inside(f"coverage at p = {p:g}", coverage, 0.95, 1.0, kind="identity")


def check_interval_ends_solve_their_tails() -> None:
    """The ends of the interval put 2.5% into each binomial tail, and x = 0 is the closed form.

    Source: binomial sums in exact fractions at the computed ends; 1 − (α/2)^{1/n} for no failures;
    7 of 50 as printed in SciPy's documentation of `BinomTestResult.proportion_ci`.
    """
    printed = (0.05819170033997342, 0.26739600249700846)
    checks.close("7 of 50", clopper_pearson(7, 50), printed, rtol=1e-10, kind="published")
    low, high = clopper_pearson(7, 200)
    for label, end, counts in (("P(X ≥ 7)", low, range(7, 201)), ("P(X ≤ 7)", high, range(8))):
        p = Fraction(end)
        tail = sum(math.comb(200, i) * p**i * (1 - p) ** (200 - i) for i in counts)
        checks.close(label, float(tail), 0.025, rtol=1e-9)
    checks.close(
        "no failures", clopper_pearson(0, 500)[1], zero_failure_bound(500, 0.975), rtol=1e-10
    )


def check_bad_input_is_refused() -> None:
    """Empty systems, percentages and impossible counts are errors that name the argument."""
    checks.raises("no parts", series, [], match="availabilities must be a non-empty list")
    checks.raises("99.9 for 0.999", parallel, [99.9], match="availabilities must be in [0, 1]")
    checks.raises("NaN", series, [0.9, math.nan], match="availabilities must be in [0, 1]")
    checks.raises("3 of 2", k_of_n, 3, [0.9, 0.9], match="needed must be an integer in 1…2, got 3")
    checks.raises("no trials", zero_failure_bound, 0, match="trials must be a positive integer")
    checks.raises("5 of 4", clopper_pearson, 5, 4, match="failures must be an integer in 0…4")
    checks.raises("certainty", clopper_pearson, 1, 4, 1.0, match="confidence must be in (0, 1)")
