"""Many engines behind a router, from event to event.

A request arrives, is routed, waits in the line of an engine, is served, and may be what others wait
for. Engines are told of deliveries and of the ends of their own plans (`batching.serve`) and of
nothing else, so that the work grows with the requests and, by a heap, with the logarithm of the
engines. Of what happens at one moment arrivals come first, then the ends of steps, then what comes
of answers: a session's next request, one that comes back, one that the client held; then engines
that open or fail, and last clients that leave.

Assumes: routing takes no time; the router counts what it sent and what came back, and knows
anything else about an engine as of the last refresh.

Source: `batching` for an engine; Schroeder et al. (2006) for open, closed and partly open clients.
"""

# In one piece: a fleet at work, whose state all that happens to it shares.

from __future__ import annotations

import heapq
import itertools
import math
from array import array
from collections import deque
from collections.abc import Sequence

import numpy as np

from serving_mathematics.core.fleet.attempts import Attempts
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.ledger import Ledger
from serving_mathematics.core.fleet.outcomes import Outcome
from serving_mathematics.core.fleet.prefixes import BlockTree
from serving_mathematics.core.fleet.replicas import Replicas
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.view import View
from serving_mathematics.support.require import require

NOTHING_SHARED = BlockTree([], [], [], *[np.array([], dtype=np.int64)] * 4)
BOUNDARY, FOLLOWING, CHANGING, LEAVING = (
    1,
    2,
    3,
    4,
)  # events at one moment, in order; arrivals before
QUESTION, FAILURE = -1, -2  # changes that are no opening of an engine; less for later failures,
# and then for stalls
HEARD = 2  # of an attempt whose client has left: its engine knows it, or is done


def simulate_fleet(
    requests: Requests, fleet: Fleet, rng: np.random.Generator | None = None
) -> Outcome:
    """Serve requests on a fleet.

    requests: what is asked. fleet: who serves. rng: for policies that draw, the same seed for the
    same outcome. Raises ValueError when a request alone outgrows an engine, and when a policy names
    an engine that is not there or holds a request for ever.

    >>> from serving_mathematics.core.batching.continuous_batching import Engine
    >>> asked = Requests([0.0, 0.0, 2.0], [4, 4, 4], [3, 3, 1])
    >>> one = Engine(step_s=2.0, token_budget=8, max_sequences=8)
    >>> simulate_fleet(asked, Fleet([one])).completion_s.tolist()
    [6.0, 6.0, 4.0]
    """
    fleet.refuse(requests)
    run = _FleetRun(requests, fleet, rng or np.random.default_rng(0))
    run.go()
    forgotten = [one for one in run.held if not run.tries.gone[one]][:5]
    require(not forgotten, "what route returns", "an engine at last", f"−1 for {forgotten}")
    client = (run.due_s, run.sent_s, run.attempts)
    return Outcome.of(run.ledger, run.replicas, client, run.tries.of, run.asked, run.now)


