"""Solutions: a device for each phase, when a pipeline overtakes, what one bit of prediction buys,
and a schedule from packing.

Source: the chapter's formulas; Coffman, Garey and Johnson (1978) for MULTIFIT and Yue (1990) for
its bound 13/11; Cobham (1954) for two priorities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.roofline import decode_step_time
from serving_mathematics.core.queues.list_scheduling import (
    lpt_schedule,
    makespan_floor,
    optimal_makespan,
)
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.core.queues.size_based import EXPONENTIAL, mean_response
from serving_mathematics.core.queues.size_scheduler import simulate_responses
from serving_mathematics.optimization.hardware_scheduling.device_placement import A100, H100
from serving_mathematics.optimization.hardware_scheduling.disaggregation import (
    pipeline_ttft_s,
    tensor_ttft_s,
)
from serving_mathematics.optimization.hardware_scheduling.slice_packing import first_fit
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

PARAMETERS = 6.738e9  # of the worked model, two bytes each

HINTS = {
    "cheapest_device": (
        "On each device the longer of the two times counts, arithmetic or memory, not their "
        "sum. Multiply by the price of that time: the fastest device need not be the cheapest."
    ),
    "pipeline_overtakes": (
        "Compare `tensor_ttft_s` and `pipeline_ttft_s` as the rate grows: at rest two as one "
        "are ahead, near their limit they wait without bound. In between they cross once, so "
        "bisect below that limit."
    ),
    "best_threshold": (
        "Treat it as two priority classes without interruption, with the load of all sizes "
        "below the threshold. Both waits share one numerator; the mean of all requests is what "
        "to minimize, not that of the short ones."
    ),
    "multifit": (
        "Bisect over the deadline: `first_fit` says how many devices it takes. No deadline can "
        "be shorter than the average load or than the longest job; keep the smallest that was "
        "seen to fit."
    ),
}


def cheapest_device(
    flops: float, bytes_moved: float, devices: Mapping[str, tuple[float, float, float]]
) -> tuple[str, float]:
    """The device on which a piece of work costs least by its roofline, and that cost.

    flops: operations, non-negative. bytes_moved: [B], non-negative, not both 0. devices: for each
    name the peak rate [FLOP/s], the bandwidth [B/s] and a price per hour, all positive. The time is
    the longer of flops/peak and bytes/bandwidth. Raises ValueError on anything else.

    >>> cheapest_device(0.0, 7200.0, {"fast": (8.0, 2.0, 5.0), "slow": (1.0, 1.0, 2.0)})
    ('slow', 4.0)
    """
    flops, bytes_moved = require_non_negative(flops=flops, bytes_moved=bytes_moved)
    require(flops + bytes_moved > 0, "flops", "positive where no bytes are moved", flops)
    require(len(devices) > 0, "devices", "at least one", devices)
    costs = {}
    for name, (peak, bandwidth, price) in devices.items():
        for value in (peak, bandwidth, price):
            require(0 < value < math.inf, "devices", f"positive and finite for {name}", value)
        costs[name] = max(flops / peak, bytes_moved / bandwidth) * price / 3600
    best = min(costs, key=lambda name: costs[name])
    return best, costs[best]


def pipeline_overtakes(prefill_s: float, speedup: float) -> float:
    """Rate from which two devices give first tokens earlier as a pipeline than as one [1/s].

    prefill_s: D > 0 on one device [s]. speedup: s in (1, 2) of two as one. By bisection: at rest
    two as one are ahead by D(1 − 1/s), near their limit s/D they wait without bound. Raises
    ValueError outside these ranges.

    >>> round(pipeline_overtakes(prefill_s=0.1, speedup=1.5), 3)
    9.361
    """
    prefill_s = require_positive(prefill_s=prefill_s)
    speedup = require_in("(1, 2)", speedup=speedup)
    low, high = 0.0, speedup * (1 - 1e-12) / prefill_s
    for _ in range(100):
        rate = (low + high) / 2
        ahead = tensor_ttft_s(rate, prefill_s, speedup) < pipeline_ttft_s(rate, prefill_s)
        low, high = (rate, high) if ahead else (low, rate)
    return low


def best_threshold(utilization: float) -> tuple[float, float]:
    """Size below which a request should count as short, if that is all the server is told, and the
    mean response then; both in mean sizes.

    utilization: ρ in (0, 1), of exponential sizes. Short ones go first and nobody is interrupted:
    with ρ(t) the load of the short, they wait ρ/(1 − ρ(t)) and the others ρ/((1 − ρ(t))(1 − ρ)).
    Searched over 4,000 thresholds. Raises ValueError outside the range.

    >>> threshold, mean = best_threshold(0.9)
    >>> round(threshold, 1), round(mean, 2)
    (2.1, 5.28)
    """
    utilization = require_in("(0, 1)", utilization=utilization)
    t = np.linspace(0.0, 20.0, 4001)[1:]
    load = utilization * (1 - (1 + t) * np.exp(-t))
    long = np.exp(-t)
    means = 1 + utilization / (1 - load) * (1 - long + long / (1 - utilization))
    best = int(np.argmin(means))
    return float(t[best]), float(means[best])


def multifit(durations: Sequence[int], devices: int) -> int:
    """A deadline by which all jobs fit on the devices, packed largest first; by halving.

    durations: positive integers [any unit]. devices: positive integer. The interval starts between
    the average, or the longest job, and twice that. At most 13/11 of the shortest possible. Raises
    ValueError on anything else. Source: Coffman, Garey and Johnson (1978).

    >>> multifit([5, 5, 4, 4, 3, 3, 3], devices=3)
    9
    """
    require(len(durations) > 0, "durations", "at least one", durations)
    whole = all(1 <= time < math.inf and time % 1 == 0 for time in durations)
    require(whole, "durations", "positive integers", durations)
    devices = require_positive_integer(devices=devices)
    low = max(-(-sum(durations) // devices), max(durations))
    high = 2 * low  # a job without room there would mean more than the average on every device
    while low < high:
        deadline = (low + high) // 2
        if len(first_fit(durations, deadline)) <= devices:
            high = deadline
        else:
            low = deadline + 1
    return high


def _work(prompt_tokens: int, batch: int) -> dict[str, tuple[float, float]]:
    """Operations and bytes of one prefill, and of one decode step without the caches."""
    return {
        "prefill": (2 * PARAMETERS * prompt_tokens, 2 * PARAMETERS),
        "decode": (2 * PARAMETERS * batch, 2 * PARAMETERS),
    }


def _devices() -> dict[str, tuple[float, float, float]]:
    """Peaks, bandwidths and prices of the chapter."""
    return {"H100": H100, "A100": A100}


def example() -> SimpleNamespace:
    """Numbers quoted in the text: uneven sizes at 80% load, in seconds."""
    chosen = {}
    for phase, work in _work(2048, 16).items():
        name, cost = cheapest_device(*work, _devices())
        other = {key: value for key, value in _devices().items() if key != name}
        chosen[phase] = (name, 100 * (1 - cost / cheapest_device(*work, other)[1]))
    threshold, mean = best_threshold(0.9)
    in_order, shortest = (mean_response(policy, 0.9, EXPONENTIAL) for policy in ("fcfs", "sjf"))
    return SimpleNamespace(
        prefill_device=chosen["prefill"][0],
        decode_device=chosen["decode"][0],
        prefill_saving_percent=chosen["prefill"][1],
        decode_saving_percent=chosen["decode"][1],
        overtakes_per_s=pipeline_overtakes(0.1, 1.5),
        one_bit_threshold=threshold,
        one_bit_mean=mean,
        one_bit_share_percent=100 * (in_order - mean) / (in_order - shortest),
    )


def check_devices_for_phases() -> None:
    """A prompt is cheaper on the device with more operations for its price, a decode step on the
    one with more bandwidth.

    Source: 3.17 times the operations and 1.64 times the bandwidth for 2.16 times the price; the
    step time of the roofline chapter.
    """
    for phase, expected in (("prefill", "H100"), ("decode", "A100")):
        work = _work(1024, 8)[phase]
        checks.equal(phase, cheapest_device(*work, _devices())[0], expected)
    for name, device in _devices().items():
        work = _work(1024, 8)["decode"]
        step = decode_step_time(8, PARAMETERS, 2 * PARAMETERS, 0.0, device[0], device[1])
        _, cost = cheapest_device(*work, {name: device})
        checks.close(f"decode on {name}", cost, float(step) * device[2] / 3600, rtol=1e-12)
    raises = checks.raises
    raises("no work", cheapest_device, 0.0, 0.0, _devices(), match="flops must be positive where")
    raises("no device", cheapest_device, 1.0, 0.0, {}, match="devices must be at least one")


def check_crossing() -> None:
    """Below the crossing two devices as one are ahead, above it the pipeline; the better they work
    as one, the later.

    Source: DistServe's equations 2 and 3 on both sides; the quadratic equation in λD, by numpy.
    """
    for prefill_s, speedup in ((0.2, 1.3), (0.05, 1.7), (1.0, 1.9)):
        rate = pipeline_overtakes(prefill_s, speedup)
        before, after = 0.999 * rate, 1.001 * rate
        first = tensor_ttft_s(before, prefill_s, speedup) < pipeline_ttft_s(before, prefill_s)
        last = tensor_ttft_s(after, prefill_s, speedup) > pipeline_ttft_s(after, prefill_s)
        checks.holds(f"s = {speedup}: changes sides", first and last, got=rate)
        u = np.polynomial.Polynomial([0.0, 1.0])
        s = speedup
        gap = 4 * s * (s - u) * (2 - u) * (1 - 1 / s) + s * (s - u) * u - 2 * u * (2 - u)
        roots = np.real(gap.roots())
        roots = roots[(roots > 0) & (roots < s)]
        checks.close(f"s = {speedup}: λD", rate * prefill_s, roots[0], rtol=1e-9)
    checks.raises("s = 2", pipeline_overtakes, 0.1, 2.0, match="speedup must be in (1, 2), got 2.0")


def check_one_bit() -> None:
    """One bit brings most of what exact sizes bring to a server that interrupts nobody.

    Source: 105,000 simulated requests that are predicted as 1 or 2, at the best threshold and, 90%
    busy, at half of it, where they take longer; the means in order of arrival and shortest first.
    """
    for utilization in (0.5, 0.9):
        threshold, mean = best_threshold(utilization)
        rng = np.random.default_rng(73)
        arrivals = np.cumsum(rng.exponential(1 / utilization, 105_000))
        sizes = rng.exponential(1.0, arrivals.size)
        told = np.where(sizes <= threshold, 1.0, 2.0)
        responses = simulate_responses(arrivals, sizes, "sjf", told)
        checks.covers(f"ρ = {utilization}, simulated", batch_means(responses[2000:]), mean)
        in_order, shortest = (
            mean_response(policy, utilization, EXPONENTIAL) for policy in ("fcfs", "sjf")
        )
        checks.inside(f"ρ = {utilization}, between", mean, shortest, in_order, kind="identity")
    worse = np.where(sizes <= threshold / 2, 1.0, 2.0)
    loss = simulate_responses(arrivals, sizes, "sjf", worse) - responses
    paired = batch_means(loss[2000:])
    got = f"{paired.mean:.3f} ± {paired.standard_error:.3f}"
    better = paired.mean > 3 * paired.standard_error
    checks.holds("ρ = 0.9, half the threshold loses", better, got=got, kind="simulation")
    checks.raises("ρ = 1", best_threshold, 1.0, match="utilization must be in (0, 1), got 1.0")


def check_multifit() -> None:
    """Packing finds the optimum where longest first is worst, and stays within 13/11 of it on 200
    random jobs.

    Source: Graham's tight family, 4m − 1 against 3m; optima by branch and bound; Yue (1990) for
    13/11.
    """
    for m in (2, 3, 4, 7):
        pairs = [time for time in range(2 * m - 1, m, -1) for _ in range(2)]
        jobs = [*pairs, m, m, m]
        checks.equal(f"m = {m}: longest first", lpt_schedule(jobs, m).makespan, float(4 * m - 1))
        checks.equal(f"m = {m}: packed", multifit(jobs, m), 3 * m)
    rng = np.random.default_rng(74)
    worst = 0.0
    for _ in range(200):
        jobs = rng.integers(1, 40, 9).tolist()
        packed = multifit(jobs, 3)
        worst = max(worst, packed / optimal_makespan(jobs, 3))
        if packed < makespan_floor(jobs, 3):
            worst = math.inf
    checks.inside("worst ratio", worst, 1.0, 13 / 11, kind="published")
    checks.raises("half a job", multifit, [1.5], 2, match="durations must be positive integers")
