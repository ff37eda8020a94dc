"""A request log of three columns becomes arrival times and token counts, or an error that names the
row.

The format is that of the public Azure LLM inference traces of 2023: a header, then one request per
line with its TIMESTAMP (date and time, up to nine fractional digits), ContextTokens and
GeneratedTokens. The statistics that decide whether the traffic is Poisson are computed from it and
printed by one command:

python -m serving_mathematics.capacity.arrival_rates.arrival_trace AzureLLMInferenceTrace_conv.csv

Assumes: one clock, requests in order of arrival. A file that is out of order is refused, not
sorted: it is a merge of several clocks or a log of completions, and both would make the counts mean
something else.

Source: Azure Public Dataset, AzureLLMInferenceDataset2023.md for the schema and the licence
(CC-BY); Patel et al. (2024).
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.arrival_rates.arrival_rates import (
    chi_square_tail,
    dispersion_index,
    dispersion_p_value,
    window_counts,
)
from serving_mathematics.capacity.arrival_rates.arrival_rates import gap_cv as cv_of_gaps
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_all_non_negative,
    require_positive,
    require_shape,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

COLUMNS = (
    "TIMESTAMP",
    "ContextTokens",
    "GeneratedTokens",
)  # AzureLLMInferenceDataset2023.md, schema
WINDOWS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300)  # windows in which the dispersion is reported [s]
QUANTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)  # of the token counts [%]
UTILIZATIONS = (0.5, 0.6, 0.7, 0.8, 0.9)  # at which one server with constant service times is tried
MINUTE_S = 60.0  # row length of the test that lets the rate change from minute to minute [s]
RECORD = Path(__file__).resolve().parents[2] / "records" / "azure_conv_2023.json"
_TIMESTAMP = re.compile(
    r"(19[7-9]\d|20\d\d)-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?", re.ASCII
)  # years that 64-bit nanoseconds hold
_TOKENS = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True)
class Trace:
    """Requests in order of arrival: seconds since the first one, and tokens in and out; arrays of
    one length.
    """

    arrival_s: FloatArray
    context_tokens: IntArray
    generated_tokens: IntArray


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


@dataclass(frozen=True)
class TraceStatistics:
    """What the chapter needs to know of a trace; every list has one entry per window or per
    quantile.
    """

    requests: int
    span_s: float
    rate_per_s: float
    gap_cv: float
    longest_gap_s: float
    windows_s: list[int]
    dispersion: list[float]
    dispersion_within_minutes: float
    requests_per_minute: list[int]
    utilizations: list[float]
    mean_waits_s: list[float]
    token_quantiles_percent: list[int]
    context_tokens: list[float]
    generated_tokens: list[float]
    context_dispersion: list[float]
    generated_dispersion: list[float]
    context_per_minute: list[int]
    generated_per_minute: list[int]
    context_scv: float
    generated_scv: float
    context_waits_s: list[float]
    generated_waits_s: list[float]


def trace_statistics(trace: Trace) -> TraceStatistics:
    """Rate, gap CV, dispersion by window, waits and token quantiles of a trace of two minutes or
    more.

    The rate is (n − 1)/span, the inverse of the mean gap. Windows start at the first arrival, an
    incomplete last window is left out, variances divide by n − 1; windows of which fewer than ten
    fit are left out. Within minutes, windows of 1 s are compared with the mean of their own minute.
    The dispersion of tokens is that of `token_dispersion`. The waits are those of the arrivals at
    one first-come-first-served server whose constant service time is ρ mean gaps; those of tokens
    at one whose service time is in proportion to the request's tokens, with the same mean. Raises
    ValueError on a shorter trace or a minute without arrivals.

    >>> tokens = np.ones(181, dtype=np.int64)
    >>> told = trace_statistics(Trace(np.arange(181.0), tokens, tokens))
    >>> told.rate_per_s, told.requests_per_minute
    (1.0, [60, 60, 60])
    """
    times = trace.arrival_s
    require(times.size >= 3, "trace", "at least three requests long", times.size)
    span = float(times[-1] - times[0])
    require(span >= 2 * MINUTE_S, "trace", "at least two minutes long", f"{span:g} s")
    gaps = np.diff(times)
    gap = span / gaps.size
    windows = [w for w in WINDOWS_S if span / w >= 10]
    minutes = int(span / MINUTE_S)
    by_second = _counts(times, 1.0)[: minutes * 60].reshape(minutes, 60)
    require(
        np.all(by_second.sum(axis=1) > 0), "trace", "without a minute of silence", by_second.sum(1)
    )
    return TraceStatistics(
        requests=times.size,
        span_s=span,
        rate_per_s=1 / gap,
        gap_cv=float(gaps.std(ddof=1) / gap),
        longest_gap_s=float(gaps.max()),
        windows_s=windows,
        dispersion=[float(_dispersion(_counts(times, w))) for w in windows],
        dispersion_within_minutes=float(_dispersion(by_second).mean()),
        requests_per_minute=_counts(times, MINUTE_S).tolist(),
        utilizations=list(UTILIZATIONS),
        mean_waits_s=_waits(times, np.ones(times.size)),
        token_quantiles_percent=list(QUANTILES),
        context_tokens=np.percentile(trace.context_tokens, QUANTILES).tolist(),
        generated_tokens=np.percentile(trace.generated_tokens, QUANTILES).tolist(),
        context_dispersion=[token_dispersion(times, trace.context_tokens, w) for w in windows],
        generated_dispersion=[token_dispersion(times, trace.generated_tokens, w) for w in windows],
        context_per_minute=_sums(times, trace.context_tokens).astype(int).tolist(),
        generated_per_minute=_sums(times, trace.generated_tokens).astype(int).tolist(),
        context_scv=_scv(trace.context_tokens),
        generated_scv=_scv(trace.generated_tokens),
        context_waits_s=_waits(times, trace.context_tokens),
        generated_waits_s=_waits(times, trace.generated_tokens),
    )


def _waits(times: FloatArray, tokens: npt.NDArray[Any]) -> list[float]:
    """Mean waits at UTILIZATIONS of one server whose work is in proportion to the tokens [s]."""
    gap = float(times[-1] - times[0]) / (times.size - 1)
    works = tokens / tokens.mean() * gap
    return [float(fifo_waits(times, rho * works).mean()) for rho in UTILIZATIONS]


def _sums(times: FloatArray, tokens: IntArray) -> FloatArray:
    """Tokens of the requests of each full minute."""
    minutes = int((times[-1] - times[0]) / MINUTE_S)
    places = ((times - times[0]) / MINUTE_S).astype(np.int64)
    sums = np.bincount(places, weights=tokens, minlength=minutes)[:minutes]
    return np.asarray(sums, dtype=np.float64)


def _scv(tokens: IntArray) -> float:
    """Variance over squared mean of the requests' tokens."""
    return float(tokens.var() / tokens.mean() ** 2)


