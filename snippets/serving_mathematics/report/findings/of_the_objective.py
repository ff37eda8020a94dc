"""The objective and the money: how many requests keep it, up to which load, and what a token costs.

Shares are of all requests, those that failed among the late. Their interval is of as many requests
as these are worth, because those that stand in one queue are late together; the level is told by
tenths of the run where there is none, and where it may be a warning.

Source: Beyer et al. (2018), chapters 2 and 5; Zhong et al. (2024) for goodput; Quenouille (1956)
for the interval.
"""

# In one piece: a function for each finding, with its words; they share what counts as in time.

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.shadow_canary.shadow_canary import samples_per_arm
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.queues.shares import wilson_interval
from serving_mathematics.report.artefacts import (
    BUCKETS,
    alert_rules,
    autoscaler_objects,
    queue_flags,
    scaling_target,
)
from serving_mathematics.report.engine_names import WITHIN
from serving_mathematics.report.evidence import (
    DAY_S,
    FloatArray,
    Run,
    _date,
    _inside_at,
    _known_mean,
    _known_quantile,
    _rates_told,
)
from serving_mathematics.report.findings.finding import (
    FEW,
    Asked,
    Finding,
    _alike,
    _ends_of,
    _sure_of,
    duration,
    percent,
)
from serving_mathematics.report.findings.of_the_engine import (
    BEFORE_OR_IN,
    _cause,
    _hits_fell,
)
from serving_mathematics.report.findings.of_the_tenants import _mostly_of
from serving_mathematics.report.own_engine import (
    FASTEST_TIMES,
    LEAST_BUDGET,
    MOST_SERVED,
    SURE,
    OwnEngine,
    _changed,
    _found_tokens,
    _simulated,
    breaking_rate,
    fit_own,
    held_rate,
    twice_alone,
)
from serving_mathematics.report.waiting import (
    PASSED,
    ROUTED,
    _more_ran,
    _passed_share,
)
from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized
from serving_mathematics.support.intervals import half_width

P99 = 0.99  # that summaries tell
EPOCHS_S = 1e9, 4e9  # since 1970: of the years 2001 to 2096
WINDOWS = ((3600.0, "hour"), (30 * DAY_S, "30 days"))  # of a promise, and of who was woken [s]
BINS = 12  # of requests by how many were inside
SLICE = 12  # requests of a stretch of time in which answers are counted
STILL, SOME_STILL = 0.25, 0.05  # of the answers of usual stretches; of the stretches
SEEN = 0.5  # of the mark of a canary: a budget that is spent twice as fast
LATE_ALREADY = 0.2  # share of late requests, beyond which no canary is needed to see it
PREFIX_MORE, NEARLY = 0.1, 0.9  # of the prompts, found; of the ceiling, asked
TOGETHER = 3.0  # requests that are worth one, from which a canary of independent ones is too small
COLD_LATE, FEW_COLD = 5, 2  # late requests, and starts, up to which nothing is said of them
SEVERAL = 1.5  # times the time per token that a gap is, from which it brings several
EDGE = 0.8  # of the ceiling, from which one busy period is a run
COLD_IDLE_S = 10.0  # without a request, from which an engine may sleep
COLD_PROMPTS = 2.0  # times the usual prompt, from which one is late by itself
IDLE = 0.3  # of the time without a request, which is paid all the same
ROOM = 1.2  # times the rate of the log, below which more is to be planned for
ELSEWHERE = 1.5  # the same, from which the engine's speed is not the cause
WITH_MEMORY = ", within a tenth where memory binds, as work of preempted requests is left out"
WORST = 0.3  # error of the simulated engine, up to which its answer is told


def _in_time(run: Run, asked: Asked) -> npt.NDArray[np.float64] | None:
    """Which requests kept the objective, 1 or 0, NaN where the log does not tell; None where
    nothing was promised, or cannot be compared."""
    if not asked.promised or not run.size:
        return None
    kept = np.ones(run.size)
    if asked.ttft_s > 0:
        if not run.has("ttft_s"):
            return None
        kept *= np.where(
            np.isnan(run.column("ttft_s")), np.nan, run.column("ttft_s") <= asked.ttft_s
        )
    if asked.tpot_s > 0:
        if not run.has("ttft_s", "latency_s", "output_tokens"):
            return None
        one = run.column("output_tokens") <= 1  # has no later token
        slow = np.where(
            one, 0.0, np.where(np.isnan(run.tpot_s()), np.nan, run.tpot_s() > asked.tpot_s)
        )
        kept *= 1 - slow
    return np.where(run.good(), kept, 0.0)


