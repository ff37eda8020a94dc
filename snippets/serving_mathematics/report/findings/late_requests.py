"""Why requests are late: what the late ones have in common that is no load.

One tenant's, an engine that slept or stopped, a part of the time in which a cache found less,
prompts were longer, the engine was slower or more came, or others that passed them.

Source: `report.waiting`, for who passed whom and whether more ran; Beyer et al. (2016), *Site
Reliability Engineering*, chapter 12, for looking at what changed first.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from serving_mathematics.report.evidence import (
    DAY_S,
    FloatArray,
    Run,
    _date,
    _known_mean,
    _known_numbers,
    _known_quantile,
    _since_first,
)
from serving_mathematics.report.findings.finding import Asked, duration, percent
from serving_mathematics.report.findings.of_the_tenants import _mostly_of
from serving_mathematics.report.own_engine import LEAST_TOLD, _changed
from serving_mathematics.report.waiting import (
    FEWEST_LATE,
    PASSED,
    ROUTED,
    SHORT,
    _more_ran,
    _passed_share,
    _stretch,
)
from serving_mathematics.support.digits import sized

FELL, STRETCHES_OF_HITS = 0.2, 8  # of the prompt tokens, that are found no more; of a log
STOPPED_S, STOPPED_TIMES = 10.0, 10.0  # without any token, and times the third longest such time
CROWD = 1.5  # times the mean rate, or the usual prompt, from which it is what makes late
SURELY = 3.0  # standard errors of a count, by which a crowd is more than chance
COLD_LATE, FEW_COLD = 5, 2  # late requests, and starts, up to which nothing is said of them
COLD_IDLE_S = 10.0  # without a request, from which an engine may sleep
COLD_PROMPTS = 2.0  # times the usual prompt, from which one is late by itself


def _why_late(run: Run, kept: FloatArray, asked: Asked) -> str:
    """What is to be looked at where late requests have something in common that is no load: whose
    they are, an engine that slept, a time, or that others passed them; empty elsewhere."""
    late = kept == 0
    failed = late & ~run.good() & ~_left(run)
    whose, of_late, of_all = _mostly_of(run, late)
    if failed.sum() > 0.9 * late.sum():
        seen = f"; {of_late} of them are from {whose}, which sent {of_all} of all" if whose else ""
        return f"fix what fails: nine in ten that broke the promise have no complete answer{seen}"
    if failed.any() and _known_mean(kept[run.good()]) >= asked.quantile:
        return "fix what fails: enough of the answers that came keep the promise"
    if whose:
        seen = f"it has {of_late} of the late requests, and {of_all} of all"
        return f"look at what holds {whose} up before the engine, or serve it separately: {seen}"
    cold = _cold_starts(run, late & (run.column("ttft_s") > asked.ttft_s))
    if cold > FEW_COLD:
        seen = f"keep an engine awake, or start it faster: {cold} times a request came to an idle "
        return seen + "one and waited, and nine in ten late requests came at those times"
    if cause := _cause(run, late, "late ones"):
        return cause
    passed = asked.ttft_s > 0 and _passed_share(run, asked.ttft_s) > PASSED
    return f"requests sent later passed the late ones: {ROUTED}" if passed else ""


def _left(run: Run) -> npt.NDArray[np.bool_]:
    """Requests whose clients gave up before a first token: they waited, and nothing failed."""
    return np.asarray((run.column("gave_up") > 0) & np.isnan(run.column("ttft_s")))


def _cold_starts(run: Run, late: npt.NDArray[np.bool_]) -> int:
    """How often a request came to an engine with nobody inside and was late, where nine of ten late
    ones are these and those in a row behind them; 0 elsewhere.

    >>> sent = np.repeat(np.arange(9.0) * 900, 3) + np.tile([0.0, 1.0, 50.0], 9)
    >>> run = Run("", "", {"sent_s": sent, "latency_s": np.tile([8.0, 7.0, 1.0], 9)})
    >>> _cold_starts(run, run.column("latency_s") > 5)
    9
    """
    if not run.has("sent_s", "latency_s") or late.sum() < COLD_LATE:
        return 0
    sent = run.column("sent_s")
    known = np.isfinite(sent + run.column("latency_s"))
    order = np.argsort(sent[known], kind="stable")
    late, sent = late[known][order], sent[known][order]
    prompt = run.column("prompt_tokens")[known][order]
    ends = np.maximum.accumulate(sent + run.column("latency_s")[known][order])
    idle = np.r_[math.inf, sent[1:] - ends[:-1]]
    alone = idle > 0
    usual = max(COLD_IDLE_S, 2 * np.nan_to_num(_known_quantile(idle[alone & ~late])))
    if not _known_quantile(idle[alone & late]) > usual:
        return 0  # it slept no longer before these
    begins = np.flatnonzero(late & ~np.r_[False, late[:-1] & ~alone[1:]])  # of late ones in a row
    row = np.cumsum(np.isin(np.arange(late.size), begins)) - 1
    cold = late & alone[begins[np.maximum(row, 0)]] if begins.size else late & False
    common, own = (_known_quantile(x) for x in (prompt, prompt[late & alone]))
    longer = own > COLD_PROMPTS * common  # late by themselves
    return int((late & alone).sum()) if cold.sum() >= 0.9 * late.sum() and not longer else 0


def _cause(run: Run, late: npt.NDArray[np.bool_], who: str) -> str:
    """What to look at where nine of ten late requests were sent in one part of the log or from a
    moment on: a cache that found less then, longer prompts, a slower engine, later ones that passed
    them, more requests, or something else if no more ran than at other times. Empty where they are
    no part of it, few, or a queue that grows.

    late: which requests. who: what these are called.

    >>> late = np.abs(np.arange(1000) - 515) <= 15
    >>> _cause(Run("", "", {"sent_s": np.arange(1000.0)}), late, "late ones").partition(",")[0]
    'look at what happened from 500 s to 527 s after the first request'
    """
    if not (run.has("sent_s") and late.any()):
        return ""
    since, found, prompts = (run.column(x) for x in ("sent_s", "cached_tokens", "prompt_tokens"))
    since, (at, after) = _since_first(since), _clock_of(run)
    ends, last = _stretch(since[late], since), float(np.nanmax(since))
    early = last / STRETCHES_OF_HITS  # a moment below is told to a stretch
    when, then = "", np.zeros(run.size, dtype=bool)
    if ends is not None:
        then = (since >= ends[0]) & (since <= ends[1])
        end = f"{after} on" if ends[1] == last else f" to {at(ends[1])}{after}"
        when = f"from {at(ends[0])}{end}, when nine in ten {who} were sent"
    other = np.isfinite(since) & ~then
    had, has = _known_mean(found[other]), _known_mean(found[then])
    usual, long = (max(_known_mean(prompts[x]), 1.0) for x in (other, then))
    if had / usual - has / long > FELL and has < (1 - FELL) * had:
        seen = f"{percent(has / long)} of the prompt tokens were found then, otherwise "
        return f"look for what emptied the prefix cache {when}: {seen}{percent(had / usual)}"
    fell, told = _hits_fell(run), _changed(run)
    if fell is not None and (since[late] >= fell[0] - early).mean() > 0.9:
        moment = f"{at(fell[0])}{after}" if after else f"at {at(fell[0])}"
        return f"look for what emptied the prefix cache {moment}"
    stopped = _stopped(run)
    if stopped is not None and (since[late] >= stopped[0] - early).mean() > 0.9:
        seen = f"from {at(stopped[0])} to {at(stopped[1])}{after}"
        return f"look at what stopped the engine {seen}: requests came, and none got a token"
    if long > CROWD * usual:
        seen = f"find who sent prompts {sized(long / usual, 2)} times as long {when}"
        return f"{seen}: bound them, or serve them separately"
    begins = told[0] - float(np.nanmin(run.column("sent_s"))) if told and told[1] > 1 else math.inf
    if (since[late] >= begins - early).mean() > 0.9:
        return f"look for what made the engine slower from {at(begins)}{after} on"
    if ends is None:
        return ""
    if _passed_share(run) > PASSED:
        return f"look at what happened {when}; later ones passed them: {ROUTED}"
    times, until = _crowd(np.sort(since[then]), float(np.isfinite(since).sum() / last))
    if times > CROWD:
        begun = f"from {at(ends[0])} to {at(until)}, of the time "
        return f"plan for {sized(times, 2)} times the mean rate, as it was " + (
            begun * (until < ends[1]) + when
        )
    as_many = not _more_ran(run, late)
    seen = "; no more ran than at other times: also look before the engines" if as_many else ""
    short = ends[1] < last and ends[1] - ends[0] < SHORT * last
    return f"look at what happened {when}{seen}" if as_many or short else ""


def _clock_of(run: Run) -> tuple[Callable[[float], str], str]:
    """How a run says a moment, from the seconds since its first request, and what stands after it:
    by the calendar where it lasts more than a day and tells when it began.

    >>> sent = {"sent_s": np.array([0.0, 1e5])}
    >>> [_clock_of(Run("", "", sent, zero_at_s=at_s))[0](7200.0) for at_s in (1.7e9, None)]
    ['2023-11-15 00:13 UTC', '7,200 s']
    """
    sent = _known_numbers(run.column("sent_s"))
    if run.zero_at_s is not None and sent.size and sent.max() - sent.min() > DAY_S:
        begin = run.zero_at_s + float(sent.min())
        return (lambda after_s: _date(begin + after_s)), ""
    return duration, " after the first request"


def _stopped(run: Run) -> tuple[float, float] | None:
    """From when to when nobody had a first token or an end, for far longer than else though many
    came, since the first request [s]; None where there was no such time.

    >>> sent = np.arange(200.0)
    >>> held = np.where((sent >= 100) & (sent < 130), 131 - sent, 1.0)
    >>> _stopped(Run("", "", {"sent_s": sent, "ttft_s": held, "latency_s": held}))
    (100.0, 131.0)
    """
    sent, good = run.column("sent_s"), run.good()
    moments = [(sent + run.column(name))[good] for name in ("ttft_s", "latency_s")]
    had = np.sort(_known_numbers(np.concatenate(moments)))
    gaps = np.diff(had)
    if gaps.size < 3 or gaps.max() <= max(STOPPED_S, STOPPED_TIMES * float(np.sort(gaps)[-3])):
        return None
    begin, end = (float(had[gaps.argmax() + x]) for x in (0, 1))
    first = float(_known_numbers(sent).min())
    came = ((sent >= begin) & (sent < end)).sum()
    return (begin - first, end - first) if came >= FEWEST_LATE else None


def _crowd(sent: FloatArray, mean_rate: float) -> tuple[float, float]:
    """How many times the mean rate came, and until when: as long as a crowd did, behind which are
    those who wait for its queue to empty; to the end where a shorter crowd may be chance.

    sent: moments of a stretch, in order [s]. mean_rate: of the log, per second.

    >>> _crowd(np.append(np.linspace(0, 10, 101), np.linspace(11, 100, 90)), 1.0)
    (10.1, 10.0)
    """
    count = np.arange(1, sent.size + 1)
    more = count - CROWD * mean_rate * (sent - sent[0])
    at = int(np.argmax(more))
    at = at if more[at] > SURELY * math.sqrt(count[at]) else sent.size - 1
    return float(count[at] / (sent[at] - sent[0] or 1e-9) / mean_rate), float(sent[at])


def _looked_up(run: Run) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Moments in order, prompt tokens that came by each, and those of them that a cache had; empty
    where requests tell none and an engine's counters no stretches."""
    if run.has("sent_s", "prompt_tokens", "cached_tokens"):
        names = ("sent_s", "prompt_tokens", "cached_tokens")
        sent, prompt, found = (run.in_order().columns[name] for name in names)
        known = np.isfinite(sent + prompt + found)
        if known.sum() >= LEAST_TOLD:
            return sent[known], prompt[known], found[known]
    values = dict(run.series.values) if run.series is not None else {}
    asked, found = (values.get(x, np.zeros(0)) for x in ("prefix_asked", "prefix_found"))
    asked = asked if asked.size else values.get("prompt_tokens", np.zeros(0))
    if run.series is None or not asked.size == found.size == run.series.time_s.size:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    known = np.isfinite(run.series.time_s + asked + found)
    asked, found = (np.maximum(np.diff(x[known]), 0.0) for x in (asked, found))
    return run.series.time_s[known][1:], asked, found


