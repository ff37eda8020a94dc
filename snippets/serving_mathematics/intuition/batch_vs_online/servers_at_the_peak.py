"""The textbook's online fleet: the fewest servers that keep a promised wait at the peak.

With a load a = rλS at the peak, c servers that take one request at a time keep a wait t for all but
a share ε of the requests if C(c, a)·e^{−(c−a)t/S} ≤ ε, with Erlang's C. Few servers need much room
above the load, and many hardly any.

Assumes: Poisson arrivals at the peak rate, exponential service, one first-come-first-served queue,
a peak that lasts longer than the queue needs to settle.

Source: Erlang (1917) for the wait.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.core.queues.erlang import erlang_c, wait_exceeds
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_positive,
)


def online_servers(
    peak_rate: float, mean_service_s: float, wait_s: float, late_share: float
) -> int:
    """Fewest servers at which a request of M/M/c waits longer than t with at most probability ε.

    peak_rate: rλ [1/s]. mean_service_s: S [s]. wait_s: t ≥ 0 [s]; 0 asks that it does not wait.
    late_share: ε in (0, 1), for example 0.01 for a p99. Raises ValueError outside these ranges.
    Erlang B is carried from c to c + 1 by its recursion; from it C(c, a)·e^{−(c−a)t/S}.

    >>> online_servers(peak_rate=1.0, mean_service_s=1.0, wait_s=0.0, late_share=0.4)  # C(2,1)=1/3
    2
    """
    peak_rate, mean_service_s = require_positive(peak_rate=peak_rate, mean_service_s=mean_service_s)
    wait_s = require_non_negative(wait_s=wait_s)
    late_share = require_in("(0, 1)", late_share=late_share)
    load = peak_rate * mean_service_s
    most = 1e7 / mean_service_s
    require(
        peak_rate <= most, "peak_rate", f"at most {most:g}, ten million busy servers", peak_rate
    )
    servers, blocking = 0, 1.0
    while True:
        servers += 1
        blocking = load * blocking / (servers + load * blocking)
        spare = servers - load
        if spare > 0:
            waiting = servers * blocking / (spare + load * blocking)
            if waiting * math.exp(-spare * wait_s / mean_service_s) <= late_share:
                return servers


def _places_load(places: int, waiting: float) -> float:
    """Load at which that share waits, with places counted as servers."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if erlang_c(places, middle * places) <= waiting else (low, middle)
        )
    return low


def example() -> SimpleNamespace:
    """Numbers of the page: a hundred requests a second of 50 ms, and a hundred times as many."""
    few = online_servers(250.0, 0.05, 0.0, 0.02)
    many = online_servers(25_000.0, 0.05, 0.0, 0.02)
    return SimpleNamespace(
        few_servers=few,
        few_busy=100 * 12.5 / few,
        places_percent=100 * _places_load(256, 0.02),
        many_busy=100 * 1250 / many,
    )


def check_online_count_is_the_smallest() -> None:
    """For every promise the count just keeps it, and one server fewer breaks it.

    Source: P(W > t) of the chapter Utilization at c and c − 1.
    """
    for rate, wait_s, late in ((250.0, 0.05, 0.01), (2500.0, 0.0, 0.02), (30.0, 0.2, 0.001)):
        count = online_servers(rate, 0.05, wait_s, late)
        label = f"{rate:g}/s, wait {1000 * wait_s:g} ms, {late:g}"
        checks.inside(
            f"{label}: kept", wait_exceeds(wait_s, rate, 0.05, count), 0, late, kind="identity"
        )
        fewer = count - 1
        late_fewer = wait_exceeds(wait_s, rate, 0.05, fewer) if fewer > rate * 0.05 else 1.0
        checks.holds(f"{label}: one fewer breaks it", late_fewer > late, got=late_fewer)


def check_places_are_servers_by_chance() -> None:
    """Places counted as servers give about the load at which the chat machine keeps its promise; of
    the mixture, whose tokens slow down more, they give too much.

    Source: Erlang's C at 2% that wait; promises found by simulation.
    """
    for name, places, low, high in (("chat", 256, 0.95, 1.05), ("mixture", 64, 1.05, 1.5)):
        ratio = _places_load(places, 0.02) / promised_load(name)
        checks.inside(f"{name}: by places over promised", ratio, low, high)


def check_size_buys_headroom() -> None:
    """At a hundred times the traffic, ρ* rises from 0.6 to 0.94 and the ratio falls from 4.2 to
    2.65, close to the peak over the mean.

    Source: square-root staffing, c = a + β√a, with β = 2.054 from 1 − Φ(β) = 0.02 as a bound that
    is too high by less than 1%.
    """
    count = online_servers(25_000.0, 0.05, 0.0, 0.02)
    checks.close("servers for a load of 1250", count, 1250 + 2.054 * math.sqrt(1250), rtol=0.01)
    checks.inside("cost ratio", count / 500, 2.5, 2.7, kind="identity")
    checks.close("ρ*", 1250 / count, 0.9427, atol=5e-5)


def check_bad_input_is_refused() -> None:
    """Impossible promises and no traffic name the argument."""
    checks.raises("none", online_servers, 0.0, 1.0, 0.0, 0.1, match="peak_rate must be positive")
    checks.raises(
        "never late", online_servers, 1.0, 1.0, 0.0, 0.0, match="late_share must be in (0, 1)"
    )
    checks.raises("NaN wait", online_servers, 1.0, 1.0, math.nan, 0.1, match="wait_s must be")
