"""Static, dynamic and continuous batching of generated text, compared on the same engine.

Static batching waits for a full batch, dynamic batching takes what is there; both run a batch until
its longest output is done and let nobody in. Continuous batching changes the batch after every
step. All three have the same places and the same costs of a step.

Assumes: padded batches pay for every place until they end; lengths are not known in advance.

Source: Yu et al. (2022) for batches that wait for their longest member; Agrawal et al. (2024) for
the token budget as the trade between the first token and the others.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.admission_order import Ordered, gap_quantile, serve_in_order
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    Workload,
    chat_workload,
    latencies_s,
    simulate_steps,
)
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.optimization.batching.batching import form_batches
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import half_width
from serving_mathematics.support.require import as_floats, require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

REQUESTS = 2000  # of a simulated chat
SCARCE = 1400  # the same where memory is scarce
SIXTEEN = replace(EIGHT_BILLION, max_sequences=16)  # as many places for all three policies


def padded_batch_s(
    prompt_tokens: npt.ArrayLike, output_tokens: npt.ArrayLike, engine: Engine
) -> float:
    """Time of a static batch [s]: all prompts, then steps until the longest output is done, with
    every place occupied until then.

    prompt_tokens, output_tokens: of the members, positive, shape (b,). engine: its costs and token
    budget; memory is not checked. Raises ValueError on other shapes or numbers.

    >>> padded_batch_s(np.array([4, 2]), np.array([3, 1]), Engine(step_s=2.0, prefill_token_s=0.5))
    9.0
    """
    prompts, outputs = (
        as_floats(prompt_tokens=prompt_tokens),
        as_floats(output_tokens=output_tokens),
    )
    require(prompts.ndim == 1 and prompts.size > 0, "prompt_tokens", "of shape (b,)", prompts)
    require(outputs.shape == prompts.shape, "output_tokens", f"of shape {prompts.shape}", outputs)
    for name, tokens in (("prompt_tokens", prompts), ("output_tokens", outputs)):
        whole = (tokens >= 1) & (tokens < 2**31) & (tokens == np.floor(tokens))
        require(np.all(whole), name, "positive integers", tokens)
    prefill, size, later = int(prompts.sum()), prompts.size, int(outputs.max()) - 1
    steps = -(-prefill // engine.token_budget) + later
    context = later * prefill + size * later * (later + 1) // 2
    return engine.elapsed_s(steps, prefill, size * later, context)


def _burst() -> tuple[Workload, Engine]:
    """Forty requests at once, for eight places."""
    rng = np.random.default_rng(40)
    asked = Workload(np.zeros(40), rng.integers(50, 300, 40), rng.geometric(1 / 120, 40))
    return asked, replace(EIGHT_BILLION, max_sequences=8)


def _static_spans() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Start, end of its tokens and end of its batch [s] of every request of the burst."""
    asked, engine = _burst()
    starts, dones, ends, clock = [], [], [], 0.0
    for first in range(0, 40, 8):
        some = slice(first, first + 8)
        prompts, outputs = asked.prompt_tokens[some], asked.output_tokens[some]
        whole = padded_batch_s(prompts, outputs, engine)
        starts += [clock] * 8
        for own in outputs.tolist():  # the batch as it stands when this member is done
            dones.append(clock + padded_batch_s(prompts, np.minimum(outputs, own), engine))
        clock += whole
        ends += [clock] * 8
    return np.array(starts), np.array(dones), np.array(ends)


def _chat(rate: float) -> Workload:
    return chat_workload(np.random.default_rng(16), rate, REQUESTS)


def _alone_s(asked: Workload) -> FloatArray:
    """How long each request takes when nobody else is there [s]."""
    prompts, outputs, later = asked.prompt_tokens, asked.output_tokens, asked.output_tokens - 1
    own_s = SIXTEEN.step_s * outputs + SIXTEEN.prefill_token_s * prompts
    read = later * prompts + later * outputs / 2
    own_s += SIXTEEN.decode_token_s * later + SIXTEEN.context_token_s * read
    return np.asarray(own_s)


def _in_batches(asked: Workload, engine: Engine, window_s: float) -> FloatArray:
    """Completions [s] when batches run to their end before the next one starts."""

    def batch_s(first: int, end: int) -> float:
        some = slice(first, end)
        return padded_batch_s(asked.prompt_tokens[some], asked.output_tokens[some], engine)

    return form_batches(asked.arrival_s, batch_s, engine.max_sequences, window_s)[1]


