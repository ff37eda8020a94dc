"""The fewest replicas that keep a latency objective, with the batch limit, and what binds them.

For n replicas each gets a random share of the traffic, and one replica is simulated from event to
event. Of the batch limits 1, 2, 4, … the largest that keeps TPOT is taken, because a larger one
only shortens the queue; n is the smallest for which TTFT then holds too, found by doubling and
halving. The answer rests on runs four times as long, of that fleet and of those of one replica
fewer that might do. What binds is what, if it were lifted alone, would let n − 1 do.

Assumes: TPOT rises and TTFT falls with the batch limit, both fall with n; the objective is judged
by the simulated quantile itself, whose 95% interval is given beside it; steady traffic, unless it
is a trace.

Source: `event_skipping` for the simulator; Asmussen and Glynn (2007) for intervals from sections;
Wilks (1941) for the fewest requests that say anything about a quantile; `latency_throughput_cost`
for the price of a million tokens.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics import checks
from serving_mathematics.definitions.queue_simulator import MeanEstimate, fifo_waits
from serving_mathematics.intuition.latency_throughput_cost import cost_per_million
from serving_mathematics.optimization.continuous_batching import (
    Engine,
    Served,
    Workload,
    latencies_s,
)
from serving_mathematics.optimization.event_skipping import saturated_rate, simulate
from serving_mathematics.planner.closed_form import Estimate, closed_form, work_s
from serving_mathematics.planner.presets import (
    Device,
    Model,
    coarser,
    devices,
    engine_of,
    models,
)
from serving_mathematics.planner.traffic import Traffic, share_of_traffic, shares_of_trace
from serving_mathematics.require import require, require_in, require_non_negative_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
Told = Callable[[int, int], object]  # gets replicas and batch limit before they are simulated
QUANTILES = (0.5, 0.9, 0.99)
SECTIONS = 10  # consecutive parts of a run, for intervals
STUDENT_T_975_DF9 = 2.2621571628  # 97.5% point of Student's t, SECTIONS − 1 degrees (scipy)
WARM_UP = 0.1  # share of a simulated run that is left out, as the replica starts empty
SETTLING = 4  # times as long are the runs on which the answer rests
WIDER = (2, 4, 8)  # times the token budget, tried when it is what binds
MOST_REPLICAS = 100_000
UNLIMITED = 2**40  # blocks, or seconds


class Infeasible(ValueError):
    """No number of replicas keeps the objective; the message says why."""


@dataclass(frozen=True)
class Objective:
    """Latencies that the given quantile must keep. Raises ValueError on what is not positive.

    >>> Objective(ttft_s=1.0, tpot_s=0.05).quantile
    0.99
    """

    ttft_s: float
    tpot_s: float
    quantile: float = 0.99

    def __post_init__(self) -> None:
        """Refuse what is not an objective."""
        for name in ("ttft_s", "tpot_s"):
            require(getattr(self, name) > 0, name, "positive", getattr(self, name))
        require_in("(0, 1)", quantile=self.quantile)


@dataclass(frozen=True, eq=False)
class Question:
    """What is to be planned; the ranges are those of the functions that it is handed to.

    >>> from serving_mathematics.planner.traffic import Traffic
    >>> from serving_mathematics.planner.presets import devices, models
    >>> question = Question(models()["Llama-3-8B"], devices()["A100-80GB"], Traffic(5.0),
    ...                     Objective(1.0, 0.05))
    >>> question.devices, question.efficiency
    (1, 0.7)
    """

    model: Model
    device: Device
    traffic: Traffic | Workload  # or a trace, from `traced_requests`
    objective: Objective
    price_per_hour: float = 2.0  # of a device
    devices: int = 1  # that a replica spans
    efficiency: float = 0.7  # share of the device's peaks
    memory_share: float = 0.9  # for weights and cache
    token_budget: int = 512  # tokens in a step
    batch_limit: int = 256  # sequences in a step, at most
    requests: int = 8000  # that are simulated in the search
    seed: int = 0
    reserved_bytes: float = 4.0 * 2**30  # of a device, for activations and libraries [B]


@dataclass(frozen=True)
class Quantile:
    """A simulated quantile and the half-width of its 95% interval [s]."""

    value: float
    half_width: float


@dataclass(frozen=True)
class Performance:
    """One replica of n with a batch limit, simulated, and by the closed form."""

    replicas: int
    places: int  # batch limit
    ttft: tuple[Quantile, ...]  # at QUANTILES
    tpot: tuple[Quantile, ...]
    ttft_at_objective: Quantile
    tpot_at_objective: Quantile
    busy: float  # share of time in which a step runs
    concurrency: float  # mean number of requests admitted
    held_tokens: float  # mean tokens in the cache
    preempted: float  # preemptions per request
    simulated: int  # requests that count
    estimate: Estimate
    usd_per_hour: float  # of the fleet
    usd_per_million: float  # generated tokens


@dataclass(frozen=True)
class Plan:
    """The answer: fewest replicas, what they do, what binds, and what would change it."""

    best: Performance
    binding: tuple[str, ...]  # constraints, any of which alone stands in the way of n − 1; of
    # the quantized fleet, none are looked for
    one_fewer: Performance | None  # the best batch limit of n − 1; None when it is overloaded
    one_fewer_may_do: bool  # at a batch limit that was tried, for all that the intervals say
    wider: tuple[int, int] | None  # a larger token budget, and the replicas that then do
    one_more: Performance
    quantized: Plan | None  # the smallest fleet after one step of quantization
    quantized_bits: tuple[int, int] | None  # of weights and cache
    engine: Engine  # of a replica
    rate_per_s: float  # of the whole fleet
    own_s: tuple[float, float]  # arithmetic and cache reading of a mean request


def sectioned_quantile(values: npt.ArrayLike, quantile: float) -> Quantile:
    """A quantile of a series in order of time, with a 95% interval from ten consecutive sections.

    values: shape (n,), n ≥ 20; NaN are left out. quantile: in (0, 1). Two errors are formed, and
    the larger counts: the scatter of the sections' own quantiles, over √10; and the scatter of the
    sections' shares below the quantile, over √10, as a distance between quantiles of the whole. The
    first misses crowds that only some sections have, the second a jump right at the quantile.
    Raises ValueError outside these ranges.

    >>> sectioned_quantile(np.tile([1.0, 2.0, 3.0], 20), 0.5)
    Quantile(value=2.0, half_width=0.0)
    """
    series = np.asarray(values, dtype=float)
    require(series.ndim == 1, "values", "one-dimensional", series.shape)
    series = series[~np.isnan(series)]
    require(series.size >= 2 * SECTIONS, "values", f"at least {2 * SECTIONS}", series.size)
    require_in("(0, 1)", quantile=quantile)
    whole = float(np.quantile(series, quantile))
    sections = np.array_split(series, SECTIONS)
    own = np.array([np.quantile(part, quantile) for part in sections])
    below = np.array([np.mean(part <= whole) for part in sections])
    scatter = math.sqrt(float(((own - whole) ** 2).sum()) / (SECTIONS - 1) / SECTIONS)
    share = STUDENT_T_975_DF9 * float(below.std(ddof=1)) / math.sqrt(SECTIONS)
    low, high = np.quantile(series, [max(0.0, quantile - share), min(1.0, quantile + share)])
    return Quantile(
        whole, max(STUDENT_T_975_DF9 * scatter, float(high) - whole, whole - float(low))
    )


def requests_to_judge(quantile: float) -> int:
    """Fewest independent requests of which the slowest is beyond the quantile in 95 of 100 runs.

    quantile: q in (0, 1). Returns ⌈ln 0.05 / ln q⌉; with fewer, a run in which every request keeps
    the objective does not show that the quantile does. Raises ValueError outside this range.
    Source: Wilks (1941).

    >>> requests_to_judge(0.99)
    299
    """
    require_in("(0, 1)", quantile=quantile)
    return math.ceil(math.log(0.05) / math.log(quantile))


class Fleet:
    """Fleets of any size for one question, each simulated once. Raises ValueError when the weights
    do not fit, Infeasible when the longest request does not, or an idle replica is too slow.

    >>> from serving_mathematics.planner.traffic import Traffic
    >>> from serving_mathematics.planner.presets import devices, models
    >>> question = Question(models()["Llama-3-8B"], devices()["A100-80GB"], Traffic(5.0),
    ...                     Objective(4.0, 0.5), requests=100)
    >>> Fleet(question).performance(1, 4) is None  # four places are not enough for 5/s
    True
    """

    def __init__(
        self, question: Question, unlimited_memory: bool = False, told: Told | None = None
    ) -> None:
        """Prepare the engine and a sample of the requests."""
        self.question, self.told = question, told
        require(question.requests >= 100, "requests", "at least 100", question.requests)
        self._refuse_few()
        limit, budget = question.batch_limit, question.token_budget
        require(1 <= limit <= budget, "batch_limit", f"from 1 to token_budget = {budget}", limit)
        engine = engine_of(
            question.model,
            question.device,
            question.devices,
            question.efficiency,
            question.memory_share,
            budget,
            limit,
            question.reserved_bytes,
        )
        self.engine = replace(engine, kv_blocks=UNLIMITED) if unlimited_memory else engine
        traffic = question.traffic
        if isinstance(traffic, Workload):
            self.sample, span = traffic, float(traffic.arrival_s[-1] - traffic.arrival_s[0])
            self.rate_per_s, self.scv = (traffic.arrival_s.size - 1) / span, 1.0
            mean_output = float(traffic.output_tokens.mean())
        else:
            self.sample = share_of_traffic(self._rng(), traffic, 1, question.requests)
            self.rate_per_s, self.scv = traffic.rate_per_s, traffic.arrival_scv
            mean_output = traffic.mean_output_tokens
        self.tokens_per_s = self.rate_per_s * mean_output  # generated
        arithmetic, reading = work_s(self.sample, self.engine)
        self.own_s = float(arithmetic.mean()), float(reading.mean())
        self.done: dict[tuple[int, int], Performance | None] = {}
        self._refuse_impossible()

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self.question.seed)

    def _refuse_few(self) -> None:
        """Too few requests to say anything about the objective's quantile, at any speed."""
        question, at = self.question, self.question.objective.quantile
        least, name = requests_to_judge(at), f"p{100 * at:g}"
        if isinstance(question.traffic, Workload):
            size = question.traffic.arrival_s.size
            require(size >= least, "the trace", f"at least {least:,} requests for {name}", size)
            return
        enough = math.ceil(least / SETTLING / (1 - WARM_UP))
        require(
            question.requests >= enough,
            "requests",
            f"at least {enough:,} to say anything about {name}",
            question.requests,
        )

    def _refuse_impossible(self) -> None:
        asked, engine, goal = self.sample, self.engine, self.question.objective
        longest = int((asked.prompt_tokens + asked.output_tokens).max()) - 1
        room = engine.kv_blocks * engine.block_tokens
        if longest > room:
            raise Infeasible(
                f"no fleet holds the longest request: {longest:,} tokens, where the KV memory of a "
                f"replica holds {room:,}"
            )
        prompts, later = asked.prompt_tokens, asked.output_tokens - 1
        ttft = engine.step_s * -(-prompts // engine.token_budget)
        ttft = ttft + engine.prefill_token_s * prompts
        tpot = engine.context_token_s * (prompts + (later + 1) / 2)[later > 0]
        tpot = tpot + engine.step_s + engine.decode_token_s
        for name, alone, limit in (("TTFT", ttft, goal.ttft_s), ("TPOT", tpot, goal.tpot_s)):
            least = float(np.quantile(alone, goal.quantile)) if alone.size else 0.0
            if least > limit:
                raise Infeasible(
                    f"no fleet keeps a {name} of {limit:g} s at p{100 * goal.quantile:g}: "
                    f"a replica without other requests takes {least:.3g} s"
                )

    def performance(self, replicas: int, places: int) -> Performance | None:
        """What a replica of so many does with a batch limit; None when it is overloaded."""
        key = (replicas, places)
        if key not in self.done:
            if self.told:
                self.told(replicas, places)
            self.done[key] = self._simulated(replicas, places)
        return self.done[key]

    def _simulated(self, replicas: int, places: int) -> Performance | None:
        question, engine = self.question, replace(self.engine, max_sequences=places)
        rate = self.rate_per_s / replicas
        asked = self.sample
        if rate >= saturated_rate(asked.prompt_tokens, asked.output_tokens, engine):
            return None
        scv = 1 + (self.scv - 1) / replicas
        estimate = closed_form(asked, rate, engine, QUANTILES, scv)
        if isinstance(question.traffic, Workload):
            shares = shares_of_trace(self._rng(), asked, replicas, question.requests)
            warm = 0.0
        else:
            shares = [share_of_traffic(self._rng(), question.traffic, replicas, question.requests)]
            warm = WARM_UP
        runs = [(share, simulate(share, engine)) for share in shares]
        times = np.concatenate([share.arrival_s for share, _ in runs])
        order = np.argsort(times, kind="stable")[int(warm * times.size) :]
        both = [latencies_s(share, served) for share, served in runs]
        ttft, tpot = (np.concatenate([pair[i] for pair in both])[order] for i in (0, 1))
        if np.isfinite(tpot).sum() < 2 * SECTIONS:
            tpot = np.zeros_like(ttft)  # nobody asks for a second token
        at = question.objective.quantile
        span = sum(float(s.completion_s.max() - share.arrival_s[0]) for share, s in runs)
        inside = sum(float((s.completion_s - s.admitted_s).sum()) for _, s in runs)
        held = sum(_token_seconds(share, served) for share, served in runs)
        hourly = question.price_per_hour * question.devices * replicas
        return Performance(
            replicas,
            places,
            tuple(sectioned_quantile(ttft, q) for q in QUANTILES),
            tuple(sectioned_quantile(tpot, q) for q in QUANTILES),
            sectioned_quantile(ttft, at),
            sectioned_quantile(tpot, at),
            sum(s.busy_s for _, s in runs) / span,
            inside / span,
            held / span,
            sum(int(s.preemptions.sum()) for _, s in runs) / times.size,
            order.size,
            estimate,
            hourly,
            float(cost_per_million(hourly, self.tokens_per_s)),
        )

    def keeps(self, found: Performance | None, goal: Objective | None = None) -> bool:
        """Whether both quantiles keep the objective."""
        goal = goal or self.question.objective
        return (
            found is not None
            and found.ttft_at_objective.value <= goal.ttft_s
            and found.tpot_at_objective.value <= goal.tpot_s
        )

    def may_keep(self, found: Performance | None, widths: float = 1.0) -> bool:
        """Whether the intervals of both quantiles, so many times as wide, reach into the
        objective."""
        goal = self.question.objective
        return found is not None and all(
            run.value - widths * run.half_width <= limit
            for run, limit in (
                (found.ttft_at_objective, goal.ttft_s),
                (found.tpot_at_objective, goal.tpot_s),
            )
        )

    def best_limit(self, replicas: int, goal: Objective | None = None) -> Performance | None:
        """The performance with the largest batch limit that keeps TPOT, or with the largest of all
        that do not overload it when none does; None when all overload it."""
        goal = goal or self.question.objective
        top = self.question.batch_limit
        limits = [*(2**k for k in range(top.bit_length()) if 2**k < top), top]
        found = self.performance(replicas, top)
        if found is None or found.tpot_at_objective.value <= goal.tpot_s:
            return found
        low, high = -1, len(limits) - 1  # low: keeps TPOT, or overloads, or none
        while high - low > 1:
            middle = (low + high) // 2
            trial = self.performance(replicas, limits[middle])
            if trial is None or trial.tpot_at_objective.value <= goal.tpot_s:
                low = middle
            else:
                high = middle
        kept = self.performance(replicas, limits[low]) if low >= 0 else None
        return kept or found

    def fewest(self) -> Performance:
        """The smallest fleet that keeps the objective. Raises Infeasible beyond 100,000."""
        low = max(0, math.ceil(self.rate_per_s * sum(self.own_s)) - 1)  # overloaded, or none
        step, high = 1, low + 1
        while high <= MOST_REPLICAS and not self.keeps(self.best_limit(high)):
            low, step = high, 2 * step
            high = low + step
        if high > MOST_REPLICAS:
            raise Infeasible(f"no fleet of up to {MOST_REPLICAS:,} replicas keeps the objective")
        while high - low > 1:
            middle = (low + high) // 2
            if self.keeps(self.best_limit(middle)):
                high = middle
            else:
                low = middle
        found = self.best_limit(high)
        assert found is not None
        return found

    def near(self, replicas: int) -> list[int]:
        """Batch limits, largest first, at which so many replicas might do: intervals of twice
        their width reach into the objective. Of limits that are never reached, the largest."""
        self.best_limit(replicas)
        runs = sorted(
            (run for (count, _), run in self.done.items() if count == replicas and run),
            key=lambda run: -run.places,
        )
        different = {(run.ttft, run.tpot): run for run in reversed(runs)}.values()
        return [run.places for run in runs if run in different and self.may_keep(run, 2.0)]


def settled(fleet: Fleet) -> tuple[Performance, Fleet]:
    """The smallest fleet by the search, corrected by longer runs; and the longer runs.

    fleet: of the question. The fleet that the search found is simulated again with four times the
    requests, and so are those of one replica fewer whose intervals do not exclude them, until the
    longer runs agree. Raises Infeasible beyond 100,000 replicas.

    >>> from serving_mathematics.planner.traffic import Traffic
    >>> from serving_mathematics.planner.presets import devices, models
    >>> question = Question(models()["Llama-3-8B"], devices()["A100-80GB"], Traffic(5.0),
    ...                     Objective(0.6, 0.5), requests=200)
    >>> settled(Fleet(question))[0].simulated  # 4·200 without the first tenth
    720
    """
    question = fleet.question
    long = Fleet(replace(question, requests=SETTLING * question.requests), told=fleet.told)
    best = fleet.fewest()
    found = long.performance(best.replicas, best.places)
    replicas = best.replicas
    while not long.keeps(found):  # chance let the search stop too early
        replicas += 1
        if replicas > MOST_REPLICAS:
            raise Infeasible(f"no fleet of up to {MOST_REPLICAS:,} replicas keeps the objective")
        found = long.best_limit(replicas)
    while replicas > 1:
        below = replicas - 1
        runs = [long.performance(below, places) for places in fleet.near(below)]
        if fleet.keeps(fleet.best_limit(below)):  # by the short runs: ask for every limit again
            runs.append(long.best_limit(below))
        kept = [run for run in runs if long.keeps(run)]
        if not kept:
            break
        replicas, found = below, kept[0]
    assert found is not None
    return found, long


def _token_seconds(share: Workload, served: Served) -> float:
    """What requests hold of the cache, the answer half of its life, over all of them [token·s]."""
    whole = (served.completion_s - served.admitted_s) @ share.prompt_tokens
    return float(whole + (served.completion_s - served.first_token_s) @ share.output_tokens / 2)


def binding_constraints(fleet: Fleet, replicas: int) -> tuple[str, ...]:
    """What stands in the way of a fleet that is too small: every constraint that, lifted alone,
    would let it keep the objective.

    fleet: of the question. replicas: 0 says that one is the least there is. When the tokens' own
    work overloads the replicas the name is that of the larger part, arithmetic or memory bandwidth.

    >>> from serving_mathematics.planner.traffic import Traffic
    >>> from serving_mathematics.planner.presets import devices, models
    >>> question = Question(models()["Llama-3-8B"], devices()["A100-80GB"], Traffic(50.0),
    ...                     Objective(4.0, 0.5), requests=200)
    >>> binding_constraints(Fleet(question), 1)
    ('arithmetic',)
    """
    require_non_negative_integer(replicas=replicas)
    if replicas == 0:
        return ("one replica is the least",)
    arithmetic, reading = fleet.own_s
    if fleet.rate_per_s / replicas * (arithmetic + reading) >= 1:
        return ("arithmetic",) if arithmetic >= reading else ("memory bandwidth",)
    question, goal = fleet.question, fleet.question.objective
    names = []
    for name, other, other_goal in (
        ("TTFT objective", fleet, replace(goal, ttft_s=math.inf)),
        ("TPOT objective", fleet, replace(goal, tpot_s=math.inf)),
        ("KV memory", None, goal),
        ("batch limit", None, goal),
        ("token budget", None, goal),
    ):
        if name == "KV memory":
            other = Fleet(question, unlimited_memory=True, told=fleet.told)
        elif name == "batch limit":
            most = min(8 * question.batch_limit, question.token_budget)
            if most == question.batch_limit:
                continue
            other = Fleet(replace(question, batch_limit=most), told=fleet.told)
        elif name == "token budget":
            wider = replace(question, token_budget=8 * question.token_budget)
            other = Fleet(wider, told=fleet.told)
        assert other is not None
        if other.keeps(other.best_limit(replicas, other_goal), other_goal):
            names.append(name)
    return tuple(names) or ("TTFT and TPOT objectives together",)


def plan(question: Question, alternatives: bool = True, told: Told | None = None) -> Plan:
    """The smallest fleet for a question, what binds it, and what one replica more, one fewer or one
    step of quantization would change.

    alternatives: whether to look for the quantized fleet too. told: hears of every fleet before it
    is simulated. Raises Infeasible when no fleet keeps the objective, ValueError on input outside
    the ranges.

    >>> from serving_mathematics.planner.traffic import Traffic
    >>> from serving_mathematics.planner.presets import devices, models
    >>> question = Question(models()["Llama-3-8B"], devices()["A100-80GB"], Traffic(5.0),
    ...                     Objective(0.6, 0.5), requests=200)
    >>> plan(question, alternatives=False).best.replicas
    4
    """
    return _plan(question, alternatives, True, told)


def _plan(question: Question, alternatives: bool, binds: bool, told: Told | None) -> Plan:
    """A plan; `binds`: whether to ask for what binds it."""
    fleet = Fleet(question, told=told)
    best, long = settled(fleet)
    below = best.replicas - 1
    fewer = fleet.best_limit(below) if below else None
    more = fleet.best_limit(best.replicas + 1)
    assert more is not None
    binding = _binding(fleet, long, below) if binds else ()
    smaller = coarser(question.model) if alternatives else None
    quantized = None
    if smaller:
        quantized = _plan(replace(question, model=smaller), False, False, told)
    tried = [run for (count, _), run in long.done.items() if count == below]
    if fewer:
        fewer = long.done.get((below, fewer.places)) or fewer
    return Plan(
        best,
        binding,
        fewer,
        any(long.may_keep(run) for run in tried),
        _wider_budget(question, best.replicas, told) if "token budget" in binding else None,
        more,
        quantized,
        (smaller.weight_bits, smaller.cache_bits) if smaller else None,
        fleet.engine,
        fleet.rate_per_s,
        fleet.own_s,
    )


def _binding(fleet: Fleet, long: Fleet, replicas: int) -> tuple[str, ...]:
    """What binds; by the longer runs where the search's run of the smaller fleet keeps the
    objective by chance."""
    by_chance = replicas > 0 and fleet.keeps(fleet.best_limit(replicas))
    return binding_constraints(long if by_chance else fleet, replicas)


def _wider_budget(question: Question, replicas: int, told: Told | None) -> tuple[int, int] | None:
    """The larger token budget with the fewest replicas, the smallest of equals, and how many; None
    when none saves a replica."""
    best = None
    for times in WIDER:
        budget = times * question.token_budget
        wider = Fleet(replace(question, token_budget=budget), told=told)
        count = wider.fewest().replicas
        if count < (best[1] if best else replicas):
            best = budget, count
    return best


WORKED_TRAFFIC = Traffic(20.0)  # requests a second, of 1,000 tokens in and 250 out on average
WORKED = Question(
    models()["Llama-3-8B"],
    devices()["A100-80GB"],
    WORKED_TRAFFIC,
    Objective(ttft_s=1.0, tpot_s=0.05),
)


@functools.cache
def _worked() -> tuple[Fleet, Plan]:
    """The worked example, once."""
    return Fleet(WORKED), plan(WORKED)


def time_shares(found: Plan) -> tuple[float, float, float]:
    """Shares of a replica's busy time: reading weights, arithmetic, reading the cache.

    found: a plan. The closed form's: own work is certain, the rest of the time reads weights.

    >>> from serving_mathematics.planner.capacity_planner import Objective, Question, plan
    >>> from serving_mathematics.planner.traffic import Traffic
    >>> from serving_mathematics.planner.presets import devices, models
    >>> question = Question(models()["Llama-3-8B"], devices()["A100-80GB"], Traffic(5.0),
    ...                     Objective(0.6, 0.5), requests=200)
    >>> round(sum(time_shares(plan(question, alternatives=False))), 9)
    1.0
    """
    arithmetic, reading = found.own_s
    rate, busy = found.rate_per_s / found.best.replicas, found.best.busy
    arithmetic, reading = (min(1.0, rate * own / busy) for own in (arithmetic, reading))
    return 1 - arithmetic - reading, arithmetic, reading


def example() -> SimpleNamespace:
    """Numbers of the worked example that the text quotes, in the units that the names say."""
    fleet, found = _worked()
    best, engine, fewer = found.best, found.engine, found.one_fewer
    assert fewer is not None
    longer = Fleet(replace(WORKED, requests=SETTLING * WORKED.requests))
    near = longer.performance(fewer.replicas, WORKED.batch_limit)
    assert near is not None
    assert found.quantized is not None
    memory_tokens = engine.kv_blocks * engine.block_tokens
    own_s = sum(found.own_s)
    saved = 1 - found.quantized.best.usd_per_million / best.usd_per_million
    return SimpleNamespace(
        p99_requests=requests_to_judge(0.99),
        rate=fleet.rate_per_s,
        prompt_tokens=WORKED_TRAFFIC.mean_prompt_tokens,
        output_tokens=WORKED_TRAFFIC.mean_output_tokens,
        ttft_goal_s=WORKED.objective.ttft_s,
        tpot_goal_ms=1e3 * WORKED.objective.tpot_s,
        efficiency_percent=100 * WORKED.efficiency,
        price=WORKED.price_per_hour,
        step_ms=1e3 * engine.step_s,
        token_us=1e6 * engine.decode_token_s,
        context_ns=1e9 * engine.context_token_s,
        prefill_rate=1 / engine.prefill_token_s,
        memory_gib=memory_tokens * WORKED.model.token_bytes / 2**30,
        memory_tokens=memory_tokens,
        requests_simulated=WORKED.requests,
        requests_counted=best.simulated,
        own_ms=1e3 * own_s,
        slowdown=1 / (1 - fleet.rate_per_s / best.replicas * own_s),
        load_percent=100 * best.estimate.load,
        busy_percent=100 * best.busy,
        fewer_count=fewer.replicas,
        fewer_places=fewer.places,
        fewer_ttft_s=fewer.ttft[2].value,
        near_tpot_ms=1e3 * near.tpot[2].value,
        near_tpot_error_ms=1e3 * near.tpot[2].half_width,
        most_places=near.places,
        quantized_count=found.quantized.best.replicas,
        saved_percent=100 * saved,
        closed_rows="\n".join(_closed_row(fleet, n) for n in (10, 6, 4, 3)),
    )


def _closed_row(fleet: Fleet, replicas: int) -> str:
    """By how much the closed form differs from the simulation, as a row of the page's table."""
    run = fleet.performance(replicas, WORKED.batch_limit)
    assert run is not None
    told = run.estimate
    pairs = [(told.concurrency, run.concurrency), (told.tpot_s, run.tpot[0].value)]
    pairs += [(told.ttft_s[i], run.ttft[i].value) for i in range(len(QUANTILES))]
    errors = [f"{100 * (closed / got - 1):+.0f}%".replace("-", "−") for closed, got in pairs]
    return f"| {replicas} | {100 * told.load:.0f}% | {' | '.join(errors)} |"


def figure_replicas(figure: Figure) -> None:
    """Too few replicas miss both objectives; beyond the smallest fleet that keeps them, latency
    falls slowly and the price of a token rises in proportion.

    The worked example, each fleet with the batch limit that keeps TPOT where there is one: with one
    replica fewer that limit is so low that TTFT misses. Points are simulated, with 95% intervals;
    lines are the closed form.

    Alt: Three charts against the number of replicas from 3 to 10. The p99 of TTFT falls from 14
    seconds at three replicas to 1.4 at four, is 2.8 at five, where the batch limit is low, 0.8 at
    six and 0.6 at ten; the objective is 1 second. The p99 of TPOT falls from 62 to 27 milliseconds,
    below its objective of 50 from five on. Dollars per million tokens rise in a straight line from
    0.33 to 1.11; the point of the smallest fleet, six replicas, is marked.
    """
    fleet, found = _worked()
    figure.set_size_inches(5.8, 6.2)
    panels = figure.subplots(3, 1, sharex=True)
    runs = [run for n in range(3, 11) if (run := fleet.best_limit(n))]
    counts = [run.replicas for run in runs]
    goal, best = fleet.question.objective, found.best
    for axes, scale, pick, closed, limit, label in (
        (panels[0], 1, "ttft", [r.estimate.ttft_s[2] for r in runs], goal.ttft_s, "TTFT [s]"),
        (panels[1], 1e3, "tpot", [r.estimate.tpot_s for r in runs], goal.tpot_s, "TPOT [ms]"),
    ):
        values = [getattr(run, pick)[2] for run in runs]
        axes.errorbar(
            counts,
            [scale * v.value for v in values],
            [scale * v.half_width for v in values],
            fmt="o",
            color="C0",
        )
        axes.plot(counts, [scale * value for value in closed], color="C1")
        axes.axhline(scale * limit, color="C3", linestyle=":", linewidth=1.4)
        axes.set(ylabel=f"p99 of {label}" if pick == "ttft" else label, xlabel="replicas")
    panels[0].set_yscale("log")
    panels[0].set_yticks([0.3, 1, 3, 10], ["0.3", "1", "3", "10"])
    panels[0].minorticks_off()
    panels[0].annotate("objective", (10, goal.ttft_s * 1.1), color="C3", ha="right", va="bottom")
    panels[0].annotate("closed form", (7, 0.5), color="C1", ha="left", va="top")
    panels[0].set(ylim=(0.2, 25))
    panels[1].annotate("simulated p99", (7.1, 36), color="C0", va="bottom")
    panels[1].annotate("closed form, mean", (7, 12), color="C1", va="top")
    panels[1].set(ylim=(0, 70))
    panels[2].plot(counts, [run.usd_per_million for run in runs], "o", color="C0")
    panels[2].plot(best.replicas, best.usd_per_million, "o", color="C5", markersize=9)
    panels[2].annotate(
        f"smallest that keeps both:\n{best.replicas} replicas, ${best.usd_per_million:.2f}",
        (best.replicas, best.usd_per_million),
        xytext=(10, -4),
        textcoords="offset points",
        color="C5",
        va="top",
    )
    panels[2].set(ylim=(0, 1.3), xlabel="replicas", ylabel="price [$/10⁶ tokens]")


def check_smallest_fleet() -> None:
    """The plan keeps both objectives, and no fleet of one replica fewer does, at any batch limit.

    Source: all batch limits 1, 2, 4, …, 256 for one replica fewer, one after the other.
    """
    fleet, found = _worked()
    checks.holds("the plan keeps both", fleet.keeps(found.best), got=found.best.replicas)
    fewer = found.best.replicas - 1
    kept = [2**k for k in range(9) if fleet.keeps(fleet.performance(fewer, 2**k))]
    checks.equal("limits at which one fewer keeps them", kept, [])


def check_more_replicas_are_faster() -> None:
    """Every replica more lowers p99 of TTFT and of TPOT.

    Source: theory of the share of traffic, λ/n; fleets of 3 to 10.
    """
    fleet, _ = _worked()
    runs = [run for n in range(3, 11) if (run := fleet.performance(n, 256))]
    for name in ("ttft", "tpot"):
        values = [getattr(run, name)[2].value for run in runs]
        checks.holds(
            f"{name} falls", bool(np.all(np.diff(values) < 0)), got=np.round(values, 3).tolist()
        )


def check_one_place_is_a_queue() -> None:
    """With one place a replica is a queue with one server: TTFT is wait plus prefill, and the share
    of busy time is λS.

    Source: `fifo_waits` on the same requests; the utilization law.
    """
    traffic = Traffic(0.5, mean_prompt_tokens=100.0, mean_output_tokens=50.0)
    question = replace(WORKED, traffic=traffic, token_budget=4096, batch_limit=1, requests=4000)
    fleet = Fleet(question)
    found = fleet.performance(1, 1)
    assert found is not None
    asked, engine = fleet.sample, fleet.engine
    service = engine.step_s * asked.output_tokens + np.add(*work_s(asked, engine))
    first = engine.step_s + engine.prefill_token_s * asked.prompt_tokens
    ttft = (fifo_waits(asked.arrival_s, service) + first)[400:]
    for quantile, got in zip(QUANTILES, found.ttft, strict=True):
        expected = float(np.quantile(ttft, quantile))
        checks.close(f"TTFT at p{100 * quantile:g} [s]", got.value, expected, atol=1e-9)
    error = float(service.std() / service.mean()) * 0.5 * service.mean() / math.sqrt(2000)
    estimate = MeanEstimate(found.busy, error, 0.0)
    checks.covers("busy share", estimate, 0.5 * float(service.mean()))


def check_intervals_hold_the_quantile() -> None:
    """Intervals from ten sections hold the true p90 in 93 to 98 of 100 cases where requests do not
    depend on one another.

    Source: 400 series of 2,000 independent exponentials, whose p90 is ln 10; a share near 0.95 of
    400 has a standard error of 0.011. Dependent requests, of the engine: `planner_coverage`.
    """
    rng = np.random.default_rng(12)
    runs = [sectioned_quantile(rng.exponential(1.0, 2000), 0.9) for _ in range(400)]
    inside = float(np.mean([abs(run.value - math.log(10)) <= run.half_width for run in runs]))
    checks.inside("share of intervals", inside, 0.93, 0.98)


def check_binding_constraints_by_construction() -> None:
    """Questions made to be bound by one thing name it.

    Source: a memory of 60 blocks where everything else is ample; one place; objectives loose but
    for one; a rate above what the arithmetic allows.
    """
    few = Traffic(6.0, mean_prompt_tokens=100.0, mean_output_tokens=100.0)
    small = Model("small", 1e9, 32, 8, 128)
    roomy = Device("roomy", 1e15, 1e12, 100e9)
    loose = Objective(2.0, 1.0, 0.9)
    question = Question(small, roomy, few, loose, requests=400, reserved_bytes=0.0)
    tight = replace(roomy, memory_bytes=(2e9 + 60 * 16 * 131_072) / 0.9)
    for name, asked in (
        ("KV memory", replace(question, device=tight, traffic=replace(few, rate_per_s=40.0))),
        ("batch limit", replace(question, batch_limit=1)),
        ("arithmetic", replace(question, device=replace(roomy, peak_flops=1e12))),
        ("TPOT objective", replace(question, objective=replace(loose, tpot_s=0.00315))),
    ):
        checks.equal(name, name in binding_constraints(Fleet(asked), 1), True)


def check_price_by_hand() -> None:
    """Six replicas of $2 an hour over 20 requests a second of 250 tokens: two thirds of a dollar.

    Source: 10⁶·12/(3600·20·250) = 2/3 by hand; the requests drawn have a mean of 250 within three
    standard errors, 250/√8000 each.
    """
    fleet, found = _worked()
    expected = found.best.replicas / 9
    checks.close("$ for 10⁶ tokens", found.best.usd_per_million, expected, rtol=1e-12)
    mean = float(fleet.sample.output_tokens.mean())
    checks.close("mean length", mean, 250, atol=3 * 250 / math.sqrt(8000))


def check_fewer_bits_never_need_more() -> None:
    """One step of quantization never needs more replicas, and leaves more memory for the cache.

    Source: the same requests; 8.03·10⁹ bytes over 131,072 bytes a token by hand.
    """
    _, found = _worked()
    assert found.quantized is not None
    fewer = found.quantized.best.replicas <= found.best.replicas
    checks.holds("replicas", fewer, got=found.quantized.best.replicas)
    gained = 16 * (found.quantized.engine.kv_blocks - found.engine.kv_blocks)
    checks.close("tokens gained", gained, 8_030_261_248 / 131_072, atol=16)


def check_bad_input_is_refused() -> None:
    """Objectives that an idle replica misses, requests beyond the memory and short runs are errors
    that say why.

    Source: costs of the engine for one request alone; bytes that the weights leave, by hand.
    """
    fast = replace(WORKED, objective=Objective(0.01, 1.0))
    checks.raises("TTFT", Fleet, fast, match="no fleet keeps a TTFT of 0.01 s at p99")
    fast = replace(WORKED, objective=Objective(9.0, 0.001))
    checks.raises("TPOT", Fleet, fast, match="no fleet keeps a TPOT of 0.001 s at p99")
    small = replace(WORKED, device=replace(WORKED.device, memory_bytes=22.8e9))
    checks.raises("memory", Fleet, small, match="no fleet holds the longest request")
    checks.raises("few", Fleet, replace(WORKED, requests=10), match="requests must be at least 100")
    rare = replace(WORKED, requests=100, objective=Objective(1.0, 0.05, 0.9999))
    checks.raises("rare", Fleet, rare, match="requests must be at least 8,322 to say anything")
    checks.raises("batch", Fleet, replace(WORKED, batch_limit=0), match="batch_limit must be from")
    checks.raises("objective", Objective, 1.0, math.nan, match="tpot_s must be positive")
    checks.raises("series", sectioned_quantile, [1.0], 0.5, match="values must be at least 20")
