"""Solutions of the exercises on distillation: enough seeds, an acceptance rate from a log, a draft
that keeps its probabilities to itself, the length of drafts in a batch.

Source: vLLM's v1/spec_decode/metrics.py for the logged rate, its issue 40149 for the missing
probabilities; Leviathan, Kalman and Matias (2023), theorem 3.8; the rest is derived at each
function.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.speculative_decoding import (
    best_draft_length,
    expected_tokens,
    speedup,
)
from serving_mathematics.optimization.distillation.speculative_sampling import (
    acceptance_rate,
    speculate,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]

NORMAL_975 = 1.959963984540054  # 97.5% point of the normal distribution

HINTS = {
    "seeds_needed": (
        "Variances add: that of the seeds falls with their number, that of the test images does"
        " not. Ask that the sum be at most the square of gain/1.96, and solve for the number."
    ),
    "acceptance_from_log": (
        "The accepted tokens of a round are `expected_tokens` less the one that the target "
        "adds. That rises with α, so bisect; the share itself is too low an estimate, because a"
        " refusal discards what follows."
    ),
    "acceptance_without_probabilities": (
        "Whatever the draft proposes, the output must be distributed as p, also for a draft "
        "that always says the same token. Then it can be kept only as often as p itself would "
        "say it: average that over the draft."
    ),
    "best_length_in_batch": (
        "A round costs γ passes of the draft and one scoring pass, which takes longer than one "
        "once all sequences together exceed the free positions. Compare tokens per time for "
        "every γ, 0 included."
    ),
}


def seeds_needed(gain: float, seed_sd: float, image_error: float = 0.0) -> int:
    """Fewest seeds, two or more, with which a gain is 1.96 standard errors from zero.

    gain: true difference of accuracy, positive. seed_sd: standard deviation of the paired
    difference between seeds, non-negative. image_error: standard error from the test images, which
    more seeds do not lower, so that it must be below gain/1.96. Raises ValueError outside these
    ranges.

    >>> seeds_needed(0.01, seed_sd=0.02)  # 1.96²·4 = 15.4
    16
    """
    image_error = as_number(image_error=image_error)
    gain = require_positive(gain=gain)
    seed_sd = require_non_negative(seed_sd=seed_sd)
    limit = gain / NORMAL_975
    require(0 <= image_error < limit, "image_error", f"in [0, {limit:.3g})", image_error)
    return max(2, math.ceil(seed_sd**2 / (limit**2 - image_error**2)))


def acceptance_from_log(accepted_share: float, draft_tokens: int) -> float:
    """α of independent acceptances from the share of drafted tokens that were put out.

    accepted_share: tokens accepted before the first refusal over tokens drafted, in [0, 1], which
    is (α + α² + … + α^γ)/γ. draft_tokens: γ ≥ 1. Raises ValueError outside these ranges.

    >>> round(acceptance_from_log(0.375, draft_tokens=2), 12)  # (½ + ¼)/2
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


def acceptance_without_probabilities(p: npt.ArrayLike, q: npt.ArrayLike) -> FloatArray:
    """Acceptance Σp·q along the last axis, when the verifier knows the draft's token but not q.

    p, q: distributions of the target and of the draft, shape (..., tokens). All that it can do
    without changing the output is to accept token x with probability p(x), and to replace it by
    another one, drawn from p, otherwise. Raises ValueError unless both are distributions.

    >>> float(acceptance_without_probabilities([0.5, 0.5], [0.9, 0.1]))
    0.5
    """
    acceptance_rate(p, q)  # refuses what is no pair of distributions
    return np.asarray((as_floats(p=p) * as_floats(q=q)).sum(axis=-1))


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
    for name, count in (("batch", batch), ("longest", longest)):
        require(1 <= count < math.inf and count % 1 == 0, name, "a positive integer", count)

    def rate(length: int) -> float:
        scoring = max(1.0, batch * (length + 1) / free_positions)
        return expected_tokens(acceptance, length) / (length * cost_ratio + scoring)

    return max(range(longest + 1), key=rate)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    p, q = [0.7, 0.2, 0.1], [0.5, 0.3, 0.2]
    unknown, known = (float(f(p, q)) for f in (acceptance_without_probabilities, acceptance_rate))
    return SimpleNamespace(
        logged_alpha=acceptance_from_log(0.45, 5),
        unknown_alpha=unknown,
        known_alpha=known,
        unknown_tokens=expected_tokens(unknown, 4),
        known_tokens=expected_tokens(known, 4),
    )