def goodput(run: Run, asked: Asked) -> Finding | None:
    """The share of requests that keep the objective, and the rate of those that do; of a summary,
    whether its percentiles, its means or an engine's histograms keep what is promised.

    run: with times of its requests, or of all together. asked: the objective.

    >>> late = {"ttft_s": np.tile([0.2] * 9 + [3.0], 100)}
    >>> goodput(Run("", "", late), Asked(ttft_s=1.0)).level
    'problem'
    """
    run = run.in_order()
    told = _in_time(run, asked)
    kept = told[np.isfinite(told)] if told is not None else np.zeros(0)
    if told is None or kept.size < 20:
        return _of_summary(run, asked)
    share = float(kept.mean())
    wilson = wilson_interval(int(kept.sum()), kept.size)
    half = float(half_width(np.mean, kept)) if kept.size >= FEW else 0.0
    alike = _alike(kept)
    ends = _ends_of(share, kept.size, alike)
    low, high = ends or (None, None)
    seconds = _rates_told(run)["seconds"] if run.has("sent_s") else math.nan
    rate = run.size / seconds if kept.size > run.size / 2 else math.nan  # failed ones among them
    good = f"; goodput {sized(share * rate)} of {sized(rate)} requests a second" if rate > 0 else ""
    some = kept.size < run.size
    those = f"{percent(kept.size / run.size)} that tell it" if some else "requests"
    least, most = min(wilson.low, share - half), max(wilson.high, share + half)
    level = "note" if least >= asked.quantile else "warning"
    level = "problem" if (ends[1] if ends else most) < asked.quantile else level
    wanted = _wanted(asked)
    times = (1 - share) / (1 - asked.quantile)
    spent = f"{percent(times)} of" if times < 2 else f"{sized(times, 2)} times"
    files, keep = _alerts(asked)
    kinds = {
        "problem": f"lower the load, add replicas or loosen the promise{BEFORE_OR_IN}",
        "warning": "test longer: the log does not settle whether it is kept",
        "note": keep,
    }
    said = "warning" if level == "note" and ends and ends[0] < asked.quantile else level
    why_late = _why_late(run, told, asked) if level != "note" else ""
    return Finding(
        level,
        f"{percent(share, low, high, asked.quantile)} of the {those} keep {wanted}, "
        f"{percent(asked.quantile)} are promised{good}",
        f"{percent(1 - share)} were late or failed, {spent} "
        f"the {percent(1 - asked.quantile)} that the promise leaves",
        why_late or kinds[said],
        f"no interval: {'all were' if share == 0 else 'none was'} late"
        if share in (0, 1)
        else _sure_of(ends, alike, "late requests"),
        "definitions/slo-sla",
        files=files,
    )


def _alerts(asked: Asked) -> tuple[dict[str, str], str]:
    """Alerts on first tokens where a bucket holds the promise, and what to do while it is kept."""
    if not 0 < asked.ttft_s <= BUCKETS[asked.engine][-1]:
        return {}, "keep it"
    rules = alert_rules(asked.ttft_s, asked.quantile, asked.engine)
    return {"alerts.yaml": rules}, "keep it: alerts.yaml has alerts on late first tokens"


def _of_summary(run: Run, asked: Asked) -> Finding | None:
    """What is promised against what is told of all requests together; None where that decides
    nothing."""
    told = [_promise_told(run, asked, *one) for one in _limits_of(asked)]
    failed = run.said("failed")
    every = failed + run.said("completed")
    if failed > (1 - asked.quantile) * every:
        share = percent(failed / every, beside=1 - asked.quantile)
        told.append((False, f"{share} of the requests failed"))
    broken = [words for kept, words in told if kept is False]
    if not told or (not broken and any(kept is None for kept, _ in told)):
        return None
    many = sum(kept is True for kept, _ in told) > 1
    files, keep = _alerts(asked) if run.series is not None else ({}, "keep it")
    return Finding(
        "problem" if broken else "note",
        "; ".join(broken or [words for _, words in told]) + _worst_windows(run, asked),
        f"{percent(asked.quantile)} of the requests are promised {_wanted(asked)}"
        f"{_spent(run, asked)}",
        "lower the load, add replicas or loosen the promise" if broken else keep,
        "counted over all requests" + (", each time by itself: fewer keep both" if many else ""),
        "definitions/slo-sla",
        files=files,
    )


