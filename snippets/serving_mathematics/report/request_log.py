"""A log of requests, CSV or JSON lines, with any names of columns and any units.

Columns are known by their names, as the planner's traces are, in plain words too where what stands
there is a count or a date, or said: "sent=mark,ttft=first_ms".
A duration's unit stands at the end of its name, or is told by the others: what begins and ends at
moments lasts as long as they say, a first token comes within its answer, and each token takes its
time. Where nothing tells and both seconds and milliseconds would do, it is asked back. A column of
moments that another clock made (further from the others than a day) is passed over and said.

What never ended has no end: an empty cell, −1, or a moment of 0. What is left out is said.

Assumes: moments of one column come from one clock.

Source: OpenTelemetry semantic conventions for generative AI (0.66b2), for names of columns and
units, and its trace API, for words of a status; SGLang, `req_time_stats.py` and
`request_logger.py`; vLLM documentation, per-request metrics; nginx, `ngx_http_log_module`; the
planner's `trace_formats` and `trace_times`, which read times and tokens.
"""

# In one piece: one table read from its names to its requests: what a column means is decided by the
# others.

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.trace_rows import KNOWN
from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.planner.load_tests import MOST_TOKENS
from serving_mathematics.planner.trace_formats import HASH_IDS, _in_plain_words, _seen
from serving_mathematics.planner.trace_times import (
    PER_S,
    TRACE_YEARS,
    UNIT_NAMES,
    UNIT_WORDS,
    _by_calendar,
    _read_times,
    _unit_of_name,
)
from serving_mathematics.report.evidence import (
    DAY_S,
    FloatArray,
    Run,
    _date,
    _known_numbers,
    _known_quantile,
    _pause,
    _since_first,
    _tick_s,
)
from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized
from serving_mathematics.support.files import MOST_ROWS, read_table, require_shallow
from serving_mathematics.support.require import require

