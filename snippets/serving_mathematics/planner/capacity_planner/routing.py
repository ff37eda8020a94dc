"""Which router to put before a fleet, and with how much host memory; of as many replicas as are
given, or of the fewest that keep the promise.

Two ways are compared by the differences of the parts of the requests that both have served. Where
several deployments or limits would do, the cheapest that keeps the promise is taken. Where no
number of replicas is given, that is the fewest of each deployment: none fewer keep it behind the
router that is taken. One draw says which may keep it, by its intervals, and all draws whether they
do. In the way that is taken steps err once more as measured runs did, and a replica is lost where
that is asked.

Assumes: what `routed_runs` does.

Source: `routed_runs` for the runs; Glasserman and Yao (1992) for common random numbers.
"""

# In one piece: one search from its deployments to its answer; what asks it is `routed_requests`,
# what tells it `routing_lines`.

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from serving_mathematics.core.batching.continuous_batching import TICK_S, Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.fleet.routers import cache_aware, least_requests
from serving_mathematics.core.hardware.deployments import Impossible
from serving_mathematics.core.machines.sessions import session_requests
from serving_mathematics.planner.capacity_planner.capacity_planner import _holders
from serving_mathematics.planner.capacity_planner.fleet_search import (
    BUDGETS,
    EDGE,
    STEADY,
    Told,
    _smallest,
)
from serving_mathematics.planner.capacity_planner.judged_requests import (
    ClassRun,
    Quantile,
    _judged,
    _require_enough,
    reaches,
)
from serving_mathematics.planner.capacity_planner.model_errors import ModelError
from serving_mathematics.planner.capacity_planner.refusals import (
    Infeasible,
    _nearest_refusal,
    _require_in_time,
)
from serving_mathematics.planner.capacity_planner.routed_runs import (
    Way,
    _draws_of,
    _kept,
    _Limits,
    _limits,
    _load,
    _made,
    _margin,
    _rate_of,
    _routing,
    _sample,
    _Seen,
    _serve,
    _tiers,
    _traffic,
    _way,
)
from serving_mathematics.planner.questions.fields import MOST_BEHIND, MOST_REQUESTS
from serving_mathematics.planner.questions.question import FEW_CUT, Question
from serving_mathematics.planner.questions.routed_requests import (
    AGENTS_KIND,
    Router,
    _as_workload,
    _kinds_of,
    _left_by,
    _whole_rule,
)
from serving_mathematics.support.require import require

FIRST_DRAWS = 2  # after which who is so far behind serves no more
FAR = 0.05  # of all requests
STILL_FILLING = 0.02  # that more is found in the second half of what counts than in the first
WORTH_OF = 1000  # tokens of a prompt, of which it is said how fast they come
ALIKE = 0.005  # of all requests, by which nobody chooses
SPREAD = 1000.0  # times as far apart come requests of which none meets another
LEAST_OF_A_KIND = 100  # requests of each kind in a draw
LEAST_SESSIONS_S = 100.0  # of a run of agents, most of whose pauses are shorter


@dataclass(frozen=True)
class TierWorth:
    """What a tier does for the way that is taken: the share of the prompt tokens that come from it,
    the time in which 1,000 come and in which as many are computed [s], and how many more requests
    are kept than without it, as a share."""

    name: str
    gib: float
    found: float
    load_s: float
    compute_s: float
    gain: Quantile

    @property
    def pays(self) -> bool:
        """Whether loading is faster than computing."""
        return self.load_s < self.compute_s


