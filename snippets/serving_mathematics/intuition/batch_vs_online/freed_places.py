"""Who comes first waits for a place all the same, and answers must end often enough for that.

With batch requests always at hand every place is taken, and an online request with priority begins
when an answer ends. A full engine ends X answers a second. With λ online requests a second, of
which the first to come takes the next place, the wait is the time in a queue of one server of rate
X, so that it is longer than t for the share

    e^(−(X − λ)t).

A first token comes later than its place by what its prompt takes beside a full engine: t is what is
promised, less that.

`python -m serving_mathematics.intuition.batch_vs_online.freed_places` simulates steady loads, in
a minute or two, and writes records/freed_places.json.gz.

Assumes: batch requests as long as online ones, which never run out; Poisson arrivals; answers that
end independently of each other; places that memory holds.

Source: the time in an M/M/1 queue, with all of whose customers behind batch work; own simulation of
the book's chat machine for how near that is.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.policies import by_priority
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.customers import _long_chat
from serving_mathematics.core.machines.machines import CHAT, L40S, LARGE, Machine
from serving_mathematics.core.machines.traffic import Lengths, draw_lengths
from serving_mathematics.intuition.batch_vs_online.engine_backfill import _below
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import require_non_negative

SHAPES = {"as they are": (1.0, 1.0), "twice": (1.0, 2.0), "seven times": (1 / 3, 7.0)}
SPANS_S = {"as they are": 400.0, "twice": 800.0, "seven times": 3000.0}
LOADS = (0.2, 0.4, 0.6, 0.75)  # of online work, over the ceiling
PLACES = (96, 140, 176)
IN_FLIGHT = {0.2: 130, 0.4: 80, 0.6: 48}  # batch requests, of seven times as long answers
PLENTY = 400  # batch requests in flight: more than there are places
OTHERS = (L40S, 64), (LARGE, 140)  # and their places
DRAWS = tuple(range(17, 33))  # of what the page quotes, whose mean is told


def late_behind_batch(ended_per_s: float, online_per_s: float, limit_s: float) -> float:
    """Share of online requests that wait for a place for longer than a limit, e^(−(X − λ)t).

    ended_per_s: X, answers of both kinds that the full engine ends. online_per_s: λ. limit_s: t
    [s]. All non-negative; 1 where more come than are ended. Raises ValueError otherwise.

    >>> round(late_behind_batch(ended_per_s=9.0, online_per_s=4.0, limit_s=1.0), 4)
    0.0067
    """
    ended_per_s, online_per_s, limit_s = require_non_negative(
        ended_per_s=ended_per_s, online_per_s=online_per_s, limit_s=limit_s
    )
    return math.exp(-max(ended_per_s - online_per_s, 0.0) * limit_s)


def _drawn(shape: str, requests: int, rng: np.random.Generator) -> Lengths:
    """Prompts and answers of the chat machine's trace, so many times as long."""
    asked = draw_lengths(rng, CHAT.traffic, requests)
    prompts, answers = (
        np.maximum(np.rint(times * tokens), 2).astype(np.int64)
        for times, tokens in zip(
            SHAPES[shape], (asked.prompt_tokens, asked.output_tokens), strict=True
        )
    )
    return Lengths(prompts, np.zeros_like(prompts), answers)


@functools.cache
def _ended_per_s(shape: str, places: int, machine: Machine = CHAT) -> float:
    """Answers that an engine ends a second with so many places always taken, or as memory holds."""
    asked = _drawn(shape, 20_000, np.random.default_rng(0))
    steps = asked.output_tokens.astype(float)
    held = float(np.average(asked.prompt_tokens + steps / 2, weights=steps))
    most = min(places, int(machine.cache_tokens / held))
    few = replace(_long_chat(machine), max_sequences=most)
    return saturated_rate(asked.prompt_tokens, asked.output_tokens, few, asked.cached_tokens)


class _Seen(NamedTuple):
    """Shares of the online requests whose first token and whose time per token is late, work done
    over the ceiling, and how long after its place a first token comes [s]."""

    late: float
    slow: float
    work: float
    own_s: float


@recorded(_Seen, "freed_places")
def _run(
    shape: str, load: float, places: int, in_flight: int, draw: int = 17, machine: Machine = CHAT
) -> _Seen:
    """Online work at a steady load beside batch work of lower priority."""
    rng, ceiling = np.random.default_rng(draw), _ended_per_s(shape, machine.places, machine)
    span = SPANS_S[shape] * _ended_per_s(shape, CHAT.places) / ceiling
    online = np.sort(rng.random(rng.poisson(load * ceiling * span))) * span
    size = in_flight * (2 + int(1.2 * ceiling * span / in_flight))
    asked = _below(online, _drawn(shape, size + online.size, rng), in_flight)
    batch = asked.priority > 0
    engine = replace(_long_chat(machine), max_sequences=places)
    seen = simulate_fleet(asked, Fleet([engine], schedule=by_priority, preempt=by_priority))
    around = machine.made.around_s
    first = (seen.first_token_s - asked.arrival_s)[~batch] + around
    own = (seen.first_token_s - seen.admitted_s)[~batch] + around
    gap = (seen.completion_s - seen.first_token_s)[~batch] / (asked.output_tokens[~batch] - 1)
    warm = (online > 0.2 * span) & (online < 0.9 * span)
    ended = (seen.completion_s > 0.2 * span) & (seen.completion_s < 0.9 * span)
    return _Seen(
        float(np.mean(first[warm] > machine.promise.ttft_s)),
        float(np.mean(gap[warm] > machine.promise.tpot_s)),
        float(ended.sum()) / (0.7 * ceiling * span),
        float(own[warm].mean()),
    )


