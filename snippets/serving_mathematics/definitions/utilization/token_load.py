"""The load of an engine from two counters, each over a ceiling that a load test reads.

An engine whose places are all taken spends the share x/P of its time on prompts, x tokens of them a
second, and the rest on answers: z tokens a second are the share z/Q. So the load is

    ρ = x/P + z/Q,

and it is 1 where nothing more can be carried. P is what a load test of prompts alone reads, with
answers of one token; Q follows from a second test with requests as they are, all places taken,
which reads x and z: Q = z/(1 − x/P).

Assumes: prompts that cost as much a token as those of the tests, and answers in contexts as long;
where these change, so do P and Q. Tokens that a prefix cache finds are not counted.

Source: Denning and Buzen (1978) for the utilization law, ρ = Σ rate × time, of which this is the
case with two kinds of work.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.machines.machines import CHAT, Machine
from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_non_negative, require_positive


def token_load(
    prompt_per_s: float, answer_per_s: float, prompt_ceiling: float, answer_ceiling: float
) -> float:
    """Load of an engine, 1 where it can carry no more: x/P + z/Q.

    prompt_per_s, answer_per_s: x and z, tokens read and written a second, without those from a
    cache. prompt_ceiling, answer_ceiling: P and Q, as load tests read them [1/s]. Raises ValueError
    unless rates are non-negative and ceilings positive.

    >>> token_load(10_000, 3_000, prompt_ceiling=50_000, answer_ceiling=10_000)
    0.5
    """
    prompt_per_s, answer_per_s = require_non_negative(
        prompt_per_s=prompt_per_s, answer_per_s=answer_per_s
    )
    prompt_ceiling, answer_ceiling = require_positive(
        prompt_ceiling=prompt_ceiling, answer_ceiling=answer_ceiling
    )
    return prompt_per_s / prompt_ceiling + answer_per_s / answer_ceiling


def answer_ceiling(prompt_per_s: float, answer_per_s: float, prompt_ceiling: float) -> float:
    """Q = z/(1 − x/P), the ceiling of answer tokens that goes with that of prompt tokens [1/s].

    prompt_per_s, answer_per_s: x and z at saturation, of requests as they are. prompt_ceiling: P,
    of prompts alone, above x. Raises ValueError otherwise.

    >>> answer_ceiling(20_000, 6_000, prompt_ceiling=50_000)
    10000.0
    """
    prompt_per_s = require_non_negative(prompt_per_s=prompt_per_s)
    answer_per_s, prompt_ceiling = require_positive(
        answer_per_s=answer_per_s, prompt_ceiling=prompt_ceiling
    )
    require(prompt_per_s < prompt_ceiling, "prompt_per_s", f"below {prompt_ceiling}", prompt_per_s)
    return answer_per_s / (1 - prompt_per_s / prompt_ceiling)


TIMES = 1.0, 2.0, 0.5  # as long
MIXES = tuple((prompts, answers) for prompts in TIMES for answers in TIMES)


def _mixed(machine: Machine, mix: tuple[float, float]) -> tuple[Workload, Engine]:
    """The machine and its requests, all there from the beginning, with prompts and answers so many
    times as long."""
    plain = machine.sample
    prompts = np.maximum(np.rint(mix[0] * plain.prompt_tokens), 2).astype(np.int64)
    answers = np.maximum(np.rint(mix[1] * plain.output_tokens), 1).astype(np.int64)
    at_once = np.zeros(prompts.size)
    made = engine_of(
        machine.deployment,
        Workload(at_once, plain.prompt_tokens, plain.output_tokens),
        machine.token_budget,
        machine.places,
        constants=front_constants(find_front(machine.front)),
        longest=int(prompts.max() + answers.max()),
    )
    return Workload(at_once, prompts, answers), made.engine


@functools.cache
def _most(machine: Machine, mix: tuple[float, float]) -> tuple[float, float, float]:
    """Requests a second at saturation, with as many places taken as memory holds, and prompt and
    answer tokens of a mean request."""
    asked, engine = _mixed(machine, mix)
    prompts, answers = asked.prompt_tokens, asked.output_tokens
    held = float(np.average(prompts + answers - 1.0, weights=answers))
    places = min(machine.places, int(machine.cache_tokens / held))
    rate = saturated_rate(prompts, answers, replace(engine, max_sequences=places))
    return rate, float(prompts.mean()), float(answers.mean()) - 1


def _beside_s(machine: Machine) -> float:
    """What a token of a prompt adds to a step that is made for answers anyway [s]."""
    prompts = machine.sample.prompt_tokens
    return float(machine.prompt_s(prompts).mean()) / float(prompts.mean())


def _ceilings(machine: Machine) -> tuple[float, float]:
    """P and Q as two load tests read them: prompts alone fill the budget of each step, and each
    step reads the weights."""
    alone = 1 / (_beside_s(machine) + float(machine.step_s(0)) / machine.token_budget)
    rate, prompt, answer = _most(machine, (1.0, 1.0))
    return alone, answer_ceiling(rate * prompt, rate * answer, alone)


def _gauges(machine: Machine) -> dict[str, list[float]]:
    """What both gauges show at saturation of each mix, 1 being right."""
    ceilings, plain = _ceilings(machine), _most(machine, MIXES[0])
    found: dict[str, list[float]] = {"load": [], "requests": []}
    for mix in MIXES:
        rate, prompt, answer = _most(machine, mix)
        found["load"].append(token_load(rate * prompt, rate * answer, *ceilings))
        found["requests"].append(rate / plain[0])
    return found


def _worst(values: list[float]) -> float:
    """The largest error, as a factor minus one."""
    return max(max(value, 1 / value) - 1 for value in values)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: ceilings, and by what factor gauges err at most."""
    prompts, answers = _ceilings(CHAT)
    gauges = _gauges(CHAT)
    worst = {kind: 1 + _worst(values) for kind, values in gauges.items()}
    return SimpleNamespace(
        prompt_ceiling=prompts,
        answer_ceiling=answers,
        beside_us=1e6 * _beside_s(CHAT),
        load_factor=worst["load"],
        requests_factor=worst["requests"],
    )


