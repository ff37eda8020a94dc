"""Solutions to the exercises on step times: a floor from two timings, a faster device, a batch.

Assumes: kernels with a floor and a rate; a step that grows in a straight line with its sequences;
a faster device that shortens what reads, and nothing else.

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
    "gain_from_dashboard": (
        "How long does a step read? That part shrinks with the bandwidth, and the rest of the gap"
        " stays as it is."
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


def gain_from_dashboard(
    gap_s: float, read_bytes: float, bandwidth: float, faster_bandwidth: float
) -> float:
    """How many times as fast a step is with more bandwidth, from its gap and what it reads.

    gap_s: of a step, > 0. read_bytes: that it reads on each device, > 0. bandwidth,
    faster_bandwidth: of the data sheets [bytes/s], > 0; reading takes no longer than the gap.
    Raises ValueError otherwise.

    >>> round(gain_from_dashboard(0.010, 10e9, bandwidth=2e12, faster_bandwidth=4e12), 3)
    1.333
    """
    gap_s, read_bytes, bandwidth, faster_bandwidth = require_positive(
        gap_s=gap_s, read_bytes=read_bytes, bandwidth=bandwidth, faster_bandwidth=faster_bandwidth
    )
    reading_s = read_bytes / bandwidth
    require(reading_s <= gap_s, "read_bytes", f"read within the gap of {gap_s:g} s", read_bytes)
    return gap_s / (gap_s - reading_s + read_bytes / faster_bandwidth)


def largest_batch(limit_s: float, empty_s: float, sequence_s: float, room: int) -> int:
    """Sequences that a step may have: the most that keep its time within a limit, 0 if none do.

    limit_s: > 0. empty_s: time of a step without sequences, >= 0. sequence_s: what each adds, > 0.
    room: sequences that memory holds, a positive integer. Raises ValueError outside.

    >>> largest_batch(0.0205, empty_s=0.005, sequence_s=0.001, room=64)
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
        offered_gain=gain_from_dashboard(0.014, 10e9, 3.35e12, 4.8e12),
        offered_attained=gain_from_dashboard(0.014, 10e9 / FITTED.weight_share, 3.35e12, 4.8e12),
        weights_attain=FITTED.weight_share,
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


def check_gain_is_that_of_the_step() -> None:
    """A step whose device reads faster is as much shorter as the dashboard says.

    Source: the parts of a step of Llama-3.1-8B at the data sheet's bandwidth, on an H100 whose
    bandwidth is changed, with 5 ms beside that do not read.
    """
    rest_s, old = 0.005, WORKED.system.bandwidth_bytes_per_s
    for sequences, times in ((1, 1.4), (8, 2.0), (32, 0.5)):
        many, context = np.array([float(sequences)]), np.array([1000.0])
        new = replace(WORKED.system, bandwidth_bytes_per_s=old * times)
        steps = [
            rest_s + float(decode_step_s(count_work([one]), DATA_SHEET, many, context)[0])
            for one in (WORKED, replace(WORKED, system=new))
        ]
        read = (steps[0] - rest_s) * old
        got = gain_from_dashboard(steps[0], read, old, old * times)
        checks.close(f"{sequences} sequences", got, steps[0] / steps[1], rtol=1e-9)


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
    """Timings out of proportion, bytes beyond the gap and a limit of zero are errors that name the
    argument.
    """
    checks.raises("too slow", floor_and_rate, 1.0, 1.0, 2.0, 3.0, match="large_s must be above")
    checks.raises("gap", gain_from_dashboard, 1.0, 3.0, 2.0, 3.0, match="read_bytes must be")
    checks.raises("no limit", largest_batch, 0.0, 0.0, 1.0, 1, match="limit_s must be")
