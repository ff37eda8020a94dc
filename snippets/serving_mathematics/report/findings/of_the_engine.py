"""The engine: what binds it, where the time to first token goes, what stalls answers, what its
caches and guesses bring.

Levels of running and waiting requests come from its counters, or from when each request was sent,
admitted and ended. A prompt's own time is read off the requests that found the engine nearly empty.

Source: Kwon et al. (2023) for preemption; Agrawal et al. (2024) for stalls from prompts; Leviathan
et al. (2023) for guesses; vLLM documentation, optimization and tuning; SGLang documentation,
hyperparameter tuning.
"""

# In one piece: a function for each finding, with its words; they share what waits, and for how
# long.

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.speculative_decoding import best_draft_length
from serving_mathematics.core.queues.shares import wilson_interval
from serving_mathematics.report.evidence import (
    MOST_GUESSED,
    FloatArray,
    Run,
    Series,
    _inside_at,
    _known_mean,
    _known_numbers,
    _known_quantile,
    _tick_s,
)
from serving_mathematics.report.findings.finding import (
    FEW,
    FEWEST_CLUMPS,
    Asked,
    Finding,
    _alike_times,
    _t_of,
    duration,
    percent,
)
from serving_mathematics.report.findings.late_requests import _cause, _clock_of, _hits_fell
from serving_mathematics.report.own_engine import _changed
from serving_mathematics.report.waiting import (
    FEWEST_LATE,
    PASSED,
    ROUTED,
    _limits,
    _memory_free,
    _passed_share,
    levels,
)
from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized

HALF = 0.5  # of those who wait on average of such times, from which it is looked what binds
WAITS = 0.1  # share of the time with a queue, from which something binds
ONE_WAITS = 1.0  # on average, below which that is a note where most of the first token is no wait
FULL_CACHE, FULL_PLACES = 0.9, 0.97  # of the cache, and of the most that ran
UNEVEN = 5.0  # times as many wait before the fullest as before the others
MOMENTS_LEAST, MANY_WAIT = 10, 10  # that say what binds; who wait at the last of fewer
MOST_WAITED = 0.9  # of all that was waited, by those who waited longest
MOST_QUEUE = 0.5  # of the time to first token
EMPTY = 0.25  # of the usual number inside, up to which a prompt's own time is read off
OVER_BY = 0.99  # of the answers, that are over after a while
STALL, STALL_SHARE = 4.0, 0.002  # medians of a gap, and share of gaps
STALLED = 0.1  # of the reading time
PREEMPTED = 0.01  # of the requests
HITS_LEFT = 0.1  # of prompt tokens
NONE_FOUND = 1e-3  # of them, below which the cache may be off
ACCEPTED = 0.4  # of guesses
KEEPS_ROOM = {  # in memory, of an engine for answers to come; and what makes it keep less
    "sglang": "lower --schedule-conservativeness, such as to 0.3, or ask for smaller max_tokens",
    "TensorRT-LLM": "ask for smaller max_tokens",
}
ENGINE_FLAGS = {  # of an engine: its places, the budget of a step, memory of the cache, its 8 bits,
    # and what lets nobody in where answers need the rest of the memory
    "vllm": (
        *("--max-num-seqs", "--max-num-batched-tokens"),
        "--gpu-memory-utilization (vLLM from 0.34 on takes all unless it is set)",
        *("--kv-cache-dtype fp8", "--watermark 0.02"),
    ),
    "sglang": (
        *("--max-running-requests", "--chunked-prefill-size", "--mem-fraction-static"),
        *("--kv-cache-dtype fp8_e4m3", "--schedule-conservativeness 1.3"),
    ),
    "TensorRT-LLM": (
        *("--max_batch_size", "--max_num_tokens", "--kv_cache_free_gpu_memory_fraction"),
        *("kv_cache_config: dtype: fp8", "capacity_scheduler_policy: GUARANTEED_NO_EVICT"),
    ),
}
NO_FLAGS = (  # of an engine whose flags are not known here
    *("the limit of a batch", "the budget of a step", "the memory of the cache"),
    *("where the engine can", "where the engine can"),
)
OF_RANKS = " in each (of ranks of DP attention the flag counts all together)"  # in SGLang
OTHERS = (  # tools that are an engine, or pass one on, and not the one that is asked for
    *("TensorRT-LLM", "TGI", "LMDeploy", "llama.cpp", "AIBrix", "Dynamo"),
    "NIM or TensorRT-LLM",
)
BEFORE_OR_IN = ", if they wait in the engines and not before them"
FREE = "and places were free"
BY_BATCH = (
    " (vLLM: num_speculative_tokens of --speculative-config, and fewer at high load by its "
    "num_speculative_tokens_per_batch_size)"
)
PASS_COST = 0.05  # of a draft model's pass, of the target's


