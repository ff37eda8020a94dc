"""Batch work in the valleys of one engine: what keeps the promise to those who are online.

Online requests come in a wave whose top is nearly the most that the promise allows; batch requests
are always at hand, a number of them in flight. Priority says who is next, so it protects the first
token. Places say how many share a step, so they protect the time per token. It takes both.

`python -m serving_mathematics.intuition.batch_vs_online.engine_backfill` simulates every rule, in a
minute or two, and writes records/engine_backfill.json.

Assumes: what `core.fleet` assumes; batch requests as long as online ones, but where they are
documents or have long answers; a wave that is slow beside an answer.

Source: `core.fleet` for engine, priorities and preemption; the book's machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.policies import by_priority
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.traffic import Lengths, draw_lengths, trace_record
from serving_mathematics.intuition.batch_vs_online.deadline_scheduling import daily_profile
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record

FloatArray = npt.NDArray[np.float64]

RECORD = "engine_backfill"
COMMAND = "python -m serving_mathematics.intuition.batch_vs_online.engine_backfill"
SEEDS = 2
PEAK = 2.5  # over the mean, of the wave
REAL_MINUTE_S = 20.0  # of a trace's minutes, so that a run is as long as a wave [s]
TOP = 0.9  # of the load that keeps the promise, at the top of the wave
SPANS_S = {"chat": 1200.0, "mixture": 6000.0}
PLENTY = {"chat": 512, "mixture": 128}  # batch requests in flight: more than there are places
PLACES = {"chat": (140, 160, 176, 192, 208, 224), "mixture": (16, 20, 24, 32, 40)}
NUMBERS = {"chat": (8, 16, 24, 32, 48), "mixture": (2, 4, 8, 12, 16)}
REAL = (
    "no batch work",
    "a number in flight",
    "priority",
    "places and priority",
)  # tried on real minutes too
LONGER = {"documents": (6000, 200), "long answers": (1000, 1500)}  # prompt and answer, tokens
FEWER = {"a number in flight": (1, 2, 4), "places and priority": (24, 48, 96)}  # tried then too
ALONE = {"chat": 176, "mixture": 32}  # places, where nobody goes first


@dataclass(frozen=True)
class _Rule:
    """How batch work comes in: so many in flight, into so many places, with the last priority."""

    in_flight: int
    places: int
    priority: bool


def _rules(name: str) -> dict[str, list[_Rule]]:
    """The rules of the record by their names, each with its settings."""
    most, plenty = {"chat": CHAT, "mixture": MIXTURE}[name].places, PLENTY[name]
    return {
        "no batch work": [_Rule(0, most, False)],
        "all at once": [_Rule(plenty, most, False)],
        "a number in flight": [_Rule(number, most, True) for number in NUMBERS[name]],
        "priority": [_Rule(plenty, most, True)],
        "places": [_Rule(plenty, ALONE[name], False)],
        "places and priority": [_Rule(plenty, places, True) for places in PLACES[name]],
    }


def _longer_rules() -> dict[str, list[_Rule]]:
    """The rules that are tried with longer batch requests, on the chat machine."""
    every, most, plenty = _rules(CHAT.name), CHAT.places, PLENTY[CHAT.name]
    numbers, places = FEWER
    fewer = {
        numbers: [_Rule(number, most, True) for number in FEWER[numbers]],
        places: [_Rule(plenty, few, True) for few in FEWER[places]],
    }
    return {name: every[name] + rules for name, rules in fewer.items()}


def _online(machine: Machine, real: bool, rng: np.random.Generator) -> tuple[FloatArray, float]:
    """Arrivals of those online, and how long they last [s]: a wave, or a trace's minutes, whose
    highest rate is nearly the most that the promise allows."""
    shape, span = daily_profile(PEAK, 96), SPANS_S[machine.name]
    shape = np.roll(shape, 48)
    if real:
        counts = np.array(trace_record(machine.traffic)["requests_per_minute"], dtype=float)
        shape, span = counts / counts.mean(), REAL_MINUTE_S * counts.size
    top = TOP * promised_load(machine.name) * machine.ceiling_per_s
    mean = top / float(shape.max())
    drawn = np.sort(rng.random(rng.poisson(mean * span)))
    passed = np.append(0.0, np.cumsum(shape)) / shape.sum()
    return np.interp(drawn, passed, np.linspace(0, span, shape.size + 1)), span


def _below(online: FloatArray, lengths: Lengths, in_flight: int) -> Requests:
    """Batch requests of lower priority, so many in flight, and those of who is online, when these
    arrive [s]. lengths: of the first ones, then of the others."""
    place = np.arange(lengths.prompt_tokens.size)
    batch = place < place.size - online.size
    return Requests(
        np.append(np.zeros(batch.sum()), online),
        lengths.prompt_tokens,
        lengths.output_tokens,
        cached_tokens=lengths.cached_tokens,
        priority=batch.astype(int),
        after=np.where(batch & (place >= in_flight), place - in_flight, -1),
    )


def _run(
    machine: Machine, rule: _Rule, seed: int, real: bool = False, batch_is: str = ""
) -> dict[str, float]:
    """One run: shares of those online who get the promise and its parts, their time per token, and
    what the engine does over its ceiling, in requests. batch_is: of `LONGER`."""
    rng = np.random.default_rng([17, seed])
    online, span = _online(machine, real, rng)
    many, ceiling = rule.in_flight, machine.ceiling_per_s
    size = many * (2 + int(1.2 * ceiling * span / many)) if many else 0
    minutes = (online / REAL_MINUTE_S).astype(np.int64)
    of = np.append(rng.choice(minutes, size), minutes) if real else None
    lengths = draw_lengths(rng, machine.traffic, size + online.size, of)
    if batch_is:
        lengths.prompt_tokens[:size], lengths.output_tokens[:size] = LONGER[batch_is]
    asked = _below(online, lengths, many)
    batch = asked.priority > 0
    rank = by_priority if rule.priority else None
    engine = machine.limited(rule.places).engine
    seen = simulate_fleet(asked, Fleet([engine], schedule=rank, preempt=rank))
    first = (seen.first_token_s - asked.arrival_s)[~batch] + machine.made.around_s
    later = np.maximum(asked.output_tokens - 1, 1)
    gap = ((seen.completion_s - seen.first_token_s) / later)[~batch]
    promise = machine.promise
    done = float((seen.completion_s[batch] < span).sum())
    return {
        "kept": float(np.mean((first <= promise.ttft_s) & (gap <= promise.tpot_s))),
        "first": float(np.mean(first <= promise.ttft_s)),
        "gap": float(np.mean(gap <= promise.tpot_s)),
        "token_s": float(gap.mean()),
        "work": (done + online.size) / (ceiling * span),
        "given_up": float(seen.preemptions[batch].sum()) / max(done, 1.0),
    }


def _cell(machine: Machine, rule: _Rule, real: bool, batch_is: str = "") -> dict[str, Any]:
    runs = [_run(machine, rule, seed, real, batch_is) for seed in range(SEEDS)]
    mean = {kind: float(np.mean([run[kind] for run in runs])) for kind in runs[0]}
    return vars(rule) | {"mean": mean, "kept": [run["kept"] for run in runs]}


def main() -> None:
    """Simulate and write the record."""
    cells = []
    for machine, real in ((CHAT, False), (MIXTURE, False), (CHAT, True)):
        for name, rules in _rules(machine.name).items():
            if real and name not in REAL:
                continue
            for rule in rules:
                told = {"machine": machine.name, "real": real, "rule": name}
                cells.append(told | _cell(machine, rule, real))
    for batch_is in LONGER:
        for name, rules in _longer_rules().items():
            told = {"machine": CHAT.name, "real": False, "rule": name, "batch": batch_is}
            cells += [told | _cell(CHAT, rule, False, batch_is) for rule in rules]
    what = f"batch work beside online work on one engine, {SEEDS} runs of each rule"
    record = provenance(COMMAND, ["numpy"]) | {"what": what, "cells": cells}
    print(f"wrote {write_record(RECORD, record)}")


def check_a_run_is_made_again() -> None:
    """A run of the record, simulated again, keeps the promise to the same share.

    Source: the record, and its command.
    """
    cell = next(
        cell
        for cell in read_record(RECORD)["cells"]
        if (cell["machine"], cell["rule"]) == ("mixture", "places and priority")
    )
    rule = _Rule(cell["in_flight"], cell["places"], cell["priority"])
    again = _run(MIXTURE, rule, 0)["kept"]
    checks.close("kept", again, cell["kept"][0], atol=0.005, kind="simulation")


if __name__ == "__main__":
    main()