MOMENTS = {  # columns of moments, in compared form; timestamps of SGLang and Traefik are of lines
    "sent": ("requestreceivedts", "startutc", *KNOWN["time"]),
    "queued": ("queuedts", "queuedat", "enqueuedat", "enqueuetime"),
    "due": ("due", "dueat", "scheduledtime", "targetedstart", "intendedstart", "planned"),
    "scheduled": (
        *("scheduledts", "admittedat", "admitted", "scheduledat", "dequeuedat"),
        *("firstscheduledtime", "forwardentrytime"),
    ),
    "first": (
        *("firsttokents", "firsttokentime", "firsttokenat", "firsttoken", "firstbyteat"),
        *("completionstarttime", "prefillfinishedtime", "prefillfinishedts"),
    ),
    "end": (
        *("lasttokents", "lasttokentime", "endtime", "endtimestamp", "end", "finishedat"),
        *("completedat", "finished", "completiontime", "done", "finishtime", "endts"),
        *("requestfinishedts", "responsecreatedat"),
        *("timeiso8601", "msec"),  # of nginx, which writes when an answer is through
    ),
}
DURATIONS = {
    "ttft": (
        *("ttft", "timetofirsttoken", "firsttokenlatency", "prefilltime", "ttfb"),
        *("timetofirstbyte", "genaiservertimetofirsttoken", "firstchunklatency"),
        "timetofirstchunk",
    ),
    "latency": (
        *("latency", "e2e", "e2el", "e2elatency", "duration", "requestlatency", "responsetime"),
        *("elapsed", "totaltime", "api", "requestduration", "requesttime", "total"),
        *("elapsedtime", "endtoendlatency", "totallatency", "took"),
    ),
    "queue": ("queuetime", "waittime", "queue", "queuewait", "waiting", "timeinqueue"),
    "tpot": ("tpot", "timeperoutputtoken", "itl", "intertokenlatency", "meanitl"),
}
COUNTS = {
    **{role: KNOWN[role] for role in ("prompt", "output", "cached")},
    "attempt": ("attempt", "attempts", "trynumber", "retrycount", "retries"),
    "joules": ("joules", "energyj", "energy", "energyjoules", "j"),
    "power": ("powerw", "power", "watts", "gpupowerw", "powerdraww", "gpupower", "powerwatts"),
}
ANY_ID = ("id",)  # names that do not say of what
WORDS = {
    "status": ("status", "statuscode", "httpstatus", "code", "httpstatuscode", "responsecode"),
    "error": (
        *("error", "err", "errormessage", "failure", "exception", "errortype"),
        *("errorcode", "errormsg"),
    ),
    "success": ("success", "ok", "succeeded", "successful"),
    "session": ("session", "sessionid", "conversation", "conversationid", "chatid", "threadid"),
    "request": ("requestid", "reqid", "xrequestid", "rid", *ANY_ID),
    "finish": ("finishreason", "finishedreason", "stopreason", "finishreasons"),
    "model": ("model", "modelname", "modelid"),
    "tenant": (
        *("tenant", "tenantid", "tenantname", "customer", "customerid", "org", "orgid"),
        *("organization", "organizationid", "organisation", "account", "accountid", "team"),
        *("teamid", "workspace", "workspaceid", "project", "projectid", "namespace", "consumer"),
        *("user", "userid", "username", "apikey", "apikeyid", "key", "client", "clientid"),
    ),
}
ROLES = MOMENTS | DURATIONS | COUNTS | WORDS
KNOWN_FORMS = {form for forms in ROLES.values() for form in forms}
ONE_WORD = (compared(HASH_IDS), *WORDS["error"], *WORDS["finish"])  # objects that are one word
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
MOST_TRIES = 20  # of one request: an id that stands more often is of something else
LATER_TOKEN_S = 1e-4  # less for each later token: the answer came whole
MANY_TOKENS = 8  # of an answer of which that is said
EITHER = ("requesttime", "elapsed")  # names of a moment or of how long something took
WITH_UNIT = ("total", "totallatency", "took")  # names that are of times only where they say so
BYTES = ("request", "response", "query", "context")  # words of counts that may be none of tokens
ANY_MOMENT = ("timestamp", "time", "ts", "t", "date")  # names that do not say of which moment
REPLICAS = (  # columns of whose request it was, in compared form
    *("replica", "replicaid", "pod", "podname", "instance", "instanceid", "host", "hostname"),
    *("server", "serverid", "worker", "workerid", "node", "backend", "engine", "engineid"),
)
EVENTS = ("event", "eventtype", "phase", "action", "type", "kind", "message", "msg")
FEW_REPLICAS = 0.1  # of the rows: a column of more names something else
FEW_BACK = 3  # steps back in a log that is else in order: a clock was set, or files were joined
FINE_S = 0.01  # of moments that two requests do not share, with all of their times, by chance
AHEAD_S, AHEAD_SHARE = 1.0, 0.8  # of the least time to a first token, and of it in the median
AHEAD_LEAST = 20  # requests of which that is said
ONE_LENGTH = 0.02  # of the tokens, in which lengths that a test asks for alike may differ
MOST_NAMES = 1000
LONGEST_NAME = 40  # letters of a tenant's name
EMPTY_SHARE, EMPTY_LEAST = 0.5, 100  # of the span, in which nothing came; requests for that
OWN_ENGINE, UNLIKE = 50, 1.5  # requests of a model, and times the time per token of another
FIRST_LEAST_S = 1e-3  # of a time to the first token in the median: no engine is faster
SAMPLE = 2000  # moments that say a unit
MOST_SIZE = 1e100  # number of a column
EARLY_S = 0.001  # before it was sent, from which clocks disagree
PUT_S = 1500.0  # by which a clock is put forward, or more: half an hour, and an hour
ENDLESS = 10.0  # times the longest other latency
NEVER = (0, -1, "0", "-1", "0.0", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z")  # no moment
LIKELY_S = (0.002, 300.0)  # what the median of a latency is
LONGEST_S = 1000.0  # what it is at most, whatever a name says: milliseconds are taken for seconds


def read_log(text: str, where: str, columns: str = "") -> Run:
    """A log as a run.

    text: of the file, CSV with a header or JSON lines. where: its name, for refusals. columns: a
    mapping such as "sent=when,ttft=first_ms,unit=ms", where unit is of times that do not tell
    theirs. Raises ValueError that names row, column and what would do.

    >>> rows = ["start,ttft_ms,latency_ms,input_tokens,output_tokens"]
    >>> rows += [f"{2 * i}.5,{100 + i},900,{50 + i},9" for i in range(3)]
    >>> run = read_log("\\n".join(rows), "a.csv", "unit=s")
    >>> run.columns["ttft_s"].round(3).tolist(), run.columns["sent_s"].tolist()
    ([0.1, 0.101, 0.102], [0.0, 2.0, 4.0])
    """
    mapping, unit = _said(columns)
    text = text.removeprefix("\ufeff")
    try:
        cells, first = _cells_of_json(text) if _is_json(text) else _cells(text)
        return _run(cells, mapping, unit, where, first)
    except ValueError as error:
        told = str(error).replace("trace_columns ", "columns ")
        raise ValueError(f"{where}: {told}") from None


def _is_json(text: str) -> bool:
    """Whether a text begins as an object or a list, and not with a date or a word in brackets.

    >>> [_is_json(text) for text in ('{"a": 1}', " [1, 2]", "[2026-01-05T10:00:00] POST", "a,b")]
    [True, True, False, False]
    """
    return bool(re.match(r"\s*(\{|\[(?!\d{4}-|[A-Z]))", text))


def _said(columns: str) -> tuple[dict[str, str], str]:
    found: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in columns.split(","))):
        role, equals, name = part.partition("=")
        fine = bool(equals) and bool(name) and role in (*ROLES, "unit") and role not in found
        rule = f"such as sent=when,ttft=first_ms, of {', '.join(ROLES)} and unit"
        require(fine, "columns", rule, repr(part[:60]))
        rule = "of another column for each, as for " + ", ".join(found)
        taken = [found[other] for other in found if other != "unit"]
        require(name not in taken or role == "unit", "columns", rule, repr(part[:60]))
        found[role] = name
    unit = found.pop("unit", "")
    rule = f"one of {', '.join(PER_S)}"
    require(not unit or unit in UNIT_WORDS, "columns: unit", rule, repr(unit[:20]))
    return found, UNIT_WORDS.get(unit, "")