def binding(run: Run, asked: Asked) -> Finding | None:
    """What requests wait for: places, memory, the budget of tokens in a step, or a queue of their
    own.

    run: with running and waiting requests over time, or requests enough to tell them. asked: the
    places, where they are known.

    >>> from serving_mathematics.report.evidence import Series
    >>> full = {"running": np.full(60, 128.0), "waiting": np.full(60, 9.0)}
    >>> found = binding(Run("", "", series=Series(np.arange(60.0), full)), Asked())
    >>> found.seen.partition(":")[0]
    'places bind'
    """
    told = levels(run)
    if told is None or told.level("running").size < MOMENTS_LEAST:
        return None
    scraped = run.series is not None and {"running", "waiting"} <= set(run.series.values)
    if not scraped and run.size < FEW:  # who tell any number of moments
        return None
    running, waiting = told.values["running"], told.values["waiting"]
    known = np.isfinite(running) & np.isfinite(waiting)
    running, waiting = running[known], waiting[known]
    queued = waiting >= 1
    if running.size < MOMENTS_LEAST or float(queued.mean()) < WAITS:
        return None
    what, seen, change = _uneven(told) or _passed(run) or _bound(run, asked, told, known)
    hidden = 0.0 if scraped else _begun_in_a_step(run)
    if FREE in seen and hidden > max(2.0, (1 - FULL_PLACES) * float(running.max())):
        return None
    if "others_waiting" in told.values and change != ROUTED:
        what = f"of {next(iter(told.engines))}, before which most wait, {what}"
    found = queue_or_prefill(run, asked) if waiting.mean() < ONE_WAITS else None
    few = waiting.mean() < ONE_WAITS and (found is None or found.level == "note")
    return Finding(
        "note" if few else "warning",
        f"{what}: somebody waited {percent(float(queued.mean()))} of the time, "
        f"{sized(float(waiting.mean()))} on average, {seen}",
        "only more of what binds shortens the queue",
        change,
        f"{running.size:,} moments" if scraped else f"{run.size:,} requests",
        "definitions/utilization",
    )


def _begun_in_a_step(run: Run) -> float:
    """Requests that begin, on average, in the step in which moments of a log are written.

    >>> _begun_in_a_step(Run("", "", {"sent_s": np.repeat(np.arange(9.0), 4)}))
    4.5
    """
    sent = _known_numbers(run.column("sent_s"))
    return float(sent.size * _tick_s(sent) / max(float(np.ptp(sent)), 1e-9))


def _uneven(told: Series) -> tuple[str, str, str] | None:
    """What is said where many wait before one of several engines; None elsewhere."""
    wait, ran = (_known_mean(told.level(f"others_{x}")) for x in ("waiting", "running"))
    mean = _known_mean(told.level("waiting"))
    if not (wait >= 0 and mean > UNEVEN * max(wait, 1.0)):
        return None
    seen = f"before each of the others {sized(wait)}, while {sized(ran)} ran there"
    return f"{next(iter(told.engines))} of several engines binds", seen, ROUTED


def _passed(run: Run) -> tuple[str, str, str] | None:
    """What is said where later requests passed those that waited; None elsewhere."""
    share = _passed_share(run)
    if not share > PASSED:
        return None
    seen = f"and {percent(share)} of what was waited long was passed by requests sent later"
    return "one queue of several binds", seen, ROUTED


