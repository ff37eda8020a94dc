"""A log's text as columns of cells: a table, JSON lines or a list, a row a request.

Source: RFC 4180; JSON Lines; SGLang, `request_logger.py`, for a request in two rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.planner.questions.trace_formats import HASH_IDS
from serving_mathematics.report.log_columns import DURATIONS, KNOWN_FORMS, WORDS, _known_as
from serving_mathematics.report.log_values import _places_of
from serving_mathematics.support.files import MOST_ROWS, read_table, require_shallow
from serving_mathematics.support.require import require

ONE_WORD = (compared(HASH_IDS), *WORDS["error"], *WORDS["finish"])  # objects that are one word
EVENTS = ("event", "eventtype", "phase", "action", "type", "kind", "message", "msg")
MOST_NAMES = 1000


def _is_json(text: str) -> bool:
    """Whether a text begins as an object or a list, and not with a date or a word in brackets.

    >>> [_is_json(text) for text in ('{"a": 1}', " [1, 2]", "[2026-01-05T10:00:00] POST", "a,b")]
    [True, True, False, False]
    """
    return bool(re.match(r"\s*(\{|\[(?!\d{4}-|[A-Z]))", text))


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
