"""Solutions of the exercises on tail latency: whole sessions, a dashboard, a promise from a log.

Source: Dean and Barroso (2013) for sessions and second copies; the rest is derived at each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_in,
    require_non_negative,
    require_non_negative_integer,
)

FloatArray = npt.NDArray[np.float64]

HINTS = {
    "slow_sessions": (
        "A session is fast only if every call is: multiply the chances of no slow call. To "
        "compare components, take logarithms: what one adds to the sum is its share of the blame, "
        "a little more than n times p."
    ),
    "whose_tail": (
        "The first token takes the wait in the queue and the reading of the prompt. Compare each "
        "with the whole; if neither is most of it, the time was spent elsewhere in the server."
    ),
    "promised_p99": (
        "Both copies are late in the product of two shares: of first tokens later than t, and of "
        "those later than t less the delay. The answer is a measured time, or one plus the delay. "
        "A log is long: sort it once, and search in it."
    ),
}


def slow_sessions(slow_probabilities: Sequence[float], calls: Sequence[int]) -> tuple[float, int]:
    """Share of sessions with a slow call, and the component whose slow calls cause most of them.

    slow_probabilities: p_i in [0, 1), one per component. calls: n_i ≥ 0 calls of each per session,
    all independent. Returns the share, and the index of the component without which it would fall
    furthest. Raises ValueError on empty or unequal lists and values outside these ranges.

    >>> share, worst = slow_sessions([0.5, 0.25], calls=[1, 2])
    >>> share, worst
    (0.71875, 0)
    """
    require(len(slow_probabilities) > 0, "slow_probabilities", "non-empty", slow_probabilities)
    require(len(calls) == len(slow_probabilities), "calls", "one per component", calls)
    chances = [require_in("[0, 1)", slow_probabilities=p) for p in slow_probabilities]
    counts = [require_non_negative_integer(calls=n) for n in calls]
    burden = [-n * math.log1p(-p) for n, p in zip(counts, chances, strict=True)]
    return -math.expm1(-math.fsum(burden)), int(np.argmax(burden))


def whose_tail(first_s: float, queue_s: float, prefill_s: float) -> str:
    """What delays the slowest first tokens, from three percentiles of a dashboard: "others" where
    the wait in the queue is more than half of the first token, else "own" where the reading of the
    prompt is, "elsewhere" where both together are less than half, else "both". Elsewhere is the API
    server, or a step that stood still; gateway and network are in none of the three.

    first_s, queue_s, prefill_s: p99 of the first token, which is positive, of the wait in the
    queue, and of the prompt's reading [s]. Percentiles do not add up, so the answer is a place to
    look. Raises ValueError on negative times, and on no first token.

    >>> whose_tail(first_s=2.0, queue_s=1.6, prefill_s=0.3)
    'others'
    """
    first_s, queue_s, prefill_s = require_non_negative(
        first_s=first_s, queue_s=queue_s, prefill_s=prefill_s
    )
    require(first_s > 0, "first_s", "positive", first_s)
    if queue_s > first_s / 2:
        return "others"
    if prefill_s > first_s / 2:
        return "own"
    return "elsewhere" if queue_s + prefill_s < first_s / 2 else "both"


def promised_p99(
    first_s: npt.ArrayLike, delay_s: float, probability: float = 0.99
) -> tuple[float, float]:
    """A percentile of a log's first tokens, as it is and with second copies that have nothing in
    common with the first.

    first_s: measured times, shape (n,), not negative. delay_s: of the second copy. probability: q
    in (0, 1). Returns, without copies and with them, the smallest time beyond which at most a share
    of 1 − q of the first tokens comes; a copy takes any time of the log, whatever the first takes.
    Raises ValueError outside these ranges.

    >>> promised_p99([1.0, 2.0, 3.0, 10.0], delay_s=3.0, probability=0.9)
    (10.0, 6.0)
    """
    times = as_floats(first_s=first_s)
    require(times.ndim == 1 and times.size > 0, "first_s", "of shape (n,), n ≥ 1", times.shape)
    require_all_non_negative(first_s=times)
    times = np.sort(times)
    delay_s = require_non_negative(delay_s=delay_s)
    probability = require_in("(0, 1)", probability=probability)
    room = 1 - probability + 1e-12

    def beyond(ends: FloatArray, at: FloatArray) -> FloatArray:
        return np.asarray(1 - np.searchsorted(ends, at, side="right") / ends.size)

    second = times + delay_s  # as sums, which t less the delay may miss by a digit
    candidates = np.sort(np.concatenate([times, second]))
    # both are late: F̄(t)·F̄(t − delay)
    both = beyond(times, candidates) * beyond(second, candidates)
    alone = float(times[np.argmax(beyond(times, times) <= room)])
    return alone, float(candidates[np.argmax(both <= room)])


def example() -> SimpleNamespace:
    """Answers that the page prints beside an exercise."""
    share, worst = slow_sessions([0.02, 0.001], [12, 30])
    return SimpleNamespace(
        session_percent=100 * share,
        session_worst=("model", "tools")[worst],
        board_morning=whose_tail(1.8, 1.3, 0.4),
        board_evening=whose_tail(2.4, 0.3, 0.4),
    )


def check_sessions() -> None:
    """Of sessions with 12 model calls (2% slow) and 30 tool calls (0.1% slow), 24% are slow, mostly
    because of the model.

    Source: exact fractions; 100,000 drawn sessions.
    """
    share, worst = slow_sessions([0.02, 0.001], [12, 30])
    exact = 1 - Fraction(98, 100) ** 12 * Fraction(999, 1000) ** 30
    checks.close("share", share, float(exact), rtol=1e-13)
    checks.equal("component", worst, 0)
    rng = np.random.default_rng(81)
    slow = (rng.binomial(12, 0.02, 100_000) + rng.binomial(30, 0.001, 100_000)) > 0
    checks.covers("drawn", batch_means(slow.astype(float)), share)
    share, worst = slow_sessions([0.004, 0.01, 0.0], [50, 10, 999])
    checks.equal("many nearly good calls are worse", worst, 0)
    share, worst = slow_sessions([0.5, 0.1], [1, 6])  # without either 47% or 50% are slow
    checks.equal("fewer slow calls are worse", worst, 0)


def check_whose_tail() -> None:
    """Each answer is given where the times are as it says.

    Source: by hand.
    """
    for times, expected in (
        ((2.0, 1.1, 0.2), "others"),
        ((1.0, 0.6, 0.2), "others"),
        ((2.0, 1.1, 1.5), "others"),
        ((2.0, 1.0, 1.1), "own"),
        ((2.0, 0.4, 0.5), "elsewhere"),
        ((2.0, 0.5, 0.5), "both"),
        ((2.0, 1.0, 1.0), "both"),
    ):
        checks.equal(f"{times}", whose_tail(*times), expected)


def check_promised_percentile() -> None:
    """For exponential times with a copy at the p95, the p99 is half of ln 100 + ln 20, as the
    closed form says; pairs drawn from a log's own times are late as often as promised.

    Source: the product of two tails by hand; pairs drawn from a lognormal sample.
    """
    levels = (np.arange(10_000) + 0.5) / 10_000
    alone, promised = promised_p99(-np.log1p(-levels), math.log(20))
    checks.close("alone", alone, math.log(100), rtol=3e-3)
    few = promised_p99([20.0, 2.0, 8.0, 4.0], 5.0, 0.9)
    checks.close("of four times", few, (20.0, 13.0), rtol=1e-12)
    checks.close("with copies", promised, (math.log(100) + math.log(20)) / 2, rtol=3e-3)
    rng = np.random.default_rng(83)
    times = rng.lognormal(0.0, 1.0, 2000)
    delay = float(np.quantile(times, 0.9))
    _, promised = promised_p99(times, delay)
    first, second = rng.choice(times, (2, 200_000))
    late = np.where(first > delay, np.minimum(first, delay + second), first) > promised
    found = batch_means(late.astype(float))
    checks.inside("late pairs", found.mean, 0.0, 0.01 + 3 * found.standard_error, kind="simulation")
    checks.inside("and hardly fewer", found.mean, 0.0085, 0.02)


def check_bad_input_is_refused() -> None:
    """Lists that do not match, times below zero and a level of one are refused by name."""
    checks.raises("lists", slow_sessions, [0.1], [1, 2], match="calls must be one per component")
    checks.raises("p = 1", slow_sessions, [1.0], [1], match="slow_probabilities must be in [0, 1)")
    checks.raises("no token", whose_tail, 0.0, 0.0, 0.0, match="first_s must be positive")
    checks.raises("early", promised_p99, [-1.0], 1.0, match="first_s must be non-negative")
    checks.raises("q = 1", promised_p99, [1.0], 1.0, 1.0, match="probability must be in (0, 1)")
