"""A spike, and the fleet that meets it: who is ordered, who serves, what waits.

Six replicas of the chat machine at a little over half of their most; after three minutes the load
jumps, and twenty minutes later it falls back. What is ordered follows one signal at a time.

In D seconds without help (λ − cX)·D requests collect; c₁ replicas end them in that over c₁X − λ s.

`python -m serving_mathematics.capacity.autoscaling.spike` lets the fleet meet every spike, request
by request, in some minutes, and writes records/spikes.json.gz.

Assumes: what `core.fleet` assumes; Poisson arrivals, lengths of the machine's trace; at most 20
replicas. The fleet is late in a tick of its autoscaler in which most requests come that will be.

Source: own simulation of the book's machine; balance of flows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.autoscaling.fluid_fleet import TICK_S, _FleetRun, _run_fleet
from serving_mathematics.capacity.autoscaling.replica_response import replica_of
from serving_mathematics.capacity.autoscaling.signal_policies import _on_arrivals, _on_tokens
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.scaling import Scaling
from serving_mathematics.core.fleet.scaling_rules import Policy, hpa, hpa_waiting
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
)

FloatArray = npt.NDArray[np.float64]
START, MOST, LOAD = 6, 20, 0.55  # replicas at first and at most; load of each of its most
CLIP_S, FRAME_S = 2400, 60  # what is shown [s]
RISES_S, FALLS_S = 180, 1380
CARRIES = 0.66  # of its most, by which arrivals order replicas
SIGNALS = ["time per token", "arrivals", "requests, two fifths", "waiting"]
STARTUPS_MIN, JUMPS = [1, 3, 10], [1.5, 2.0, 3.0]


def cold_start(
    arrival_rate: float, replica_rate: float, replicas: int, startup_s: float, replicas_after: int
) -> tuple[float, float]:
    """Backlog when new replicas become ready, and the time they need to drain it: (λ − c₀μ)⁺·D and
    backlog/(c₁μ − λ).

    arrival_rate: λ [1/s]. replica_rate: μ, what one replica completes [1/s]. replicas: c₀, working
    from the start. startup_s: D [s], from the rise of load to readiness, reaction included.
    replicas_after: c₁ from then on. Returns (backlog [requests], drain time [s]) of the fluid,
    which starts without a queue. Raises ValueError on input outside these ranges or when c₁μ ≤ λ,
    where nothing drains.

    >>> cold_start(15.0, replica_rate=1.0, replicas=10, startup_s=60.0, replicas_after=20)
    (300.0, 60.0)
    """
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    replica_rate = require_positive(replica_rate=replica_rate)
    replicas = require_non_negative_integer(replicas=replicas)
    replicas_after, startup_s = require_non_negative(
        replicas_after=replicas_after, startup_s=startup_s
    )
    spare = replicas_after * replica_rate - arrival_rate
    require(
        replicas_after % 1 == 0 and 0 < spare < np.inf,
        "replicas_after",
        f"an integer above arrival_rate/replica_rate = {arrival_rate / replica_rate:.6g}",
        replicas_after,
    )
    backlog = max(0.0, arrival_rate - replicas * replica_rate) * startup_s
    return backlog, backlog / spare


def _load(jump: float) -> FloatArray:
    """Requests a second, of each second."""
    load = np.full(CLIP_S, START * LOAD * replica_of(CHAT).most_per_s)
    load[RISES_S:FALLS_S] *= jump
    return load


def _policy(signal: str, load: FloatArray) -> Policy:
    """A fresh policy."""
    chat = replica_of(CHAT)
    if signal == "time per token":
        return _on_tokens(0.020, chat)
    if signal == "arrivals":
        return _on_arrivals(load, CARRIES * chat.most_per_s)
    if signal == "waiting":
        return hpa_waiting(5.0, chat.places)
    share = {"requests, a fifth": 0.2, "requests, two fifths": 0.4}[signal]
    return hpa(share * chat.places, signal="concurrency")


class _Spike(NamedTuple):
    """What a fleet made of a spike: share of the requests that are late; of each tick, from the
    first, replicas ordered, replicas that serve, whether most that come then are late, requests
    without a place, and the mean wait for one of those that come then [s].
    """

    late_share: float
    ordered: list[int]
    serving: list[int]
    late: list[int]
    waiting: list[int]
    wait_s: list[float]

    @property
    def replica_hours(self) -> float:
        """Paid, from the order on; what a replica that is let go still serves is left out."""
        return TICK_S / 3600 * sum(map(max, self.ordered, self.serving))


@recorded(_Spike, "spikes")
def _run(signal: str, startup_min: float, jump: float, until_s: int = CLIP_S) -> _Spike:
    """A spike, or its beginning, request by request."""
    load, rng = _load(jump), np.random.default_rng(1)
    count = rng.poisson(load).astype(np.intp)
    arrivals = np.sort(np.repeat(np.arange(CLIP_S), count) + rng.random(count.sum()))
    drawn = draw_lengths(rng, CHAT.traffic, arrivals.size)
    came = slice(0, int(np.searchsorted(arrivals, until_s)))
    arrivals, answers = arrivals[came], drawn.output_tokens[came]
    rule = functools.partial(_policy, signal, load)
    scaling = Scaling(rule, CHAT.engine, TICK_S, 60.0 * startup_min, 1, MOST)
    asked = Requests(arrivals, drawn.prompt_tokens[came], answers)
    seen = simulate_fleet(asked, Fleet([CHAT.engine] * START, scaling=scaling))
    token_s = (seen.completion_s - seen.first_token_s) / np.maximum(answers - 1, 1)
    late = seen.first_token_s - arrivals > CHAT.promise.ttft_s
    late |= token_s > CHAT.promise.tpot_s
    ticks, tick = until_s // TICK_S, (arrivals // TICK_S).astype(np.int64)
    each = np.maximum(np.bincount(tick, minlength=ticks), 1)
    begins = TICK_S * np.arange(ticks)
    waiting = np.searchsorted(arrivals, begins) - np.searchsorted(np.sort(seen.admitted_s), begins)
    waits = np.bincount(tick, seen.admitted_s - arrivals, minlength=ticks) / each
    return _Spike(
        float(late.mean()),
        [START, *seen.ordered[: ticks - 1].tolist()],
        [START, *seen.serving[: ticks - 1].tolist()],
        (np.bincount(tick, late, minlength=ticks) > each / 2).astype(int).tolist(),
        waiting.tolist(),
        waits.round(2).tolist(),
    )


def _fluid(signal: str, startup_min: float) -> _FleetRun:
    """Twice the load, as a fluid."""
    load, startup_s = _load(2.0), 60.0 * startup_min
    policy, chat = _policy(signal, load), replica_of(CHAT)
    return _run_fleet(load, policy, chat, replicas=START, startup_s=startup_s, most=MOST)


def _bars(run: _Spike) -> list[tuple[str, float, float, str]]:
    """A lane a replica: starting, serving, and serving while requests are late."""
    ordered, serving, late = (np.array(own) for own in (run.ordered, run.serving, run.late))
    bars: list[tuple[str, float, float, str]] = []
    for lane in range(int(max(ordered.max(), serving.max()))):
        there = np.where(serving > lane, 1 + late, np.where(ordered > lane, 3, 0))
        edges = np.flatnonzero(np.diff(there)) + 1
        for first, last in zip([0, *edges], [*edges, there.size], strict=True):
            if state := int(there[first]):
                name = ("", "answer", "broken", "starts")[state]
                bars.append((str(lane + 1), first * TICK_S / 60, last * TICK_S / 60, name))
    return bars


def example() -> SimpleNamespace:
    """Of the page: a doubling that three minutes cannot follow."""
    chat = replica_of(CHAT)
    load = 2 * START * LOAD * chat.most_per_s
    backlog, drain_s = cold_start(load, chat.most_per_s, START, 180.0, 10)
    return SimpleNamespace(
        spike_per_s=load,
        spike_carried_per_s=chat.most_per_s,
        spike_backlog=backlog,
        spike_drain_s=drain_s,
        spike_tight_s=cold_start(load, chat.most_per_s, START, 180.0, 7)[1],
    )


def figure_spike(figure: Figure) -> None:
    """The load doubles. A fleet that holds its time per token is late for one start-up; one that
    holds two fifths of its places swings.

    Grey: ordered, starting. Red: serving while requests are late.

    Alt: Two panels with a row for each replica over forty minutes. In the upper one, replicas are
    ordered soon after the jump, serve three minutes later, and stay until after the fall; the rows
    are red for a short time after the jump. In the lower one, rows are red for longer, many
    replicas are ordered, let go and ordered again.
    """
    figure.set_size_inches(5.8, 4.6)
    colours = {"answer": "C0", "broken": "C3", "starts": "C4"}
    shown = ("time per token", "requests, two fifths")
    for axes, signal in zip(figure.subplots(2, sharex=True), shown, strict=True):
        lanes, starts, ends, states = zip(*_bars(_run(signal, 3, 2.0)), strict=True)
        thick = [1.2 if state == "starts" else 3 for state in states]
        inks = [colours[state] for state in states]
        axes.hlines([*map(int, lanes)], starts, ends, inks, linewidth=thick)
        axes.set_title(signal + (" of the places" if "fifth" in signal else ""))
        axes.grid(False)
        axes.set(ylim=(MOST + 0.8, 0.2), ylabel="replica", xlabel="time [min]", xlim=(0, 40))


def slider_spike() -> dict[str, Any]:
    """The load jumps after three minutes. Change the signal, then the start-up."""
    clock = np.arange(0, CLIP_S + 1, FRAME_S) / 60
    frames = np.minimum(60 * clock, CLIP_S - 1).astype(int) // TICK_S

    def told(of: Callable[[_Spike], Any]) -> list[list[list[Any]]]:
        """Of each run, by control."""
        return [
            [[of(_run(signal, startup, jump)) for jump in JUMPS] for startup in STARTUPS_MIN]
            for signal in SIGNALS
        ]

    waits = told(lambda run: np.minimum(run.wait_s, 120)[frames].tolist())
    said: tuple[tuple[str, str, int, Callable[[_Spike], Any]], ...] = (
        ("waiting", "requests", 0, lambda run: np.array(run.waiting)[frames].tolist()),
        ("late", "%", 1, lambda run: 100 * run.late_share),
        ("paid", "replica-hours", 1, lambda run: run.replica_hours),
    )
    return {
        "controls": [
            {"label": "signal", "values": SIGNALS, "start": SIGNALS[0]},
            {"label": "start-up", "values": STARTUPS_MIN, "text": "{} min", "start": 3},
            {"label": "load", "values": JUMPS, "text": "times {:g}", "start": 2.0},
        ],
        "clock": {
            "label": "time",
            "unit": "min",
            "decimals": 0,
            "values": clock,
            "start": clock[6],
            "events": [(3, 3, "the load jumps")],
        },
        "panels": [
            {
                "kind": "lanes",
                "label": "replicas",
                "lanes": [str(lane + 1) for lane in range(MOST)],
                "bars": told(_bars),
            },
            {
                "kind": "curves",
                "y": {"label": "wait for a place", "unit": "s", "range": (0, 120)},
                "curves": [{"label": "wait", "unit": "s", "decimals": 0, "values": waits}],
            },
        ],
        "readouts": [
            {"label": label, "unit": unit, "decimals": decimals, "values": told(of)}
            for label, unit, decimals, of in said
        ],
        "legend": {
            "starts": "ordered, starting",
            "answer": "serves",
            "broken": "serves, and requests are late",
        },
        "reading": "After {time}, {waiting} wait. Over the forty minutes, {late} of requests are"
        " late, and {paid} are paid for.",
    }


def check_cold_start_backlog() -> None:
    """Fifty requests a second too many for two minutes leave a backlog of 6000, which 18 replicas
    clear in 200 s.

    Source: by hand, (150 − 100)·120 and 6000/(180 − 150); Euler's method on the fluid in steps of a
    tenth of a second.
    """
    backlog, drain = cold_start(150.0, 10.0, 10, 120.0, 18)
    checks.close("backlog [requests]", backlog, 6000.0)
    checks.close("drain [s]", drain, 200.0)
    queue, top, clock = 0.0, 0.0, 0.0
    while clock < 120 or queue > 0:
        queue = max(0.0, queue + 0.1 * (150 - (100 if clock < 120 - 1e-9 else 180)))
        top, clock = max(top, queue), clock + 0.1
    checks.close("highest fluid level", top, backlog, rtol=1e-9)
    checks.close("fluid gone at [s]", clock, 120 + drain, atol=0.2)


def check_start_up_decides_the_backlog() -> None:
    """With signals that do not swing, a longer start-up makes more requests late, and at most as
    many wait as the formula says.

    Source: `cold_start`, with full engines from the jump on.
    """
    chat = replica_of(CHAT)
    for signal in (*SIGNALS[:2], "requests, a fifth"):
        runs = [_run(signal, startup, 2.0) for startup in STARTUPS_MIN]
        late = [run.late_share for run in runs]
        checks.holds(f"{signal}: late", late[0] <= late[1] <= late[2], got=late)
        load = float(_load(2.0)[RISES_S])
        for run, startup in zip(runs, STARTUPS_MIN, strict=True):
            most = cold_start(load, chat.most_per_s, START, 60.0 * startup + 60, MOST)[0]
            label = f"{signal}, {startup} min: waiting, over the formula"
            checks.inside(label, max(run.waiting) / most, 0.0, 1.0, kind="simulation")


def check_a_hot_target_comes_and_goes() -> None:
    """In the spike, a target of two fifths of the places makes more requests late than one of a
    fifth, which makes about as many late as time per token does.

    Source: the runs of the slider, start-up of three minutes, twice the load.
    """
    names = ("time per token", "requests, a fifth", "requests, two fifths")
    tokens, fifth, two = (_run(name, 3, 2.0).late_share for name in names)
    checks.holds("two fifths", two > 1.2 * fifth, got=[fifth, two])
    checks.inside("tokens over a fifth", tokens / fifth, 0.5, 1.5)


def check_the_fluid_says_the_same() -> None:
    """For signals that do not swing, a fluid has up to three in a hundred fewer requests late than
    requests one by one, and none more; the cost is the same to a quarter, and for requests inside
    and a start-up of one minute to two fifths.

    Source: `fluid_fleet` under the same loads, twice as much, and `core.fleet` by the record.
    """
    for signal in (*SIGNALS[:2], "requests, a fifth"):
        for startup in STARTUPS_MIN:
            run, fluid = _run(signal, startup, 2.0), _fluid(signal, startup)
            label = f"{signal}, {startup} min: requests one by one over the fluid"
            more, paid = run.late_share - fluid.late_share, run.replica_hours / fluid.replica_hours
            checks.inside(f"{label}, late, less", more, 0.0, 0.03, kind="simulation")
            most = 1.4 if (signal, startup) == ("requests, a fifth", 1) else 1.25
            checks.inside(f"{label}, paid", paid, 0.75, most, kind="simulation")


def check_a_run_is_made_again() -> None:
    """The first five minutes of a spike, request by request again, are as recorded.

    Source: the record, and its command.
    """
    again, told = _run.again(SIGNALS[0], 1, 2.0, 300), _run(SIGNALS[0], 1, 2.0)
    for part in ("ordered", "serving", "late", "waiting"):
        checks.equal(part, getattr(again, part), getattr(told, part)[:20], kind="simulation")
    checks.close("waits [s]", again.wait_s[:20], told.wait_s[:20], atol=0.02, kind="simulation")


if __name__ == "__main__":
    _run.make()
