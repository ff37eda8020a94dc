"""A streamed answer has two limits at once, and the load is capped where both are still kept.

A request keeps the promise if its first token comes within one limit and its further tokens, on
average, within another. The share that keeps both is at most the smaller of the two shares, and at
least their sum less one. It falls with the load, so the load cap is found by halving. Goodput is
the rate of requests that keep both: it follows the load a little beyond the cap, and then falls.

`python -m serving_mathematics.definitions.slo_sla.joint_objective` simulates 40 million requests,
in three minutes or four, and writes records/joint_objective.json.gz.

Assumes: the book's machines with their promises; Poisson arrivals, unless the trace's minutes are
asked for, which are played for whole hours; nobody is refused. Near the ceiling and beyond it there
is no steady state, and a share is that of 20,000 requests: a quarter of an hour of chat, three
hours and a half of the mixture.

Source: Zhong et al. (2024) for goodput under both limits; own simulation of the book's machines.
"""

# In one piece: one simulated table; more than half are its pictures and checks, which stand beside
# what they show.

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine, Promise
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.core.machines.traffic import MINUTE_S, trace_record
from serving_mathematics.core.queues.erlang import max_utilization
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record, recorded
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_in,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    require_shape,
)

LOADS = (  # of the ceiling
    *(0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.925),
    *(0.95, 0.975, 1.0, 1.025, 1.05, 1.1, 1.2, 1.3),
)
SEEDS, REQUESTS = 8, 20_000  # runs of each load, and requests of each, of which a tenth is left out
EVERY_LOAD, QUARTERS = 0.85, 100  # at which so many quarter hours of chat are counted
SLOWER = 1.2  # times that steps take of what is predicted, in one row of the table
STRICT = 0.999  # share that is promised instead, in two rows of the table
QUICK = replace(CHAT, name="chat at 20 ms", promise=Promise(CHAT.promise.ttft_s, 0.02))
FLEET, LARGE_FLEET = 8, 32  # replicas, of which one is lost
PEAK_SHARE = 0.35  # of the requests above 7/8 of the peak, on a smooth day that peaks at 2.5


class _Shares(NamedTuple):
    """Of the requests that keep both limits, the first and the second; and of the runs that break
    the promise."""

    both: float
    first: float
    further: float
    broken: float


def joint_attainment(
    ttft_s: npt.ArrayLike, tpot_s: npt.ArrayLike, ttft_limit_s: float, tpot_limit_s: float
) -> float:
    """Share of requests whose first token and whose time per output token both keep their limits.

    ttft_s, tpot_s: of each request [s], shape (n,), n ≥ 1; the second NaN where an answer has one
    token, which keeps it. A request that failed or was refused has an infinite ttft_s. Limits
    positive [s]. Raises ValueError outside these ranges.

    >>> joint_attainment([0.2, 0.9, 0.3], [0.03, 0.03, 0.05], ttft_limit_s=0.5, tpot_limit_s=0.04)
    0.3333333333333333
    """
    first, further = as_floats(ttft_s=ttft_s), as_floats(tpot_s=tpot_s)
    require(first.ndim == 1 and first.size > 0, "ttft_s", "a non-empty (n,) array", first.shape)
    require_shape(first.shape, tpot_s=further)
    require(first >= 0, "ttft_s", "non-negative", first)
    require(~(further < 0), "tpot_s", "non-negative, or NaN", further)
    ttft_limit_s, tpot_limit_s = require_positive(
        ttft_limit_s=ttft_limit_s, tpot_limit_s=tpot_limit_s
    )
    kept = (first <= ttft_limit_s) & ((further <= tpot_limit_s) | np.isnan(further))
    return float(kept.mean())


def replicas_for(rate_per_s: float, cap_per_s: float, lost: int) -> int:
    """Replicas that keep a promise although some are lost: what the rate needs, plus the lost.

    rate_per_s: of all requests, non-negative. cap_per_s: requests a second up to which one replica
    keeps the promise, positive. lost: at once, a whole number ≥ 0. Raises ValueError outside these
    ranges.

    >>> replicas_for(rate_per_s=141.0, cap_per_s=20.0, lost=1)
    9
    """
    rate_per_s = require_non_negative(rate_per_s=rate_per_s)
    cap_per_s = require_positive(cap_per_s=cap_per_s)
    lost = require_non_negative_integer(lost=lost)
    return math.ceil(rate_per_s / cap_per_s * (1 - 1e-12)) + lost