def token_dispersion(arrival_s: npt.ArrayLike, tokens: npt.ArrayLike, window_s: float) -> float:
    """Dispersion of the tokens that arrive in a window, 1 for Poisson arrivals with independent
    lengths.

    arrival_s: sorted times [s], shape (n,). tokens: of each request, not all 0, shape (n,).
    window_s: w [s]; ten full windows fit, or more. A compound Poisson sum has variance over mean
    E[X²]/E[X], by which the sums' own is divided. Raises ValueError on other shapes or windows.

    >>> times = np.arange(21.0)  # one in each second, all of one length
    >>> token_dispersion(times, np.full(21, 7), 1.0)
    0.0
    """
    arrival_s, tokens = require_all_finite(arrival_s=arrival_s, tokens=tokens)
    times, lengths = as_floats(arrival_s=arrival_s), as_floats(tokens=tokens)
    sound = times.ndim == 1 and times.size > 1 and bool(np.all(np.diff(times) >= 0))
    require(sound, "arrival_s", "sorted, finite times", times)
    require_shape(times.shape, tokens=lengths)
    require_all_non_negative(tokens=lengths)
    require(lengths.sum() > 0, "tokens", "not all 0", lengths)
    window_s = require_positive(window_s=window_s)
    since = times - times[0]
    full = int(since[-1] / window_s)
    require(full >= 10, "window_s", "short enough for ten windows", window_s)
    require_work(full, window_s=window_s)
    place = (since / window_s).astype(np.int64)
    sums = np.bincount(place, weights=lengths, minlength=full)[:full]
    unit = float((lengths**2).mean() / lengths.mean())
    return float(sums.var(ddof=1) / sums.mean() / unit)


