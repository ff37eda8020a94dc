"""Prompts on one fleet of replicas and answers on another: how many of each, and at what price.

A prompt's replica gives the first token and sends the cache over its link, one request after the
other; the answer's replica takes it up at the step after its arrival. Both fleets are simulated
with the engine of the planner: P prompt replicas with a share of the traffic each, and of D answer
replicas the one to which a request goes with probability 1/D. TTFT depends on P and the token
budget of its steps, so the fewest P come first; what P replicas send then says how many D keep
TPOT, in which the cache's journey counts. No fleet is smaller than its load over the rate of a
replica that is always full, nor than the time for which its links are busy.

Replicas of the two fleets may differ in device, split and price; a cache then travels over the
slower of their links.

Assumes: one model in one format; the link inside a domain where both fleets are of one device and
fit into one, otherwise the one beyond; a cache leaves the prompt's memory with
the first token; an answer that is preempted finds the cache of its prompt again. Of more than eight
prompt replicas eight are simulated, whose requests go to the answer replica the more often.

Source: Zhong et al. (2024), DistServe, for the separation; `disaggregation` for what it buys;
`deployments` for the bytes of a cache, `systems` for the links.
"""

# In one piece: half is `SeparateFleets`, one search over two fleets that share what they have
# simulated.

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    TICK_S,
    Engine,
    StepTable,
    Workload,
)
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.hardware.deployed_engine import MOST_PLACES
from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
from serving_mathematics.core.hardware.deployments import Deployment, sequence_bytes
from serving_mathematics.core.hardware.roofline import cost_per_million
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.planner.capacity_planner.closed_form import closed_form_alone
from serving_mathematics.planner.capacity_planner.fleet_search import (
    MOST_REPLICAS,
    Fleets,
    Performance,
    Told,
    _smallest,
    settled,
)
from serving_mathematics.planner.capacity_planner.judged_requests import (
    SECTIONS,
    SETTLING,
    WARM_UP,
    ClassRun,
    Quantile,
    decisive,
    reaches,
    worst_shares,
)
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.questions.objectives import (
    METRICS,
    Promise,
    RequestTimes,
    lifted,
    promised,
)
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.traffic import (
    Traffic,
    drawn_classes,
    share_of_traffic,
    shares_of_trace,
)
from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized
from serving_mathematics.support.require import as_floats, require_all_positive, require_positive

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
IDLE = 16  # times the least replicas for answers, where nobody is in another's way
MOST_SENDERS = 8  # prompt replicas that are simulated
LONGER = 2.0  # times the longest of the sample a request is at most; one in millions is cut


@dataclass(frozen=True)
class Apart:
    """Two fleets, simulated."""

    prompts: int  # replicas that compute prompts
    answers: int  # replicas that generate
    budget: int  # tokens in a step of a prompt's replica
    ttft: tuple[Quantile, ...]  # at QUANTILES
    tpot: tuple[Quantile, ...]
    classes: tuple[ClassRun, ...]
    both: Quantile  # share of requests that keep TTFT and TPOT of their class
    transfer_s: float  # mean, with the wait for the link
    link_busy: float  # share of time in which a prompt replica sends
    simulated: int  # requests that count
    usd_per_hour: float
    usd_per_million: float
    fewer_may_do: bool = False  # one replica fewer in either fleet, for all that intervals say

    @property
    def replicas(self) -> int:
        """Of both fleets."""
        return self.prompts + self.answers

    @property
    def beyond(self) -> bool:
        """Whether an interval reaches beyond its objective."""
        return not reaches(self.classes, [one.promise for one in self.classes], 1.0)


def cache_transfer_s(
    deployment: Deployment, prompt_tokens: npt.ArrayLike, link_bytes_per_s: float
) -> FloatArray:
    """Time in which every device sends its part of a prompt's cache [s], shape (n,).

    prompt_tokens: positive, shape (n,). link_bytes_per_s: of one device, one direction, positive.
    Raises ValueError outside these ranges.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> cache_transfer_s(WORKED, [1000], 131_072e3).tolist()  # 131,072 bytes a token
    [1.0]
    """
    prompt_tokens = require_all_positive(prompt_tokens=prompt_tokens)
    link_bytes_per_s = require_positive(link_bytes_per_s=link_bytes_per_s)
    tokens = as_floats(prompt_tokens=prompt_tokens)
    windows = (attention.window_tokens for _, attention, _ in deployment.architecture.layers)
    knots = sorted({1.0, float(tokens.max()), *(float(width) for width in windows if width)})
    held = [sequence_bytes(deployment, knot) for knot in knots]  # straight between windows
    return np.asarray(np.interp(tokens, knots, held) / link_bytes_per_s)


