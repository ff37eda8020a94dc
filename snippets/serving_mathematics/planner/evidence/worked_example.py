"""The worked example: one question, with everything that the pages say of it.

What the form asks as it stands is planned once, and so is the same with weights in 4 bits; the
numbers of the text and the checks are of these runs.

Assumes: what `fleet_search` assumes.

Source: `capacity_planner` for the plan, `configurations` for the answer.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.batching.continuous_batching import TICK_S
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.hardware.deployed_engine import MOST_PLACES
from serving_mathematics.planner.capacity_planner.capacity_planner import coarser
from serving_mathematics.planner.capacity_planner.fleet_search import (
    BUDGETS,
    STEADY,
    WORKED,
    WORKED_TRAFFIC,
    Fleets,
    _four_times,
    settled,
)
from serving_mathematics.planner.capacity_planner.judged_requests import (
    QUANTILES,
    requests_to_judge,
)
from serving_mathematics.planner.configurations import Answer, _few_and_many, answer
from serving_mathematics.planner.questions.question import _split_name
from serving_mathematics.planner.questions.questions import read_choices, read_question
from serving_mathematics.planner.questions.traffic import Traffic, share_of_traffic
from serving_mathematics.support import checks

STRICT: dict[str, float | str] = {  # a TTFT of which the steps around a prompt take most
    "model": "Llama-3.1-8B",
    "parallelism": "tp1",
    "rate_per_s": 100,
    "mean_prompt_tokens": 500,
    "ttft_s": 0.15,
    "requests": 600,
}


@functools.cache
def _worked() -> tuple[Fleets, Fleets, Answer]:
    """Shorter and longer runs, and the answer, as the form asks."""
    told = answer(read_choices({"rate_per_s": "60"}))
    fleet = Fleets(told.question)
    return fleet, _four_times(fleet), told


def example() -> SimpleNamespace:
    """Numbers that the text quotes, in the units that the names say."""
    fleet, long, told = _worked()
    found = told.plan
    best, engine, made = found.best, found.engine, fleet.made
    energy = told.energy
    four, _ = settled(Fleets(read_question({"rate_per_s": 60, "precision": "int4"})))
    assert found.usual is not None
    assert found.quantized is not None
    assert energy is not None
    assert engine.table is not None
    asked = {"rate_per_s": 60, "precision": told.question.deployment.precision}
    installed_few, installed_many = _few_and_many(read_question(asked | {"front": "unknown"}))
    strict_tuned, strict_unknown = _strict(STRICT["ttft_s"])
    memory_tokens = engine.kv_blocks * engine.block_tokens
    budget, places = WORKED.usual_limits
    alone = engine.elapsed_s(1, 0, 1, 1000, engine.table.batch[1])
    crowd = engine.elapsed_s(1, 0, 100, 100_000, engine.table.batch[100])
    prompts = [TICK_S * engine.table.prompt[n] for n in (1000, 8000)]
    low, high = told.error.span()
    return SimpleNamespace(
        p99_requests=requests_to_judge(0.99),
        step_one_ms=1e3 * alone,
        step_hundred_ms=1e3 * crowd,
        prompt_ms=1e3 * (prompts[0] + TICK_S * engine.table.prompt_end),
        around_ms=1e3 * made.around_s,
        memory_tokens=memory_tokens,
        requests_simulated=WORKED.requests,
        load_percent=100 * found.load,
        busy_percent=100 * best.busy,
        usual_budget=budget,
        usual_places=places,
        usual_count=found.usual.replicas,
        error_runs=told.error.runs,
        error_low=low,
        error_high=high,
        installed_few=installed_few,
        installed_many=installed_many,
        strict_tuned=strict_tuned,
        strict_unknown=strict_unknown,
        fewer_load_percent=100 * found.fewer_load,
        steady_percent=100 * STEADY,
        energy_joules=energy.joules_a_token,
        energy_least_joules=energy.least_joules,
        energy_least_places=energy.least_places,
        energy_alone_joules=energy.alone_joules,
        energy_runs=energy.runs,
        energy_error_percent=100 * energy.error,
        short_less_percent=100 * (1 - found.quantized.tpot[-1].value / four.tpot[-1].value),
        closed_rows="\n".join(_closed_row(long, n) for n in (8, 6, 4, 3)),
    )


@functools.cache
def _strict(ttft_s: float | str) -> tuple[int, int]:
    """Replicas of that question at a TTFT, behind the benchmark's front and behind unknown."""
    tuned, unknown = (
        settled(Fleets(read_question(STRICT | {"ttft_s": ttft_s, "front": front})))[0].replicas
        for front in ("benchmark", "unknown")
    )
    return tuned, unknown


