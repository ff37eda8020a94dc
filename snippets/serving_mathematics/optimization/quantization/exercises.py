"""Solutions: the group that a budget allows, a clip for the range, the speed of decoding, and how
many images an evaluation needs.

Source: the chapter's formulas; for the number of images, the variance of a paired difference.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from serving_mathematics.optimization.quantization.bits_and_noise import bits_per_weight, sqnr_db
from serving_mathematics.optimization.quantization.code_books import (
    gaussian_distortion,
    optimal_step,
    uniform_code,
)
from serving_mathematics.optimization.quantization.paired_accuracy import paired_change
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

NORMAL_975 = 1.959963985  # 97.5% quantile of the standard normal distribution

HINTS = {
    "smallest_group": (
        "Every group carries its overhead once, so a weight pays the overhead divided by the "
        "group. Double the group until a weight is within the budget; a budget that is met "
        "exactly counts as met."
    ),
    "best_clip": (
        "For each share the step is the share of the peak over the largest code: round, clip, "
        "and add up squared errors of all values, the clipped ones too. Measuring only what was"
        " not clipped favours clipping."
    ),
    "decode_speedup": (
        "Memory-bound time is bytes over bandwidth, and the bandwidth cancels. Only the weights"
        " shrink; the caches are read before and after, which is why the ratio of the bits is "
        "too good."
    ),
    "images_needed": (
        "The difference is a mean of +1, 0 and −1, with variance `changed` less the squared "
        "loss. It must exceed the 97.5% quantile with the given power, so two normal quantiles "
        "add up before they are squared."
    ),
}


def smallest_group(bits: int, budget_bits: float, overhead_bits: float = 16) -> int:
    """The smallest group, a power of two, whose weights fit into a budget with their scale.

    bits: of a code, positive. budget_bits: for a weight with all its shares, more than the code.
    overhead_bits: of scale and zero point of a group, positive. Raises ValueError on other input.

    >>> smallest_group(4, budget_bits=4.25)
    64
    """
    budget_bits = as_number(budget_bits=budget_bits)
    bits = require_positive(bits=bits)
    require(bits < budget_bits < math.inf, "budget_bits", "more than the code's", budget_bits)
    overhead_bits = require_positive(overhead_bits=overhead_bits)
    group = 1
    while bits + overhead_bits / group > budget_bits + 1e-12:
        group *= 2
    return group


def best_clip(values: npt.ArrayLike, bits: int, candidates: int = 200) -> float:
    """Share of the largest magnitude at which clipping loses least in the mean square.

    values: finite, not all 0, shape (n,). bits: of symmetric codes, 2 to 16. candidates: shares
    tried, equally spaced up to 1, a positive integer. Raises ValueError on other input.

    >>> best_clip([-1.0, -1.0, 1.0, 1.0, 3.0], bits=2, candidates=3)  # 1, 2 or 3
    0.3333333333333333
    """
    bits = as_number(bits=bits)
    x = as_floats(values=values)
    fine = x.ndim == 1 and np.isfinite(x).all() and bool(np.any(x != 0))
    require(fine, "values", "finite, not all 0, of shape (n,)", x)
    require(2 <= bits <= 16 and bits % 1 == 0, "bits", "an integer from 2 to 16", bits)
    candidates = require_positive_integer(candidates=candidates)
    top, peak = 2 ** (bits - 1) - 1, float(np.abs(x).max())
    shares = np.arange(1, candidates + 1) / candidates
    errors = []
    for share in shares:
        step = share * peak / top
        codes = np.clip(np.rint(x / step), -top, top)
        errors.append(float(np.square(codes * step - x).sum()))
    return float(shares[int(np.argmin(errors))])


def decode_speedup(
    weight_bits: float, context_bytes: float, parameters: float, from_bits: float = 16
) -> float:
    """How much faster decoding gets with smaller weights, when reading memory takes all the time.

    weight_bits: of a weight afterwards, with its scales. context_bytes: of the KV caches of all
    sequences in the batch, read in every step and not quantized, non-negative [B]. parameters:
    weights that are read in a step. from_bits: of a weight before. Raises ValueError unless the
    other three are positive and all are finite.

    >>> decode_speedup(weight_bits=4, context_bytes=0.0, parameters=8.0)
    4.0
    """
    for name, value in (
        ("weight_bits", weight_bits),
        ("parameters", parameters),
        ("from_bits", from_bits),
    ):
        require(0 < value < math.inf, name, "positive and finite", value)
    context_bytes = require_non_negative(context_bytes=context_bytes)
    before = parameters * from_bits / 8 + context_bytes
    return before / (parameters * weight_bits / 8 + context_bytes)


def images_needed(loss: float, changed: float, power: float = 0.8) -> int:
    """Images that show a loss of accuracy with a 95% interval, with the given probability.

    loss: of accuracy, in (0, 1). changed: share of images that one of the models reads right and
    the other wrong, from the loss to 1. power: in [0.5, 1). With n images the difference has
    variance (changed − loss²)/n, and must exceed its 97.5% quantile. Raises ValueError on other
    input.

    >>> images_needed(loss=0.01, changed=0.01, power=0.5)  # n = 1.96² · 0.0099/0.0001
    381
    """
    changed = as_number(changed=changed)
    loss = require_in("(0, 1)", loss=loss)
    require(loss <= changed <= 1, "changed", f"from {loss} to 1", changed)
    power = require_in("[0.5, 1)", power=power)
    quantiles = NORMAL_975 + NormalDist().inv_cdf(power)
    return math.ceil(quantiles**2 * (changed - loss**2) / loss**2)


def check_smallest_group() -> None:
    """The group fits the budget and half of it does not.

    Source: bits counted by `bits_per_weight`, for ten budgets; 128 for 4.125 bits.
    """
    checks.equal("4.125 bits", smallest_group(4, 4.125), 128)
    for budget in np.linspace(4.03, 5.9, 10):
        group = smallest_group(4, float(budget), 20)
        fits = bits_per_weight(4, [(20, group)]) <= budget < bits_per_weight(4, [(40, group)])
        checks.holds(f"{budget:.3f} bits", fits, got=group)


def check_best_clip() -> None:
    """The clip of Gaussian numbers is where the best equal steps of the theory end.

    Source: the error of the best 16 equal steps, which these 15 codes miss by little; a gain of
    more than 2 dB over no clipping in 4 bits, less than 1 dB in 8. By hand: with codes −1, 0 and 1
    for five 2s and a 4 the steps 1, 2, 3 and 4 leave 14, 4, 6 and 20; 3 to −3 fit seven codes.
    """
    checks.equal("five 2s and a 4", best_clip([2, 2, 2, -2, -2, 4], 2, candidates=4), 0.5)
    checks.equal("nothing to clip", best_clip([-3, -2, -1, 0, 1, 2, 3], 3, candidates=50), 1.0)
    x = np.random.default_rng(2).normal(size=20_000)
    for bits, gain_low, gain_high in ((4, 2.0, 8.0), (8, 0.0, 1.0)):
        top, peak = 2 ** (bits - 1) - 1, float(np.abs(x).max())

        def ratio(share: float, top: int = top, peak: float = peak) -> float:
            step = share * peak / top
            return sqnr_db(x, np.clip(np.rint(x / step), -top, top) * step)

        best = ratio(best_clip(x, bits))
        ideal = gaussian_distortion(uniform_code(2**bits, optimal_step(2**bits)))
        expected = -10 * math.log10(ideal)
        checks.close(f"{bits} bits [dB]", best, expected, atol=0.6)
        checks.inside(f"{bits} bits, gain [dB]", best - ratio(1.0), gain_low, gain_high)


def check_decode_speedup() -> None:
    """Without context the speed-up is the ratio of the bits; as much context as weights halves the
    gain.

    Source: times of 16 GB and 4.5-bit weights at 1 TB/s, added up in milliseconds.
    """
    weights, context = 8e9, 16e9
    checks.close("no context", decode_speedup(4.5, 0.0, weights), 16 / 4.5, rtol=1e-12)
    before, after = 16.0 + 16.0, 4.5 + 16.0  # ms at 1 TB/s
    got = decode_speedup(4.5, context, weights)
    checks.close("as much context as weights", got, before / after, rtol=1e-12)


def check_images_needed() -> None:
    """With that many images the loss shows in 80% of the evaluations.

    Source: 20,000 multinomial evaluations and the interval of the chapter, which is a little wider;
    for a large loss the variance of twenty images, five lost and one gained.
    """
    twenty = [1.0] * 5 + [-1.0] + [0.0] * 14
    for power, quantile in ((0.5, 1.959964), (0.8, 1.959964 + 0.841621)):
        enough = math.ceil((quantile / 0.2) ** 2 * float(np.var(twenty)))
        checks.equal(
            f"five lost, one gained of twenty, {power:.0%}", images_needed(0.2, 0.3, power), enough
        )
    rng = np.random.default_rng(4)
    for loss, changed in ((0.005, 0.015), (0.01, 0.03)):
        n = images_needed(loss, changed)
        gained = (changed - loss) / 2
        chances = [changed - gained, gained, 1 - changed]
        draws = rng.multinomial(n, chances, size=20_000)
        found, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
        shown = sum(
            times
            for (lost, won), times in zip(found.tolist(), counts.tolist(), strict=True)
            if paired_change(lost, won, n).high < 0
        )
        checks.inside(f"loss {loss}, {n} images: shown", shown / 20_000, 0.76, 0.83)


def check_bad_input_is_refused() -> None:
    """Budgets below the code, clips of nothing and losses beyond the changes name the argument."""
    checks.raises("budget", smallest_group, 4, 4.0, match="budget_bits must be more than")
    checks.raises("zeros", best_clip, [0.0], 4, match="values must be finite, not all 0")
    checks.raises("context", decode_speedup, 4, -1.0, 8.0, match="context_bytes must be non-neg")
    checks.raises("loss", images_needed, 0.02, 0.01, match="changed must be from 0.02 to 1")
