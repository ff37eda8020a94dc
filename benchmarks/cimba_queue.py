"""The queue as a model for Cimba, which reads the annotations of a class when it is defined."""

from typing import Any

import cimba
from cimba import inputs


class Queue(cimba.Model):  # type: ignore[misc]
    """Customers wait in a container; each server takes one and serves it."""

    gap: cimba.Input[float] = inputs.dist.exponential(mean=1.0)
    service: cimba.Input[float] = inputs.dist.exponential(mean=1.0)
    waiting: cimba.Container
    mean_waiting: cimba.Output[float]

    @cimba.process  # type: ignore[untyped-decorator]
    def arrivals(self) -> None:
        """Put customers."""
        while True:
            cimba.hold(self.gap.next())
            self.waiting.put(1)

    @cimba.on_end  # type: ignore[untyped-decorator]
    def measure(self) -> None:
        """How many waited, on average over time."""
        self.mean_waiting = self.waiting.mean_level()


class OneServer(Queue):
    """M/G/1."""

    @cimba.process  # type: ignore[untyped-decorator]
    def server(self) -> None:
        """Serve."""
        while True:
            self.waiting.get(1)
            cimba.hold(self.service.next())


class EightServers(Queue):
    """M/G/8."""

    @cimba.process(copies=8)  # type: ignore[untyped-decorator]
    def server(self) -> None:
        """Serve."""
        while True:
            self.waiting.get(1)
            cimba.hold(self.service.next())


def model(arrival_rate: float, service_scv: float, servers: int) -> Any:
    """The model of a workload."""
    found = {1: OneServer, 8: EightServers}[servers]()
    found.gap = inputs.dist.exponential(mean=1 / arrival_rate)
    if service_scv != 1:
        found.service = inputs.dist.gamma(shape=1 / service_scv, scale=service_scv)
    return found