@dataclass(frozen=True)
class Routed:
    """What each way came to, in the order in which they were asked for, and which to take."""

    question: Question
    tried: int  # deployments
    places: int
    budget: int
    longest: int  # tokens of a request at most: of the context, or of what a cache holds
    ways: tuple[Way, ...]
    best: Way
    error: ModelError
    if_faster: float  # share that keeps all limits where steps err; 0 where that is not known
    if_slower: float
    lost: tuple[float, float] | None  # while a replica is away, and in the same time with it
    simulated: int  # requests that count, of each way
    rate_per_s: float
    unseen: float  # share of the prompt tokens that a cache has had before the run, and not in it
    load: float  # traffic over the most that it could serve
    tiers: tuple[TierWorth, ...] = ()  # of the way that is taken, the fastest first
    fewer: Way | None = None  # the way that is taken with one replica fewer, where none were given
    sought: bool = False  # whether the replicas are the fewest, of which no number was given

    @functools.cached_property
    def left(self) -> tuple[float, float, float] | None:
        """Share of drawn requests that are cut, and mean tokens of a prompt and of an answer that
        are left; None where next to none is, and of a trace."""
        if _routing(self.question).requests is not None:
            return None
        found = _left_by(_traffic(self.question), self.longest)
        return found if found[0] >= FEW_CUT else None

    @property
    def mean_lengths(self) -> tuple[float, float]:
        """Tokens of a prompt and of an answer: those asked for, or what is left of drawn ones."""
        return self.left[1:] if self.left else self.question.mean_lengths

    @property
    def replicas(self) -> int:
        """Of the fleet."""
        assert self.question.routing is not None
        return self.question.routing.replicas

    @property
    def usd_per_hour(self) -> float:
        """Of the fleet."""
        return self.question.usd_per_hour(self.replicas)

    @property
    def keeps(self) -> bool:
        """Whether the way that is taken keeps what is promised, for longer than the run."""
        return self.load < 1 and reaches(self.best.classes, self.question.goals)

    @property
    def sure(self) -> bool:
        """Whether the intervals of that way lie within what is promised, and tell all of it."""
        return self.load <= EDGE and reaches(self.best.classes, self.question.goals, 1.0)

    @property
    def fewer_load(self) -> float:
        """Traffic over the most that one replica fewer serves, where caches find as much."""
        return self.load * self.replicas / max(1, self.replicas - 1)

    @property
    def fewer_may_do(self) -> bool:
        """Whether one replica fewer keeps it too, for all that intervals say."""
        if self.fewer is None or self.fewer_load >= STEADY:
            return False
        return reaches(self.fewer.classes, self.question.goals, -1.0)

    def behind(self, way: Way) -> Quantile:
        """How many more requests the best keeps, as a share, with a 95% interval."""
        return _margin(self.best, way)

    def as_good(self, way: Way) -> bool:
        """Whether a way is not behind the best beyond noise."""
        margin = self.behind(way)
        return margin.value <= margin.half_width


def simulations(choices: Sequence[Question]) -> int:
    """What a question takes: its deployments, or the runs of a fleet that is given.

    choices: from `read_choices`.

    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> simulations(read_choices({"rate_per_s": 5, "replicas": 2, "routers": "random"}))
    4
    """
    routing = choices[0].routing if choices else None
    if routing is None:
        return len(choices)
    return len(routing.routers) * len(routing.host_gib) * _draws_of(choices[0])


def _require_enough_of_each(question: Question) -> None:
    """Refuse what has too few requests to say anything of a kind."""
    _require_enough(question)
    drawn = _routing(question).requests is None
    shares = [kind.share for kind in _traffic(question).classes] if drawn else []
    least = math.ceil(LEAST_OF_A_KIND / min([1.0, *shares]))
    rule = f"at least {least:,}, so that {LEAST_OF_A_KIND} of each kind are in a draw"
    require(question.requests >= least, "requests", rule, question.requests)
    if drawn and _agents(question):
        rate, most = _traffic(question).rate_per_s, MOST_REQUESTS
        need, run = LEAST_SESSIONS_S * rate, f"a run of {LEAST_SESSIONS_S:g} s of agents' sessions"
        rule = f"at most {most / LEAST_SESSIONS_S:,.0f}, {run} with requests = {most:,}"
        require(need <= most, "rate_per_s", rule, f"{rate:g}")
        rule = f"at least {math.ceil(need):,}, {run} at rate_per_s = {rate:g}"
        require(question.requests >= need, "requests", rule, question.requests)


def _agents(question: Question) -> list[int]:
    """Which kinds of requests that are drawn are like those of agents."""
    kinds = _kinds_of(_traffic(question))
    return [number for number, kind in enumerate(kinds) if kind.like == AGENTS_KIND]


