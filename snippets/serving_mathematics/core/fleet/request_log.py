"""A request log of three columns becomes arrival times and token counts, or an error that names the
row.

The format is that of the public Azure LLM inference traces of 2023: a header, then one request per
line with its TIMESTAMP (date and time, up to nine fractional digits), ContextTokens and
GeneratedTokens.

Assumes: one clock, requests in order of arrival. A file that is out of order is refused, not
sorted: it is a merge of several clocks or a log of completions, and both would make the counts mean
something else.

Source: Azure Public Dataset, AzureLLMInferenceDataset2023.md for the schema.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import as_numbers, require

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

COLUMNS = (
    "TIMESTAMP",
    "ContextTokens",
    "GeneratedTokens",
)  # AzureLLMInferenceDataset2023.md, schema
_TIMESTAMP = re.compile(
    r"(19[7-9]\d|20\d\d)-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?", re.ASCII
)  # years that 64-bit nanoseconds hold
_TOKENS = re.compile(r"\d{1,9}", re.ASCII)


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


def parse_trace(text: str) -> Trace:
    """Requests of a log in the text of a CSV file with the columns of `COLUMNS`, in any order,
    others ignored.

    text: the whole file; lines may end in LF or CR LF, and the last one may have no end.
    Raises ValueError that names row (the header is row 1) and column: an empty file, a missing
    column, a row that is cut short or too long, a timestamp or a token count that is not one,
    arrivals out of order.

    >>> log = "TIMESTAMP,ContextTokens,GeneratedTokens\\r\\n2023-11-16 18:15:46.6805900,374,44"
    >>> parse_trace(log + "\\r\\n2023-11-16 18:15:50.9951690,396,109").arrival_s.tolist()
    [0.0, 4.314579]
    """
    try:
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"the log must be comma-separated values, got {error}") from error
    while rows and not rows[-1]:
        rows.pop()
    require(len(rows) > 0, "the log", "a header and at least one request", "an empty file")
    header = rows[0]
    for column in COLUMNS:
        require(header.count(column) == 1, "row 1", f"a header with one column {column}", header)
    body = rows[1:]
    require(len(body) > 0, "the log", "a header and at least one request", "a header alone")
    for number, row in enumerate(body, start=2):
        require(len(row) == len(header), f"row {number}", f"{len(header)} fields long", row)
    stamps, context, generated = ([row[header.index(name)] for row in body] for name in COLUMNS)
    times = _nanoseconds(stamps)
    late = np.flatnonzero(np.diff(times) < 0)
    if late.size:
        number = int(late[0]) + 3
        raise ValueError(
            f"row {number}, column {COLUMNS[0]} must be no earlier than the row before it, "
            f"got {stamps[number - 2]} after {stamps[number - 3]}"
        )
    return Trace(
        (times - times[0]) / 1e9, _tokens(context, COLUMNS[1]), _tokens(generated, COLUMNS[2])
    )


def _nanoseconds(stamps: list[str]) -> IntArray:
    """Nanoseconds since 1970 of all timestamps at once; the first bad one is named."""
    rule = "a timestamp like 2023-11-16 18:15:46.6805900"
    for number, stamp in enumerate(stamps, start=2):
        if not _TIMESTAMP.fullmatch(stamp):
            require(False, f"row {number}, column {COLUMNS[0]}", rule, repr(stamp))
    try:
        return np.array(stamps, dtype="datetime64[ns]").astype(np.int64)
    except ValueError:  # the right digits, but not a day or an hour: find which
        for number, stamp in enumerate(stamps, start=2):
            try:
                np.datetime64(stamp, "ns")
            except ValueError as error:
                argument = f"row {number}, column {COLUMNS[0]}"
                raise ValueError(f"{argument} must be {rule}, got {stamp!r}") from error
        raise


def _tokens(fields: list[str], column: str) -> IntArray:
    """Token counts of one column; the first that is no count is named."""
    for number, field in enumerate(fields, start=2):
        if not _TOKENS.fullmatch(field):
            rule = "a non-negative integer of at most nine digits"
            require(False, f"row {number}, column {column}", rule, repr(field))
    return np.array(fields, dtype=np.int64)


def load_trace(path: str | Path) -> Trace:
    """Requests of a log file; see `parse_trace` for the format and the errors.

    path: the file, UTF-8 with or without a byte-order mark.
    Raises OSError when it cannot be read, ValueError otherwise.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     log = Path(folder, "log.csv")
    ...     _ = log.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\\n2023-11-16 18:15:46,3,4")
    ...     load_trace(log).context_tokens.tolist()
    [3]
    """
    try:
        return parse_trace(Path(path).read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text, got {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_small_log_by_hand() -> None:
    """A log of four requests with mixed line ends, columns in another order and no last line end.

    Source: differences of the timestamps, by hand.
    """
    trace = parse_trace(
        "GeneratedTokens,TIMESTAMP,ContextTokens,Region\r\n"
        "44,2023-11-16 18:15:46.6805900,374,east\r\n"
        "0,2023-11-16 18:15:50.9951690,396,east\n"
        "5,2023-11-16 18:15:50.9951690,2,west\n"
        "7,2023-11-17 00:00:00,14050,west"
    )
    checks.close("arrival [s]", trace.arrival_s, [0, 4.314579, 4.314579, 20653.31941], atol=1e-12)
    checks.close("tokens in", trace.context_tokens, [374, 396, 2, 14050])
    checks.close("tokens out", trace.generated_tokens, [44, 0, 5, 7])