def _counts(times: FloatArray, window_s: float) -> IntArray:
    """Arrivals in the full windows from the first arrival on."""
    since = times - times[0]
    full = int(since[-1] / window_s)
    return np.bincount((since / window_s).astype(np.int64), minlength=full)[:full]


def _dispersion(counts: IntArray) -> Any:
    """Variance over mean along the last axis."""
    return counts.var(axis=-1, ddof=1) / counts.mean(axis=-1)


def read_statistics(text: str) -> TraceStatistics:
    """Statistics of a trace from the JSON that `main` printed, or from a record that holds it.

    text: a JSON object with the fields of `TraceStatistics`, or one that has it under "statistics".
    Whoever may not pass a trace on may pass on this. Raises ValueError on other text.

    >>> read_statistics("{}")
    Traceback (most recent call last):
    ...
    ValueError: the statistics must be a JSON object with the fields of TraceStatistics, got []
    """
    rule = "a JSON object with the fields of TraceStatistics"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the statistics must be {rule}, got {error}") from error
    require(isinstance(value, dict), "the statistics", rule, value)
    value = value.get("statistics", value)
    require(isinstance(value, dict), "the statistics", rule, value)
    names = {field.name for field in fields(TraceStatistics)}
    require(set(value) == names, "the statistics", rule, list(value))
    return TraceStatistics(**value)


def main(arguments: list[str]) -> int:
    """Print the statistics of the trace file that is named, as JSON; the process's exit status."""
    if len(arguments) != 1:
        print(
            "usage: python -m serving_mathematics.capacity.arrival_rates.arrival_trace TRACE.csv",
            file=sys.stderr,
        )
        return 2
    try:
        statistics = trace_statistics(load_trace(arguments[0]))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(statistics), indent=1))
    return 0


def example() -> SimpleNamespace:
    """Numbers of the recorded traces that the text quotes."""
    trace, code = _recorded(), _code_trace()
    index = dict(zip(trace.windows_s, trace.dispersion, strict=True))
    busiest, quietest = max(trace.requests_per_minute) / 60, min(trace.requests_per_minute) / 60
    middle, at_80 = trace.token_quantiles_percent.index(50), trace.utilizations.index(0.8)
    cut_short = trace.requests - sum(trace.requests_per_minute)
    return SimpleNamespace(
        trace_requests=trace.requests,
        trace_minutes=trace.span_s / 60,
        trace_rate=trace.rate_per_s,
        trace_cv=trace.gap_cv,
        trace_1s=index[1],
        trace_10s=index[10],
        trace_60s=index[60],
        trace_300s=index[300],
        trace_minute_p=dispersion_p_value(trace.requests_per_minute),
        trace_within=trace.dispersion_within_minutes,
        trace_within_percent=100 * (trace.dispersion_within_minutes - 1),
        idle_at_50_percent=100 * (1 - 0.5 * busiest / trace.rate_per_s),
        trace_within_p=_p_within_minutes(trace),
        trace_busiest=busiest,
        trace_quietest=quietest,
        trace_peak_share=_peak(trace.requests_per_minute),
        trace_prompt=trace.context_tokens[middle],
        trace_answer=trace.generated_tokens[middle],
        tokens_in_1s=trace.context_dispersion[trace.windows_s.index(1)],
        tokens_in_60s=trace.context_dispersion[trace.windows_s.index(60)],
        tokens_out_1s=trace.generated_dispersion[trace.windows_s.index(1)],
        tokens_out_60s=trace.generated_dispersion[trace.windows_s.index(60)],
        tokens_in_peak=_peak(trace.context_per_minute),
        tokens_out_peak=_peak(trace.generated_per_minute),
        tokens_in_wait_s=trace.context_waits_s[at_80],
        tokens_out_wait_s=trace.generated_waits_s[at_80],
        tokens_in_poisson_s=_poisson_wait_s(trace, trace.context_scv),
        tokens_out_poisson_s=_poisson_wait_s(trace, trace.generated_scv),
        lengths_follow=float(_length_against_rate(trace)),
        standin_out_60s=1 + (index[60] - 1) / (1 + trace.generated_scv),
        trace_partial=dispersion_index([*trace.requests_per_minute, cut_short]),
        trace_overloaded_minutes=sum(
            count / 60 > trace.rate_per_s / 0.8 for count in trace.requests_per_minute
        ),
        code_requests=code["requests"],
        code_rate=(code["requests"] - 1) / code["span_s"],
        code_cv=code["gap_cv"],
        code_silence_s=code["a_silence_s"],
        code_silence_bound_s=code["span_s"] / (code["requests"] - 1) * (1 + code["gap_cv"] ** 2),
    )


