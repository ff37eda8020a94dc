"""One of the book's machines at work: requests at a rate, and what an observer sees of it.

Requests arrive and are served by `event_skipping`, which walks the engine's steps from event to
event. What a monitor would show at any moment is counted afterwards from the times of each request:
who waits, whose prompt is read, who gets tokens, and how much of the cache they hold, where answers
grow evenly between their first token and their last.

Assumes: what the simulator assumes; of a request that was preempted, that it stayed.

Source: `event_skipping` for the engine; Little's law for the check.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload, latencies_s
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import Machine
from serving_mathematics.core.machines.traffic import draw_arrivals, draw_lengths
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_positive,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Series:
    """What a monitor shows at some moments, each of shape (moments,)."""

    times_s: FloatArray
    waiting: IntArray  # requests that are not admitted yet
    prompts: IntArray  # admitted, without their first token
    running: IntArray  # admitted, those whose prompts are read included
    cache_share: FloatArray  # of the cache's tokens, that they hold


@dataclass(frozen=True, eq=False)
class Run:
    """What became of the requests, each of shape (n,) in order of arrival.

    Times are the engine's [s]; ttft_s and tpot_s are what the caller sees, with what lies around a
    prompt in the first; tpot_s is NaN for an answer of one token.
    """

    arrival_s: FloatArray
    admitted_s: FloatArray
    first_token_s: FloatArray
    completion_s: FloatArray
    ttft_s: FloatArray
    tpot_s: FloatArray
    prompt_tokens: IntArray
    cached_tokens: IntArray
    output_tokens: IntArray
    preemptions: IntArray
    busy_share: float  # of the time from the first arrival to the last completion
    places: int
    cache_tokens: int

    def kept(self, machine: Machine) -> float:
        """Share of the requests that get what the machine promises."""
        held = self.ttft_s <= machine.promise.ttft_s
        held &= ~(self.tpot_s > machine.promise.tpot_s)
        return float(held.mean())

    def series(self, times_s: npt.ArrayLike) -> Series:
        """What a monitor shows at these moments [s], in any order, shape (moments,).

        Raises ValueError unless there is one.
        """
        moments = as_floats(times_s=times_s)
        require(moments.ndim == 1 and moments.size > 0, "times_s", "of shape (n,), n ≥ 1", moments)

        def passed(times: FloatArray, values: FloatArray | None = None) -> FloatArray:
            """How many of the times are over, or the sum of their values."""
            order = np.argsort(times, kind="stable")
            own = np.ones(times.size) if values is None else values[order]
            total = np.append(0.0, np.cumsum(own))
            return np.asarray(total[np.searchsorted(times[order], moments, side="right")])

        arrived, admitted = passed(self.arrival_s), passed(self.admitted_s)
        first, over = passed(self.first_token_s), passed(self.completion_s)
        # tokens held: the prompt from admission, and growth·(t − first token) from there
        spans = self.completion_s - self.first_token_s
        later = self.output_tokens - 1.0
        growth = np.divide(later, spans, out=np.zeros(spans.size), where=spans > 0)
        start = growth * self.first_token_s
        prompts = self.prompt_tokens.astype(float)
        held = passed(self.admitted_s, prompts) - passed(self.completion_s, prompts)
        rising = passed(self.first_token_s, growth) - passed(self.completion_s, growth)
        begun = passed(self.first_token_s, start) - passed(self.completion_s, start)
        tokens = np.maximum(held + moments * rising - begun, 0.0)
        return Series(
            moments,
            (arrived - admitted).astype(np.int64),
            (admitted - first).astype(np.int64),
            (admitted - over).astype(np.int64),
            np.minimum(tokens / self.cache_tokens, 1.0),
        )


def run_engine(
    machine: Machine,
    rate_per_s: float,
    requests: int,
    rng: np.random.Generator,
    places: int | None = None,
    token_budget: int | None = None,
    real_minutes: bool = False,
    slowness: float = 1.0,
) -> Run:
    """A machine that serves its traffic at a rate.

    rate_per_s: of arrivals, in the mean; above the ceiling the wait grows without end. requests:
    how many. places, token_budget: instead of the machine's own. real_minutes: whether the rate
    follows the trace's minutes. slowness: times that it takes longer than predicted, such as the
    bounds of `how_wrong`. The same generator state draws the same requests at any rate. Raises
    ValueError outside these ranges.

    >>> from serving_mathematics.core.machines.machines import CHAT
    >>> run = run_engine(CHAT, 10.0, 2000, np.random.default_rng(1))
    >>> bool(0.08 < np.median(run.ttft_s) < 0.12), run.kept(CHAT) > 0.99
    (True, True)
    """
    slowness = require_positive(slowness=slowness)
    rate_per_s = require_positive(rate_per_s=rate_per_s)
    machine = machine.limited(places, token_budget)
    lengths = draw_lengths(rng, machine.traffic, requests)
    minutes_of = machine.traffic if real_minutes else ""
    arrivals = draw_arrivals(rng, rate_per_s, requests, minutes_of)
    # a slower engine is this one with a slower clock: arrivals are that much closer to each other
    asked = Workload(
        arrivals / slowness, lengths.prompt_tokens, lengths.output_tokens, lengths.cached_tokens
    )
    engine = machine.engine
    served = simulate(asked, engine)
    ttft_s, tpot_s = latencies_s(asked, served)
    span = served.completion_s.max() - asked.arrival_s[0]
    return Run(
        arrivals,
        slowness * served.admitted_s,
        slowness * served.first_token_s,
        slowness * served.completion_s,
        slowness * (ttft_s + machine.made.around_s),
        slowness * tpot_s,
        asked.prompt_tokens,
        asked.cached_tokens,
        asked.output_tokens,
        np.asarray(served.preemptions),
        float(served.busy_s / span),
        engine.max_sequences,
        engine.kv_blocks * engine.block_tokens,
    )