def check_seeds() -> None:
    """With the computed number of seeds the interval just leaves zero out.

    Source: 20,000 means of that many drawn differences, whose standard error, together with that of
    the images, is the gain over 1.96.
    """
    rng = np.random.default_rng(197)
    for gain, sd, image_error in ((0.01, 0.02, 0.0), (0.02, 0.05, 0.006)):
        seeds = seeds_needed(gain, sd, image_error)
        spread = float(rng.normal(gain, sd, (20_000, seeds)).mean(axis=1).std())
        ratio = NORMAL_975 * math.hypot(spread, image_error) / gain
        checks.inside(f"{seeds} seeds: 1.96 s.e. over gain", ratio, 0.95, 1.01)
    fewer = NORMAL_975 * math.hypot(0.02 / math.sqrt(seeds_needed(0.01, 0.02) - 1), 0.0)
    checks.holds("one fewer does not do", fewer > 0.01, got=fewer)


def check_log() -> None:
    """The α that is found gives the logged share back, by formula and in the sampler.

    Source: a sum over the places of the first refusal; 20,000 rounds of the sampler with α = 0.7.
    """
    for alpha, gamma in ((0.7, 4), (0.95, 12), (0.0, 3), (1.0, 2)):
        places = [k * alpha**k * (1 - alpha) for k in range(gamma)] + [gamma * alpha**gamma]
        share = math.fsum(places) / gamma
        found = acceptance_from_log(share, gamma)
        checks.close(f"α = {alpha}, γ = {gamma}", found, alpha, atol=1e-12)
    p, q = np.tile([0.7, 0.2, 0.1], (3, 1)), np.tile([0.4, 0.2, 0.4], (3, 1))
    run = speculate(p, q, np.zeros(20_000, dtype=int), 4, 1, np.random.default_rng(198))
    share = (run.per_round().mean - 1) / 4
    slope = (expected_tokens(0.71, 4) - expected_tokens(0.69, 4)) / 0.02
    error = run.per_round().standard_error / slope
    checks.close("sampled", acceptance_from_log(share, 4), 0.7, atol=3 * error, kind="simulation")


def check_without_probabilities() -> None:
    """The output is still the target's; with the probabilities more is accepted, and for a draft
    that always says the same just as much.

    Source: the output's distribution added up over all pairs of tokens, for 200 random pairs; q
    with all weight on one token.
    """
    rng = np.random.default_rng(199)
    worst = 0.0
    for p, q in zip(*rng.dirichlet(np.ones(6), (2, 200)), strict=True):
        out = np.zeros(6)
        for x in range(6):
            out[x] += q[x] * p[x]
            others = np.where(np.arange(6) == x, 0.0, p)
            out += q[x] * (1 - p[x]) * others / others.sum()
        worst = max(worst, float(np.abs(out - p).max()))
    checks.close("output", worst, 0.0, atol=1e-14)
    p, q = rng.dirichlet(np.ones(6), (2, 200))
    lost = acceptance_rate(p, q) - acceptance_without_probabilities(p, q)
    checks.holds("accepts less", bool((lost > 0).all()), got=float(lost.mean()))
    sure = np.eye(6)[rng.integers(0, 6, 200)]
    got = acceptance_without_probabilities(p, sure)
    checks.close("one-token drafts", got, acceptance_rate(p, sure), atol=1e-15)


def check_batch() -> None:
    """A small batch has the best length of one sequence; a batch that fills the device has none;
    between, each γ was tried.

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
    rates = [expected_tokens(0.8, g) / (0.05 * g + max(1.0, 60 * (g + 1) / 300)) for g in range(33)]
    checks.equal("no longer than asked", best_length_in_batch(1.0, 1e-6, 1, 1e6, longest=5), 5)
    checks.equal("B = 60", best_length_in_batch(0.8, 0.05, 60, 300.0), int(np.argmax(rates)))


def check_bad_input_is_refused() -> None:
    """Image errors that no number of seeds mends, shares above 1 and empty batches are errors."""
    checks.raises("images", seeds_needed, 0.01, 0.01, 0.01, match="image_error must be in [0, 0.0")
    checks.raises("share", acceptance_from_log, 1.2, 3, match="accepted_share must be in [0, 1]")
    checks.raises(
        "sum", acceptance_without_probabilities, [0.5, 0.6], [0.5, 0.5], match="p must be a dist"
    )
    checks.raises("batch", best_length_in_batch, 0.8, 0.1, 0, 9.0, match="batch must be a positive")
