"""Lines as programs wrote them, out of what collectors of logs wrap around each.

Docker, Kubernetes, journald, docker compose and stern write a moment or a place before a line, or
put both and the line into an object of JSON, as stores of logs and formatters do too; stores give
the newest first. What each place wrote stands together, in the order in which it was written.

Source: Docker, json-file driver; Kubernetes, CRI logging format, and kubectl logs --prefix;
systemd, journalctl --output; stern, default template; Loki, query_range and logcli --output; AWS,
FilterLogEvents, logs tail and Logs Insights; Google Cloud, LogEntry; vLLM 0.34, whose
`logging_utils/formatter.py` makes an object of each record.
"""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from serving_mathematics.support.files import json_values, read_table

ANSI = re.compile(r"\x1b\[[\d;]*m")
BEFORE = re.compile(  # a place, a moment, and what stands behind one
    r"(?:\[(?P<pod>pod/\S+)\] |(?P<service>[\w.@-]+) +\| (?!.*\|)|"
    r"(?P<stern>[a-z][a-z\d.-]*-(?:[a-z\d]{5}|\d+) [a-z][a-z\d-]*) (?![\d.+-]+\s))?"
    r"(?:(?P<at>\d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:?\d\d))[ \t]"
    r"(?:std(?:out|err) (?:F|(?P<part>P)) |(?P<stream>[\w.-]+/[\w./-]+) |"
    r'(?P<of>\{\w+="[^{}]*\}) )?)?'
    r"(?:(?:[A-Z][a-z]{2} [ \d]\d [\d:]{8} )?(?P<unit>[\w.-]+ [\w.@-]+\[\d+\]): )?"
)
MESSAGES = ("log", "line", "message", "msg", "MESSAGE", "textPayload", "@message")
STAMPS = ("timestamp", "time", "ts", "@timestamp", "asctime", "__REALTIME_TIMESTAMP")
LABELS = re.compile(
    r'(?i)"[\w.@]*(?:pod(?:_?name)?|instance|hostname|systemd_unit|logstream(?:name)?)":\s*"([^"]+)"'
)
CONTAINED = re.compile(r'"stream":\s*"std(?:out|err)"|"(?:textPayload|MESSAGE)":')
TELLING = ("Running: ", "#running-req: ", "Serving Benchmark Result")  # of an engine, of a test
NESTED = ('"{\\"', '"{""')  # an object in the text of another, or of a table
BEGINNING = 200_000  # characters, in which more than half of the lines must be wrapped

Written = tuple[str, str, str]  # when, where, and what was written, with its end where it is whole


def unwrapped(text: str) -> tuple[str, str]:
    """What was written, of each place in a row; and each line of it with when and where, in order.

    text: of a log; as it is, twice, but for colours, where nothing is wrapped around its lines, or
    they stand in objects and tell nothing of an engine, a test or requests.

    >>> unwrapped('{"log":"a\\\\n","stream":"stdout","time":"2026-01-05T10:00:00Z"}')
    ('a\\n', '2026-01-05T10:00:00 a\\n')
    >>> unwrapped("b-1  | x\\nb-2  | y\\nb-1  | z\\n")
    ('x\\nz\\ny\\n', 'b-1 | x\\nb-2 | y\\nb-1 | z\\n')
    """
    text = ANSI.sub("", text) if "\x1b[" in text else text
    if not (rows := _wrapped_rows(text)):
        return text, text
    if all(at[4:5] == "-" for at, _, _ in rows):  # after a year
        rows = [(at.rstrip("Z"), of, told) for at, of, told in rows]
        rows = sorted(rows[:: -1 if rows[0][0] > rows[-1][0] else 1], key=lambda row: row[0])
    lines = "".join(" ".join(filter(None, (at, of and f"{of} |", told))) for at, of, told in rows)
    places = {place: number for number, place in enumerate(dict.fromkeys(row[1] for row in rows))}
    return "".join(row[2] for row in sorted(rows, key=lambda row: places[row[1]])), lines


