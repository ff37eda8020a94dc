"""A published benchmark prints three numbers of which two determine the third: N = X(R + Z).

N connections that each send, wait R, pause Z and send again complete X requests per second, and
each of the N is at every moment either waiting or pausing: N = XR + XZ. A report whose X(R + Z) is
not its N contradicts itself. Less: time passed in no number it prints. More: the latency contains
time that was never spent on these connections. Percentiles bound R, and so they bound XR.

Assumes: one request at a time on a connection; X, R and Z measured over the same requests.

Source: Denning and Buzen (1978) for the response time law; the reports are cited where they stand.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_in,
    require_non_negative,
    require_positive,
)

Verdict = Literal["consistent", "time missing", "too many in flight"]


@dataclass(frozen=True)
class Audit:
    """What a report's numbers imply about each other."""

    in_flight: float  # XR, requests that the printed latency accounts for
    ratio: float  # X(R + Z)/N, 1 when the report is consistent
    missing_s: float  # N/X − R − Z, part of a cycle in no printed number; negative: counted twice
    verdict: Verdict
    finding: str  # the verdict in a sentence with its numbers


def audit_benchmark(
    concurrency: float,
    throughput_per_s: float,
    mean_latency_s: float,
    *,
    think_time_s: float = 0.0,
    tolerance: float = 0.02,
) -> Audit:
    """Whether concurrency, throughput and mean latency can belong to one run, and how far off.

    concurrency: N connections or virtual users. throughput_per_s: X [1/s]. mean_latency_s: R [s].
    think_time_s: Z, pause that the generator was told to make [s]. tolerance: largest |X(R + Z)/N −
    1| that still counts as consistent, for rounding and the end of the run, when connections have
    nothing left to send: the longest latency over its length is enough.
    Raises ValueError on a non-positive N, X or R, a negative Z, or a tolerance outside (0, 1).

    >>> audit = audit_benchmark(concurrency=10, throughput_per_s=100, mean_latency_s=0.08)
    >>> audit.verdict, round(audit.ratio, 9), round(audit.missing_s, 9)
    ('time missing', 0.8, 0.02)
    """
    concurrency, throughput_per_s, mean_latency_s = require_positive(
        concurrency=concurrency, throughput_per_s=throughput_per_s, mean_latency_s=mean_latency_s
    )
    think_time_s = require_non_negative(think_time_s=think_time_s)
    tolerance = require_in("(0, 1)", tolerance=tolerance)
    cycle = concurrency / throughput_per_s
    ratio = (mean_latency_s + think_time_s) / cycle
    missing = cycle - mean_latency_s - think_time_s
    verdict: Verdict = "consistent"
    if ratio < 1 - tolerance:
        verdict = "time missing"
    elif ratio > 1 + tolerance:
        verdict = "too many in flight"
    kept, span, limit = ratio * concurrency, _duration(cycle), _duration(cycle - think_time_s)
    finding = {
        "consistent": f"{kept:.4g} of {concurrency:g} accounted for: the numbers agree",
        "time missing": f"{kept:.4g} of {concurrency:g} accounted for: {_duration(missing)} of each"
        f" cycle of {span} are in no number of the report",
        "too many in flight": f"{kept:.4g} in flight where {concurrency:g} can be: the mean is"
        f" {limit} at most, not {_duration(mean_latency_s)}",
    }[verdict]
    return Audit(throughput_per_s * mean_latency_s, ratio, missing, verdict, finding)


