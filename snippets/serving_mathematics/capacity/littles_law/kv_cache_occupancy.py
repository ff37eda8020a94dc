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

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.littles_law.littles_law import number_in_system
from serving_mathematics.core.queues.queue_simulator import fifo_waits, gamma_times
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_all_finite,
    require_all_non_negative,
    require_non_negative,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

VLLM_BLOCKS = 5691  # GPU blocks of an A100 40 GB with Llama 3 8B; vLLM issue 12330
VLLM_BLOCK_TOKENS = 16  # tokens per block; the default that reproduces the 11.12 of that log
VLLM_MODEL_LENGTH = 8192  # tokens; the longest request of the same log


def residence_s(
    output_tokens: npt.ArrayLike, prefill_s: float, token_interval_s: float
) -> FloatArray:
    """Time from admission to the last token, P + (o − 1)·τ [s].

    output_tokens: o ≥ 1, any shape. prefill_s: P, admission to first token [s]. token_interval_s: τ
    [s]. Raises ValueError on an output without a token or on negative times.

    >>> residence_s([1, 101], prefill_s=0.5, token_interval_s=0.02).tolist()
    [0.5, 2.5]
    """
    output_tokens = require_all_finite(output_tokens=output_tokens)
    outputs = as_floats(output_tokens=output_tokens)
    require(
        outputs.size > 0 and np.all(outputs >= 1),
        "output_tokens",
        "non-empty and at least 1",
        outputs,
    )
    prefill_s, token_interval_s = require_non_negative(
        prefill_s=prefill_s, token_interval_s=token_interval_s
    )
    return np.asarray(prefill_s + (outputs - 1) * token_interval_s)


def token_seconds(
    prompt_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    prefill_s: float,
    token_interval_s: float,
) -> FloatArray:
    """What a request holds of the cache over its life, G = p·(P + (o−1)τ) + τ·o(o−1)/2 [token·s].

    prompt_tokens: p ≥ 0, broadcast against output_tokens. Other arguments and errors as for
    `residence_s`. The k-th output token is written when the (k+1)-th is computed, and stays.

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
    residence = residence_s(output_tokens, prefill_s, token_interval_s)
    outputs = as_floats(output_tokens=output_tokens)
    return np.asarray(prompts * residence + token_interval_s * outputs * (outputs - 1) / 2)


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


def tokens_in_cache(
    admitted_s: npt.ArrayLike,
    prompt_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    prefill_s: float,
    token_interval_s: float,
    at: npt.ArrayLike,
) -> FloatArray:
    """Tokens in the cache at each of many instants: prompts of those inside and what they produced.

    admitted_s: admission times [s], shape (n,). prompt_tokens, output_tokens: shape (n,).
    at: instants [s], shape (m,). Returns shape (m,). Raises ValueError as `token_seconds`, and on
    shapes that differ. Memory is n × m, meant for figures and tests.

    >>> tokens_in_cache([0.0], [100], [3], 1.0, 0.5, at=[0.5, 1.2, 1.7, 2.5]).tolist()
    [100.0, 101.0, 102.0, 0.0]
    """
    prefill_s = as_number(prefill_s=prefill_s)
    admitted, instants = as_floats(admitted_s=admitted_s), as_floats(at=at)
    prompts = as_floats(prompt_tokens=prompt_tokens)
    residence = residence_s(output_tokens, prefill_s, token_interval_s)
    require(
        admitted.ndim == 1 and admitted.shape == prompts.shape == residence.shape,
        "admitted_s",
        f"of shape {residence.shape}, like the tokens",
        admitted.shape,
    )
    token_interval_s = require_positive(token_interval_s=token_interval_s)
    require_all_finite(admitted_s=admitted, at=instants)
    require_all_non_negative(prompt_tokens=prompts)
    age = instants[:, None] - admitted
    written = np.floor((age - prefill_s) / token_interval_s) + 1
    inside = (age >= 0) & (age < residence)
    return np.asarray(np.where(inside, prompts + np.maximum(written, 0), 0.0).sum(axis=1))


PROMPT, OUTPUT, PREFILL_S, INTERVAL_S = 1000, 250, 0.15, 0.03  # a chat workload [tokens, s]
SHARED = 500  # of the prompt's tokens, the same in all requests, by choice


def _outputs(scv: float, mean: int = OUTPUT) -> FloatArray:
    """A large stratified sample of output lengths of the given mean and variability."""
    if scv == 0:
        return np.array([float(mean)])
    share = (np.arange(200_000) + 0.5) / 200_000
    if scv == 1:
        return np.asarray(np.ceil(np.log1p(-share) / math.log1p(-1 / mean)))  # geometric
    few, many = mean / 2, mean * (1 + 2 * scv)  # two lengths, mostly the short one
    return np.where(share < 1 - 1 / (1 + 4 * scv), few, many)


def _naive_error(scv: float, prompt: int, mean: int) -> float:
    """Relative error of rate × mean tokens × mean residence against H = λG."""
    outputs = _outputs(scv, mean)
    held = token_seconds(prompt, outputs, PREFILL_S, INTERVAL_S).mean()
    residence = residence_s(outputs, PREFILL_S, INTERVAL_S).mean()
    return float((prompt + outputs.mean()) * residence / held - 1)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: 1,000-token prompts, 250 output tokens on average."""
    outputs = _outputs(1.0)
    held = token_seconds(PROMPT, outputs, PREFILL_S, INTERVAL_S)
    residence = float(residence_s(outputs, PREFILL_S, INTERVAL_S).mean())
    capacity = VLLM_BLOCKS * VLLM_BLOCK_TOKENS
    rate = capacity / float(held.mean())
    heavy = token_seconds(PROMPT, _outputs(4.0), PREFILL_S, INTERVAL_S)
    own = token_seconds(PROMPT - SHARED, outputs, PREFILL_S, INTERVAL_S)
    return SimpleNamespace(
        g_token_s=float(held.mean()),
        residence_mean_s=residence,
        cache_capacity_tokens=capacity,
        worst_case_concurrency=capacity / VLLM_MODEL_LENGTH,
        rate_at_capacity=rate,
        in_flight_at_capacity=rate * residence,
        shared_tokens=SHARED,
        rate_with_shared=(capacity - SHARED) / float(own.mean()),
        naive_error_constant_percent=100 * _naive_error(0.0, PROMPT, OUTPUT),
        naive_error_geometric_percent=100 * _naive_error(1.0, PROMPT, OUTPUT),
        naive_error_heavy_percent=100 * _naive_error(4.0, PROMPT, OUTPUT),
        h_at_four=mean_held(4.0, heavy),
        naive_at_four=mean_held(4.0, heavy) * (1 + _naive_error(4.0, PROMPT, OUTPUT)),
        reasoning_error_percent=100 * _naive_error(0.0, 200, 4000),
    )


