"""Solutions: the rate that slows tokens, what binds an engine, and two gauges from one log.

A step of s + db and prompts of p seconds make a token take (s + d)/(1 − λ(p + md)), which a pencil
can turn round. What a dashboard shows says which of an engine's limits was reached. A log of
services gives both the share of places in use and the share of time with any of them in use.

Assumes: the models of the chapter.

Source: Little (1961) and Denning and Buzen (1978); the definitions of the chapter.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.core.machines.token_sharing import share_tokens, step_line
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_finite,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_shape,
)

HINTS = {
    "rate_that_slows": (
        "A token takes (s + d)/(1 − λ(p + md)). It takes k times as long where the share of time "
        "that requests take up by themselves, λ(p + md), is 1 − 1/k."
    ),
    "what_binds": (
        "Nobody waits: load, or nothing if there is none. Somebody waits and the cache is full: "
        "memory, whatever the places. Room in the cache and all places taken: places. Else prompts."
    ),
    "busy_from_log": (
        "Cut every service to the window first. For the share of the places, add all of them. For "
        "the time with at least one in use, overlaps count once: go through the services by start "
        "and remember the latest end."
    ),
}


def rate_that_slows(times: float, prompt_s: float, later_tokens: float, sequence_s: float) -> float:
    """Requests a second at which a token takes k times as long as at rest.

    times: k ≥ 1. prompt_s: p, what a prompt takes [s]. later_tokens: m, of an answer after its
    first. sequence_s: d, what each sequence adds to a step [s]. p or m·d must be positive. Raises
    ValueError otherwise.

    >>> round(rate_that_slows(2.0, prompt_s=0.03, later_tokens=100, sequence_s=0.0002), 9)
    10.0
    """
    times = as_number(times=times)
    require(1 <= times < math.inf, "times", "finite and ≥ 1", times)
    prompt_s, later_tokens, sequence_s = require_non_negative(
        prompt_s=prompt_s, later_tokens=later_tokens, sequence_s=sequence_s
    )
    own = require_positive(own_s=prompt_s + later_tokens * sequence_s)
    return float((1 - 1 / times) / own)


def what_binds(running: int, places: int, waiting: int, cache: float) -> str:
    """What a dashboard says of an engine: "places", "memory", "prompts", "load" or "rest".

    running, waiting: requests. places: that it has. cache: share of the cache in use, in [0, 1].
    Where somebody waits it is what keeps them out: first a cache that is full, from 90% on, then
    places that are all taken, or else prompts that have to be read. Where nobody waits, tokens slow
    down with the load alone, and with nobody inside it rests. Raises ValueError unless running is
    at most places.

    >>> what_binds(running=12, places=64, waiting=0, cache=0.1)
    'load'
    """
    places = require_positive_integer(places=places)
    running, waiting = require_non_negative(running=running, waiting=waiting)
    require(running <= places, "running", f"at most {places} places", running)
    cache = require_in("[0, 1]", cache=cache)
    if waiting == 0:
        return "load" if running else "rest"
    if cache >= 0.9:
        return "memory"
    return "places" if running == places else "prompts"


def busy_from_log(
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    servers: int,
    window_start_s: float,
    window_end_s: float,
) -> tuple[float, float]:
    """Utilization of the servers, and share of time with any of them busy, inside a window.

    start_s, end_s: when each service began and ended [s], shape (n,), in any order. servers: c.
    Raises ValueError on an empty window, on services that end before they start, and on a log that
    is busier than c servers can be.

    >>> busy_from_log([0.0, 1.0, 6.0], [4.0, 3.0, 20.0], 2, window_start_s=0.0, window_end_s=10.0)
    (0.5, 0.8)
    """
    window_end_s = as_number(window_end_s=window_end_s)
    starts, ends = as_floats(start_s=start_s), as_floats(end_s=end_s)
    require(starts.ndim == 1, "start_s", "of one dimension", starts.shape)
    require_shape(starts.shape, end_s=ends)
    require_all_finite(start_s=starts)
    require(np.all((ends >= starts) & (ends < math.inf)), "end_s", "finite and ≥ start_s", ends)
    servers = require_positive_integer(servers=servers)
    window_start_s = require_finite(window_start_s=window_start_s)
    require(
        window_start_s < window_end_s < math.inf,
        "window_end_s",
        "finite and after window_start_s",
        window_end_s,
    )
    order = np.argsort(starts)
    starts = np.clip(starts[order], window_start_s, window_end_s)
    ends = np.clip(ends[order], window_start_s, window_end_s)
    window = window_end_s - window_start_s
    utilization = float((ends - starts).sum()) / (servers * window)
    require(utilization <= 1 + 1e-12, "busy time in the log", "within the servers' time", ends)
    latest = np.maximum.accumulate(np.r_[window_start_s, ends])  # no gap opens before this time
    covered = np.maximum(ends - np.maximum(starts, latest[:-1]), 0).sum()
    return utilization, float(covered) / window


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        pencil_rate=rate_that_slows(2.0, 0.02, 200, 0.0001),
        board_first=what_binds(12, 64, 0, 0.1),
        board_second=what_binds(40, 64, 25, 0.97),
        board_third=what_binds(64, 64, 9, 0.4),
    )


def check_rate_that_slows() -> None:
    """At the rate of the pencil exercise, a token of the chat machine takes k times as long as at
    rest.

    Source: `share_tokens` of the chapter, a root of Little's law, within 2%; 12,000 simulated
    requests, within 8%.
    """
    line = step_line(CHAT)
    for times in (1.5, 2.0, 3.0):
        rate = rate_that_slows(times, line.prompt_s, line.later_tokens, line.sequence_s)
        told = share_tokens(CHAT, rate).tpot_s / float(CHAT.step_s(1))
        checks.close(f"{times:g} times, by the root", told, times, rtol=0.02)
    rate = rate_that_slows(2.0, line.prompt_s, line.later_tokens, line.sequence_s)
    run = run_engine(CHAT, rate, 12_000, np.random.default_rng(9))
    told = run.token_s(1200) / float(CHAT.step_s(1))
    checks.close("twice, simulated", told, 2.0, rtol=0.08, kind="simulation")
    checks.close("by hand", rate_that_slows(4.0, 0.1, 0.0, 0.0), 7.5, rtol=1e-12)
    checks.close("prompts cost nothing", rate_that_slows(2.0, 0.0, 50, 0.001), 10, rtol=1e-12)
    checks.close("at rest", rate_that_slows(1.0, 0.1, 10, 0.01), 0, atol=1e-12)


def check_what_binds() -> None:
    """Each answer is given just where the gauges say so: one request or one step away, another is.

    Source: the rules of the exercise, by hand.
    """
    for running, places, waiting, cache, expected in (
        (0, 8, 0, 0.0, "rest"),
        (1, 8, 0, 0.99, "load"),
        (8, 8, 0, 0.99, "load"),
        (8, 8, 1, 0.89, "places"),
        (8, 8, 1, 0.9, "memory"),
        (7, 8, 1, 0.9, "memory"),
        (7, 8, 1, 0.89, "prompts"),
        (0, 8, 3, 0.0, "prompts"),
    ):
        got = what_binds(running, places, waiting, cache)
        checks.equal(f"{running} of {places}, {waiting} wait, cache {cache:g}", got, expected)


def check_log_against_a_stopwatch() -> None:
    """Both gauges of a random log agree with looking at the servers 20,000 times.

    Source: the definition, counted at random instants; the tolerance is three binomial standard
    errors. By hand, 7 of 16 and 6 of 8 s.
    """
    rng = np.random.default_rng(41)
    starts = rng.uniform(-5, 60, 90)
    ends = starts + rng.exponential(1.5, 90)
    instants = rng.uniform(0, 50, 20_000)
    running = ((starts <= instants[:, None]) & (instants[:, None] < ends)).sum(axis=1)
    utilization, busy = busy_from_log(starts, ends, 8, 0.0, 50.0)
    seen = MeanEstimate(float(running.mean() / 8), float(running.std() / 8 / math.sqrt(20_000)), 0)
    checks.covers("utilization", seen, utilization)
    share = float((running > 0).mean())
    seen = MeanEstimate(share, math.sqrt(share * (1 - share) / 20_000), 0)
    checks.covers("any busy", seen, busy)
    by_hand = busy_from_log([0, 1, 6], [4, 3, 20], 2, window_start_s=2, window_end_s=10)
    checks.close("from 2 to 10 s", by_hand, (0.4375, 0.75), rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Impossible logs, more running requests than places and tokens that get faster are errors that
    name the argument."""
    log = ([0.0], [4.0], 1)
    checks.raises("empty window", busy_from_log, *log, 5.0, 5.0, match="window_end_s must be")
    three = ([0.0] * 3, [1.0] * 3, 2, 0.0, 1.0)
    told = "busy time in the log must be within the servers' time"
    checks.raises("three at once on two servers", busy_from_log, *three, match=told)
    checks.raises("faster", rate_that_slows, 0.5, 1.0, 1.0, 1.0, match="times must be finite and")
    checks.raises("nine of eight", what_binds, 9, 8, 0, 0.0, match="running must be at most 8")
