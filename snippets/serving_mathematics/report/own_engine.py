"""A reader's engine as a simulator: the costs of its steps, read off the requests that it served.

While a request is answered a step takes, on average,

    TPOT = β + α·b + α_p·p

with b sequences in the batch and p prompt tokens in a step, those found in a cache left out. Both
are counted from when the other requests were sent, answered and ended, so a log of requests gives
β, α and α_p by least squares, and the simulator of the book serves its busiest requests in a row at
other rates. Its places, or its memory, are shown where requests waited while so many ran, or held
so many tokens; as many as a client let in are not the engine's.

Assumes: one engine behind the log; memory that lasts where it is not shown; a step that does not
depend on context, whose part goes into α; no work on requests that failed, of which there are few.

Source: Yu et al. (2022) for the step; Agrawal et al. (2024) for prompts in it; the simulator is
`core.batching.event_skipping`.
"""

# In one piece: costs of a step and the simulation by them, which share a log's requests.

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    Engine,
    Workload,
    latencies_s,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.planner.questions.load_tests import TPOT_S
from serving_mathematics.report.evidence import (
    FloatArray,
    Run,
    _known_mean,
    _known_quantile,
    _tick_s,
)
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.waiting import MORE, _limits, _load
from serving_mathematics.support import checks
from serving_mathematics.support.require import require

LEAST_TOLD, TOLD_SHARE = 200, 0.9  # requests that tell costs, and of all that have later tokens
MOST_SERVED = 4000  # in a row, that are simulated
MOST_FAILED = 0.01  # of the requests, whose work is not told
BUDGET, LEAST_BUDGET = 8192, 2048  # tokens of a step, which no log tells; the latter to be sure
SURE = 0.9  # of the promised times, that are simulated to be on the safe side
ONE_STEP, FASTEST = 0.25, 0.01  # of a step, in which tokens are its own; of times a token
RATES = 9  # halvings of the interval in which the rate lies
FASTEST_TIMES = 16.0  # times the rate of the log
DEFAULT_PLACES = 256.0  # of an engine that never filled them
BLOCK = Engine.block_tokens
CHANGED, EXPLAINS = 1.15, 0.6  # times as slow; of what the fit leaves unexplained without
LOST = 0.05  # of the time inside, of requests that do not tell all: less than makes that slower
TRIED_TIMES = 2.0 ** (np.arange(-12, 13) / 8)
UNEXPLAINED = 0.2  # of a request's time per token, in the median, up to which it is such an engine


@dataclass(frozen=True)
class OwnEngine:
    """Costs of a step, and how far the simulator that has them is off the log.

    engine: as the simulator takes it. tpot_error, ttft_error: medians predicted over measured, less
    one. ran: requests that ran at a time at most, where its places are not told but those that
    engines have; else NaN. memory: tokens that it holds; NaN where that is not shown.

    >>> OwnEngine(Engine(0.01), 0.02, -0.1).tpot_error
    0.02
    """

    engine: Engine
    tpot_error: float
    ttft_error: float
    ran: float = math.nan
    memory: float = math.nan


def _by_steps(first_s: FloatArray, end_s: FloatArray, step_s: float) -> tuple[FloatArray, ...]:
    """The same moments, those of one step alike: written to a digit or sent through a network, they
    are a little apart, and a prompt of the same step would count as read in a later one.

    first_s, end_s: of each request [s]. step_s: of the fastest steps.

    >>> first, end = _by_steps(np.array([1.0, 1.0002]), np.array([1.5, 1.4999]), 0.01)
    >>> first.tolist(), end.tolist()
    ([1.0002, 1.0002], [1.5, 1.5])
    """
    moments = np.sort(np.r_[first_s, end_s])
    begins = np.r_[True, np.diff(moments) > ONE_STEP * step_s]
    starts, lasts = moments[begins], moments[np.r_[begins[1:], True]]
    lasts = np.where(lasts - starts <= ONE_STEP * step_s, lasts, math.nan)  # of several engines

    def snapped(times: FloatArray) -> FloatArray:
        own = lasts[np.searchsorted(starts, times, side="right") - 1]
        return np.asarray(np.where(np.isnan(own), times, own))

    return snapped(first_s), snapped(end_s)


