"""What requests get from an engine under load, said by the simulator from the costs of its steps.

The load is Poisson, with geometric lengths, cut where the context ends. A prediction is the
quantiles of the time to first token and of the time per token over the requests of one run; the
same seed gives the same requests to the simulator and to the engine.

Assumes: what the simulator assumes.

Source: the handbook's `event_skipping`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving_mathematics.core.batching.continuous_batching import (
    Served,
    Workload,
    chat_workload,
    latencies_s,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative_integer,
    require_positive,
)

MEAN_PROMPT, MEAN_OUTPUT = 64.0, 24.0  # tokens; geometric, cut where the context ends
QUANTILES = (0.5, 0.95)
MOST_REQUESTS = 10**6  # of a run, on average
TRACE_SCALE = 8  # by which lengths of a trace are divided, for a small model's context


def cut_workload(workload: Workload, last_s: float, context_tokens: int) -> Workload:
    """The requests that are due until a time, none longer than the context.

    workload: requests. last_s: time [s], positive. context_tokens: of prompt and answer together.
    Raises ValueError when no request is due.

    >>> cut_workload(Workload([0, 1, 9], [5, 9, 1], [3, 9, 1]), 2.0, 10).output_tokens.tolist()
    [3, 1]
    """
    last_s = require_positive(last_s=last_s)
    context_tokens = require_in("[2, 1e9]", context_tokens=context_tokens)
    require(context_tokens % 1 == 0, "context_tokens", "a whole number", context_tokens)
    due = int(np.searchsorted(workload.arrival_s, last_s, side="right"))
    require(due > 0, "last_s", f"at or after {workload.arrival_s[0]:.6g}", last_s)
    prompts = np.minimum(workload.prompt_tokens[:due], context_tokens - 1)
    outputs = np.minimum(workload.output_tokens[:due], context_tokens - prompts)
    return Workload(workload.arrival_s[:due], prompts, outputs)


def _require_bounded(rate: float, seed: int, run_s: float) -> tuple[float, int, float]:
    rate, run_s = require_positive(rate=rate, run_s=run_s)
    seed = require_non_negative_integer(seed=seed)
    require(rate * run_s <= MOST_REQUESTS, "rate", f"at most {MOST_REQUESTS / run_s:g}", rate)
    return rate, seed, run_s


def poisson_load(rate: float, seed: int, run_s: float, context_tokens: int) -> Workload:
    """The requests of one run.

    rate: of arrivals [1/s], positive. seed: of the run, from 0. run_s: until when they come [s],
    positive. context_tokens: as in `cut_workload`, which raises ValueError when none comes.

    >>> poisson_load(5.0, 0, 2.0, 2048).prompt_tokens.size
    8
    """
    rate, seed, run_s = _require_bounded(rate, seed, run_s)
    rng = np.random.default_rng([seed, int(1000 * rate)])
    whole = chat_workload(rng, rate, int(3 * rate * run_s) + 10, MEAN_PROMPT, MEAN_OUTPUT)
    return cut_workload(whole, run_s, context_tokens)


def trace_load(
    trace: Mapping[str, Any], rate: float, seed: int, run_s: float, context_tokens: int
) -> Workload:
    """The requests of a published trace in one run: its minutes in as many parts, its lengths
    divided by `TRACE_SCALE`.

    trace: `requests_per_minute`, `token_quantiles_percent`, and the quantiles of `context_tokens`
    and `generated_tokens`. rate: mean of the run [1/s], positive. seed, run_s, context_tokens: as
    in `poisson_load`. Within a part arrivals are Poisson; lengths are drawn from the quantiles, one
    independent of the other, because the trace's pairs are not published with them.

    >>> hour = {"requests_per_minute": [1, 3], "token_quantiles_percent": [0, 100],
    ...         "context_tokens": [80, 80], "generated_tokens": [16, 16]}
    >>> load = trace_load(hour, 20.0, 0, 10.0, 2048)
    >>> int(load.prompt_tokens[0]), int(load.output_tokens[0]), int(sum(load.arrival_s < 5.0))
    (10, 2, 46)
    """
    rate, seed, run_s = _require_bounded(rate, seed, run_s)
    rng = np.random.default_rng([seed, int(1000 * rate)])
    minutes = np.array(trace["requests_per_minute"], dtype=float)
    part_s = run_s / minutes.size
    counts = rng.poisson(rate * part_s * minutes / minutes.mean())
    starts = np.repeat(part_s * np.arange(minutes.size), counts.astype(np.intp))
    arrival_s = np.sort(starts + part_s * rng.random(starts.size))
    lengths = (
        np.interp(rng.uniform(0, 100, starts.size), trace["token_quantiles_percent"], trace[name])
        for name in ("context_tokens", "generated_tokens")
    )
    prompts, outputs = (np.maximum(1, np.rint(tokens / TRACE_SCALE)) for tokens in lengths)
    return cut_workload(Workload(arrival_s, prompts, outputs), run_s, context_tokens)


def latency_quantiles(workload: Workload, served: Served) -> dict[str, list[float]]:
    """Median and 95th percentile of TTFT and of TPOT [s], `ttft_s` and `tpot_s`.

    workload: what was asked; one request has more than a token. served: when it got that.

    >>> asked, never = Workload([0, 1], [9, 9], [3, 1]), np.zeros(2, dtype=np.int64)
    >>> first_s, last_s = np.array([2.0, 3.0]), np.array([4.0, 3.0])
    >>> latency_quantiles(asked, Served(first_s, first_s, last_s, never, 4, 18, 2, 21, 4.0))
    {'ttft_s': [2.0, 2.0], 'tpot_s': [1.0, 1.0]}
    """
    ttft, tpot = latencies_s(workload, served)
    return {
        "ttft_s": np.quantile(ttft, QUANTILES).tolist(),
        "tpot_s": np.nanquantile(tpot, QUANTILES).tolist(),
    }


def check_load_is_what_it_says() -> None:
    """As many requests come as the rate says, none is longer than the context, and a seed gives the
    same again.

    Source: a Poisson count, within four standard deviations.
    """
    load = poisson_load(50.0, 3, 40.0, 128)
    count = load.arrival_s.size
    checks.inside(
        "requests", count, 2000 - 4 * math.sqrt(2000), 2000 + 4 * math.sqrt(2000), kind="simulation"
    )
    longest = int((load.prompt_tokens + load.output_tokens).max())
    checks.equal("longest", longest, 128)
    again = poisson_load(50.0, 3, 40.0, 128)
    checks.equal("again", again.arrival_s.tolist() == load.arrival_s.tolist(), True)


def check_trace_has_its_minutes_and_lengths() -> None:
    """In two minutes of which the second has three times the requests, three quarters come in the
    second half; a third of the lengths is below the quantile of a third.

    Source: binomial counts, within four standard deviations.
    """
    hour = {
        "requests_per_minute": [100, 300],
        "token_quantiles_percent": [0, 33, 100],
        "context_tokens": [8, 80, 800],
        "generated_tokens": [8, 80, 800],
    }
    load = trace_load(hour, 200.0, 1, 20.0, 2048)
    size = load.arrival_s.size
    late = float(np.mean(load.arrival_s >= 10.0))
    checks.close("second half", late, 0.75, atol=4 * math.sqrt(0.75 * 0.25 / size))
    for name, tokens in (("prompts", load.prompt_tokens), ("outputs", load.output_tokens)):
        short = float(np.mean(tokens <= 80 / TRACE_SCALE))
        checks.close(f"short {name}", short, 0.33, atol=4 * math.sqrt(0.33 * 0.67 / size) + 0.01)


def check_bad_input_is_refused() -> None:
    """Nothing due is an error that says so."""
    one = Workload([7.0], [1], [2])
    checks.raises("none due", cut_workload, one, 1.0, 512, match="last_s must be at or after 7")