def _bound(
    run: Run, asked: Asked, told: Series, known: npt.NDArray[np.bool_]
) -> tuple[str, str, str]:
    """What binds one engine at the moments that are known, what tells it, and what to change."""
    running, flags = told.values["running"][known], _engine_flags(run, asked)
    waiting, cache = told.values["waiting"][known], told.values.get("cache")
    queued = waiting >= max(1.0, HALF * float(waiting[waiting >= 1].mean()))  # not for a step alone
    alike = queued.sum() == (waiting >= 1).sum()
    then = "of it" if alike else "of the time in which most waited"
    ran = running[queued]
    cached, memory, places = math.nan, math.nan, asked.places
    if cache is not None and cache.shape == known.shape and (cache > 0).any():
        cached = float((cache[known][queued] >= FULL_CACHE).mean())
    if run.size:
        shown, memory = _limits(run)
        places = places if places > 0 else shown
    elif not places > 0:
        places = float(running.max())
    full = float((ran >= FULL_PLACES * places).mean()) if places > 0 else 0.0
    room = KEEPS_ROOM.get(run.tool if run.tool in KEEPS_ROOM else asked.engine, "")
    less = room if cached <= 0.5 else ""
    if cached > 0.5:
        seen = f"the KV cache was over {percent(FULL_CACHE)} full in {percent(cached)} {then}"
        return "memory binds", f"and {seen}", _memory_change(flags)
    if memory > 0 and not full > 0.5:
        seen = f"about {memory:,.0f} tokens were held, by {np.quantile(ran, 0.25):g} to "
        seen += f"{np.quantile(ran, 0.75):g} requests"
        return "memory binds", f"and {seen}", _memory_change(flags)
    if full > 0.5:
        seen = f"{places:g} requests ran in {percent(full)} {then}"
        if math.isnan(cached):
            seen += " (or memory, of which the file says nothing)"
        each = OF_RANKS * (flags == ENGINE_FLAGS["sglang"] and "others_running" in told.values)
        change = (
            f"raise {flags[0]} above {places:g}{each} if memory and the time per token allow, or "
        )
        change += "add replicas"
        if less and not asked.places > 0:
            change += f"; where it is above that already, {less}: room is kept for answers to come"
        return "places bind", f"and {seen}", change
    free = f"{FREE} ({float(np.median(ran)):g} of {running.max():g} ran)"
    if math.isnan(cached) and not (run.size and _memory_free(run)):
        seen = f"{free}; of memory the file says too little"
        change = "look at the share of the KV cache in use: where it is full, "
        return "memory, the token budget or the host binds", seen, change + _memory_change(flags)
    free += ", and so was memory, as what they held varied" if math.isnan(cached) else ""
    change = f"raise {flags[1]} and look whether the time per token still keeps its promise"
    if less:
        change = f"{less}, as room is kept for answers to come; if that does not help, {change}"
    what = (
        "room for answers, the token budget or the host" if less else "the token budget or the host"
    )
    return f"{what} binds", f"{free}", change


def _engine_flags(run: Run, asked: Asked) -> tuple[str, ...]:
    """Of the engine whose metrics a run has; of the one that was asked for, where it has none."""
    if run.tool in OTHERS:
        return ENGINE_FLAGS.get(run.tool, NO_FLAGS)
    return ENGINE_FLAGS[asked.engine]


def _memory_change(flags: tuple[str, ...]) -> str:
    fewer = f"for weights over one and a half times the cache, else for the cache ({flags[3]})"
    return f"raise {flags[2]}, use fewer bits {fewer}, or add replicas"


