"""What decides whether a log is Poisson, and how its tokens burst beside its requests.

Dispersions of requests and of tokens by window, and their sums by minute, are computed from a
request log and printed by one command:

python -m serving_mathematics.capacity.arrival_rates.arrival_trace AzureLLMInferenceTrace_conv.csv

With the seconds that a token of a prompt and one of an answer take in a full engine behind the
file, it also says how much more than the mean the busiest minute has to do, and the busiest
thousand requests.

Assumes: one clock, requests in order of arrival.

Source: Azure Public Dataset, AzureLLMInferenceDataset2023.md for the trace and its licence
(CC-BY); Patel et al. (2024).
"""

from __future__ import annotations

import functools
import json
import math
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.arrival_rates.arrival_rates import (
    _windows_before,
    dispersion_index,
)
from serving_mathematics.core.fleet.traces import Trace, load_trace
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_all_non_negative,
    require_all_sorted,
    require_positive,
    require_shape,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WINDOWS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300)  # windows in which the dispersion is reported [s]
QUANTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)  # of the token counts [%]
UTILIZATIONS = (0.5, 0.6, 0.7, 0.8, 0.9)  # at which one server with constant service times is tried
ENOUGH = 1000  # requests of a window that chance alone does not make the busiest by much
MINUTE_S = 60.0  # row length of the test that lets the rate change from minute to minute [s]
RECORD = Path(__file__).resolve().parents[2] / "records" / "azure_conv_2023.json"


@dataclass(frozen=True)
class TraceStatistics:
    """What the chapter needs to know of a trace; every list has one entry per window or per
    quantile.
    """

    requests: int
    span_s: float
    rate_per_s: float
    gap_cv: float
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


def trace_statistics(trace: Trace) -> TraceStatistics:
    """Rate, gap CV, dispersion by window, waits and token quantiles of a trace of two minutes or
    more.

    The rate is (n − 1)/span, the inverse of the mean gap. Windows start at the first arrival, an
    incomplete last window is left out, variances divide by n − 1; windows of which fewer than ten
    fit are left out. Within minutes, windows of 1 s are compared with the mean of their own minute,
    where anything came in it. The dispersion of tokens is that of `token_dispersion`. The waits are
    those of the arrivals at one first-come-first-served server whose constant service time is ρ
    mean gaps. Raises ValueError on a shorter trace.

    >>> tokens = np.ones(181, dtype=np.int64)
    >>> told = trace_statistics(Trace(np.arange(181.0), tokens, tokens))
    >>> told.rate_per_s, told.requests_per_minute
    (1.0, [60, 60, 60])
    """
    times = trace.arrival_s
    require(times.size >= 3, "trace", "at least three requests long", times.size)
    require_all_sorted(trace_arrival_s=times)
    span = float(times[-1] - times[0])
    require(span >= 2 * MINUTE_S, "trace", "at least two minutes long", f"{span:g} s")
    gaps = np.diff(times)
    gap = span / gaps.size
    windows = [w for w in WINDOWS_S if span / w >= 10]
    minutes = int(span / MINUTE_S)
    by_second = _counts(times, 1.0)[: minutes * 60].reshape(minutes, 60)
    by_second = by_second[by_second.any(axis=1)]  # a minute of silence has no dispersion
    return TraceStatistics(
        requests=times.size,
        span_s=span,
        rate_per_s=1 / gap,
        gap_cv=float(gaps.std(ddof=1) / gap),
        windows_s=windows,
        dispersion=[float(_dispersion(_counts(times, w))) for w in windows],
        dispersion_within_minutes=float(_dispersion(by_second).mean()),
        requests_per_minute=_counts(times, MINUTE_S).tolist(),
        utilizations=list(UTILIZATIONS),
        mean_waits_s=[
            float(fifo_waits(times, np.full(times.size, rho * gap)).mean()) for rho in UTILIZATIONS
        ],
        token_quantiles_percent=list(QUANTILES),
        context_tokens=np.percentile(trace.context_tokens, QUANTILES).tolist(),
        generated_tokens=np.percentile(trace.generated_tokens, QUANTILES).tolist(),
        context_dispersion=[token_dispersion(times, trace.context_tokens, w) for w in windows],
        generated_dispersion=[token_dispersion(times, trace.generated_tokens, w) for w in windows],
        context_per_minute=_sums(times, trace.context_tokens).astype(int).tolist(),
        generated_per_minute=_sums(times, trace.generated_tokens).astype(int).tolist(),
    )


def _sums(times: FloatArray, tokens: IntArray | FloatArray) -> FloatArray:
    """Tokens, or seconds of work, of the requests of each full minute."""
    place = _windows_before(times, MINUTE_S)
    return np.asarray(np.bincount(place, weights=tokens)[: place[-1]], dtype=np.float64)


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
    window_s = require_positive(window_s=window_s)
    windows = float(times[-1] - times[0]) / window_s
    require(windows >= 1, "window_s", "short enough for ten windows", window_s)
    require_work(windows, window_s=window_s)
    place = _windows_before(times, window_s)
    full = int(place[-1])
    require(full >= 10, "window_s", "short enough for ten windows", window_s)
    sums = np.bincount(place, weights=lengths, minlength=full)[:full]
    require(sums.any(), "tokens", "not all 0 in full windows", lengths)
    unit = float((lengths**2).mean() / lengths.mean())
    return float(sums.var(ddof=1) / sums.mean() / unit)


