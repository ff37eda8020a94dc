"""A batch shares the fixed cost of a call, and everybody in it waits for the last one.

Sequences that generate different numbers of tokens and leave together keep only
E[length]/E[longest of b] of the places busy. An encoder's batch of b takes αb + β.

Assumes: batch times depend on the size of the batch only; Poisson arrivals where a rate is given;
one server unless it says otherwise.

Source: Yu et al. (2022) for batches that wait for their longest member; Inoue (2021) for the line.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from heapq import heapreplace
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.batches import form_batches
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import as_floats, require, require_positive_integer

PER_ITEM_S, FIXED_S = 0.001, 0.005  # α and β of an encoder, by choice [s]


def static_efficiency(lengths: npt.ArrayLike, batch: int) -> float:
    """Share of a static batch's places that work, E[length]/E[longest of b], over all batches drawn
    from these lengths.

    lengths: tokens that requests generate, positive, shape (n,). batch: b. The longest of b is
    below the i-th smallest of n with probability (i/n)^b. Raises ValueError on anything else.

    >>> static_efficiency([1, 3], batch=2)  # longest: 1, 3, 3, 3 with equal probability
    0.8
    """
    sizes = np.sort(as_floats(lengths=lengths), axis=None)
    positive = np.all((sizes > 0) & (sizes < math.inf))
    require(sizes.size > 0 and positive, "lengths", "positive and finite and not empty", lengths)
    batch = require_positive_integer(batch=batch)
    share = np.linspace(0, 1, sizes.size + 1) ** batch
    return float(sizes.mean() / (sizes @ np.diff(share)))


def _mean_s(rate: float, window_s: float, requests: int = 4_000) -> float:
    """Mean latency of an encoder's requests that come at random [s]."""
    return _batched_s(
        np.cumsum(np.random.default_rng(16).exponential(1 / rate, requests)), window_s
    )


def _batched_s(arrivals: npt.NDArray[np.float64], window_s: float) -> float:
    """The same of requests that come at these times [s]."""
    return float((form_batches(arrivals, _linear_s, 20, window_s)[1] - arrivals).mean())


def _alone_s(rate: float) -> float:
    """The same without batches: Pollaczek and Khinchine for M/D/1."""
    service_s = PER_ITEM_S + FIXED_S
    return service_s * (1 + rate * service_s / (2 - 2 * rate * service_s))


def _linear_s(first: int, end: int) -> float:
    return PER_ITEM_S * (end - first) + FIXED_S


def figure_window(figure: Figure) -> None:
    """An encoder's batches grow with the load by themselves; a window adds its delay when few
    requests come, and gains nothing when many do.

    A batch of b takes b + 5 ms and holds at most 20; requests come one by one, at random.

    Alt: Mean latency against arrival rate. Without batching it explodes at a low rate. The curve of
    batching without a window rises slowly to the right edge. The curve of a short window starts
    above it and meets it soon; that of a long window starts far above and is still above at the
    right edge.
    """
    axes = figure.subplots()
    alone = np.array([2, 60, 100, 120, 135, 145, 152, 156])
    axes.plot(alone, [1000 * _alone_s(rate) for rate in alone], color="C4")
    rates = np.array([2, 80, 160, 300, 450, 600, 700])
    for window_s, colour in ((0.0, "C0"), (0.005, "C1"), (0.02, "C5")):
        axes.plot(rates, [1000 * _mean_s(rate, window_s) for rate in rates], color=colour)
    axes.annotate("no batching", (162, 46), color="C4")
    axes.annotate("no window", (330, 7.5), color="C0")
    axes.annotate("window 5 ms", (168, 14), color="C1")
    axes.annotate("window 20 ms", (190, 28), color="C5")
    axes.set(xlim=(0, 800), ylim=(0, 55))
    axes.set(xlabel="arrival rate [1/s]", ylabel="mean latency [ms]")


def check_static_efficiency() -> None:
    """Exponential lengths keep 1/H₈ = 36.79% of eight places busy.

    Source: the longest of b exponential lengths is H_b mean lengths, H₈ = 761/280 = 2.717857;
    100,000 quantiles stand for the distribution; all 27 batches of three lengths counted by hand.
    """
    lengths = -np.log1p(-(np.arange(100_000) + 0.5) / 100_000)
    harmonic = sum(1 / k for k in range(1, 9))
    checks.close("b = 8 [%]", 100 * static_efficiency(lengths, 8), 100 / harmonic, atol=0.005)
    sizes = [2.0, 3.0, 10.0]
    longest = [max(a, b, c) for a in sizes for b in sizes for c in sizes]
    expected = float(np.mean(sizes) / np.mean(longest))
    checks.close("by enumeration", static_efficiency(sizes, 3), expected, rtol=1e-12)