def figure_three_boxes(figure: Figure) -> None:
    """One run, three boxes: in each, the dashed rate × (time inside, or token-seconds) is the mean.

    Two requests per second enter a replica with 14 slots: the queue, the slots, and the cache that
    the slots fill, weighted by tokens.

    Alt: Three stacked charts over 145 seconds. Requests waiting: zero most of the time, with bursts
    up to nine. Requests in the slots: a staircase that climbs to its ceiling of 14 within ten
    seconds, stays there for long stretches, and ends at zero. Thousand tokens in cache: the same
    shape, smoother, up to 19. A dashed line in each chart marks arrival rate times the mean spent
    inside: 0.8 requests, 11.3 requests, 13.6 thousand tokens.
    """
    figure.set_size_inches(5.8, 4.6)
    panels = figure.subplots(3, 1, sharex=True)
    rng = np.random.default_rng(12)
    count = 240
    arrivals = np.cumsum(gamma_times(rng, 0.5, 1.0, count))
    outputs = rng.geometric(1 / 200, count).astype(float)
    residence = residence_s(outputs, PREFILL_S, INTERVAL_S)
    admitted = arrivals + fifo_waits(arrivals, residence, 14)
    done = admitted + residence
    end = float(done.max())  # the run starts and ends empty, so the law is exact for it
    rate = count / end
    grid = np.linspace(0, end, 400)
    tokens = tokens_in_cache(admitted, np.full(count, 1000), outputs, PREFILL_S, INTERVAL_S, grid)
    held = token_seconds(1000, outputs, PREFILL_S, INTERVAL_S)
    for axes, values, mean, label, colour in zip(
        panels,
        (
            number_in_system(arrivals, admitted, grid),
            number_in_system(admitted, done, grid),
            tokens / 1000,
        ),
        (
            rate * float((admitted - arrivals).mean()),
            rate * float(residence.mean()),
            mean_held(rate, held) / 1000,
        ),
        ("queue\n[requests]", "slots\n[requests]", "cache\n[1000 tokens]"),
        ("C1", "C0", "C2"),
        strict=True,
    ):
        axes.plot(grid, values, color=colour, drawstyle="steps-post", linewidth=1.4)
        axes.axhline(mean, color="C4", linestyle="--", linewidth=1.4)
        axes.annotate(
            f"{mean:.1f}", (end * 1.01, mean), color="C4", va="center", annotation_clip=False
        )
        axes.set(xlabel="time [s]", ylabel=label, xlim=(0, end), ylim=(0, None))
        axes.xaxis.label.set_visible(axes is panels[2])  # the axis is shared and labelled below


def check_token_seconds_against_a_token_loop() -> None:
    """The closed form is what a loop over every second-long stay of every token adds up to.

    Source: each prompt token stays P + (o−1)τ, the k-th output token (o − k)τ, the last none.
    """
    for prompt, output in ((0, 1), (100, 3), (7, 40)):
        stays = [0.3 + (output - 1) * 0.05] * prompt
        stays += [(output - k) * 0.05 for k in range(1, output + 1)]
        got = float(token_seconds(prompt, output, 0.3, 0.05))
        checks.close(f"p = {prompt}, o = {output} [token·s]", got, math.fsum(stays), atol=1e-11)


