"""Continuous batching, from event to event: the same engine, without walking every step.

Between two events (an arrival that can be admitted, the end of a prompt or of a request, a
preemption) the batch is fixed. With b decoding sequences that hold c tokens together, k steps read
k·c + b·k(k+1)/2 tokens of context, so their time is a closed form in k, and the k at which an
arrival is noticed is the root of a quadratic. Requests finish in the order of a heap whose keys
are step numbers, because every decoding sequence emits one token in every step.

Blocks are counted without looking at the sequences (`decode_blocks`). Whom a preemption hits lies
on top of a stack in order of admission, from which those that have ended are dropped when they are
met.

Assumes: what the step-by-step simulator assumes; it computes the same times from the same whole
numbers, to the last bit.

Source: the rules of `continuous_batching`; Yu et al. (2022), Kwon et al. (2023), Agrawal et al.
(2024).
"""

# In one piece: half is one loop, which must do to the last bit what `continuous_batching` does; the
# rest holds it to that.

from __future__ import annotations

import heapq
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    TICK_S,
    Engine,
    Served,
    Workload,
    chat_workload,
    gap_quantile,
    simulate_steps,
)
from serving_mathematics.core.batching.decode_blocks import DecodeBlocks
from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_non_negative_integer,
)


# In one piece: one loop, whose numbers are all of its state: as locals they are read fastest.
def simulate(
    workload: Workload,
    engine: Engine,
    watermark_blocks: int = 0,
    gaps: list[tuple[float, int]] | None = None,
) -> Served:
    """Serve a workload, one event after the other.

    workload: what is asked. engine: what serves it. watermark_blocks: blocks that an admission must
    leave free while others are running. gaps: a list to fill, of each step with a part of a prompt,
    and of all between two changes of the batch without, with the mean time of one [s] and the
    tokens that waited for it. Raises ValueError when one request alone outgrows the memory, and on
    a watermark that is no count.

    >>> asked = Workload([0, 0, 2], [4, 4, 4], [3, 3, 1])
    >>> simulate(asked, Engine(step_s=2.0, token_budget=8, max_sequences=8)).completion_s.tolist()
    [6.0, 6.0, 4.0]
    """
    watermark_blocks = require_non_negative_integer(watermark_blocks=watermark_blocks)
    kept = workload.prompt_tokens + workload.output_tokens - 1  # the last token is never stored
    block, blocks, most = engine.block_tokens, engine.kv_blocks, int(kept.max())
    require(most <= blocks * block, "kv_blocks", f"enough for a request of {most} tokens", blocks)
    size = kept.size
    arrival = [*workload.arrival_s.tolist(), math.inf]
    prompt: list[int] = workload.prompt_tokens.tolist()
    output: list[int] = workload.output_tokens.tolist()
    cached: list[int] = workload.cached_tokens.tolist()
    batch_ticks, prompt_ticks, end_ticks, change_ticks = engine.tables(workload)
    stored: list[int] = kept.tolist()  # at the end of a request, as its footprint
    footprint: list[int] = (-(-kept // block)).tolist()
    admitted_s, first_s, completion_s = [math.nan] * size, [math.nan] * size, [math.nan] * size
    preemptions, generated = [0] * size, [0] * size
    step_s, prefill_s = engine.step_s, engine.prefill_token_s
    decode_s, context_s = engine.decode_token_s, engine.context_token_s
    budget, places = engine.token_budget, engine.max_sequences
    slopes = [  # of a step's time by sequences, without their context [s]
        step_s + (decode_s + 0.5 * context_s) * each + TICK_S * own
        for each, own in enumerate(batch_ticks[: places + 1])
    ]
    shift = size.bit_length()
    mask = (1 << shift) - 1
    heappush, heappop = heapq.heappush, heapq.heappop
    decoding: list[int] = []  # a heap of keys: step of the last token << shift | request
    keys = [0] * size  # in that heap, of those that decode; what was preempted leaves its key there
    youngest: list[int] = []  # in order of admission; those that are done lie there until met
    memory = DecodeBlocks(block)
    taken = 0  # blocks of prompts that are under way or end in this step
    counting = False  # whether these are kept: from when memory is first in question
    preempted: list[int] = []  # the head of the queue, its first one last
    fresh = 0  # next request that was never admitted
    partial, partial_left = -1, 0  # the request that is prefilled in part
    batch = held = promised = 0  # decoding sequences, their tokens, final blocks of all admitted
    now = steps = prefill = decode = context = 0  # now: steps so far; the others: since last idle
    ticks = tokens = 0  # of the table, since last idle; in the step before
    spent: list[tuple[int, int, int, int]] = []  # the same of busy periods that are over
    busy_s = 0.0
    since = clock = arrival[0]

    while fresh < size or batch or partial >= 0 or preempted:
        ended: list[int] = []  # prompts that end in this step
        while promised > blocks and taken + memory.filled > blocks:  # the youngest gives all back
            victim = youngest.pop()
            if victim == partial:
                partial, taken = -1, 0
            elif keys[victim]:
                end = keys[victim] >> shift
                keys[victim] = 0
                generated[victim] = output[victim] - end + now
                held -= prompt[victim] + generated[victim] - 1
                batch -= 1
                memory.count(stored[victim], end, now, -1)
            else:
                continue
            promised -= footprint[victim]
            preemptions[victim] += 1
            preempted.append(victim)
        # the prompt that is under way, then those that wait, share what decoding leaves
        left, room, chunk, k = budget - batch, places - batch, 0, 1
        if partial >= 0:
            room -= 1
            if partial_left > left:
                chunk = left
                k = (partial_left - 1) // left if gaps is None else 1  # a step of its own
                if decoding:
                    k = min(k, (decoding[0] >> shift) - now)
                if promised > blocks:
                    k = memory.lasting(k, blocks - taken - memory.filled, batch, now)
                begin = prompt[partial] + generated[partial] - partial_left
                ticks += prompt_ticks[begin + k * chunk] - prompt_ticks[begin]
                partial_left -= k * chunk
            else:
                chunk = partial_left
                total = prompt[partial] + generated[partial]
                ticks += prompt_ticks[total] - prompt_ticks[total - chunk]
                ended.append(partial)
                partial = -1
        while room > 0 and chunk < left:
            if preempted:
                i = preempted[-1]
            elif arrival[fresh] <= clock:
                i = fresh
            else:
                break
            total = prompt[i] + generated[i]
            todo = total - cached[i]
            spare = watermark_blocks if room < places else 0
            if not counting and promised + footprint[i] + spare > blocks:
                counting = True
                taken = sum(-(-(prompt[j] + generated[j]) // block) for j in ended)
                for key in decoding:
                    memory.count(stored[key & mask], key >> shift, now, 1)
            if counting:
                needed = -(-total // block)
                if taken + memory.filled + needed + spare > blocks:
                    break
                taken += needed
            if preempted:
                preempted.pop()
            else:
                fresh += 1
            if not preemptions[i]:
                admitted_s[i] = clock
            youngest.append(i)
            promised += footprint[i]
            room -= 1
            if todo <= left - chunk:
                chunk += todo
                ticks += prompt_ticks[total] - prompt_ticks[total - todo]
                ended.append(i)
            else:
                partial, partial_left = i, todo - left + chunk
                ticks += prompt_ticks[total - partial_left] - prompt_ticks[total - todo]
                chunk = left
        if not (chunk or batch):
            spent.append((steps, prefill, decode, context))
            steps = prefill = decode = context = ticks = 0
            busy_s += clock - since
            since = clock = arrival[fresh]
            continue
        changed = change_ticks if chunk + batch != tokens else 0  # in the first of k steps
        ticks += changed
        tokens = chunk + batch
        # no prompt in this step: decode until somebody ends, arrives or runs out of memory
        if not chunk:
            k = (decoding[0] >> shift) - now
            if promised > blocks:
                k = memory.lasting(k, blocks - taken - memory.filled, batch, now)
            if arrival[fresh] > clock and room > 0 and not preempted:
                # the root of `steps_until`, which is asked where rounding could decide
                rest_s = max(arrival[fresh] - clock - TICK_S * changed, 0.0)
                slope = slopes[batch] + context_s * held
                bend = context_s * batch
                if rest_s < 1.001 * k * (slope + 0.5 * bend * k):
                    root = 2 * rest_s / (slope + math.sqrt(slope * slope + 2 * bend * rest_s))
                    if 0 < root < k and 1e-3 < root % 1 < 0.999:
                        k = int(root) + 1
                    else:
                        work = (steps, prefill, decode, context, ticks)
                        own = batch_ticks[batch]
                        k = engine.steps_until(
                            arrival[fresh], k, clock, since, work, batch, held, own, changed
                        )
        # k steps at once
        if counting:
            memory.passed(k, batch, now)
        emitted = k * batch
        now += k
        steps += k
        prefill += k * chunk
        decode += emitted
        context += k * held + emitted * (k + 1) // 2
        held += emitted
        ticks += k * batch_ticks[batch] + len(ended) * end_ticks
        before = clock
        clock = since + (
            step_s * steps
            + prefill_s * prefill
            + decode_s * decode
            + context_s * context
            + TICK_S * ticks
        )
        if gaps is not None:
            gaps.append(((clock - before) / k, emitted))
        limit = (now + 1) << shift
        while decoding and decoding[0] < limit:
            key = heappop(decoding)
            i = key & mask
            if keys[i] != key:
                continue
            completion_s[i] = clock
            keys[i] = 0
            batch -= 1
            held -= stored[i]
            promised -= footprint[i]
            if counting:
                memory.count(stored[i], now, now, -1)
        for i in ended:
            if not generated[i]:
                first_s[i] = clock
            remaining = output[i] - generated[i] - 1
            if remaining:
                keys[i] = (now + remaining) << shift | i
                heappush(decoding, keys[i])
                batch += 1
                held += prompt[i] + generated[i]
            else:
                completion_s[i] = clock
                promised -= footprint[i]
            if counting:
                taken += -(prompt[i] + generated[i]) // block
                if remaining:
                    memory.count(stored[i], now + remaining, now, 1)
    spent.append((steps, prefill, decode, context))
    steps, prefill, decode, context = map(sum, zip(*spent, strict=True))
    return Served(
        np.array(admitted_s),
        np.array(first_s),
        np.array(completion_s),
        np.array(preemptions),
        steps,
        prefill,
        decode,
        context,
        busy_s + (clock - since),
    )


def saturated_rate(
    prompt_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    engine: Engine,
    cached_tokens: npt.ArrayLike = 0,
) -> float:
    """Requests a second of an engine whose places are always taken.

    prompt_tokens, output_tokens: a sample of requests, from 1, shape (n,). engine: its costs and
    places; memory must last and prompts fit into what the budget leaves. cached_tokens: of each
    prompt, that cost nothing. With b places a request has the share 1/b of its N steps, and alone
    the time for its tokens: β·N/b + α_p·P + α·(N − 1) + context, and what the table adds to each.
    Steps that change are those after which, or after whose predecessor, a request ends; their share
    is that of geometric outputs. Raises ValueError on other shapes or numbers.

    >>> saturated_rate([100], [50], Engine(step_s=0.01, decode_token_s=0.0, max_sequences=5))
    10.0
    """
    prompts = as_floats(prompt_tokens=prompt_tokens)
    outputs = as_floats(output_tokens=output_tokens)
    for name, tokens in (("prompt_tokens", prompts), ("output_tokens", outputs)):
        require(tokens.ndim == 1 and tokens.size > 0, name, "of shape (n,), n ≥ 1", tokens.shape)
        require((tokens >= 1) & (tokens < 2**31), name, "positive and below 2³¹", tokens)
    require(outputs.shape == prompts.shape, "output_tokens", f"of shape {prompts.shape}", outputs)
    later = outputs - 1
    read = later * prompts + later * outputs / 2
    cached = np.broadcast_to(as_floats(cached_tokens=cached_tokens), prompts.shape)
    fewer = (cached >= 0) & (cached < prompts)
    require(fewer, "cached_tokens", "from 0 to below prompt_tokens", cached)
    own_s = (
        engine.prefill_token_s * (prompts - cached)
        + engine.decode_token_s * later
        + engine.context_token_s * read
    )
    steps_s = engine.step_s * outputs
    if engine.table:
        asked = Workload(np.zeros(prompts.size), prompts, outputs, cached)
        batch = engine.table.batch[min(engine.max_sequences, len(engine.table.batch) - 1)]
        changing = 1 - (1 - 1 / outputs.mean()) ** (2 * engine.max_sequences)
        changes = engine.table.change * changing
        own_s = own_s + TICK_S * engine.prompt_ticks(asked)
        steps_s = steps_s + TICK_S * (batch * later + changes * outputs)
    return float(1 / (steps_s / engine.max_sequences + own_s).mean())


def _random_case(rng: np.random.Generator) -> tuple[Workload, Engine]:
    """A small workload with ties, and an engine whose memory, budget or places may be scarce."""
    size, block, places = (
        int(rng.integers(1, 30)),
        int(rng.choice([1, 2, 16])),
        int(rng.integers(1, 9)),
    )
    times = np.sort(rng.integers(0, 40, size) * rng.choice([0.5, 0.013]))
    prompts, outputs = rng.integers(1, 60, size), rng.integers(1, 40, size)
    least = int((-(-(prompts + outputs - 1) // block)).max())
    engine = Engine(
        step_s=float(rng.choice([0.5, 0.01])),
        prefill_token_s=float(rng.choice([0, 0.5])),
        decode_token_s=float(rng.choice([0, 0.25])),
        context_token_s=float(rng.choice([0, 0.001])),
        kv_blocks=least + int(rng.choice([0, 5, 1000])),
        block_tokens=block,
        token_budget=places + int(rng.choice([0, 5, 50])),
        max_sequences=places,
    )
    return Workload(times, prompts, outputs), engine


def check_both_simulators_agree() -> None:
    """Skipping from event to event gives the times, preemptions and totals of walking every step,
    with blocks left free and without.

    Source: `simulate_steps` on 105 random workloads and engines, with arrivals on step ends.
    """
    rng = np.random.default_rng(20)
    worst, different, preempted = 0.0, 0, 0
    for case in range(105):
        asked, engine = _random_case(rng)
        slow, fast = simulate_steps(asked, engine, case % 3), simulate(asked, engine, case % 3)
        for name in ("admitted_s", "first_token_s", "completion_s", "busy_s"):
            worst = max(worst, float(np.abs(getattr(slow, name) - getattr(fast, name)).max()))
        for name in ("preemptions", "steps", "prefill_tokens", "decode_tokens", "context_tokens"):
            different += not np.array_equal(getattr(slow, name), getattr(fast, name))
        preempted += int((slow.preemptions > 0).sum())
    checks.close("largest difference in time [s]", worst, 0.0, atol=1e-9)
    checks.equal("totals that differ", different, 0)
    checks.inside("requests preempted", preempted, 100, 10_000)


def check_gaps_add_up() -> None:
    """The gaps of all tokens together are the times from the first to the last token of every
    request, and there are as many as tokens after the first.

    Source: sums over a thousand requests on 16 places; the median, from every gap by itself.
    """
    gaps: list[tuple[float, int]] = []
    asked = chat_workload(np.random.default_rng(9), 9.0, 1_000)
    served = simulate(asked, replace(EIGHT_BILLION, max_sequences=16), gaps=gaps)
    gap_s, tokens = (np.array(column) for column in zip(*gaps, strict=True))
    total = float((served.completion_s - served.first_token_s).sum())
    checks.close("sum of the gaps [s]", gap_s @ tokens, total, rtol=1e-9)
    checks.equal("gaps", int(tokens.sum()), int((asked.output_tokens - 1).sum()))
    each = np.quantile(np.repeat(gap_s, tokens), 0.5, method="inverted_cdf")
    checks.close("median [s]", gap_quantile(gap_s, tokens, 0.5), each, rtol=1e-12)


def check_batch_of_one_is_mg1() -> None:
    """With one sequence at a time the mean wait is that of M/G/1.

    Source: Pollaczek–Khinchine, λE[S²]/(2(1 − ρ)), with the moments of the service times; 20,000
    requests, standard error from batch means, and each wait against `fifo_waits`.
    """
    engine = replace(EIGHT_BILLION, max_sequences=1, token_budget=10**6, context_token_s=0.0)
    asked = chat_workload(np.random.default_rng(16), 0.5, 20_000)
    outputs = asked.output_tokens
    service_s = engine.step_s * outputs + engine.prefill_token_s * asked.prompt_tokens
    service_s += engine.decode_token_s * (outputs - 1)
    waits = simulate(asked, engine).admitted_s - asked.arrival_s
    exact = fifo_waits(asked.arrival_s, service_s)
    checks.close("largest difference [s]", np.abs(waits - exact).max(), 0.0, atol=1e-9)
    per_output, per_prompt = engine.step_s + engine.decode_token_s, engine.prefill_token_s
    mean = per_output * 120 - engine.decode_token_s + per_prompt * 250
    variance = per_output**2 * 120 * 119 + per_prompt**2 * 250 * 249  # of geometric lengths
    expected = 0.5 * (variance + mean**2) / (2 * (1 - 0.5 * mean))
    checks.covers("mean wait [s]", batch_means(waits), expected)


def check_saturated_rate() -> None:
    """When places never empty, requests leave at the rate of the closed form.

    Source: gaps between completions of a burst of 4,000 requests, the first and last tenth left
    out, standard error from batch means.
    """
    asked = chat_workload(np.random.default_rng(16), math.inf, 4000)
    lengths = asked.prompt_tokens, asked.output_tokens
    for places in (4, 16, 64):
        engine = replace(EIGHT_BILLION, max_sequences=places)
        ends = np.sort(simulate(asked, engine).completion_s)
        gaps = np.diff(ends)[400:3600]
        label = f"{places} places: gap between completions [s]"
        checks.covers(label, batch_means(gaps), 1 / saturated_rate(*lengths, engine))
