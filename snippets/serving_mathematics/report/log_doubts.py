"""What a log's numbers cannot be, is left out and said, or refused.

Clocks that differ, were set or stood, rows that stand twice or are of no request, ends that never
came and units that were taken for others.

Assumes: moments of one column come from one clock.

Source: comparison of the columns with each other; the notes say what was done.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.report.evidence import (
    DAY_S,
    FloatArray,
    _date,
    _known_numbers,
    _known_quantile,
    _pause,
)
from serving_mathematics.report.log_columns import ANY_ID
from serving_mathematics.report.log_values import LATER_TOKEN_S, LONGEST_S
from serving_mathematics.support.digits import sized
from serving_mathematics.support.require import require

MOST_TRIES = 20  # of one request: an id that stands more often is of something else
MANY_TOKENS = 8  # of an answer of which that is said
FEW_BACK = 3  # steps back in a log that is else in order: a clock was set, or files were joined
AHEAD_S, AHEAD_SHARE = 1.0, 0.8  # of the least time to a first token, and of it in the median
AHEAD_LEAST = 20  # requests of which that is said
ONE_LENGTH = 0.02  # of the tokens, in which lengths that a test asks for alike may differ
EMPTY_SHARE, EMPTY_LEAST = 0.5, 100  # of the span, in which nothing came; requests for that
FIRST_LEAST_S = 1e-3  # of a time to the first token in the median: no engine is faster
EARLY_S = 0.001  # before it was sent, from which clocks disagree
PUT_S = 1500.0  # by which a clock is put forward, or more: half an hour, and an hour
ENDLESS = 10.0  # times the longest other latency


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


def _ahead(ttft_s: FloatArray, first: str, base: str) -> list[str]:
    """What is to be said where no first token came soon, and all nearly as late, as by a clock that
    is ahead of another. first, base: the columns of either.

    >>> _ahead(30 + np.linspace(0.1, 0.9, 50), "first_token_at", "start")
    ['first_token_at is 30.1 s after start in every row, or more: do their clocks differ?']
    """
    known = _known_numbers(ttft_s)
    least = float(known.min()) if known.size >= AHEAD_LEAST else 0.0
    if not least > max(AHEAD_S, AHEAD_SHARE * _known_quantile(ttft_s)):
        return []
    told = f"{first} is {sized(least)} s after {base} in every row, or more"
    return [f"{told}: do their clocks differ?"]


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


def _require_no_instant(columns: Mapping[str, FloatArray], chosen: Mapping[str, str]) -> None:
    """Refuse times to the first token that no engine has: seconds were taken for milliseconds."""
    values = columns.get("ttft_s", np.zeros(0))
    came = columns.get("failed", np.zeros(values.size))[: values.size] == 0
    usual = _known_quantile(values[came & (values > 0)])
    if usual < FIRST_LEAST_S:
        rule = (
            f"at least {1e3 * FIRST_LEAST_S:g} ms in the median (did you mean {1e3 * usual:.4g} s?)"
        )
        where = f"column {chosen['ttft']}" if "ttft" in chosen else "time to first token"
        require(False, where, rule, f"{1e3 * usual:.4g} ms")


def _require_sense(columns: dict[str, FloatArray], chosen: Mapping[str, str], first: int) -> None:
    """Refuse a log in which tokens come before they are asked for: its clocks disagree."""
    for name in ("queue_s", "ttft_s", "latency_s"):
        values = columns.get(name)
        if values is None:
            continue
        early = np.flatnonzero(values < -EARLY_S)
        share = early.size / max(1, int(np.isfinite(values).sum()))
        if early.size:
            at = f"row {int(early[0]) + first}: {name[:-2]}"
            rule = "not negative (do the clocks of client and server disagree, or is a column taken"
            rule += f" for another? {', '.join(f'{r} from {c}' for r, c in chosen.items())[:160]})"
            told = f"{values[early[0]]:.4g} s, and so in {100 * share:.3g}% of the requests"
            require(False, at, rule, told)
        usual = _known_quantile(values)
        rule = f"up to {LONGEST_S:g} s in the median (do the clocks or the time zones differ?)"
        require(not usual > LONGEST_S, name.removesuffix("_s"), rule, f"{usual:.4g} s")
        columns[name] = np.maximum(values, 0.0)
    if "ttft_s" in columns and "latency_s" in columns:
        late = columns["ttft_s"] > columns["latency_s"] * 1.001 + 0.001
        bad = np.flatnonzero(late & np.isfinite(columns["latency_s"]))
        if bad.size > 0.01 * late.size:
            at = f"row {int(bad[0]) + first}: time to first token"
            told = f"{columns['ttft_s'][bad[0]]:.4g} s of {columns['latency_s'][bad[0]]:.4g} s"
            rule = "no longer than the whole (are their units the same?)"
            require(False, at, rule, told)


def _gaps(columns: Mapping[str, FloatArray]) -> list[str]:
    """How many requests that did not fail have no value in a column that others have, in words.

    >>> _gaps({"ttft_s": np.array([0.1, math.nan]), "latency_s": np.ones(2)})
    ['no value in 1 of 2 requests that did not fail: ttft_s (1)']
    """
    size = next((x.size for x in columns.values()), 0)
    good = (np.nan_to_num(columns.get("failed", np.zeros(size))) == 0) & ~_bare(columns)
    names = ("sent_s", "ttft_s", "latency_s", "prompt_tokens", "output_tokens")
    gaps = {name: np.isnan(columns[name]) & good for name in names if name in columns}
    told = ", ".join(f"{name} ({x.sum():,})" for name, x in gaps.items() if x.any())
    some = np.any(list(gaps.values()), axis=0).sum() if told else 0
    whole = f"{some:,} of {good.sum():,} requests that did not fail"
    return [f"no value in {whole}: {told}"] if told else []


def _too_fast(columns: Mapping[str, FloatArray]) -> list[str]:
    """What is to be said of answers that took less than each of their tokens does; nothing of times
    in whole seconds, nor where there is none.

    >>> _too_fast({"latency_s": np.array([0.0, 2.5]), "output_tokens": np.array([80.0, 80.0])})
    ['1 of 2 answers took less than 0.1 ms a token: leave empty what never ended, in one unit']
    """
    if "latency_s" not in columns:
        return []
    lasted = columns["latency_s"]
    good = np.nan_to_num(columns.get("failed", np.zeros(lasted.size))) == 0
    tokens = np.nan_to_num(columns.get("output_tokens", np.ones(lasted.size)))
    fast = good & (lasted < LATER_TOKEN_S * np.maximum(tokens, 1))
    if not fast.any() or not (lasted % 1 > 0).any():
        return []
    told = f"took less than {1e3 * LATER_TOKEN_S:g} ms a token"
    return [
        f"{fast.sum():,} of {good.sum():,} answers {told}: leave empty what never ended, in one "
        "unit"
    ]


def _leave_endless(
    columns: dict[str, FloatArray], chosen: Mapping[str, str], first: int, notes: list[str]
) -> None:
    """Take out latencies of a few requests that last longer than the log, or than a pause of it in
    which a clock may have been put forward, and than ten times any other: rates are over the time
    until the last end, and one such row would set them.

    >>> columns = {"sent_s": np.arange(500.0), "latency_s": np.r_[np.ones(499), 864e3]}
    >>> notes = []
    >>> _leave_endless(columns, {"latency": "e2e"}, 2, notes)
    >>> notes
    ['row 501, column e2e: 864,000 s is longer than the log and was left out']
    """
    if not {"sent_s", "latency_s"} <= set(columns):
        return
    sent, lasted = columns["sent_s"], columns["latency_s"]
    came = _known_numbers(sent)
    if came.size < EMPTY_LEAST:
        return
    pause, span = _pause(np.sort(came)), float(came.max() - came.min())
    put = 0.9 * pause[1] if pause is not None and pause[1] > PUT_S else math.inf
    long = np.flatnonzero(lasted > min(span, put))
    rest = np.delete(lasted, long)
    usual = float(np.nanmax(rest)) if np.isfinite(rest).any() else math.inf
    long = long[lasted[long] > ENDLESS * usual]
    if not 0 < long.size <= max(1, (0.01 if put > span else 0.1) * came.size):
        return
    more = f" and {long.size - 1} more" if long.size > 1 else ""
    column = chosen.get("latency") or chosen.get("end") or "latency"
    told = f"row {int(long[0]) + first}{more}, column {column}: {lasted[long[0]]:,.6g} s"
    longer = "the log" if put > span else "a pause of the log, as where a clock is put forward,"
    notes.append(f"{told} is longer than {longer} and was left out")
    columns["latency_s"] = lasted.copy()
    columns["latency_s"][long] = math.nan


def _leave_whole_answers(columns: dict[str, FloatArray], notes: list[str]) -> None:
    """Take out times to the first token that are none: of answers that came whole, and zeros."""
    if "ttft_s" in columns and "latency_s" not in columns:
        none = (columns["ttft_s"] == 0) & bool((columns["ttft_s"] % 1 > 0).any())
        columns["ttft_s"] = np.where(none, math.nan, columns["ttft_s"])
        told = f"{none.sum():,} times to a first token are 0: taken as no value"
        notes += [told] * bool(none.any())
    if not {"ttft_s", "latency_s"} <= set(columns):
        return
    ttft, whole = columns["ttft_s"], columns["latency_s"]
    tokens = columns.get("output_tokens", np.full(ttft.size, math.nan))
    at_end = (whole - ttft < LATER_TOKEN_S * (tokens - 1)) & (tokens >= MANY_TOKENS)
    none = at_end | ((ttft == 0) & (whole > 0))
    if none.any():
        columns["ttft_s"] = np.where(none, math.nan, ttft)
        notes.append(f"{int(none.sum()):,} answers came whole, without a time to a first token")


def _reusable(
    columns: dict[str, FloatArray], chosen: Mapping[str, str], first: int, notes: list[str]
) -> float:
    """Share of the prompt tokens that a cache could have, where a column tells that and not what
    was found; NaN elsewhere. Refuses more found than there is, but in spans, of which some count
    prompts without it: of these it is left out."""
    if not {"cached_tokens", "prompt_tokens"} <= set(columns):
        return math.nan
    cached, prompt = columns["cached_tokens"], columns["prompt_tokens"]
    more = np.flatnonzero(cached > prompt)
    if more.size > 0.01 * prompt.size:
        if "gen_ai." in chosen["cached"]:
            del columns["cached_tokens"]
            notes.append(f"{chosen['cached']} is more than the prompt, and was not used")
            return math.nan
        at = f"row {int(more[0]) + first}, column {chosen['cached']}"
        rule = "no more than its prompt (does the prompt leave out what was found? add it)"
        require(False, at, rule, f"{cached[more[0]]:g} of {prompt[more[0]]:g}")
    if not compared(chosen["cached"]).startswith("reusable"):
        return math.nan
    known = np.isfinite(cached + prompt)
    del columns["cached_tokens"]
    return float(cached[known].sum() / max(prompt[known].sum(), 1.0))


def _count_tries(
    columns: dict[str, FloatArray], of: FloatArray, column: str, notes: list[str]
) -> None:
    """Which try of its request each row is, where ids repeat at other moments."""
    known = np.flatnonzero(np.isfinite(of + columns["sent_s"]))
    order = known[np.lexsort((columns["sent_s"][known], of[known]))]
    if order.size < 2:
        return
    same = np.r_[False, of[order][1:] == of[order][:-1]]
    later = same & np.r_[False, np.diff(columns["sent_s"][order]) > 0]
    number = np.cumsum(later)
    begin = np.maximum.accumulate(np.where(same, 0, np.arange(order.size)))
    tries = 1.0 + number - number[begin]
    odd = later.any() and (tries.max() > MOST_TRIES or later.mean() > 0.5)
    if odd and compared(column) not in ANY_ID:  # parts of a stream, calls of a trace
        told = f"{column} names {(~same).sum():,} of {order.size:,} rows, each taken as a request"
        notes.insert(0, f"{told}: keep one for each (of turns say --columns session={column})")
    if odd or not later.any():
        return
    before = order[np.flatnonzero(later) - 1]
    failed = columns.get("failed", np.zeros(of.size))[before]
    if compared(column) in ANY_ID and not failed.mean() > 0.5:
        return  # of something else, such as a user
    columns["attempt"] = np.ones(of.size)
    columns["attempt"][order] = tries
    notes.append(f"{column} stands at several moments: a later one is another try")


def _of_one_length(columns: Mapping[str, FloatArray]) -> bool:
    """Whether all answers, and all prompts where both are told, have as many tokens: clients that
    wait for each other's steps then write the same row."""
    told = [_known_numbers(columns[x]) for x in ("prompt_tokens", "output_tokens") if x in columns]
    return bool(told) and all(x.size and np.ptp(x) <= ONE_LENGTH * np.median(x) + 1 for x in told)


