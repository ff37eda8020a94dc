"""At one server the tail is a queue, and the service order decides whose request is in it.

First come first served with Poisson arrivals and exponential service answers later than t with
probability e^{−(μ−λ)t}: every percentile is proportional to 1/(μ−λ), so the p99 doubles when the
slack halves. First come first served adds the same wait to every request; processor sharing, where
the n requests present get 1/n of the server each, multiplies every request by the same factor: E[T
| x] = x/(1−ρ), whatever the distribution of the sizes.

Assumes: one server, Poisson arrivals, sizes independent of each other and of the arrivals, nobody
leaves, steady state; exponential sizes in `response_exceeds` only.

Source: Kleinrock (1975), chapter 3, for the exponential tail; Harchol-Balter (2013) for processor
sharing.
"""

from __future__ import annotations

import heapq
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.erlang import response_quantile
from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_positive,
    require_all_sorted,
    require_in,
    require_non_negative,
    require_positive,
    require_shape,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

SHORT_S, LONG_S, LONG_SHARE = 0.5, 5.5, 0.1  # two kinds of request of mean 1 s [s, s, 1]


def response_exceeds(threshold_s: float, arrival_rate: float, service_rate: float) -> float:
    """Share of requests of M/M/1 that take longer than t, wait and service together, e^{−(μ−λ)t}.

    threshold_s: t ≥ 0 [s]. arrival_rate: λ ≥ 0 [1/s]. service_rate: μ > λ [1/s]. Raises ValueError
    outside these ranges. Source: Kleinrock (1975), chapter 3.

    >>> round(response_exceeds(math.log(10), arrival_rate=1.0, service_rate=2.0), 12)
    0.1
    """
    service_rate = as_number(service_rate=service_rate)
    threshold_s, arrival_rate = require_non_negative(
        threshold_s=threshold_s, arrival_rate=arrival_rate
    )
    require(
        arrival_rate < service_rate < math.inf,
        "service_rate",
        f"finite and above the arrival rate {arrival_rate} for a stable queue",
        service_rate,
    )
    return math.exp(-(service_rate - arrival_rate) * threshold_s)


def processor_sharing_mean(size_s: float, utilization: float) -> float:
    """Mean response of a request of size x when all requests present share the server equally,
    x/(1−ρ).

    size_s: x > 0, its service time on an empty server [s]. utilization: ρ in [0, 1). Returns [s].
    Raises ValueError outside these ranges. The distribution of the other sizes does not matter.

    >>> processor_sharing_mean(size_s=2.0, utilization=0.75)
    8.0
    """
    size_s = require_positive(size_s=size_s)
    utilization = require_in("[0, 1)", utilization=utilization)
    return size_s / (1 - utilization)


def first_come_mean(
    size_s: float, utilization: float, mean_size_s: float, size_scv: float
) -> float:
    """Mean response of a request of size x first come first served, x + ρ/(1−ρ)·(1+C²)/2·S.

    size_s: x > 0 [s]. utilization: ρ in [0, 1). mean_size_s: S > 0 [s] and size_scv: C² ≥ 0,
    variance over squared mean, of all requests. Returns [s]. Raises ValueError outside these
    ranges. Source: the Pollaczek–Khinchine mean wait.

    >>> first_come_mean(size_s=2.0, utilization=0.75, mean_size_s=1.0, size_scv=1.0)
    5.0
    """
    size_s = require_positive(size_s=size_s)
    utilization = require_in("[0, 1)", utilization=utilization)
    mean_size_s = require_positive(mean_size_s=mean_size_s)
    size_scv = require_non_negative(size_scv=size_scv)
    return size_s + utilization / (1 - utilization) * (1 + size_scv) / 2 * mean_size_s