def _cells(text: str) -> tuple[dict[str, Sequence[Any]], int]:
    """Columns of a table by name, and the number of its first row."""
    rows = read_table(text, "the log")
    require(len(rows) > 1, "the log", "a header and at least one request", "fewer rows")
    again = rows[0]
    header = [name.strip() for name in again]
    values = any(re.search(r"\d\d:\d\d|\A\d+(\.\d+)?\Z", name) for name in header)
    values = values or (len(header) == 1 < max(map(len, rows)))  # some lines, and no table
    if values and not any(KNOWN_FORMS & set(_known_as(name)) for name in header):
        rule = "the names of columns (write the log as CSV with a header, or as JSON lines)"
        require(False, "row 1", rule, ",".join(header)[:100])
    del rows[0]
    for place, row in enumerate(rows):
        if row == again:
            rule = "a request (of files put together leave the later headers out)"
            require(False, f"row {place + 2}", rule, "the header again")
        if len(row) != len(header):
            last = " (is the file whole?)" if place == len(rows) - 1 else ""
            told = f"{len(header)} fields long, as the header, got {len(row)}{last}"
            raise ValueError(f"row {place + 2} must be {told}")
    return dict(zip(header, zip(*rows, strict=True), strict=True)), 2


def _cells_of_json(text: str) -> tuple[dict[str, Sequence[Any]], int]:
    """The same of JSON lines, or of a list of objects; objects within them are joined by dots."""
    require_shallow(text)
    cells: dict[str, list[Any]] = {}
    count = 0
    for number, row in _objects(text):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} must be one JSON object, got {str(row)[:40]}")
        for name, value in _flat(row):
            column = cells.get(name)
            if column is None:
                require(len(cells) < MOST_NAMES, "the log", f"of {MOST_NAMES} names", "more")
                column = cells[name] = []
            if len(column) < count:
                column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
        require(count <= MOST_ROWS, "the log", f"of at most {MOST_ROWS:,} rows", "more")
    require(count > 0, "the log", "of at least one request", "none")
    for column in cells.values():
        column.extend([None] * (count - len(column)))
    return dict(cells), 1


