"""What a file tells, whatever tool wrote it: requests, numbers about all of them, and an engine's
counters over time.

A run is one load of a test, or one log. Its columns hold a number for each request, NaN where the
file has none; what the tool says of the whole run stands beside them, and is never computed from
them, so that the two can be held against each other. Times are seconds, moments count from any
start.

Assumes: one clock for all moments of a run.

Source: the names are those of the planner's readers and of vLLM's production metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, as_number, require

FloatArray = npt.NDArray[np.float64]
DAY_S = 86_400.0
COLUMNS = {  # of a request
    "due_s": "when it should leave the client",
    "sent_s": "when it left",
    "ttft_s": "from sent to its first token",
    "latency_s": "from sent to its last token",
    "queue_s": "from sent to the first step that reads its prompt",
    "prompt_tokens": "of its prompt",
    "output_tokens": "of its answer",
    "cached_tokens": "of its prompt, found in a cache",
    "failed": "1 where it has no whole answer",
    "gave_up": "1 where that is because its client hung up",
    "session": "a number for each conversation",
    "tenant": "a number for each of whom it is",
    "joules": "of all devices, for it",
    "attempt": "1, 2, …",
}
TOLD = {  # of a run, as its tool says
    "concurrency": "requests at a time that the client held, or let in at most",
    "rate_asked": "requests a second that were asked for; infinite for all at once",
    "rate_sent": "requests a second that left the client",
    "duration_s": "of the run",
    "completed": "requests with an answer",
    "failed": "requests without",
    "in_flight": "mean number of requests inside",
    "ttft_s": "mean time to first token",
    "tpot_s": "mean time per later token",
    "latency_s": "mean time to the last token",
    "ttft_p99_s": "99th percentile of the time to first token",
    "tpot_p99_s": "the same of each request's time per later token",
    "prompt_tokens": "mean tokens of a prompt",
    "output_tokens": "mean tokens of an answer",
    "delay_mean_s": "mean of how late requests left the client",
    "delay_p99_s": "99th percentile of the same",
    "power_w": "mean of all devices",
    "draft_tokens": "guessed; accepted_tokens, drafts, accepted_at_1, … too, as engines count",
}
MOST_GUESSED = 16  # places of a round of guesses that are looked at
COUNTERS = {  # of an engine; those that only grow, and levels
    "running": "requests in the batch",
    "waiting": "requests that wait",
    "cache": "share of the KV cache in use",
    "preemptions": "requests that lost their memory, so far",
    "prompt_tokens": "read, so far",
    "output_tokens": "written, so far",
    "prefix_asked": "prompt tokens looked up in the prefix cache, so far",
    "prefix_found": "of these, found",
    "draft_tokens": "guessed, so far",
    "accepted_tokens": "of these, accepted",
    "drafts": "rounds of guesses, so far",
    "queue_s": "sum of times in the queue",
    "ttft_s": "sum of times to first token",
    "ttft_count": "requests whose first token came, so far",
    "ttft_apart": "of these, not in that sum",
    "latency_s": "sum of times to the last token",
    "tpot_s": "sum of times per later token",
    "tpot_count": "numbers in that sum",
    "power_w": "of all devices",
    "joules": "of all devices, so far",
    "aborted": "requests that their clients gave up, so far",
    "refused": "those that a queue limit turned away, so far, each try",
    "started_s": "when its process started",
    "others_running": "in the batch of each other engine, on average",
    "others_waiting": "before each other engine, on average",
    **{
        f"accepted_at_{place}": f"guesses accepted at place {place}, so far"
        for place in range(1, MOST_GUESSED + 1)
    },
}
PAUSE_LEAST_S, PAUSE_TIMES = 10.0, 10.0  # without a request, and times the next longest
SELDOM = 0.25  # of the scrapes, at which a counter may begin anew
GAUGES = ("running", "waiting", "cache", "power_w", "started_s", "others_running", "others_waiting")
GROWING = tuple(name for name in COUNTERS if name not in GAUGES)


@dataclass(frozen=True, eq=False)
class Series:
    """An engine's counters at moments, rows of one length; NaN where one is not told. engines: the
    levels of each, where several are told apart.

    >>> Series(np.array([0.0, 60.0]), {"preemptions": np.array([3.0, 9.0])}).grown("preemptions")
    6.0
    """

    time_s: FloatArray
    values: Mapping[str, FloatArray]
    engines: Mapping[str, Mapping[str, FloatArray]] = field(default_factory=dict)

    def grown(self, name: str) -> float:
        """By how much a counter grew from its first to its last value, from 0 on where the engine
        began anew; NaN where it is not told twice, fell for another reason, or is of others."""
        steps = self.steps(name)
        return float(steps.sum()) if steps.size else math.nan

    def steps(self, name: str) -> FloatArray:
        """The same from each value that is told to the next; none where `grown` is NaN."""
        values = np.asarray(self.values.get(name, []), dtype=float)
        told = np.flatnonzero(np.isfinite(values))
        known = values[told]
        if known.size < 2:
            return np.zeros(0)
        anew, other = (np.r_[0, np.cumsum(x)] for x in self._starts(values.shape))
        begun, odd = np.diff(anew[told]) > 0, np.diff(other[told]) > 0
        steps = np.diff(known)
        if (odd | ((steps < 0) & ~begun)).any():
            return np.zeros(0)
        return np.where(begun, known[1:], steps)

    def _starts(self, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.bool_], ...]:
        """Between which moments the engine began anew: its counters fell, with another start of its
        process or, where that is not told, seldom and most of them; and between which the process
        is another and nothing fell.

        shape: of what is told at the moments; where that is no series, nothing is known.
        """
        counted = [np.asarray(x, dtype=float) for name, x in self.values.items()]
        counted = [x for x, name in zip(counted, self.values, strict=True) if name not in GAUGES]
        counted = [x for x in counted if x.shape == shape]
        fell = np.sum([np.diff(x) < 0 for x in counted], axis=0)
        had = np.sum([x[:-1] > 0 for x in counted], axis=0)
        started = np.asarray(self.values.get("started_s", []), dtype=float)
        later = np.diff(started) if started.shape == shape else np.full(fell.shape, math.nan)
        other = np.nan_to_num(later) != 0
        most = np.isnan(later) & (2 * fell > had) & (len(self.engines) < 2)
        most &= most.sum() <= SELDOM * most.size
        return (other & (fell > 0)) | most, other & (fell == 0)

    def found_share(self) -> float:
        """Share of the prompt tokens that a cache had, of those looked up or else read; NaN
        where nothing tells."""
        base = self.grown("prefix_asked")
        base = base if base > 0 else self.grown("prompt_tokens")
        return self.grown("prefix_found") / base if base > 0 else math.nan

    def level(self, name: str) -> FloatArray:
        """The values that are told."""
        values = np.asarray(self.values.get(name, []), dtype=float)
        return np.asarray(values[np.isfinite(values)])


@dataclass(frozen=True, eq=False)
class Run:
    """One load of a test, or one log.

    where: file, and which of its runs. tool: that wrote it. columns: by name, each of shape (n,).
    told: by name. gaps_s: all times between tokens, and gap_end_s: when each ended, both of shape
    (m,). series: of the engine meanwhile. notes: how it was read, in words. shares_prefix, tenants,
    zero_at_s: as beside them. Raises ValueError on columns that are not numbers of one length.

    >>> Run("a.json", "a log", {"ttft_s": np.array([0.1, 0.3])}).size
    2
    """

    where: str
    tool: str
    columns: Mapping[str, FloatArray] = field(default_factory=dict)
    told: Mapping[str, float] = field(default_factory=dict)
    gaps_s: FloatArray = field(default_factory=lambda: np.zeros(0))
    gap_end_s: FloatArray = field(default_factory=lambda: np.zeros(0))
    series: Series | None = None
    model: str = ""
    notes: tuple[str, ...] = ()
    shares_prefix: float = math.nan  # of prompt tokens, that an earlier prompt began with
    tenants: tuple[str, ...] = ()  # whose names the numbers of that column stand for
    zero_at_s: float | None = None  # since 1970, the moment from which sent_s counts, where told

    def __post_init__(self) -> None:
        """Columns with 64 bits, whatever they came in."""
        share = as_number(shares_prefix=self.shares_prefix)
        object.__setattr__(self, "shares_prefix", share)
        if self.zero_at_s is not None:
            object.__setattr__(self, "zero_at_s", as_number(zero_at_s=self.zero_at_s))
        require(not (share < 0 or share > 1), "shares_prefix", "in [0, 1], or NaN", share)
        columns = {name: as_floats(**{name: column}) for name, column in self.columns.items()}
        object.__setattr__(self, "columns", columns)
        for name, column in columns.items():
            require(column.shape == (self.size,), name, f"of shape ({self.size},)", column.shape)

    @property
    def size(self) -> int:
        """Requests that are told one by one."""
        return max((np.size(column) for column in self.columns.values()), default=0)

    def has(self, *names: str) -> bool:
        """Whether some requests have all of these."""
        if not self.size or not all(name in self.columns for name in names):
            return False
        known = [np.isfinite(self.columns[name]) for name in names]
        return bool(np.logical_and.reduce(known).any())

    def column(self, name: str) -> FloatArray:
        """One number for each request; NaN where it is not told."""
        found = self.columns.get(name)
        return np.full(self.size, math.nan) if found is None else found

    def good(self) -> npt.NDArray[np.bool_]:
        """Requests with a whole answer, as far as the file tells."""
        return np.asarray(np.nan_to_num(self.column("failed")) == 0)

    def tpot_s(self) -> FloatArray:
        """Time per later token of each request; NaN for answers of one token."""
        later = self.column("output_tokens") - 1
        with np.errstate(invalid="ignore", divide="ignore"):
            each = (self.column("latency_s") - self.column("ttft_s")) / later
        return np.where(later > 0, each, math.nan)

    def counted(self) -> dict[str, float]:
        """What its requests say of the whole run, by names of TOLD; without what they leave open.

        Means and percentiles are of those with a whole answer, the number inside is of all.

        >>> Run("", "", {"ttft_s": np.array([0.1, 0.3])}).counted()
        {'ttft_s': 0.2, 'ttft_p99_s': 0.298, 'completed': 2.0}
        """
        if not self.size:
            return {}
        good = self.good()
        named = ("ttft_s", "latency_s", "prompt_tokens", "output_tokens")
        columns = {name: self.column(name)[good] for name in named}
        columns["tpot_s"] = self.tpot_s()[good]
        found = {name: _known_mean(column) for name, column in columns.items()}
        for name in ("ttft", "tpot"):
            found[f"{name}_p99_s"] = _known_quantile(columns[f"{name}_s"], 0.99)
        found["completed"] = float(good.sum())
        if self.has("failed"):
            found["failed"] = float(self.size - good.sum())
        if self.has("sent_s", "latency_s"):
            found["duration_s"] = seconds = _lasted_s(self)
            if seconds > 0:
                found["in_flight"] = float(np.nansum(self.column("latency_s"))) / seconds
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def said(self, name: str) -> float:
        """What the tool says of the run; NaN where it says nothing."""
        return self.told.get(name, math.nan)

    def in_order(self) -> Self:
        """The same with its requests by the time at which they were sent."""
        if not self.has("sent_s"):
            return self
        order = np.argsort(self.columns["sent_s"], kind="stable")
        return replace(self, columns={name: x[order] for name, x in self.columns.items()})


def _date(at_s: float) -> str:
    """A moment since 1970 by the calendar.

    >>> _date(1.7e9)
    '2023-11-14 22:13 UTC'
    """
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M} UTC"


def _known_numbers(values: FloatArray) -> FloatArray:
    return np.asarray(values[np.isfinite(values)])


def _known_mean(values: FloatArray) -> float:
    """Mean of the known ones; NaN where there is none."""
    known = _known_numbers(values)
    return float(known.mean()) if known.size else math.nan


def _known_quantile(values: FloatArray, share: float = 0.5) -> float:
    """Quantile of the known ones; NaN where there is none."""
    known = _known_numbers(values)
    return float(np.quantile(known, share)) if known.size else math.nan


def _since_first(values: FloatArray) -> FloatArray:
    """Moments since the first of the known ones."""
    known = _known_numbers(values)
    return np.asarray(values - (known.min() if known.size else 0.0))


def _tick_s(moments_s: FloatArray) -> float:
    """The step in which moments were written: the least between two that differ, to 10 µs.

    >>> _tick_s(np.array([3.0, 0.0, 9.0])), _tick_s(np.ones(2))
    (3.0, 0.0)
    """
    steps = np.diff(np.unique(np.round(_known_numbers(moments_s), 5)))
    return float(steps.min()) if steps.size else 0.0


def _pause(sent_s: FloatArray) -> tuple[int, float, float] | None:
    """Before which request of a log in order nothing came for far longer than ever else, how long
    [s], and the next longest; None where there is none.

    >>> _pause(np.r_[np.arange(100.0), np.arange(160.0, 200.0)])
    (99, 61.0, 1.0)
    """
    gaps = np.diff(sent_s)
    if gaps.size < 2:
        return None
    at = int(np.argmax(gaps))
    longest, next_longest = float(gaps[at]), float(np.delete(gaps, at).max())
    far = longest > max(PAUSE_LEAST_S, PAUSE_TIMES * next_longest)
    return (at, longest, next_longest) if far else None


def _inside_at(run: Run, moments_s: FloatArray) -> FloatArray:
    """Requests inside at some moments, without those sent just then and those that failed; who gave
    up was inside until then."""
    counted = run.good() | (run.column("gave_up") > 0)
    known = counted & np.isfinite(run.column("sent_s") + run.column("latency_s"))
    known &= run.column("latency_s") > 0  # who ends when it is sent is never inside
    sent = np.sort(run.column("sent_s")[known])
    end = np.sort((run.column("sent_s") + run.column("latency_s"))[known])
    before = np.searchsorted(sent, moments_s, side="left")
    return np.asarray(before - np.searchsorted(end, moments_s, side="right"), dtype=float)


def _span_s(run: Run) -> float:
    """From the first request sent to the last one sent [s]; what the tool says where none is."""
    if run.has("sent_s"):
        sent = run.columns["sent_s"]
        return float(np.nanmax(sent) - np.nanmin(sent))
    return run.said("duration_s")


def _lasted_s(run: Run) -> float:
    """From the first request sent to the last end that is told [s]; NaN where no sending is."""
    sent, lasted = run.column("sent_s"), run.column("latency_s")
    ends = _known_numbers(sent + np.where(np.isnan(lasted), 0.0, lasted))
    return float(ends.max() - np.nanmin(sent)) if ends.size else math.nan


def _rates_told(run: Run) -> dict[str, Any]:
    """Requests, prompt tokens and answer tokens a second over a run; NaN where that is not told."""
    seconds = run.said("duration_s")
    seconds = seconds if seconds > 0 else _lasted_s(run)
    good = run.good()
    count = float(good.sum()) if run.size else run.said("completed")
    found = {"seconds": seconds, "requests": count}
    for name in ("prompt_tokens", "output_tokens"):
        own = count * _known_mean(run.column(name)[good])  # those that do not tell have as many
        found[name] = own if own > 0 else count * run.said(name)
    if not seconds > 0:
        return {"seconds": math.nan} | dict.fromkeys(list(found)[1:], math.nan)
    return {name: value / (seconds if name != "seconds" else 1) for name, value in found.items()}


def check_area_is_time_inside() -> None:
    """The area under the number inside is the sum of the times inside.

    Source: Little (1961), as an identity of a finite run; a loop over the requests.
    """
    rng = np.random.default_rng(36)
    sent = np.sort(rng.uniform(0, 100, 500))
    stay = rng.exponential(3.0, 500)
    run = Run("", "", {"sent_s": sent, "latency_s": stay})
    moments = np.sort(np.r_[sent, sent + stay])
    inside = _inside_at(run, (moments[1:] + moments[:-1]) / 2)
    checks.close("request-seconds", (np.diff(moments) * inside).sum(), stay.sum(), rtol=1e-9)
    at = np.array([20.0, 50.0, 80.0])
    counted = [int(((sent < t) & (sent + stay > t)).sum()) for t in at.tolist()]
    checks.close("inside", _inside_at(run, at), counted)
