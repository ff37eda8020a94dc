"""A request that waits for n calls sees their worst, so a rare slow call becomes the common case.

One call is slow with probability p; of n independent calls at least one is slow with probability 1
− (1−p)^n. The slowest of n has distribution F^n, so its q-quantile is the q^(1/n)-quantile of one
call. Calls of one page that are sent at the same moment are not independent: their prompts are read
one behind the other, and the slowest comes later than the formula says.

Assumes: calls of one request start together and are all needed; independent calls in the formulas.

Source: Dean and Barroso (2013) for the fan-out; records/first_tokens.json for calls that are sent
together.
"""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np

from serving_mathematics.capacity.tail_latency.tail_record import TOGETHER, _recorded
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import require_in, require_positive_integer


def fan_out_slow_share(slow_probability: float, fan_out: int) -> float:
    """Share of requests with at least one slow call among n, 1 − (1−p)^n, also when p is tiny.

    slow_probability: p in [0, 1] of one call. fan_out: n ≥ 1 independent calls. Raises ValueError
    outside these ranges. Source: Dean and Barroso (2013).

    >>> fan_out_slow_share(slow_probability=0.5, fan_out=3)
    0.875
    """
    slow_probability = require_in("[0, 1]", slow_probability=slow_probability)
    fan_out = require_positive_integer(fan_out=fan_out)
    if slow_probability == 1:
        return 1.0
    return -math.expm1(fan_out * math.log1p(-slow_probability))


def leaf_level(probability: float, fan_out: int) -> float:
    """Level of one call's distribution at which the slowest of n has its q-quantile, q^(1/n).

    probability: q in (0, 1), for example 0.99 for the p99 of the whole request. fan_out: n ≥ 1
    independent calls. Raises ValueError outside these ranges. With a quantile function: Q_max(q) =
    Q(leaf_level(q, n)).

    >>> round(leaf_level(probability=0.25, fan_out=2), 12)
    0.5
    """
    probability = require_in("(0, 1)", probability=probability)
    fan_out = require_positive_integer(fan_out=fan_out)
    return math.exp(math.log(probability) / fan_out)


def _independent(probability: float, calls: int) -> float:
    """Quantile of the slowest of calls that come alone [s], from the record's lone ones."""
    lone = _recorded()["lone"]
    levels = (np.arange(len(lone)) + 0.5) / len(lone)
    return float(np.interp(leaf_level(probability, calls), levels, lone))


def example() -> SimpleNamespace:
    """Numbers of the page, in percent and in milliseconds."""
    together = _recorded()["slowest"]
    return SimpleNamespace(
        slow_of_100_percent=100 * fan_out_slow_share(0.01, 100),
        median_leaf_percent=100 * leaf_level(0.5, 100),
        sixteen_alone_ms=1000 * _independent(0.5, 16),
        sixteen_ms=1000 * together["16"]["p50"],
    )


def figure_slowest(figure: Figure) -> None:
    """A page waits for its slowest call. If its calls are sent at once, they also wait for each
    other.

    First tokens on four engines of the chat machine at half load. Lines show the formula for
    independent calls, points simulated pages whose calls come together.

    Alt: Line chart of the time until the slowest call has its first token, against the calls of a
    page on a logarithmic axis, for the median page and the slowest hundredth. Two lines rise
    slowly. The points lie on them for one call and far above them for many.
    """
    axes = figure.subplots()
    calls = np.arange(1, 33)
    for name, level, colour, place in (
        ("p50", 0.5, "C0", (1.1, 75)),
        ("p99", 0.99, "C3", (1.1, 225)),
    ):
        axes.plot(calls, [1000 * _independent(level, int(n)) for n in calls], color=colour)
        seen = [1000 * _recorded()["slowest"][str(n)][name] for n in TOGETHER]
        axes.plot(TOGETHER, seen, "o", color=colour)
        told = "median page" if name == "p50" else "slowest hundredth"
        axes.annotate(told, place, color=colour)
    axes.set_xscale("log", base=2)
    axes.set_xticks(TOGETHER, [f"{n}" for n in TOGETHER])
    axes.set(ylim=(0, 1000), xlabel="calls of a page")
    axes.set(ylabel="slowest first token [ms]")


def check_fan_out() -> None:
    """Of requests to 100 servers that are slow once in a hundred calls, 63% are slow; one slow call
    in ten thousand makes 18% of requests to 2,000 servers slow.

    Source: Dean and Barroso (2013), who print both; exact fractions.
    """
    for p, n, printed in ((1, 100, 0.63), (Fraction(1, 100), 2000, 0.18)):
        chance = Fraction(p) / 100
        share = fan_out_slow_share(float(chance), n)
        checks.close(f"{n} calls", share, float(1 - (1 - chance) ** n), rtol=1e-12)
        checks.close(f"{n} calls, printed", share, printed, atol=0.005, kind="published")


def check_calls_that_come_together_wait_for_each_other() -> None:
    """A page of one call takes what the formula says. With eight calls or more, sent together, the
    slowest takes longer than among independent calls, and with 32 more than twice as long.

    Source: the record; the fleet serves the same load in both.
    """
    for name, level in (("p50", 0.5), ("p99", 0.99)):
        ratios = [_recorded()["slowest"][str(n)][name] / _independent(level, n) for n in TOGETHER]
        checks.close(
            f"{name}, one call: together over independent",
            ratios[0],
            1.0,
            rtol=0.03,
            kind="simulation",
        )
        checks.inside(
            f"{name}, least from eight on: together over independent", min(ratios[2:]), 1.1, 9.0
        )
        checks.inside(f"{name}, of 32: together over independent", ratios[-1], 2.0, 9.0)
