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

Source: `step_time`, `guesses` and `benchmark_loops` for every term, scored on published runs in
`predictions`; logs of vLLM for the memory, see KV_LOGGED.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.littles_law.kv_cache_occupancy import VLLM_BLOCKS
from serving_mathematics.core.batching.continuous_batching import (
    Engine,
    StepTable,
    Workload,
    latencies_s,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies, waiting_steps_s
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import (
    MEMORY_SHARE,
    RESERVED_BYTES,
    WORKED,
    Deployment,
    cache_room_bytes,
    possible,
    sequence_bytes,
    weight_bytes,
)
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    Constants,
    count_work,
    decode_step_s,
    prompt_s,
)
from serving_mathematics.machine.step_time.guesses import guessed_prompt_s, guessed_step_s
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]
BLOCK_TOKENS = 16  # tokens in a block of the cache, vLLM's default
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
    held = sum(sequence_bytes(deployment, float(length)) for length in picked)
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
    of the sample will come. Raises ValueError outside these ranges, and Impossible when weights and
    reserve leave no block.

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
    rule = f"smaller than the {usable / 1e9:.1f} GB of {system.name} for them"
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

    longest = max(longest, int((asked.prompt_tokens + asked.output_tokens).max()) - 1)
    tokens = np.arange(longest + 1.0)
    whole_s = slowness * guessed_prompt_s(deployment, constants, tokens)
    step_s = float(batch_s.min())
    table = StepTable(
        batch_s - step_s,
        np.maximum.accumulate(whole_s) / deployment.pipeline,
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


KV_LOGGED = (  # blocks of 16 tokens that vLLM found room for with 0.9 of the memory
    ("Llama-2-7B", "A100-80GB", 1, 7351, "vllm-2031"),
    ("Llama-2-70B", "A100-80GB", 4, 20_865, "vllm-2031"),
    ("Llama-3-8B", "A100-40GB", 1, VLLM_BLOCKS, "vllm-12330"),
    ("Llama-3-8B", "A100-80GB", 1, int(53.29 * 2**30 // (16 * 131_072)), "vllm-10511"),
    ("Llama-3-8B", "L40S-48GB", 1, 158_656 // 16, "vllm-17122"),
)


def _logged(model: str, device: str, count: int) -> tuple[Deployment, float]:
    """The deployment of a log, and bytes of a token on one of its devices."""
    system = find_system(device.rpartition("-")[0])
    if device.endswith("40GB"):
        system = replace(system, memory_bytes=40 * 2.0**30)
    one = replace(WORKED, architecture=find_model(model)[0], system=system, tensor=count)
    return one, sequence_bytes(one, 1)


def logged_reserve(deployment: Deployment, token_bytes: float, blocks: int) -> float:
    """What an engine's log says of memory that is neither weights nor cache, of each device [B].

    token_bytes: of a token on one device. blocks: of 16 tokens, as logged with 0.9 of the memory.
    Raises ValueError when weights and blocks are more than that.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.catalogue import find_system
    >>> one = replace(WORKED, system=find_system("A100"))
    >>> round(logged_reserve(one, token_bytes=131072.0, blocks=27_284) / 2**30, 2)
    3.75
    """
    token_bytes = require_positive(token_bytes=token_bytes)
    blocks = require_non_negative(blocks=blocks)
    taken = weight_bytes(deployment) + blocks * BLOCK_TOKENS * token_bytes
    spare = 0.9 * deployment.system.memory_bytes - taken
    require(spare >= 0, "blocks", "no more than fit beside the weights", blocks)
    return spare


def _logged_row(name: str, device: str, count: int, logged: int, source: str) -> str:
    """Blocks of a log beside those that are planned with, as a row of the page's table."""
    deployment, token_bytes = _logged(name, device, count)
    planned = cache_blocks(deployment, token_bytes)
    other = logged_reserve(deployment, token_bytes, logged) / 2**30
    where = f"[{source.replace('vllm-', 'vLLM ')}](#{source})"
    cells = (
        name,
        f"{count} × {device}",
        f"{other:.1f}",
        f"{logged:,}",
        f"{planned:,}",
        f"{planned / logged:.2f}",
    )
    return f"| {' | '.join(cells)} | {where} |"


def example() -> SimpleNamespace:
    """Logged and planned memory."""
    reserves = sorted(
        logged_reserve(*_logged(name, device, count), blocks) / 2**30
        for name, device, count, blocks, _ in KV_LOGGED
    )
    return SimpleNamespace(
        logged_rows="\n".join(_logged_row(*row) for row in KV_LOGGED),
        reserved_gib=RESERVED_BYTES / 2**30,
        largest_reserve_gib=reserves[-1],
        second_reserve_gib=reserves[-2],
    )


def check_steps_are_those_of_the_machine() -> None:
    """The engine's steps are those of the step model, at every batch and context.

    Source: `decode_step_s` and `prompt_s` themselves, for a dense model, where the table is exact.
    """
    asked = Workload([0, 0], [500, 3000], [100, 900])
    made, work = engine_of(WORKED, asked, places=300), count_work([WORKED])
    batch = made.engine.table.batch if made.engine.table else []
    for sequences, context in ((1, 300), (32, 2000), (300, 700)):
        counts = (1, 0, 0, sequences * context, batch[sequences])
        expected = decode_step_s(work, FITTED, np.array([sequences]), np.array([context]))
        label = f"{sequences} of {context} tokens [s]"
        checks.close(label, made.engine.elapsed_s(*counts), float(expected[0]), rtol=1e-9)
    served = simulate(Workload([0], [3000], [1]), made.engine)
    alone = float(prompt_s(replace(work, prompt=np.array([3000.0])), FITTED)[0])
    steps = 2 * float(decode_step_s(work, FITTED, np.ones(1), np.zeros(1))[0])  # of 2,048 tokens
    expected_s = alone + FITTED.prompt_s + steps
    checks.close("a prompt of 3,000 [s]", float(served.first_token_s[0]), expected_s, rtol=1e-9)


def check_a_full_engine_is_the_closed_loop() -> None:
    """A place that is always taken sees the time per token that the closed loop's formula says, to
    3%.

    Source: `loop_latencies` of the machine, a closed form without a simulation; 40 requests a place
    that all wait from the start, the first and last quarter left out.
    """
    mixture = replace(
        WORKED,
        architecture=find_model("gpt-oss-120b")[0],
        precision="fp4",
        tensor=4,
        input_tokens=2000,
    )
    for label, one, places in (
        ("Llama-3.1-8B", WORKED, 32),
        ("gpt-oss-120b on four", mixture, 64),
    ):
        load = replace(one, concurrency=places)
        told = loop_latencies(count_work([load]), FITTED).per_token_s[0]
        size, whole = 40 * places, int(one.input_tokens)
        rng = np.random.default_rng(2)
        outputs = rng.integers(int(0.8 * one.output_tokens), int(1.2 * one.output_tokens) + 1, size)
        asked = Workload(np.zeros(size), np.full(size, whole), outputs)
        engine = engine_of(one, asked, 8192, places).engine
        _, tpot = latencies_s(asked, simulate(asked, engine))
        ratio = float(tpot[size // 4 : -size // 4].mean()) / float(told)
        checks.inside(f"{label}: simulated over formula", ratio, 0.97, 1.03)


def check_cache_by_hand() -> None:
    """The cache gets what weights, activations and libraries leave: 57 GB on one H100 for an 8B
    model.

    Source: 0.9·80·2³⁰ − 4·2³⁰ − 2·8,029,995,008 bytes, over 16 tokens of 131,072 bytes, by long
    division.
    """
    spare = (0.9 * 80 - 4) * 2**30 - 2 * 8_029_995_008
    checks.equal("parameters", WORKED.architecture.parameters, 8_029_995_008)
    checks.equal("blocks", cache_blocks(WORKED, 131_072.0), int(spare // (16 * 131_072)))
    halves = replace(WORKED, attention_data=2)
    checks.equal("two groups", cache_blocks(halves, 131_072.0), 2 * cache_blocks(WORKED, 131_072.0))


def check_reserve_against_a_log() -> None:
    """What is planned for activations and libraries is within a tenth of what an engine of today
    logged for the same model, and the cache within 2%.

    Source: vLLM pull request 10511, Llama 3 8B on an A100 of 80 GB: 79.22 GiB that the driver
    offers, 1.79 GiB outside of PyTorch, 1.26 GiB of activations, 53.29 GiB of cache.
    """
    logged = 0.9 * (80 - 79.22) + 1.79 + 1.26
    checks.close("reserve [GiB]", RESERVED_BYTES / 2**30, logged, rtol=0.1, kind="published")
    deployment, token_bytes = _logged("Llama-3-8B", "A100-80GB", 1)
    planned = cache_blocks(deployment, token_bytes) * 16 * 131_072 / 2**30
    checks.close("cache [GiB]", planned, 53.29, rtol=0.02, kind="published")


def check_bad_input_is_refused() -> None:
    """Models that do not fit, shares above one and too many places name the argument."""
    asked = Workload([0], [100], [10])
    small = replace(WORKED, system=replace(WORKED.system, memory_bytes=20e9))
    checks.raises("does not fit", engine_of, small, asked, match="model weights must be smaller")
    checks.raises("places", engine_of, WORKED, asked, 9999, 2000, match="places must be from")
    checks.raises("no share", cache_blocks, WORKED, 1.0, 0.0, match="memory_share must be in")
    checks.raises("less", cache_blocks, WORKED, 1.0, 0.9, -1.0, match="reserved_bytes must be")
    checks.raises("too many", logged_reserve, WORKED, 1e5, 10**6, match="blocks must be no more")
    checks.raises("slow", engine_of, WORKED, asked, slowness=math.nan, match="slowness must be")
