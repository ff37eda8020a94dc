"""One of the book's machines at work: requests at a rate, and what an observer sees of it.

Requests arrive and are served by `event_skipping`, which walks the engine's steps from event to
event; sessions by `core.fleet`, whose engine keeps their prefixes. What a monitor would show at any
moment is counted afterwards from the times of each request: who waits, whose prompt is read, who
gets tokens, and how much of the cache they hold, where answers grow evenly between their first
token and their last.

Assumes: what the simulators assume; of a request that was preempted, that it stayed; of prefixes,
that each running request holds its own.

Source: `event_skipping` and `core.fleet` for the engine; Little (1961) for the check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.tiers import Tier
from serving_mathematics.core.machines.machines import AGENTS, CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.reader import Reader
from serving_mathematics.core.machines.sessions import SESSIONS, sessions_under_way
from serving_mathematics.core.machines.traffic import (
    Lengths,
    draw_arrivals,
    draw_minutes,
    draw_requests,
)
from serving_mathematics.core.queues.batches import form_batches
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_non_negative_integer,
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

    def kept(self, machine: Machine | Reader) -> float:
        """Share of the requests that get what the machine promises."""
        held = self.ttft_s <= machine.promise.ttft_s
        held &= ~(self.tpot_s > machine.promise.tpot_s)
        return float(held.mean())

    def token_s(self, warm: int = 0) -> float:
        """Mean time per token after the first [s], over all tokens of the requests after the first
        `warm`; 0 where there is none."""
        spent, later = self.completion_s - self.first_token_s, self.output_tokens - 1.0
        return float(spent[warm:].sum() / max(later[warm:].sum(), 1.0))

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


def ask_machine(machine: Machine, load: float, requests: int, seed: int = 1) -> Workload:
    """Requests like those of a machine's trace, Poisson at a share of what it carries at most.

    load: above 0. requests: how many. seed: of the draws, an integer ≥ 0. Raises ValueError
    outside these ranges.

    >>> from serving_mathematics.core.machines.machines import CHAT
    >>> ask_machine(CHAT, 0.5, 3).prompt_tokens.size
    3
    """
    load = require_positive(load=load)
    rng = np.random.default_rng(require_non_negative_integer(seed=seed))
    rate_per_s = load * machine.ceiling_per_s
    arrivals, lengths = draw_requests(rng, machine.traffic, rate_per_s, requests)
    columns = lengths.prompt_tokens, lengths.output_tokens, lengths.cached_tokens
    return Workload(arrivals, *columns)


def run_engine(
    machine: Machine | Reader,
    rate_per_s: float,
    requests: int,
    rng: np.random.Generator,
    places: int | None = None,
    token_budget: int | None = None,
    real_minutes: bool = False,
    slowness: float = 1.0,
    tiers: Sequence[Tier] = (),
) -> Run:
    """A machine that serves its traffic at a rate.

    rate_per_s: of arrivals, on average; above the ceiling the wait grows without end. requests:
    how many; of sessions, which go on as their answers come, about as many. places, token_budget:
    instead of the machine's own. real_minutes: whether rate and lengths follow the trace's minutes;
    not for sessions. slowness: times that it takes longer than predicted, such as the bounds of
    `how_wrong`. tiers: of caches below the devices, for sessions. The same generator state draws
    the same requests at any rate, but for sessions. Raises ValueError outside these ranges.

    >>> from serving_mathematics.core.machines.machines import CHAT
    >>> run = run_engine(CHAT, 10.0, 2000, np.random.default_rng(1))
    >>> bool(0.08 < np.median(run.ttft_s) < 0.12), run.kept(CHAT) > 0.99
    (True, True)
    """
    rate_per_s, slowness = require_positive(rate_per_s=rate_per_s, slowness=slowness)
    if machine.kind == "reader":
        require(token_budget is None, "token_budget", "None for a reader", token_budget)
        require(len(tiers) == 0, "tiers", "none for a reader", len(tiers))
        if real_minutes:
            arrivals, _ = draw_minutes(rng, rate_per_s, requests, machine.traffic)
        else:
            arrivals = draw_arrivals(rng, rate_per_s, requests)
        return _run_reader(machine.limited(places), arrivals, slowness)
    machine = machine.limited(places, token_budget)
    if machine.traffic == SESSIONS:
        require(not real_minutes, "real_minutes", "False for sessions", real_minutes)
        context = machine.deployment.architecture.context_tokens
        drawn = sessions_under_way(rng, rate_per_s, requests, context)
        return _run_sessions(machine, drawn, slowness, tiers)
    require(len(tiers) == 0, "tiers", "none, but for sessions", len(tiers))
    arrivals, lengths = draw_requests(rng, machine.traffic, rate_per_s, requests, real_minutes)
    # a slower engine is this one with a slower clock: arrivals are that much closer to each other
    asked = Workload(
        arrivals / slowness, lengths.prompt_tokens, lengths.output_tokens, lengths.cached_tokens
    )
    served = simulate(asked, machine.engine)
    times = (asked.arrival_s, served.admitted_s, served.first_token_s, served.completion_s)
    return _seen(machine, times, lengths, served.preemptions, served.busy_s, slowness)


def _run_reader(machine: Reader, arrivals: FloatArray, slowness: float) -> Run:
    """Lines in batches; an answer is one token, and the cache holds whoever is in the batch."""
    times = (slowness * machine.batch_s(np.arange(1, machine.places + 1))).tolist()

    def batch_s(first: int, last: int) -> float:
        return float(times[last - first - 1])

    begin, end = form_batches(arrivals, batch_s, machine.places, 0.0)
    ones, none = np.ones(arrivals.size, dtype=np.int64), np.zeros(arrivals.size, dtype=np.int64)
    starts = np.unique(begin, return_index=True)[1]  # of the batches
    busy = float((end - begin)[starts].sum() / (end[-1] - arrivals[0]))
    answer_s, gaps = end - arrivals, np.full(arrivals.size, np.nan)
    columns = (arrivals, begin, end, end, answer_s, gaps, ones, none, ones, none)
    return Run(*columns, busy, machine.places, machine.places)


def _run_sessions(machine: Machine, drawn: Requests, slowness: float, tiers: Sequence[Tier]) -> Run:
    """Sessions on one engine whose cache keeps what they sent."""
    asked = Requests(
        drawn.arrival_s / slowness,
        drawn.prompt_tokens,
        drawn.output_tokens,
        after=drawn.after,
        pause_s=drawn.pause_s / slowness,
        prefixes=drawn.prefixes,
    )
    found = simulate_fleet(asked, Fleet([machine.engine], caching=True, tiers=tiers))
    order = np.argsort(found.sent_s, kind="stable")
    columns = (found.sent_s, found.admitted_s, found.first_token_s, found.completion_s)
    lengths = Lengths(
        asked.prompt_tokens[order], found.found_tokens[order], asked.output_tokens[order]
    )
    times = (columns[0][order], columns[1][order], columns[2][order], columns[3][order])
    busy_s = float(found.busy_s.sum())
    return _seen(machine, times, lengths, found.preemptions[order], busy_s, slowness)


def _seen(
    machine: Machine,
    times: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    lengths: Lengths,
    preemptions: IntArray,
    busy_s: float,
    slowness: float,
) -> Run:
    """A run in the clock of its callers, from times in the engine's."""
    arrival_s, admitted_s, first_s, completion_s = (slowness * own for own in times)
    later = np.where(lengths.output_tokens > 1, lengths.output_tokens - 1.0, np.nan)
    return Run(
        arrival_s,
        admitted_s,
        first_s,
        completion_s,
        first_s - arrival_s + slowness * machine.made.around_s,
        (completion_s - first_s) / later,
        lengths.prompt_tokens,
        lengths.cached_tokens,
        lengths.output_tokens,
        np.asarray(preemptions),
        slowness * busy_s / float(completion_s.max() - arrival_s[0]),
        machine.places,
        machine.cache_tokens,
    )