def _spent(run: Run, asked: Asked) -> str:
    """How much of what a promise leaves is spent, where histograms tell it to the request."""
    said = []
    for of, name, limit in _limits_of(asked):
        least, most = _shares_within(run, of, limit)
        if least == most:
            of_all = (1 - least) / (1 - asked.quantile)
            said.append(f"; late {name}s spent {percent(of_all)} of what that leaves")
    return "".join(said)


def _worst_windows(run: Run, asked: Asked) -> str:
    """What requests kept in the hour and in the 30 days with most late first tokens, where counters
    are told at all moments of a longer time."""
    series, bounds = run.series, (asked.ttft_s, math.inf)
    if series is None or not asked.ttft_s > 0:
        return ""
    inside, every = (series.steps(f"ttft{WITHIN}{bound:g}") for bound in bounds)
    times, said = np.asarray(series.time_s, dtype=float), ""
    if not inside.size == every.size == times.size - 1:
        return ""
    late, all_of_them = (np.r_[0, np.cumsum(steps)] for steps in (every - inside, every))
    if not late[-1] > 0:
        return ""
    for window_s, name in WINDOWS:
        last = np.searchsorted(times, times + window_s * (1 + 1e-9), side="right") - 1
        begins = np.flatnonzero(times + window_s <= times[-1])
        if times[-1] - times[0] < 1.5 * window_s or not begins.size:
            continue
        missed = late[last[begins]] - late[begins]
        if not missed.max() > 0:  # they were late in a longer gap between two moments
            continue
        worst = begins[missed.argmax()]
        kept = 1 - missed.max() / (all_of_them[last[worst]] - all_of_them[worst])
        since = _moment(float(times[worst]), float(times[0]))
        share = percent(kept, beside=asked.quantile)
        said += f", in the worst {name} (from {since} on) for {share}"
    return said


def _moment(at_s: float, first_s: float) -> str:
    """A moment by its date where a clock tells it, and else by the days since the first.

    >>> _moment(1.7e9, 1.69e9)
    '2023-11-14 22:13 UTC'
    """
    if EPOCHS_S[0] < first_s and at_s < EPOCHS_S[1]:
        return _date(at_s)
    return f"day {(at_s - first_s) / DAY_S:.2f}"


def _limits_of(asked: Asked) -> list[tuple[str, str, float]]:
    """What is promised: its short name, its name, and its limit [s]."""
    both = (("ttft", "TTFT", asked.ttft_s), ("tpot", "TPOT", asked.tpot_s))
    return [one for one in both if one[2] > 0]


def _promise_told(
    run: Run, asked: Asked, of: str, name: str, limit: float
) -> tuple[bool | None, str]:
    """Whether a promise is kept, as far as a summary tells, and what it tells: the buckets of an
    engine's histogram on both sides of the limit, the 99th percentile, or the mean, which can break
    a promise and not keep it."""
    least, most = _shares_within(run, of, limit)
    if most < asked.quantile or least >= asked.quantile:
        ends = [percent(share, beside=asked.quantile) for share in (least, most)]
        shares = " to ".join(dict.fromkeys(ends))
        return least >= asked.quantile, f"{name} was within {duration(limit)} for {shares}"
    far, mean = run.said(f"{of}_p99_s"), run.said(f"{of}_s")
    promised = f", {duration(limit)} promised"
    if far > limit and asked.quantile >= P99:
        return False, f"{name} at p99 is {duration(far)}{promised}"
    if mean > limit:
        return False, f"{name} is {duration(mean)} in the mean{promised}"
    if far <= limit and asked.quantile <= P99:
        return True, f"{name} at p99 is {duration(far)}{promised}"
    return None, ""


def _shares_within(run: Run, of: str, limit: float) -> tuple[float, float]:
    """The least and the largest share of requests that were within a limit, by the bounds of a
    histogram below and above it; NaN where none is told."""
    if run.series is None:
        return math.nan, math.nan
    counted = {
        float(name.removeprefix(f"{of}{WITHIN}")): run.series.grown(name)
        for name in run.series.values
        if name.startswith(f"{of}{WITHIN}")
    }
    every = counted.get(math.inf, math.nan)
    if not every > 0:
        return math.nan, math.nan
    below = [count for bound, count in counted.items() if bound <= limit * (1 + 1e-9)]
    above = [count for bound, count in counted.items() if bound >= limit * (1 - 1e-9)]
    return max(below, default=0.0) / every, min(above) / every


def _undecided(run: Run, asked: Asked) -> str:
    """What a run lacks that tells of a promise, but not enough to say whether it is kept."""
    names = {"ttft": "each time to first token", "tpot": "each answer's latency and tokens"}
    open_ = [
        names[one[0]] for one in _limits_of(asked) if _promise_told(run, asked, *one)[0] is None
    ]
    return f"{' and '.join(open_)}, or their 99th percentile, for a promise of 99% or less"