def _counts(times: FloatArray, window_s: float) -> IntArray:
    """Arrivals in the full windows from the first arrival on."""
    place = _windows_before(times, window_s)
    return np.bincount(place)[: place[-1]]


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
    if len(arguments) not in (1, 3):
        print(
            "usage: python -m serving_mathematics.capacity.arrival_rates.arrival_trace TRACE.csv"
            " [PROMPT_S ANSWER_S]",
            file=sys.stderr,
        )
        return 2
    try:
        trace = load_trace(arguments[0])
        statistics = trace_statistics(trace)
        told = [_summary(statistics)]
        if len(arguments) == 3:
            told.insert(0, _work_peaks(trace, *map(_number, arguments[1:])))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(*told, sep="\n", file=sys.stderr)
    print(json.dumps(asdict(statistics), indent=1))
    return 0


def _number(word: str) -> Any:
    """A number as it is typed; what is none stays, to be refused by its name."""
    try:
        return float(word)
    except ValueError:
        return word


def _work_peaks(trace: Trace, prompt_s: float, answer_s: float) -> str:
    """By how much the busiest minute and the busiest thousand requests exceed the mean work."""
    prompt_s, answer_s = require_positive(PROMPT_S=prompt_s, ANSWER_S=answer_s)
    per_minute = _sums(
        trace.arrival_s, prompt_s * trace.context_tokens + answer_s * trace.generated_tokens
    )
    minutes = math.ceil(ENOUGH * per_minute.size / trace.arrival_s.size)
    mean = per_minute.mean()
    told = f"work over its mean: busiest minute {per_minute.max() / mean:.2f}"
    if minutes > per_minute.size:
        return f"{told}, fewer than {ENOUGH} requests"
    together = np.convolve(per_minute, np.ones(minutes), "valid") / minutes
    return f"{told}, busiest {ENOUGH} requests ({minutes} min) {together.max() / mean:.2f}"


def _summary(trace: TraceStatistics) -> str:
    """Peaks and dispersions that the page speaks of, in two lines."""
    peaks = ", ".join(
        f"{name} {float(max(values) / np.mean(values)):.2f}"
        for name, values in (
            ("requests", trace.requests_per_minute),
            ("prompt tokens", trace.context_per_minute),
            ("answer tokens", trace.generated_per_minute),
        )
    )
    spread = ", ".join(
        f"{index:.1f} in {window} s"
        for window, index in zip(trace.windows_s, trace.dispersion, strict=True)
        if window in (1, 10, 60)
    )
    within = f"{trace.dispersion_within_minutes:.1f} of seconds within their minutes"
    return f"busiest minute over the mean: {peaks}\ndispersion of requests: {spread}, {within}"


def example() -> SimpleNamespace:
    """Numbers of the recorded trace that the text quotes."""
    trace = _recorded()
    index = dict(zip(trace.windows_s, trace.dispersion, strict=True))
    return SimpleNamespace(
        trace_cv=trace.gap_cv,
        trace_1s=index[1],
        trace_60s=index[60],
        trace_within=trace.dispersion_within_minutes,
        tokens_in_60s=trace.context_dispersion[trace.windows_s.index(60)],
        tokens_out_60s=trace.generated_dispersion[trace.windows_s.index(60)],
        service_80_s=0.8 / trace.rate_per_s,
        wait_80_trace_s=trace.mean_waits_s[trace.utilizations.index(0.8)],
        wait_80_poisson_s=0.8 / 0.2 * 0.8 / trace.rate_per_s / 2,
    )


@functools.cache
def _recorded() -> TraceStatistics:
    """The recorded statistics of the conversation trace."""
    return read_statistics(RECORD.read_text(encoding="utf-8"))


def check_recorded_trace() -> None:
    """The conversation trace: 19,366 requests at 5.530/s, with a gap CV of 1.094 and a dispersion
    of 1.39, 3.87 and 16.4 in windows of 1, 10 and 60 s.

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
    lengths; where all lengths are equal, it is the dispersion of the requests.

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


def check_tokens_do_not_follow_the_requests() -> None:
    """Answers are shorter in the minutes with many requests, so answer tokens burst less than
    requests do; prompt tokens burst more.

    Source: the recorded minutes.
    """
    trace = _recorded()
    counts = np.array(trace.requests_per_minute)
    lengths = np.array(trace.generated_per_minute) / counts
    checks.inside("correlation", np.corrcoef(counts, lengths)[0, 1], -1.0, -0.8)
    kinds = (trace.generated_dispersion, trace.dispersion, trace.context_dispersion)
    found = [kind[trace.windows_s.index(60)] for kind in kinds]
    checks.equal("answers, requests, prompts", found, sorted(found), kind="stated")


def check_waits_of_poisson_arrivals() -> None:
    """Poisson arrivals at the hour's rate wait as long as the page says, a fortieth of the wait of
    the hour's own arrivals.

    Source: 300,000 simulated arrivals at a server of constant time, 80% busy.
    """
    told = example()
    rate = _recorded().rate_per_s
    times = np.cumsum(np.random.default_rng(3).exponential(1 / rate, 300_000))
    waits = fifo_waits(times, np.full(times.size, 0.8 / rate))
    due = told.wait_80_poisson_s
    checks.covers("mean wait [s]", batch_means(waits), due)
    checks.inside("the hour's, over it", told.wait_80_trace_s / due, 30.0, 50.0)


def check_published_medians() -> None:
    """The median prompt of the conversation trace has 1020 tokens and the median answer 129, as
    published.

    Source: Patel et al. (2024), section III-A.
    """
    trace = _recorded()
    middle = trace.token_quantiles_percent.index(50)
    checks.close("prompt tokens", trace.context_tokens[middle], 1020, kind="published")
    checks.close("generated tokens", trace.generated_tokens[middle], 129, kind="published")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
