"""Prefill and decode on the same devices or on different ones: separation buys steady tokens, and
pays with the wait for the first.

A device that only prefills is an M/D/1 queue: prompts of D seconds at rate λ wait λD²/(2(1 − λD)).
Two devices as a pipeline, or as one that is s times as fast, change D and the wait. A device that
also decodes interrupts its streams by each prefill; where no gap may exceed w and a decode step
takes ℓ, chunks leave prefill the share 1 − ℓ/w of it if the times of both add up, and nearly all of
it if the reading of a decode step runs beside the arithmetic of a chunk.

Assumes: equal prompts and Poisson arrivals in the formulas; the simulations use the engine of the
batching chapter, whose steps add prefill to decode, with prompts and outputs of random length.

Source: Zhong et al. (2024), DistServe, equations 1 to 3, figure 1 and the transfer of the cache in
section 3.3; the capacity with chunks is derived here.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Workload,
    chat_workload,
    latencies_s,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import half_width
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

DEVICES = 3  # GPUs of the simulated systems
MEANS = PROMPT_TOKENS, OUTPUT_TOKENS = 1500.0, 60.0  # of the simulated requests
KV_BYTES_PER_TOKEN = 131_072  # of a model with 8 billion parameters, as in the batching chapter
DECODING = 16  # streams beside the prompts, where steps overlap
LINK_BYTES_PER_S = 25e9  # 200 Gbit/s between devices, an assumption
RATES = tuple(0.5 * k for k in range(1, 14))  # per GPU [1/s]
TPOT_LIMITS_S = (0.015, 0.025, 0.060)
WHOLE = 10**6  # a token budget that no prompt reaches
BUDGETS = (128, 192, 256, 512, 2048, WHOLE)  # of GPUs that run both phases
BEST = (192, 512, 2048)  # of them, at one limit or another
LINES = ((0, WHOLE, "C1"), (0, 192, "C2"), (0, 512, "C3"), (2, WHOLE, "C0"))  # of the figure


def prefill_ttft_s(arrival_rate: float, prefill_s: float) -> float:
    """Mean time to first token on a device that only prefills [s]: D + λD²/(2(1 − λD)).

    arrival_rate: λ ≥ 0 [1/s], below 1/D. prefill_s: D > 0 of every prompt [s]. Raises ValueError
    outside these ranges. Source: equation 1.

    >>> prefill_ttft_s(arrival_rate=0.5, prefill_s=1.0)
    1.5
    """
    prefill_s = require_positive(prefill_s=prefill_s)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    stable = arrival_rate * prefill_s < 1
    require(stable, "arrival_rate", f"in [0, {1 / prefill_s:g})", arrival_rate)
    return prefill_s + arrival_rate * prefill_s**2 / (2 * (1 - arrival_rate * prefill_s))


def pipeline_ttft_s(arrival_rate: float, prefill_s: float) -> float:
    """The same with the layers split over two devices [s]: D + λD²/(4(2 − λD)).

    arrival_rate: λ ≥ 0 [1/s], below 2/D, because a stage takes D/2. prefill_s: D > 0 [s]. Raises
    ValueError outside these ranges. Source: equation 2.

    >>> pipeline_ttft_s(arrival_rate=1.0, prefill_s=1.0)
    1.25
    """
    prefill_s = require_positive(prefill_s=prefill_s)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    stable = arrival_rate * prefill_s < 2
    require(stable, "arrival_rate", f"in [0, {2 / prefill_s:g})", arrival_rate)
    return prefill_s + arrival_rate * prefill_s**2 / (4 * (2 - arrival_rate * prefill_s))


def tensor_ttft_s(arrival_rate: float, prefill_s: float, speedup: float) -> float:
    """The same with every layer split over two devices [s]: D/s + λD²/(2s(s − λD)).

    arrival_rate: λ ≥ 0 [1/s], below s/D. prefill_s: D > 0 [s]. speedup: s in [1, 2], below 2 by
    what the devices tell each other. Raises ValueError outside these ranges. Source: equation 3.

    >>> tensor_ttft_s(arrival_rate=1.0, prefill_s=1.0, speedup=2.0)
    0.75
    """
    prefill_s = require_positive(prefill_s=prefill_s)
    speedup = require_in("[1, 2]", speedup=speedup)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    load = arrival_rate * prefill_s
    require(load < speedup, "arrival_rate", f"in [0, {speedup / prefill_s:g})", arrival_rate)
    return prefill_s / speedup + load * prefill_s / (2 * speedup * (speedup - load))


def chunked_capacity(prefill_s: float, step_s: float, gap_s: float) -> float:
    """Prompts that a device can prefill beside its streams [1/s]: (1 − ℓ/w)/D.

    prefill_s: D > 0 of a prompt [s]. step_s: ℓ ≥ 0 of a decode step without prefill [s]. gap_s: w
    > ℓ, longest gap that is allowed between tokens [s]. Every gap of w holds w − ℓ of prefill.
    Raises ValueError outside these ranges.

    >>> chunked_capacity(prefill_s=0.5, step_s=0.25, gap_s=1.0)
    1.5
    """
    gap_s = as_number(gap_s=gap_s)
    prefill_s = require_positive(prefill_s=prefill_s)
    step_s = require_non_negative(step_s=step_s)
    require(step_s < gap_s < math.inf, "gap_s", f"finite and above {step_s:g}", gap_s)
    return (1 - step_s / gap_s) / prefill_s


def _overlapped_share(decoding: int, prefill_token_s: float, gap_s: float) -> float:
    """Share of its prefill that a device keeps beside its streams where reading and computing
    overlap, 1 − b·t/w: only the arithmetic of the b tokens that decode is lost to prompts."""
    return 1 - decoding * prefill_token_s / gap_s


def best_split(prefill_rate: float, decode_rate: float, devices: int) -> tuple[int, float]:
    """How many devices should prefill so that the most requests pass both phases.

    prefill_rate, decode_rate: what one device carries of either phase alone [1/s], positive.
    devices: n ≥ 2, one for each phase at least. Returns their number and the rate of all [1/s].
    Raises ValueError outside these ranges.

    >>> best_split(prefill_rate=2.0, decode_rate=6.0, devices=4)
    (3, 6.0)
    """
    prefill_rate, devices = as_number(prefill_rate=prefill_rate, devices=devices)
    for name, rate in (("prefill_rate", prefill_rate), ("decode_rate", decode_rate)):
        require(0 < rate < math.inf, name, "positive and finite", rate)
    whole = 2 <= devices < math.inf and devices % 1 == 0
    require(whole, "devices", "an integer of at least 2", devices)
    even = int(devices / (1 + prefill_rate / decode_rate))  # below where both phases are as fast
    first = min(max(even, 1), int(devices) - 1)
    splits = [k for k in (first, first + 1) if k < devices]
    rates = [min(k * prefill_rate, (devices - k) * decode_rate) for k in splits]
    best = rates.index(max(rates))
    return splits[best], rates[best]


def cache_bandwidth(arrival_rate: float, prompt_tokens: float, bytes_per_token: float) -> float:
    """Bandwidth that moving the caches from prefill to decode takes on average [B/s].

    arrival_rate: λ ≥ 0 [1/s]. prompt_tokens: mean, at least 1. bytes_per_token: of the cache, all
    layers [B]. Raises ValueError outside these ranges.

    >>> cache_bandwidth(arrival_rate=2.0, prompt_tokens=10.0, bytes_per_token=5.0)
    100.0
    """
    prompt_tokens = as_number(prompt_tokens=prompt_tokens)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    require(1 <= prompt_tokens < math.inf, "prompt_tokens", "at least 1 and finite", prompt_tokens)
    bytes_per_token = require_positive(bytes_per_token=bytes_per_token)
    return arrival_rate * prompt_tokens * bytes_per_token


def _together(asked: Workload, token_budget: int) -> tuple[FloatArray, FloatArray]:
    """TTFT and TPOT when every GPU does both phases for every third request."""
    ttft, tpot = np.empty(asked.arrival_s.size), np.empty(asked.arrival_s.size)
    engine = replace(EIGHT_BILLION, token_budget=token_budget)
    for k in range(DEVICES):
        own = slice(k, None, DEVICES)
        mine = Workload(asked.arrival_s[own], asked.prompt_tokens[own], asked.output_tokens[own])
        ttft[own], tpot[own] = latencies_s(mine, simulate(mine, engine))
    return ttft, tpot


def _apart(asked: Workload, prefilling: int) -> tuple[FloatArray, FloatArray]:
    """TTFT and TPOT when some GPUs prefill and the others decode; the caches travel in between."""
    first, last = np.empty(asked.arrival_s.size), np.empty(asked.arrival_s.size)
    single = np.ones_like(asked.output_tokens)
    for k in range(prefilling):
        own = slice(k, None, prefilling)
        mine = Workload(asked.arrival_s[own], asked.prompt_tokens[own], single[own])
        first[own] = simulate(mine, replace(EIGHT_BILLION, token_budget=2048)).first_token_s
    ready = first + asked.prompt_tokens * KV_BYTES_PER_TOKEN / LINK_BYTES_PER_S
    order = np.argsort(ready, kind="stable")
    decode = replace(EIGHT_BILLION, prefill_token_s=0.0, token_budget=10**9, max_sequences=256)
    for k in range(DEVICES - prefilling):
        own_order = order[k :: DEVICES - prefilling]
        later = np.maximum(asked.output_tokens[own_order] - 1, 1)
        mine = Workload(ready[own_order], asked.prompt_tokens[own_order], later)
        last[own_order] = simulate(mine, decode).completion_s
    more = np.where(asked.output_tokens > 1, asked.output_tokens - 1, np.nan)
    return first - asked.arrival_s, (last - first) / more


def _asked(kind: str, rate: float) -> Workload:
    """1,500 requests at a rate per GPU, the same for every system.

    kind: "geometric", long prompts and short answers; "lognormal", 1,050 of the same means with
    more very long ones (σ = 1); "chat", prompts of 250 and answers of 480 tokens.
    """
    rng = np.random.default_rng(64)
    if kind == "chat":
        return chat_workload(rng, DEVICES * rate, 1500, 250.0, 480.0)
    if kind == "geometric":
        return chat_workload(rng, DEVICES * rate, 1500, PROMPT_TOKENS, OUTPUT_TOKENS)
    arrivals = np.cumsum(rng.exponential(1.0, 1050)) / (DEVICES * rate)
    lengths = [np.ceil(rng.lognormal(math.log(mean) - 0.5, 1.0, 1050)) for mean in MEANS]
    return Workload(arrivals, *lengths)


@functools.cache
def _latencies(
    kind: str, prefilling: int, budget: int = WHOLE, rates: tuple[float, ...] = RATES
) -> FloatArray:
    """TTFT and TPOT of every request at every rate [s], shape (requests, 2, rates); prefilling: 0
    where every GPU runs both phases, with this budget of tokens in a step. What the figure does not
    show ends at the first rate at which no limit is kept by far."""
    shown = kind == "geometric" and (prefilling, budget) in {line[:2] for line in LINES}
    runs = []
    for rate in rates:
        asked = _asked(kind, rate)
        run = np.array(_apart(asked, prefilling) if prefilling else _together(asked, budget))
        runs.append(run)
        if not shown and np.any(_p90(run.T) > (1.1, 1.1 * TPOT_LIMITS_S[-1])):
            break
    return np.array(runs).transpose(2, 1, 0)


def _systems(
    kind: str, budgets: tuple[int, ...] = BUDGETS, rates: tuple[float, ...] = RATES
) -> list[FloatArray]:
    """Latencies with every budget, and at last those of two GPUs for prefill and one for decode."""
    ways = [*((0, budget) for budget in budgets), (2, WHOLE)]
    return [_latencies(kind, *way, rates) for way in ways]


def _p90(latencies: FloatArray) -> FloatArray:
    """90th percentiles over the requests, shape (2,) or (2, rates), without those of one token,
    whose TPOT is undefined; latencies: shape (requests, 2) or (requests, 2, rates)."""
    found = []
    for one in np.moveaxis(latencies, 1, 0):
        defined = ~np.isnan(one.reshape(len(one), -1)[:, 0])  # at one rate as at any other
        found.append(np.quantile(one[defined], 0.9, axis=0))
    return np.array(found)


def _goodputs(*latencies: FloatArray, rates: tuple[float, ...] = RATES) -> FloatArray:
    """Highest rates per GPU at which both 90th percentiles keep their limits, 1 s for the first
    token, on a straight line between two of the rates; shape (limits, systems)."""
    found = []
    for ttft, tpot in map(_p90, latencies):
        row = []
        for limit in TPOT_LIMITS_S:
            excess = np.maximum(ttft / 1.0, tpot / limit)
            over = int(np.argmax(excess > 1))
            require(over > 0 and excess[over] > 1, "limit", "between those at the rates", limit)
            part = (1 - excess[over - 1]) / (excess[over] - excess[over - 1])
            row.append(rates[over - 1] + part * (rates[over] - rates[over - 1]))
        found.append(row)
    return np.array(found).T


def _best_and_apart(*latencies: FloatArray, rates: tuple[float, ...] = RATES) -> FloatArray:
    """At each limit: the rate with the best budget, the rate of the separate GPUs, and their
    ratio; shape (3, limits)."""
    carried = _goodputs(*latencies, rates=rates)
    best, apart = carried[:, :-1].max(axis=1), carried[:, -1]
    return np.array([best, apart, apart / best])


def example() -> SimpleNamespace:
    """Numbers quoted in the text: D = 0.1 s, λ = 5 a second, s = 1.5; 90th percentiles of the
    simulated systems, and their highest rates per GPU.
    """
    at = RATES.index(4.0)
    chat_tpot = np.array([_latencies("chat", n, rates=(4.0,))[:, 1, 0] for n in (0, 2)]).T
    chat_p90 = 1000 * _p90(chat_tpot)
    runs = _systems("geometric")
    whole, separate = runs[-2:]
    together, apart = _p90(whole)[:, at], _p90(separate)[:, at]
    halves = np.array([half_width(_p90, run[:, :, at]) for run in (whole, separate)])
    best = _goodputs(*runs)[:, :-1].argmax(axis=1)
    rates, rate_halves = _best_and_apart(*runs), half_width(_best_and_apart, *runs)
    return SimpleNamespace(
        one_device_ms=1000 * prefill_ttft_s(5.0, 0.1),
        pipeline_ms=1000 * pipeline_ttft_s(5.0, 0.1),
        tensor_ms=1000 * tensor_ttft_s(5.0, 0.1, 1.5),
        together_ttft_s=float(together[0]),
        apart_ttft_s=float(apart[0]),
        together_tpot_ms=1000 * float(together[1]),
        apart_tpot_ms=1000 * float(apart[1]),
        ttft_half_s=float(halves[:, 0].max()),
        tpot_half_ms=1000 * float(halves[:, 1].max()),
        chunks_share_percent=100 * chunked_capacity(1.0, 0.010, 0.015),
        decoding=DECODING,
        overlapped_share_percent=100
        * _overlapped_share(DECODING, EIGHT_BILLION.prefill_token_s, 0.015),
        together_tight=rates[0, 0],
        apart_tight=rates[1, 0],
        budget_tight=BUDGETS[best[0]],
        together_middle=rates[0, 1],
        apart_middle=rates[1, 1],
        budget_middle=BUDGETS[best[1]],
        together_loose=rates[0, 2],
        apart_loose=rates[1, 2],
        budget_loose=BUDGETS[best[2]],
        rates_half=rate_halves[:2].max(),
        tight_gain=rates[2, 0],
        tight_gain_half=rate_halves[2, 0],
        middle_gain=rates[2, 1],
        middle_gain_half=rate_halves[2, 1],
        loose_ratio=rates[2, 2],
        loose_ratio_half=rate_halves[2, 2],
        loose_loss_percent=100 * (1 - rates[2, 2]),
        cache_gb_per_s=cache_bandwidth(4.0 * DEVICES, PROMPT_TOKENS, KV_BYTES_PER_TOKEN) / 1e9,
        published_per_device=best_split(5.6, 10.0, 3)[1] / 3,
        chat_together_ms=float(chat_p90[0]),
        chat_apart_ms=float(chat_p90[1]),
        chat_half_ms=1000 * float(half_width(_p90, chat_tpot).max()),
    )


def figure_ttft_by_rate(figure: Figure) -> None:
    """At an equal number of GPUs separation does not bring the first token sooner than a large
    budget everywhere; it keeps the tokens after it steady.

    90th percentiles on three GPUs, simulated with the engine of the batching chapter: prompts of
    1500 and outputs of 60 tokens on average. Three systems run both phases on every GPU, with
    prompts whole or in steps of at most 192 or 512 tokens; the fourth prefills on two GPUs and
    decodes on one.

    Alt: Two line charts over the rate per GPU from 0.5 to 6.5 requests a second. Above, time to
    first token in seconds, logarithmic: whole prompts rise from 0.3 to 1, chunks of 512 to 1 at 5.5
    and 3 at the end, two prefill GPUs leave them near rate 2 and reach 1 near 4 and 14 at 6.5,
    chunks of 192 start at 0.4 and reach 1 near 3.8 and 19 at the end. Below, time per output token
    in milliseconds: separate GPUs stay between 10 and 12, chunks of 192 level off at 24, chunks of
    512 near 50, whole prompts pass 24 near rate 3 and 60 near 5.
    """
    figure.set_size_inches(5.8, 4.8)
    upper, lower = figure.subplots(2, sharex=True)
    for prefilling, budget, colour in LINES:
        ttft, tpot = _p90(_latencies("geometric", prefilling, budget, RATES))
        upper.plot(RATES, ttft, "o-", color=colour, markersize=3)
        lower.plot(RATES, 1000 * tpot, "o-", color=colour, markersize=3)
    upper.annotate("chunks of 192", (0.6, 12.0), color="C2")
    upper.annotate("2 prefill, 1 decode", (0.6, 6.5), color="C0")
    upper.annotate("chunks of 512", (0.6, 3.5), color="C3")
    upper.annotate("whole prompts", (0.6, 1.9), color="C1")
    lower.annotate("whole prompts", (4.3, 62), color="C1", ha="right")
    lower.annotate("chunks of 192", (5.3, 28), color="C2")
    lower.annotate("chunks of 512", (5.3, 53), color="C3")
    lower.annotate("2 prefill, 1 decode", (3.9, 3.5), color="C0")
    upper.set(yscale="log", ylim=(0.2, 30))
    upper.set(xlabel="rate per GPU [1/s]", ylabel="first token, p90 [s]")
    lower.set(ylim=(0, 90), xlim=(0.4, 6.6))
    lower.set(xlabel="rate per GPU [1/s]", ylabel="per token, p90 [ms]")


def check_published_times() -> None:
    """Prompts of 0.1 s at 5 a second take 150 ms on one device, 108.33 ms on a pipeline of two and
    83.33 ms on two that are 1.5 times as fast together.

    Source: DistServe's equations 1 to 3 in exact fractions, 3/20, 13/120 and 1/12; the limits
    λ = 0 and s = 1.
    """
    checks.close("one device [s]", prefill_ttft_s(5.0, 0.1), 0.15, rtol=1e-12)
    checks.close("pipeline [s]", pipeline_ttft_s(5.0, 0.1), 13 / 120, rtol=1e-12)
    checks.close("tensor parallel [s]", tensor_ttft_s(5.0, 0.1, 1.5), 1 / 12, rtol=1e-12)
    for rate in (0.0, 4.0):
        one = prefill_ttft_s(rate, 0.1)
        checks.close(f"no speed-up, λ = {rate:g} [s]", tensor_ttft_s(rate, 0.1, 1.0), one)


def check_times_by_simulation() -> None:
    """Simulated prompts take as long: on one device, on two stages in a row, on two devices as one,
    and in the engine of the batching chapter.

    Source: 200,000 constant services at 7 a second, D = 0.1 s, s = 1.5, through Lindley's
    recursion, and 20,000 through the engine; batch means.
    """
    rng = np.random.default_rng(61)
    arrivals = np.cumsum(rng.exponential(1 / 7, 200_000))
    for name, service, expected in (
        ("one device", 0.1, prefill_ttft_s(7.0, 0.1)),
        ("tensor parallel", 0.1 / 1.5, tensor_ttft_s(7.0, 0.1, 1.5)),
    ):
        waits = fifo_waits(arrivals, np.full(arrivals.size, service))
        checks.covers(f"{name} [s]", batch_means(waits[1000:] + service), expected)
    half = np.full(arrivals.size, 0.05)
    middle = arrivals + fifo_waits(arrivals, half) + half
    end = middle + fifo_waits(middle, half) + half
    mean = batch_means((end - arrivals)[1000:])
    checks.covers("pipeline [s]", mean, pipeline_ttft_s(7.0, 0.1))
    few = arrivals[:20_000]
    asked = Workload(few, np.full(few.size, 100), np.ones(few.size))
    alone = replace(
        EIGHT_BILLION, step_s=1e-9, prefill_token_s=1e-3, token_budget=100, kv_blocks=2**30
    )
    ttft = simulate(asked, alone).first_token_s - few
    checks.covers("one device, engine [s]", batch_means(ttft[500:]), prefill_ttft_s(7.0, 0.1))


def check_published_split() -> None:
    """A GPU that carried 1.6 requests a second in both phases carried 5.6 in prefill or 10 in
    decode alone; two and one of them carry 10 together, 2.1 times as many per GPU.

    Source: DistServe, figure 1: OPT-13B on A100, 512 tokens in, 64 out.
    """
    prefilling, rate = best_split(5.6, 10.0, 3)
    checks.equal("GPUs that prefill", prefilling, 2, kind="published")
    checks.close("requests a second", rate, 10.0, kind="published")
    checks.close("per GPU", rate / 3, 3.3, atol=0.05, kind="published")
    checks.close("against both phases", rate / 3 / 1.6, 2.1, atol=0.05, kind="published")


def check_cache_transfer() -> None:
    """The cache of 512 tokens of OPT-66B is 1.13 GiB, which DistServe prints as GB, and ten of them
    a second need 90 Gbit/s as it counts and 97 with bytes of a GiB.

    Source: DistServe, section 3.3, 1.13 GB and 90 Gbps; keys and values of 64 layers of width 9216
    in two bytes, the model's published configuration.
    """
    per_token = 2 * 64 * 9216 * 2
    size = cache_bandwidth(1.0, 512, per_token)
    checks.close("one request [GiB]", size / 2**30, 1.13, atol=0.005, kind="published")
    checks.close("as printed [Gbit/s]", 10 * 1.13 * 8, 90, atol=0.5, kind="published")
    exact = cache_bandwidth(10.0, 512, per_token) * 8 / 1e9
    checks.close("ten a second [Gbit/s]", exact, 96.6, atol=0.05)


def check_chunks_leave_a_share() -> None:
    """A device whose steps take at most 40 ms, 25 ms of them for its streams, prefills 37.5% of
    what it could: prompts keep up below that rate and fall behind above.

    Source: steps walked one by one for 4000 s, Poisson prompts of 0.1 s; the work that was done.
    """
    capacity = chunked_capacity(0.1, 0.025, 0.040)
    checks.close("capacity [1/s]", capacity, 3.75, rtol=1e-12)
    for share, low, high in ((0.9, 0.88, 0.92), (1.3, 0.999, 1.0)):
        rng = np.random.default_rng(62)
        clock, backlog, done, coming = 0.0, 0.0, 0.0, float(rng.exponential(1))
        while clock < 4000.0:
            while coming / (share * capacity) <= clock:
                backlog += 0.1
                coming += float(rng.exponential(1))
            work = min(backlog, 0.015)
            backlog, done, clock = backlog - work, done + work, clock + 0.025 + work
        label = f"{share:.0%} of it offered: done over capacity"
        checks.inside(label, done / 0.1 / clock / capacity, low, high)


def check_overlap_turns_the_order() -> None:
    """With steps of 10 ms and gaps of 15, two GPUs of three that only prefill do more than three
    beside their streams where times add up, and less where reading and computing overlap.

    Source: the largest chunk whose step ends within the gap, found one token after the other; a
    token of a prompt or of a stream computes for 0.08 ms.
    """
    token_s, step_s, gap_s = EIGHT_BILLION.prefill_token_s, 0.010, 0.015
    added = chunked_capacity(1.0, step_s, gap_s)
    overlapped = _overlapped_share(DECODING, token_s, gap_s)
    for name, share, first in (("added", added, True), ("overlapped", overlapped, False)):
        chunk = 0
        while True:
            computing = (chunk + 1 + DECODING) * token_s
            time = step_s + (chunk + 1) * token_s if first else max(step_s, computing)
            if time > gap_s:
                break
            chunk += 1
        checks.close(f"{name}, share of prefill", share, chunk * token_s / gap_s, atol=0.006)
        got = f"{name}, {3 * share:.2f} GPUs' worth: two for prefill do more"
        checks.equal(got, 3 * share < 2, first)


def check_separation_is_for_the_rhythm() -> None:
    """Where times add up, separate GPUs carry about twice what GPUs with the best token budget
    carry in both phases with 15 ms for a token, with 60 ms less; the order is the same with
    lognormal lengths. The first token comes later on them at every rate than where prompts run
    whole.

    Source: the simulations of the figure with six budgets, the best for each limit, and with
    lognormal lengths with the three that were best, at every second rate; 90th percentiles, one
    second for the first token.
    """
    for kind, budgets, rates in (("geometric", BUDGETS, RATES), ("lognormal", BEST, RATES[::2])):
        carried = _best_and_apart(*_systems(kind, budgets, rates), rates=rates)
        tight, middle, loose = carried[2]
        checks.inside(f"{kind}, 15 ms: apart over together", tight, 1.5, 2.4)
        checks.inside(f"{kind}, 25 ms: apart over together", middle, 0.9, 1.3)
        checks.inside(f"{kind}, 60 ms: apart over together", loose, 0.6, 0.9)
    whole, separate = _systems("geometric")[-2:]
    later = bool(np.all(_p90(separate)[0] > _p90(whole)[0]))
    checks.holds("first tokens later at every rate", later, kind="simulation")


def check_the_best_budget_depends_on_the_limit() -> None:
    """A budget of 512 carries over 5 requests a second with 60 ms for a token, one of 192 less than
    4; with 25 ms it is the other way round.

    Source: a step of 512 tokens takes 8 + 41 ms, one of 192 tokens 8 + 15 ms, by the
    costs of the engine:
    the first is within 60 ms and beyond 25; the simulations of the figure.
    """
    rates = dict(zip(BUDGETS, _goodputs(*_systems("geometric")[:-1]).T, strict=True))
    for budget, expected_ms in ((192, 23.4), (512, 49.0)):
        step_ms = 1000 * EIGHT_BILLION.elapsed_s(1, budget, 0, 0)
        checks.close(f"a step of {budget} tokens [ms]", step_ms, expected_ms, atol=0.05)
    checks.inside("60 ms: 512 over 192", rates[512][2] / rates[192][2], 1.3, 1.6)
    checks.inside("25 ms: 512 over 192", rates[512][1] / rates[192][1], 0.8, 0.95)


def check_chat_turns_the_order() -> None:
    """With prompts of 250 and answers of 480 tokens both phases on every GPU keep 15 ms for a token
    at a higher rate than either split of three GPUs.

    Source: 90th percentiles of the same simulation at 5 requests a second per GPU.
    """
    together = 1000 * _p90(_latencies("chat", 0, rates=(5.0,)))[1, 0]
    checks.inside("both phases everywhere [ms]", together, 10, 15)
    for prefilling in (1, 2):
        apart = 1000 * _p90(_latencies("chat", prefilling, rates=(5.0,)))[1, 0]
        checks.inside(f"{prefilling} prefill, {3 - prefilling} decode [ms]", apart, 15, 100)


def check_bad_input_is_refused() -> None:
    """Saturated devices, super-linear speed-up and gaps shorter than a step are errors."""
    checks.raises("λD = 1", prefill_ttft_s, 10.0, 0.1, match="arrival_rate must be in [0, 10)")
    checks.raises("λD = 2", pipeline_ttft_s, 20.0, 0.1, match="arrival_rate must be in [0, 20)")
    checks.raises("s > 2", tensor_ttft_s, 1.0, 0.1, 2.5, match="speedup must be in [1, 2], got 2.5")
    checks.raises(
        "w = ℓ", chunked_capacity, 0.1, 0.02, 0.02, match="gap_s must be finite and above"
    )
    checks.raises("one device", best_split, 1.0, 1.0, 1, match="devices must be an integer of at")
    checks.raises("NaN", cache_bandwidth, math.nan, 1.0, 1.0, match="arrival_rate must be non-neg")
