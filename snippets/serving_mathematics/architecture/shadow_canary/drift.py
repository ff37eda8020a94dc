"""Two samples of the same traffic differ too, and by how much depends on their sizes.

PSI = Σ(q_i − p_i)·ln(q_i/p_i); Jensen–Shannon = ½·KL(p, m) + ½·KL(q, m) with m = (p + q)/2. For
small differences PSI ≈ Σ(q_i − p_i)²/p_i ≈ 8·JS, so that without drift, with n and m observations
in B bins, PSI is about (1/n + 1/m)·χ²_{B−1}, whatever the bins.

Assumes: independent observations; bins fixed in advance, with at least about five expected in each.

Source: Lin (1991) for Jensen–Shannon; Yurdakul (2018) for PSI as a statistic; the null distribution
follows from the χ² of two samples, as shown on the page and simulated in the checks.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_in,
    require_non_negative,
    require_positive,
)

FloatArray = npt.NDArray[np.float64]

REFERENCE = (0.20, 0.30, 0.25, 0.25)  # shares of four classes in the reference window
CURRENT = (0.10, 0.25, 0.30, 0.35)  # the same classes now
FLOOR = 1e-8  # ε, the smallest share that enters a logarithm
MODERATE = 0.10  # where the rule of thumb speaks of a change (Yurdakul and Naranjo 2020)


def _shares(argument: str, values: npt.ArrayLike) -> FloatArray:
    """Counts or shares along the last axis, divided by their sum."""
    table = as_floats(values=values)
    require(table.ndim >= 1 and table.shape[-1] >= 2, argument, "two bins or more", table.shape)
    require(np.isfinite(table).all() and (table >= 0).all(), argument, "non-negative", values)
    totals = table.sum(axis=-1, keepdims=True)
    require((totals > 0).all(), argument, "more than nothing", values)
    shares: FloatArray = table / totals
    return shares


def _psi(reference: npt.ArrayLike, current: npt.ArrayLike, floor: float = FLOOR) -> FloatArray:
    """Population stability index of counts or shares, Σ(q − p)·ln(q/p) along the last axis.

    reference, current: counts or shares of the same bins, shapes (…, B) that broadcast. floor: ε,
    added to each share, so that an empty bin costs at most about ln(1/ε) times its share. Raises
    ValueError on negative values, empty windows, other shapes.

    >>> float(_psi([50, 50], [50, 50]))
    0.0
    """
    reference, current = as_numbers(reference=reference, current=current)
    p, q = _shares("reference", reference), _shares("current", current)
    require(p.shape[-1] == q.shape[-1], "current", f"of {p.shape[-1]} bins", q.shape)
    floor = require_in("[0, 0.1)", floor=floor)
    p, q = p + floor, q + floor
    require((p > 0).all() and (q > 0).all(), "floor", "positive where a bin is empty", floor)
    index: FloatArray = ((q - p) * np.log(q / p)).sum(axis=-1)
    return index


def _jensen_shannon(reference: npt.ArrayLike, current: npt.ArrayLike) -> FloatArray:
    """Jensen–Shannon divergence of counts or shares, between 0 and ln 2 [nat], along the last axis.

    reference, current: as for `_psi`; empty bins are welcome. Raises ValueError as `_psi` does.

    >>> float(_jensen_shannon([1, 0], [0, 1]).round(6))
    0.693147
    """
    reference, current = as_numbers(reference=reference, current=current)
    p, q = _shares("reference", reference), _shares("current", current)
    require(p.shape[-1] == q.shape[-1], "current", f"of {p.shape[-1]} bins", q.shape)
    p, q = np.broadcast_arrays(p, q)
    divergence: FloatArray = np.zeros(p.shape[:-1])
    for share in (p, q):
        ratio = np.where(share > 0, share, 1.0) / np.where(share > 0, (p + q) / 2, 1.0)
        divergence = divergence + (share * np.log(ratio)).sum(axis=-1) / 2
    return divergence


def _chi_square_survival(value: float, degrees: int) -> float:
    """P(χ² > value), by the finite sums for whole degrees of freedom.

    value: ≥ 0. degrees: ν, an integer from 1 to 300. Raises ValueError outside these ranges.

    >>> round(_chi_square_survival(2 * math.log(20), degrees=2), 12)
    0.05
    """
    degrees = as_number(degrees=degrees)
    value = require_non_negative(value=value)
    whole = 1 <= degrees <= 300 and degrees % 1 == 0
    require(whole, "degrees", "an integer from 1 to 300", degrees)
    odd = degrees % 2
    tail = 2 * NormalDist().cdf(-math.sqrt(value)) if odd else 0.0
    term = math.sqrt(2 * value / math.pi) if odd else 1.0
    factor = math.exp(-value / 2)
    for r in range(1 + odd, int(degrees), 2):
        tail += factor * term
        term *= value / (r + 1)
    return tail


def _psi_null_quantile(
    probability: float, bins: int, reference_count: float, current_count: float
) -> float:
    """The PSI that two samples without drift stay below with this probability.

    probability: in (0, 1), for example 0.95. bins: B, an integer from 2 to 301. reference_count,
    current_count: n and m, positive; infinite for a reference that is known exactly. An eighth of
    it is the quantile of the Jensen–Shannon divergence. Raises ValueError outside these ranges.

    >>> round(_psi_null_quantile(0.95, bins=10, reference_count=1000, current_count=1000), 6)
    0.033838
    """
    bins, reference_count = as_number(bins=bins, reference_count=reference_count)
    probability = require_in("(0, 1)", probability=probability)
    require(2 <= bins <= 301 and bins % 1 == 0, "bins", "an integer from 2 to 301", bins)
    require(reference_count > 0, "reference_count", "positive", reference_count)
    current_count = require_positive(current_count=current_count)
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        beyond = _chi_square_survival(middle, bins - 1) > 1 - probability
        low, high = (middle, high) if beyond else (low, middle)
    return (1 / reference_count + 1 / current_count) * high


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    return SimpleNamespace(
        false_moderate_percent=100 * _chi_square_survival(MODERATE * 50, 9),
    )


def check_worked_shift() -> None:
    """From 20, 30, 25, 25% to 10, 25, 30, 35% the PSI is 0.1212 and the Jensen–Shannon divergence
    0.0150 nats.

    Source: the four terms by hand, (.10 ln 2) + (.05 ln 1.2) + (.05 ln 1.2) + (.10 ln 1.4) for
    PSI; the entropy of the mixture less the mean entropy for Jensen–Shannon.
    """
    by_hand = 0.1 * math.log(2) + 0.1 * math.log(1.2) + 0.1 * math.log(1.4)
    checks.close("PSI", _psi(REFERENCE, CURRENT), 0.121194, atol=5e-7)
    checks.close("PSI, ε = 0", _psi(REFERENCE, CURRENT, floor=0.0), 0.121194097, atol=5e-10)
    checks.close("PSI by hand", _psi(REFERENCE, CURRENT, floor=0.0), by_hand, rtol=1e-12)
    js = float(_jensen_shannon(REFERENCE, CURRENT))
    checks.close("Jensen–Shannon", js, 0.0149570, atol=5e-8)
    entropies = [
        -math.fsum(x * math.log(x) for x in shares)
        for shares in (np.add(REFERENCE, CURRENT) / 2, REFERENCE, CURRENT)
    ]
    checks.close("by entropies", js, entropies[0] - (entropies[1] + entropies[2]) / 2, rtol=1e-10)


def check_null_distribution() -> None:
    """Without drift 95% of the pairs of 1,000 observations in ten bins have a PSI below 0.0338, and
    a Jensen–Shannon divergence below an eighth of it.

    Source: χ² table, 16.919 for 95% and 9 degrees of freedom; 8,000 simulated pairs, bins of equal
    and of unequal size.
    """
    limit = _psi_null_quantile(0.95, 10, 1000, 1000)
    checks.close("95% point", limit, 0.033838, atol=5e-7)
    checks.close("by the table", limit, 2 * 16.919 / 1000, atol=1e-6, kind="published")
    rng = np.random.default_rng(32)
    unequal = np.arange(1, 11) / 55
    for label, shares in (("equal bins", np.full(10, 0.1)), ("unequal bins", unequal)):
        reference, current = rng.multinomial(1000, shares, (2, 8000)).astype(float)
        for name, got in (
            ("PSI", _psi(reference, current) > limit),
            ("JS", _jensen_shannon(reference, current) > limit / 8),
        ):
            share = batch_means(got.astype(float))
            slack = 3 * share.standard_error + 0.003  # χ² is the limit for many observations
            checks.close(f"{label}, {name}", share.mean, 0.05, atol=slack, kind="simulation")


def check_fixed_thresholds_ignore_size() -> None:
    """The threshold 0.1 raises a false alarm for most pairs of 100 observations, and with 100,000
    it sleeps through a drift that is certain.

    Source: 4,000 simulated pairs without drift; 2,000 with 10% of one bin moved to another.
    """
    rng = np.random.default_rng(33)
    without = rng.multinomial(100, [0.1] * 10, (2, 4000)).astype(float)
    alarms = float((_psi(*without) > MODERATE).mean())
    checks.inside("false alarms, n = 100", alarms, 0.75, 0.95)
    moved = np.full(10, 0.1) + 0.01 * np.array([1, -1, 0, 0, 0, 0, 0, 0, 0, 0])
    reference = rng.multinomial(100_000, [0.1] * 10, 2000).astype(float)
    current = rng.multinomial(100_000, moved, 2000).astype(float)
    index = _psi(reference, current)
    checks.equal("alarms at 0.1", int((index > MODERATE).sum()), 0, kind="simulation")
    limit = _psi_null_quantile(0.95, 10, 100_000, 100_000)
    checks.equal("alarms at the 95% point", int((index > limit).sum()), 2000, kind="simulation")


def check_bad_input_is_refused() -> None:
    """Negative counts, empty windows, other bins and empty bins without a floor are errors."""
    checks.raises("negative", _psi, [1, -1], [1, 1], match="reference must be non-negative")
    checks.raises("empty window", _psi, [1, 1], [0, 0], match="current must be more than nothing")
    checks.raises(
        "other bins", _jensen_shannon, [1, 1], [1, 1, 1], match="current must be of 2 bins"
    )
    checks.raises("no floor", _psi, [1, 0], [1, 1], 0.0, match="floor must be positive where")
    checks.raises(
        "q = 1", _psi_null_quantile, 1.0, 10, 10, 10, match="probability must be in (0, 1)"
    )
