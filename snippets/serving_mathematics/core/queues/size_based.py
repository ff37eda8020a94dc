"""Mean response by size on one server: first come, shortest first, and a guess of the size.

Assumes: Poisson arrivals, one job at a time, sizes from one distribution.

Source: Harchol-Balter (2013), chapters 30 to 33.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import (
    as_floats,
    require,
    require_in,
    require_non_negative,
    widen_fields,
)

FloatArray = npt.NDArray[np.float64]


GRID_STEP = 0.01  # of ln x, for integrals over sizes


LOAD = 0.8  # ρ of the worked numbers


@dataclass(frozen=True)
class Sizes:
    """Sizes that are exponential with one of several means: a mixture from steady to very uneven.

    shares: of the requests, positive, summing to 1. means: their mean sizes [s], positive. Raises
    ValueError on anything else.

    >>> sizes = Sizes(shares=(0.5, 0.5), means=(1.0, 3.0))
    >>> sizes.moment(1), sizes.moment(2)
    (2.0, 10.0)
    """

    shares: tuple[float, ...]
    means: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is not a mixture."""
        widen_fields(self)
        for name in ("shares", "means"):
            values = getattr(self, name)
            fine = len(values) > 0 and all(0 < value < math.inf for value in values)
            require(fine, name, "non-empty, positive and finite", values)
        together = math.isclose(sum(self.shares), 1, abs_tol=1e-9)
        require(together, "shares", "numbers that sum to 1", self.shares)
        size = len(self.shares)
        require(len(self.means) == size, "means", f"as many as the {size} shares", self.means)

    def moment(self, order: int) -> float:
        """E[S^order], of order 1 or 2."""
        terms = zip(self.shares, self.means, strict=True)
        return float(sum(share * order * mean**order for share, mean in terms))

    def above(self, x: FloatArray) -> FloatArray:
        """P(S > x)."""
        terms = zip(self.shares, self.means, strict=True)
        return np.asarray(sum(share * np.exp(-x / mean) for share, mean in terms))

    def moment_below(self, x: FloatArray, order: int) -> FloatArray:
        """E[S^order; S ≤ x], of order 1 or 2; what is larger counts as 0."""
        total: FloatArray = np.zeros_like(x)
        for share, mean in zip(self.shares, self.means, strict=True):
            u = x / mean
            missing = u + 1 if order == 1 else u**2 + 2 * u + 2
            total += share * mean**order * (order - missing * np.exp(-u))
        return total

    def log_grid(self) -> FloatArray:
        """Sizes at equal steps of ln x that hold all but a billionth of the work."""
        low, high = math.log(min(self.means) * 1e-7), math.log(max(self.means) * 45)
        return np.asarray(np.exp(np.arange(low, high, GRID_STEP)))

    def density(self, x: FloatArray) -> FloatArray:
        """Density of S at x [1/s]."""
        terms = zip(self.shares, self.means, strict=True)
        return np.asarray(sum(share / mean * np.exp(-x / mean) for share, mean in terms))

    def draw(self, rng: np.random.Generator, requests: int) -> FloatArray:
        """Independent sizes [s], shape (requests,)."""
        return rng.exponential(rng.choice(self.means, requests, p=self.shares))


EXPONENTIAL = Sizes((1.0,), (1.0,))


UNEVEN = Sizes((0.9, 0.1), (0.5, 5.5))  # mean 1 s, squared coefficient of variation 5.5


def response_by_size(
    policy: str, size_s: npt.ArrayLike, arrival_rate: float, sizes: Sizes
) -> FloatArray:
    """Mean response of requests of given sizes [s]: what others make them wait, and their service.

    policy: "fcfs", "sjf" or "srpt". size_s: x > 0 [s], any shape. arrival_rate: λ ≥ 0 [1/s], with
    λ times the mean size below 1. sizes: of all requests. Raises ValueError outside these ranges.

    >>> response_by_size("fcfs", [0.5, 2.0], arrival_rate=0.5, sizes=Sizes((1.0,), (1.0,))).tolist()
    [1.5, 3.0]
    """
    require(policy in ("fcfs", "sjf", "srpt"), "policy", "fcfs, sjf or srpt", policy)
    x = as_floats(size_s=size_s)
    require(x.size > 0 and np.all((x > 0) & (x < math.inf)), "size_s", "positive and finite", x)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    stable = arrival_rate * sizes.moment(1) < 1
    require(stable, "arrival_rate", f"in [0, {1 / sizes.moment(1):g})", arrival_rate)
    residual = arrival_rate * sizes.moment(2) / 2
    if policy == "fcfs":
        return x + residual / (1 - arrival_rate * sizes.moment(1))
    room = 1 - arrival_rate * sizes.moment_below(x, 1)
    if policy == "sjf":
        return x + residual / room**2
    nodes, weights = np.polynomial.legendre.leggauss(64)
    u = (nodes + 1) / 2  # t = xu³ puts most nodes where small requests crowd
    t = x[..., None] * u**3
    stretch = 3 * u**2 / (1 - arrival_rate * sizes.moment_below(t, 1))
    residence = x * (stretch @ weights) / 2
    ahead = sizes.moment_below(x, 2) + x**2 * sizes.above(x)
    return residence + arrival_rate * ahead / (2 * room**2)


def mean_response(policy: str, arrival_rate: float, sizes: Sizes) -> float:
    """Mean response of all requests [s], by integrating over their sizes on a grid of ln x.

    Arguments and errors as for `response_by_size`.

    >>> round(mean_response("fcfs", 0.5, Sizes((1.0,), (1.0,))), 6)
    2.0
    """
    x = sizes.log_grid()
    responses = response_by_size(policy, x, arrival_rate, sizes)
    return float(GRID_STEP * np.sum(responses * sizes.density(x) * x))


def predicted_sjf_mean(arrival_rate: float, sizes: Sizes, log_error: float) -> float:
    """Mean response [s] when the shortest predicted request runs next and is not interrupted.

    arrival_rate, sizes: as for `response_by_size`. log_error: ε in [0, 20], standard
    deviation of ln(predicted/true), a normal error that does not depend on the size. The load of
    what is predicted no larger takes the place of ρ(x). Raises ValueError outside these ranges.
    Source: Mitzenmacher (2019), shortest predicted job first.

    >>> round(predicted_sjf_mean(0.5, Sizes((1.0,), (1.0,)), log_error=0.0), 4)
    1.7127
    """
    log_error = require_in("[0, 20]", log_error=log_error)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    stable = arrival_rate * sizes.moment(1) < 1
    require(stable, "arrival_rate", f"in [0, {1 / sizes.moment(1):g})", arrival_rate)
    x = sizes.log_grid()
    share = GRID_STEP * sizes.density(x) * x  # of the requests, in each cell of ln x
    work = share * x
    if log_error > 0:
        reach = math.ceil(8 * log_error / GRID_STEP)
        kernel = np.exp(-((GRID_STEP / log_error * np.arange(-reach, reach + 1)) ** 2) / 2)
        kernel /= kernel.sum()
        share, work = np.convolve(share, kernel), np.convolve(work, kernel)
    load = arrival_rate * (np.cumsum(work) - work / 2)
    waits = arrival_rate * sizes.moment(2) / 2 * float(np.sum(share / (1 - load) ** 2))
    return sizes.moment(1) + waits