def _closed_row(fleet: Fleets, replicas: int) -> str:
    """By how much the closed form differs from the simulation, as a row of the page's table."""
    run = fleet.measured(replicas, MOST_PLACES, BUDGETS[0])
    assert run is not None
    told = fleet.estimate(run)
    pairs = [(told.concurrency, run.concurrency), (told.tpot_s, run.tpot[0].value)]
    pairs += [(told.ttft_s[i], run.ttft[i].value) for i in range(len(QUANTILES))]
    errors = [f"{100 * (closed / got - 1):+z.0f}%".replace("-", "−") for closed, got in pairs]
    return f"| {replicas} | {100 * told.load:.0f}% | {' | '.join(errors)} |"


def check_smallest_fleet() -> None:
    """The plan keeps both objectives, and one replica fewer does not at limits of powers of four.

    Source: limits 1, 4, 16, …, 1,024 and every budget for one replica fewer; what differs and is
    not excluded by twice its intervals, in runs as long as those on which the answer rests.
    """
    fleet, long, told = _worked()
    found = told.plan
    checks.holds("the plan keeps both", fleet.keeps(found.best), got=found.best.replicas)
    fewer = found.best.replicas - 1
    limits = [(4**k, budget) for budget in BUDGETS for k in range(6) if 4**k <= budget]
    runs = [fleet.measured(fewer, *some) for some in limits]
    near = {(r.ttft, r.tpot): (r.places, r.budget) for r in runs if r and fleet.may_keep(r, 2.0)}
    kept = [some for some in near.values() if long.keeping(fewer, *some)]
    checks.equal("limits at which one fewer keeps them", kept, [])


def check_unknown_is_cautious_of_the_time_per_token() -> None:
    """Behind the front unknown steps are longer and fewer of them pass around a prompt: where the
    TTFT is strict it takes fewer replicas than the benchmark's, where it is not no fewer.

    Source: the same requests simulated behind both fronts, at a TTFT of 0.15 s and of 1 s.
    """
    tuned, unknown = (
        Fleets(read_question(STRICT | {"front": front})).made for front in ("benchmark", "unknown")
    )
    checks.holds("around a prompt, shorter", unknown.around_s < tuned.around_s)
    tight, loose = _strict(STRICT["ttft_s"]), _strict(1.0)
    checks.holds("a strict TTFT: fewer behind unknown", tight[1] < tight[0], got=tight)
    checks.holds("a loose TTFT: no fewer", loose[1] >= loose[0], got=loose)


def check_overload_grows_with_the_run() -> None:
    """One replica fewer than the plan's is told to be overloaded; of one alone TTFT grows with the
    length of the run, and of the plan's it does not.

    Source: the same replica simulated with four times the requests.
    """
    fleet, long, told = _worked()
    found = told.plan
    checks.holds("one fewer [%]", found.fewer_load > STEADY > found.load, got=found.fewer_load)
    medians = []
    for replicas in (1, found.best.replicas):
        for one in (fleet, long):
            traffic = replace(WORKED_TRAFFIC, rate_per_s=60 / replicas)
            rng = np.random.default_rng(1)
            share = share_of_traffic(rng, traffic, 1, one.question.requests)
            share = one.within(share, fleet.longest)
            engine = replace(fleet.engine, token_budget=2048, max_sequences=1024)
            served = simulate(share, engine)
            medians.append(float(np.median(served.first_token_s - share.arrival_s)))
    checks.holds("overloaded: longer", medians[1] > 3 * medians[0], got=medians[1] / medians[0])
    checks.inside("planned: as long", medians[3] / medians[2], 0.9, 1.1)


