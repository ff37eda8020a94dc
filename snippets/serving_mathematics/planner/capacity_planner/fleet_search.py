"""Fleets of any size for a question, each simulated once, and the smallest that keeps what is
promised.

For n replicas each gets a random share of the traffic, and one replica is simulated from event to
event; limits that nobody met in a run do not change it. A larger batch limit shortens the queue and
lengthens the steps: the limit is taken at which the worse of TTFT and TPOT, each in shares of its
objective, is best, found by halving; and token budgets are tried one after the other. n is the
smallest for which both hold, found by doubling and halving. The answer rests on runs four times as
long, of that fleet at the first limits whose intervals decide it, the largest batch limits before
others, and of those of one replica fewer that might do.

Assumes: TPOT and the memory held rise and TTFT falls with the batch limit; TTFT and TPOT fall with
n; the objective is judged by the simulated quantile itself, whose 95% interval is given beside it;
steady traffic, unless it is a trace.

Source: `deployed_engine` for the steps, `event_skipping` for the simulator; `judged_requests` for
intervals; `latency_throughput_cost` for the price of a million tokens.
"""

# In one piece: most of it is `Fleets`, one search over what it has simulated so far.

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    Engine,
    Served,
    Workload,
    latencies_s,
    simulate_steps,
)
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.hardware.catalogue import deployed
from serving_mathematics.core.hardware.deployed_engine import MOST_PLACES, engine_of
from serving_mathematics.core.hardware.roofline import cost_per_million
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, fifo_waits
from serving_mathematics.planner.capacity_planner.closed_form import (
    Estimate,
    closed_form,
    closed_form_alone,
    work_s,
)
from serving_mathematics.planner.capacity_planner.judged_requests import (
    OF_A_CLASS,
    QUANTILES,
    SECTIONS,
    SETTLING,
    WARM_UP,
    ClassRun,
    Goals,
    Quantile,
    _judged,
    _require_enough,
    decisive,
    reaches,
    worst_shares,
)
from serving_mathematics.planner.capacity_planner.refusals import (
    Infeasible,
    _require_held,
    _require_in_time,
)
from serving_mathematics.planner.questions.objectives import (
    BOTH,
    METRICS,
    STEPS,
    WAITS,
    RequestTimes,
    promised,
)
from serving_mathematics.planner.questions.question import Question, _asked_rate, _at_rate
from serving_mathematics.planner.questions.traffic import (
    Traffic,
    _cut_at,
    drawn_classes,
    share_of_traffic,
    shares_of_trace,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require, require_non_negative_integer

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Told = Callable[[int, int], object]  # gets replicas and batch limit before they are simulated
BUDGETS = (2048, 8192, 512)  # tokens in a step, tried where none is asked for
FINE = 8  # the batch limit is found to one part in so many
EDGE = 0.9  # of a full replica's rate: from there on intervals are too narrow
STEADY = 0.98  # of a full replica's rate: from there on a latency says how long the run was
CLEARLY = 1.05  # times a limit: what misses it by more does at batch limits nearby, whatever chance
MOST_REPLICAS = 100_000
UNLIMITED = 2**40  # blocks, or seconds


@dataclass(frozen=True)
class Performance:
    """One replica of n with a batch limit, simulated."""

    replicas: int
    places: int  # batch limit
    budget: int  # tokens in a step
    ttft: tuple[Quantile, ...]  # at QUANTILES
    tpot: tuple[Quantile, ...]
    classes: tuple[ClassRun, ...]  # in order; one where all requests are alike
    both: Quantile  # share of all requests that keep all limits of their class
    busy: float  # share of time in which a step runs
    concurrency: float  # mean number of requests admitted
    held_tokens: float  # mean tokens in the cache
    preempted: float  # preemptions per request
    simulated: int  # requests that count
    usd_per_hour: float  # of the fleet, with those that may fail
    usd_per_million: float  # generated tokens

    def is_as(self, other: Self) -> bool:
        """Whether both are one run, whatever limit nobody met in it."""
        return replace(self, places=other.places) == other

    @property
    def nearest(self) -> ClassRun:
        """The class that has the least room to its objective, or none."""
        return max(self.classes, key=lambda one: one.worse)


@dataclass(frozen=True)
class _Run:
    """A simulated run, and limits that nobody in it would have met."""

    found: Performance
    got: RequestTimes  # of those that count, in order
    which: IntArray  # their classes
    memory: int  # blocks that there were
    crowd: int  # most requests between admission and completion
    blocks: int  # most that all of them, and one that waits, can ask for

    def is_that_of(self, places: int, memory: int) -> bool:
        """Whether the same happens with such limits."""
        own = self.found.places
        enough = self.crowd <= places and self.crowd < own
        return (places == own or enough) and (
            memory == self.memory or self.blocks <= min(memory, self.memory)
        )


class Fleets:
    """Fleets of any size for one question, each simulated once. Raises ValueError when the weights
    do not fit, Infeasible when the longest request does not, or an idle replica is too slow.

    >>> from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
    >>> Fleets(WORKED).performance(1, 1, 2048) is None  # one place is not enough for 60/s
    True
    """

    def __init__(
        self,
        question: Question,
        told: Told | None = None,
        slowness: float = 1.0,
        longer: float = 1.0,
        steady: float = 1.0,
    ) -> None:
        """Prepare the engine and a sample of the requests. slowness: of all steps. longer: times
        the longest request of the sample, for which steps are tabled. steady: of a full replica's
        rate, up to which there are latencies."""
        self.question, self.told, self.goals = question, told, question.goals
        self.steady = steady
        rule = f"one for each of {len(question.class_names)} classes"
        fits = len(self.goals) == len(question.class_names)
        require(fits, "class_promises", rule, len(self.goals))
        _require_enough(question)
        self.budgets = self._budgets()
        traffic = question.traffic
        if isinstance(traffic, Workload):
            self.sample, self.scv = traffic, 1.0
            self.which = np.zeros(traffic.arrival_s.size, dtype=np.int64)
        else:
            self.which = _classes_of(question)
            self._refuse_few()
            self.sample, self.scv = self._share(traffic, 1), traffic.arrival_scv
        self._refuse_long()
        longest = longer * int((self.sample.prompt_tokens + self.sample.output_tokens).max())
        self.longest = min(math.ceil(longest), question.deployment.architecture.context_tokens)
        self.made = engine_of(
            question.deployment,
            self.sample,
            MOST_PLACES,
            MOST_PLACES,
            question.memory_share,
            question.reserved_bytes,
            slowness,
            question.constants,
            self.longest,
        )
        self.engine = self.made.engine
        arithmetic, reading = work_s(self.sample, self.engine)
        self.own_s = float(arithmetic.mean()), float(reading.mean())
        self.seen: dict[tuple[int, int, int], Performance | None] = {}  # steady or not
        self.runs: dict[tuple[int, int], list[_Run]] = {}  # by replicas and budget
        self.pool: dict[tuple[int, int], list[_Run]] = {}  # the same, also held to other limits
        self.shares: dict[int, Workload] = {}  # the last one
        self.full_rates: dict[int, float] = {}
        self.most_rates: dict[tuple[int, int, int], float] = {}  # with budget and blocks
        self._refuse_impossible()

    @property
    def rate_per_s(self) -> float:
        """Requests a second to all replicas."""
        return _asked_rate(self.question)

    @property
    def tokens_per_s(self) -> float:
        """Tokens that are generated a second."""
        return self.rate_per_s * self.question.mean_lengths[1]

    def _budgets(self) -> tuple[int, ...]:
        """Token budgets to try, with the batch limit that was asked for."""
        limit, budget = self.question.batch_limit, self.question.token_budget
        budgets: tuple[int, ...] = BUDGETS if budget is None else (budget,)
        if limit is None:
            return budgets
        rule = f"from 1 to token_budget = {max(budgets)}"
        require(1 <= limit <= max(budgets), "batch_limit", rule, limit)
        return tuple(budget for budget in budgets if budget >= limit)

    def limited(self, budget: int | None, places: int | None) -> Self:
        """The same fleets with other limits asked for; both know what either has simulated."""
        other = copy.copy(self)
        other.question = replace(self.question, token_budget=budget, batch_limit=places)
        other.budgets = other._budgets()
        other._refuse_impossible()
        return other

    def promising(self, goals: Goals) -> Self:
        """The same fleets held to other limits; both know what either has simulated."""
        other = copy.copy(self)
        other.goals = goals
        if any(goal.measure.of_all for promise in goals for goal in promise):
            other.seen, other.runs = {}, {}
        return other

    def at_rate(self, rate_per_s: float) -> Self:
        """The same fleets with so many requests a second, of the same lengths."""
        other, other.question = copy.copy(self), _at_rate(self.question, rate_per_s)
        traffic = other.question.traffic
        other.sample = traffic if isinstance(traffic, Workload) else other._share(traffic, 1)
        other.seen, other.shares = {}, {}
        other.runs, other.pool = {}, {}
        return other

    def with_all_memory(self) -> Self:
        """The same fleets with unlimited memory; both know what either has simulated."""
        other = copy.copy(self)
        other.engine = replace(self.engine, kv_blocks=UNLIMITED)
        other.seen = {}
        return other

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self.question.seed)

    def _share(self, traffic: Traffic, replicas: int) -> Workload:
        """What one of the replicas gets."""
        rng, size = self._rng(), self.question.requests
        return self.within(share_of_traffic(rng, traffic, replicas, size, self.which))

    def _shared(self, traffic: Traffic, replicas: int) -> Workload:
        """The same, drawn once for the limits that are tried one after the other."""
        share = self.shares.get(replicas) or self._share(traffic, replicas)
        self.shares.clear()
        self.shares[replicas] = share
        return share

    def within(self, asked: Workload, most: int = 0) -> Workload:
        """Drawn requests, none longer than the model's context, or than so many tokens."""
        return _cut_at(asked, most or self.question.deployment.architecture.context_tokens)

    def _refuse_few(self) -> None:
        """Refuse a class of which a run has too few requests for an interval."""
        question, kinds = self.question, self.question.class_names
        counted = self.which[int(WARM_UP * self.which.size) :]
        counts = np.bincount(counted, minlength=len(kinds))
        place = int(counts.argmin())
        enough = math.ceil(OF_A_CLASS * counted.size / max(1, int(counts[place])))
        rule = f"at least {enough:,} to have {2 * SECTIONS} of {kinds[place]} in a run"
        require(counts[place] >= 2 * SECTIONS, "requests", rule, question.requests)

    def _refuse_long(self) -> None:
        model = self.question.deployment.architecture
        lengths = self.sample.prompt_tokens + self.sample.output_tokens
        place = int(lengths.argmax())
        rule = f"within the context of {model.context_tokens:,} tokens of {model.name}"
        longest = f"request {place + 1} of {int(lengths[place]):,}"
        require(lengths[place] <= model.context_tokens, "the trace", rule, longest)

    def _refuse_impossible(self) -> None:
        asked, engine = self.sample, self.engine
        longest = int((asked.prompt_tokens + asked.output_tokens).max()) - 1
        _require_held(longest, engine.kv_blocks * engine.block_tokens)
        alone = [
            closed_form_alone(asked, replace(engine, token_budget=budget, max_sequences=1))
            for budget in self.budgets
        ]
        ttft = np.min([first for first, _ in alone], axis=0) + self.beside(asked)
        got = RequestTimes(ttft, alone[0][1], as_floats(later=asked.output_tokens - 1))
        least = []
        for place, promise in enumerate(self.goals):
            name = self.question.class_names[place] if len(self.goals) > 1 else ""
            for goal in promise:
                each = goal.of(got, promise)
                kept = each[(self.which == place) & ~np.isnan(each)]
                taken = float(np.quantile(kept, goal.share)) if kept.size else 0.0
                least.append((name, goal, taken))
        self.alone_s = max((s for _, goal, s in least if goal.metric == "ttft"), default=0.0)
        _require_in_time(least)

    def beside(self, asked: Workload) -> FloatArray:
        """What the first token takes beside the engine [s]."""
        return np.asarray(self.made.around_s + self.made.behind_s[asked.prompt_tokens])

    def performance(self, replicas: int, places: int, budget: int) -> Performance | None:
        """What a replica of so many does with these limits; None when it is overloaded."""
        found = self.measured(replicas, places, budget)
        if found is None:
            return None
        most_per_s = self.steady * self.most_rate(places, budget)
        return found if self.rate_per_s / replicas < most_per_s else None

    def measured(self, replicas: int, places: int, budget: int) -> Performance | None:
        """The same, also of a run that is too short to show that requests queue ever longer; None
        where a full replica is too slow."""
        key = (replicas, places, budget)
        if key not in self.seen:
            if self.told:
                self.told(replicas, places)
            steady = self.rate_per_s / replicas < self.steady * self.full_rate(places)
            self.seen[key] = replace(self._run(*key).found, places=places) if steady else None
        return self.seen[key]

    def keeping(self, replicas: int, places: int, budget: int) -> Performance | None:
        """The same, where it keeps all objectives; else None."""
        found = self.measured(replicas, places, budget)
        return self.performance(replicas, places, budget) if self.keeps(found) else None

    def _run(self, replicas: int, places: int, budget: int) -> _Run:
        """Of these limits, or of others that make no difference."""
        runs = self.runs.setdefault((replicas, budget), [])
        for run in runs:
            if run.is_that_of(places, self.engine.kv_blocks):
                return run
        pool = self.pool.setdefault((replicas, budget), [])
        for run in pool:
            if run.is_that_of(places, self.engine.kv_blocks):
                *_, classes, both = self.judged(run.got, run.which)
                runs.append(replace(run, found=replace(run.found, classes=classes, both=both)))
                return runs[-1]
        runs.append(self._simulated(replicas, places, budget))
        pool.append(runs[-1])
        return runs[-1]

    def _simulated(self, replicas: int, places: int, budget: int) -> _Run:
        question = self.question
        engine = replace(self.engine, max_sequences=places, token_budget=budget)
        asked = self.sample
        if isinstance(question.traffic, Workload):
            shares = shares_of_trace(self._rng(), asked, replicas, question.requests)
            warm = 0.0
        else:
            shares, warm = [self._shared(question.traffic, replicas)], WARM_UP
        runs = [(share, simulate(share, engine)) for share in shares]
        times = np.concatenate([share.arrival_s for share, _ in runs])
        order = np.argsort(times, kind="stable")[int(warm * times.size) :]
        pairs = [latencies_s(share, served) for share, served in runs]
        pairs = [
            (first + self.beside(share), each)
            for (share, _), (first, each) in zip(runs, pairs, strict=True)
        ]
        ttft, tpot = (np.concatenate([pair[i] for pair in pairs])[order] for i in (0, 1))
        later = np.concatenate([share.output_tokens - 1.0 for share, _ in runs])[order]
        span = sum(float(s.completion_s.max() - share.arrival_s[0]) for share, s in runs)
        inside = sum(float((s.completion_s - s.admitted_s).sum()) for _, s in runs)
        held = sum(_token_seconds(share, served) for share, served in runs)
        hourly = question.usd_per_hour(replicas)
        got, which = RequestTimes(ttft, tpot, later), self.which[order]
        found = Performance(
            replicas,
            places,
            budget,
            *self.judged(got, which),
            sum(s.busy_s for _, s in runs) / span,
            inside / span,
            held / span,
            sum(int(s.preemptions.sum()) for _, s in runs) / times.size,
            order.size,
            hourly,
            float(cost_per_million(hourly, self.tokens_per_s)),
        )
        most = [_most_at_once(share, served, engine) for share, served in runs]
        crowd, blocks = (max(counts) for counts in zip(*most, strict=True))
        return _Run(found, got, which, engine.kv_blocks, crowd, blocks)

    def estimate(self, run: Performance) -> Estimate:
        """The same replica with the same limits by the closed form."""
        engine = replace(self.engine, max_sequences=run.places, token_budget=run.budget)
        rate, scv = self.rate_per_s / run.replicas, 1 + (self.scv - 1) / run.replicas
        told = closed_form(self.sample, rate, engine, QUANTILES, scv)
        beside = float(np.mean(self.beside(self.sample)))
        return replace(told, ttft_s=tuple(beside + each for each in told.ttft_s))

    def judged(
        self, got: RequestTimes, which: IntArray
    ) -> tuple[tuple[Quantile, ...], tuple[Quantile, ...], tuple[ClassRun, ...], Quantile]:
        """TTFT and TPOT in order of arrival at QUANTILES, what each class gets, and the share that
        keeps all limits."""
        return _judged(got, which, self.goals, self.question.class_names, self.rate_per_s)

    def full_rate(self, places: int) -> float:
        """Requests a second of a replica whose places are always taken."""
        if places not in self.full_rates:
            asked, engine = self.sample, replace(self.engine, max_sequences=places)
            self.full_rates[places] = saturated_rate(
                asked.prompt_tokens, asked.output_tokens, engine, asked.cached_tokens
            )
        return self.full_rates[places]

    def most_rate(self, places: int, budget: int) -> float:
        """Requests a second of a replica before which they queue, simulated with its limits and
        memory; of a full one where the sample is too short to tell."""
        key = places, budget, self.engine.kv_blocks
        if key not in self.most_rates:
            engine = replace(self.engine, max_sequences=places, token_budget=budget)
            queued = _queued_rate(self.sample, engine, self.question.requests)
            self.most_rates[key] = min(self.full_rate(places), queued)
        return self.most_rates[key]

    def fullest_rate(self) -> float:
        """Requests a second of a replica that is always full, with the batch limit at which they
        are most: a bound, because memory lasts."""
        return max(map(self.full_rate, map(self.most_places, self.budgets)))

    def load(self, replicas: int, run: Performance | None = None) -> float:
        """Traffic over the most that so many replicas serve, with the limits of a run of theirs, or
        with the largest."""
        limits = [(self.most_places(budget), budget) for budget in self.budgets]
        limits = [(run.places, run.budget)] if run else limits
        return self.rate_per_s / replicas / max(self.most_rate(*some) for some in limits)

    def keeps(self, found: Performance | None) -> bool:
        """Whether all quantiles of every class keep their objectives."""
        return found is not None and reaches(found.classes, self.goals, 0.0)

    def may_keep(self, found: Performance | None, widths: float = 1.0) -> bool:
        """Whether the intervals of all quantiles, so many times as wide, reach into their
        objectives."""
        return found is not None and reaches(found.classes, self.goals, -widths)

    def may_do(self, replicas: int) -> bool:
        """Whether so many replicas keep all objectives with any limits that were simulated, for all
        that intervals say."""
        runs = [(key, run) for key, run in self.seen.items() if key[0] == replicas]
        return any(self.may_keep(run) and self.performance(*key) for key, run in runs)

    def sure(self, found: Performance) -> bool:
        """Whether the intervals of all quantiles lie within their objectives."""
        return reaches(found.classes, self.goals, 1.0)

    def decides(self, found: Performance) -> bool:
        """Whether they do, of a fleet that is not so full that intervals are too narrow."""
        return self.sure(found) and self.load(found.replicas, found) <= EDGE

    def most_places(self, budget: int) -> int:
        """The largest batch limit that may be taken."""
        return self.question.batch_limit or min(MOST_PLACES, budget)

    def _worse(self, found: Performance | None) -> float:
        """The worst metric, in shares of its limit; infinite when overloaded."""
        return math.inf if found is None else max(worst_shares(found.classes, self.goals).values())

    def _reach(self, found: Performance) -> float:
        """The farthest end of an interval, in shares of its limit."""
        pairs = zip(found.classes, self.goals, strict=True)
        ends = [zip(one.got, promise, strict=True) for one, promise in pairs]
        return max((run.value + run.half_width) / goal.limit for one in ends for run, goal in one)

    def has_room(self, replicas: int) -> bool:
        """Whether nobody meets the end of the memory with the largest batch limits, and so with no
        other."""
        limits = ((replicas, self.most_places(budget), budget) for budget in self.budgets)
        return all(
            self.measured(*some) and (run := self._run(*some)).blocks <= run.memory
            for some in limits
        )

    def best_of_budget(
        self, replicas: int, budget: int, any_one: bool = False
    ) -> Performance | None:
        """The batch limit at which the worst metric is best, with a token budget, or the largest if
        it keeps them all; None when all overload the replica. any_one: the first that keeps them
        will do, and a search that none can keep ends there."""
        best = top = self.performance(replicas, self.most_places(budget), budget)
        if top is None or self.question.batch_limit:
            return top
        worst = worst_shares(top.classes, self.goals)
        late = any(share > 1 and METRICS[name].grows == WAITS for name, share in worst.items())
        if self.sure(top) or late or (any_one and self.keeps(top)):
            return top  # a lower limit only lengthens the wait
        low, high = 0, top.places  # low: misses TTFT; high: misses TPOT, or is not sure
        below: _Run | None = None  # of both
        above: _Run | None = self._run(replicas, high, budget)
        while high - low > max(1, high // FINE):
            middle = max(low + 1, min(high - 1, round(math.sqrt(max(1, low) * high))))
            trial = self.measured(replicas, middle, budget)
            run = self._run(replicas, middle, budget) if trial else below
            better = self._worse(trial) < self._worse(best)
            lower = trial and self._lower_is_better(trial, better or trial.is_as(top))
            if trial and (lower or better or self.sure(trial)):  # where it matters
                trial = self.performance(replicas, middle, budget)
            if trial and lower:
                high, above = middle, run
            else:
                low, below = middle, run
            if trial and better:
                best = trial
            if trial and self.sure(trial):
                break
            if any_one and (self.keeps(best) or self._none_between(below, above)):
                break
        return best

    def _none_between(self, below: _Run | None, above: _Run | None) -> bool:
        """Whether no batch limit between those of two runs keeps all objectives, were each request
        to wait as with the larger one and to get its tokens as with the smaller."""
        if below is None or above is None:
            return False
        got = RequestTimes(above.got.ttft, below.got.tpot, above.got.later)
        for place, promise in enumerate(self.goals):
            part = got.part(above.which == place)
            for goal in promise:
                each = goal.of(part, promise)
                each = each[~np.isnan(each)]
                if each.size and np.quantile(each, goal.share) > CLEARLY * goal.limit:
                    return True
        return False

    def _lower_is_better(self, found: Performance, so_far: bool) -> bool:
        """Whether the worst metric is one of steps, not of waiting; of both, as far as a lower
        batch limit made it better, or changed nothing."""
        grows = decisive(worst_shares(found.classes, self.goals)).grows
        return so_far if grows == BOTH else grows == STEPS

    def best(self, replicas: int, any_one: bool = False) -> Performance | None:
        """The first token budget with which a batch limit keeps all objectives, else the one that
        comes nearest; None when all overload the replica. any_one: as for best_of_budget."""
        nearest = None
        for budget in self.budgets:
            found = self.best_of_budget(replicas, budget, any_one)
            if self.keeps(found):
                return found
            if self._worse(found) < self._worse(nearest):
                nearest = found
        return nearest

    @property
    def least(self) -> int:
        """Replicas of which fewer would be overloaded, whatever is promised."""
        places = max(self.most_places(budget) for budget in self.budgets)
        least = self.rate_per_s / self.full_rate(places)
        return max(1, math.ceil(min(least, MOST_REPLICAS + 1.0)))

    def count(self, near: int = 0, most: int | None = None) -> int:
        """Replicas of the smallest fleet that keeps the objective. near: that it may be, where the
        search begins. most: that are of interest. Raises Infeasible beyond, or 100,000."""
        most = MOST_REPLICAS if most is None else most
        found = _smallest(lambda n: self.keeps(self.best(n, True)), self.least, most, near)
        if found > most:
            raise Infeasible(f"no fleet of up to {most:,} replicas keeps the objective")
        return found

    def fewest(self, near: int = 0, most: int | None = None) -> Performance:
        """That fleet, with the limits that suit it best."""
        best = self.best(self.count(near, most))
        assert best is not None
        return best

    def near(self, replicas: int) -> list[tuple[int, int]]:
        """Batch limits and token budgets at which so many replicas might do, the best first: of
        each budget the best limit, which a longer run may find too small, and the largest, whose
        intervals, of twice their width, reach into the objective."""
        runs = [self.best_of_budget(replicas, budget) for budget in self.budgets]
        runs += [self.performance(replicas, self.most_places(x), x) for x in self.budgets]
        near = [run for run in runs if run and self.may_keep(run, 2.0)]
        near.sort(key=self._worse)
        different = {(run.ttft, run.tpot): (run.places, run.budget) for run in reversed(near)}
        return list(reversed(different.values()))


def _smallest(kept: Callable[[int], bool], least: int, most: int, near: int = 0) -> int:
    """The smallest number from the least on that is kept, by doubling and halving; beyond the most
    where none is. kept: of each number whether it is, and of all larger ones then. near: where the
    search begins."""
    low, high = least - 1, most + 1  # not kept; kept, or beyond
    middle = min(max(near, least), most)
    step = 1 if near > least else 2
    while high - low > 1:
        if kept(middle):
            high = middle
        else:
            low = middle
        if high > most:
            middle = min(low + step, most)
        elif low < least and near > least:
            middle = max(high - step, least)
        else:
            middle = (low + high) // 2
        step *= 2
    return high


def settled(fleet: Fleets, long: Fleets | None = None, near: int = 0) -> tuple[Performance, Fleets]:
    """The smallest fleet by the search, corrected by longer runs; and the longer runs.

    fleet: of the question. long: the same with four times the requests; made where there is none.
    near: of how many replicas it may be. The fleet that the search found is simulated again with so
    many, and so are those of one replica fewer whose intervals do not exclude them, until the
    longer runs agree. Raises Infeasible beyond 100,000 replicas.

    >>> from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
    >>> settled(Fleets(replace(WORKED, requests=200)))[0].simulated  # 4·200 less the first tenth
    720
    """
    near = require_non_negative_integer(near=near)
    long = long or _four_times(fleet)
    best = fleet.fewest(near)
    found = {best.replicas: long.keeping(best.replicas, best.places, best.budget)}

    def kept(replicas: int) -> bool:
        if found.get(replicas) is None:  # or chance let the search stop too early
            found[replicas] = _longer(fleet, long, replicas)
        return found[replicas] is not None

    replicas = _smallest(kept, 1, MOST_REPLICAS, best.replicas)
    if replicas > MOST_REPLICAS:
        raise Infeasible(f"no fleet of up to {MOST_REPLICAS:,} replicas keeps the objective")
    run = found[replicas]
    assert run is not None
    return _first_decided(fleet, long, run), long


def _first_decided(fleet: Fleets, long: Fleets, run: Performance) -> Performance:
    """Of so many replicas, the first longer run that decides: with the largest batch limits, which
    are the same whatever is promised, then with what the search found; where none does, the one
    whose intervals reach least far, of those that are not too full if there are any."""
    own = run.replicas

    def limits() -> Iterator[tuple[int, int]]:
        for budget in fleet.budgets:
            largest = fleet.most_places(budget), budget
            if fleet.may_keep(fleet.performance(own, *largest), 2.0):
                yield largest
        yield run.places, run.budget
        yield from fleet.near(own)  # sought where none of these decides

    kept = []
    for places, budget in limits():
        trial = long.keeping(own, places, budget)
        if trial:
            if long.decides(trial):
                return trial
            kept.append(trial)
    return min(kept, key=lambda one: (long.load(own, one) > EDGE, long._reach(one)))


def _four_times(fleet: Fleets) -> Fleets:
    """The same with four times the requests."""
    question = replace(fleet.question, requests=SETTLING * fleet.question.requests)
    return Fleets(question, fleet.told, steady=STEADY)


def _classes_of(question: Question) -> IntArray:
    """The class of each drawn request."""
    assert not isinstance(question.traffic, Workload)
    rng = np.random.default_rng([question.seed, 1])
    return drawn_classes(rng, question.traffic, question.requests)


def _longer(fleet: Fleets, long: Fleets, replicas: int) -> Performance | None:
    """The first longer run, of the limits that might do by the shorter ones, that keeps both."""
    runs = (long.keeping(replicas, *limits) for limits in fleet.near(replicas))
    return next((run for run in runs if run), None)


def _queued_rate(asked: Workload, engine: Engine, most: int) -> float:
    """Requests a second of a replica before which requests queue, of which so many are simulated;
    infinite where they are too few to tell."""
    size = asked.arrival_s.size
    asked = asked.part(np.arange(0, size, -(-size // most)))
    at_once = np.zeros(asked.arrival_s.size)
    asked = Workload(at_once, asked.prompt_tokens, asked.output_tokens, asked.cached_tokens)
    admitted = np.sort(simulate(asked, engine).admitted_s)
    first = admitted.size // 4  # until then the replica fills
    span = float(admitted[-1] - admitted[first])
    return (admitted.size - 1 - first) / span if span else math.inf


def _most_at_once(share: Workload, served: Served, engine: Engine) -> tuple[int, int]:
    """Most requests between admission and completion, and most blocks that all of them, and one
    that waits, can ask for."""
    blocks = -(-(share.prompt_tokens + share.output_tokens - 1) // engine.block_tokens)
    order = np.argsort(np.concatenate([served.completion_s, served.admitted_s]), kind="stable")
    counts = np.stack([np.ones_like(blocks), blocks])
    inside = np.concatenate([-counts, counts], axis=1)[:, order].cumsum(axis=1)
    crowd, held = inside.max(axis=1).tolist()
    return crowd, held + int(blocks.max())


def _token_seconds(share: Workload, served: Served) -> float:
    """What requests hold of the cache, the answer half of its life, over all of them [token·s]."""
    whole = (served.completion_s - served.admitted_s) * share.prompt_tokens
    half = (served.completion_s - served.first_token_s) * share.output_tokens / 2
    return float((whole + half).sum())  # a matrix product of so many wakes threads


WORKED_TRAFFIC = Traffic(60.0)  # requests a second, of 1,000 tokens in and 250 out on average
WORKED = Question(
    deployed("Llama-3.1-8B", "H100"),
    WORKED_TRAFFIC,
    promised(ttft_s=1.0, tpot_s=0.05),
)


def check_one_place_is_a_queue() -> None:
    """With one place a replica is a queue with one server: TTFT is wait plus prefill, and the share
    of busy time is λS.

    Source: `fifo_waits` on the same requests; the utilization law.
    """
    traffic = Traffic(0.9, mean_prompt_tokens=100.0, mean_output_tokens=80.0)
    question = replace(WORKED, traffic=traffic, requests=4000)
    fleet = Fleets(question)
    found = fleet.performance(1, 1, 2048)
    assert found is not None
    asked, engine = fleet.sample, replace(fleet.engine, token_budget=2048)
    first, each = closed_form_alone(asked, engine)
    service = first + np.nan_to_num(each) * (asked.output_tokens - 1)
    ttft = (fifo_waits(asked.arrival_s, service) + first + fleet.made.around_s)[400:]
    for quantile, got in zip(QUANTILES, found.ttft, strict=True):
        expected = float(np.quantile(ttft, quantile))
        checks.close(f"TTFT at p{100 * quantile:g} [s]", got.value, expected, atol=1e-9)
    mean = float(service.mean())
    error = float(service.std() / mean) * 0.9 * mean / math.sqrt(2000)
    checks.covers("busy share", MeanEstimate(found.busy, error, 0.0), 0.9 * mean)


def check_a_full_replica_by_hand() -> None:
    """With one place a full replica starts a request as the one before ends.

    Source: the mean service of those requests, by the closed form of a lone request.
    """
    fleet = Fleets(replace(WORKED, requests=400))
    asked, engine = fleet.sample, replace(fleet.engine, token_budget=2048, max_sequences=1)
    first, each = closed_form_alone(asked, engine)
    service = first + np.nan_to_num(each) * (asked.output_tokens - 1)
    expected = 1 / float(service[100:-1].mean())
    checks.close("requests a second", fleet.most_rate(1, 2048), expected, rtol=1e-3)


def check_promises_are_counted() -> None:
    """What a fleet says of every metric that may be promised, and of the requests that keep all
    limits, is what a simulation step by step has, request by request.

    Source: `simulate_steps` on the same requests; counting, one request after the other.
    """
    limits = (0.5, 0.02, 6.0)
    promise = promised(*limits[:2], e2e_s=limits[2], goodput=0.8)
    fleet = Fleets(replace(WORKED, traffic=Traffic(18.0), promise=promise, requests=300))
    found = fleet.performance(1, 192, 2048)
    assert found is not None
    asked, engine = fleet.sample, replace(fleet.engine, token_budget=2048, max_sequences=192)
    served, beside = simulate_steps(asked, engine), fleet.beside(asked)
    rows, kept = [], 0
    for i in range(30, 300):
        first, last = served.first_token_s[i], served.completion_s[i]
        later = int(asked.output_tokens[i]) - 1
        each = (last - first) / later if later else 0.0
        start = asked.arrival_s[i] - beside[i]
        rows.append((first - start, each if later else math.nan, last - start))
        kept += first - start <= limits[0] and each <= limits[1] and last - start <= limits[2]
    for place, name in enumerate(("ttft", "tpot", "e2e")):
        expected = float(np.nanquantile([row[place] for row in rows], 0.8))
        got = found.nearest.of(name).value
        checks.close(f"{METRICS[name].shown} at p80 [s]", got, expected, atol=1e-9)
    checks.close("share that keeps all", found.both.value, kept / 270, atol=1e-9)
    over = np.nanmax(np.array(rows) / limits, axis=1)
    goodput = found.nearest.of("goodput").value
    expected = float(np.quantile(over, 0.8))
    checks.close("largest latency over its limit at p80", goodput, expected, atol=1e-9)
