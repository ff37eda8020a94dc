"""Continuous batching, step by step: a serving engine whose batch may change after every step.

A step takes step_s + prefill_token_s·(prompt tokens in it) + decode_token_s·(sequences that emit a
token in it) + context_token_s·(tokens of context that those read). In each step every decoding
sequence emits one token; what the token budget leaves goes to prompts, oldest first, in chunks.
The KV cache is paged: a request is admitted when the free blocks hold all tokens that it must
prefill, a decoding sequence takes a block when its last one is full, and when none is free the
youngest sequence gives all of its blocks back, goes to the head of the queue and is later
prefilled again with what it had generated (recompute). It cannot return in the same step, because
it needs more blocks than it left.

Real steps are not linear: a table may add what a step takes beyond these costs, by the number of
decoding sequences, by how far into a prompt it reads, and when it has another number of tokens than
the step before. A prompt may begin with tokens that are cached already; they take memory and no
time.

Assumes: step times are known; one engine; first come first served; the time between two steps is
part of step_s; a cached prefix is still there when its request is admitted again.

Source: Yu et al. (2022) for scheduling every step; Kwon et al. (2023) for paged memory; Agrawal et
al. (2024) for decodes first and chunks under a token budget; vLLM's scheduler for preemption of the
last admitted, recomputation, and its place at the head of the queue.
"""

# In one piece: an engine, its load and its steps, as the reference that a reader copies whole.

from __future__ import annotations

import functools
import itertools
import math
from collections import deque
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_all_non_negative,
    require_all_positive,
    require_all_sorted,
    require_in,
    require_non_negative,
    require_non_negative_integer,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
TICK_S = 2.0**-50  # whole ticks add up without rounding, in any order [s]
LONGEST_STEP_S = 4096.0  # of a table, whose ticks two of which 64 bits hold


@dataclass(frozen=True, eq=False, init=False)
class Workload:
    """Requests in order of arrival.

    arrival_s: sorted times [s], shape (n,). prompt_tokens, output_tokens: positive integers, shape
    (n,). cached_tokens: of each prompt, fewer than it has; none by default. Raises ValueError on
    anything else.

    >>> Workload([0.0, 1.5], [100, 20], [3, 1]).arrival_s.tolist()
    [0.0, 1.5]
    """

    arrival_s: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    cached_tokens: IntArray

    def __init__(
        self,
        arrival_s: npt.ArrayLike,
        prompt_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        cached_tokens: npt.ArrayLike = 0,
    ) -> None:
        """Arrays of one length."""
        times = np.array(as_floats(arrival_s=arrival_s))
        require(times.ndim == 1 and times.size > 0, "arrival_s", "of shape (n,), n ≥ 1", times)
        require_all_sorted(arrival_s=times)
        object.__setattr__(self, "arrival_s", times)
        for name, given in (("prompt_tokens", prompt_tokens), ("output_tokens", output_tokens)):
            tokens = as_floats(**{name: given})
            require(tokens.shape == times.shape, name, f"of shape {times.shape}", tokens.shape)
            whole = (tokens >= 1) & (tokens < 2**31) & (tokens == np.floor(tokens))
            require(whole, name, f"positive integers below {2**31:,}", tokens)
            object.__setattr__(self, name, tokens.astype(np.int64))
        cached = np.broadcast_to(as_floats(cached_tokens=cached_tokens), times.shape)
        fewer = (cached >= 0) & (cached < self.prompt_tokens) & (cached == np.floor(cached))
        require(fewer, "cached_tokens", "integers from 0 to below prompt_tokens", cached)
        object.__setattr__(self, "cached_tokens", cached.astype(np.int64))

    def part(self, index: IntArray | slice) -> Self:
        """Some of the requests, in order."""
        part = object.__new__(type(self))  # whose numbers have been looked at
        for column in fields(Workload):
            object.__setattr__(part, column.name, getattr(self, column.name)[index])
        times = part.arrival_s
        require(times.size > 0, "index", "of one request or more", index)
        require(times[1:] >= times[:-1], "index", "in order of arrival", index)
        return part


