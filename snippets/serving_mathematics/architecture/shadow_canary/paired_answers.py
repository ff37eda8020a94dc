"""A shadow answers the same requests as the version in production: only what differs counts.

Of the pairs in which exactly one version is right, w newly wrong and r newly right, w is
Binomial(w + r, ½) when both are equally good (McNemar). A shadow needs (z_{1−α/2}·√ψ +
z_{power}·√(ψ − δ²))²/δ² pairs, with ψ the share of such pairs and δ the difference of its parts. A
verdict that flips by chance makes such pairs of its own, and the difference smaller.

Assumes: pairs, and flips, that do not depend on each other; a fixed number, looked at once.

Source: McNemar (1947); Connor (1987).
"""

from __future__ import annotations

import math
from itertools import product
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np

from serving_mathematics.architecture.shadow_canary.shadow_canary import (
    canary_answers,
    samples_per_arm,
)
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import as_number, require, require_in, require_work

WRONG, RIGHT, OLD = 0.03, 0.02, 0.10  # by choice: newly wrong and newly right, errors of the old
FLIP = 0.05  # e by choice: a verdict in twenty comes out as the other one


def mcnemar_exact(newly_wrong: int, newly_right: int) -> float:
    """Two-sided p-value for “both versions are equally often right”, from the discordant pairs.

    newly_wrong: requests that only the baseline answered rightly. newly_right: requests that only
    the candidate did. Twice the probability that Binomial(n, ½) is at most the smaller one, at
    most 1. Raises ValueError unless both are counts.

    >>> mcnemar_exact(newly_wrong=0, newly_right=5)
    0.0625
    """
    newly_wrong, newly_right = as_number(newly_wrong=newly_wrong, newly_right=newly_right)
    for name, count in (("newly_wrong", newly_wrong), ("newly_right", newly_right)):
        require(0 <= count < math.inf and count % 1 == 0, name, "a count", count)
    require_work(min(newly_wrong, newly_right), newly_wrong=newly_wrong, newly_right=newly_right)
    pairs, smaller = int(newly_wrong + newly_right), int(min(newly_wrong, newly_right))
    if pairs <= 10_000:
        term = math.comb(pairs, smaller) / (1 << pairs)  # of the binomial sum, the largest
    else:  # the same by logarithms, to eight digits for a million pairs
        ways = math.lgamma(pairs + 1) - math.lgamma(smaller + 1) - math.lgamma(pairs - smaller + 1)
        term = math.exp(ways - pairs * math.log(2))
    total = term
    for k in range(smaller, 0, -1):
        term = term * k / (pairs - k + 1)
        total += term
        if term < 1e-17 * total:
            break
    return min(1.0, 2 * total)


