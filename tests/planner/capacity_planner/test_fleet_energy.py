"""Energy of a fleet: by hand, limits, where it is least, and what is not known."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.energy import POWER, served_power_w
from serving_mathematics.planner.capacity_planner.fleet_energy import (
    FleetEnergy,
    apart_watts,
    board_w,
    fleet_energy,
    power_error,
)
from serving_mathematics.planner.capacity_planner.fleet_search import WORKED, Fleets, Performance
from serving_mathematics.planner.capacity_planner.separate_fleets import settled_apart
from serving_mathematics.planner.configurations import Answer, answer
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.planner.questions.traffic import Traffic
from serving_mathematics.support.measuring import read_record

FEW: dict[str, object] = {
    "rate_per_s": 20,
    "requests": 150,
    "ttft_s": 3,
    "parallelism": "tp1",
    "precision": "bf16",
    "other_devices": "none",
}


def smallest(question: Question) -> Performance:
    return Fleets(question).fewest()


PLANNED = smallest(replace(WORKED, requests=400))


@functools.cache
def told(**more: object) -> Answer:
    return answer(read_choices(FEW | more))


def energy(found: Answer) -> FleetEnergy:
    assert found.energy is not None
    return found.energy


def test_what_waits_draws_the_idle_share_and_no_fleet_more_than_its_sheet() -> None:
    quiet = replace(WORKED, traffic=Traffic(1e-3), requests=400)
    found = fleet_energy(quiet, smallest(quiet))
    assert found is not None
    assert found.watts == pytest.approx(700 * POWER.idle_hopper, rel=0.01)
    assert found.joules_a_token == pytest.approx(found.watts / (1e-3 * 250))
    most = fleet_energy(WORKED, replace(PLANNED, replicas=1))
    assert most is not None
    assert most.watts == 700.0
    assert most.kwh_a_day == pytest.approx(16.8)


def test_replicas_that_may_fail_wait() -> None:
    plain = fleet_energy(WORKED, PLANNED)
    spare = fleet_energy(replace(WORKED, spare_replicas=2), PLANNED)
    assert plain is not None
    assert spare is not None
    assert spare.watts - plain.watts == pytest.approx(2 * 700 * POWER.idle_hopper)
    assert spare.least_joules == plain.least_joules


def test_cached_prompts_are_not_computed() -> None:
    fresh, cached = (energy(told(cached_share=share)).watts for share in (0.0, 0.9))
    assert cached < fresh


def test_a_trace_has_its_own_lengths() -> None:
    rng = np.random.default_rng(1)
    size = 400
    asked = Workload(
        np.cumsum(rng.exponential(1 / 20, size)), np.full(size, 1000), np.full(size, 250)
    )
    question = replace(WORKED, traffic=asked, requests=size)
    assert question.mean_lengths == (1000.0, 250.0)
    found = fleet_energy(question, smallest(question))
    assert found is not None
    assert found.joules_a_token == pytest.approx(energy(told()).joules_a_token, rel=0.15)


def test_the_batch_that_takes_least_is_the_least_that_was_tried() -> None:
    """With memory for few, it is all of them; alone a token comes soonest."""
    for share in (0.9, 0.35):
        found = energy(told(memory_share=share))
        assert found.least_joules < found.joules_a_token * 1.05
        assert found.least_s > found.alone_s
    assert found.least_places < energy(told()).least_places


def test_a_device_without_a_published_power_has_none() -> None:
    tpu = replace(WORKED.deployment, system=find_system("TPU v5p"))
    assert board_w(replace(WORKED, deployment=tpu)) is None
    assert fleet_energy(replace(WORKED, deployment=tpu), PLANNED) is None


def test_two_fleets_draw_what_each_does() -> None:
    """Prompts without steps and steps without prompts, by hand; spare replicas of both
    wait."""
    question = replace(WORKED, requests=400, spare_replicas=1)
    run = settled_apart(question)
    watts = apart_watts(question, run)
    assert watts is not None
    one = replace(question.deployment, input_tokens=1000.0, output_tokens=250.0)
    later = 60 * 249 / run.answers
    alone = served_power_w(one, 700.0, 1.0, 0.0, 60 / run.prompts)
    steps = served_power_w(one, 700.0, later * run.tpot[0].value, later, 0.0)
    waits = served_power_w(one, 700.0, 1.0, 0.0, 0.0)
    assert watts == pytest.approx(run.prompts * alone + run.answers * steps + 2 * waits)
    tpu = replace(WORKED.deployment, system=find_system("TPU v5p"))
    assert apart_watts(replace(question, deployment=tpu), run) is None


def test_errors_are_those_of_the_record() -> None:
    scores = read_record("energy_scores")["power at the measured throughput"]
    assert power_error("b200_sxm") == (
        scores["device"]["b200_sxm"]["p90"],
        scores["device"]["b200_sxm"]["runs"],
        True,
    )
    assert power_error("l4") == (scores["all"]["p90"], scores["all"]["runs"], False)


def test_a_device_of_ones_own_has_the_power_that_is_said() -> None:
    sheet = {"peak_tflops": 989, "bandwidth_gb_per_s": 3350, "memory_gib": 80}
    own = told(**sheet, power_w=700)
    assert energy(own).measured is False
    assert energy(own).watts == pytest.approx(energy(told()).watts, rel=0.02)
    assert told(**sheet).energy is None
    for asked, rule in (
        ({"power_w": 300}, "memory_gib must be given where power_w is, got none"),
        ({"power_w": 300, "device": "H100"}, "power_w must be left out where device is given"),
        ({"price_per_kwh": 0}, "price_per_kwh must be a number from 0.001 to 100, got 0"),
        ({"grams_per_kwh": "none"}, "grams_per_kwh must be a number from 0.1 to 3000"),
        ({"price_per_kwh": "12%"}, "did you mean 0.12"),
    ):
        with pytest.raises(ValueError, match=rule.replace("$", r"\$")):
            told(**asked)
