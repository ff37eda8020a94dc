"""Serving is a constrained choice: the cheapest model that is good, fast and small enough.

For every model and every batch of k slots: the replica must hold the weights and k caches; a decode
step reads both from memory, or multiplies the weights with k tokens and with the prompts that come
meanwhile, k·n/m tokens a step, whichever takes longer; a response with a prompt of n tokens and
m of output takes S, its prompt and m steps; and c replicas take a Poisson rate λ if, with one queue
for all c·k slots (M/M/ck, load a = λS, excess θ = c·k − a − 1),

    P(T > t) = e^{−t/S}·(1 + C(ck, a)·(1 − e^{−θt/S})/θ) ≤ 0.01    at    t = SLO.

Assumes: exponential lengths of the output, one queue in front of all slots, every step as slow as
one of a full batch, prompts cut up evenly over the steps, and no time for the network.

Source: Erlang's delay formula as in the chapter on utilization; the roofline of Williams, Waterman
and Patterson (2009) for the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.core.queues.erlang import erlang_c
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    as_numbers,
    require,
    require_finite,
    require_non_negative,
    require_positive,
    require_positive_integer,
    widen_fields,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Candidate:
    """A model in the form in which it would be deployed; one replica spans `devices`.

    Raises ValueError on sizes that are not positive and finite, half devices and a score of NaN.
    """

    name: str
    parameters: float
    bytes_per_parameter: float
    kv_bytes_per_token: float  # 0 where the cache does not count
    devices: int
    quality: float  # score on the team's own evaluation [%]

    def __post_init__(self) -> None:
        """Refuse what cannot be deployed."""
        widen_fields(self)
        require_positive(parameters=self.parameters, bytes_per_parameter=self.bytes_per_parameter)
        require_non_negative(kv_bytes_per_token=self.kv_bytes_per_token)
        require_positive_integer(devices=self.devices)
        require_finite(quality=self.quality)


@dataclass(frozen=True)
class Device:
    """One accelerator: memory [B], bandwidth [B/s], arithmetic [FLOP/s] and price per hour.

    Raises ValueError unless all four are positive and finite.
    """

    memory_bytes: float
    bytes_per_s: float
    flops_per_s: float
    price_per_h: float

    def __post_init__(self) -> None:
        """Refuse what no data sheet says."""
        widen_fields(self)
        require_positive(**vars(self))


@dataclass(frozen=True)
class Demand:
    """What is asked of the service: requests per second, their mean lengths, and the promises.

    Raises ValueError on a rate, output or bound that is not positive and finite, on a negative or
    infinite context or prompt, and on NaN.
    """

    requests_per_s: float
    context_tokens: float  # tokens that a slot's cache must hold
    prompt_tokens: float  # mean tokens of a prompt, all of them read anew
    output_tokens: float  # mean of an exponential length
    slo_s: float  # bound on the 99th percentile of the response time
    quality_floor: float  # least acceptable score

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""
        widen_fields(self)
        require_positive(
            requests_per_s=self.requests_per_s, output_tokens=self.output_tokens, slo_s=self.slo_s
        )
        require_non_negative(context_tokens=self.context_tokens, prompt_tokens=self.prompt_tokens)
        require_finite(quality_floor=self.quality_floor)


@dataclass(frozen=True)
class Plan:
    """How a candidate meets the demand, or the constraint that it fails (`fails`, else empty)."""

    name: str
    fails: str
    slots: int = 0
    replicas: int = 0
    p99_s: float = math.inf
    cost_per_h: float = math.inf


PEAK_FLOPS = 989e12  # [FLOP/s] H100 SXM, dense bf16: codesota.com
MFU = 0.5  # [1] share of the peak that prompts reach, an assumption; measure your own
H100 = Device(80 * 2**30, 3.35e12, MFU * PEAK_FLOPS, 2.5)  # a cloud price: codesota.com
SLOTS = (1, 2, 4, 8, 16, 32, 64, 128)  # batch sizes that are tried
ZOO = (  # sizes and MMLU (5 examples) of the instruction-tuned models: model cards of Meta
    Candidate("1B", 1.23e9, 2, 2 * 16 * 8 * 64 * 2, 1, 49.3),
    Candidate("3B", 3.21e9, 2, 2 * 28 * 8 * 128 * 2, 1, 63.4),
    Candidate("8B", 8.03e9, 2, 2 * 32 * 8 * 128 * 2, 1, 69.4),
    Candidate("70B on 1", 70.6e9, 2, 2 * 80 * 8 * 128 * 2, 1, 83.6),
    Candidate("70B on 2", 70.6e9, 2, 2 * 80 * 8 * 128 * 2, 2, 83.6),
    Candidate("70B on 4", 70.6e9, 2, 2 * 80 * 8 * 128 * 2, 4, 83.6),
    Candidate("405B on 16", 405e9, 2, 2 * 126 * 8 * 128 * 2, 16, 87.3),
)
CHAT = Demand(20.0, 2000.0, 1850.0, 150.0, 15.0, 80.0)  # a service made up for the page


def replica_bytes(candidate: Candidate, slots: int, context_tokens: float) -> float:
    """Memory of one replica: the weights and the caches of its slots [B].

    slots: k, requests that it decodes at the same time. context_tokens: tokens in each cache.
    Raises ValueError on k < 1 or a negative or infinite context.

    >>> replica_bytes(Candidate("toy", 10.0, 2.0, 3.0, 1, 50.0), slots=4, context_tokens=5.0)
    80.0
    """
    slots = require_positive_integer(slots=slots)
    context_tokens = require_non_negative(context_tokens=context_tokens)
    return (
        candidate.parameters * candidate.bytes_per_parameter
        + slots * context_tokens * candidate.kv_bytes_per_token
    )


def step_time(
    candidate: Candidate,
    slots: int,
    context_tokens: float,
    device: Device,
    prompt_tokens: float = 0.0,
) -> float:
    """Time in which every slot of a full replica gets one token [s].

    slots, context_tokens: as for `replica_bytes`, and refused as there. prompt_tokens: tokens of
    prompts that the step reads beside, ≥ 0. The larger of reading the weights and multiplying with
    them, then reading the caches; devices work in parallel.

    >>> toy = Candidate("toy", 10.0, 2.0, 3.0, 1, 50.0)
    >>> step_time(toy, 4, 5.0, Device(100.0, 10.0, 40.0, 1.0))  # max(20/10, 80/40) + 60/10
    8.0
    """
    slots = require_positive_integer(slots=slots)
    context_tokens = require_non_negative(context_tokens=context_tokens)
    prompt_tokens = require_non_negative(prompt_tokens=prompt_tokens)
    caches = slots * context_tokens * candidate.kv_bytes_per_token
    weights = replica_bytes(candidate, slots, context_tokens) - caches
    reading = weights / device.bytes_per_s
    multiplying = 2 * candidate.parameters * (slots + prompt_tokens) / device.flops_per_s
    return (max(reading, multiplying) + caches / device.bytes_per_s) / candidate.devices


def service_time(candidate: Candidate, slots: int, demand: Demand, device: Device) -> float:
    """Mean time of a response in a slot of a full replica, its prompt and all its steps [s].

    slots: k. While a request decodes m tokens, k prompts of n tokens come to the replica, k·n/m a
    step; its own is read at once before. Raises ValueError as `replica_bytes` does.

    >>> toy = Candidate("toy", 10.0, 2.0, 0.0, 1, 50.0)
    >>> asked = Demand(1.0, 5.0, 6.0, 2.0, slo_s=99.0, quality_floor=0.0)
    >>> service_time(toy, 4, asked, Device(100.0, 10.0, 40.0, 1.0))  # 120/40 + 2·(20·16/40)
    19.0
    """
    slots = require_positive_integer(slots=slots)
    beside = slots * demand.prompt_tokens / demand.output_tokens
    step = step_time(candidate, slots, demand.context_tokens, device, beside)
    own = 2 * candidate.parameters * demand.prompt_tokens / device.flops_per_s / candidate.devices
    return own + demand.output_tokens * step


def response_late(
    threshold_s: float, requests_per_s: float, mean_service_s: float, slots: int
) -> float:
    """Share of responses that take longer than a threshold, with one queue for all slots (M/M/c).

    threshold_s: t ≥ 0. requests_per_s: λ ≥ 0. mean_service_s: S > 0. slots: c, more than λS. The
    wait is 0 with probability 1 − C, else exponential with rate (c − λS)/S, and an exponential
    service follows. Raises ValueError outside these ranges.

    >>> round(response_late(5.0, requests_per_s=0.8, mean_service_s=1.0, slots=1), 9)  # e^{−0.2·5}
    0.367879441
    """
    threshold_s, requests_per_s = require_non_negative(
        threshold_s=threshold_s, requests_per_s=requests_per_s
    )
    mean_service_s = require_positive(mean_service_s=mean_service_s)
    slots = require_positive_integer(slots=slots)
    load = requests_per_s * mean_service_s
    require(load < slots, "requests_per_s", f"below {slots / mean_service_s:g}", requests_per_s)
    return _late(threshold_s / mean_service_s, erlang_c(slots, load), slots - load)


def _late(time: float, waiting: float, spare: float) -> float:
    """The same by the probability of a wait and the slots that nobody needs, in mean services."""
    excess = abs(spare - 1)  # the rates of wait and service may come in either order
    spread = -math.expm1(-excess * time) / excess if excess else time
    return math.exp(-time) + waiting * math.exp(-min(1, spare) * time) * spread


def response_p99(requests_per_s: float, mean_service_s: float, slots: int) -> float:
    """99th percentile of the time from arrival to the end, with one queue for all slots [s].

    Arguments and errors as for `response_late`, whose inverse this is, found by bisection.

    >>> round(response_p99(0.25, mean_service_s=2.0, slots=1), 6)  # 2·ln 100/(1 − 0.5)
    18.420681
    """
    requests_per_s, mean_service_s, slots = as_number(
        requests_per_s=requests_per_s, mean_service_s=mean_service_s, slots=slots
    )
    response_late(0.0, requests_per_s, mean_service_s, slots)  # refuses what has no answer
    load = requests_per_s * mean_service_s
    waiting, spare = erlang_c(slots, load), slots - load
    low, high = 0.0, 1.0
    while _late(high, waiting, spare) > 0.01:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _late(middle, waiting, spare) > 0.01 else (low, middle)
    return high * mean_service_s


def min_replicas(requests_per_s: float, mean_service_s: float, slots: int, slo_s: float) -> int:
    """Fewest replicas of k slots that keep the p99 of the response within the promise.

    requests_per_s: λ > 0. mean_service_s: S > 0. slots: k. slo_s: bound on the p99, above S·ln 100,
    which even an idle slot needs. Raises ValueError outside these ranges.

    >>> min_replicas(10.0, mean_service_s=1.0, slots=4, slo_s=9.3)  # 10 erlangs, 12 slots
    3
    """
    slo_s = as_number(slo_s=slo_s)
    requests_per_s, mean_service_s = require_positive(
        requests_per_s=requests_per_s, mean_service_s=mean_service_s
    )
    slots = require_positive_integer(slots=slots)
    idle = mean_service_s * math.log(100)
    require(
        idle < slo_s < math.inf,
        "slo_s",
        f"finite and above {idle:.6g}, the p99 of an idle slot",
        slo_s,
    )
    most = 1e6 / mean_service_s
    require(requests_per_s <= most, "requests_per_s", f"at most {most:g}", requests_per_s)
    replicas = math.floor(requests_per_s * mean_service_s / slots) + 1
    while response_late(slo_s, requests_per_s, mean_service_s, replicas * slots) > 0.01:
        replicas += 1
    return replicas


def plan(candidate: Candidate, demand: Demand, device: Device, slots_tried: Sequence[int]) -> Plan:
    """The cheapest way to meet the demand with one candidate, or the first constraint it fails.

    slots_tried: batch sizes to choose from; the smallest is taken among equally cheap ones. Checks
    quality, memory and latency, in this order. Raises ValueError on no batch sizes and where the
    functions that it calls do.

    >>> toy = Candidate("toy", 10.0, 2.0, 0.0, 1, 50.0)
    >>> chip = Device(100.0, 10.0, 1e9, price_per_h=3.0)
    >>> best = plan(toy, Demand(1.0, 5.0, 0.0, 1.0, slo_s=20.0, quality_floor=40.0), chip, (1, 2))
    >>> best.slots, best.replicas, best.cost_per_h  # S = 2: two erlangs on four slots
    (2, 2, 6.0)
    """
    slots_tried = as_numbers(slots_tried=slots_tried)
    require(len(slots_tried) > 0, "slots_tried", "non-empty", slots_tried)
    whole = all(slots % 1 == 0 and slots >= 1 for slots in slots_tried)
    require(whole, "slots_tried", "positive integers", slots_tried)
    if candidate.quality < demand.quality_floor:
        return Plan(candidate.name, "quality")
    best = Plan(candidate.name, "memory")
    for slots in sorted(slots_tried):
        if (
            replica_bytes(candidate, slots, demand.context_tokens)
            > candidate.devices * device.memory_bytes
        ):
            break
        service = service_time(candidate, slots, demand, device)
        if service * math.log(100) >= demand.slo_s:
            if best.fails:
                best = Plan(candidate.name, "latency")
            break
        replicas = min_replicas(demand.requests_per_s, service, slots, demand.slo_s)
        cost = replicas * candidate.devices * device.price_per_h
        if cost < best.cost_per_h:
            best = Plan(candidate.name, "", slots, replicas, cost_per_h=cost)
    if best.fails:
        return best
    service = service_time(candidate, best.slots, demand, device)
    p99 = response_p99(demand.requests_per_s, service, best.slots * best.replicas)
    return replace(best, p99_s=p99)


def choose(
    zoo: Sequence[Candidate], demand: Demand, device: Device, slots_tried: Sequence[int]
) -> Plan:
    """The cheapest feasible plan of a zoo; the first of equally cheap ones.

    zoo: candidates, not empty. The rest as for `plan`. Raises ValueError when nothing is feasible,
    with what each candidate fails.

    >>> chip = Device(100.0, 10.0, 1e9, price_per_h=3.0)
    >>> zoo = [Candidate(name, size, 2.0, 0.0, 1, size) for name, size in (("a", 10), ("b", 20))]
    >>> choose(zoo, Demand(1.0, 5.0, 0.0, 1.0, slo_s=40.0, quality_floor=15.0), chip, (1, 2)).name
    'b'
    """
    slots_tried = as_numbers(slots_tried=slots_tried)
    plans = [plan(candidate, demand, device, slots_tried) for candidate in zoo]
    feasible = [one for one in plans if not one.fails]
    require(
        len(feasible) > 0,
        "zoo",
        "feasible for the demand",
        ", ".join(f"{one.name}: {one.fails}" for one in plans),
    )
    return min(feasible, key=lambda one: one.cost_per_h)


def _with(slo_s: float, quality_floor: float) -> Demand:
    return replace(CHAT, slo_s=slo_s, quality_floor=quality_floor)


def _service(candidate: Candidate, slots: int) -> float:
    """Mean time of a response of the chapter's traffic in a slot of a full replica [s]."""
    return service_time(candidate, slots, CHAT, H100)


