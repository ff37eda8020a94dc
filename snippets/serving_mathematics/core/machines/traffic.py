"""Lengths and arrivals drawn like those of published traces, from tables of a record.

The requests of a trace are cut into classes of equal number by the length of their prompts. In each
class the record has twenty equally frequent values of prompts, of answers, and of the share of a
prompt that a cache of so many tokens found, served in the order of the trace. A request is of a
class at random; within it lengths are independent. So long prompts have the answers and the hits
that long prompts had, and means are those of the trace. Arrivals are Poisson at one rate, or at the
trace's own rate of each minute; then classes are as frequent as they were in that minute.

    python -m serving_mathematics.core.machines.traffic AZURE.csv MOONCAKE.jsonl.gz

writes records/machine_traffic.json.gz from the files as published.

Assumes: requests that do not depend on each other but for what their class says; hits that do not
depend on the load.

Source: Azure Public Dataset (Patel et al. 2024), conversation service of 2023, CC-BY-4.0; Mooncake
(Qin et al. 2025), conversation trace, Apache-2.0.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.traces import read_trace
from serving_mathematics.support import checks
from serving_mathematics.support.files import read_text
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_positive,
    require_positive_integer,
    require_shape,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
TRAFFIC_RECORD = "machine_traffic"
COMMAND = "python -m serving_mathematics.core.machines.traffic AZURE MOONCAKE"
CLASSES = 16  # of equal number, by the length of the prompt
VALUES = 20  # of each length in a class: means of twentieths of its requests, in order
BLOCK = 512  # tokens of a block of the trace's prefixes
CACHE_TOKENS = 10_000_000  # of the cache that is asked for prefixes: 0.7 TB at 70 kB a token
MINUTE_S = 60.0
TRACES = {
    "conversations": "Azure LLM inference trace 2023, conversation service (CC-BY-4.0)",
    "long conversations": "Mooncake, conversation trace (Apache-2.0)",
}


@dataclass(frozen=True, eq=False)
class Lengths:
    """Lengths of requests, each of shape (n,): tokens of the prompt, of it cached, and of the
    answer."""

    prompt_tokens: IntArray
    cached_tokens: IntArray
    output_tokens: IntArray


@functools.cache
def trace_record(name: str) -> dict[str, Any]:
    """What is kept of a trace: requests, means, values by class, and how many of each class came in
    each minute.

    name: of `TRACES`. Raises ValueError on another.

    >>> trace_record("conversations")["requests"]
    19366
    """
    require(name in TRACES, "name", f"one of {', '.join(TRACES)}", name)
    found: dict[str, Any] = read_record(TRAFFIC_RECORD)["traces"][name]
    return found


def draw_lengths(
    rng: np.random.Generator, name: str, requests: int, minutes: IntArray | None = None
) -> Lengths:
    """Lengths like those of a trace.

    name: of `TRACES`. requests: how many. minutes: of the trace, in which each comes, as
    `draw_minutes` says, shape (requests,). Raises ValueError on another name, number or minute.

    >>> drawn = draw_lengths(np.random.default_rng(0), "conversations", 1000)
    >>> bool(900 < drawn.prompt_tokens.mean() < 1400), int(drawn.cached_tokens.max())
    (True, 0)
    """
    record = trace_record(name)
    requests = require_positive_integer(requests=requests)
    require_work(requests, requests=requests)
    if minutes is None:
        which = rng.integers(0, CLASSES, requests)
    else:
        given, counts = as_floats(minutes=minutes), np.array(record["classes_per_minute"])
        require_shape((requests,), minutes=given)
        known = (given >= 0) & (given < len(counts)) & (given == np.floor(given))
        require(known, "minutes", f"integers from 0 to below {len(counts)}", given)
        upto, at = np.cumsum(counts), given.astype(np.int64)
        own = counts.sum(axis=1)[at]
        place = upto[CLASSES * at + CLASSES - 1] - own + rng.random(requests) * own
        which = np.searchsorted(upto, place, side="right") % CLASSES
    drawn = {
        part: np.array(record[part])[which, rng.integers(0, VALUES, requests)]
        for part in ("prompt", "output", "cached_share")
    }
    prompts = np.maximum(np.rint(drawn["prompt"]), 1).astype(np.int64)
    cached = np.floor(drawn["cached_share"] * prompts).astype(np.int64)
    outputs = np.maximum(np.rint(drawn["output"]), 1).astype(np.int64)
    return Lengths(prompts, np.minimum(cached, prompts - 1), outputs)


def draw_arrivals(rng: np.random.Generator, rate_per_s: float, requests: int) -> FloatArray:
    """Times of arrivals [s], shape (requests,): Poisson.

    Raises ValueError unless the rate and the number are positive.

    >>> times = draw_arrivals(np.random.default_rng(0), 10.0, 5000)
    >>> bool(480 < times[-1] < 520)
    True
    """
    rate_per_s = require_positive(rate_per_s=rate_per_s)
    requests = require_positive_integer(requests=requests)
    require_work(requests, requests=requests)
    return np.asarray(np.cumsum(rng.exponential(1.0, requests)) / rate_per_s)


def draw_minutes(
    rng: np.random.Generator, rate_per_s: float, requests: int, minutes_of: str
) -> tuple[FloatArray, IntArray]:
    """Times of arrivals [s] at the rate of a trace's minutes, and the minute of each, both of shape
    (requests,).

    rate_per_s: on average, to which the trace is scaled. Its minutes fill the run a whole number
    of times, or its mean would be that of the minutes it has seen: each lasts 60 s in a run of many
    hours, and as much less as a run is shorter than the trace. Raises ValueError outside these
    ranges.

    >>> times, minutes = draw_minutes(np.random.default_rng(0), 10.0, 5000, "conversations")
    >>> bool(480 < times[-1] < 520), int(minutes.max())  # the whole hour, seven times as fast
    (True, 57)
    """
    ticks = draw_arrivals(rng, 1.0, requests)
    rate_per_s = require_positive(rate_per_s=rate_per_s)
    requests = require_positive_integer(requests=requests)  # in any type
    counts = np.array(trace_record(minutes_of)["requests_per_minute"], dtype=float)
    rounds = max(1.0, requests / (MINUTE_S * rate_per_s * counts.size))
    require_work(rounds * counts.size, rate_per_s=rate_per_s)
    rounds = round(rounds)
    expected = requests / rounds * counts / counts.sum()  # of each minute
    minute_s = requests / (rounds * rate_per_s * counts.size)
    clock = np.append(0.0, np.cumsum(np.tile(expected, rounds + 1)))  # one more than are wanted
    passed = np.interp(ticks, clock, np.arange(clock.size))  # minutes
    return minute_s * passed, passed.astype(np.int64) % counts.size


def draw_requests(
    rng: np.random.Generator,
    name: str,
    rate_per_s: float,
    requests: int,
    real_minutes: bool = False,
) -> tuple[FloatArray, Lengths]:
    """Times of arrivals [s] and lengths of requests like those of a trace.

    name: of `TRACES`. rate_per_s: on average. real_minutes: whether rate and lengths follow the
    trace's minutes. Raises ValueError outside these ranges.

    >>> times, drawn = draw_requests(np.random.default_rng(1), "conversations", 10.0, 2000)
    >>> times.size, drawn.prompt_tokens.size
    (2000, 2000)
    """
    if real_minutes:
        arrivals, minutes = draw_minutes(rng, rate_per_s, requests, name)
        return arrivals, draw_lengths(rng, name, requests, minutes)
    lengths = draw_lengths(rng, name, requests)
    return draw_arrivals(rng, rate_per_s, requests), lengths


def found_tokens(requests: Requests, cache_tokens: int, block_tokens: int = BLOCK) -> IntArray:
    """Tokens of each prompt that a cache finds, when answers take no time, shape (n,); zeros where
    it is not known what prompts share.

    cache_tokens: that it holds, least recently used first out. block_tokens: of a block.

    >>> from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
    >>> tree = prefixes_of_reuse([-1, 0], [0, 90], [100, 120])
    >>> asked = Requests([0, 1], [100, 120], [1, 1], prefixes=tree)
    >>> found_tokens(asked, 1000, block_tokens=10).tolist()
    [0, 90]
    """
    cache_tokens, block_tokens = require_positive_integer(
        cache_tokens=cache_tokens, block_tokens=block_tokens
    )
    found = np.zeros(requests.arrival_s.size, dtype=np.int64)
    if requests.prefixes is None:
        return found
    tree = requests.prefixes.in_blocks(block_tokens)
    cache = BlockCache(tree)
    for request in range(found.size):
        chain, depth = int(tree.chain[request]), int(tree.blocks[request])
        found[request] = cache.look(chain, depth)[1] * block_tokens
        cache.hold(chain, depth)
        cache.release(chain, depth)
        cache.shrink(cache.resident - cache_tokens // block_tokens)
    return np.asarray(np.minimum(found, requests.prompt_tokens - 1))


def tabulate(requests: Requests) -> dict[str, Any]:
    """What the record keeps of a trace.

    requests: the trace, 320 or more. Raises ValueError for fewer.

    >>> asked = Requests(np.arange(320.0), np.full(320, 9), np.full(320, 4))
    >>> tabulate(asked)["mean_output_tokens"]
    4.0
    """
    prompts, outputs = requests.prompt_tokens, requests.output_tokens
    least = CLASSES * VALUES
    rule = f"a trace of {least} requests or more"
    require(prompts.size >= least, "requests", rule, prompts.size)
    cached = found_tokens(requests, CACHE_TOKENS)
    parts = np.array_split(np.argsort(prompts, kind="stable"), CLASSES)

    def values(lengths: npt.NDArray[Any], digits: int) -> list[list[float]]:
        cut = (np.array_split(np.sort(lengths[part]), VALUES) for part in parts)
        return [[round(float(few.mean()), digits) for few in one] for one in cut]

    minutes = (requests.arrival_s // MINUTE_S).astype(np.intp)
    span = int(minutes.max()) + 1
    classes = np.array([np.bincount(minutes[part], minlength=span) for part in parts]).T
    classes = classes[: max(1, span - 1)]  # of whole minutes
    return {
        "requests": int(prompts.size),
        "mean_prompt_tokens": round(float(prompts.mean()), 2),
        "mean_output_tokens": round(float(outputs.mean()), 2),
        "cached_share": values(cached / prompts, 3),
        "mean_cached_tokens": round(float(cached.mean()), 2),
        "requests_per_minute": classes.sum(axis=1).tolist(),
        "classes_per_minute": classes.tolist(),
        "prompt": values(prompts, 1),
        "output": values(outputs, 1),
    }


def main(paths: Sequence[str]) -> int:
    """Write the record from two files."""
    require(len(paths) == len(TRACES), "paths", "two: AZURE and MOONCAKE", len(paths))
    traces = {}
    for (name, source), path in zip(TRACES.items(), paths, strict=True):
        asked = read_trace(read_text(path))
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        traces[name] = {"source": source, "sha256": digest} | tabulate(asked)
    what = f"values by {CLASSES} classes of prompts; hits of a cache of {CACHE_TOKENS:,} tokens"
    record = provenance(COMMAND, ["numpy"]) | {"what": what, "traces": traces}
    print(f"wrote {write_record(TRAFFIC_RECORD, record, packed=True)}")
    return 0


def check_drawn_lengths_are_those_of_the_traces() -> None:
    """Means of drawn prompts, answers and hits are those of the published files, to 2%.

    Source: the means that the record was given beside the values; 200,000 requests drawn.
    """
    for name in TRACES:
        record = trace_record(name)
        drawn = draw_lengths(np.random.default_rng(3), name, 200_000)
        for part in ("prompt", "output", "cached"):
            told = record[f"mean_{part}_tokens"]
            mean = float(getattr(drawn, f"{part}_tokens").mean())
            label = f"{name}: {part} [tokens]"
            checks.close(label, mean, told, rtol=0.02, kind="measured")


def check_minutes_are_followed() -> None:
    """In each minute as many arrive as the trace had, scaled, within four standard errors, with its
    mean prompt to a twentieth; and the mean of a run is its rate, however many of the minutes it
    would have seen.

    Source: Poisson counts, whose variance is their mean; an hour at 100 requests a second, and runs
    of a quarter of an hour, of one and of several.
    """
    counts = np.array(trace_record("conversations")["requests_per_minute"], dtype=float)
    size = int(100 * MINUTE_S * counts.size)
    rng = np.random.default_rng(5)
    times, drawn = draw_requests(rng, "conversations", 100.0, size, real_minutes=True)
    whole = int(times[-1] // MINUTE_S)
    found = np.bincount((times // MINUTE_S).astype(np.intp))[:whole]
    expected = 6000 * counts[:whole] / counts.mean()
    worst = float(np.max(np.abs(found - expected) / np.sqrt(expected)))
    checks.inside("largest distance [standard errors]", worst, 0.0, 4.5, kind="simulation")
    told = read_record("azure_conv_2023")["statistics"]
    means = np.divide(told["context_per_minute"], told["requests_per_minute"])[:whole]
    tokens = np.bincount((times // MINUTE_S).astype(np.intp), drawn.prompt_tokens)[:whole] / found
    checks.close("mean prompt of each minute [tokens]", tokens, means, rtol=0.1, kind="simulation")
    for size in (20_000, 80_000, 300_000):
        times, _ = draw_minutes(np.random.default_rng(5), 20.0, size, "conversations")
        rate = size / float(times[-1])
        checks.close(f"{size:,} requests: rate [1/s]", rate, 20.0, rtol=0.03, kind="simulation")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
