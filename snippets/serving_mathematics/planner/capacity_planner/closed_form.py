"""What can be said of a replica without simulating it.

Prompts take the share λp of every second, p for one; decoding gets the rest. With b sequences a
step takes D(b), and whoever decodes meets 1 + λdx of them, d for the time that its own decoding
takes alone and x for the slowdown: x = D(1 + λdx) / (D(1)·(1 − λp)). Where D is a line β + δb, that
is 1/(1 − λw) with w for all of a request's own tokens, as in processor sharing. x goes up to the
slowdown of a full batch of c, c/(X·s₁), where X is the rate at which requests leave a batch that is
always full and s₁ a request's time alone. Requests beyond c wait as in M/G/c.

Assumes: Poisson arrivals; the number of sequences is near its mean, prompts arrive evenly; and for
the wait Allen and Cunneen's factor with an exponential tail. It sees neither bursts nor the
variance that long prompts bring, which is what the simulator is for.

Source: `saturated_rate` of `event_skipping` for X; `erlang_c` of `utilization`; Allen (1990) as in
`variability`; the slowdown is derived on the page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.littles_law.kv_cache_occupancy import mean_held, token_seconds
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    TICK_S,
    Engine,
    Workload,
    chat_workload,
    latencies_s,
)
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.queues.erlang import erlang_c, wait_exceeds
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.core.queues.variability import (
    allen_cunneen_wait,
    pollaczek_khinchine_wait,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_number, as_numbers, require, require_positive

FloatArray = npt.NDArray[np.float64]


def work_s(asked: Workload, engine: Engine) -> tuple[FloatArray, FloatArray]:
    """Time that a request's own tokens take, arithmetic and reading of its cache [s], each (n,).

    asked: requests. engine: what they cost. What a table says of the batch is nobody's own.

    >>> asked = Workload([0], [10], [3])
    >>> engine = Engine(1.0, prefill_token_s=0.5, decode_token_s=0.25, context_token_s=0.01)
    >>> [part.tolist() for part in work_s(asked, engine)]  # 10 in, 2 more out; reads 11 and 12
    [[5.5], [0.23]]
    """
    prompts, later = asked.prompt_tokens.astype(float), asked.output_tokens - 1.0
    arithmetic = _prompt_s(asked, engine) + engine.decode_token_s * later
    return arithmetic, engine.context_token_s * later * (prompts + (later + 1) / 2)


def _prompt_s(asked: Workload, engine: Engine) -> FloatArray:
    """Time of each prompt beside the steps that carry it [s], shape (n,)."""
    change_ticks = engine.table.change if engine.table else 0
    rule = "without a cost of changes, which only the simulators follow"
    require(not change_ticks, "table", rule, f"{TICK_S * change_ticks:g} s")
    fresh = asked.prompt_tokens - asked.cached_tokens
    return np.asarray(engine.prefill_token_s * fresh + TICK_S * engine.prompt_ticks(asked))


def _steps_s(engine: Engine, most: int) -> FloatArray:
    """Steps with 0 to `most` decoding sequences, without what those read [s]."""
    sequences = np.arange(most + 1.0)
    batch = np.asarray(engine.table.batch[: most + 1]) if engine.table else 0 * sequences
    return np.asarray(engine.step_s + engine.decode_token_s * sequences + TICK_S * batch)


def _slowdown(
    steps_s: FloatArray, read_s: float, load: float, prompts: float, most: float
) -> float:
    """The least x ≥ 1 with x = D(1 + load·x) / (D(1)·(1 − prompts)), at most `most`.

    steps_s: by sequences; read_s: more for each. load: sequences that decode when nothing slows
    them. prompts: share of the time.
    """
    places = steps_s.size - 1

    def beyond(slower: float) -> float:
        met = min(1 + load * slower, float(places))
        whole = np.interp(met, np.arange(places + 1), steps_s) + read_s * met
        return float(whole / (steps_s[1] + read_s) / (1 - prompts)) - slower

    low, high = 1.0, max(1.0, most)
    if prompts >= 1 or beyond(high) > 0:
        return high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) > 0 else (low, middle)
    return high


@dataclass(frozen=True)
class Estimate:
    """What the closed form says of one replica; infinite where the load is too high."""

    load: float  # arrival rate over the rate of a replica that is always full
    places: float  # sequences that batch limit and memory allow
    concurrency: float  # mean number of sequences
    held_tokens: float  # mean tokens in the cache
    mean_wait_s: float  # for a place
    tpot_s: float
    ttft_s: tuple[float, ...]  # at the quantiles asked for


def closed_form_alone(asked: Workload, engine: Engine) -> tuple[FloatArray, FloatArray]:
    """TTFT and TPOT of every request on a replica without others [s], each (n,); TPOT is NaN for a
    single token.

    asked: requests. engine: what they cost.

    >>> engine = Engine(1.0, prefill_token_s=0.5, decode_token_s=0.25, token_budget=256)
    >>> [part.tolist() for part in closed_form_alone(Workload([0], [10], [3]), engine)]
    [[6.0], [1.25]]
    """
    _, reading = work_s(asked, engine)
    later = np.where(asked.output_tokens > 1, asked.output_tokens - 1.0, np.nan)
    chunks = np.ceil((asked.prompt_tokens - asked.cached_tokens) / engine.token_budget)
    prompt_step_s, step_s = _steps_s(engine, 1)
    return prompt_step_s * chunks + _prompt_s(asked, engine), step_s + reading / later


def closed_form(
    asked: Workload,
    rate_per_s: float,
    engine: Engine,
    quantiles: tuple[float, ...] = (0.5, 0.9, 0.99),
    arrival_scv: float = 1.0,
) -> Estimate:
    """Load, concurrency, memory, TPOT and TTFT of a replica from the costs of its engine.

    asked: a sample of requests; their times are not used. rate_per_s: λ of the replica. quantiles:
    in (0, 1). arrival_scv: C_a² of its gaps. Infinite where the replica cannot keep up. Raises
    ValueError outside these ranges.

    >>> asked = Workload([0], [1], [100])
    >>> told = closed_form(asked, 0.02, Engine(0.1, decode_token_s=0.1))
    >>> round(told.tpot_s, 4)  # a step takes 0.2 s alone; λw = 0.02·99·0.1 = 0.198
    0.2494
    """
    arrival_scv = as_number(arrival_scv=arrival_scv)
    quantiles = as_numbers(quantiles=quantiles)
    rate_per_s = require_positive(rate_per_s=rate_per_s)
    require(all(0 < q < 1 for q in quantiles), "quantiles", "in (0, 1)", quantiles)
    _, reading = work_s(asked, engine)
    prompt, later = _prompt_s(asked, engine), asked.output_tokens - 1.0
    first, each = closed_form_alone(asked, engine)
    decode = np.where(later > 0, later * each, 0.0)
    alone = first + decode
    kept = np.ceil((asked.prompt_tokens + asked.output_tokens - 1) / engine.block_tokens)
    room = engine.kv_blocks / float(np.average(kept, weights=alone))
    places = max(1, min(engine.max_sequences, int(room)))
    limited = replace(engine, max_sequences=places)
    full_rate = saturated_rate(
        asked.prompt_tokens, asked.output_tokens, limited, asked.cached_tokens
    )
    load, mean = rate_per_s / full_rate, float(alone.mean())
    slowdown = _slowdown(
        _steps_s(engine, places),
        float(reading.sum()) / max(float(later.sum()), 1.0),
        rate_per_s * float(decode.mean()),
        rate_per_s * float(prompt.mean()),
        places / full_rate / mean,
    )
    inside = slowdown * mean
    busy = rate_per_s * inside / places
    if load >= 1 or busy >= 1:
        inf = math.inf
        return Estimate(load, places, places, inf, inf, inf, (inf,) * len(quantiles))
    scv = float(alone.var()) / mean**2
    wait_s = inside * allen_cunneen_wait(busy, places, arrival_scv, scv)
    decode_s = float(decode.sum()) / max(float(later.sum()), 1.0)
    tpot_s = slowdown * decode_s
    others = min(1.0, rate_per_s * inside) * (places > 1)  # whether a step is under way
    first = slowdown * first + others * tpot_s / 2
    waiting = erlang_c(places, busy * places)
    longer = (arrival_scv + scv) / 2 * inside / (places * (1 - busy))
    ttft = tuple(
        float(np.quantile(first, q)) + longer * math.log(max(1.0, waiting / (1 - q)))
        for q in quantiles
    )
    prefill_s = float(first.mean())
    held = token_seconds(asked.prompt_tokens, asked.output_tokens, prefill_s, tpot_s)
    concurrency = rate_per_s * inside
    return Estimate(load, places, concurrency, mean_held(rate_per_s, held), wait_s, tpot_s, ttft)


def check_one_place_is_pollaczek_khinchine() -> None:
    """With one place the mean wait is that of M/G/1, exactly, and as simulated.

    Source: Pollaczek–Khinchine of the chapter on utilization; 20,000 simulated requests, standard
    error from batch means.
    """
    engine = replace(EIGHT_BILLION, max_sequences=1, token_budget=10**6)
    asked = chat_workload(np.random.default_rng(16), 0.5, 20_000)
    told = closed_form(asked, 0.5, engine)
    service = engine.step_s * asked.output_tokens + np.add(*work_s(asked, engine))
    rho, scv = 0.5 * service.mean(), service.var() / service.mean() ** 2
    expected = service.mean() * pollaczek_khinchine_wait(rho, scv)
    checks.close("mean wait [s]", told.mean_wait_s, expected, rtol=1e-12)
    checks.close("load", told.load, rho, rtol=1e-12)
    waits = simulate(asked, engine).admitted_s - asked.arrival_s
    checks.covers("simulated [s]", batch_means(waits), told.mean_wait_s)


def check_slowdown_against_simulation() -> None:
    """The mean TPOT of long answers is 1/(1 − λw) of a lone one, to 3%, from light load to heavy.

    Source: 4,000 simulated requests of 200 prompt and 300 output tokens at each of three rates.
    """
    engine = replace(EIGHT_BILLION, max_sequences=500, token_budget=4096, kv_blocks=10**6)
    for rate in (0.5, 5.0, 15.0):
        asked = chat_workload(np.random.default_rng(4), rate, 4000)
        asked = Workload(asked.arrival_s, np.full(4000, 200), np.full(4000, 300))
        _, tpot = latencies_s(asked, simulate(asked, engine))
        ratio = closed_form(asked, rate, engine).tpot_s / float(tpot[400:].mean())
        checks.inside(
            f"{rate:g}/s: closed form over simulation", ratio, 0.97, 1.03, kind="simulation"
        )


def check_tail_is_inverted() -> None:
    """With exponential service and ρ = 0.9 the quantile of the wait is the one whose tail
    `wait_exceeds` gives.

    Source: M/M/1, from lengths at equally likely quantiles of an exponential.
    """
    outputs = np.ceil(-1000 * np.log1p(-(np.arange(20_000) + 0.5) / 20_000))
    asked = Workload(np.zeros(20_000), np.ones(20_000), outputs)
    engine = Engine(1e-3, max_sequences=1)
    rate = 0.9 / (1e-3 * float(outputs.mean()))
    wait_s = closed_form(asked, rate, engine, (0.99,)).ttft_s[0]
    tail = wait_exceeds(wait_s, rate, 1e-3 * float(outputs.mean()))
    checks.close("P(W > p99 of the wait)", tail, 0.01, rtol=0.02)


def check_memory_against_simulation() -> None:
    """Tokens held on average are λ times token-seconds.

    Source: 6,000 simulated requests, each with what it holds half-way through its answer, over the
    time that it decodes; 6% for what is held during prefill.
    """
    engine = replace(EIGHT_BILLION, max_sequences=500, token_budget=4096, kv_blocks=10**6)
    asked = chat_workload(np.random.default_rng(4), 8.0, 6000, 400.0, 300.0)
    served = simulate(asked, engine)
    later = asked.output_tokens > 1
    spent = (served.completion_s - served.first_token_s)[later]
    per_request = asked.prompt_tokens[later] + asked.output_tokens[later] / 2
    held = float(spent @ per_request) / asked.arrival_s[-1]
    checks.close(
        "tokens held",
        closed_form(asked, 8.0, engine).held_tokens,
        held,
        rtol=0.06,
        kind="simulation",
    )
