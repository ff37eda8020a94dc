"""The test itself: whether its numbers are what they are taken for.

Each function looks for one way in which a load test deceives: a client that sends late or waits, a
warm-up among the answers, a queue that grows, too few requests, failures, other definitions, and
numbers that cannot belong together.

Source: Tene (2013), *How NOT to measure latency*; White, Cobb and Spratt (2000) for the warm-up;
Mann (1945) for the trend; Wilson (1927); Wilks (1941); Little (1961).
"""

# In one piece: a function for each finding, with its words; they share what counts as late and as
# enough.

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.streaming.streaming import tpot_conventions
from serving_mathematics.capacity.littles_law.benchmark_audit import audit_benchmark
from serving_mathematics.core.queues.queue_simulator import warm_up_length
from serving_mathematics.core.queues.shares import wilson_interval
from serving_mathematics.definitions.latency_distribution.coordinated_omission import (
    corrected_latencies,
)
from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    quantile_ranks,
)
from serving_mathematics.report.evidence import (
    FloatArray,
    Run,
    _known_mean,
    _known_numbers,
    _known_quantile,
    _span_s,
    _tick_s,
)
from serving_mathematics.report.findings.finding import (
    FEW,
    Asked,
    Finding,
    _alike,
    _alike_times,
    _blocks_of,
    _ends_of,
    _share_told,
    _sure_of,
    duration,
    percent,
)
from serving_mathematics.report.findings.late_requests import _cause
from serving_mathematics.report.findings.of_the_tenants import _mostly_of
from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized
from serving_mathematics.support.intervals import student_quantile

LATE_SHARE = 0.1  # of the median time to first token, by which a request may leave late
LATE_LEAST_S = 0.005  # below which no client is called late
SLOW_SENDING = 0.05  # of the rate that was asked
FOLLOWS_S = 0.002  # after an end, within which a closed loop sends
CORRECTED = 1.5  # times the percentile, from which omission counts
WARM_SIGMAS, WARM_SHARE = 4.0, 0.15  # by which a warm-up lies above the rest
WARM_CHANCE = 5e-3  # the same of Student's t, where few later blocks tell the spread
WARM_CLUMPS = 5.0  # times as many as are slow together later; fewer may be one more such queue
TREND_BLOCKS, TREND_S, TREND_GROWTH = 10, 31, 1.5  # Mann's statistic of ten blocks, 1 in 2,000
GROWS_SURELY = 0.95  # chance that what blocks add to each other is not 0 on average
LEFT_OVER = 0.01  # seconds of wait that a second adds, from which more comes than is served
LARGEST_FAILED = 0.01
WIDE = 0.5  # of a percentile, from which its interval is told
INDEPENDENT = "order statistics, 95%, as if requests were independent"
TPOT_FACTOR, TPOT_SHARE = (0.7, 1.4), 0.05  # of means of means; of the requests themselves
HELD_LEAST, HELD_MOST = 0.9, 1.05  # requests inside over those held


def late_client(run: Run, _asked: Asked) -> Finding | None:
    """Requests left later than they were due, so their latencies leave out a wait.

    run: with when requests were due, or how late they were sent, or the rate that was asked.

    >>> stage = {"delay_p99_s": 12.0, "delay_mean_s": 5.0, "ttft_s": 1.7, "completed": 9000.0}
    >>> late_client(Run("", "", told=stage), Asked()).level
    'problem'
    """
    reference = _reference_s(run)
    delay = run.column("sent_s") - run.column("due_s")
    if np.isfinite(delay).any():
        typical, far = _known_quantile(delay), _known_quantile(delay, 0.95)
        mean, most = _known_mean(delay), "95% within"
    else:
        mean, far = run.said("delay_mean_s"), run.said("delay_p99_s")
        typical, most = mean, "99% within"
    if math.isfinite(far) and far > max(LATE_LEAST_S, LATE_SHARE * reference):
        whole, first = "", run.column("ttft_s")
        waited = first + np.maximum(delay, 0)
        told = run.good() & np.isfinite(waited)
        if told.any():
            both = [float(np.quantile(x[told], 0.99)) for x in (first, waited)]
            whole = (
                f"; from when they were due, p99 of TTFT is {duration(both[1])}, not "
                f"{duration(both[0])}"
            )
        bad = typical > LATE_SHARE * reference or far > reference
        seen = f"requests left {duration(mean)} late on average, {most} {duration(far)}{whole}"
        return _late(seen, "problem" if bad else "warning", "counted")
    asked, sent, count = run.said("rate_asked"), _sent_rate(run), _requests(run)
    if not (0 < asked < math.inf and sent > 0 and count >= 20):
        return None
    short = 1 - sent / asked
    if short < max(SLOW_SENDING, 3 / math.sqrt(count)):
        return None
    limit = run.said("concurrency")
    capped = f" (it let in {limit:g} at a time)" if math.isfinite(limit) else ""
    seen = f"{sized(sent, 4)} requests a second left where {sized(asked, 4)} were asked for{capped}"
    level = "problem" if short > 2 * max(SLOW_SENDING, 3 / math.sqrt(count)) else "warning"
    return _late(seen, level, f"± {sized(100 * 2 / math.sqrt(count), 2)}% by chance")


