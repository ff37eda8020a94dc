"""A share that was counted, with Wilson's interval.

Assumes: independent trials.

Source: Wilson (1927).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from serving_mathematics.support.require import (
    as_number,
    require,
    require_positive_integer,
)

NORMAL_975 = 1.959963984540054  # 97.5% point of the normal distribution; tested against scipy


@dataclass(frozen=True)
class Share:
    """A counted share and its 95% Wilson interval."""

    share: float
    low: float
    high: float


def wilson_interval(successes: int, trials: int) -> Share:
    """Share of successes with its 95% score interval, which stays inside [0, 1] and is not empty at
    0 or 1.

    successes: k in 0…n. trials: n ≥ 1. Raises ValueError otherwise. Source: Wilson (1927).

    >>> wilson_interval(0, 16).low, round(wilson_interval(0, 16).high, 4)
    (0.0, 0.1936)
    """
    successes = as_number(successes=successes)
    trials = require_positive_integer(trials=trials)
    rule = f"an integer from 0 to {trials}"
    require(successes % 1 == 0 and 0 <= successes <= trials, "successes", rule, successes)
    share = successes / trials
    low, high = _score_ends(share, trials)
    return Share(share, low if successes > 0 else 0.0, high if successes < trials else 1.0)


def _score_ends(share: float, trials: float) -> tuple[float, float]:
    """Ends of the interval of a share of so many trials, or worth so many.

    >>> [round(end, 4) for end in _score_ends(0.5, 12.5)]
    [0.2576, 0.7424]
    """
    z2 = NORMAL_975**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = share * (1 - share) / trials + z2 / (4 * trials**2)
    half = NORMAL_975 * math.sqrt(spread) / (1 + z2 / trials)
    return centre - half, centre + half