def queue_or_prefill(run: Run, asked: Asked) -> Finding | None:
    """How much of the time to first token is waiting, and how much the prompt itself.

    run: with times in the queue, or requests that found the engine nearly empty. asked: the time to
    first token that is promised, if one is: who is late is looked at, else who waited most.

    >>> times = {"queue_s": np.full(200, 0.9), "ttft_s": np.full(200, 1.0)}
    >>> queue_or_prefill(Run("", "", times), Asked()).level
    'warning'
    """
    first, how = math.nan, "counted"
    if run.has("queue_s", "ttft_s"):
        good = run.good() & np.isfinite(run.column("queue_s") + run.column("ttft_s"))
        queue, ttft = run.column("queue_s")[good], run.column("ttft_s")[good]
    elif run.series and run.series.grown("ttft_s") > 0 and run.series.grown("queue_s") >= 0:
        count, apart = run.series.grown("ttft_count"), run.series.grown("ttft_apart")
        timed = 1 - apart / count if apart > 0 else 1.0
        share = min(1.0, timed * run.series.grown("queue_s") / run.series.grown("ttft_s"))
        first = run.series.grown("ttft_s") / (count * timed) if count > 0 else math.nan
        return _waiting(run, share, 0.0, first, "two sums of the engine", _left_waiting(run.series))
    else:
        own = _own_prefill(run)
        if own is None:
            return None
        good = run.good() & np.isfinite(run.column("ttft_s"))
        ttft = run.column("ttft_s")[good]
        queue = np.maximum(ttft - own[good], 0.0)
        how = "estimated: own times are those of requests that came to a nearly empty engine"
    if ttft.size < FEW or not ttft.sum() > 0:
        return None
    share = float(queue.sum() / ttft.sum())
    order = np.argsort(run.column("sent_s")[good], kind="stable")
    half = _half_of_ratio(queue[order], ttft[order])
    then = ""
    if run.has("sent_s"):
        order = np.argsort(-queue, kind="stable")
        most = order[: int(np.searchsorted(np.cumsum(queue[order]), MOST_WAITED * queue.sum())) + 1]
        late = good & (run.column("ttft_s") > (asked.ttft_s or math.inf))
        who = "late ones" if late.sum() >= FEWEST_LATE else "that waited most"
        late[np.flatnonzero(good)[most]] |= who == "that waited most"
        then = _cause(run, late, who)
    return _waiting(run, share, half, float(ttft.mean()), how, then=then)


def _half_of_ratio(parts: FloatArray, wholes: FloatArray) -> float:
    """Half of a 95% interval of a ratio of sums, by as many as they are worth; 0 where these are
    fewer than tell a spread.

    parts, wholes: in order.

    >>> round(_half_of_ratio(np.arange(100) % 2.0, np.ones(100)), 3)
    0.099
    """
    worth = parts.size / _alike_times(parts)
    if worth < FEWEST_CLUMPS:
        return 0.0
    off = parts - parts.sum() / wholes.sum() * wholes
    error = float(off.std()) / float(wholes.mean()) / math.sqrt(worth)
    return _t_of(worth) * error


def _left_waiting(series: Series) -> str:
    """Those who waited at the last of a few scrapes, in words, where they are many."""
    running, waiting = series.level("running"), series.level("waiting")
    if not (running.size and waiting.size) or running.size >= MOMENTS_LEAST:
        return ""
    if not waiting[-1] > max(MANY_WAIT, EMPTY * running[-1]):
        return ""
    return f"; at the last scrape {waiting[-1]:g} waited and {running[-1]:g} ran"


def _waiting(
    run: Run, share: float, half: float, first: float, how: str, left: str = "", then: str = ""
) -> Finding | None:
    low, high = max(0.0, share - half), min(1.0, share + half)
    told = percent(share, low, high) if half > 0 else percent(share)
    mean = f" ({duration(first)} on average)" if math.isfinite(first) else ""
    much = low > MOST_QUEUE
    if share < 0.1 and not left:
        return None
    change = (
        "scrape ten times or more to see what binds: no mean has those who still wait"
        if left
        else ROUTED
        if much and _passed_share(run) > PASSED
        else then
        if then and share > MOST_QUEUE
        else "add replicas, or bound the queue so that whoever is admitted is in time"
        + BEFORE_OR_IN * how.startswith("estimated")
        if much
        else "shorten prompts or share prefixes: more replicas save only the wait"
    )
    return Finding(
        "warning" if much or left else "note",
        f"{told} of the time to first token{mean} is waiting, the rest is the prompt{left}",
        "capacity shortens the wait; only less work shortens the prompt's own time",
        change,
        how,
        "capacity/overload-control" if much else "architecture/streaming",
    )