class SeparateFleets:
    """Pairs of fleets for one question. Raises what `Fleets` does, and Infeasible where the journey
    of the cache alone is longer than TPOT allows.

    >>> from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
    >>> SeparateFleets(WORKED).least
    (2, 2)
    """

    def __init__(self, question: Question, told: Told | None = None, slowness: float = 1.0) -> None:
        """Prepare both engines. slowness: of all steps."""
        self.question, self.told = question, told
        self.asking = self.fleet = _fleets_of(question, "tpot", slowness)
        if question.prompts:
            self.asking = _fleets_of(question, "ttft", slowness)
        engine = self.fleet.engine
        assert engine.table is not None
        batch, prompt = (TICK_S * np.array(x) for x in (engine.table.batch, engine.table.prompt))
        places = question.batch_limit or MOST_PLACES
        self.answering = replace(
            engine,
            token_budget=2 * places,
            max_sequences=places,
            table=StepTable(batch, prompt),  # an answer begins without a prompt
        )
        self.done: dict[tuple[int, int, int], Apart | None] = {}
        self.later = self.fleet.sample.output_tokens > 1
        if not self.later.any():
            raise Infeasible("no answer has a second token, which a second fleet could generate")
        self._refuse_slow_link()
        engines = (engine, self.asking.engine)
        room = min(one.kv_blocks * one.block_tokens for one in engines)
        self.longest = min(self.fleet.longest, room)
        self.least = self._least()  # replicas for prompts and for answers

    def links(self, prompts: int, answers: int) -> tuple[tuple[Deployment, float], ...]:
        """Who sends and who receives, each with the link of one device [B/s]: that inside a domain
        where so many replicas fit into one, else beyond."""
        sends, receives = self.question.of_prompts().deployment, self.question.deployment
        devices = prompts * sends.devices + answers * receives.devices
        inside = sends.system == receives.system and devices <= sends.system.domain_devices
        return tuple(
            (one, one.system.link_bytes_per_s if inside else one.system.outside_bytes_per_s)
            for one in dict.fromkeys((sends, receives))
        )

    def _transfers(self, asked: Workload, prompts: int, answers: int) -> FloatArray:
        links = self.links(prompts, answers)
        each = [cache_transfer_s(one, asked.prompt_tokens, link) for one, link in links]
        return np.asarray(np.max(each, axis=0))

    def _refuse_slow_link(self) -> None:
        asked, link = self.fleet.sample, min(link for _, link in self.links(1, 1))
        _, alone = closed_form_alone(asked, replace(self.answering, max_sequences=1))
        sent, later = self._transfers(asked, 1, 1), np.maximum(asked.output_tokens - 1, 1)
        for place, promise in enumerate(self.fleet.goals):
            mine = self.later & (self.fleet.which == place)
            (goal,) = (goal for goal in promise if goal.metric == "tpot")
            if not mine.any():
                continue
            least = float(np.quantile((alone + sent / later)[mine], goal.share))
            if least > goal.limit:
                raise Infeasible(
                    f"separate fleets keep {goal.missed}: with the cache's journey over "
                    f"{link / 1e9:g} GB/s, {sized(float(sent[mine].mean()))} s on average, it is "
                    f"{sized(least)} s alone"
                )

    def _least(self) -> tuple[int, int]:
        """Fewest replicas for prompts and for answers: of load, and of time on the links."""
        first, later = self.full_rates()
        rate = self.fleet.rate_per_s
        return max(1, math.ceil(rate / first)), max(1, math.ceil(rate / later))

    def full_rates(self) -> tuple[float, float]:
        """Requests a second at which one replica for prompts, and one for answers, is full."""
        asked, later = self.fleet.sample, float(self.later.mean())
        prefill = self._prefilling(max(self.fleet.budgets))
        ones = np.ones_like(asked.output_tokens)
        mine = asked.part(np.flatnonzero(self.later))
        decoded = saturated_rate(
            mine.prompt_tokens + 1, mine.output_tokens - 1, self.answering, mine.prompt_tokens
        )
        links = 1 / later / float(self._transfers(mine, 1, 1).mean())
        first = saturated_rate(asked.prompt_tokens, ones, prefill, asked.cached_tokens)
        return min(first, links), min(decoded / later, links)

    def _prefilling(self, budget: int) -> Engine:
        """The engine of a prompt replica with a token budget."""
        places = min(MOST_PLACES, budget)
        return replace(self.asking.engine, token_budget=budget, max_sequences=places)

    def _first_tokens(self, share: Workload, budget: int) -> FloatArray:
        """When a prompt replica gives the first tokens [s]."""
        ones = np.ones_like(share.output_tokens)
        alone = Workload(share.arrival_s, share.prompt_tokens, ones, share.cached_tokens)
        return simulate(alone, self._prefilling(budget)).first_token_s

    def _rng(self, *names: int) -> np.random.Generator:
        return np.random.default_rng([self.question.seed, *names])

    def _shares(self, prompts: int, answers: int) -> list[tuple[Workload, IntArray, IntArray]]:
        """What each prompt replica that is simulated gets, the class of every request, and the
        answer replica to which it goes, -1 for one that is not simulated."""
        traffic, enough = self.question.traffic, self.question.requests
        if isinstance(traffic, Workload):
            size = traffic.arrival_s.size
            parts = shares_of_trace(self._rng(), traffic, prompts, size)
            goes = np.floor(self._rng(3).random(size) * answers).astype(np.int64)
            counts = np.cumsum(np.bincount(goes, minlength=answers))
            last = int(np.searchsorted(counts, min(enough, size)))
            goes[goes > last] = -1
            cuts = np.cumsum([part.arrival_s.size for part in parts])[:-1]
            zeros = (np.zeros(part.arrival_s.size, dtype=np.int64) for part in parts)
            return list(zip(parts, zeros, np.split(goes, cuts), strict=True))
        senders = max(min(prompts, MOST_SENDERS), math.ceil(prompts / answers))
        chance = prompts / senders / answers  # to the one answer replica that is simulated
        each = math.ceil(enough / chance / senders)
        while True:
            shares = []
            for sender in range(senders):
                which = drawn_classes(self._rng(1, sender), traffic, each)
                share = share_of_traffic(self._rng(2, sender), traffic, prompts, each, which)
                goes = np.where(self._rng(3, sender).random(each) < chance, 0, -1)
                shares.append((self.fleet.within(share, self.longest), which, goes))
            if self._are_enough(shares):
                return shares
            each *= 2

    def _are_enough(self, shares: Sequence[tuple[Workload, IntArray, IntArray]]) -> bool:
        """Whether requests of every class are left for an interval while all replicas for prompts
        that are simulated send: of many, each has few, and one ends long before the others."""
        until = _all_send(shares)
        mine = [(goes >= 0) & (share.arrival_s <= until) for share, _, goes in shares]
        times = [share.arrival_s[own] for (share, *_), own in zip(shares, mine, strict=True)]
        kinds = [which[own] for (_, which, _), own in zip(shares, mine, strict=True)]
        order = np.argsort(np.concatenate(times), kind="stable")
        counted = np.concatenate(kinds)[order[int(WARM_UP * order.size) :]]
        counts = np.bincount(counted, minlength=len(self.fleet.goals))
        return int(counts.min()) >= 2 * SECTIONS

    def performance(self, prompts: int, answers: int, budget: int) -> Apart | None:
        """What so many replicas of either kind do; None when either fleet is overloaded."""
        key = (prompts, answers, budget)
        if key not in self.done:
            if self.told:
                self.told(prompts + answers, self.answering.max_sequences)
            fits = all(n >= least for n, least in zip(key, self.least, strict=False))
            self.done[key] = self._simulated(*key) if fits else None
        return self.done[key]

    def _simulated(self, prompts: int, answers: int, budget: int) -> Apart:
        shares = self._shares(prompts, answers)
        columns: list[list[FloatArray]] = []
        link_busy = 0.0
        drawn = isinstance(self.question.traffic, Traffic)
        until = _all_send(shares) if drawn else math.inf
        for share, which, goes in shares:
            first = self._first_tokens(share, budget)
            sent = self._transfers(share, prompts, answers)
            send = np.where(share.output_tokens > 1, sent, 0.0)
            there = first + fifo_waits(first, send) + send
            span = float(first[-1] - share.arrival_s[0])
            link_busy += float(send.sum()) / span / len(shares)
            mine = (goes >= 0) & (share.arrival_s <= until)
            parts = (share.arrival_s, share.prompt_tokens, share.output_tokens, first, there)
            beside = self.asking.beside(share)
            columns.append([part[mine].astype(float) for part in (*parts, which, goes, beside)])
        arrival, prompt, output, first, there, which, goes, beside = (
            np.concatenate(column) for column in zip(*columns, strict=True)
        )
        last = np.array(first)
        for replica in np.unique(goes):
            own = np.flatnonzero((goes == replica) & (output > 1))
            own = own[np.argsort(there[own], kind="stable")]
            if own.size:
                asked = Workload(there[own], prompt[own] + 1, output[own] - 1, prompt[own])
                last[own] = simulate(asked, self.answering).completion_s
        later = np.where(output > 1, output - 1, np.nan)
        order = np.argsort(arrival, kind="stable")[int(WARM_UP * drawn * arrival.size) :]
        ttft = (first - arrival + beside)[order]
        tpot = ((last - first) / later)[order]
        got = RequestTimes(ttft, tpot, (output - 1)[order])
        hourly = self.question.usd_apart(prompts, answers)
        return Apart(
            prompts,
            answers,
            budget,
            *self.fleet.judged(got, which[order].astype(np.int64)),
            float((there - first)[output > 1].mean()),
            link_busy,
            order.size,
            hourly,
            float(cost_per_million(hourly, self.fleet.tokens_per_s)),
        )

    def first_in_time(self, prompts: int, budget: int) -> bool:
        """Whether TTFT of every class is kept by so many prompt replicas, of which one is
        simulated."""
        traffic, size = self.question.traffic, self.question.requests
        if isinstance(traffic, Workload):
            shares, warm = shares_of_trace(self._rng(), traffic, prompts, size), 0.0
            which = np.zeros(sum(share.arrival_s.size for share in shares), dtype=np.int64)
        else:
            which = drawn_classes(self._rng(1, 0), traffic, size)
            share = share_of_traffic(self._rng(2, 0), traffic, prompts, size, which)
            shares, warm = [self.fleet.within(share, self.longest)], WARM_UP
        late = np.concatenate(
            [
                self._first_tokens(share, budget) - share.arrival_s + self.asking.beside(share)
                for share in shares
            ]
        )
        counts = np.arange(late.size) >= warm * late.size
        return self._in_time(late[counts], which[counts])

    def _alone_in_time(self, budget: int) -> bool:
        """Whether TTFT of every class is kept where no prompt meets another."""
        asked = self.fleet.sample
        engine = replace(self.asking.engine, token_budget=budget, max_sequences=1)
        late = closed_form_alone(asked, engine)[0] + self.asking.beside(asked)
        return self._in_time(late, self.fleet.which)

    def _in_time(self, late: FloatArray, which: IntArray) -> bool:
        return all(
            float(np.quantile(late[which == place], goal.share)) <= goal.limit
            for place, promise in enumerate(self.fleet.goals)
            for goal in promise
            if goal.metric == "ttft"
        )

    def fewest(self) -> Apart:
        """The fewest prompt replicas that keep TTFT, at the token budget that needs fewest, and
        the fewest answer replicas that then keep the rest. Raises Infeasible beyond 100,000."""
        tried = []
        for place, budget in enumerate(self.fleet.budgets):
            if self._alone_in_time(budget):
                kept = functools.partial(self.first_in_time, budget=budget)
                prompts = _smallest(kept, self.least[0], MOST_REPLICAS)
                if prompts <= MOST_REPLICAS:
                    tried.append((prompts, place, budget))
                if prompts == self.least[0]:
                    break  # no other budget needs fewer
        if not tried:
            raise Infeasible(f"no {MOST_REPLICAS:,} replicas for prompts alone keep TTFT")
        prompts, _, budget = min(tried)
        most = IDLE * self.least[1]
        kept = functools.partial(self._later_in_time, prompts, budget=budget)
        answers = _smallest(kept, self.least[1], most)
        if answers > most:
            prompts = self._more_prompts(prompts, most, budget)
            kept = functools.partial(self._later_in_time, prompts, budget=budget)
            answers = _smallest(kept, self.least[1], most)
        found = self.performance(prompts, answers, budget)
        assert found is not None
        if found.replicas > MOST_REPLICAS:
            raise Infeasible(f"no two fleets of {MOST_REPLICAS:,} replicas keep the objective")
        return found

    def _more_prompts(self, prompts: int, answers: int, budget: int) -> int:
        """Prompt replicas with which so many for answers, where nobody is in another's way, keep
        what both fleets take part in. Raises Infeasible where none do, as for TPOT."""
        found = self.performance(prompts, answers, budget)
        assert found is not None
        worst = worst_shares(found.classes, self.fleet.goals)
        if worst["tpot"] <= 1:
            most, kept = IDLE * prompts, self._later_in_time
            more = _smallest(lambda n: kept(n, answers, budget), prompts, most)
            if more <= most:
                return more
        metric = decisive({name: share for name, share in worst.items() if name != "ttft"})
        pairs = [pair for one in found.classes for pair in zip(one.promise, one.got, strict=True)]
        mine = [pair for pair in pairs if pair[0].metric == metric.name]
        goal, run = max(mine, key=lambda pair: pair[1].value / pair[0].limit)
        link = min(link for _, link in self.links(prompts, answers)) / 1e9
        raise Infeasible(
            f"separate fleets keep {goal.missed}: with {answers:,} replicas for answers it is "
            f"{metric.plain(run.value, goal.limit)}, and a cache travels "
            f"{sized(found.transfer_s)} s over {link:g} GB/s"
        )

    def _later_in_time(self, prompts: int, answers: int, budget: int) -> bool:
        found = self.performance(prompts, answers, budget)
        if found is None:
            return False
        worst = worst_shares(found.classes, self.fleet.goals)
        return all(share <= 1 for name, share in worst.items() if name != "ttft")