def _unseen(question: Question, longest: int) -> float:
    """Of the prompt tokens that count, the share in the first requests of sessions that were under
    way before the run: of agents as many sessions begin as the law says, and of the others caches
    know nothing yet."""
    if _routing(question).requests is not None or not _agents(question):
        return 0.0
    asked, mine = _sample(question, 0, longest).asked, _sample(question, 0, longest).counted
    agents = mine[np.isin(asked.tenant[mine], _agents(question))]
    first = agents[asked.after[agents] < 0]
    begin = agents.size / session_requests(longest)  # sessions, while these are asked
    share = asked.prompt_tokens[first].sum() / asked.prompt_tokens[mine].sum()
    return float(share * max(0.0, 1 - begin / max(1, first.size)))


def _with_budgets(question: Question) -> list[_Limits]:
    """A deployment with each token budget that is tried. Raises Impossible and Infeasible where
    requests outgrow a replica."""
    limit = question.batch_limit or 1
    asked = BUDGETS if question.token_budget is None else (question.token_budget,)
    budgets = [budget for budget in asked if budget >= limit]
    require(len(budgets) > 0, "batch_limit", "at most token_budget", limit)
    return [_limits(question, budget) for budget in budgets]


def _sought_by(limits: _Limits) -> tuple[Router, float]:
    """The way behind which a number of replicas is sought: a router that looks at loads and
    prefixes, with most host memory."""
    routing = _routing(limits.question)
    shares = _sample(limits.question, 0, limits.longest).asked.prefixes is not None
    rule = cache_aware if shares else least_requests
    asked = (one for one in routing.routers if _whole_rule(one)[0] is rule)
    return next(asked, Router("", rule)), max(routing.host_gib)


def _once(limits: _Limits, apart: float = 1.0) -> _Seen:
    """One draw in that way."""
    (seen,) = _serve(limits, 0, (_sought_by(limits),), 1.0, None, apart, "")
    return seen


def _got_of(question: Question, seen: _Seen) -> tuple[ClassRun, ...]:
    """What each class gets of one draw."""
    return _judged(seen.got, seen.which, question.goals, question.class_names, 1.0)[2]


def _may_keep(limits: _Limits) -> bool:
    """Whether that way may keep the promise by one draw, and the fleet is not full."""
    seen, goals = _once(limits), limits.question.goals
    return reaches(_got_of(limits.question, seen), goals, -1.0) and _load(limits, seen) < STEADY


def _refuse_alone(limits: _Limits) -> None:
    """Refuse what a request misses that meets no other."""
    alone = _got_of(limits.question, _once(limits, SPREAD))
    _require_in_time(
        [
            (one.name if len(alone) > 1 else "", goal, run.value)
            for one in alone
            for goal, run in zip(one.promise, one.got, strict=True)
        ]
    )