def _own_prefill(run: Run) -> FloatArray | None:
    """What each prompt takes by itself, from those that came to a nearly empty engine; None where
    there are too few of them. A log may be cut from a longer one: who was inside is told from one
    long answer after its first request on, and until one before its last end."""
    if not run.has("sent_s", "latency_s", "ttft_s") or run.size < FEW:
        return None
    if _tick_s(run.column("sent_s")) > _known_quantile(run.column("ttft_s")):
        return None  # moments that do not tell who was there
    inside = _inside_at(run, run.column("sent_s"))
    usual = _known_mean(inside)
    good = run.good() & np.isfinite(run.column("ttft_s"))
    sent, lasted = run.column("sent_s"), run.column("latency_s")
    long = _known_quantile(lasted[good], OVER_BY)
    told = (sent > np.nanmin(sent) + long) & (sent < np.nanmax(sent + lasted) - long)
    alone = good & told & (inside <= max(1.0, EMPTY * usual))
    if alone.sum() < 20 or usual < 2:
        return None
    ttft = run.column("ttft_s")
    if not run.has("prompt_tokens"):
        return np.full(run.size, float(np.median(ttft[alone])))
    prompt = np.nan_to_num(
        run.column("prompt_tokens"), nan=_known_mean(run.column("prompt_tokens"))
    )
    if prompt[alone].std() <= 0.02 * prompt[alone].mean():
        return np.full(run.size, float(np.median(ttft[alone])))
    slope, floor = np.polyfit(prompt[alone], ttft[alone], 1)
    return np.asarray(np.maximum(max(slope, 0.0) * prompt + max(floor, 0.0), 0.0))


def _no_own_times(run: Run, _asked: Asked) -> str:
    """What a run lacks that would tell waiting from reading; empty where it does."""
    told = run.has("queue_s", "ttft_s") or run.series is not None or _own_prefill(run) is not None
    return "" if told else "each time in the queue, or 20 requests to a nearly empty engine"


def engine_changed(run: Run, _asked: Asked) -> Finding | None:
    """The engine became slower or faster while the log was written, at the same batch and prompts.

    run: with when requests were sent, their times and tokens.

    >>> engine_changed(Run("", "", {"sent_s": np.zeros(3)}), Asked()) is None
    True
    """
    told = _changed(run)
    if told is None:
        return None
    begins, times = told
    at, after = _clock_of(run)
    slow, engines = math.isnan(begins), "two engines"
    change = "report the two parts separately, and look at that moment for a deploy, a replica "
    change += "that came or went, a lost prefix cache, a lowered clock or a neighbour on the device"
    if slow:
        seen, engines = "a token gradually came to take", "no single engine"
        change = "report its beginning and its end separately, and look for a device that became "
        change += "hot, a neighbour on it or contexts that grew"
    else:
        since = at(begins - float(np.nanmin(run.column("sent_s"))))
        seen = f"from {since}{after} on a token takes"
    return Finding(
        "warning",
        f"{seen} about {sized(times, 2)} times as long with as many inside and prompts as long",
        f"the log is of {engines}, so it does not show what a step costs or what load is carried",
        change,
        "least squares with one factor from a moment on (seven tried), or one that grows",
        "machine/step-time",
    )


