"""Solutions: a token's price with a student in front, an acceptance rate from a log, and the length
of drafts in a batch.

Source: vLLM's v1/spec_decode/metrics.py for the logged rate; Leviathan, Kalman and Matias (2023),
theorem 3.8; the rest is derived at each function.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.batching.speculative_decoding import (
    best_draft_length,
    expected_tokens,
    speedup,
)
from serving_mathematics.optimization.distillation.speculative_sampling import speculate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_in,
    require_positive,
    require_positive_integer,
    require_work,
)

HINTS = {
    "price_with_fallback": (
        "You pay the student for every token, and the teacher for those that it has to write "
        "after all."
    ),
    "acceptance_from_log": (
        "The accepted tokens of a round are `expected_tokens` less the one that the target "
        "adds. That rises with α, so bisect; the share itself is too low an estimate, because a"
        " refusal discards what follows."
    ),
    "best_length_in_batch": (
        "A round costs γ passes of the draft and one scoring pass, which takes longer than one "
        "once all sequences together exceed the free positions. Compare tokens per time for "
        "every γ, 0 included."
    ),
}


def price_with_fallback(student: float, teacher: float, fallback: float) -> float:
    """Price of a token where a student tries first and a share goes to the teacher after all.

    student, teacher: prices in any one unit, positive. fallback: that share, in [0, 1]. Raises
    ValueError otherwise.

    >>> price_with_fallback(0.25, 1.0, fallback=0.5)
    0.75
    """
    student, teacher = require_positive(student=student, teacher=teacher)
    fallback = require_in("[0, 1]", fallback=fallback)
    return student + fallback * teacher


def acceptance_from_log(accepted_share: float, draft_tokens: int) -> float:
    """α of independent acceptances from the share of drafted tokens that were output.

    accepted_share: tokens accepted before the first refusal over tokens drafted, in [0, 1].
    draft_tokens: γ ≥ 1. Raises ValueError outside these ranges.

    >>> round(acceptance_from_log(0.375, draft_tokens=2), 9)  # (½ + ¼)/2
    0.5
    """
    accepted_share = require_in("[0, 1]", accepted_share=accepted_share)
    draft_tokens = require_positive_integer(draft_tokens=draft_tokens)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        enough = expected_tokens(middle, draft_tokens) - 1 >= accepted_share * draft_tokens
        low, high = (low, middle) if enough else (middle, high)
    return high


def best_length_in_batch(
    acceptance: float, cost_ratio: float, batch: int, free_positions: float, longest: int = 32
) -> int:
    """The γ with the largest speedup for a batch of sequences; 0 when none pays.

    acceptance: α in [0, 1]. cost_ratio: c > 0 of one pass of the draft, in passes of the target
    that are bound by memory. batch: B ≥ 1 sequences. free_positions: positions that a pass of the
    target scores in the time of one, positive; beyond, its time grows in proportion. longest: of
    the γ tried, at least 1. Raises ValueError outside these ranges.

    >>> [best_length_in_batch(0.8, 0.05, batch, 300.0) for batch in (1, 100, 300)]
    [8, 2, 0]
    """
    cost_ratio = require_positive(cost_ratio=cost_ratio)
    free_positions = require_positive(free_positions=free_positions)
    batch, longest = require_positive_integer(batch=batch, longest=longest)
    require_work(100.0 * longest, longest=longest)

    def rate(length: int) -> float:
        scoring = max(1.0, batch * (length + 1) / free_positions)
        return expected_tokens(acceptance, length) / (length * cost_ratio + scoring)

    return max(range(longest + 1), key=rate)


def example() -> SimpleNamespace:
    """The answers quoted in the text."""
    return SimpleNamespace(
        pencil_price=100 * price_with_fallback(0.27, 1.0, 0.3),
        pencil_border=100 * (1 - 0.27),
        logged_alpha=acceptance_from_log(0.45, 5),
        logged_tokens=1 + 0.45 * 5,
        batch_few=best_length_in_batch(0.8, 0.05, 1, 300.0),
        batch_many=best_length_in_batch(0.8, 0.05, 100, 300.0),
        batch_full=best_length_in_batch(0.8, 0.05, 300, 300.0),
    )


def check_fallback() -> None:
    """A student pays while its price and its share of refusals together are below one teacher.

    Source: tokens counted one by one, each tried by the student, every fifth by the teacher too.
    """
    paid = sum(0.3 + (1.0 if token % 5 == 0 else 0.0) for token in range(1000)) / 1000
    checks.close("every fifth", price_with_fallback(0.3, 1.0, 0.2), paid, rtol=1e-12)
    checks.close("dear teacher", price_with_fallback(0.5, 4.0, 0.25), 1.5, rtol=1e-12)
    checks.close("always", price_with_fallback(0.3, 1.0, 1.0), 1.3, rtol=1e-12)
    checks.close("the border", price_with_fallback(0.3, 1.0, 0.7), 1.0, rtol=1e-12)


def check_log() -> None:
    """The α found gives back the logged share, by formula and in the sampler.

    Source: a sum over the places of the first refusal; 20,000 rounds of the sampler with α = 0.7.
    """
    checks.close("one drafted token: the share is α", acceptance_from_log(0.45, 1), 0.45, atol=1e-9)
    for alpha, gamma in ((0.7, 4), (0.95, 12), (0.0, 3), (1.0, 2)):
        places = [k * alpha**k * (1 - alpha) for k in range(gamma)] + [gamma * alpha**gamma]
        share = math.fsum(places) / gamma
        found = acceptance_from_log(share, gamma)
        checks.close(f"α = {alpha}, γ = {gamma}", found, alpha, atol=1e-9)
    p, q = np.tile([0.7, 0.2, 0.1], (3, 1)), np.tile([0.4, 0.2, 0.4], (3, 1))
    run = speculate(p, q, np.zeros(20_000, dtype=int), 4, 1, np.random.default_rng(198))
    share = (run.per_round().mean - 1) / 4
    slope = (expected_tokens(0.71, 4) - expected_tokens(0.69, 4)) / 0.02
    error = run.per_round().standard_error / slope
    checks.close("sampled", acceptance_from_log(share, 4), 0.7, atol=3 * error, kind="simulation")


def check_batch() -> None:
    """A small batch has the best length of one sequence; in a batch that fills the device no length
    pays; in between, every γ is tried.

    Source: `best_draft_length`; the speedup at c + e, where each further position costs e of a
    pass; a draft that is always right and costs next to nothing is asked for all it may give.
    """
    for alpha, cost in ((0.8, 0.05), (0.6, 0.02)):
        found = best_length_in_batch(alpha, cost, 2, 1000.0)
        checks.equal(f"B = 2, α = {alpha}", found, best_draft_length(alpha, cost))
        full = best_length_in_batch(alpha, cost, 1000, 1000.0)
        checks.equal(f"full, α = {alpha}", full, 0)
        speeds = [speedup(alpha, gamma, cost + 1) for gamma in range(9)]
        checks.equal("as with e = 1", full, int(np.argmax(speeds)))
    rates = [expected_tokens(0.95, g) / (0.2 * g + max(1.0, 0.15 * (g + 1))) for g in range(33)]
    checks.equal("no longer than asked", best_length_in_batch(1.0, 1e-6, 1, 1e6, longest=5), 5)
    checks.equal("B = 30", best_length_in_batch(0.95, 0.2, 30, 200.0), int(np.argmax(rates)))


def check_bad_input_is_refused() -> None:
    """Shares above 1, prices of zero and empty batches are errors."""
    checks.raises("share", acceptance_from_log, 1.2, 3, match="accepted_share must be in [0, 1]")
    checks.raises("fallback", price_with_fallback, 0.3, 1.0, 1.2, match="fallback must be in")
    checks.raises("free", price_with_fallback, 0.0, 1.0, 0.2, match="student must be positive")
    checks.raises("batch", best_length_in_batch, 0.8, 0.1, 0, 9.0, match="batch must be a positive")
