"""Shortest first in an engine that batches: an order decides who gets a place, and nothing else.

The engine of the batching chapter with any order of admission. Whenever a place is free and the
token budget leaves room for a prompt, the waiting request with the smallest key is admitted; in
order of arrival that is the one that came first. Short requests then run beside long ones already,
so that the order matters only while more wait than there are places.

Assumes: memory for all places; a request that was admitted stays until its end; predictions are
made once, on arrival.

Source: the rules of `continuous_batching`; Fu et al. (2024) for the shortest predicted first in a
batching engine.
"""

from __future__ import annotations

import functools
import heapq
import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    Workload,
    chat_workload,
)
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.queues.size_scheduler import noisy_predictions, simulate_responses
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import half_width
from serving_mathematics.support.require import as_floats, require, require_all_finite, require_in

FloatArray = npt.NDArray[np.float64]

RUNS, REQUESTS = 10, 3_000  # independent runs of so many requests, the first tenth left out
LENGTHS = ("prompt_tokens", "output_tokens")


@dataclass(frozen=True, eq=False)
class Ordered:
    """When each request ended [s], shape (n,); and the gaps between tokens [s] in order of time,
    with the number of sequences that waited through each, both of shape (changes of the batch,).
    """

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


def serve_in_order(workload: Workload, engine: Engine, key: npt.ArrayLike) -> Ordered:
    """Serve a workload, of those that wait the smallest key next.

    workload: what is asked. engine: what serves it. key: finite numbers, shape (n,); of equals the
    earlier goes first. Steps between two changes of the batch count as gaps of their mean. Raises
    ValueError on other keys, and when the places together could outgrow the memory.

    >>> asked = Workload([0.0, 0.0, 0.0], [1, 1, 1], [3, 2, 1])
    >>> one_place = Engine(step_s=1.0, token_budget=8, max_sequences=1)
    >>> serve_in_order(asked, one_place, key=[3, 2, 1]).completion_s.tolist()
    [6.0, 3.0, 1.0]
    """
    keys = as_floats(key=key)
    size = workload.arrival_s.size
    fine = keys.shape == (size,) and bool(np.all(np.isfinite(keys)))
    require(fine, "key", f"finite, of shape ({size},)", keys)
    kept = np.sort(workload.prompt_tokens + workload.output_tokens - 1)
    blocks = int((-(-kept // engine.block_tokens))[-engine.max_sequences :].sum())
    require(blocks <= engine.kv_blocks, "kv_blocks", f"at least {blocks}", engine.kv_blocks)
    arrival = [*workload.arrival_s.tolist(), math.inf]
    order = np.argsort(keys, kind="stable")
    rank: list[int] = np.argsort(order).tolist()
    ranked: list[int] = order.tolist()
    prompt: list[int] = workload.prompt_tokens.tolist()
    output: list[int] = workload.output_tokens.tolist()
    ends, gaps, gap_tokens = [0.0] * size, [], []
    step_s, prefill_s = engine.step_s, engine.prefill_token_s
    decode_s, context_s = engine.decode_token_s, engine.context_token_s
    budget, places = engine.token_budget, engine.max_sequences
    waiting: list[int] = []  # a heap of ranks
    decoding: list[tuple[int, int]] = []  # a heap of steps of the last token, with the request
    partial, todo = -1, 0  # the request whose prompt is under way
    fresh = step = held = 0  # held: tokens in the memory of all that decode
    clock = arrival[0]
    while fresh < size or waiting or decoding or partial >= 0:
        while arrival[fresh] <= clock:
            heapq.heappush(waiting, rank[fresh])
            fresh += 1
        batch, chunk = len(decoding), 0
        begun: list[int] = []  # prompts that end in this step
        left = budget - batch
        while left > chunk:  # prompts share what decoding leaves
            if partial < 0:
                if not waiting or batch + len(begun) >= places:
                    break
                partial = ranked[heapq.heappop(waiting)]
                todo = prompt[partial]
            taken = min(todo, left - chunk)
            chunk, todo = chunk + taken, todo - taken
            if not todo:
                begun.append(partial)
                partial = -1
        steps = 1
        if not chunk:  # decode until somebody ends or may come
            if not decoding:
                clock = arrival[fresh]
                continue
            steps = decoding[0][0] - step
            if batch < places:
                nothing = (0, 0, 0, 0, 0)
                steps = engine.steps_until(
                    arrival[fresh], steps, clock, clock, nothing, batch, held
                )
        read = steps * held + batch * steps * (steps + 1) // 2
        elapsed_s = (step_s + decode_s * batch) * steps + prefill_s * chunk + context_s * read
        clock += elapsed_s
        gaps.append(elapsed_s / steps)
        gap_tokens.append(batch * steps)
        step, held = step + steps, held + batch * steps
        while decoding and decoding[0][0] == step:
            i = heapq.heappop(decoding)[1]
            ends[i] = clock
            held -= prompt[i] + output[i] - 1
        for i in begun:
            if output[i] > 1:
                heapq.heappush(decoding, (step + output[i] - 1, i))
                held += prompt[i]
            else:
                ends[i] = clock
    return Ordered(np.array(ends), np.array(gaps), np.array(gap_tokens, dtype=float))


@functools.cache
def _asked(uneven: bool) -> list[Workload]:
    """Chats of RUNS runs, one a second, with geometric outputs of 120 tokens, or nine of ten with
    60 and one with 660."""
    runs = []
    for run in range(RUNS):
        rng = np.random.default_rng(200 + run)
        chat = chat_workload(rng, 1.0, REQUESTS)
        if uneven:
            outputs = rng.geometric(1 / rng.choice([60.0, 660.0], REQUESTS, p=[0.9, 0.1]))
            chat = Workload(chat.arrival_s, chat.prompt_tokens, outputs)
        runs.append(chat)
    return runs


@functools.cache
def _responses(
    places: int, load: float, log_error: float | None, uneven: bool
) -> tuple[FloatArray, FloatArray]:
    """Mean and p99 of the response [s] of every run, shape (RUNS,), at a share of what the places
    carry when they are always taken; in order of arrival where the error is None."""
    engine = replace(EIGHT_BILLION, max_sequences=places)
    means, p99s, runs = np.empty(RUNS), np.empty(RUNS), _asked(uneven)
    prompts, outputs = (np.concatenate([getattr(one, name) for one in runs]) for name in LENGTHS)
    rate = load * saturated_rate(prompts, outputs, engine)
    for run, one in enumerate(runs):
        asked = replace(one, arrival_s=one.arrival_s / rate)
        if log_error is None:
            key = asked.arrival_s
        else:
            rng = np.random.default_rng(300 + run)
            key = noisy_predictions(rng, asked.output_tokens, log_error)
        ends = serve_in_order(asked, engine, key).completion_s
        responses = (ends - asked.arrival_s)[REQUESTS // 10 :]
        means[run], p99s[run] = responses.mean(), np.quantile(responses, 0.99)
    return means, p99s


def _change(new: FloatArray, old: FloatArray) -> FloatArray:
    """By how many percent the mean over the runs is above the other."""
    return np.asarray(100 * (new.mean() / old.mean() - 1))


def _changes(
    places: int, load: float, log_error: float = 0.0, uneven: bool = False
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Changes of mean and p99 by the shortest predicted first [%], each with the half-width of its
    95% interval over the runs, which ask the same of both orders."""
    old = _responses(places, load, None, uneven)
    new = _responses(places, load, log_error, uneven)
    mean, p99 = (
        (float(_change(a, b)), float(half_width(_change, a, b)))
        for a, b in zip(new, old, strict=True)
    )
    return mean, p99


def example() -> SimpleNamespace:
    """Numbers quoted in the text: shortest first against the order of arrival in the engine."""
    steady, busy = _changes(16, 0.8), _changes(16, 0.95)
    single = _changes(1, 0.8, uneven=True)[1]
    steady_64, busy_64 = _changes(64, 0.8), _changes(64, 0.95)
    guessed = _changes(16, 0.95, 1.0)
    return SimpleNamespace(
        engine_mean_80=float(_responses(16, 0.8, None, False)[0].mean()),
        engine_mean_95=float(_responses(16, 0.95, None, False)[0].mean()),
        engine_64_mean_80=float(_responses(64, 0.8, None, False)[0].mean()),
        engine_64_mean_95=float(_responses(64, 0.95, None, False)[0].mean()),
        engine_gain_80=-steady[0][0],
        engine_gain_80_half=steady[0][1],
        engine_p99_80=steady[1][0],
        engine_p99_80_half=steady[1][1],
        engine_gain_95=-busy[0][0],
        engine_gain_95_half=busy[0][1],
        engine_p99_95=busy[1][0],
        engine_p99_95_half=busy[1][1],
        engine_64_gain_80=-steady_64[0][0],
        engine_64_gain_80_half=steady_64[0][1],
        engine_64_p99_80=steady_64[1][0],
        engine_64_p99_80_half=steady_64[1][1],
        engine_64_gain_95=-busy_64[0][0],
        engine_64_gain_95_half=busy_64[0][1],
        engine_64_p99_95=busy_64[1][0],
        engine_64_p99_95_half=busy_64[1][1],
        engine_single_p99_fall=-single[0],
        engine_single_p99_fall_half=single[1],
        engine_guessed_gain=-guessed[0][0],
        engine_guessed_gain_half=guessed[0][1],
    )


def check_order_of_arrival_is_the_engine() -> None:
    """With the time of arrival as the key every request ends when the engine of the batching
    chapter ends it.

    Source: `simulate`, which walks from event to event with memory and preemption.
    """
    for places, rate in ((4, 2.0), (16, 9.0), (64, 30.0)):
        engine = replace(EIGHT_BILLION, max_sequences=places)
        asked = chat_workload(np.random.default_rng(places), rate, 1_000)
        ends = serve_in_order(asked, engine, asked.arrival_s).completion_s
        gap = float(np.abs(ends - simulate(asked, engine).completion_s).max())
        checks.close(f"{places} places: largest difference [s]", gap, 0.0, atol=1e-8)


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


def check_one_place_is_the_single_server() -> None:
    """With one place and costs of steps alone the engine is the server that takes one request at a
    time, in order of arrival and shortest first.

    Source: `simulate_responses`, with a second of service for each token of output.
    """
    asked = chat_workload(np.random.default_rng(7), 0.006, 2_000)
    engine = Engine(step_s=1.0, token_budget=10**6, max_sequences=1, kv_blocks=10**6)
    sizes = asked.output_tokens.astype(float)
    for policy, key in (("fcfs", asked.arrival_s), ("sjf", sizes)):
        got = serve_in_order(asked, engine, key).completion_s - asked.arrival_s
        expected = simulate_responses(asked.arrival_s, sizes, policy)
        checks.close(
            f"{policy}: largest difference [s]", np.abs(got - expected).max(), 0, atol=1e-6
        )


def check_order_matters_where_places_are_short() -> None:
    """Where sixteen places are nearly always taken, shortest first shortens the mean and lengthens
    the p99, with geometric outputs and with uneven ones; with 64 places at 80% load and geometric
    outputs it does nothing. On one place with uneven outputs the order of the p99 is turned round.

    Source: ten runs of 3,000 requests, the same for both orders; intervals over the runs.
    """
    for name, uneven in (("geometric", False), ("uneven", True)):
        (mean, half), (p99, p99_half) = _changes(16, 0.95, uneven=uneven)
        checks.holds(f"{name}, 16 places at 95%: mean falls", mean + half < 0, got=f"{mean:.1f}%")
        checks.holds(f"{name}, 16 places at 95%: p99 rises", p99 > p99_half, got=f"{p99:.1f}%")
    mean = _changes(64, 0.8)[0][0]
    checks.close("geometric, 64 places at 80%: mean [%]", mean, 0.0, atol=0.5)
    p99, half = _changes(1, 0.8, uneven=True)[1]
    checks.holds("uneven, one place at 80%: p99 falls", p99 + half < 0, got=f"{p99:.1f}%")


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
    checks.raises("memory", serve_in_order, asked, tight, [1, 2], match="kv_blocks must be at")
