"""What a router knows of the engines.

It counts what it sent and what came back, always. What engines say of themselves (who waits, who
runs, how many tokens they store) it looks up from time to time, and what their caches keep too.

Source: Gateway API Inference Extension, model server protocol, for what engines say.
"""

from __future__ import annotations

import bisect
import heapq
import math
from typing import Any

import numpy as np

from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.ledger import Ledger
from serving_mathematics.core.fleet.prefixes import BlockTree

LOOKED_THROUGH = 32  # engines that are looked through faster than a heap is kept


class View:
    """The engines, as a policy sees them.

    now: the moment [s]. serving: numbers of the engines that take requests, in order. requests: of
    each engine, sent and not answered. waiting, running: requests, as each engine says. stored:
    tokens of its decoding sequences, when its batch last changed. capacity: tokens that its memory
    holds. ledger: columns of requests, such as `prompt`. tree: what prompts share, in blocks;
    caches: of the engines, or None. memory: what a policy wants to remember.
    """

    def __init__(
        self,
        ledger: Ledger,
        tree: BlockTree,
        caches: list[BlockCache | None],
        refresh_s: float,
        rng: np.random.Generator,
    ) -> None:
        """No engine serves, nothing was sent."""
        self.ledger, self.tree, self.caches, self.rng = ledger, tree, caches, rng
        self.now, self.refresh_s, self.looked_s = 0.0, refresh_s, -math.inf
        self.serving: list[int] = []
        self.serves: set[int] = set()
        self.requests: list[int] = []
        self.capacity: list[int] = []
        self.waiting, self.running, self.stored = ledger.waiting, ledger.running, ledger.stored
        self.memory: dict[str, Any] = {}
        self._fewest: list[tuple[int, int]] | None = None  # a heap of requests and engine
        self._drawn: list[float] = []
        self._session: dict[int, int] = {}

    def opened(self, place: int, capacity: int) -> None:
        """An engine takes requests from now on."""
        while len(self.requests) <= place:
            self.requests.append(0)
            self.capacity.append(0)
        self.capacity[place] = capacity
        bisect.insort(self.serving, place)
        self.serves.add(place)
        self._fewest = None

    def closed(self, place: int) -> None:
        """An engine takes no more requests."""
        self.serving.remove(place)
        self.serves.remove(place)

    def look(self, now: float) -> None:
        """Engines say how they are, if it is time to ask them again."""
        if now - self.looked_s >= self.refresh_s:
            self.looked_s = now
            ledger = self.ledger
            self.waiting, self.running = list(ledger.waiting), list(ledger.running)
            self.stored = list(ledger.stored)

    def sent(self, place: int, more: int) -> None:
        """A request went to an engine, or came back from it."""
        self.requests[place] += more
        if self._fewest is not None:
            heapq.heappush(self._fewest, (self.requests[place], place))

    def least(self) -> int:
        """The serving engine with fewest requests, of equal ones the first, in logarithmic time."""
        requests_of = self.requests
        if len(self.serving) == len(requests_of) <= LOOKED_THROUGH:
            return requests_of.index(min(requests_of))
        heap = self._fewest
        if heap is None or len(heap) > 8 * len(self.requests) + 64:
            heap = self._fewest = [(self.requests[place], place) for place in self.serving]
            heapq.heapify(heap)
        while True:
            requests, place = heap[0]
            if self.requests[place] == requests and place in self.serves:
                return place
            heapq.heappop(heap)

    def chance(self) -> float:
        """The next of many numbers drawn from [0, 1) at once."""
        if not self._drawn:
            self._drawn = self.rng.random(4096).tolist()
        return self._drawn.pop()

    def session(self, request: int) -> int:
        """The first request of the session that a request belongs to."""
        after = self.ledger.requests.after
        first, way = request, []
        while first not in self._session and after[first] >= 0:
            way.append(first)
            first = int(after[first])
        first = self._session.get(first, first)
        for one in way:
            self._session[one] = first
        return first

    def way(self, request: int, most: int = 2**62) -> tuple[int, int]:
        """Chain and depth at which the first blocks of a prompt end, at most so many."""
        chain, depth = self.ledger.node[request], self.ledger.path_blocks[request]
        while depth > most:
            depth = max(most, self.tree.begins[chain])
            if depth > most or depth == self.tree.begins[chain]:
                chain = self.tree.parent[chain]
        return chain, depth

    def found_blocks(self, request: int, place: int) -> int:
        """Blocks of a request's prompt that an engine's cache keeps now; 0 without caches."""
        cache = self.caches[place]
        if cache is None:
            return 0
        return cache.look(self.ledger.node[request], self.ledger.path_blocks[request])[1]