def _all_send(shares: Sequence[tuple[Workload, IntArray, IntArray]]) -> float:
    """Until when all replicas for prompts have requests [s]."""
    return min(float(share.arrival_s[-1]) for share, *_ in shares)


def _fleets_of(question: Question, metric: str, slowness: float) -> Fleets:
    """Fleets of the replicas that keep one metric; where those of the other kind are unlike, only
    that one must be kept by a replica alone. metric: ttft of those for prompts, or tpot."""
    if question.prompts is None:
        return Fleets(question, slowness=slowness, longer=LONGER)
    others = [name for name in METRICS if name != metric]

    def eased(promise: Promise) -> Promise:
        return functools.reduce(lifted, others, promise)

    own = question.of_prompts() if metric == "ttft" else question
    alone = replace(
        own,
        promise=eased(own.promise),
        class_promises=tuple(map(eased, own.class_promises)),
    )
    return Fleets(alone, slowness=slowness, longer=LONGER).promising(question.goals)


def _wants_prompts(pair: SeparateFleets, run: Apart) -> bool:
    """Whether one replica more for prompts mends what is missed: it is TTFT, or a metric of both
    fleets that one more for answers would mend less."""
    goals = pair.fleet.goals
    worst = worst_shares(run.classes, goals)
    if worst["ttft"] > 1 or worst["tpot"] > 1:
        return worst["ttft"] > 1
    more = ((run.prompts + 1, run.answers), (run.prompts, run.answers + 1))
    tried = [pair.performance(*counts, run.budget) for counts in more]
    first, second = (
        max(worst_shares(one.classes, goals).values()) if one else math.inf for one in tried
    )
    return first < second