def _why_late(run: Run, kept: FloatArray, asked: Asked) -> str:
    """What is to be looked at where late requests have something in common that is no load: whose
    they are, an engine that slept, a time, or that others passed them; empty elsewhere."""
    late = kept == 0
    failed = late & ~run.good() & ~_left(run)
    whose, of_late, of_all = _mostly_of(run, late)
    if failed.sum() > 0.9 * late.sum():
        seen = f"; {of_late} of them are of {whose}, which sent {of_all} of all" if whose else ""
        return f"mend what fails: nine of ten that did not keep it have no whole answer{seen}"
    if failed.any() and _known_mean(kept[run.good()]) >= asked.quantile:
        return "mend what fails: of the answers that came enough keep it"
    if whose:
        seen = f"of it are {of_late} of the late requests, and {of_all} of all"
        return f"look at what holds {whose} before the engine, or serve it apart: {seen}"
    cold = _cold_starts(run, late & (run.column("ttft_s") > asked.ttft_s))
    if cold > FEW_COLD:
        seen = f"keep an engine awake, or start it faster: {cold} times a request came to one that "
        return seen + "had nobody inside and waited, and nine of ten late ones came meanwhile"
    if cause := _cause(run, late, "late ones"):
        return cause
    passed = asked.ttft_s > 0 and _passed_share(run, asked.ttft_s) > PASSED
    return f"requests sent later passed the late ones: {ROUTED}" if passed else ""


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


def _wanted(asked: Asked) -> str:
    parts = [f"a first token in {duration(asked.ttft_s)}"] if asked.ttft_s > 0 else []
    parts += [f"{duration(asked.tpot_s)} a token"] if asked.tpot_s > 0 else []
    return " and ".join(parts)


def load_kept(run: Run, asked: Asked) -> Finding | None:
    """How many requests an engine may hold before the objective breaks, and how many to scale on.

    run: with when requests were sent and their times. asked: the objective.

    >>> sent = np.r_[np.arange(300) * 1.0, 400 + np.arange(300) * 0.01]
    >>> slow = {"sent_s": sent, "ttft_s": np.r_[np.full(300, 0.1), np.linspace(0.1, 9, 300)]}
    >>> run = Run("", "", slow | {"latency_s": slow["ttft_s"] + 1.0})
    >>> sorted(load_kept(run, Asked(ttft_s=1.0)).files)
    ['hpa.yaml', 'keda.yaml']
    """
    held = _load_held(run, asked)
    if isinstance(held, str):
        return None
    most, broken = held
    seen = (
        "the objective holds with up to {:g} requests inside, and breaks beyond"
        if broken
        else "the objective held with up to {:g} inside, the most that came"
    )
    speed, files, change = _prompt_speed(run), {}, "test at a higher load, until it breaks"
    if broken:
        twice = twice_alone(run)
        target = scaling_target(most, twice if twice > 0 else 0.0)
        files = autoscaler_objects(target, asked.engine)
        change = (
            f"scale on running plus waiting, {target} for each replica (keda.yaml or hpa.yaml, not "
            "both), because nearer to where it breaks a fleet swings"
            + ("" if twice > 0 else "; fewer, where a token then takes twice a lone request's time")
        )
    if asked.ttft_s > 0 and speed > 0 and broken:
        prompt = _known_mean(run.column("prompt_tokens"))
        flags = queue_flags(most, speed, asked.ttft_s, prompt, asked.engine)
        files["flags.txt"] = flags + "\n"
    beyond = f", and refuse beyond: {files['flags.txt'].strip()}" if "flags.txt" in files else ""
    return Finding(
        "warning" if broken else "note",
        seen.format(most),
        "requests that run and wait rise before a promise breaks, and GPU utilization does not",
        f"{change}{beyond}",
        f"Wilson's interval in {BINS} parts by load, failed requests left out; one engine behind "
        "the log, and all that it served in it",
        "capacity/autoscaling",
        files=files,
    )