def missed_without_spare(replicas: int, up: float, peak_share: float, kept: float) -> float:
    """Share of a fleet's requests that miss because a replica is down and there is no spare.

    replicas: n ≥ 1. up: share of the time that each is there, by itself, in [0, 1]. peak_share: of
    the requests, those that come while n − 1 replicas are too few, in [0, 1]. kept: share of these
    that keep the promise meanwhile, in [0, 1]. Raises ValueError outside these ranges.

    >>> missed_without_spare(2, up=0.5, peak_share=0.5, kept=0.0)  # 3/4 of the time one is down
    0.375
    """
    replicas = require_positive_integer(replicas=replicas)
    up, peak_share, kept = require_in("[0, 1]", up=up, peak_share=peak_share, kept=kept)
    return (1 - up**replicas) * peak_share * (1 - kept)


def _machines() -> dict[str, Machine]:
    """The machines of the slider; the second has a quarter of the first one's places."""
    few = CHAT.limited(64)
    return {"chat, 256 places": CHAT, "chat, 64 places": few, "mixture, 64 places": MIXTURE}


def _attained(
    machine: Machine, ttft_s: npt.NDArray[np.float64], tpot_s: npt.NDArray[np.float64]
) -> list[float]:
    """Shares of requests that keep both of a machine's limits, the first and the second."""
    one, other = machine.promise.ttft_s, machine.promise.tpot_s
    limits = ((one, other), (one, 1e9), (1e9, other))
    return [joint_attainment(ttft_s, tpot_s, *limit) for limit in limits]


@recorded(_Shares, "joint_objective")
def _shares(
    machine: Machine,
    load: float,
    minutes: bool = False,
    slowness: float = 1.0,
    seeds: int = SEEDS,
) -> _Shares:
    """A machine at a share of its ceiling, averaged over the hour where minutes are real."""
    rate, runs, requests, warm = load * machine.ceiling_per_s, [], REQUESTS, REQUESTS // 10
    if minutes:  # whole hours from their calm beginning
        hour = rate * MINUTE_S * len(trace_record(machine.traffic)["requests_per_minute"])
        requests, warm = round(hour * max(1, round(REQUESTS / hour))), 0
    for seed in range(seeds):
        rng = np.random.default_rng([31, seed])
        run = run_engine(machine, rate, requests, rng, real_minutes=minutes, slowness=slowness)
        runs.append(_attained(machine, run.ttft_s[warm:], run.tpot_s[warm:]))
    both, first, further = np.mean(runs, axis=0).tolist()
    broken = np.mean([run[0] < machine.promise.share for run in runs])
    return _Shares(both, first, further, float(broken))


def _cap(
    machine: Machine, minutes: bool = False, slowness: float = 1.0, share: float = 0.0
) -> float:
    """Highest load at which a share, or the promised one, keeps both limits, straight between two
    loads."""
    share = share or machine.promise.share
    kept = [_shares(machine, load, minutes, slowness).both for load in LOADS]
    above = next(i for i, each in enumerate(kept) if each < share)
    across = slice(above, above - 2, -1)
    return float(np.interp(share, kept[across], LOADS[across]))