def shadow_pairs(
    newly_wrong_share: float, newly_right_share: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Pairs that a shadow needs before McNemar's test finds the difference with this power.

    newly_wrong_share, newly_right_share: shares of all requests, not both 0, different, sum at
    most 1. alpha: two-sided level. power: in (α, 1). Rounds up (z_{1−α/2}·√ψ +
    z_{power}·√(ψ − δ²))²/δ², ψ the sum of the shares and δ their difference. Raises ValueError
    outside these ranges. Source: Connor (1987), as coded by Greenwell (2017).

    >>> shadow_pairs(0.05, 0.45)
    23
    """
    newly_right_share = as_number(newly_right_share=newly_right_share)
    newly_wrong_share = require_in("[0, 1]", newly_wrong_share=newly_wrong_share)
    wrong, right = newly_wrong_share, newly_right_share
    require(0 <= right <= 1 - wrong, "newly_right_share", "in [0, 1 − newly_wrong_share]", right)
    require(wrong != right, "newly_right_share", "different from newly_wrong_share", right)
    alpha = require_in("(0, 1)", alpha=alpha)
    power = require_in(f"({alpha:g}, 1)", power=power)
    z_alpha, z_power = -NormalDist().inv_cdf(alpha / 2), NormalDist().inv_cdf(power)
    discordant, delta = wrong + right, wrong - right
    root = z_alpha * math.sqrt(discordant) + z_power * math.sqrt(discordant - delta**2)
    return math.ceil((root / delta) ** 2)


def noisy_shares(
    newly_wrong_share: float, newly_right_share: float, flip: float
) -> tuple[float, float]:
    """Shares of discordant pairs when sampling or a judge flips verdicts by chance.

    newly_wrong_share, newly_right_share: w and r, true shares of pairs that only the old or only
    the new version answers rightly, sum at most 1. flip: e in [0, 0.5], probability that a verdict,
    right or wrong, comes out as the other one, independently for both versions. In a pair that
    agrees, exactly one verdict flips with probability 2e(1 − e), equally often for either version.
    Returns w(1 − e)² + re² + (1 − w − r)e(1 − e) and the same with w and r exchanged. Raises
    ValueError outside these ranges.

    >>> noisy_shares(0.0, 0.0, flip=0.5)  # A against A, by tossed coins
    (0.25, 0.25)
    """
    newly_right_share = as_number(newly_right_share=newly_right_share)
    newly_wrong_share = require_in("[0, 1]", newly_wrong_share=newly_wrong_share)
    wrong, right = newly_wrong_share, newly_right_share
    require(0 <= right <= 1 - wrong, "newly_right_share", "in [0, 1 − newly_wrong_share]", right)
    flip = require_in("[0, 0.5]", flip=flip)
    by_chance = (1 - wrong - right) * flip * (1 - flip)
    kept, turned = (1 - flip) ** 2, flip**2
    return wrong * kept + right * turned + by_chance, right * kept + wrong * turned + by_chance


def _seen(error_rate: float, flip: float) -> float:
    """An error rate as a judge sees it whose verdicts flip."""
    return error_rate * (1 - 2 * flip) + flip


def _sizes(flip: float, wrong: float = WRONG, right: float = RIGHT) -> tuple[int, int]:
    """Answers of the new version that a shadow and an even canary need."""
    shadow = shadow_pairs(*noisy_shares(wrong, right, flip))
    return shadow, canary_answers(_seen(OLD, flip), _seen(OLD + wrong - right, flip))


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    (pairs, canary), (noisy_pairs, _) = (_sizes(flip) for flip in (0.0, FLIP))
    return SimpleNamespace(
        pairs=pairs, canary=canary, flip_percent=100 * FLIP, noisy_pairs=noisy_pairs
    )


def figure_answers(figure: Figure) -> None:
    """A shadow needs a few thousand answers to see what an even canary sees with several times as
    many; a judge that contradicts itself takes most of that advantage away.

    The versions differ in one answer in twenty, and the old one gets one in ten wrong; dashed: one
    verdict in twenty flips.

    Alt: Line chart on logarithmic axes of the loss that shows against the answers, with four
    falling lines. The lowest is the shadow with an exact judge; above it lie the shadow whose judge
    flips verdicts, then the canary, and the canary with the same judge.
    """
    figure.set_size_inches(5.8, 3.2)
    axes = figure.subplots()
    losses = np.geomspace(0.002, 0.045, 30)
    half = (WRONG + RIGHT) / 2
    for place, colour in ((0, "C0"), (1, "C1")):
        for flip, line in ((0.0, "-"), (FLIP, "--")):
            sizes = [_sizes(flip, half + loss / 2, half - loss / 2)[place] for loss in losses]
            axes.loglog(sizes, 100 * losses, line, color=colour)
    axes.annotate("shadow", (380, 2.0), color="C0", ha="right")
    axes.annotate("canary", (14_000, 1.45), color="C1")
    axes.annotate("dashed: verdicts flip", (1.9e5, 3.4), color="C4", ha="right")
    axes.set_xticks([100, 1000, 10_000, 100_000], ["100", "1,000", "10,000", "100,000"])
    axes.set_yticks([0.2, 0.5, 1, 2, 4], ["0.2", "0.5", "1", "2", "4"])
    axes.minorticks_off()
    axes.set(xlabel="answers of the new version", ylabel="loss that shows [%]", xlim=(100, 3e5))


def check_a_differs_from_a() -> None:
    """If one verdict in twenty flips by chance, two runs of one version differ in 9.5% of the
    pairs, the difference of two versions shrinks by a tenth, and a shadow needs as many pairs as
    the formula says.

    Source: 200,000 simulated pairs with verdicts flipped one by one; for the power, 4,000 simulated
    shadows of that many pairs.
    """
    rng = np.random.default_rng(23)
    wrong, right, flip = 0.02, 0.01, 0.05
    kinds = rng.random(200_000)
    old = (kinds < wrong) | (kinds > 0.5)
    new = np.where(kinds < wrong + right, ~old, old)
    seen_old, seen_new = (x ^ (rng.random(x.size) < flip) for x in (old, new))
    shares = noisy_shares(wrong, right, flip)
    lost, won = seen_old & ~seen_new, ~seen_old & seen_new
    for name, got, share in (("lost", lost, shares[0]), ("won", won, shares[1])):
        checks.covers(f"{name}: share of the pairs", batch_means(got.astype(float)), share)
    checks.close("difference", shares[0] - shares[1], 0.9 * (wrong - right), rtol=1e-12)
    again = old ^ (rng.random(old.size) < flip)
    differs = batch_means((seen_old != again).astype(float))
    checks.covers("A against A", differs, sum(noisy_shares(0.0, 0.0, flip)))
    pairs = shadow_pairs(*shares)
    counts = rng.multinomial(pairs, [*shares, 1 - sum(shares)], 4_000)
    z = (counts[:, 0] - counts[:, 1]) / np.sqrt(counts[:, 0] + counts[:, 1])
    power = batch_means((np.abs(z) > NormalDist().inv_cdf(0.975)).astype(float))
    checks.close("power of such shadows", power.mean, 0.8, atol=0.03, kind="simulation")


def check_mcnemar() -> None:
    """The exact p-value is the share of all assignments of the discordant pairs that are at least
    as lopsided.

    Source: all 2^n assignments listed one by one.
    """
    for wrong, right in ((7, 1), (2, 9), (5, 5), (0, 0)):
        n = wrong + right
        lopsided = [
            abs(2 * sum(signs) - n) >= abs(wrong - right) for signs in product((0, 1), repeat=n)
        ]
        checks.close(f"{wrong} against {right}", mcnemar_exact(wrong, right), np.mean(lopsided))


def check_shadow_size() -> None:
    """If 7 answers of 720 are lost and 1 is won, a shadow needs 1,254 pairs; if the errors of the
    two versions are independent, as many as an arm of a canary.

    Source: Connor's formula, by hand; the size of a canary; the normal form of McNemar's test on
    all counts of 5% against 4% at that size, weighed with their multinomial probabilities.
    """
    checks.close("pairs", shadow_pairs(7 / 720, 1 / 720), 1254)
    independent = shadow_pairs(0.002 * 0.999, 0.001 * 0.998)
    checks.close("unrelated answers", independent, samples_per_arm(0.001, 0.002), rtol=1e-3)
    n = shadow_pairs(0.05, 0.04)
    (wrong, right), factorial = np.ogrid[:700, :600], np.cumsum(np.log(np.maximum(range(n + 1), 1)))
    ways = factorial[n] - factorial[wrong] - factorial[right] - factorial[n - wrong - right]
    chosen = wrong * math.log(0.05 / 0.91) + right * math.log(0.04 / 0.91) + n * math.log(0.91)
    mass = np.exp(ways + chosen)
    checks.close("probabilities", mass.sum(), 1.0, rtol=1e-9)
    found = np.abs(wrong - right) > 1.959964 * np.sqrt(wrong + right)
    checks.close("power, summed", mass[found].sum(), 0.8, atol=0.002)