def _wrapped_rows(text: str) -> list[Written]:
    """The lines of a log that is wrapped; none where it is not."""
    some = [("", "", line) for line in text[:BEGINNING].split("\n") if line.strip()]
    sure = CONTAINED.search(text[:BEGINNING])
    telling = bool(sure) or any(x in text for x in TELLING + NESTED)
    ways = (_behind_prefix, _of_object)[: 1 + telling]
    listed = _in_document(text) if some and telling and not _of_object(some[0]) else []
    if not listed and not any(_where_most(some, inside) for inside in ways):
        return []
    lines = map(json.dumps, listed) if listed else (f"{line}\n" for line in text.split("\n"))
    rows, wrapped = [("", "", line) for line in lines if line.strip()], False
    for inside in ways:
        found = _where_most(rows, inside)
        told = "".join(f"\n{row[2]}" for row in found if row)
        fine = sure or 2 * told.count("\n{") > len(found) or any(x in told for x in TELLING)
        if found and (fine or inside is _behind_prefix):
            rows, wrapped = [one or row for one, row in zip(found, rows, strict=True)], True
    return rows if wrapped else []


def _where_most(rows: list[Written], inside: Any) -> list[Written | None]:
    """What is inside each row, None where nothing is; empty where that is so of half of them."""
    found = [inside(row) for row in rows]
    return found if 2 * sum(map(bool, found)) > len(rows) else []


def _behind_prefix(row: Written) -> Written | None:
    """A row without what stands before what was written."""
    before = BEFORE.match(row[2])
    if not before or not before[0]:
        return None
    place = "/".join(filter(None, before.group("pod", "service", "stern", "stream", "of", "unit")))
    rest = row[2][before.end() :]
    return before["at"] or "", place.replace(" ", "/"), rest[:-1] if before["part"] else rest


def _of_object(row: Written) -> Written | None:
    """A row of an object, as what it says was written, when and where.

    >>> _of_object(("", "", '{"ts": 1700000000500, "labels": {"pod": "v-0"}, "line": "a"}'))
    ('2023-11-14T22:13:20.500', 'v-0', 'a\\n')
    """
    own: dict[str, Any] = {}
    with contextlib.suppress(ValueError, RecursionError):
        own = json.loads(row[2]) if row[2][:1] == "{" else {}
    told = next((own[name] for name in MESSAGES if isinstance(own.get(name), str)), None)
    if told is None:
        return None
    at = row[0] or str(next((own[name] for name in STAMPS if own.get(name)), ""))
    if at[:10].isdecimal():  # since 1970, in any unit
        at = f"{datetime.fromtimestamp(int(at[:10]), UTC):%Y-%m-%dT%H:%M:%S}.{at[10:].strip('.')}"
    ended = own.get("stream") in ("stdout", "stderr")  # Docker, which cuts what is long
    place = "/".join(filter(None, (row[1], *LABELS.findall(row[2])))).replace(" ", "_")
    return at, place, told if ended else told.rstrip("\n") + "\n"


def _in_document(text: str) -> list[Any]:
    """The objects of a table, a list or an answer of a store; none where there are none."""
    head = text.split("\n", 1)[0].replace('"', "").strip().split(",")
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
        if set(head) & set(MESSAGES) and set(head) & set(STAMPS):
            return [dict(zip(head, row, strict=True)) for row in read_table(text, "")[1:]]
        if re.match(r"\s*[\[{]", text):
            (value,) = json_values(text)
            if isinstance(value, list):
                return value
            streams = value.get("data", {}).get("result", ())  # of Loki
            told = [(one["stream"], *x) for one in streams for x in one["values"]]
            lines = [{"labels": of, "ts": at, "line": line} for of, at, line, *_ in told]
            return lines or [*value["events"]]
    return []