def _counted(run: Run) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of each request that tells it: mean batch, prompt tokens in a step, and TPOT."""
    sent, ttft, whole = (run.column(n) for n in ("sent_s", "ttft_s", "latency_s"))
    prompt, output = run.column("prompt_tokens"), run.column("output_tokens")
    good = run.good() & np.isfinite(sent + ttft + whole + prompt + output) & (output > 1)
    first, end = (sent + ttft)[good], (sent + whole)[good]
    if not first.size:
        return first, first, first
    steps = output[good] - 1
    first, end = _by_steps(first, end, float(np.quantile((end - first) / steps, FASTEST)))

    def area(moments: FloatArray) -> FloatArray:
        """How many sequences decoded, integrated up to each moment."""
        total = np.zeros(moments.size)
        for points, sign in ((np.sort(first), 1.0), (np.sort(end), -1.0)):
            sums = np.r_[0.0, np.cumsum(points)]
            place = np.searchsorted(points, moments, side="right")
            total += sign * (place * moments - sums[place])
        return total

    lasting = np.maximum(end - first, 1e-9)
    batch = (area(end) - area(first)) / lasting
    order = np.argsort(first, kind="stable")
    firsts = first[order]
    tokens = (prompt - _found_tokens(run))[good][order]
    read = np.cumsum(tokens)
    read = np.column_stack([np.r_[0.0, read[:-1]], read]).ravel()
    lasts, among = np.zeros(tokens.size), np.zeros(tokens.size)
    soonest = np.maximum(sent[good][order], np.r_[-math.inf, firsts[:-1]])
    for _ in range(2):  # read at once; then as long as that says, and each after the one before
        begun = np.maximum(firsts - lasts, soonest)
        moments = np.column_stack([np.minimum(begun, firsts), firsts]).ravel()
        among = (np.interp(end, moments, read) - np.interp(first, moments, read)) / steps
        terms = np.column_stack([np.ones(tokens.size), batch, among]) / (lasting / steps)[:, None]
        costs = np.linalg.lstsq(terms, np.ones(tokens.size), rcond=None)[0]
        lasts = np.maximum(costs[0] + costs[1] * batch[order] + costs[2] * tokens, 0.0)
    return batch, among, lasting / steps


def fit_own(run: Run, asked: Asked) -> OwnEngine | None:
    """The engine behind a log; None where the log does not tell its costs.

    run: with when requests were sent, their times and tokens. asked: the places, if they are known.

    >>> fit_own(Run("", "", {"sent_s": np.zeros(3)}), Asked()) is None
    True
    """
    costs = _step_costs(run)
    if costs is None:
        return None
    ran = float(_load(run)[1].max())
    shown, memory = _limits(run)
    places = asked.places if asked.places > 0 else shown
    own = _tried(run, costs, places if places > 0 else DEFAULT_PLACES, memory)
    if not (places > 0 or memory > 0):
        own = replace(own, ran=ran)
    if costs[1] == 0 and own.engine.max_sequences > MORE * ran:
        return None  # what more sequences take is not told
    return own


def twice_alone(run: Run) -> float:
    """Requests inside with which one takes twice as long as alone, by the costs of a step; NaN
    where the log does not tell all three.

    With n inside, a request of p prompt tokens and m later ones takes mβ + n(pα_p + mα), because
    the others' prompts and tokens share its steps.

    >>> bool(np.isnan(twice_alone(Run("", "", {"sent_s": np.zeros(3)}))))
    True
    """
    costs = _step_costs(run)
    if costs is None or not (costs > 0).all():
        return math.nan
    good = run.good() & np.isfinite(run.column("prompt_tokens") + run.column("output_tokens"))
    later = float(np.maximum(run.column("output_tokens")[good] - 1, 0).mean())
    prompt = float((run.column("prompt_tokens") - _found_tokens(run))[good].mean())
    each = prompt * costs[2] + later * costs[1]
    return later * float(costs[0]) / each if each > 0 else math.nan


def _step_costs(run: Run) -> FloatArray | None:
    """β, α and α_p of a log [s], 0 for what it does not tell; None where it tells no step."""
    if not run.has("sent_s", "ttft_s", "latency_s", "prompt_tokens", "output_tokens"):
        return None
    batch, read, each = _counted(run)
    answers = run.good() & ~(run.column("output_tokens") <= 1)
    if each.size < max(LEAST_TOLD, TOLD_SHARE * answers.sum()):
        return None  # the others were in the batch too
    if 1 - float(run.good().mean()) > MOST_FAILED:
        return None  # and those that failed may have been
    if _changed(run) is not None:
        return None  # the costs of two engines are those of none
    if _tick_s(run.column("sent_s")) > _known_quantile(run.column("ttft_s")):
        return None  # moments that do not tell who was there
    terms = np.column_stack([np.ones(each.size), batch, read]) / each[:, None]
    kept = np.array([True, batch.std() >= 0.05 * batch.mean(), True])  # always full: not told apart
    costs = np.zeros(3)
    while True:
        costs[:] = 0.0
        costs[kept] = np.linalg.lstsq(terms[:, kept], np.ones(each.size), rcond=None)[0]
        if not (costs < 0).any():
            break
        kept[int(np.argmin(costs))] = False
    if not costs[0] > TPOT_S[0] or float(np.median(np.abs(terms @ costs - 1))) > UNEXPLAINED:
        return None
    return costs


@functools.lru_cache(maxsize=2)  # several findings ask it of one log
def _changed(run: Run) -> tuple[float, float] | None:
    """From when on an engine was slower or faster at the same batch and prompts [s], NaN where that
    came little by little, and how many times as slow; None where one engine explains the log as
    well, or nothing tells.

    run: with when requests were sent, their times and tokens.

    >>> _changed(Run("", "", {"sent_s": np.zeros(3)})) is None
    True
    """
    if not run.has("sent_s", "ttft_s", "latency_s", "prompt_tokens", "output_tokens"):
        return None
    run = run.in_order()
    batch, read, each = _counted(run)
    output, lasted = run.column("output_tokens"), run.column("latency_s")
    told = sum(run.column(n) for n in ("sent_s", "ttft_s", "latency_s", "prompt_tokens"))
    counted = run.good() & np.isfinite(told) & (output > 1)
    lasted = np.where(np.isnan(lasted), _known_mean(lasted[counted]), lasted)
    if lasted[~counted & ~(output <= 1)].sum() > LOST * lasted.sum():
        return None  # in whose steps they were is not told
    sent = run.column("sent_s")[counted]
    if each.size < LEAST_TOLD:
        return None
    few = slice(None, None, math.ceil(each.size / MOST_SERVED))
    sent, batch, read, each = sent[few], batch[few], read[few], each[few]
    terms = np.column_stack([np.ones(each.size), batch, read]) / each[:, None]

    def left(times: float, changed: FloatArray, at: int) -> float:
        """What is unexplained, in the median of the worse part, where steps are so many times as
        long as far as they have changed."""
        scaled = (1 + (times - 1) * changed)[:, None] * terms
        costs = np.linalg.lstsq(scaled, np.ones(each.size), rcond=None)[0]
        off = np.abs(scaled @ costs - 1)
        return max(float(np.median(part)) for part in (off[:at], off[at:]))

    begins = [each.size * part // 8 for part in range(1, 8)]
    ways = [(at, (np.arange(each.size) >= at).astype(float)) for at in begins]
    ways.append((each.size // 2, (sent - sent[0]) / max(float(sent[-1] - sent[0]), 1e-9)))
    least, times, place = min(
        (left(times, changed, at), times, place)
        for place, (at, changed) in enumerate(ways)
        for times in TRIED_TIMES
    )
    at = ways[place][0]
    both = [np.quantile(x, (0.02, 0.98)) for x in (batch[:at], batch[at:])]
    alike = max(x[0] for x in both) < min(x[1] for x in both)  # else another load looks the same
    if not (alike and max(times, 1 / times) > CHANGED):
        return None
    if not least < EXPLAINS * left(1.0, ways[place][1], at):
        return None
    return float(sent[at]) if place < len(begins) else math.nan, float(times)


def _tried(run: Run, costs: FloatArray, places: float, memory: float) -> OwnEngine:
    """An engine of these costs of a step, places and tokens of memory, where they are known, and
    how far its medians are off the log's."""
    sample, served = _workload(run), _simulated(run)
    largest = float((sample.prompt_tokens + sample.output_tokens).max())
    blocks = math.ceil(max(memory, largest) / BLOCK) + 1 if memory > 0 else Engine.kv_blocks
    engine = Engine(
        float(costs[0]),
        prefill_token_s=float(costs[2]),
        decode_token_s=float(costs[1]),
        token_budget=max(BUDGET, int(places)),
        kv_blocks=blocks,
        max_sequences=int(places),
    )
    ttft, tpot = latencies_s(sample, simulate(sample, engine))
    own_ttft, own_tpot = run.column("ttft_s")[served], run.tpot_s()[served]
    off, late = (
        _known_quantile(a) / max(_known_quantile(b), 1e-9) - 1
        for a, b in ((tpot, own_tpot), (ttft, own_ttft))
    )
    return OwnEngine(engine, off, late, memory=memory)


