"""What a router knows of the engines.

It counts what it sent and what came back, always. What engines say of themselves (who waits, who
runs, how many tokens they store) it looks up from time to time, and what their caches keep too.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np

from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.ledger import Ledger


class View:
    """The engines, as a policy sees them.

    now: the moment [s]. serving: numbers of the engines that take requests, sorted. requests: of
    each engine, sent and not answered. waiting, running: requests, as each engine says. stored:
    tokens of its decoding sequences, when its batch last changed. ledger: columns of requests, such
    as `prompt`. memory: what a policy wants to remember. rng: chance.
    """

    def __init__(
        self,
        ledger: Ledger,
        caches: list[BlockCache | None],
        refresh_s: float,
        rng: np.random.Generator,
    ) -> None:
        """All engines serve, nothing was sent."""
        self.ledger, self.caches, self.rng = ledger, caches, rng
        self.now, self.refresh_s, self.looked_s = 0.0, refresh_s, -math.inf
        count = len(ledger.waiting)
        self.serving = range(count)
        self.requests = [0] * count
        self.waiting, self.running, self.stored = ledger.waiting, ledger.running, ledger.stored
        self.memory: dict[str, Any] = {}
        self._fewest: list[int] | None = None  # a heap of requests · shift + engine, some stale
        self._shift = count

    def look(self, now: float) -> None:
        """It is now; engines say how they are if it is time to ask."""
        self.now = now
        if self.refresh_s and now - self.looked_s >= self.refresh_s:
            self.looked_s = now
            ledger = self.ledger
            self.waiting, self.running = list(ledger.waiting), list(ledger.running)
            self.stored = list(ledger.stored)

    def sent(self, place: int, more: int) -> None:
        """A request went to an engine, or came back from it."""
        self.requests[place] += more
        if self._fewest is not None:
            heapq.heappush(self._fewest, self.requests[place] * self._shift + place)

    def least(self) -> int:
        """The serving engine with fewest requests, of equal ones the first, in logarithmic time."""
        heap = self._fewest
        if heap is None or len(heap) > 8 * self._shift + 64:
            entries = [self.requests[place] * self._shift + place for place in self.serving]
            heapq.heapify(entries)
            heap = self._fewest = entries
        while True:
            requests, place = divmod(heap[0], self._shift)
            if self.requests[place] == requests and place in self.serving:
                return place
            heapq.heappop(heap)

    def found_blocks(self, request: int, place: int) -> int:
        """Blocks of a request's prompt that an engine's cache keeps now; 0 without caches."""
        cache = self.caches[place]
        return (
            cache.look(self.ledger.node[request], self.ledger.path_blocks[request])[1]
            if cache
            else 0
        )
