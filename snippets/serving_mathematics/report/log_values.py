"""Cells of a log's columns as numbers: moments, durations, counts, and which requests failed.

A duration's unit stands at the end of its name, or is told by the others: what begins and ends at
moments lasts as long as they say, a first token comes within its answer, and each token takes its
time. Where nothing tells and both seconds and milliseconds would do, it is asked back.

What never ended has no end: an empty cell, −1, or a moment of 0.

Source: OpenTelemetry's trace API, for words of a status; the planner's `trace_times`, which read
times.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.planner.questions.load_tests import MOST_TOKENS
from serving_mathematics.planner.questions.trace_times import (
    PER_S,
    TRACE_YEARS,
    UNIT_NAMES,
    _by_calendar,
    _read_times,
    _unit_of_name,
)
from serving_mathematics.report.evidence import FloatArray, _known_quantile
from serving_mathematics.support.require import require

FINE = (  # words of an answer that came, of an error that is none, and why an answer ended
    *("", "0", "ok", "true", "none", "null", "nan", "n/a", "na", "-", "false", "no", "[]", "{}"),
    *("success", "succeeded", "successful", "complete", "completed", "finished", "done", "passed"),
    *("stop", "length", "eos", "endturn", "stopsequence", "maxtokens", "tooluse", "toolcalls"),
    *("functioncall", "finishedstopped", "finishedlengthcapped"),
    *("unset", "statuscodeunset", "statuscodeok"),  # of OpenTelemetry
)
BAD = r"error|fail|time\W*out|timed|cancel|abort|reject|refus|denied|exceed|invalid|unavailable"
NO_CODE = {"0", "000"}  # words beside codes of HTTP: of requests that got no answer
USUAL_WORD = 0.5  # of a log with one word that is neither: it is of answers that came
LATER_TOKEN_S = 1e-4  # less for each later token: the answer came whole
LONGEST_NAME = 40  # letters of a tenant's name
SAMPLE = 2000  # moments that say a unit
MOST_SIZE = 1e100  # number of a column
NEVER = (0, -1, "0", "-1", "0.0", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z")  # no moment
LIKELY_S = (0.002, 300.0)  # what the median of a latency is
LONGEST_S = 1000.0  # what it is at most, whatever a name says: milliseconds are taken for seconds


def _numbers(cells: Sequence[Any], column: str, first: int) -> FloatArray:
    """Numbers of a column, NaN where a cell is empty; true and false are none."""
    truth = next((place for place, cell in enumerate(cells) if isinstance(cell, bool)), None)
    if truth is not None:
        require(False, f"row {truth + first}, column {column}", "a number", repr(cells[truth]))
    try:
        known = ["nan" if cell in ("", None, "null", "None") else cell for cell in cells]
        found = np.asarray(known).astype(float) if known else np.zeros(0)
    except (TypeError, ValueError, OverflowError):
        found = np.zeros(0)
    if found.shape != (len(cells),):
        for place, cell in enumerate(cells):
            try:
                float("nan" if cell in ("", None, "null", "None") else cell)
            except (TypeError, ValueError, OverflowError):
                where = f"row {place + first}, column {column}"
                require(False, where, "a number", repr(str(cell)[:40]))
    wrong = np.flatnonzero(~(np.abs(np.nan_to_num(found)) <= MOST_SIZE))
    if wrong.size:
        where = f"row {int(wrong[0]) + first}, column {column}"
        require(False, where, f"at most {MOST_SIZE:g} in size", f"{found[wrong[0]]:g}")
    return found


def _lasted(cells: Sequence[Any], column: str, first: int, notes: list[str]) -> FloatArray:
    """Numbers of a column of durations, NaN where they are −1 and no other is negative: a
    convention for what never came.

    >>> _lasted(["7", "-1"], "ms", 2, [])
    array([ 7., nan])
    """
    values = _numbers(cells, column, first)
    none = values == -1
    if not none.any() or (values[~none] < 0).any():
        return values
    notes.append(f"{column}: −1 in {none.sum():,} rows is taken as no value")
    return np.where(none, math.nan, values)


def _moments(
    cells: Sequence[Any], column: str, first: int, unit: str, usual: str
) -> tuple[FloatArray, float, str]:
    """Seconds since the first of some moments, that first one, and how they were read; what stands
    for no moment among those of a calendar or since 1970 is empty."""
    real = next((cell for cell in cells if cell not in (*NEVER, "", None, "null", "None")), 0)
    if not _is_number(real) or _since_1970(float(real)):
        cells = ["" if cell in NEVER and cell is not False else cell for cell in cells]
    known = [place for place, cell in enumerate(cells) if cell not in ("", None, "null", "None")]
    require(bool(known), f"column {column}", "of times", "empty cells")
    start = cells[known[0]]
    if not _is_number(start):  # by the calendar
        times, told = _read_times([str(cells[i]) for i in known], column, first)
        found = np.full(len(cells), math.nan)
        found[known] = times
        return found, _calendar_s(str(start)), told
    numbers = _numbers(cells, column, first)
    low = float(np.nanmin(numbers))
    some = np.sort(numbers[known])[:SAMPLE]  # in a row, because their steps tell
    digits = 3 if low > 1e12 else 6 if low > 1e6 else 9
    texts = [f"{x:.{digits}f}" for x in some.tolist()]
    _, told = _read_times(texts, column, first, "" if _since_1970(low) else unit, usual)
    told = told.partition(",")[0]
    scale = next(PER_S[u] for u, word in UNIT_NAMES.items() if word in told.split())
    return (numbers - numbers[known[0]]) / scale, float(numbers[known[0]]) / scale, told


def _since_1970(least: float) -> bool:
    """Whether a number is a moment of these years in some unit, whatever unit was said."""
    return any(TRACE_YEARS[0] * n <= least <= TRACE_YEARS[1] * n for n in PER_S.values())


def _is_number(cell: Any) -> bool:
    try:
        return math.isfinite(float(cell))
    except (TypeError, ValueError, OverflowError):
        return False


def _calendar_s(cell: str) -> float:
    return float(_by_calendar([cell], "", 1)[0]) / 1e9


def _require_counts(values: FloatArray, before: str, first: int, after: str) -> None:
    """Refuse what no request has so many of: tokens, or attempts; NaN says nothing.

    values: of requests, shape (n,). before, after: what stands around their numbers, from first on,
    in refusals.

    >>> _require_counts(np.array([3.0, 1.5]), "row ", 2, ", column out")
    Traceback (most recent call last):
    ValueError: row 3, column out must be a count, whole and not negative, got 1.5
    """
    kept = np.isnan(values) | ((values >= 0) & (values <= MOST_TOKENS) & (values % 1 == 0))
    if not kept.all():
        wrong = int(np.argmin(kept))
        rule = "a count, whole and not negative"
        rule += f" and at most {MOST_TOKENS:,}" * bool(values[wrong] > MOST_TOKENS)
        require(False, f"{before}{wrong + first}{after}", rule, f"{values[wrong]:g}")


def _seconds(
    values: FloatArray,
    column: str,
    unit: str,
    others: FloatArray | None = None,
    tokens: FloatArray | None = None,
) -> tuple[FloatArray, str]:
    """A duration in seconds, and how its unit is known. others: what it should be, at most.
    tokens: of answers that take it, each of them some time."""
    last = column.rpartition(".")[2]
    named = _unit_of_name(last)[1] or unit
    if named:
        usual = _known_quantile(values) / PER_S[named]
        rule = f"of times up to {LONGEST_S:g} s in the median (did you mean {usual / 1000:.4g} s?)"
        require(not usual > LONGEST_S, f"column {column}", rule, f"{usual:.4g} s")
        return values / PER_S[named], f"{column} in {named}"
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        return values, f"{column}, all zero"
    median = float(np.median(known))
    low, high = LIKELY_S
    if tokens is not None and np.isfinite(tokens).any():
        low = max(low, LATER_TOKEN_S * _known_quantile(tokens))
    if others is not None and np.isfinite(others).any():
        limit = _known_quantile(others)
        high = min(high, 1.05 * limit)
        fits = [u for u, n in PER_S.items() if 0.2 * limit <= median / n <= 1.05 * limit]
        if len(fits) == 1:
            return values / PER_S[fits[0]], f"{column} in {fits[0]}, as the moments say"
    fits = [u for u, n in PER_S.items() if low <= median / n <= high]
    if "gen_ai." in column and "s" in fits:
        fits = ["s"]  # as OpenTelemetry's conventions have it
    if len(fits) != 1:
        which = " or ".join(fits) or "s, ms, us or ns"
        say = f"rename it to {last}_ms, or say columns …,unit=ms"
        rule = f"of times in a unit that is known ({say})"
        require(False, f"column {column}", rule, f"a median of {median:.4g}, which may be {which}")
    return values / PER_S[fits[0]], f"{column} in {fits[0]}, by its size"


def _failed(
    cells: Mapping[str, Sequence[Any]], chosen: Mapping[str, str], notes: list[str]
) -> tuple[FloatArray | None, FloatArray | None]:
    """Which requests failed, and which of them their clients gave up; None where nothing tells. A
    word of most rows that names no failure is of answers that came."""
    found: FloatArray | None = None
    left: FloatArray | None = None
    for role in ("status", "error", "success", "finish"):
        if role not in chosen:
            continue
        column = [_word(cell) for cell in cells[chosen[role]]]
        words = set(column)
        codes = role == "status" and any(re.match(r"[1-5]\d\d\b", word) for word in words)
        up = {word: role != "success" and _is_given_up(word, role) for word in words}
        bad = {word: up[word] or _is_bad(word, role) for word in words}
        bad |= dict.fromkeys(words & NO_CODE, True) if codes else {}
        usual, count = Counter(column).most_common(1)[0]
        odd = role == "status" and bad[usual] and not re.search(rf"\d\d|{BAD}", usual)
        if odd and count > USUAL_WORD * len(column):
            bad[usual] = False
            notes.append(f"{chosen[role]} {usual[:40]} is taken as that of an answer that came")
        flags, given = (np.array([x[word] for word in column], dtype=float) for x in (bad, up))
        if role == "finish" and not flags.any():
            continue  # why answers ended says of no failure that there was none
        found = flags if found is None else np.maximum(found, flags)
        left = given if left is None else np.maximum(left, given)
    return found, left


def _is_given_up(word: str, role: str) -> bool:
    """Whether a word says that the client hung up, as nginx does by 499 and engines by abort.

    >>> [_is_given_up(*x) for x in (("499", "status"), ("abort", "finish"), ("504", "status"))]
    [True, True, False]
    """
    if role == "status" and re.match(r"499(\.0+)?\b", word):
        return True
    told = r"cancel|client\W*(has )?(closed|disconnect)" + ("|abort" if role != "error" else "")
    return bool(re.search(told, word))


def _word(cell: Any) -> str:
    return str(cell).strip().lower() if not isinstance(cell, float) else f"{cell:g}"


def _is_bad(word: str, role: str) -> bool:
    if role == "finish":
        return "error" in word or "fail" in word
    word = re.sub(r"\.0+\Z", "", word)  # a column of whole numbers with a gap in it
    if role == "success":
        return word in ("false", "f", "0", "no", "n", "failed", "nan", "none", "")
    code = re.match(r"(?:http[ /]?[\d.]*[ /:]*)?([1-5])(?:\d\d|xx)\b", word)
    if code and (role == "status" or code[0] == word):
        return code[1] in "45"
    return word not in FINE and compared(word) not in FINE


def _places_of(cells: Sequence[Any]) -> tuple[FloatArray, dict[str, int]]:
    """A number for each word of a column, from 0 on as they come, NaN where a cell is empty."""
    place: dict[str, int] = {}
    codes = np.full(len(cells), math.nan)
    for at, cell in enumerate(cells):
        word = "" if cell is None else str(cell).strip()
        if word and word.lower() not in ("null", "none", "nan"):
            codes[at] = place.setdefault(word, len(place))
    return codes, place


def _tenants(cells: Sequence[Any], column: str) -> tuple[FloatArray, tuple[str, ...]]:
    """A number for each request's tenant, NaN where its cell is empty, and their names. Keys and
    addresses are secrets whatever their column is called, and where one looks like them all of it
    are called by their places."""
    codes, place = _places_of(cells)
    word = "key" if "key" in compared(column) else "tenant"
    if word == "key" or any(map(_secret, place)):
        return codes, tuple(f"{word} {i}" for i in range(1, len(place) + 1))
    return codes, tuple(place)


def _secret(name: str) -> bool:
    """Whether a tenant's name may be a key, a token or an address, or is too long to be a name.

    >>> [_secret(x) for x in ("sk-ant-api03-zz", "Bearer eyJ", "a@b.org", "0123456789abcdef" * 2)]
    [True, True, True, True]
    >>> [_secret(x) for x in ("acme", "team search, Zürich", "risk-model", "550")]
    [False, False, False, False]
    """
    known = re.match(r"(sk|pk|rk|key|gh[a-z]|hf|xox[a-z])[-_]|bearer\b|basic |eyj", name, re.I)
    parts = re.findall(r"[A-Za-z0-9+/=_-]{20,}", name)
    random = any(re.search(r"\d", one) and re.search(r"[A-Za-z]", one) for one in parts)
    return bool(known) or "@" in name or random or len(name) > LONGEST_NAME
