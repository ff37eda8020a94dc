"""Solutions to the exercises of the chapter on Little's law.

Source: Kim and Whitt (2013) for estimating waits from counts; Brumelle (1971) for H = λG; each
derivation is in the exercise.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.littles_law.kv_cache_occupancy import mean_held, token_seconds
from serving_mathematics.capacity.littles_law.littles_law import number_in_system, window_averages
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_non_negative,
    require_positive,
)

HINTS = {
    "latency_from_gauge": (
        "Little's law gives the time inside from the mean of the gauge and the arrival rate. "
        "The counter's increase is a number of requests, not yet a rate."
    ),
    "lost_request_time": (
        "Little's law holds for each kind of request by itself: those in flight are the "
        "completed ones' share plus the lost ones' share. Divide the rest by the rate of the "
        "lost, not of all."
    ),
    "request_rate_for_cache": (
        "Use H = λG: a request costs token-seconds, the prompt for its whole stay plus outputs "
        "that pile up one by one. Long outputs count with their square, so a mean output length"
        " is not enough."
    ),
}


def latency_from_gauge(
    in_flight_samples: npt.ArrayLike, requests_started: float, window_s: float
) -> float:
    """Mean latency of a service that exports only a gauge and a counter [s].

    in_flight_samples: the gauge, read at regular times over the window, shape (n,).
    requests_started: increase of the request counter over the window. window_s: its length [s].
    Raises ValueError on an empty or negative gauge, and when nothing started.

    >>> latency_from_gauge([3, 5, 4], requests_started=120, window_s=60.0)
    2.0
    """
    gauge = as_floats(in_flight_samples=in_flight_samples)
    require(
        gauge.ndim == 1 and gauge.size > 0 and np.all((gauge >= 0) & (gauge < math.inf)),
        "in_flight_samples",
        "a non-empty series of finite numbers ≥ 0",
        gauge,
    )
    requests_started, window_s = require_positive(
        requests_started=requests_started, window_s=window_s
    )
    return float(gauge.mean()) / (requests_started / window_s)


def lost_request_time(
    in_flight: float, arrival_rate: float, completed_rate: float, mean_completed_s: float
) -> float:
    """Mean time that requests which never complete stay inside [s].

    in_flight: L, mean of the gauge. arrival_rate: λ, all requests [1/s]. completed_rate: X < λ,
    those that a latency log records [1/s]. mean_completed_s: W_c, their mean latency [s].
    Raises ValueError on negative arguments, when nothing is lost, or when the completed requests
    alone hold more than L.

    >>> lost_request_time(50.0, arrival_rate=10.0, completed_rate=9.0, mean_completed_s=2.0)
    32.0
    """
    arrival_rate = as_number(arrival_rate=arrival_rate)
    in_flight, completed_rate = require_non_negative(
        in_flight=in_flight, completed_rate=completed_rate
    )
    require(
        completed_rate < arrival_rate < math.inf,
        "arrival_rate",
        f"finite and above the completed rate {completed_rate}",
        arrival_rate,
    )
    mean_completed_s = require_non_negative(mean_completed_s=mean_completed_s)
    held = completed_rate * mean_completed_s
    require(held <= in_flight, "in_flight", f"at least X·W_c = {held}", in_flight)
    return (in_flight - held) / (arrival_rate - completed_rate)


def request_rate_for_cache(
    capacity_tokens: float,
    traffic_shares: npt.ArrayLike,
    prompt_tokens: npt.ArrayLike,
    mean_output_tokens: npt.ArrayLike,
    output_scv: npt.ArrayLike,
    prefill_s: float,
    token_interval_s: float,
) -> float:
    """Request rate at which a mix of classes fills a cache on average [1/s].

    capacity_tokens: C, the share of the cache that may be full on average. traffic_shares: s_k,
    summing to 1, shape (k,). prompt_tokens: p_k. mean_output_tokens: m_k ≥ 1. output_scv: squared
    coefficient of variation of the outputs. prefill_s, token_interval_s: P and τ [s].
    Raises ValueError on shapes that differ, on shares that do not sum to 1, or on values outside
    these ranges.

    >>> rate = request_rate_for_cache(9500.0, [1.0], [1000], [1], [0.0], 0.95, 0.03)
    >>> round(rate, 9)
    10.0
    """
    shares, prompts, outputs, scvs = (
        as_floats(**{name: values})
        for name, values in (
            ("traffic_shares", traffic_shares),
            ("prompt_tokens", prompt_tokens),
            ("mean_output_tokens", mean_output_tokens),
            ("output_scv", output_scv),
        )
    )
    capacity_tokens = require_positive(capacity_tokens=capacity_tokens)
    require(
        shares.ndim == 1 and np.all(shares >= 0) and abs(shares.sum() - 1) < 1e-9,
        "traffic_shares",
        "shares ≥ 0 that sum to 1",
        shares,
    )
    for name, values, least in (
        ("prompt_tokens", prompts, 0.0),
        ("mean_output_tokens", outputs, 1.0),
        ("output_scv", scvs, 0.0),
    ):
        require(
            values.shape == shares.shape and np.all((values >= least) & (values < math.inf)),
            name,
            f"{shares.size} finite numbers of at least {least:g}",
            values,
        )
    prefill_s, token_interval_s = require_non_negative(
        prefill_s=prefill_s, token_interval_s=token_interval_s
    )
    residence = prefill_s + (outputs - 1) * token_interval_s
    pairs = outputs**2 * (1 + scvs) - outputs  # E[o(o−1)]
    held = float(shares @ (prompts * residence + token_interval_s * pairs / 2))
    require(held > 0, "prompt_tokens", "such that requests hold memory for some time", prompts)
    return float(capacity_tokens / held)


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        gauge_latency_s=latency_from_gauge([12.0], 1800, 600.0),
        lost_s=lost_request_time(50.0, 10.0, 9.0, 2.0),
    )


def check_latency_from_gauge() -> None:
    """A gauge that is read every five seconds gives the mean latency of a simulated queue.

    Source: one server at ρ = 0.6, W = 1/(1−ρ) = 2.5 s; 100,000 s in twenty parts, whose standard
    error is that of independent ones, because the queue forgets within a hundred seconds.
    """
    checks.close("by hand", latency_from_gauge([2, 8], 30, 12.0), 2.0, rtol=1e-12)
    rng = np.random.default_rng(23)
    arrivals = np.cumsum(rng.exponential(1 / 0.6, 61_000))
    services = rng.exponential(1.0, arrivals.size)
    departures = arrivals + fifo_waits(arrivals, services) + services
    found = []
    for start in range(200, 100_200, 5000):
        scrapes = np.arange(start + 2.5, start + 5000, 5)
        started = float(np.sum((arrivals >= start) & (arrivals < start + 5000)))
        gauge = number_in_system(arrivals, departures, scrapes)
        found.append(latency_from_gauge(gauge, started, 5000.0))
    error = float(np.std(found, ddof=1)) / math.sqrt(len(found))
    checks.covers("W", MeanEstimate(float(np.mean(found)), error, 1.96 * error), 2.5)


def check_lost_request_time() -> None:
    """For requests that are missing from the latency log, gauge and counter still tell how long
    they hold their places.

    Source: a simulated service without queueing whose sojourns are exponential with mean 1.5 s and
    whose client gives up after 4 s: then the lost ones stay exactly 4 s. Starts and ends empty.
    """
    rng = np.random.default_rng(29)
    arrivals = np.sort(rng.uniform(0, 2000, 20_000))
    wanted = rng.exponential(1.5, 20_000)
    done = wanted < 4
    departures = arrivals + np.minimum(wanted, 4.0)
    length = float(departures.max())
    in_flight = float(window_averages(arrivals, departures, 0.0, length).in_flight)
    stay = lost_request_time(
        in_flight, 20_000 / length, float(done.sum()) / length, float(wanted[done].mean())
    )
    checks.close("stay of the lost [s]", stay, 4.0, rtol=1e-9)


def check_request_rate_for_cache() -> None:
    """At the rate found, a sampled mix of chat and long-document requests fills the cache.

    Source: H = λ × mean token-seconds over 400,000 sampled requests, 70% chat with geometric
    outputs, 30% documents with constant ones; the tolerance is three standard errors of the sample.
    By hand for prompts of 10 with one token and of 0 with two or four: 20 and 3.5 token-seconds.
    """
    rate = request_rate_for_cache(23.5, [0.5, 0.5], [10, 0], [1, 3], [0, 1 / 9], 2.0, 1.0)
    checks.close("short outputs [1/s]", rate, 2.0, rtol=1e-12)
    rng = np.random.default_rng(30)
    rate = request_rate_for_cache(
        80_000, [0.7, 0.3], [600, 9000], [300, 80], [299 / 300, 0], 0.3, 0.02
    )
    chat = token_seconds(600, rng.geometric(1 / 300, 280_000), 0.3, 0.02)
    held = np.concatenate([chat, np.full(120_000, token_seconds(9000, 80, 0.3, 0.02))])
    error = 3 * 0.7 * float(chat.std()) / math.sqrt(chat.size) * rate
    checks.close("tokens in cache", mean_held(rate, held), 80_000.0, atol=error, kind="simulation")


def check_bad_input_is_refused() -> None:
    """Idle windows, logs that lose nothing, and shares that do not add up are refused."""
    checks.raises("no requests", latency_from_gauge, [1.0], 0, 60.0, match="requests_started must")
    checks.raises("nothing lost", lost_request_time, 5.0, 2.0, 2.0, 1.0, match="arrival_rate must")
    checks.raises(
        "shares",
        request_rate_for_cache,
        1e5,
        [0.5, 0.4],
        [1, 1],
        [1, 1],
        [0, 0],
        0.1,
        0.1,
        match="traffic_shares must be shares ≥ 0 that sum to 1",
    )