def processor_sharing_responses(arrival_times: npt.ArrayLike, sizes: npt.ArrayLike) -> FloatArray:
    """Response time of every request of a server that its requests share equally, starting empty.

    arrival_times: sorted, shape (n,) [s]. sizes: service times on an empty server, positive, shape
    (n,) [s]. Returns responses of shape (n,) [s]. Raises ValueError on empty, non-finite, unsorted
    or mismatched input. A request that arrives when each has received v seconds of service leaves
    when each has received v + x.

    >>> processor_sharing_responses([0.0, 1.0], [2.0, 0.5]).tolist()
    [2.5, 1.0]
    """
    arrivals, work = as_floats(arrival_times=arrival_times), as_floats(sizes=sizes)
    require(
        arrivals.ndim == 1 and arrivals.size > 0, "arrival_times", "non-empty (n,)", arrivals.shape
    )
    require_shape(arrivals.shape, sizes=work)
    require_all_sorted(arrival_times=arrivals)
    require_all_positive(sizes=work)
    came, needed, left = arrivals.tolist(), work.tolist(), [0.0] * arrivals.size
    present: list[tuple[float, int]] = []  # (service received by each at the departure, request)
    clock = received = 0.0
    for i, arrival in enumerate([*came, math.inf]):
        while present:
            departure = clock + (present[0][0] - received) * len(present)
            if departure > arrival:
                received += (arrival - clock) / len(present)
                break
            received, request = heapq.heappop(present)
            left[request] = departure
            clock = departure
        if i < len(came):
            if not present:
                received = 0.0
            clock = arrival
            heapq.heappush(present, (received + needed[i], i))
    return np.asarray(np.array(left) - arrivals)


def example() -> SimpleNamespace:
    """The numbers quoted in the text on queueing tails: a threshold of ten service times, and the
    two kinds at 80%.
    """
    second_moment = (1 - LONG_SHARE) * SHORT_S**2 + LONG_SHARE * LONG_S**2
    scv = second_moment - 1
    return SimpleNamespace(
        late_at_80_percent=100 * response_exceeds(10.0, 0.8, 1.0),
        late_at_90_percent=100 * response_exceeds(10.0, 0.9, 1.0),
        short_shared=processor_sharing_mean(SHORT_S, 0.8),
        short_in_order=first_come_mean(SHORT_S, 0.8, 1.0, scv),
        long_shared=processor_sharing_mean(LONG_S, 0.8),
        long_in_order=first_come_mean(LONG_S, 0.8, 1.0, scv),
        indifferent_size=(1 + scv) / 2,
        all_shared=processor_sharing_mean(1.0, 0.8),
        all_in_order=first_come_mean(1.0, 0.8, 1.0, scv),
    )


def _two_kinds(
    rng: np.random.Generator, utilization: float, requests: int
) -> tuple[FloatArray, FloatArray]:
    """Poisson arrivals and sizes of the two kinds."""
    arrivals = np.cumsum(rng.exponential(1 / utilization, requests))
    return arrivals, np.where(rng.random(requests) < LONG_SHARE, LONG_S, SHORT_S)


def figure_service_order(figure: Figure) -> None:
    """In order of arrival all requests wait alike; sharing makes short requests fast and long
    requests pay.

    Mean response by size at 80% load, for sizes of lognormal distribution with mean 1 and squared
    coefficient of variation 2.25. Lines are the formulas, points the means of 70,000
    simulated requests by size, with 95% confidence intervals.

    Alt: Line chart of mean response against request size from 0 to 4. The line for processor
    sharing starts at the origin with slope 5; the line for first come first served starts at 6.5
    with slope 1. They cross at size 1.6. Simulated points lie near both lines.
    """
    rng = np.random.default_rng(6)
    axes = figure.subplots()
    scv, utilization = 2.25, 0.8
    sizes = np.linspace(0.02, 4, 100)
    shared = [processor_sharing_mean(x, utilization) for x in sizes]
    in_order = [first_come_mean(x, utilization, 1.0, scv) for x in sizes]
    axes.plot(sizes, shared, color="C0")
    axes.plot(sizes, in_order, color="C1")
    log_variance = math.log1p(scv)
    work = rng.lognormal(-log_variance / 2, math.sqrt(log_variance), 70_000)
    arrivals = np.cumsum(rng.exponential(1 / utilization, work.size))
    edges = np.array([0.1, 0.3, 0.6, 1.0, 1.6, 2.4, 4.0])
    group = np.digitize(work, edges)
    for responses, colour in (
        (processor_sharing_responses(arrivals, work), "C0"),
        (fifo_waits(arrivals, work) + work, "C1"),
    ):
        groups = [group == g for g in range(1, edges.size)]
        runs = [batch_means(responses[mine]) for mine in groups]
        means, halves = [run.mean for run in runs], [run.half_width for run in runs]
        axes.errorbar([work[mine].mean() for mine in groups], means, halves, fmt="o", color=colour)
    axes.annotate("processor sharing", (2.55, 15.2), color="C0", ha="right")
    axes.annotate("first come first served", (2.5, 6.8), color="C1", ha="left")
    axes.set(
        xlim=(0, 4),
        ylim=(0, 20),
        xlabel="size of the request [mean service times]",
        ylabel="mean response\n[mean service times]",
    )


