"""Clocks of a log: two that differ, one that was set, and times in which nothing came.

What is of another clock is refused or left out, and said; the notes say what was done.

Assumes: moments of one column come from one clock.

Source: comparison of the columns with each other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from serving_mathematics.report.evidence import (
    DAY_S,
    FloatArray,
    _date,
    _known_numbers,
    _known_quantile,
    _pause,
)
from serving_mathematics.support.digits import sized
from serving_mathematics.support.require import require

EARLY_S = 0.001  # before it was sent, from which clocks disagree
FEW_BACK = 3  # steps back in a log that is else in order: a clock was set, or files were joined
AHEAD_S, AHEAD_SHARE = 1.0, 0.8  # of the least time to a first token, and of it in the median
AHEAD_LEAST = 20  # requests of which that is said
EMPTY_SHARE, EMPTY_LEAST = 0.5, 100  # of the span, in which nothing came; requests for that


def _base(
    moments: Mapping[str, tuple[FloatArray, float, str]],
    notes: list[str],
    chosen: Mapping[str, str],
) -> str:
    """The moments from which times are counted: when requests were sent, by the clock of the
    others."""
    if "sent" not in moments and "queued" not in moments:
        return ""
    base = "sent" if "sent" in moments else "queued"
    others = [role for role in ("first", "end", "scheduled") if role in moments]
    if not others:
        return base
    far = abs(moments[others[-1]][1] - moments[base][1]) > DAY_S
    if far and base == "sent" and "queued" in moments:
        near = abs(moments[others[-1]][1] - moments["queued"][1]) <= DAY_S
        if near:
            notes.append(f"{chosen['sent']} is of another clock and was not used")
            return "queued"
    if far:
        names = f"{chosen[base]} and {chosen[others[-1]]}"
        apart = abs(moments[others[-1]][1] - moments[base][1])
        require(False, names, "moments of one clock, a day apart at most", f"{apart:.4g} s apart")
    return base


def _one_after_another(
    moments: FloatArray, column: str, first: int, of: FloatArray | None = None
) -> tuple[FloatArray, str]:
    """Moments of a log in order that goes back once or a few times, each stretch laid after the one
    before, and what is to be said of it; as they are, and nothing, elsewhere, and where each
    stretch is of another replica, or they are one log whose files stand in another order. of: a
    number for the replica of each, where it is told.

    >>> _one_after_another(np.r_[np.arange(500.0), np.arange(400.0, 900.0)], "ts", 2)[0][498:502]
    array([498., 499., 500., 501.])
    """
    steps = np.diff(moments)
    back = np.flatnonzero(steps < -1.0)
    if not 0 < back.size <= min(FEW_BACK, 0.01 * steps.size) or (steps < 0).mean() > 0.01:
        return moments, ""
    at = int(back[np.argmin(steps[back])])
    ends = sorted((np.nanmin(x), np.nanmax(x)) for x in np.split(moments, back + 1))
    between = [later[0] - one[1] for one, later in itertools.pairwise(ends)]
    if min(between) >= 0 and max(between) <= np.nanmax(steps):
        return moments, ""
    if of is not None:
        parts = np.split(of, back + 1)
        if sum(np.unique(one).size for one in parts) == np.unique(of).size:
            return moments, ""
    told = f"{column} goes back by {-steps[at]:,.0f} s at row {at + 1 + first}, where a clock was "
    told += "set or a file was joined: one stretch is laid after the other (sort the rows of "
    told += "engines side by side)"
    later = np.zeros(moments.size)
    np.add.at(later, back + 1, float(np.median(steps)) - steps[back])
    return moments + np.cumsum(later), told


def _leave_across(columns: dict[str, FloatArray]) -> str:
    """Take out the times of a few requests that end before they begin, as those that lasted while a
    clock was set back, and say how many.

    >>> columns = {"latency_s": np.r_[np.ones(499), -3598.0]}
    >>> _leave_across(columns), float(np.nansum(columns["latency_s"]))
    ('; times of 1 that lasted across it are left out', 499.0)
    """
    timed = [x for x in ("queue_s", "ttft_s", "latency_s") if x in columns]
    across = np.any([columns[x] < -EARLY_S for x in timed], axis=0) if timed else np.zeros(1)
    if not 0 < across.sum() <= 0.01 * across.size:
        return ""
    for name in timed:
        columns[name] = np.where(across, math.nan, columns[name])
    return f"; times of {across.sum()} that lasted across it are left out"


def _ahead(
    times_s: FloatArray,
    later: str,
    base: str,
    of: FloatArray | None = None,
    names: Sequence[str] = (),
) -> list[str]:
    """What is to be said where no first token or end came soon, and all nearly as late, as by a
    clock that is ahead of another: in all rows, or in those of one replica and no other. later,
    base: the columns of either. of, names: a number for the replica of each row, and their names.

    >>> _ahead(30 + np.linspace(0.1, 0.9, 50), "first_token_at", "start")
    ['first_token_at is 30.1 s after start in every row, or more: do their clocks differ?']
    >>> one = np.arange(50) % 2
    >>> _ahead(30 * one + np.linspace(0.1, 0.9, 50), "end", "start", one, ["pod a", "pod b"])
    ['end is 30.1 s after start in every row of pod b, or more: do their clocks differ?']
    """
    parts = [("", times_s)]
    parts += [(f" of {name}", times_s[of == place]) for place, name in enumerate(names)]
    for whose, part in parts:
        known = _known_numbers(part)
        least = float(known.min()) if known.size >= AHEAD_LEAST else 0.0
        if least > max(AHEAD_S, AHEAD_SHARE * _known_quantile(part)):
            told = f"{later} is {sized(least)} s after {base} in every row{whose}, or more"
            return [f"{told}: do their clocks differ?"]
    return []


def _leave_own_clocks(columns: dict[str, FloatArray], notes: list[str]) -> None:
    """Take out moments that count from the start of each session."""
    if "sent_s" not in columns:
        return
    known = np.isfinite(columns["session"] + columns["sent_s"])
    if not known.any():
        return
    begin = np.full(int(columns["session"][known].max()) + 1, math.inf)
    np.minimum.at(begin, columns["session"][known].astype(int), columns["sent_s"][known])
    begin = begin[np.isfinite(begin)]
    if begin.size > 10 and np.mean(begin == begin.min()) > 0.9:
        del columns["sent_s"]
        notes.append("moments count from the start of each session and were not compared")


def _emptiness(columns: Mapping[str, FloatArray], zero_at_s: float | None) -> list[str]:
    """What is to be said of a log in which nothing came in most of the time, or for far longer than
    ever else; nothing elsewhere. zero_at_s: as of a run."""
    sent = np.sort(_known_numbers(columns.get("sent_s", np.zeros(0))))
    if sent.size < EMPTY_LEAST:
        return []
    span, gap = float(sent[-1] - sent[0]), float(np.diff(sent).max())
    if gap > EMPTY_SHARE * span > 0:
        told = f"nothing came for {gap:,.0f} s of {span:,.0f}"
        return [f"{told}: rates are of the whole, so cut it there"]
    paused = _pause(sent)
    if paused is None:
        return []
    begin = float(sent[paused[0]])
    since = f"{begin - sent[0]:,.0f} s"
    if span > DAY_S and zero_at_s is not None:
        since = _date(zero_at_s + begin)
    told = f"nothing came for {paused[1]:,.0f} s from {since} on, and"
    return [f"{told} for {paused[2]:.2g} s at most elsewhere: a client or a clock stood or jumped"]