def _arithmetic(candidate: Candidate, replicas: int) -> float:
    """Share of the data sheet's peak that the chapter's traffic takes, prompts and answers."""
    tokens = CHAT.requests_per_s * (CHAT.prompt_tokens + CHAT.output_tokens)
    return 2 * candidate.parameters * tokens / (replicas * candidate.devices * PEAK_FLOPS)


def _queue_per_replica(candidate: Candidate, demand: Demand) -> float:
    """Cheapest cost if requests were spread at random over replicas with a queue each [$/h]."""
    best = math.inf
    for slots in SLOTS:
        service = _service(candidate, slots)
        held = replica_bytes(candidate, slots, CHAT.context_tokens)
        if service * math.log(100) >= demand.slo_s or held > candidate.devices * H100.memory_bytes:
            continue
        replicas = math.floor(demand.requests_per_s * service / slots) + 1
        while response_late(demand.slo_s, demand.requests_per_s / replicas, service, slots) > 0.01:
            replicas += 1
        best = min(best, replicas * candidate.devices * H100.price_per_h)
    return best


def example() -> SimpleNamespace:
    """The choice quoted in the text."""
    by_name = {one.name: one for one in ZOO}
    best = choose(ZOO, CHAT, H100, SLOTS)
    relaxed = choose(ZOO, _with(CHAT.slo_s, 65.0), H100, SLOTS)
    largest = plan(by_name["405B on 16"], CHAT, H100, SLOTS)
    tight = choose(ZOO, _with(9.0, 80.0), H100, SLOTS)
    two = by_name["70B on 2"]
    later = plan(two, _with(20.0, 80.0), H100, SLOTS)
    last = choose(ZOO, _with(30.0, 80.0), H100, SLOTS)
    chosen_service = _service(by_name[best.name], best.slots)
    return SimpleNamespace(
        chosen=best.name,
        chosen_slots=best.slots,
        chosen_replicas=best.replicas,
        chosen_cost=best.cost_per_h,
        chosen_idle_p99_s=chosen_service * math.log(100),
        chosen_load_percent=100
        * CHAT.requests_per_s
        * chosen_service
        / (best.replicas * best.slots),
        chosen_arithmetic_percent=100 * _arithmetic(by_name[best.name], best.replicas),
        single_arithmetic_percent=100 * _arithmetic(by_name[best.name], 1),
        prompt_tokens=CHAT.prompt_tokens,
        output_tokens=CHAT.output_tokens,
        requests_per_s=CHAT.requests_per_s,
        model_mfu_percent=100 * MFU,
        relaxed=relaxed.name,
        relaxed_replicas=relaxed.replicas,
        relaxed_cost=relaxed.cost_per_h,
        best_score_cost=largest.cost_per_h,
        best_score_slots=largest.slots,
        best_score_replicas=largest.replicas,
        best_score_idle_p99_s=_service(by_name["405B on 16"], largest.slots) * math.log(100),
        saved_by_choice=largest.cost_per_h / best.cost_per_h,
        weights_gb=two.parameters * two.bytes_per_parameter / 1e9,
        slo_s=CHAT.slo_s,
        later_slo_s=20.0,
        later_cost=later.cost_per_h,
        last_slo_s=30.0,
        last=last.name,
        last_cost=last.cost_per_h,
        tight=tight.name,
        tight_cost=tight.cost_per_h,
        tight_slo_s=9.0,
        least_slo_s=_service(two, 1) * math.log(100),
    )


