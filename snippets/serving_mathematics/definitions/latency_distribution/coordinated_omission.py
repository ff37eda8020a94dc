"""A load generator that waits for each answer stops asking when the server stalls, and its
percentiles do not contain the stall.

Requests are due every I seconds. A closed loop sends the next one only after the last answer, so a
stall of S seconds leaves one slow sample instead of S/I. Measured from when it was due, request i
takes done_i − i·I. Adding x − I, x − 2I, … down to I to each latency x restores what the closed
loop left out, if the server answers all that waited at once.

Assumes: one request in flight.

Source: Tene's HdrHistogram for the correction, its test HistogramDataAccessTest for the numbers;
wrk2 for measuring from when a request was due.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_positive,
)


def closed_loop_latencies(
    service_s: npt.ArrayLike, interval_s: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What a closed loop records, timed from sending, and timed from when each request was due.

    service_s: how long the server takes for each request in turn [s], shape (n,), n ≥ 1, ≥ 0.
    interval_s: > 0, request i is due at i·interval_s [s] and sent then or when the last answer
    came. Returns both latencies [s], shape (n,). Raises ValueError outside these ranges.

    >>> sent, due = closed_loop_latencies([1.0, 5.0, 1.0, 1.0], interval_s=2.0)
    >>> sent.tolist(), due.tolist()
    ([1.0, 5.0, 1.0, 1.0], [1.0, 5.0, 4.0, 3.0])
    """
    service = as_floats(service_s=service_s)
    require(service.ndim == 1 and service.size > 0, "service_s", "non-empty (n,)", service.shape)
    require_all_non_negative(service_s=service)
    interval_s = require_positive(interval_s=interval_s)
    due = interval_s * np.arange(service.size)
    busy = np.cumsum(service)
    start = np.maximum.accumulate(due - busy + service)  # idle time so far
    return service.copy(), start + busy - due


def corrected_latencies(latencies: npt.ArrayLike, interval: float) -> npt.NDArray[np.float64]:
    """Latencies of a closed loop and those that it left out: x − I, x − 2I, … ≥ I for each x > I.

    latencies: shape (n,), ≥ 0, n ≥ 1. interval: I > 0 between requests as intended, in the same
    unit. Returns the recorded latencies followed by the added ones. Raises ValueError outside these
    ranges. Source: `recordValueWithExpectedInterval` of HdrHistogram.

    >>> corrected_latencies([1.0, 35.0], interval=10.0).tolist()
    [1.0, 35.0, 25.0, 15.0]
    """
    x = as_floats(latencies=latencies)
    require(x.ndim == 1 and x.size > 0, "latencies", "non-empty (n,)", x.shape)
    require_all_non_negative(latencies=x)
    interval = require_positive(interval=interval)
    most = 1e7 * interval
    require(x.sum() <= most, "latencies", f"at most {most:g} in all, 10⁷ intervals", x.sum())
    missing = np.maximum(np.floor(x / interval * (1 + 1e-12)).astype(int) - 1, 0)
    before = np.repeat(np.cumsum(missing) - missing, missing)
    steps = np.arange(1, before.size + 1) - before  # 1, 2, … of each
    return np.concatenate([x, np.repeat(x, missing) - steps * interval])


def check_hundred_second_stall() -> None:
    """After 100 s of answers within 1 ms and a stall of 100 s, the raw mean is 11 ms, and the
    corrected mean 25 s.

    Source: HdrHistogram, HistogramDataAccessTest (counts exact, percentiles to 0.1%); sums by hand,
    (10 + 100)/10,001 and (10 + 0.01·10,000·10,001/2)/20,000 s.
    """
    raw = np.append(np.full(10_000, 0.001), 100.0)  # 10,000 answers after 1 ms, one after 100 s
    full = corrected_latencies(raw, 0.01)
    checks.close("raw mean [ms]", 1000 * raw.mean(), 10.9989, atol=5e-5)
    checks.equal("corrected count", full.size, 20_000, kind="published")
    checks.close("corrected mean [s]", full.mean(), 25.003, rtol=1e-9)
    for q, expected in ((0.75, 50.0), (0.9, 80.0), (0.99, 98.0)):
        got = float(np.quantile(full, q, method="inverted_cdf"))
        checks.close(f"corrected p{100 * q:.0f} [s]", got, expected, rtol=1e-3, kind="published")
