"""Where the prefix is, unless that engine has too much more to do.

A router keeps a record of what it sent where. A request goes to the engine with most of its prompt
on record, the least busy one of equal ones, as long as that has at most `slack` requests more than
the least busy engine of all; else there, which then has a copy of the prefix too. A slack of 0
routes by load and breaks ties by prefix, an infinite one always follows the prefix.

How much slack pays follows from one request. With k requests more beside it, each of its m tokens
comes kd later, where d is what a sequence adds to a step. The prefix saves s seconds of reading.
Both are equal at k = s/(md). It is a lower bound: reading a missed prefix holds up everybody
on the other engine as well.

Assumes: what `core.fleet` assumes; a router that counts what it sent and what came back.

Source: Karger et al. (1997) and Mirrokni et al. (2018) for the rule with one owner; SGLang Model
Gateway and SMG for records of what was sent; llm-d's router, prefix-cache-affinity-filter, for a
slack in time; the other slack is derived here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving_mathematics.core.batching.continuous_batching import TICK_S, Engine, Workload
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.outcomes import Outcome
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import (
    _record,
    _records,
    _unread_blocks,
    least_requests,
)
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.view import View
from serving_mathematics.core.machines.customers import PREAMBLE, _customers, _long_chat
from serving_mathematics.core.machines.machines import CHAT, Machine
from serving_mathematics.core.machines.sessions import sessions_under_way
from serving_mathematics.core.machines.token_sharing import step_line
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
)

Route = Callable[[int, View], int]
WARM = 5  # of the requests, the first fifth only warms the caches


def prefix_first(request: int, view: View, slack: float = 16, record_blocks: int = 2**26) -> int:
    """The engine that was sent most of this prompt, unless it has more than `slack` requests more
    than the least busy one: then that one.

    slack: requests, not negative; if infinite, the prefix is always followed. record_blocks: most
    blocks of each engine that the router remembers; it forgets the least recently used first. Loads
    are what the router counts itself, or what engines last said if it only asks them from time to
    time. Raises ValueError on a negative slack or number of blocks.

    >>> from serving_mathematics.core.fleet.trying import choices
    >>> choices(prefix_first)  # the third prompt begins like the first, the fourth like the second
    [0, 1, 0, 1]
    """
    slack = math.inf if slack == math.inf else require_non_negative(slack=slack)
    record_blocks = require_non_negative_integer(record_blocks=record_blocks)
    chain, depth = view.way(request)
    records = _records(view, record_blocks)
    loads = view.requests
    if view.refresh_s:
        loads = [one + two for one, two in zip(view.waiting, view.running, strict=True)]
    found = [records[engine].look(chain, depth)[1] for engine in view.serving]
    longest = max(found)
    least = min(view.serving, key=loads.__getitem__)
    owners = [e for e, blocks in zip(view.serving, found, strict=True) if blocks == longest]
    near = min(owners, key=loads.__getitem__)
    place = near if longest and loads[near] - loads[least] <= slack else least
    _record(request, view, place, depth)
    return place


def hash_bounded(request: int, view: View, balance: float = 1.25) -> int:
    """The owner of the prompt's first blocks by hash, or the next engine in the hash's order that
    has room.

    balance: most requests of an engine, as a multiple of the mean, at least 1; infinite for no
    bound. Raises ValueError below 1.

    >>> from serving_mathematics.core.fleet.trying import choices
    >>> choices(hash_bounded)  # the owner of the second and fourth had no room for the fourth
    [0, 0, 1, 0]
    """
    balance = as_number(balance=balance)
    require(balance >= 1, "balance", "at least 1", balance)
    head = view.way(request)[0]
    while head >= 0 and view.tree.parent[head] >= 0:
        head = view.tree.parent[head]
    if view.memory.get("ordered") != view.serving:  # engines came or went
        view.memory.update(ordered=list(view.serving), orders={})
    orders: dict[int, list[int]] = view.memory["orders"]
    if head not in orders:

        def weight(engine: int) -> bytes:
            return hashlib.blake2b(b"%d %d" % (head, engine), digest_size=8).digest()

        orders[head] = sorted(view.serving, key=weight, reverse=True)
    if balance == math.inf:
        return orders[head][0]
    most = math.ceil(balance * (1 + sum(view.requests)) / len(view.serving))
    return next(engine for engine in orders[head] if view.requests[engine] < most)


def _sticky(
    request: int,
    view: View,
    affinity: float = 0.8,
    penalty_tokens: float = 18 * 50_000,
    by_requests: bool = False,
    record_share: float = 1.0,
    block_tokens: int = 16,
) -> int:
    """One of the engines that were sent a share of this prompt, as long as the least loaded of them
    has at most so many more tokens to read than the least loaded other, else any: of these the one
    with the fewest, this prompt's among them, or with the fewest requests; chance decides ties.

    Tokens to be read are those of prompts without a first token, less what the record finds; it
    holds that share of a cache. Source: llm-d's router, prefix-cache-affinity-filter with
    token-load-scorer or active-request-scorer and max-score-picker; 18 s of what an engine reads.
    """
    chain, depth = view.way(request)
    records = _records(view, int(record_share * max(view.capacity)) // block_tokens)
    blocks, unread = view.ledger.prompt[request] / block_tokens, _unread_blocks(view)
    found = {engine: records[engine].look(chain, depth)[1] for engine in view.serving}
    near = [one for one in view.serving if depth and found[one] >= affinity * depth]
    least, other = (
        min((unread.get(one, 0.0) for one in view.serving if (one in near) is sticky), default=0.0)
        for sticky in (True, False)
    )
    among = near if near and (least - other) * block_tokens <= penalty_tokens else view.serving

    def load(one: int) -> float:
        return view.requests[one] if by_requests else unread.get(one, 0.0) + blocks - found[one]

    place = min(among, key=lambda one: (load(one), view.chance()))
    _record(request, view, place, depth)
    view.memory["sent"][request] = place, max(blocks - found[place], 0.0)
    return place


def _spilling(request: int, view: View, most: float = 64, times: float = 1.5) -> int:
    """The engine that was sent most of this prompt, if more than 0.3 of it, the one with fewest
    requests of equal ones; or the one with fewest of all, where none was or that one has too many.

    Too many are more above the mean than `most` and so many times the mean, or than two deviations
    of a count of that mean, four at least, where those are fewer. Source: SMG 1.13, `cache_aware`.
    """
    chain, depth = view.way(request)
    records, requests = _records(view, 2**26), view.requests
    found = {engine: records[engine].look(chain, depth)[1] for engine in view.serving}
    longest = max(found.values())
    mean = sum(requests[engine] for engine in view.serving) / len(view.serving)
    margin = min(max(most, (times - 1) * mean), max(min(4, most), 2 * math.sqrt(mean)))
    place = view.least()
    if longest > 0.3 * depth:
        near = min((one for one in view.serving if found[one] == longest), key=requests.__getitem__)
        place = near if requests[near] <= mean + margin else place
    _record(request, view, place, depth)
    return place


def slack_that_pays(saved_s: float, later_tokens: float, sequence_s: float) -> float:
    """Slack at which following a prefix costs a request as much time as reading it elsewhere, k =
    s/(md).

    saved_s: s, time to read the prefix, not negative [s]. later_tokens: m, tokens of the answer
    after its first, positive. sequence_s: d, what a sequence adds to a step, positive [s]. Raises
    ValueError outside these ranges.

    >>> slack_that_pays(0.1, later_tokens=200, sequence_s=0.00005)
    10.0
    """
    saved_s = require_non_negative(saved_s=saved_s)
    later_tokens, sequence_s = require_positive(later_tokens=later_tokens, sequence_s=sequence_s)
    return saved_s / (later_tokens * sequence_s)


@dataclass(frozen=True)
class _Routed:
    """What callers had of a fleet, after its caches are warm."""

    kept: float  # share of requests with all that is promised
    first_s: float  # mean to the first token [s]
    first_99_s: float
    token_s: float  # mean time per token [s]
    found: float  # share of the prompt tokens


def _engine(machine: Machine) -> Engine:
    return _long_chat(machine) if machine.name == CHAT.name else machine.engine


def _asked(
    machine: Machine, rate_per_s: float, requests: int, seed: int, **traffic: Any
) -> Requests:
    """What a fleet is asked, at a rate of all its engines."""
    rng = np.random.default_rng([67, seed])
    if machine.name == CHAT.name:
        return _customers(rng, rate_per_s, requests, **traffic)
    context = machine.deployment.architecture.context_tokens
    return sessions_under_way(rng, rate_per_s, requests, context)


def _serve(
    machine: Machine, asked: Requests, route: Route, engines: int = 4, refresh_s: float = 0.0
) -> Outcome:
    """Requests on so many of a machine's engines, with caches that are empty at first."""
    fleet = Fleet([_engine(machine)] * engines, route, caching=True, refresh_s=refresh_s)
    return simulate_fleet(asked, fleet, np.random.default_rng(3))


