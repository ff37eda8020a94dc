"""The delay of the second copy, to be moved: it stops paying, and then the fleet collapses.

Assumes: what `hedging_under_load` assumes, whose fixed point is drawn.

Source: `hedging_under_load`.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_mathematics.capacity.tail_latency.hedging_under_load import (
    hedged_load,
    loaded_quantile,
    smallest_stable_delay,
)
from serving_mathematics.support import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def example() -> SimpleNamespace:
    """The most that a second copy brings at 60% load: p99 over p99 without."""
    ratios = slider_hedge_delay()["curves"][0]["values"][:, 3]
    return SimpleNamespace(best_ratio=min(one for one in ratios if one is not None))


def figure_hedge_delay(figure: Figure) -> None:
    """The busier the fleet, the later the second copy must leave. Too early is not slower but
    unstable.

    The p99 with second copies over the p99 without, for a large fleet of single servers; crosses
    mark the shortest delay that has a steady state.

    Alt: Line chart of the ratio against the delay, a curve for each load. The one for the lowest
    load begins below one, dips and returns to it. The others come down steeply from above one, the
    higher the load the further right, and begin at crosses.
    """
    axes = figure.subplots()
    for rho, colour, place in (
        (0.3, "C2", (0.6, 0.94)),
        (0.5, "C0", (2.9, 1.12)),
        (0.6, "C1", (5.9, 1.12)),
        (0.7, "C3", (10.2, 1.08)),
    ):
        alone = math.log(100) / (1 - rho)
        start = smallest_stable_delay(rho) * (1 + 1e-6)
        delays = start + (16 - start) * np.linspace(0, 1, 46)[1 if rho == 0.5 else 0 :] ** 2
        ratio = [loaded_quantile(0.99, rho, float(delay)) / alone for delay in delays]
        axes.plot(delays, ratio, color=colour)
        if rho > 0.5:
            axes.plot(delays[0], ratio[0], "X", color=colour)
        axes.annotate(f"{rho:.0%}", place, color=colour, va="center")
    axes.axhline(1.0, color="C4", linestyle=":", linewidth=1.2)
    axes.set(xlim=(0, 16), ylim=(0.7, 1.2), ylabel="p99 over p99 without copies [ratio]")
    axes.set(xlabel="delay of the second copy [mean service times]")


def slider_hedge_delay() -> dict[str, Any]:
    """Send the second copy earlier, until it stops paying, and then until the fleet collapses."""
    delays, loads = np.arange(0, 20.5, 0.5), [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    ratio, p99, extra, busy = (
        np.full((delays.size, len(loads)), None, dtype=object) for _ in range(4)
    )
    for (i, j), _ in np.ndenumerate(ratio):
        rho, delay = loads[j], float(delays[i])
        if delay > smallest_stable_delay(rho) or (delay == 0 and rho < 0.5):
            load = hedged_load(rho, delay)
            p99[i, j] = loaded_quantile(0.99, rho, delay)
            ratio[i, j] = p99[i, j] / loaded_quantile(0.99, rho, math.inf)
            extra[i, j], busy[i, j] = 100 * (load / rho - 1), 100 * load
    return {
        "controls": [
            {
                "label": "delay of the copy",
                "values": delays,
                "text": "{:g} service times",
                "start": 7.5,
            },
            {"label": "load without copies", "values": loads, "text": "{:.0%} load", "start": 0.6},
        ],
        "x": {"label": "delay of the second copy", "unit": "mean service times"},
        "y": {
            "label": "p99 over unhedged p99",
            "unit": "ratio",
            "range": (0.6, 1.4),
            "limit": {"at": 1, "label": "no second copy"},
        },
        "curves": [{"label": "ratio", "unit": "", "values": ratio, "decimals": 2}],
        "readouts": [
            {"label": "p99", "unit": "service times", "values": p99},
            {"label": "extra", "unit": "%", "values": extra},
            {"label": "busy", "unit": "%", "values": busy},
        ],
        "reading": "With a second copy after {delay of the copy} at {load without copies},"
        " {extra} of the requests are sent twice, the servers are {busy} busy, and the p99 is"
        " {p99}: {ratio} times what it is without.",
        "absent": "So early there is no steady state: the copies overload the servers that they"
        " were to relieve.",
    }


def check_hedging_pays_late_and_at_low_load() -> None:
    """At 60 and at 70% load a delay at the p95 lowers the p99, half a point above that it does not,
    and at 80% there is no steady state with it.

    Source: the fixed point on both sides.
    """
    for rho, least, most in ((0.6, 0.8, 0.99), (0.7, 0.9, 1.0), (0.705, 1.0, 1.3)):
        delay = math.log(20) / (1 - rho)
        ratio = loaded_quantile(0.99, rho, delay) * (1 - rho) / math.log(100)
        checks.inside(f"load {rho:g}: p99 over p99 without", ratio, least, most, kind="identity")
    at_80 = math.log(20) / 0.2
    checks.holds("none at 80%", at_80 < smallest_stable_delay(0.8), got=at_80)
