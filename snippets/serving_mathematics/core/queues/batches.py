"""One server that takes requests in batches: what is there, full ones, or after a window.

Whoever waits when the server is free goes into the next batch, up to the largest. With a window a
batch that is not full waits for more, as long as its oldest member has waited no longer than that.

Assumes: one batch at a time, first come first served.

Source: dynamic batching with a delay as in NVIDIA Triton; Inoue (2021) for batches of what waits.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]


def form_batches(
    arrival_s: npt.ArrayLike,
    batch_time_s: Callable[[int, int], float],
    largest: int,
    window_s: float,
) -> tuple[FloatArray, FloatArray]:
    """Start and end [s] of the batch of every request, when a free server starts a batch that is
    full or whose oldest member has waited for a window.

    arrival_s: sorted times [s], shape (n,). batch_time_s: how long the batch of requests i to j − 1
    takes [s]. largest: batch limit. window_s: 0 to take what is there (greedy), infinite to insist
    on full batches (static; the last starts when nobody is left to come). Raises ValueError
    outside these ranges.

    >>> start_s, end_s = form_batches([0.0, 1.0, 1.5, 9.0], lambda i, j: 2.0, 2, window_s=0.5)
    >>> start_s.tolist(), end_s.tolist()
    ([0.5, 2.5, 2.5, 9.5], [2.5, 4.5, 4.5, 11.5])
    """
    window_s = as_number(window_s=window_s)
    arrivals = as_floats(arrival_s=arrival_s)
    shaped = arrivals.ndim == 1 and arrivals.size > 0
    in_order = shaped and np.all(np.isfinite(arrivals)) and np.all(np.diff(arrivals) >= 0)
    require(in_order, "arrival_s", "finite, sorted and not empty", arrivals)
    largest = require_positive_integer(largest=largest)
    require(window_s >= 0, "window_s", "non-negative", window_s)
    largest = int(largest)
    times, size, first, free_s = arrivals.tolist(), arrivals.size, 0, -math.inf
    starts, ends, sizes = [], [], []  # of the batches
    while first < size:
        full_s = times[first + largest - 1] if first + largest <= size else math.inf
        ready_s = min(full_s, times[first] + window_s)
        start_s = max(free_s, times[-1] if math.isinf(ready_s) else ready_s)
        end = bisect.bisect_right(times, start_s, first, min(first + largest, size))
        free_s = start_s + batch_time_s(first, end)
        starts.append(start_s)
        ends.append(free_s)
        sizes.append(end - first)
        first = end
    return np.repeat(starts, sizes), np.repeat(ends, sizes)


def check_window() -> None:
    """With an instant server a window w costs w(1 + λw/2)/(1 + λw) on average, and batches of one
    are the usual queue.

    Source: the first of 1 + λw requests waits w, the others are uniform in it; `fifo_waits`.
    """
    arrivals = np.cumsum(np.random.default_rng(4).exponential(0.01, 50_000))
    start_s, _ = form_batches(arrivals, lambda *_: 0.0, 10_000, 0.03)
    checks.covers("λw = 3 [s]", batch_means(start_s - arrivals), 0.03 * 2.5 / 4)
    services = np.random.default_rng(5).exponential(0.008, arrivals.size)
    start_s, _ = form_batches(arrivals, lambda first, _: float(services[first]), 1, 0.0)
    waits = fifo_waits(arrivals, services)
    checks.close("batches of one [s]", np.abs(start_s - arrivals - waits).max(), 0.0, atol=1e-9)