def check_a_full_engine_does_what_the_ceiling_says() -> None:
    """Offered three times its ceiling, an engine ends as many requests a second as the closed form
    says: to 3% in short conversations, to 5% in long ones, where memory holds now more and now
    fewer than the mean.

    Source: `event_skipping`; completions between the first and the last quarter of 20,000.
    """
    for machine, tolerance in ((CHAT, 0.03), (CHAT.limited(64), 0.03), (MIXTURE, 0.05)):
        run = run_engine(machine, 3 * machine.ceiling_per_s, 20_000, np.random.default_rng(2))
        first, last = np.quantile(run.completion_s, [0.25, 0.75]).tolist()
        label = f"{machine.name} with {machine.places} places [1/s]"
        found = 10_000 / (last - first)
        checks.close(label, found, machine.ceiling_per_s, rtol=tolerance, kind="simulation")


def check_what_is_seen_obeys_littles_law() -> None:
    """The mean of what runs, waits and reads prompts is requests times seconds over the span, and
    the cache holds prompts and half of the answers as long as they run.

    Source: Little (1961), sums over requests; 40,000 moments evenly over the run.
    """
    run = run_engine(CHAT, 0.9 * CHAT.ceiling_per_s, 5000, np.random.default_rng(6))
    span = float(run.completion_s.max())
    seen = run.series((np.arange(40_000) + 0.5) / 40_000 * span)
    decoding = run.completion_s - run.first_token_s
    held = run.prompt_tokens * (run.completion_s - run.admitted_s)
    held = held + (run.output_tokens - 1) / 2 * decoding
    for label, values, area in (
        ("waiting", seen.waiting, run.admitted_s - run.arrival_s),
        ("running", seen.running, run.completion_s - run.admitted_s),
        ("prompts", seen.prompts, run.first_token_s - run.admitted_s),
        ("cache", seen.cache_share * run.cache_tokens, held),
    ):
        checks.close(label, float(values.mean()), float(area.sum()) / span, rtol=0.02)


def check_caches_forget_sessions_below_the_ceiling() -> None:
    """At 0.35 of the ceiling the agents' cache finds nine tenths of all prompt tokens; at 0.8 it
    evicts sessions before they come back, finds less than a third, and few keep the promise.

    Source: `core.fleet`, 3,000 requests at each load.
    """
    for load, found, kept in ((0.35, (0.85, 0.97), (0.9, 1.0)), (0.8, (0.0, 1 / 3), (0.0, 0.3))):
        run = run_engine(AGENTS, load * AGENTS.ceiling_per_s, 3000, np.random.default_rng(1))
        share = float(run.cached_tokens.sum() / run.prompt_tokens.sum())
        label = f"at {load:g} of the ceiling"
        checks.inside(f"{label}: found", share, *found)
        checks.inside(f"{label}: promise kept", run.kept(AGENTS), *kept)


def check_a_slower_machine_is_one_with_a_slower_clock() -> None:
    """A machine that takes twice as long at half the rate has all times doubled, exactly.

    Source: the same requests, seen in a clock that goes half as fast.
    """
    fast = run_engine(CHAT, 10.0, 500, np.random.default_rng(4))
    slow = run_engine(CHAT, 5.0, 500, np.random.default_rng(4), slowness=2.0)
    checks.close("first tokens [s]", slow.ttft_s, 2 * fast.ttft_s, rtol=1e-9, kind="identity")
    checks.close("last tokens [s]", slow.completion_s, 2 * fast.completion_s, rtol=1e-9)