def _peak(by_minute: list[int]) -> float:
    """The busiest minute over the mean of all."""
    return max(by_minute) * len(by_minute) / sum(by_minute)


def _poisson_wait_s(trace: TraceStatistics, scv: float) -> float:
    """What Poisson arrivals with such works would wait at 80%, by Pollaczek and Khinchine [s]."""
    return 0.8 / 0.2 * 0.8 / trace.rate_per_s * (1 + scv) / 2


def _length_against_rate(trace: TraceStatistics) -> Any:
    """Correlation of a minute's requests with the mean length of their answers."""
    counts = np.array(trace.requests_per_minute)
    return np.corrcoef(counts, np.array(trace.generated_per_minute) / counts)[0, 1]


def _recorded() -> TraceStatistics:
    """The recorded statistics of the conversation trace."""
    return read_statistics(RECORD.read_text(encoding="utf-8"))


def _p_within_minutes(trace: TraceStatistics) -> float:
    """The dispersion test's p-value for seconds within minutes: 59 degrees of freedom a minute."""
    freedom = 59 * len(trace.requests_per_minute)
    return chi_square_tail(freedom * trace.dispersion_within_minutes, freedom)


def _code_trace() -> dict[str, Any]:
    """What is recorded of the code trace, which was not at hand: see the notes in the record."""
    return dict(json.loads(RECORD.read_text(encoding="utf-8"))["code_trace"])


def figure_rate_over_time(figure: Figure) -> None:
    """The rate of the conversation service moves between 3.2 and 8.5 a second within an
    hour, far outside Poisson scatter.

    Requests per second in each full minute of the public trace. The band holds 95% of minutes if
    the rate were constant.

    Alt: Step chart of requests per second by minute, from 0 to 58 minutes. The rate starts near 3,
    wanders around 5 for twenty minutes, climbs to 8.5 after half an hour, and falls back to about
    4. A narrow grey band from 4.9 to 6.1 marks what a constant rate would give; most minutes are
    outside it.
    """
    trace = _recorded()
    per_second = np.array(trace.requests_per_minute) / 60
    scatter = 1.96 * np.sqrt(trace.rate_per_s / 60)
    axes = figure.subplots()
    low, high = trace.rate_per_s - scatter, trace.rate_per_s + scatter
    axes.axhspan(low, high, color="C4", alpha=0.25)
    axes.stairs(per_second, baseline=None, color="C0", linewidth=1.8)
    axes.annotate("95% of minutes at a\nconstant rate", (57.5, 6.3), color="C4", ha="right")
    axes.set(xlim=(0, 58), ylim=(0, 9.5), xlabel="time [min]", ylabel="arrival rate [requests/s]")


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


def check_log_survives_the_round_trip() -> None:
    """A simulated stream written as a log and read back has the statistics of the stream.

    Source: 4000 Poisson arrivals at 5/s, written to the tenth of a microsecond that the format
    holds.
    """
    rng = np.random.default_rng(41)
    ticks = np.cumsum(rng.exponential(0.2e7, 4000)).astype(np.int64)  # 100 ns each
    start = np.datetime64("2023-11-16T23:58:00", "ns")
    stamps = (start + ticks * np.timedelta64(100, "ns")).astype("datetime64[ns]").astype(str)
    tokens = rng.integers(0, 5000, (4000, 2))
    rows = [f"{t[:-2].replace('T', ' ')},{a},{b}" for t, (a, b) in zip(stamps, tokens, strict=True)]
    trace = parse_trace("\r\n".join([",".join(COLUMNS), *rows]))
    checks.close("arrivals [s]", trace.arrival_s, (ticks - ticks[0]) / 1e7, atol=1e-9)
    checks.close("tokens", trace.context_tokens, tokens[:, 0])
    statistics = trace_statistics(trace)
    checks.close("gap CV", statistics.gap_cv, cv_of_gaps(trace.arrival_s), rtol=1e-12)
    again = [dispersion_index(window_counts(trace.arrival_s, w)) for w in statistics.windows_s]
    checks.close("dispersion by `arrival_rates`", statistics.dispersion, again, rtol=1e-12)
    seconds = window_counts(trace.arrival_s, 1.0)[:780].reshape(13, 60)
    checks.close(
        "p-value within minutes",
        _p_within_minutes(statistics),
        dispersion_p_value(seconds),
        rtol=1e-9,
    )