class _Behind:
    """One fleet behind its routers: each way is served once. executor: any of
    `concurrent.futures`, or None."""

    def __init__(self, limits: _Limits, told: Told, executor: futures.Executor | None) -> None:
        """Nothing is simulated yet."""
        self.limits, self.told, self.executor = limits, told, executor
        self.question = limits.question
        self.draws = range(_draws_of(self.question))
        self.rate = _rate_of(self.question)

    def of(self, replicas: int) -> Self:
        """The same with another number of replicas."""
        return type(self)(replace(self.limits, replicas=replicas), self.told, self.executor)

    def served(
        self,
        ways: Sequence[tuple[Router, float]],
        some: Sequence[int],
        slowness: float = 1.0,
        lost_at: float | None = None,
        left_out: str = "",
    ) -> list[list[_Seen]]:
        """Of each way, some draws, as `_serve` has them."""
        more = slowness, lost_at, 1.0, left_out
        each = [(draw, (way,)) for draw in some for way in ways]
        runs = []
        if self.executor is None:
            for draw, mine in each:
                self.told(self.limits.replicas, self.limits.places)
                runs += _serve(self.limits, draw, mine, *more)
        else:
            tasks = [
                self.executor.submit(_serve, self.limits, draw, mine, *more) for draw, mine in each
            ]
            runs = [run for task in tasks for run in task.result()]
        return [runs[place :: len(ways)] for place in range(len(ways))]

    def alone(self, router: Router, host_gib: float, left_out: str = "") -> Way:
        """What one way comes to in this fleet, or in it without a tier."""
        (runs,) = self.served([(router, host_gib)], self.draws, left_out=left_out)
        return _way(self.question, self.rate, router, host_gib, runs)

    @functools.cached_property
    def compared(self) -> tuple[list[Way], list[list[_Seen]]]:
        """All ways, and their runs: who is far behind after the first draws serves no more."""
        routing, draws = _routing(self.question), self.draws
        pairs = [(router, host) for router in routing.routers for host in routing.host_gib]

        def came_to(runs: Sequence[Sequence[_Seen]]) -> list[Way]:
            each = zip(pairs, runs, strict=True)
            return [_way(self.question, self.rate, *pair, own) for pair, own in each]

        all_runs = self.served(pairs, draws[:FIRST_DRAWS])
        ways = came_to(all_runs)
        if draws[FIRST_DRAWS:]:
            ahead = max(ways, key=lambda way: way.kept.value)
            margins = [_margin(ahead, way) for way in ways]
            near = [place for place, one in enumerate(margins) if one.value - one.half_width < FAR]
            later = self.served([pairs[place] for place in near], draws[FIRST_DRAWS:])
            for place, runs in zip(near, later, strict=True):
                all_runs[place] += runs
            ways = came_to(all_runs)
        return ways, all_runs

    @property
    def best(self) -> Way:
        """The way that is taken."""
        return _taken(self.compared[0])

    @functools.cached_property
    def load(self) -> float:
        """Traffic over the most that it serves behind the way that is taken."""
        ways, runs = self.compared
        return _load(self.limits, runs[ways.index(self.best)][0])

    @property
    def keeps(self) -> bool:
        """Whether that way keeps the promise, for longer than the run."""
        return reaches(self.best.classes, self.question.goals) and self.load < STEADY

    @property
    def worths(self) -> tuple[TierWorth, ...]:
        """What each tier does for the way that is taken."""
        question, best = self.question, self.best
        asked = _sample(question, 0, self.limits.longest).asked
        if asked.prefixes is None:
            return ()
        made = _made(question, self.limits.budget, 1.0, self.limits.longest)
        mean = round(float(asked.prompt_tokens.mean()))
        count = min(WORTH_OF, mean)
        ticks = made.engine.prompt_ticks(Workload([0.0, 0.0], [mean, max(1, mean - count)], [1, 1]))
        each_s = made.engine.prefill_token_s + TICK_S * float(ticks[0] - ticks[1]) / count
        token_bytes = made.token_bytes * _holders(question.deployment)
        return tuple(
            TierWorth(
                one.name,
                one.gib,
                found,
                WORTH_OF * token_bytes / one.bytes_per_s,
                WORTH_OF * each_s,
                _margin(best, self.alone(best.router, best.host_gib, one.name)),
            )
            for one, found in zip(
                _tiers(question, best.host_gib), (best.loaded, *best.below), strict=True
            )
            if one.gib
        )

    @property
    def usd_per_hour(self) -> float:
        """Of the fleet."""
        return self.question.usd_per_hour(self.limits.replicas)


def _cheapest(
    choices: Sequence[Question], told: Told, executor: futures.Executor | None
) -> _Behind:
    """The cheapest deployment whose limits keep the promise; else the one that keeps most in one
    draw."""
    best: tuple[float, _Behind] | None = None
    refused: list[tuple[Question, ValueError]] = []
    for question in sorted(choices, key=lambda one: one.usd_per_hour(_routing(one).replicas)):
        try:
            tried = _with_budgets(question)
        except (Impossible, Infeasible) as problem:
            refused.append((question, problem))
            continue
        for limits in tried:
            fleet = _Behind(limits, told, executor)
            if len(choices) == len(tried) == 1:
                return fleet
            told(limits.replicas, limits.places)
            if _may_keep(limits) and fleet.keeps:
                return fleet
            kept = float(_kept(question, _once(limits)).mean())
            if best is None or kept > best[0]:
                best = kept, fleet
    if best is None:
        raise _nearest_refusal(refused)
    return best[1]


