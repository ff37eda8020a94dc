"""An outage of the chat machine, and the retries that follow it, request by request.

An engine stands still. Whoever has waited for its patience without a first token gives up, and
tries again after a pause, up to R times. What the engine does with a request whose client has gone
decides the rest. If it does not learn of it, it serves it, for nobody. If the client's hanging up
cancels the request, it leaves the line, or the step that reads it. A limit on the line refuses what
could not be served in time, at once.

`python -m serving_mathematics.capacity.overload_control.outages` runs the engine through each, in
three minutes, and writes records/outages.json.gz and records/outages_ended.json.gz.

Assumes: refusals cost nothing; clients that wait for the first token, as long as each other; the
places of `limits`, and what `limits` assumes.

Source: `core.fleet`; Bronson et al. (2021) for storms that outlast their cause.
"""

# In one piece: one experiment of a hundred lines; what is longer are its pictures and checks, which
# ask for its runs and so belong to its record.

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.overload_control.limits import _best, _places
from serving_mathematics.capacity.overload_control.storms import budgeted_retry, storm_band
from serving_mathematics.core.fleet.design import Fleet, Retry, never
from serving_mathematics.core.fleet.outcomes import Outcome
from serving_mathematics.core.fleet.policies import back_off
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.view import View
from serving_mathematics.core.machines.machines import CHAT, L40S, Machine
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded

FloatArray = npt.NDArray[np.float64]
PATIENCE_S, RETRIES, BUDGET = 10, 3, 0.1  # of a client [s]; of a request; of first attempts
OUTAGE_S = (30, 60)  # when the engine stands still [s]
CLIP_S, BIN_S = 300, 10  # what is shown, and counted together [s]
LATER_S, HOUR_S = 900, 3600  # for how long storms are watched [s]
LATE_S = 2.0  # SGLang, which looks every 4 s, learns after 12 s of a client that left after 10 [s]
SEEDS = tuple(range(1, 17))
GUARDS = ["nothing", "cancels", "refuses"]
HABITS = ["none", "three each", "a budget of a tenth"]


class _Run(NamedTuple):
    """Requests through an outage."""

    asked: Requests
    outcome: Outcome
    attempts_s: FloatArray  # when each attempt was sent
    line: FloatArray  # moments, and how many wait, shape (attempts, 2)


def _run(
    load: float,
    guard: str,
    habit: str,
    seconds: int = CLIP_S,
    *,
    outage_s: tuple[float, float] = OUTAGE_S,
    seed: int = 1,
    pause_s: float = 0.5,
    hears_s: float = 0.0,
    machine: Machine = CHAT,
) -> _Run:
    """A machine, whose load is given in its ceiling with all places. pause_s: before the first
    retry. hears_s: until the engine knows who has left."""
    rng = np.random.default_rng(seed)
    rate = load * machine.ceiling_per_s
    arrivals = np.cumsum(rng.exponential(1 / rate, int(1.2 * rate * seconds) + 100))
    arrivals = arrivals[arrivals < seconds]
    drawn = draw_lengths(rng, machine.traffic, arrivals.size)
    asked = Requests(
        arrivals,
        drawn.prompt_tokens,
        drawn.output_tokens,
        drawn.cached_tokens,
        patience_s=np.full(arrivals.size, float(PATIENCE_S)),
    )
    rule: Retry = partial(back_off, max_retries=RETRIES, initial_s=pause_s, max_s=8 * pause_s)
    if habit == "none":
        rule = never
    elif habit == HABITS[2]:
        rule = partial(budgeted_retry, budget=BUDGET, retry=rule)
    retries, line = list[float](), list[tuple[float, int]]()

    def retry(request: int, attempt: int, view: View) -> float:
        wait_s = rule(request, attempt, view)
        if view.now + wait_s >= seconds:  # which nobody looks at
            return math.inf
        retries.append(view.now + wait_s)
        return wait_s

    def route(_request: int, view: View) -> int:
        line.append((view.now, view.waiting[0]))
        return 0

    fleet = Fleet(
        [machine.limited(_places(machine)).engine],
        route,
        most_waiting=_best(machine, "requests") if guard == "refuses" else math.inf,
        retry=retry,
        stalls=[(*outage_s, 0)],
        cancels=guard == "cancels",
        hears_s=hears_s,
    )
    outcome = simulate_fleet(asked, fleet, np.random.default_rng(seed))
    return _Run(asked, outcome, np.sort(np.append(arrivals, retries)), np.array(line))


