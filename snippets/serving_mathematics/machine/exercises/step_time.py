"""Solutions to the exercises on step times: a floor from two timings, even attention, a batch.

Assumes: kernels with a floor and a rate; attention with all heads over the whole context; a step
that grows in a straight line with its sequences.

Source: the chapter's formulas; Williams, Waterman and Patterson (2009).
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics import checks
from serving_mathematics.machine.catalogue import find_model
from serving_mathematics.machine.deployments import WORKED, room_sequences
from serving_mathematics.machine.step_terms import attention_over_weights
from serving_mathematics.machine.step_time import FITTED, count_work, decode_step_s
from serving_mathematics.require import (
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
    "even_context": (
        "A token is multiplied twice with every parameter, and four times a layer with each of the"
        " d values of every token in its context. Where are the two equal?"
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
    require_positive(
        small_bytes=small_bytes, small_s=small_s, large_bytes=large_bytes, large_s=large_s
    )
    require(large_bytes > small_bytes, "large_bytes", f"above {small_bytes:g}", large_bytes)
    most = small_s * large_bytes / small_bytes
    rule = f"above small_s and at most in proportion, {most:g}"
    require(small_s < large_s <= most, "large_s", rule, large_s)
    rate = (large_bytes - small_bytes) / (large_s - small_s)
    return small_s - small_bytes / rate, rate


def even_context(parameters: float, layers: int, width: int) -> float:
    """Tokens of context at which attention multiplies as much as all parameters do.

    parameters: of the model, > 0. layers, width: of heads times their size, positive integers.
    Raises ValueError outside.

    >>> even_context(1e9, layers=10, width=1000)
    50000.0
    """
    require_positive(parameters=parameters)
    require_positive_integer(layers=layers, width=width)
    return parameters / (2 * layers * width)


def largest_batch(limit_s: float, empty_s: float, sequence_s: float, room: int) -> int:
    """Sequences that a step may have: the most that keep its time within a limit, 0 if none do.

    limit_s: > 0. empty_s: time of a step without sequences, >= 0. sequence_s: what each adds, > 0.
    room: sequences that memory holds, a positive integer. Raises ValueError outside.

    >>> largest_batch(0.02, empty_s=0.005, sequence_s=0.001, room=64)
    15
    """
    require_positive(limit_s=limit_s, sequence_s=sequence_s)
    require_non_negative(empty_s=empty_s)
    require_positive_integer(room=room)
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
        even_8b=even_context(8.03e9, 32, 4096),
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


def check_even_context_is_even() -> None:
    """At that context the chapter's ratio is one, for models of both sizes.

    Source: the chapter's count of multiplications, layer by layer.
    """
    for name, layers, width in (("Llama-3.1-8B", 32, 4096), ("Llama-3.1-70B", 80, 8192)):
        model = find_model(name)[0]
        tokens = even_context(model.parameters, layers, width)
        checks.close(name, attention_over_weights(model, tokens), 1.0, rtol=1e-12)


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
    """Timings out of proportion, widths and limits that are none name the argument."""
    checks.raises("too slow", floor_and_rate, 1.0, 1.0, 2.0, 3.0, match="large_s must be above")
    checks.raises("no width", even_context, 1.0, 1, 0, match="width must be")
    checks.raises("no limit", largest_batch, 0.0, 0.0, 1.0, 1, match="limit_s must be")
