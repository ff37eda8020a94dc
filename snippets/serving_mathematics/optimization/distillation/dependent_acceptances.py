"""Tokens per round where easy and hard passages last: fewer than their mean acceptance promises.

A passage takes as many rounds as it has tokens, over what a round of it yields. Hard ones take
more, so that over passages of equally many tokens the tokens of a round are the harmonic mean.

Assumes: independent acceptances within a passage; passages much longer than a round.

Source: derived here; Leviathan, Kalman and Matias (2023), equation 1, for independent acceptances.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.batching.speculative_decoding import (
    best_draft_length,
    expected_tokens,
    speedup,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_numbers, require

EASY, HARD, GAMMA = 0.95, 0.35, 4  # acceptances, drafted tokens
COST = 0.05  # of a pass of the draft


def tokens_in_passages(acceptances: Sequence[float], draft_tokens: int) -> float:
    """Mean tokens per round over passages of equally many tokens, each with its own acceptance.

    acceptances: α of each passage, in [0, 1], one or more. draft_tokens: γ ≥ 0. Raises ValueError
    outside these ranges.

    >>> round(tokens_in_passages([0.0, 1.0], draft_tokens=1), 9)  # 1 and 2 tokens a round
    1.333333333
    """
    acceptances = as_numbers(acceptances=acceptances)
    shares = len(acceptances) > 0 and all(0 <= alpha <= 1 for alpha in acceptances)
    require(shares, "acceptances", "one or more in [0, 1]", acceptances)
    rounds = [1 / expected_tokens(alpha, draft_tokens) for alpha in acceptances]
    return len(rounds) / sum(rounds)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    formula = expected_tokens((EASY + HARD) / 2, GAMMA)
    return SimpleNamespace(
        easy_percent=100 * EASY,
        hard_percent=100 * HARD,
        passages_error_percent=100 * (formula / tokens_in_passages([EASY, HARD], GAMMA) - 1),
        easy_length=best_draft_length(EASY, COST),
        hard_length=best_draft_length(HARD, COST),
    )


def check_rounds_of_passages() -> None:
    """Over long passages a round yields the harmonic mean; over passages of one token it yields
    what the formula says for the mean acceptance.

    Source: an output of 50,000 tokens, each accepted or not, walked round by round.
    """
    rng = np.random.default_rng(7)
    for easy, hard, gamma in ((EASY, HARD, GAMMA), (0.8, 0.1, 7)):
        for name, hard_now, expected in (
            ("long", np.arange(50_000) // 500 % 2, tokens_in_passages([easy, hard], gamma)),
            ("afresh", rng.random(50_000) < 0.5, expected_tokens((easy + hard) / 2, gamma)),
        ):
            passes = rng.random(hard_now.size) < np.where(hard_now, hard, easy)
            place = rounds = 0
            while place + gamma < passes.size:
                run = passes[place : place + gamma]
                place += (gamma if run.all() else int(run.argmin())) + 1
                rounds += 1
            label = f"{easy:g} and {hard:g}, γ = {gamma}, {name}"
            checks.close(label, place / rounds, expected, rtol=0.02, kind="simulation")


def check_no_one_length_fits() -> None:
    """The best length in easy passages is at least seven times the best in hard ones, and using
    one's best in the other costs a tenth or more, whether a draft takes a twentieth or a fifth of
    the time.

    Source: the speedup at every length up to 60.
    """
    for cost in (COST, 0.2):
        speeds = {
            mode: np.array([speedup(mode, length, cost) for length in range(60)])
            for mode in (EASY, HARD)
        }
        easy, hard = (int(np.argmax(speeds[mode])) for mode in (EASY, HARD))
        checks.inside(f"c = {cost:g}: easy over hard", easy / hard, 7, 20)
        for mode, own, other in ((EASY, easy, hard), (HARD, hard, easy)):
            kept = float(speeds[mode][other] / speeds[mode][own])
            checks.inside(f"c = {cost:g}, {mode:g}: the other's length", kept, 0.2, 0.9)
