"""Public traces and logs of load tests as requests for a fleet, read in one place.

| From | What it looks like |
|---|---|
| Azure 2023, 2024; BurstGPT; ServeGen; any CSV | a header that names time, tokens in, tokens out |
| Mooncake, and AIPerf's traces | JSON lines: timestamp [ms], hash_ids of blocks of 512 tokens |
| RAGPulse | JSON lines: timestamp [s], hash_ids by component |
| kv-cache-tester | JSON: sessions with `requests`, hash_ids of blocks, think_time |
| condensed sessions | CSV: session, t_s, reusable_tokens, think_s |
| AIPerf's records | JSON lines: metadata.request_start_ns, metrics |
| inference-perf's records | JSON: a list with start_time and info |

Requests of one session follow each other with the pause that a tool or a person took; the others
arrive when they did. Times begin at 0. What a row must be and is not is refused by line.

Assumes: equal hash_ids are equal beginnings; an answer is not in the next prompt unless a trace
says so; of a session whose prompt was shortened, what it repeats is where it stood before.

Source: Patel et al. (2024) for Azure's; Wang et al. (2025), BurstGPT; Xiang et al. (2025),
ServeGen; Qin et al. (2025), Mooncake; Wang et al. (2025), RAGPulse; documents of kv-cache-tester,
AIPerf and inference-perf for theirs.
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

from serving_mathematics.core.fleet.moments import moments_s, whole_number
from serving_mathematics.core.fleet.prefixes import Prefixes, prefixes_of_ids, prefixes_of_reuse
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.require import require

FloatArray = npt.NDArray[np.float64]
MOONCAKE_BLOCK, AGENT_BLOCK = 512, 64  # tokens that one hash stands for
RAG_PARTS = ("sys_prompt", "passages_ids", "history", "web_search", "user_input")  # as joined
EMPTY = ("refuse", "drop", "one token")
KNOWN = {  # names of columns in compared form: letters and digits, in lower case
    "time": ("timestamp", "time", "ts", "t", "arrivaltime", "starttime", "arrived", "createdat"),
    "prompt": ("contexttokens", "inputtokens", "inputlength", "prompttokens", "requesttokens"),
    "output": ("generatedtokens", "outputtokens", "outputlength", "responsetokens"),
}


@dataclass
class _Row:
    """One request as read. line: of the file. reused: tokens that earlier ones of its session had,
    or −1 where that is not told."""

    line: int
    time: Any
    prompt: int
    output: int
    session: str = ""
    pause_s: float = 0.0
    since_start: bool = False  # whether the time is since its session began
    reused: int = -1
    ids: list[Hashable] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


def read_trace(
    text: str,
    *,
    sort: bool = False,
    empty: str = "refuse",
    component_tokens: Mapping[int, int] | None = None,
    session_starts_s: npt.ArrayLike = 0.0,
) -> Requests:
    """A trace in any of these forms as requests.

    text: the whole file. sort: put rows that are out of order in order, instead of refusing them.
    empty: what becomes of rows without an answer, as failed requests have: "refuse", "drop", or
    "one token", where the prompt was worked on. component_tokens: tokens
    of each hash of RAGPulse's components, without which its prompts share nothing.
    session_starts_s: of sessions whose times are since their start, sorted, shape (sessions,).
    Raises ValueError that names line and rule.

    >>> rows = ["TIMESTAMP,ContextTokens,GeneratedTokens", "5.0,10,3", "6.5,20,1"]
    >>> asked = read_trace("\\n".join(rows))
    >>> asked.arrival_s.tolist(), asked.output_tokens.tolist()
    ([0.0, 1.5], [3, 1])
    """
    text = text.removeprefix("\ufeff")
    begin = text.lstrip()[:1]
    if begin in "{[" and begin:
        rows, milliseconds = _from_json(text, component_tokens)
    else:
        rows, milliseconds = _from_csv(text), False
    require(len(rows) > 0, "the trace", "of at least one request", "none")
    require(empty in EMPTY, "empty", f"one of {', '.join(EMPTY)}", empty)
    if empty == "drop":
        rows = [row for row in rows if row.output > 0]
        require(len(rows) > 0, "the trace", "of at least one request with an answer", "none")
    for row in rows:
        if empty == "one token":
            row.output = max(row.output, 1)
        for name, tokens in (("prompt", row.prompt), ("answer", row.output)):
            rule = "of at least 1 token"
            rule += "; drop such rows, or count one token" if name == "answer" else ""
            require(tokens >= 1, f"line {row.line}: the {name}", rule, tokens)
    return _requests(rows, milliseconds, sort, np.asarray(session_starts_s, dtype=float))


def _requests(rows: list[_Row], milliseconds: bool, sort: bool, starts_s: FloatArray) -> Requests:
    """Rows as columns: those of a session follow each other, the others come by the clock."""
    times = moments_s([row.time for row in rows], [row.line for row in rows], milliseconds)
    if sort:
        rows, times = _sorted(rows, times)
    last: dict[str, int] = {}
    after = []
    for place, row in enumerate(rows):
        before = last.get(row.session, -1) if row.session else -1
        if before >= 0 and times[place] < times[before]:
            _late(row, rows[before])
        after.append(before)
        last[row.session] = place
    begins = [place for place, before in enumerate(after) if before < 0]
    arrivals = np.zeros(len(rows))
    if rows[0].since_start:
        rule = f"of shape ({len(begins)},), one start for each session"
        require(starts_s.shape in ((), (len(begins),)), "session_starts_s", rule, starts_s.shape)
        arrivals[begins] = starts_s
    else:
        for place, before in zip(begins[1:], begins, strict=False):
            if times[place] < times[before]:
                _late(rows[place], rows[before])
        arrivals[begins] = times[begins] - times[begins].min()
    pauses = [row.pause_s if before >= 0 else 0.0 for row, before in zip(rows, after, strict=True)]
    return Requests(
        arrivals,
        [row.prompt for row in rows],
        [row.output for row in rows],
        after=after,
        pause_s=pauses,
        prefixes=_prefixes(rows, after),
    )


def _sorted(rows: list[_Row], times: FloatArray) -> tuple[list[_Row], FloatArray]:
    """Rows by time; those whose times are since the start of a session stay with it."""
    sessions: dict[str, int] = {}
    group = [sessions.setdefault(row.session, len(sessions)) for row in rows]
    order = (
        np.lexsort((times, np.array(group)))
        if rows[0].since_start
        else np.argsort(times, kind="stable")
    )
    return [rows[i] for i in order.tolist()], times[order]


def _late(row: _Row, before: _Row) -> None:
    rule = f"no earlier than line {before.line}; sort the file, or ask to sort"
    require(False, f"line {row.line}: the time", rule, row.time)


def _prefixes(rows: list[_Row], after: list[int]) -> Prefixes | None:
    """What prompts share, by hashes or by what sessions repeat."""
    if any(row.ids for row in rows):
        ids, sizes = [row.ids for row in rows], [row.sizes for row in rows]
        return prefixes_of_ids(ids, sizes, "line", [row.line for row in rows])
    if not any(row.reused >= 0 for row in rows):
        return None
    earlier = []
    for place, row in enumerate(rows):
        before = after[place]
        while before >= 0 and rows[before].prompt < row.reused:
            before = after[before]
        if row.reused > 0 and before < 0:
            rule = "at most what a prompt of its session had before"
            require(False, f"line {row.line}: reusable_tokens", rule, row.reused)
        earlier.append(before if row.reused > 0 else -1)
    return prefixes_of_reuse(
        earlier, [max(row.reused, 0) for row in rows], [row.prompt for row in rows]
    )


def _from_csv(text: str) -> list[_Row]:
    """Rows of comma-separated values under a header."""
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"the trace must be comma-separated values, got {error}") from error
    require(len(table) > 1, "the trace", "a header and at least one request", f"{len(table)} lines")
    header = [name.strip() for name in table[0]]
    forms = ["".join(c for c in name.lower() if c.isalnum()) for name in header]
    if {"session", "ts", "reusabletokens"} <= set(forms):
        roles = {"time": "ts", "prompt": "prompttokens", "output": "outputtokens"}
        roles |= {"session": "session", "reused": "reusabletokens", "pause": "thinks"}
    else:
        roles = {role: next((n for n in names if n in forms), "") for role, names in KNOWN.items()}
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
    return rows


def _csv_row(line: int, cell: Mapping[str, str]) -> _Row:
    prompt, output = (
        whole_number(cell[role], f"line {line}: {role} tokens") for role in ("prompt", "output")
    )
    row = _Row(line, cell["time"], prompt, output)
    if "session" in cell:
        row.session, row.since_start = cell["session"], True
        row.reused = whole_number(cell["reused"], f"line {line}: reusable_tokens")
        row.pause_s = _seconds(cell["pause"] or 0.0, f"line {line}: think_s")
    return row


def _seconds(value: Any, what: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    require(0 <= seconds < np.inf, what, "a number of seconds, not negative", str(value)[:40])
    return seconds


def _objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line and object: of JSON lines, of one document, of a list of objects."""
    try:
        whole = json.loads(text)
    except ValueError:
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


