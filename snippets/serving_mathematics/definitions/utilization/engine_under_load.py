"""An engine pays for load twice: every token comes later, and then a queue forms.

The book's chat machine at loads from a tenth of its ceiling to 98%, with 16, 64 and 256 places. Of
each load a record has the mean time per token, the first token that 99% have, how often all places
are taken, what gauges show on average, which share keeps a promise, and a clip of the engine.

`python -m serving_mathematics.definitions.utilization.engine_under_load` simulates six million
requests, in half a minute, and writes records/engine_under_load.json.gz.

Assumes: what `core.machines.running` assumes; Poisson arrivals; load in percent of what the engine
carries with its own places.

Source: own simulation of the book's machine; `token_sharing` for the closed forms.
"""

# In one piece: one simulated table; more than half are its pictures and checks, which stand beside
# what they show.

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT, Machine
from serving_mathematics.core.machines.running import Run, run_engine
from serving_mathematics.core.machines.token_sharing import share_tokens, step_line
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import as_floats, require, require_in

FloatArray = npt.NDArray[np.float64]

RECORD = "engine_under_load"
COMMAND = "python -m serving_mathematics.definitions.utilization.engine_under_load"
PLACES = (16, 64, 256)
LOADS = (10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 88, 90, 95, 98)  # of the ceiling [%]
PROMISES_S = (0.05, 0.015)  # per token, beside the machine's first token
SLOW_OVER_MEAN = 1.5  # of times per token on chat, those of the slowest hundredth
SEEDS, REQUESTS = 8, 20_000  # runs of each load, and requests of each
FRAMES, FRAME_S = 60, 0.4  # of the clip
KINDS = ("first", "token", "taken", "running", "cache", "busy", "kept", "kept_quick")


def load_limit(loads: npt.ArrayLike, kept: npt.ArrayLike, share: float) -> float:
    """The load up to which a promise is kept, from a load test at several loads; 0 for none.

    loads: increasing, in any unit, shape (n,). kept: share of the requests that had what is
    promised at each, shape (n,). share: in (0, 1], promised. Straight between the last load that
    keeps it and the next. Raises ValueError on other input.

    >>> load_limit([50, 60, 70], [1.0, 0.99, 0.95], share=0.97)
    65.0
    """
    tried, had = as_floats(loads=loads), as_floats(kept=kept)
    share = require_in("(0, 1]", share=share)
    sound = tried.ndim == 1 and tried.size > 0 and bool(np.all(np.diff(tried) > 0))
    require(sound, "loads", "increasing, of shape (n,)", tried)
    require(had.shape == tried.shape, "kept", f"of shape {tried.shape}", had.shape)
    require((had >= 0) & (had <= 1), "kept", "in [0, 1]", had)
    missed = np.flatnonzero(had < share)
    if missed.size == 0:
        return float(tried[-1])
    first = int(missed[0])
    if first == 0:
        return 0.0
    low, high = had[first - 1], had[first]
    return float(tried[first - 1] + (low - share) / (low - high) * np.diff(tried)[first - 1])


def _seen(machine: Machine, run: Run) -> dict[str, float]:
    """What a run shows after its first tenth."""
    warm = run.arrival_s.size // 10
    moments = np.linspace(run.arrival_s[warm], run.arrival_s[-1], 4000)
    shown = run.series(moments)
    seen = run.series(np.nextafter(run.arrival_s[warm:], 0.0))
    soon = run.ttft_s <= machine.promise.ttft_s
    fast, quick = ((soon & ~(run.tpot_s > limit))[warm:] for limit in PROMISES_S)
    return {
        "first": float(np.quantile(run.ttft_s[warm:], 0.99)),
        "token": run.token_s(warm),
        "taken": float((seen.running >= run.places).mean()),
        "running": float(shown.running.mean()) / run.places,
        "cache": float(shown.cache_share.mean()),
        "busy": run.busy_share,
        "kept": float(fast.mean()),
        "kept_quick": float(quick.mean()),
    }