def _own_s() -> float:
    """What a prompt takes beside a full chat machine [s]."""
    return _run("as they are", LOADS[-1], PLACES[-1], PLENTY).own_s


def example() -> SimpleNamespace:
    """Numbers of the page."""
    late = [_run("seven times", 0.4, 176, PLENTY, draw).late for draw in DRAWS]
    return SimpleNamespace(
        spare_needed=-math.log(1 - CHAT.promise.share),
        own_s=_own_s(),
        own_slow_s=_run("as they are", LOADS[1], OTHERS[0][1], PLENTY, 17, L40S).own_s,
        seven_late=100 * float(np.mean(late)),
    )


def check_late_behind_batch() -> None:
    """At four loads, with three numbers of places and answers of three lengths: where the formula
    says that two or more in a hundred first tokens are late, half to one and a half times as many
    are; where it says fewer, fewer than two in a hundred are late.

    Source: simulation, against ends a second by the closed form.
    """
    for shape in SHAPES:
        ceiling, factors, rare = _ended_per_s(shape, CHAT.places), [1.0], [0.0]
        for load in LOADS:
            for places in PLACES:
                seen = _run(shape, load, places, PLENTY).late
                told = late_behind_batch(_ended_per_s(shape, places), load * ceiling, 1.0)
                if told > 0.99:
                    checks.inside(f"{shape}, {load:.0%}, {places} places", seen, 0.9, 1.0)
                elif told >= 0.02:
                    factors.append(seen / told)
                else:
                    rare.append(seen)
        checks.inside(f"answers {shape}: least over told", min(factors), 0.45, 1.0)
        checks.inside(f"answers {shape}: most over told", max(factors), 1.0, 1.6)
        checks.inside(f"answers {shape}: where few are told", max(rare), 0.0, 0.02)


def check_a_prompt_takes_its_part_of_the_promise() -> None:
    """On slower machines, where the formula says that one to 50 in a hundred first tokens are late,
    up to two and a half times as many are if t is the whole promise; if t is the promise less the
    time that a prompt itself takes in a full engine, no more are late than the formula says.

    Source: simulation, four draws at steady loads, of an L40S and of a large model on four H100.
    """
    for machine, places in OTHERS:
        whole: list[float] = []
        left: list[float] = []
        for shape in ("as they are", "twice"):
            ended = _ended_per_s(shape, places, machine)
            ceiling = _ended_per_s(shape, machine.places, machine)
            for load in LOADS[1:3]:
                runs = [_run(shape, load, places, PLENTY, draw, machine) for draw in DRAWS[:4]]
                late, _, _, own_s = np.mean(runs, axis=0).tolist()
                for factors, taken_s in ((whole, 0.0), (left, own_s)):
                    limit_s = machine.promise.ttft_s - taken_s
                    factors.append(late / late_behind_batch(ended, load * ceiling, limit_s))
        checks.inside(f"{machine.name}: most over told of the promise", max(whole), 1.25, 2.5)
        checks.inside(f"{machine.name}: most over told of what is left", max(left), 0.5, 1)


def check_few_in_flight_keep_what_places_break() -> None:
    """With answers seven times as long, at a fifth to three fifths of the ceiling, no number of
    places keeps the promise for 98% of requests. A fixed number of batch requests in flight that
    leaves places free keeps it for 99.5%, and does at least nine tenths of the work that the most
    places do.

    Source: simulation, at steady loads.
    """
    for load, number in IN_FLIGHT.items():
        every = [_run("seven times", load, places, PLENTY) for places in PLACES]
        few = _run("seven times", load, CHAT.places, number)
        label = f"at {load:.0%}"
        checks.inside(f"{label}: places, late", min(one.late for one in every), 0.02, 0.5)
        checks.inside(f"{label}: {number} in flight, late or slow", few.late + few.slow, 0, 0.005)
        checks.inside(f"{label}: work", few.work / every[-1].work, 0.88, 1.1)


def check_a_run_is_made_again() -> None:
    """A run of the record, simulated again, has as many late first tokens.

    Source: the record, and its command.
    """
    run = "as they are", 0.75, 96, PLENTY
    checks.close("late", _run.again(*run).late, _run(*run).late, atol=1e-6, kind="simulation")


if __name__ == "__main__":
    _run.make()
