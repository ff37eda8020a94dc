"""Solutions of the exercises of *Chapter title*.

Assumes: the chapter's model.

Source: the chapter's definitions.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_all_non_negative,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "rate_for_share": "WRITE: a hint that leads to the first solution and does not give it away.",
    "servers_for_share": "WRITE: a hint that leads to the second one and does not give it away.",
    "busy_with_classes": "WRITE: a hint that leads to the third one and does not give it away.",
}


# WRITE: solutions of your own in the place of these three; they may use what the chapter defines.
def rate_for_share(share: float, mean_service_s: float, servers: int) -> float:
    """Arrival rate [1/s] that keeps each server busy for this share of the time.

    share: ρ. mean_service_s: S [s]. servers: c.
    Raises ValueError on a share outside [0, 1], a time that is not positive, or no server.

    >>> rate_for_share(share=0.75, mean_service_s=0.25, servers=4)
    12.0
    """
    require_in("[0, 1]", share=share)
    require_positive(mean_service_s=mean_service_s)
    require_positive_integer(servers=servers)
    return share * servers / mean_service_s


def servers_for_share(share: float, arrival_rate: float, mean_service_s: float) -> int:
    """Fewest servers, at least one, none of which is busy for more than this share of the time.

    share: ρ. arrival_rate: λ [1/s]. mean_service_s: S [s].
    Raises ValueError on a share outside (0, 1], a negative rate or a time that is not positive.

    >>> servers_for_share(share=0.8, arrival_rate=12.0, mean_service_s=0.25)
    4
    """
    require_in("(0, 1]", share=share)
    require_non_negative(arrival_rate=arrival_rate)
    require_positive(mean_service_s=mean_service_s)
    return max(1, math.ceil(arrival_rate * mean_service_s / share))


def busy_with_classes(arrival_rates: npt.ArrayLike, mean_services_s: npt.ArrayLike) -> float:
    """Mean number of busy servers, with requests of several classes.

    arrival_rates, mean_services_s: of each class, one after the other [1/s], [s].
    Raises ValueError on negative elements, or when there are not as many of both.

    >>> busy_with_classes([8.0, 1.0], [0.25, 2.0])
    4.0
    """
    require_all_non_negative(arrival_rates=arrival_rates, mean_services_s=mean_services_s)
    rates, services = np.asarray(arrival_rates, float), np.asarray(mean_services_s, float)
    require(rates.shape == services.shape, "mean_services_s", f"of shape {rates.shape}", services)
    return float((rates * services).sum())


def check_rate_for_share() -> None:
    """WRITE: what is true of the first solution, on inputs that the exercise does not print.

    Source: WRITE: where the expectation comes from.
    """
    checks.close("rate of 7 servers", rate_for_share(0.6, 0.05, 7), 84.0, rtol=1e-12)
    checks.close("rate of 3 servers", rate_for_share(0.5, 0.3, 3), 5.0, rtol=1e-12)


def check_servers_for_share() -> None:
    """WRITE: what is true of the second solution, on inputs that the exercise does not print.

    Source: WRITE: where the expectation comes from.
    """
    checks.equal("10 busy at 70%", servers_for_share(0.7, 50.0, 0.2), 15)
    checks.equal("half of one at 80%", servers_for_share(0.8, 5.0, 0.1), 1)
    checks.equal("2.5 busy at 100%", servers_for_share(1.0, 25.0, 0.1), 3)


def check_busy_with_classes() -> None:
    """WRITE: what is true of the third solution, on inputs that the exercise does not print.

    Source: WRITE: where the expectation comes from.
    """
    got = busy_with_classes([4.0, 2.0, 0.5], [0.5, 0.25, 3.0])
    checks.close("three classes", got, 4.0, rtol=1e-12)
    checks.close("one class", busy_with_classes([6.0], [0.4]), 2.4, rtol=1e-12)


def check_bad_answers_are_refused() -> None:
    """Shares that are none and classes without a time fail."""
    checks.raises("share", rate_for_share, 1.2, 0.25, 4, match="share must be in [0, 1]")
    checks.raises("none", servers_for_share, 0.0, 1.0, 0.25, match="share must be in (0, 1]")
    checks.raises("classes", busy_with_classes, [1.0], [1.0, 2.0], match="mean_services_s must be")