def _flat(row: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of an object, those of objects within it after their names and a dot; what
    tells an error, whatever is in it, is one word.

    >>> dict(_flat({"a": 1, "b": {"c": {"d": 2}, "error": {"code": 5}}}))
    {'a': 1, 'b.c.d': 2, 'b.error': {'code': 5}}
    """
    for name, value in row.items():
        if type(value) is dict and value and compared(name) not in ONE_WORD:
            yield from _flat(value, f"{within}{name}.")
        else:
            none = type(value) is dict and name != HASH_IDS and not any(value.values())
            yield within + name, None if none else value


def _objects(text: str) -> Iterator[tuple[int, Any]]:
    """Values of JSON lines, or of a list, with their numbers from 1 on."""
    if text.lstrip()[:1] == "[":
        try:
            yield from enumerate(json.loads(text), start=1)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {error.lineno} must be JSON, got {error.msg}") from None
        return
    begin, number = 0, 0
    while begin < len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        line = text[begin:end]
        begin, number = end + 1, number + 1
        if line and not line.isspace():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                told = f"row {number} must be one JSON object, got {error.msg} (is the file whole?)"
                raise ValueError(told) from None


def _of_nginx(name: str) -> bool:
    return compared(name) in ("upstreamresponsetime", "upstreamheadertime", "upstreamconnecttime")


def _lasts(name: str, cells: Sequence[Any]) -> bool:
    """Whether a column that may be of moments or of durations is of durations.

    >>> _lasts("request_time", ["0.512"]), _lasts("request_time", ["1700000000.5"])
    (True, False)
    """
    return compared(_unit_of_name(name)[0]) in EITHER and not _is_dated(cells)


def _is_dated(cells: Sequence[Any]) -> bool:
    """Whether what stands in a column may be moments of a calendar or since 1970."""
    known = next((cell for cell in cells if cell not in ("", None, "null", "None")), "")
    return not _is_number(known) or _since_1970(float(known))


def _known_as(name: str) -> list[str]:
    """What a column's name may be known by, in compared form; of what is counted in tokens, of an
    id and of a cache by the name around it, and a total only where it has a unit of time.

    >>> _known_as("usage.input"), _known_as("usage.total"), _known_as("total_ms")
    (['usageinput', 'inputtokens'], ['usagetotal', 'totaltokens'], ['totalms', 'total'])
    >>> _known_as("gen_ai.conversation.id")
    ['genaiconversationid', 'conversationid']
    """
    around, _, last = name.rpartition(".")
    around, plain = compared(around.rpartition(".")[2]), "token" in last.lower()
    short = [last, _unit_of_name(last)[0]]
    if ("usage" in around or "token" in around) and not plain:
        short = [f"{last}_tokens"]
    whose = compared(around + last)
    if whose in KNOWN_FORMS and (last in ("id", "type") or "cache" in around):
        short = [whose]
    found = [compared(form) for form in (name, _unit_of_name(name)[0], *short)]
    timed = _unit_of_name(last)[1]
    return [form for form in dict.fromkeys(found) if form not in WITH_UNIT or timed]


def _chosen(
    names: Sequence[str], mapping: Mapping[str, str], lasting: Sequence[str] = ()
) -> dict[str, str]:
    """The column of each role that a log has; lasting: those that are of no moments."""
    for role, name in mapping.items():
        require(name in names, f"columns: {role}", f"one of {', '.join(names)[:200]}", name[:60])
    forms: dict[str, str] = {}
    for name in sorted(names, key=lambda name: name.count(".")):  # the outer of two alike
        for form in _known_as(name):
            forms.setdefault(form, name)
    chosen, taken = dict(mapping), set(mapping.values())
    for role, known in ROLES.items():
        left = {f: name for f, name in forms.items() if name not in taken}
        if role in MOMENTS:
            left = {f: name for f, name in left.items() if name not in lasting}
        found = next((left[f] for f in known if f in left), None)
        if role not in chosen and found is not None:
            chosen[role] = found
            taken.add(found)
    return chosen


def _add_plain(cells: Mapping[str, Sequence[Any]], chosen: dict[str, str], first: int) -> list[str]:
    """Take the one column that says in plain words that it is of tokens of prompts, of answers, or
    of when requests began, where no known name does and nothing else can stand there; and what is
    to be said of it.

    >>> cells = {"when": ["2026-01-05T10:00:00Z"], "prompt": ["70"], "answer": ["Yes."]}
    >>> _add_plain(cells, {}, 2)
    ['prompt is taken as tokens of prompts', 'when is taken as when each was sent']
    """
    left = [name for name in cells if name not in chosen.values()]
    counts = [
        name
        for name in left
        if not any(word in name.lower() for word in BYTES) and _is_count(cells[name])
    ]
    told = []
    for role, what in (("prompt", "tokens of prompts"), ("output", "tokens of answers")):
        name, _ = _in_plain_words(counts, role)
        if role not in chosen and name is not None and "cached" not in chosen:
            chosen[role] = name
            told.append(f"{name} is taken as {what}")
    name, _ = _in_plain_words(left, "time")
    if name is not None and not {*MOMENTS} - {"first"} & {*chosen} and _is_dated(cells[name]):
        with contextlib.suppress(ValueError):
            _moments(cells[name], name, first, "", "")
            chosen["sent"] = name
            told.append(f"{name} is taken as when each was sent")
    return told


def _first_lasts(cells: Mapping[str, Sequence[Any]], chosen: Mapping[str, str]) -> bool:
    """Whether a column of first tokens is of how long they took: it has a unit, and is no date,
    where all other moments are.

    >>> chosen = {"sent": "at", "first": "first_token_ms"}
    >>> _first_lasts({"at": ["2026-01-05T10:00:00Z"], "first_token_ms": [70]}, chosen)
    True
    """
    others = [chosen[role] for role in MOMENTS if role in chosen and role != "first"]
    token = chosen.get("first")
    if token is None or not others or not _unit_of_name(token)[1]:
        return False
    return all(_is_dated(cells[one]) for one in others) and not _is_dated(cells[token])


def _is_count(cells: Sequence[Any]) -> bool:
    """Whether all that stands in a column may be tokens.

    >>> [_is_count(x) for x in (["70", "", None], [70.0], ["0.5"], [True], ["hi"], [""])]
    [True, True, False, False, False, False]
    """
    try:
        values = _known_numbers(_numbers(cells, "", 0))
        _require_counts(values, "", 0, "")
    except ValueError:
        return False
    return bool(values.size)


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


# In one piece: a log's columns in their order, each read or refused.
def _run(
    cells: Mapping[str, Sequence[Any]],
    mapping: Mapping[str, str],
    unit: str,
    where: str,
    first: int,
) -> Run:
    names = list(cells)
    _require_requests(names)
    lasting = [name for name in names if _lasts(name, cells[name])]
    chosen = _chosen(names, mapping, lasting)
    plain = _add_plain(cells, chosen, first)
    if "first" not in mapping and _first_lasts(cells, chosen):
        chosen.setdefault("ttft", chosen.pop("first"))
    cells, twice = _rows_of_one(cells, chosen)
    nginx = chosen.get("latency") in lasting and any(map(_of_nginx, names))
    if nginx and compared(chosen.get("sent", "")) in ANY_MOMENT and "sent" not in mapping:
        chosen.setdefault("end", chosen.pop("sent"))  # it writes when an answer is through
    timed = {"sent", "queued"} & set(chosen)
    if not timed and not {"ttft", "latency"} & set(chosen):
        rule = (
            "a log of requests, with columns such as timestamp, ttft_ms, latency_ms, prompt_tokens"
        )
        rule += " (or say which: columns sent=NAME,ttft=NAME)"
        require(False, "row 1", rule, ", ".join(names)[:200])
    notes = twice + plain
    columns: dict[str, FloatArray] = {}
    for role, name in (
        ("prompt", "prompt_tokens"),
        ("output", "output_tokens"),
        ("cached", "cached_tokens"),
        ("attempt", "attempt"),
        ("joules", "joules"),
    ):
        if role in chosen:
            values = _numbers(cells[chosen[role]], chosen[role], first)
            _require_counts(values, "row ", first, f", column {chosen[role]}")
            columns[name] = values
            if role == "attempt" and "retr" in chosen[role].lower():
                columns[name] = values + 1
    hashes = cells.get(HASH_IDS, [])
    parts = any(isinstance(one, dict) for one in hashes)  # as RAGPulse has them
    usual = "s" if parts else "ms" if len(hashes) else ""
    moments = {
        role: _moments(cells[chosen[role]], chosen[role], first, unit, usual)
        for role in MOMENTS
        if role in chosen
    }
    base = _base(moments, notes, chosen)
    zero_at_s: float | None = None
    own = next((name for name in names if compared(name.rpartition(".")[2]) in REPLICAS), "")
    of, replicas = _places_of(cells[own]) if own else (None, {})
    if 1 < len(replicas) < FEW_REPLICAS * len(cells[own]):
        told = f"{own} names {len(replicas):,}, taken as one engine"
        notes.append(f"{told}: where each is one, cut the log by them")
    if base:
        zero = moments[base][1]
        absolute = {
            role: values + start - zero
            for role, (values, start, _) in moments.items()
            if abs(start - zero) < DAY_S * 366
        }
        columns["sent_s"], back = absolute[base], ""
        if not parts:  # whose rows stand in no order
            columns["sent_s"], back = _one_after_another(absolute[base], chosen[base], first, of)
        if TRACE_YEARS[0] <= zero <= TRACE_YEARS[1] and not back:
            zero_at_s = zero + float(np.nanmin(columns["sent_s"]))
        columns["sent_s"] = _since_first(columns["sent_s"])
        if "due" in absolute:
            columns["due_s"] = absolute["due"] + columns["sent_s"] - absolute[base]
        for role, name in (("scheduled", "queue_s"), ("first", "ttft_s"), ("end", "latency_s")):
            if role in absolute:
                columns[name] = absolute[role] - absolute[base]
        notes.append(f"moments from {chosen[base]}: {moments[base][2]}")
        notes += [back + _leave_across(columns)] if back else []
        if "first" in absolute:
            notes += _ahead(columns["ttft_s"], chosen["first"], chosen[base])
    for role, name in (("latency", "latency_s"), ("ttft", "ttft_s"), ("queue", "queue_s")):
        if role in chosen and name not in columns:
            values = _lasted(cells[chosen[role]], chosen[role], first, notes)
            others = columns.get("latency_s")
            tokens = columns.get("output_tokens") if role == "latency" else None
            own = "s" if nginx and role == "latency" and not unit else unit  # as it counts
            columns[name], told = _seconds(values, chosen[role], own, others, tokens)
            notes.append(told)
    _add_queue(cells, chosen, columns, first, notes)
    if not base and "end" in moments and "latency_s" in columns:
        sent, zero = moments["end"][0] - columns["latency_s"], moments["end"][1]
        if TRACE_YEARS[0] <= zero <= TRACE_YEARS[1] and np.isfinite(sent).any():
            zero_at_s = zero + float(np.nanmin(sent))
        columns["sent_s"] = _since_first(sent)
        notes.append(f"moments from {chosen['end']}, less {chosen['latency']}")
    if (
        "tpot" in chosen
        and "latency_s" not in columns
        and {"ttft_s", "output_tokens"} <= set(columns)
    ):
        each, told = _seconds(
            _numbers(cells[chosen["tpot"]], chosen["tpot"], first), chosen["tpot"], ""
        )
        later = np.maximum(columns["output_tokens"] - 1, 0)
        columns["latency_s"] = columns["ttft_s"] + np.nan_to_num(each) * later
        notes.append(told)
    if "model" in chosen:
        notes += _models(cells[chosen["model"]], columns)
    failed, gave_up = _failed(cells, chosen, notes)
    if failed is not None:
        columns["failed"] = failed
    if gave_up is not None and gave_up.any():
        columns["gave_up"] = gave_up
    _require_no_instant(columns, chosen)
    means = _power(cells, chosen, first, notes)
    tenants: tuple[str, ...] = ()
    if "tenant" in chosen:
        columns["tenant"], tenants = _tenants(cells[chosen["tenant"]], chosen["tenant"])
    if "session" in chosen:
        columns["session"] = _places_of(cells[chosen["session"]])[0]
        _leave_own_clocks(columns, notes)
    either = base == "sent" and compared(chosen["sent"]) in ANY_MOMENT and "end" not in moments
    if either and {"sent_s", "latency_s"} <= set(columns):
        told = f"{chosen['sent']} is taken as when each was sent"
        notes.append(f"{told} (of the end, say --columns end={chosen['sent']})")
    _require_sense(columns, chosen, first)
    notes += _gaps(columns) + _too_fast(columns)
    _leave_endless(columns, chosen, first, notes)
    _leave_whole_answers(columns, notes)
    share = _reusable(columns, chosen, first, notes)
    if any(isinstance(one, list) for one in hashes) and "prompt" in chosen:
        prompts = columns["prompt_tokens"]
        found = np.minimum(_seen(hashes, prompts, first)[0], prompts)
        share = float(found.sum() / max(prompts.sum(), 1.0))
    if "request" in chosen and "attempt" not in columns and "sent_s" in columns:
        _count_tries(columns, _places_of(cells[chosen["request"]])[0], chosen["request"], notes)
    timed_too = bool({"latency_s", "ttft_s"} & set(columns)) and "sent_s" in columns
    named = "request" in chosen and compared(chosen["request"]) not in ANY_ID
    if named or (timed_too and 0 < _tick_s(columns["sent_s"]) < FINE_S):
        columns = _rows_once(cells, columns, notes, not named and _of_one_length(columns))
    bare = _bare(columns)
    if bare.any() and not bare.all():
        columns = {name: x[~bare] for name, x in columns.items()}
        notes.append(f"{int(bare.sum()):,} rows have none of these and were left out")
    if set(columns) == {"sent_s"} and len(names) > 1:
        told = f"of {', '.join(names)[:120]} only {chosen[base]} is read"
        notes.append(f"{told}: each row is taken as a request")
    notes += _emptiness(columns, zero_at_s)
    run = Run(where, "a log of requests", columns, means, notes=tuple(notes), shares_prefix=share)
    run = replace(run, tenants=tenants, zero_at_s=zero_at_s)
    return replace(run.in_order(), tool="a trace" if not run.has("latency_s") else run.tool)


def _rows_of_one(
    cells: Mapping[str, Sequence[Any]], chosen: dict[str, str]
) -> tuple[Mapping[str, Sequence[Any]], list[str]]:
    """Cells of a log in which a request stands twice, when it begins and when it ends, as one row
    each, and what is to be said of it; as they are, and nothing, elsewhere. chosen: of the columns,
    which gets the end where no other time is told.

    >>> cells = {"ts": [1, 2, 9], "request_id": "aba", "event": ["start", "start", "end"]}
    >>> _rows_of_one(cells, {"sent": "ts", "request": "request_id"})[0]["ts (its last row)"]
    [9, None]
    """
    timed = [chosen[role] for role in (*DURATIONS, "first", "end") if role in chosen]
    timed = [name for name in timed if any(cell not in ("", None) for cell in cells[name])]
    sent, events = chosen.get("sent"), [name for name in cells if compared(name) in EVENTS]
    if sent is None or "request" not in chosen or not (timed or events):
        return cells, []
    of = _places_of(cells[chosen["request"]])[0]
    counts = np.bincount(of.astype(int)) if np.isfinite(of).all() else np.zeros(0, dtype=int)
    if not counts.size or counts.max() > 2 or 2 * (counts == 2).sum() < counts.size:
        return cells, []
    order, ends = np.argsort(of, kind="stable"), np.cumsum(counts)
    rows = list(zip(order[ends - counts].tolist(), order[ends - 1].tolist(), strict=True))
    pairs = [(a, b) for a, b in rows if a != b]

    def told(at: int) -> bool:
        return any(cells[name][at] not in ("", None) for name in timed)

    apart = all(told(b) if timed else cells[events[0]][a] != cells[events[0]][b] for a, b in pairs)
    dated = all(cells[sent][a] not in ("", None) for a, _ in rows)
    words = [chosen[role] for role in ("status", "error", "success", "finish") if role in chosen]
    tried = any(cells[name][a] not in ("", None) for name in words for a, _ in pairs)
    if not apart or not dated or tried or any(told(a) for a, _ in pairs):
        return cells, []
    found: dict[str, Sequence[Any]] = {
        name: [x[a] if name == sent or x[b] in ("", None) else x[b] for a, b in rows]
        for name, x in cells.items()
    }
    if not timed:
        chosen["end"] = f"{sent} (its last row)"
        found[chosen["end"]] = [cells[sent][b] if a != b else None for a, b in rows]
    return found, [f"{len(pairs):,} requests stand twice, when they begin and end: as one row each"]


def _require_requests(names: Sequence[str]) -> None:
    """Refuse tables that have no row for each request.

    >>> _require_requests(["metric", "time", "value"])
    Traceback (most recent call last):
    ValueError: row 1 must be of requests, a row each with its times, got metric, time, value
    """
    shown = ", ".join(names)[:200]
    forms = {compared(name.rpartition(".")[2]) for name in names}
    several = forms & {"metric", "metricname"} and forms & {"value", "metricvalue"}
    rule = "of requests, a row each with its times"
    require(not several, "row 1", rule, shown)
    of_windows = r"p\d\d(\.?\d+)?|\d\d(\.\d+)?%"
    windows = any(re.fullmatch(of_windows, _unit_of_name(name)[0].lower()) for name in names)
    rule = "of requests or histograms: percentiles of windows cannot be put together"
    require(not windows, "row 1", rule, shown)


def _add_queue(
    cells: Mapping[str, Sequence[Any]],
    chosen: Mapping[str, str],
    columns: dict[str, FloatArray],
    first: int,
    notes: list[str],
) -> None:
    """Count vLLM's own times of a request (--enable-per-request-metrics) from when it came: theirs
    to the first token begins when it was scheduled, and that of the answer with its first token."""
    own = {compared(_unit_of_name(name.rpartition(".")[2])[0]): name for name in cells}
    forms = {"timetofirsttoken": "ttft", "queuetime": "queue", "meanitl": "tpot"}
    if "generationtime" not in own or "latency_s" in columns:
        return
    if any(chosen.get(role) != own.get(form, "") for form, role in forms.items()):
        return
    column = own["generationtime"]
    later, _ = _seconds(_numbers(cells[column], column, first), column, "ms")
    columns["ttft_s"] = columns["ttft_s"] + columns["queue_s"]
    columns["latency_s"] = columns["ttft_s"] + later
    notes.append("vLLM counts these from when a request was scheduled: its queue is added")


def _models(cells: Sequence[Any], columns: Mapping[str, FloatArray]) -> list[str]:
    """What is to be said of a log of several models; nothing of one."""
    of, names = _places_of(cells)
    if len(names) < 2:
        return []
    told = f"{len(names):,} models, taken as one engine"
    names_of = ("latency_s", "ttft_s", "output_tokens")
    if all(name in columns for name in names_of):
        whole, first, tokens = (columns[name] for name in names_of)
        each = np.where(tokens > 1, (whole - first) / np.maximum(tokens - 1, 1), math.nan)
        enough = [own for i in range(len(names)) if (own := each[of == i]).size >= OWN_ENGINE]
        usual = [x for x in map(_known_quantile, enough) if x > 0]
        if usual and max(usual) > UNLIKE * min(usual):
            low, high = (f"{1e3 * x:.3g}" for x in (min(usual), max(usual)))
            return [f"{told}, of which a token takes {low} to {high} ms: cut the log by them"]
    return [f"{told}: where each has its own, cut the log by them"]


def _power(
    cells: Mapping[str, Sequence[Any]], chosen: Mapping[str, str], first: int, notes: list[str]
) -> dict[str, float]:
    """Mean power of a column that tells it beside each request."""
    if "power" not in chosen:
        return {}
    values = _numbers(cells[chosen["power"]], chosen["power"], first)
    known = values[np.isfinite(values)]
    low = np.flatnonzero(values < 0)
    if low.size:
        at = f"row {int(low[0]) + first}, column {chosen['power']}"
        require(False, at, "a power, not negative", f"{values[low[0]]:g}")
    notes.append(f"{chosen['power']} in watts, of all devices at each request")
    return {"power_w": float(known.mean())} if known.size else {}


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


def _places_of(cells: Sequence[Any]) -> tuple[FloatArray, dict[str, int]]:
    """A number for each word of a column, from 0 on as they come, NaN where a cell is empty."""
    place: dict[str, int] = {}
    codes = np.full(len(cells), math.nan)
    for at, cell in enumerate(cells):
        word = "" if cell is None else str(cell).strip()
        if word and word.lower() not in ("null", "none", "nan"):
            codes[at] = place.setdefault(word, len(place))
    return codes, place


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
    if not later.any() or tries.max() > MOST_TRIES or later.mean() > 0.5:
        return
    before = order[np.flatnonzero(later) - 1]
    failed = columns.get("failed", np.zeros(of.size))[before]
    if compared(column) in ANY_ID and not failed.mean() > 0.5:
        return  # of something else, such as a user
    columns["attempt"] = np.ones(of.size)
    columns["attempt"][order] = tries
    notes.append(f"{column} stands at several moments: a later one is another try")


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


def check_forms_are_one_log() -> None:
    """The same requests as CSV in milliseconds, as JSON lines in seconds and as moments give the
    same columns.

    Source: comparison with the numbers that were written.
    """
    rng = np.random.default_rng(3)
    sent = np.cumsum(rng.exponential(0.5, 200)).round(3)
    ttft, whole = rng.uniform(0.05, 0.2, 200).round(4), rng.uniform(1, 3, 200).round(4)
    rows = list(zip(sent.tolist(), ttft.tolist(), whole.tolist(), strict=True))
    table = ["start_time,ttft_ms,latency_ms,prompt_tokens"]
    table += [f"{1.7e9 + s:.3f},{1e3 * a:.1f},{1e3 * b:.1f},7" for s, a, b in rows]
    lines = [
        json.dumps({"ts": 1.7e9 + s, "first_token_at": 1.7e9 + s + a, "end_time": 1.7e9 + s + b})
        for s, a, b in rows
    ]
    for name, text in (("table", "\n".join(table)), ("moments", "\n".join(lines))):
        run = read_log(text, name)
        checks.close(f"{name}: sent [s]", run.columns["sent_s"], sent - sent[0], atol=2e-6)
        checks.close(f"{name}: TTFT [s]", run.columns["ttft_s"], ttft, atol=2e-6)
        checks.close(f"{name}: latency [s]", run.columns["latency_s"], whole, atol=2e-6)


def check_bad_input_is_refused() -> None:
    """Units that nothing tells, clocks that disagree and other logs name row and rule."""
    for label, text, columns, match in (
        ("unit", "ttft,prompt_tokens\n20,1\n30,1", "", "which may be s or ms"),
        ("clocks", "ts,end\n1700000000,5\n1700000001,6", "unit=s", "moments of one clock"),
        ("negative", "ts_s,end_s\n5,4\n6,5", "", "row 2: latency must be not negative"),
        ("other", "name,colour\nx,red", "", "row 1 must be a log of requests"),
        ("cell", "ts_s,latency_ms\n1,x\n", "", "row 2, column latency_ms must be a number"),
        ("mapping", "ts_s,latency_ms\n1,2\n", "sent=when", "columns: sent must be one of"),
        ("whole", '{"ts": 1}\n{"ts": ', "", "row 2 must be one JSON object"),
        ("longer", "ts_s,ttft_s,latency_ms\n1,5,9\n", "", "no longer than the whole"),
    ):
        checks.raises(label, read_log, text, "a", columns, match=match)
