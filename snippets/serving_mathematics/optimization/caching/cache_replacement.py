"""The hit ratio of a cache of C items by one characteristic time.

Requests are independent, item i with probability p_i. The best fixed content is the C most popular
items. LRU holds the C items asked for last, FIFO the C that missed last. With many items the time
T for which an untouched item stays hardly varies, so that each item has a cache of its own: a timer
of T requests, renewed by a hit in LRU and not in FIFO, with T set by Σ P(item i is cached) = C.

Assumes: independent requests with fixed popularity, items of one size, a lookup costs nothing.

Source: Che, Tung and Wang (2002) for the characteristic time of LRU; Martina, Garetto and Leonardi
(2013) for the same idea with other policies.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_non_negative,
    require_positive_integer,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

ITEMS, EXPONENT = 1000, 1.0  # N and α of the worked numbers
CAPACITY = 100  # C of the worked numbers


def _popularity(popularity: npt.ArrayLike) -> FloatArray:
    """As an array (n,) of positive probabilities that sum to 1, or a ValueError."""
    p = as_floats(popularity=popularity)
    require(p.ndim == 1 and p.size > 0, "popularity", "a non-empty (n,) array", p.shape)
    fine = np.all(p > 0) and abs(float(p.sum()) - 1) < 1e-9
    require(fine, "popularity", "positive with sum 1", p)
    return p


def zipf(items: int, exponent: float) -> FloatArray:
    """Popularities proportional to rank^−α, most popular first, shape (items,).

    items: N, an integer from 1 to 10⁸. exponent: α ≥ 0; 0 makes all equal. Raises ValueError
    outside these ranges.

    >>> zipf(3, exponent=1.0).round(6).tolist()
    [0.545455, 0.272727, 0.181818]
    """
    items = as_number(items=items)
    require(1 <= items <= 1e8 and items % 1 == 0, "items", "an integer from 1 to 10⁸", items)
    exponent = require_non_negative(exponent=exponent)
    weights = np.arange(1, int(items) + 1, dtype=float) ** -exponent
    return np.asarray(weights / weights.sum())


def timer_hit_ratios(popularity: npt.ArrayLike, lifetime: float, renewed: bool) -> FloatArray:
    """Probability of a hit for each item, when an item expires a time after it was last set.

    popularity: p, shape (n,); requests are Poisson. lifetime: T, in mean times between requests to
    the cache (a TTL times the request rate), non-negative. renewed: a hit sets the timer again,
    1 − e^{−p·T}; otherwise only a miss does, p·T/(1 + p·T). Raises ValueError on other input.

    >>> timer_hit_ratios([0.5, 0.5], lifetime=2.0, renewed=False).tolist()
    [0.5, 0.5]
    """
    p = _popularity(popularity)
    lifetime = require_non_negative(lifetime=lifetime)
    x = p * lifetime
    return np.asarray(-np.expm1(-x) if renewed else x / (1 + x))


def characteristic_time(popularity: npt.ArrayLike, capacity: float, renewed: bool) -> float:
    """T at which the timers of `timer_hit_ratios` hold C items on average, in requests.

    popularity: p, shape (n,). capacity: C in (0, n). renewed: True for LRU, False for FIFO. By
    Newton's method from T = 0, which a concave sum never lets overshoot. Raises ValueError on other
    input.

    >>> round(characteristic_time([0.5, 0.5], capacity=1.0, renewed=True), 9)  # 2 ln 2
    1.386294361
    """
    capacity = as_number(capacity=capacity)
    p = _popularity(popularity)
    require(0 < capacity < p.size, "capacity", f"in (0, {p.size})", capacity)
    time, step = 0.0, float(capacity)
    while step > 1e-15 * time:
        time += step
        held = timer_hit_ratios(p, time, renewed)
        lacking = capacity - float(held.sum())
        if lacking <= 0:
            break
        slope = p @ ((1 - held) if renewed else (1 - held) ** 2)  # of 1 − e^{−pT}, of pT/(1 + pT)
        step = lacking / float(slope)
    return time


def hit_ratio(popularity: npt.ArrayLike, capacity: float, renewed: bool) -> float:
    """Approximate hit ratio Σ p_i·P(hit for i) of LRU (renewed) or FIFO (not renewed).

    Arguments and errors as for `characteristic_time`.

    >>> round(hit_ratio([0.5, 0.3, 0.2], capacity=2, renewed=True), 6)
    0.715412
    """
    p = _popularity(popularity)
    lifetime = characteristic_time(p, capacity, renewed)
    return float(p @ timer_hit_ratios(p, lifetime, renewed))


def simulate_hits(
    requests: npt.ArrayLike, capacity: int, policy: str = "lru"
) -> npt.NDArray[np.bool_]:
    """Which requests an LRU or FIFO cache answers, starting empty, shape as requests.

    requests: item of each request, integers, shape (n,). capacity: C, a positive integer. policy:
    "lru" moves an item to the young end at a hit, "fifo" does not. Raises ValueError on other
    input.

    >>> simulate_hits([1, 2, 1, 3, 1], capacity=2).astype(int).tolist()
    [0, 0, 1, 0, 1]
    >>> simulate_hits([1, 2, 1, 3, 1], capacity=2, policy="fifo").astype(int).tolist()
    [0, 0, 1, 0, 0]
    """
    requests = as_numbers(requests=requests)
    asked = np.asarray(requests)
    whole = asked.ndim == 1 and asked.size > 0 and np.issubdtype(asked.dtype, np.integer)
    require(whole, "requests", "a non-empty (n,) array of integers", asked)
    capacity = require_positive_integer(capacity=capacity)
    require(policy in ("lru", "fifo"), "policy", "lru or fifo", policy)
    cache: OrderedDict[int, None] = OrderedDict()
    hits = np.zeros(asked.size, dtype=bool)
    for place, item in enumerate(asked.tolist()):
        if item in cache:
            hits[place] = True
            if policy == "lru":
                cache.move_to_end(item)
        else:
            if len(cache) == capacity:
                cache.popitem(last=False)
            cache[item] = None
    return hits


@functools.cache
def _drawn(seed: int, count: int) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    return rng.choice(ITEMS, count, p=zipf(ITEMS, EXPONENT))


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    p = zipf(ITEMS, EXPONENT)
    return SimpleNamespace(
        che_percent=100 * hit_ratio(p, CAPACITY, renewed=True),
        static_percent=100 * float(p[:CAPACITY].sum()),
    )


SIMULATED = {"lru": (10, CAPACITY, 600), "fifo": (20, 200)}  # sizes of simulated caches


@functools.cache
def _simulated(policy: str, size: int) -> MeanEstimate:
    """Hit ratio of 70,000 requests after 10,000 of warm-up."""
    return batch_means(simulate_hits(_drawn(174, 80_000), size, policy)[10_000:].astype(float))


def figure_hit_ratio(figure: Figure) -> None:
    """Simulated LRU lies on Che's curve at every size; the best fixed content is well above it.

    1,000 items with Zipf popularity, α = 1. Points are simulated, 80,000 requests each without the
    first 10,000, with 95% intervals mostly hidden by the marks; the FIFO curve is the same
    calculation with timers that a hit does not renew.

    Alt: Hit ratio against cache size on a logarithmic axis from 1 to 1,000 items. Three rising
    curves: static on top, LRU below, FIFO a few points lower, all near 1 at 1,000. At 100 items:
    69 and 58 percent, and a little over half. Simulated points lie on the LRU and FIFO curves.
    """
    axes = figure.subplots()
    p = zipf(ITEMS, EXPONENT)
    sizes = np.unique(np.geomspace(1, ITEMS - 1, 40).round())
    axes.semilogx(sizes, np.cumsum(p)[sizes.astype(int) - 1], color="C2")
    for policy, colour in (("lru", "C0"), ("fifo", "C1")):
        curve = [hit_ratio(p, float(size), policy == "lru") for size in sizes]
        axes.semilogx(sizes, curve, color=colour)
        dots = SIMULATED[policy]
        runs = [_simulated(policy, size) for size in dots]
        means, halves = [run.mean for run in runs], [run.half_width for run in runs]
        axes.errorbar(dots, means, halves, fmt="o", color=colour)
    for text, place, colour in (
        ("most popular items (static)", (1.1, 0.5), "C2"),
        ("LRU", (50, 0.55), "C0"),
        ("FIFO", (130, 0.51), "C1"),
    ):
        axes.annotate(text, place, color=colour)
    axes.set(xlim=(0.9, 1100), ylim=(0, 1))
    axes.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    axes.set(xlabel="cache size [items]", ylabel="hit ratio")


def check_che_published_values() -> None:
    """Che's time for 100 of 1,000 Zipf items is 180.93 requests, and the hit ratio 57.65%.

    Source: bisection of Σ(1 − e^{−pT}) = C, another solver; the best fixed content as H_100/H_1000.
    """
    p = zipf(ITEMS, EXPONENT)
    low, high = 0.0, 1000.0
    for _ in range(60):
        time = (low + high) / 2
        full = np.sum(-np.expm1(-p * time)) >= CAPACITY
        low, high = (low, time) if full else (time, high)
    got = characteristic_time(p, CAPACITY, renewed=True)
    checks.close("T by bisection", got, high, rtol=1e-10)
    checks.close("T", got, 180.928928, atol=5e-7)
    checks.close("hit ratio", hit_ratio(p, CAPACITY, True), 0.57652462, atol=5e-9)
    harmonic = math.fsum(1 / k for k in range(1, 101)) / math.fsum(1 / k for k in range(1, 1001))
    checks.close("static", p[:CAPACITY].sum(), harmonic, rtol=1e-13)
    checks.close("static, printed", harmonic, 0.69299281, atol=5e-9)


def check_simulation_on_the_curves() -> None:
    """Simulated LRU and FIFO caches agree with the characteristic time at several sizes.

    Source: 70,000 requests after 10,000 of warm-up, standard error by batch means.
    """
    p = zipf(ITEMS, EXPONENT)
    for policy, sizes in SIMULATED.items():
        for size in sizes:
            exact = hit_ratio(p, size, policy == "lru")
            checks.covers(f"{policy}, C = {size}", _simulated(policy, size), exact)


def check_error_shrinks_with_size() -> None:
    """The characteristic time underestimates a cache of one place, by less the more items there
    are.

    Source: one place holds the item asked for last, in LRU and in FIFO, so that Σ p² are hits.
    """
    for renewed in (True, False):
        errors = []
        for items in (4, 8, 16):
            p = zipf(items, EXPONENT)
            errors.append(float(p @ p) - hit_ratio(p, 1, renewed))
        falling = bool(errors[0] > errors[1] > errors[2] > 0)
        got = [round(100 * error, 2) for error in errors]
        checks.holds("LRU" if renewed else "FIFO", falling, got=got)


def check_order_of_policies() -> None:
    """The most popular items beat LRU, and LRU beats FIFO, at every size.

    Source: the best fixed content summed; equal popularities make all three C/n.
    """
    p, equal = zipf(ITEMS, EXPONENT), zipf(10, 0.0)
    for size in (1, 10, 100, 900):
        timers = [hit_ratio(p, size, renewed) for renewed in (False, True)]
        values = [*timers, float(p[:size].sum())]
        ordered = values[0] < values[1] < values[2]
        checks.holds(f"C = {size}", ordered, got=[round(v, 4) for v in values])
    same = [hit_ratio(equal, 4, renewed) for renewed in (False, True)]
    checks.close("equal popularities", same, [0.4, 0.4], rtol=1e-9)


def check_timers() -> None:
    """A timer that hits renew answers 1 − e^{−λτ} of the requests, one that they do not
    λτ/(1 + λτ).

    Source: a timer cache run on Poisson requests, standard error by batch means.
    """
    rng = np.random.default_rng(175)
    times = np.cumsum(rng.exponential(1.0, 60_000))
    gaps = np.diff(times, prepend=-np.inf)
    renewed = batch_means((gaps <= 1.5).astype(float))
    checks.covers("renewed", renewed, float(timer_hit_ratios([1.0], 1.5, renewed=True)[0]))
    hits, expires = [], -math.inf
    for time in times.tolist():
        hits.append(time <= expires)
        expires = expires if hits[-1] else time + 1.5
    kept = batch_means(np.array(hits, dtype=float))
    checks.covers("not renewed", kept, float(timer_hit_ratios([1.0], 1.5, renewed=False)[0]))


def check_scan_defeats_lru() -> None:
    """A loop over one item more than fits leaves LRU without a single hit, a fixed content with
    C/(C+1).

    Source: the item asked for next is always the one just thrown out.
    """
    loop = np.tile(np.arange(101), 20)
    checks.equal("LRU hits", int(simulate_hits(loop, 100).sum()), 0)
    checks.close("fixed", float(np.mean(loop < 100)), 100 / 101, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Popularities that do not sum to 1 and full caches are errors."""
    checks.raises("sum", hit_ratio, [0.5, 0.6], 1, True, match="popularity must be positive with")
    checks.raises("NaN", hit_ratio, [math.nan, 1.0], 1, True, match="popularity must be positive")
    checks.raises("full", characteristic_time, [0.5, 0.5], 2, True, match="capacity must be in (0")
    checks.raises("items", zipf, 0, 1.0, match="items must be an integer from 1")
    checks.raises("TTL", timer_hit_ratios, [1.0], math.inf, True, match="lifetime must be non-neg")
    checks.raises("floats", simulate_hits, [0.5], 2, match="requests must be a non-empty (n,) arr")
