"""An outage, and the retries that follow it: when a storm lasts, and what ends it.

Second by second, as a fluid: attempts come, wait in one line, and are served at the capacity μ.
Whoever has waited for its patience gives up, and tries again after a pause, up to R times. What an
engine does with a request whose client has gone decides the rest. If it does not learn of it, it
serves it, for nobody: dead work. If the client's hanging up cancels the request, it leaves the line
unserved. A limit on the line refuses what could not be served in time, at once.

With dead work every attempt is late once the line is longer than the patience, each request makes
1 + R attempts, and the storm feeds itself where λ(1 + R) ≥ μ. A budget of β retries for each first
attempt makes that λ(1 + β) ≥ μ.

Assumes: refusals cost nothing; equal requests; clients that time out after the same patience; an
engine's capacity for one line, as it is once its places are full.

Source: Bronson et al. (2021) for storms that outlast their cause; balance of flows.
"""

# In one piece: one loop and what is asked of it; half are its pictures and checks, which stand
# beside what they show.

from __future__ import annotations

import functools
import math
from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
PATIENCE_S, RETRIES, BUDGET = 10, 3, 0.1  # of a client [s]; of a request; of first attempts
OUTAGE_S = (30, 60)  # when the engine stands still [s]
CLIP_S = 300  # what is shown [s]
GUARDS = ["nothing", "cancels", "refuses"]
HABITS = ["none", "three each", "a budget of a tenth"]


def retry_amplification(failure: float, retries: int) -> float:
    """Attempts for each request, 1 + p + … + p^R, when each fails with probability p.

    failure: p in [0, 1]. retries: R ≥ 0. Raises ValueError outside these ranges.

    >>> retry_amplification(failure=0.5, retries=2)
    1.75
    """
    failure = require_in("[0, 1]", failure=failure)
    retries = require_non_negative_integer(retries=retries)
    require_work(retries, retries=retries)
    return float(sum(failure**attempt for attempt in range(int(retries) + 1)))


def storm_band(capacity_per_s: float, attempts: float) -> tuple[float, float]:
    """Loads of first attempts between which a storm, once begun, feeds itself, [μ/A, μ) [1/s].

    capacity_per_s: μ, positive. attempts: A of each request at most, 1 + R, or 1 + β with a budget;
    at least 1. Raises ValueError outside these ranges.

    >>> storm_band(capacity_per_s=100.0, attempts=4)
    (25.0, 100.0)
    """
    capacity_per_s = require_positive(capacity_per_s=capacity_per_s)
    attempts = require_positive(attempts=attempts)
    require(attempts >= 1, "attempts", "at least 1", attempts)
    return capacity_per_s / attempts, capacity_per_s


@dataclass(frozen=True, eq=False)
class Storm:
    """What happens in each second: attempts sent, and answers that somebody still waits for, a
    second; and seconds that an attempt would wait."""

    attempts: FloatArray
    in_time: FloatArray
    wait_s: FloatArray


