"""The simulator's engine for a model on devices, from the step model of the machine.

A decoding step of b sequences with c tokens of context each costs what `decode_step_s` says. It is
linear in c but for windows and states, so that one slope through the contexts at hand serves for
all, and a table over b holds the rest: kernels, weights, the experts that b tokens touch, messages,
the host. A prompt's time is a table over its tokens, in which attention makes it grow faster than
its length. Around a prompt lie words to numbers, scheduling and launches that do not keep the
device from other work; they are added to the time to first token.

What weights, activations and libraries leave of the memory is cut into blocks for the cache.

Assumes: CUDA graphs in decoding; a chunk of a prompt costs what is left of the prompt's time beside
the step that carries it; with guesses a step's time is spread over the tokens that it yields.

Source: `step_time`, `guessed_steps` and `benchmark_loops` for every term, scored on published runs
in `predictions`; logs of vLLM for the memory, in `machine_engine` of the planner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    LONGEST_STEP_S,
    Engine,
    StepTable,
    Workload,
)
from serving_mathematics.core.hardware.benchmark_loops import waiting_steps_s
from serving_mathematics.core.hardware.deployments import (
    MEMORY_SHARE,
    RESERVED_BYTES,
    Deployment,
    _held_bytes,
    cache_room_bytes,
    possible,
    weight_bytes,
)
from serving_mathematics.core.hardware.guessed_steps import guessed_prompt_s, guessed_step_s
from serving_mathematics.core.hardware.step_time import FITTED, Constants, count_work
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]
BLOCK_TOKENS = 16  # tokens in a block of the cache, vLLM's default up to 0.33; then 64
MOST_PLACES = 1024  # sequences for which steps are tabled, vLLM's default on large devices


@dataclass(frozen=True, eq=False)
class MachineEngine:
    """An engine, and what the first token takes beside it."""

    engine: Engine
    around_s: float  # before a prompt is worked on, on no device [s]
    behind_s: FloatArray  # in the later stages of a pipeline, by tokens of the prompt [s]
    token_bytes: float  # that a token of the sample holds, on one device [B]


def cache_blocks(
    deployment: Deployment,
    token_bytes: float,
    memory_share: float = MEMORY_SHARE,
    reserved_bytes: float = RESERVED_BYTES,
) -> int:
    """Blocks of 16 tokens in the whole engine that everything else leaves room for, 0 when none.

    token_bytes: of a token in the cache of one device. memory_share: of a device's memory that the
    engine may use, in (0, 1]. reserved_bytes: what activations and libraries take of it [B]. Raises
    ValueError outside these ranges.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> cache_blocks(WORKED, token_bytes=131072.0)
    27158
    """
    memory_share = require_in("(0, 1]", memory_share=memory_share)
    reserved_bytes = require_non_negative(reserved_bytes=reserved_bytes)
    token_bytes = require_positive(token_bytes=token_bytes)
    spare = cache_room_bytes(replace(deployment, memory_share=memory_share), reserved_bytes)
    return int(spare // (BLOCK_TOKENS * token_bytes)) * deployment.attention_data


def mean_token_bytes(deployment: Deployment, asked: Workload) -> float:
    """What a token holds of one device's memory, on average over the longest state of each request.

    With a window or states it falls with the length. asked: a sample of requests.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> mean_token_bytes(WORKED, Workload([0], [100], [101]))  # 32 layers, 2 of 8 heads of 128
    131072.0
    """
    lengths = (asked.prompt_tokens + asked.output_tokens - 1).astype(float)
    picked = np.quantile(lengths, (np.arange(50) + 0.5) / 50)
    held = np.sum(_held_bytes(deployment, picked))
    return float(f"{held / picked.sum():.9g}")  # the same on every machine


def engine_of(
    deployment: Deployment,
    asked: Workload,
    token_budget: int = 2048,
    places: int = 256,
    memory_share: float = MEMORY_SHARE,
    reserved_bytes: float = RESERVED_BYTES,
    slowness: float = 1.0,
    constants: Constants = FITTED,
    longest: int = 0,
) -> MachineEngine:
    """The simulator's engine for a deployment.

    asked: a sample of requests, whose lengths say which contexts occur. token_budget: tokens in a
    step at most. places: sequences at most, up to 1,024. memory_share, reserved_bytes: as for
    cache_blocks. slowness: times that steps take longer than the step model says. constants: of the
    step model. longest: tokens of a request for which prompts are tabled, where others than those
    of the sample will come, up to where one takes LONGEST_STEP_S. Raises ValueError outside these
    ranges, and Impossible when weights and reserve leave no block, or prompts take longer.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> asked = Workload([0], [1000], [250])
    >>> made = engine_of(WORKED, asked)
    >>> 4 < 1000 * made.engine.step_s < 8  # 15 GB at 3.35 TB/s, and kernels
    True
    """
    memory_share, longest = as_number(memory_share=memory_share, longest=longest)
    slowness = require_positive(slowness=slowness)
    require(slowness <= 1e5, "slowness", "at most 100,000", slowness)
    places = require_positive_integer(places=places)
    require(places <= MOST_PLACES, "places", f"from 1 to {MOST_PLACES}", places)
    most = deployment.architecture.context_tokens
    require(0 <= longest <= most, "longest", f"from 0 to the context, {most:,}", longest)
    token_bytes = mean_token_bytes(deployment, asked)
    blocks = cache_blocks(deployment, token_bytes, memory_share, reserved_bytes)
    held, system = weight_bytes(deployment), deployment.system
    usable = max(0.0, memory_share * system.memory_bytes - reserved_bytes)
    rule = f"smaller than the {usable / 1e9:.1f} GB of the {system.shown} for them"
    possible(blocks > 0, "model weights", rule, f"{held / 1e9:.1f} GB a device")
    later = np.maximum(asked.output_tokens - 1.0, 1e-9)
    context = float(np.average(asked.prompt_tokens + asked.output_tokens / 2, weights=later))

    crowd = deployment.pipeline * deployment.attention_data * float(MOST_PLACES)
    sequences = np.arange(places + 1.0)
    counts = np.r_[crowd, crowd, 1.0, np.maximum(sequences, 1.0)]
    contexts = context * np.r_[0.5, 1.5, 0.0, np.ones(places + 1)]
    low, high, lone, *_ = steps_s = guessed_step_s(deployment, constants, counts, contexts)
    yields = slowness / deployment.accepted_tokens
    context_s = yields * float((high - low) / (crowd * context))
    batch_s = np.maximum(yields * steps_s[3:] - context_s * context * sequences, 0.0)
    batch_s[0] = slowness * lone  # a prompt alone

    own = int((asked.prompt_tokens + asked.output_tokens).max()) - 1
    tokens = np.arange(max(longest, own) + 1.0)
    whole_s = slowness * guessed_prompt_s(deployment, constants, tokens)
    reads_s = np.maximum.accumulate(whole_s) / deployment.pipeline
    told = f"{reads_s[own]:,.0f} s for one of {own:,} tokens"
    rule = f"read in {LONGEST_STEP_S:,.0f} s on the {system.shown}, as far as times are simulated"
    possible(reads_s[own] < LONGEST_STEP_S, "prompts", rule, told)
    step_s = float(batch_s.min())
    table = StepTable(
        batch_s - step_s,
        reads_s[reads_s < LONGEST_STEP_S],
        slowness * constants.prompt_s / deployment.attention_data,
    )
    engine = Engine(
        step_s,
        context_token_s=context_s,
        kv_blocks=blocks,
        block_tokens=BLOCK_TOKENS,
        token_budget=token_budget,
        max_sequences=places,
        table=table,
    )
    mean_tokens = np.array([float(asked.prompt_tokens.mean())])
    typical = replace(count_work([deployment]), prompt=mean_tokens)
    around = waiting_steps_s(typical, constants, np.zeros(1))
    behind = whole_s * (1 - 1 / deployment.pipeline)
    return MachineEngine(engine, slowness * float(around[0]), behind, token_bytes)
