"""Solutions to the exercises on predictions: requests that run, what is off, runs left out.

Assumes: a closed loop in its steady state; steps that grow in proportion to their sequences.

Source: the chapter's formulas; Little (1961).
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

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
    require_shape,
)

HINTS = {
    "running_requests": (
        "A request stays for its first token and for the O − 1 that follow. If the first takes much"
        " longer than its prompt does, it holds a place only for the others. Use Little's law"
        " twice."
    ),
    "what_is_off": (
        "With one sequence a step is weights and floors. What the other sequences add is the"
        " difference between the two times. Compare each of these with its prediction."
    ),
    "left_out_errors": (
        "The logarithm of a geometric mean is the mean of the logarithms. For the other runs that"
        " is the sum over all runs less this run's own, over one fewer. Less this run's own again,"
        " it is the logarithm of one plus the error."
    ),
}


def running_requests(
    concurrency: float, first_token_s: float, per_token_s: float, answer_tokens: float
) -> float:
    """Requests that are answered at a time, of those that a closed loop holds.

    concurrency: C >= 1. first_token_s: time to the first token [s], >= 0, nearly all of it a wait
    for memory; if prompts take most of it, more requests run. per_token_s: time of each further
    token [s], > 0. answer_tokens: O > 1, tokens of an answer on average, the first included. Raises
    ValueError outside.

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
    larger. A part is off if it took more than 1.15 times as long as predicted. Raises ValueError
    otherwise.

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


def left_out_errors(predicted_s: npt.ArrayLike, measured_s: npt.ArrayLike) -> list[float]:
    """How far off each run is, predicted with the factor that the other runs have in common.

    predicted_s, measured_s: of each run, positive [s], shape (n,), n ≥ 2. The factor of some runs
    is the geometric mean of measured over predicted. Returns, for each run, its prediction times
    the factor of the others over what was measured, less 1: below 0 it is too short. Raises
    ValueError on other shapes and times.

    >>> [round(error, 6) for error in left_out_errors([1.0, 1.0], [2.0, 8.0])]
    [3.0, -0.75]
    """
    predicted, measured = as_floats(predicted_s=predicted_s), as_floats(measured_s=measured_s)
    several = predicted.ndim == 1 and predicted.size >= 2
    require(several, "predicted_s", "of two runs or more", predicted.shape)
    require_shape(predicted.shape, measured_s=measured)
    require_all_positive(predicted_s=predicted, measured_s=measured)
    own = np.log(measured) - np.log(predicted)
    others = (own.sum() - own) / (own.size - 1)
    errors: list[float] = np.expm1(others - own).tolist()
    return errors


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    first, between, last = left_out_errors([6.8, 11.0, 18.0], [9.0, 13.2, 20.5])
    return SimpleNamespace(
        llama_running=running_requests(128, 368.967, 0.03042, 0.9 * 8192),
        board_first=what_is_off((6.8, 18.0), (9.0, 20.5)),
        board_second=what_is_off((6.8, 18.0), (7.0, 23.0)),
        board_third=what_is_off((6.8, 18.0), (9.0, 26.0)),
        left_out_first=first,
        left_out_between=between,
        left_out_last=last,
    )


def check_running_requests_are_counted() -> None:
    """In a loop that is looked at at random times, that many requests are being answered.

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
    """If kernels take 1.8 times as long, every step is off; if the host takes twice as long for a
    sequence, each sequence is; if both do, both are. The border is at 1.15 times as long.

    Source: steps of a model of eight billion parameters on one H100, by the step model with these
    factors.
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


def check_left_out_errors() -> None:
    """A factor that all runs share leaves no error. Three runs that scatter by a tenth err by more
    than a tenth, because only two others say what the factor is.

    Source: by hand, 1, 2 and 8 times as long as predicted; 1,000 sets of three runs, whose
    logarithms scatter by the root of 1 + 1/2 times their own spread, with three standard errors.
    """
    by_hand = [math.sqrt(2 * 8) - 1, math.sqrt(8) / 2 - 1, math.sqrt(2) / 8 - 1]
    found = left_out_errors([3.0, 5.0, 2.0], [3.0, 10.0, 16.0])
    checks.close("1, 2 and 8 times", found, by_hand, rtol=1e-12)
    shared = left_out_errors([1.0, 2.0, 3.0, 4.0], [1.3, 2.6, 3.9, 5.2])
    checks.close("one factor", shared, np.zeros(4), atol=1e-12)
    runs = np.exp(0.1 * np.random.default_rng(34).standard_normal((1000, 3)))
    spread = np.array([np.log1p(left_out_errors(np.ones(3), one)) for one in runs])
    told = math.sqrt(float(np.mean(spread**2)))
    due = 0.1 * math.sqrt(1 + 1 / 2)
    checks.close("spread", told, due, rtol=3 / math.sqrt(2 * 1000), kind="simulation")


def check_bad_input_is_refused() -> None:
    """Times that fall with more sequences, a time of zero and a single run are errors that name the
    argument."""
    checks.raises("falling", what_is_off, (2, 1), (1, 2), match="predicted_ms must be longer")
    checks.raises("no time", running_requests, 5, 1.0, 0.0, 10, match="per_token_s must be")
    checks.raises("one run", left_out_errors, [1.0], [1.0], match="predicted_s must be of two")