def _from_json(text: str, component_tokens: Mapping[int, int] | None) -> tuple[list[_Row], bool]:
    """Rows of JSON, and whether their times are milliseconds."""
    rows: list[_Row] = []
    milliseconds = False
    for line, found in _objects(text):
        if "requests" in found:
            rows.extend(_agent_rows(line, found))
        elif "metadata" in found and "metrics" in found:
            rows.append(_measured_row(line, found))
        elif "info" in found and "start_time" in found:
            info = _part(line, found, "info")
            request, response = (info.get(f"{x}_metrics", info) for x in ("request", "response"))
            rows.append(_row(line, found["start_time"], _text(request), response, "_tokens"))
        else:
            row = _row(line, _part(line, found, "timestamp", None), found, found, "_length")
            hashes = found.get("hash_ids")
            if isinstance(hashes, dict):
                _components(row, hashes, component_tokens)
            else:
                milliseconds = True
                if hashes:
                    _blocks(row, hashes, MOONCAKE_BLOCK)
                if "delay" in found or "session_id" in found:
                    row.session = str(found.get("session_id", ""))
                    row.pause_s = _seconds(found.get("delay", 0), f"line {line}: delay") / 1000
            rows.append(row)
    return rows, milliseconds


def _part(line: int, found: Mapping[str, Any], name: str, kind: type | None = dict) -> Any:
    require(name in found, f"line {line}", f"an object with {name!r}", ", ".join(found)[:80])
    if kind is not None:
        require(isinstance(found[name], kind), f"line {line}: {name}", "an object", found[name])
    return found[name]


