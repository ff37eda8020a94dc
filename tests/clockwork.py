"""A clock that moves when somebody waits or works, so that what is measured is known."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock


@dataclass
class Clock:
    """Stands in for the module `time`; whoever waits or works moves it, and, where it ticks, who
    looks at it.
    """

    now: float = 1000.0
    cpu: float = 50.0
    busy: float = 0.0  # share by which the clock is ahead of the processor
    tick: float = 0.0  # of each look; every seventh takes longer
    looks: int = 0

    def perf_counter(self) -> float:
        self.looks += 1
        self.now += self.tick * (1 + (self.looks % 7 == 0))
        return self.now

    def time(self) -> float:
        return self.now

    monotonic = time

    def process_time(self) -> float:
        return self.cpu

    def sleep(self, seconds: float) -> None:
        self.now += max(float(seconds), 1e-6)  # which rounding does not swallow

    def work(self, seconds: float) -> None:
        """Time in which this process computes."""
        self.now += seconds * (1 + self.busy)
        self.cpu += seconds


class _Waiting(selectors.DefaultSelector):
    """Nothing comes from outside: whoever waits is at the end of it."""

    clock: Clock

    def select(self, timeout: float | None = None) -> Any:
        self.clock.now += timeout or 0.0
        return super().select(0)


@contextlib.contextmanager
def loops_of(clock: Clock) -> Iterator[None]:
    """Meanwhile `asyncio.run` waits by a clock."""

    def made() -> asyncio.AbstractEventLoop:
        selector = _Waiting()
        selector.clock = clock
        loop: Any = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: clock.now
        return loop  # type: ignore[no-any-return]

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=made) as runner:
            return runner.run(main)

    with mock.patch.object(asyncio, "run", run):
        yield