def _duration(seconds: float) -> str:
    """Seconds in the unit that suits them, with three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _mean_latency_bounds(
    probabilities: npt.ArrayLike, latencies_s: npt.ArrayLike, longest_s: float
) -> tuple[float, float]:
    """Least and greatest mean that printed percentiles leave possible [s].

    probabilities: of the percentiles, increasing, in (0, 1), shape (k,), such as (0.5, 0.95, 0.99).
    latencies_s: the percentiles [s], non-decreasing, same shape. longest_s: the longest latency, or
    the length of the run, which no latency exceeds [s].
    Returns (least, greatest): every request at the lower, or at the upper, end of its bracket.

    >>> least, greatest = _mean_latency_bounds([0.5, 0.9], [0.1, 0.2], longest_s=1.0)
    >>> round(least, 9), round(greatest, 9)
    (0.06, 0.23)
    """
    weights = np.diff(np.concatenate(([0.0], probabilities, [1.0])))
    least = float(weights @ np.concatenate(([0.0], latencies_s)))
    return least, float(weights @ np.concatenate((latencies_s, [longest_s])))


@dataclass(frozen=True)
class _Report:
    """One line of a published benchmark."""

    label: str
    connections: int
    throughput_per_s: float
    mean_latency_s: float


WRK_114 = (  # wrk issue 114 (2014): one connection, "x" and "r_bad" of runs of a nominal second
    _Report("wrk #114, run 1", 1, 17_924.0, 42.85e-6),
    _Report("run 2", 1, 18_963.0, 43.22e-6),
    _Report("run 3", 1, 19_038.0, 42.30e-6),
    _Report("run 4", 1, 19_026.0, 41.61e-6),
    _Report("run 5", 1, 18_698.0, 42.83e-6),
)
WRK_114_PRINTED = (0.768043, 0.819581, 0.805307, 0.791672, 0.800835)  # the issue's own N_bad
WRK_114_RECOUNTED_S = 46.00e-6  # [s]; its run 1 with the mean over every latency, N = 0.824504
WRK_CORRECTED = (  # one connection, means after wrk's correction for coordinated omission
    _Report("wrk #438, run 1", 1, 5_043.27, 6.04e-3),  # wrk issue 438 (2020)
    _Report("wrk #438, run 2", 1, 5_006.85, 487.51e-6),
    _Report("wrk #99", 1, 726.37, 2.53),  # wrk issue 99 (2014), server frozen for 5 of 10 s
)
ECHO_REQUESTS, ECHO_PER_S = 1000, 892.0  # of the echo-server table at a concurrency of 1,000; Vultr
ECHO_MS = (11.59, 20.94, 26.43)  # its p50, p95 and p99


def _echo_in_flight() -> tuple[float, float]:
    """Least and greatest mean number in flight at that level."""
    run_s = ECHO_REQUESTS / ECHO_PER_S
    bounds = _mean_latency_bounds((0.5, 0.95, 0.99), np.divide(ECHO_MS, 1e3), run_s)
    return ECHO_PER_S * bounds[0], ECHO_PER_S * bounds[1]


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    first = WRK_114[0]
    audit = audit_benchmark(1, first.throughput_per_s, first.mean_latency_s)
    inflated, _, frozen = (
        audit_benchmark(r.connections, r.throughput_per_s, r.mean_latency_s) for r in WRK_CORRECTED
    )
    return SimpleNamespace(
        wrk_in_flight=audit.in_flight,
        wrk_missing_us=audit.missing_s * 1e6,
        wrong_mean_us=(WRK_114_RECOUNTED_S - first.mean_latency_s) * 1e6,
        wrong_mean_percent=100 * (1 - first.mean_latency_s / WRK_114_RECOUNTED_S),  # too low
        corrected_in_flight=inflated.in_flight,
        frozen_in_flight=frozen.in_flight,
        echo_greatest=_echo_in_flight()[1],
    )


def check_one_connection_that_holds_three_quarters() -> None:
    """17,924 requests per second at 42.85 µs on one connection keep 0.768 in flight, not 1.

    Source: wrk issue 114, which prints N = XR of its runs itself, for the reported means and, in
    run 1, for the mean recounted over all latencies.
    """
    for report, printed in zip(WRK_114, WRK_114_PRINTED, strict=True):
        audit = audit_benchmark(1, report.throughput_per_s, report.mean_latency_s)
        checks.close(report.label, audit.in_flight, printed, atol=6e-7, kind="published")
    recounted = audit_benchmark(1, 17_924.0, WRK_114_RECOUNTED_S)
    checks.close("recounted", recounted.in_flight, 0.824504, atol=6e-7, kind="published")
    checks.equal("verdict on the recount", recounted.verdict, "time missing")


def check_the_end_of_a_run_is_missing() -> None:
    """In a closed test of a fixed number of requests, whose generator never rests, XR is short of N
    by no more than the longest answer's share of the run: by more than a tenth with eight requests
    a connection, by less than a seventh with forty, and by less than a fiftieth with forty equal
    ones.

    Source: connections that send again at once, until all requests are sent; exponential and equal
    answers, two numbers of connections.
    """
    rng = np.random.default_rng(31)
    for connections in (64, 256):
        for each, equal, least, most in ((8, 0, 0.1, 0.5), (40, 0, 0.02, 0.14), (40, 1, 0, 0.02)):
            answers_s = np.ones(each * connections)
            if not equal:
                answers_s = rng.exponential(size=answers_s.size)
            free_s = [0.0] * connections
            for answer_s in answers_s.tolist():
                heapq.heapreplace(free_s, free_s[0] + answer_s)
            run_s = max(free_s)
            audit = audit_benchmark(connections, answers_s.size / run_s, float(answers_s.mean()))
            label = f"{connections} connections, {each} each{', equal' if equal else ''}: missing"
            high = min(most, float(answers_s.max()) / run_s + 1e-12)
            checks.inside(label, 1 - audit.ratio, least - 1e-12, high, kind="simulation")


def check_corrected_latencies_do_not_fit_the_connections() -> None:
    """Latencies corrected for coordinated omission put 30 and 1,838 requests on one connection.

    Source: XR by hand from wrk issues 438 (5043.27 × 6.04 ms) and 99 (726.37 × 2.53 s).
    """
    first, _, frozen = (
        audit_benchmark(r.connections, r.throughput_per_s, r.mean_latency_s) for r in WRK_CORRECTED
    )
    checks.close("issue 438", first.in_flight, 30.461, atol=5e-4)
    checks.close("issue 99", frozen.in_flight, 1837.716, atol=5e-4)
    checks.equal("verdict", first.verdict, "too many in flight")


def check_percentiles_bound_the_number_in_flight() -> None:
    """At a stated concurrency of 1,000, the echo table's percentiles allow at most 25 in flight.

    Source: by hand, 0.45 × 11.59 + 0.04 × 20.94 + 0.01 × 26.43 ms from below, and 0.5 × 11.59 +
    0.45 × 20.94 + 0.04 × 26.43 + 0.01 × 1121.08 ms from above, times 892 per second.
    """
    least, greatest = _echo_in_flight()
    below = 0.45 * 11.59 + 0.04 * 20.94 + 0.01 * 26.43
    above = 0.5 * 11.59 + 0.45 * 20.94 + 0.04 * 26.43 + 0.01 * 1e6 / 892
    checks.close("least", least, below * 0.892, rtol=1e-12)
    checks.close("greatest", greatest, above * 0.892, rtol=1e-12)
    checks.inside("greatest number in flight", greatest, 24.0, 25.0)