class _Storm(NamedTuple):
    """What happens in every so many seconds: attempts and first tokens within the patience, both a
    second, in percent of the ceiling; requests that wait at the end. And in all: when requests are
    answered again, after the outage [s], or −1 for never; and in the last third, requests answered
    in time [%]."""

    attempts: list[float]
    in_time: list[float]
    waiting: list[float]
    back_s: float
    answered: float


@recorded(_Storm, "outages")
def _storm(
    load: float,
    guard: str,
    habit: str,
    seconds: int = CLIP_S,
    *,
    seed: int = 1,
    pause_s: float = 0.5,
    hears_s: float = 0.0,
    machine: Machine = CHAT,
) -> _Storm:
    """A machine through an outage of half a minute."""
    asked = (load, guard, habit, seconds)
    run = _run(*asked, seed=seed, pause_s=pause_s, hears_s=hears_s, machine=machine)
    edges = np.arange(0, seconds + 1, BIN_S)
    due, first = run.outcome.due_s, run.outcome.first_token_s
    answered = ~np.isnan(first)
    came = np.histogram(due, edges)[0]
    missed = np.flatnonzero(np.histogram(due[answered], edges)[0] < 0.95 * came)
    last = float(edges[missed[-1] + 1] - OUTAGE_S[1]) if missed.size else 0.0
    back = max(last, 0.0)  # whom a limit serves through the outage is back at once
    percent = 100 / machine.ceiling_per_s / BIN_S
    seen = np.searchsorted(run.line[:, 0], edges[1:]) - 1
    return _Storm(
        (percent * np.histogram(run.attempts_s, edges)[0]).round(1).tolist(),
        (percent * np.histogram(first[answered], edges)[0]).round(1).tolist(),
        run.line[seen, 1].tolist(),
        back if back < seconds - OUTAGE_S[1] else -1.0,
        100 * float(answered[due > 2 * seconds / 3].mean()),
    )


class _Backs(NamedTuple):
    """When requests are answered again, in each draw [s]; −1 for never."""

    each_s: list[float]


@recorded(_Backs, "outages_ended")
def _backs(
    load: float, guard: str, habit: str, seconds: int, hears_s: float, machine: Machine
) -> _Backs:
    """A machine through many outages."""
    asked = (load, guard, habit, seconds)
    runs = (_storm.again(*asked, seed=n, hears_s=hears_s, machine=machine) for n in SEEDS)
    return _Backs([run.back_s for run in runs])


def _back_s(
    load: float,
    guard: str,
    habit: str,
    seconds: int = LATER_S,
    hears_s: float = 0.0,
    machine: Machine = CHAT,
) -> float:
    """When requests are answered again, after the outage, averaged over draws [s]; infinite if in
    one of them they never are."""
    each_s = _backs(load, guard, habit, seconds, hears_s, machine).each_s
    return math.inf if min(each_s) < 0 else float(np.mean(each_s))


def _carried(machine: Machine = CHAT) -> float:
    """What the engine carries with the places that it keeps, over its ceiling."""
    return machine.limited(_places(machine)).ceiling_per_s / machine.ceiling_per_s