def settled_apart(question: Question, told: Told | None = None) -> Apart:
    """The smallest two fleets by the search, corrected by runs four times as long.

    question: that is asked. told: hears of every pair before it is simulated. A replica is added
    where the longer run misses TTFT or TPOT, and one is taken away where it keeps both without.
    Raises Infeasible when no two fleets keep the objectives.

    >>> from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
    >>> found = settled_apart(replace(WORKED, requests=100))
    >>> found.prompts, found.answers
    (2, 2)
    """
    found = SeparateFleets(question, told).fewest()
    long = SeparateFleets(replace(question, requests=SETTLING * question.requests), told)
    prompts, answers, budget = found.prompts, found.answers, found.budget
    while not long.first_in_time(prompts, budget):
        prompts += 1
    while prompts > long.least[0] and long.first_in_time(prompts - 1, budget):
        prompts -= 1
    goals = long.fleet.goals
    while (run := long.performance(prompts, answers, budget)) is None or not reaches(
        run.classes, goals
    ):
        more = prompts < long.least[0] or (run is not None and _wants_prompts(long, run))
        prompts, answers = (prompts + 1, answers) if more else (prompts, answers + 1)
        if prompts + answers > MOST_REPLICAS:
            raise Infeasible(f"no two fleets of {MOST_REPLICAS:,} replicas keep the objective")
    while answers > 1 and (fewer := long.performance(prompts, answers - 1, budget)):
        if not reaches(fewer.classes, goals):
            break
        run, answers = fewer, answers - 1
    pairs = ((prompts - 1, answers), (prompts, answers - 1))
    smaller = [long.performance(*pair, budget) for pair in pairs if min(pair) >= 1]
    may = any(one is not None and reaches(one.classes, goals, -1.0) for one in smaller)
    return replace(run, fewer_may_do=may)