def _found_tokens(run: Run) -> FloatArray:
    """Prompt tokens of each request that a cache had, all but one at most; 0 where nothing tells.

    run: of requests.

    >>> _found_tokens(Run("", "", {"prompt_tokens": np.array([9.0]), "cached_tokens": np.ones(1)}))
    array([1.])
    """
    prompts = np.nan_to_num(run.column("prompt_tokens"), nan=1.0)
    found = np.minimum(np.nan_to_num(run.column("cached_tokens")), prompts - 1)
    return np.maximum(found, 0.0)


def _simulated(run: Run) -> npt.NDArray[np.intp]:
    """Which requests of a log are simulated, in order: the busiest in a row, where there are more.

    run: with when they were sent and their tokens.

    >>> run = Run("", "", {"sent_s": np.r_[np.arange(4000.0) * 9, 36e3 + np.arange(4000.0)]})
    >>> other = {name: np.ones(8000) for name in ("prompt_tokens", "output_tokens")}
    >>> int(_simulated(Run("", "", dict(run.columns) | other))[0])
    4000
    """
    sent = run.column("sent_s")
    tokens = run.column("prompt_tokens") + run.column("output_tokens")
    known = np.flatnonzero(run.good() & np.isfinite(sent + tokens))
    known = known[np.argsort(sent[known], kind="stable")]
    if known.size <= MOST_SERVED:
        return known
    lasted = sent[known[MOST_SERVED - 1 :]] - sent[known[: 1 - MOST_SERVED]]
    begin = int(np.argmin(lasted))
    return known[begin : begin + MOST_SERVED]


