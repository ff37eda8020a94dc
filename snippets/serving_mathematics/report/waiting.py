"""Who waits, and for what: one queue or several, and the places or tokens of memory that limit it.

Where requests wait, what limits how many run is steady and the rest varies: as many run, whatever
they hold, or they hold as many tokens, however many they are. In one queue in order nobody who was
sent later has a first token before half of an earlier wait is over; behind a router, a slow replica
or a gateway that holds some back, many have.

Assumes: answers that grow evenly, and prompts that share no beginning, where tokens are counted.

Source: Kwon et al. (2023), *Efficient Memory Management for Large Language Model Serving with
PagedAttention*, for what a request holds; Little (1961).
"""

from __future__ import annotations

import heapq
import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.report.evidence import (
    FloatArray,
    Run,
    Series,
    _known_mean,
    _known_quantile,
    _tick_s,
)
from serving_mathematics.support import checks

EVENLY = 1000  # moments at which is looked who runs and who waits
LOOKS, FEWEST_QUEUED = 2000, 10  # at which is looked who is inside, and of them with a queue
MORE, READ = 1.1, 2.0  # inside, of those that run, and beside them, from which somebody waits
STEADY = 0.1  # of its median, within which half of what limits a batch lies
CLEARLY = 0.5  # of how far the number that run varies, up to which their tokens are the limit
VARIED = 0.3  # the same, from which tokens in memory are no limit: preempted requests hold none
USUAL = 0.75  # of what ran at those moments: some places are read into, some counted twice
LONG, FEW_LONG = 4.0, 20  # times the first quarter's time to first token; requests that waited so
PASSED = 0.5  # of their time, from which there is no single queue
ROUTED = (
    "look at what the router sends where, and for a slow or cold replica or a hold before the "
    "engines: flags and replicas help only the others"
)
FEWEST_LATE, SHORT, UNTIL_END = 20, 0.2, 0.98  # requests, and of the time of a log
LONGER, LATER = 0.4, 0.75  # of it, that late ones last at most in the middle, and to its end
PROMPT_MOST = 0.25  # of a request in time, from which what runs is mostly not told
OFTEN_MORE = 0.6  # chance that a late request found more running than another, from which it did
SHARED = 0.05  # of the prompt tokens, found in a cache, from which what is held is not told


