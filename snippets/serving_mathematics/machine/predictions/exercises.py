"""Solutions to the exercises on predictions: requests that run, what is off, the ridge.

Assumes: a closed loop in its steady state; steps that grow in proportion to their sequences; one
matrix that is read once.

Source: the chapter's formulas; Little (1961); Williams, Waterman and Patterson (2009).
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.step_time import FITTED, count_work, decode_step_s
from serving_mathematics.machine.predictions.own_runs import scaled_constants
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_non_negative,
    require_positive,
)

HINTS = {
    "running_requests": (
        "A request stays for its first token and for the O − 1 that follow. Where the first takes "
        "much longer than its prompt, it holds a place only for the latter. Little's law, twice."
    ),
    "what_is_off": (
        "With one sequence a step is weights and floors. What the others add is the difference of"
        " the two times. Compare each with what was predicted."
    ),
    "ridge_tokens": (
        "A matrix of n values takes n·b bytes over the bandwidth, and 2·n operations a token over"
        " the peak. At which number of tokens are the two equal?"
    ),
}


def running_requests(
    concurrency: float, first_token_s: float, per_token_s: float, answer_tokens: float
) -> float:
    """Requests that answer at a time, of those that a closed loop holds.

    concurrency: C >= 1. first_token_s: time to the first token [s], >= 0, nearly all of which is a
    wait for memory; where prompts take most of it, more run. per_token_s: time of each
    further one [s], > 0. answer_tokens: O > 1, of an answer in the mean, the first among them.
    Raises ValueError outside.

    >>> running_requests(128, first_token_s=3.0, per_token_s=0.01, answer_tokens=101)
    32.0
    """
    concurrency, per_token_s, answer_tokens = require_positive(
        concurrency=concurrency, per_token_s=per_token_s, answer_tokens=answer_tokens
    )
    first_token_s = require_non_negative(first_token_s=first_token_s)
    require(concurrency >= 1, "concurrency", "at least 1", concurrency)
    require(answer_tokens > 1, "answer_tokens", "above 1", answer_tokens)
    answering = (answer_tokens - 1) * per_token_s
    return concurrency * answering / (first_token_s + answering)


def what_is_off(predicted_ms: tuple[float, float], measured_ms: tuple[float, float]) -> str:
    """Which part of a prediction is too short: "every step", "each sequence", "both" or "neither".

    predicted_ms, measured_ms: time per token with one sequence and with many [ms], the second
    larger. A part is off if it took more than 1.15 times as long. Raises ValueError otherwise.

    >>> what_is_off(predicted_ms=(7.0, 18.0), measured_ms=(9.0, 20.0))
    'every step'
    """
    predicted, measured = as_floats(predicted_ms=predicted_ms), as_floats(measured_ms=measured_ms)
    for name, times in (("predicted_ms", predicted), ("measured_ms", measured)):
        require(times.shape == (2,), name, "two times", times.shape)
        require_all_positive(**{name: times})
        require(times[1] > times[0], name, "longer with many sequences", times)
    step = measured[0] / predicted[0] > 1.15
    each = np.diff(measured)[0] / np.diff(predicted)[0] > 1.15
    return {(1, 0): "every step", (0, 1): "each sequence", (1, 1): "both"}.get(
        (int(step), int(each)), "neither"
    )


def ridge_tokens(
    peak_flops_per_s: float, bandwidth_bytes_per_s: float, bytes_a_value: float
) -> float:
    """Tokens in a step above which a dense matrix is bound by arithmetic.

    peak_flops_per_s, bandwidth_bytes_per_s: of the device. bytes_a_value: of the weights. All > 0;
    raises ValueError otherwise.

    >>> round(ridge_tokens(989e12, 3.35e12, 2.0))  # H100, 16 bits
    295
    """
    peak_flops_per_s, bandwidth_bytes_per_s, bytes_a_value = require_positive(
        peak_flops_per_s=peak_flops_per_s,
        bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        bytes_a_value=bytes_a_value,
    )
    return peak_flops_per_s * bytes_a_value / (2 * bandwidth_bytes_per_s)


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        llama_running=running_requests(128, 368.967, 0.03042, 0.9 * 8192),
        board_first=what_is_off((6.8, 18.0), (9.0, 20.5)),
        board_second=what_is_off((6.8, 18.0), (7.0, 23.0)),
        board_third=what_is_off((6.8, 18.0), (9.0, 26.0)),
        ridge_h100=ridge_tokens(989e12, 3.35e12, 2.0),
    )


def check_running_requests_are_counted() -> None:
    """Of requests drawn at random times in a loop, that many are answering.

    Source: a loop of 40 users with random times, looked at 4,000 times; four standard errors.
    """
    rng = np.random.default_rng(31)
    first, each, answer = rng.uniform(1, 5, 40), 0.02, 150.0
    starts = rng.uniform(0, 1, (4000, 40)) * (first + (answer - 1) * each)
    seen = (starts > first).sum(axis=1)
    expected = sum(running_requests(1, f, each, answer) for f in first.tolist())
    error = float(seen.std()) / math.sqrt(4000)
    checks.close("answering", float(seen.mean()), expected, atol=4 * error, kind="simulation")


def check_what_is_off() -> None:
    """Kernels that take half as long again are a matter of every step, the host's time for a
    sequence of each sequence, and all of it of both.

    Source: steps of eight billion parameters on one H100 by the step model, with planted factors.
    """
    one = [replace(WORKED, concurrency=load, input_tokens=500.0) for load in (1.0, 64.0)]
    work = count_work(one)
    context = np.array([500.0, 500.0])

    def times(moved: list[float]) -> tuple[float, float]:
        constants = scaled_constants(FITTED, np.log(moved))
        first, many = 1e3 * decode_step_s(work, constants, np.array([1.0, 64.0]), context)
        return float(first), float(many)

    told = times([1.0] * 5)
    for expected, moved in (
        ("every step", [1.8, 1.0, 1.0, 1.0, 1.0]),
        ("each sequence", [1.0, 1.0, 1.0, 1.0, 2.0]),
        ("both", [1.8, 1.0, 1.0, 1.0, 2.0]),
        ("neither", [1.0] * 5),
    ):
        checks.equal(expected, what_is_off(told, times(moved)), expected)
    for expected, measured in (
        ("neither", (11.5, 21.5)),
        ("every step", (11.6, 21.6)),
        ("neither", (10.0, 21.4)),
        ("each sequence", (10.0, 21.6)),
    ):
        checks.equal(f"{measured} of (10, 20)", what_is_off((10.0, 20.0), measured), expected)


def check_ridge() -> None:
    """At the ridge a matrix takes as long to read as to multiply.

    Source: both times, computed apart.
    """
    for peak, bandwidth, size in ((989e12, 3.35e12, 2.0), (4.5e15, 7.7e12, 1.0)):
        tokens = ridge_tokens(peak, bandwidth, size)
        checks.close("time", 2 * 1e9 * tokens / peak, 1e9 * size / bandwidth, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Times that cannot be are errors that name the argument."""
    checks.raises("falling", what_is_off, (2, 1), (1, 2), match="predicted_ms must be longer")
    checks.raises("no time", running_requests, 5, 1.0, 0.0, 10, match="per_token_s must be")
    checks.raises("no bandwidth", ridge_tokens, 1.0, 0.0, 1.0, match="bandwidth_bytes_per_s")