def check_rate_times_token_seconds_is_the_mean_held() -> None:
    """In a run that starts and ends empty, λ times mean token-seconds is the cache's time average.

    Source: the cache counted at 60,000 instants, the midpoints of equal steps, of a run of 80
    requests through 8 slots; the tolerance is the step's share of one token's interval.
    """
    rng = np.random.default_rng(2)
    arrivals = np.cumsum(rng.exponential(0.5, 80))
    prompts = rng.integers(10, 2000, 80).astype(float)
    outputs = rng.geometric(1 / 60, 80).astype(float)
    residence = residence_s(outputs, 0.2, 0.05)
    admitted = arrivals + fifo_waits(arrivals, residence, 8)
    end = float((admitted + residence).max())
    midpoints = (np.arange(60_000) + 0.5) * end / 60_000
    counted = np.concatenate(
        [
            tokens_in_cache(admitted, prompts, outputs, 0.2, 0.05, part)
            for part in np.split(midpoints, 30)
        ]
    )
    held = token_seconds(prompts, outputs, 0.2, 0.05)
    checks.close("tokens in cache", mean_held(80 / end, held), counted.mean(), rtol=1e-4)


def check_shared_prompts_are_held_once() -> None:
    """Tokens with which every prompt begins lie in the cache once, while anybody is inside: the
    mean is λG of what a request does not share, and them for that share of time. λG of whole
    prompts counts them for each.

    Source: distinct tokens at 60,000 instants of a run of 80 requests through 8 slots.
    """
    rng = np.random.default_rng(3)
    arrivals = np.cumsum(rng.exponential(0.5, 80))
    own, outputs = rng.integers(10, 400, 80).astype(float), rng.geometric(1 / 60, 80).astype(float)
    residence = residence_s(outputs, 0.2, 0.05)
    admitted = arrivals + fifo_waits(arrivals, residence, 8)
    end = float((admitted + residence).max())
    rate = 80 / end
    midpoints = (np.arange(60_000) + 0.5) * end / 60_000
    inside = number_in_system(admitted, admitted + residence, midpoints) > 0
    written = np.concatenate(
        [
            tokens_in_cache(admitted, own, outputs, 0.2, 0.05, part)
            for part in np.split(midpoints, 30)
        ]
    )
    counted = float((written + 1000 * inside).mean())
    once = mean_held(rate, token_seconds(own, outputs, 0.2, 0.05)) + 1000 * float(inside.mean())
    checks.close("held once", once, counted, rtol=1e-3)
    each = mean_held(rate, token_seconds(own + 1000, outputs, 0.2, 0.05))
    checks.inside("charged to each, over what is held", each / counted, 2.0, 8.0)


def check_concurrency_that_a_log_prints() -> None:
    """The worst-case concurrency that vLLM logs is its cache over the longest request.

    Source: vLLM issue 12330, "Maximum concurrency for 8192 tokens per request: 11.12x" with 5691
    blocks.
    """
    slots = VLLM_BLOCKS * VLLM_BLOCK_TOKENS / VLLM_MODEL_LENGTH
    checks.close("requests of 8192 tokens", slots, 11.12, atol=0.005, kind="published")


def check_product_of_means_is_not_the_mean_product() -> None:
    """Rate × mean tokens × mean residence errs with the variability of the output, in both ways.

    Source: G = pR + τE[o(o−1)]/2 with E[o(o−1)] = m²(1 + C²) − m, by hand, for p = 1,000, m = 250,
    P = 0.15 s, τ = 0.03 s; a geometric output has C² = 1 − 1/m.
    """
    residence = 0.15 + 249 * 0.03
    for name, scv, squared in (
        ("constant output", 0.0, 250**2 - 250.0),
        ("geometric output", 1.0, 250**2 * (2 - 1 / 250) - 250),
        ("two lengths, C² = 4", 4.0, 250**2 * 5 - 250.0),
    ):
        by_hand = 1250 * residence / (1000 * residence + 0.03 * squared / 2) - 1
        checks.close(f"{name}, relative error", _naive_error(scv, 1000, 250), by_hand, atol=2e-5)


def check_bad_input_is_refused() -> None:
    """Outputs without a token, negative prompts and rates, and mismatched logs are errors."""
    checks.raises("no output", residence_s, [0], 0.1, 0.1, match="output_tokens must be non-empty")
    checks.raises("negative prompt", token_seconds, -1, 5, 0.1, 0.1, match="prompt_tokens must be")
    checks.raises("NaN rate", mean_held, math.nan, [1.0], match="arrival_rate must be non-negative")
    checks.raises("no sample", mean_held, 1.0, [], match="held_over_life must be non-empty")
    checks.raises(
        "two admissions, one request",
        tokens_in_cache,
        [0.0, 1.0],
        [5],
        [5],
        0.1,
        0.1,
        [0.0],
        match="admitted_s must be of shape (1,)",
    )
