"""Many engines behind a router, from event to event.

A request arrives, is routed, waits in the line of an engine, is served, and may be what others wait
for. Engines are told of deliveries and of the ends of their own plans (`batching.serve`) and of
nothing else, so that the work grows with the requests and, by a heap, with the logarithm of the
engines. Of what happens at one moment arrivals come first, then the ends of steps, then what comes
of answers: a session's next request, one that comes back, one that the client held.

Assumes: routing takes no time; the router counts what it sent and what came back, and knows
anything else about an engine as of the last refresh.

Source: `batching` for an engine; Schroeder et al. (2006) for open, closed and partly open clients.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import deque

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.batching import serve
from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.design import Fleet, Outcome
from serving_mathematics.core.fleet.ledger import Ledger, floats, integers
from serving_mathematics.core.fleet.prefixes import BlockTree
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.view import View
from serving_mathematics.core.fleet.waiting_lines import Fair, Line, Ranked
from serving_mathematics.require import require

NOTHING_SHARED = BlockTree([], [], [], *[np.array([], dtype=np.int64)] * 4)
BOUNDARY, FOLLOWING = 1, 2  # kinds of events, in their order at one moment; arrivals come before


def simulate_fleet(
    requests: Requests, fleet: Fleet, rng: np.random.Generator | None = None
) -> Outcome:
    """Serve requests on a fleet.

    requests: what is asked. fleet: who serves. rng: for policies that draw, the same seed for the
    same outcome. Raises ValueError when a request alone outgrows an engine, and when a policy names
    an engine that is not there or holds a request for ever.

    >>> from serving_mathematics.optimization.continuous_batching import Engine
    >>> asked = Requests([0.0, 0.0, 2.0], [4, 4, 4], [3, 3, 1])
    >>> one = Engine(step_s=2.0, token_budget=8, max_sequences=8)
    >>> simulate_fleet(asked, Fleet([one])).completion_s.tolist()
    [6.0, 6.0, 4.0]
    """
    fleet.refuse(requests)
    run = _Run(requests, fleet, rng or np.random.default_rng(0))
    run.go()
    forgotten = list(run.held)[:5]
    require(not forgotten, "what route returns", "an engine at last", f"−1 for {forgotten}")
    return run.outcome()


class _Run:
    """A fleet at work."""

    def __init__(self, requests: Requests, fleet: Fleet, rng: np.random.Generator) -> None:
        """Nothing has happened."""
        self.requests, self.fleet = requests, fleet
        self.ledger = ledger = Ledger(requests, len(fleet.engines))
        self.caches: list[BlockCache | None] = [None] * len(fleet.engines)
        tree = NOTHING_SHARED
        if requests.prefixes is not None:
            tree = requests.prefixes.in_blocks(fleet.engines[0].block_tokens)
        if fleet.caching:
            ledger.keep(tree)
            self.caches = [BlockCache(tree) for _ in fleet.engines]
        if fleet.preempt is not None:
            ledger.victim_rank = [fleet.preempt(i, ledger) for i in range(ledger.size)]
        self.lines = [_line(fleet, ledger) for _ in fleet.engines]
        self.engines = [
            serve(engine, ledger, place, line, cache, fleet.watermark_blocks)
            for place, (engine, line, cache) in enumerate(
                zip(fleet.engines, self.lines, self.caches, strict=True)
            )
        ]
        self.due = [next(one) for one in self.engines]  # next event of each
        self.tell = [one.send for one in self.engines]
        self.view = View(ledger, tree, self.caches, fleet.refresh_s, rng)
        for place, engine in enumerate(fleet.engines):
            self.view.opened(place, engine.kv_blocks * engine.block_tokens)
        self.events: list[tuple[float, int, int]] = []  # a heap of time, kind, which
        self.held: deque[int] = deque()  # that the router has sent nowhere
        self.late: deque[int] = deque()  # that the client has not sent
        self.in_flight = 0
        self.sent_s = floats(np.full(ledger.size, np.nan))
        self.due_s = floats(self.sent_s)
        self.attempts = integers(np.zeros(ledger.size))
        self.followers: dict[int, list[int]] = {}
        for request in np.flatnonzero(requests.after >= 0).tolist():
            self.followers.setdefault(int(requests.after[request]), []).append(request)
        self.limited = min(fleet.most_waiting, fleet.most_waiting_tokens) < math.inf

    def go(self) -> None:
        """Until nothing happens any more."""
        events, due, tell, ended = self.events, self.due, self.tell, self.ledger.ended
        heappush, heappop, infinity = heapq.heappush, heapq.heappop, math.inf
        own = np.flatnonzero(self.requests.after < 0)
        numbers = integers(np.append(own, -1))
        arrivals = floats(np.append(self.requests.arrival_s[own], infinity))
        for request, arrival in zip(numbers, arrivals, strict=True):
            while events and events[0][0] < arrival:
                now, kind, which = heappop(events)
                if kind == BOUNDARY:
                    if due[which] == now:
                        due[which] = when = tell[which](None)
                        if when < infinity:
                            heappush(events, (when, BOUNDARY, which))
                        if ended:
                            self.finish(now)
                    continue
                after = math.nextafter(now, infinity)  # steps that end now are over
                if self.sent_s[which] >= 0:
                    self.route(which, now, after)
                else:
                    self.send(which, now, after)
            if request >= 0:
                self.send(request, arrival, arrival)

    def send(self, request: int, now: float, noticed_s: float) -> None:
        """A request is due at the client."""
        self.due_s[request] = now
        if self.in_flight >= self.fleet.most_in_flight:
            self.late.append(request)
            return
        self.in_flight += 1
        self.sent_s[request] = now
        self.route(request, now, noticed_s)

    def route(self, request: int, now: float, noticed_s: float) -> None:
        """A request is at the router; a step that ends then, or later, notices it."""
        view, ledger = self.view, self.ledger
        view.look(now)
        place = self.fleet.route(request, view)
        if place not in view.serves:
            rule = f"an engine that serves, or −1, for request {request}"
            require(place == -1, "what route returns", rule, place)
            self.held.append(request)
            return
        if self.limited and self.full(request, place):
            self.refuse(request, now)
            return
        ledger.at[request] = place
        ledger.waiting[place] += 1
        view.sent(place, 1)
        self.lines[place].push(request)
        before = self.due[place]
        when = self.tell[place](noticed_s if before < math.inf else now)
        if when != before:
            self.due[place] = when
            heapq.heappush(self.events, (when, BOUNDARY, place))

    def full(self, request: int, place: int) -> bool:
        """Whether so many wait for an engine that it takes no more."""
        ledger, fleet = self.ledger, self.fleet
        if ledger.waiting[place] >= fleet.most_waiting:
            return True
        if fleet.most_waiting_tokens == math.inf:
            return False
        tokens = sum(ledger.prompt[i] for i in self.lines[place].everybody())
        return tokens + ledger.prompt[request] > fleet.most_waiting_tokens

    def refuse(self, request: int, now: float) -> None:
        """There was no place for a request."""
        self.attempts[request] += 1
        pause_s = self.fleet.retry(request, self.attempts[request], self.view)
        require(pause_s >= 0, "what retry returns", "not negative", pause_s)
        if pause_s < math.inf:
            heapq.heappush(self.events, (now + pause_s, FOLLOWING, request))
        else:
            self.leave(now)

    def leave(self, now: float) -> None:
        """A request is over, for the client."""
        self.in_flight -= 1
        if self.late:
            request = self.late.popleft()
            self.in_flight += 1
            self.sent_s[request] = now
            heapq.heappush(self.events, (now, FOLLOWING, request))

    def finish(self, now: float) -> None:
        """Requests that ended in the event of an engine."""
        ended, at, view = self.ledger.ended, self.ledger.at, self.view
        for request in ended:
            view.sent(at[request], -1)
            self.in_flight -= 1
        for request in ended:
            if self.late:
                self.in_flight += 1
                self.leave(now)
            for follower in self.followers.pop(request, ()):
                pause_s = float(self.requests.pause_s[follower])
                when = max(now + pause_s, float(self.requests.arrival_s[follower]))
                heapq.heappush(self.events, (when, FOLLOWING, follower))
        while self.held:
            heapq.heappush(self.events, (now, FOLLOWING, self.held.popleft()))
        ended.clear()

    def outcome(self) -> Outcome:
        """What became of it all."""
        ledger = self.ledger

        def came(times: array[float]) -> npt.NDArray[np.float64]:
            found = np.array(times)
            found[found < 0] = np.nan
            return found

        for one in self.engines:
            one.close()
        return Outcome(
            np.array(self.due_s),
            np.array(self.sent_s),
            came(ledger.admitted_s),
            came(ledger.first_s),
            came(ledger.completion_s),
            np.array(ledger.at),
            np.array(self.attempts),
            np.array(ledger.preemptions),
            np.array(ledger.found),
            np.array(ledger.work),
            np.array(ledger.busy_s),
            np.array([cache.evicted if cache else 0 for cache in self.caches]),
        )


def _line(fleet: Fleet, ledger: Ledger) -> Line:
    """Who waits for one engine."""
    if fleet.weights is not None:
        return Fair(ledger.requests.tenant.tolist(), fleet.weights)
    if fleet.schedule is not None:
        return Ranked([fleet.schedule(i, ledger) for i in range(ledger.size)])
    return Line()
