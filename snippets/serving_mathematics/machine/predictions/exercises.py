"""Solutions to the exercises on predictions: touched experts, requests that run, the ridge.

Assumes: experts chosen at random; a closed loop in its steady state; one matrix that is read once.

Source: the chapter's formulas; Little (1961); Williams, Waterman and Patterson (2009).
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.step_time import touched_experts
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "tokens_that_touch": (
        "One token misses a given expert with probability 1 − k/E, and B tokens miss it with"
        " that to the power of B: set the power to 1 − share and take logarithms."
    ),
    "running_requests": (
        "A request stays for its first token and for all that follow; it holds a place only for the"
        " latter. Little's law, twice."
    ),
    "ridge_tokens": (
        "A matrix of n values takes n·b bytes over the bandwidth, and 2·n operations a token over"
        " the peak. At which number of tokens are the two equal?"
    ),
}


def tokens_that_touch(share: float, experts: int, chosen: int) -> float:
    """Tokens in a step of which a share of the experts is touched, in the mean.

    share: in (0, 1). experts: E. chosen: k of a token, at most E. Raises ValueError outside.

    >>> round(tokens_that_touch(0.9, experts=256, chosen=8), 1)
    72.5
    """
    share = require_in("(0, 1)", share=share)
    experts, chosen = require_positive_integer(experts=experts, chosen=chosen)
    require(chosen < experts, "chosen", f"below the {experts} experts", chosen)
    return math.log1p(-share) / math.log1p(-chosen / experts)


def running_requests(
    concurrency: float, first_token_s: float, per_token_s: float, answer_tokens: float
) -> float:
    """Requests that answer at a time, of those that a closed loop holds.

    concurrency: C >= 1. first_token_s: time to the first token [s], >= 0. per_token_s: time of each
    further one [s], > 0. answer_tokens: of an answer, in the mean. Raises ValueError outside.

    >>> running_requests(128, first_token_s=3.0, per_token_s=0.01, answer_tokens=100)
    32.0
    """
    concurrency, per_token_s, answer_tokens = require_positive(
        concurrency=concurrency, per_token_s=per_token_s, answer_tokens=answer_tokens
    )
    first_token_s = require_non_negative(first_token_s=first_token_s)
    answering = answer_tokens * per_token_s
    return concurrency * answering / (first_token_s + answering)


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
        touch_tokens=tokens_that_touch(0.9, 256, 8),
        llama_running=running_requests(128, 368.967, 0.03042, 0.9 * 8192),
        ridge_h100=ridge_tokens(989e12, 3.35e12, 2.0),
    )


def check_tokens_touch_their_share() -> None:
    """That many tokens touch that share, for mixtures of any size.

    Source: the chapter's count of touched experts, which is the inverse.
    """
    for share, experts, chosen in ((0.5, 64, 6), (0.9, 256, 8), (0.99, 512, 10)):
        tokens = tokens_that_touch(share, experts, chosen)
        found = touched_experts(np.array([experts]), np.array([chosen]), np.array([tokens]))
        checks.close(f"{experts} experts", float(found[0]) / experts, share, rtol=1e-9)


def check_running_requests_are_counted() -> None:
    """Of requests drawn at random times in a loop, that many are answering.

    Source: a loop of 40 users with random times, looked at 4,000 times; four standard errors.
    """
    rng = np.random.default_rng(31)
    first, each, answer = rng.uniform(1, 5, 40), 0.02, 150.0
    starts = rng.uniform(0, 1, (4000, 40)) * (first + answer * each)
    seen = (starts > first).sum(axis=1)
    expected = sum(running_requests(1, f, each, answer) for f in first.tolist())
    error = float(seen.std()) / math.sqrt(4000)
    checks.close("answering", float(seen.mean()), expected, atol=4 * error, kind="simulation")


def check_ridge() -> None:
    """At the ridge a matrix takes as long to read as to multiply.

    Source: both times, computed apart.
    """
    for peak, bandwidth, size in ((989e12, 3.35e12, 2.0), (4.5e15, 7.7e12, 1.0)):
        tokens = ridge_tokens(peak, bandwidth, size)
        checks.close("time", 2 * 1e9 * tokens / peak, 1e9 * size / bandwidth, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Shares, experts and times that cannot be are errors that name the argument."""
    checks.raises("all of them", tokens_that_touch, 1.0, 8, 2, match="share must be")
    checks.raises("every expert", tokens_that_touch, 0.5, 8, 8, match="chosen must be below")
    checks.raises("no time", running_requests, 5, 1.0, 0.0, 10, match="per_token_s must be")
    checks.raises("no bandwidth", ridge_tokens, 1.0, 0.0, 1.0, match="bandwidth_bytes_per_s")