# In one piece: one loop, whose numbers are all of its state: as locals they are read fastest.
def run_storm(
    load_per_s: float,
    capacity_per_s: float,
    *,
    patience_s: int,
    outage_s: tuple[int, int],
    horizon_s: int,
    retries: int = 0,
    budget: float = math.inf,
    cancels: bool = False,
    most_wait_s: float = math.inf,
    pause_s: int = 1,
) -> Storm:
    """An outage, and what follows.

    load_per_s: first attempts. capacity_per_s: μ. patience_s: after which a client gives up, and
    whole. outage_s: begin and end. retries: R of each request. budget: of retries, for each first
    attempt. cancels: whether whoever gives up leaves the line. most_wait_s: of the line; more is
    refused. pause_s: before the k-th retry, up to k times so long, evenly. Raises ValueError
    outside these ranges.

    >>> calm = run_storm(5.0, 10.0, patience_s=4, outage_s=(0, 0), horizon_s=9)
    >>> float(calm.in_time.sum()), float(calm.wait_s.max())
    (45.0, 0.0)
    """
    load_per_s, capacity_per_s = require_positive(
        load_per_s=load_per_s, capacity_per_s=capacity_per_s
    )
    patience_s, horizon_s, pause_s = require_positive_integer(
        patience_s=patience_s, horizon_s=horizon_s, pause_s=pause_s
    )
    retries = require_non_negative_integer(retries=retries)
    require(retries <= 10, "retries", "at most 10", retries)
    require(budget >= 0, "budget", "at least 0", budget)
    require(most_wait_s > 0, "most_wait_s", "positive", most_wait_s)
    require_work(50 * horizon_s, horizon_s=horizon_s)
    require_work(50 * pause_s, pause_s=pause_s)
    begin, end = outage_s
    rule = "a begin from 0 on and an end that is no earlier, both finite"
    require(0 <= begin <= end < math.inf, "outage_s", rule, outage_s)
    length, last = int(horizon_s), int(retries)
    due = np.zeros((length + int(pause_s) * (last + 1) + 2, last + 1))  # attempts, by number
    line: deque[list[float]] = deque()  # second, attempt, count; a dead one has attempt −1
    allowed, rows = 0.0, []

    def fail(second: int, attempt: int, count: float) -> None:
        """A retry, spread over the pause; beyond the last nobody comes back."""
        spread = int(pause_s) * (attempt + 1)
        if attempt < last and second + 1 < length:
            due[second + 1 : second + 1 + spread, attempt + 1] += count / spread

    for second in range(length):
        due[second, 0] += load_per_s
        allowed = min(allowed + budget * load_per_s, 10 * budget * load_per_s + 1e-9)
        wanted = float(due[second, 1:].sum())
        if wanted > allowed:  # the others are not sent
            due[second, 1:] *= allowed / wanted
        allowed -= min(wanted, allowed)
        waiting = sum(one[2] for one in line)
        room = max(0.0, most_wait_s * capacity_per_s - waiting)
        total = float(due[second].sum())
        taken = min(1.0, room / total) if total else 1.0
        for attempt, count in enumerate(due[second].tolist()):
            if count:
                line.append([second, attempt, count * taken])
                fail(second, attempt, count * (1 - taken))
        for one in line:  # who gives up now
            if one[0] == second - patience_s and one[1] >= 0:
                fail(second, int(one[1]), one[2])
                one[1] = -1
        if cancels:
            line = deque(one for one in line if one[1] >= 0)
        left = 0.0 if begin <= second < end else capacity_per_s
        good = 0.0
        while line and left > 1e-12:
            served = min(left, line[0][2])
            good += served if line[0][1] >= 0 else 0.0
            left -= served
            line[0][2] -= served
            if line[0][2] <= 1e-12:
                line.popleft()
        rows.append((total, good, sum(one[2] for one in line) / capacity_per_s))
    return Storm(*np.array(rows).T)


@functools.cache
def _storm(load: float, guard: str, habit: str, pause_s: int = 1) -> Storm:
    """On the chat machine, whose load is given in its most."""
    most = CHAT.ceiling_per_s
    return run_storm(
        load * most,
        most,
        patience_s=PATIENCE_S,
        outage_s=OUTAGE_S,
        horizon_s=CLIP_S,
        retries=0 if habit == "none" else RETRIES,
        budget=BUDGET if habit == HABITS[2] else math.inf,
        cancels=guard == "cancels",
        most_wait_s=1.0 if guard == "refuses" else math.inf,
        pause_s=pause_s,
    )


def _back_after_s(storm: Storm, load: float) -> float:
    """Seconds from the end of the outage until all are answered in time again."""
    missed = np.flatnonzero(storm.in_time < 0.99 * load * CHAT.ceiling_per_s)
    return float(missed.max() + 1 - OUTAGE_S[1]) if missed.size else 0.0


def _within_budget_s(load: float, horizon_s: int) -> float:
    """Seconds until all are answered in time again, with a budget of retries and no guard."""
    most = CHAT.ceiling_per_s
    storm = run_storm(
        load * most,
        most,
        patience_s=PATIENCE_S,
        outage_s=OUTAGE_S,
        horizon_s=horizon_s,
        retries=RETRIES,
        budget=BUDGET,
    )
    return _back_after_s(storm, load)