def _rows_once(
    cells: Mapping[str, Sequence[Any]],
    columns: dict[str, FloatArray],
    notes: list[str],
    alike: bool = False,
) -> dict[str, FloatArray]:
    """The columns without the rows that stand in a log again, cell for cell; with them where many
    are alike by what they are."""
    rows = zip(*cells.values(), strict=True)
    told = np.fromiter((hash(repr(row)) for row in rows), dtype=np.int64)
    kept = np.sort(np.unique(told, return_index=True)[1])
    again = told.size - kept.size
    if not again:
        return columns
    those = f"{again:,} rows stand there again, cell for cell, and are counted"
    notes.append(f"{those} each, as all have one length" if alike else f"{those} once")
    if alike:
        return columns
    return {name: column[kept] for name, column in columns.items()}


def _bare(columns: Mapping[str, FloatArray]) -> npt.NDArray[np.bool_]:
    """Rows that tell no moment, time or count, and no failure: of a line that is no request's.

    >>> _bare({"sent_s": np.array([0.0, math.nan]), "ttft_s": np.full(2, math.nan)}).tolist()
    [False, True]
    """
    beside = ("gave_up", "session", "tenant", "attempt")
    known = [
        x > 0 if name == "failed" else np.isfinite(x)
        for name, x in columns.items()
        if name not in beside
    ]
    return np.asarray(~np.any(known, axis=0))


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
