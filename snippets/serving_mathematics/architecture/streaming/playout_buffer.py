"""How long to hold a stream back so that its reader never waits: the smallest start delay of one
stream, and the chance that a delay is too small.

A reader takes one token every g seconds. From time s on token i is needed at s + (i − 1)g, so the
reader never waits exactly when s ≥ max_i (t_i − (i − 1)g). For exponential gaps of mean τ < g the
buffer is a D/M/1 queue seen from the other side: an endless stream stalls with probability
σe^{−(1−σ)d/τ} after a start delay d, where σ = e^{−(1−σ)g/τ}.

Assumes: a constant reading speed; for the probability, independent exponential gaps.

Source: Kleinrock (1975), G/M/1 waiting time, for the probability; the delay is derived here.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

WORDS_PER_TOKEN = 0.75  # 10 tokens/s are about 450 words/min (Databricks 2023) [words/token]
WORDS_PER_MINUTE = 238.0  # silent reading of English non-fiction (Brysbaert 2019) [words/min]


def reading_gap_s(words_per_minute: float, words_per_token: float) -> float:
    """How long a reader takes for one token: g [s].

    words_per_minute: reading speed [words/min]. words_per_token: average of the tokenizer on the
    language [words/token]. Raises ValueError unless both are positive and finite.

    >>> reading_gap_s(words_per_minute=240.0, words_per_token=0.75)
    0.1875
    """
    speed, length = require_positive(
        words_per_minute=words_per_minute, words_per_token=words_per_token
    )
    return float(60 * length / speed)


def read_times_s(
    arrival_s: npt.ArrayLike, gap_s: float, start_delay_s: float = 0.0
) -> npt.NDArray[np.float64]:
    """When a reader takes each token who starts a while after the first and waits when there is
    none [s], shape (N,).

    arrival_s: when tokens arrive [s], shape (N,), not decreasing. gap_s: g, reading time of one
    token [s]. start_delay_s: d ≥ 0 after the first token [s]. Solves read_i = max(t_i, read_{i−1} +
    g) at once. Raises ValueError outside these ranges.

    >>> read_times_s([1.0, 1.5, 4.0], gap_s=1.0)
    array([1., 2., 4.])
    """
    times = as_floats(arrival_s=arrival_s)
    ordered = times.ndim == 1 and times.size > 0 and np.all(times >= [0.0, *times[:-1]])
    require(ordered and np.all(times < math.inf), "arrival_s", "sorted times from 0 on", times)
    gap_s = require_positive(gap_s=gap_s)
    start_delay_s = require_non_negative(start_delay_s=start_delay_s)
    schedule = gap_s * np.arange(times.size)
    earliest = times - schedule
    earliest[0] += start_delay_s
    return np.asarray(schedule + np.maximum.accumulate(earliest), dtype=float)


def smallest_start_delay_s(arrival_s: npt.ArrayLike, gap_s: float) -> float:
    """Shortest pause after the first token with which the reader never waits afterwards [s]:
    max_i (t_i − (i − 1)g) − t_1.

    arrival_s, gap_s: as for `read_times_s`. For a steady stream it is (N − 1)·max(0, TPOT − g).

    >>> smallest_start_delay_s([1.0, 1.5, 4.0], gap_s=1.0)
    1.0
    """
    times = as_floats(arrival_s=arrival_s)
    ordered = times.ndim == 1 and times.size > 0 and np.all(times >= [0.0, *times[:-1]])
    require(ordered and np.all(times < math.inf), "arrival_s", "sorted times from 0 on", times)
    gap_s = require_positive(gap_s=gap_s)
    return float(np.max(times - gap_s * np.arange(times.size)) - times[0])


def stall_probability(start_delay_s: float, mean_itl_s: float, gap_s: float) -> float:
    """Chance that the reader of an endless stream with exponential gaps ever waits.

    start_delay_s: d ≥ 0 [s]. mean_itl_s: τ > 0 [s]. gap_s: g > τ [s]; from τ = g on the answer is
    1 and the call is refused. σ comes from Newton's method, which rises to it from 0. An upper
    bound for a stream of any length. Raises ValueError outside these ranges.

    >>> round(stall_probability(start_delay_s=0.0, mean_itl_s=0.5, gap_s=1.0), 6)
    0.203188
    """
    gap_s = as_number(gap_s=gap_s)
    start_delay_s = require_non_negative(start_delay_s=start_delay_s)
    mean_itl_s = require_positive(mean_itl_s=mean_itl_s)
    require(mean_itl_s < gap_s < math.inf, "gap_s", f"finite and above {mean_itl_s:g}", gap_s)
    ratio, sigma = gap_s / mean_itl_s, 0.0
    for _ in range(100):
        value = math.exp(-(1 - sigma) * ratio)
        step = (value - sigma) / (1 - ratio * value)
        sigma += step
        if step < 1e-16:
            break
    return sigma * math.exp(-(1 - sigma) * start_delay_s / mean_itl_s)


def delay_for_stalls_s(probability: float, mean_itl_s: float, gap_s: float) -> float:
    """Start delay with which a stream of exponential gaps stalls no more often than given [s].

    probability: ε in (0, 1). mean_itl_s: τ [s]. gap_s: g > τ [s]. The inverse of
    `stall_probability`: τ ln(σ/ε)/(1 − σ), or 0 when even no delay stalls less often. Raises
    ValueError outside these ranges.

    >>> round(delay_for_stalls_s(probability=0.01, mean_itl_s=0.5, gap_s=1.0), 4)
    1.8897
    """
    mean_itl_s = as_number(mean_itl_s=mean_itl_s)
    probability = require_in("(0, 1)", probability=probability)
    sigma = stall_probability(0.0, mean_itl_s, gap_s)
    if sigma <= probability:
        return 0.0
    return mean_itl_s * math.log(sigma / probability) / (1 - sigma)


def simulate_stalls(
    rng: np.random.Generator,
    start_delay_s: float,
    mean_itl_s: float,
    gap_s: float,
    tokens: int = 400,
    streams: int = 2000,
) -> MeanEstimate:
    """Share of simulated streams whose reader ever waits, with its binomial standard error.

    start_delay_s: d ≥ 0 [s]. mean_itl_s: τ [s]. gap_s: g [s]. tokens: N ≥ 2 of each stream.
    streams: number of independent streams. Raises ValueError on bad input.
    """
    tokens, streams = as_number(tokens=tokens, streams=streams)
    start_delay_s = require_non_negative(start_delay_s=start_delay_s)
    mean_itl_s, gap_s = require_positive(mean_itl_s=mean_itl_s, gap_s=gap_s)
    require(2 <= tokens < math.inf and tokens % 1 == 0, "tokens", "an integer from 2 on", tokens)
    enough = 100 <= streams < math.inf and streams % 1 == 0
    require(enough, "streams", "an integer of at least 100", streams)
    require_work(streams, streams=streams)
    return _late(_lags(rng, mean_itl_s, gap_s, int(tokens), int(streams)), start_delay_s)


def _lags(
    rng: np.random.Generator, mean_itl_s: float, gap_s: float, tokens: int, streams: int
) -> FloatArray:
    """How far each stream falls behind its reader at worst [s], shape (streams,)."""
    steps = rng.exponential(mean_itl_s, (streams, tokens - 1)) - gap_s
    return np.asarray(np.cumsum(steps, axis=1).max(axis=1))


def _late(lags_s: FloatArray, start_delay_s: float) -> MeanEstimate:
    """Share of streams that fall behind by more than the delay."""
    share, streams = float(np.mean(lags_s > start_delay_s)), lags_s.size
    error = math.sqrt(max(share * (1 - share), 1 / streams) / streams)
    return MeanEstimate(share, error, 1.96 * error)


def _reader() -> float:
    return reading_gap_s(WORDS_PER_MINUTE, WORDS_PER_TOKEN)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    gap = _reader()
    steady = 0.5 + 0.200 * np.arange(401)
    return SimpleNamespace(
        reader_gap_ms=1000 * gap,
        reader_tokens_per_s=1 / gap,
        steady_delay_s=smallest_start_delay_s(steady, gap),
        stall_percent=100 * stall_probability(0.0, 0.150, gap),
        slow_mean_ms=150.0,
        delay_1_percent_s=delay_for_stalls_s(0.01, 0.150, gap),
        busy_delay_1_percent_s=delay_for_stalls_s(0.01, 0.180, gap),
    )


def figure_start_delay(figure: Figure) -> None:
    """Tokens that come every 150 ms on average stall three of five readers who start at once, and
    one in a hundred who start 1.6 s later.

    Chance that the reader of 238 words a minute ever waits, with gaps that are exponential with the
    mean given. Lines are the formula for an endless stream, points 1400 simulated streams of 400
    tokens with 95% intervals.

    Alt: Chart of stall probability, logarithmic from 1 to 0.001, against start delay from 0 to 4
    seconds. Three straight falling lines: mean gaps of 100 ms fall steeply to 0.001 at 0.7
    seconds, 150 ms reach 0.01 at 1.6 s, 175 ms fall slowly. Points lie on the lines.
    """
    rng = np.random.default_rng(131)
    axes = figure.subplots()
    gap, delays = _reader(), np.linspace(0, 4, 50)
    for mean, colour, x, y in (
        (0.100, "C2", 0.72, 2.4e-3),
        (0.150, "C0", 1.7, 1.5e-2),
        (0.175, "C1", 2.7, 0.22),
    ):
        axes.plot(delays, [stall_probability(d, mean, gap) for d in delays], color=colour)
        lags = _lags(rng, mean, gap, 400, 1400)
        runs = {delay: _late(lags, delay) for delay in (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)}
        runs = {delay: run for delay, run in runs.items() if run.mean > 0.004}
        means, halves = zip(*((run.mean, run.half_width) for run in runs.values()), strict=True)
        axes.errorbar(list(runs), means, halves, fmt="o", color=colour)
        axes.annotate(f"{1000 * mean:.0f} ms", (x, y), color=colour)
    axes.set(yscale="log", xlim=(-0.08, 4), ylim=(1e-3, 1.2))
    axes.set_yticks([0.001, 0.01, 0.1, 1], ["0.001", "0.01", "0.1", "1"])
    axes.minorticks_off()
    axes.set(xlabel="start delay after the first token [s]", ylabel="chance of a stall [1]")


def check_reading_speed() -> None:
    """A token every 100 ms is about 450 words a minute; a reader of 238 takes one in 189 ms.

    Source: Databricks (2023) for 450 words/min at 10 tokens/s; Brysbaert (2019) for 238 words/min;
    60·0.75/238 by hand.
    """
    words = 60 * 10 * WORDS_PER_TOKEN
    checks.close("words/min at 10 tokens/s", words, 450.0, rtol=1e-12, kind="published")
    checks.close("g at 238 words/min [s]", reading_gap_s(238.0, 0.75), 0.18907563, atol=5e-9)
    checks.close("g at 450 words/min [s]", reading_gap_s(450.0, 0.75), 0.1, rtol=1e-12)


def check_smallest_delay() -> None:
    """With the smallest start delay the reader never waits, and with a millisecond less they do.

    Source: a token-by-token loop over the reader's clock, tried on every delay in steps of 1 ms.
    """
    rng = np.random.default_rng(7)
    arrival = np.cumsum(rng.exponential(0.2, 60))

    def waits(delay: float) -> bool:
        clock = float(arrival[0]) + delay
        for time in arrival[1:].tolist():
            clock += 0.19
            if time > clock + 1e-12:
                return True
        return False

    delay = smallest_start_delay_s(arrival, 0.19)
    tried = next(step / 1000 for step in range(100_000) if not waits(step / 1000))
    checks.holds("no stall", not waits(delay), got=delay)
    checks.inside("within 1 ms of the first that works [s]", tried - delay, 0.0, 0.001)
    steady = 0.5 + 0.2 * np.arange(401)
    checks.close("steady, 400·11 ms [s]", smallest_start_delay_s(steady, 0.189), 4.4, rtol=1e-9)


def check_waiting_is_only_moved() -> None:
    """A reader who starts at once ends at the same moment as one who waits first and never again.

    Source: the reader's recursion read_i = max(t_i, read_{i−1} + g), one token after the other.
    """
    rng = np.random.default_rng(8)
    arrival = np.cumsum(rng.exponential(0.2, 80))
    clock = float(arrival[0])
    for time in arrival[1:].tolist():
        clock = max(time, clock + 0.19)
    patient = read_times_s(arrival, 0.19, smallest_start_delay_s(arrival, 0.19))
    checks.close("eager reader's end [s]", read_times_s(arrival, 0.19)[-1], clock, rtol=1e-12)
    checks.close("patient reader's end [s]", patient[-1], clock, rtol=1e-12)
    checks.close("patient reader's gaps [s]", np.diff(patient), np.full(79, 0.19), rtol=1e-9)


def check_stall_probability() -> None:
    """The share of simulated streams that stall is that of the formula.

    Source: 2100 independent simulated streams of 600 tokens, binomial standard errors; σ = .203188
    solves its equation at τ/g = 1/2.
    """
    lags = _lags(np.random.default_rng(9), 0.150, 0.189, 600, 2100)
    fast = simulate_stalls(np.random.default_rng(10), 0.2, 0.100, 0.189, 600, 2100)
    for delay, mean, run in (
        (0.0, 0.150, _late(lags, 0.0)),
        (1.0, 0.150, _late(lags, 1.0)),
        (0.2, 0.100, fast),
    ):
        label = f"d = {delay:g} s, τ = {1000 * mean:.0f} ms"
        checks.covers(label, run, stall_probability(delay, mean, 0.189))
    sigma = stall_probability(0.0, 0.5, 1.0)
    checks.close("σ at τ/g = 1/2", sigma, math.exp(-2 * (1 - sigma)), rtol=1e-12)
    delay = delay_for_stalls_s(0.01, 0.150, 0.189)
    checks.close("inverse", stall_probability(delay, 0.150, 0.189), 0.01, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Readers faster than the stream, negative delays and impossible chances are errors."""
    checks.raises("τ = g", stall_probability, 0.0, 0.2, 0.2, match="gap_s must be finite and above")
    checks.raises(
        "d < 0", read_times_s, [1.0], 0.2, -1.0, match="start_delay_s must be non-negative"
    )
    checks.raises("ε = 0", delay_for_stalls_s, 0.0, 0.1, 0.2, match="probability must be in (0, 1)")
    checks.raises("g = 0", smallest_start_delay_s, [1.0], 0.0, match="gap_s must be positive")