def check_tail_of_one_queue() -> None:
    """Of the requests to a server at 80% load, 13.5% take longer than ten service times; at 90% it
    is 37%.

    Source: e^{−2} and e^{−1}; a simulated M/M/1 of 400,000 requests; the quantile of the
    utilization chapter.
    """
    checks.close("ρ = 0.8", response_exceeds(10.0, 0.8, 1.0), 0.1353352832, atol=5e-11)
    checks.close("ρ = 0.9", response_exceeds(10.0, 0.9, 1.0), 0.3678794412, atol=5e-11)
    rng = np.random.default_rng(3)
    arrivals, services = np.cumsum(rng.exponential(1.25, 400_000)), rng.exponential(1.0, 400_000)
    responses = (fifo_waits(arrivals, services) + services)[2000:]
    checks.covers(
        "simulated share at ρ = 0.8", batch_means((responses > 10).astype(float)), math.exp(-2)
    )
    p99 = response_quantile(0.99, 0.8, 1.0)
    checks.close("share beyond the p99", response_exceeds(p99, 0.8, 1.0), 0.01, rtol=1e-12)


def check_sharing_is_proportional() -> None:
    """Under processor sharing at 80% load short and long requests alike take five times their size.

    Source: x/(1−ρ), simulated with two kinds of request, 120,000 in all, by kind.
    """
    arrivals, sizes = _two_kinds(np.random.default_rng(4), 0.8, 120_000)
    responses = processor_sharing_responses(arrivals, sizes)[1000:]
    for size in (SHORT_S, LONG_S):
        mean = batch_means(responses[sizes[1000:] == size])
        checks.covers(f"size {size:g}, simulated", mean, processor_sharing_mean(size, 0.8))


def check_order_of_arrival_adds_a_wait() -> None:
    """In order of arrival the same requests wait 6.5 service times each, whatever their own size.

    Source: λE[S²]/(2(1−ρ)) = 0.8·3.25/0.4 by hand; simulation by kind of 400,000 requests.
    """
    arrivals, sizes = _two_kinds(np.random.default_rng(5), 0.8, 400_000)
    responses = (fifo_waits(arrivals, sizes) + sizes)[2000:]
    for size in (SHORT_S, LONG_S):
        expected = first_come_mean(size, 0.8, 1.0, 2.25)
        checks.close(f"size {size:g}", expected, size + 6.5, rtol=1e-12)
        mean = batch_means(responses[sizes[2000:] == size])
        checks.covers(f"size {size:g}, simulated", mean, expected)


def check_indifferent_size_does_not_depend_on_load() -> None:
    """Requests smaller than E[S²]/(2E[S]) = 1.625 prefer sharing at every load, larger ones the
    order of arrival.

    Source: equating the two means; the mean residual size of the two kinds, by hand.
    """
    for utilization in (0.1, 0.5, 0.95):
        checks.close(
            f"difference at ρ = {utilization}",
            processor_sharing_mean(1.625, utilization),
            first_come_mean(1.625, utilization, 1.0, 2.25),
            rtol=1e-12,
        )


def check_work_is_conserved() -> None:
    """Sharing changes who waits but not when the server is busy: every busy period ends as before.

    Source: both orders are work-conserving; the ends of all busy periods of 2000 requests.
    """
    arrivals, sizes = _two_kinds(np.random.default_rng(8), 0.8, 2000)
    ends = []
    for responses in (
        processor_sharing_responses(arrivals, sizes),
        fifo_waits(arrivals, sizes) + sizes,
    ):
        last = np.maximum.accumulate(arrivals + responses)
        ends.append(last[np.append(arrivals[1:] > last[:-1], True)])
    checks.equal("busy periods", ends[0].size, ends[1].size)
    checks.close("their ends [s]", ends[0], ends[1], rtol=1e-10)


def check_bad_input_is_refused() -> None:
    """Saturated servers, negative thresholds and requests without a size are errors."""
    checks.raises("λ = μ", response_exceeds, 1.0, 1.0, 1.0, match="service_rate must be finite and")
    checks.raises("t < 0", response_exceeds, -1.0, 0.5, 1.0, match="threshold_s must be non-")
    checks.raises(
        "ρ = 1", processor_sharing_mean, 1.0, 1.0, match="utilization must be in [0, 1), got 1.0"
    )
    checks.raises(
        "NaN scv", first_come_mean, 1.0, 0.5, 1.0, math.nan, match="size_scv must be non-"
    )
    checks.raises(
        "size 0", processor_sharing_responses, [0.0], [0.0], match="sizes must be positive and"
    )