def example() -> SimpleNamespace:
    """Numbers of the page, in percent of the ceiling and seconds."""
    most = CHAT.ceiling_per_s
    storm = _storm(0.5, "nothing", HABITS[1])
    return SimpleNamespace(
        storm_attempts_percent=100 * float(storm.attempts[-30:].mean()) / most,
        budget_back_s=_back_after_s(_storm(0.5, "nothing", HABITS[2]), 0.5),
        budget_back_90_min=_within_budget_s(0.9, 2500) / 60,
        band_low=100 * storm_band(1.0, 1 + RETRIES)[0],
        budget_band_low=100 * storm_band(1.0, 1 + BUDGET)[0],
    )


def figure_storm(figure: Figure) -> None:
    """An outage of half a minute at half load. With three retries each, and an engine that serves
    clients who have gone, nobody is answered any more. Cancelling or a limit ends it at once.

    Alt: Three panels of rates against time over five minutes, one for each guard of the engine. In
    the first, attempts rise to twice the ceiling after the outage and stay there, while answers
    stay at zero. In the second and third, attempts fall back after the outage and answers return.
    """
    figure.set_size_inches(6.4, 2.6)
    most = CHAT.ceiling_per_s
    for axes, guard in zip(figure.subplots(1, 3, sharey=True), GUARDS, strict=True):
        storm = _storm(0.5, guard, HABITS[1])
        axes.plot(storm.attempts / most, color="C1")
        axes.plot(storm.in_time / most, color="C0")
        axes.axvspan(*OUTAGE_S, color="C4", alpha=0.2, lw=0)
        axes.set_title(guard)
        axes.set(xlabel="time [s]", ylabel="rate [of the ceiling]", ylim=(0, 2.2))
        if guard == GUARDS[0]:
            axes.annotate("attempts", (150, 1.75), color="C1")
            axes.annotate("in time", (150, 0.1), color="C0")


# In one piece: a picture's data, panel by panel, as the page draws them.
def stepper_storm() -> dict[str, Any]:
    """The engine stands still from the 30th to the 60th second. What ends the storm?"""
    loads = [20, 30, 50, 70, 90]
    clock = np.arange(0, CLIP_S, 5)
    most = CHAT.ceiling_per_s / 100

    def told(of: Any) -> list[list[list[Any]]]:
        """Of each run, by control."""
        return [
            [
                [of(_storm(load / 100, guard, habit), load / 100) for habit in HABITS]
                for guard in GUARDS
            ]
            for load in loads
        ]

    return {
        "controls": [
            {"label": "load", "values": loads, "text": "{}%", "start": 50},
            {"label": "the engine", "names": True, "values": GUARDS, "start": GUARDS[0]},
            {"label": "retries", "names": True, "values": HABITS, "start": HABITS[1]},
        ],
        "clock": {
            "label": "time",
            "unit": "s",
            "decimals": 0,
            "values": clock,
            "start": clock[42],
        },
        "panels": [
            {
                "kind": "curves",
                "y": {"label": "rate", "unit": "% of the ceiling", "range": (0, 380)},
                "curves": [
                    {
                        "label": "attempts",
                        "unit": "%",
                        "decimals": 0,
                        "state": "prompt",
                        "values": told(lambda storm, _: (storm.attempts[clock] / most).tolist()),
                    },
                    {
                        "label": "in time",
                        "unit": "%",
                        "decimals": 0,
                        "state": "answer",
                        "values": told(lambda storm, _: (storm.in_time[clock] / most).tolist()),
                    },
                ],
            },
            {
                "kind": "curves",
                "y": {"label": "wait of an attempt", "unit": "s", "range": (0, 700)},
                "curves": [
                    {
                        "label": "wait",
                        "unit": "s",
                        "decimals": 0,
                        "state": "waits",
                        "values": told(lambda storm, _: storm.wait_s[clock].tolist()),
                    }
                ],
            },
        ],
        "legend": {"prompt": "attempts", "answer": "answered in time", "waits": "wait"},
        "reading": "After {time}, attempts come at {attempts} of the ceiling, answers in time leave"
        " at {in time} of it, and an attempt waits for {wait}.",
    }