class _FleetRun:
    """A fleet at work, with fewer than 30 attributes: from there on Python calls methods slower."""

    def __init__(self, requests: Requests, fleet: Fleet, rng: np.random.Generator) -> None:
        """Nothing has happened."""
        self.requests, self.fleet = requests, fleet
        self.ledger = ledger = Ledger(requests)
        self.tries = Attempts(ledger)
        ledger.hears = self.tries.patient or bool(fleet.stalls)
        tree = NOTHING_SHARED
        if requests.prefixes is not None:
            tree = requests.prefixes.in_blocks(fleet.engines[0].block_tokens)
            ledger.keep(tree, len(fleet.tiers))
        if fleet.preempt is not None:
            ledger.victim_rank = ledger.ranks(fleet.preempt)
        self.view = View(ledger, tree, [], fleet.refresh_s, rng)
        self.answers = View(ledger, tree, self.view.caches, fleet.refresh_s, rng)
        self.replicas = Replicas(fleet, ledger, tree, self.view, self.answers)
        self.due, self.tell, self.lines = (
            self.replicas.due,
            self.replicas.tell,
            self.replicas.lines,
        )
        self.events: list[tuple[float, int, int]] = []  # a heap of time, kind, which
        self.held: deque[int] = deque()  # that the router has sent nowhere
        self.late: deque[int] = deque()  # that the client has not sent
        self.in_flight = 0
        self.sent_s = array("d", [math.nan]) * ledger.size
        self.due_s = array("d", [math.nan]) * ledger.size
        self.attempts = array("q", [0]) * ledger.size
        self.followers: dict[int, list[int]] = {}
        for request in np.flatnonzero(requests.after >= 0).tolist():
            self.followers.setdefault(int(requests.after[request]), []).append(request)
        self.pick, of = fleet.route, self.tries.of
        self.gated = fleet.admit is not None or self.tries.patient
        if self.tries.patient:
            self.pick = lambda attempt, view: fleet.route(of[attempt], view)
        self.most_in_flight = fleet.most_in_flight
        self.limited = min(fleet.most_waiting, fleet.most_waiting_tokens) < math.inf
        self.admitted = bytearray(ledger.size)  # by the rule of who comes in
        self.rule = None if fleet.scaling is None else fleet.scaling.rule()
        self.asked: list[tuple[float, int, int]] = []
        self.next_s = 0.0  # the next arrival
        self.area, self.since, self.now = 0.0, 0.0, 0.0  # of requests in the fleet over time
        if fleet.scaling is not None:
            heapq.heappush(self.events, (fleet.scaling.sync_s, CHANGING, QUESTION))
        for number, (when, *_) in enumerate((*fleet.failures, *fleet.stalls)):
            heapq.heappush(self.events, (when, CHANGING, FAILURE - number))

    def go(self) -> None:
        """Until nothing happens any more."""
        events, due, tell, ended = self.events, self.due, self.tell, self.ledger.ended
        heappush, heappop, infinity = heapq.heappush, heapq.heappop, math.inf
        arrival_s = self.requests.arrival_s
        numbers: Sequence[int] = range(self.ledger.size)
        if self.followers:
            own = np.flatnonzero(self.requests.after < 0)
            arrival_s, numbers = arrival_s[own], own.data
        arrivals = arrival_s.data  # of many requests another copy counts
        self.next_s = arrivals[0]
        for request, arrival, following in zip(
            itertools.chain(numbers, [-1]),
            itertools.chain(arrivals, [infinity]),
            itertools.chain(itertools.islice(arrivals, 1, None), [infinity, infinity]),
            strict=True,
        ):
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
                if kind >= CHANGING:
                    if kind == LEAVING:
                        self.give_up(which, now)
                    else:
                        self.change(which, now, arrival < infinity)
                    continue
                after = math.nextafter(now, infinity)  # steps that end now are over
                if self.ledger.ready[which]:
                    self.hand_on(which, now, after)
                elif self.sent_s[which] >= 0:
                    self.route(which, now, after)
                else:
                    self.send(which, now, after)
            self.next_s = following
            if request >= 0:
                self.send(request, arrival, arrival)

    def send(self, request: int, now: float, noticed_s: float) -> None:
        """A request is due at the client."""
        self.due_s[request] = now
        if self.in_flight >= self.most_in_flight:
            self.late.append(request)
            return
        if self.rule:
            self.count(1, now)
        else:
            self.in_flight += 1
        self.sent_s[request] = now
        self.route(request, now, noticed_s)

    def count(self, more: int, now: float) -> None:
        """Requests come into the fleet, or leave it."""
        self.in_flight += more
        if self.rule:
            self.area += (self.in_flight - more) * (now - self.now)
            self.now = now

    def route(self, request: int, now: float, noticed_s: float) -> None:
        """A request is at the router; a step that ends then, or later, notices it."""
        view = self.view
        view.now = now
        if view.refresh_s:
            view.look(now)
        if self.gated and self.waits(request, now):
            return
        if view.serving:
            place = self.pick(request, view)
        elif self.rule:
            place = -1
        else:  # all are lost
            self.refuse(request, now)
            return
        if place not in view.serves:
            rule = f"an engine that serves, or −1, for request {request}"
            require(place == -1, "what route returns", rule, place)
            self.held.append(request)
        elif self.limited and self.full(request, place):
            self.refuse(request, now)
        else:
            self.deliver(request, place, view, now, noticed_s)

    def give_up(self, attempt: int, now: float) -> None:
        """The patience of a client is over; if its first token has not come, it leaves."""
        ledger, hears_s = self.ledger, self.fleet.hears_s
        if self.tries.gone[attempt]:
            self.hear(attempt, now)
            return
        if self.tries.until_s[attempt] != now or ledger.first_s[attempt] >= 0:
            return  # or this attempt was refused or lost before
        if ledger.at[attempt] >= 0 and self.fleet.cancels:
            if hears_s:
                heapq.heappush(self.events, (now + hears_s, LEAVING, attempt))
            else:
                self.hear(attempt, now)
        ranks = (column for line in self.lines for column in line.columns())
        again = self.tries.leave(attempt, self.sent_s, self.admitted, *ranks)
        self.refuse(again, now)
        self.try_again(now)

    def hear(self, attempt: int, now: float) -> None:
        """An engine hears that a client has left, if it is not done with the attempt."""
        place = self.ledger.at[attempt]
        if self.tries.gone[attempt] < HEARD:
            self.view.sent(place, -1)
            self.say(place, (attempt, 0.0), now)
            self.replicas.emptied(place, now)
        self.tries.gone[attempt] = HEARD

    def say(self, place: int, what: tuple[int, float], now: float) -> None:
        """An engine hears of it at the end of the step that is under way."""
        self.ledger.told[place].append(what)
        before = self.due[place]
        when = self.tell[place](math.nextafter(now, math.inf) if before < math.inf else now)
        if when != before:
            self.due[place] = when
            heapq.heappush(self.events, (when, BOUNDARY, place))

    def waits(self, request: int, now: float) -> bool:
        """Whether a request may not come in yet, or never."""
        if self.tries.patient:
            if self.tries.gone[request]:
                return True
            until_s = self.tries.sent(request, now)
            if until_s < math.inf:
                heapq.heappush(self.events, (until_s, LEAVING, request))
        if self.fleet.admit is None or self.admitted[request]:
            return False
        pause_s = self.fleet.admit(self.tries.of[request], self.view)
        require(pause_s >= 0, "what admit returns", "not negative", pause_s)
        self.admitted[request] = not pause_s
        if pause_s == math.inf:
            self.refuse(request, now)
        elif pause_s:
            heapq.heappush(self.events, (now + pause_s, FOLLOWING, request))
        return bool(pause_s)

    def hand_on(self, request: int, now: float, noticed_s: float) -> None:
        """A prompt that was read is where answers are written."""
        view = self.answers
        view.now = now
        if view.refresh_s:
            view.look(now)
        if not view.serving:
            self.replicas.forget(request)
            if not self.tries.gone[request]:
                self.refuse(request, now)
            return
        place = self.fleet.route_answer(self.tries.of[request], view)
        rule = f"an engine that answers, for request {request}"
        require(place in view.serves, "what route_answer returns", rule, place)
        self.deliver(request, place, view, now, noticed_s)

    def deliver(self, request: int, place: int, view: View, now: float, noticed_s: float) -> None:
        """A request joins the line of an engine."""
        self.ledger.at[request] = place
        self.ledger.waiting[place] += 1
        view.sent(place, 1)
        self.lines[place].push(request)
        before = self.due[place]
        tell, events = self.tell[place], self.events
        when = tell(noticed_s if before < math.inf else now)
        if when != before:
            if when == now < self.next_s and (not events or events[0][0] > now):
                when = tell(None)  # nobody else comes at this moment
            self.due[place] = when
            heapq.heappush(events, (when, BOUNDARY, place))

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
        """There was no place for a request, or its client has left."""
        who = self.tries.of[request]
        self.attempts[who] += 1
        if self.tries.patient:
            self.tries.until_s[request] = math.inf
        self.view.now = now
        pause_s = self.fleet.retry(who, self.attempts[who], self.view)
        require(pause_s >= 0, "what retry returns", "not negative", pause_s)
        if pause_s < math.inf:
            heapq.heappush(self.events, (now + pause_s, FOLLOWING, request))
        else:
            self.count(-1, now)
            self.leave(now)

    def leave(self, now: float) -> None:
        """A request is over, for the client, which sends another that it held."""
        if self.late:
            request = self.late.popleft()
            self.count(1, now)
            self.sent_s[request] = now
            heapq.heappush(self.events, (now, FOLLOWING, request))

    def finish(self, now: float) -> None:
        """Requests that ended in the event of an engine."""
        ledger, replicas, fleet = self.ledger, self.replicas, self.fleet
        ended = over = ledger.ended
        if fleet.prompt_engines or ledger.hears:
            over = [request for request in ended if not self.goes_on(request, now)]
        for request in over:
            place = ledger.at[request]
            apart = fleet.prompt_engines and not replicas.reads_only(place)
            (self.answers if apart else self.view).sent(place, -1)
            if replicas.draining:
                replicas.emptied(place, now)
        self.count(-len(over), now)
        if self.late or self.followers:
            self.follow(over, now)
        if self.held:
            self.try_again(now)
        ended.clear()

    def goes_on(self, attempt: int, now: float) -> bool:
        """Whether a prompt that was read is moved, or whoever is answered has left."""
        gone, fleet, place = self.tries.gone[attempt], self.fleet, self.ledger.at[attempt]
        if gone == HEARD:
            return True
        if fleet.prompt_engines and self.moves(attempt, now):
            return True
        if gone:
            apart = fleet.prompt_engines and not self.replicas.reads_only(place)
            (self.answers if apart else self.view).sent(place, -1)
            self.tries.gone[attempt] = HEARD
        return bool(gone)

    def follow(self, over: list[int], now: float) -> None:
        """What comes of answers."""
        for request in over:
            self.leave(now)
            for follower in self.followers.pop(self.tries.of[request], ()):
                pause_s = float(self.requests.pause_s[follower])
                when = max(now + pause_s, float(self.requests.arrival_s[follower]))
                heapq.heappush(self.events, (when, FOLLOWING, follower))

    def try_again(self, now: float) -> None:
        """What the router holds is routed anew."""
        while self.held:
            heapq.heappush(self.events, (now, FOLLOWING, self.held.popleft()))

    def moves(self, request: int, now: float) -> bool:
        """Whether a prompt that was read is on its way to another engine now."""
        ledger, fleet = self.ledger, self.fleet
        place = ledger.at[request]
        if not self.replicas.reads_only(place) or ledger.output[request] == 1:
            return False
        self.view.sent(place, -1)
        start = max(now, self.replicas.link_free_s[place])
        size = fleet.token_bytes * ledger.prompt[request]
        self.replicas.link_free_s[place] = start + size / fleet.link_bytes_per_s
        ledger.completion_s[request], ledger.at[request] = -1.0, -1
        ledger.generated[request] = ledger.ready[request] = 1
        when = self.replicas.link_free_s[place] + fleet.link_s
        heapq.heappush(self.events, (when, FOLLOWING, request))
        return True

    def change(self, which: int, now: float, more: bool) -> None:
        """An engine opens or fails, or the autoscaler is asked."""
        replicas = self.replicas
        if which >= 0:
            if which in replicas.starting:
                replicas.open(which)
                self.try_again(now)
        elif which == QUESTION:
            self.ask(now, more)
        elif FAILURE - which < len(self.fleet.failures):
            place = self.fleet.failures[FAILURE - which][1]
            for request in replicas.fail(place, now):
                if not self.tries.gone[request]:
                    self.refuse(request, now)
            self.try_again(now)
        else:
            _, end, place = self.fleet.stalls[FAILURE - which - len(self.fleet.failures)]
            if math.isnan(replicas.gone_s[place]):
                self.say(place, (-1, end), now)

    def ask(self, now: float, more: bool) -> None:
        """The autoscaler says how many replicas there should be."""
        scaling, view, ledger = self.fleet.scaling, self.view, self.ledger
        assert scaling is not None
        assert self.rule is not None
        self.count(0, now)
        serving, ordered = len(view.serving), len(view.serving) + len(self.replicas.starting)
        places = sum(self.replicas.kinds[place].max_sequences for place in view.serving)
        inside = self.area / (now - self.since)
        inside -= sum(view.requests[place] for place in self.replicas.draining)
        waiting = sum(ledger.waiting[place] for place in view.serving) + len(self.held)
        taken = max(inside - waiting, 0.0) / places if places else 0.0
        wanted = self.rule(now, ordered, serving, min(taken, 1.0), max(inside, 0.0))
        require(wanted >= 0 and wanted % 1 == 0, "what a rule returns", "a whole number", wanted)
        wanted = min(max(int(wanted), scaling.least), scaling.most)
        self.area, self.since = 0.0, now
        for place in self.replicas.scale(wanted, scaling.engine, now):
            heapq.heappush(self.events, (now + scaling.startup_s, CHANGING, place))
        self.asked.append((now, wanted, len(view.serving)))
        if more or self.in_flight or self.events:
            heapq.heappush(self.events, (now + scaling.sync_s, CHANGING, QUESTION))
