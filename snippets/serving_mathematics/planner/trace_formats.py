"""Requests of a trace, in whatever form people have them.

CSV with a header, or JSON lines: a time, tokens in and tokens out, under names that are known or
that a mapping gives. Times are ISO 8601 with or without a zone, Unix seconds or milliseconds, or
seconds or milliseconds from some start; which of them, their size and their steps say. Blocks of a
prompt that an earlier request had already (`hash_ids` of Mooncake, of 512 tokens) are cached.

Assumes: one clock; requests in order of arrival; a cache that keeps every block, and a router that
finds it, so that a trace with prefixes is planned for the most that they can save.

Source: Azure Public Dataset, AzureLLMInferenceDataset2023.md; Qin et al. (2025), Mooncake, for its
trace's fields; ISO 8601-1:2019.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics import checks
from serving_mathematics.capacity.arrival_trace import Trace, parse_trace
from serving_mathematics.optimization.continuous_batching import Workload
from serving_mathematics.planner.traffic import traced_requests
from serving_mathematics.require import require

KNOWN = {  # names of the three columns in compared form: letters and digits, in lower case
    "time": (
        *("timestamp", "time", "ts", "tsec", "arrivaltime", "arrivals", "arrivaltimestamp"),
        *("requesttime", "requesttimestamp", "starttime", "createdat", "t", "arrived", "date"),
    ),
    "prompt": (
        *("contexttokens", "prompttokens", "inputtokens", "inputlength", "promptlength", "isl"),
        *("requesttokens", "promptlen", "inputlen", "numprompttokens", "numprefilltokens"),
    ),
    "output": (
        *("generatedtokens", "outputtokens", "completiontokens", "outputlength", "osl"),
        *("responsetokens", "outputlen", "answertokens", "numdecodetokens", "completionlength"),
    ),
    "cached": ("cachedtokens", "reusabletokens", "prefixtokens", "numcachedtokens"),
}
AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")  # read with all their digits
HASH_IDS, HASH_TOKENS = "hash_ids", 512  # blocks of a prompt in Mooncake's traces
UNIX_S, UNIX_MS = 1e8, 1e11  # numbers beyond are Unix seconds, and milliseconds


def read_requests(text: str, columns: str = "") -> Workload:
    """A trace as a workload, at least 100 requests in order of arrival.

    text: the whole file, CSV or JSON lines. columns: a mapping such as
    "time=when,prompt=in,output=out", or "" where the names are known. Raises ValueError that names
    row (the header of a CSV is row 1) and column.

    >>> rows = [f"2026-01-05T10:{i // 60:02}:{i % 60:02}Z,{100 + i},5" for i in range(120)]
    >>> asked = read_requests("\\n".join(["timestamp,prompt_tokens,output_tokens", *rows]))
    >>> float(asked.arrival_s[-1]), int(asked.prompt_tokens[3])
    (119.0, 103)
    """
    mapping = _mapping(columns)
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] == "{":
        return _json_lines(text, mapping)
    header = text.split("\n", 1)[0].strip().split(",")
    if not mapping and all(name in header for name in AZURE):
        zoned = re.search(r"\d(Z|[+-]\d\d:?\d\d)\s*[,\r\n]", text[:2000])
        if not zoned:
            return traced_requests(parse_trace(text))
    return _comma_separated(text, mapping)


def _mapping(columns: str) -> dict[str, str]:
    found = {}
    for part in filter(None, (piece.strip() for piece in columns.split(","))):
        role, equals, name = part.partition("=")
        fine = bool(equals) and role in KNOWN and bool(name)
        rule = "such as time=t,prompt=in,output=out, and cached=hits where there are"
        require(fine, "trace_columns", rule, repr(part[:60]))
        found[role] = name
    return found


def _chosen(names: Sequence[str], mapping: Mapping[str, str], where: str) -> dict[str, str]:
    """The column of each role."""
    forms = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(names)}
    chosen = {}
    for role, known in KNOWN.items():
        if role in mapping:
            there = mapping[role] in names
            rule = f"one of {', '.join(names)[:200]}"
            require(there, f"trace_columns {role}", rule, mapping[role][:60])
            chosen[role] = mapping[role]
            continue
        name = next((forms[form] for form in known if form in forms), None)
        if name is None and role != "cached":
            shown = ", ".join(names)[:200]
            raise ValueError(
                f"{where} must name a column for {role}, such as {known[0]}, got {shown}; or say "
                f"which: trace_columns {role}=NAME"
            )
        if name is not None:
            chosen[role] = name
    return chosen


def _comma_separated(text: str, mapping: Mapping[str, str]) -> Workload:
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"the log must be comma-separated values, got {error}") from error
    while rows and not rows[-1]:
        rows.pop()
    require(len(rows) > 1, "the log", "a header and at least one request", f"{len(rows)} rows")
    header = [name.strip() for name in rows[0]]
    chosen = _chosen(header, mapping, "row 1")
    for number, row in enumerate(rows[1:], start=2):
        require(len(row) == len(header), f"row {number}", f"{len(header)} fields long", len(row))
    cells = {
        role: [row[header.index(name)].strip() for row in rows[1:]] for role, name in chosen.items()
    }
    return _workload(cells, chosen, [], 2)


def _json_lines(text: str, mapping: Mapping[str, str]) -> Workload:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"row {number} must be one JSON object, got {error}") from error
            require(isinstance(row, dict), f"row {number}", "one JSON object", type(row).__name__)
            rows.append(row)
    chosen = _chosen(list(rows[0]), mapping, "row 1")
    cells: dict[str, list[object]] = {}
    for role, name in chosen.items():
        for number, row in enumerate(rows, start=1):
            require(name in row, f"row {number}", f"an object with {name!r}", "none")
        cells[role] = [row[name] for row in rows]
    return _workload(cells, chosen, [row.get(HASH_IDS) for row in rows], 1)


def _workload(
    cells: Mapping[str, Sequence[object]],
    chosen: Mapping[str, str],
    blocks: Sequence[object],
    first: int,
) -> Workload:
    """Times and tokens of all rows, refused by row and column. first: number of the first row."""
    times = _moments_s(cells["time"], chosen["time"], first)
    late = np.flatnonzero(np.diff(times) < 0)
    if late.size:
        place = int(late[0]) + 1
        raise ValueError(
            f"row {place + first}, column {chosen['time']} must be no earlier than the row before "
            f"it, got {str(cells['time'][place])[:40]}; sort the file by time"
        )
    prompts, outputs = (
        _counts(cells[role], chosen[role], first, 1) for role in ("prompt", "output")
    )
    asked = traced_requests(Trace(times - times[0], prompts, outputs))
    cached = np.zeros(prompts.size, dtype=np.int64)
    if "cached" in cells:
        cached = _counts(cells["cached"], chosen["cached"], first, 0)
    elif any(isinstance(ids, list) for ids in blocks):
        cached = _seen(blocks)
    cached = np.minimum(cached, prompts - 1)
    return Workload(asked.arrival_s, prompts, outputs, cached)


def _seen(blocks: Sequence[object]) -> npt.NDArray[np.int64]:
    """Tokens at the beginning of each prompt in blocks that earlier requests had."""
    known: set[object] = set()
    found = np.zeros(len(blocks), dtype=np.int64)
    for place, ids in enumerate(blocks):
        if isinstance(ids, list):
            for block in ids:
                if block not in known:
                    break
                found[place] += HASH_TOKENS
            known.update(ids)
    return found


def _counts(cells: Sequence[object], column: str, first: int, least: int) -> npt.NDArray[np.int64]:
    found = np.zeros(len(cells), dtype=np.int64)
    for place, cell in enumerate(cells):
        text = str(cell)
        fine = re.fullmatch(r"\d{1,9}(\.0+)?", text, re.ASCII) and float(text) >= least
        if not fine:
            rule = f"a whole number, at least {least}"
            require(False, f"row {place + first}, column {column}", rule, repr(text[:40]))
        found[place] = int(float(text))
    return found


def _moments_s(cells: Sequence[object], column: str, first: int) -> npt.NDArray[np.float64]:
    """Times in seconds since 1970 or since some start."""
    numeric = all(re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", str(cell)) for cell in cells[:1])
    found = np.zeros(len(cells))
    for place, cell in enumerate(cells):
        text = str(cell)
        try:
            if numeric:
                found[place] = float(text)
            else:
                iso = re.sub(r"(\.\d{6})\d+", r"\1", text.replace("Z", "+00:00"))
                moment = datetime.datetime.fromisoformat(iso)
                zone = moment.tzinfo or datetime.UTC
                found[place] = moment.replace(tzinfo=zone).timestamp()
        except (ValueError, OverflowError):
            found[place] = np.nan
        if not np.isfinite(found[place]):
            rule = "a time: ISO 8601, or a number of seconds or milliseconds"
            require(False, f"row {place + first}, column {column}", rule, repr(text[:40]))
    if numeric and (found.max() >= UNIX_MS or _in_milliseconds(cells, column, found)):
        return found / 1000
    return found


def _in_milliseconds(cells: Sequence[object], column: str, found: npt.NDArray[np.float64]) -> bool:
    """Whether times from some start are milliseconds: the column says so, or they are whole and as
    seconds would leave more than 20 s between requests."""
    if found.max() >= UNIX_S:
        return False
    if column.lower().endswith("ms"):
        return True
    whole = all("." not in str(cell) for cell in cells)
    return whole and float(found.max() - found.min()) > 20 * (found.size - 1)


def check_every_form_is_the_same_trace() -> None:
    """The same requests in six forms give the same workload.

    Source: comparison with the numbers that were written.
    """
    times, prompts, outputs = np.arange(0, 300, 2.5), np.arange(100, 220), np.arange(1, 121)
    start = datetime.datetime(2026, 1, 5, 10, tzinfo=datetime.UTC)
    rows = list(zip(times.tolist(), prompts.tolist(), outputs.tolist(), strict=True))
    moments = [start + datetime.timedelta(seconds=time) for time in times.tolist()]
    iso = [moment.isoformat().replace("+00:00", "Z") for moment in moments]
    unix = [moment.timestamp() for moment in moments]
    forms: dict[str, tuple[str, list[Any], str]] = {
        "ISO 8601 with Z": ("timestamp,prompt_tokens,output_tokens", iso, ""),
        "Unix seconds": ("ts,isl,osl", unix, ""),
        "Unix milliseconds": ("Timestamp,InputTokens,OutputTokens", [1000 * x for x in unix], ""),
        "seconds from the start": ("arrival_time,input_length,output_length", times.tolist(), ""),
        "a mapping": ("when,in,out", iso, "time=when,prompt=in,output=out"),
    }
    for label, (header, stamps, columns) in forms.items():
        lines = [f"{t},{p},{o}" for t, (_, p, o) in zip(stamps, rows, strict=True)]
        found = read_requests("\n".join([header, *lines]), columns)
        checks.close(f"{label}: times [s]", found.arrival_s, times, atol=1e-5)
        checks.equal(f"{label}: tokens", found.output_tokens.tolist(), outputs.tolist())
    lines = [
        json.dumps({"timestamp": int(1000 * t), "input_length": p, "output_length": o})
        for t, p, o in rows
    ]
    found = read_requests("\n".join(lines))
    checks.close("JSON lines, milliseconds: times [s]", found.arrival_s, times, atol=1e-9)


def check_prefixes_by_hand() -> None:
    """Blocks that an earlier prompt began with are cached, others are not.

    Source: three prompts of 1,200 tokens, written down: the second shares one block of two, the
    third begins anew.
    """
    rows = [
        {"timestamp": 1000 * i, "input_length": 1200, "output_length": 2, "hash_ids": ids}
        for i, ids in enumerate(([0, 1, 2], [0, 3, 4], [5, 1, 2], *([[9]] * 97)))
    ]
    found = read_requests("\n".join(json.dumps(row) for row in rows))
    checks.equal("cached tokens", found.cached_tokens[:5].tolist(), [0, 512, 0, 0, 512])


def check_bad_input_is_refused() -> None:
    """Unknown names, times that are none and a wrong mapping name row and column."""
    head = "timestamp,prompt_tokens,output_tokens\n"
    for label, text, columns, match in (
        ("no column", "a,b\n1,2\n", "", "row 1 must name a column for time, such as timestamp"),
        ("time", head + "soon,1,1\n", "", "row 2, column timestamp must be a time"),
        ("order", head + "2,1,1\n1,1,1\n", "", "row 3, column timestamp must be no earlier"),
        ("tokens", head + "2,1,many\n", "", "row 2, column output_tokens must be a whole number"),
        ("mapping", head + "2,1,1\n", "when=x", "trace_columns must be such as time=t"),
        ("mapped", head + "2,1,1\n", "time=x", "trace_columns time must be one of timestamp"),
        ("JSON", '{"timestamp": 1\n', "", "row 1 must be one JSON object"),
        ("few", head + "1,1,1\n2,1,1\n", "", "the trace must be at least 100 requests long"),
    ):
        checks.raises(label, read_requests, text, columns, match=match)