def _run(places: int, load: float, seed: int) -> Run:
    """One of the runs; the same seed draws the same requests at every load."""
    machine = CHAT.limited(places)
    rate = load / 100 * machine.ceiling_per_s
    return run_engine(machine, rate, REQUESTS, np.random.default_rng([31, seed]))


def _clip(run: Run) -> dict[str, list[int]]:
    """Who runs, is read and waits from the middle of a run on."""
    start = run.arrival_s[run.arrival_s.size // 2]
    shown = run.series(start + FRAME_S * np.arange(FRAMES))
    return {part: getattr(shown, part).tolist() for part in ("running", "prompts", "waiting")}


def _cell(places: int, load: float) -> dict[str, Any]:
    """One load of the record: means over runs, and their standard errors."""
    machine, runs = CHAT.limited(places), [_run(places, load, seed) for seed in range(SEEDS)]
    seen = [_seen(machine, run) for run in runs]
    values = {kind: [one[kind] for one in seen] for kind in KINDS}
    means = {kind: float(np.mean(few)) for kind, few in values.items()}
    errors = {kind: float(np.std(few, ddof=1)) / SEEDS**0.5 for kind, few in values.items()}
    return {"places": places, "load": load, "mean": means, "error": errors, "clip": _clip(runs[0])}


def main() -> None:
    """Simulate and write the record."""
    cells = [_cell(places, load) for places in PLACES for load in LOADS]
    what = f"the chat machine at {len(LOADS)} loads with {len(PLACES)} numbers of places"
    record = provenance(COMMAND, ["numpy"]) | {"what": what, "cells": cells}
    print(f"wrote {write_record(RECORD, record, packed=True)}")


@functools.cache
def _cells() -> dict[tuple[int, int], dict[str, Any]]:
    """The record by places and load."""
    return {(cell["places"], cell["load"]): cell for cell in read_record(RECORD)["cells"]}


def _curve(kind: str, places: int) -> FloatArray:
    """What was seen at all loads."""
    return np.array([_cells()[places, load]["mean"][kind] for load in LOADS])


def _rates(places: int) -> FloatArray:
    """Requests a second at all loads."""
    return np.array(LOADS) / 100 * CHAT.limited(places).ceiling_per_s


def _shared(places: int) -> list[Any]:
    """What the closed form says at all loads."""
    machine = CHAT.limited(places)
    return [share_tokens(machine, load / 100 * machine.ceiling_per_s) for load in LOADS]


def _limit(places: int, kind: str = "kept") -> float:
    """Load up to which 99% keep a promise [% of the ceiling]."""
    return load_limit(LOADS, _curve(kind, places), CHAT.promise.share)


def _told(places: int, token_s: float) -> float:
    """Load at which half as much again as the closed form's mean is a promised time per token [% of
    the ceiling]."""
    machine = CHAT.limited(places)
    line = step_line(machine)
    alone_s = line.fixed_s + line.sequence_s
    return 100 * (1 - SLOW_OVER_MEAN * alone_s / token_s) * line.most_per_s / machine.ceiling_per_s


def example() -> SimpleNamespace:
    """Numbers quoted in the text: loads and shares in percent."""
    rest = float(CHAT.step_s(1))
    limits = {places: _limit(places) for places in PLACES}
    closed = [
        one.tpot_s / seen - 1
        for places in PLACES
        for one, seen in zip(_shared(places), _curve("token", places), strict=True)
    ]
    return SimpleNamespace(
        promised_percent=100 * CHAT.promise.share,
        promised_first_s=CHAT.promise.ttft_s,
        promised_token_ms=1000 * PROMISES_S[0],
        quick_ms=1000 * PROMISES_S[1],
        slower_many=_cells()[256, 80]["mean"]["token"] / rest,
        limit_few=limits[16],
        limit_many=limits[256],
        quick_many=_limit(256, "kept_quick"),
        slow_over_mean=SLOW_OVER_MEAN,
        told_many=_told(256, PROMISES_S[0]),
        told_quick=_told(256, PROMISES_S[1]),
        carried_few=limits[16] / 100 * CHAT.limited(16).ceiling_per_s,
        carried_many=limits[256] / 100 * CHAT.ceiling_per_s,
        closed_error_percent=100 * float(np.abs(closed).max()),
        running_half_percent=100 * _cells()[64, 50]["mean"]["running"],
    )


_COLOURS = {16: "C3", 64: "C1", 256: "C0"}


def figure_engine_under_load(figure: Figure) -> None:
    """With many places, tokens slow down long before anybody queues; with few, the queue comes
    first.

    The chat machine, for a quarter of an hour or longer; near the ceiling, first tokens come the
    later, the longer the load lasts. A request that waits while places are free waits for prompts
    before its own. Dotted: the promise.

    Alt: Two charts against requests per second. On the left the time per token rises along one
    curve, on which the smallest engine ends first and the largest last. On the right, on a
    logarithmic axis, the first token of the slowest hundredth is flat and then jumps, for the
    smallest engine at a much lower rate than for the largest.
    """
    figure.set_size_inches(5.8, 3.2)
    left, right = figure.subplots(1, 2)
    for places, colour in _COLOURS.items():
        left.plot(_rates(places), 1000 * _curve("token", places), color=colour)
        right.semilogy(_rates(places), _curve("first", places), color=colour)
    for axes, limit in ((left, 1000 * CHAT.promise.tpot_s), (right, CHAT.promise.ttft_s)):
        axes.axhline(limit, color="C4", linestyle=":", linewidth=1.2)
        axes.set(xlim=(0, 24), xlabel="requests per second")
    for text, x, y, colour in (
        ("256 places", 14, 28, "C0"),
        ("64", 15.6, 11.5, "C1"),
        ("16", 7.6, 5, "C3"),
    ):
        left.annotate(text, (x, y), color=colour, ha="center")
    for text, x, y, colour in (
        ("16", 4.8, 2, "C3"),
        ("64", 13.6, 2, "C1"),
        ("256", 19.6, 2, "C0"),
    ):
        right.annotate(text, (x, y), color=colour, ha="center")
    left.set(ylim=(0, 55), ylabel="time per token [ms]")
    right.set(ylim=(0.1, 30), ylabel="first token of 99% within [s]")


# In one piece: a picture's data, panel by panel, as the page draws them.
def slider_engine_under_load() -> dict[str, Any]:
    """Raise the load, with few places and with many: what gets worse first?"""

    def clips(part: str) -> list[list[list[int]]]:
        return [[_cells()[places, load]["clip"][part] for places in PLACES] for load in LOADS]

    def curves(kind: str, scale: float = 1.0) -> list[list[float]]:
        return [[scale * float(_cells()[p, load]["mean"][kind]) for p in PLACES] for load in LOADS]

    rest = float(CHAT.step_s(1))
    x = {"label": "load, of its own ceiling", "unit": "%", "range": (0, 100)}
    return {
        "controls": [
            {"label": "load", "values": list(LOADS), "text": "{}%", "start": 80},
            {"label": "places", "values": list(PLACES), "text": "{} places", "start": 64},
        ],
        "clock": {
            "label": "time",
            "unit": "s",
            "values": (FRAME_S * np.arange(FRAMES)).round(1).tolist(),
            "start": 0.0,
        },
        "panels": [
            {
                "kind": "engine",
                "places": [list(PLACES) for _ in LOADS],
                "running": clips("running"),
                "prompts": clips("prompts"),
                "waiting": clips("waiting"),
            },
            {
                "kind": "load",
                "x": x,
                "y": {
                    "label": "time per token",
                    "unit": "ms",
                    "range": (0, 55),
                    "limit": {"at": 1000 * CHAT.promise.tpot_s, "label": "promised"},
                },
                "curves": [
                    {
                        "label": "time per token",
                        "unit": "ms",
                        "values": curves("token", 1000.0),
                        "state": "answer",
                    }
                ],
            },
            {
                "kind": "load",
                "x": x,
                "y": {
                    "label": "99% have their first token within",
                    "unit": "s",
                    "log": True,
                    "range": (0.1, 30),
                    "limit": {"at": CHAT.promise.ttft_s, "label": "promised"},
                },
                "curves": [
                    {
                        "label": "first token",
                        "unit": "s",
                        "values": curves("first"),
                        "decimals": 2,
                        "state": "prompt",
                    }
                ],
            },
        ],
        "readouts": [
            {
                "label": "rate",
                "unit": "requests a second",
                "values": np.transpose([_rates(places) for places in PLACES]).tolist(),
            },
            {
                "label": "times at rest",
                "unit": "",
                "values": curves("token", 1 / rest),
            },
            {"label": "in time", "unit": "%", "values": curves("kept", 100.0)},
        ],
        "reading": "At {load} of what it can carry with {places}, which is {rate}, a token takes"
        " {time per token}, {times at rest} times as long as at rest; 99% have their first token"
        " within {first token}, and {in time} of the requests keep both limits of the promise.",
    }


def figure_gauges(figure: Figure) -> None:
    """None of the gauges on most dashboards is the load.

    The chat machine with 64 places. "GPU busy" is what a driver's utilization shows: the share of
    time in which a step is under way.

    Alt: Line chart of three gauges against the load, with the diagonal dotted. The share of time
    with a step under way jumps to nearly 100 percent at the first load. Running requests over
    places stay below the diagonal until the end, and the share of the cache in use stays lowest.
    """
    axes = figure.subplots()
    axes.plot((0, 100), (0, 100), color="C4", linestyle=":")
    for kind, colour, text, x, y in (
        ("busy", "C3", "GPU busy", 30, 93),
        ("running", "C0", "running over places", 72, 36),
        ("cache", "C2", "cache in use", 70, 4),
    ):
        axes.plot((0, *LOADS), 100 * np.append(0, _curve(kind, 64)), color=colour)
        axes.annotate(text, (x, y), color=colour, ha="left")
    axes.annotate("load", (40, 44), color="C4", ha="right")
    axes.set(xlim=(0, 100), ylim=(0, 103))
    axes.set(xlabel="load [% of the ceiling]", ylabel="what the gauge shows [%]")


def figure_places(figure: Figure) -> None:
    """A queue forms when all places are taken; a shared processor predicts the share of
    arrivals that find them taken to within a tenth of all arrivals.

    Points are simulated arrivals of the chat machine, solid lines the shared processor, dotted ones
    Erlang's formula with places for servers.

    Alt: Chart of the share of arrivals that find every place taken, against load. For the smallest
    engine it rises from half of the load on; for the largest it is zero until nearly the end.
    Solid lines run close to the points, most a little below them; dotted ones lie far
    below for the two larger engines.
    """
    axes = figure.subplots()
    for places, colour in _COLOURS.items():
        shared = _shared(places)
        axes.plot(LOADS, [100 * one.all_taken for one in shared], color=colour)
        axes.plot(LOADS, [100 * one.erlang for one in shared], color=colour, linestyle=":")
        axes.plot(LOADS, 100 * _curve("taken", places), "o", color=colour)
    for text, x, y, colour in (
        ("16 places", 70, 24, "C3"),
        ("64", 84, 16, "C1"),
        ("256", 99.7, 4, "C0"),
    ):
        axes.annotate(text, (x, y), color=colour, ha="right")
    axes.set(xlim=(40, 100), ylim=(-2, 100))
    axes.set(xlabel="load [% of the ceiling]", ylabel="arrivals that find all places taken [%]")


def check_a_cell_is_made_again() -> None:
    """A run of the record, simulated again, lies within four standard errors of its mean, and shows
    the same clip.

    Source: the record, and its command.
    """
    cell, run = _cells()[16, 80], _run(16, 80, 0)
    seen = _seen(CHAT.limited(16), run)
    for kind in ("token", "taken", "running"):
        room = 4 * SEEDS**0.5 * cell["error"][kind] + 1e-9
        checks.close(kind, seen[kind], cell["mean"][kind], atol=room, kind="simulation")
    differ = np.abs(np.array(_clip(run)["running"]) - cell["clip"]["running"]).max()
    checks.inside("places that differ in the clip", float(differ), 0, 2, kind="simulation")


def check_tokens_slow_down_as_the_closed_form_says() -> None:
    """With 16, 64 and 256 places, the closed form is within 5% of the time per token at each load.

    Source: `token_sharing`, Little's law with a step that grows; the record.
    """
    for places in PLACES:
        told = np.array([one.tpot_s for one in _shared(places)])
        worst = float(np.abs(told / _curve("token", places) - 1).max())
        checks.inside(f"{places} places: largest error", worst, 0, 0.05, kind="simulation")


def check_places_do_not_make_tokens_faster() -> None:
    """At the same rate, a token takes as long with 64 places as with 256, to within 4%, up to 90%
    of what 64 carry; and as long with 16 as with 64, up to 90% of what 16 carry.

    Source: the record; straight between loads.
    """
    for few, many in ((16, 64), (64, 256)):
        at = _rates(few)[: LOADS.index(90) + 1]
        other = np.interp(at, _rates(many), _curve("token", many))
        worst = float(np.abs(other / _curve("token", few)[: at.size] - 1).max())
        checks.inside(f"{few} and {many} places: largest difference", worst, 0, 0.04)


def check_the_closed_form_says_how_hot() -> None:
    """Where time per token breaks the promise first, one and a half times the closed form's mean
    gives the load up to which 99% keep the promise, to within 4 points.

    Source: the record, with 256 places for both promises and with 64 for the stricter.
    """
    for places, kind, token_s in (
        (256, "kept", PROMISES_S[0]),
        (256, "kept_quick", PROMISES_S[1]),
        (64, "kept_quick", PROMISES_S[1]),
    ):
        label = f"{places} places, {1000 * token_s:g} ms [%]"
        checks.close(label, _told(places, token_s), _limit(places, kind), atol=4, kind="simulation")


def check_what_is_paid_first_depends_on_the_places() -> None:
    """Where the promise ends, tokens with 256 places are at least four times as slow as at rest,
    and first tokens are in time; with 16 places, tokens are slower by less than half, and first
    tokens are late.

    Source: the record on both sides of the limit.
    """
    rest = float(CHAT.step_s(1))
    for places, low, high, first in ((16, 1.0, 1.5, "late"), (256, 4.0, 8.0, "in time")):
        load = next(load for load in LOADS if load > _limit(places))
        seen = _cells()[places, load]["mean"]
        label = f"{places} places at {load}%"
        checks.inside(f"{label}: times at rest", seen["token"] / rest, low, high)
        late = "late" if seen["first"] > CHAT.promise.ttft_s else "in time"
        checks.equal(f"{label}: first token of 99%", late, first, kind="stated")


def check_erlang_sees_too_few_full_places() -> None:
    """Where one arrival in a hundred or more finds all places taken, the shared processor is nearer
    to this share than Erlang's formula is, at every load up to 88%, and within a tenth of all
    arrivals at every load.

    Source: the record.
    """
    for places in PLACES:
        taken = _curve("taken", places)
        rows = [
            (abs(one.all_taken - seen), abs(one.erlang - seen))
            for one, seen, load in zip(_shared(places), taken, LOADS, strict=True)
            if seen > 0.01 and load <= 88
        ]
        nearer = all(sharing < erlang for sharing, erlang in rows)
        checks.holds(f"{places} places: sharing is nearer", nearer, got=f"{len(rows)} loads")
        off = np.abs(np.array([one.all_taken for one in _shared(places)]) - taken)
        checks.inside(f"{places} places: sharing is off by at most", float(off.max()), 0, 0.1)


def check_no_percentage_serves_all_places() -> None:
    """The best single percentage for all is that of the smallest engine, and leaves unserved more
    than a tenth of the traffic that larger engines could carry within the same promise; with 15 ms
    a token, the largest may carry less than that percentage.

    Source: the record; the trivial policy, a percentage for all, at its best setting.
    """
    limits = [_limit(places) for places in PLACES]
    best = min(limits)
    for places, limit in zip(PLACES[1:], limits[1:], strict=True):
        checks.inside(f"{places} places: unserved", 1 - best / limit, 0.1, 0.5)
    quick = _limit(256, "kept_quick")
    checks.inside("15 ms a token, 256 places [%]", quick, 1, best - 5)


if __name__ == "__main__":
    main()
