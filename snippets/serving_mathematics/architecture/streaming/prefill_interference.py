"""What the prompts of others do to a running stream: a prefill lengthens the steps in which it
runs, and chunks spread the same work over more steps.

A decode step takes ℓ, prefill works through r tokens a second, and a step that takes p prompt
tokens along takes ℓ + p/r. All running streams wait for it, so that is their ITL. With prompt
tokens arriving at rate v, the mean ITL is ℓ/(1 − v/r) whatever the chunk size C, and the longest
is ℓ + C/r.

Assumes: the device does decode and prefill work one after the other (an upper bound, since decode
leaves arithmetic idle that a chunk can use); ℓ does not depend on the batch; prompts are taken in
order.

Source: Agrawal et al. (2024), chunked prefill and stall-free batching; the mean is derived here
from conservation of work.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.hardware.roofline import (
    A100_BANDWIDTH,
    A100_PEAK,
    LLAMA_7B_KV,
    LLAMA_7B_PARAMETERS,
)
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEP_S = 0.025  # ℓ of the worked numbers [s]
PREFILL_PER_S = 16_000.0  # r of the worked numbers [tokens/s]
PROMPT_TOKENS = 8192  # prompt of the worked numbers
PROMPTS_PER_S = 0.4  # of that length, arriving at random [1/s]
STREAMS = 32  # that decode beside the prompt, with 1,000 tokens of context each, on the A100


def gaps_during_prefill_s(
    step_s: float, prompt_tokens: int, prefill_per_s: float, chunk_tokens: int
) -> npt.NDArray[np.float64]:
    """The gaps that a running stream sees while one prompt is prefilled in chunks [s].

    step_s: ℓ, a decode step [s]. prompt_tokens: P ≥ 1. prefill_per_s: r [tokens/s]. chunk_tokens:
    C ≥ 1 prompt tokens in one step at most. Their sum is the prefill's time to first token, without
    queueing. Raises ValueError outside these ranges.

    >>> gaps_during_prefill_s(step_s=0.5, prompt_tokens=500, prefill_per_s=100.0, chunk_tokens=200)
    array([2.5, 2.5, 1.5])
    """
    prompt_tokens, chunk_tokens = as_number(prompt_tokens=prompt_tokens, chunk_tokens=chunk_tokens)
    step_s, prefill_per_s = require_positive(step_s=step_s, prefill_per_s=prefill_per_s)
    for name, value in (("prompt_tokens", prompt_tokens), ("chunk_tokens", chunk_tokens)):
        require(1 <= value < math.inf and value % 1 == 0, name, "a positive integer", value)
    most = 1e7 * chunk_tokens
    require(prompt_tokens <= most, "prompt_tokens", "at most ten million chunks", prompt_tokens)
    chunks = np.full(-(-int(prompt_tokens) // int(chunk_tokens)), float(chunk_tokens))
    chunks[-1] = prompt_tokens - chunk_tokens * (chunks.size - 1)
    return step_s + chunks / prefill_per_s


def mean_itl_s(step_s: float, prompt_tokens_per_s: float, prefill_per_s: float) -> float:
    """Mean gap of the running streams [s]: ℓ/(1 − v/r), the same for every chunk size.

    step_s: ℓ [s]. prompt_tokens_per_s: v ≥ 0, arriving prompt tokens. prefill_per_s: r > v. Per
    step, v·E[ITL] tokens arrive and take 1/r each. Raises ValueError outside these ranges.

    >>> mean_itl_s(step_s=0.5, prompt_tokens_per_s=50.0, prefill_per_s=100.0)
    1.0
    """
    prompt_tokens_per_s = as_number(prompt_tokens_per_s=prompt_tokens_per_s)
    step_s, prefill_per_s = require_positive(step_s=step_s, prefill_per_s=prefill_per_s)
    stable = 0 <= prompt_tokens_per_s < prefill_per_s
    require(stable, "prompt_tokens_per_s", f"in [0, {prefill_per_s:g})", prompt_tokens_per_s)
    return step_s / (1 - prompt_tokens_per_s / prefill_per_s)


def chunk_window(
    longest_itl_s: float, step_s: float, prompt_tokens_per_s: float, prefill_per_s: float
) -> tuple[float, float]:
    """Chunk sizes above which prompts keep up, and up to which no gap is longer than allowed.

    longest_itl_s: L, allowed gap [s], above ℓ. step_s: ℓ [s]. prompt_tokens_per_s: v ≥ 0.
    prefill_per_s: r > v. A chunk a step prefills C/(ℓ + C/r) tokens a second, which exceeds v for
    C > vℓ/(1 − v/r); a gap of ℓ + C/r is within L for C ≤ (L − ℓ)r. Raises ValueError when no
    chunk does both.

    >>> chunk_window(2.5, step_s=0.5, prompt_tokens_per_s=50.0, prefill_per_s=100.0)
    (50.0, 200.0)
    """
    longest_itl_s, prompt_tokens_per_s = as_number(
        longest_itl_s=longest_itl_s, prompt_tokens_per_s=prompt_tokens_per_s
    )
    step_s, prefill_per_s = require_positive(step_s=step_s, prefill_per_s=prefill_per_s)
    stable = 0 <= prompt_tokens_per_s < prefill_per_s
    require(stable, "prompt_tokens_per_s", f"in [0, {prefill_per_s:g})", prompt_tokens_per_s)
    low = prompt_tokens_per_s * step_s / (1 - prompt_tokens_per_s / prefill_per_s)
    least = step_s + low / prefill_per_s
    require(least < longest_itl_s < math.inf, "longest_itl_s", f"above {least:g}", longest_itl_s)
    return low, (longest_itl_s - step_s) * prefill_per_s


def simulate_itl_s(
    rng: np.random.Generator,
    step_s: float,
    prefill_per_s: float,
    prompts_per_s: float,
    prompt_tokens: int,
    chunk_tokens: int,
    steps: int = 40_000,
) -> npt.NDArray[np.float64]:
    """Gaps of a stream that runs through many steps while prompts arrive as a Poisson process [s],
    shape (steps,).

    step_s: ℓ [s]. prefill_per_s: r [tokens/s]. prompts_per_s: arrival rate. prompt_tokens: length
    of each. chunk_tokens: C, most prompt tokens in a step. Raises ValueError on bad input and when
    chunks of that size cannot keep up.
    """
    prompt_tokens, chunk_tokens = as_number(prompt_tokens=prompt_tokens, chunk_tokens=chunk_tokens)
    step_s, prefill_per_s, prompts_per_s = require_positive(
        step_s=step_s, prefill_per_s=prefill_per_s, prompts_per_s=prompts_per_s
    )
    for name, value in (("prompt_tokens", prompt_tokens), ("chunk_tokens", chunk_tokens)):
        require(1 <= value < math.inf and value % 1 == 0, name, "a positive integer", value)
    steps = require_positive_integer(steps=steps)
    require_work(steps, steps=steps)
    keeps_up = prompts_per_s * prompt_tokens < 1 / (step_s / chunk_tokens + 1 / prefill_per_s)
    require(keeps_up, "chunk_tokens", "enough to keep up with the prompts", chunk_tokens)
    gaps = np.empty(int(steps))
    now, backlog, next_prompt = 0.0, 0, float(rng.exponential(1 / prompts_per_s))
    for i in range(int(steps)):
        while next_prompt <= now:
            backlog += prompt_tokens
            next_prompt += float(rng.exponential(1 / prompts_per_s))
        chunk = min(backlog, chunk_tokens)
        backlog -= chunk
        gaps[i] = step_s + chunk / prefill_per_s
        now += gaps[i]
    return gaps


def _gaps(chunk_tokens: int, steps: int = 40_000) -> npt.NDArray[np.float64]:
    """Simulated gaps with the numbers of the text, the same prompts for every chunk size."""
    rng = np.random.default_rng(13)
    return simulate_itl_s(
        rng, STEP_S, PREFILL_PER_S, PROMPTS_PER_S, PROMPT_TOKENS, chunk_tokens, steps
    )


def _overlapped_s(chunk_tokens: int) -> float:
    """Time of a step of a model with 7 billion parameters on an A100 that decodes the streams and
    prefills a chunk, the longer of reading and computing [s]."""
    read = (2 * LLAMA_7B_PARAMETERS + STREAMS * 1000 * LLAMA_7B_KV) / A100_BANDWIDTH
    return max(read, 2 * LLAMA_7B_PARAMETERS * (STREAMS + chunk_tokens) / A100_PEAK)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: ℓ = 25 ms, prompts of 8192 tokens, 16,000 tokens a second."""
    whole = gaps_during_prefill_s(STEP_S, PROMPT_TOKENS, PREFILL_PER_S, PROMPT_TOKENS)
    chunked = gaps_during_prefill_s(STEP_S, PROMPT_TOKENS, PREFILL_PER_S, 1024)
    rate = PROMPTS_PER_S * PROMPT_TOKENS
    low, high = chunk_window(0.100, STEP_S, rate, PREFILL_PER_S)
    gaps, chunked_gaps = _gaps(10**9), _gaps(1024)
    shares = [batch_means(seen > STEP_S * 1.001) for seen in (gaps, chunked_gaps)]
    return SimpleNamespace(
        pause_ms=1000 * float(whole.max()),
        chunked_itl_ms=1000 * float(chunked.max()),
        chunk_steps=chunked.size,
        first_token_chunked_ms=1000 * float(chunked.sum()),
        streams=STREAMS,
        overlapped_percent=100
        * (chunked.size * _overlapped_s(1024) / _overlapped_s(PROMPT_TOKENS) - 1),
        mean_itl_ms=1000 * mean_itl_s(STEP_S, rate, PREFILL_PER_S),
        prefill_share_percent=100 * rate / PREFILL_PER_S,
        smallest_chunk=low,
        largest_chunk=high,
        p99_whole_ms=1000 * float(np.quantile(gaps, 0.99)),
        p99_chunked_ms=1000 * float(np.quantile(chunked_gaps, 0.99)),
        interrupted_percent=100 * shares[0].mean,
        interrupted_half=100 * shares[0].half_width,
        chunked_percent=100 * shares[1].mean,
        chunked_half=100 * shares[1].half_width,
    )