def _load_held(run: Run, asked: Asked) -> tuple[float, bool] | str:
    """How many requests were inside at most while the objective held, and whether it broke beyond;
    else what a log lacks that would tell."""
    told = _in_time(run, asked)
    if told is None or not run.has("sent_s", "latency_s"):
        return "when each request was sent, its times and tokens"
    if _changed(run) is not None or _hits_fell(run) is not None:
        return "an engine and a prefix cache that are the same all the time"
    if _passed_share(run) > PASSED:
        return "requests of one queue: of several, one may be late alone"
    counted = run.good() & np.isfinite(told) & np.isfinite(run.column("sent_s"))
    if counted.sum() < 3 * FEW:
        return f"{3 * FEW} requests or more that tell it"
    left = _left(run) & np.isfinite(run.column("sent_s"))
    limit = _held_by(run, told, counted | left, asked) if left.any() else (0.0, False)
    most, broken = limit if limit[0] >= 1 and limit[1] else _held_by(run, told, counted, asked)
    if most < 1:
        return (
            "a number inside up to which enough are in time and beyond which too many are late; "
            "here requests are late for another reason too, so there is no target to scale on"
        )
    return most, broken


def _left(run: Run) -> npt.NDArray[np.bool_]:
    """Requests whose clients gave up before a first token: they waited, and nothing failed."""
    return np.asarray((run.column("gave_up") > 0) & np.isnan(run.column("ttft_s")))


def _held_by(
    run: Run, told: FloatArray, counted: npt.NDArray[np.bool_], asked: Asked
) -> tuple[float, bool]:
    """How many requests were inside at most while the objective held, by those that are counted, 0
    where load does not tell it, and whether it broke beyond."""
    kept, inside = told[counted], _inside_at(run, run.column("sent_s")[counted])
    order = np.argsort(inside, kind="stable")
    parts = np.array_split(order, BINS)
    shares = [wilson_interval(int(kept[x].sum()), x.size) for x in parts]
    broken = [place for place, one in enumerate(shares) if one.high < asked.quantile]
    if not broken:
        most = float(inside.max())
    else:
        first = broken[0]
        below = np.concatenate(parts[:first]) if first else order[:0]
        most = float(inside[below].max()) if first else 0.0
        holds = first > 0 and kept[below].mean() >= asked.quantile
        lost = all(one.share < asked.quantile for one in shares[first:])
        if not (holds and lost) or _stood_still(run, most) or not _more_ran(run, told == 0):
            most = 0.0
    return most, bool(broken)


def _no_load(run: Run, asked: Asked) -> str:
    """What a log lacks that would tell a target to scale on; empty where it does."""
    held = _load_held(run, asked)
    return f"{held} (with it come hpa.yaml, keda.yaml, flags.txt)" if isinstance(held, str) else ""