def figure_zoo(figure: Figure) -> None:
    """Two of seven deployments are good and fast enough, and one costs a fraction of the other.

    Every deployment in its cheapest plan for the traffic, with its price per hour; the box holds
    what the demand allows.

    Alt: Score in percent against the 99th percentile of the response in seconds. The 1B, 3B and 8B
    models lie below the floor. The 70B model on four devices, marked as chosen, and the 405B model
    on sixteen lie in the box; the 70B on two devices and on one, both crossed out, lie to the right
    of it.
    """
    axes = figure.subplots()
    slo, floor = CHAT.slo_s, CHAT.quality_floor
    axes.fill_between([0, slo], floor, 92, color="C2", alpha=0.12)
    axes.plot([slo, slo, 0], [92, floor, floor], color="C2", linewidth=1)
    axes.annotate("allowed", (0.6, 90.3), color="C2", va="center")
    chosen = choose(ZOO, CHAT, H100, SLOTS).name
    for one in ZOO:
        best = plan(one, _with(slo, 0.0), H100, SLOTS)
        if best.fails:
            idle = _service(one, 1) * math.log(100)
            axes.plot(idle, one.quality, "x", color="C3", markersize=8)
            reason = {"memory": "does not fit", "latency": "too slow"}[best.fails]
            right = idle > 20
            axes.annotate(
                f"{one.name}:\n{reason}",
                (idle, one.quality),
                (-8, 0) if right else (8, 0),
                textcoords="offset points",
                color="C3",
                ha="right" if right else "left",
                va="center",
            )
            continue
        colour = "C5" if one.name == chosen else "C0"
        axes.plot(best.p99_s, one.quality, "o", color=colour, markersize=8 if colour == "C5" else 6)
        left = one.name in (chosen, "405B on 16")
        axes.annotate(
            f"{one.name}, ${best.cost_per_h:,.{0 if best.cost_per_h > 9 else 2}f}/h",
            (best.p99_s, one.quality),
            (-8, 0) if left else (8, 0),
            textcoords="offset points",
            color=colour,
            ha="right" if left else "left",
            va="center",
        )
    axes.set(xlim=(0, 33), ylim=(45, 92), xlabel="p99 of the response [s]", ylabel="MMLU score [%]")


