"""WRITE: the claim of the chapter in one sentence.

WRITE: the formula in the letters of the table of symbols, such as ρ = λS/c.

Assumes: WRITE: what must hold for it.

Source: WRITE: author and year, with chapter or equation, as under Sources of the page.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    require_non_negative,
    require_positive,
    require_positive_integer,
)


# WRITE: functions of your own in the place of these two, which only show the form.
def busy_servers(arrival_rate: float, mean_service_s: float) -> float:
    """Mean number of busy servers, a = λS.

    arrival_rate: λ [1/s]. mean_service_s: S [s].
    Raises ValueError on a negative rate or a time that is not positive.

    >>> busy_servers(arrival_rate=12.0, mean_service_s=0.25)
    3.0
    """
    require_non_negative(arrival_rate=arrival_rate)
    require_positive(mean_service_s=mean_service_s)
    return arrival_rate * mean_service_s


def busy_share(arrival_rate: float, mean_service_s: float, servers: int) -> float:
    """Share of time that each server is busy, ρ = λS/c, at most 1.

    arrival_rate: λ [1/s]. mean_service_s: S [s]. servers: c.
    Raises ValueError on a negative rate, a time that is not positive, or no server.

    >>> busy_share(arrival_rate=12.0, mean_service_s=0.25, servers=4)
    0.75
    """
    require_positive_integer(servers=servers)
    return min(1.0, busy_servers(arrival_rate, mean_service_s) / servers)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: 12 requests a second of 0.25 s each, on four servers."""
    return SimpleNamespace(
        busy_at_12=busy_servers(12.0, 0.25),
        share_at_12=busy_share(12.0, 0.25, 4),
    )


def figure_busy_servers(figure: Figure) -> None:
    """WRITE: the finding of this figure in a sentence, which becomes its caption.

    Alt: WRITE: what is drawn, in sixty characters or more, for somebody who cannot see it.
    """
    axes = figure.subplots()
    rates = np.linspace(0.0, 40.0, 41)
    axes.plot(rates, [busy_servers(rate, 0.25) for rate in rates.tolist()])
    axes.set_xlabel("arrival rate [1/s]")
    axes.set_ylabel("busy servers [1]")


def figure_busy_share(figure: Figure) -> None:
    """WRITE: the finding of this figure in a sentence, which becomes its caption.

    Alt: WRITE: what is drawn, in sixty characters or more, for somebody who cannot see it.
    """
    axes = figure.subplots()
    rates = np.linspace(0.0, 40.0, 41)
    for servers in (4, 8):
        shares = [busy_share(rate, 0.25, servers) for rate in rates.tolist()]
        axes.plot(rates, shares)
        axes.annotate(f"{servers} servers", (10.0, shares[10]), ha="left", va="bottom")
    axes.set_xlabel("arrival rate [1/s]")
    axes.set_ylabel("busy share of a server [1]")


def slider_busy_share() -> dict[str, Any]:
    """WRITE: what to move, and what to look for."""
    rates, servers = np.arange(1.0, 41.0), [4, 8]
    shares = [[100 * busy_share(rate, 0.25, c) for c in servers] for rate in rates.tolist()]
    return {
        "controls": [
            {"label": "arrivals", "values": rates, "text": "{:g} 1/s", "start": 12.0},
            {"label": "servers", "values": servers, "text": "{:g} servers", "start": 4},
        ],
        "panels": [
            {
                "kind": "load",
                "x": {"label": "arrival rate", "unit": "1/s"},
                "y": {"label": "busy share", "unit": "%", "range": (0, 100)},
                "curves": [{"label": "busy share", "unit": "%", "values": shares, "decimals": 0}],
            }
        ],
        "reading": "At {arrivals} on {servers}, each is busy {busy share} of the time.",
    }


def check_busy_servers_by_sampling() -> None:
    """WRITE: the claim that this check compares with something independent, such as a simulation.

    Source: WRITE: where the expectation comes from, and how the tolerance was made.
    """
    rng = np.random.default_rng(1)
    services = rng.exponential(0.25, 40_000)
    error = float(services.std()) / 200 * 12
    got = busy_servers(12.0, float(services.mean()))
    checks.close("busy servers", got, 3.0, atol=3 * error, kind="simulation")


def check_share_of_all_servers() -> None:
    """WRITE: the claim that this check compares with a number worked by hand or published.

    Source: WRITE: the work by hand, or the publication with its table or equation.
    """
    checks.close("share on 6 servers", busy_share(9.0, 0.5, 6), 0.75, rtol=1e-12)
    checks.close("more than all", busy_share(100.0, 0.5, 6), 1.0)


def check_bad_input_is_refused() -> None:
    """Negative rates, times that are not positive and no servers fail."""
    checks.raises("rate", busy_servers, -1.0, 0.25, match="arrival_rate must be non-negative")
    checks.raises("time", busy_servers, 1.0, 0.0, match="mean_service_s must be positive")
    checks.raises("servers", busy_share, 1.0, 0.25, 0, match="servers must be a positive integer")
