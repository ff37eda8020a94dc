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

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.shadow_canary.shadow_canary import samples_per_arm
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
from serving_mathematics.report.findings.late_requests import _hits_fell, _left, _why_late
from serving_mathematics.report.findings.of_the_engine import BEFORE_OR_IN
from serving_mathematics.report.own_engine import _changed, twice_alone
from serving_mathematics.report.waiting import (
    PASSED,
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
TOGETHER = 3.0  # requests that are worth one, from which a canary of independent ones is too small
IDLE = 0.3  # of the time without a request, which is paid all the same


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
    """The share of requests that keep the objective, and the rate of those that do; for a summary,
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
        f"{percent(share, low, high, asked.quantile)} of the {those} keep {wanted}; "
        f"{percent(asked.quantile)} are promised{good}",
        f"{percent(1 - share)} were late or failed, {spent} "
        f"the {percent(1 - asked.quantile)} that the promise allows",
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
            said.append(f"; late {name}s spent {percent(of_all)} of what that allows")
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
        return False, f"{name} is {duration(mean)} on average{promised}"
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


def _wanted(asked: Asked) -> str:
    parts = [f"a first token within {duration(asked.ttft_s)}"] if asked.ttft_s > 0 else []
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
            f"scale on running plus waiting requests, {target} a replica (keda.yaml or hpa.yaml, "
            "not both), because a fleet swings if it is held closer to where the objective breaks"
            + ("" if twice > 0 else "; fewer, where a token then takes twice a lone request's time")
        )
    if asked.ttft_s > 0 and speed > 0 and broken:
        prompt = _known_mean(run.column("prompt_tokens"))
        flags = queue_flags(most, speed, asked.ttft_s, prompt, asked.engine)
        files["flags.txt"] = flags + "\n"
    beyond = f", and refuse more: {files['flags.txt'].strip()}" if "flags.txt" in files else ""
    return Finding(
        "warning" if broken else "note",
        seen.format(most),
        "running and waiting requests rise before a promise breaks; GPU utilization does not",
        f"{change}{beyond}",
        f"Wilson's interval in {BINS} parts by load, failed requests left out; if the log has one "
        "engine, and all that it served",
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
    seen = f"to see late requests rise from {percent(late)} to {percent(worse)} takes {count:,} "
    seen += "in each arm"
    if together:
        seen += f", {worth} times as many as if they were late independently"
    return Finding(
        "warning" if together else "note",
        seen,
        "a smaller canary lets through what doubles the burn rate of the budget",
        f"give the canary {count:,} requests before it decides, and look once",
        "level 5%, power 80%"
        + f"; late requests come together, so {worth} count as one" * (worth != "1"),
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
        "the price is per hour, so tokens pay for its idle time too",
        "share the devices with work that can wait, or let the fleet shrink in those hours"
        if idle > IDLE
        else "compare at the load of the day, not at the peak of a test",
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