def figure_price_of_speed(figure: Figure) -> None:
    """A strict promise forbids large batches, and small ones are what costs; more devices move it.

    Cheapest plan for the same traffic against the promised p99, for three deployments, each with
    one queue in front of all its slots.

    Alt: Cost in dollars per hour, logarithmic, against the promise in seconds, in steps that fall.
    The 70B model on four devices falls first and stays flat; on two devices it begins to the right
    of all, falls steeply and ends a little below; 405B on sixteen begins between them, falls little
    and stays several times as dear.
    """
    axes = figure.subplots()
    slos = np.linspace(7.9, 30, 120)
    by_name = {one.name: one for one in ZOO}
    for name, colour, place in (
        ("70B on 4", "C5", (8.6, 95)),
        ("70B on 2", "C0", (18, 62)),
        ("405B on 16", "C1", (21, 220)),
    ):
        plans = [plan(by_name[name], _with(slo, 0.0), H100, SLOTS) for slo in slos.tolist()]
        axes.plot(slos, [one.cost_per_h for one in plans], color=colour, drawstyle="steps-post")
        axes.annotate(name, place, color=colour)
    axes.axvline(CHAT.slo_s, color="C4", linewidth=0.8, linestyle=":")
    axes.set(
        yscale="log",
        xlim=(7, 30),
        ylim=(25, 700),
        xlabel="promised p99 [s]",
        ylabel="cost [$/h]",
    )
    axes.set_yticks([30, 100, 300], ["30", "100", "300"])
    axes.minorticks_off()


