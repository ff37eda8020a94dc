"""Which engine a request goes to: the rules of routers in use, under their own parameters.

Every rule is `route(request, view) -> engine`; `functools.partial` binds other parameters than the
defaults, which are those of the documents named at each. What a rule remembers stands in
`view.memory`, so that a run begins with nothing. A rule that weighs prefixes without asking the
engines keeps a record of what it sent where, which forgets as a cache of its size would.

Source: Mitzenmacher (2001) for two choices; SGLang Model Gateway, documentation, "Load Balancing
Policies"; Gateway API Inference Extension, endpoint picker, scorers and their weights; NVIDIA
Dynamo, documentation of the KV cache routing cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.view import View
from serving_mathematics.support.require import as_number, require, require_non_negative


def round_robin(_request: int, view: View) -> int:
    """One engine after the other.

    Source: vLLM production stack and SGLang Model Gateway, policy "round_robin".

    >>> from serving_mathematics.core.fleet.trying import choices
    >>> choices(round_robin)
    [0, 1, 0, 1]
    """
    turn: int = view.memory.get("turn", 0)
    view.memory["turn"] = turn + 1
    return view.serving[turn % len(view.serving)]


def at_random(_request: int, view: View) -> int:
    """Any engine, each as likely.

    >>> from serving_mathematics.core.fleet.trying import choices
    >>> choices(at_random)
    [0, 1, 0, 1]
    """
    return view.serving[int(view.chance() * len(view.serving))]


def power_of_two(_request: int, view: View) -> int:
    """Of two different engines at random the one with fewer requests.

    Source: SGLang Model Gateway, policy "power_of_two"; Mitzenmacher (2001).

    >>> from serving_mathematics.core.fleet.trying import choices
    >>> choices(power_of_two)
    [0, 1, 0, 1]
    """
    count = len(view.serving)
    if count == 1:
        return view.serving[0]
    first = int(view.chance() * count)
    second = (first + 1 + int(view.chance() * (count - 1))) % count
    one, other = view.serving[first], view.serving[second]
    return one if view.requests[one] <= view.requests[other] else other


def least_requests(_request: int, view: View) -> int:
    """The engine with fewest requests that the router sent and has no answer to; of equal ones the
    first.

    >>> from serving_mathematics.core.fleet.trying import choices
    >>> choices(least_requests)
    [0, 1, 0, 1]
    """
    return view.least()


def by_session(request: int, view: View) -> int:
    """Always the same engine for a session, by the largest hash of both: when an engine comes or
    goes, only its own sessions move.

    Source: Thaler and Ravishankar (1998), rendezvous hashing; vLLM production stack, "session".

    >>> from serving_mathematics.core.fleet.trying import choices
    >>> choices(by_session)
    [0, 1, 0, 0]
    """
    session = view.session(request)
    if view.memory.get("among") != view.serving:
        view.memory["among"], view.memory["homes"] = [*view.serving], {}
    homes: dict[int, int] = view.memory["homes"]

    def weight(engine: int) -> bytes:
        return hashlib.blake2b(b"%d %d" % (session, engine), digest_size=8).digest()

    if session not in homes:
        homes[session] = max(view.serving, key=weight)
    return homes[session]


def _checked_once(view: View, **numbers: float) -> Any:
    """Parameters of a rule, which are no negative numbers; asked once in a run."""
    if view.memory.get("given") != numbers:
        view.memory["given"], view.memory["checked"] = numbers, require_non_negative(**numbers)
    return view.memory["checked"]


def _records(view: View, capacity: int) -> list[BlockCache]:
    """Of each engine, what was sent there, in caches of so many blocks."""
    records: list[BlockCache] = view.memory.setdefault("records", [])
    while len(records) < len(view.requests):
        records.append(BlockCache(view.tree))
    view.memory["capacity"] = capacity
    return records


def _record(request: int, view: View, engine: int, blocks: int) -> None:
    """A request was sent to an engine, with so many blocks of its prompt."""
    cache: BlockCache = view.memory["records"][engine]
    chain, depth = view.way(request, blocks)
    cache.hold(chain, depth)
    cache.release(chain, depth)
    cache.shrink(cache.resident - view.memory["capacity"])


def cache_aware(
    request: int,
    view: View,
    cache_threshold: float = 0.3,
    balance_abs_threshold: int = 64,
    balance_rel_threshold: float = 1.5,
    max_tree_size: int = 2**26,
) -> int:
    """The engine that was sent most of this prompt before, where that is enough of it and loads are
    balanced; else the one with the smallest record, and with fewest requests when they are not.

    cache_threshold: share of the prompt that must be on record, in [0, 1]. balance_abs_threshold,
    balance_rel_threshold: loads are out of balance when the largest is larger than the smallest by
    more than the one, and more than so many times as large. max_tree_size: blocks on record of each
    engine; the gateway counts characters and forgets from time to time.
    Source: SGLang Model Gateway, --cache-threshold, --balance-abs-threshold,
    --balance-rel-threshold, --max-tree-size, and their defaults.

    >>> from serving_mathematics.core.fleet.trying import choices
    >>> choices(cache_aware)
    [0, 1, 0, 1]
    """
    cache_threshold, balance_abs_threshold, balance_rel_threshold, max_tree_size = _checked_once(
        view,
        cache_threshold=cache_threshold,
        balance_abs_threshold=balance_abs_threshold,
        balance_rel_threshold=balance_rel_threshold,
        max_tree_size=max_tree_size,
    )
    require(cache_threshold <= 1, "cache_threshold", "in [0, 1]", cache_threshold)
    records = _records(view, max_tree_size)
    loads = [view.requests[engine] for engine in view.serving]
    most, least = max(loads), min(loads)
    chain, depth = view.way(request)
    apart = most - least > balance_abs_threshold and most > balance_rel_threshold * least
    if apart or not depth:
        best = view.serving[loads.index(least)]
    else:
        found = [records[engine].look(chain, depth)[1] for engine in view.serving]
        longest = max(found)
        if depth and longest > cache_threshold * depth:
            best = view.serving[found.index(longest)]
        else:
            best = min(view.serving, key=lambda engine: records[engine].resident)
    _record(request, view, best, depth)
    return best


def endpoint_picker(
    request: int,
    view: View,
    prefix_weight: float = 3.0,
    queue_weight: float = 2.0,
    kv_weight: float = 2.0,
    max_prefix_blocks: int = 256,
    lru_capacity_per_server: int = 31_250,
    precise: bool = False,
) -> int:
    """The engine with the largest weighted sum of three scores in [0, 1]: the share of the prompt's
    blocks that it has, how short its queue is among all, and the share of its memory that is free;
    chance decides between equal ones.

    max_prefix_blocks: of a prompt that are looked at. lru_capacity_per_server: blocks on record of
    each. precise: whether engines say what their caches keep, instead of a record.
    Source: llm-d's router, approx-prefix-cache-producer, prefix-cache-scorer, queue-scorer,
    kv-cache-utilization-scorer and max-score-picker; its configuration where none is given for the
    weights, and release 0.8 for the first 4,096 tokens.

    >>> from serving_mathematics.core.fleet.trying import choices
    >>> choices(endpoint_picker)
    [1, 0, 1, 0]
    """
    prefix_weight, queue_weight, kv_weight, max_prefix_blocks, lru_capacity_per_server = (
        _checked_once(
            view,
            prefix_weight=prefix_weight,
            queue_weight=queue_weight,
            kv_weight=kv_weight,
            max_prefix_blocks=max_prefix_blocks,
            lru_capacity_per_server=lru_capacity_per_server,
        )
    )
    chain, depth = view.way(request, max_prefix_blocks)
    if precise:
        caches: list[BlockCache] = [cache for cache in view.caches if cache is not None]
    else:
        caches = _records(view, lru_capacity_per_server)
    waiting = [view.waiting[engine] for engine in view.serving]
    longest, shortest = max(waiting), min(waiting)
    best, score, ties = -1, -1.0, 0
    for engine, queue in zip(view.serving, waiting, strict=True):
        own = kv_weight * max(0.0, 1 - view.stored[engine] / view.capacity[engine])
        own += queue_weight * (
            (longest - queue) / (longest - shortest) if longest > shortest else 1
        )
        if depth and caches:
            own += prefix_weight * caches[engine].look(chain, depth)[1] / depth
        if own > score:
            best, score, ties = engine, own, 1
        elif own == score:
            ties += 1
            if view.chance() * ties < 1:
                best = engine
    if not precise:
        _record(request, view, best, max_prefix_blocks)
    return best


def least_work(
    request: int, view: View, prefill_load_scale: float = 1.0, block_tokens: int = 16
) -> int:
    """The engine with the least to do: blocks of prompts that it has yet to read, those of this one
    that it does not have among them, weighted, and blocks that it stores already.

    prefill_load_scale: weight of what is to be read. block_tokens: of the engines' blocks.
    The router counts what it sent until the first token comes.
    Source: NVIDIA Dynamo, routing concepts: cost = scale · prefill blocks + decode blocks, prefill
    blocks being those of the prompts under way and of the one that comes; with temperature 0.

    >>> from serving_mathematics.core.fleet.trying import choices
    >>> choices(least_work)
    [0, 1, 0, 1]
    """
    prefill_load_scale = _checked_once(view, prefill_load_scale=prefill_load_scale)
    block_tokens = as_number(block_tokens=block_tokens)
    require(block_tokens >= 1, "block_tokens", "at least 1", block_tokens)
    blocks = view.ledger.prompt[request] / block_tokens
    unread = _unread_blocks(view)

    def own(engine: int) -> float:
        return max(blocks - view.found_blocks(request, engine), 0.0)

    def cost(engine: int) -> tuple[float, int]:
        stored = view.stored[engine] / block_tokens
        to_read = own(engine) + unread.get(engine, 0.0)
        return prefill_load_scale * to_read + stored, view.requests[engine]

    best = min(view.serving, key=cost)
    view.memory["sent"][request] = best, own(best)
    return best


def _unread_blocks(view: View) -> dict[int, float]:
    """Of each engine, blocks of prompts that were sent to it and have no first token."""
    ledger, sent = view.ledger, view.memory.setdefault("sent", {})
    unread: dict[int, float] = {}
    for request, (engine, blocks) in list(sent.items()):
        if 0 <= ledger.first_s[request] <= view.now or ledger.at[request] != engine:
            del sent[request]
        else:
            unread[engine] = unread.get(engine, 0.0) + blocks
    return unread


ROUTERS: dict[str, Callable[[int, View], int]] = {
    "round robin": round_robin,
    "at random": at_random,
    "two choices": power_of_two,
    "least requests": least_requests,
    "session": by_session,
    "cache aware": cache_aware,
    "endpoint picker": endpoint_picker,
    "least work": least_work,
}
