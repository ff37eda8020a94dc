"""What a fleet draws, what a token takes, and at which batch a token would take least.

The traffic says how many tokens a second a replica writes, and the simulation how many requests
share a step; the power model of `energy` turns both into watts. A token then takes the power over
the rate, and a day 24 hours of it. The least energy is sought over batches that are always full.

Assumes: what `energy` does; that a replica without a request draws what it draws between steps,
which is more than a device that nobody uses; that replicas which may fail wait; power as the device
reports it, without host, fans and conversion. Measured were H100 and B200.

Source: `energy` for the model; records/energy_scores.json for its error on models left out.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from serving_mathematics.core.hardware.deployed_engine import MOST_PLACES
from serving_mathematics.core.hardware.energy import (
    BOARD_W,
    ENERGY_SCORES,
    POWER,
    SERVED,
    served_power_w,
)
from serving_mathematics.planner.capacity_planner.closed_form import closed_form
from serving_mathematics.planner.capacity_planner.fleet_search import WORKED, Fleets, Performance
from serving_mathematics.planner.capacity_planner.separate_fleets import (
    Apart,
    SeparateFleets,
    settled_apart,
)
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.traffic import Traffic
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record

HOURS, KILO = 24.0, 1e3


@dataclass(frozen=True)
class FleetEnergy:
    """Power and energy of a planned fleet, and of the batch at which a token takes least."""

    watts: float  # of the fleet, with replicas that may fail
    joules_a_token: float  # generated, its share of the prompt and of waiting in it
    error: float  # that nine of ten measured runs of models left out keep
    runs: int  # of them
    measured: bool  # whether they were on this device
    alone_joules: float  # a token of a replica whose steps have one sequence, always
    alone_s: float  # between tokens there
    least_joules: float  # a token at the batch that takes least
    least_places: int  # sequences in a step there
    least_s: float  # between tokens there

    @property
    def kwh_a_day(self) -> float:
        """Energy of a day [kWh]."""
        return HOURS * self.watts / KILO


def board_w(question: Question) -> float | None:
    """Power on the data sheet of the device [W]; None where none is known.

    question: of a deployment.

    >>> from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
    >>> board_w(WORKED)
    700.0
    """
    return question.power_w or BOARD_W.get(question.deployment.system.name)


def power_error(device: str) -> tuple[float, int, bool]:
    """What the error of power stays below in nine of ten measured runs, each model left out and
    told batch and throughput; how many runs that were, and whether they were on this device.

    device: a system's name.

    >>> power_error("l4")[2], power_error("h100_sxm")[2]
    (False, True)
    """
    scores = read_record(ENERGY_SCORES)[SERVED]
    own = scores["device"].get(device)
    row = own or scores["all"]
    return float(row["p90"]), int(row["runs"]), own is not None


def _drawn_w(
    question: Question, board: float, running: float, tokens_per_s: float, prompts_per_s: float
) -> float:
    """Power of a replica [W]."""
    prompt, answer = question.mean_lengths
    one = replace(
        question.deployment, input_tokens=prompt, output_tokens=answer, shortest_share=1.0
    )
    return served_power_w(one, board, max(1.0, running), tokens_per_s, prompts_per_s)


def _computed_share(fleet: Fleets) -> float:
    """Of prompts, that no cache has."""
    asked = fleet.sample
    return 1 - float(asked.cached_tokens.sum() / asked.prompt_tokens.sum())


def _full(fleet: Fleets, board: float, places: int) -> tuple[float, int, float]:
    """Energy of a token where so many places are always taken [J], the places, and the time in
    which each sequence gets one [s]."""
    question, requests = fleet.question, fleet.full_rate(places)
    rate = requests * question.mean_lengths[1]
    watts = _drawn_w(question, board, places, rate, requests * _computed_share(fleet))
    return watts / rate, places, places / rate


def fleet_energy(question: Question, best: Performance) -> FleetEnergy | None:
    """Power and energy of a planned fleet; None where no power of the device is known.

    question: that was planned. best: what its fleet does.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> told = fleet_energy(_small_answer().question, _small_answer().plan.best)
    >>> 0.05 < told.least_joules < told.joules_a_token < told.alone_joules < 5
    True
    """
    board = board_w(question)
    if board is None:
        return None
    fleet = Fleets(question)
    tokens, requests = (each / best.replicas for each in (fleet.tokens_per_s, fleet.rate_per_s))
    running = best.concurrency / max(best.busy, 1e-9)
    computed = requests * _computed_share(fleet)
    watts = best.replicas * _drawn_w(question, board, running, tokens, computed)
    idle = question.spare_replicas * _drawn_w(question, board, 1.0, 0.0, 0.0)
    endless = replace(fleet.engine, max_sequences=MOST_PLACES, token_budget=8192)
    most = int(closed_form(fleet.sample, 1e-9, endless).places)
    tried = [
        _full(fleet, board, n) for n in sorted({*(2**k for k in range(10)), most}) if n <= most
    ]
    (alone, _, alone_s), (least, places, least_s) = tried[0], min(tried)
    error, runs, measured = power_error(question.deployment.system.name)
    return FleetEnergy(
        watts + idle,
        (watts + idle) / fleet.tokens_per_s,
        error,
        runs,
        measured and question.power_w is None,
        alone,
        alone_s,
        least,
        places,
        least_s,
    )


def apart_watts(question: Question, run: Apart) -> float | None:
    """Power of separate fleets [W]: of one that only computes prompts, and of one that only writes;
    None where no power of the device is known.

    question: that was planned apart. run: its fleets.

    >>> from dataclasses import replace
    >>> from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
    >>> from serving_mathematics.planner.capacity_planner.separate_fleets import settled_apart
    >>> asked = replace(WORKED, requests=100)
    >>> watts = apart_watts(asked, settled_apart(asked))
    >>> 500 < watts < 4 * 700
    True
    """
    asking, board, its = question.of_prompts(), board_w(question), board_w(question.of_prompts())
    if board is None or its is None:
        return None
    pair = SeparateFleets(question)
    fleet = pair.fleet
    later = fleet.tokens_per_s - fleet.rate_per_s  # first tokens come with the prompts
    each = later / run.answers
    computed = fleet.rate_per_s * _computed_share(pair.asking) / run.prompts
    prompts = run.prompts * _drawn_w(asking, its, 1.0, 0.0, computed)
    answers = run.answers * _drawn_w(question, board, each * run.tpot[0].value, each, 0.0)
    idle = _drawn_w(asking, its, 1.0, 0.0, 0.0) + _drawn_w(question, board, 1.0, 0.0, 0.0)
    return prompts + answers + question.spare_replicas * idle


@functools.cache
def _six() -> tuple[Fleets, Performance, FleetEnergy]:
    """The worked question, six replicas for it, and what they draw."""
    fleet = Fleets(WORKED)
    best = fleet.performance(6, 256, 2048)
    assert best is not None
    told = fleet_energy(WORKED, best)
    assert told is not None
    return fleet, best, told


def check_energy_of_a_day_by_hand() -> None:
    """Waiting, weights and cache that are read, and operations, added up over the tokens of a day,
    are the energy of a fleet of six, which none of its devices' limits holds back.

    Source: bytes and operations of Llama-3.1-8B, by hand: 6.98 and 0.53 billion parameters in
    layers and vocabulary, 131,072 bytes a token of context, which is 1,125 in the middle of an
    answer, of 700 W, 3.35 TB/s and 989 TFLOP/s.
    """
    fleet, best, told = _six()
    tokens = fleet.tokens_per_s * 86_400
    layers, words, context = 6_979_321_856, 128_256 * 4096, 1125
    steps = tokens / (best.concurrency / best.busy)
    read = steps * 2 * (layers + words) + tokens * context * 131_072
    scores = 4 * 32 * 4096
    counted = tokens * (2 * (layers + words) + scores * context)
    counted += tokens / 250 * 1000 * (2 * layers + scores * 500)
    waiting = POWER.idle_hopper * best.replicas * 86_400
    busy = POWER.memory * read / 3.35e12 + POWER.arithmetic * counted / 989e12
    checks.close("a day [kWh]", told.kwh_a_day, 700 * (waiting + busy) / 3.6e6, rtol=0.01)
    checks.close("a token [J]", told.joules_a_token, 700 * (waiting + busy) / tokens, rtol=0.01)


def check_least_energy_is_the_largest_batch() -> None:
    """A token takes less energy with every doubling of the batch, while it comes later each time:
    the least energy and the least latency lie at opposite ends.

    Source: the model at each doubling, and the rate at which full batches are served.
    """
    fleet, _, told = _six()
    rows = [_full(fleet, 700.0, 2**power) for power in range(9)]
    joules, times = ([row[place] for row in rows] for place in (0, 2))
    checks.equal("energy falls", joules, sorted(joules, reverse=True))
    checks.equal("a token comes later", times, sorted(times))
    checks.holds("the largest batch", told.least_places > 256, got=told.least_places)
    checks.close("alone [J]", told.alone_joules, joules[0], rtol=1e-9)


def check_two_fleets_do_the_same_work() -> None:
    """What two fleets draw beyond waiting is what one draws beyond it, but for the weights that are
    read in steps of other sizes and for first tokens.

    Source: `fleet_energy` of one fleet of as many replicas; half of what is beyond waiting are
    operations, which are the same.
    """
    question = replace(WORKED, traffic=Traffic(20.0), requests=1000)
    pair = settled_apart(question)
    same = Fleets(question).performance(pair.replicas, 256, 2048)
    assert same is not None
    one, two = fleet_energy(question, same), apart_watts(question, pair)
    assert one is not None
    assert two is not None
    waiting = POWER.idle_hopper * 700 * pair.replicas
    checks.inside("beyond waiting, two over one", (two - waiting) / (one.watts - waiting), 0.75, 1)