def check_choice_against_every_combination() -> None:
    """The choice is the cheapest of all models, batch sizes and fleets that keep every promise.

    Source: an enumeration of every fleet of up to 60 replicas, each with the tail of M/M/c from its
    stationary distribution, summed state by state, for five demands.
    """
    for slo, floor in ((15.0, 80.0), (15.0, 65.0), (9.0, 80.0), (20.0, 85.0), (30.0, 80.0)):
        demand, costs = _with(slo, floor), []
        for one in ZOO:
            for slots in SLOTS:
                weights = one.parameters * 2
                caches = slots * 2000 * one.kv_bytes_per_token
                if one.quality < floor or weights + caches > one.devices * 80 * 2**30:
                    continue
                tokens = slots * (1 + 1850 / 150)
                slowest = max(weights / 3.35e12, 2 * one.parameters * tokens / 494.5e12)
                own = 2 * one.parameters * 1850 / 494.5e12
                service = (own + 150 * (slowest + caches / 3.35e12)) / one.devices
                if math.exp(-slo / service) > 0.01:  # which an idle slot misses
                    continue
                for replicas in range(1, 61):
                    if _late_by_states(slo / service, 20.0 * service, replicas * slots) <= 0.01:
                        costs.append(2.5 * one.devices * replicas)
                        break
        got = choose(ZOO, demand, H100, SLOTS).cost_per_h
        checks.close(f"$/h within {slo:g} s at {floor:g}%", got, min(costs))


