"""Which column of a log has which role: by its name, in plain words, or as a reader says.

Columns are known by their names, as the planner's traces are, in plain words too where what stands
there is a count or a date, or said: "sent=mark,ttft=first_ms".

Source: OpenTelemetry semantic conventions for generative AI (0.66b2), for names of columns and
units; SGLang, `req_time_stats.py` and `request_logger.py`; vLLM documentation, per-request metrics;
nginx, `ngx_http_log_module`; the planner's `trace_formats`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from serving_mathematics.core.fleet.trace_rows import KNOWN
from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.planner.questions.trace_formats import _in_plain_words
from serving_mathematics.planner.questions.trace_times import PER_S, UNIT_WORDS, _unit_of_name
from serving_mathematics.report.evidence import _known_numbers
from serving_mathematics.report.log_values import (
    _is_number,
    _moments,
    _numbers,
    _require_counts,
    _since_1970,
)
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
EITHER = ("requesttime", "elapsed")  # names of a moment or of how long something took
WITH_UNIT = ("total", "totallatency", "took")  # names that are of times only where they say so
BYTES = ("request", "response", "query", "context")  # words of counts that may be none of tokens
ANY_MOMENT = ("timestamp", "time", "ts", "t", "date")  # names that do not say of which moment
REPLICAS = (  # columns of whose request it was, in compared form
    *("replica", "replicaid", "pod", "podname", "instance", "instanceid", "host", "hostname"),
    *("server", "serverid", "worker", "workerid", "node", "backend", "engine", "engineid"),
)


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


def _of_nginx(name: str) -> bool:
    return compared(name) in ("upstreamresponsetime", "upstreamheadertime", "upstreamconnecttime")


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
