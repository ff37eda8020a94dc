"""Solutions to the exercises on step times: a floor from two timings, even reading, a batch.

Assumes: kernels with a floor and a rate; a cache that is read whole, once a step; a step
that grows in a straight line with its sequences.

Source: the chapter's formulas; Williams, Waterman and Patterson (2009).
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.deployments import WORKED, room_sequences
from serving_mathematics.core.hardware.step_terms import DATA_SHEET
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    step_parts,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "floor_and_rate": (
        "Two timings are two equations, t = f + b/r with the same f and r: subtract them, and f"
        " drops out."
    ),
    "even_reading": (
        "The weights are read once a step, and the cache of each token of each sequence once too."
        " Where are the two equal?"
    ),
    "largest_batch": (
        "What the limit leaves after an empty step is divided among the sequences; a fraction"
        " of one does not run, and memory may end first."
    ),
}


def floor_and_rate(
    small_bytes: float, small_s: float, large_bytes: float, large_s: float
) -> tuple[float, float]:
    """Floor [s] and rate [bytes/s] of a kernel from two timings.

    small_bytes < large_bytes: what each reads, > 0. small_s, large_s: their times [s], > 0; the
    larger takes longer, and in no greater proportion. Raises ValueError otherwise.

    >>> floor, rate = floor_and_rate(1e6, 3e-6, 5e6, 7e-6)
    >>> round(floor * 1e6, 6), round(rate / 1e12, 6)
    (2.0, 1.0)
    """
    small_bytes, small_s, large_bytes, large_s = require_positive(
        small_bytes=small_bytes, small_s=small_s, large_bytes=large_bytes, large_s=large_s
    )
    require(large_bytes > small_bytes, "large_bytes", f"above {small_bytes:g}", large_bytes)
    most = small_s * large_bytes / small_bytes
    rule = f"above small_s and at most in proportion, {most:g}"
    require(small_s < large_s <= most, "large_s", rule, large_s)
    rate = (large_bytes - small_bytes) / (large_s - small_s)
    return small_s - small_bytes / rate, rate


def even_reading(weight_bytes: float, bytes_a_token: float, sequences: int) -> float:
    """Tokens of context at which a step reads as many bytes of cache as of weights.

    weight_bytes: that a step reads, > 0. bytes_a_token: of the cache, > 0. sequences: in the step,
    a positive integer. Raises ValueError outside.

    >>> even_reading(16e9, bytes_a_token=1e5, sequences=8)
    20000.0
    """
    weight_bytes, bytes_a_token = require_positive(
        weight_bytes=weight_bytes, bytes_a_token=bytes_a_token
    )
    sequences = require_positive_integer(sequences=sequences)
    return weight_bytes / (sequences * bytes_a_token)


def largest_batch(limit_s: float, empty_s: float, sequence_s: float, room: int) -> int:
    """Sequences that a step may have: the most that keep its time within a limit, 0 if none do.

    limit_s: > 0. empty_s: time of a step without sequences, >= 0. sequence_s: what each adds, > 0.
    room: sequences that memory holds, a positive integer. Raises ValueError outside.

    >>> largest_batch(0.02, empty_s=0.005, sequence_s=0.001, room=64)
    15
    """
    limit_s, sequence_s = require_positive(limit_s=limit_s, sequence_s=sequence_s)
    empty_s = require_non_negative(empty_s=empty_s)
    room = require_positive_integer(room=room)
    fit = (limit_s - empty_s) / sequence_s * (1 + 1e-12)
    return max(0, min(room, math.floor(fit)))


def _line(context: float) -> tuple[float, float, int]:
    """Empty step [s], time a sequence [s], and room of the chapter's model on one H100."""
    one = replace(WORKED, input_tokens=context, output_tokens=1.0)
    work = count_work([one] * 2)
    few, more = decode_step_s(work, FITTED, np.array([8.0, 16.0]), np.full(2, context))
    each = float(more - few) / 8
    return float(few) - 8 * each, each, int(room_sequences(one))


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    floor, rate = floor_and_rate(2.1e6, 3.94e-6, 5.37e8, 2.072e-4)
    empty, each, room = _line(2000.0)
    return SimpleNamespace(
        two_floor_us=1e6 * floor,
        two_rate_tb=rate * 1e-12,
        even_tokens=even_reading(15.01e9, 131_072.0, 8),
        empty_ms=1e3 * empty,
        each_us=1e6 * each,
        batch_at_twenty=largest_batch(0.020, empty, each, room),
    )


def check_two_timings_give_the_line() -> None:
    """Floor and rate from two timings give back any third.

    Source: lines drawn at random, read at three sizes.
    """
    rng = np.random.default_rng(33)
    for _ in range(5):
        floor, rate = rng.uniform(1e-6, 9e-6), rng.uniform(1e12, 8e12)
        low, middle, high = np.sort(rng.uniform(1e5, 1e9, 3)).tolist()
        found = floor_and_rate(low, floor + low / rate, high, floor + high / rate)
        expected = floor + middle / rate
        checks.close("third timing [s]", found[0] + middle / found[1], expected, rtol=1e-6)


def check_even_reading_is_even() -> None:
    """At that context the chapter's step reads its cache as long as its weights.

    Source: the parts of a step of Llama-3.1-8B on one H100, at the data sheet's bandwidth.
    """
    work = count_work([WORKED])
    for sequences in (1, 8, 32):
        many = np.array([float(sequences)])
        idle = step_parts(work, DATA_SHEET, many, np.zeros(1))
        weights = float(idle.weights[0] + idle.vocabulary[0])
        tokens = even_reading(weights * 3.35e12, 131_072.0, sequences)
        cache = step_parts(work, DATA_SHEET, many, np.array([tokens])).cache
        checks.close(f"{sequences} sequences [s]", float(cache[0]), weights, rtol=1e-9)


def check_largest_batch_is_the_largest() -> None:
    """With it the step keeps the limit, and with one more it does not.

    Source: the chapter's step of Llama-3.1-8B on one H100, not the line through two of its points.
    """
    for context, limit in ((2000.0, 0.012), (8000.0, 0.02)):
        empty, each, room = _line(context)
        batch = largest_batch(limit, empty, each, room)
        one = replace(WORKED, input_tokens=context, output_tokens=1.0)
        work = count_work([one] * 2)
        times = decode_step_s(work, FITTED, np.array([batch, batch + 1.0]), np.full(2, context))
        checks.holds(f"{batch} sequences keep {limit:g} s", times[0] <= limit < times[1], got=batch)
    checks.close("memory ends first", largest_batch(1.0, 0.001, 0.001, 40), 40, rtol=0)
    checks.close("none", largest_batch(0.001, 0.002, 0.001, 40), 0, rtol=0)


def check_bad_input_is_refused() -> None:
    """Timings out of proportion, half a sequence and a limit of none name the argument."""
    checks.raises("too slow", floor_and_rate, 1.0, 1.0, 2.0, 3.0, match="large_s must be above")
    checks.raises("half of one", even_reading, 1.0, 1.0, 0.5, match="sequences must be")
    checks.raises("no limit", largest_batch, 0.0, 0.0, 1.0, 1, match="limit_s must be")
