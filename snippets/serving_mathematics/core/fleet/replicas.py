"""The engines of a fleet as they come and go: started, drained, failed, paid for.

A replica is paid for from its order to the end of its last request. It takes requests when its
start-up is over. Of surplus ones those that start are called off first, the latest first; then
those that serve take no more, fewest requests first, and finish what they hold.

Assumes: hardware always to be had; a start-up that always takes the same time; of the steps that
were under way when an engine failed nothing is counted.

Source: Kubernetes, documentation of Horizontal Pod Autoscaling, for the control loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.batching import Serving, serve
from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.ledger import Ledger
from serving_mathematics.core.fleet.prefixes import BlockTree
from serving_mathematics.core.fleet.tiers import LowerTiers
from serving_mathematics.core.fleet.view import View
from serving_mathematics.core.fleet.waiting_lines import Fair, RankedLine, WaitingLine
from serving_mathematics.support.require import require


class Replicas:
    """Engines by number; none is given twice.

    fleet: what they are. ledger, tree: shared by all. view, answers: of the routers of requests and
    of prompts that were read.
    """

    def __init__(
        self, fleet: Fleet, ledger: Ledger, tree: BlockTree, view: View, answers: View
    ) -> None:
        """Those of the beginning serve at once."""
        self.fleet, self.ledger, self.tree = fleet, ledger, tree
        self.view, self.answers = view, answers
        self.kinds: list[Engine] = []
        self.lines: list[WaitingLine] = []
        self.serving: list[Serving | None] = []
        self.due: list[float] = []  # next event of each
        self.tell: list[Callable[[float | None], float]] = []
        self.ordered_s: list[float] = []
        self.gone_s: list[float] = []  # NaN for those that are there
        self.starting: list[int] = []  # in order
        self.draining: set[int] = set()
        self.stores: dict[int, BlockCache] = {}  # tiers that all share
        self.link_free_s = [0.0] * fleet.prompt_engines  # from when on
        for engine in fleet.engines:
            self.open(self.order(engine, 0.0))

    def order(self, engine: Engine, now: float) -> int:
        """A replica that will serve when it is opened; its number."""
        place = self.ledger.engine()
        self.kinds.append(engine)
        self.lines.append(_line(self.fleet, self.ledger))
        self.view.caches.append(BlockCache(self.tree) if self.fleet.caching else None)
        self.serving.append(None)
        self.due.append(math.inf)
        self.tell.append(_nobody)
        self.ordered_s.append(now)
        self.gone_s.append(math.nan)
        self.starting.append(place)
        return place

    def reads_only(self, place: int) -> bool:
        """Whether an engine hands its requests on when their prompts are read."""
        return place < self.fleet.prompt_engines

    def open(self, place: int) -> None:
        """The start-up of a replica is over."""
        engine, fleet = self.kinds[place], self.fleet
        answers_only = bool(fleet.prompt_engines) and not self.reads_only(place)
        one = serve(
            engine,
            self.ledger,
            place,
            self.lines[place],
            None if answers_only else self.view.caches[place],
            fleet.watermark_blocks,
            self.reads_only(place),
            None if answers_only else self._tiers(engine.block_tokens),
        )
        self.starting.remove(place)
        self.serving[place], self.due[place], self.tell[place] = one, next(one), one.send
        view = self.answers if answers_only else self.view
        view.opened(place, engine.kv_blocks * engine.block_tokens)

    def _tiers(self, block_tokens: int) -> LowerTiers | None:
        """Tiers below one engine: its own, and those that all share."""
        if not (self.fleet.tiers and self.fleet.caching):
            return None
        below = []
        for number, tier in enumerate(self.fleet.tiers):
            kept = self.stores.setdefault(number, BlockCache(self.tree))
            below.append((tier, kept if tier.for_all else BlockCache(self.tree)))
        return LowerTiers(below, self.ledger.loaded, block_tokens)

    def scale(self, wanted: int, engine: Engine, now: float) -> list[int]:
        """Order or withdraw replicas until so many are there; returns those that were ordered."""
        there = len(self.starting) + len(self.view.serving)
        if wanted >= there:
            return [self.order(engine, now) for _ in range(wanted - there)]
        for _ in range(there - wanted):
            if self.starting:
                self.gone_s[self.starting.pop()] = now
                continue
            place = min(self.view.serving, key=lambda one: (self.view.requests[one], -one))
            self.view.closed(place)
            self.draining.add(place)
            self.emptied(place, now)
        return []

    def emptied(self, place: int, now: float) -> None:
        """A replica that drains goes when its last request has ended."""
        if place in self.draining and not self.view.requests[place]:
            self.draining.remove(place)
            self.gone_s[place] = now
            self._end(place)

    def fail(self, place: int, now: float) -> list[int]:
        """A replica is lost with what it holds; returns those requests, in order of number."""
        if not (0 <= place < len(self.serving)) or not math.isnan(self.gone_s[place]):
            return []
        for view in (self.view, self.answers):
            if place in view.serves:
                view.closed(place)
            if place < len(view.requests):
                view.requests[place] = 0
        self.draining.discard(place)
        if place in self.starting:
            self.starting.remove(place)
        self.gone_s[place] = now
        self._end(place)
        ledger = self.ledger
        ledger.waiting[place] = ledger.running[place] = ledger.stored[place] = 0
        at = np.frombuffer(ledger.at, dtype=np.int64)
        over = np.frombuffer(ledger.completion_s, dtype=float) >= 0
        lost: list[int] = np.flatnonzero((at == place) & ~over).tolist()
        for request in lost:
            self.forget(request)
        return lost

    def forget(self, request: int) -> None:
        """Nothing is left of what was done for a request."""
        ledger = self.ledger
        ledger.at[request] = -1
        ledger.generated[request] = ledger.ready[request] = 0
        ledger.admitted_s[request] = ledger.first_s[request] = -1.0

    def _end(self, place: int) -> None:
        one = self.serving[place]
        if one is not None:
            one.close()
        self.due[place], self.tell[place] = math.inf, _nobody

    def paid_s(self, end: float) -> list[float]:
        """Time for which each replica is paid [s], those that are there to the end."""
        for one in self.serving:
            if one is not None:
                one.close()
        gone = [end if math.isnan(when) else when for when in self.gone_s]
        return [last - first for first, last in zip(self.ordered_s, gone, strict=True)]


def _nobody(_now: float | None) -> float:
    """Who is told of a request where no engine is."""
    require(False, "what route returns", "an engine that serves", "one that is gone")
    return math.inf


def _line(fleet: Fleet, ledger: Ledger) -> WaitingLine:
    """Who waits for one engine."""
    if fleet.weights is not None:
        return Fair(ledger.requests.tenant.tolist(), fleet.weights)
    if fleet.schedule is not None:
        return RankedLine(ledger.ranks(fleet.schedule))
    return WaitingLine()
