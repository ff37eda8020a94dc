"""The book's machines beside the planner's answers, limits, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import TICK_S, Workload
from serving_mathematics.core.hardware.deployments import cache_room_bytes
from serving_mathematics.core.hardware.step_time import FITTED, count_work, decode_step_s, prompt_s
from serving_mathematics.core.machines.machines import (
    AGENTS,
    CHAT,
    MIXTURE,
    HowWrong,
    Machine,
    Promise,
)
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.planner.capacity_planner.closed_form import closed_form
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets
from serving_mathematics.planner.capacity_planner.model_errors import model_error
from serving_mathematics.planner.questions.objectives import promised
from serving_mathematics.planner.questions.question import Question

MACHINES = (CHAT, MIXTURE, AGENTS)


def sample_of(machine: Machine) -> Workload:
    """A machine's requests as the planner takes them."""
    one = machine.sample
    times = np.arange(one.prompt_tokens.size) / machine.ceiling_per_s
    return Workload(times, one.prompt_tokens, one.output_tokens, one.cached_tokens)


@pytest.mark.parametrize("machine", [CHAT, MIXTURE])
def test_steps_and_memory_are_the_planners(machine: Machine) -> None:
    """The planner, asked for the same deployment and requests, has the same engine."""
    objective = promised(machine.promise.ttft_s, machine.promise.tpot_s)
    asked = Question(machine.deployment, sample_of(machine), objective)
    theirs, own = Fleets(asked).engine, machine.engine
    assert theirs.kv_blocks == own.kv_blocks
    assert theirs.context_token_s == pytest.approx(own.context_token_s, rel=1e-9)
    assert theirs.table is not None
    assert own.table is not None
    for batch in (1, 7, machine.places):
        pair = [one.step_s + TICK_S * one.table.batch[batch] for one in (theirs, own) if one.table]
        assert pair[0] == pytest.approx(pair[1], rel=1e-9)
    for tokens in (1, 700, 4000):
        assert theirs.table.prompt[tokens] == own.table.prompt[tokens]
    told = closed_form(sample_of(machine), 0.5 * machine.ceiling_per_s, own)
    assert told.load == pytest.approx(0.5, rel=0.01)
    assert told.places == pytest.approx(machine.sequences_at_most, abs=2)


@pytest.mark.parametrize("machine", MACHINES)
def test_steps_are_those_of_the_scored_model(machine: Machine) -> None:
    work, context = count_work([machine.deployment]), machine.mean_context_tokens
    for sequences in (1.0, float(machine.places)):
        told = decode_step_s(work, FITTED, np.array([sequences]), np.array([context]))
        assert machine.step_s(sequences) == pytest.approx(float(told[0]), rel=1e-3)
    alone = prompt_s(replace(work, prompt=np.array([2000.0])), FITTED) + FITTED.prompt_s
    assert machine.prompt_s([2000])[0] == pytest.approx(float(alone[0]), rel=1e-6)


def test_the_memory_is_the_one_functions() -> None:
    for machine in MACHINES:
        room = cache_room_bytes(machine.deployment) / machine.made.token_bytes
        assert machine.cache_tokens == pytest.approx(room, rel=1e-3)
        assert machine.cache_tokens <= room


def test_errors_are_the_records() -> None:
    """The planner's wider kind has the agents' runs among its own; factors are of one size."""
    for machine in (MIXTURE, AGENTS):
        wide = model_error(machine.deployment.kind, 8)
        assert machine.how_wrong.runs < wide.runs
        assert wide.low < machine.how_wrong.middle < wide.high


def test_fewer_places_carry_less() -> None:
    ceilings = [CHAT.limited(places).ceiling_per_s for places in (1, 8, 64, 256)]
    assert ceilings == sorted(ceilings)
    alone = CHAT.limited(1)
    lengths = alone.sample
    own = CHAT.step_s(1) * (lengths.output_tokens - 1).mean() + CHAT.step_s(0)
    own = own + CHAT.prompt_s(lengths.prompt_tokens).mean()
    assert alone.ceiling_per_s == pytest.approx(1 / float(own), rel=0.01)
    assert CHAT.limited() == CHAT
    assert CHAT.limited(token_budget=8192).engine.token_budget == 8192


def test_what_is_promised_and_how_far_it_may_be_off() -> None:
    assert CHAT.promise == Promise(1.0, 0.05, 0.99)
    runs = [68, 45, 54]
    for machine, count in zip(MACHINES, runs, strict=True):
        found = machine.how_wrong
        assert found == HowWrong(found.low, found.middle, found.high, count)
    for wrong in ({"places": 0}, {"token_budget": 1.5}, {"places": True}):
        with pytest.raises(ValueError, match="must be a positive integer"):
            CHAT.limited(**wrong)


def test_prices_and_tokens() -> None:
    assert (CHAT.price_per_hour, AGENTS.price_per_hour) == (2.0, 20.8)
    mean = CHAT.sample.output_tokens.mean()
    assert CHAT.ceiling_tokens_per_s == pytest.approx(CHAT.ceiling_per_s * mean)
    longest = max(draw_lengths(np.random.default_rng(5), CHAT.traffic, 9999).prompt_tokens)
    assert CHAT.prompt_s([longest])[0] > CHAT.prompt_s([longest], [longest - 1])[0]
    assert CHAT.step_s(8, 4000.0) > CHAT.step_s(8, 100.0)
    for wrong in (-1.0, np.nan):
        with pytest.raises(ValueError, match="sequences must be"):
            CHAT.step_s(wrong)
    with pytest.raises(ValueError, match="sequences must be at most 256 places"):
        CHAT.step_s(257)
    with pytest.raises(ValueError, match="model must be one with runs"):
        assert replace(CHAT, devices=16).how_wrong
