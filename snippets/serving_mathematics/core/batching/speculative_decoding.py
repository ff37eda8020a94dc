"""How many tokens a pass of the target yields, what they cost, and how many to propose.

With acceptances that are independent with one probability α, a round of γ proposed tokens puts out
(1 − α^(γ+1))/(1 − α) tokens on average and takes the time of γc + 1 passes of the target, where c
is the time of a pass of the draft over one of the target.

Assumes: independent acceptances, and that scoring γ + 1 positions takes as long as scoring one.

Source: Leviathan, Kalman and Matias (2023), equation 1 and theorem 3.8.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require_in,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
)


def _tokens(acceptance: float, draft_tokens: float) -> float:
    """1 + α + … + α^γ = (1 − α^(γ+1))/(1 − α)."""
    if acceptance in (0, 1) or draft_tokens == 0:
        return draft_tokens * acceptance + 1.0
    return -math.expm1((draft_tokens + 1) * math.log(acceptance)) / (1 - acceptance)


def expected_tokens(acceptance: float, draft_tokens: int) -> float:
    """Tokens per round, 1 + α + … + α^γ, if acceptances are independent.

    acceptance: α in [0, 1]. draft_tokens: γ ≥ 0 proposed in a round. Raises ValueError outside
    these ranges.

    >>> expected_tokens(0.5, draft_tokens=2)
    1.75
    """
    acceptance = require_in("[0, 1]", acceptance=acceptance)
    draft_tokens = require_non_negative_integer(draft_tokens=draft_tokens)
    return _tokens(acceptance, draft_tokens)


def speedup(acceptance: float, draft_tokens: int, cost_ratio: float) -> float:
    """Tokens per second with speculation over tokens per second without.

    acceptance: α in [0, 1]. draft_tokens: γ ≥ 0. cost_ratio: c ≥ 0, time of one pass of the draft
    over one of the target. Where each further position costs the target a share e of a pass, use
    c + e. Raises ValueError outside these ranges.

    >>> speedup(0.5, draft_tokens=2, cost_ratio=0.125)
    1.4
    """
    draft_tokens = as_number(draft_tokens=draft_tokens)
    cost_ratio = require_non_negative(cost_ratio=cost_ratio)
    return expected_tokens(acceptance, draft_tokens) / (draft_tokens * cost_ratio + 1)


def best_draft_length(acceptance: float, cost_ratio: float) -> int:
    """The γ with the largest speedup; 0 when speculation cannot pay, α ≤ c.

    acceptance: α in [0, 1). cost_ratio: c > 0; without a cost, or without a refusal, longer would
    always be better. The gain of one more token falls with γ while its cost does not, so the first
    γ that does not improve ends the search. Raises ValueError outside these ranges.

    >>> best_draft_length(0.8, cost_ratio=0.05)
    8
    """
    acceptance = require_in("[0, 1)", acceptance=acceptance)
    cost_ratio = require_positive(cost_ratio=cost_ratio)

    def improves(length: int) -> bool:
        gain = acceptance ** (length + 1) * (length * cost_ratio + 1)
        return gain > _tokens(acceptance, length) * cost_ratio

    if not improves(0):
        return 0
    good, beyond = 0, 1  # the longest that is known to improve, and the first known not to
    while improves(beyond):
        good, beyond = beyond, 2 * beyond
    while beyond - good > 1:
        middle = (good + beyond) // 2
        good, beyond = (middle, beyond) if improves(middle) else (good, middle)
    return beyond


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    best = best_draft_length(0.8, 0.05)
    return SimpleNamespace(best_length=best, best_speedup=speedup(0.8, best, 0.05))


def check_published_factors() -> None:
    """The speed for a draft that costs nothing is that of the paper.

    Source: Leviathan, Kalman and Matias (2023), section 3.5 for c = 0; section 3.6, a bigram draft
    with α about 0.2 and γ = 3 gives 1.25.
    """
    for alpha, gamma, speed in ((0.6, 2, 1.96), (0.8, 5, 3.69), (0.2, 3, 1.25)):
        got = speedup(alpha, gamma, 0.0)
        checks.close(f"α = {alpha}, γ = {gamma}", got, speed, atol=5e-3, kind="published")


def check_best_length() -> None:
    """At α = 0.8 and c = 0.05 the best length is 8, for 3.092 times the speed; the search ends at
    the best of all lengths.

    Source: the speedup at every γ up to 300; Leviathan, Kalman and Matias (2023), corollary 3.9:
    it is at least (1 + α)/(1 + c) where α > c, and never above 1 where α ≤ c.
    """
    checks.close("γ = 8", speedup(0.8, best_draft_length(0.8, 0.05), 0.05), 3.092, atol=5e-4)
    for alpha, cost in ((0.8, 0.05), (0.95, 0.01), (0.5, 0.3), (0.2, 0.2)):
        speeds = [speedup(alpha, gamma, cost) for gamma in range(300)]
        found = best_draft_length(alpha, cost)
        checks.equal(f"α = {alpha}, c = {cost}", found, int(np.argmax(speeds)))
        if alpha > cost:
            least = (1 + alpha) / (1 + cost)
            checks.holds("at least γ = 1", speeds[found] >= least, got=speeds[found])


def check_tokens_by_enumeration() -> None:
    """The sum of powers is the mean of a geometric count that stops at γ + 1.

    Source: Σk·α^(k−1)(1 − α) up to γ, plus (γ + 1)·α^γ, added up term by term.
    """
    for alpha, gamma in ((0.3, 4), (0.9, 12), (1.0, 3), (0.0, 3)):
        terms = [k * alpha ** (k - 1) * (1 - alpha) for k in range(1, gamma + 1)]
        mean = math.fsum([*terms, (gamma + 1) * alpha**gamma])
        checks.close(f"α = {alpha}, γ = {gamma}", expected_tokens(alpha, gamma), mean, rtol=1e-12)


def check_production_logs() -> None:
    """Two logs of a serving engine: the formula gives their tokens per round to 4%, and is low in
    both.

    Source: vLLM pull request 5131 (γ = 5: 18,180 of 23,780 passed, 16,447 tokens) and issue 9539
    (γ = 3: 8,547 of 13,311 passed, 10,616 tokens); that version counted tokens behind a refused
    one, as its metrics.py says.
    """
    for gamma, passed, drafted, emitted in ((5, 18180, 23780, 16447), (3, 8547, 13311, 10616)):
        measured = emitted / (drafted / gamma)
        predicted = expected_tokens(passed / drafted, gamma)
        label = f"γ = {gamma}: formula over log"
        checks.inside(label, predicted / measured, 0.96, 1.0, kind="measured")