def _settled_behind(fleet: _Behind, cheaper: float | None) -> tuple[_Behind, Way | None] | None:
    """The fewest replicas of which the way that is taken keeps the promise in all draws, from those
    that may by one; and what it comes to with one fewer, None where one is the least. None where
    these are not cheaper. Raises Infeasible where no number does."""
    goals, most = fleet.question.goals, _of_interest(fleet.question, cheaper)
    way, count = _sought_by(fleet.limits), fleet.limits.replicas

    def enough(replicas: int) -> bool:
        one = fleet.of(replicas)
        return _may_keep(one.limits) and reaches(one.alone(*way).classes, goals)

    fleet = fleet.of(min(most, _smallest(enough, 1, most, count)))
    while not fleet.keeps:
        if fleet.limits.replicas >= most:
            if cheaper is None:
                raise _none_behind()
            return None
        fleet = fleet.of(fleet.limits.replicas + 1)
    while fleet.limits.replicas > 1:
        smaller = fleet.of(fleet.limits.replicas - 1)
        fewer = smaller.alone(fleet.best.router, fleet.best.host_gib)
        if not (reaches(fewer.classes, goals) and smaller.keeps):
            return fleet, fewer
        fleet = smaller
    return fleet, None


def _smallest_fleet(
    choices: Sequence[Question], told: Told, executor: futures.Executor | None
) -> tuple[_Behind, Way | None]:
    """The cheapest deployment with the fewest replicas that keep the promise, and what one fewer
    comes to. Raises Infeasible where none do."""
    best: tuple[_Behind, Way | None] | None = None
    refused: list[tuple[Question, ValueError]] = []
    tried: list[tuple[float, int, _Limits, int]] = []
    for question in choices:
        try:
            for limits in _with_budgets(question):
                near = _loaded(limits)
                tried.append((question.usd_per_hour(near), len(tried), limits, near))
        except (Impossible, Infeasible) as problem:
            refused.append((question, problem))
    for *_, limits, near in sorted(tried, key=lambda one: one[:2]):
        cheaper = best and best[0].usd_per_hour
        try:
            if count := _fewest_behind(limits, near, cheaper, told):
                fleet = _Behind(replace(limits, replicas=count), told, executor)
                found = _settled_behind(fleet, cheaper)
                best = found or best
        except Infeasible as problem:
            refused.append((limits.question, problem))
    if best is None:
        raise _nearest_refusal(refused)
    return best


def _loaded(limits: _Limits) -> int:
    """Replicas that are full where caches find nothing."""
    question = limits.question
    asked = _as_workload(_sample(question, 0, limits.longest).asked)
    engine = _made(question, limits.budget, 1.0, limits.longest).engine
    full = saturated_rate(asked.prompt_tokens, asked.output_tokens, engine)
    return math.ceil(_rate_of(question) / full)


def _of_interest(question: Question, cheaper: float | None) -> int:
    """The most replicas that are cheaper than so many dollars an hour."""
    if cheaper is None:
        return MOST_BEHIND
    return min(MOST_BEHIND, question.replicas_below(cheaper))


def _fewest_behind(limits: _Limits, near: int, cheaper: float | None, told: Told) -> int:
    """The fewest replicas of a deployment that may keep the promise by one draw, 0 where these are
    not cheaper. Raises Infeasible where no number does."""
    question = limits.question
    most = _of_interest(question, cheaper)
    if most < 1:
        return 0

    def kept(replicas: int) -> bool:
        told(replicas, limits.places)
        return _may_keep(replace(limits, replicas=replicas))

    if cheaper is None:
        _refuse_alone(limits)
    found = _smallest(kept, 1, most, near if cheaper is None else most)
    if found > most and cheaper is None:
        raise _none_behind()
    return found if found <= most else 0