def preemption(run: Run, asked: Asked) -> Finding | None:
    """Requests lost their memory and did their work twice.

    run: with an engine's count of preemptions. asked: whose flags are to be changed.

    >>> from serving_mathematics.report.evidence import Series
    >>> told = {"preemptions": np.array([0.0, 9.0]), "ttft_count": np.array([0.0, 100.0])}
    >>> preemption(Run("", "", series=Series(np.arange(2.0), told)), Asked()).level
    'problem'
    """
    count = run.series.grown("preemptions") if run.series else math.nan
    if not count > 0:
        return None
    assert run.series is not None
    requests = run.series.grown("ttft_count")
    share = count / requests if requests > 0 else math.nan
    each = f", {sized(share, 2)} a request" if math.isfinite(share) else ""
    many = share >= PREEMPTED or not (share >= 0 or count < FEW)
    return Finding(
        "problem" if many else "note",
        f"{count:,.0f} preemptions{each}",
        "a preempted request is computed again, and its reader sees a gap",
        f"lower {(flags := _engine_flags(run, asked))[0]}, where answers are long keep some memory "
        f"free ({flags[4]}), or {_memory_change(flags)}"
        if many
        else "look again at a higher load: so few cost less than any change would",
        "the engine's own count",
        "optimization/caching",
    )


def prefix_hits(run: Run, _asked: Asked) -> Finding | None:
    """Prompt tokens that were found in the cache, and those that could have been.

    run: with the engine's counts of them, tokens found for each request, or equal blocks.

    >>> from serving_mathematics.report.evidence import Series
    >>> told = {"prefix_asked": np.array([0.0, 1e6]), "prefix_found": np.array([0.0, 2e5])}
    >>> run = Run("", "", series=Series(np.arange(2.0), told), shares_prefix=0.6)
    >>> prefix_hits(run, Asked()).level
    'warning'
    """
    found = run.series.found_share() if run.series is not None else math.nan
    if math.isnan(found) and run.has("cached_tokens", "prompt_tokens"):
        both = np.isfinite(run.column("cached_tokens") + run.column("prompt_tokens"))
        total = float(run.column("prompt_tokens")[both].sum())
        cached = float(run.column("cached_tokens")[both].sum())
        found = cached / total if total > 0 else math.nan
    possible = run.shares_prefix
    if math.isnan(found) and not possible > 0.05:
        return None
    if math.isnan(found):
        seen = (
            f"{percent(possible)} of the prompt tokens stand at the beginning of an earlier prompt"
        )
    elif math.isnan(possible):
        seen = f"{percent(found)} of the prompt tokens were found in the prefix cache"
    else:
        seen = (
            f"{percent(found)} of the prompt tokens were found in the cache, {percent(possible)} "
            "could have been"
        )
    left, fell = possible - found, _hits_fell(run)
    lost = left > HITS_LEFT or fell is not None
    change = (
        "send the turns of a session to the engine that has them, and give its cache more memory, "
        "the host's too (--kv-offloading-size, in SGLang --enable-hierarchical-cache)"
    )
    off = found < NONE_FOUND and not possible <= HITS_LEFT
    if off:
        change = "look whether prompts begin alike and the cache is on (vLLM's "
        change += "--no-enable-prefix-caching and SGLang's --disable-radix-cache switch it off)"
        if run.has("cached_tokens"):
            change += " and tells what it found (--enable-prompt-tokens-details, in SGLang "
            change += "--enable-cache-report)"
    if fell is not None:
        at, after = _clock_of(run)
        since = f"{at(fell[0])}{after.removesuffix(' request')}"
        seen += f": {percent(fell[1])} until {since}, then "
        seen += percent(fell[2])
        change = "look for a deploy or a restart that emptied the cache then, a prompt whose "
        change += "beginning changed, or a router that forgot who has what"
    return Finding(
        "warning" if lost else "note",
        seen,
        "a token found there costs memory but no time: first tokens come sooner, and the engine "
        "carries more",
        change if lost or off or math.isnan(found) else "plan with this share (--cached-share)",
        "counted by tokens"
        if math.isnan(possible)
        else "counted by blocks, with a cache that keeps everything",
        "optimization/caching",
    )


