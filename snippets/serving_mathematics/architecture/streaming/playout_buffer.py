"""How long to hold a stream back so that its reader never waits: the smallest start delay.

A reader takes one token every g seconds. From time s on token i is needed at s + (i − 1)g, so the
reader never waits exactly when s ≥ max_i (t_i − (i − 1)g).

Assumes: a constant reading speed.

Source: derived here; Brysbaert (2019) and Databricks (2023) for how fast people read.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_non_negative,
    require_positive,
)

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
    )


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


def check_bad_input_is_refused() -> None:
    """Negative delays and readers that take no time are errors."""
    checks.raises(
        "d < 0", read_times_s, [1.0], 0.2, -1.0, match="start_delay_s must be non-negative"
    )
    checks.raises("g = 0", smallest_start_delay_s, [1.0], 0.0, match="gap_s must be positive")