@dataclass(frozen=True, init=False)
class StepTable:
    """What steps take beyond an engine's four costs, in whole ticks of 2⁻⁵⁰ s.

    batch_s: with 0, 1, 2, … decoding sequences [s], shape (m,). prompt_s: the first 0, 1, 2, …
    tokens of a prompt, however they are cut into chunks, non-decreasing from 0 [s], shape (k,).
    prompt_end_s: the step in which a prompt ends [s]. change_s: a step with another number of
    tokens, prompt and decode, than the step before it [s]. Raises ValueError on anything else.

    >>> StepTable([0.0, 0.5], [0.0, 0.25]).batch[1] * TICK_S
    0.5
    """

    batch: list[int]
    prompt: list[int]
    prompt_end: int
    change: int

    def __init__(
        self,
        batch_s: npt.ArrayLike,
        prompt_s: npt.ArrayLike = 0.0,
        prompt_end_s: float = 0.0,
        change_s: float = 0.0,
    ) -> None:
        """Rounded to ticks; what lies beyond the tables is refused by the simulators."""
        batch, prompt = require_all_non_negative(batch_s=batch_s, prompt_s=prompt_s)
        batch, prompt = (np.atleast_1d(as_floats(table=x)) for x in (batch, prompt))
        for name, table in (("batch_s", batch), ("prompt_s", prompt)):
            require(table.ndim == 1 and table.size > 0, name, "of shape (n,), n ≥ 1", table.shape)
        prompt_end_s, change_s = require_non_negative(prompt_end_s=prompt_end_s, change_s=change_s)
        rises = prompt[0] == 0 and np.all(np.diff(prompt) >= 0)
        require(rises, "prompt_s", "non-decreasing from 0", prompt)
        most = max(float(np.max(table)) for table in (batch, prompt, [prompt_end_s, change_s]))
        rule = f"of less than {LONGEST_STEP_S:g} s, as 64 bits of ticks hold"
        require(most < LONGEST_STEP_S, "the table", rule, f"{most:g} s")
        ticks = np.rint(prompt / TICK_S).astype(np.int64)
        object.__setattr__(self, "batch", np.rint(batch / TICK_S).astype(np.int64).tolist())
        object.__setattr__(self, "prompt", ticks.tolist())
        self.__dict__["prompt_array"] = ticks  # which are here already
        object.__setattr__(self, "prompt_end", round(prompt_end_s / TICK_S))
        object.__setattr__(self, "change", round(change_s / TICK_S))

    @functools.cached_property
    def prompt_array(self) -> IntArray:
        """Ticks of the first tokens of a prompt, shape (k,)."""
        return np.array(self.prompt)


