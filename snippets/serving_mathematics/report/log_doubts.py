"""What a log's numbers cannot be, is left out and said, or refused.

Rows that stand twice or are of no request, ends that never came and units that were taken for
others; of clocks `log_clocks` speaks.

Source: comparison of the columns with each other; the notes say what was done.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.report.evidence import FloatArray, _known_numbers, _known_quantile, _pause
from serving_mathematics.report.log_clocks import EARLY_S, EMPTY_LEAST
from serving_mathematics.report.log_columns import ANY_ID
from serving_mathematics.report.log_values import LATER_TOKEN_S, LONGEST_S, _is_number
from serving_mathematics.support.digits import sized
from serving_mathematics.support.require import require

MOST_TRIES = 20  # of one request: an id that stands more often is of something else
MANY_TOKENS = 8  # of an answer of which that is said
ONE_LENGTH = 0.02  # of the tokens, in which lengths that a test asks for alike may differ
FIRST_LEAST_S = 1e-3  # of a time to the first token in the median: no engine is faster
PUT_S = 1500.0  # by which a clock is put forward, or more: half an hour, and an hour
ENDLESS = 10.0  # times the longest other latency
THOUSAND = (300.0, 3000.0)  # times the usual time: what milliseconds among seconds are
BETWEEN, MOST_OTHER, FEW_OTHER = 4.0, 0.3, 5  # times, of rows, and rows, that are of another unit
BEGUN = 100  # tokens that are as long as what precedes an answer
SPREAD_ALIKE = 0.4  # of the others' spread, below which slow ones are of one cause and no unit
ONE_START = 0.05  # of a wait, by which two end apart that waited for one start
LONG_PAUSE, FEW_RUNS = 0.95, 3  # share of shorter ones, and runs of slow rows, that tell a start


def _ended_well(columns: Mapping[str, FloatArray]) -> npt.NDArray[np.bool_]:
    """Which requests did not fail, as far as is told.

    >>> _ended_well({"latency_s": np.ones(2), "failed": np.array([math.nan, 1.0])})
    array([ True, False])
    """
    size = next((x.size for x in columns.values()), 0)
    failed: FloatArray = columns.get("failed", np.zeros(size))
    return np.asarray(np.nan_to_num(failed) == 0)


def _awaited_start(
    sent_s: FloatArray,
    times_s: FloatArray,
    slow: npt.NDArray[np.bool_],
    of: FloatArray | None = None,
) -> bool:
    """Whether slow rows waited for an engine that started: most end as the slow one before does, or
    all runs of them begin after a pause. Times of another unit end at any moments. of: a number for
    the replica of each row, where it is told.

    >>> sent = np.r_[np.arange(200.0), 1000 + np.arange(200.0)]
    >>> slow = np.arange(400) // 10 == 20
    >>> _awaited_start(sent, np.where(slow, 1100 - sent, 0.2), slow)
    True
    >>> _awaited_start(sent, np.where(slow, 200.0 + 70 * np.arange(400) % 90, 0.2), slow)
    False
    """
    of = np.zeros(sent_s.size) if of is None else of
    known = np.isfinite(sent_s + times_s + of)
    if min((known & slow).sum(), (known & ~slow).sum()) < FEW_OTHER:
        return False
    sent_s, lasted, slow, of = sent_s[known], times_s[known], slow[known], of[known]
    begin = sent_s + 2 * float(np.ptp(sent_s) + lasted.max()) * of  # one replica after the other
    order = np.argsort(begin, kind="stable")
    begin, lasted, slow = begin[order], lasted[order], slow[order]
    pauses = np.r_[math.inf, np.diff(begin)]
    paused = pauses > np.quantile(pauses[1:][~slow[1:]], LONG_PAUSE)
    together = np.abs(np.diff((begin + lasted)[slow])) < ONE_START * lasted[slow][:-1]
    runs = paused[slow & ~np.r_[False, slow[:-1]]]
    return bool(together.mean() > 0.5 or (runs.size >= FEW_RUNS and runs.all()))


def _leave_milliseconds(
    columns: dict[str, FloatArray],
    chosen: Mapping[str, str],
    first: int,
    notes: list[str],
    of: FloatArray | None = None,
) -> None:
    """Take out the times of rows whose latency, for as many tokens where these are told, is some
    thousand times the usual one, with none between and as far apart as the others: they are of
    another unit, and a time limit is as long for all. Where there is no latency, times to the first
    token are asked about, and stay. Neither where they waited for a start. of: as above.

    >>> seconds = np.linspace(0.5, 4.0, 500)
    >>> columns = {"latency_s": np.r_[seconds, 1000 * seconds[::50]]}
    >>> notes = []
    >>> _leave_milliseconds(columns, {"latency": "e2e_s"}, 2, notes)
    >>> notes[0].partition(":")[0]
    'e2e_s is 500 to 3,656 s in 10 of 510 rows (the first is row 502) and 0.5 to 4 s in the others'
    """
    role = "latency" if "latency_s" in columns else "ttft"
    if role not in chosen or f"{role}_s" not in columns:
        return
    times = np.where(_ended_well(columns), columns[f"{role}_s"], math.nan)  # limits end what failed
    told = columns.get("output_tokens", np.full(times.size, math.nan))
    each = times / (told + BEGUN) if np.isfinite(told).any() and role == "latency" else times
    known = np.sort(each[each > 0])
    begin = known.size - int(MOST_OTHER * known.size)
    if known.size - begin < FEW_OTHER:
        return
    at = begin + int(np.argmax(known[begin:] / known[begin - 1 : -1]))
    usual, other = known[:at], known[at:]
    apart = other[0] > BETWEEN * usual[-1] and other.size >= FEW_OTHER
    times_longer = float(np.median(other) / np.median(usual))
    wide = [float(np.diff(np.quantile(np.log(x), (0.25, 0.75)))[0]) for x in (usual, other)]
    if not apart or not THOUSAND[0] < times_longer < THOUSAND[1]:
        return
    if wide[1] < SPREAD_ALIKE * wide[0]:
        return
    odd = each >= other[0]
    told_when = "sent_s" in columns and bool({"sent", "queued"} & set(chosen))  # not from ends
    if told_when and _awaited_start(columns["sent_s"], times, odd, of):
        return
    ends = [
        f"{sized(float(x.min()))} to {sized(float(x.max()))} s"
        for x in (times[odd], times[(each > 0) & ~odd])
    ]
    seen = f"{chosen[role]} is {ends[0]} in {odd.sum():,} of {known.size:,} rows (the first is row "
    seen += f"{int(np.argmax(odd)) + first}) and {ends[1]} in the others: thousandths of that unit"
    if role == "ttft":
        notes.insert(0, f"{seen} (divide them by 1,000), or an engine that slept?")
        return
    notes.insert(0, f"{seen}? Their times are left out: divide them by 1,000")
    for name in ("queue_s", "ttft_s", "latency_s"):
        if name in columns:
            columns[name] = np.where(odd, math.nan, columns[name])


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
    good = _ended_well(columns) & ~_bare(columns)
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
    good = _ended_well(columns)
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


def _numbering(cells: Mapping[str, Sequence[Any]], chosen: Mapping[str, str]) -> list[str]:
    """Columns that number the lines of a log, in which each number is larger than the one before,
    and that have no role but that of an id of anything.

    >>> _numbering({"offset": [7, 8, 9], "ts": [1, 2, 3], "n": [3, 1, 2]}, {"sent": "ts"})
    ['offset']
    """
    roles = {x for role, x in chosen.items() if role != "request" or compared(x) not in ANY_ID}
    found = []
    for name, column in cells.items():
        if name in roles or not all(map(_is_number, column[:3])):
            continue
        try:
            values = np.asarray(column).astype(float)
        except (TypeError, ValueError, OverflowError):
            continue
        if values.ndim == 1 and (np.diff(values) > 0).all():
            found.append(name)
    return found


def _rows_once(
    cells: Mapping[str, Sequence[Any]],
    columns: dict[str, FloatArray],
    notes: list[str],
    alike: bool = False,
    numbering: Collection[str] = (),
) -> dict[str, FloatArray]:
    """The columns without the rows that stand in a log again, cell for cell; with them where many
    are alike by what they are. numbering: of the cells, what numbers lines and tells no request
    from another; but of those that failed, of which many are alike.

    >>> cells = {"line": ["1", "2"], "ts": ["5", "5"]}
    >>> notes = []
    >>> _rows_once(cells, {"sent_s": np.zeros(2)}, notes, numbering=["line"])["sent_s"].size, notes
    (1, ['1 rows stand there again, cell for cell but for line, and are counted once'])
    """
    rows = zip(*(x for name, x in cells.items() if name not in numbering), strict=True)
    told = np.fromiter((hash(repr(row)) for row in rows), dtype=np.int64)
    if numbering:
        failed = np.flatnonzero(columns.get("failed", np.zeros(told.size)) > 0)
        for place in failed.tolist():
            told[place] = hash((place, *(cells[name][place] for name in numbering)))
    kept = np.sort(np.unique(told, return_index=True)[1])
    again = told.size - kept.size
    if not again:
        return columns
    but = f" but for {', '.join(numbering)}" if numbering else ""
    those = f"{again:,} rows stand there again, cell for cell{but}, and are counted"
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