def _late_by_states(time: float, load: float, servers: int) -> float:
    """P(T > t) of M/M/c in services: states summed one by one, then the wait integrated."""
    if load >= servers:
        return 1.0
    steps = np.log(load / np.minimum(np.arange(1, servers + 3000), servers))
    weights = np.exp(np.r_[0.0, np.cumsum(steps)] - np.cumsum(steps).max())
    waiting = float(weights[servers:].sum() / weights.sum())
    edges, rate = np.linspace(0, time, 2001), servers - load
    waits = (edges[1:] + edges[:-1]) / 2
    both = rate * np.exp(-rate * waits - (time - waits)).sum() * (edges[1] - edges[0])
    return waiting * (float(both) + math.exp(-rate * time)) + (1 - waiting) * math.exp(-time)


def check_p99_against_a_queue() -> None:
    """One in a hundred simulated responses takes longer than a plan's p99, at 79% and at 89% load.

    Source: one queue in front of all slots of the plan, replayed request by request; standard
    errors of 30 batches. The chosen plan, and that of the largest model.
    """
    rng = np.random.default_rng(61)
    for one in ZOO[5:7]:
        best = plan(one, CHAT, H100, SLOTS)
        arrivals = np.cumsum(rng.exponential(1 / CHAT.requests_per_s, 63_000))
        services = rng.exponential(_service(one, best.slots), 63_000)
        waits = fifo_waits(arrivals, services, best.replicas * best.slots)
        late = ((waits + services) > best.p99_s)[3000:].reshape(30, 2000).mean(axis=1)
        error = float(late.std(ddof=1)) / math.sqrt(30)
        estimate = MeanEstimate(float(late.mean()), error, 0)
        checks.covers(f"share above p99, {one.name}", estimate, 0.01)