@dataclass(frozen=True)
class Engine:
    """What a step costs, and what the engine holds at most. Raises ValueError on negative or
    non-finite costs, limits that are not positive integers, a step that takes no time, and a
    budget of fewer tokens than sequences.

    >>> Engine(step_s=0.5, decode_token_s=0.25).elapsed_s(steps=2, prefill=0, decode=6, context=0)
    2.5
    """

    step_s: float  # β [s]
    prefill_token_s: float = 0.0  # [s]
    decode_token_s: float = 0.0  # α [s]
    context_token_s: float = 0.0  # [s]
    kv_blocks: int = 2**40  # blocks of KV memory
    block_tokens: int = 16  # tokens in a block
    token_budget: int = 2048  # tokens in a step, prompt and decode
    max_sequences: int = 256  # admitted requests
    table: StepTable | None = None  # what steps take beyond the four costs

    def __post_init__(self) -> None:
        """Refuse what is not an engine."""
        for name in ("step_s", "prefill_token_s", "decode_token_s", "context_token_s"):
            cost = require_non_negative(**{name: getattr(self, name)})
            object.__setattr__(self, name, cost)
        require(self.step_s > 0, "step_s", "positive", self.step_s)
        for name in ("kv_blocks", "block_tokens", "token_budget", "max_sequences"):
            limit = require_positive_integer(**{name: getattr(self, name)})
            object.__setattr__(self, name, limit)
        least, budget = self.max_sequences, self.token_budget
        require(budget >= least, "token_budget", f"at least max_sequences = {least}", budget)

    def elapsed_s(
        self, steps: int, prefill: int, decode: int, context: int, ticks: int = 0
    ) -> float:
        """Time [s] of steps that together handle so many prompt tokens, emitted tokens, and tokens
        of context read, and take so many ticks of the table."""
        return (
            self.step_s * steps
            + self.prefill_token_s * prefill
            + self.decode_token_s * decode
            + self.context_token_s * context
            + TICK_S * ticks
        )

    def steps_until(
        self,
        moment_s: float,
        most: int,
        now_s: float,
        since_s: float,
        work: tuple[int, int, int, int, int],
        batch: int,
        held: int,
        own_ticks: int = 0,
        first_ticks: int = 0,
    ) -> int:
        """The first of the coming steps that ends at a moment or after it, in which a batch decodes
        and nobody reads a prompt; at most so many. It is the root of a quadratic, and counted where
        rounding could decide.

        now_s: the time [s]. since_s: from which work, the arguments of `elapsed_s`, counts [s];
        first_ticks are in it. batch: sequences, that hold so many tokens together. own_ticks: of
        the table in each step; first_ticks: in the first one more.
        """
        slope = self.step_s + self.decode_token_s * batch
        slope += self.context_token_s * (held + 0.5 * batch)
        slope += TICK_S * own_ticks
        rest_s = max(moment_s - now_s - TICK_S * first_ticks, 0.0)
        bend = 2 * self.context_token_s * batch * rest_s
        root = 2 * rest_s / (slope + math.sqrt(slope * slope + bend))
        if not root < most:  # or the moment is infinite
            return most
        k = max(math.ceil(root), 1)
        if 1e-3 < k - root < 0.999:
            return k
        steps, prefill, decode, context, ticks = work

        def reached(k: int) -> bool:
            read = context + k * held + batch * k * (k + 1) // 2
            counts = steps + k, prefill, decode + k * batch, read, ticks + k * own_ticks
            return since_s + self.elapsed_s(*counts) >= moment_s

        while k < most and not reached(k):
            k += 1
        while k > 1 and reached(k - 1):
            k -= 1
        return k

    def tables(self, workload: Workload) -> tuple[list[int], list[int], int, int]:
        """Ticks by decoding sequences, by tokens of a prompt, of its end and of a change; zeros
        without a table. Raises ValueError where the table is too short for what is asked."""
        longest = int((workload.prompt_tokens + workload.output_tokens).max()) - 1
        most = min(self.max_sequences, workload.arrival_s.size)
        if self.table is None:
            return [0] * (most + 1), [0] * (longest + 1), 0, 0
        batch, prompt = self.table.batch, self.table.prompt
        require(len(batch) > most, "table", f"for up to {most} sequences", len(batch) - 1)
        require(len(prompt) > longest, "table", f"for prompts of {longest}", len(prompt) - 1)
        return batch, prompt, self.table.prompt_end, self.table.change

    def prompt_ticks(self, workload: Workload) -> IntArray:
        """Ticks that the table adds to each prompt, cut into chunks or not, shape (n,); zeros
        without a table. Raises ValueError where it is too short for what is asked."""
        if self.table is None:
            return np.zeros(workload.arrival_s.size, dtype=np.int64)
        self.tables(workload)
        ticks, ends = self.table.prompt_array, self.table.prompt_end
        return ticks[workload.prompt_tokens] - ticks[workload.cached_tokens] + ends


@dataclass(frozen=True, eq=False)
class Served:
    """When each request got its tokens [s], shape (n,), how often it was preempted, and totals."""

    admitted_s: FloatArray  # start of the first step that prefilled it
    first_token_s: FloatArray  # end of the step that finished its prompt
    completion_s: FloatArray  # end of the step that emitted its last token
    preemptions: IntArray
    steps: int
    prefill_tokens: int  # recomputed tokens included
    decode_tokens: int  # emitted by decoding; a finished prefill emits one more
    context_tokens: int
    busy_s: float


def latencies_s(workload: Workload, served: Served) -> tuple[FloatArray, FloatArray]:
    """TTFT and TPOT of every request [s], each of shape (n,); TPOT is NaN for a single token.

    workload: what was asked. served: what a simulator returned for it. Raises ValueError when they
    differ in length.

    >>> asked, never = Workload([0, 1], [9, 9], [3, 1]), np.zeros(2, dtype=np.int64)
    >>> first_s, last_s = np.array([2.0, 4.0]), np.array([4.0, 4.0])
    >>> ttft, tpot = latencies_s(asked, Served(first_s, first_s, last_s, never, 4, 18, 2, 21, 4.0))
    >>> ttft.tolist(), tpot.tolist()
    ([2.0, 3.0], [1.0, nan])
    """
    size = workload.arrival_s.size
    require(served.completion_s.size == size, "served", f"of {size} requests", served.steps)
    later = np.where(workload.output_tokens > 1, workload.output_tokens - 1, np.nan)
    ttft = served.first_token_s - workload.arrival_s
    return ttft, (served.completion_s - served.first_token_s) / later


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