TIGHT_TPOT_S, LOOSE_TPOT_S = 0.015, 0.1  # of the page
TIGHT = Question(LLAMA, Traffic(60.0), promised(1.0, TIGHT_TPOT_S), requests=500)
LOOSE = replace(TIGHT, promise=promised(1.0, LOOSE_TPOT_S))
FEWER_BITS = replace(TIGHT, deployment=replace(LLAMA, precision="fp8"))
WIDER = replace(TIGHT, deployment=replace(LLAMA, tensor=2))


@functools.cache
def _compared() -> list[tuple[Performance, Apart]]:
    """One fleet and two, where tokens must be steady, where they need not be, and in 8 bits."""
    asked = (TIGHT, LOOSE, FEWER_BITS)
    return [(settled(Fleets(one))[0], settled_apart(one)) for one in asked]


@functools.cache
def _wider() -> Performance:
    """One fleet of replicas of two devices each, where tokens must be steady."""
    return settled(Fleets(WIDER))[0]


def example() -> SimpleNamespace:
    """One fleet and two, where tokens must be steady, where they need not be, and split wider."""
    (one, two), (even_one, even), _ = _compared()
    return SimpleNamespace(
        apart_tpot_ms=1e3 * TIGHT_TPOT_S,
        together_usd=one.usd_per_hour,
        apart_usd=two.usd_per_hour,
        loose_tpot_ms=1e3 * LOOSE_TPOT_S,
        loose_together=even_one.replicas,
        loose_prompts=even.prompts,
        loose_answers=even.answers,
        wider_usd=_wider().usd_per_hour,
    )