def _late(seen: str, level: str, sure: str) -> Finding:
    return Finding(
        level,
        seen,
        "latencies leave out the wait in the client, and the engine got less load than asked for",
        "give the client more processes or connections, raise or leave out --max-concurrency, and "
        "measure latency from when a request was due",
        sure,
        "definitions/latency-distribution",
    )


def _reference_s(run: Run) -> float:
    """The usual time to first token, or a tenth of the usual latency."""
    for name, share in (("ttft_s", 1.0), ("latency_s", 0.1)):
        if run.has(name):
            return share * _known_quantile(run.column(name))
        if math.isfinite(run.said(name)):
            return share * run.said(name)
    return 0.0


def _requests(run: Run) -> float:
    return float(run.size) if run.size else run.said("completed")


def _sent_rate(run: Run) -> float:
    """Requests a second that left the client; NaN where that cannot be told.

    Without when each left, the last did no sooner than the longest answer before the end, which of
    n is some 1 + ln n times the mean; where that is half of the test, nothing tells the rate.
    """
    if math.isfinite(run.said("rate_sent")):
        return run.said("rate_sent")
    if run.has("sent_s") and run.size > 1:
        seconds = _span_s(run)
        return (run.size - 1) / seconds if seconds > 0 else math.nan
    count = run.said("completed") + np.nan_to_num(run.said("failed"))
    if not count >= 1:
        return math.nan
    whole, longest = run.said("duration_s"), run.said("latency_s") * (1 + math.log(count))
    return float(count / (whole - longest)) if longest < whole / 2 else math.nan


def closed_loop(run: Run, _asked: Asked) -> Finding | None:
    """Clients waited for answers before they asked again.

    run: with the number of requests that were held, or when each was sent and answered.

    >>> closed_loop(Run("", "", told={"concurrency": 8.0, "rate_asked": np.inf}), Asked()).level
    'note'
    """
    held = run.said("concurrency")
    told = math.isfinite(held) and run.said("rate_asked") == math.inf
    told = told and not held >= _requests(run)
    follows = math.nan if told else _following(run)
    if not told and not follows > 0.8:
        return None
    who = f"{held:g} clients sent each next request" if told else ""
    who = who or f"{percent(follows)} of the requests were sent"
    seen = f"{who} as soon as an answer came: a closed loop"
    level, sure = "note", "said by the tool" if told else "counted"
    latencies = run.column("latency_s")[run.good()]
    known = latencies[np.isfinite(latencies)]
    if known.size >= FEW:
        usual = float(np.median(known))
        fixed = corrected_latencies(known, max(usual, 1e-6)) if known.sum() < 1e7 * usual else known
        before, after = (float(np.quantile(x, 0.99)) for x in (known, fixed))
        if after > CORRECTED * before:
            level = "problem"
            seen += (
                f"; p99 is {duration(before)}, and {duration(after)} with the requests that a stall"
                " kept from being sent"
            )
    return Finding(
        level,
        seen,
        "a slow engine gets fewer requests, so the test shows the throughput with this many "
        "clients, not the latency at a given rate",
        "to measure latency, send at a rate (--request-rate, without --max-concurrency); compare "
        "this run only with others of as many clients",
        sure,
        "definitions/latency-distribution",
    )


def all_at_once(run: Run, _asked: Asked) -> Finding | None:
    """All requests were sent at once, so a time to first token is a place in the queue.

    run: with the rate that was asked, or when requests were sent.

    >>> told = {"rate_asked": np.inf, "completed": 500.0}
    >>> all_at_once(Run("", "", told=told), Asked()).level
    'warning'
    """
    count = _requests(run)
    if not count >= 20:
        return None
    told = run.said("rate_asked") == math.inf and not run.said("concurrency") < count
    counted = run.has("sent_s", "latency_s")
    if counted:  # whatever the tool says: vLLM's bench writes inf of a ramp too
        ends = run.column("sent_s") + run.column("latency_s")
        whole = float(np.ptp(_known_numbers(np.r_[ends, run.column("sent_s")])))
        usual = _known_quantile(run.column("latency_s"))
        told = 0 <= _span_s(run) < 0.05 * whole and _span_s(run) < usual
    if not told:
        return None
    return Finding(
        "warning",
        f"all {count:,.0f} requests were sent at once",
        "the engine was full from the first second: throughput is its ceiling, and a time to first "
        "token only shows the place in the queue",
        "to measure latency, send at a rate (--request-rate), and quote this run as throughput",
        "counted" if counted else "said by the tool",
        "definitions/throughput",
    )


