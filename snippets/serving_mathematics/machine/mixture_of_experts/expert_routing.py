"""Which experts a batch touches, and who carries most of them.

A token takes k of E experts. If expert e is taken with probability p_e (together k), B tokens touch

    m = sum over e of [1 - (1 - p_e)^B]  <=  E (1 - (1 - k/E)^B),

with equality where all are equally popular, because 1 - (1 - p)^B is concave in p. Split over n
devices, a layer waits for the device with most to do.

Assumes: tokens choose independently of each other; a token's k choices are different experts.

Source: Huang et al. (2025), arXiv 2505.19645 (equal popularity); Jensen's inequality;
ai-dynamo/aiconfigurator, collector/helper.py, for `skewed_counts`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.core.hardware.step_time import touched_experts
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
)


def touched_by_popularity(popularity: ArrayLike, tokens: float) -> float:
    """Experts that tokens touch on average, where some are more popular than others.

    popularity: probability that a token takes each expert, shape (E,), in [0, 1]. tokens: B >= 0.
    Raises ValueError outside these ranges.

    >>> touched_by_popularity([1.0, 0.5, 0.5], tokens=2)
    2.5
    """
    shares = as_floats(popularity=popularity)
    tokens = require_non_negative(tokens=tokens)
    require(shares.ndim == 1 and shares.size > 0, "popularity", "of shape (E,)", popularity)
    inside = np.all((shares >= 0) & (shares <= 1))  # NaN is not
    require(inside, "popularity", "in [0, 1]", popularity)
    return float(np.sum(1 - (1 - shares) ** tokens))


def experts_a_token(part: FeedForward, tokens: float) -> float:
    """Experts whose weights each token of a step pays for: those touched over the tokens, if all
    are equally popular.

    tokens: B > 0. Raises ValueError where it is not, or the layer has no experts.

    >>> round(experts_a_token(FeedForward(0, 1, experts=128, chosen=8), tokens=16), 2)
    5.15
    """
    tokens = require_positive(tokens=tokens)
    require(part.experts > 0, "part", "a layer with experts", part)
    touched = touched_experts(
        np.array([float(part.experts)]), np.array([float(part.chosen)]), np.array([float(tokens)])
    )
    return float(touched[0]) / tokens


def skewed_counts(
    tokens: int, experts: int, chosen: int, exponent: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Tokens that each expert gets, as benchmarks of kernels draw them, shape (experts,).

    Popularity is drawn from a truncated power law. Counts are in proportion to it, rounded, and no
    more than the tokens; what is missing goes to the experts with the fewest, and what is too much
    is taken from those with the most. exponent: of the power law, above 1 and at most 4.

    >>> skewed_counts(64, experts=8, chosen=2, exponent=1.2, rng=np.random.default_rng(0)).tolist()
    [13, 3, 2, 2, 29, 48, 12, 19]
    """
    tokens, experts, chosen = require_positive_integer(
        tokens=tokens, experts=experts, chosen=chosen
    )
    require(chosen <= experts, "chosen", f"at most the {experts} experts", chosen)
    require_work(tokens * experts, tokens=tokens, experts=experts)
    exponent = require_in("(1, 4]", exponent=exponent)
    least, most = (1.0, 0.8 * tokens) if tokens * chosen > experts else (0.01, 2.0)
    power = 1 - exponent
    low, high = least**power, most**power
    drawn = ((high - low) * rng.random(experts) + low) ** (1 / power)
    total = tokens * chosen
    shares = np.minimum(np.round(drawn / drawn.sum() * total), tokens)
    counts: NDArray[np.int64] = shares.astype(np.int64)
    while counts.sum() < total:
        order = np.argsort(counts, kind="stable")
        open_ones = order[counts[order] < tokens]
        counts[open_ones[: total - counts.sum()]] += 1
    while counts.sum() > total:
        counts[np.argsort(-counts, kind="stable")[: counts.sum() - total]] -= 1
    return counts


def busiest_device(counts: ArrayLike, devices: int) -> tuple[int, float]:
    """Experts that the device with the most tokens touches, and its tokens over the mean.

    counts: tokens of each expert, shape (E,), in the order in which devices hold them, E/devices
    each. Raises ValueError if the devices do not divide the experts, or no expert has a token.

    >>> busiest_device([1, 2, 0, 2, 5, 0, 1, 1], devices=4)  # 5 of 12, of which 3 are the mean
    (1, 1.6666666666666667)
    """
    devices = require_positive_integer(devices=devices)
    counts = require_all_finite(counts=counts)
    loads = as_floats(counts=counts)
    rule = f"as many as {devices} devices divide"
    require(loads.ndim == 1 and loads.size % devices == 0, "counts", rule, loads.size)
    require(loads.sum() > 0 and loads.min() >= 0, "counts", "tokens, some of them", counts)
    held = loads.reshape(devices, -1)
    row = int(held.sum(axis=1).argmax())
    touched = int((held[row] > 0).sum())
    return touched, float(held[row].sum() / held.sum() * devices)


def check_touched_experts_by_fractions() -> None:
    """Of 256 experts, of which each token takes 8, 57.42, 163.31 and 251.60 are touched by 8, 32
    and 128 tokens; of 128, of which it takes 4, 81.66 by 32.

    Source: E (1 - (1 - k/E)^B) in whole numbers, divided by E^B last.
    """
    for experts, chosen, tokens in ((256, 8, 8), (256, 8, 32), (256, 8, 128), (128, 4, 32)):
        exact = experts * (experts**tokens - (experts - chosen) ** tokens) / experts**tokens
        part = FeedForward(0, 1, experts, chosen)
        got = tokens * experts_a_token(part, tokens)
        checks.close(f"{tokens} tokens, {chosen} of {experts}", got, exact, rtol=1e-12)


def check_touched_by_drawing() -> None:
    """Tokens that draw their experts touch as many as the formulas say, whether the experts are
    equally popular or not.

    Source: 400 batches: of equally popular experts each token draws six of 64 at random, of others
    each one with its own probability; four standard errors.
    """
    rng = np.random.default_rng(17)
    taken = rng.random((400, 16, 64)).argpartition(6, axis=2)[:, :, :6].reshape(400, -1)
    drawn = [np.unique(batch).size for batch in taken]
    error = float(np.std(drawn)) / 20
    expected = float(touched_experts(np.array([64.0]), np.array([6.0]), np.array([16.0]))[0])
    checks.close(
        "16 tokens, 6 of 64", float(np.mean(drawn)), expected, atol=4 * error, kind="simulation"
    )
    popularity = np.linspace(0.02, 0.6, 24)
    drawn_unequal = (rng.random((400, 9, 24)) < popularity).any(axis=1).sum(axis=1)
    error = float(drawn_unequal.std()) / 20
    got = touched_by_popularity(popularity, 9)
    checks.close("unequal", float(drawn_unequal.mean()), got, atol=4 * error, kind="simulation")


def check_equal_popularity_touches_most() -> None:
    """However popularity is spread, no more experts are touched than if all are equally popular.

    Source: Jensen's inequality; 200 popularities drawn at random, of a mean of at most 8/128.
    """
    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        weights = rng.dirichlet(np.full(128, rng.uniform(0.3, 5)))
        shares = np.minimum(8 * weights, 1.0)
        found.append(touched_by_popularity(shares, 24))
    most = touched_by_popularity(np.full(128, 8 / 128), 24)
    checks.inside("most of 200", max(found), 0.8 * most, most)