def check_recorded_trace() -> None:
    """The conversation trace: 19,366 requests at 5.530/s with a gap CV of 1.094 and dispersion
    1.39, 3.87 and 16.4.

    Source: an independent computation on the same file, rounded to the digits shown.
    """
    trace = _recorded()
    checks.equal("requests", trace.requests, 19366, kind="measured")
    checks.close("rate [1/s]", trace.rate_per_s, 5.530, atol=5e-4, kind="measured")
    checks.close("gap CV", trace.gap_cv, 1.094, atol=5e-4, kind="measured")
    for window, expected, digits in ((1, 1.39, 5e-3), (10, 3.87, 5e-3), (60, 16.4, 5e-2)):
        index = trace.dispersion[trace.windows_s.index(window)]
        checks.close(f"I({window} s)", index, expected, atol=digits, kind="measured")


def check_dispersion_of_tokens() -> None:
    """Poisson arrivals with independent lengths have a dispersion of tokens of 1, whatever the
    lengths; with one length it is that of the requests.

    Source: variance λwE[X²] of a compound Poisson sum; 40 runs of 400 windows, their own standard
    error. The requests' own dispersion for equal lengths.
    """
    rng = np.random.default_rng(8)
    found = []
    for _ in range(40):
        times = np.cumsum(rng.exponential(0.2, 2200))
        found.append(token_dispersion(times, rng.geometric(0.01, times.size), 1.0))
    error = float(np.std(found, ddof=1)) / math.sqrt(len(found))
    checks.covers("geometric lengths", MeanEstimate(float(np.mean(found)), error, 0.0), 1.0)
    equal = token_dispersion(times, np.full(times.size, 9), 1.0)
    counts = dispersion_index(_counts(times, 1.0))
    checks.close("equal lengths", equal, counts, rtol=1e-12)


def check_record_is_consistent() -> None:
    """The record agrees with itself: the minutes' counts give the dispersion at 60 s, the span
    gives the rate.

    Source: variance over mean of the 58 recorded counts, recomputed; (n − 1)/span.
    """
    trace = _recorded()
    counts = trace.requests_per_minute
    recomputed = sum((c - sum(counts) / 58) ** 2 for c in counts) / 57 / (sum(counts) / 58)
    index = trace.dispersion[trace.windows_s.index(60)]
    checks.close("I(60 s)", index, recomputed, rtol=1e-12, kind="measured")
    checks.close("I(60 s) by `dispersion_index`", dispersion_index(counts), recomputed, rtol=1e-12)
    checks.close("rate [1/s]", trace.rate_per_s, 19365 / trace.span_s, rtol=1e-12, kind="measured")
    rest = trace.requests - sum(counts)
    checks.inside("requests after the last full minute", rest, 1, 60 * 8, kind="measured")