def check_more_replicas_are_faster() -> None:
    """Every replica more lowers p99 of TTFT and of TPOT.

    Source: theory of the share of traffic, λ/n; fleets of 3, 4, 5, 6 and 8 with the same limits.
    """
    fleet, _, _ = _worked()
    runs = [run for n in (3, 4, 5, 6, 8) if (run := fleet.performance(n, 256, 2048))]
    for name in ("ttft", "tpot"):
        values = [getattr(run, name)[2].value for run in runs]
        checks.holds(
            f"{name} falls", bool(np.all(np.diff(values) < 0)), got=np.round(values, 3).tolist()
        )


def check_price_by_hand() -> None:
    """Replicas of $2 an hour over 60 requests a second of 250 tokens, and one that may fail.

    Source: 10⁶·2n/(3600·60·250) = n/27 by hand; the requests drawn have a mean of 250 within three
    standard errors, 250/√4000 each.
    """
    fleet, _, told = _worked()
    found = told.plan
    expected = found.best.replicas / 27
    checks.close("$ for 10⁶ tokens", found.best.usd_per_million, expected, rtol=1e-12)
    spare = Fleets(replace(WORKED, spare_replicas=1, requests=400)).performance(5, 64, 2048)
    assert spare is not None
    checks.close("with one to spare", spare.usd_per_million, 6 / 27, rtol=1e-12)
    mean = float(fleet.sample.output_tokens.mean())
    checks.close("mean length", mean, 250, atol=3 * 250 / math.sqrt(4000), kind="simulation")


def check_fewer_bits_need_no_more_than_sixteen() -> None:
    """Weights in 8 or 4 bits need no more replicas here than in 16, and leave more memory for the
    cache; those in 4 are computed in 16, and may need more than those in 8, as here.

    Source: the same requests, twice as many a second; 6.98·10⁹ parameters, all but the
    vocabulary's, of 15/32 bytes less from 8 to 4 bits with their scales, over 131,072 bytes a token
    by hand.
    """
    fleet, _, told = _worked()
    one = told.question.deployment
    twice = replace(WORKED, traffic=Traffic(2 * WORKED_TRAFFIC.rate_per_s), requests=1000)
    counts = {
        name: Fleets(replace(twice, deployment=replace(one, precision=name))).fewest().replicas
        for name in ("bf16", "fp8", "int4")
    }
    for name in ("fp8", "int4"):
        checks.holds(name, counts[name] <= counts["bf16"], got=counts[name])
    checks.holds("4 bits and 8", counts["int4"] > counts["fp8"], got=counts["fp8"])
    smaller = coarser(fleet.question.deployment)
    assert smaller is not None
    four = Fleets(replace(WORKED, deployment=smaller)).engine
    gained = 16 * (four.kv_blocks - fleet.engine.kv_blocks)
    checks.close("tokens gained", gained, 6_979_321_856 * 15 / 32 / 131_072, atol=16)


def check_the_form_is_the_worked_example() -> None:
    """What the form asks as it stands is the question of the worked example.

    Source: the planner's own constant, which the figure and the text use.
    """
    _, _, told = _worked()
    checks.equal("device", told.question.deployment.system == WORKED.deployment.system, True)
    checks.equal("promise", told.question.promise, WORKED.promise)
    checks.equal("traffic", told.question.traffic, WORKED.traffic)
    checks.equal("split", _split_name(told.question), _split_name(WORKED))
