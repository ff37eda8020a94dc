"""Answers of a shadow: the sign test as oracle, power, flips counted case by case, refusals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.architecture.shadow_canary.paired_answers import (
    mcnemar_exact,
    noisy_shares,
    shadow_pairs,
)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_sign_test(wrong: int, right: int) -> None:
    expected = 1.0
    if wrong + right:
        expected = stats.binomtest(wrong, wrong + right).pvalue
    assert mcnemar_exact(wrong, right) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_exact(wrong, right) == mcnemar_exact(right, wrong)


def test_mcnemar_of_many_pairs_does_not_overflow() -> None:
    assert 0 < mcnemar_exact(2500, 2600) < 1
    for wrong, right in ((4900, 5100), (4900, 5101), (500_000, 501_000)):
        expected = stats.binomtest(wrong, wrong + right).pvalue
        assert mcnemar_exact(wrong, right) == pytest.approx(expected, rel=1e-7)
    assert mcnemar_exact(0, 10**6) == 0


def test_shadow_pairs_reach_their_power() -> None:
    for wrong, right in ((0.05, 0.45), (0.02, 0.01), (0.0, 0.1)):
        n, delta, discordant = shadow_pairs(wrong, right), abs(wrong - right), wrong + right
        for pairs, enough in ((n, True), (n - 1, False)):
            error = math.sqrt((discordant - delta**2) / pairs)
            limit = stats.norm.ppf(0.975) * math.sqrt(discordant / pairs)
            assert (stats.norm.sf((limit - delta) / error) >= 0.8) == enough
        assert shadow_pairs(right, wrong) == n
        fewer = shadow_pairs(wrong, right, power=0.5)
        assert fewer == math.ceil(stats.norm.ppf(0.975) ** 2 * discordant / delta**2) < n
        assert shadow_pairs(wrong, right, alpha=0.01) > n


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
def test_flipped_verdicts_keep_the_sign_and_lose_the_size(w: float, r: float, flip: float) -> None:
    """Both verdicts of a pair, flipped or not, counted over all cases."""
    lost = won = 0.0
    for old, new, share in ((1, 0, w), (0, 1, r), (1, 1, 1 - w - r)):
        for first in (0, 1):
            for second in (0, 1):
                chance = share * (flip if first else 1 - flip) * (flip if second else 1 - flip)
                seen = old ^ first, new ^ second
                lost, won = lost + chance * (seen == (1, 0)), won + chance * (seen == (0, 1))
    assert noisy_shares(w, r, flip) == pytest.approx((lost, won), abs=1e-12)
    assert lost - won == pytest.approx((w - r) * (1 - 2 * flip), abs=1e-12)