def _one_server(machine: Machine, loads: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Share of first answers in time of M/M/1 with the machine's ceiling as its rate of service."""
    spare = (1 - np.minimum(as_floats(loads=loads), 1.0)) * machine.ceiling_per_s
    return np.asarray(-np.expm1(-spare * machine.promise.ttft_s))


def _one_server_cap(machine: Machine) -> float:
    """Load up to which that server keeps its promise, by the closed form."""
    times = machine.promise.ttft_s * machine.ceiling_per_s  # of service, that the limit is long
    return max_utilization(machine.promise.share, times)


def _lost(load: float, fleet: int = FLEET) -> float:
    """Load of what is left of the fleet when one replica is lost."""
    return load * fleet / (fleet - 1)


def example() -> SimpleNamespace:
    """Numbers quoted in the text; shares and loads in percent."""
    few, lost = CHAT.limited(64), _shares(CHAT, _lost(_cap(CHAT)))
    lost_minutes = _shares(CHAT, _lost(_cap(CHAT, minutes=True)), minutes=True)
    chat, hour, mixture = _cap(CHAT), _cap(CHAT, minutes=True), promised_load("mixture")
    best = max(LOADS, key=lambda load: load * _shares(CHAT, load)[0])
    cap_per_s, slow = chat * CHAT.ceiling_per_s, _cap(CHAT, slowness=SLOWER)
    return SimpleNamespace(
        chat_share=100 * CHAT.promise.share,
        chat_cap=100 * chat,
        chat_cap_per_s=cap_per_s,
        every_load=100 * EVERY_LOAD,
        quarters=QUARTERS,
        broken=QUARTERS * _shares(CHAT, EVERY_LOAD, seeds=QUARTERS).broken,
        missed_percent=100 * missed_without_spare(FLEET, 0.999, PEAK_SHARE, lost.both),
        missed_more_percent=100 * missed_without_spare(FLEET, 0.995, PEAK_SHARE, lost.both),
        missed_minutes_percent=100
        * missed_without_spare(FLEET, 0.995, PEAK_SHARE, lost_minutes.both),
        mixture_cap=100 * mixture,
        mixture_share=100 * MIXTURE.promise.share,
        best_load=100 * best,
        few_cap=100 * _cap(few),
        few_cap_per_s=_cap(few) * few.ceiling_per_s,
        promised_ttft_s=CHAT.promise.ttft_s,
        promised_tpot_ms=1000 * CHAT.promise.tpot_s,
        lost_mixture_kept=100 * _shares(MIXTURE, _lost(mixture))[0],
        fleet=FLEET,
        large_fleet=LARGE_FLEET,
        lost_quick_kept=100 * _shares(QUICK, _lost(_cap(QUICK))).both,
        large_kept=100 * _shares(CHAT, _lost(_cap(CHAT), LARGE_FLEET)).both,
        fleet_rate=140,
        fleet_least=replicas_for(140.0, cap_per_s, 0),
        fleet_needs=replicas_for(140.0, cap_per_s, 1),
        minutes_cap=100 * hour,
        strict_percent=100 * STRICT,
        strict_cap=100 * _cap(CHAT, share=STRICT),
        strict_minutes_cap=100 * _cap(CHAT, minutes=True, share=STRICT),
        slow_percent=100 * (SLOWER - 1),
        slow_cap=100 * slow,
        slow_own=100 * slow * SLOWER,
    )


def figure_goodput(figure: Figure) -> None:
    """Goodput follows the load up to the cap and a little beyond, and then collapses.

    The book's machines with steady arrivals; in print, chat. Near 100% and beyond, the share that
    keeps the promise falls for as long as the load lasts, here a quarter of an hour for chat and
    hours for the mixture.

    Alt: Line chart of goodput against load, both in percent of the ceiling. The solid curve rises
    along the diagonal, bends shortly before the ceiling and falls steeply to zero. Dashed, the
    curve of the first token falls with it; that of the further tokens falls earlier, and not to
    zero.
    """
    axes = figure.subplots()
    loads = np.array(LOADS)
    kept = 100 * loads[:, None] * np.array([_shares(CHAT, load) for load in LOADS])
    axes.plot(100 * loads, 100 * loads, color="C4", linewidth=0.8, linestyle=":")
    axes.plot(100 * loads, kept[:, 1], "--", color="C1")
    axes.plot(100 * loads, kept[:, 2], "--", color="C2")
    axes.plot(100 * loads, kept[:, 0], "o-", color="C0")
    axes.annotate("both", (80, 66), color="C0")
    axes.annotate("first token", (100, 88), color="C1")
    axes.annotate("further tokens", (103, 33), color="C2")
    axes.set(xlim=(28, 132), ylim=(-2, 108))
    axes.set(xlabel="load [% of the ceiling]", ylabel="kept [% of the ceiling]")


def figure_one_server(figure: Figure) -> None:
    """The textbook's server promises too little for one machine, and too much for the other.

    Share that keeps the promise, against load: solid, the book's machines with both limits; dashed,
    one server that takes requests one after the other, with the machine's ceiling and the limit on
    the first token. Dots mark the caps.

    Alt: Two panels, chat and mixture, of the share kept against load from 30 to 130 percent. For
    chat the dashed curve bends first; for mixture the solid curve falls long before the dashed one.
    """
    figure.set_size_inches(5.8, 2.8)
    loads = np.array(LOADS)
    for axes, machine in zip(figure.subplots(1, 2, sharey=True), (CHAT, MIXTURE), strict=True):
        both = np.array([_shares(machine, load)[0] for load in LOADS])
        axes.plot(100 * loads, 100 * both, color="C0")
        axes.plot(100 * loads, 100 * _one_server(machine, loads), "--", color="C1")
        share = 100 * machine.promise.share
        axes.plot([100 * _cap(machine)], [share], "o", color="C0")
        axes.plot([100 * _one_server_cap(machine)], [share], "o", color="C1")
        axes.set_title(machine.name)
        axes.set(xlim=(28, 132), ylim=(-3, 106), xlabel="load [%]", ylabel="kept [%]")
        if machine is CHAT:
            axes.annotate("engine", (104, 40), color="C0")
            axes.annotate("one server", (88, 84), color="C1", ha="right")


def slider_goodput() -> dict[str, Any]:
    """Raise the load until the promise breaks. What if one of eight replicas is lost?"""

    def over(value: Callable[[Machine, float], float]) -> list[list[float]]:
        return [[100 * value(machine, load) for machine in _machines().values()] for load in LOADS]

    both = over(lambda machine, load: _shares(machine, load).both)
    goodput = over(lambda machine, load: load * _shares(machine, load).both)
    after = over(lambda machine, load: _shares(machine, _lost(load)).both)
    return {
        "controls": [
            {"label": "load", "values": [100 * x for x in LOADS], "text": "{:g}%", "start": 80.0},
            {
                "label": "machine",
                "values": list(_machines()),
                "start": "chat, 256 places",
            },
        ],
        "panels": [
            {
                "kind": "load",
                "x": {"label": "load", "unit": "% of the ceiling", "range": (30, 130)},
                "y": {"label": "of requests, and of the ceiling", "unit": "%", "range": (0, 105)},
                "curves": [
                    {"label": "both kept", "unit": "%", "values": both, "decimals": 1},
                    {"label": "goodput", "unit": "%", "values": goodput, "decimals": 0},
                ],
            }
        ],
        "readouts": [
            {"label": label, "unit": "%", "values": values, "decimals": 1}
            for label, values in (
                ("first token in time", over(lambda *at: _shares(*at).first)),
                ("time per token kept", over(lambda *at: _shares(*at).further)),
                ("after the loss", after),
            )
        ],
        "reading": "At {load} load, {both kept} of the requests keep both limits;"
        " {first token in time} keep the limit on the first token, {time per token kept} that on"
        " the time per token. Goodput is {goodput} of the ceiling. With one of eight replicas lost,"
        " {after the loss} keep both.",
    }


def check_missed_without_spare() -> None:
    """Without a spare, eight replicas that are up 99.9% of the time miss a quarter of one request
    in a hundred; at 99.5% they miss more than one in a hundred, but not in the real hour's minutes,
    under their lower cap.

    Source: a day of exp(κ·cos 2πt), whose peak is e^κ/I₀(κ) times its mean, for `PEAK_SHARE`.
    """
    kappas = np.linspace(0.5, 5, 4501)
    kappa = float(kappas[np.argmin(np.abs(np.exp(kappas) / np.i0(kappas) - 2.5))])
    day = np.exp(kappa * (np.cos(2 * np.pi * np.arange(9600) / 9600) - 1))
    share = float(day[day > 1 - 1 / FLEET].sum() / day.sum())
    checks.close("above 7/8 of the peak", PEAK_SHARE, share, atol=0.01)
    page = example()
    checks.inside("of 99.9% [%]", page.missed_percent, 0.2, 0.3)
    checks.inside("of 99.5% [%]", page.missed_more_percent, 1.0, 1.5)
    checks.inside("of 99.5%, minutes [%]", page.missed_minutes_percent, 0.1, 0.3)


def check_goodput_is_greatest_at_the_cap_or_beyond() -> None:
    """On each machine, and for chat with the trace's minutes, goodput is greatest where the promise
    is broken, by less than a tenth of the requests, or less than an eighth with the minutes. Above
    the ceiling, less than two thirds of the greatest goodput is left.

    Source: the simulated machines; 160,000 requests at each load.
    """
    for name, machine in _machines().items():
        for minutes in (False, True)[: 1 + (machine is CHAT)]:
            loads = [load for load in LOADS if 0.65 < load <= 1]
            goodput = [load * _shares(machine, load, minutes)[0] for load in loads]
            best = loads[int(np.argmax(goodput))]
            label = f"{name}{', minutes' if minutes else ''}"
            kept, share = _shares(machine, best, minutes)[0], machine.promise.share
            least = share - (0.12 if minutes else 0.1)
            checks.inside(f"{label}: kept at the best", kept, least, share)
            beyond = 1.05 * _shares(machine, 1.05, minutes)[0] / max(goodput)
            checks.inside(f"{label}: beyond, over the best", beyond, 0, 0.66)


def check_places_say_which_limit_breaks_first() -> None:
    """With 256 places, the limit on the time per token breaks first, and with 64 the limit on the
    first token; also with the trace's minutes and with steps a fifth slower than predicted.

    Source: the shares of each limit at loads where both together are broken.
    """
    few = CHAT.limited(64)
    for loads, minutes, slow in (
        ((0.9, 0.95), False, 1.0),
        ((0.7, 0.7), True, 1.0),
        ((0.75, 0.79), False, SLOWER),  # the same of the ceiling that these have
    ):
        label = f"minutes {minutes}, slower {slow:g}"
        _, first, further, *_ = _shares(CHAT, loads[0], minutes, slow)
        checks.holds(f"256 places, {label}: per token", further < first, got=(first, further))
        _, first, further, *_ = _shares(few, loads[1], minutes, slow)
        checks.holds(f"64 places, {label}: first token", first < further, got=(first, further))


def check_one_replica_lost_is_the_promise_lost() -> None:
    """At its cap, a fleet of eight that loses one replica breaks the promise: fewer than a quarter
    of chat's requests keep it, and fewer than nine in ten at the lower cap of the trace's minutes;
    with nine replicas it is kept. A fleet of 32 that loses one breaks it too, but only for a few
    requests in a hundred, and so does a fleet of eight whose stricter time per token caps it near
    half of the ceiling.

    Source: the simulated machines at 8/7 of the cap; for nine replicas at 8/9 of it.
    """
    for minutes in (False, True):
        kept = _shares(CHAT, _lost(_cap(CHAT, minutes)), minutes)[0]
        most = 0.9 if minutes else 0.25
        checks.inside(f"chat, minutes {minutes}: kept", kept, 0, most)
    kept = _shares(CHAT, _lost(_cap(CHAT), LARGE_FLEET)).both
    checks.inside("chat, of 32: kept", kept, 0.9, CHAT.promise.share)
    kept = _shares(QUICK, _lost(_cap(QUICK))).both
    checks.inside("chat at 20 ms a token: kept", kept, 0.9, CHAT.promise.share)
    checks.inside("chat at 20 ms a token: cap", _cap(QUICK), 0.4, 0.6)
    kept = _shares(MIXTURE, _lost(_cap(MIXTURE)))[0]
    checks.inside("mixture: kept", kept, 0.7, MIXTURE.promise.share)
    for machine in (CHAT, MIXTURE):
        cap = _cap(machine)
        spare = replicas_for(FLEET * cap, cap, 1)
        kept = _shares(machine, cap * FLEET / (spare - 1))[0]
        low = machine.promise.share - 0.01
        checks.inside(f"{machine.name}, one more: kept", kept, low, 1)


def check_the_textbook_errs_both_ways() -> None:
    """One server of the same ceiling would be capped lower than chat, and higher than the mixture;
    its share at the cap is the promised one.

    Source: M/M/1, 1 − e^{−(1−ρ)μt}; the simulated machines.
    """
    for machine, lower in ((CHAT, True), (MIXTURE, False)):
        cap = _one_server_cap(machine)
        at = float(_one_server(machine, cap))
        checks.close(f"{machine.name}: share at its cap", at, machine.promise.share, rtol=1e-9)
        checks.equal(f"{machine.name}: cap lower", cap < _cap(machine), lower, kind="stated")


def check_a_run_is_made_again() -> None:
    """A share of the record, simulated again, is the same.

    Source: the record, and its command.
    """
    shares = _shares.again(CHAT, 0.9, seeds=1), _shares(CHAT, 0.9, seeds=1)
    checks.close("chat at 0.9, one run", *shares, rtol=1e-9, kind="simulation")


def check_caps_are_those_of_other_pages() -> None:
    """At the loads of Utilization, chat with 64 and with 256 places keeps its promise for the same
    share of requests there and here; and its cap, in whole percent, is where every page says that
    its promise ends. The usual 70% leaves a fifth of the cap unused, and the rate of the page's
    command, 18 a second, a tenth.

    Source: the record of Utilization, made by another program with the same draws; the record of
    the machines, with others.
    """
    rows = read_record("engine_under_load")["cells"]
    cells = {(row["places"], row["load"]): row for row in rows}
    for places in (64, 256):
        for load in (80, 85, 88, 90, 95):
            mine = _shares(CHAT.limited(places), load / 100).both
            told = cells[places, load]["mean"]["kept"]
            checks.close(f"{places} places, {load}%", mine, told, atol=1e-6, kind="simulation")
    printed = round(promised_load("chat"), 2)
    checks.equal(
        "chat: cap [%]", f"{100 * _cap(CHAT):.0f}", f"{100 * printed:.0f}", kind="simulation"
    )
    checks.close("70%, of the cap", 0.7 / _cap(CHAT), 0.8, atol=0.01, kind="stated")
    checks.close(
        "18/s, of the cap", 18 / _cap(CHAT) / CHAT.ceiling_per_s, 0.9, atol=0.03, kind="stated"
    )


if __name__ == "__main__":
    _shares.make()