def check_storm_in_its_band() -> None:
    """With dead work a storm outlasts its cause where λ(1 + R) ≥ μ, and with a budget only where
    λ(1 + β) ≥ μ; without retries it never does below the ceiling.

    Source: the band, and the fluid on both sides of its edge.
    """
    most = CHAT.ceiling_per_s
    for habit, attempts in ((HABITS[1], 1 + RETRIES), (HABITS[2], 1 + BUDGET)):
        edge = storm_band(1.0, attempts)[0]
        for load, lasts in ((edge - 0.06, False), (edge + 0.03, True)):
            storm = run_storm(
                load * most,
                most,
                patience_s=PATIENCE_S,
                outage_s=OUTAGE_S,
                horizon_s=1500,
                retries=RETRIES,
                budget=BUDGET if habit == HABITS[2] else math.inf,
            )
            left = float(storm.in_time[-100:].mean()) / (load * most)
            checks.holds(f"{habit}, load {load:.2f}", (left < 0.5) == lasts, got=left)
    calm = float(_storm(0.9, "nothing", "none").in_time[-30:].mean()) / most
    checks.inside("no retries, load 0.9", calm, 0.89, 1.01)


def check_how_long_a_budget_takes() -> None:
    """With a budget of a tenth the line is worked off by what 1.1 times the load leaves of the
    ceiling, until it is as short as the clients' patience: minutes near the ceiling.

    Source: by hand, 1.1 λ times the outage less the patience, over 1 − 1.1 λ; the fluid, 12%.
    """
    for load, horizon in ((0.8, 600), (0.85, 1000), (0.9, 2500)):
        came = (1 + BUDGET) * load
        due = (came * (OUTAGE_S[1] - OUTAGE_S[0]) - PATIENCE_S) / (1 - came)
        checks.close(f"back at {load} [s]", _within_budget_s(load, horizon), due, rtol=0.12)


def check_cancelling_or_refusing_ends_it() -> None:
    """With whoever gives up out of the line, or with a limit, everybody is answered again a second
    after the outage, at any load up to nine tenths and with three retries.

    Source: the fluid; patience of ten seconds, a limit of one second's work.
    """
    for load in (0.3, 0.5, 0.9):
        for guard in GUARDS[1:]:
            back = _back_after_s(_storm(load, guard, HABITS[1]), load)
            checks.inside(f"load {load}, {guard}: back after [s]", back, 0.0, 2.0)


def check_backoff_does_not_end_a_storm() -> None:
    """With pauses of up to 20, 40 and 60 s the storm lasts as with one, two and three.

    Source: the fluid at half load, five and fifteen minutes later.
    """
    most = CHAT.ceiling_per_s
    for pause_s in (1, 5, 20):
        storm = run_storm(
            0.5 * most,
            most,
            patience_s=PATIENCE_S,
            outage_s=OUTAGE_S,
            horizon_s=1000,
            retries=RETRIES,
            pause_s=pause_s,
        )
        left = float(storm.in_time[-100:].mean()) / most
        checks.inside(f"pause {pause_s} s: answers left", left, 0.0, 0.02)


def check_conservation_by_hand() -> None:
    """Two seconds of outage at half load leave two seconds' requests, which a patient client waits
    for; each second then works off half a second.

    Source: by hand, loads of 5 of 10 a second.
    """
    storm = run_storm(5.0, 10.0, patience_s=30, outage_s=(3, 5), horizon_s=12)
    waits = [0, 0, 0, 0.5, 1.0, 0.5, 0.0]
    checks.close("waits [s]", storm.wait_s[:7], waits, atol=1e-12)
    checks.close("answered in the end", storm.in_time.sum(), 60.0, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """No capacity, an outage that ends before it begins and impossible chances are errors."""
    usual: dict[str, Any] = {"patience_s": 3, "horizon_s": 9}
    checks.raises(
        "capacity",
        lambda: run_storm(1.0, 0.0, outage_s=(1, 2), **usual),
        match="capacity_per_s must be positive",
    )
    checks.raises(
        "outage",
        lambda: run_storm(1.0, 2.0, outage_s=(2, 1), **usual),
        match="outage_s must be a begin",
    )
    checks.raises("chance", retry_amplification, 2.0, 1, match="failure must be in [0, 1]")
    checks.raises("attempts", storm_band, 9.0, 0.5, match="attempts must be at least 1")