def check_ceilings_are_those_of_load_tests() -> None:
    """P is the rate that prompts alone reach, with answers of one token, for 16, 64 and 256 places,
    and 1/P less a lone request's time per token over the budget is what a prompt token adds to a
    step. Q is up to a quarter more than a step writes with all places taken, because reading the
    weights, which prompts and answers share, is already counted in P.

    Source: the simulator, 2,000 prompts that are there at once; the step with all places taken.
    """
    for machine in (CHAT.limited(16), CHAT.limited(64), CHAT):
        alone, answers = _ceilings(machine)
        prompts = machine.sample.prompt_tokens[:2000]
        at_once, single = np.zeros(prompts.size), np.ones(prompts.size, dtype=np.int64)
        served = simulate(Workload(at_once, prompts, single), machine.engine)
        read = float(prompts.sum() / served.completion_s.max())
        label = f"{machine.places} places"
        checks.close(f"{label}: P [tokens/s]", alone, read, rtol=0.02, kind="simulation")
        beside = 1 / read - float(machine.step_s(1)) / machine.token_budget
        due = _beside_s(machine)
        checks.close(f"{label}: beside answers [s]", beside, due, rtol=0.02, kind="simulation")
        full = machine.places / float(machine.step_s(machine.places))
        checks.inside(f"{label}: Q, of a full step's", answers / full, 1.0, 1.25)


def check_two_counters_survive_another_mix() -> None:
    """In a full engine, the load should be 1. With prompts, answers or both half or twice as long,
    the load from two counters is wrong by a factor of at most 1.5, or 1.25 unless both grow or both
    shrink, and too low where prompts are longer. Requests a second are wrong by a factor of more
    than two.

    Source: `saturated_rate`, nine mixes, the chat machine with 64 and with 256 places, of which
    memory does not hold all where prompts are longer. The trivial gauge, requests a second, is
    set to 1 at the machine's own mix.
    """
    for machine in (CHAT, CHAT.limited(64)):
        gauges = _gauges(machine)
        worst = {kind: _worst(values) for kind, values in gauges.items()}
        loads = list(zip(MIXES, gauges["load"], strict=True))
        grown = [load for (p, _), load in loads if p > 1]
        unlike = [load for (p, a), load in loads if p != a]
        checks.inside(f"{machine.places} places: longer prompts", max(grown), 0.75, 1.0)
        checks.inside(f"{machine.places} places: not both", _worst(unlike), 0, 0.25)
        checks.inside(f"{machine.places} places: two counters", worst["load"], 0, 0.5)
        checks.inside(f"{machine.places} places: requests", worst["requests"], 1.0, 2.0)
