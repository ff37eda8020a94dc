"""A service that decides has a score and a threshold, and the threshold follows from the costs of
the two errors.

Scores are probabilities. To act costs c_fp when there was no reason to, not to act costs c_fn when
there was. Acting is the cheaper side when (1 − p)·c_fp ≤ p·c_fn, from p* = c_fp/(c_fp + c_fn) on.

Assumes: calibrated scores (of the requests that score p, a share p are positive); correct decisions
cost nothing.

Source: Elkan (2001).
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_in,
    require_positive,
)

BoolArray = npt.NDArray[np.bool_]


def escalated(scores: npt.ArrayLike, threshold: float) -> BoolArray:
    """Which requests are acted upon: those that score the threshold or more.

    scores: probabilities, any shape; of 32 bits, 0.7 is 0.69999999 and below a threshold of 0.7.
    threshold: in [0, 1]. Raises ValueError outside [0, 1].

    >>> escalated([0.2, 0.7], threshold=0.7).tolist()
    [False, True]
    """
    threshold = require_in("[0, 1]", threshold=threshold)
    p = as_floats(scores=scores)
    require((p >= 0) & (p <= 1), "scores", "in [0, 1]", p)
    return p >= threshold


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


def check_two_of_five_are_escalated() -> None:
    """Of the scores 0.05, 0.20, 0.45, 0.80 and 0.95 a threshold of 0.70 escalates two.

    Source: by hand.
    """
    decisions = escalated([0.05, 0.20, 0.45, 0.80, 0.95], 0.70)
    checks.equal("decisions", decisions.tolist(), [False, False, False, True, True])
    checks.equal("escalated", int(decisions.sum()), 2)


def example() -> SimpleNamespace:
    """The number quoted in the text."""
    return SimpleNamespace(miss_nine_threshold=cost_threshold(1.0, 9.0))
