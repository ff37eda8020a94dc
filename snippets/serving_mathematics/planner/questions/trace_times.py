"""Times of a trace in whatever unit people have them: said back, and refused where nothing tells.

A name that ends with a unit says it (`ts_ms`, `startTimeUnixNano`). Without one, numbers of the
years from 2015 to 2035 are counted since 1970 in the unit that puts them there. Others are counted
from some start, and their mean step says in what, because a trace has between one request in 100 s
and 100 a second, silences left out: a step of 0.18 is of seconds, one of 180 of milliseconds, and
one of 50 may be of either and is refused. So is a count since 1970 with less than one request in
100 s, because it may be how long a machine was up, in the next finer unit: 1.7·10⁹ is a second of
2023 and a millisecond of the twentieth day. Digits of a date, times with fewer digits
than steps, and a step of a thousand medians at which the numbers or their steps change their size
are refused too.

Assumes: one clock, and nobody whose machine was up for longer than any was.

Source: ISO 8601-1:2019; POSIX.1-2017, 4.16, seconds since the Epoch; the bounds by the traces at
hand: one request in 85 s (RAGPulse), 5.5 a second (Azure 2023), 3.4 a second (Mooncake).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import require, require_positive_integer

FloatArray = npt.NDArray[np.float64]
PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
ISO = "iso"  # said of times that are no numbers
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
UNIT_WORDS = {  # ends of names, and what may be said
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(
        ("ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"), "ms"
    ),
    **dict.fromkeys(("us", "µs", "μs", "usec", "usecs", "micro", "micros"), "us"),
    **dict.fromkeys(("microsecond", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nsecs", "nano", "nanos", "nanosecond", "nanoseconds"), "ns"),
}
NO_SECONDS = (
    *("m", "min", "mins", "minute", "minutes", "h", "hr", "hrs", "hour", "hours"),
    *("d", "day", "days"),
)
SINCE = ("unix", "epoch", "utc")  # words of a name that say no more than that it is a time
TRACE_YEARS = (1_420_070_400, 2_051_222_400)  # 2015 and 2035 [s since 1970]: traces are between
LAST_CLOCK_S = 4_102_444_800  # of 2100: no clock shows more
SLOWEST_S, QUICKEST_S = 100, 0.01  # mean steps of a trace
LEAST_S = 0.001  # one of seconds that are counted from a start; of less it may be days
LEAP, CHANGE, ENOUGH = 1000, 100, 5  # medians of a step, how much else changes, steps that say so
DATES = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S"}
_TIME_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)


def _unit_of_name(name: str) -> tuple[str, str]:
    """A column's name without its unit, and the unit that it says, or "".

    >>> _unit_of_name("arrival_time_ms"), _unit_of_name("startTimeUnixNano"), _unit_of_name("ts")
    (('arrival_time', 'ms'), ('start_Time', 'ns'), ('ts', ''))
    """
    words = _name_words(name)
    if len(words) < 2 or words[-1].lower() not in UNIT_WORDS:
        return name, ""
    unit = UNIT_WORDS[words.pop().lower()]
    while len(words) > 1 and words[-1].lower() in SINCE:
        words.pop()
    return "_".join(words), unit


def _name_words(name: str) -> list[str]:
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W_A-Z]+", name)


def _read_times(
    cells: Sequence[object], column: str, first: int, said: str = "", usual: str = ""
) -> tuple[FloatArray, str]:
    """Seconds since the first of some times, and in words how they were read.

    cells: as they stand. column: its name. first: number of their first row. said: the unit, where
    it was said. usual: that of the format, where nothing else tells. Raises ValueError that names
    row and column of what is no time, and what would tell the unit where nothing does.

    >>> _read_times(["1767607200123", "1767607201123"], "ts", 2)[1]
    'Unix milliseconds, 2026-01-05 10:00:00 to 2026-01-05 10:00:01 UTC'
    >>> times, told = _read_times(["0", "1500", "1800"], "time", 2)
    >>> times.tolist(), told
    ([0.0, 1.5, 1.8], 'milliseconds from a start, as a mean step of 900 says')
    """
    require_positive_integer(first=first)
    require(len(cells) > 0, "cells", "of one time or more", "none")
    if not _TIME_NUMBER.fullmatch(str(cells[0])):
        require(said in ("", ISO), f"the unit of column {column}", "iso", said)
        moments = _by_calendar(cells, column, first)
        times = (moments - moments[0]) / 1e9
        if not said:
            _refuse_leaps(cells, moments.astype(float), times, column, first)
        ends = (float(moments.min()) / 1e9, float(moments.max()) / 1e9)
        return times, f"ISO 8601, {_span_text(*ends)}"
    require(said != ISO, f"column {column}", "of times as in ISO 8601", repr(str(cells[0])[:40]))
    exact = _exact_numbers(cells, column, first)
    if not said:
        numbers, since = ([float(x - y) for x in exact] for y in (Decimal(0), exact[0]))
        _refuse_leaps(cells, np.array(numbers), np.array(since), column, first)
    unit, told = _unit_of(cells, exact, column, said, usual)
    return np.array([float((one - exact[0]) / PER_S[unit]) for one in exact]), told


def _span_text(start_s: float, end_s: float) -> str:
    ends = (datetime.datetime.fromtimestamp(int(one), datetime.UTC) for one in (start_s, end_s))
    return " to ".join(f"{end:%Y-%m-%d %H:%M:%S}" for end in ends) + " UTC"


def _refuse_cell(place: int, column: str, first: int, cell: object, told: str = "") -> None:
    rule = told or "a time: ISO 8601 with day and hour, or a number in s, ms, us or ns"
    require(False, f"row {place + first}, column {column}", rule, repr(str(cell)[:40]))


_ZONE = "a zone such as +00:00 or Z, as the first (of what zone are the others?)"


def _by_calendar(cells: Sequence[object], column: str, first: int) -> npt.NDArray[np.int64]:
    """Nanoseconds since 1970 of times by the calendar; those without a zone are UTC, unless others
    have one: then they may be of any."""
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    tick = datetime.timedelta(microseconds=1)
    found = np.zeros(len(cells), dtype=np.int64)
    zoned: bool | None = None
    for place, cell in enumerate(cells):
        text = str(cell)
        finer = re.search(r"[.,]\d{6}(\d{1,3})\d*", text)
        iso = re.sub(r"([.,]\d{6})\d+", r"\1", re.sub(r"Z| UTC\Z", "+00:00", text))
        try:
            moment = datetime.datetime.fromisoformat(iso)
            whole = (moment.replace(tzinfo=moment.tzinfo or datetime.UTC) - epoch) // tick
            if ":" not in text and not re.search(r"\dT\d{4}", text):
                raise ValueError("a day alone")
            found[place] = 1000 * whole + (int(finer[1].ljust(3, "0")) if finer else 0)
        except (ValueError, OverflowError):
            _refuse_cell(place, column, first, cell)
        if zoned is None:
            zoned = moment.tzinfo is not None
        elif zoned != (moment.tzinfo is not None):
            _refuse_cell(place, column, first, cell, f"{'with' if zoned else 'without'} {_ZONE}")
    return found


def _exact_numbers(cells: Sequence[object], column: str, first: int) -> list[Decimal]:
    found = []
    for place, cell in enumerate(cells):
        text = str(cell)
        try:
            if not _TIME_NUMBER.fullmatch(text):
                raise InvalidOperation
            found.append(Decimal(text))
        except InvalidOperation:
            _refuse_cell(place, column, first, cell)
    return found


def _unit_of(
    cells: Sequence[object], numbers: Sequence[Decimal], column: str, said: str, usual: str
) -> tuple[str, str]:
    """The unit of numbers, and how it is known."""
    low, high = min(numbers), max(numbers)
    step = _mean_step(numbers)
    least = str(cells[list(numbers).index(low)])[:40]
    here = f"column {column}"
    coarse = max(Decimal(1).scaleb(int(one.as_tuple().exponent)) for one in numbers)
    if coarse > 1 and coarse > step:
        require(False, here, "of times with all their digits", repr(least))
    named = said or _unit_of_name(column)[1]
    since = [
        u for u, n in PER_S.items() if TRACE_YEARS[0] * n <= low and high <= TRACE_YEARS[1] * n
    ]
    if not said:
        if _are_dates(cells):
            rule = "of times such as 2026-01-05T10:00:00, or numbers in a unit"
            require(False, here, rule, f"{least!r}, which is a date without its dashes")
        words = _name_words(column)
        if len(words) > 1 and words[-1].lower() in NO_SECONDS:
            require(
                False, here, "of times in s, ms, us or ns", f"a name that ends with {words[-1]}"
            )
        if named and since and since[0] != named:
            _cannot_tell(here, least, (named, since[0]))
    if named:
        unit = named
        why = "as was said" if said else "as the column says"
    elif since:
        unit = since[0]
        finer = [u for u in PER_S if PER_S[u] == 1000 * PER_S[unit]]
        if step > SLOWEST_S * PER_S[unit] and finer:
            _cannot_tell(here, least, (unit, finer[0]), " or how long a machine was up")
        why = ""
    else:
        quickest = {u: QUICKEST_S * n for u, n in PER_S.items()} | {"s": LEAST_S * (step > 0)}
        units = [u for u, n in PER_S.items() if quickest[u] <= step <= SLOWEST_S * n]
        if len(units) > 1 and usual not in units:
            _cannot_tell(here, least, units, f", with a mean step of {step:.4g}")
        if not units:
            rule = (
                "of times in s, ms, us or ns with a request in 100 s to 1,000 a second, or say it"
            )
            rule += ": trace_columns unit=s"
            require(False, here, rule, f"{least!r} and a mean step of {step:.4g}")
        unit = usual if usual in units else units[0]
        why = f"as a mean step of {step:.4g} says" if len(units) == 1 else "as this format has it"
    rule = f"of times before 2100, in {UNIT_NAMES[unit]}"
    require(max(abs(low), high) <= LAST_CLOCK_S * PER_S[unit], here, rule, repr(least))
    if unit in since:
        ends = (float(low) / PER_S[unit], float(high) / PER_S[unit])
        return unit, f"Unix {UNIT_NAMES[unit]}, {_span_text(*ends)}"
    return unit, f"{UNIT_NAMES[unit]} from a start, {why}"


def _mean_step(numbers: Sequence[Decimal]) -> float:
    """Of numbers in order, without silences of a thousand medians."""
    low = min(numbers)
    steps = np.diff(np.sort([float(one - low) for one in numbers]))
    if not (steps > 0).any():
        return 0.0
    kept = steps[steps <= LEAP * np.median(steps[steps > 0])]
    return float(kept.sum() / kept.size)


def _cannot_tell(here: str, cell: str, units: Sequence[str], more: str = "") -> None:
    """Refuse where several units would do."""
    ways = " or ".join(UNIT_NAMES[unit] for unit in units)
    say = " or ".join(f"unit={unit}" for unit in units)
    raise ValueError(
        f"{here} must be of times in a unit that is known, got {cell!r}, which may be {ways}{more};"
        f" say which: trace_columns {say}"
    )


def _are_dates(cells: Sequence[object]) -> bool:
    """Whether all are digits of a date, such as 20260105100000."""
    texts = {str(cell) for cell in cells}
    size = len(next(iter(texts)))
    if size not in DATES or any(len(text) != size or not text.isdigit() for text in texts):
        return False
    try:
        years = [datetime.datetime.strptime(text[:14], DATES[size]).year for text in texts]
    except ValueError:
        return False
    return all(1970 <= year < 2100 for year in years)


def _refuse_leaps(
    cells: Sequence[object], numbers: FloatArray, times: FloatArray, column: str, first: int
) -> None:
    """Refuse a step at which the unit seems to change; times that go back are told elsewhere."""
    steps = np.diff(times)
    if (steps < 0).any() or not (steps > 0).any():
        return
    median = float(np.median(steps[steps > 0]))
    before, after = np.abs(numbers[:-1]), np.abs(numbers[1:])
    grows = (before > 0) & (after >= CHANGE * before)
    for place in np.flatnonzero((steps > LEAP * median) | grows).tolist():
        parts = [part[part > 0] for part in (steps[:place], steps[place + 1 :])]
        other = min(part.size for part in parts) >= ENOUGH
        if other:
            ratio = float(np.median(parts[1]) / np.median(parts[0]))
            other = not 1 / CHANGE < ratio < CHANGE
        leaps = steps[place] > LEAP * median
        alone = steps[place] > CHANGE * (times[-1] - times[0] - steps[place])
        if (grows[place] and other) or (leaps and (grows[place] or other or alone)):
            raise ValueError(
                f"row {place + 1 + first}, column {column} must be in the unit of the rows before "
                f"it, got {str(cells[place + 1])[:40]!r} after {str(cells[place])[:40]!r}; where "
                "nothing came for so long, say the unit: trace_columns unit=s (or ms, us, ns, iso)"
            )