def chat_workload(
    rng: np.random.Generator,
    rate: float,
    requests: int,
    mean_prompt_tokens: float = 250.0,
    mean_output_tokens: float = 120.0,
) -> Workload:
    """Poisson arrivals with geometric, independent prompt and output lengths.

    rate: of arrivals [1/s], positive; infinite for a burst at time 0. requests: how many.
    mean_prompt_tokens, mean_output_tokens: from 1 to 10⁷. The same generator state gives the same
    requests at any rate, closer together or further apart. Raises ValueError outside these ranges.

    >>> chat_workload(np.random.default_rng(0), np.inf, 3, 1.0, 1.0).output_tokens.tolist()
    [1, 1, 1]
    """
    rate = as_number(rate=rate)
    require(rate > 0, "rate", "positive", rate)
    requests = require_positive_integer(requests=requests)
    require_work(requests / 10, requests=requests)  # as many as memory holds
    prompt, output = as_number(
        mean_prompt_tokens=mean_prompt_tokens, mean_output_tokens=mean_output_tokens
    )
    for name, mean in (("mean_prompt_tokens", prompt), ("mean_output_tokens", output)):
        require(1 <= mean <= 1e7, name, "in [1, 10⁷]", mean)
    return Workload(
        np.cumsum(rng.exponential(1.0, requests)) / rate,
        rng.geometric(1 / prompt, requests),
        rng.geometric(1 / output, requests),
    )


@dataclass(eq=False, slots=True)
class _Sequence:
    index: int
    prompt: int
    output: int
    todo: int  # tokens to prefill before the next one comes out
    cached: int
    generated: int = 0
    blocks: int = 0

    @property
    def known(self) -> int:
        """Tokens of the prompt and those that came out."""
        return self.prompt + self.generated

    @property
    def stored(self) -> int:
        """Tokens in the cache of a sequence that decodes; its last one is not there yet."""
        return self.prompt + self.generated - 1


