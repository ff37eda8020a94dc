"""A test that may be looked at after every observation.

mSPRT: the likelihood ratio averaged over effects N(0, τ²), Λ = √(V/(V + nτ²))·exp(n²τ²δ̄²/(2V(V +
nτ²))), ever exceeds 1/α with probability α at most.

Assumes: independent observations; known variance.

Source: Johari et al. (2017).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_all_finite,
    require_all_positive,
    require_positive,
)

FloatArray = npt.NDArray[np.float64]

LARGEST_LOG = 700.0  # logarithm of the largest ratio, where floats nearly end


def msprt_ratio(
    count: npt.ArrayLike, mean_difference: npt.ArrayLike, variance: float, mixing_variance: float
) -> FloatArray:
    """Likelihood ratio of “some effect, drawn from N(0, τ²)” against “no effect”.

    count: n, positive. mean_difference: δ̄, mean of n observations of the difference, same shape or
    one that broadcasts. variance: V of one observation, positive. mixing_variance: τ², positive.
    Ratios beyond e^700 are e^700. Raises ValueError outside these ranges. Source: Johari et al.
    (2017), as documented by Stenberg's mixtureSPRT.

    >>> float(msprt_ratio(100, 0.3, 1.0, 0.1).round(6))
    18.028637
    """
    count, mean_difference = as_numbers(count=count, mean_difference=mean_difference)
    count = require_all_positive(count=count)
    mean_difference = require_all_finite(mean_difference=mean_difference)
    n, delta = as_floats(count=count), as_floats(mean_difference=mean_difference)
    require(n.size > 0, "count", "not empty", n.shape)
    variance = require_positive(variance=variance)
    mixing_variance = require_positive(mixing_variance=mixing_variance)
    spread = variance + n * mixing_variance
    exponent = n**2 * mixing_variance * delta**2 / (2 * variance * spread)
    log_ratio = exponent + np.log(variance / spread) / 2
    ratio: FloatArray = np.exp(np.minimum(log_ratio, LARGEST_LOG))
    return ratio


def check_mixture_error_rate() -> None:
    """Looked at after each of 600 observations, the mixture test raises a false alarm in less than
    5% of the runs, and a plain test at the 5% level in about half of them.

    Source: Ville's inequality, of which the first 600 looks use up a part; 2,800 simulated runs.
    """
    rng, count = np.random.default_rng(22), np.arange(1, 601)
    sums = np.cumsum(rng.standard_normal((2800, 600)), axis=1)
    ever = (msprt_ratio(count, sums / count, 1.0, 0.1) >= 20).any(axis=1)
    rate = batch_means(ever.astype(float))
    top = rate.mean + 3 * rate.standard_error
    checks.inside("false alarms, three standard errors up", top, 0.01, 0.05, kind="simulation")
    plain = float(((np.abs(sums) / np.sqrt(count)).max(axis=1) > 1.959964).mean())
    checks.inside("false alarms of the plain test", plain, 0.4, 0.6)
