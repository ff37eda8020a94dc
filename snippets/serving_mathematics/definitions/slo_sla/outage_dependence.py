"""Outages that come together: overlaps, and causes that replicas share.

Shared causes: two replicas with νT outages each, of which the share β hits both. Their own outages
overlap 2((1−β)νT)²·m/T times, for m/2 each; the shared ones last m. In phases of mean m/2 an
overlap is one phase and a shared outage a geometric number of them with mean 2, so the number of
phases is compound Poisson, which Panjer's recursion gives, and P(D > x) = Σ P(phases = n)·P(K < n)
with K ~ Poisson(2x/m).

Assumes: outages exponential and rare, so that overlaps are nearly Poisson; a replica's own outages
independent of the other's; either replica carries all the traffic alone.

Source: Panjer (1981) for the recursion; the rest from the definitions.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.definitions.slo_sla.monthly_attainment import (
    MONTH,
    OUTAGE,
    downtime_exceeds,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Times = npt.NDArray[np.float64]


def _down_together(
    starts_s: npt.ArrayLike, ends_s: npt.ArrayLike, together: int, edges_s: npt.ArrayLike
) -> Times:
    """Time in each period during which at least `together` outages are going on [s].

    starts_s, ends_s: of the outages [s], shape (n,), in any order; an outage that takes two parts
    down is listed twice. together: 1 for parts in series, all parts for redundant ones. edges_s:
    edges of the periods, rising, shape (k+1,).
    """
    starts, ends = as_floats(starts_s=starts_s, ends_s=ends_s)
    edges = as_floats(edges_s=edges_s)
    times = np.concatenate((starts, ends, edges))
    steps = np.repeat([1, -1, 0], [starts.size, ends.size, edges.size])
    order = np.argsort(times, kind="stable")
    times, depth = times[order], np.cumsum(steps[order])
    down = np.append(0.0, np.cumsum(np.diff(times) * (depth[:-1] >= together)))
    return np.asarray(np.diff(down[np.searchsorted(times, edges)]))


def pair_downtime_exceeds(
    allowed_s: float, mean_outages: float, mean_outage_s: float, period_s: float, shared: float
) -> float:
    """P(D > x) of a redundant pair, of whose outages the share β strikes both replicas at once.

    allowed_s: x ≥ 0 [s]. mean_outages: νT ≥ 0 of each replica. mean_outage_s: m > 0 [s].
    period_s: T [s], more than ten times νT·m. shared: β in [0, 1]. Expects at most 100 common
    outages. Raises ValueError outside these ranges.

    >>> pair = pair_downtime_exceeds(0.0, 1.0, mean_outage_s=60.0, period_s=1e6, shared=1.0)
    >>> round(pair, 9)  # every outage is shared: 1 − 1/e
    0.632120559
    """
    period_s = as_number(period_s=period_s)
    allowed_s, mean_outages = require_non_negative(allowed_s=allowed_s, mean_outages=mean_outages)
    mean_outage_s = require_positive(mean_outage_s=mean_outage_s)
    require(
        10 * mean_outages * mean_outage_s < period_s < math.inf,
        "period_s",
        "finite and above ten times the mean downtime of a replica",
        period_s,
    )
    shared = require_in("[0, 1]", shared=shared)
    own, both = (1 - shared) * mean_outages, shared * mean_outages
    overlaps = 2 * own**2 * mean_outage_s / period_s
    require(overlaps + both <= 100, "common outages", "at most 100 in the period", both)
    terms = 80 + int(overlaps + 2 * both + 12 * math.sqrt(overlaps + 6 * both))
    j = np.arange(1, terms)
    weights = j * both * 0.5**j  # j × rate of outages with j phases
    weights[0] += overlaps
    phases = np.zeros(terms)
    phases[0] = math.exp(-overlaps - both)
    for n in range(1, terms):
        phases[n] = weights[:n] @ phases[n - 1 :: -1][:n] / n
    ended = 2 * allowed_s / mean_outage_s
    logs = np.append(0.0, np.cumsum(np.log(j)))  # ln n!
    few = np.exp(np.arange(terms) * math.log(ended) - ended - logs) if ended else np.eye(terms)[0]
    return float(phases[1:] @ np.cumsum(few)[:-1])


def _replicated_month(rng: np.random.Generator, months: int, shared: float) -> tuple[Times, Times]:
    """Downtime of replica one and of both in each month, with outages of the example."""
    rate, edges = REPLICA_OUTAGES / MONTH, np.arange(months + 1) * MONTH
    streams = []
    for share, copies in ((1 - shared, 1), (1 - shared, 1), (shared, 2)):
        count = int(1.2 * share * REPLICA_OUTAGES * months) + 100
        gap = (1 / (share * rate) - OUTAGE) if share else math.inf
        down = rng.exponential(OUTAGE, count)
        up = rng.exponential(gap, count) if share else np.full(count, 2 * edges[-1])
        ends = np.cumsum(up + down)
        inside = ends < edges[-1]
        streams.append((np.repeat((ends - down)[inside], copies), np.repeat(ends[inside], copies)))
    starts, ends = (np.concatenate(part) for part in zip(*streams, strict=True))
    one = _down_together(
        np.concatenate((streams[0][0], streams[2][0][::2])),
        np.concatenate((streams[0][1], streams[2][1][::2])),
        1,
        edges,
    )
    return one, _down_together(starts, ends, 2, edges)


REPLICA_OUTAGES = 0.001 * MONTH / OUTAGE  # per month: each replica attains 99.9% on average
FOUR_NINES = 0.0001 * MONTH  # s


def example() -> SimpleNamespace:
    """The numbers quoted in the text: pairs of 99.9% replicas that promise 99.99%."""
    own = 0.9 * REPLICA_OUTAGES
    risk = [
        pair_downtime_exceeds(FOUR_NINES, REPLICA_OUTAGES, OUTAGE, MONTH, shared)
        for shared in (0.0, 0.1)
    ]
    return SimpleNamespace(
        pair_independent=risk[0],
        pair_tenth=risk[1],
        pair_tenth_mean_s=0.1 * REPLICA_OUTAGES * OUTAGE + own**2 * OUTAGE**2 / MONTH,
        pair_independent_mean_s=REPLICA_OUTAGES**2 * OUTAGE**2 / MONTH,
    )


def figure_dependence(figure: Figure) -> None:
    """A few common causes undo a redundant pair.

    Probability that a pair of replicas, each of three nines, misses four nines in a month, against
    the share of their outages that is common; an outage lasts ten minutes in the mean. Points are
    7,000 simulated months, with 95% intervals.

    Alt: Curve against the common share from 0.1 to 100 percent, logarithmic in both. It rises from
    well below one percent, past a quarter at a tenth of common outages, to the dotted line of a
    single replica. Points lie on the curve.
    """
    figure.set_size_inches(5.8, 2.7)
    axes = figure.subplots()
    rng = np.random.default_rng(21)
    shares = np.geomspace(0.001, 1, 31)
    risk = [
        pair_downtime_exceeds(FOUR_NINES, REPLICA_OUTAGES, OUTAGE, MONTH, b)
        for b in shares.tolist()
    ]
    axes.loglog(100 * shares, risk, color="C0")
    common = np.array([0.005, 0.02, 0.1, 0.3, 1.0])
    found = [_share(_replicated_month(rng, 7_000, b)[1], FOUR_NINES) for b in common.tolist()]
    means, halves = [one.mean for one in found], [one.half_width for one in found]
    axes.errorbar(100 * common, means, halves, fmt="o", color="C1", ms=4)
    alone = downtime_exceeds(FOUR_NINES, REPLICA_OUTAGES, OUTAGE)
    axes.axhline(alone, color="C4", linestyle=":")
    axes.annotate("one replica", (0.11, alone * 0.56), color="C4")
    axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.set_yticks([0.01, 0.1, 1], ["1", "10", "100"])
    axes.set(ylim=(3e-3, 1.5), xlabel="common outages [% of all]", ylabel="months below 99.99% [%]")
    axes.minorticks_off()


def _share(months: Times, allowed_s: float) -> MeanEstimate:
    """Share of months with more downtime, and its binomial standard error."""
    share = float(np.mean(months > allowed_s))
    error = math.sqrt(share * (1 - share) / months.size)
    return MeanEstimate(share, error, 1.96 * error)


def check_pair_against_simulated_replicas() -> None:
    """The pair's formula is what two simulated replicas do, at any share of common outages.

    Source: 30,000 months of alternating up and down times, swept event by event; binomial
    standard errors. A single replica stays at 99.9%, whatever is shared.
    """
    rng = np.random.default_rng(23)
    for shared in (0.0, 0.1, 0.5):
        one, both = _replicated_month(rng, 30_000, shared)
        for x in (0.0, FOUR_NINES):
            expected = pair_downtime_exceeds(x, REPLICA_OUTAGES, OUTAGE, MONTH, shared)
            checks.covers(f"share {shared:g}, more than {x:g} s", _share(both, x), expected)
        error = float(one.std(ddof=1)) / math.sqrt(one.size)
        mean = MeanEstimate(float(one.mean()), error, 1.96 * error)
        loss = (1 - shared) * shared * 0.001**2 * MONTH  # own and common outages that coincide
        checks.covers(f"share {shared:g}, one replica [s]", mean, 0.001 * MONTH - loss)


def check_pair_reduces_to_one_kind() -> None:
    """All outages shared is a single replica; none shared is outages of half the length.

    Source: the single-kind series of the month.
    """
    for x in (0.0, 300.0, 2592.0):
        got = pair_downtime_exceeds(x, 4.32, 600.0, MONTH, 1.0)
        checks.close(f"all shared, {x:g} s", got, downtime_exceeds(x, 4.32, 600.0), rtol=1e-9)
        got = pair_downtime_exceeds(x, 20.0, 3600.0, MONTH, 0.0)
        expected = downtime_exceeds(x, 2 * 20.0**2 * 3600 / MONTH, 1800.0)
        checks.close(f"none shared, {x:g} s", got, expected, rtol=1e-9)


def check_overlaps_by_hand() -> None:
    """Three outages swept by hand, and the union of a crowd of them against e^{−νm}.

    Source: intervals drawn on paper; an M/M/∞ system is empty for the share e^{−νm} of time.
    """
    starts, ends = [0.0, 2.0, 3.0], [4.0, 5.0, 9.0]
    for together, expected in ((1, 9.0), (2, 3.0), (3, 1.0)):
        got = _down_together(starts, ends, together, [0.0, 10.0]).sum()
        checks.close(f"at least {together} at once", got, expected, rtol=1e-12)
    rng = np.random.default_rng(23)
    begin = np.sort(rng.uniform(0, 2000.0, (20, 2000)), axis=1)
    down = [_down_together(b, b + rng.exponential(1.0, b.size), 1, [50.0, 2000.0]) for b in begin]
    shares = np.array(down)[:, 0] / 1950
    error = float(shares.std(ddof=1)) / math.sqrt(shares.size)
    checks.covers("share down", MeanEstimate(float(shares.mean()), error, 0), 1 - math.exp(-1.0))


def check_bad_input_is_refused() -> None:
    """Shares above one, and replicas that are always down, are errors."""
    checks.raises("β = 2", pair_downtime_exceeds, 1.0, 1.0, 1.0, 1e6, 2.0, match="shared must be")
    checks.raises(
        "always down", pair_downtime_exceeds, 1.0, 9.0, 1.0, 10.0, 0.1, match="period_s must be"
    )
