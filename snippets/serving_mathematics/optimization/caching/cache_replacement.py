"""The hit ratio of an LRU cache of C items by one characteristic time.

Requests are independent, item i with probability p_i. LRU holds the C items asked for last. With
many items the time T for which an untouched item stays hardly varies, so that each item has a timer
of T requests, renewed by a hit, with T set by Σ (1 − e^{−p_i·T}) = C.

Assumes: independent requests with fixed popularity, items of one size, a lookup costs nothing.

Source: Che, Tung and Wang (2002).
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_non_negative,
    require_positive_integer,
)

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


def characteristic_time(popularity: npt.ArrayLike, capacity: float) -> float:
    """T at which timers that a hit renews hold C items on average, in requests.

    popularity: p, shape (n,). capacity: C in (0, n). By Newton's method from T = 0, which a concave
    sum never lets overshoot. Raises ValueError on other input.

    >>> round(characteristic_time([0.5, 0.5], capacity=1.0), 9)  # 2 ln 2
    1.386294361
    """
    capacity = as_number(capacity=capacity)
    p = _popularity(popularity)
    require(0 < capacity < p.size, "capacity", f"in (0, {p.size})", capacity)
    time, step = 0.0, float(capacity)
    while step > 1e-15 * time:
        time += step
        held = -np.expm1(-p * time)
        lacking = capacity - float(held.sum())
        if lacking <= 0:
            break
        step = lacking / float(p @ (1 - held))
    return time


def hit_ratio(popularity: npt.ArrayLike, capacity: float) -> float:
    """Approximate hit ratio Σ p_i·(1 − e^{−p_i·T}) of LRU.

    Arguments and errors as for `characteristic_time`.

    >>> round(hit_ratio([0.5, 0.3, 0.2], capacity=2), 6)
    0.715412
    """
    p = _popularity(popularity)
    return float(p @ -np.expm1(-p * characteristic_time(p, capacity)))


def simulate_hits(requests: npt.ArrayLike, capacity: int) -> npt.NDArray[np.bool_]:
    """Which requests an LRU cache answers, starting empty, shape as requests.

    requests: item of each request, integers, shape (n,). capacity: C, a positive integer. Raises
    ValueError on other input.

    >>> simulate_hits([1, 2, 1, 3, 1], capacity=2).astype(int).tolist()
    [0, 0, 1, 0, 1]
    """
    requests = as_numbers(requests=requests)
    asked = np.asarray(requests)
    whole = asked.ndim == 1 and asked.size > 0 and np.issubdtype(asked.dtype, np.integer)
    require(whole, "requests", "a non-empty (n,) array of integers", asked)
    capacity = require_positive_integer(capacity=capacity)
    cache: OrderedDict[int, None] = OrderedDict()
    hits = np.zeros(asked.size, dtype=bool)
    for place, item in enumerate(asked.tolist()):
        hits[place] = item in cache
        cache[item] = None
        cache.move_to_end(item)
        if len(cache) > capacity:
            cache.popitem(last=False)
    return hits


@functools.cache
def _drawn(seed: int, count: int) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    return rng.choice(ITEMS, count, p=zipf(ITEMS, EXPONENT))


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    p = zipf(ITEMS, EXPONENT)
    return SimpleNamespace(
        che_percent=100 * hit_ratio(p, CAPACITY), static_percent=100 * float(p[:CAPACITY].sum())
    )


SIMULATED = (10, CAPACITY, 600)  # sizes of simulated caches


@functools.cache
def _simulated(size: int) -> MeanEstimate:
    """Hit ratio of 70,000 requests after 10,000 of warm-up."""
    return batch_means(simulate_hits(_drawn(174, 80_000), size)[10_000:].astype(float))


def figure_hit_ratio(figure: Figure) -> None:
    """Simulated LRU lies on Che's curve at every size; a fixed set of the most popular items does
    clearly better.

    1,000 items, the k-th requested in proportion to 1/k.

    Alt: Hit ratio against cache size on a logarithmic axis. Two rising curves, static above LRU,
    that meet near 1 at the right edge. Simulated points lie on the LRU curve.
    """
    axes = figure.subplots()
    p = zipf(ITEMS, EXPONENT)
    sizes = np.unique(np.geomspace(1, ITEMS - 1, 40).round())
    axes.semilogx(sizes, np.cumsum(p)[sizes.astype(int) - 1], color="C2")
    axes.semilogx(sizes, [hit_ratio(p, float(size)) for size in sizes], color="C0")
    axes.plot(SIMULATED, [_simulated(size).mean for size in SIMULATED], "o", color="C0")
    axes.annotate("most popular items (static)", (1.1, 0.5), color="C2")
    axes.annotate("LRU: Che (line),\nsimulated (dots)", (60, 0.42), color="C0", va="top")
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
    got = characteristic_time(p, CAPACITY)
    checks.close("T by bisection", got, high, rtol=1e-10)
    checks.close("T", got, 180.928928, atol=5e-7)
    checks.close("hit ratio", hit_ratio(p, CAPACITY), 0.57652462, atol=5e-9)
    harmonic = math.fsum(1 / k for k in range(1, 101)) / math.fsum(1 / k for k in range(1, 1001))
    checks.close("static", p[:CAPACITY].sum(), harmonic, rtol=1e-13)


def check_simulation_on_the_curve() -> None:
    """Simulated LRU caches agree with the characteristic time at several sizes.

    Source: 70,000 requests after 10,000 of warm-up, standard error by batch means.
    """
    p = zipf(ITEMS, EXPONENT)
    for size in SIMULATED:
        checks.covers(f"C = {size}", _simulated(size), hit_ratio(p, size))


def check_error_shrinks_with_size() -> None:
    """The characteristic time underestimates a cache of one place, by less the more items there
    are.

    Source: one place holds the item asked for last, so that Σ p² are hits.
    """
    errors = []
    for items in (4, 8, 16):
        p = zipf(items, EXPONENT)
        errors.append(float(p @ p) - hit_ratio(p, 1))
    falling = bool(errors[0] > errors[1] > errors[2] > 0)
    checks.holds("falling", falling, got=[round(100 * error, 2) for error in errors])
