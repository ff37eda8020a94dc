"""Slow answers come together, so that many requests count for few: n of them are worth n/D.

Count the slow requests of each window, and divide their variance by their mean: that is D, the
design effect of surveys, 1 where each is slow by itself. An interval for a percentile, and one for
the difference of two, then takes its ranks from n/D independent requests instead of n.

`python -m serving_mathematics.definitions.latency_distribution.clumped_percentiles` simulates two
of the book's machines at several loads, in some minutes, and writes
records/clumped_percentiles.json; a part of it is run again here.

Assumes: windows that are long against the memory of the queue; a service that stays the same.

Source: Kish (1965) for the design effect; order statistics for the rest.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    quantile_ranks,
    wilks_sample_size,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_all_non_negative,
    require_in,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
RECORD = "clumped_percentiles"
COMMAND = "python -m serving_mathematics.definitions.latency_distribution.clumped_percentiles"
LOADS = {"chat": (0.3, 0.5, 0.6, 0.7, 0.8, 0.875), "mixture": (0.2, 0.3, 0.4, 0.5, 0.625)}
COUNT, WINDOWS = 2000, 100  # requests of a percentile, and how many of them a run tries
RUNS = 8  # of each machine at each load: near the ceiling the D of one is off by a sixth
ENOUGH = 8000  # requests that are worth an interval with two ends, at the loads of `BUSY`
BUSY = {"chat": 0.8, "mixture": 0.5}
WITHIN = 4  # windows of each such percentile, in which slow requests are counted
FEW = CHAT.limited(64)  # places, whose queue outlasts that of many
BLOCKS = 20  # of such a test, in which it counts its own slow requests


def design_effect(slow: npt.ArrayLike) -> float:
    """How many times more the numbers of slow requests vary than independent ones, D.

    slow: numbers of slow requests in windows of equal length while nothing is wrong, shape (n,),
    n ≥ 2. The variance over the mean, at least 1; if slow is beyond a quantile q well below 0.99,
    this is q·D. Raises ValueError on other input, and where nothing is slow.

    >>> design_effect([0, 0, 0, 8])  # a mean of 2 and a variance of 12
    6.0
    """
    counts = as_floats(slow=slow)
    require(counts.ndim == 1 and counts.size >= 2, "slow", "of shape (n,), n ≥ 2", counts.shape)
    require_all_non_negative(slow=counts)
    mean = float(counts.mean())
    require(mean > 0, "slow", "of a window or more with a slow request", mean)
    return max(float(np.mean((counts - mean) ** 2)) / mean, 1.0)


def clumped_interval(
    latencies: npt.ArrayLike, probability: float, effect: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval for the true q-quantile of n requests that are worth n/D, in their unit.

    latencies: shape (n,), non-negative. probability: q in (0, 1). effect: D in [1, n]. confidence:
    c in (0, 1). An end for which the sample is too small is 0 or infinite. Raises ValueError
    outside these ranges.

    >>> clumped_interval(range(1, 101), 0.5, effect=1.0)
    (40.0, 61.0)
    >>> clumped_interval(range(1, 101), 0.5, effect=4.0)
    (32.0, 72.0)
    """
    x = np.sort(as_floats(latencies=latencies), axis=None)
    require(np.ndim(latencies) == 1 and x.size > 0, "latencies", "non-empty (n,)", x.shape)
    require_all_non_negative(latencies=x)
    effect = require_in(f"[1, {x.size}]", effect=effect)
    worth = int(x.size / effect)
    ranks, each = quantile_ranks(worth, probability, confidence), x.size / worth
    low = x[max(1, math.floor(ranks.lower * each)) - 1] if ranks.lower else 0.0
    high = x[min(x.size, math.ceil(ranks.upper * each)) - 1] if ranks.upper else math.inf
    return float(low), float(high)


def quantile_difference(
    rng: np.random.Generator,
    old: npt.ArrayLike,
    new: npt.ArrayLike,
    probability: float,
    effect: float = 1.0,
    confidence: float = 0.95,
    draws: int = 4000,
) -> tuple[float, float]:
    """Interval of the new release's quantile minus the old one's, in the unit of the latencies.

    old, new: latencies, shapes (n,) and (m,), non-negative, not empty. probability: q in (0, 1).
    effect: D in [1, the smaller n]. confidence: c in (0, 1). draws: bootstrap differences, of which
    the middle share c is returned. The quantile is the ⌈nq⌉-th smallest. Raises ValueError outside
    these ranges.

    >>> quantile_difference(np.random.default_rng(0), [5.0, 5.0], [7.0, 7.0, 7.0], 0.5)
    (2.0, 2.0)
    """
    old, new = as_numbers(old=old, new=new)
    probability, confidence = require_in("(0, 1)", probability=probability, confidence=confidence)
    draws = require_positive_integer(draws=draws)
    require_work(draws, draws=draws)
    resampled = []
    for name, latencies in (("old", old), ("new", new)):
        x = np.asarray(latencies, dtype=float)
        require(x.ndim == 1 and x.size > 0, name, "non-empty (n,)", x.shape)
        require_all_non_negative(**{name: x})
        effect = require_in(f"[1, {x.size}]", effect=effect)
        worth = int(x.size / effect)
        rank = max(1, math.ceil(round(worth * probability, 9)))
        places = np.ceil(x.size * rng.beta(rank, worth - rank + 1, int(draws))).astype(int)
        resampled.append(np.sort(x, kind="stable")[np.clip(places, 1, x.size) - 1])
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(resampled[1] - resampled[0], tails)
    return float(low), float(high)