def guesses(run: Run, _asked: Asked) -> Finding | None:
    """How many guessed tokens are accepted, and how many should be guessed.

    run: with the counts of guesses, of the engine or of a benchmark.

    >>> from serving_mathematics.report.evidence import Series
    >>> told = {"draft_tokens": np.array([0.0, 5e4]), "accepted_tokens": np.array([0.0, 1e4])}
    >>> run = Run("", "", series=Series(np.arange(2.0), told | {"drafts": np.array([0.0, 1e4])}))
    >>> guesses(run, Asked()).level
    'warning'
    """
    series = run.series
    counted = series.grown if series is not None and series.grown("drafts") > 0 else run.said
    drafted, accepted, rounds = map(counted, ("draft_tokens", "accepted_tokens", "drafts"))
    if not (drafted > 0 and accepted >= 0 and rounds > 0):
        return None
    length, yields = drafted / rounds, 1 + accepted / rounds
    share = wilson_interval(round(min(accepted, drafted)), round(drafted))
    chances = _accepted_at(counted, rounds)
    if chances.size:
        last = chances[-1] / max(float(chances[-2]), 1e-9) if chances.size > 1 else chances[0]
        more = chances[-1] * min(last, 1.0) ** np.arange(1, MOST_GUESSED - chances.size + 1)
        tokens = np.r_[1.0, 1 + np.cumsum(np.r_[chances, more])]
        best = int(np.argmax(tokens / (1 + PASS_COST * np.arange(tokens.size))))
        each = f"accepted at each place in turn: {', '.join(map(percent, chances.tolist()))}"
        each += ", beyond as from the last but one to the last" if best > chances.size else ""
    else:
        alpha = _acceptance(yields, length)
        best = best_draft_length(min(alpha, 0.999), PASS_COST)
        each = f"acceptance {alpha:.2f} a token, if the same at each place"
    low = share.high < ACCEPTED and best != round(length)
    kept = "keep " if best == round(length) else ""
    change = f"{kept}{'guessing' if kept else 'guess'} {best} at a time"
    change += "" if kept else BY_BATCH
    return Finding(
        "warning" if low else "note",
        f"of {sized(length)} guessed tokens {percent(share.share)} are accepted: a step that "
        f"guesses yields {yields:.2f} tokens",
        "each rejected token was computed for nothing, and at high load slows other requests",
        change if best else "switch guesses off",
        f"{each}; a guess costs {percent(PASS_COST)} of a step",
        "machine/step-time",
    )


def _accepted_at(counted: Callable[[str], float], rounds: float) -> FloatArray:
    """Share of the rounds in which the guess at each place was accepted; empty where not told."""
    grown = [counted(f"accepted_at_{place}") for place in range(1, MOST_GUESSED + 1)]
    told = np.array([one for one in grown if one >= 0])
    return np.asarray(np.minimum(told / rounds, 1.0))


