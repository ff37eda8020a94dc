"""Solutions to the exercises of Autoscaling: draining on time, ramps and a dashboard.

A fleet that clears a backlog by a deadline, (λ + B/T)/μ; a target that leaves room for growth
during start-up, 1/(1 + rD); what the panels of a dashboard say together.

Assumes: fluid flow.

Source: balance of flows.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.capacity.autoscaling.replica_response import replica_of
from serving_mathematics.capacity.autoscaling.spike import cold_start
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "replicas_to_drain": (
        "Two flows must be carried at once: the load that keeps coming, and the backlog spread "
        "over the deadline. Round up, but not because of a rounding error in the last digit."
    ),
    "target_for_ramp": (
        "When the order takes effect, the load has grown by r·D times its value at the order. "
        "The replicas ordered for load/target must just carry that; 1 − rD is right only for "
        "small rD."
    ),
    "what_happened": (
        "Ask first whether requests wait on average. If so, are the places taken? If places and "
        "memory are free, the mean is of full and empty hours, or of full and empty replicas."
    ),
}


def replicas_to_drain(
    arrival_rate: float, replica_rate: float, backlog: float, drain_s: float
) -> int:
    """Fewest ready replicas that serve the load and clear a backlog within a time.

    arrival_rate: λ [1/s]. replica_rate: μ [1/s]. backlog: B, waiting requests. drain_s: T [s].
    Errors in the last digits of a float take no replica more: 0.1 and 0.2 over 0.1 are 3. Raises
    ValueError on a negative load or backlog, or a rate or time that is not positive.

    >>> replicas_to_drain(arrival_rate=15.0, replica_rate=1.0, backlog=300.0, drain_s=60.0)
    20
    """
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    replica_rate = require_positive(replica_rate=replica_rate)
    backlog = require_non_negative(backlog=backlog)
    drain_s = require_positive(drain_s=drain_s)
    return math.ceil((arrival_rate + backlog / drain_s) / replica_rate * (1 - 1e-12))


def target_for_ramp(growth_per_s: float, delay_s: float) -> float:
    """Highest share, of the load that a replica serves in time, at which a steady ramp never finds
    the fleet too small.

    growth_per_s: r, growth of the load per second as a share of the load at the time of an order.
    delay_s: D, from the reading of the metric to readiness [s]. Raises ValueError on negative
    input.

    >>> round(target_for_ramp(growth_per_s=1 / 600, delay_s=200.0), 6)  # doubles in ten minutes
    0.75
    """
    growth_per_s, delay_s = require_non_negative(growth_per_s=growth_per_s, delay_s=delay_s)
    return 1 / (1 + growth_per_s * delay_s)


def what_happened(running: float, waiting: float, places: int, tokens_over: float) -> str:
    """What a dashboard's means of one replica say: "short", "swings", "heavier" or "well".

    running, waiting: requests of a replica. places: that it has. tokens_over: time per token over
    its target. "short" where one request or more waits and nine tenths of the places or more are
    taken; "swings" where one or more waits although half of the places or more are free; "heavier"
    where less than one waits and tokens are a tenth or more over their target; else "well". Raises
    ValueError on negative counts and on more running requests than places.

    >>> what_happened(running=60, waiting=0.2, places=64, tokens_over=0.9)
    'well'
    """
    running, waiting = require_non_negative(running=running, waiting=waiting)
    places = require_positive_integer(places=places)
    require(running <= places, "running", f"at most {places} places", running)
    tokens_over = require_positive(tokens_over=tokens_over)
    if waiting >= 1:
        if running >= 0.9 * places:
            return "short"
        if running <= 0.5 * places:
            return "swings"
    return "heavier" if waiting < 1 and tokens_over >= 1.1 else "well"


def example() -> SimpleNamespace:
    """Answers that the page prints beside an exercise."""
    per_s = float(round(replica_of(CHAT).most_per_s))
    return SimpleNamespace(
        pencil_target_percent=100 * target_for_ramp(1 / 600, 270.0),
        board_busy=what_happened(9, 4, 64, 1.4),
        board_slow=what_happened(20, 0, 64, 1.5),
        drained_by=replicas_to_drain(150.0, per_s, 2500.0, 60.0),
        chat_per_s=per_s,
    )


def check_draining_on_time() -> None:
    """The backlog of a cold start is cleared in time by the count found, and not by one fewer.

    Source: cold_start for the drain time of a given fleet, the inverse problem.
    """
    checks.equal("5.4 and 0.3 are one sum", replicas_to_drain(5.4, 1.0, 3.0, 10.0), 6)
    checks.equal("last digits", replicas_to_drain(0.1, 0.1, 0.2, 1.0), 3)
    for rate, deadline in ((150.0, 200.0), (150.0, 300.0), (137.0, 60.0)):
        backlog = cold_start(rate, 10.0, 10, 120.0, 100)[0]
        count = replicas_to_drain(rate, 10.0, backlog, deadline)
        drains = [cold_start(rate, 10.0, 10, 120.0, c)[1] for c in (count - 1, count)]
        checks.holds(
            f"λ = {rate:g}, T = {deadline:g} s: {count} replicas",
            drains[0] > deadline >= drains[1] * (1 - 1e-12),
            got=f"{drains[1]:.4g} s, with one fewer {drains[0]:.4g} s",
        )


def check_ramp_needs_headroom() -> None:
    """On a linear ramp, a fleet ordered with the delay is just large enough at the target found,
    and too small at a higher one.

    Source: fluid on a ramp from load 1, ordering load/target at each instant, ready D later.
    """
    growth, delay = 1 / 400, 180.0
    target = target_for_ramp(growth, delay)
    time = np.linspace(0.0, 2000.0, 4001)
    load = 1 + growth * time
    ordered_at = np.maximum(time - delay, 0.0)
    for label, factor, expected in (("at the target", 1.0, 0.0), ("2% hotter", 1.02, 1.0)):
        ready = (1 + growth * ordered_at) / (target * factor)
        short = float(np.any(load > ready + 1e-9))
        checks.close(f"{label}: overloaded at some time", short, expected)
    checks.close("tightest at the start of the ramp", load[360] * target, 1.0, rtol=1e-12)


def check_what_happened() -> None:
    """Each answer is given up to its limits, and not one request or a hundredth beyond them.

    Source: by hand.
    """
    for panels, expected in (
        ((58, 1, 64, 1.0), "short"),
        ((9, 1, 10, 1.5), "short"),
        ((57, 1, 64, 1.0), "well"),
        ((32, 1, 64, 2.0), "swings"),
        ((33, 1, 64, 2.0), "well"),
        ((20, 0.99, 64, 1.1), "heavier"),
        ((20, 0, 64, 1.09), "well"),
        ((64, 30, 64, 3.0), "short"),
    ):
        checks.equal(f"{panels}", what_happened(*panels), expected)


def check_bad_input_is_refused() -> None:
    """Backlogs of NaN, ramps that shrink and more running requests than places are errors."""
    checks.raises(
        "NaN backlog", replicas_to_drain, 1.0, 1.0, math.nan, 1.0, match="backlog must be"
    )
    checks.raises("negative growth", target_for_ramp, -0.1, 10.0, match="growth_per_s must be")
    told = "running must be at most 4 places"
    checks.raises("places", what_happened, 5, 0, 4, 1.0, match=told)