def _following(run: Run) -> float:
    """Share of requests, those at the beginning left out, that were sent just after an end; NaN
    where so many ends would stand before any moment."""
    if not run.has("sent_s", "latency_s") or run.size < FEW:
        return math.nan
    known = np.isfinite(run.column("sent_s") + run.column("latency_s"))
    sent = np.sort(run.column("sent_s")[known])
    ends = np.sort((run.column("sent_s") + run.column("latency_s"))[known])
    span = float(ends[-1] - sent[0])
    later = sent[sent > ends[0]]
    if later.size < FEW / 2 or span <= 0:
        return math.nan
    tick = min(_tick_s(sent), 0.5 * FOLLOWS_S)  # an end in the tick of a sending is before it
    before = np.searchsorted(ends, later + tick, side="right") - 1
    waited = later - ends[before]
    tolerance = max(FOLLOWS_S, 0.002 * _known_quantile(run.column("latency_s")))
    together = np.unique(sent).size < 0.9 * sent.size
    written = _tick_s(np.r_[sent, ends]) * together  # within which nothing tells what came first
    by_chance = 1 - math.exp(-ends.size / span * max(tolerance, written))
    return math.nan if by_chance > 0.3 else float((waited <= tolerance).mean())


def warm_up(run: Run, _asked: Asked) -> Finding | None:
    """The first requests were slower than the rest.

    run: with a time to first token or a latency of each request, in order.

    >>> slow = np.r_[np.full(20, 5.0), 1 + 0.01 * (np.arange(180) % 7)]
    >>> warm_up(Run("", "", {"ttft_s": slow}), Asked()).level
    'warning'
    """
    found = _cold(run)
    if found is None:
        return None
    cut, above, spread = found
    series = _series(run)
    p95 = [float(np.quantile(x, 0.95)) for x in (series, series[cut:])]
    _, faster = _start_of(run, cut)
    seen = (
        f"the first {cut:,} of {series.size:,} requests took {sized(math.exp(above), 2)} times as "
        f"long as the rest; p95 is {duration(p95[1])} without them, {duration(p95[0])} with them"
    )
    seen += f"; they arrived {sized(faster, 2)} times as fast" if faster > 1 else ""
    matters = p95[0] > 1.1 * p95[1] and not faster > 1
    seen += "; the objective is judged by the rest" if matters else ""
    return Finding(
        "warning" if matters else "note",
        seen,
        "caches, graphs and connections are set up once, and a burst at the start does not last",
        "warm up first (--num-warmups, SGLang's --warmup-requests, AIPerf's "
        f"--warmup-request-count) or leave out the first {cut:,}",
        f"MSER-5; {sized(above / max(spread, 1e-9), 2)} standard deviations above later blocks",
        "simulations",
    )


