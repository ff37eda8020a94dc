"""Admission before a language model: how many prompts may wait, or how many tokens.

Prompts are read one after the other at r tokens a second, and a first token is in time when it
comes within τ. A request may enter if fewer than K are inside, or if the tokens in front of it and
its own are at most M. With M = rτ whoever enters is in time; with K nobody knows, because prompts
differ. Both limits are tried at their best, by how many requests, and how many of their tokens, are
answered in time; and both admit for an engine that batches, by a clock that reads for it.

Assumes: reading takes a constant share of the steps, so that r is constant; nobody leaves; sizes
of prompts are known when they arrive, which they are.

Source: Lindley (1952) for the backlog of one server; the rest by simulation.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Workload,
    latencies_s,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_positive,
    require_all_sorted,
    require_positive,
    require_shape,
)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

READ_PER_S = 8000.0  # [token/s] r, by choice: of the order of 8 billion parameters on one A100
DEADLINE_S = 2.0  # [s] τ of the first token, by choice
SHORT, LONG, LONG_SHARE = 500, 8000, 0.1  # [token] prompts of the worked traffic, by choice
OVER = 2.0  # offered tokens over those that can be read, by choice
REQUESTS, ENGINE_REQUESTS = 20_000, 3000
SLOW_CLOCK = 0.9  # of the engine's rate, at which a clock counts its tokens down, by choice
PLACES = tuple(range(1, 17))  # limits on the requests that are tried
TOKENS = tuple(range(2000, 24_001, 2000))  # limits on the tokens that are tried
Sizes = Literal["two kinds", "lognormal"]


@dataclass(frozen=True)
class Admission:
    """Who entered, and when the first token came."""

    admitted: BoolArray  # (requests,)
    first_s: FloatArray  # (requests,) after the arrival [s]; infinite for who did not enter


def admit(
    arrival_s: npt.ArrayLike,
    tokens: npt.ArrayLike,
    tokens_per_s: float,
    *,
    most_requests: float = math.inf,
    most_tokens: float = math.inf,
) -> Admission:
    """Prompts that are read in order of arrival, within a limit on requests, or on tokens.

    arrival_s: sorted [s], shape (n,). tokens: of each prompt, positive, shape (n,). tokens_per_s:
    r. most_requests: inside, the newcomer included. most_tokens: still to be read, the newcomer's
    included. First tokens of those refused are infinitely late. Raises ValueError on input outside
    these ranges.

    >>> within = admit([0.0, 0.0, 0.0], [500, 8000, 500], 1000.0, most_tokens=2000)
    >>> within.admitted.tolist(), within.first_s.tolist()
    ([True, False, True], [0.5, inf, 1.0])
    """
    most_requests, most_tokens = as_number(most_requests=most_requests, most_tokens=most_tokens)
    times, sizes = as_floats(arrival_s=arrival_s), as_floats(tokens=tokens)
    require(times.ndim == 1 and times.size > 0, "arrival_s", "a non-empty list", times.shape)
    require_all_sorted(arrival_s=times)
    require_shape(times.shape, tokens=sizes)
    require_all_positive(tokens=sizes)
    tokens_per_s = require_positive(tokens_per_s=tokens_per_s)
    require(most_requests >= 1, "most_requests", "at least 1", most_requests)
    require(most_tokens > 0, "most_tokens", "positive", most_tokens)
    places = None if most_requests >= times.size else math.ceil(most_requests)
    ends: deque[float] = deque(maxlen=places)  # when the last that entered have been read
    free = -math.inf  # when the very last of them has been read
    first = []
    for now, size in zip(times.tolist(), sizes.tolist(), strict=True):
        begin = now if now > free else free
        room = len(ends) != places or ends[0] <= now
        if room and (begin - now) * tokens_per_s + size <= most_tokens:
            free = begin + size / tokens_per_s
            ends.append(free)
            first.append(free - now)
        else:
            first.append(math.inf)
    return Admission(np.isfinite(first), np.array(first))


def in_time(
    first_s: npt.ArrayLike, tokens: npt.ArrayLike, deadline_s: float
) -> tuple[float, float]:
    """Shares of the requests, and of their tokens, whose first token came within a deadline.

    first_s: shape (n,), infinite for who never got one [s]. tokens: positive, shape (n,).
    deadline_s: positive [s]. Raises ValueError on input outside these ranges.

    >>> in_time([0.5, math.inf, 1.0, 3.0], [100, 700, 100, 100], deadline_s=2.0)
    (0.5, 0.2)
    """
    first, sizes = as_floats(first_s=first_s), as_floats(tokens=tokens)
    require(first.ndim == 1 and first.size > 0, "first_s", "a non-empty list", first.shape)
    require(bool(np.all(first >= 0)), "first_s", "non-negative", first)
    require_shape(first.shape, tokens=sizes)
    require_all_positive(tokens=sizes)
    deadline_s = require_positive(deadline_s=deadline_s)
    good = first <= deadline_s
    return float(np.mean(good)), float(sizes[good].sum() / sizes.sum())


@functools.cache
def _traffic(sizes: Sizes, over: float) -> tuple[FloatArray, FloatArray]:
    """Arrivals [s] and tokens of prompts, of the same mean whatever their law."""
    rng = np.random.default_rng([77, sizes == "lognormal"])
    mean = SHORT + LONG_SHARE * (LONG - SHORT)
    if sizes == "two kinds":
        tokens = np.where(rng.random(REQUESTS) < LONG_SHARE, float(LONG), float(SHORT))
    else:  # a squared coefficient of variation of 4
        spread = math.sqrt(math.log(5))
        tokens = np.ceil(rng.lognormal(math.log(mean) - spread**2 / 2, spread, REQUESTS))
    gaps = rng.exponential(mean / (over * READ_PER_S), REQUESTS)
    return np.cumsum(gaps), tokens


@functools.cache
def _share(sizes: Sizes, over: float, kind: str, limit: float) -> tuple[float, float, float]:
    """Requests in time under a limit [%], its 95% half-width, and the tokens in time [%]."""
    arrivals, tokens = _traffic(sizes, over)
    limits = {"most_requests": math.inf, "most_tokens": math.inf, kind: limit}
    first = admit(arrivals, tokens, READ_PER_S, **limits).first_s
    good = batch_means(first <= DEADLINE_S)
    return 100 * good.mean, 100 * good.half_width, 100 * in_time(first, tokens, DEADLINE_S)[1]


def _best(sizes: Sizes, over: float, kind: str) -> tuple[float, tuple[float, float, float]]:
    """The limit under which most requests are in time, and what it gives: from rτ tokens, or from
    the best of every fourth limit on the requests, on to a neighbour while that is better.
    """
    if kind == "most_requests":
        tried, begin = PLACES, [*range(0, len(PLACES), 4)]
    else:
        tried, begin = TOKENS, [TOKENS.index(int(READ_PER_S * DEADLINE_S))]

    def share(place: int) -> float:
        return _share(sizes, over, kind, float(tried[place]))[0]

    best = max(begin, key=share)
    while (near := max(range(max(0, best - 1), min(len(tried), best + 2)), key=share)) != best:
        best = near
    return float(tried[best]), _share(sizes, over, kind, float(tried[best]))


@functools.cache
def _no_long() -> tuple[float, float]:
    """Requests in time, and their tokens [%], where long prompts are refused whatever waits."""
    arrivals, tokens = _traffic("two kinds", OVER)
    first = np.full(tokens.size, math.inf)
    short = tokens == SHORT
    first[short] = admit(arrivals[short], tokens[short], READ_PER_S).first_s
    requests, of_tokens = in_time(first, tokens, DEADLINE_S)
    return 100 * requests, 100 * of_tokens


@functools.cache
def _asked() -> tuple[Workload, float]:
    """Requests of the two kinds for an engine that batches, all at once, with answers of 60 tokens
    on average, and the tokens of prompts that it reads a second meanwhile.
    """
    tokens = _traffic("two kinds", OVER)[1][:ENGINE_REQUESTS]
    outputs = np.random.default_rng(78).geometric(1 / 60, tokens.size)
    asked = Workload(np.zeros(tokens.size), tokens, outputs)
    served = simulate(asked, EIGHT_BILLION)
    return asked, served.prefill_tokens / served.busy_s


@functools.cache
def _in_an_engine(kind: str, limit: float, clock: float) -> float:
    """Requests in time [%] in the engine of the chapter on batching, asked for OVER times what it
    reads, where a limit admits by a clock that reads at a share of its rate.
    """
    asked, reads = _asked()
    arrivals = _traffic("two kinds", OVER)[0][:ENGINE_REQUESTS] * READ_PER_S / reads
    tokens = asked.prompt_tokens
    limits = {"most_requests": math.inf, "most_tokens": math.inf, kind: limit}
    into = np.flatnonzero(admit(arrivals, tokens, clock * reads, **limits).admitted)
    workload = Workload(arrivals[into], tokens[into], asked.output_tokens[into])
    first, _ = latencies_s(workload, simulate(workload, EIGHT_BILLION))
    return 100 * float(np.sum(first <= DEADLINE_S)) / arrivals.size


def _best_in_an_engine(kind: str, clock: float) -> float:
    """Requests in time under the best limit [%]."""
    reads = _asked()[1]
    tried = (
        PLACES[1:8] if kind == "most_requests" else (0.6 * reads * DEADLINE_S, reads * DEADLINE_S)
    )
    return max(_in_an_engine(kind, limit, clock) for limit in tried)


def example() -> SimpleNamespace:
    """Shares in time under the best limits, at twice the tokens that can be read."""
    places, by_places = _best("two kinds", OVER, "most_requests")
    most, by_tokens = _best("two kinds", OVER, "most_tokens")
    arrivals, tokens = _traffic("two kinds", OVER)
    long = tokens == LONG
    long_in_time = {
        kind: 100
        * in_time(
            admit(arrivals, tokens, READ_PER_S, **{kind: limit}).first_s[long],
            tokens[long],
            DEADLINE_S,
        )[0]
        for kind, limit in (("most_requests", places), ("most_tokens", most))
    }
    return SimpleNamespace(
        read_per_s=READ_PER_S,
        first_token_s=DEADLINE_S,
        short_prompt=SHORT,
        long_prompt=LONG,
        best_places=int(places),
        best_tokens=int(most),
        by_places_percent=by_places[0],
        by_places_pm=by_places[1],
        by_places_tokens=by_places[2],
        by_tokens_percent=by_tokens[0],
        by_tokens_pm=by_tokens[1],
        by_tokens_tokens=by_tokens[2],
        unlimited_percent=_share("two kinds", OVER, "most_requests", math.inf)[0],
        no_long_percent=_no_long()[0],
        no_long_tokens=_no_long()[1],
        long_by_places=long_in_time["most_requests"],
        long_by_tokens=long_in_time["most_tokens"],
        engine_by_places=_best_in_an_engine("most_requests", SLOW_CLOCK),
        engine_by_tokens=_best_in_an_engine("most_tokens", SLOW_CLOCK),
        engine_fast_places=_best_in_an_engine("most_requests", 1.0),
        engine_fast_tokens=_in_an_engine("most_tokens", _asked()[1] * DEADLINE_S, 1.0),
        slow_clock_percent=100 * (1 - SLOW_CLOCK),
    )


def check_all_that_enter_are_in_time() -> None:
    """Within a limit of rτ tokens everybody who enters has a first token in time, and of equal
    prompts as many enter as within the same limit in requests.

    Source: by arithmetic; 4,000 prompts at twice the rate.
    """
    arrivals, tokens = (one[:4000] for one in _traffic("two kinds", OVER))
    found = admit(arrivals, tokens, READ_PER_S, most_tokens=READ_PER_S * DEADLINE_S)
    latest = float(found.first_s[found.admitted].max())
    checks.inside("latest first token of those who entered [s]", latest, 1.0, DEADLINE_S)
    equal = np.full(arrivals.size, 1000.0)
    every = [
        admit(arrivals, equal, READ_PER_S, **limit).admitted
        for limit in ({"most_requests": 1}, {"most_tokens": 1000.0})
    ]
    checks.equal("equal prompts: who enters in one way only", int(np.sum(every[0] != every[1])), 0)


def check_a_limit_on_requests_is_erlangs() -> None:
    """With exponential sizes the share that finds K inside is that of the chain with K places.

    Source: (1 − ρ)ρ^K/(1 − ρ^(K+1)), Kleinrock (1975), chapter 3; 70,000 requests, batch means.
    """
    rng = np.random.default_rng(79)
    sizes = rng.exponential(1000.0, 70_000)
    arrivals = np.cumsum(rng.exponential(1000.0 / (0.8 * READ_PER_S), sizes.size))
    refused = ~admit(arrivals, sizes, READ_PER_S, most_requests=4).admitted
    expected = 0.2 * 0.8**4 / (1 - 0.8**5)
    checks.covers("refused with four places at 80% load", batch_means(refused), expected)


def check_tokens_beat_requests_under_two_laws() -> None:
    """Under overload a limit on tokens answers more requests in time than the best limit on
    requests, and more of their tokens, for prompts of two kinds and for lognormal ones, and at 80%
    load too.

    Source: 20,000 requests of each, batch means; two laws of the same mean.
    """
    for sizes in ("two kinds", "lognormal"):
        for over in (0.8, OVER):
            _, places = _best(sizes, over, "most_requests")
            _, tokens = _best(sizes, over, "most_tokens")
            gain = tokens[0] - places[0] - tokens[1] - places[1]
            label = f"{sizes}, load {over:g}: "
            checks.inside(label + "requests gained [points], both errors off", gain, 5.0, 60.0)
            checks.inside(label + "tokens in time, ratio", tokens[2] / places[2], 1.05, 1.5)


def check_requests_in_time_are_a_mix_of_kinds() -> None:
    """To refuse every long prompt, whatever waits, answers as many requests in time as the limit on
    tokens at its best, within two points, and two thirds to four fifths of the tokens: a share of
    requests says which kind was refused. In tokens the limit wastes none that can be read.

    Source: the short prompts alone are 72% of what can be read; 20,000 requests.
    """
    requests, tokens = _no_long()
    _, limit = _best("two kinds", OVER, "most_tokens")
    checks.close("requests in time, either way [%]", requests, limit[0], atol=2.0)
    checks.inside("tokens in time, refusing over limit", tokens / limit[2], 0.66, 0.8)
    checks.close("tokens in time by the limit [%]", limit[2], 100 / OVER, atol=1.5)


def check_tokens_beat_requests_in_an_engine() -> None:
    """In an engine that batches the order is the same, if the clock by which tokens are counted is
    a tenth slower than the engine; with a clock at its full rate the order turns.

    Source: the simulator of the chapter on batching, 3,000 requests with answers of 60 tokens.
    """
    slow = [_best_in_an_engine(kind, SLOW_CLOCK) for kind in ("most_tokens", "most_requests")]
    checks.inside("a slow clock: tokens over requests", slow[0] / slow[1], 1.5, 3.0)
    fast = _in_an_engine("most_tokens", _asked()[1] * DEADLINE_S, 1.0)
    ratio = fast / _best_in_an_engine("most_requests", 1.0)
    checks.inside("a clock at the full rate: tokens over requests", ratio, 0.1, 0.8)


def check_bad_input_is_refused() -> None:
    """Limits that let nobody in, prompts without tokens and times before zero are errors."""
    checks.raises(
        "nobody",
        lambda: admit([0.0], [1.0], 1.0, most_requests=0),
        match="most_requests must be at least 1, got 0",
    )
    checks.raises("empty prompt", admit, [0.0], [0.0], 1.0, match="tokens must be positive")
    checks.raises("shape", in_time, [1.0], [1.0, 2.0], 1.0, match="tokens must be of shape (1,)")