def _own_effect(latencies: FloatArray) -> float:
    """D as a test says it of itself: from its own blocks, and beyond its own p99."""
    slow = latencies > np.quantile(latencies, 0.99)
    return design_effect(slow.reshape(BLOCKS, -1).sum(axis=1))


def _tried(
    machine: Machine, load: float, minutes: bool, windows: int, count: int = COUNT
) -> dict[str, Any]:
    """Shares of windows whose interval holds the p99 of first tokens, and of pairs found unequal;
    the slowdown from which a pair would be, half the width of the interval of their difference over
    the p99, in the median.

    count: requests of a window. D and the true p99 are those of all runs.
    """
    rng, runs = np.random.default_rng([9, round(1000 * load)]), []
    for _ in range(RUNS):
        rate, requests = load * machine.ceiling_per_s, count * (windows + 1)
        run = run_engine(machine, rate, requests, rng, real_minutes=minutes)
        runs.append(run.ttft_s[count:])
    p99 = float(np.quantile(runs, 0.99))
    effect = design_effect((np.array(runs) > p99).reshape(-1, count // WITHIN).sum(axis=1))
    parts = np.reshape(runs, (-1, count))
    half = len(parts) // 2
    held, cried = np.zeros((len(parts), 3)), np.zeros((half, 2))
    widths, own = list[float](), list[float]()
    for row, part in zip(held, parts, strict=True):
        every = [clumped_interval(part, 0.99, max(1.0, d)) for d in (1, effect, 0.8 * effect)]
        row[:] = [low < p99 < high for low, high in every]
        own.append(_own_effect(part))
    for row, old, new in zip(cried, parts[:half], parts[half:], strict=True):
        alone, by_effect = (
            quantile_difference(rng, old, new, 0.99, d, draws=500) for d in (1.0, effect)
        )
        row[:] = [not alone[0] <= 0 <= alone[1], not by_effect[0] <= 0 <= by_effect[1]]
        widths.append(by_effect[1] - by_effect[0])
    names = ("alone", "by_effect", "effect_low")
    return {
        "machine": machine.name,
        "load": load,
        "minutes": minutes,
        "windows": windows,
        "count": count,
        "p99_s": p99,
        "effect": effect,
        "own_effect": float(np.median(own)),
        "held": dict(zip(names, held.mean(axis=0).tolist(), strict=True)),
        "cried": dict(zip(("alone", "by_effect"), cried.mean(axis=0).tolist(), strict=True)),
        "seen": float(np.median(widths)) / 2 / p99,
    }


def _measure() -> dict[str, Any]:
    """The whole record."""
    machines = {machine.name: machine for machine in (CHAT, MIXTURE)}
    rows = [
        _tried(machines[name], load, minutes, WINDOWS)
        for minutes in (False, True)
        for name, loads in LOADS.items()
        for load in (loads if not minutes else loads[-2:-1])
    ]
    what = f"intervals of the p99 of {COUNT:,} first tokens, in simulated runs at constant load"
    few = WINDOWS * COUNT // ENOUGH  # as many requests
    long = [_tried(machines[name], load, False, few, ENOUGH) for name, load in BUSY.items()]
    told = {"what": what, "rows": rows, "long": long, "again": _tried(CHAT, 0.8, False, 2)}
    return provenance(COMMAND, ["numpy"]) | told


def main() -> None:
    """Simulate and write the record."""
    print(f"wrote {write_record(RECORD, _measure())}, {WINDOWS} windows at each load")


@functools.cache
def _recorded() -> list[dict[str, Any]]:
    """The rows of the record."""
    return list(read_record(RECORD)["rows"])


@functools.cache
def _long() -> dict[str, dict[str, Any]]:
    """The windows of more requests, by machine."""
    return {row["machine"]: row for row in read_record(RECORD)["long"]}


def _two_ends(row: dict[str, Any], count: int = COUNT) -> bool:
    """Whether so many requests are worth an interval with an upper end."""
    return quantile_ranks(int(count / row["effect"]), 0.99).upper is not None


def _row(machine: str, load: float) -> dict[str, Any]:
    """The row of a machine at a constant load."""
    found = (row for row in _recorded() if row["machine"] == machine and row["load"] == load)
    return next(row for row in found if not row["minutes"])


@functools.cache
def _few_effect() -> float:
    """D of first tokens with few places at nine tenths of what they carry."""
    asked = 60_000
    run = run_engine(FEW, 0.9 * FEW.ceiling_per_s, asked, np.random.default_rng(0))
    first_s = run.ttft_s[asked // 6 :]
    slow = first_s > np.quantile(first_s, 0.99)
    return design_effect(slow.reshape(-1, COUNT).sum(axis=1))


def example() -> SimpleNamespace:
    """Numbers quoted in the text; shares in percent, and what requests are worth to ten, because
    eight other runs differ by as much."""
    chat, mixture = _row("chat", 0.8), _row("mixture", 0.5)
    rows = [row for row in _recorded() if not row["minutes"]]
    trace = next(row for row in _recorded() if row["minutes"] and row["machine"] == "chat")
    return SimpleNamespace(
        window=COUNT,
        chat_effect=chat["effect"],
        chat_own_effect=chat["own_effect"],
        chat_worth=10 * round(COUNT / chat["effect"] / 10),
        chat_needs=100 * round(wilks_sample_size(0.99, 0.975) * chat["effect"] / 100),
        few_effect=10 * round(_few_effect() / 10),
        chat_held=100 * chat["held"]["alone"],
        chat_held_by_effect=100 * chat["held"]["by_effect"],
        mixture_effect=mixture["effect"],
        cried=100 * chat["cried"]["alone"],
        cried_together=100 * float(np.mean([row["cried"]["by_effect"] for row in rows])),
        enough=ENOUGH,
        seen=100 * chat["seen"],
        seen_enough=100 * _long()["chat"]["seen"],
        trace_worth=round(COUNT / trace["effect"]),
    )


def figure_held(figure: Figure) -> None:
    """An interval for independent requests misses the p99 of a busy engine more often than not; the
    same interval for n/D requests holds it.

    Share of simulated windows, of 2,000 first tokens each, whose 95% interval holds the true p99,
    against load; dotted, the 95% that it promises. Bars are 95% intervals of the shares. Hollow
    points: n/D requests are too few for an upper end.

    Alt: Two panels, chat and mixture, of the share held against load in percent. A lower curve
    falls from about eight in ten to a third or less. An upper curve stays near the dotted line at
    95 percent; its points at the higher loads are hollow.
    """
    figure.set_size_inches(5.8, 2.8)
    for axes, name in zip(figure.subplots(1, 2, sharey=True), LOADS, strict=True):
        rows = [row for row in _recorded() if row["machine"] == name and not row["minutes"]]
        loads = [100 * row["load"] for row in rows]
        for kind, colour in (("alone", "C3"), ("by_effect", "C0")):
            share = np.array([row["held"][kind] for row in rows])
            half = 1.96 * np.sqrt(np.maximum(share * (1 - share), 0.02) / (RUNS * WINDOWS))
            axes.plot(loads, 100 * share, color=colour)
            for load, held, room, row in zip(loads, 100 * share, 100 * half, rows, strict=True):
                face, size = (colour, 4) if kind == "alone" or _two_ends(row) else ("none", 7)
                axes.errorbar(load, held, room, color=colour)
                axes.plot(load, held, "o", color=colour, ms=size, mfc=face)
        axes.axhline(95, color="C4", linestyle=":")
        axes.set_title(name)
        axes.set(ylim=(0, 105), xlabel="load [%]", ylabel="intervals with the p99 [%]")
    figure.axes[0].annotate("n/D requests", (58, 83), color="C0")
    figure.axes[0].annotate("n independent ones", (33, 28), color="C3")


def check_effect_restores_the_interval() -> None:
    """On both machines and at every load, the interval of n/D requests holds the p99 in nine
    windows of ten or more, even with D a fifth too small. The interval of n requests does so at no
    load. D grows with the load. On the busy machines of the text, 2,000 requests leave the interval
    without an upper end; 8,000 give it one, and it holds the p99 as often.

    Source: the recorded runs, 800 windows each, or 200 long ones; constant load, and for the
    mixture the trace's minutes.
    """
    for name, load in BUSY.items():
        few, many = _row(name, load), _long()[name]
        checks.equal(f"{name}: {COUNT:,} have an upper end", _two_ends(few), False, kind="stated")
        checks.equal(f"{name}: {ENOUGH:,} have one", _two_ends(many, ENOUGH), True, kind="stated")
        for kind, low, high in (("by_effect", 0.9, 1), ("effect_low", 0.9, 1), ("alone", 0, 0.9)):
            label, held = f"{name}, {ENOUGH:,}: {kind}", many["held"][kind]
            checks.inside(label, held, low, high)
    for row in _recorded():
        if row["minutes"] and row["machine"] == "chat":
            continue  # whose load is another in each window: see below
        label, held = f"{row['machine']} at {row['load']:g}, minutes {row['minutes']}", row["held"]
        for kind in ("by_effect", "effect_low"):
            checks.inside(f"{label}: {kind}", held[kind], 0.9, 1)
        checks.inside(f"{label}: alone", held["alone"], 0, 0.9)
    for name in LOADS:
        steady = [row for row in _recorded() if row["machine"] == name and not row["minutes"]]
        effects = [row["effect"] for row in steady]
        checks.holds(f"{name}: D grows", effects == sorted(effects), got=effects)


def check_few_places_take_more_requests() -> None:
    """Nearly six thousand requests are enough for both ends of a p99 on the busy chat machine; with
    64 places at nine tenths of what they carry, 20,000 are too few.

    Source: 368 independent requests for both ends of a p99; simulation of 60,000 requests.
    """
    needed = wilks_sample_size(0.99, 0.975)
    checks.inside("chat: worth of 6,000", 6000 / _row("chat", 0.8)["effect"], needed, 2 * needed)
    checks.inside("64 places: worth of 20,000", 20_000 / _few_effect(), 20, needed - 1)


def check_a_test_does_not_know_its_own_effect() -> None:
    """Wherever D is 6 or more, a test of 2,000 requests finds two thirds of it or less in its own
    twenty blocks.

    Source: the recorded runs.
    """
    for row in (row for row in _recorded() if row["effect"] >= 6 and not row["minutes"]):
        label = f"{row['machine']} at {row['load']:g}"
        checks.inside(f"{label}: own D over it", row["own_effect"] / row["effect"], 0, 0.67)


def check_equal_releases_look_unequal() -> None:
    """By the plain interval of their difference, two windows of one engine differ in an eighth of
    the pairs or more at every load, and in more than half on the busy chat machine. By the interval
    of n/D requests, one pair in twenty differs, as a 95% interval promises; on the busy chat
    machine it sees a slowdown of a third with 2,000 requests each, and of a fifth with 8,000.

    Source: the recorded runs, 400 pairs each; three binomial standard errors about one in twenty.
    """
    rows = [row["cried"]["by_effect"] for row in _recorded() if not row["minutes"]]
    checks.inside("n/D, all loads", float(np.mean(rows)), 0.04, 0.06)
    checks.inside("chat, busy: alone", _row("chat", BUSY["chat"])["cried"]["alone"], 0.5, 1)
    for row in _recorded():
        if row["minutes"]:
            continue
        label, cried = f"{row['machine']} at {row['load']:g}", row["cried"]
        checks.inside(f"{label}: alone", cried["alone"], 0.125, 1)
        checks.inside(f"{label}: n/D", cried["by_effect"], 0.017, 0.083)
    few, many = _row("chat", BUSY["chat"])["seen"], _long()["chat"]["seen"]
    checks.inside(f"slowdown that is seen with {COUNT:,}", few, 0.27, 0.37)
    checks.inside(f"slowdown that is seen with {ENOUGH:,}", many, 0.17, 0.24)


def check_a_changing_load_is_no_sample() -> None:
    """In the trace's own minutes, 2,000 requests of the chat machine are worth fewer than ten by
    their D: no interval for the p99 has two ends then.

    Source: the recorded run, in which some minutes ask for more than the machine carries.
    """
    row = next(row for row in _recorded() if row["minutes"] and row["machine"] == "chat")
    worth = COUNT / row["effect"]
    checks.inside("independent requests they are worth", worth, 1, 10)
    checks.equal("upper rank", quantile_ranks(int(worth), 0.99).upper, None)


def check_record_is_made_again() -> None:
    """A part of the record, run again, is the same.

    Source: records/clumped_percentiles.json.
    """
    again, recorded = _tried(CHAT, 0.8, False, 2), read_record(RECORD)["again"]
    checks.close("p99 [s]", again["p99_s"], recorded["p99_s"], rtol=0.01, kind="simulation")
    checks.close("D", again["effect"], recorded["effect"], rtol=0.05, kind="simulation")
    for kind in ("alone", "by_effect"):
        got, due = again["held"][kind], recorded["held"][kind]
        checks.close(f"held, {kind}", got, due, atol=0.13, kind="simulation")


if __name__ == "__main__":
    main()
