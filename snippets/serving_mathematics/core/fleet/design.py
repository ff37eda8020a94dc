"""A fleet before it runs: engines, limits, and the functions that decide.

Policies are functions, so that a reader can put another in their place. `route(request, view)`
picks an engine by number, or −1 to hold the request until some engine has ended another.
`retry(request, attempt, view)` says after how many seconds a request comes back that was refused,
or whose client has left, infinity for never. `schedule(request, ledger)` and `preempt(request,
ledger)` give each request a number: who has the smallest is admitted first, who has the largest
loses its memory first.

Source: vLLM, engine arguments and scheduler, for limits, orders and preemption; Zhong et al. (2024)
for prompts and answers apart (DistServe).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.ledger import Ledger
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import least_requests
from serving_mathematics.core.fleet.scaling import Scaling
from serving_mathematics.core.fleet.tiers import Tier
from serving_mathematics.core.fleet.view import View
from serving_mathematics.support.require import (
    as_number,
    require,
    require_all_positive,
    require_non_negative,
    require_non_negative_integer,
    widen_fields,
)

Route = Callable[[int, View], int]
Admit = Callable[[int, View], float]
Retry = Callable[[int, int, View], float]
Rank = Callable[[int, Ledger], float]


def never(_request: int, _attempt: int, _view: View) -> float:
    """A refused request is lost.

    >>> never(0, 1, None)
    inf
    """
    return math.inf


@dataclass(frozen=True)
class Fleet:
    """Engines and what decides about requests. Raises ValueError on limits that are none.

    engines: one for each replica. route: which engine a request goes to. admit: after how many
    seconds it may be routed, 0 for now, infinity for never. schedule: whom an engine admits first;
    first come, first served by default. weights: of each tenant, for fair sharing between them
    instead. preempt: who loses its memory first; the youngest by default. caching: whether engines
    keep prefixes. watermark_blocks: that an admission leaves free while others run. most_waiting:
    requests that may wait for one engine; more are refused, as with vLLM's --max-num-queued-reqs.
    most_waiting_tokens: tokens of their prompts, with those of the request that comes, as a gateway
    can that knows them. retry: when a refused request comes back. most_in_flight: that the
    client has at once; the others leave late. refresh_s: between two looks at the engines, 0 for
    always [s].

    tiers: of caches below the device, the fastest first. prompt_engines: how many of the engines,
    the first ones, read prompts and hand them on; 0 where all do both. route_answer: which of the
    others gets a prompt that was read. token_bytes: that are moved for each of its tokens, over the
    link of the engine that read it, one prompt after the other, at link_bytes_per_s, and link_s
    until the first of them is there. scaling: how replicas come and go. failures: moments [s] and
    numbers of engines that are lost with what they hold; retry says what becomes of that. stalls:
    from when to when [s], and numbers of engines that begin no step meanwhile, and lose nothing.
    cancels: whether an engine hears that a client has left, and gives back what it held for it; if
    not, it serves it to the end. hears_s: how long after that it hears of it [s]; what it has read
    by then ends all the same. What the router still holds is dropped.

    >>> Fleet((Engine(0.5), Engine(0.25))).route is least_requests
    True
    """

    engines: Sequence[Engine]
    route: Route = least_requests
    admit: Admit | None = None
    schedule: Rank | None = None
    weights: Sequence[float] | None = None
    preempt: Rank | None = None
    caching: bool = False
    watermark_blocks: int = 0
    most_waiting: float = math.inf
    most_waiting_tokens: float = math.inf
    retry: Retry = never
    most_in_flight: float = math.inf
    refresh_s: float = 0.0
    tiers: Sequence[Tier] = ()
    prompt_engines: int = 0
    route_answer: Route = least_requests
    token_bytes: float = 0.0
    link_bytes_per_s: float = math.inf
    link_s: float = 0.0
    scaling: Scaling | None = None
    failures: Sequence[tuple[float, int]] = ()
    stalls: Sequence[tuple[float, float, int]] = ()
    cancels: bool = True
    hears_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no fleet."""
        widen_fields(self)
        require(len(self.engines) > 0, "engines", "one or more", "none")
        require_non_negative_integer(watermark_blocks=self.watermark_blocks)
        require_non_negative(refresh_s=self.refresh_s)
        most = as_number(most_waiting=self.most_waiting)
        require(most >= 0, "most_waiting", "at least 0", most)
        most = as_number(most_waiting_tokens=self.most_waiting_tokens)
        require(most > 0, "most_waiting_tokens", "positive", most)
        most = as_number(most_in_flight=self.most_in_flight)
        require(most >= 1, "most_in_flight", "at least 1", most)
        both = self.schedule is not None and self.weights is not None
        require(not both, "weights", "None where there is a schedule", self.weights)
        if self.weights is not None:
            require(len(self.weights) > 0, "weights", "one for each tenant", self.weights)
            object.__setattr__(self, "weights", require_all_positive(weights=self.weights))
        self._refuse_parts()

    def _refuse_parts(self) -> None:
        """Refuse separate engines, links and failures that cannot be."""
        require_non_negative_integer(prompt_engines=self.prompt_engines)
        rule = f"below {len(self.engines)}, so that somebody answers"
        count = self.prompt_engines
        require(count < len(self.engines), "prompt_engines", rule, count)
        require_non_negative(token_bytes=self.token_bytes, link_s=self.link_s)
        link = as_number(link_bytes_per_s=self.link_bytes_per_s)
        require(link > 0, "link_bytes_per_s", "positive", link)
        apart = self.scaling is None or not count
        require(apart, "scaling", "None where prompts and answers are apart", self.scaling)
        require(not self.tiers or self.caching, "tiers", "none without caching", self.tiers)
        rule = f"one of {len(self.engines)} engines, from 0"
        for when, place in self.failures:
            require_non_negative(failures_moment=when)
            require_non_negative_integer(failures_engine=place)
            there = place < len(self.engines) or self.scaling is not None  # which numbers more
            require(there, "failures_engine", rule, place)
        for begin, end, place in self.stalls:
            require_non_negative(stalls_begin=begin)
            require(begin <= end < math.inf, "stalls_end", f"from {begin:g} on, and finite", end)
            require_non_negative_integer(stalls_engine=place)
            require(place < len(self.engines), "stalls_engine", rule, place)
        heard = self.cancels or self.scaling is None
        require(heard, "cancels", "True where an autoscaler counts requests", self.cancels)
        hears_s = require_non_negative(hears_s=self.hears_s)
        alike = not (count or self.failures or self.scaling)
        require(hears_s == 0 or alike, "hears_s", "0 where engines come, go or are apart", hears_s)

    def refuse(self, requests: Requests) -> None:
        """Raise ValueError where a request outgrows an engine, has no weight, or where caches have
        nothing to keep.

        >>> Fleet([Engine(0.5)]).refuse(Requests([0.0], [9], [1]))
        """
        kept = requests.prompt_tokens + requests.output_tokens - 1  # the last is never stored
        longest = int(np.argmax(kept))
        more = () if self.scaling is None else (self.scaling.engine,)
        for place, engine in enumerate((*self.engines, *more)):
            room = engine.kv_blocks * engine.block_tokens
            rule = f"enough for request {longest}, of {kept[longest]} tokens"
            require(kept[longest] <= room, f"engines[{place}].kv_blocks", rule, engine.kv_blocks)
        if self.weights is not None:
            rule, most = f"below {len(self.weights)}, of which there are weights", requests.tenant
            require(most.max() < len(self.weights), "tenant", rule, most.max())
        if self.caching:
            rule = "given, for a fleet that caches"
            require(requests.prefixes is not None, "requests.prefixes", rule, requests.prefixes)
            sizes = {engine.block_tokens for engine in (*self.engines, *more)}
            require(len(sizes) == 1, "block_tokens", "the same for all that cache", sizes)
