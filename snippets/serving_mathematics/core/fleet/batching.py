"""One engine of a fleet, from event to event, that can be interrupted.

The engine is a generator. It plans the steps up to its next event, yields when the last of them
ends, and goes on when it is told that this moment has come. Who delivers a request meanwhile sends
the time, and the plan is cut at the end of the step in which the request is noticed. So an engine
costs what happens in it, and nothing for the steps in between.

The rules are those of `continuous_batching`: decodes first, then the prompt that is under way, then
those that wait, under one token budget; blocks for all of a prompt at its admission and one more
when the last is full; who was admitted last gives its blocks back when none is free. With a cache,
the full blocks of a prompt are shared and found again, and what nobody uses makes room. A request
may be ready: its cache came from another engine, and it decodes at once. What the engine is told,
that a client has left or that it must stand still, it hears between two steps, as vLLM does.

Between two events the batch is fixed, so k steps have a closed form in k, and the step that notices
an arrival is the root of a quadratic. Times come from whole numbers since the engine was idle.

Source: the rules of `continuous_batching` and `event_skipping`; Yu et al. (2022), Kwon et al.
(2023), Agrawal et al. (2024).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Generator

from serving_mathematics.core.batching.continuous_batching import TICK_S, Engine
from serving_mathematics.core.batching.decode_blocks import DecodeBlocks
from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.ledger import Ledger
from serving_mathematics.core.fleet.tiers import LowerTiers
from serving_mathematics.core.fleet.waiting_lines import Fair, WaitingLine
from serving_mathematics.support.require import require_non_negative_integer

Serving = Generator[float, float | None, None]


# In one piece: its docstring says why.
def serve(
    engine: Engine,
    ledger: Ledger,
    place: int,
    line: WaitingLine,
    cache: BlockCache | None = None,
    watermark_blocks: int = 0,
    one_token: bool = False,
    lower: LowerTiers | None = None,
) -> Serving:
    """The times of an engine's events; what happens in them stands in the ledger. While none is to
    come the time is infinite.

    engine: its costs and limits. ledger: requests and what became of them, shared by all engines.
    place: of this engine in the ledger. line: those that wait for it. cache: of its prefixes.
    watermark_blocks: that an admission must leave free while others are running. one_token: whether
    it ends with the first token, as an engine for prompts does. lower: tiers below the cache. Send
    the time of a delivery, or None when the time that was yielded has come. It is one function
    because its forty numbers are all of an engine's state, which a generator keeps at the speed of
    local variables.

    >>> from serving_mathematics.core.fleet.requests import Requests
    >>> ledger, line = Ledger(Requests([1.0], [4], [3])), WaitingLine()
    >>> one = serve(Engine(step_s=2.0), ledger, ledger.engine(), line)
    >>> next(one), line.push(0), one.send(1.0), one.send(None), one.send(None)
    (inf, None, 1.0, 3.0, 7.0)
    """
    watermark_blocks = require_non_negative_integer(watermark_blocks=watermark_blocks)
    block, blocks = engine.block_tokens, engine.kv_blocks
    budget, places = engine.token_budget, engine.max_sequences
    step_s, prefill_s = engine.step_s, engine.prefill_token_s
    decode_s, context_s = engine.decode_token_s, engine.context_token_s
    batch_ticks, prompt_ticks, end_ticks, change_ticks = ledger.tables(engine)
    prompt, output = ledger.prompt, ledger.output
    path = ledger.path_blocks if cache else ledger.no_blocks
    cached, generated, ready = ledger.cached, ledger.generated, ledger.ready
    admitted_s, first_s, completion_s = ledger.admitted_s, ledger.first_s, ledger.completion_s
    preemptions, ended, found = ledger.preemptions, ledger.ended, ledger.found
    node, answer_node, answer_blocks = ledger.node, ledger.answer_node, ledger.answer_blocks
    running, waiting, stored = ledger.running, ledger.waiting, ledger.stored
    told, hears = ledger.told[place], ledger.hears
    tabled = engine.table is not None
    shift = 40 if hears else ledger.size.bit_length()
    mask = (1 << shift) - 1
    heappush, heappop = heapq.heappush, heapq.heappop
    decoding: list[int] = []  # a heap of keys: step of the last token << shift | request
    keys: dict[int, int] = {}  # in that heap, of those that decode
    feet: dict[int, int] = {}  # final blocks without the shared ones, in order of admission
    rank = ledger.victim_rank  # of each request, where others than the youngest give way
    eldest: list[tuple[float, int, int]] = []  # a heap by that rank; who is done lies there too
    admissions = 0
    memory = DecodeBlocks(block)  # of those that decode, without the shared ones
    taken = 0  # blocks of prompts that are under way or end in this step, without the shared ones
    counting = cache is not None  # whether these are kept: from when memory is first in question
    partial, partial_left = -1, 0  # the request that is prefilled in part
    batch = held = promised = 0  # decoding sequences, their tokens, and the sum of feet
    now = steps = prefill = decode = context = 0  # now: steps so far; the others: since last idle
    ticks = tokens = 0  # of the table, since last idle; in the step before
    limit = blocks  # what is not pinned
    since = clock = 0.0
    moved = False  # whether the batch changed since routers were told what it stores
    fair = line if isinstance(line, Fair) else None  # which counts what is served
    items = None if line.overtakes else line.items  # where the head holds up the others

    def count(i: int, end: int, sign: int) -> None:
        """Count a request in, or out, that decodes until a step."""
        memory.count(prompt[i] + output[i] - 1, end, now, sign, path[i])

    def footprint(i: int) -> int:
        """Blocks at the end of a request, without the shared ones."""
        last = prompt[i] if one_token else prompt[i] + output[i] - 1
        return -(-last // block) - path[i]

    try:
        while True:
            finished: list[int] = []  # prompts that end in this step
            # somebody whose client has left gives all back, or somebody for whom there is no room
            while told or (promised > limit and taken + memory.filled > limit):
                leaves = bool(told)
                if leaves:
                    victim, until_s = told.pop(0)
                else:
                    victim, until_s = heappop(eldest)[2] if rank else next(reversed(feet)), 0.0
                if victim < 0:  # it stands still
                    ledger.spend(place, steps, prefill, decode, context, clock - since)
                    steps = prefill = decode = context = ticks = 0
                    since = clock = max(clock, until_s)
                    while (yield clock) is not None:
                        pass
                    continue
                read = prompt[victim]
                if victim == partial:
                    read += generated[victim] - partial_left
                    partial, taken = -1, 0
                elif victim in keys:
                    end = keys.pop(victim) >> shift
                    generated[victim] = output[victim] - end + now
                    held -= prompt[victim] + generated[victim] - 1
                    batch -= 1
                    if counting:
                        count(victim, end, -1)
                    if fair:
                        fair.stopped(victim)
                else:
                    if leaves and completion_s[victim] < 0:
                        waiting[place] -= 1
                        line.drop(victim)
                    continue
                moved = True
                promised -= feet.pop(victim)
                running[place] -= 1
                if cache:
                    if not leaves:
                        cache.shrink(cache.resident - cache.pinned)  # which were not enough
                    cache.release(node[victim], path[victim])
                    if read // block < path[victim]:  # what lies deeper is of others
                        cache.forget(node[victim], read // block)
                    limit = blocks - cache.pinned
                if not leaves:
                    preemptions[victim] += 1
                    ready[victim] = 0
                    waiting[place] += 1
                    line.back(victim)
            # the prompt that is under way, then those that wait, share what decoding leaves
            left, room, chunk, k = budget - batch, places - batch, 0, 1
            if partial >= 0:
                room -= 1
                if partial_left > left:
                    chunk = left
                    k = 1 if hears else (partial_left - 1) // left
                    if decoding:
                        k = min(k, (decoding[0] >> shift) - now)
                    if promised > limit:
                        k = memory.lasting(k, limit - taken - memory.filled, batch, now)
                    begin = prompt[partial] + generated[partial] - partial_left
                    if tabled:
                        ticks += prompt_ticks[begin + k * chunk] - prompt_ticks[begin]
                    partial_left -= k * chunk
                else:
                    chunk = partial_left
                    total = prompt[partial] + generated[partial]
                    if tabled:
                        ticks += prompt_ticks[total] - prompt_ticks[total - chunk]
                    finished.append(partial)
                    partial = -1
            while room > 0 and chunk < left:
                i = line.head() if items is None else items[0] if items else -1
                if i < 0:
                    break
                total = prompt[i] + generated[i]
                spare = watermark_blocks if room < places else 0
                foot = footprint(i)
                pins = hit = 0
                if cache:
                    pins, hit = cache.look(node[i], path[i])
                if not counting and promised + foot + spare > blocks:
                    counting = True
                    taken = sum(-(-(prompt[j] + generated[j]) // block) for j in finished)
                    for j, key in keys.items():
                        count(j, key >> shift, 1)
                if counting:
                    needed = -(-total // block) - path[i]
                    used = taken + memory.filled
                    if used + needed + pins + spare > limit:
                        break
                    if cache and cache.resident + used > blocks:  # which decoding took
                        cache.shrink(cache.resident + used - blocks)
                        hit = cache.look(node[i], path[i])[1]
                    taken += needed
                if items is None:
                    line.pop()
                else:
                    items.popleft()
                if cache:
                    cache.hold(node[i], path[i])
                    cache.shrink(cache.resident + taken + memory.filled - blocks)
                    limit = blocks - cache.pinned
                    hit = min(hit, (total - 1) // block)
                    if lower:
                        hit, load = lower.find(node[i], path[i], hit, (total - 1) // block, i)
                        ticks += load
                    cached[i] = hit * block
                moved = True
                if admitted_s[i] < 0:
                    admitted_s[i], found[i] = clock, cached[i]
                admissions += 1
                if rank:
                    heappush(eldest, (-rank[i], -admissions, i))
                promised += foot
                feet[i] = foot
                room -= 1
                waiting[place] -= 1
                running[place] += 1
                if ready[i]:  # its cache came with it
                    keys[i] = (now + output[i] - generated[i]) << shift | i
                    heappush(decoding, keys[i])
                    batch += 1
                    left -= 1
                    held += total - 1
                    if counting:
                        taken -= needed
                        count(i, keys[i] >> shift, 1)
                    if fair:
                        fair.started(i)
                    continue
                todo = total - cached[i]
                if fair:
                    fair.read(i, todo)
                if todo <= left - chunk:
                    chunk += todo
                    finished.append(i)
                    end = total
                else:
                    partial, partial_left = i, todo - left + chunk
                    chunk = left
                    end = total - partial_left
                if tabled:
                    ticks += prompt_ticks[end] - prompt_ticks[total - todo]
            if moved:
                stored[place], moved = held, False
                if cache:
                    cache.shrink(cache.resident + taken + memory.filled - blocks)
            if not (chunk or batch):
                ledger.spend(place, steps, prefill, decode, context, clock - since)
                steps = prefill = decode = context = ticks = 0
                since = clock
                eldest.clear()
                decoding.clear()
                sent = yield math.inf
                since = clock = sent if sent is not None else clock
                while (yield clock) is not None:
                    pass  # others come at the same moment
                continue
            own = extra = changed = 0  # of each step, at their end, and in the first of them
            if tabled:
                changed = change_ticks if chunk + batch != tokens else 0
                ticks += changed
                tokens = chunk + batch
                own, extra = batch_ticks[batch], len(finished) * end_ticks
            alert = False  # whether a delivery ends the run
            if not chunk:  # decode until somebody ends, arrives or runs out of memory
                k = (decoding[0] >> shift) - now
                if promised > limit:
                    k = memory.lasting(k, limit - taken - memory.filled, batch, now)
                if fair and room > 0 and k > 1:  # another's turn may come, who fits
                    k = int(min(k, fair.steady_steps()))
                alert = k > 1 and ((room > 0 and (items is None or not items)) or hears)
            all_steps, all_prefill, all_decode = steps + k, prefill + k * chunk, decode + k * batch
            all_context = context + k * held + batch * k * (k + 1) // 2
            all_ticks = ticks + k * own + extra
            end_s = since + (
                step_s * all_steps
                + prefill_s * all_prefill
                + decode_s * all_decode
                + context_s * all_context
                + TICK_S * all_ticks
            )
            sent = yield end_s
            while sent is not None:
                if alert:
                    work = (steps, prefill, decode, context, ticks)
                    sooner = engine.steps_until(
                        sent, k, clock, since, work, batch, held, own, changed
                    )
                    if sooner < k:
                        k = sooner
                        all_steps, all_decode = steps + k, decode + k * batch
                        all_context = context + k * held + batch * k * (k + 1) // 2
                        all_ticks = ticks + k * own
                        end_s = since + (
                            step_s * all_steps
                            + prefill_s * prefill
                            + decode_s * all_decode
                            + context_s * all_context
                            + TICK_S * all_ticks
                        )
                sent = yield end_s
            # k steps at once
            if counting:
                memory.passed(k, batch, now)
            now += k
            steps, prefill, decode = all_steps, all_prefill, all_decode
            context, ticks = all_context, all_ticks
            held += k * batch
            clock = end_s
            if fair:
                fair.emitted(k)
            bound = (now + 1) << shift
            if cache and (told or finished or (decoding and decoding[0] < bound)):
                cache.shrink(cache.resident + taken + memory.before(now) - blocks)
            while decoding and decoding[0] < bound:
                key = heappop(decoding)
                i = key & mask
                if keys.get(i) != key:
                    continue
                del keys[i]
                completion_s[i] = clock
                ended.append(i)
                running[place] -= 1
                batch -= 1
                held -= prompt[i] + output[i] - 1
                promised -= feet.pop(i)
                moved = True
                if fair:
                    fair.stopped(i)
                if counting:
                    count(i, now, -1)
                if cache:
                    cache.release(node[i], path[i], answer_node[i], answer_blocks[i])
                    if lower:
                        lower.write(node[i], path[i], answer_node[i], answer_blocks[i])
                    limit = blocks - cache.pinned
            for i in finished:
                moved = True
                if first_s[i] < 0:
                    first_s[i] = clock
                remaining = 0 if one_token else output[i] - generated[i] - 1
                if counting:
                    taken -= -(-(prompt[i] + generated[i]) // block) - path[i]
                if remaining:
                    keys[i] = (now + remaining) << shift | i
                    heappush(decoding, keys[i])
                    batch += 1
                    held += prompt[i] + generated[i]
                    if fair:
                        fair.started(i)
                    if counting:
                        count(i, now + remaining, 1)
                else:
                    completion_s[i] = clock
                    ended.append(i)
                    running[place] -= 1
                    promised -= feet.pop(i)
                    if cache:
                        answer = -1 if one_token else answer_node[i]
                        cache.release(node[i], path[i], answer, answer_blocks[i])
                        if lower:
                            lower.write(node[i], path[i], answer, answer_blocks[i])
                        limit = blocks - cache.pinned
    finally:  # where it ends, or is ended
        ledger.spend(place, steps, prefill, decode, context, clock - since)
