"""Memory and steps of the simulator's engine for a model on devices, beside logs and formulas.

`deployed_engine` cuts what weights, activations and libraries leave of the memory into blocks for
the cache, and makes steps of the step model. Here both meet what engines logged, and the closed
loop's formula.

Assumes: what `deployed_engine` assumes.

Source: logs of vLLM for the memory, see KV_LOGGED; `benchmark_loops` for the formula.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics.capacity.littles_law.kv_cache_occupancy import VLLM_BLOCKS
from serving_mathematics.core.batching.continuous_batching import (
    Workload,
    latencies_s,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployed_engine import (
    BLOCK_TOKENS,
    cache_blocks,
    engine_of,
)
from serving_mathematics.core.hardware.deployments import (
    RESERVED_BYTES,
    WORKED,
    Deployment,
    sequence_bytes,
    weight_bytes,
)
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_positive,
)

KV_LOGGED = (  # blocks of 16 tokens that vLLM found room for with 0.9 of the memory
    ("Llama-2-7B", "A100-80GB", 1, 7351, "vllm-2031"),
    ("Llama-2-70B", "A100-80GB", 4, 20_865, "vllm-2031"),
    ("Llama-3-8B", "A100-40GB", 1, VLLM_BLOCKS, "vllm-12330"),
    ("Llama-3-8B", "A100-80GB", 1, int(53.29 * 2**30 // (16 * 131_072)), "vllm-10511"),
    ("Llama-3-8B", "L40S-48GB", 1, 158_656 // 16, "vllm-17122"),
)


def _logged(model: str, device: str, count: int) -> tuple[Deployment, float]:
    """The deployment of a log, and bytes of a token on one of its devices."""
    system = find_system(device)
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
        checks.inside(f"{label}: simulated over formula", ratio, 0.97, 1.03, kind="simulation")


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