def example() -> SimpleNamespace:
    """Numbers of the page, in percent of the ceiling, seconds and minutes."""
    return SimpleNamespace(
        band_low=100 * storm_band(_carried(), 1 + RETRIES)[0],
        back_draws=len(SEEDS),
        refuse_back_s=_back_s(0.9, "refuses", HABITS[1], CLIP_S),
        budget_back_s=_back_s(0.5, "nothing", HABITS[2]),
        budget_band_low=100 * storm_band(_carried(), 1 + BUDGET)[0],
    )


def figure_storm(figure: Figure) -> None:
    """An outage of half a minute, and three retries each. With an engine that serves clients who
    have gone, nobody is answered any more. Cancelling ends the storm at half load, but not near the
    ceiling; a limit ends it at both.

    Alt: Six panels of rates against time over five minutes, a column for each guard of the engine.
    In the first column attempts rise after the outage and stay high, while answers stay at zero. In
    the second they fall back in the upper panel; in the lower one attempts stay three times as high
    as before, and answers at a third. In the third column they fall back in both.
    """
    figure.set_size_inches(5.8, 4.8)
    grid = figure.subplots(2, 3, sharey="row")
    moments = np.arange(BIN_S, CLIP_S + 1, BIN_S)
    for row, load in zip(grid, (0.5, 0.9), strict=True):
        for axes, guard in zip(row, GUARDS, strict=True):
            storm = _storm(load, guard, HABITS[1])
            axes.plot(moments, storm.attempts, color="C1")
            axes.plot(moments, storm.in_time, color="C0")
            axes.axvspan(*OUTAGE_S, color="C4", alpha=0.2, lw=0)
            axes.set_title(f"{guard}, {100 * load:.0f}% load")
            axes.set(xlabel="time [s]", ylabel="rate [% of the ceiling]")
            axes.set_xticks(range(0, CLIP_S + 1, 100))
    grid[0, 0].annotate("attempts", (110, 140), color="C1")
    grid[0, 0].annotate("in time", (150, 12), color="C0")


# In one piece: a picture's data, panel by panel, as the page draws them.
def slider_storm() -> dict[str, Any]:
    """The engine stands still from the 30th to the 60th second. What ends the storm?"""
    loads = [20, 30, 50, 70, 90]

    def told(series: str) -> list[list[list[list[float]]]]:
        """Of each run, by control."""
        return [
            [
                [getattr(_storm(load / 100, guard, habit), series) for habit in HABITS]
                for guard in GUARDS
            ]
            for load in loads
        ]

    def rate(label: str, state: str, series: str) -> dict[str, Any]:
        """A curve in percent of the ceiling."""
        return {
            "label": label,
            "unit": "%",
            "decimals": 0,
            "state": state,
            "values": told(series),
        }

    return {
        "controls": [
            {"label": "load", "values": loads, "text": "{}%", "start": 50},
            {
                "label": "the engine",
                "values": ["does nothing", *GUARDS[1:]],
                "start": "does nothing",
            },
            {"label": "retries", "values": HABITS, "start": HABITS[1]},
        ],
        "clock": {
            "label": "time",
            "unit": "s",
            "decimals": 0,
            "values": np.arange(BIN_S, CLIP_S + 1, BIN_S),
            "start": 210,
            "events": [(*OUTAGE_S, "stands still")],
        },
        "panels": [
            {
                "kind": "curves",
                "y": {"label": "rate", "unit": "% of the ceiling", "range": (0, 430)},
                "curves": [
                    rate("attempts", "prompt", "attempts"),
                    rate("in time", "answer", "in_time"),
                ],
            },
            {
                "kind": "curves",
                "y": {"label": "requests that wait", "unit": "", "range": (0, 16_500)},
                "curves": [
                    {
                        "label": "wait",
                        "unit": "",
                        "decimals": 0,
                        "state": "waits",
                        "values": told("waiting"),
                    }
                ],
            },
        ],
        "legend": {"prompt": "attempts", "answer": "answered in time", "waits": "wait"},
        "reading": "After {time}, attempts come at {attempts} of the ceiling, answers in time begin"
        " at {in time} of it, and {wait} requests wait.",
    }