def _text(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Counts of the text of a request, where they are told apart from those of images."""
    inner = request.get("text", request)
    return inner if isinstance(inner, dict) else request


def _row(line: int, time: Any, asked: Any, answered: Any, ending: str) -> _Row:
    counts = []
    for role, part in (("input", asked), ("output", answered)):
        value = _part(line, part, role + ending, None)
        counts.append(whole_number(value, f"line {line}: {role}{ending}"))
    return _Row(line, time, counts[0], counts[1])


def _measured_row(line: int, found: Mapping[str, Any]) -> _Row:
    """A record of AIPerf."""
    metrics = _part(line, found, "metrics")
    counts = []
    for name in ("input_sequence_length", "output_sequence_length"):
        value = _part(line, metrics, name)
        counts.append(whole_number(value.get("value"), f"line {line}: {name}"))
    start = _part(line, _part(line, found, "metadata"), "request_start_ns", None)
    time = whole_number(start, f"line {line}: request_start_ns") / 1e9
    return _Row(line, time, counts[0], counts[1])


def _blocks(row: _Row, hashes: Any, size: int) -> None:
    """Blocks of a prompt, of which the last may be short."""
    right = isinstance(hashes, list) and all(type(one) is int for one in hashes)
    require(right, f"line {row.line}: hash_ids", "a list of whole numbers", str(hashes)[:40])
    need = -(-row.prompt // size)
    rule = f"{need} or {row.prompt // size} blocks of {size} for {row.prompt} tokens"
    fits = row.prompt // size <= len(hashes) <= need
    require(fits, f"line {row.line}: hash_ids", rule, len(hashes))
    row.ids = hashes
    row.sizes = [min(size, row.prompt - size * place) for place in range(len(hashes))]


def _components(row: _Row, hashes: Mapping[str, Any], sizes: Mapping[int, int] | None) -> None:
    """Components of a prompt in the order in which they are joined: each is known by itself, so
    that a beginning is known by all of its components."""
    if sizes is None:
        return
    left = row.prompt
    beginning: tuple[Any, ...] = ()
    for one in (one for part in RAG_PARTS for one in hashes.get(part, [])):
        require(one in sizes, f"line {row.line}: hash {one}", "among component_tokens", "none")
        own = min(sizes[one], left)
        if own <= 0:
            break
        beginning = (beginning, one, own)
        row.ids.append(beginning)
        row.sizes.append(own)
        left -= own


def _agent_rows(line: int, found: Mapping[str, Any]) -> Iterator[_Row]:
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
        row = _Row(line, one.get("t"), counts[0], counts[1], session, since_start=True)
        row.pause_s = _seconds(one.get("think_time", 0.0), f"{where}: think_time")
        hashes = one.get("hash_ids", [])
        if hashes:
            _blocks(row, hashes[: -(-row.prompt // size)], size)
            if not shared:
                row.ids = [(session, block) for block in row.ids]
        yield row
