"""Looking early is free only for tests that were built for it.

S_j = X₁ + … + X_j, stop when |S_j| > c_j·√j. The density of the S_j that go on obeys g_{j+1}(s) =
∫ g_j(u)·φ(s − u) du over |u| ≤ c_j·√j; what is missing from the last integral has stopped. Pocock's
constant is the one c for all looks that stops with probability α when nothing has changed.

Assumes: independent increments, near normal sums; looks after equal numbers of observations,
planned in advance; known variance.

Source: Armitage, McPherson and Rowe (1969); Pocock (1977).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_number, require, require_finite, require_in

FloatArray = npt.NDArray[np.float64]

NODES = 64  # Gauss–Legendre points for every 16 standard deviations of a step to the bound


@functools.cache
def _legendre(nodes: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of Gauss–Legendre quadrature on [−1, 1]."""
    return np.polynomial.legendre.leggauss(nodes)


def crossing_probability(thresholds: Sequence[float], effect: float = 0.0) -> float:
    """Probability that |z| exceeds its threshold at any of several equally spaced looks.

    thresholds: one positive number per look, up to 200 looks. effect: mean of z at the last look,
    0 under the null hypothesis. Recursion over the looks with Gauss–Legendre quadrature. Raises
    ValueError outside these ranges.

    >>> round(crossing_probability([1.959964, 1.959964]), 6)
    0.083118
    """
    return _crossed(thresholds, effect)[-1]


def _upper_tail(z: FloatArray) -> FloatArray:
    """Probability that a standard normal number is larger, small ones too."""
    return np.array([math.erfc(x) / 2 for x in (z / math.sqrt(2)).tolist()])


def _crossed(thresholds: Sequence[float], effect: float) -> list[float]:
    """The same of the looks up to each."""
    several = np.ndim(thresholds) == 1
    require(several, "thresholds", "a list with one number for every look", thresholds)
    looks = len(thresholds)
    require(1 <= looks <= 200, "thresholds", "1 to 200 numbers", looks)
    thresholds = [require_in("(0, 12]", thresholds=c) for c in thresholds]
    effect = require_finite(effect=effect)
    step = effect / math.sqrt(looks)  # mean of one increment
    widest = max(c * math.sqrt(k) for k, c in enumerate(thresholds, start=1))
    unit, weight = _legendre(NODES * (1 + int(widest / 16)))
    before, mass = np.zeros(1), np.ones(1)  # nothing has happened yet: S₀ = 0
    crossed: list[float] = []
    for k, c in enumerate(thresholds, start=1):
        end = c * math.sqrt(k)
        beyond = _upper_tail(end - before - step) + _upper_tail(end + before + step)
        crossed.append(min(1.0, (crossed[-1] if crossed else 0.0) + float(beyond @ mass)))
        now = end * unit
        kernel = np.exp(-((now[:, None] - before[None, :] - step) ** 2) / 2)
        density = kernel @ mass / math.sqrt(2 * math.pi)
        before, mass = now, density * weight * end
    return crossed


def pocock_constant(looks: int, alpha: float = 0.05) -> float:
    """The threshold for |z| that errs with probability α over k equally spaced looks together.

    looks: k, 1 to 200. alpha: in [0.0001, 0.5]. By the secant method on `crossing_probability`,
    from the threshold of one look and Bonferroni's for k. Raises ValueError outside these ranges.

    >>> round(pocock_constant(1), 5)
    1.95996
    """
    looks = as_number(looks=looks)
    require(1 <= looks <= 200 and looks % 1 == 0, "looks", "an integer from 1 to 200", looks)
    alpha = require_in("[0.0001, 0.5]", alpha=alpha)
    before, here = (-NormalDist().inv_cdf(alpha / 2 / n) for n in (1, looks))
    excess_before = crossing_probability([before] * int(looks)) - alpha
    while abs(here - before) > 1e-10:  # the next step is far smaller
        excess = crossing_probability([here] * int(looks)) - alpha
        step = excess * (here - before) / (excess - excess_before)
        before, here, excess_before = here, here - step, excess
    return here


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    single = NormalDist().inv_cdf(0.975)
    five, planned = pocock_constant(5), single + NormalDist().inv_cdf(0.8)
    return SimpleNamespace(
        five_looks_percent=100 * crossing_probability([single] * 5),
        hundred_looks_percent=100 * crossing_probability([single] * 100),
        pocock_five=five,
        pocock_power_percent=100 * crossing_probability([five] * 5, planned),
    )


@functools.cache
def _simulated_alarms() -> tuple[MeanEstimate, MeanEstimate]:
    """False-alarm rates of five looks at the 5% level and with Pocock's threshold, 20,000 runs."""
    rng = np.random.default_rng(17)
    z = np.abs(np.cumsum(rng.standard_normal((20_000, 5)), axis=1)) / np.sqrt(np.arange(1, 6))
    plain, pocock = (
        batch_means((z > c).any(axis=1).astype(float))
        for c in (NormalDist().inv_cdf(0.975), pocock_constant(5))
    )
    return plain, pocock


def check_peeking() -> None:
    """A test at the 5% level errs in 8.3% of cases with two looks, in 14.2% with five and in 37%
    with a hundred.

    Source: Wetterslev, Jakobsen and Gluud (2017), table 1, after Armitage, McPherson and Rowe
    (1969); 20,000 simulated sequences of five looks.
    """
    single = NormalDist().inv_cdf(0.975)
    checks.close("5 looks", crossing_probability([single] * 5), 0.141689, atol=5e-7)
    for looks, percent in ((2, 8), (5, 14), (20, 25), (100, 37)):
        got = 100 * crossing_probability([single] * looks)
        checks.close(f"{looks} looks [%]", got, percent, atol=0.5, kind="published")
    checks.covers("5 looks, simulated", _simulated_alarms()[0], 0.141689)


def check_pocock() -> None:
    """Five looks with Pocock's threshold of 2.413 together err in 5% of cases.

    Source: Pocock (1977), as tabulated by Wikipedia, “Pocock boundary”: nominal levels .0294,
    .0221, .0182 and .0158; 20,000 simulated sequences with and without an effect.
    """
    checks.close("c for 5 looks", pocock_constant(5), 2.41318, atol=5e-6)
    for looks, level in ((2, 0.0294), (3, 0.0221), (4, 0.0182), (5, 0.0158)):
        got = 2 * NormalDist().cdf(-pocock_constant(looks))
        checks.close(f"level at each of {looks} looks", got, level, atol=5e-5, kind="published")
    checks.covers("false alarms, simulated", _simulated_alarms()[1], 0.05)
    steps = 2.8 / math.sqrt(5) + np.random.default_rng(18).standard_normal((20_000, 5))
    z, five = np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, 6)), pocock_constant(5)
    power = batch_means((np.abs(z) > five).any(axis=1).astype(float))
    checks.covers("power, simulated", power, crossing_probability([five] * 5, effect=2.8))