def _workload(run: Run, faster: float = 1.0) -> Workload:
    """The requests of a log that are simulated, so many times as fast."""
    served = _simulated(run)
    sent = run.column("sent_s")[served]
    prompt = np.maximum(run.column("prompt_tokens")[served], 1)
    output = np.maximum(run.column("output_tokens")[served], 1)
    found = np.floor(_found_tokens(run)[served])
    return Workload((sent - sent[0]) / faster, prompt, output, found)


def _kept_share(run: Run, own: OwnEngine, asked: Asked, faster: float) -> float:
    """Share of a log's requests that would keep the objective at another rate, simulated."""
    require(1e-3 <= faster <= 1e3, "faster", "from 0.001 to 1000", faster)
    sample = _workload(run, faster)
    ttft, tpot = latencies_s(sample, simulate(sample, own.engine))
    kept = np.ones(ttft.size, dtype=bool)
    if asked.ttft_s > 0:
        kept &= ttft <= asked.ttft_s
    if asked.tpot_s > 0:
        kept &= ~(tpot > asked.tpot_s)
    return float(kept.mean())


def breaking_rate(run: Run, own: OwnEngine, asked: Asked) -> float:
    """Times the rate of a log at which its objective breaks, by bisection; infinite where it holds
    at 16 times, NaN where it is broken at a sixteenth.

    run: the log. own: its engine. asked: the objective.

    >>> columns = {"sent_s": np.arange(4.0), "prompt_tokens": np.ones(4)}
    >>> columns["output_tokens"] = np.ones(4)
    >>> breaking_rate(Run("", "", columns), OwnEngine(Engine(0.5), 0, 0), Asked(ttft_s=5.0))
    inf
    """
    low, high = 1 / FASTEST_TIMES, FASTEST_TIMES
    if _kept_share(run, own, asked, low) < asked.quantile:
        return math.nan
    if _kept_share(run, own, asked, high) >= asked.quantile:
        return math.inf
    for _ in range(RATES):
        middle = math.sqrt(low * high)
        if _kept_share(run, own, asked, middle) >= asked.quantile:
            low = middle
        else:
            high = middle
    return low


