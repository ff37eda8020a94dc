"""Half-widths of 95% intervals for what one run gives: quantiles, ratios, rates at a limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

STUDENT_T_975 = {
    2: 4.3026527297,
    3: 3.1824463053,
    4: 2.7764451052,
    5: 2.5705818356,
    7: 2.3646242516,
    9: 2.2621571628,
    10: 2.228138852,
    11: 2.2009851601,
    15: 2.1314495456,
    23: 2.0686576104,
    31: 2.0395134464,
    199: 1.9719565443,
}  # 97.5% points of Student's t by degrees of freedom; tested against scipy
TENTHS = 10


def half_width(statistic: Callable[..., Any], *series: Any) -> Any:
    """Half of a 95% interval by the jackknife over consecutive tenths, each left out in turn.

    statistic: takes the series and gives a number or an array. series: arrays with the same first
    axis of at least ten entries. Honest when a tenth lasts much longer than the correlation.
    Raises ValueError on other series.

    >>> round(float(half_width(np.mean, np.arange(10.0))), 4)  # t·s/√10
    2.1659
    """
    sizes = {len(one) for one in series}
    if len(sizes) != 1 or min(sizes) < TENTHS:
        raise ValueError(f"series must be of one length, at least {TENTHS}, got {sorted(sizes)}")
    tenth = np.arange(min(sizes)) * TENTHS // min(sizes)
    without = np.array(
        [statistic(*(np.asarray(one)[tenth != k] for one in series)) for k in range(TENTHS)]
    )
    return STUDENT_T_975[9] * (TENTHS - 1) * without.std(axis=0, ddof=1) / math.sqrt(TENTHS)