def check_storm_in_its_band() -> None:
    """With dead work, a storm outlasts its cause where λ(1 + R) ≥ μ, with μ what the engine carries
    with its places: at three tenths of the ceiling, and not at a fifth. Then all attempts keep
    arriving: at half load, twice the ceiling. Without retries the queue is worked off even at four
    fifths.

    Source: the band; the engine, request by request; by hand, half of the ceiling four times.
    """
    edge = storm_band(_carried(), 1 + RETRIES)[0]
    for load in (0.2, 0.3):
        answered = _storm(load, "nothing", HABITS[1], LATER_S).answered
        checks.holds(f"three each, load {load:.2f}", (answered < 50) == (load > edge), got=answered)
    attempts = float(np.mean(_storm(0.5, "nothing", HABITS[1]).attempts[-6:]))
    due = 100 * 0.5 * (1 + RETRIES)
    checks.close("attempts [% of the ceiling]", attempts, due, rtol=0.04, kind="simulation")
    calm = _storm(0.8, "nothing", "none", LATER_S).answered
    checks.inside("no retries, load 0.8: answered [%]", calm, 99, 100)


def check_how_long_a_budget_takes() -> None:
    """With a budget of a tenth, the queue shrinks by what the engine carries with its places, less
    1.1 times the load, until the wait is as short as the clients' patience; without retries, by
    what it carries less the load. With the budget at nine tenths of the ceiling, above the edge of
    the band, the storm never ends.

    Source: by hand, Aλ times the outage less μ times the patience, over μ − Aλ.
    """
    most = _carried()
    for load, habit, attempts in (
        (0.8, "none", 1.0),
        (0.7, HABITS[2], 1 + BUDGET),
        (0.8, HABITS[2], 1 + BUDGET),
    ):
        came = attempts * load
        due = (came * (OUTAGE_S[1] - OUTAGE_S[0]) - most * PATIENCE_S) / (most - came)
        got = _back_s(load, "nothing", habit)
        checks.close(f"{habit}, back at {load} [s]", got, due, rtol=0.25, kind="simulation")
    for load, lasts in ((0.8, False), (0.9, True)):
        inside = load > storm_band(most, 1 + BUDGET)[0]
        back = _back_s(load, "nothing", HABITS[2])
        checks.holds(f"lasts at {load}", inside == lasts == (back == math.inf), got=back)


def check_refusing_ends_it() -> None:
    """With a limit on what waits and three retries, everybody is answered again within half a
    minute of the outage, at loads up to nine tenths. At nine tenths, chance may refuse some later:
    four minutes are watched.

    Source: the engine, request by request, sixteen draws.
    """
    for load, seconds in ((0.3, LATER_S), (0.5, LATER_S), (0.9, CLIP_S)):
        back = _back_s(load, "refuses", HABITS[1], seconds)
        checks.inside(f"load {load}: back after [s]", back, 0.0, 30.0)


def check_cancelling_ends_it_below_the_ceiling() -> None:
    """If requests whose clients give up leave the queue and the step, everybody is soon answered
    again at half load and at 70%. At 90%, it takes a quarter of an hour or more.

    Source: the engine, request by request.
    """
    half, more = (_back_s(load, "cancels", HABITS[1]) for load in (0.5, 0.7))
    checks.inside("load 0.5: back after [s]", half, 0.0, 20.0)
    checks.inside("load 0.7: back after [s]", more, 10.0, 120.0)
    near = _back_s(0.9, "cancels", HABITS[1], HOUR_S)
    checks.inside("load 0.9: back after [s]", near, 900, 3000)


