"""Weigh each request with what it holds, and Little's law counts tokens: H = λG.

A request that holds f(u) of a resource at age u holds G = ∫f(u)du over its life, and the mean
amount held is H = λ·E[G]; f = 1 gives L = λW. For a key-value cache with a prompt of p tokens, a
first token after P seconds and one every τ seconds after it, o in all, G = p·(P + (o−1)τ) +
τ·o(o−1)/2: the prompt is held throughout, the output on average half the time.

Assumes: a constant interval between tokens, no preemption, memory released with the last token; p
is what a request does not share with others, since shared blocks are held once. The last token is
never cached, since nothing attends to it.

Source: Brumelle (1971); Heyman and Stidham (1980). The token-second integral is derived on the
page.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.littles_law.littles_law import mean_in_flight
from serving_mathematics.core.machines.machines import CHAT, MIXTURE
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_all_finite,
    require_non_negative,
)

FloatArray = npt.NDArray[np.float64]

VLLM_BLOCKS = 5691  # GPU blocks of an A100 40 GB with Llama 3 8B; vLLM issue 12330
VLLM_BLOCK_TOKENS = 16  # tokens per block; the default that reproduces the 11.12 of that log
VLLM_MODEL_LENGTH = 8192  # tokens; the longest request of the same log


def token_seconds(
    prompt_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    prefill_s: float,
    token_interval_s: float,
) -> FloatArray:
    """What a request holds of the cache over its life, G = p·(P + (o−1)τ) + τ·o(o−1)/2 [token·s].

    prompt_tokens: p ≥ 0, broadcast against output_tokens: o ≥ 1, any shape. prefill_s: P, admission
    to first token [s]. token_interval_s: τ [s]. The k-th output token is written when the (k+1)-th
    is computed, and stays. Raises ValueError on an output without a token or on what is negative.

    >>> token_seconds(100, 3, prefill_s=1.0, token_interval_s=0.5).tolist()
    201.5
    """
    prompt_tokens, output_tokens = as_numbers(
        prompt_tokens=prompt_tokens, output_tokens=output_tokens
    )
    prompt_tokens = require_all_finite(prompt_tokens=prompt_tokens)
    prompts = as_floats(prompt_tokens=prompt_tokens)
    require(
        prompts.size > 0 and np.all(prompts >= 0),
        "prompt_tokens",
        "non-empty, non-negative and finite",
        prompts,
    )
    outputs = as_floats(output_tokens=require_all_finite(output_tokens=output_tokens))
    require(
        outputs.size > 0 and np.all(outputs >= 1),
        "output_tokens",
        "non-empty and at least 1",
        outputs,
    )
    prefill_s, token_interval_s = require_non_negative(
        prefill_s=prefill_s, token_interval_s=token_interval_s
    )
    residence_s = prefill_s + (outputs - 1) * token_interval_s
    return np.asarray(prompts * residence_s + token_interval_s * outputs * (outputs - 1) / 2)


def mean_held(arrival_rate: float, held_over_life: npt.ArrayLike) -> float:
    """Mean amount held at a time, H = λ·mean(G), of anything that requests hold while inside.

    arrival_rate: λ [1/s]. held_over_life: G of a sample of requests [unit·s], any shape: sojourns
    give the number in flight, token-seconds the tokens in cache, seconds × price the cost per
    second. Raises ValueError on a negative rate or on an empty or non-finite sample.

    >>> mean_held(arrival_rate=2.0, held_over_life=[10.0, 30.0])
    40.0
    """
    sample = as_floats(held_over_life=held_over_life)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    require(
        sample.size > 0 and np.all(np.isfinite(sample)),
        "held_over_life",
        "non-empty and finite",
        sample,
    )
    return arrival_rate * float(sample.mean())


LOAD = 0.8  # of the book's chat machine


@functools.cache
def _boxes() -> dict[str, float]:
    """The chat machine: rate, and what is inside of each box by rate times life, and as counted."""
    rng = np.random.default_rng(11)
    run = run_engine(CHAT, LOAD * CHAT.ceiling_per_s, 12_000, rng)
    end = float(run.completion_s.max())  # it starts and ends empty, so that the law is exact
    rate = run.arrival_s.size / end
    read = run.first_token_s - run.admitted_s
    decoding = run.completion_s - run.first_token_s
    own = np.where(run.output_tokens > 1, decoding / np.maximum(run.output_tokens - 1, 1), 0.0)
    held = run.prompt_tokens * (read + decoding)
    held = held + own * run.output_tokens * (run.output_tokens - 1) / 2
    seen = run.series((np.arange(20_000) + 0.5) / 20_000 * end)
    tokens = run.prompt_tokens.mean() + run.output_tokens.mean()
    return {
        "rate": rate,
        "waiting": mean_in_flight(rate, float((run.admitted_s - run.arrival_s).mean())),
        "waiting_seen": float(seen.waiting.mean()),
        "running": mean_in_flight(rate, float((read + decoding).mean())),
        "running_seen": float(seen.running.mean()),
        "tokens": mean_held(rate, held),
        "tokens_seen": float(seen.cache_share.mean()) * run.cache_tokens,
        "product": float(tokens) * mean_in_flight(rate, float((read + decoding).mean())),
        "stay_s": float((read + decoding).mean()),
        "held": float(held.mean()),
    }


def _product_error(scv: float, prompt: int, mean: int) -> float:
    """Relative error of rate × mean tokens × mean stay, at P = 0.15 s and τ = 0.03 s."""
    residence = 0.15 + (mean - 1) * 0.03
    squared = mean**2 * (1 + scv) - mean
    return (prompt + mean) * residence / (prompt * residence + 0.03 * squared / 2) - 1


def example() -> SimpleNamespace:
    """Numbers quoted in the text, of the chat machine at 80% load."""
    box, capacity = _boxes(), VLLM_BLOCKS * VLLM_BLOCK_TOKENS
    return SimpleNamespace(
        box_load=100 * LOAD,
        box_rate=box["rate"],
        box_running=box["running"],
        box_running_seen=box["running_seen"],
        box_stay_s=box["stay_s"],
        box_tokens=round(box["tokens"], -2),
        box_tokens_seen=round(box["tokens_seen"], -2),
        box_held=box["held"],
        product_percent=100 * (box["product"] / box["tokens"] - 1),
        reasoning_percent=100 * _product_error(0.0, 200, 4000),
        worst_case_concurrency=capacity / VLLM_MODEL_LENGTH,
    )


def check_concurrency_that_a_log_prints() -> None:
    """The worst-case concurrency that vLLM logs is its cache divided by the longest request.

    Source: vLLM issue 12330, "Maximum concurrency for 8192 tokens per request: 11.12x" with 5691
    blocks.
    """
    slots = VLLM_BLOCKS * VLLM_BLOCK_TOKENS / VLLM_MODEL_LENGTH
    checks.close("requests of 8192 tokens", slots, 11.12, atol=0.005, kind="published")


def check_boxes_of_an_engine() -> None:
    """In a run of the chat machine, the rate times what a request holds over its life is what is
    inside, in requests and in tokens, although steps get longer as more requests run and each
    request has its own time per token.

    Source: 20,000 moments of the run, counted; answers grow evenly between first and last token.
    """
    box = _boxes()
    for name in ("waiting", "running", "tokens"):
        checks.close(name, box[name], box[f"{name}_seen"], rtol=0.01, kind="simulation")


def check_product_of_means_is_not_the_mean_product() -> None:
    """Rate × mean tokens × mean stay errs to either side: it is too high where answers are long and
    equal, and by a tenth on the chat machine, or by less than half of that if its long answers did
    not follow shorter prompts; it is too low where lengths vary more, as on the mixture.

    Source: G = pR + τE[o(o−1)]/2, sampled; the simulated engine; the moments of lengths.
    """
    rng = np.random.default_rng(4)
    few = np.where(rng.random(280_000) < 1 - 1 / 17, 125, 2250)  # mean 250, C² = 4
    held = token_seconds(1000, few, 0.15, 0.03).mean()
    residence = 0.15 + (float(few.mean()) - 1) * 0.03
    sampled = (1000 + float(few.mean())) * residence / float(held) - 1
    checks.close(
        "C² = 4: product over tokens, less 1",
        _product_error(4.0, 1000, 250),
        sampled,
        atol=0.02,
        kind="simulation",
    )
    checks.inside("C² = 4: product over tokens, less 1", sampled, -0.5, -0.1)
    long = float(4200 * 120.12 / token_seconds(200, 4000, 0.15, 0.03)) - 1
    checks.close(
        "long and equal: product over tokens, less 1",
        _product_error(0.0, 200, 4000),
        long,
        rtol=1e-9,
    )
    checks.inside(
        "long and equal: product over tokens, less 1", _product_error(0.0, 200, 4000), 0.5, 1.0
    )
    box = _boxes()
    checks.inside("chat: product over tokens", box["product"] / box["tokens"], 1.07, 1.13)
    prompt, answers = CHAT.sample.prompt_tokens.mean(), CHAT.sample.output_tokens
    unrelated = (prompt + answers.mean()) / (prompt + (answers**2).mean() / answers.mean() / 2)
    checks.inside("chat, unrelated lengths: product over tokens", float(unrelated), 1.02, 1.05)
    prompts, answers = MIXTURE.sample.prompt_tokens, MIXTURE.sample.output_tokens
    held = (answers * (prompts + answers / 2)).mean()
    ratio = (prompts + answers).mean() * answers.mean() / held
    checks.inside("mixture: product over tokens", float(ratio), 0.92, 0.98)