def check_tokens_do_not_follow_the_requests() -> None:
    """Answers are shorter in the minutes with many requests: their tokens hardly burst, and one
    server that works by them waits about as under Poisson arrivals, at 80% of the hour. Those of
    prompts burst more than the requests, and wait longer. A stream with the same arrivals and
    lengths that are independent has neither.

    Source: the record; Pollaczek–Khinchine with the lengths' variation. With independent lengths
    the dispersion of tokens, over that of a Poisson stream, is 1 + (I − 1)/(1 + C²).
    """
    trace = _recorded()
    at_80 = trace.utilizations.index(0.8)
    checks.inside("correlation", _length_against_rate(trace), -1.0, -0.8, kind="measured")
    for label, waits, scv, least, most in (
        ("prompts", trace.context_waits_s, trace.context_scv, 50.0, 100.0),
        ("requests", trace.mean_waits_s, 0.0, 30.0, 50.0),
        ("answers", trace.generated_waits_s, trace.generated_scv, 1.0, 2.0),
    ):
        ratio = waits[at_80] / _poisson_wait_s(trace, scv)
        checks.inside(f"wait by {label}, over Poisson", ratio, least, most, kind="measured")
    peaks = [
        _peak(x)
        for x in (trace.generated_per_minute, trace.requests_per_minute, trace.context_per_minute)
    ]
    checks.equal("busiest minute, answers below requests below prompts", peaks, sorted(peaks))
    for label, sums, tokens, scv in (
        ("prompts", trace.context_per_minute, trace.context_dispersion, trace.context_scv),
        ("answers", trace.generated_per_minute, trace.generated_dispersion, trace.generated_scv),
    ):
        mean = sum(sums) / sum(trace.requests_per_minute)  # tokens of a request
        found = np.var(sums, ddof=1) / np.mean(sums) / (mean * (1 + scv))
        was = tokens[trace.windows_s.index(60)]
        checks.close(f"dispersion of {label} by minutes", found, was, rtol=1e-3, kind="measured")


def check_published_medians() -> None:
    """The median prompt of the conversation trace has 1020 tokens and the median answer 129, as
    published.

    Source: Patel et al. (2024), section III-A.
    """
    trace = _recorded()
    middle = trace.token_quantiles_percent.index(50)
    checks.close("prompt tokens", trace.context_tokens[middle], 1020, kind="published")
    checks.close("generated tokens", trace.generated_tokens[middle], 129, kind="published")


def check_code_trace_was_silent() -> None:
    """A gap CV of 13.15 at 2.57 requests/s cannot happen without a silence of a minute; the code
    trace has one of 144 s, which need not be its longest.

    Source: the longest gap is at least E[g²]/E[g] = (1 + CV²)/λ; timestamps 18:17:43.3074770 and
    18:20:07.0417510 of the file. The CV itself is quoted, not recomputed.
    """
    code = _code_trace()
    bound = code["span_s"] / (code["requests"] - 1) * (1 + code["gap_cv"] ** 2)
    checks.inside("least longest gap [s]", bound, 60.0, code["a_silence_s"], kind="measured")
    stamps = ["18:17:43.3074770", "18:20:07.0417510"]
    log = "\n".join([",".join(COLUMNS), *(f"2023-11-16 {s},7435,9" for s in stamps)])
    silence = float(parse_trace(log).arrival_s[1])
    checks.close(
        "silence in the file [s]", silence, code["a_silence_s"], atol=1e-6, kind="measured"
    )


def check_bad_logs_are_refused() -> None:
    """Every way a log goes wrong is an error that names the row and the column."""
    header = ",".join(COLUMNS) + "\n"
    good = "2023-11-16 18:15:46.6805900,374,44\n"
    for label, text, match in (
        ("empty file", "", "the log must be a header and at least one request, got an empty file"),
        ("header alone", header, "got a header alone"),
        ("missing column", "TIMESTAMP,ContextTokens\n", "one column GeneratedTokens, got ["),
        ("cut row", header + good + "2023-11-16 18:1", "row 3 must be 3 fields long"),
        (
            "month 13",
            header + good + good.replace("-11-", "-13-"),
            "row 3, column TIMESTAMP must be a timestamp like",
        ),
        ("comma decimal", header + good.replace(".", ";"), "row 2, column TIMESTAMP must be a"),
        ("negative", header + good.replace("374", "-3"), "row 2, column ContextTokens must be a"),
        ("fraction", header + good.replace("44", "4.5"), "row 2, column GeneratedTokens must be"),
        (
            "out of order",
            header + good + good + good.replace("18:15", "18:14"),
            "row 4, column TIMESTAMP must be no earlier than the row before it",
        ),
        ("open quote", header + '"' + good, "the log must be comma-separated values"),
    ):
        checks.raises(label, parse_trace, text, match=match)
    short = Trace(np.array([0.0, 1.0, 2.0]), np.ones(3, np.int64), np.ones(3, np.int64))
    checks.raises(
        "two seconds", trace_statistics, short, match="trace must be at least two minutes"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
