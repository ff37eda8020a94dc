"""How many replicas there should be, and which of them fail.

A rule is a function of five numbers, those of `core.fleet.scaling_rules`, whose rules of Kubernetes
and Knative serve here as they are: the moment [s], the replicas ordered, those that serve, the
taken share of their places, and the mean number of requests in the fleet since the last question,
without those on replicas that go. The share is that of these requests that do not wait at this
moment, so that what the places do not hold is the line. A new one is made for every run. KEDA's,
which can go to none, is added here.

Source: Kubernetes, documentation of Horizontal Pod Autoscaling; KEDA, ScaledObject specification
(pollingInterval, cooldownPeriod, minReplicaCount), and its scalers (threshold,
activationThreshold).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.scaling_rules import Policy, hpa_waiting
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    widen_fields,
)


@dataclass(frozen=True)
class Scaling:
    """An autoscaler. Raises ValueError on times and limits that are none.

    rule: makes the rule of a run. engine: what a new replica is. sync_s: between two questions [s];
    Kubernetes asks every 15 s, Knative every 2 s, KEDA every 30 s (pollingInterval). startup_s:
    from an order to a replica that serves [s]. least, most: replicas.

    >>> from serving_mathematics.core.fleet.scaling_rules import fixed
    >>> Scaling(lambda: fixed(2), Engine(0.5)).sync_s
    15.0
    """

    rule: Callable[[], Policy]
    engine: Engine
    sync_s: float = 15.0
    startup_s: float = 60.0
    least: int = 1
    most: int = 10_000

    def __post_init__(self) -> None:
        """Refuse what cannot scale."""
        widen_fields(self)
        require_positive(sync_s=self.sync_s)
        require_non_negative(startup_s=self.startup_s)
        require_non_negative_integer(least=self.least, most=self.most)
        require(1 <= self.most >= self.least, "most", f"at least 1 and {self.least}", self.most)


def keda(
    threshold: float,
    places: int,
    *,
    activation_threshold: float = 0.0,
    cooldown_s: float = 300.0,
    stabilization_s: float = 300.0,
) -> Policy:
    """None after a cooldown in which there was nothing to do, one when there is; in between what
    Kubernetes asks for, with those that wait as an external metric.

    threshold: requests that wait, for each replica. places: requests that a replica runs.
    activation_threshold: requests in the fleet that do not count as work. cooldown_s:
    cooldownPeriod [s]. stabilization_s: as for `hpa_waiting`. Raises ValueError on input outside
    its ranges.

    >>> rule = keda(8.0, places=16, cooldown_s=60.0)
    >>> [rule(30.0 * k, min(k, 1), min(k, 1), 0.0, n) for k, n in enumerate((5.0, 5.0, 0.0, 0.0))]
    [1, 1, 1, 0]
    """
    activation_threshold, cooldown_s = require_non_negative(
        activation_threshold=activation_threshold, cooldown_s=cooldown_s
    )
    threshold = require_positive(threshold=threshold)
    places = require_positive_integer(places=places)
    inner = hpa_waiting(threshold, places, stabilization_s=stabilization_s)
    active_s = 0.0

    def rule(now: float, ordered: int, serving: int, utilization: float, requests: float) -> int:
        nonlocal active_s
        active = requests > activation_threshold
        active_s = now if active else active_s
        if not ordered:
            return int(active)
        if now - active_s >= cooldown_s:
            return 0
        return inner(now, ordered, serving, utilization, requests)

    return rule