@functools.cache
def _one_length_p99_s(policy: str) -> float:
    """The 99th percentile of latency [s] when every output has the mean length, 3 a second."""
    asked = _chat(3.0)
    asked = replace(asked, output_tokens=np.full(REQUESTS, 120))
    return _p99((_completions(policy, asked) - asked.arrival_s)[REQUESTS // 10 :])


def _completions(policy: str, asked: Workload) -> FloatArray:
    if policy == "continuous":
        return simulate(asked, SIXTEEN).completion_s
    return _in_batches(asked, SIXTEEN, math.inf if policy == "static" else 0.0)


def _p99(series: FloatArray) -> float:
    """99th percentile without the undefined."""
    return float(np.nanquantile(series, 0.99))


def _p99_and_half(series: FloatArray) -> tuple[float, float]:
    """The same, and half of its 95% interval."""
    return _p99(series), float(half_width(_p99, series))


@functools.cache
def _point(policy: str, rate: float) -> tuple[float, FloatArray]:
    """Tokens a second, and the latencies [s], the first tenth of the requests left out."""
    asked = _chat(rate)
    end_s = _completions(policy, asked)
    late = slice(asked.arrival_s.size // 10, None)
    tokens = asked.output_tokens.sum() / (end_s.max() - asked.arrival_s[0])
    return float(tokens), (end_s - asked.arrival_s)[late]


@functools.cache
def _budget_run(budget: int) -> tuple[FloatArray, FloatArray, Ordered]:
    """TTFT and TPOT of every request, and the gaps of every token, under a token budget, with long
    prompts, 4 a second."""
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.exponential(1 / 4.0, REQUESTS))
    prompts = np.ceil(rng.lognormal(math.log(1000), 0.8, REQUESTS))
    asked = Workload(times, prompts, rng.geometric(1 / 100, REQUESTS))
    engine = replace(EIGHT_BILLION, token_budget=budget, kv_blocks=10**6)
    return *latencies_s(asked, simulate(asked, engine)), serve_in_order(asked, engine, times)


def _gap_p99(gap_s: FloatArray, gap_tokens: FloatArray) -> float:
    return gap_quantile(gap_s, gap_tokens, 0.99)


def _budget_p99s(budget: int) -> tuple[float, float, float]:
    """p99 of TTFT, of the gaps between tokens and of TPOT [s]."""
    ttft, tpot, run = _budget_run(budget)
    return _p99(ttft), _gap_p99(run.gap_s, run.gap_tokens), _p99(tpot)


def _budget_halves(budget: int) -> tuple[float, float]:
    """Half of the intervals of the first two."""
    ttft, _, run = _budget_run(budget)
    gap_s = half_width(_gap_p99, run.gap_s, run.gap_tokens)
    return float(half_width(_p99, ttft)), float(gap_s)


LAWS = ("geometric", "lognormal", "one length")  # of outputs with a mean of 120 tokens
CHATS, LONG_CHATS = (250.0, LAWS[0]), (1000.0, LAWS[0])  # mean prompt [tokens] and law


@functools.cache
def _with_watermark(
    share: float, mean_prompt: float, law: str, first_chunk: bool
) -> tuple[float, float, float]:
    """Requests preempted [%], tokens prefilled again [%] and output tokens a second, of 1,400 chats
    in 400 blocks."""
    asked = chat_workload(np.random.default_rng(16), 14.0, SCARCE, mean_prompt)
    prompts, outputs = np.minimum(asked.prompt_tokens, 5000), asked.output_tokens
    if law == "lognormal":  # σ = 1
        rng = np.random.default_rng(17)
        drawn = np.ceil(rng.lognormal(math.log(120) - 0.5, 1.0, SCARCE))
        outputs = np.minimum(drawn.astype(np.int64), 1400)
    elif law == "one length":
        outputs = np.full(SCARCE, 120)
    asked = Workload(asked.arrival_s, prompts, outputs)
    engine = replace(EIGHT_BILLION, kv_blocks=400)
    served = simulate(asked, engine, round(400 * share), first_chunk)
    tokens = float(asked.output_tokens.sum()) / float(served.completion_s.max())
    again = served.prefill_tokens / float(asked.prompt_tokens.sum()) - 1
    return 100 * float((served.preemptions > 0).mean()), 100 * again, tokens


def _watermark_row(share: float, first_chunk: bool = False) -> str:
    preempted, again, tokens = _with_watermark(share, *CHATS, first_chunk)
    return f"{preempted:.1f}% | {again:.0f}% | {tokens:,.0f}"


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    burst, engine = _burst()
    served = simulate_steps(burst, engine)
    starts, dones, ends = _static_spans()
    busy_s = float((served.completion_s - served.admitted_s).sum())
    chat = _chat(14.0)
    lengths = chat.prompt_tokens, chat.output_tokens
    batch_s = np.diff(np.unique(_in_batches(_chat(math.inf), SIXTEEN, math.inf)), prepend=0.0)

    def limit(engine: Engine) -> Callable[[FloatArray, FloatArray], float]:
        return lambda prompts, outputs: saturated_rate(prompts, outputs, engine)

    halves = [half_width(limit(engine), *lengths) for engine in (SIXTEEN, EIGHT_BILLION)]
    halves.append(half_width(lambda some: SIXTEEN.max_sequences / some.mean(), batch_s))
    policies = ("static", "greedy", "continuous")
    p99 = {policy: _p99_and_half(_point(policy, 3.0)[1]) for policy in policies}
    preempted, again, tight = _with_watermark(0.0, *CHATS, False)
    scarce = chat_workload(np.random.default_rng(16), 14.0, SCARCE)  # where memory is not
    roomy_s = float(simulate(scarce, EIGHT_BILLION).completion_s.max())
    small, large = _budget_p99s(192), _budget_p99s(2048)
    small_halves, large_halves = _budget_halves(192), _budget_halves(2048)
    return SimpleNamespace(
        static_end_s=float(ends.max()),
        continuous_end_s=float(served.completion_s.max()),
        static_busy_percent=100 * float((dones - starts).sum() / (8 * ends.max())),
        continuous_busy_percent=100 * busy_s / (8 * float(served.completion_s.max())),
        memory_tokens=EIGHT_BILLION.kv_blocks * EIGHT_BILLION.block_tokens,
        static_limit=REQUESTS / float(batch_s.sum()),
        continuous_limit=saturated_rate(*lengths, SIXTEEN),
        many_places_limit=saturated_rate(*lengths, EIGHT_BILLION),
        limits_half=float(max(halves)),
        static_p99_s=p99["static"][0],
        static_p99_half_s=p99["static"][1],
        greedy_p99_s=p99["greedy"][0],
        greedy_p99_half_s=p99["greedy"][1],
        continuous_p99_s=p99["continuous"][0],
        one_length_static_p99_s=_one_length_p99_s("static"),
        one_length_greedy_p99_s=_one_length_p99_s("greedy"),
        one_length_continuous_p99_s=_one_length_p99_s("continuous"),
        alone_p99_s=_p99(_alone_s(_chat(3.0))[REQUESTS // 10 :]),
        continuous_p99_half_s=p99["continuous"][1],
        small_budget_ttft_s=small[0],
        small_budget_ttft_half_s=small_halves[0],
        small_budget_gap_ms=1000 * small[1],
        small_budget_gap_half_ms=1000 * small_halves[1],
        large_budget_ttft_s=large[0],
        large_budget_ttft_half_s=large_halves[0],
        large_budget_gap_ms=1000 * large[1],
        large_budget_gap_half_ms=1000 * large_halves[1],
        largest_budget_gap_ms=1000 * _budget_p99s(4096)[1],
        watermark_0=_watermark_row(0.0),
        watermark_1=_watermark_row(0.01),
        watermark_5=_watermark_row(0.05),
        watermark_10=_watermark_row(0.1),
        watermark_20=_watermark_row(0.2),
        watermark_chunk=_watermark_row(0.0, first_chunk=True),
        watermark_chunk_5=_watermark_row(0.05, first_chunk=True),
        chunk_tokens_per_s=_with_watermark(0.0, *LONG_CHATS, True)[2],
        whole_tokens_per_s=_with_watermark(0.0, *LONG_CHATS, False)[2],
        chunk_again=_with_watermark(0.0, *LONG_CHATS, True)[1] / 100,
        watermark_gain_percent=100 * (_with_watermark(0.05, *CHATS, False)[2] / tight - 1),
        scarce_requests=SCARCE,
        tight_tokens_per_s=tight,
        roomy_tokens_per_s=float(scarce.output_tokens.sum()) / roomy_s,
        recomputed_percent=again,
        preempted_percent=preempted,
    )


def figure_occupancy(figure: Figure) -> None:
    """Static batching holds every place until the longest member is done; continuous batching gives
    it to the next request at once.

    The same forty requests on eight places. Dark: the place works. Pale: its request has all of
    its tokens and waits for the batch.

    Alt: Two timelines with eight rows each. Above, static: five blocks end on common vertical
    lines, and most rows of each block are pale for more than half of it. Below, continuous: rows
    are filled with bars end to end until the queue is empty, and it ends after little more
    than half of the time.
    """
    asked, engine = _burst()
    served = simulate_steps(asked, engine)
    figure.set_size_inches(5.8, 4.2)
    above, below = figure.subplots(2, sharex=True)
    starts, dones, ends = _static_spans()
    rows = np.arange(40) % 8
    above.hlines(rows, starts, dones, color="C3", linewidth=10)
    above.hlines(rows, dones, ends, color="C3", linewidth=10, alpha=0.25)
    free_at, own = np.zeros(8), np.zeros(40)
    for i in np.argsort(served.admitted_s, kind="stable"):
        own[i] = np.flatnonzero(free_at <= served.admitted_s[i])[0]
        free_at[int(own[i])] = served.completion_s[i]
    below.hlines(own, served.admitted_s, served.completion_s - 0.02, color="C0", linewidth=10)
    for axes, name in ((above, "static"), (below, "continuous")):
        axes.set_title(name)
        axes.grid(False)
        axes.set_yticks([0, 7], ["1", "8"])
        axes.set(xlim=(0, ends.max()), ylim=(7.6, -0.6), ylabel="place", xlabel="time [s]")


def figure_frontier(figure: Figure) -> None:
    """With the same sixteen places, continuous batching carries almost three times the tokens, and
    its slowest hundredth waits least at every load.

    Each curve follows one policy through growing load; the dashed line is what the places carry
    when they never empty.

    Alt: 99th percentile of latency, logarithmic, against tokens a second. Static batching falls
    from 50 s to 15 s and turns up before 400 tokens a second; dynamic batching rises from 6 s to
    the same wall; continuous batching rises from 5 s to 7 s at 1170, towards a dashed line near
    1300 tokens a second.
    """
    axes = figure.subplots()
    rates = {
        "static": (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.4),
        "greedy": (0.25, 1.0, 1.5, 2.0, 2.5, 3.0, 3.4),
        "continuous": (0.25, 1.5, 3.0, 5.0, 7.0, 8.0, 9.0, 9.6, 10.2),
    }
    for (policy, some), colour in zip(rates.items(), ("C3", "C1", "C0"), strict=True):
        points = [_point(policy, rate) for rate in some]
        p99 = [_p99(latencies) for _, latencies in points]
        axes.plot([tokens for tokens, _ in points], p99, "o-", color=colour, markersize=3.5)
    asked = _chat(1.0)
    limit = saturated_rate(asked.prompt_tokens, asked.output_tokens, SIXTEEN)
    axes.axvline(limit * float(asked.output_tokens.mean()), color="C4", linestyle="--")
    axes.annotate("places never empty", (1275, 30), color="C4", ha="right")
    axes.annotate("static", (215, 20), color="C3")
    axes.annotate("dynamic", (190, 9.2), color="C1")
    axes.annotate("continuous", (560, 5.9), color="C0")
    axes.set_yscale("log")
    axes.set(xlim=(0, None), ylim=(3, 60), yticks=[3, 5, 10, 20, 50])
    axes.set_yticks([], minor=True)
    axes.set_yticklabels(["3", "5", "10", "20", "50"])
    axes.set(xlabel="output [tokens/s]", ylabel="p99 latency [s]")


def figure_token_budget(figure: Figure) -> None:
    """The token budget trades the first token against the rhythm of the others: large chunks of
    prompts hold up everybody who decodes.

    Prompts of 1000 tokens in the median, 4 requests a second; the dashed curve is a step that the
    budget fills. The thin curve is the p99 of TPOT, the mean gap of an answer, which sees such
    gaps only in very short answers.

    Alt: Two panels over the token budget from 128 to 4096, logarithmic. Above, the 99th percentile
    of TTFT falls from 8 s to 1.3 s, mostly before 512. Below, that of the gap between tokens rises
    from 20 ms along a dashed line of full steps to 336 ms at 4096; the thin curve of TPOT leaves it
    after 2048 and stays far below.
    """
    figure.set_size_inches(5.8, 4.4)
    above, below = figure.subplots(2, sharex=True)
    budgets = np.array([128, 192, 256, 384, 512, 768, 1024, 2048, 4096])
    ttft, gap, tpot = np.array([_budget_p99s(int(budget)) for budget in budgets]).T
    above.plot(budgets, ttft, "o-", color="C0")
    below.plot(budgets, 1000 * tpot, "-", color="C2", linewidth=1)
    below.plot(budgets, 1000 * gap, "o-", color="C1")
    full_ms = 1000 * (EIGHT_BILLION.step_s + EIGHT_BILLION.prefill_token_s * budgets)
    below.plot(budgets, full_ms, "--", color="C4")
    below.annotate("gap, along a full step", (1500, 190), color="C1", ha="right")
    below.annotate("TPOT", (2900, 125), color="C2")
    above.set(xscale="log", ylim=(0, None), ylabel="p99 TTFT [s]", xlabel="token budget [tokens]")
    below.set(ylim=(0, 360), ylabel="p99 gap [ms]", xlabel="token budget [tokens]")
    ticks = [128, 256, 512, 1024, 2048, 4096]
    below.set_xticks(ticks, [str(tick) for tick in ticks])
    below.set_xticks([], minor=True)


def check_gaps_are_full_steps() -> None:
    """The p99 of the gap between tokens is a step that the budget fills, up to 4,096 tokens.

    Source: β + α_p·budget, and up to 64 decoding sequences besides.
    """
    for budget in (192, 512, 2048, 4096):
        full_s = EIGHT_BILLION.step_s + EIGHT_BILLION.prefill_token_s * budget
        gap_s = _budget_p99s(budget)[1]
        checks.inside(f"{budget} tokens: gap over a full step", gap_s / full_s, 0.99, 1.1)


def check_some_blocks_free_beat_none() -> None:
    """Leaving a twentieth of the blocks free at admission preempts fewer requests and completes
    more tokens than leaving none, under three laws of outputs, and with prompts of 500 tokens for
    250; a fifth completes fewer than a twentieth. With prompts of 1,000 it makes no difference.

    Source: the engine on the same 1,400 requests for every share.
    """
    for prompt, law in (*itertools.product((250.0,), LAWS), (500.0, "geometric")):
        none, some, much = (
            _with_watermark(share, prompt, law, False) for share in (0.0, 0.05, 0.2)
        )
        label = f"prompts of {prompt:g}, {law}"
        fewer = f"{some[0]:.1f} and {none[0]:.1f}%"
        checks.holds(f"{label}: fewer preempted", some[0] < none[0], got=fewer)
        more = f"{none[2]:.0f}, {some[2]:.0f} and {much[2]:.0f} a second"
        most = some[2] > max(none[2], much[2])
        checks.holds(f"{label}: most tokens in between", most, got=more)
    some_left, none_left = (_with_watermark(share, *LONG_CHATS, False)[2] for share in (0.05, 0.0))
    checks.close(
        "prompts of 1000, geometric: gain", some_left / none_left, 1.0, rtol=0.02, kind="simulation"
    )


def check_a_first_chunk_is_no_place() -> None:
    """Admitting by the first chunk completes fewer tokens than admitting by the whole prompt, under
    three laws of outputs, and with prompts of 1,000 tokens, for 250, not even half; leaving blocks
    free does not mend it.

    Source: the engine on the same 1,400 requests for both rules.
    """
    for prompt, law in (*itertools.product((250.0,), LAWS), LONG_CHATS):
        label = f"prompts of {prompt:g}, {law}"
        whole = _with_watermark(0.0, prompt, law, False)[2]
        for share in (0.0, 0.05):
            chunk = _with_watermark(share, prompt, law, True)[2]
            got = f"{chunk:.0f} and {whole:.0f} a second"
            fewer = chunk < whole if prompt < 1000 else chunk < 0.55 * whole
            checks.holds(f"{label}, {share:.0%} free", fewer, got=got)


def check_equal_lengths_gain_nothing_in_a_burst() -> None:
    """When all outputs have one length, continuous batching of one burst takes the time of a static
    batch; of requests that arrive at random, its p99 is lower than that of both other policies.

    Source: `padded_batch_s`; the three policies on the same 2,000 requests, 3 a second.
    """
    asked = Workload(np.zeros(8), np.full(8, 40), np.full(8, 25))
    end_s = simulate_steps(asked, EIGHT_BILLION).completion_s.max()
    expected = padded_batch_s(asked.prompt_tokens, asked.output_tokens, EIGHT_BILLION)
    checks.close("last completion [s]", end_s, expected, rtol=1e-12)
    own_s = _one_length_p99_s("continuous")
    for policy, least in (("static", 4.0), ("greedy", 1.5)):
        longer = _one_length_p99_s(policy) / own_s
        checks.inside(f"p99, {policy} over continuous", longer, least, 8.0, kind="simulation")


def check_bad_input_is_refused() -> None:
    """Batches of nobody and outputs without tokens name the argument."""
    checks.raises("nobody", padded_batch_s, [], [], EIGHT_BILLION, match="prompt_tokens must be of")
    checks.raises("none", padded_batch_s, [1], [0], EIGHT_BILLION, match="output_tokens must be")