def _cold(run: Run) -> tuple[int, float, float] | None:
    """How many of the first requests were slower, by which logarithm, and the spread of later
    blocks; None where they were not."""
    series = _series(run)
    if series.size < FEW:
        return None
    logs = np.log(np.maximum(series, 1e-6))
    cut = warm_up_length(logs)
    if cut > series.size // 4:  # a rule for longer runs: look at the first twentieth
        cut = max(20, series.size // 20)
    if cut < 5:
        return None
    size = max(cut, 10)
    rest = logs[cut:]
    parts = np.array([x.mean() for x in _blocks_of(rest, max(4, rest.size // size))])
    first, spread = float(logs[:cut].mean()), float(parts.std(ddof=1))
    above = first - float(rest.mean())
    sigmas = max(WARM_SIGMAS, student_quantile(1 - WARM_CHANCE, parts.size - 1))
    if above < math.log1p(WARM_SHARE) or above < sigmas * spread or first < parts.max():
        return None
    if cut < WARM_CLUMPS * _alike_times(series[cut:]):
        return None  # one more of the queues that come later too
    longer, _ = _start_of(run, cut)  # prompts or answers, and no warm-up
    return None if longer > above / 2 else (cut, above, spread)


def _without_warm_up(run: Run) -> Run:
    """A run without the requests of its warm-up, where it has one that matters."""
    told = warm_up(run, Asked())
    found = _cold(run)
    if told is None or told.level != "warning" or found is None:
        return run
    ordered, _, timed = _timed(run)
    begin = int(np.flatnonzero(timed)[found[0]])
    numbers = {name: x for name, x in run.told.items() if name != "duration_s"}  # of the whole
    columns = {name: x[begin:] for name, x in ordered.columns.items()}
    return replace(ordered, columns=columns, told=numbers)


def _start_of(run: Run, cut: int) -> tuple[float, float]:
    """By how much the logarithms of the first prompts exceed the others, or where latencies are
    looked at those of answers, of which a log by the time of the end begins with long ones; and how
    many times as fast the first requests came as the others where no later stretch was as fast; 0
    where neither."""
    ordered, time, told = _timed(run)
    longer = faster = 0.0
    for name in ("prompt_tokens",) if time == "ttft_s" else ("prompt_tokens", "output_tokens"):
        if ordered.has(name):
            logs = np.log(np.maximum(ordered.column(name)[told], 1.0))
            longer = max(longer, _known_mean(logs[:cut]) - _known_mean(logs[cut:]))
    if ordered.has("sent_s"):
        gaps = np.diff(sent := ordered.column("sent_s")[told])
        usual = max(float(np.mean(gaps[cut:])), 1e-9)
        later = [float(x.mean()) for x in _blocks_of(gaps[cut:], max(1, (gaps.size - cut) // cut))]
        first = max(float(np.mean(gaps[:cut])), _tick_s(sent) / cut)
        faster = usual / max(first, 1e-9) if first < min(later) else 0.0
    return longer if math.isfinite(longer) else 0.0, faster


def _timed(run: Run) -> tuple[Run, str, npt.NDArray[np.bool_]]:
    """The requests in the order of sending, which time is looked at, to the first token or else to
    the last, and who tells it, and its place where moments are told."""
    ordered = run.in_order()
    name = "ttft_s" if ordered.has("ttft_s") else "latency_s"
    told = ordered.good() & np.isfinite(ordered.column(name))
    placed = np.isfinite(ordered.column("sent_s")) | (not ordered.has("sent_s"))
    return ordered, name, told & placed


def _series(run: Run) -> FloatArray:
    """Times to first token, or latencies, in the order of sending; what is known of them."""
    ordered, name, told = _timed(run)
    return np.asarray(ordered.column(name)[told])


def growing_queue(run: Run, asked: Asked) -> Finding | None:
    """Latencies rise from block to block until the end: more came than was served.

    A queue that grows adds to the wait the share that is left over: at a load of 1.1 a tenth of a
    second in each second. Times that rise by less than a hundredth are of longer prompts or a
    fuller batch. Waits that rise in some tenths and fall in others tell too little: a burst before
    the end does so below what the engine carries.

    run: with when each request was sent, and its time to first token or latency; of a summary, with
    the rate that was asked for, how long it took and the mean time to first token.

    >>> rises = {"sent_s": np.arange(200.0), "ttft_s": 0.1 + 0.05 * np.arange(200)}
    >>> growing_queue(Run("", "", rises), Asked()).level
    'problem'
    """
    if not run.has("sent_s"):
        return _unserved(run)
    series = _series(run)
    if series.size < FEW:
        return _unserved(run)
    if all_at_once(run, asked) is not None:
        return None
    medians = np.array([float(np.median(x)) for x in _blocks_of(series, TREND_BLOCKS)])
    signs = np.sign(medians[None, :] - medians[:, None])
    trend = int(np.triu(signs).sum())
    growth = float(medians[-2:].mean() / max(medians[:2].mean(), 1e-9))
    if trend < TREND_S or growth < TREND_GROWTH:
        return None
    ordered, _, told = _timed(run)
    sent = ordered.column("sent_s")[told]
    middle = np.array([float(np.median(x)) for x in _blocks_of(sent, TREND_BLOCKS)])
    added = [
        float(medians[-1] - medians[i]) / max(float(middle[-1] - middle[i]), 1e-9) for i in (0, -4)
    ]
    if max(added) < LEFT_OVER:
        return None  # longer prompts, or a fuller batch, and no queue that grows
    seen = (
        f"times rose from {duration(float(medians[0]))} to {duration(float(medians[-1]))} (medians "
        f"of the first and the last tenth), by {duration(max(added))} a second, and had not settled"
    )
    late = np.zeros(ordered.size, dtype=bool)
    late[told] = series > math.sqrt(float(medians[0] * medians[-1]))
    change = _cause(ordered, late, "slow ones")
    if not _grows_surely(medians):
        return Finding(
            "warning",
            f"{seen}: a growing queue, or a burst in so short a log",
            "a queue behind a burst drains again; a growing one lasts as long as its load",
            change or "test several times as long, and see whether the last tenth is slowest again",
            "from tenth to tenth they did not rise as steadily as under a constant overload "
            "(Student's t, 95%)",
            "definitions/utilization",
        )
    return Finding(
        "problem",
        seen,
        "the load is above what the engine carries, so percentiles grow as long as the test runs",
        change
        or "lower the rate until the last tenth is as fast as the middle, or report the rate "
        "served and no latency",
        "ten blocks in order, 1 in 2,000 by chance if none waited for the one before",
        "definitions/utilization",
    )


def _grows_surely(medians: FloatArray) -> bool:
    """Whether what blocks in order add to each other is more than 0 on average, at 95%: waits for
    one before are in all that follow, and the differences are new in each block.

    >>> _grows_surely(np.arange(10.0)), _grows_surely(np.array([1.0, 1.1, 1.0, 1.1, 1.0, 6.0]))
    (True, False)
    """
    added = np.diff(medians)
    error = float(added.std(ddof=1)) / math.sqrt(added.size)
    return float(added.mean()) > student_quantile(GROWS_SURELY, added.size - 1) * error


def _unserved(run: Run) -> Finding | None:
    """What is said of a summary whose requests took longer to serve than to come, and waited for
    most of what was longer; None elsewhere.

    Where a queue grows, the last request waits about twice the mean; a client that sends too slowly
    makes a test longer too, and nobody waits in the engine.

    >>> told = {"rate_asked": 14.0, "completed": 1000.0, "duration_s": 132.0, "ttft_s": 29.9}
    >>> _unserved(Run("", "", told=told)).seen.partition(",")[0]
    '14 requests a second were asked for and 7.6 were served'
    >>> _unserved(Run("", "", told=told | {"ttft_s": 1.0})) is None
    True
    """
    asked, whole, first = (run.said(x) for x in ("rate_asked", "duration_s", "ttft_s"))
    count = run.said("completed") + float(np.nan_to_num(run.said("failed")))
    if not (0 < asked < math.inf and whole > 0 and count >= 20):
        return None
    coming = count / asked
    longer = whole - coming
    if not min(2 * first, longer) > max(longer / 2, coming * max(SLOW_SENDING, 3 / count**0.5)):
        return None
    return Finding(
        "problem",
        f"{sized(asked)} requests a second were asked for and {sized(count / whole, 2)} were "
        f"served, and a first token took {duration(first)} on average: a queue grew until the last "
        "request arrived",
        "the load is above what the engine carries, so percentiles grow as long as the test runs",
        "lower the rate, or report the rate served and no latency; a test with every request "
        "(--save-detailed, --output-details) says what they waited for",
        "the last request's wait, twice the mean, is most of what the test took beyond "
        f"{duration(coming)}",
        "definitions/utilization",
    )


def too_few(run: Run, asked: Asked) -> Finding | None:
    """The percentile that is quoted needs more requests than there are.

    run: with the number of its requests. asked: the quantile.

    >>> too_few(Run("", "", told={"completed": 100.0}), Asked()).level
    'warning'
    """
    timed, of = ("ttft_s", "time to first token") if run.has("ttft_s") else ("latency_s", "latency")
    ordered = run.in_order()
    values = _known_numbers(ordered.column(timed)[ordered.good()])
    count = values.size or (int(run.good().sum()) if run.size else run.said("completed"))
    if not 1 <= count < 1e9:
        return None
    quantile = asked.quantile
    ranks = quantile_ranks(int(count), quantile)
    needed = math.ceil(math.log(0.025) / math.log(quantile))
    name = f"p{100 * quantile:g}"
    if ranks.upper is None:
        bounded = math.floor(1000 * 0.025 ** (1 / count)) / 10  # the quantile that so many bound
        seen = (
            f"{int(count):,} request{'s do' if count > 1 else ' does'} not bound {name} from above"
        )
        why = "the largest value seen stands for all beyond it, and the next run will show another"
        change = f"send {needed:,} requests or more"
        if bounded >= 50:
            seen += f"; they bound p{bounded:g}"
            change += f", or quote p{min(bounded, 95):g}"
    elif values.size >= FEW:
        return _percentile(values, quantile, name, of)
    else:
        return None
    return Finding("warning", seen, why, change, INDEPENDENT, "definitions/latency-distribution")


def _percentile(times: FloatArray, quantile: float, name: str, of: str) -> Finding | None:
    """What is said of a percentile whose interval is wide, or of which there is none, because slow
    requests came together about once; None elsewhere.

    times: in order, enough to bound it if they were independent.
    """
    here, ordered = float(np.quantile(times, quantile)), np.sort(times)
    ranks, sure, alike = quantile_ranks(times.size, quantile), INDEPENDENT, _alike_times(times)
    low, high = ordered[[(ranks.lower or 1) - 1, (ranks.upper or times.size) - 1]].tolist()
    told = f" (95% interval {duration(low)} to {duration(high)})"
    why = "a change within that interval is noise"
    change = f"send about {4 * times.size:,} requests to halve it"
    if alike > 1:
        alike = max(alike, _alike((times > here).astype(float)))
        ends = _ends_of(1 - quantile, times.size, alike)
        sure = _sure_of(ends, alike, "slow requests")
        above = ends or (0.0, 2 * min(quantile, 1 - quantile))  # as many beyond as it counts
        low, high = np.quantile(ordered, [1 - above[1], 1 - above[0]]).tolist()
        told = f" (95% interval {duration(low)} to {duration(high)})"
        if ends is None:
            told = ", due to slow requests that came together"
            why = "the next run may have none of them, or twice as many"
            change = "test longer, until they come several times"
    if not high - low > WIDE * here:
        return None
    seen = f"{name} of the {of} is {duration(here)}{told}"
    return Finding("note", seen, why, change, sure, "definitions/latency-distribution")


def failures(run: Run, asked: Asked) -> Finding | None:
    """Requests that failed or were given up, and whether they count as fast answers.

    run: with which requests failed, or how many. asked: the quantile, whose budget they spend.

    >>> failures(Run("", "", told={"completed": 90.0, "failed": 10.0}), Asked()).level
    'problem'
    """
    bad = int(np.nansum(run.column("failed"))) if run.has("failed") else run.said("failed")
    total = run.size if run.has("failed") else run.said("completed") + run.said("failed")
    gave_up, refused = int(np.nansum(run.column("gave_up"))), 0
    if not (bad > 0 and total > 0):
        gave_up, refused, total = _not_served(run)
        bad = gave_up + refused
    if not (bad > 0 and total > 0):
        return None
    share = wilson_interval(int(bad), int(total))
    told = percent(share.share, share.low, share.high)
    sure = "Wilson's interval, 95%, as if each failed by itself"
    flags = np.nan_to_num(run.in_order().column("failed"))
    if flags.sum() == bad:  # else they are but counted
        told, sure = _share_told(flags, "failures")
    seen = f"{int(bad):,} of {int(total):,} requests failed: {told}"
    whose, of_failed, of_all = _mostly_of(run, ~run.good())
    seen += f", {of_failed} of them from {whose}, which sent {of_all} of all" if whose else ""
    if gave_up > 0.5 * bad:
        seen += f"; {'all' if gave_up == bad else f'{gave_up:,}'} because their clients gave up"
    if refused:
        some = "all" if refused == bad else f"{refused:,}"
        seen += f"; {some} refused at the queue's limit, each try counted"
    fast = False
    if run.has("failed", "latency_s"):
        failed = run.column("latency_s")[~run.good()]
        rest = run.column("latency_s")[run.good()]
        known = failed[np.isfinite(failed)]
        if known.size and np.isfinite(rest).any():
            usual = _known_quantile(rest)
            fast = float(np.median(known)) < 0.5 * usual
            if fast:
                seen += (
                    f"; they ended after {duration(float(np.median(known)))}, answers "
                    f"after {duration(usual)}"
                )
    level = "problem" if share.low > min(LARGEST_FAILED, 1 - asked.quantile) else "warning"
    change = "count a failure as a broken promise, and leave its time out of every percentile"
    if fast:
        change = (
            "leave their times out of every percentile, which they flatter, and count each as a"
        )
        change += " broken promise"
    if gave_up > 0.5 * bad:
        change = "make the wait shorter than their patience, with capacity or a bound on the queue"
        if np.isfinite(run.column("ttft_s")[run.column("gave_up") > 0]).sum() > 0.5 * gave_up:
            change = "look at what they had when they left: most had their first token"
        change += "; count each as a broken promise, whose whole time is in no percentile"
    if refused > 0.5 * bad:
        change = "add capacity, or let more wait as long as they are in time; have clients pause "
        change += "before they try again"
    return Finding(
        level,
        seen,
        f"a promise of {percent(asked.quantile)} leaves {percent(1 - asked.quantile)} for failures",
        change,
        sure,
        "definitions/slo-sla",
    )


def _not_served(run: Run) -> tuple[int, int, float]:
    """Requests that an engine counts as given up, tries that a queue limit turned away, and these
    and the requests with a first token."""
    names = ("aborted", "refused", "ttft_count")
    grown = [np.nan_to_num(run.series.grown(x) if run.series else 0.0) for x in names]
    return int(grown[0]), int(grown[1]), float(sum(grown))


def empty_answers(run: Run, _asked: Asked) -> Finding | None:
    """Answers without tokens that count as successes.

    run: with tokens of each answer.

    >>> tokens = np.r_[np.zeros(20), np.full(80, 9)]
    >>> empty_answers(Run("", "", {"output_tokens": tokens}), Asked()).level
    'warning'
    """
    if not run.has("output_tokens") or run.tool == "a trace":
        return None
    ordered = run.in_order()
    empty = _known_numbers(ordered.column("output_tokens")[ordered.good()]) <= 0
    if wilson_interval(int(empty.sum()), max(1, empty.size)).low <= 0.002:
        return None
    told, sure = _share_told(empty.astype(float), "they")
    return Finding(
        "warning",
        f"{empty.sum():,} answers that count as complete have no token: {told}",
        "an empty answer is the fastest of all, and lowers every mean",
        "look at them: a filter, a stop word or an error that the client takes for an answer",
        sure,
        "definitions/latency-distribution",
    )


def tpot_definition(run: Run, _asked: Asked) -> Finding | None:
    """A time per token that is not (last − first)/(tokens − 1).

    run: with the tool's own time per token, and what it should be.

    >>> told = {"tpot_s": 0.0057, "ttft_s": 0.2, "latency_s": 1.0, "output_tokens": 65.0}
    >>> tpot_definition(Run("", "", told=told), Asked()).level
    'warning'
    """
    said = run.said("tpot_s")
    if not said > 0:
        return None
    columns = np.array([run.column(n) for n in ("ttft_s", "latency_s", "output_tokens")])
    whole_rows = run.good() & np.isfinite(columns).all(axis=0)
    single = bool(whole_rows.any())
    if single:
        first, whole, tokens = columns[:, whole_rows].mean(axis=1).tolist()
        expected = _known_mean(run.tpot_s()[whole_rows])
        margin = (1 - TPOT_SHARE, 1 + TPOT_SHARE)
    else:
        first, whole, tokens = (run.said(n) for n in ("ttft_s", "latency_s", "output_tokens"))
        expected = (whole - first) / (tokens - 1) if tokens > 1 else math.nan
        margin = TPOT_FACTOR
    fine = expected > 0 and tokens >= 2 and whole >= first
    if not fine or margin[0] <= said / expected <= margin[1]:
        return None
    ways = tpot_conventions(first, whole, round(tokens))
    known = {
        "(end − first)/tokens": ways.per_token_s,
        "end/tokens, with the first token in it": ways.with_ttft_s,
        "the time between chunks, of two tokens each": expected / 2
        if said < expected
        else expected * 2,
    }
    near = min(known, key=lambda name: abs(math.log(known[name] / said)))
    like = f"; it looks like {near}" if abs(known[near] / said - 1) < 0.15 else ""
    return Finding(
        "warning",
        f"the tool says {duration(said)} a token, (end − first)/(tokens − 1) is "
        f"{duration(expected)}{like}",
        "objectives, plans and other tools mean the second",
        f"compare {duration(expected)} with others, and say which is meant",
        "computed for each request" if single else "from means, so only what is far off is said",
        "conventions",
    )


def little_open(run: Run, _asked: Asked) -> Finding | None:
    """Requests in flight, rate and latency that cannot belong to one run.

    run: with the number of requests held or inside, and its rate and mean latency.

    >>> told = {"concurrency": 10.0, "rate_asked": np.inf, "completed": 1000.0, "duration_s": 10.0}
    >>> little_open(Run("", "", told=told | {"latency_s": 0.05}), Asked()).level
    'warning'
    """
    whole, seconds, count = run.said("latency_s"), run.said("duration_s"), run.said("completed")
    if not whole > 0 and run.has("latency_s"):
        whole = _known_mean(run.column("latency_s")[run.good()])
    if not whole > 0:
        later = max(0.0, run.said("output_tokens") - 1)
        whole = run.said("ttft_s") + run.said("tpot_s") * later
    held = run.said("concurrency") if run.said("rate_asked") == math.inf else math.nan
    inside = run.said("in_flight")
    number = held if math.isfinite(held) else inside
    if not (number > 0 and whole > 0 and seconds > 0 and count > 2 * number):
        return None
    edges = 1.5 * whole / seconds
    tolerance = min(0.95, max(1 - HELD_LEAST, HELD_MOST - 1) + edges)
    audit = audit_benchmark(number, count / seconds, whole, tolerance=tolerance)
    if audit.verdict == "consistent" or (audit.ratio < 1 and run.said("failed") > 0):
        return None
    return Finding(
        "warning",
        f"{sized(count / seconds, 4)} requests a second of {duration(whole)} each make "
        f"{sized(audit.in_flight, 4)} in flight, "
        f"but the test {'held' if math.isfinite(held) else 'says'} {sized(number, 4)}",
        "one of the three numbers measures something else: a latency without its wait, a rate with "
        "failures in it, or clients that paused",
        "count all three over the same window, and pauses as pauses",
        f"Little's law, which is exact but for {percent(tolerance)} at the edges of the run",
        "capacity/littles-law",
    )


def equal_lengths(run: Run, _asked: Asked) -> Finding | None:
    """All prompts or all answers have the same length, unlike those of real users.

    run: with the tokens of each request.

    >>> same = {"prompt_tokens": np.full(200, 512.0), "output_tokens": np.full(200, 9.0)}
    >>> equal_lengths(Run("", "", same), Asked()).level
    'note'
    """
    if run.size < FEW:
        return None
    alike = []
    for name, word in (("prompt_tokens", "prompts"), ("output_tokens", "answers")):
        if run.has(name):
            values = run.column(name)[run.good()]
            values = _known_numbers(values)
            usual = _known_quantile(values)
            if usual > 0 and float((np.abs(values - usual) <= 0.02 * usual + 1).mean()) > 0.98:
                alike.append(f"{word} have {usual:g} tokens")
    if not alike:
        return None
    return Finding(
        "note",
        f"all {' and all '.join(alike)}",
        "a batch of equal answers ends together, and no long prompt stalls others: users' lengths "
        "make tails that this test lacks",
        "test with lengths of your own log (--dataset-name custom, or a trace)",
        "counted",
        "optimization/batching",
    )


def check_late_client_by_hand() -> None:
    """Requests due each second that leave two seconds late are late, and not when they leave in
    time.

    Source: by hand.
    """
    due = np.arange(200.0)
    for late, level in ((2.0, "problem"), (0.001, None)):
        columns = {"due_s": due, "sent_s": due + late, "ttft_s": np.full(200, 0.1)}
        found = late_client(Run("", "", columns), Asked())
        checks.equal(f"late by {late:g} s", found.level if found else None, level)


def check_published_stages_are_read() -> None:
    """Numbers of a published load test: 212 requests a second asked for, 176 sent, 5.2 s late, and
    a time per token of half of what its latencies say.

    Source: kubernetes-sigs/inference-perf, demos/kubecon-na-2025, stage 5 (Apache-2.0).
    """
    told = {"rate_asked": 212.24, "rate_sent": 175.66, "completed": 12734.0, "ttft_s": 1.6851}
    told |= {"tpot_s": 0.005716, "latency_s": 2.4210, "output_tokens": 62.428}
    told |= {"delay_mean_s": 5.1773, "delay_p99_s": 12.335, "duration_s": 72.494}
    run = Run("", "", told=told)
    for function in (late_client, tpot_definition):
        found = function(run, Asked())
        checks.holds(function.__name__, found is not None, got=found.seen if found else "")


def check_quiet_runs_say_nothing() -> None:
    """A test without faults has no problem and no warning of this kind.

    Source: independent latencies, as they were drawn.
    """
    rng = np.random.default_rng(5)
    sent = np.cumsum(rng.exponential(0.2, 2000))
    ttft = rng.gamma(4.0, 0.05, 2000)
    columns: dict[str, FloatArray] = {"sent_s": sent, "due_s": sent - 1e-4, "ttft_s": ttft}
    columns |= {"latency_s": ttft + rng.gamma(9.0, 0.2, 2000), "failed": np.zeros(2000)}
    columns |= {"output_tokens": rng.geometric(0.01, 2000).astype(float)}
    run = Run("", "", columns, told={"rate_asked": 5.0, "completed": 2000.0})
    functions = (late_client, closed_loop, warm_up, growing_queue, too_few, failures, empty_answers)
    found = [one.seen for f in functions if (one := f(run, Asked())) and one.level != "note"]
    checks.equal("found", found, [], kind="simulation")
