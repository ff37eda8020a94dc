"""A fleet behind a router, served draw by draw: what requests get, and what caches find.

The engine is the planned one: steps, memory and split of the deployment. All ways serve the same
requests (common random numbers), several draws of them or one trace in ten sections. The hit rate
is a result: of the prompt tokens of the requests that count, those that were found on the device or
in host memory.

Assumes: what `core.fleet` assumes; routers that know loads as of now; host memory that is written
at no cost and read over the link of each device; caches that are empty when a run begins, the
first part of which is left out.

Source: `core.fleet` for the simulation; Glasserman and Yao (1992) for common random numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.scaling import Scaling
from serving_mathematics.core.fleet.scaling_rules import fixed
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.tiers import Tier
from serving_mathematics.core.fleet.view import View
from serving_mathematics.core.hardware.deployed_engine import (
    MOST_PLACES,
    MachineEngine,
    engine_of,
)
from serving_mathematics.planner.capacity_planner.capacity_planner import _holders
from serving_mathematics.planner.capacity_planner.fleet_search import _queued_rate
from serving_mathematics.planner.capacity_planner.judged_requests import (
    SECTIONS,
    WARM_UP,
    ClassRun,
    Quantile,
    _judged,
    _kept_of,
)
from serving_mathematics.planner.capacity_planner.refusals import _require_held
from serving_mathematics.planner.questions.objectives import RequestTimes
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.routed_requests import (
    Below,
    Router,
    Routing,
    _as_workload,
    _begins_alone,
    _kinds_of,
    _nominal_s,
    drawn_requests,
    traced_share,
)
from serving_mathematics.planner.questions.traffic import Traffic
from serving_mathematics.support.intervals import student_quantile
from serving_mathematics.support.require import require

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
DRAWS, TRACE_SECTIONS = 4, 10  # parts by which ways are compared: of drawn requests, of a trace
FILLING = 0.4  # share of a run in which caches fill, that is left out
HOST = "host memory"
NEARLY = 0.25  # of a router's threshold, by which a match may miss it as it is counted


@dataclass(frozen=True)
class Way:
    """A router with some host memory, and what it came to. parts: in each part of the requests, the
    share that keeps all limits, shape (parts,)."""

    router: Router
    host_gib: float
    ttft: tuple[Quantile, ...]  # at QUANTILES
    tpot: tuple[Quantile, ...]
    classes: tuple[ClassRun, ...]
    kept: Quantile  # share of all requests that keep all limits of their class
    found: Quantile  # share of the prompt tokens that caches had
    loaded: float  # of the prompt tokens, from host memory
    below: tuple[float, ...]  # from each tier below it
    rise: float  # of the share found, from the first half of what counts to the second
    parts: tuple[float, ...]
    short: float = 0.0  # share of requests whose match is just below what the router asks for


def _of_parts(values: Sequence[float]) -> Quantile:
    """The mean of independent parts, two or more, with the half-width of its 95% interval."""
    require(len(values) > 1, "values", "of two parts or more", len(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Quantile(float(np.mean(values)), student_quantile(0.975, len(values) - 1) * error)


def _margin(one: Way, other: Way) -> Quantile:
    """How many more requests one way keeps than another, by the parts that both have served."""
    pairs = zip(one.parts, other.parts, strict=False)
    return _of_parts([kept - less for kept, less in pairs])


@dataclass(frozen=True)
class _Sample:
    """Requests, and of each its part, or −1 where it does not count."""

    asked: Requests
    part: IntArray
    moments: FloatArray

    @property
    def counted(self) -> IntArray:
        """Numbers of those that count, in order of their moments."""
        order = np.argsort(self.moments, kind="stable")
        return np.asarray(order[self.part[order] >= 0])


def _routing(question: Question) -> Routing:
    assert question.routing is not None
    return question.routing


def _traffic(question: Question) -> Traffic:
    """What is drawn, where no trace is given."""
    return cast(Traffic, question.traffic)


@functools.lru_cache(maxsize=DRAWS)
def _sample(question: Question, draw: int, longest: int) -> _Sample:
    """One draw of the requests, or the trace."""
    routing = _routing(question)
    rng = np.random.default_rng([question.seed, draw])
    if routing.requests is None:
        asked = drawn_requests(rng, _traffic(question), question.requests, longest)
    else:
        count = DRAWS // _draws_of(question) * question.requests  # of all draws as many
        asked = traced_share(rng, routing.requests, count, routing.rate_per_s)
    moments = _nominal_s(asked)
    warm = WARM_UP if asked.prefixes is None else FILLING
    begin = warm * float(moments.max())
    if _draws_of(question) > 1:
        part = np.full(moments.size, draw)
    else:
        of = np.quantile(moments[moments > begin], np.arange(1, TRACE_SECTIONS) / TRACE_SECTIONS)
        part = np.searchsorted(of, moments, side="right")
    part = np.where(moments > begin, part, -1)
    if routing.requests is None:
        kinds = len(_kinds_of(_traffic(question)))
        fewest = int(np.bincount(asked.tenant[part >= 0], minlength=kinds).min())
        few = f"more: of one kind {fewest} come after the beginning, and {2 * SECTIONS} are needed"
        require(fewest >= 2 * SECTIONS, "requests", few, question.requests)
    return _Sample(asked, part, moments)


def _draws_of(question: Question) -> int:
    """How many times requests are drawn: once where they come when a trace says."""
    requests = _routing(question).requests
    return DRAWS if requests is None or _begins_alone(requests) else 1


def _rate_of(question: Question) -> float:
    """Requests a second to the whole fleet."""
    if _routing(question).requests is None:
        return _traffic(question).rate_per_s
    moments = _sample(question, 0, 0).moments
    return float(moments.size / max(float(np.ptp(moments)), 1e-9))


@dataclass(frozen=True)
class _Limits:
    """A deployment with its limits. longest: of a request."""

    question: Question
    places: int
    budget: int
    longest: int
    replicas: int


@functools.lru_cache(maxsize=4)
def _made(question: Question, budget: int, slowness: float, longest: int) -> MachineEngine:
    """The engine of a replica."""
    asked = _as_workload(_sample(question, 0, longest).asked)
    return engine_of(
        question.deployment,
        asked,
        budget,
        question.batch_limit or min(MOST_PLACES, budget),
        question.memory_share,
        question.reserved_bytes,
        slowness,
        question.constants,
        longest,
    )


def _limits(question: Question, budget: int) -> _Limits:
    """A deployment with a token budget. Raises Infeasible where a trace's longest request outgrows
    a replica."""
    context = question.deployment.architecture.context_tokens
    engine = _made(question, budget, 1.0, context).engine
    room = engine.kv_blocks * engine.block_tokens
    if _routing(question).requests is not None:
        traffic = cast(Workload, question.traffic)
        longest = int((traffic.prompt_tokens + traffic.output_tokens).max())
        rule = f"within the context of {context:,} tokens of {question.served}"
        require(longest <= context, "the trace", rule, f"a request of {longest:,}")
        _require_held(longest, room)
    assert engine.table is not None
    longest = min(context, room, len(engine.table.prompt))
    _sample(question, 0, longest)  # which refuses what outgrows that
    return _Limits(
        question, engine.max_sequences, budget, longest, _routing(question).replicas or 1
    )


def _tiers(question: Question, host_gib: float) -> tuple[Below, ...]:
    """Tiers below the devices of a replica, each of which has a link to host memory."""
    routing, links = _routing(question), _holders(question.deployment)
    return Below(HOST, host_gib, links * routing.host_bytes_per_s), *routing.below


def _at_once(_request: int, _attempt: int, _view: View) -> float:
    """Who lost a replica comes back."""
    return 0.0


@dataclass(frozen=True)
class _Seen:
    """What the requests that count got of one way, in order of their moments."""

    got: RequestTimes
    which: IntArray
    part: IntArray
    moments: FloatArray
    prompts: IntArray
    found: IntArray
    loaded: IntArray  # from host memory and each tier below, shape (tiers, n)


@functools.lru_cache(maxsize=16 * DRAWS)  # fleets of one size are asked for more than once
def _serve(
    limits: _Limits,
    draw: int,
    ways: tuple[tuple[Router, float], ...],
    slowness: float = 1.0,
    lost_at: float | None = None,
    apart: float = 1.0,
    left_out: str = "",
) -> list[_Seen]:
    """One draw of the requests, served in each way. lost_at: when a replica is lost [s]. apart:
    times as far apart they come. left_out: name of a tier."""
    question, routing = limits.question, _routing(limits.question)
    sample = _sample(question, draw, limits.longest)
    context = question.deployment.architecture.context_tokens
    made = _made(question, limits.budget, slowness, context)
    engine, mine, asked = made.engine, sample.counted, sample.asked
    if apart != 1:
        asked = replace(asked, arrival_s=apart * asked.arrival_s)
    block_bytes = engine.block_tokens * made.token_bytes * _holders(question.deployment)
    shares = asked.prefixes is not None
    found = []
    for router, host_gib in ways:
        below = _tiers(question, host_gib)
        rooms = [int(one.gib * 2**30 / block_bytes) for one in below]
        places = [
            place
            for place, one in enumerate(below)
            if shares and rooms[place] and one.name != left_out
        ]
        fleet = Fleet(
            [engine] * limits.replicas,
            router.route,
            caching=shares,
            tiers=[
                Tier(rooms[place], block_bytes, below[place].bytes_per_s, below[place].for_all)
                for place in places
            ],
            weights=routing.weights or None,
        )
        if lost_at is not None:
            count, away_s = limits.replicas, routing.lost_for_s
            rule = functools.partial(fixed, count)  # which is asked when one is lost
            scaling = Scaling(rule, engine, lost_at, away_s, least=count, most=count)
            failures = [(lost_at, count - 1)]
            fleet = replace(fleet, scaling=scaling, failures=failures, retry=_at_once)
        seen = simulate_fleet(asked, fleet, np.random.default_rng([question.seed, draw, 1]))
        later = np.asarray(asked.output_tokens - 1, dtype=np.float64)
        beside = made.around_s + made.behind_s[asked.prompt_tokens]
        first = seen.first_token_s - seen.due_s + beside
        each = (seen.completion_s - seen.first_token_s) / np.where(later > 0, later, np.nan)
        loaded = np.zeros((len(below), mine.size), dtype=np.int64)
        loaded[places] = seen.tier_tokens[:, mine]
        found.append(
            _Seen(
                RequestTimes(first[mine], each[mine], later[mine]),
                asked.tenant[mine],
                sample.part[mine],
                sample.moments[mine],
                asked.prompt_tokens[mine],
                seen.found_tokens[mine],
                loaded,
            )
        )
    return found


def _kept(question: Question, seen: _Seen) -> npt.NDArray[np.bool_]:
    """Which requests keep all limits of their class."""
    return _kept_of(seen.got, seen.which, question.goals)


def _load(limits: _Limits, seen: _Seen) -> float:
    """Traffic over the most that a fleet serves where caches find of each prompt what they found in
    a run, loaded at no cost, and no replica waits for requests while others have too many."""
    question = limits.question
    context = question.deployment.architecture.context_tokens
    engine = _made(question, limits.budget, 1.0, context).engine
    outputs, found = seen.got.later + 1, np.minimum(seen.found, seen.prompts - 1)
    asked = Workload(np.zeros(outputs.size), seen.prompts, outputs, found)
    full = saturated_rate(asked.prompt_tokens, asked.output_tokens, engine, asked.cached_tokens)
    most = min(full, _queued_rate(asked, engine, question.requests))
    return _rate_of(question) / limits.replicas / most


def _way(
    question: Question, rate: float, router: Router, host_gib: float, runs: Sequence[_Seen]
) -> Way:
    """What all draws of a way came to."""

    def whole(name: str) -> npt.NDArray[np.int64]:
        return np.concatenate([getattr(run, name) for run in runs])

    got = RequestTimes(
        *(np.concatenate([getattr(run.got, x) for run in runs]) for x in ("ttft", "tpot", "later"))
    )
    first, later, classes, _ = _judged(
        got, whole("which"), question.goals, question.class_names, rate
    )
    kept = np.concatenate([_kept(question, run) for run in runs])
    part, prompts, hits = whole("part"), whole("prompts"), whole("found")
    labels = range(int(part.max()) + 1)
    shares = tuple(float(kept[part == label].mean()) for label in labels)
    finds = [float(hits[part == label].sum() / prompts[part == label].sum()) for label in labels]
    halves = [
        sum(float(run.found[half].sum()) for run, half in zip(runs, cut, strict=True))
        / sum(float(run.prompts[half].sum()) for run, half in zip(runs, cut, strict=True))
        for cut in zip(*(_halves(run.which.size) for run in runs), strict=True)
    ]
    return Way(
        router,
        host_gib,
        first,
        later,
        classes,
        _of_parts(shares),
        _of_parts(finds),
        *_from_tiers(runs, int(prompts.sum())),
        halves[1] - halves[0],
        shares,
        _just_below(router, hits / prompts),
    )


def _just_below(router: Router, matched: FloatArray) -> float:
    """The share of requests of which caches found too little of the prompt for a router to follow
    it, by a quarter of its threshold at most; 0 for one without. matched: shares, shape (n,)."""
    least = router.least_match
    return float(np.mean((matched > (1 - NEARLY) * least) & (matched <= least)))


def _from_tiers(runs: Sequence[_Seen], prompts: int) -> tuple[float, tuple[float, ...]]:
    """Shares of so many prompt tokens that come from host memory, and from each tier below."""
    host, *below = (sum(run.loaded.sum(axis=1) for run in runs) / prompts).tolist()
    return host, tuple(below)


def _halves(size: int) -> tuple[slice, slice]:
    return slice(0, size // 2), slice(size // 2, size)