def _stood_still(run: Run, most: float) -> bool:
    """Whether next to nothing was answered for part of the time in which more than so many were
    inside, as of an engine that hangs and not of one that is full."""
    known = run.good() & np.isfinite(run.column("sent_s") + run.column("latency_s"))
    sent = run.column("sent_s")[known]
    ends = sent + run.column("latency_s")[known]
    edges = np.linspace(sent.min(), sent.max(), sent.size // SLICE + 1)
    answered = np.histogram(ends, edges)[0].astype(float)
    above = _inside_at(run, (edges[1:] + edges[:-1]) / 2) > most
    if not above.any() or above.all():
        return False
    return bool(np.mean(answered[above] < STILL * answered[~above].mean()) > SOME_STILL)


def _prompt_speed(run: Run) -> float:
    """Prompt tokens a second in the busiest twentieth of the time, those of requests that do not
    tell as many as of the others; NaN where they are not told."""
    if not run.has("sent_s", "ttft_s", "prompt_tokens"):
        return math.nan
    first = run.column("sent_s") + run.column("ttft_s")
    known = np.isfinite(first) & np.isfinite(run.column("prompt_tokens"))
    moments = first[known] - first[known].min()
    span = float(moments.max())
    if span <= 0:
        return math.nan
    counts = np.bincount(
        np.minimum((moments / span * 100).astype(int), 99),
        weights=run.column("prompt_tokens")[known],
        minlength=100,
    )
    share = float(known[run.good()].mean())
    return float(np.quantile(counts, 0.95) / (span / 100) / max(share, 1 / known.size))


def breaking_load(run: Run, asked: Asked) -> Finding | None:
    """The rate at which the objective breaks, simulated with the engine that the log shows.

    run: with when requests were sent, their times and tokens. asked: the objective.

    >>> breaking_load(Run("", "", {"ttft_s": np.ones(9)}), Asked(ttft_s=1.0)) is None
    True
    """
    told = _in_time(run, asked)
    own = fit_own(run, asked) if told is not None and _hits_fell(run) is None else None
    if told is None or own is None or max(abs(own.tpot_error), abs(own.ttft_error)) > WORST:
        return None
    rate, busiest = _rates_simulated(run)
    some = told[_simulated(run)]
    kept = some[np.isfinite(some)]
    if not (rate > 0 and kept.size):
        return None
    share = wilson_interval(int(kept.sum()), kept.size)  # of requests that come in both alike
    late = share.high < asked.quantile
    elsewhere = breaking_rate(run, own, asked) if late else math.nan
    times = elsewhere if elsewhere >= ELSEWHERE else held_rate(run, own, asked)
    if share.low >= asked.quantile:
        times = max(1.0, times) if times > 0 else 1.0  # as was seen
    if math.isnan(times):
        return None
    lasting = "" if own.memory > 0 else " whose memory lasts"
    held = min(times, FASTEST_TIMES)
    minute = f", {sized(held * busiest)} in the busiest minute" if busiest > 0 else ""
    at = f"{sized(held * rate)} requests a second{minute}, {sized(held)} times these"
    free = own.ran > 0 and not late and held_rate(run, replace(own, ran=math.nan), asked) >= ROOM
    level = "warning" if times < ROOM and not free else "note"  # no places that are but assumed
    how = f"simulated with the log's own requests{_those(run)}; {_error(own)}"
    if elsewhere >= ELSEWHERE:
        level = "note"
        seen = percent(share.share, beside=asked.quantile)
        seen += " of these requests kept the objective, and one engine of "
        seen += f"{_places_said(own)}{lasting} would keep it up to {at}: its speed is not what "
        seen += "makes them late"
        change = "before replicas are added look at places, memory, a stall or a cold start, a "
        change += "slow replica, and at what stands before the engine"
        why = "more replicas would have the same"
    else:
        seen = f"the objective holds up to {at}, on one engine of {_places_held(own)}{lasting}"
        below = f"{sized(held * busiest)} a second" if busiest > 0 else "it"
        change = f"plan replicas so that the busiest minute stays below {below}, with one down"
        change = (_why_late(run, told, asked) if late else "") or change
        why = "between today's load and this one lies all the room for a burst or a lost replica"
        how += f"; on the safe side: steps of {LEAST_BUDGET:,} tokens, promised times "
        how += f"{percent(1 - SURE)} shorter and by what it falls short of the log's late requests"
    return Finding(
        level,
        f"{seen}; a {_step_word(run)} takes {_costs(own)}",
        why,
        change,
        how,
        "definitions/utilization",
    )


def _rates_simulated(run: Run) -> tuple[float, float]:
    """Requests a second of the stretch that is simulated, and of its busiest minute; NaN where it
    lasts no time, or fewer than three minutes."""
    sent = run.column("sent_s")
    ends = sent[_simulated(run)[[0, -1]]]
    sent = np.sort(sent[(sent >= ends[0]) & (sent <= ends[1])])
    seconds = float(sent[-1] - sent[0])
    if not seconds > 0:
        return math.nan, math.nan
    within = np.searchsorted(sent, sent + 60.0) - np.arange(sent.size)
    minute = float(within.max()) / 60.0 if seconds >= 180.0 else math.nan
    return (sent.size - 1) / seconds, minute


def _places_held(own: OwnEngine) -> str:
    """The places of the engine on the safe side, in words."""
    if not own.ran > 0:
        return _places_said(own)
    return f"{own.ran:.0f} places, as many as ran at most (more: --places)"


def _places_said(own: OwnEngine) -> str:
    """The places of an engine in words, and what was seen of them where they are assumed."""
    count = own.engine.max_sequences
    places = f"{count} places"
    places += f" and memory for {own.memory:,.0f} tokens" if own.memory > 0 else ""
    return places + (f" (--places says others; {own.ran:.0f} ran at most)" if own.ran > 0 else "")


def _those(run: Run) -> str:
    return f", the busiest {MOST_SERVED:,} in a row" if run.size > MOST_SERVED else ""


def ceiling(run: Run, asked: Asked) -> Finding | None:
    """How much of what the engine can serve was asked, and what would raise it.

    run: with when requests were sent, their times and tokens. asked: the places, if known.

    >>> ceiling(Run("", "", {"ttft_s": np.ones(9)}), Asked()) is None
    True
    """
    own = fit_own(run, asked) if _hits_fell(run) is None else None
    if own is None or max(abs(own.tpot_error), abs(own.ttft_error)) > WORST:
        return None
    rate, busiest = _rates_simulated(run)
    if not rate > 0:
        return None
    served = _simulated(run)
    prompts = np.maximum(run.column("prompt_tokens")[served], 2.0)
    outputs = np.maximum(run.column("output_tokens")[served], 1.0)
    found = np.floor(_found_tokens(run)[served])
    room = own.memory * outputs.sum() / (outputs * (prompts + outputs / 2)).sum()  # by their stays
    count = own.engine.max_sequences
    fit = min(count, max(1, int(room))) if own.memory > 0 else count
    engine = replace(own.engine, max_sequences=fit)
    most = saturated_rate(prompts, outputs, engine, found)
    more = np.minimum(found + np.floor(PREFIX_MORE * prompts), prompts - 1)
    twice = 2 * engine.max_sequences
    budget = max(engine.token_budget, twice)
    larger = replace(engine, token_budget=budget, max_sequences=twice)
    wider = saturated_rate(prompts, outputs, larger, found) / most - 1
    cached = saturated_rate(prompts, outputs, engine, more) / most - 1
    least = "" if run.has("cached_tokens") else "at least "  # what is found today is not told
    change = "a tenth more of the prompts found in the cache would raise it by "
    change += f"{least}{percent(cached)}"
    if not own.ran > 0:
        change += f", twice the {'memory' if fit < count else 'places'} by {percent(wider)}"
        change += "" if own.memory > 0 else " if memory lasts"
    if EDGE < rate / most < 1:
        change = f"test five times as long: so near, a run may end before its first queue; {change}"
    used, lasting = rate / most, "" if own.memory > 0 else " if memory lasts"
    fewer = ""
    if own.ran > 0:
        ran = saturated_rate(
            prompts, outputs, replace(engine, max_sequences=max(1, int(own.ran))), found
        )
        fewer = f"; {percent(rate / ran)} of what as many as ran would carry"
    minute = f", {percent(busiest / most)} in the busiest minute" if busiest > 0 else ""
    return Finding(
        "warning" if used > NEARLY else "note",
        f"{sized(rate)} requests a second came, {percent(used)} of the {sized(most)} that one "
        f"engine of {_places_said(own)} carries{lasting}{minute}{fewer}",
        "this is its utilization: GPU utilization is 100% from the first request on",
        change,
        f"from the costs of a step in the log{_those(run)}, if it has every request of one engine"
        f"{WITH_MEMORY * (fit < count)}; {_error(own)}",
        "definitions/utilization",
    )


def _no_engine(run: Run, asked: Asked) -> str:
    """What a log lacks that would tell an engine to simulate; empty where it does."""
    if _hits_fell(run) is not None:
        return "a prefix cache that finds as much all the time"
    own = fit_own(run, asked)
    if own is None:
        return "one engine whose steps' costs the times of its requests tell"
    off = max(own.tpot_error, own.ttft_error, key=abs)
    if abs(off) <= WORST:
        return ""
    of = "first tokens" if off == own.ttft_error else "times per token"
    far = f"here they are off by {percent(abs(off))}"
    return f"a simulated engine whose {of} are within {percent(WORST)} of the log's; {far}"


def _no_rate(run: Run, asked: Asked) -> str:
    """What a log lacks that would tell a rate up to which the objective holds; empty where nothing
    is promised of it."""
    if _in_time(run, asked) is None:
        return ""
    alone = "a promise that a request alone keeps with some room"
    return _no_engine(run, asked) or alone


def _error(own: OwnEngine) -> str:
    parts = f"{percent(own.tpot_error)} in TPOT and {percent(own.ttft_error)} in TTFT"
    return f"the engine fitted to it is off by {parts}"


def _step_word(run: Run) -> str:
    """What the costs are of: a token, where several come at once, as guesses that are accepted."""
    gaps = run.gaps_s[np.isfinite(run.gaps_s)]
    several = gaps.size and _known_quantile(gaps) > SEVERAL * _known_quantile(run.tpot_s())
    return "token" if several else "step"


def _costs(own: OwnEngine) -> str:
    engine = own.engine
    parts = [duration(engine.step_s)]
    if engine.decode_token_s > 0:
        parts.append(f"{duration(engine.decode_token_s)} a sequence")
    if engine.prefill_token_s > 0:
        parts.append(f"{duration(engine.prefill_token_s)} a prompt token")
    return ", ".join(parts)


def canary(run: Run, asked: Asked) -> Finding | None:
    """Requests that a canary needs to see this objective break.

    run: with times of its requests. asked: the objective.

    >>> canary(Run("", "", {"ttft_s": np.full(1000, 0.1)}), Asked(ttft_s=1.0)).level
    'note'
    """
    told = _in_time(run.in_order(), asked)
    kept = told[np.isfinite(told)] if told is not None else np.zeros(0)
    if kept.size < FEW:
        return None
    late = max(float(1 - kept.mean()), (1 - asked.quantile) / 2, 1e-4)
    worse = late / SEEN
    if late > LATE_ALREADY:
        return None
    alike = _alike(kept)
    count = math.ceil(alike * samples_per_arm(late, worse))
    together = alike > TOGETHER
    worth = sized(alike, 2)
    seen = f"to see late requests go from {percent(late)} to {percent(worse)} takes {count:,} "
    seen += "in each arm"
    if together:
        seen += f", {worth} times what independent ones would take: they are late together"
    return Finding(
        "warning" if together else "note",
        seen,
        "a canary of fewer passes what doubles the burn of the budget",
        f"give the canary {count:,} requests before it decides, looked at once",
        "level 5%, power 80%"
        + f"; late requests come together, so that {worth} are worth one" * (worth != "1"),
        "architecture/shadow-canary",
    )


def cost(run: Run, asked: Asked) -> Finding | None:
    """What a million tokens cost.

    run: with its tokens and time. asked: the price.

    >>> told = {"duration_s": 3600.0, "completed": 1e4, "prompt_tokens": 1e3}
    >>> cost(Run("", "", told=told | {"output_tokens": 200.0}), Asked(price_per_hour=2.0)).seen
    '$1 for a million answer tokens, $0.17 for a million of all'
    """
    rates = _rates_told(run)
    prompt, output = rates["prompt_tokens"], rates["output_tokens"]
    if not output > 0:
        return None
    parts = []
    if asked.price_per_hour > 0:
        each = asked.price_per_hour / 3600 * 1e6
        parts.append(f"${sized(each / output, 2)} for a million answer tokens")
        if prompt > 0:
            parts.append(f"${sized(each / (prompt + output), 2)} for a million of all")
    if not parts:
        return None
    idle = _idle_share(run)
    if idle > IDLE:
        parts.append(f"of which {percent(idle)} pays for time without a request")
    return Finding(
        "warning" if idle > IDLE else "note",
        ", ".join(parts),
        "the price is of the hour, so a token costs what the hour leaves idle too",
        "share the devices with work that can wait, or let the fleet shrink in those hours"
        if idle > IDLE
        else "compare at the load of the day, and not at the peak of a test",
        "total tokens over total time",
        "intuition/latency-throughput-cost",
    )


def _idle_share(run: Run) -> float:
    """Share of the time between the first request and the last answer with none inside; NaN where
    that is not told."""
    if not run.has("sent_s", "latency_s"):
        return math.nan
    known = run.good() & np.isfinite(run.column("sent_s") + run.column("latency_s"))
    if not known.any():
        return math.nan
    sent = run.column("sent_s")[known]
    order = np.argsort(sent, kind="stable")
    begin, end = sent[order], np.maximum.accumulate((sent + run.column("latency_s")[known])[order])
    span = float(end[-1] - begin[0])
    empty = np.maximum(begin[1:] - end[:-1], 0.0)
    return float(empty.sum() / span) if span > 0 else math.nan


def _some(count: int, late: float, rng: np.random.Generator) -> FloatArray:
    return np.where(rng.random(count) < late, 3.0, 0.2)


def check_goodput_by_hand() -> None:
    """Shares far above, far below and near the promise are a note, a problem and a warning.

    Source: independent requests that are late with the chance given.
    """
    rng = np.random.default_rng(2)
    for late, level in ((0.0005, "note"), (0.05, "problem"), (0.009, "warning")):
        run = Run("", "", {"ttft_s": _some(5000, late, rng)})
        found = goodput(run, Asked(ttft_s=1.0))
        checks.equal(f"{late:g} late", found.level if found else "", level, kind="simulation")


def check_load_that_is_kept() -> None:
    """An engine that is late from thirty requests on is told to hold thirty.

    Source: the rule by which the times were made.
    """
    rng = np.random.default_rng(6)
    pace = np.repeat([4.0, 20.0, 60.0], 400)
    sent = np.cumsum(rng.exponential(1.0, 1200) / pace)
    run = Run("", "", {"sent_s": sent, "latency_s": np.ones(1200)})
    inside = _inside_at(run, sent)
    columns = dict(run.columns) | {"ttft_s": np.where(inside > 30, 0.9, 0.1)}
    found = load_kept(Run("", "", columns), Asked(ttft_s=0.5))
    held = float(found.seen.split("up to ")[1].split()[0]) if found else math.nan
    checks.close("requests inside", held, 30.0, atol=2.0, kind="simulation")