def check_plans_can_run() -> None:
    """No plan needs more operations a second than its devices can do, at any promise.

    Source: two operations for each parameter and each token of prompt and answer, against the peak
    of the data sheet times the share that prompts reach.
    """
    for slo in (9.0, 15.0, 20.0, 30.0):
        plans = {one: plan(one, _with(slo, 0.0), H100, SLOTS) for one in ZOO}
        needed = {
            one.name: _arithmetic(one, best.replicas)
            for one, best in plans.items()
            if not best.fails
        }
        most = max(needed, key=needed.__getitem__)
        checks.holds(f"within {slo:g} s, {most}", needed[most] <= MFU, got=needed[most])


def check_choice_under_other_queues() -> None:
    """The choice stays the cheapest where each replica has a queue of its own.

    Source: the same search with requests spread over the replicas at random, a ranking under
    another model of the same fleet.
    """
    able = [one for one in ZOO if one.quality >= CHAT.quality_floor and one.name != "70B on 1"]
    costs = {one.name: _queue_per_replica(one, CHAT) for one in able}
    chosen = choose(ZOO, CHAT, H100, SLOTS).name
    checks.equal("cheapest with a queue for each", min(costs, key=costs.__getitem__), chosen)


def check_step_floors() -> None:
    """Reading 8 billion parameters takes an H100 4.8 ms, and 70 billion do not fit it.

    Source: 16.06 GB over 3.35 TB/s and 141.2 GB against 85.9, by hand; caches left empty.
    """
    by_name = {one.name: one for one in ZOO}
    checks.close("8B [ms]", 1e3 * step_time(by_name["8B"], 1, 0.0, H100), 4.794, atol=5e-4)
    checks.close("70B [GB]", replica_bytes(by_name["70B on 1"], 1, 0.0) / 1e9, 141.2, rtol=1e-12)
    checks.equal("70B on 1", plan(by_name["70B on 1"], CHAT, H100, SLOTS).fails, "memory")
    checks.equal("8B", plan(by_name["8B"], CHAT, H100, SLOTS).fails, "quality")
    tight = plan(by_name["70B on 2"], _with(9.0, 80.0), H100, SLOTS)
    checks.equal("70B on 2 within 9 s", tight.fails, "latency")


def check_more_demand_never_costs_less() -> None:
    """Faster, better or more of it: every tightening costs the same or more.

    Source: a feasible plan for the tighter demand is feasible for the looser one.
    """
    for slo, floor in ((12.0, 60.0), (16.0, 80.0), (25.0, 85.0)):
        base = choose(ZOO, _with(slo, floor), H100, SLOTS).cost_per_h
        faster = choose(ZOO, _with(0.9 * slo, floor), H100, SLOTS).cost_per_h
        better = choose(ZOO, _with(slo, floor + 2), H100, SLOTS).cost_per_h
        checks.holds(f"from {slo:g} s, {floor:g}%", base <= min(faster, better), got=(base, faster))


def check_bad_input_is_refused() -> None:
    """Saturated slots, promises that no slot keeps, and an impossible zoo are errors."""
    checks.raises("ρ = 1", response_p99, 1.0, 4.0, 4, match="requests_per_s must be below 1")
    checks.raises("SLO below idle", min_replicas, 1.0, 1.0, 4, 4.6, match="the p99 of an idle slot")
    checks.raises("no slots", replica_bytes, ZOO[0], 0, 10.0, match="slots must be a positive")
    checks.raises("NaN context", step_time, ZOO[0], 1, math.nan, H100, match="context_tokens must")
    checks.raises("no batch sizes", plan, ZOO[0], CHAT, H100, (), match="slots_tried must be non-")
    checks.raises(
        "nothing feasible",
        choose,
        ZOO[:4],
        CHAT,
        H100,
        SLOTS,
        match="1B: quality, 3B: quality, 8B: quality, 70B on 1: memory",
    )
