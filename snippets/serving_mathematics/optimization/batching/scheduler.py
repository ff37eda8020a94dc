"""A scheduler of an engine in forty lines: what every step takes in, and what happens when memory
runs out.

Each step is planned anew. Whoever is in goes on: one token each. What that leaves of the token
budget goes to prompts, in order of arrival, in chunks if need be. A request is let in when free
blocks hold its whole prompt. When a sequence needs a block and none is free, the youngest gives up
its blocks and its work, and stands first in the queue.

Assumes: what `Engine` assumes of the time of a step; first come first served; a prefix that a cache
has found is found again after a preemption.

Source: Yu et al. (2022) for scheduling by steps; Agrawal et al. (2024) for chunks beside decodes;
Kwon et al. (2023) for blocks; vLLM's `schedule` for who gives way.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine, Workload, simulate_steps
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.traffic import draw_arrivals, draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_non_negative_integer,
    require_positive,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Stepped:
    """When requests got their first and last token [s], shape (n,); and of every step how long it
    took [s] and how many sequences waited through it for their next token, shape (steps,)."""

    first_token_s: FloatArray
    completion_s: FloatArray
    step_s: FloatArray
    decoding: IntArray
    preemptions: int


@dataclass(eq=False)
class _Sequence:
    index: int
    known: int  # tokens of the prompt, and those that came out
    read: int  # of these, how many the cache holds
    cached: int  # of these, how many a prefix cache had
    last: int  # known tokens at the end
    blocks: int = 0
    decodes: bool = False


def serve_steps(asked: Workload, engine: Engine, spare_blocks: int = 0) -> Stepped:
    """Serve requests step by step, first come first served.

    asked: arrivals and lengths. engine: what a step costs, and its limits. spare_blocks: that an
    admission leaves free while others run. Raises ValueError where one request outgrows the memory.

    >>> asked = Workload([0, 0, 2], [4, 4, 4], [3, 3, 1])
    >>> served = serve_steps(asked, Engine(step_s=2.0, token_budget=8, max_sequences=8))
    >>> served.completion_s.tolist(), served.decoding.tolist()
    ([6.0, 6.0, 4.0], [0, 2, 2])
    """
    spare_blocks = require_non_negative_integer(spare_blocks=spare_blocks)
    block, prompt = engine.block_tokens, asked.prompt_tokens
    most = int((prompt + asked.output_tokens).max()) - 1
    rule = f"enough for a request of {most} tokens"
    require(most <= engine.kv_blocks * block, "kv_blocks", rule, engine.kv_blocks)
    require_work(asked.output_tokens.sum() / 4, asked=asked.arrival_s.size)
    batch_ticks, prompt_ticks, end_ticks, _ = engine.tables(asked)
    columns = (prompt, asked.cached_tokens, asked.output_tokens)
    rows = enumerate(zip(*(column.tolist() for column in columns), strict=True))
    coming = deque(_Sequence(i, p, cached, cached, p + n) for i, (p, cached, n) in rows)
    arrival = asked.arrival_s.tolist()
    first_s, last_s = np.zeros(len(arrival)), np.zeros(len(arrival))
    waiting, running, steps = deque[_Sequence](), list[_Sequence](), list[tuple[float, int]]()
    clock, free, preemptions = arrival[0], engine.kv_blocks, 0
    while coming or waiting or running:
        if not waiting and not running:
            clock = max(clock, arrival[coming[0].index])
        while coming and arrival[coming[0].index] <= clock:
            waiting.append(coming.popleft())
        left, work = engine.token_budget, list[tuple[_Sequence, int]]()
        while len(work) < len(running):  # who is in goes on
            one = running[len(work)]
            need = -(-one.known // block) - one.blocks
            if need > free:  # the youngest gives way, perhaps itself
                gone = running.pop()
                free += gone.blocks
                gone.blocks, gone.read, gone.decodes = 0, gone.cached, False
                waiting.appendleft(gone)
                preemptions += 1
                continue
            one.blocks, free = one.blocks + need, free - need
            tokens = min(one.known - one.read, left)
            left -= tokens
            work.append((one, tokens))
        while waiting and left and len(running) < engine.max_sequences:  # who waits is let in
            need = -(-waiting[0].known // block)
            if need > free - (spare_blocks if running else 0):
                break
            one = waiting.popleft()
            running.append(one)
            one.blocks, free = need, free - need
            tokens = min(one.known - one.read, left)
            left -= tokens
            work.append((one, tokens))
        decoding = [one for one, _ in work if one.decodes]
        ticks, chunks = batch_ticks[len(decoding)], 0
        for one, tokens in work:
            one.read += tokens
            if not one.decodes:
                chunks += tokens
                ticks += prompt_ticks[one.read] - prompt_ticks[one.read - tokens]
                ticks += end_ticks * (one.read == one.known)
        context = sum([one.known for one in decoding])
        took_s = engine.elapsed_s(1, chunks, len(decoding), context, ticks)
        clock += took_s
        steps.append((took_s, len(decoding)))
        for one, _ in work:
            if one.read == one.known:  # its next token comes out
                if one.known == prompt[one.index]:
                    first_s[one.index] = clock
                one.known, one.decodes = one.known + 1, True
                if one.known == one.last:
                    last_s[one.index] = clock
                    running.remove(one)
                    free += one.blocks
    took, decoded = (np.array(column) for column in zip(*steps, strict=True))
    return Stepped(first_s, last_s, took, decoded.astype(np.int64), preemptions)


def ask_machine(machine: Machine, load: float, requests: int, seed: int = 1) -> Workload:
    """Requests like those of a machine's trace, Poisson at a share of what it carries at most.

    load: above 0. requests: how many. seed: of the draws, an integer ≥ 0. Raises ValueError
    outside these ranges.

    >>> from serving_mathematics.core.machines.machines import CHAT
    >>> ask_machine(CHAT, 0.5, 3).prompt_tokens.size
    3
    """
    load = require_positive(load=load)
    rng = np.random.default_rng(require_non_negative_integer(seed=seed))
    lengths = draw_lengths(rng, machine.traffic, requests)
    arrivals = draw_arrivals(rng, load * machine.ceiling_per_s, requests)
    columns = lengths.prompt_tokens, lengths.output_tokens, lengths.cached_tokens
    return Workload(arrivals, *columns)


def check_against_the_simulators() -> None:
    """The scheduler ends every request when the simulators of the other chapters end it, and
    preempts as often, with memory and without.

    Source: `simulate`, which walks from event to event, and `simulate_steps`.
    """
    chat = ask_machine(CHAT, 0.7, 250)
    mixture = ask_machine(MIXTURE, 0.7, 60)
    short = replace(CHAT.engine, kv_blocks=900)
    for label, asked, engine in (
        ("chat", chat, CHAT.engine),
        ("chat, little memory", chat, short),
        ("mixture", mixture, MIXTURE.engine),
    ):
        got, jumped = serve_steps(asked, engine, 20), simulate(asked, engine, 20)
        checks.close(f"{label}: completions [s]", got.completion_s, jumped.completion_s, rtol=1e-9)
        walked = simulate_steps(asked, engine, 20)
        checks.close(
            f"{label}: first tokens [s]", got.first_token_s, walked.first_token_s, rtol=1e-9
        )
        checks.equal(f"{label}: preemptions", got.preemptions, int(jumped.preemptions.sum()))
    checks.holds("and there are some", serve_steps(chat, short).preemptions > 0)


def check_tokens_by_hand() -> None:
    """A prompt of ten tokens under a budget of four is read in chunks of what the decoding sequence
    leaves, which never stops; two that outgrow three blocks take turns.

    Source: traced by hand.
    """
    chunked = serve_steps(
        Workload([0.0, 0.5], [4, 10], [6, 1]), Engine(1.0, token_budget=4, max_sequences=4)
    )
    checks.close("chunks: first tokens [s]", chunked.first_token_s, [1.0, 5.0])
    checks.close("chunks: completions [s]", chunked.completion_s, [6.0, 5.0])
    tight = Engine(1.0, kv_blocks=3, block_tokens=2, token_budget=8, max_sequences=8)
    served = serve_steps(Workload([0.0, 0.0], [2, 2], [3, 3]), tight)
    checks.close("turns: completions [s]", served.completion_s, [3.0, 5.0])
    checks.equal("turns: preemptions", served.preemptions, 1)


def check_bad_input_is_refused() -> None:
    """A request beyond the memory, and blocks that are no count, name the argument."""
    tight = Engine(1.0, kv_blocks=2, block_tokens=4)
    asked = Workload([0.0], [8], [2])
    checks.raises("too long", serve_steps, asked, tight, match="kv_blocks must be enough")
    wrong = "spare_blocks must be a non-negative integer"
    checks.raises("half", serve_steps, asked, Engine(1.0), 0.5, match=wrong)
