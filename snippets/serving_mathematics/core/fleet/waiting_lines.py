"""Who waits for an engine, and who is next.

A line gives the next request and takes back who was preempted. `WaitingLine` is a queue whose head
holds up the others. `RankedLine` orders by a number of each request, as vLLM's scheduling policy
"priority" does. `Fair` takes the tenant that was served least, in tokens over its weight, and of
it the first that came: the virtual token counter, in which a tenant that comes back from a pause
is lifted to the least of those that wait, so that it cannot claim what it did not ask for.

Source: Sheng et al. (2024), algorithm 2, for the counters, with weights 1 and 2 for tokens read
and written; vLLM's `--scheduling-policy` for priorities.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

READ_WEIGHT, WRITTEN_WEIGHT = 1, 2  # of a token in the counters; Sheng et al. (2024), 5.1


class WaitingLine:
    """First come, first served; who was preempted goes to the head.

    >>> line = WaitingLine()
    >>> line.push(4), line.push(7), line.back(2), line.head()
    (None, None, None, 2)
    """

    overtakes = False  # whether who comes later may be served before

    def __init__(self) -> None:
        """Nobody waits."""
        self.items: deque[int] = deque()

    def push(self, request: int) -> None:
        """Somebody comes."""
        self.items.append(request)

    def head(self) -> int:
        """The next, or −1."""
        return self.items[0] if self.items else -1

    def pop(self) -> None:
        """The next was admitted."""
        self.items.popleft()

    def back(self, request: int) -> None:
        """Somebody was preempted."""
        self.items.appendleft(request)

    def drop(self, request: int) -> None:
        """Somebody leaves who waits."""
        self.items.remove(request)

    def columns(self) -> list[list[Any]]:
        """What has a number for each request."""
        return []

    def everybody(self) -> Iterable[int]:
        """All who wait."""
        return self.items


class RankedLine(WaitingLine):
    """The smallest number first, of equal ones who came first.

    rank: a number of each request.

    >>> line = RankedLine([5.0, 1.0, 5.0])
    >>> line.push(0), line.push(1), line.head()
    (None, None, 1)
    """

    overtakes = True

    def __init__(self, rank: list[float]) -> None:
        """Nobody waits."""
        self.rank = rank
        self.heap: list[tuple[float, int, int]] = []
        self.came: dict[int, int] = {}
        self.arrivals = 0

    def push(self, request: int) -> None:
        """Somebody comes."""
        self.came[request] = self.arrivals = self.arrivals + 1
        self.back(request)

    def back(self, request: int) -> None:
        """Somebody was preempted, and keeps the place of the arrival."""
        heapq.heappush(self.heap, (self.rank[request], self.came[request], request))

    def head(self) -> int:
        """The next, or −1."""
        return self.heap[0][2] if self.heap else -1

    def pop(self) -> None:
        """The next was admitted."""
        heapq.heappop(self.heap)

    def drop(self, request: int) -> None:
        """Somebody leaves who waits."""
        self.heap.remove((self.rank[request], self.came[request], request))
        heapq.heapify(self.heap)

    def columns(self) -> list[list[Any]]:
        """What has a number for each request."""
        return [self.rank]

    def everybody(self) -> Iterable[int]:
        """All who wait."""
        return (request for _, _, request in self.heap)


class Fair(WaitingLine):
    """The tenant that was served least over its weight, and of it who came first.

    tenant: of each request, from 0. weights: of each tenant, positive.

    >>> line = Fair(tenant=[0, 0, 1], weights=[1.0, 1.0])
    >>> line.push(0), line.push(1), line.push(2), line.head()
    (None, None, None, 0)
    >>> line.pop(), line.read(0, 100), line.head()
    (None, None, 2)
    """

    overtakes = True

    def __init__(self, tenant: list[int], weights: Sequence[float]) -> None:
        """Nobody waits, nobody was served."""
        self.tenant, self.weights = tenant, weights
        self.lines: list[deque[int]] = [deque() for _ in weights]
        self.tokens = [0] * len(weights)  # read and twice those written: whole, so that sums are
        self.lifted = [0.0] * len(weights)  # exact however they are grouped
        self.decoding = [0] * len(weights)
        self.new: list[int] = []
        self.left = -1  # whose line became empty last

    def served(self, who: int) -> float:
        """The counter of a tenant: weighted tokens over its weight, and what it was lifted by."""
        return self.lifted[who] + self.tokens[who] / self.weights[who]

    def push(self, request: int) -> None:
        """Somebody comes, and is seen when the engine next looks for one."""
        self.new.append(request)

    def _join(self) -> None:
        """Those who came are seen; a tenant of whom nobody waited is lifted."""
        for request in self.new:
            who = self.tenant[request]
            if not self.lines[who]:
                waiting = [self.served(j) for j, line in enumerate(self.lines) if line]
                last = [self.served(self.left)] if self.left >= 0 else [0.0]
                self.lifted[who] += max(0.0, min(waiting or last) - self.served(who))
            self.lines[who].append(request)
        self.new.clear()

    def back(self, request: int) -> None:
        """Somebody was preempted, and is the first of its tenant."""
        self.lines[self.tenant[request]].appendleft(request)

    def _next(self) -> int:
        best, who = math.inf, -1
        for tenant, line in enumerate(self.lines):
            if line and self.served(tenant) < best:
                best, who = self.served(tenant), tenant
        return who

    def head(self) -> int:
        """The next, or −1."""
        if self.new:
            self._join()
        who = self._next()
        return self.lines[who][0] if who >= 0 else -1

    def pop(self) -> None:
        """The next was admitted."""
        who = self._next()
        self.lines[who].popleft()
        if not self.lines[who]:
            self.left = who

    def drop(self, request: int) -> None:
        """Somebody leaves who waits."""
        if request in self.new:
            self.new.remove(request)
            return
        who = self.tenant[request]
        self.lines[who].remove(request)
        if not self.lines[who]:
            self.left = who

    def columns(self) -> list[list[Any]]:
        """What has a number for each request."""
        return [self.tenant]

    def everybody(self) -> Iterable[int]:
        """All who wait."""
        return itertools.chain(*self.lines, self.new)

    def read(self, request: int, tokens: int) -> None:
        """Tokens of a prompt count at once."""
        self.tokens[self.tenant[request]] += READ_WEIGHT * tokens

    def started(self, request: int) -> None:
        """A request decodes from now on."""
        self.decoding[self.tenant[request]] += 1

    def stopped(self, request: int) -> None:
        """A request decodes no longer."""
        self.decoding[self.tenant[request]] -= 1

    def emitted(self, steps: int) -> None:
        """Tokens that were written count as they come."""
        for who, batch in enumerate(self.decoding):
            self.tokens[who] += WRITTEN_WEIGHT * steps * batch

    def steady_steps(self) -> float:
        """For how many steps of decoding the next one stays the same, at least 1."""
        first, fewest = self._next(), math.inf
        for who, line in enumerate(self.lines):
            if not line or who == first:
                continue
            own, other = (self.decoding[j] / self.weights[j] for j in (first, who))
            if own > other:
                gap = self.served(who) - self.served(first)
                fewest = min(fewest, gap // (WRITTEN_WEIGHT * (own - other)))
        return max(1, fewest)