def _hits_fell(run: Run) -> tuple[float, float, float] | None:
    """From how long after the first on fewer prompt tokens were found in a cache [s], the share
    before and after; None where the shares of eight stretches are not apart so, or nothing tells.

    >>> columns = {"sent_s": np.arange(400.0), "prompt_tokens": np.full(400, 9.0)}
    >>> columns["cached_tokens"] = np.where(np.arange(400) < 200, 6.0, 0.0)
    >>> _hits_fell(Run("", "", columns))
    (200.0, 0.6666666666666666, 0.0)
    """
    moments, prompt, found = _looked_up(run)
    if moments.size < 2 * STRETCHES_OF_HITS:
        return None
    parts = np.array_split(np.arange(moments.size), STRETCHES_OF_HITS)
    shares = np.array([found[x].sum() / max(prompt[x].sum(), 1.0) for x in parts])
    at = int(np.argmin(np.diff(shares))) + 1
    before, after = (np.concatenate(x) for x in (parts[:at], parts[at:]))
    had, has = (float(found[x].sum() / max(prompt[x].sum(), 1.0)) for x in (before, after))
    apart = shares[:at].min() > shares[at:].max() and had - has > FELL
    fewer = found[after].mean() < (1 - FELL) * found[before].mean()  # and not longer prompts
    if not (apart and (fewer or not run.has("cached_tokens"))):
        return None
    return float(moments[after[0]] - moments[0]), had, has
