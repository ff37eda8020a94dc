"""A service that decides has a score and a threshold, and the threshold follows from the costs of
the two errors.

Scores are probabilities. To act
costs c_fp when there was no reason to, not to act costs c_fn when there was. Acting is the cheaper
side when (1 − p)·c_fp ≤ p·c_fn, that is from p* = c_fp/(c_fp + c_fn) on.

Assumes: calibrated scores (of the requests that score p, a share p are positive); correct decisions
cost nothing.

Source: Elkan (2001).
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_in,
    require_positive,
)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def escalated(scores: npt.ArrayLike, threshold: float) -> BoolArray:
    """Which requests are acted upon: those that score the threshold or more.

    scores: probabilities, any shape; of 32 bits, 0.7 is 0.69999999 and below a threshold of 0.7.
    threshold: in [0, 1]. Raises ValueError outside [0, 1].

    >>> escalated([0.2, 0.7], threshold=0.7).tolist()
    [False, True]
    """
    scores = as_numbers(scores=scores)
    threshold = require_in("[0, 1]", threshold=threshold)
    return _probabilities("scores", scores) >= threshold


def cost_threshold(false_positive_cost: float, false_negative_cost: float) -> float:
    """The score from which acting is cheaper on average, c_fp/(c_fp + c_fn).

    false_positive_cost: c_fp > 0 of acting without reason. false_negative_cost: c_fn > 0 of not
    acting with reason, in the same unit. Raises ValueError outside these ranges.

    >>> cost_threshold(false_positive_cost=1.0, false_negative_cost=9.0)
    0.1
    """
    false_positive_cost, false_negative_cost = require_positive(
        false_positive_cost=false_positive_cost, false_negative_cost=false_negative_cost
    )
    return false_positive_cost / (false_positive_cost + false_negative_cost)


def _probabilities(argument: str, values: npt.ArrayLike) -> FloatArray:
    """An array whose entries all lie in [0, 1]."""
    p = as_floats(values=values)
    require(np.all((p >= 0) & (p <= 1)), argument, "in [0, 1]", p)
    return p


def check_two_of_five_are_escalated() -> None:
    """Of the scores 0.05, 0.20, 0.45, 0.80 and 0.95 a threshold of 0.70 escalates two.

    Source: by hand.
    """
    decisions = escalated([0.05, 0.20, 0.45, 0.80, 0.95], 0.70)
    checks.equal("decisions", decisions.tolist(), [False, False, False, True, True])
    checks.equal("escalated", int(decisions.sum()), 2)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    even = (np.arange(20_000) + 0.5) / 20_000
    best = cost_threshold(1.0, 9.0)
    lowest, handpicked = (_mean_cost(even, t, 1.0, 9.0) for t in (best, 0.7))
    return SimpleNamespace(
        miss_nine_threshold=best,
        escalated_of_five=int(escalated([0.05, 0.20, 0.45, 0.80, 0.95], 0.70).sum()),
        handpicked_factor=handpicked / lowest,
    )


def _mean_cost(scores: FloatArray, threshold: float, alarm: float, miss: float) -> float:
    """Mean cost a request of acting from a threshold on, if scores are calibrated."""
    return float(np.where(scores >= threshold, (1 - scores) * alarm, scores * miss).mean())


def check_costs_decide_the_threshold() -> None:
    """No threshold is cheaper than c_fp/(c_fp + c_fn): at 1 to 9 it is 0.1, and the hand-picked
    0.70 costs five times as much. Where acting costs 2 whenever it is done, 3 to 7 is the cheapest.

    Source: with evenly spread scores c_fp(1 − t)²/2 + c_fn·t²/2, by integration; a search over
    1,001 thresholds, for even scores and for a beta law of them.
    """
    even = (np.arange(20_000) + 0.5) / 20_000
    best = cost_threshold(1.0, 9.0)
    for t, cost in ((0.1, 0.45), (0.7, 2.25), (0.0, 0.5), (1.0, 4.5)):
        checks.close(f"cost at {t}", _mean_cost(even, t, 1.0, 9.0), cost, rtol=1e-6)
    tried = np.linspace(0, 1, 1001)
    for law, scores in (("even", even), ("skew", np.random.default_rng(66).beta(1, 4, 50_000))):
        costs = [_mean_cost(scores, float(t), 1.0, 9.0) for t in tried]
        lowest = float(tried[int(np.argmin(costs))])
        checks.close(f"{law} scores: best of 1,001", lowest, best, atol=0.011)
        slow = [
            cost + 2 * float(np.mean(scores >= t)) for cost, t in zip(costs, tried, strict=True)
        ]
        lowest = float(tried[int(np.argmin(slow))])
        checks.close(f"{law}: a slow way of 2", lowest, cost_threshold(3.0, 7.0), atol=0.011)


def check_bad_input_is_refused() -> None:
    """NaN scores and costs of zero are errors."""
    checks.raises("NaN", escalated, [0.1, math.nan], 0.7, match="scores must be in [0, 1]")
    checks.raises("free", cost_threshold, 0.0, 1.0, match="false_positive_cost must be positive")