def check_fleets_by_hand() -> None:
    """A lone request takes its prompt, the journey of its cache and a step for each later token.

    Source: the engine's costs for one request, and 131,072 bytes a token over the link, by hand.
    """
    size = 100
    far = np.arange(size) * 1000.0
    trace = Workload(far, np.full(size, 2000), np.full(size, 3))
    question = Question(LLAMA, trace, promised(1.0, 0.5, 0.5), requests=size)
    pair = SeparateFleets(question)
    run = pair.performance(1, 1, 2048)
    assert run is not None
    first, _ = closed_form_alone(trace, replace(pair.fleet.engine, token_budget=2048))
    ttft = float(first[0]) + float(pair.fleet.beside(trace)[0])
    checks.close("TTFT [s]", run.ttft[0].value, ttft, rtol=1e-9)
    sent = 2000 * 131_072 / LLAMA.system.link_bytes_per_s
    checks.close("journey [s]", run.transfer_s, sent, atol=1e-9)
    steps = float(closed_form_alone(trace, pair.answering)[1][0])
    checks.close("TPOT [s]", run.tpot[0].value, steps + sent / 2, rtol=0.02)


def check_steady_tokens() -> None:
    """Apart from prompts, tokens are steadier: with a tight TPOT two fleets of single devices need
    fewer than one, with a loose one more. One fleet of pairs of devices needs fewer than one of
    single ones, and more than two fleets. In 8 bits the same TPOT is no longer tight: one fleet and
    two differ by a replica, and one needs fewer than two in 16 bits. Links are as busy as the bytes
    of the prompts keep them.

    Source: `capacity_planner` on the same questions, at its best limits; 131,072 bytes a token and
    the utilization law, by hand, within three standard errors of the mean of 2,000 prompts.
    """
    tight, loose, short = ([found.replicas for found in pair] for pair in _compared())
    checks.holds("tight", tight[1] < tight[0], got=f"{tight[1]}, {tight[0]}")
    checks.holds("loose", loose[1] > loose[0], got=f"{loose[1]}, {loose[0]}")
    pairs = 2 * _wider().replicas
    checks.holds("pairs of devices", tight[1] < pairs < tight[0], got=pairs)
    checks.holds("in 8 bits", abs(short[0] - short[1]) <= 1, got=f"{short[0]}, {short[1]}")
    checks.holds("in 8 bits, over two in 16", short[0] < tight[1], got=f"{short[0]}, {tight[1]}")
    two, sent_s = _compared()[0][1], 1000 * 131_072 / LLAMA.system.link_bytes_per_s
    checks.close(
        "links, busy",
        two.link_busy,
        60 / two.prompts * sent_s,
        rtol=3 / math.sqrt(2000),
        kind="simulation",
    )