def check_batches_of_one_are_a_queue() -> None:
    """Batches of one have the mean latency of M/D/1.

    Source: `form_batches` on 40,000 requests, standard error from batch means.
    """
    for rate in (60.0, 120.0):
        arrivals = np.cumsum(np.random.default_rng(1).exponential(1 / rate, 40_000))
        latency_s = form_batches(arrivals, _linear_s, 1, 0.0)[1] - arrivals
        checks.covers(f"λ = {rate:g}/s [s]", batch_means(latency_s[1000:]), _alone_s(rate))


def _group_gain(rate: float, members: int = 4, within_s: float = 0.001) -> float:
    """How much earlier the mean request is with a window as long as its group takes to come."""
    rng, count = np.random.default_rng(6), 3000
    starts = np.cumsum(rng.exponential(members / rate, count))
    arrivals = np.sort(np.repeat(starts, members) + rng.uniform(0, within_s, count * members))
    return 1 - _batched_s(arrivals, within_s) / _batched_s(arrivals, 0.0)


def _shared_queue_s(rate: float, window_s: float, instances: int, requests: int = 10_000) -> float:
    """Mean latency [s] of requests that come at random to instances of a model with one queue, each
    on a device of its own; a batch of b takes 5 + b/20 ms, at most 64 in a batch."""
    rng, size = np.random.default_rng(16), 64
    times = np.cumsum(rng.exponential(1 / rate, requests)).tolist()
    free, first, total_s = [0.0] * instances, 0, 0.0
    while first < requests:
        full_s = times[first + size - 1] if first + size <= requests else math.inf
        start_s = max(free[0], min(full_s, times[first] + window_s))
        end = bisect_right(times, start_s, first, min(first + size, requests))
        ends_s = start_s + FIXED_S + (end - first) * PER_ITEM_S / 20
        total_s += sum(ends_s - come_s for come_s in times[first:end])
        heapreplace(free, ends_s)
        first = end
    return total_s / requests


def _spaced_gain(load: float, instances: int) -> float:
    """How much earlier the mean request is with a window of a third of a batch's fixed time, at a
    share of what the instances carry."""
    rate = load * instances * 64 / (FIXED_S + 64 * PER_ITEM_S / 20)
    greedy, spaced = (_shared_queue_s(rate, w, instances) for w in (0.0, FIXED_S / 3))
    return 1 - spaced / greedy


def example() -> SimpleNamespace:
    """What a window gains that catches groups, at a light load, or that spaces four instances."""
    return SimpleNamespace(
        group_percent=100 * _group_gain(100.0), four_percent=100 * _spaced_gain(0.3, 4)
    )


def check_a_window_spaces_instances() -> None:
    """With four instances on one queue, whose batches take nearly as long at any size, a window of
    a third of that time cuts mean latency by 8 to 20% at three loads. With one instance it changes
    nothing, to within a hundredth.

    Source: 10,000 simulated requests, the same for both windows; of one instance `form_batches`.
    """
    for load in (0.1, 0.3, 0.6):
        gain = _spaced_gain(load, 4)
        checks.inside(f"four at {load:.0%}: gain", gain, 0.08, 0.2)
        checks.close(f"one at {load:.0%}", _spaced_gain(load, 1), 0.0, atol=0.01, kind="simulation")
    arrivals = np.cumsum(np.random.default_rng(16).exponential(0.002, 10_000))
    ends = form_batches(arrivals, lambda i, j: FIXED_S + (j - i) * PER_ITEM_S / 20, 64, 0.001)[1]
    own_s = float((ends - arrivals).mean())
    checks.close("one instance [s]", _shared_queue_s(500.0, 0.001, 1), own_s, rtol=1e-9)


def check_a_window_pays_for_groups_only() -> None:
    """In front of one instance, a window raises mean latency at light and at heavy load, with
    Poisson arrivals and with bursts that last longer than a batch. A window that catches groups of
    four within 1 ms lowers it, least at heavy load.

    Source: 10,000 simulated requests of each kind, the same for every window.
    """
    gains = [_group_gain(rate) for rate in (20.0, 100.0, 300.0, 600.0)]
    checks.inside("groups of four within 1 ms, 100/s: gain", gains[1], 0.1, 0.25)
    checks.holds("and less with more load", bool(np.all(np.diff(gains) < 0) and gains[-1] > 0))
    rng = np.random.default_rng(6)
    count = 10_000
    starts = np.cumsum(rng.exponential(20.0, count // 20))
    for rate in (100.0, 700.0):
        bursts = np.repeat(starts, 20) / rate + rng.uniform(0.0, 0.01, count)
        for name, arrivals in (
            ("Poisson", np.cumsum(rng.exponential(1 / rate, count))),
            ("bursts", np.sort(bursts)),
        ):
            none, *windowed = (1000 * _batched_s(arrivals, w) for w in (0.0, 0.005, 0.02))
            order = f"{none:.2f} ≤ {windowed[0]:.2f} ≤ {windowed[1]:.2f} ms"
            right = none <= windowed[0] + 1e-9 and windowed[0] <= windowed[1]
            checks.holds(f"{name}, {rate:g}/s", right and none < windowed[1], got=order)
