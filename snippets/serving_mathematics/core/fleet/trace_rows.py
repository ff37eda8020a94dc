"""Rows of public traces and logs, as their files have them.

Source: the documents of each form, named in `traces`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.moments import whole_number
from serving_mathematics.support.require import require

MOONCAKE_BLOCK, AGENT_BLOCK = 512, 64  # tokens that one hash stands for
BLOCKS = (MOONCAKE_BLOCK, 16, 32, 64, 128, 256)  # where a trace does not say it; Bailian has 16
KNOWN = {  # names of columns in compared form: letters and digits, in lower case
    "time": (
        *("timestamp", "time", "ts", "tsec", "arrivaltime", "arrivals", "arrivaltimestamp"),
        *("requesttime", "requesttimestamp", "starttime", "createdat", "t", "arrived", "date"),
        *("arrival", "start", "elapsed", "unixtime", "unix", "epoch", "sentat", "sent"),
        *("requeststart", "starttimestamp", "receivedat", "startedat", "requestcreatedat"),
        *("requestreceived", "arrivedat"),
    ),
    "prompt": (
        *("contexttokens", "prompttokens", "inputtokens", "inputlength", "promptlength", "isl"),
        *("requesttokens", "promptlen", "inputlen", "numprompttokens", "numprefilltokens"),
        *("inputtoks", "genaiusageinputtokens", "prompttoken", "tokensin", "tokensprompt"),
        *("numberinputtokens", "inputtokencount", "prompttokencount", "numinputtokens"),
        "promptsize",
    ),
    "output": (
        *("generatedtokens", "outputtokens", "completiontokens", "outputlength", "osl"),
        *("responsetokens", "outputlen", "answertokens", "numdecodetokens", "completionlength"),
        *("outputtoks", "genaiusageoutputtokens", "tokensout", "tokenscompletion"),
        *("numberoutputtokens", "outputtokencount", "candidatestokencount", "tokensize"),
        "completionsize",
    ),
    "cached": (
        *("cachedtokens", "reusabletokens", "prefixtokens", "numcachedtokens"),
        *("cachedprompttokens", "prefixhit", "hittokens", "tokenscached"),
        "cachereadinputtokens",
    ),
}
TIME_UNITS = {"ms": 1e3, "us": 1e6, "ns": 1e9}  # a second, at the end of the name of a time


@dataclass
class Row:
    """One request as read. line: of the file. reused: tokens that earlier ones of its session had,
    or −1 where that is not told.

    >>> Row(2, "0.5", 9, 3).reused
    -1
    """

    line: int
    time: Any
    prompt: int
    output: int
    session: str = ""
    pause_s: float = 0.0
    since_start: bool = False  # whether the time is since its session began
    unordered: bool = False  # whether its form's rows stand in no order
    reused: int = -1
    ids: list[Hashable] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


def rows_of_csv(text: str) -> tuple[list[Row], float]:
    """Rows of comma-separated values under a header, and how many of the unit of their times make a
    second, where the name ends with it, or 0. Raises ValueError by line.

    >>> rows, per_s = rows_of_csv("timestamp_ms,input_tokens,output_tokens\\n500,9,3")
    >>> rows[0].prompt, per_s
    (9, 1000.0)
    """
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"the trace must be comma-separated values, got {error}") from error
    require(len(table) > 1, "the trace", "a header and at least one request", "fewer lines")
    header = [name.strip() for name in table[0]]
    forms = ["".join(c for c in name.lower() if c.isalnum()) for name in header]
    if {"session", "ts", "reusabletokens"} <= set(forms):
        roles = {"time": "ts", "prompt": "prompttokens", "output": "outputtokens"}
        roles |= {"session": "session", "reused": "reusabletokens", "pause": "thinks"}
    else:
        roles = {
            role: next((n for n in KNOWN[role] if n in forms), "")
            for role in ("time", "prompt", "output")
        }
    told = {name + unit: unit for name in KNOWN["time"] for unit in TIME_UNITS}
    roles["time"] = roles["time"] or next((name for name in told if name in forms), "")
    for role, name in roles.items():
        rule = f"named among the columns, as {name or KNOWN.get(role, ('?',))[0]}"
        require(name in forms, f"line 1: {role}", rule, ", ".join(header)[:200])
    places = {role: forms.index(name) for role, name in roles.items()}
    rows = []
    for line, cells in enumerate(table[1:], start=2):
        if cells:
            rule = f"of {len(header)} fields; is the file whole?"
            require(len(cells) == len(header), f"line {line}", rule, len(cells))
            rows.append(_csv_row(line, {role: cells[at].strip() for role, at in places.items()}))
    return rows, TIME_UNITS.get(told.get(roles["time"], ""), 0.0)


def _csv_row(line: int, cell: Mapping[str, str]) -> Row:
    prompt, output = (
        whole_number(cell[role], f"line {line}: {role} tokens") for role in ("prompt", "output")
    )
    row = Row(line, cell["time"], prompt, output)
    if "session" in cell:
        row.session, row.since_start = cell["session"], True
        row.reused = whole_number(cell["reused"], f"line {line}: reusable_tokens")
        row.pause_s = _seconds(cell["pause"] or 0.0, f"line {line}: think_s")
    return row


def _seconds(value: Any, what: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    require(0 <= seconds < np.inf, what, "a number of seconds, not negative", str(value)[:40])
    return seconds


def _objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line and object: of JSON lines, of one document, of a list of objects."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        for line, row in enumerate(text.splitlines(), start=1):
            if row.strip():
                try:
                    found = json.loads(row)
                except (ValueError, RecursionError) as error:
                    rule = "one JSON object; is the file whole?"
                    raise ValueError(f"line {line} must be {rule}, got {error}") from error
                require(isinstance(found, dict), f"line {line}", "one JSON object", row[:40])
                yield line, found
        return
    for place, found in enumerate(whole if isinstance(whole, list) else [whole], start=1):
        require(isinstance(found, dict), f"entry {place}", "a JSON object", str(found)[:40])
        yield place, found


def rows_of_json(text: str) -> tuple[list[Row], float]:
    """Rows of JSON lines or documents, and how many of the unit of their times make a second, as
    for `rows_of_csv`. Raises ValueError by line.

    >>> rows, _ = rows_of_json('{"timestamp": 0, "input_length": 9, "output_length": 3}')
    >>> rows[0].output
    3
    """
    rows: list[Row] = []
    hashed: list[tuple[Row, list[Any]]] = []
    per_s = 0.0
    for line, found in _objects(text):
        if "requests" in found:
            rows.extend(_agent_rows(line, found))
        elif "metadata" in found and "metrics" in found:
            rows.append(_measured_row(line, found))
        elif "info" in found and "start_time" in found:
            info = _part(line, found, "info")
            request, response = (info.get(f"{x}_metrics", info) for x in ("request", "response"))
            rows.append(_row(line, found["start_time"], _of_text(request), response, "_tokens"))
        else:
            row = _row(line, _part(line, found, "timestamp", None), found, found, "_length")
            hashes = found.get("hash_ids")
            if isinstance(hashes, dict):  # of RAGPulse, whose components have no lengths
                row.unordered = True
            else:
                per_s = 1.0 if "chat_id" in found else 1e3  # as Bailian has it
                if hashes:
                    hashed.append((row, _listed(line, hashes)))
                if "delay" in found or "session_id" in found:
                    row.session = str(found.get("session_id", ""))
                    row.pause_s = _seconds(found.get("delay", 0), f"line {line}: delay") / 1000
            rows.append(row)
    size = _block_tokens([row.prompt for row, _ in hashed], [len(ids) for _, ids in hashed])
    for row, ids in hashed:
        _blocks(row, ids, size)
    return rows, per_s


def _block_tokens(prompts: npt.ArrayLike, counts: npt.ArrayLike) -> int:
    """Tokens of a block by which most prompts have as many blocks as were counted, whether or not a
    block that is not full has a hash.

    >>> _block_tokens([521, 676], [33, 43]), _block_tokens([1200, 1800], [3, 4])
    (16, 512)
    """
    tokens, many = np.asarray(prompts), np.asarray(counts)
    return max(BLOCKS, key=lambda x: int(np.sum((tokens // x <= many) & (many <= -(-tokens // x)))))


def _part(line: int, found: Any, name: str, kind: type | None = dict) -> Any:
    got = ", ".join(found) if isinstance(found, dict) else str(found)
    there = isinstance(found, dict) and name in found
    require(there, f"line {line}", f"an object with {name!r}", got[:80])
    if kind is not None:
        require(isinstance(found[name], kind), f"line {line}: {name}", "an object", found[name])
    return found[name]


def _of_text(request: Any) -> Any:
    """Counts of the text of a request, where they are told apart from those of images."""
    inner = request.get("text") if isinstance(request, dict) else None
    return inner if isinstance(inner, dict) else request


def _row(line: int, time: Any, asked: Any, answered: Any, ending: str) -> Row:
    counts = []
    for role, part in (("input", asked), ("output", answered)):
        value = _part(line, part, role + ending, None)
        counts.append(whole_number(value, f"line {line}: {role}{ending}"))
    return Row(line, time, counts[0], counts[1])


def _measured_row(line: int, found: Mapping[str, Any]) -> Row:
    """A record of AIPerf."""
    metrics = _part(line, found, "metrics")
    counts = []
    for name in ("input_sequence_length", "output_sequence_length"):
        value = _part(line, metrics, name)
        counts.append(whole_number(value.get("value"), f"line {line}: {name}"))
    start = _part(line, _part(line, found, "metadata"), "request_start_ns", None)
    time = whole_number(start, f"line {line}: request_start_ns") / 1e9
    return Row(line, time, counts[0], counts[1])


def _listed(line: int, hashes: Any) -> list[Any]:
    right = isinstance(hashes, list) and all(type(one) in (int, str) for one in hashes)
    require(right, f"line {line}: hash_ids", "a list of whole numbers or names", str(hashes)[:40])
    found: list[Any] = hashes
    return found


def _blocks(row: Row, hashes: list[Any], size: int) -> None:
    """Blocks of a prompt, of which the last may be short."""
    need = -(-row.prompt // size)
    rule = f"{need} or {row.prompt // size} blocks of {size} for {row.prompt} tokens"
    fits = row.prompt // size <= len(hashes) <= need
    require(fits, f"line {row.line}: hash_ids", rule, len(hashes))
    row.ids = hashes
    row.sizes = [min(size, row.prompt - size * place) for place in range(len(hashes))]


def _agent_rows(line: int, found: Mapping[str, Any]) -> Iterator[Row]:
    """The requests of one session; those of helpers within it follow each other on their own."""
    size = whole_number(found.get("block_size", AGENT_BLOCK), f"line {line}: block_size")
    rule = f"line {line}: block_size"
    require(size > 0, rule, "positive", size)
    shared = found.get("hash_id_scope") == "global"
    session = str(found.get("id", line))
    for place, one in enumerate(_part(line, found, "requests", list)):
        where = f"line {line}: request {place + 1}"
        require(isinstance(one, dict), where, "an object", str(one)[:40])
        if "requests" in one:
            helper = {"id": f"{session}/{place}", "block_size": size, **one}
            helper.setdefault("hash_id_scope", found.get("hash_id_scope"))
            yield from _agent_rows(line, helper)
            continue
        counts = [whole_number(one.get(name), f"{where}: {name}") for name in ("in", "out")]
        row = Row(line, one.get("t"), counts[0], counts[1], session, since_start=True)
        row.pause_s = _seconds(one.get("think_time", 0.0), f"{where}: think_time")
        hashes = one.get("hash_ids", [])
        if hashes:
            _blocks(row, _listed(line, hashes)[: -(-row.prompt // size)], size)
            if not shared:
                row.ids = [(session, block) for block in row.ids]
        yield row
