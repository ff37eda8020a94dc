"""How far an engine is from what it carries: the rate at which the objective breaks, and the
ceiling of the engine that is fitted to the log.

Assumes: as `report.own_engine` does; an engine that is further off the log than `WORST` tells
nothing.

Source: Zhong et al. (2024) for goodput; the simulator of `core.batching.event_skipping`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.queues.shares import wilson_interval
from serving_mathematics.report.evidence import Run, _known_quantile
from serving_mathematics.report.findings.finding import Asked, Finding, duration, percent
from serving_mathematics.report.findings.late_requests import _hits_fell, _why_late
from serving_mathematics.report.findings.of_the_objective import _in_time
from serving_mathematics.report.own_engine import (
    FASTEST_TIMES,
    LEAST_BUDGET,
    MOST_SERVED,
    SURE,
    OwnEngine,
    _found_tokens,
    _simulated,
    breaking_rate,
    fit_own,
    held_rate,
)
from serving_mathematics.support.digits import sized

PREFIX_MORE, NEARLY = 0.1, 0.9  # of the prompts, found; of the ceiling, asked
SEVERAL = 1.5  # times the time per token that a gap is, from which it brings several
EDGE = 0.8  # of the ceiling, from which one busy period is a run
ROOM = 1.2  # times the rate of the log, below which more is to be planned for
ELSEWHERE = 1.5  # the same, from which the engine's speed is not the cause
WITH_MEMORY = ", within a tenth where memory binds, as work of preempted requests is left out"
WORST = 0.3  # error of the simulated engine, up to which its answer is told


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
    lasting = "" if own.memory > 0 else " if memory lasts"
    held = min(times, FASTEST_TIMES)
    minute = f", {sized(held * busiest)} in the busiest minute" if busiest > 0 else ""
    at = f"{sized(held * rate)} requests a second{minute}, {sized(held)} times this rate"
    free = own.ran > 0 and not late and held_rate(run, replace(own, ran=math.nan), asked) >= ROOM
    level = "warning" if times < ROOM and not free else "note"  # no places that are but assumed
    how = f"simulated with the log's own requests{_those(run)}; {_error(own)}"
    if elsewhere >= ELSEWHERE:
        level = "note"
        seen = percent(share.share, beside=asked.quantile)
        seen += " of these requests kept the objective, and one engine of "
        seen += f"{_places_said(own)}{lasting} would keep it up to {at}: its speed is not what "
        seen += "makes them late"
        change = "before you add replicas look at places, memory, a stall or a cold start, a slow "
        change += "replica, and what stands before the engine"
        why = "more replicas would have the same problem"
    else:
        seen = f"the objective holds up to {at}, on one engine of {_places_held(own)}{lasting}"
        below = f"{sized(held * busiest)} a second" if busiest > 0 else "it"
        change = f"plan replicas so that the busiest minute stays below {below}, with one down"
        change = (_why_late(run, told, asked) if late else "") or change
        why = "the room between today's load and this is all there is for a burst or a lost replica"
        how += f"; on the safe side: steps of {LEAST_BUDGET:,} tokens, promised times "
        how += f"{percent(1 - SURE)} shorter, and by what it misses of the log's late requests"
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
    """How much of what the engine can serve was asked for, and what would raise the ceiling.

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
    change = "a tenth more of the prompts found in the cache would raise the ceiling by "
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
        "this is the engine's utilization; that of the GPU is 100% from the first request on",
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