def held_rate(run: Run, own: OwnEngine, asked: Asked) -> float:
    """Times the rate of a log up to which its objective holds, on the safe side: with as many
    places as ran, where others are not known, the smallest usual budget of a step, and promised
    times a tenth shorter, and shorter by as much as the simulation falls short of the log at that
    quantile. As `breaking_rate` elsewhere.

    run, own, asked: as for `breaking_rate`.

    >>> columns = {"sent_s": np.arange(4.0), "prompt_tokens": np.ones(4)}
    >>> columns |= {"output_tokens": np.ones(4), "ttft_s": np.full(4, 0.5)}
    >>> held_rate(Run("", "", columns), OwnEngine(Engine(0.5), 0, 0), Asked(ttft_s=5.0))
    inf
    """
    places = max(1, int(own.ran)) if own.ran > 0 else own.engine.max_sequences
    engine = replace(own.engine, max_sequences=places, token_budget=max(LEAST_BUDGET, places))
    sample, served = _workload(run), _simulated(run)
    ttft, tpot = latencies_s(sample, simulate(sample, engine))

    def shorter(predicted: FloatArray, seen: FloatArray) -> float:
        told = _known_quantile(seen[served], asked.quantile)
        off = _known_quantile(predicted, asked.quantile) / told if told > 0 else math.nan
        return SURE * (off if off < 1 else 1.0)

    tighter = replace(
        asked,
        ttft_s=asked.ttft_s * shorter(ttft, run.column("ttft_s")),
        tpot_s=asked.tpot_s * shorter(tpot, run.tpot_s()),
    )
    return breaking_rate(run, replace(own, engine=engine), tighter)


def check_costs_are_found_again() -> None:
    """An engine that served 3,000 requests is found again from their times, and at 1.6 times the
    rate keeps the share that it would keep.

    Source: the simulator with the costs that were given to it.
    """
    rng = np.random.default_rng(14)
    count, rate = 3000, 8.0
    sent = np.cumsum(rng.exponential(1 / rate, count))
    asked = Workload(sent, rng.geometric(1 / 400, count), rng.geometric(1 / 150, count))
    engine = Engine(0.01, 4e-5, 2e-4, token_budget=8192, max_sequences=64)
    served = simulate(asked, engine)
    columns = {
        "sent_s": sent,
        "ttft_s": served.first_token_s - sent,
        "latency_s": served.completion_s - sent,
        "prompt_tokens": asked.prompt_tokens.astype(float),
        "output_tokens": asked.output_tokens.astype(float),
    }
    run = Run("", "", columns)
    own = fit_own(run, Asked(places=64))
    assert own is not None
    checks.close("step [s]", own.engine.step_s, 0.01, rtol=0.02, kind="simulation")
    checks.close("sequence [s]", own.engine.decode_token_s, 2e-4, rtol=0.02, kind="simulation")
    checks.close("prompt token [s]", own.engine.prefill_token_s, 4e-5, rtol=0.02, kind="simulation")
    wanted = Asked(ttft_s=0.5, tpot_s=0.04, places=64)
    there, here = (_kept_share(run, OwnEngine(x, 0, 0), wanted, 1.6) for x in (engine, own.engine))
    checks.close("kept at 1.6 times the rate", here, there, atol=0.01, kind="simulation")
