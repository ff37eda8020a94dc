"""Public traces and logs of load tests as requests for a fleet, read in one place.

| From | What it looks like |
|---|---|
| Azure 2023, 2024; BurstGPT; ServeGen; any CSV | a header that names time, tokens in, tokens out |
| Mooncake, and AIPerf's traces | JSON lines: timestamp [ms], hash_ids of blocks of 512 tokens |
| Bailian | JSON lines: chat_id, timestamp [s], hash_ids of blocks of 16 tokens |
| RAGPulse | JSON lines: timestamp [s], hash_ids by component, of unknown lengths |
| kv-cache-tester | JSON: sessions with `requests`, hash_ids of blocks, think_time |
| condensed sessions | CSV: session, t_s, reusable_tokens, think_s |
| AIPerf's records | JSON lines: metadata.request_start_ns, metrics |
| inference-perf's records | JSON: a list with start_time and info |

Requests of one session follow each other with the pause that a tool or a person took; the others
arrive when they did. Times begin at 0; numbers of a CSV are seconds unless their name ends with
ms, us or ns, or they are too large for it, as those since 1970 are. What a row must be and is not
is refused by line.

Assumes: equal hash_ids are equal beginnings; an answer is not in the next prompt unless a trace
says so; of a session whose prompt was shortened, what it repeats is where it stood before.

Source: Patel et al. (2024) for Azure's; Wang et al. (2025), BurstGPT; Xiang et al. (2025),
ServeGen; Qin et al. (2025), Mooncake; Wang, Han et al. (2025), Bailian; Wang et al. (2025),
RAGPulse; documents of kv-cache-tester,
AIPerf and inference-perf for theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.moments import moments_s
from serving_mathematics.core.fleet.prefixes import Prefixes
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import prefixes_of_ids, prefixes_of_reuse
from serving_mathematics.core.fleet.trace_rows import Row, rows_of_csv, rows_of_json
from serving_mathematics.support.files import read_text
from serving_mathematics.support.require import as_numbers, require, require_all_non_negative

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
OWN_NAMES = (  # of the forms above, in the whole of JSON or in the header of a CSV
    *('"hash_ids"', '"input_length"', '"input_sequence_length"', '"requests"', '"info"'),
    "reusable_tokens",
)


@dataclass(frozen=True, eq=False)
class Trace:
    """Requests in order of arrival: seconds since the first one, and tokens in and out; arrays of
    one length.
    """

    arrival_s: FloatArray
    context_tokens: IntArray
    generated_tokens: IntArray

    def __post_init__(self) -> None:
        """Lists become arrays."""
        for name, values in vars(self).items():
            object.__setattr__(self, name, np.asarray(as_numbers(**{name: values})))


def load_trace(path: str | Path) -> Trace:
    """Arrivals and tokens of a trace's file; see `read_trace` for its forms.

    path: the file, UTF-8. Raises OSError when it cannot be read, ValueError that names file, line
    and rule.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     log = Path(folder, "log.csv")
    ...     _ = log.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\\n2023-11-16 18:15:46,3,4")
    ...     load_trace(log).context_tokens.tolist()
    [3]
    """
    text = read_text(str(path))
    try:
        asked = read_trace(text)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from problem
    return Trace(asked.arrival_s, asked.prompt_tokens, asked.output_tokens)


def has_known_form(text: str) -> bool:
    """Whether a trace is in one of these forms, but for the CSV of any three columns.

    text: the whole file.

    >>> has_known_form("session,t_s,prompt_tokens,output_tokens,reusable_tokens,think_s")
    True
    >>> has_known_form("timestamp_ms,input_tokens,output_tokens")
    False
    """
    start = text.removeprefix("\ufeff").lstrip()
    told = start if start[:1] in ("{", "[") else start.partition("\n")[0]
    return any(name in told for name in OWN_NAMES)


def read_trace(text: str, *, sort: bool = False, session_starts_s: npt.ArrayLike = 0.0) -> Requests:
    """A trace in any of these forms as requests. Rows without an answer, as failed requests have,
    count one token, since the prompt was worked on.

    text: the whole file. sort: put rows that are out of order in order, instead of refusing them;
    RAGPulse's always are. session_starts_s: of sessions whose times are since their start, sorted,
    shape (sessions,). Raises ValueError that names line and rule.

    >>> rows = ["TIMESTAMP,ContextTokens,GeneratedTokens", "5.0,10,3", "6.5,20,1"]
    >>> asked = read_trace("\\n".join(rows))
    >>> asked.arrival_s.tolist(), asked.output_tokens.tolist()
    ([0.0, 1.5], [3, 1])
    """
    require_all_non_negative(session_starts_s=session_starts_s)
    text = text.removeprefix("\ufeff")
    begin = text.lstrip()[:1]
    if begin in "{[" and begin:
        rows, per_s = rows_of_json(text)
    else:
        rows, per_s = rows_of_csv(text)
    require(len(rows) > 0, "the trace", "of at least one request", "none")
    for row in rows:
        row.output = max(row.output, 1)
        require(row.prompt >= 1, f"line {row.line}: the prompt", "of at least 1 token", row.prompt)
    return _requests(rows, per_s, sort, np.asarray(session_starts_s, dtype=float))


def _requests(rows: list[Row], per_s: float, sort: bool, starts_s: FloatArray) -> Requests:
    """Rows as columns: those of a session follow each other, the others come by the clock."""
    times = moments_s([row.time for row in rows], [row.line for row in rows], per_s)
    if sort or rows[0].unordered:
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


def _sorted(rows: list[Row], times: FloatArray) -> tuple[list[Row], FloatArray]:
    """Rows by time; those whose times are since the start of a session stay with it."""
    sessions: dict[str, int] = {}
    group = [sessions.setdefault(row.session, len(sessions)) for row in rows]
    order = (
        np.lexsort((times, np.array(group)))
        if rows[0].since_start
        else np.argsort(times, kind="stable")
    )
    return [rows[i] for i in order.tolist()], times[order]


def _late(row: Row, before: Row) -> None:
    rule = f"no earlier than line {before.line}; sort the file"
    require(False, f"line {row.line}: the time", rule, row.time)


def _prefixes(rows: list[Row], after: list[int]) -> Prefixes | None:
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
