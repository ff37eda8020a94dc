"""How many replicas there should be, and which of them fail.

A rule is a function of five numbers, those of `core.fleet.scaling_rules`, whose rules of Kubernetes
and Knative serve here as they are: the moment [s], the replicas ordered, those that serve, the
taken share of their places, and the mean number of requests in the fleet since the last question,
without those on replicas that go. The share is that of these requests that do not wait at this
moment, so that what the places do not hold is the line. A new one is made for every run.

Source: Kubernetes, documentation of Horizontal Pod Autoscaling; KEDA, ScaledObject specification
(pollingInterval).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.scaling_rules import Policy
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
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
