"""Solutions to the exercises on step times: a floor from two timings, a faster device, guesses.

Assumes: kernels with a floor and a rate; a step that grows in a straight line with its sequences;
a faster device that shortens what reads, and nothing else.

Source: the chapter's formulas; Williams, Waterman and Patterson (2009).
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.deployments import (
    OWN_HEADS,
    WORKED,
    Deployment,
)
from serving_mathematics.core.hardware.guessed_steps import guessed_step_s
from serving_mathematics.core.hardware.step_terms import DATA_SHEET
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
)
from serving_mathematics.machine.step_time.speculative_decoding import (
    CONTEXT_TOKENS,
    MANY,
    _compared,
    break_even_tokens,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_positive,
    require_positive,
    require_positive_integer,
    require_shape,
)

Pair = tuple[float, float]
HINTS = {
    "floor_and_rate": (
        "Two timings are two equations, t = f + b/r with the same f and r: subtract them, and f"
        " drops out."
    ),
    "gain_from_dashboard": (
        "How long does a step spend reading? That part shrinks with the bandwidth, and the rest of"
        " the gap stays as it is."
    ),
    "guesses_pay_up_to": (
        "Each further sequence adds the same time to a step without guesses, and another constant"
        " time to a step with them. Put both lines into “guessed ≤ yield times plain”; which way"
        " does the difference move, and where is it zero?"
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


def guesses_pay_up_to(plain_s: Pair, guessed_s: Pair, sequences: int, yielded: float) -> int:
    """The most sequences with which guesses pay, 0 where they pay with none that was tried.

    plain_s, guessed_s: a step without guesses and with them, with one sequence and with the most
    that were tried, positive [s]; in between both are lines. sequences: the most tried, 2 or more.
    yielded: tokens that a step with guesses gives each sequence, at least 1. They pay where it
    takes at most that many times as long as one without. Raises ValueError outside.

    >>> guesses_pay_up_to((0.010, 0.020), (0.014, 0.044), sequences=11, yielded=1.6)
    2
    """
    plain, guessed = as_floats(plain_s=plain_s), as_floats(guessed_s=guessed_s)
    require_shape((2,), plain_s=plain, guessed_s=guessed)
    require_all_positive(plain_s=plain, guessed_s=guessed)
    sequences = require_positive_integer(sequences=sequences)
    require(sequences >= 2, "sequences", "2 or more", sequences)
    yielded = as_number(yielded=yielded)
    require(1 <= yielded < math.inf, "yielded", "finite and at least 1", yielded)
    alone, most = (yielded * plain - guessed).tolist()  # time that is gained
    if most >= 0 or alone < 0:
        return int(sequences) if most >= 0 else 0
    return 1 + math.floor(float((sequences - 1) * alone / (alone - most)))


def _drafted() -> Deployment:
    """The chapter's dense model with the smaller of its draft models."""
    return next(one for what, _, one in _compared() if what == "Qwen3-0.6B")


def _predicted(guessing: Deployment, most: int) -> tuple[Pair, Pair]:
    """Steps without and with guesses, with one sequence and with the most [s]."""
    plain = replace(guessing, draft_tokens=0, drafter=OWN_HEADS)
    told = [
        guessed_step_s(one, FITTED, [1, most], [CONTEXT_TOKENS] * 2).tolist()
        for one in (plain, guessing)
    ]
    return tuple(told[0]), tuple(told[1])


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    floor, rate = floor_and_rate(2.1e6, 3.94e-6, 5.37e8, 2.072e-4)
    plain, guessed = _predicted(_drafted(), MANY)
    return SimpleNamespace(
        two_floor_us=1e6 * floor,
        two_rate_tb=rate * 1e-12,
        offered_gain=gain_from_dashboard(0.014, 10e9, 3.35e12, 4.8e12),
        offered_attained=gain_from_dashboard(0.014, 10e9 / FITTED.weight_share, 3.35e12, 4.8e12),
        weights_attain=FITTED.weight_share,
        plain_one_ms=1e3 * plain[0],
        plain_many_ms=1e3 * plain[1],
        guessed_one_ms=1e3 * guessed[0],
        guessed_many_ms=1e3 * guessed[1],
        guesses_pay=guesses_pay_up_to(plain, guessed, MANY, 1.6),
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
    """On a device that reads faster, a step is as much shorter as the dashboard formula says.

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


def check_guesses_pay_up_to() -> None:
    """The most sequences with which guesses pay follow from the two lines; this is near the number
    from a dense model's predicted steps, but not from a mixture's, whose steps are no lines.

    Source: by hand, 8 and 12 ms, and 1 and 2 ms more for each further sequence: 1.6 of 0.3; the
    yield that the chapter's steps need, with a draft model and with a mixture's own heads.
    """
    plain, guessed = (0.008, 0.016), (0.012, 0.028)
    for yielded, due in ((1.7, 6), (1.73, 7), (3.0, 9), (1.4, 0), (1.52, 1)):
        found = guesses_pay_up_to(plain, guessed, 9, yielded)
        checks.equal(f"yield of {yielded:g}", found, due)
    for yielded, due in ((1.2, 9), (1.05, 0)):  # with many alone
        found = guesses_pay_up_to(plain, (0.012, 0.018), 9, yielded)
        checks.equal(f"flatter, yield of {yielded:g}", found, due)
    drafted = _drafted()
    few = guesses_pay_up_to(*_predicted(drafted, MANY), MANY, 1.5)
    needed = break_even_tokens(drafted, FITTED, few, CONTEXT_TOKENS)[0]
    checks.close(f"needed with {few} sequences, a draft", needed, 1.5, rtol=0.03)
    heads = next(one for what, _, one in _compared() if what == "its own heads")
    many = guesses_pay_up_to(*_predicted(heads, 32), 32, 1.5)
    needed = break_even_tokens(heads, FITTED, many, CONTEXT_TOKENS)[0]
    checks.inside(f"needed with {many} sequences, a mixture", needed, 1.52, 2.0)


def check_bad_input_is_refused() -> None:
    """Timings out of proportion, bytes beyond the gap and a yield below one are errors that name
    the argument.
    """
    checks.raises("too slow", floor_and_rate, 1.0, 1.0, 2.0, 3.0, match="large_s must be above")
    checks.raises("gap", gain_from_dashboard, 1.0, 3.0, 2.0, 3.0, match="read_bytes must be")
    told = "yielded must be finite and at least 1"
    checks.raises("less than plain", guesses_pay_up_to, (1, 2), (1, 2), 2, 0.9, match=told)