def levels(run: Run) -> Series | None:
    """Requests that run and that wait, at evenly spaced moments; None where nothing tells both.

    run: with an engine's levels, or with when each request was sent, admitted and ended.

    >>> both = {"sent_s": np.zeros(2), "queue_s": np.array([0.0, 2.0])}
    >>> run = Run("", "", both | {"latency_s": np.array([2.0, 4.0])})
    >>> levels(run).values["waiting"][::250].tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    if run.series is not None and {"running", "waiting"} <= set(run.series.values):
        return _fullest(run.series)
    if not run.has("sent_s", "queue_s", "latency_s"):
        return None
    sent = run.column("sent_s")
    admitted, ends = sent + _queued_s(run), sent + run.column("latency_s")
    known = np.isfinite(admitted) & np.isfinite(ends)
    first, last = float(sent[known].min()), float(ends[known].max())
    times = first + (np.arange(EVENLY) + 0.5) / EVENLY * (last - first)
    came, begun, ended = (_until(x[known], times) for x in (sent, admitted, ends))
    return Series(times, {"running": begun - ended, "waiting": came - begun})


def _until(events: FloatArray, moments: FloatArray) -> FloatArray:
    """How many events there were by each of some moments."""
    return np.searchsorted(np.sort(events), moments, side="right").astype(float)


def _fullest(series: Series) -> Series:
    """With the levels of the engine before which most wait, and how the others are, where several
    are told apart: a flag is of one engine, and places that are free in another help nobody.

    >>> full, free = ({"running": np.full(1, x), "waiting": np.full(1, x)} for x in (9.0, 4.0))
    >>> told = _fullest(Series(np.zeros(1), {}, {"a": full, "b": free}))
    >>> told.level("waiting").tolist(), told.level("others_running").tolist()
    ([9.0], [4.0])
    """
    both = {name: x for name, x in series.engines.items() if {"running", "waiting"} <= set(x)}
    if len(both) < 2:
        return series
    means = {name: [_known_mean(x[y]) for y in ("waiting", "running")] for name, x in both.items()}
    first = max(means, key=lambda name: np.nan_to_num(means[name]).tolist())
    others = {}
    for level in ("running", "waiting"):
        rows = np.array([x[level] for name, x in both.items() if name != first])
        there = np.isfinite(rows).sum(axis=0)
        sums = np.nansum(rows, axis=0)
        others[f"others_{level}"] = np.where(there > 0, sums / np.maximum(there, 1), math.nan)
    values = dict(series.values) | dict(both[first]) | others
    return Series(series.time_s, values, {first: both[first]})


def _queued_s(run: Run) -> FloatArray:
    """Times in the queue, 0 where that is the wait for the next step of the engine."""
    queue, steps = run.column("queue_s"), run.tpot_s()
    steps = np.where(np.isfinite(steps), steps, np.nan_to_num(_known_quantile(steps)))
    return np.where(queue <= 2 * steps, 0.0, queue)


def _load(run: Run) -> tuple[FloatArray, FloatArray, FloatArray, bool]:
    """Moments, requests that ran and that were inside at them, and whether those that waited are
    told, and not only those without a first token."""
    told = levels(run)
    if told is not None and told.level("running").size >= FEWEST_QUEUED:
        running, waiting = told.values["running"], told.values["waiting"]
        known = np.isfinite(running) & np.isfinite(waiting)
        return told.time_s[known], running[known], (running + waiting)[known], True
    sent = run.column("sent_s")
    first, end = sent + run.column("ttft_s"), sent + run.column("latency_s")
    known = run.good() & np.isfinite(first + end)
    moments = np.linspace(float(sent[known].min()), float(end[known].max()), LOOKS)
    came, begun, ended = (_until(x[known], moments) for x in (sent, first, end))
    return moments, begun - ended, came - ended, False


def _spread(values: FloatArray) -> float:
    """Between the quarters, over the median; infinite where that is 0.

    >>> _spread(np.array([9.0, 10.0, 10.0, 11.0, 12.0]))
    0.1
    """
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float((high - low) / middle) if middle > 0 else math.inf


def _limits(run: Run) -> tuple[float, float]:
    """Places of an engine, or tokens that its memory holds: what was steady while requests waited.
    NaN for the other, or for both where neither was, few waited or there is no single queue."""
    moments, running, inside, told = _load(run)
    if _passed_share(run) > PASSED:
        return math.nan, math.nan
    many = inside > MORE * float(running.max()) + READ
    for queued in (inside - running >= 1, many) if told else (many,):  # one may wait for a step
        if queued.sum() < FEWEST_QUEUED:
            continue
        ran, (held, tokens) = _spread(running[queued]), _held_spread(run, moments[queued])
        if ran <= min(STEADY, held):
            return max(1.0, float(np.quantile(running[queued], 0.5 if told else USUAL))), math.nan
        if held <= min(STEADY, CLEARLY * ran):
            return math.nan, tokens
    return math.nan, math.nan


def _memory_free(run: Run) -> bool:
    """Whether a log tells that memory is not what its requests waited for."""
    moments, running, inside, told = _load(run)
    queued = told & (inside - running >= 1)
    return bool(queued.any()) and VARIED < _held_spread(run, moments[queued])[0] < math.inf


def _held_spread(run: Run, moments_s: FloatArray) -> tuple[float, float]:
    """How far tokens in memory vary over some moments, and their median; infinite and NaN where
    they are not told."""
    if not run.has("sent_s", "ttft_s", "latency_s", "prompt_tokens", "output_tokens"):
        return math.inf, math.nan
    found, prompt = run.column("cached_tokens"), run.column("prompt_tokens")
    if np.nansum(found) > SHARED * np.nansum(prompt):
        return math.inf, math.nan
    held = _held_tokens(run, moments_s)
    return _spread(held), float(f"{np.median(held):.2g}")


def _held_tokens(run: Run, moments_s: FloatArray) -> FloatArray:
    """Tokens in the memory of an engine at some moments, each answer growing evenly, if no prompt
    shares its beginning with another; those of requests that tell all.

    >>> columns = {"sent_s": 0.0, "queue_s": 0.0, "ttft_s": 1.0, "latency_s": 5.0}
    >>> columns |= {"prompt_tokens": 10.0, "output_tokens": 8.0}
    >>> run = Run("", "", {name: np.full(1, x) for name, x in columns.items()})
    >>> _held_tokens(run, np.array([0.5, 3.0, 6.0])).tolist()
    [10.0, 14.0, 0.0]
    """
    sent, prompt, output = (run.column(x) for x in ("sent_s", "prompt_tokens", "output_tokens"))
    first, end = sent + run.column("ttft_s"), sent + run.column("latency_s")
    admitted = sent + (_queued_s(run) if run.has("queue_s") else run.column("ttft_s"))
    known = run.good() & np.isfinite(admitted + first + end + prompt + output)
    admitted, first, end, prompt = (x[known] for x in (admitted, first, end, prompt))
    pace = output[known] / np.maximum(end - first, 1e-9)

    def among(begins: FloatArray, weights: FloatArray) -> FloatArray:
        """The sum of weights from their beginnings to the ends."""
        total = np.zeros(np.size(moments_s))
        for points, sign in ((begins, 1.0), (end, -1.0)):
            order = np.argsort(points, kind="stable")
            sums = np.r_[0.0, np.cumsum(weights[order])]
            total += sign * sums[np.searchsorted(points[order], moments_s, side="right")]
        return total

    written = among(first, pace) * moments_s - among(first, pace * first)
    return np.asarray(np.maximum(among(admitted, prompt) + written, 0.0))


def _passed_share(run: Run, least_s: float = math.nan) -> float:
    """Of the time to first token of requests that waited long, the share of those whom one passed
    that was sent later: it had its first token before half of their time was over, as in no single
    queue in order. NaN where few waited, or moments do not tell.

    least_s: that counts as long; four times the first quarter's time where it is not said.
    """
    if not run.has("sent_s", "ttft_s"):
        return math.nan
    first = run.column("sent_s") + run.column("ttft_s")
    known = run.good() & np.isfinite(first)
    order = np.argsort(run.column("sent_s")[known], kind="stable")
    sent, first = run.column("sent_s")[known][order], first[known][order]
    lasted, tick = first - sent, _tick_s(sent)
    long = lasted > (least_s if least_s > 0 else LONG * _known_quantile(lasted, 0.25))
    if long.sum() < FEW_LONG or tick > _known_quantile(lasted):
        return math.nan
    soonest = np.r_[np.minimum.accumulate(first[::-1])[::-1], math.inf]
    later = soonest[np.searchsorted(sent, sent + tick, side="right")]
    passed = later < sent + lasted / 2
    return float(lasted[long & passed].sum() / lasted[long].sum())


def _stretch(late: FloatArray, sent: FloatArray) -> tuple[float, float] | None:
    """The shortest time in which nine of ten late requests were sent, or from which on they were,
    where it lasts until the end of the log; None where it is most of the log, or they are few."""
    late = np.sort(late[np.isfinite(late)])
    if late.size < FEWEST_LATE:
        return None
    begin, last = float(np.nanmin(sent)), float(np.nanmax(sent))
    if late[-1] > begin + UNTIL_END * (last - begin):
        first = float(late[late.size // 20])
        return (first, last) if first > last - LATER * (last - begin) else None
    most = math.ceil(0.9 * late.size)
    lasting = late[most - 1 :] - late[: late.size - most + 1]
    at = int(np.argmin(lasting))
    short = lasting[at] < LONGER * (last - begin)
    return (float(late[at]), float(late[at + most - 1])) if short else None


def _more_ran(run: Run, late: npt.NDArray[np.bool_]) -> bool:
    """Whether late requests came while more ran or more came than others found, or what limits an
    engine was full; True where nothing tells, as where most of a request is its prompt."""
    if not run.has("sent_s", "ttft_s", "latency_s"):
        return True
    sent, lasted = run.column("sent_s"), run.column("latency_s")
    first, end = sent + run.column("ttft_s"), sent + lasted
    known = run.good() & np.isfinite(first + end)
    mine, others = known & late, known & ~late
    if min(mine.sum(), others.sum()) < FEWEST_LATE:
        return True
    if _known_quantile((run.column("ttft_s") / np.maximum(lasted, 1e-9))[others]) > PROMPT_MOST:
        return True
    stay = _known_quantile(lasted[others])
    for since, until in ((first, end), (sent, sent + stay)):
        found = _until(since[known], sent) - _until(until[known], sent)
        usual = np.sort(found[others])
        sides = [np.searchsorted(usual, found[mine], side=x).mean() for x in ("left", "right")]
        if sum(sides) / 2 / usual.size > OFTEN_MORE:
            return True
    return bool(np.isfinite(_limits(run)).any())


def check_what_is_steady_is_the_limit() -> None:
    """Requests of 100 to 1,900 prompt tokens that all came at once, into 16 places, and into memory
    for 16,000 tokens: as many places are found, and as many tokens.

    Source: the rule by which requests were let in.
    """
    rng = np.random.default_rng(12)
    prompts = rng.uniform(100, 1900, 900)
    for name, room in (("places", 16.0), ("tokens", 16_000.0)):
        takes = np.ones(900) if name == "places" else prompts + 5
        ends: list[tuple[float, float]] = []
        now, taken, admitted = 0.0, 0.0, np.zeros(900)
        stay = rng.uniform(2, 6, 900)
        for place, size in enumerate(takes.tolist()):
            while taken + size > room:
                now, freed = heapq.heappop(ends)
                taken -= freed
            admitted[place], taken = now, taken + size
            heapq.heappush(ends, (now + float(stay[place]), size))
        columns = {"sent_s": 1e-6 * np.arange(900), "ttft_s": admitted + 0.01}
        columns |= {"latency_s": admitted + stay, "prompt_tokens": prompts}
        found = _limits(Run("", "", columns | {"output_tokens": np.full(900, 10.0)}))
        checks.close(name, found[0 if name == "places" else 1], room, rtol=0.1, kind="simulation")
