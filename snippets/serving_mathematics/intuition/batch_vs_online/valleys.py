"""A day of load, and work that is poured into its valleys: how large a fleet must be, by deadline.

Online work holds engines for its peak. Batch work that may wait runs on what is left of them, the
oldest first; the fleet is the smallest in which all of it meets its deadline.

Assumes: what `deadline_scheduling` assumes; batch requests that come when online ones do; on shared
engines, no more of both together than the promise allows; an engine of its own that is full.

Source: `deadline_scheduling`; the promised load of the book's chat machine.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.intuition.batch_vs_online.deadline_scheduling import (
    backfill,
    daily_profile,
    smallest_fleet,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

FloatArray = npt.NDArray[np.float64]

SLOTS = 96  # quarter hours of a day
PEAK_SLOT = 60  # the slot that starts at 15:00
MEAN = 10.0  # engines that online work holds on average
PEAKS = (1.2, 1.5, 2.5, 4.0)
DEADLINES_H = (0.25, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 24.0)
SHARES = (0.5, 1.0)  # of the online work, that there is of batch work


def _day(peak: float) -> FloatArray:
    """Engines that online work holds in each quarter hour, shape (SLOTS,)."""
    return MEAN * np.roll(daily_profile(peak, SLOTS), PEAK_SLOT)


@cache
def _fleet(peak: float, share: float, deadline_h: float) -> float:
    """Engines for both kinds of work together."""
    held = _day(peak)
    return smallest_fleet(share * held, round(4 * deadline_h), held)


def _two_fleets(peak: float, share: float, deadline_h: float) -> float:
    """Engines of an online fleet, and of a batch fleet of its own whose engines may be full."""
    work = share * promised_load("chat") * _day(peak)
    return MEAN * peak + smallest_fleet(work, round(4 * deadline_h))


@cache
def _saving_h(peak: float, share: float) -> float | None:
    """Shortest deadline from which batch work needs no engine more, or None where none does [h]."""
    needed = (_fleet(peak, share, slots / 4) for slots in range(1, SLOTS + 1))
    enough = [slots for slots, fleet in enumerate(needed, 1) if fleet <= MEAN * peak * (1 + 1e-9)]
    return enough[0] / 4 if enough else None


def example() -> SimpleNamespace:
    """Numbers of the page."""
    return SimpleNamespace(
        saving_h=_saving_h(2.5, 1.0),
        shared_engines=_fleet(2.5, 1.0, 24.0),
        separate_engines=_two_fleets(2.5, 1.0, 24.0),
        batch_engines=_two_fleets(2.5, 1.0, 24.0) - 2.5 * MEAN,
        flat_engines=_fleet(1.2, 1.0, 24.0),
        flat_peak=1.2 * MEAN,
    )


def _panel_day(peak: float, share: float, deadline_h: float) -> tuple[FloatArray, FloatArray]:
    """Engines online, and engines with batch work on top, in each slot."""
    held = _day(peak)
    fleet = _fleet(peak, share, deadline_h) * (1 + 1e-9)
    return held, held + backfill(share * held, fleet, held).done


def figure_valleys(figure: Figure) -> None:
    """Batch work fills the valley of the day if it may wait, and needs its own fleet if it may not.

    As much batch work as online work, a peak of two and a half times the mean. Left, engines
    through a day if batch work may wait for eight hours; right, the smallest fleet by deadline and
    peak, with a dotted line in print for online work alone.

    Alt: Left, a day: a wave of online work with its top in the afternoon, and batch work above it
    that fills the hours before and after up to a straight line. Right, lines of fleet size against
    the deadline, which fall to the online peak within hours where the day has a high peak, and stay
    above it where the day is flat.
    """
    left, right = figure.subplots(1, 2)
    hours = np.arange(SLOTS) / 4
    held, both = _panel_day(2.5, 1.0, 8.0)
    left.fill_between(hours, 0, held, step="post", color="C0", alpha=0.45)
    left.fill_between(hours, held, both, step="post", color="C1", alpha=0.45)
    left.annotate("online", (15.2, 9), ha="center")
    left.annotate("batch", (21, 20), ha="center")
    left.set(xlim=(0, 24), ylim=(0, 28), xticks=range(0, 25, 6))
    left.set(xlabel="time of day [h]", ylabel="engines")
    for peak, colour, place in zip(
        PEAKS[:-1], ("C3", "C1", "C0"), ((9, 1.71), (9, 2.1), (3.2, 4.0)), strict=True
    ):
        fleets = [_fleet(peak, 1.0, deadline) / MEAN for deadline in DEADLINES_H]
        right.plot(DEADLINES_H, fleets, "o-", color=colour, markersize=4)
        right.axhline(peak, color=colour, linestyle=":", linewidth=1)
        right.annotate(f"peak {peak}", place, color=colour)
    right.set(xlim=(0, 24.5), ylim=(1, 5.3), xticks=range(0, 25, 6))
    right.set(xlabel="deadline [h]", ylabel="fleet / mean online work")


# In one piece: a picture's data, panel by panel, as the page draws them.
def slider_valleys() -> dict[str, Any]:
    """Let batch work wait longer, and watch it move into the valley. Then make the day flatter."""
    every = range(0, SLOTS, 2)
    runs = [
        [[_panel_day(peak, share, h) for share in SHARES] for peak in PEAKS] for h in DEADLINES_H
    ]
    online, both = (
        [[[one[place][every].tolist() for one in few] for few in some] for some in runs]
        for place in (0, 1)
    )

    def each(make: Any) -> list[Any]:
        return [[[make(peak, share, h) for share in SHARES] for peak in PEAKS] for h in DEADLINES_H]

    fleet = each(_fleet)
    return {
        "controls": [
            {"label": "deadline", "values": list(DEADLINES_H), "text": "{:g} h", "start": 8.0},
            {"label": "peak", "values": list(PEAKS), "text": "{} × the mean", "start": 2.5},
            {
                "label": "batch work",
                "values": [round(100 * share) for share in SHARES],
                "text": "{}% of online work",
                "start": 100,
            },
        ],
        "clock": {
            "label": "time of day",
            "unit": "h",
            "decimals": 1,
            "values": (np.array(every) / 4).tolist(),
            "start": 21.0,
        },
        "panels": [
            {
                "kind": "curves",
                "y": {"label": "engines", "unit": "", "range": (0, 60)},
                "curves": [
                    {"label": "online", "unit": "", "decimals": 1, "values": online},
                    {"label": "with batch", "unit": "", "decimals": 1, "values": both},
                ],
            },
            {
                "kind": "load",
                "x": {"label": "deadline", "unit": "h", "range": (0, 24)},
                "y": {"label": "engines", "unit": "", "range": (0, 60)},
                "curves": [
                    {"label": "one fleet", "unit": "", "decimals": 1, "values": fleet},
                    {
                        "label": "two fleets",
                        "unit": "",
                        "decimals": 1,
                        "values": each(_two_fleets),
                    },
                ],
            },
        ],
        "readouts": [],
        "reading": "At {time of day}, online work takes {online} engines, or {with batch} with"
        " batch work. If the peak is {peak} and batch work ({batch work}) may wait {deadline},"
        " one fleet of {one fleet} engines does both; two fleets, the batch one full, would take"
        " {two fleets}.",
    }


def check_patience_saves_the_second_fleet() -> None:
    """With as much batch work as online work, at the same hours, and a peak of r times the mean, r
    ≥ 2, a deadline of a day over r needs no further engine, whatever the shape of the day: n hours
    bring at most r n of each kind and at most a day's worth, so c = r does both in n + 24/r hours.
    Where all work comes at the peak, no shorter deadline is enough. With a peak of 1.2, a whole day
    is not enough.

    Source: the smallest fleets, against the peak.
    """
    for peak in (2.0, 2.5, 4.0):
        most, hours = 1 + int(np.ceil(SLOTS / peak)), np.arange(SLOTS)  # and its own slot
        block = np.clip(SLOTS / peak - hours, 0, 1) * MEAN * peak
        busy = int(0.9 * SLOTS / peak)
        rest = (SLOTS - busy * peak) / (SLOTS - busy)
        for label, day in (
            ("wave", _day(peak)),
            ("all at the peak", block),
            ("office hours", MEAN * np.where(hours < busy, peak, rest)),
        ):
            top, told = float(day.max()), f"peak {peak:g}, {label}: engines at"
            fleet = smallest_fleet(day, most, day)
            checks.close(f"{told} {(most - 1) / 4:g} h", fleet, top, rtol=1e-9)
            if label == "all at the peak":
                less = smallest_fleet(day, most - 1, day)
                checks.holds(f"{told} a slot less", less > 1.001 * top, got=less)
    checks.holds("with a flat day none does", _saving_h(1.2, 1.0) is None)
