"""Requests that share steps are alike, and many of them are worth one.

The requests of a minute meet the same batch. I requests are worth one independent one, where I is
the variance between the means of minutes over what independent requests would give. A test that
takes n requests for independent when they are worth n/I errs in 2Φ(−z/√I) of the cases.

Assumes: blocks that do not follow each other; means near normal.

Source: the F statistic of a one-way analysis of variance; the rate follows from the variance of a
mean.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import as_floats, as_number, require, require_in


def clump(values: npt.ArrayLike, block: npt.ArrayLike) -> float:
    """How many requests count as one independent request, from the blocks that they fall into.

    values: of each request, shape (n,). block: number of the block, for instance the minute, that
    each request is in, shape (n,), three blocks or more. Returns the variance between the means of
    blocks, weighted by their sizes, over what it would be for independent requests. Raises
    ValueError on other input.

    >>> clump([1.0, 1.0, 2.0, 2.0, 3.0, 3.0], block=[0, 0, 1, 1, 2, 2])  # pairs are alike
    2.5
    """
    own, where = as_floats(values=values), as_floats(block=block)
    require(own.ndim == 1 and own.size > 1, "values", "of shape (n,), n > 1", own.shape)
    require(bool(np.isfinite(own).all()) and np.ptp(own) > 0, "values", "finite, not all one", own)
    require(where.shape == own.shape, "block", f"of shape {own.shape}", where.shape)
    require(bool(np.isfinite(where).all()), "block", "finite", where)
    _, which = np.unique(where, return_inverse=True)
    sizes = np.bincount(which)
    require(sizes.size >= 3, "block", "three blocks or more", sizes.size)
    means = np.bincount(which, own) / sizes
    between = float((sizes * (means - own.mean()) ** 2).sum()) / (sizes.size - 1)
    return between / float(own.var(ddof=1))


def false_alarm_rate(clump: float, alpha: float = 0.05) -> float:
    """How often one look of a test at level α blames a version that changed nothing, 2Φ(−z/√I).

    clump: I, requests that count as one independent request, at least 1. alpha: two-sided, in (0,
    1). Raises ValueError outside these ranges.

    >>> round(false_alarm_rate(1.0), 12), round(false_alarm_rate(50.0), 2)
    (0.05, 0.78)
    """
    clump = as_number(clump=clump)
    require(1 <= clump < math.inf, "clump", "at least 1 and finite", clump)
    alpha = require_in("(0, 1)", alpha=alpha)
    return math.erfc(-NormalDist().inv_cdf(alpha / 2) / math.sqrt(2 * clump))