def _seen(machine: Machine, asked: Requests, outcome: Outcome) -> _Routed:
    """What callers had."""
    order = np.argsort(outcome.sent_s, kind="stable")
    warm = order[order.size // WARM :]
    first_s = (outcome.first_token_s - outcome.sent_s)[warm] + machine.made.around_s
    spent_s = (outcome.completion_s - outcome.first_token_s)[warm]
    later = asked.output_tokens[warm] - 1
    slow = spent_s > machine.promise.tpot_s * later
    return _Routed(
        float(((first_s <= machine.promise.ttft_s) & ~slow).mean()),
        float(first_s.mean()),
        float(np.quantile(first_s, 0.99)),
        float(spent_s.sum() / later.sum()),
        float(outcome.found_tokens[warm].sum() / asked.prompt_tokens[warm].sum()),
    )


def _saved_s() -> float:
    """What the chat machine takes to read a customer's prefix at the beginning of a prompt [s]."""
    engine = _long_chat()
    asked = Workload([0.0], [PREAMBLE], [1])
    return float(engine.prefill_token_s * PREAMBLE + TICK_S * engine.prompt_ticks(asked)[0])


def _sequence_s() -> float:
    """What a customer's sequence adds to a step of the chat machine, its prefix too [s]."""
    low, high = CHAT.step_s([1.0, CHAT.places], CHAT.mean_context_tokens + PREAMBLE).tolist()
    return float(high - low) / (CHAT.places - 1)


def check_what_a_prefix_adds_to_a_step() -> None:
    """A prefix of 4,096 tokens adds to each step the time to read its part of the cache from
    memory, or up to two fifths more.

    Source: the bytes that 4,096 tokens take in the cache, at the H100's bandwidth.
    """
    more_s = PREAMBLE * 2 * 32 * 8 * 128 * 2 / 3.35e12
    added = _sequence_s() - step_line(CHAT).sequence_s
    checks.inside("reading a prefix in a step, over the bandwidth's", added / more_s, 1.0, 1.4)


def check_nothing_is_gained_where_every_cache_holds_all() -> None:
    """With five customers, every engine's cache holds all beginnings, and prefix first keeps the
    promise for about as many requests as fewest requests does, below the ceiling and above it; with
    200 customers, for far more.

    Source: own simulation of four chat machines, 2,500 requests.
    """
    for customers, rate, low, high in (
        (5, 9.0, -0.02, 0.02),
        (5, 12.0, -0.1, 0.1),
        (200, 9.0, 0.4, 1),
    ):
        asked = _asked(CHAT, 4 * rate, 2500, 2, customers=customers)
        kept = [
            _seen(CHAT, asked, _serve(CHAT, asked, one)).kept
            for one in (prefix_first, least_requests)
        ]
        label = f"{customers} customers, {rate:g}/s: kept, less that of fewest requests"
        checks.inside(label, kept[0] - kept[1], low, high)
