"""An engine with any order of admission: an order decides who gets a place, and nothing else.

Whenever a place is free, blocks hold the whole request, and the token budget leaves room for a
prompt, the waiting request with the smallest key is let in; in order of arrival that is the one
that came first. With tenants the one goes first that has been served least. Short requests run
beside long ones already, so that the order matters only while requests wait.

Assumes: a request that was admitted stays until its end, because its blocks are reserved.

Source: the rules of `continuous_batching`; Sheng et al. (2024) for counting what tenants got;
TensorRT-LLM's `GUARANTEED_NO_EVICT` for reserving whole answers.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    StepTable,
    Workload,
    chat_workload,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require, require_all_finite, require_in

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ordered:
    """When each request was let in, got its first token and ended [s], shape (n,); and the gaps
    between tokens [s] in order of time, with the number of sequences that waited through each, both
    of shape (changes of the batch,).
    """

    admitted_s: FloatArray
    first_token_s: FloatArray
    completion_s: FloatArray
    gap_s: FloatArray
    gap_tokens: FloatArray


def gap_quantile(gap_s: npt.ArrayLike, gap_tokens: npt.ArrayLike, probability: float) -> float:
    """The gap [s] that a share of the tokens does not exceed.

    gap_s: [s], shape (m,). gap_tokens: tokens that waited for so long, non-negative, not all 0,
    shape (m,). probability: in (0, 1]. Raises ValueError on anything else.

    >>> gap_quantile([0.01, 0.2, 0.02], [90, 1, 9], probability=0.98)
    0.02
    """
    gaps, tokens = as_floats(gap_s=gap_s), as_floats(gap_tokens=gap_tokens)
    shaped = gaps.ndim == 1 and gaps.shape == tokens.shape
    require(shaped, "gap_tokens", f"of the shape of gap_s, {gaps.shape}", tokens.shape)
    fine = bool(np.all((tokens >= 0) & np.isfinite(tokens))) and tokens.sum() > 0
    require(fine, "gap_tokens", "non-negative and not all 0", tokens)
    require_all_finite(gap_s=gaps)
    probability = require_in("(0, 1]", probability=probability)
    order = np.argsort(gaps)
    below = np.cumsum(tokens[order])
    return float(gaps[order][np.searchsorted(below, probability * below[-1])])


def serve_in_order(
    workload: Workload, engine: Engine, key: npt.ArrayLike, tenant: npt.ArrayLike | None = None
) -> Ordered:
    """Serve a workload, of those that wait the smallest key next.

    workload: what is asked. engine: what serves it; an admission reserves blocks for the whole
    answer. key: finite numbers, shape (n,); of equals the earlier goes first. tenant: whose request
    it is, integers from 0, shape (n,); of the tenants that wait, the one goes first that has had
    the fewest tokens, those of answers counted twice, and a tenant that comes back starts level
    with the others. Steps between two changes of the batch count as gaps of their mean. Raises
    ValueError on other keys or tenants, and when one request alone outgrows the memory.

    >>> asked = Workload([0.0, 0.0, 0.0], [1, 1, 1], [3, 2, 1])
    >>> one_place = Engine(step_s=1.0, token_budget=8, max_sequences=1)
    >>> serve_in_order(asked, one_place, key=[3, 2, 1]).completion_s.tolist()
    [6.0, 3.0, 1.0]
    """
    keys = as_floats(key=key)
    size = workload.arrival_s.size
    fine = keys.shape == (size,) and bool(np.all(np.isfinite(keys)))
    require(fine, "key", f"finite, of shape ({size},)", keys)
    owners = np.zeros(size) if tenant is None else as_floats(tenant=tenant)
    whole = owners.shape == (size,) and bool(np.all((owners >= 0) & (owners % 1 == 0)))
    require(whole, "tenant", f"integers from 0, of shape ({size},)", owners)
    owner: list[int] = owners.astype(int).tolist()
    kept = workload.prompt_tokens + workload.output_tokens - 1
    blocks: list[int] = (-(-kept // engine.block_tokens)).tolist()
    require(
        max(blocks) <= engine.kv_blocks, "kv_blocks", f"at least {max(blocks)}", engine.kv_blocks
    )
    arrival = [*workload.arrival_s.tolist(), math.inf]
    order = np.argsort(keys, kind="stable")
    rank: list[int] = np.argsort(order).tolist()
    ranked: list[int] = order.tolist()
    prompt: list[int] = workload.prompt_tokens.tolist()
    cached: list[int] = workload.cached_tokens.tolist()
    output: list[int] = workload.output_tokens.tolist()
    batch_ticks, prompt_ticks, end_ticks, change = engine.tables(workload)
    require(change == 0, "engine", "one whose steps do not depend on the step before", change)
    starts, firsts, ends, gaps, gap_tokens = [0.0] * size, [0.0] * size, [0.0] * size, [], []
    budget, places, free = engine.token_budget, engine.max_sequences, engine.kv_blocks
    queues: dict[int, list[int]] = {}  # of each tenant that waits, a heap of ranks
    served, streams = dict.fromkeys(owner, 0), dict.fromkeys(owner, 0)
    decoding: list[tuple[int, int]] = []  # a heap of steps of the last token, with the request
    partial, at = -1, 0  # the request whose prompt is under way, and how far
    fresh = step = held = 0  # held: tokens in the memory of all that decode
    clock = arrival[0]
    while fresh < size or queues or decoding or partial >= 0:
        while arrival[fresh] <= clock:
            mine = owner[fresh]
            if mine not in queues:  # nobody saves up while away
                level = min((served[other] for other in queues), default=served[mine])
                served[mine] = max(served[mine], level)
            heapq.heappush(queues.setdefault(mine, []), rank[fresh])
            fresh += 1
        batch, chunk, ticks = len(decoding), 0, 0
        begun: list[int] = []  # prompts that end in this step
        left = budget - batch
        while left > chunk:  # prompts share what decoding leaves
            if partial < 0:
                if not queues or batch + len(begun) >= places:
                    break
                mine = min(queues, key=lambda one: (served[one], queues[one][0]))
                partial = ranked[queues[mine][0]]
                if blocks[partial] > free:
                    partial = -1
                    break
                heapq.heappop(queues[mine])
                if not queues[mine]:
                    del queues[mine]
                free -= blocks[partial]
                served[mine] += prompt[partial] - cached[partial]
                at, starts[partial] = cached[partial], clock
            taken = min(prompt[partial] - at, left - chunk)
            ticks += prompt_ticks[at + taken] - prompt_ticks[at]
            chunk, at = chunk + taken, at + taken
            if at == prompt[partial]:
                ticks += end_ticks
                begun.append(partial)
                partial = -1
        steps, own = 1, batch_ticks[batch]
        if not chunk:  # decode until somebody ends or may come
            if not decoding:
                clock = arrival[fresh]
                continue
            steps = decoding[0][0] - step
            if batch < places:
                nothing = (0, 0, 0, 0, 0)
                moment = arrival[fresh]
                steps = engine.steps_until(moment, steps, clock, clock, nothing, batch, held, own)
        read = steps * held + batch * steps * (steps + 1) // 2
        elapsed_s = engine.elapsed_s(steps, chunk, batch * steps, read, steps * own + ticks)
        clock += elapsed_s
        gaps.append(elapsed_s / steps)
        gap_tokens.append(batch * steps)
        step, held = step + steps, held + batch * steps
        if tenant is not None:
            for mine, running in streams.items():
                served[mine] += 2 * steps * running
        while decoding and decoding[0][0] == step:
            i = heapq.heappop(decoding)[1]
            ends[i] = clock
            held -= prompt[i] + output[i] - 1
            free += blocks[i]
            streams[owner[i]] -= 1
        for i in begun:
            firsts[i] = clock
            if output[i] > 1:
                heapq.heappush(decoding, (step + output[i] - 1, i))
                held += prompt[i]
                streams[owner[i]] += 1
            else:
                ends[i] = clock
                free += blocks[i]
    columns = (starts, firsts, ends, gaps, gap_tokens)
    return Ordered(*(np.array(column, dtype=float) for column in columns))


def check_order_of_arrival_is_the_engine() -> None:
    """With the time of arrival as the key every request ends when the engine of the batching
    chapter ends it, and so it does where all are of one tenant; with a table of steps too.

    Source: `simulate`, which walks from event to event with memory and preemption.
    """
    table = StepTable(np.linspace(0.0, 0.01, 65), np.linspace(0.0, 0.4, 6000) ** 2, 0.001)
    for places, rate, steps in ((4, 2.0, None), (16, 9.0, table), (64, 30.0, None)):
        engine = replace(EIGHT_BILLION, max_sequences=places, table=steps)
        asked = chat_workload(np.random.default_rng(places), rate, 1_000)
        ends = serve_in_order(asked, engine, asked.arrival_s).completion_s
        gap = float(np.abs(ends - simulate(asked, engine).completion_s).max())
        checks.close(f"{places} places: largest difference [s]", gap, 0.0, atol=1e-8)
        alone = serve_in_order(asked, engine, asked.arrival_s, np.full(1_000, 7)).completion_s
        checks.close(f"{places} places, one tenant [s]", np.abs(alone - ends).max(), 0, atol=1e-8)


def check_gaps_add_up() -> None:
    """The gaps of all tokens together are the times from the first to the last token of every
    request, and there are as many as tokens after the first.

    Source: first and last tokens from `simulate`, with 16 places.
    """
    engine = replace(EIGHT_BILLION, max_sequences=16)
    asked = chat_workload(np.random.default_rng(9), 9.0, 1_000)
    run, served = serve_in_order(asked, engine, asked.arrival_s), simulate(asked, engine)
    total = float((served.completion_s - served.first_token_s).sum())
    checks.close("sum of the gaps [s]", run.gap_s @ run.gap_tokens, total, rtol=1e-9)
    later = int((asked.output_tokens - 1).sum())
    checks.close("gaps", run.gap_tokens.sum(), later, rtol=1e-12)
    median = gap_quantile(run.gap_s, run.gap_tokens, 0.5)
    each = np.repeat(run.gap_s, run.gap_tokens.astype(int))
    checks.close("median [s]", median, np.quantile(each, 0.5, method="inverted_cdf"), rtol=1e-12)


def check_tenants_take_turns() -> None:
    """Of two tenants the one that has had less goes first, and one that was away does not catch up.

    Source: by hand, on one place, with requests of one prompt token and three of answers: each
    costs 1 + 2·2. A asks for four at once, B for one at once and for two after five seconds.
    """
    asked = Workload([0, 0, 0, 0, 0.5, 5, 5], np.ones(7), np.full(7, 3))
    engine = Engine(1.0, token_budget=8, max_sequences=1)
    whose = [0, 0, 0, 0, 1, 1, 1]
    served = serve_in_order(asked, engine, np.arange(7), whose)
    first = np.argsort(served.completion_s).tolist()
    checks.equal("order of ends", first, [0, 4, 1, 5, 2, 6, 3])
    plain = serve_in_order(asked, engine, np.arange(7))
    in_order = np.argsort(plain.completion_s).tolist()
    checks.equal("without tenants", in_order, list(range(7)))


def check_bad_input_is_refused() -> None:
    """Keys that are missing or NaN and memory that could run out are errors."""
    asked = Workload([0.0, 0.0], [4, 4], [2, 2])
    tight = Engine(1.0, kv_blocks=1, token_budget=8, max_sequences=2)
    checks.raises("one key", serve_in_order, asked, tight, [1.0], match="key must be finite, of")
    checks.raises("NaN", serve_in_order, asked, tight, [1.0, math.nan], match="key must be fin")
    checks.raises("shapes", gap_quantile, [1.0], [1.0, 2.0], 0.5, match="gap_tokens must be of the")
    checks.raises(
        "nobody", gap_quantile, [1.0], [0.0], 0.5, match="gap_tokens must be non-negative"
    )
    checks.raises("q = 0", gap_quantile, [1.0], [1.0], 0.0, match="probability must be in (0, 1]")
    large = Workload([0.0], [40], [2])
    checks.raises("memory", serve_in_order, large, tight, [1], match="kv_blocks must be at")
    told = "tenant must be integers from 0"
    checks.raises("tenant", serve_in_order, asked, tight, [1, 2], [0, 0.5], match=told)
