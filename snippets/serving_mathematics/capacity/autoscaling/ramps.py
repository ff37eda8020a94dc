"""How fast a load may grow while replicas start, for the promise and not only for the ceiling.

A replica that has a share a of its most takes growth by 1/a − 1 before it is full, and by ρ*/a − 1
before requests are late, with ρ* the load up to which it keeps its promise.

Assumes: one engine that stands for all; Poisson arrivals, lengths of the machine's trace.

Source: own simulation of the book's machine; balance of flows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload, latencies_s
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks

FloatArray = npt.NDArray[np.float64]
SEEDS = (1, 2)
CALM_S, STARTUP_S = 90, 180  # before the growth; of a replica


def _in_time(loads: FloatArray, counted: slice) -> float:
    """Share of the requests of the counted seconds that get what the chat machine promises, in the
    mean of draws.

    loads: of each second, of the machine's most, shape (n,).
    """
    kept = list[float]()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        count = rng.poisson(loads * CHAT.ceiling_per_s)
        seconds = np.repeat(np.arange(loads.size), count.astype(np.intp))
        arrivals = np.sort(seconds + rng.random(seconds.size))
        drawn = draw_lengths(rng, CHAT.traffic, arrivals.size)
        asked = Workload(arrivals, drawn.prompt_tokens, drawn.output_tokens, drawn.cached_tokens)
        first_s, tokens_s = latencies_s(asked, simulate(asked, CHAT.engine))
        good = first_s + CHAT.made.around_s <= CHAT.promise.ttft_s
        good &= ~(tokens_s > CHAT.promise.tpot_s)  # none is told of one token
        here = (arrivals >= counted.start) & (arrivals < counted.stop)
        kept.append(float(good[here].mean()))
    return float(np.mean(kept))


def _growing(first: float, last: float) -> FloatArray:
    """Calm at a load, then growth within one start-up to another, then calm again."""
    rise = np.linspace(first, last, STARTUP_S)
    return np.concatenate([np.full(CALM_S, first), rise, np.full(CALM_S, first)])


def check_growth_within_a_start_up() -> None:
    """Growth within one start-up, from three or four fifths of the ceiling to the load that keeps
    the promise, is served in time; growth from four fifths to the ceiling makes a tenth or more of
    the requests around its end late.

    Source: an engine request by request, two draws; who comes from the growth's start, or in its
    last 30 s, to 20 s after it.
    """
    grows, ends = (slice(begins, CALM_S + STARTUP_S + 20) for begins in (CALM_S, CALM_S + 150))
    for first, top, who, low, high in (
        (0.8, promised_load("chat"), grows, 0.99, 1.0),
        (0.6, promised_load("chat"), grows, 0.99, 1.0),
        (0.8, 1.0, ends, 0.0, 0.9),
    ):
        kept = _in_time(_growing(first, top), who)
        checks.inside(f"from {first:g} to {top:.2f}: in time", kept, low, high)
