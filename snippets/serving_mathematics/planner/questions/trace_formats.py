"""Requests of a trace, in whatever form people have them.

CSV with a header, or JSON lines: a time, tokens in and tokens out, under names that are known or
that a mapping gives. Times are ISO 8601 with or without a zone, or numbers in a unit that their
column, their size or their steps say (`trace_times`). Blocks of a prompt that an earlier request
had already (`hash_ids` of as many tokens as lengths say: Mooncake's 512, Bailian's 16) are cached.

Assumes: one clock; requests in order of arrival; a cache that keeps every block, and a router that
finds it, so that a trace with prefixes is planned for the most that they can save.

Source: Azure Public Dataset, AzureLLMInferenceDataset2023.md; Qin et al. (2025), Mooncake, for its
trace's fields; ISO 8601-1:2019.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.fleet.trace_rows import KNOWN, _block_tokens
from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.planner.questions.trace_times import (
    ISO,
    PER_S,
    UNIT_WORDS,
    _read_times,
    _unit_of_name,
)
from serving_mathematics.support import checks
from serving_mathematics.support.files import MOST_BYTES, MOST_ROWS, read_json, read_table
from serving_mathematics.support.require import require

HASH_IDS = "hash_ids"  # blocks of a prompt
PLAIN = {  # words that say a role where a column has no name that is known
    "time": ("when", "started", "began", "begin"),
    "prompt": ("prompt", "input", "context", "prefill", "in", "request", "query"),
    "output": ("output", "completion", "answer", "decode", "generated", "gen", "out", "response"),
}
MANY = ("num", "number", "n", "of", "count", "token", "tokens", "tok", "toks", "length", "len")
NOT_ALONE = ("in", "out", "request", "query", "response", "gen")  # may be bytes, texts or states
UNIT = "unit"  # of the times, in a mapping
LEAST = 100  # requests of a trace; fewer say nothing about a p99
NO_ANSWER = ("", "0", "None", "null", "nan")  # cells of requests that failed
MOST_FAILED = 0.1  # share of a log without an answer: of more, the column is of something else


@dataclass(frozen=True, eq=False, init=False)
class ReadRequests(Workload):
    """Requests of a trace, and in words how they were read.

    >>> ReadRequests(Workload([0.0, 1.5], [100, 20], [3, 1]), "2 requests in 1.5 s").told
    '2 requests in 1.5 s'
    """

    told: str

    def __init__(self, asked: Workload, told: str) -> None:
        """The same requests. Raises ValueError as Workload does."""
        super().__init__(
            asked.arrival_s, asked.prompt_tokens, asked.output_tokens, asked.cached_tokens
        )
        object.__setattr__(self, "told", told)


def read_requests(text: str, columns: str = "") -> ReadRequests:
    """A trace as a workload, at least 100 requests in order of arrival.

    text: the whole file, CSV or JSON lines. columns: a mapping such as
    "time=when,prompt=in,output=out", with "unit=ms" where times do not tell theirs, or "" where the
    names are known. Raises ValueError that names row (the header of a CSV is row 1) and column.

    >>> rows = [f"2026-01-05T10:{i // 60:02}:{i % 60:02}Z,{100 + i},5" for i in range(120)]
    >>> asked = read_requests("\\n".join(["timestamp,prompt_tokens,output_tokens", *rows]))
    >>> float(asked.arrival_s[-1]), int(asked.prompt_tokens[3])
    (119.0, 103)
    """
    mapping = _mapping(columns)
    text = text.removeprefix("\ufeff")
    require(not text.startswith("\x1f"), "the trace", "text, unpacked", "a gzip file")
    require(len(text) <= MOST_BYTES, "the trace", "of fewer characters", f"{len(text):,}")
    listed = text.lstrip()[:1] == "["
    require(not listed, "the trace", "CSV or JSON lines", "a JSON list; write one object a line")
    if text.lstrip()[:1] == "{":
        return _json_lines(text, mapping)
    return _comma_separated(text, mapping)


def _mapping(columns: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in columns.split(","))):
        role, equals, name = part.partition("=")
        fine = bool(equals) and role in (*KNOWN, UNIT) and bool(name) and role not in found
        rule = "such as time=t,prompt=in,output=out, and cached=hits where there are"
        require(fine, "trace_columns", rule, repr(part[:60]))
        if role == UNIT:
            rule = f"one of {', '.join([*PER_S, ISO])}"
            units = UNIT_WORDS | {ISO: ISO}
            require(name.lower() in units, "trace_columns unit", rule, repr(name[:60]))
            name = units[name.lower()]
        found[role] = name
    return found


def _chosen(names: Sequence[str], mapping: Mapping[str, str], where: str) -> dict[str, str]:
    """The column of each role."""
    forms = {compared(name): name for name in reversed(names)}
    said = set(mapping.values())
    for one in names:
        other = forms[compared(one)]
        alike = other != one and not said & {one, other}
        if alike and any(compared(one) in known for known in KNOWN.values()):
            rule = "one column of a name, whatever its case and spaces"
            require(False, where, rule, f"{other[:60]!r} and {one[:60]!r}")
    units = {compared(_unit_of_name(name)[0]): name for name in reversed(names)}
    chosen = {}
    for role, known in KNOWN.items():
        if role in mapping:
            there = mapping[role] in names
            rule = f"one of {', '.join(names)[:200]}"
            require(there, f"trace_columns {role}", rule, mapping[role][:60])
            chosen[role] = mapping[role]
            continue
        there_are = units | forms if role == "time" else forms
        name = next((there_are[form] for form in known if form in there_are), None)
        if name is None and role != "cached":
            name, may = _in_plain_words(names, role)
        if name is None and role != "cached":
            shown, would = ", ".join(names)[:200], f" or {role}=".join(may or ["NAME"])[:200]
            raise ValueError(
                f"{where} must name a column for {role}, such as {known[0]}, got {shown}; or say "
                f"which: trace_columns {role}={would}"
            )
        if name is not None:
            chosen[role] = name
    roles = {name: role for role, name in chosen.items()}
    if len(roles) < len(chosen):
        twice = next(name for name in roles if list(chosen.values()).count(name) > 1)
        require(False, "trace_columns", "of different columns", f"{twice[:60]!r} twice")
    return chosen


def _in_plain_words(names: Sequence[str], role: str) -> tuple[str | None, list[str]]:
    """The one column that says a role in plain words, or None, and all that may.

    >>> _in_plain_words(["when", "prompt", "prompt_id", "out"], "prompt")
    ('prompt', ['prompt', 'prompt_id'])
    >>> _in_plain_words(["when", "prompt", "prompt_id", "out"], "output")
    (None, ['out'])
    """
    may, counts, alone = [], [], []
    for name in names:
        words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
        said = [word for word in words if word not in MANY]
        may += [name] * bool(set(said) & set(PLAIN.get(role, ())))
        if len(said) == 1 and name in may[-1:]:
            counts += [name] * (len(words) > 1)
            alone += [name] * (len(words) == 1 and said[0] not in NOT_ALONE)
    sure = counts or alone
    return sure[0] if len(sure) == 1 else None, may


def _comma_separated(text: str, mapping: Mapping[str, str]) -> ReadRequests:
    rows = read_table(text, "the log")
    require(len(rows) > 1, "the log", "a header and at least one request", "fewer rows")
    header = [name.strip() for name in rows[0]]
    chosen = _chosen(header, mapping, "row 1")
    for number, row in enumerate(rows[1:], start=2):
        require(len(row) == len(header), f"row {number}", f"{len(header)} fields long", len(row))
    cells = {
        role: [row[header.index(name)].strip() for row in rows[1:]] for role, name in chosen.items()
    }
    return _workload(cells, chosen, [], 2, mapping.get(UNIT, ""))


def _json_lines(text: str, mapping: Mapping[str, str]) -> ReadRequests:
    count = text.count("\n")
    require(count <= MOST_ROWS, "the trace", f"of at most {MOST_ROWS:,} rows", f"{count:,}")
    rows, numbers = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = read_json(line)
            except ValueError as error:
                raise ValueError(f"row {number} must be one JSON object, got {error}") from error
            require(isinstance(row, dict), f"row {number}", "one JSON object", type(row).__name__)
            rows.append(row)
            numbers.append(number)
    chosen = _chosen(list(rows[0]), mapping, "row 1")
    cells: dict[str, list[object]] = {}
    for role, name in chosen.items():
        for number, row in zip(numbers, rows, strict=True):
            require(name in row, f"row {number}", f"an object with {name!r}", "none")
        cells[role] = [row[name] for row in rows]
    return _workload(cells, chosen, [row.get(HASH_IDS) for row in rows], 1, mapping.get(UNIT, ""))


def _workload(
    cells: Mapping[str, Sequence[object]],
    chosen: Mapping[str, str],
    blocks: Sequence[object],
    first: int,
    unit: str,
) -> ReadRequests:
    """Times and tokens of all rows, refused by row and column. first: number of the first row.
    unit: that was said."""
    column = chosen["time"]
    apart = bool(blocks) and all(isinstance(ids, dict) for ids in blocks)  # as RAGPulse has them
    usual = "s" if apart else "ms" if any(blocks) else ""
    if apart:  # and not in order
        order = _order_of_times(cells["time"])
        cells = {role: [column[place] for place in order] for role, column in cells.items()}
    times, read = _read_times(cells["time"], column, first, unit, usual)
    late = np.flatnonzero(np.diff(times) < 0)
    if late.size:
        place = int(late[0]) + 1
        raise ValueError(
            f"row {place + first}, column {column} must be no earlier than the row before "
            f"it, got {str(cells['time'][place])[:40]}; sort the file by time, or ask for replicas "
            "where each session has a clock of its own"
        )
    answers = cells["output"]
    failed = [str(cell).strip() in NO_ANSWER for cell in answers]
    if sum(failed) <= MOST_FAILED * len(failed):  # prompts of these were worked on
        answers = [1 if none else cell for none, cell in zip(failed, answers, strict=True)]
    prompts = _counts(cells["prompt"], chosen["prompt"], first, 1)
    outputs = _counts(answers, chosen["output"], first, 1)
    require(times.size >= LEAST, "the trace", f"at least {LEAST} requests long", times.size)
    require(times[-1] > 0, "the trace", "longer than an instant", "0 s")
    cached, parts = np.zeros(prompts.size, dtype=np.int64), [f"time from {column}: {read}"]
    parts.append(f"tokens from {chosen['prompt']} and {chosen['output']}")
    if any(failed):
        parts.append(f"{sum(failed):,} without an answer count one token")
    if "cached" in cells:
        cached = _counts(cells["cached"], chosen["cached"], first, 0)
        more = np.flatnonzero(cached > prompts)
        if more.size:
            place = int(more[0])
            where = f"row {place + first}, column {chosen['cached']}"
            rule = f"at most the {prompts[place]} tokens of its prompt"
            require(False, where, rule, int(cached[place]))
    elif apart:
        parts.append(f"{HASH_IDS} of parts of a prompt are not read")
    elif any(ids is not None for ids in blocks):
        cached, size = _seen(blocks, prompts, first)
        parts.append(f"repeated {HASH_IDS} of {size} tokens are cached")
    moments = np.unique(times).size
    if 2 * moments < times.size:
        parts.append(f"at no more than {moments:,} different times")
    told = f"{times.size:,} requests in {_lasting(float(times[-1]))}; {'; '.join(parts)}"
    cached = np.minimum(cached, prompts - 1)
    return ReadRequests(Workload(times, prompts, outputs, cached), told)


def _order_of_times(times: Sequence[object]) -> list[int]:
    """Places of numbers in their order; as they stand where some are none."""
    try:
        found: list[int] = np.argsort([float(str(x)) for x in times], kind="stable").tolist()
        return found
    except ValueError:
        return list(range(len(times)))


def _lasting(seconds: float) -> str:
    """A duration in a unit that suits it."""
    for size, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 3 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


def _seen(
    blocks: Sequence[object], prompts: npt.NDArray[np.int64] | npt.NDArray[np.float64], first: int
) -> tuple[npt.NDArray[np.int64], int]:
    """Tokens at the beginning of each prompt in blocks that earlier requests had, and tokens of a
    block. first: number of the first row."""
    rows: list[list[object]] = []
    for place, ids in enumerate(blocks):
        listed = isinstance(ids, list) and all(type(one) in (int, str) for one in ids)
        rule = "a list of whole numbers or names"
        fine = ids is None or listed
        require(fine, f"row {place + first}, {HASH_IDS}", rule, repr(ids)[:40])
        rows.append(ids if isinstance(ids, list) else [])
    counts = np.array([len(ids) for ids in rows])
    size = _block_tokens(prompts[counts > 0], counts[counts > 0])
    known: set[object] = set()
    found = np.zeros(len(blocks), dtype=np.int64)
    for place, ids in enumerate(rows):
        for block in ids:
            if block not in known:
                break
            found[place] += size
        known.update(ids)
    return found, size


def _counts(cells: Sequence[object], column: str, first: int, least: int) -> npt.NDArray[np.int64]:
    found = np.zeros(len(cells), dtype=np.int64)
    for place, cell in enumerate(cells):
        text = str(cell)
        fine = re.fullmatch(r"\d{1,9}(\.0+)?", text, re.ASCII) and float(text) >= least
        if not fine:
            rule = f"a whole number, at least {least}"
            hint = " (leave out rows without one: failed requests, empty cells)"
            rule += hint if least and text.strip() in NO_ANSWER else ""
            require(False, f"row {place + first}, column {column}", rule, repr(text[:40]))
        found[place] = int(float(text))
    return found


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