def check_who_hears_late_cancels_in_vain() -> None:
    """If an engine hears two seconds late that a client has left, the next has left too, and the
    storm at half load or at 70% still goes on a quarter of an hour after the outage. At a fifth of
    the ceiling it ends, and so it does on an L40S at half of what its places carry.

    Source: the engine, request by request, sixteen draws.
    """
    for load in (0.5, 0.7):
        back = _back_s(load, "cancels", HABITS[1], hears_s=LATE_S)
        checks.holds(f"load {load}: never", back == math.inf, got=back)
    low = _back_s(0.2, "cancels", HABITS[1], hears_s=LATE_S)
    checks.inside("load 0.2: back after [s]", low, 0.0, 30.0)
    half = _back_s(0.5 * _carried(L40S), "cancels", HABITS[1], hears_s=LATE_S, machine=L40S)
    checks.inside("L40S, half load: back after [s]", half, 0.0, 30.0)


def check_backoff_does_not_end_a_storm() -> None:
    """With pauses ten and forty times as long, the storm at half load lasts all the same.

    Source: the engine, request by request, a quarter of an hour later.
    """
    for pause_s in (0.5, 5.0, 20.0):
        storm = _storm(0.5, "nothing", HABITS[1], LATER_S, pause_s=pause_s)
        checks.inside(f"pause {pause_s:g} s: answered [%]", storm.answered, 0.0, 2.0)


def check_backoff_ends_a_storm_of_few_clients() -> None:
    """A hundred and fifty clients, each of which asks again only when it has its answer, feed a
    storm with pauses of up to four seconds, but not with pauses of up to forty: they make at most N
    over patience plus pause attempts a second, which is then less than the engine carries.

    Source: the engine with eight places, as many calls of each as the run lasts; the quotient.
    """
    engine, rng, calls, clients = CHAT.limited(8).engine, np.random.default_rng(1), 10, 150
    turn = np.tile(np.arange(calls), clients)
    drawn, first = draw_lengths(rng, CHAT.traffic, turn.size), turn == 0
    asked = Requests(
        np.repeat(np.sort(rng.uniform(0, 50, clients)), calls),
        drawn.prompt_tokens,
        drawn.output_tokens,
        after=np.where(first, -1, np.arange(turn.size) - 1),
        pause_s=np.where(first, 0.0, rng.exponential(50, turn.size)),
        patience_s=np.full(turn.size, float(PATIENCE_S)),
    )
    most_per_s = CHAT.limited(8).ceiling_per_s
    for pause_s, ends in ((0.5, False), (5.0, True)):
        rule = partial(back_off, max_retries=30, initial_s=pause_s, max_s=8 * pause_s)

        def retry(request: int, attempt: int, view: View, rule: Retry = rule) -> float:
            return rule(request, attempt, view) if view.now < CLIP_S else math.inf

        fleet = Fleet([engine], retry=retry, stalls=[(90.0, 120.0, 0)], cancels=False)
        first_s = simulate_fleet(asked, fleet, np.random.default_rng(1)).first_token_s
        answered = float(np.mean((first_s > 200) & (first_s < CLIP_S))) * turn.size / (CLIP_S - 200)
        label = f"pauses from {pause_s:g} s"
        told = (2.0, most_per_s) if ends else (0.0, 0.1)
        checks.inside(f"{label}: answered [1/s]", answered, *told)
        least = clients / (PATIENCE_S + 8 * pause_s) < most_per_s
        checks.equal(f"{label}: the quotient says so", least, ends)


def check_a_run_is_made_again() -> None:
    """Two recorded runs, simulated again, are the same in all their numbers.

    Source: the record, and its command.
    """
    for load, guard, habit in ((0.7, "cancels", HABITS[1]), (0.2, "nothing", HABITS[2])):
        again, known = (one(load, guard, habit) for one in (_storm.again, _storm))
        for part, got in again._asdict().items():
            label = f"{load:g}, {guard}, {habit}: {part}"
            checks.close(label, got, getattr(known, part), rtol=1e-6, kind="simulation")


if __name__ == "__main__":
    _storm.make()
