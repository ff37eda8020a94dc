"""A router on four requests, to see what it does before it meets traffic.

Prompts of 64 tokens come a tenth of a second apart to engines whose steps take a second; the third
repeats 48 tokens of the first, the fourth all of the second.

Source: worked by hand at each router.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.view import View
from serving_mathematics.support.require import require, require_positive_integer


def choices(route: Callable[[int, View], int], engines: int = 2) -> list[int]:
    """The engines to which a router sends the four requests.

    route: the router. engines: how many there are. Raises ValueError as `simulate_fleet` does.

    >>> choices(lambda request, view: request % 2)
    [0, 1, 0, 1]
    """
    engines = require_positive_integer(engines=engines)
    require(engines <= 1000, "engines", "at most 1,000", engines)
    asked = _four()
    fleet = Fleet([Engine(1.0)] * int(engines), route, caching=True)
    return [int(place) for place in simulate_fleet(asked, fleet).engine]


def admissions(admit: Callable[[int, View], float]) -> list[float]:
    """When a rule lets the four requests in, on one engine with room for all [s].

    admit: the rule. Raises ValueError as `simulate_fleet` does.

    >>> admissions(lambda request, view: 0.0)
    [0.0, 0.1, 0.2, 0.3]
    """
    seen: dict[int, float] = {}

    def route(request: int, view: View) -> int:
        seen[request] = round(view.now, 6)
        return 0

    simulate_fleet(_four(), Fleet([Engine(1.0)], route, admit))
    return [seen[request] for request in sorted(seen)]


def _four() -> Requests:
    """The four requests."""
    tree = prefixes_of_reuse([-1, -1, 0, 1], [0, 0, 48, 64], [64] * 4)
    return Requests(0.1 * np.arange(4), [64] * 4, [20] * 4, prefixes=tree)