# In one piece: one loop, whose numbers are all of its state: as locals they are read fastest.
def simulate_steps(
    workload: Workload,
    engine: Engine,
    watermark_blocks: int = 0,
    stretch: npt.ArrayLike = 1.0,
) -> Served:
    """Serve a workload, one step after the other.

    workload: what is asked. engine: what serves it. watermark_blocks: blocks that an admission must
    leave free while others are running. stretch: by how much each step takes longer than it costs,
    positive factors, shape (m,), from the first again after the last. Times are computed from whole
    numbers of steps and tokens since the engine was last idle, so that no rounding accumulates
    where no step is stretched. Raises ValueError when one request alone outgrows the memory, and on
    a watermark that is no count.

    >>> asked = Workload([0, 0, 2], [4, 4, 4], [3, 3, 1])
    >>> engine = Engine(step_s=2.0, token_budget=8, max_sequences=8)
    >>> simulate_steps(asked, engine).completion_s.tolist()
    [6.0, 6.0, 4.0]
    """
    watermark_blocks = require_non_negative_integer(watermark_blocks=watermark_blocks)
    stretch = np.atleast_1d(require_all_positive(stretch=stretch))
    require(stretch.ndim == 1 and stretch.size > 0, "stretch", "of shape (m,), m ≥ 1", stretch)
    factors = itertools.cycle(stretch.astype(float).tolist())
    block = engine.block_tokens
    most = int((workload.prompt_tokens + workload.output_tokens).max()) - 1  # the last is not kept
    fits = most <= engine.kv_blocks * block
    require(fits, "kv_blocks", f"enough for a request of {most} tokens", engine.kv_blocks)
    arrival = workload.arrival_s.tolist()
    prompt, output = workload.prompt_tokens.tolist(), workload.output_tokens.tolist()
    admitted_s, first_s, completion_s = (np.full(len(arrival), np.nan) for _ in range(3))
    cached = workload.cached_tokens.tolist()
    batch_ticks, prompt_ticks, end_ticks, change_ticks = engine.tables(workload)
    preemptions = np.zeros(len(arrival), dtype=np.int64)
    waiting: deque[_Sequence] = deque()
    running: list[_Sequence] = []  # in order of admission
    free, arrived, completed = engine.kv_blocks, 0, 0
    since = clock = arrival[0]
    work = np.zeros(4, dtype=np.int64)  # steps, prefill, decode, context since the engine was idle
    ticks, late_s, tokens = 0, 0.0, 0  # of the table and of the stretch since then; of a step
    done, busy_s = work.copy(), 0.0  # in earlier busy periods
    while completed < len(arrival):
        while arrived < len(arrival) and arrival[arrived] <= clock:
            todo = prompt[arrived] - cached[arrived]
            new = _Sequence(arrived, prompt[arrived], output[arrived], todo, cached[arrived])
            waiting.append(new)
            arrived += 1
        if not running and not waiting:
            busy_s += clock - since
            done, work, ticks, late_s = done + work, np.zeros_like(work), 0, 0.0
            since = clock = arrival[arrived]
            continue
        turn, left, chunks = 0, engine.token_budget, list[tuple[_Sequence, int]]()
        while turn < len(running):  # memory for the tokens that each sequence stores in this step
            sequence = running[turn]
            if sequence.todo:  # at most one is partly prefilled, the youngest
                taken, grows = min(sequence.todo, left), 0  # it has its blocks since it came in
            else:
                taken, grows = 1, int(sequence.stored % block == 0)
            if grows > free:
                victim = running.pop()
                free += victim.blocks
                victim.blocks = 0
                victim.todo = victim.known - victim.cached
                waiting.appendleft(victim)
                preemptions[victim.index] += 1
                continue
            sequence.blocks += grows
            free -= grows
            if sequence.todo:
                chunks.append((sequence, taken))
            left -= taken
            turn += 1
        decoding = [sequence for sequence in running if not sequence.todo]
        while waiting and left and len(running) < engine.max_sequences:
            sequence = waiting[0]
            chunk = min(sequence.todo, left)
            needed = -(-sequence.known // block)
            if needed > free - (watermark_blocks if running else 0):
                break
            running.append(waiting.popleft())
            free -= needed
            sequence.blocks = needed
            chunks.append((sequence, chunk))
            left -= chunk
            if np.isnan(admitted_s[sequence.index]):
                admitted_s[sequence.index] = clock
        prefill = sum(chunk for _, chunk in chunks)
        context = sum([sequence.known for sequence in decoding])
        work += (1, prefill, len(decoding), context)
        own = batch_ticks[len(decoding)]
        own += change_ticks if prefill + len(decoding) != tokens else 0
        tokens = prefill + len(decoding)
        for sequence, chunk in chunks:
            end = sequence.known - sequence.todo + chunk
            own += prompt_ticks[end] - prompt_ticks[end - chunk]
            sequence.todo -= chunk
            own += 0 if sequence.todo else end_ticks
        ticks += own
        late_s += (next(factors) - 1) * engine.elapsed_s(1, prefill, len(decoding), context, own)
        clock = since + (engine.elapsed_s(*work.tolist()) + TICK_S * ticks + late_s)
        for sequence in decoding + [sequence for sequence, _ in chunks if not sequence.todo]:
            sequence.generated += 1
            if sequence.generated == 1:
                first_s[sequence.index] = clock
            if sequence.generated == sequence.output:
                completion_s[sequence.index] = clock
                free += sequence.blocks
                running.remove(sequence)
                completed += 1
    steps, prefilled, decoded, read = (done + work).tolist()
    busy_s += clock - since
    return Served(
        admitted_s, first_s, completion_s, preemptions, steps, prefilled, decoded, read, busy_s
    )


# Of the order of a model with 8 billion parameters in 16 bits on one A100: 16 GB of weights read in
# a step at 2 TB/s, 131,072 bytes for a token of context, prompts at 12,000 tokens a second.
EIGHT_BILLION = Engine(
    step_s=0.008,
    prefill_token_s=8e-5,
    decode_token_s=8e-5,
    context_token_s=6.5e-8,
    kv_blocks=24_000,
    block_tokens=16,
    token_budget=512,
    max_sequences=64,
)


def check_preemption_by_hand() -> None:
    """Two requests that together outgrow three blocks of two tokens: the second is preempted once,
    and finishes after it was prefilled again.

    Source: traced by hand. Step 1 prefills both; in step 2 each needs a block, one is left, the
    younger gives way; step 3 ends the first; step 4 prefills three tokens of the second, step 5
    ends it.
    """
    asked = Workload([0.0, 0.0], [2, 2], [3, 3])
    engine = Engine(1.0, kv_blocks=3, block_tokens=2, token_budget=8, max_sequences=8)
    served = simulate_steps(asked, engine)
    checks.close("first tokens [s]", served.first_token_s, [1.0, 1.0])
    checks.close("completions [s]", served.completion_s, [3.0, 5.0])
    checks.equal("preemptions", served.preemptions.tolist(), [0, 1])
    checks.equal("tokens prefilled", served.prefill_tokens, 2 + 2 + 3)
    checks.equal("tokens decoded", served.decode_tokens, 2 + 1)


def check_chunks_by_hand() -> None:
    """A prompt of ten tokens under a budget of four is prefilled in chunks of what the decoding
    sequence leaves, which never stops.

    Source: traced by hand. The first request is prefilled in step 1 and decodes in steps 2 to 6;
    the second gets 3 tokens in each of steps 2 to 4 and its last one in step 5.
    """
    asked = Workload([0.0, 0.5], [4, 10], [6, 1])
    served = simulate_steps(asked, Engine(1.0, token_budget=4, max_sequences=4))
    checks.close("first tokens [s]", served.first_token_s, [1.0, 5.0])
    checks.close("completions [s]", served.completion_s, [6.0, 5.0])


def check_tokens_are_conserved() -> None:
    """Every prompt is prefilled once and every token generated once; with preemption, only
    preempted requests are prefilled again.

    Source: sums over the workload, with and without enough memory.
    """
    rng = np.random.default_rng(3)
    asked = Workload(
        np.sort(rng.uniform(0, 4, 60)), rng.integers(1, 80, 60), rng.integers(1, 60, 60)
    )
    roomy = replace(EIGHT_BILLION, max_sequences=16)
    later = int((asked.output_tokens - 1).sum())
    for name, engine in (("roomy", roomy), ("tight", replace(roomy, kv_blocks=20))):
        served = simulate_steps(asked, engine)
        preempted = int(served.preemptions.sum())
        again = served.prefill_tokens - int(asked.prompt_tokens.sum())
        replaced = later - served.decode_tokens  # tokens that ended a second prefill
        if name == "roomy":
            checks.equal(
                "roomy: preemptions, prefilled again, replaced",
                [preempted, again, replaced],
                [0, 0, 0],
            )
        else:
            checks.inside("tight: preemptions", preempted, 1, 500)
            checks.inside("tight: tokens that ended a second prefill", replaced, 1, preempted)
            checks.inside("tight: prefilled again", again, replaced, preempted * 140)
        work = served.steps, served.prefill_tokens, served.decode_tokens, served.context_tokens
        checks.close(f"{name}: busy [s]", served.busy_s, engine.elapsed_s(*work), rtol=1e-12)
        whole = np.all(served.first_token_s <= served.completion_s)
        checks.holds(f"{name}: all are served", bool(whole), got=int(served.completion_s.size))


def check_batch_of_one_is_a_queue() -> None:
    """With one sequence at a time every request waits as in a queue with one server.

    Source: `fifo_waits` with service times from prompt and output lengths.
    """
    asked = chat_workload(np.random.default_rng(7), 0.5, 100)
    engine = replace(EIGHT_BILLION, max_sequences=1, token_budget=5000)
    prompts, later = asked.prompt_tokens, asked.output_tokens - 1
    service_s = engine.step_s * (1 + later) + engine.prefill_token_s * prompts
    service_s += engine.decode_token_s * later
    service_s += engine.context_token_s * (later * prompts + later * (later + 1) / 2)
    expected = asked.arrival_s + fifo_waits(asked.arrival_s, service_s) + service_s
    got = simulate_steps(asked, engine).completion_s
    checks.close("largest difference [s]", np.abs(got - expected).max(), 0.0, atol=1e-9)