def _none_behind() -> Infeasible:
    return Infeasible(
        f"no fleet of up to {MOST_BEHIND:,} replicas keeps the objective behind these routers"
    )


def routed_answer(
    choices: Sequence[Question],
    error_of: Callable[[Question], ModelError],
    told: Told | None = None,
    executor: futures.Executor | None = None,
) -> Routed:
    """What a fleet does behind each router, and which to take; where no number of replicas is
    given, with the fewest that keep the promise.

    choices: one question for each deployment, from `read_choices`. error_of: how far steps of a
    deployment may be off. told: hears of each fleet before it is simulated. executor: any of
    `concurrent.futures`, or None; the answer is the same. Raises ValueError where nothing can be.

    >>> from serving_mathematics.planner.configurations import _error
    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> one = {"rate_per_s": 8, "replicas": 1, "requests": 100, "parallelism": "tp1"}
    >>> found = routed_answer(read_choices(one), _error)
    >>> len({way.kept for way in found.ways})  # one replica: all routers are equal
    1
    """
    heard = told or (lambda _replicas, _places: None)
    for question in choices:
        _require_enough_of_each(question)
    fewer: Way | None = None
    if _routing(choices[0]).replicas:
        fleet = _cheapest(choices, heard, executor)
    else:
        fleet, fewer = _smallest_fleet(choices, heard, executor)
    limits, question = fleet.limits, fleet.question
    routing, draws, best = _routing(question), fleet.draws, fleet.best
    lost_at = _lost_at(limits, draws)
    ways, all_runs = fleet.compared
    chosen = (best.router, best.host_gib)
    error = error_of(question)

    def kept_if(slowness: float) -> float:
        (runs,) = fleet.served([chosen], draws[:FIRST_DRAWS], slowness)
        return float(np.mean([_kept(question, run).mean() for run in runs]))

    fast, slow = map(kept_if, error.span()) if error.known else (0.0, 0.0)
    mine = all_runs[ways.index(best)]
    lost = None
    if routing.lost_for_s:
        (without,) = fleet.served([chosen], draws, 1.0, lost_at)
        lost = _while_lost(question, without, lost_at), _while_lost(question, mine, lost_at)
    return Routed(
        replace(question, routing=replace(routing, replicas=limits.replicas)),
        len(choices),
        limits.places,
        limits.budget,
        limits.longest,
        tuple(ways),
        best,
        error,
        fast,
        slow,
        lost,
        sum(run.which.size for run in mine),
        fleet.rate,
        _unseen(question, limits.longest),
        fleet.load,
        fleet.worths,
        fewer,
        not routing.replicas,
    )


def _taken(ways: Sequence[Way]) -> Way:
    """The way that keeps most; of those that keep as many, with no more host memory than it takes,
    the first."""
    most = max(ways, key=lambda way: way.kept.value)
    near = [way for way in ways if most.kept.value - way.kept.value <= ALIKE]
    least = min(way.host_gib for way in near)
    return max((way for way in near if way.host_gib == least), key=lambda way: way.kept.value)


def _lost_at(limits: _Limits, draws: Sequence[int]) -> float:
    """When a replica is lost [s]: with the first of the requests that count in all draws. Raises
    ValueError where it would be away beyond their end."""
    away_s = _routing(limits.question).lost_for_s
    samples = [_sample(limits.question, draw, limits.longest) for draw in draws]
    counted = [one.moments[one.counted] for one in samples]
    begin, last = max(float(x[0]) for x in counted), min(float(x[-1]) for x in counted)
    rule = f"at most {last - begin:.3g} s, which the runs that count take; or ask for more requests"
    require(away_s <= last - begin, "lost_for_s", rule, away_s)
    return begin


def _while_lost(question: Question, runs: Sequence[_Seen], lost_at: float) -> float:
    """Share that keeps all limits, of the requests that come while a replica is away."""
    until = lost_at + _routing(question).lost_for_s
    shares = [
        _kept(question, run)[(run.moments >= lost_at) & (run.moments < until)] for run in runs
    ]
    return float(np.concatenate(shares).mean())
