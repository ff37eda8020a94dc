"""Staffing for a waiting probability: the load, plus a margin of a few square roots of it.

A load of a = λS busy slots needs a + β√a of them. In the limit of many servers β alone fixes the
chance of waiting, [1 + βΦ(β)/φ(β)]^{−1}, with Φ and φ the normal distribution and density; the
exact count for M/M/c comes from Erlang's formula.

Assumes: Poisson arrivals, exponential service, one first-come-first-served queue, nobody leaves,
steady state.

Source: Halfin and Whitt (1981); van Leeuwaarden, Mathijsen and Zwart (2019); Erlang (1917).
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.core.queues.erlang import erlang_c
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def halfin_whitt(safety: float) -> float:
    """Probability of waiting with a + β√a servers, in the limit of many: [1 + βΦ(β)/φ(β)]^{−1}.

    safety: β > 0, the spare servers in units of √a. Raises ValueError otherwise.
    Source: Halfin and Whitt (1981); van Leeuwaarden, Mathijsen and Zwart (2019).

    >>> round(halfin_whitt(1.0), 7)
    0.2233613
    """
    safety = require_positive(safety=safety)
    below = math.erfc(-safety / math.sqrt(2)) / 2
    density = math.exp(-safety * safety / 2) / math.sqrt(2 * math.pi)
    return density / (density + safety * below)


def safety_factor(wait_probability: float) -> float:
    """The β at which the limit of many servers waits with the given probability: the inverse of
    `halfin_whitt`.

    wait_probability: in [1e-9, 1); found by bisection, to about 1e-15. Raises ValueError otherwise.

    >>> round(safety_factor(0.2233613), 6)
    1.0
    """
    wait_probability = as_number(wait_probability=wait_probability)
    require(1e-9 <= wait_probability < 1, "wait_probability", "in [1e-9, 1)", wait_probability)
    low, high = 0.0, 8.0
    for _ in range(60):
        middle = (low + high) / 2
        if halfin_whitt(middle) > wait_probability:
            low = middle
        else:
            high = middle
    return high


def square_root_servers(offered_load: float, safety: float) -> int:
    """Square-root staffing: ⌈a + β√a⌉ servers.

    offered_load: a = λS [erlang], positive. safety: β > 0. Raises ValueError otherwise.

    >>> square_root_servers(offered_load=100.0, safety=1.0)
    110
    """
    offered_load, safety = require_positive(offered_load=offered_load, safety=safety)
    return math.ceil(round(offered_load + safety * math.sqrt(offered_load), 9))


def min_servers(offered_load: float, wait_probability: float) -> int:
    """Fewest servers at which an arrival of M/M/c waits with at most the given probability.

    offered_load: a = λS [erlang], non-negative. wait_probability: in (0, 1). Raises ValueError
    otherwise. Erlang B is carried from c to c + 1 by its recursion and turned into Erlang C at each
    c above a.

    >>> min_servers(offered_load=1.0, wait_probability=0.4)  # C(2, 1) = 1/3
    2
    """
    offered_load = require_non_negative(offered_load=offered_load)
    require(offered_load <= 1e7, "offered_load", "at most ten million", offered_load)
    wait_probability = require_in("(0, 1)", wait_probability=wait_probability)
    servers, blocking = 0, 1.0
    while True:
        servers += 1
        blocking = offered_load * blocking / (servers + offered_load * blocking)
        spare = servers - offered_load
        if spare > 0 and servers * blocking <= wait_probability * (spare + offered_load * blocking):
            return servers


def example() -> SimpleNamespace:
    """Worked numbers of staffing; spare capacity and waiting probabilities in percent."""
    servers = {load: min_servers(load, 0.2) for load in (10, 100, 1000)}
    beta = safety_factor(0.2)
    short = [min_servers(load, 0.2) - square_root_servers(load, beta) for load in range(1, 301)]
    return SimpleNamespace(
        beta_20=beta,
        rule_short=max(short),
        rule_over=max(0, -min(short)),
        target_servers_10=math.ceil(10 / 0.7),
        target_surplus_1000=100 * (math.ceil(1000 / 0.7) / servers[1000] - 1),
        servers_10=servers[10],
        servers_100=servers[100],
        servers_1000=servers[1000],
        spare_10=100 * (servers[10] / 10 - 1),
        spare_100=100 * (servers[100] / 100 - 1),
        spare_1000=100 * (servers[1000] / 1000 - 1),
        wait_half=100 * halfin_whitt(0.5),
        wait_one=100 * halfin_whitt(1.0),
        wait_two=100 * halfin_whitt(2.0),
    )


def figure_safety_staffing(figure: Figure) -> None:
    """Spare servers counted in units of √a fix the chance of waiting, from ten servers to a
    thousand.

    Points are Erlang's exact probability at whole numbers of servers, the line is Halfin and
    Whitt's limit.

    Alt: Probability of waiting against spare servers in units of the square root of the load.
    Points for loads of 10, 100 and 1000 fall close to one falling curve, from 0.8 at 0.18 through
    0.22 at 1 to 0.03 at 2; small loads lie slightly above.
    """
    axes = figure.subplots()
    beta = np.linspace(0.02, 2.6, 60)
    axes.plot(beta, [halfin_whitt(b) for b in beta], color="C4")
    axes.annotate("limit of many servers", (0.42, 0.63), color="C4")
    for load, colour, marker, step in (
        (10, "C1", "s", 1),
        (100, "C0", "o", 2),
        (1000, "C2", "^", 6),
    ):
        servers = np.arange(load + 1, load + 2.6 * math.sqrt(load), step).astype(int)
        axes.plot(
            (servers - load) / math.sqrt(load),
            [erlang_c(int(c), load) for c in servers],
            marker,
            color=colour,
            label=f"load {load}",
        )
    axes.legend(loc="upper right")
    axes.set(
        xlim=(0, 2.6),
        ylim=(0, 1),
        xlabel="spare servers (c − a)/√a",
        ylabel="probability of waiting",
    )


def check_halfin_whitt_limit() -> None:
    """The limit probability of waiting is that of Erlang's formula for many servers, with an error
    that falls as 1/√a.

    Source: Halfin and Whitt (1981); the ratio Φ/φ is integrated as ∫₀^∞ exp(βu − u²/2 )du after a
    shift; exact Erlang C at a = m², c = m² + m, extrapolated to 1/√a → 0.
    """
    for beta, value in ((0.5, 0.5045386), (1.0, 0.2233613), (2.0, 0.0268814)):
        checks.close(f"β = {beta:g}", halfin_whitt(beta), value, atol=5e-8)
        u = np.linspace(0, beta + 12, 20_001)
        tail = np.exp(beta * u - u * u / 2)
        ratio = float(np.sum(tail[1:] + tail[:-1])) * (u[1] - u[0]) / 2
        checks.close(
            f"β = {beta:g}, by quadrature", halfin_whitt(beta), 1 / (1 + beta * ratio), rtol=1e-7
        )
    coarse, fine = (erlang_c(m * m + m, m * m) for m in (50, 100))
    checks.close("exact at a = 10,000", halfin_whitt(1.0), fine, atol=0.005)
    checks.close(
        "extrapolated from a = 2500, 10,000", halfin_whitt(1.0), 2 * fine - coarse, atol=2e-5
    )


def check_staffing_for_a_wait_probability() -> None:
    """One arrival in five waits with 14 servers for a load of 10 and 111 for 100, and √-staffing
    agrees to one server.

    Source: exact Erlang C just below and at the returned count.
    """
    for load, servers in ((10, 14), (100, 111)):
        checks.equal(f"a = {load}", min_servers(load, 0.2), servers)
        checks.holds(
            f"a = {load}: one fewer is too few",
            erlang_c(servers - 1, load) > 0.2 >= erlang_c(servers, load),
        )
    beta = safety_factor(0.2)
    checks.close("β for 0.2", halfin_whitt(beta), 0.2, rtol=1e-12)
    gaps = [min_servers(a, 0.2) - square_root_servers(a, beta) for a in range(1, 301)]
    checks.inside("exact minus √-staffing, a = 1…300: lowest", min(gaps), 0, 1, kind="identity")
    checks.inside("highest", max(gaps), 0, 1, kind="identity")


def check_bad_input_is_refused() -> None:
    """Waiting never or always, negative margins and a load that is not a number are errors."""
    checks.raises("β = 0", halfin_whitt, 0.0, match="safety must be positive and finite, got 0.0")
    checks.raises("certain wait", safety_factor, 1.0, match="wait_probability must be in [1e-9, 1)")
    checks.raises("never wait", min_servers, 10.0, 0.0, match="wait_probability must be in (0, 1)")
    checks.raises("NaN load", min_servers, math.nan, 0.2, match="offered_load must be non-negative")
    checks.raises("no load", square_root_servers, 0.0, 1.0, match="offered_load must be positive")