def figure_itl_distribution(figure: Figure) -> None:
    """With whole prompts one gap in a hundred lasts half a second; with chunks none is longer than
    ℓ + C/r, and the mean is the same.

    Share of the gaps longer than the time on the axis, over 40,000 simulated steps of 25 ms that
    prefill 16,000 tokens a second; prompts of 8192 tokens arrive 0.4 times a second.

    Alt: Chart of the share of gaps longer than x, logarithmic from 1 to 0.0001, against gap length
    from 0.02 to 3 seconds, logarithmic. Whole prompts: the line falls to 0.012 at 25 ms, stays flat
    until half a second, and steps down at multiples of it. Chunks of 2048 tokens: flat at 0.05 up
    to 153 ms, then zero. Chunks of 1024: flat at 0.1 up to 89 ms, then zero. A dotted line marks
    the common mean at 31 ms.
    """
    axes = figure.subplots()
    for chunk, colour, text, x, y in (
        (10**9, "C3", "whole prompts", 0.20, 0.02),
        (2048, "C1", "chunks of 2048", 0.165, 0.05),
        (1024, "C0", "chunks of 1024", 0.096, 0.16),
    ):
        values, counts = np.unique(np.round(_gaps(chunk), 9), return_counts=True)
        longer = 1 - np.cumsum(counts) / counts.sum()
        edges = np.concatenate(([0.01], values))
        axes.step(edges, np.maximum([1.0, *longer], 1e-6), where="post", color=colour)
        axes.annotate(text, (x, y), color=colour)
    mean = mean_itl_s(STEP_S, PROMPTS_PER_S * PROMPT_TOKENS, PREFILL_PER_S)
    axes.axvline(mean, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("mean", (mean * 1.06, 3e-4), color="C4")
    axes.set(xscale="log", yscale="log", xlim=(0.02, 3), ylim=(1e-4, 1.3))
    axes.set_xticks([0.1, 1], ["0.1", "1"])
    axes.set_yticks([1e-4, 1e-3, 0.01, 0.1, 1], ["10⁻⁴", "0.001", "0.01", "0.1", "1"])
    axes.minorticks_off()
    axes.set(xlabel="gap between tokens [s]", ylabel="share of longer gaps [1]")


def slider_itl_distribution() -> dict[str, Any]:
    """Cut the newcomer's prompt finer: the streams that run hardly stop, and the newcomer pays
    where decode and prefill add up."""
    chunks, prompts = [2**k for k in range(6, 16)], [1024, 2048, 4096, 8192, 16384, 32768]
    gaps = [
        [gaps_during_prefill_s(STEP_S, prompt, PREFILL_PER_S, chunk) for prompt in prompts]
        for chunk in chunks
    ]
    return {
        "controls": [
            {"label": "chunk", "values": chunks, "text": "{:,} tokens", "start": 1024},
            {"label": "prompt", "values": prompts, "text": "{:,} tokens", "start": PROMPT_TOKENS},
        ],
        "x": {"label": "chunk", "unit": "token", "log": True},
        "y": {
            "label": "time",
            "unit": "ms",
            "log": True,
            "range": (20, 20_000),
            "limit": {"at": 100, "label": "longest gap allowed"},
        },
        "curves": [
            {
                "label": "longest gap",
                "unit": "ms",
                "values": [[1e3 * gap.max() for gap in row] for row in gaps],
                "decimals": 0,
            },
            {
                "label": "first token",
                "unit": "ms",
                "values": [[1e3 * gap.sum() for gap in row] for row in gaps],
                "decimals": 0,
            },
        ],
        "readouts": [
            {
                "label": "steps",
                "unit": "",
                "values": [[gap.size for gap in row] for row in gaps],
                "decimals": 0,
            }
        ],
        "reading": "A prompt of {prompt} in chunks of {chunk} takes {steps} steps: running streams"
        " see gaps of up to {longest gap}, and the newcomer waits {first token} for its first"
        " token.",
    }


def check_chunks_bound_the_gap() -> None:
    """A prompt of 8192 tokens stops running streams for 537 ms whole, and for 89 ms a step in
    chunks of 1024.

    Source: 25 ms + 8192/16,000 s and 25 ms + 1024/16,000 s by hand; the chunks added up.
    """
    whole = gaps_during_prefill_s(0.025, 8192, 16_000.0, 8192)
    chunked = gaps_during_prefill_s(0.025, 8192, 16_000.0, 1024)
    checks.close("gap, whole [s]", whole, [0.537], rtol=1e-12)
    checks.close("gaps, chunks of 1024 [s]", chunked, np.full(8, 0.089), rtol=1e-12)
    steps = chunked.size - 1
    checks.close(
        "added up, the prefill pays", chunked.sum() - whole.sum(), steps * 0.025, rtol=1e-9
    )
    odd = gaps_during_prefill_s(0.025, 8192, 16_000.0, 1000)
    checks.close("uneven chunks [s]", odd.sum(), 9 * 0.025 + 8192 / 16_000, rtol=1e-12)


def check_chunks_do_not_delay_the_stream() -> None:
    """Chunked or not, the token eight steps after the prompt arrives at the same moment.

    Source: one step with the whole prefill and seven without, against eight with an eighth each.
    """
    whole = gaps_during_prefill_s(0.025, 8192, 16_000.0, 8192).sum() + 7 * 0.025
    chunked = gaps_during_prefill_s(0.025, 8192, 16_000.0, 1024).sum()
    checks.close("eighth token [s]", chunked, whole, rtol=1e-12)


def check_overlap_spares_the_newcomer() -> None:
    """Where a step takes the longer of reading and computing, chunks of 1,024 delay the newcomer's
    first token by the arithmetic of the streams that ride along, below a twentieth, and not by a
    decode step a chunk, a third.

    Source: 8·(1024 + 32)/(8192 + 32) by hand, since all steps compute for longer than they read;
    the sum of the times from `gaps_during_prefill_s`.
    """
    later = 8 * _overlapped_s(1024) / _overlapped_s(8192)
    checks.close("overlapped, chunked over whole", later, 8 * 1056 / 8224, rtol=1e-12)
    checks.inside("below a twentieth", later, 1.0, 1.05)
    chunked, whole = (
        gaps_during_prefill_s(STEP_S, PROMPT_TOKENS, PREFILL_PER_S, chunk).sum()
        for chunk in (1024, PROMPT_TOKENS)
    )
    checks.inside("added, chunked over whole", float(chunked / whole), 1.3, 1.4)


def check_mean_is_the_same() -> None:
    """The mean gap is ℓ/(1 − v/r) for every chunk size: TPOT cannot see the pauses.

    Source: simulated steps with Poisson prompts, batch means.
    """
    expected = mean_itl_s(STEP_S, PROMPTS_PER_S * PROMPT_TOKENS, PREFILL_PER_S)
    for chunk, text in ((10**9, "whole prompts"), (2048, "C = 2048"), (1024, "C = 1024")):
        gaps = _gaps(chunk)
        estimate: MeanEstimate = batch_means(gaps)
        checks.covers(f"mean gap, {text} [s]", estimate, expected)
        if chunk < 10**9:
            longest = STEP_S + chunk / PREFILL_PER_S
            checks.close(f"longest gap, {text} [s]", gaps.max(), longest, rtol=1e-12)


def check_window_is_tight() -> None:
    """Just inside the window of chunk sizes both promises hold, just outside one breaks.

    Source: the chunk's throughput C/(ℓ + C/r) and its gap ℓ + C/r, evaluated at both ends.
    """
    rate = PROMPTS_PER_S * PROMPT_TOKENS
    low, high = chunk_window(0.100, STEP_S, rate, PREFILL_PER_S)
    checks.close(
        "prefilled a second at the low end", low / (0.025 + low / 16_000), rate, rtol=1e-12
    )
    checks.close("gap at the high end [s]", 0.025 + high / 16_000, 0.100, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Chunks of nothing, prompts that outrun the device and impossible limits are errors."""
    checks.raises("no chunk", gaps_during_prefill_s, 0.1, 9, 9.0, 0, match="chunk_tokens must be a")
    checks.raises("v = r", mean_itl_s, 0.1, 9.0, 9.0, match="prompt_tokens_per_s must be in [0, 9)")
    checks.raises("L = ℓ", chunk_window, 0.1, 0.1, 1.0, 9.0, match="longest_itl_s must be above")