def _acceptance(yields: float, length: float) -> float:
    """The α with (1 − α^(γ+1))/(1 − α) tokens a step, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        powers = middle ** np.arange(math.ceil(length) + 1)
        if float(powers.sum()) < yields:
            low = middle
        else:
            high = middle
    return low


def stalls(run: Run, _asked: Asked) -> Finding | None:
    """Pauses within answers, and whether other requests' prompts cause them.

    run: with all gaps between tokens, and when requests were sent and got their first token.

    >>> gaps = np.r_[np.full(990, 0.01), np.full(10, 0.5)]
    >>> stalls(Run("", "", {"ttft_s": np.ones(9)}, gaps_s=gaps), Asked()).level
    'warning'
    """
    fine = np.isfinite(run.gaps_s)
    gaps = run.gaps_s[fine]
    if gaps.size < 500:
        return None
    usual = _known_quantile(gaps[gaps > 1e-5])  # of chunks, not of the tokens in one
    long = gaps > STALL * usual
    share = float(long.mean())
    if share < STALL_SHARE:
        return None
    p99 = float(np.quantile(gaps, 0.99))
    time = float(gaps[long].sum() / gaps.sum())
    seen = (
        f"{percent(share)} of the gaps are over {STALL:g} times the median of {duration(usual)} "
        f"(p99 {duration(p99)}) and take {percent(time)} of the reading time"
    )
    change = "look at the engine's log at the longest of them"
    ends = run.gap_end_s[fine] if run.gap_end_s.size == fine.size else np.zeros(0)
    if ends.size and np.isfinite(ends).all() and run.has("sent_s", "ttft_s"):
        queue = np.nan_to_num(run.column("queue_s"))
        firsts = run.column("sent_s") + run.column("ttft_s")
        begins = np.sort((run.column("sent_s") + queue)[np.isfinite(firsts)])
        firsts = np.sort(firsts[np.isfinite(firsts)])
        starts, slack = ends - gaps, 0.5 * usual
        passed = np.searchsorted(firsts, starts - slack)
        among = [  # a prompt ended in a gap, or was read in it
            np.searchsorted(firsts, ends + slack) > passed,
            np.searchsorted(begins, starts + slack) > np.searchsorted(firsts, starts + slack),
        ]
        pairs = [(float(x[long].mean()), float(x[~long].mean())) for x in among]
        cause, chance = max(pairs, key=lambda pair: pair[0] - pair[1])
        if cause > 0.5 and cause > chance + 0.2:
            seen += (
                f"; a prompt was read in {percent(cause)} of them and in {percent(chance)} of the "
                "others"
            )
            change = (
                "where gaps matter more than first tokens, lower --max-num-batched-tokens "
                "(in TensorRT-LLM --max_num_tokens; in SGLang --chunked-prefill-size with "
                "--enable-mixed-chunk, or where it guesses or logprobs are asked for with "
                "--prefill-decode-interval 1), halving it while first tokens stay in time, or give "
                "prompts engines of their own"
            )
    return Finding(
        "warning" if time > STALLED else "note",
        seen,
        "readers see a pause, and a mean time per token hides it",
        change,
        f"{gaps.size:,} gaps",
        "architecture/streaming",
    )


def check_queue_share_by_hand() -> None:
    """Of prompts that take 0.1 s and wait 0.3 s three quarters are waiting, told or estimated.

    Source: by hand; half of the requests come to an empty engine.
    """
    rng = np.random.default_rng(4)
    wait = np.full(400, 0.3)
    told = {"queue_s": wait, "ttft_s": wait + 0.1}
    found = queue_or_prefill(Run("", "", told), Asked())
    checks.holds("told", found is not None and found.seen.startswith("75%"), got=str(found))
    sent = np.r_[np.arange(200) * 10.0, 3000 + np.arange(200) * 0.05]
    ttft = np.r_[np.full(200, 0.1), rng.uniform(0.35, 0.45, 200)]
    columns = {
        "sent_s": sent,
        "ttft_s": ttft,
        "latency_s": np.r_[np.full(200, 1.0), np.full(200, 4.0)],
    }
    found = queue_or_prefill(Run("", "", columns), Asked())
    checks.holds("estimated", found is not None and found.seen.startswith("60%"), got=str(found))


def check_acceptance_by_hand() -> None:
    """Half of the guesses accepted at each of two places yield 1.75 tokens.

    Source: 1 + 1/2 + 1/4.
    """
    checks.close("acceptance", _acceptance(1.75, 2), 0.5, atol=1e-9)


def check_what_binds() -> None:
    """A full cache, full places and neither are told apart, and an idle engine is none of them.

    Source: the levels that were written.
    """
    for what, running, waiting, cache in (
        ("memory", 40.0, 9.0, 0.97),
        ("places", 64.0, 9.0, 0.5),
        ("the token budget or the host", 20.0, 9.0, 0.5),
        ("", 20.0, 0.0, 0.5),
    ):
        values = {"running": running, "waiting": waiting, "cache": cache}
        series = Series(np.arange(60.0), {name: np.full(60, x) for name, x in values.items()})
        found = binding(Run("", "", series=series), Asked(places=64.0))
        checks.equal(what or "none", found.seen.partition(" bind")[0] if found else "", what)
