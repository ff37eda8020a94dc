"""Three ways to keep clients from multiplying an overload: throttle at the client, budget retries,
count tokens.

Adaptive throttling: a client that has lately sent `requests` and had `accepts` of them accepted
refuses its next request itself with probability max(0, (requests − K·accepts)/(requests + 1)), so
that the server sees at most K attempts for each that it can accept. Token bucket of gRPC: a
failure costs a token, a success earns a fraction of one, and retries are sent only while more than
half of the tokens are left, which holds while failures stay below r/(1+r) of the calls.

Assumes: counts of a recent window (two minutes in the SRE book); the bucket is per server name and
sees every call.

Source: Beyer et al. (2016), chapter 21, eq. 21-1; gRPC proposal A6, Throttling Retry Attempts and
Hedged RPCs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

WINDOW_S = 120  # window of adaptive throttling in the SRE book [s]


def throttle_probability(requests: float, accepts: float, multiplier: float = 2.0) -> float:
    """Probability that a client refuses its next request itself, without asking the server.

    requests: attempts of the application in the window, those that were refused locally included.
    accepts: attempts that the server accepted, at most `requests`. multiplier: K ≥ 1; the lower,
    the earlier it throttles. Raises ValueError outside these ranges.

    >>> round(throttle_probability(requests=100, accepts=40), 7)
    0.1980198
    """
    accepts, multiplier = as_number(accepts=accepts, multiplier=multiplier)
    requests = require_non_negative(requests=requests)
    require(0 <= accepts <= requests, "accepts", f"in [0, {requests}]", accepts)
    require(1 <= multiplier < math.inf, "multiplier", "finite and at least 1", multiplier)
    return max(0.0, (requests - multiplier * accepts) / (requests + 1))


def throttled_rate(offered_rate: float, capacity: float, multiplier: float = 2.0) -> float:
    """Rate that still reaches the server once adaptive throttling has settled [1/s].

    offered_rate: what the application asks for [1/s]. capacity: what the server accepts at most
    [1/s]. multiplier: K. From sent = min(offered, K·accepted) and accepted = min(sent, capacity).
    Raises ValueError outside the ranges.

    >>> throttled_rate(offered_rate=500.0, capacity=100.0)
    200.0
    """
    multiplier = as_number(multiplier=multiplier)
    offered_rate = require_non_negative(offered_rate=offered_rate)
    capacity = require_positive(capacity=capacity)
    require(1 <= multiplier < math.inf, "multiplier", "finite and at least 1", multiplier)
    return min(offered_rate, multiplier * capacity)


def retry_tokens(succeeded: Iterable[bool], max_tokens: int, token_ratio: float) -> FloatArray:
    """Tokens of gRPC's retry bucket after each call, counted in thousandths as gRPC does.

    succeeded: outcome of every call in order, retries included. max_tokens: size of the bucket,
    which starts full. token_ratio: tokens that a success earns, with at most three decimals.
    Returns tokens, shape (calls,). Raises ValueError on a bucket that is not a positive integer or
    a ratio that is not a positive multiple of 0.001.

    >>> retry_tokens([False, True, False, False], max_tokens=4, token_ratio=1.6).tolist()
    [3.0, 4.0, 3.0, 2.0]
    """
    token_ratio = as_number(token_ratio=token_ratio)
    max_tokens = require_positive_integer(max_tokens=max_tokens)
    rule = "a positive multiple of 0.001"
    require(0.001 <= token_ratio < math.inf, "token_ratio", rule, token_ratio)
    earned = round(1000 * token_ratio)
    require(abs(1000 * token_ratio - earned) < 1e-6, "token_ratio", rule, token_ratio)
    full = 1000 * int(max_tokens)
    thousandths, left = [], full
    for success in succeeded:
        left = min(full, left + earned) if success else max(0, left - 1000)
        thousandths.append(left)
    return np.array(thousandths, dtype=float) / 1000


def retries_allowed(tokens: npt.ArrayLike, max_tokens: int) -> BoolArray:
    """Whether a call that failed may be retried: only while more than half of the tokens are left.

    tokens: left after each call, any shape, in [0, max_tokens]. Raises ValueError outside this
    range.

    >>> retries_allowed([3.0, 2.0], max_tokens=4).tolist()
    [True, False]
    """
    max_tokens = require_non_negative(max_tokens=max_tokens)
    left = as_floats(tokens=tokens)
    require(np.all((left >= 0) & (left <= max_tokens)), "tokens", f"in [0, {max_tokens}]", left)
    return np.asarray(left > max_tokens / 2)


def tolerated_failures(token_ratio: float) -> float:
    """Share of failed calls at which the bucket neither fills nor drains, r/(1+r); above it
    retries stop.

    token_ratio: r, tokens that a success earns. Raises ValueError unless positive and finite.

    >>> round(tolerated_failures(token_ratio=0.1), 4)
    0.0909
    """
    token_ratio = require_positive(token_ratio=token_ratio)
    return token_ratio / (1 + token_ratio)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    return SimpleNamespace(
        throttle_percent=100 * throttle_probability(100, 40, 2.0),
        throttled_to=throttled_rate(500.0, 100.0),
        tolerated_percent=100 * tolerated_failures(0.1),
    )


def check_throttle() -> None:
    """With 40 of 100 requests accepted and K = 2 a client refuses one request in five itself.

    Source: Beyer et al. (2016), eq. 21-1, by hand 20/101; at half accepted, K = 2 throttles
    nothing yet.
    """
    checks.close(
        "100 requests, 40 accepts", throttle_probability(100, 40, 2.0), 20 / 101, rtol=1e-14
    )
    checks.close("as printed", throttle_probability(100, 40, 2.0), 0.1980198, atol=5e-8)
    checks.close("half accepted", throttle_probability(100, 50, 2.0), 0.0)
    checks.close("none accepted", throttle_probability(99, 0, 2.0), 0.99, rtol=1e-14)


def check_throttle_settles() -> None:
    """At five times the capacity a server behind K = 2 clients refuses one request for each that
    it accepts.

    Source: SRE book, chapter 21; simulated client with a window of 120 s, capacity 100 a second,
    3,600 seconds.
    """
    rng = np.random.default_rng(21)
    accepted = [100.0] * WINDOW_S
    sent = []
    for _ in range(3600):
        refuse = throttle_probability(500.0 * WINDOW_S, sum(accepted[-WINDOW_S:]), 2.0)
        sent.append(float(rng.binomial(500, 1 - refuse)))
        accepted.append(min(sent[-1], 100.0))
    settled = batch_means(sent[400:])
    checks.covers("reaches the server [1/s]", settled, throttled_rate(500.0, 100.0, 2.0))
    checks.close("refused for each accepted", throttled_rate(500.0, 100.0) / 100.0 - 1, 1.0)


def check_token_bucket() -> None:
    """Four tokens and a ratio of 1.6: failure, success, failure, failure leave 3, 4, 3 and 2, and
    retries stop.

    Source: gRPC's own test of its bucket, retry_throttle_test.cc, ServerRetryThrottleData Basic:
    all fifteen calls.
    """
    calls = [letter == "S" for letter in "FSFFFFFSSFFSFSF"]
    tokens = retry_tokens(calls, 4, 1.6)
    expected = [3, 4, 3, 2, 1, 0, 0, 1.6, 3.2, 2.2, 1.2, 2.8, 1.8, 3.4, 2.4]
    checks.close("tokens", tokens, expected, kind="published")
    allowed = retries_allowed(tokens, 4)[[not success for success in calls]]
    published = [True, True, False, False, False, False, True, False, False, True]
    checks.equal("retry after each failure", allowed.tolist(), published, kind="published")


def check_tolerated_failures() -> None:
    """With a ratio of 0.1 retries go on while one call in ten fails for each that succeeds, and
    stop beyond.

    Source: gRPC proposal A6, failures to successes of about 10%; buckets of ten fed with 20,000
    random outcomes.
    """
    share = tolerated_failures(0.1)
    checks.close("failures to successes", share / (1 - share), 0.1, rtol=1e-12, kind="published")
    for failing, low, high in ((0.04, 0.95, 1.0), (0.2, 0.0, 0.05)):
        outcomes = np.random.default_rng(6).random(20_000) >= failing
        allowed = retries_allowed(retry_tokens(outcomes.tolist(), 10, 0.1), 10)
        checks.inside(
            f"retries allowed at {failing:.0%} failures", float(allowed.mean()), low, high
        )


def check_bad_input_is_refused() -> None:
    """More accepts than requests, ratios too fine to count and tokens out of range name the
    argument."""
    checks.raises("accepts", throttle_probability, 10, 11, match="accepts must be in [0, 10]")
    checks.raises("K = 0.5", throttled_rate, 1.0, 1.0, 0.5, match="multiplier must be finite and")
    checks.raises("ratio", retry_tokens, [], 4, 0.0005, match="token_ratio must be a positive mult")
    checks.raises("bucket", retry_tokens, [], 0, 0.1, match="max_tokens must be a positive integer")
    checks.raises("tokens", retries_allowed, [5.0], 4, match="tokens must be in [0, 4]")
    checks.raises("NaN ratio", tolerated_failures, math.nan, match="token_ratio must be positive")
