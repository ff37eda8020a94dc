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

from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.token_sharing import share_tokens
from serving_mathematics.core.queues.erlang import erlang_c
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _halfin_whitt(safety: float) -> float:
    """Probability of waiting with a + β√a servers, in the limit of many: [1 + βΦ(β)/φ(β)]^{−1}.

    safety: β > 0, the spare servers in units of √a. Raises ValueError otherwise.
    Source: Halfin and Whitt (1981); van Leeuwaarden, Mathijsen and Zwart (2019).

    >>> round(_halfin_whitt(1.0), 7)
    0.2233613
    """
    safety = require_positive(safety=safety)
    below = math.erfc(-safety / math.sqrt(2)) / 2
    density = math.exp(-safety * safety / 2) / math.sqrt(2 * math.pi)
    return density / (density + safety * below)


def _square_root_servers(offered_load: float, safety: float) -> int:
    """Square-root staffing: ⌈a + β√a⌉ servers.

    offered_load: a = λS [erlang], positive. safety: β > 0. Raises ValueError otherwise.

    >>> _square_root_servers(offered_load=100.0, safety=1.0)
    110
    """
    offered_load, safety = require_positive(offered_load=offered_load, safety=safety)
    return math.ceil(round(offered_load + safety * math.sqrt(offered_load), 9))


ENGINES = 12  # of the chat machine


def _textbook_load() -> float:
    """Load of so many engines whose places are taken for servers, with one √a to spare."""
    places = ENGINES * CHAT.places
    load = places - math.sqrt(places)
    while _square_root_servers(load, 1.0) > places:
        load -= 0.1
    return load / places


def _min_servers(load: float, chance: float) -> int:
    """Fewest servers at which an arrival of M/M/c waits with at most this chance."""
    servers = math.floor(load) + 1
    while erlang_c(servers, load) > chance:
        servers += 1
    return servers


def example() -> SimpleNamespace:
    """Worked numbers of staffing; shares in percent."""
    load = _textbook_load()
    return SimpleNamespace(
        engines=ENGINES,
        textbook_percent=100 * load,
        textbook_tpot_ms=1e3 * share_tokens(CHAT, load * CHAT.ceiling_per_s).tpot_s,
        alone_ms=1e3 * float(CHAT.step_s(1)),
    )


def figure_safety_staffing(figure: Figure) -> None:
    """Spare servers counted in units of √a fix the chance of waiting, from ten servers to a
    thousand.

    Points are Erlang's exact probability at whole numbers of servers, the line is Halfin and
    Whitt's limit.

    Alt: Probability of waiting against spare servers in units of the square root of the load.
    Points for loads of 10, 100 and 1,000 fall close to one falling curve, from 0.8 near 0.2 through
    0.2 near 1 to 0.03 at 2; small loads lie slightly above.
    """
    axes = figure.subplots()
    beta = np.linspace(0.02, 2.6, 60)
    axes.plot(beta, [_halfin_whitt(b) for b in beta], color="C4")
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
            label=f"load {load:,}",
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
        checks.close(f"β = {beta:g}", _halfin_whitt(beta), value, atol=5e-8)
        u = np.linspace(0, beta + 12, 20_001)
        tail = np.exp(beta * u - u * u / 2)
        ratio = float(np.sum(tail[1:] + tail[:-1])) * (u[1] - u[0]) / 2
        checks.close(
            f"β = {beta:g}, by quadrature", _halfin_whitt(beta), 1 / (1 + beta * ratio), rtol=1e-7
        )
    coarse, fine = (erlang_c(m * m + m, m * m) for m in (50, 100))
    checks.close("exact at a = 10,000", _halfin_whitt(1.0), fine, atol=0.005)
    checks.close(
        "extrapolated from a = 2500, 10,000", _halfin_whitt(1.0), 2 * fine - coarse, atol=2e-5
    )


def check_staffing_for_a_wait_probability() -> None:
    """One arrival in five waits with 14 servers for a load of 10 and 111 for 100, and √-staffing
    agrees to one server.

    Source: exact Erlang C just below and at the returned count.
    """
    for load, servers in ((10, 14), (100, 111)):
        checks.equal(f"a = {load}", _min_servers(load, 0.2), servers)
        checks.holds(
            f"a = {load}: one fewer is too few",
            erlang_c(servers - 1, load) > 0.2 >= erlang_c(servers, load),
        )
    gaps = [
        _min_servers(a, _halfin_whitt(1.0)) - _square_root_servers(a, 1.0) for a in range(1, 301)
    ]
    checks.inside("exact minus √-staffing, a = 1…300: lowest", min(gaps), 0, 1, kind="identity")
    checks.inside("highest", max(gaps), 0, 1, kind="identity")


def check_the_textbook_runs_an_engine_too_hot() -> None:
    """With one √a of places to spare nearly all of the promise per token is used up, and a token
    takes more than five times as long as alone.

    Source: `share_tokens`, Little's law with a step that serves all.
    """
    told = share_tokens(CHAT, _textbook_load() * CHAT.ceiling_per_s).tpot_s
    checks.inside("over the promise", told / CHAT.promise.tpot_s, 0.9, 1.1)
    checks.holds("over a step alone", told > 5 * float(CHAT.step_s(1)), got=told)


def check_bad_input_is_refused() -> None:
    """Waiting never or always, negative margins and a load that is not a number are errors."""
    checks.raises("β = 0", _halfin_whitt, 0.0, match="safety must be positive and finite, got 0.0")
    checks.raises("no load", _square_root_servers, 0.0, 1.0, match="offered_load must be positive")
