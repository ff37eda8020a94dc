"""Solutions: the demand behind a released model, when a smaller one pays back, and the price of
quality.

The optimum's condition read backwards gives the demand for which a model on the market is right.
Two models of equal loss break even where the extra training of the small one equals what it saves
on every token. Of a list of plans only those matter that nothing cheaper equals in quality.

Assumes: the chapter's models; in the third exercise nothing.

Source: Sardana et al. (2024) for the objective; the conditions are derived in the chapter.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.intuition.training_vs_serving.training_vs_serving import (
    REFITTED,
    UNROUNDED,
    ScalingLaw,
    compute_optimal_tokens,
    lifetime_flops,
    lifetime_optimum,
    loss,
    tokens_for_loss,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_positive,
    require_shape,
)

HINTS = {
    "implied_demand": (
        "At the optimum for a demand a small change of size at equal loss no longer changes the"
        " lifetime cost. Set the derivative along the equal-loss curve to zero and solve for "
        "the served tokens."
    ),
    "payback_tokens": (
        "The smaller model cost more in training, 6ND each, and saves 2 operations per "
        "parameter and served token. The price of serving multiplies the saving only."
    ),
    "efficient": (
        "Go through the models from cheap to dear, of equal cost the best first, and keep one "
        "only when it is better than all kept so far. Ties are where this goes wrong."
    ),
}


def implied_demand(law: ScalingLaw, parameters: float, tokens: float) -> float:
    """Served tokens for which a model, as it was trained, is the cheapest of its loss.

    law: constants of the scaling law. parameters: N. tokens: D, no fewer than the compute-optimal
    ones, below which the model is too large for any demand. Raises ValueError outside these ranges.

    >>> implied_demand(ScalingLaw(1.0, 4.0, 9.0, 0.5, 0.5), parameters=16.0, tokens=324.0)
    972.0
    """
    tokens = as_number(tokens=tokens)
    least = compute_optimal_tokens(law, parameters)
    require(
        least <= tokens < math.inf, "tokens", f"finite and ≥ {least:.6g}, compute-optimal", tokens
    )
    size, data = law.a / parameters**law.alpha, law.b / tokens**law.beta
    return float(3 * tokens * (law.alpha * size / (law.beta * data) - 1))


def payback_tokens(
    small: float, small_tokens: float, large: float, large_tokens: float, serving_price: float = 1.0
) -> float:
    """Served tokens after which the small model has cost less than the large one of equal loss.

    small, large: parameters, small < large. small_tokens, large_tokens: tokens of training.
    serving_price: price of an operation in serving over one in training, above 0: hardware is used
    worse there. Returns 0 when the small model was cheaper to train. Raises ValueError outside
    these ranges.

    >>> payback_tokens(1.0, 30.0, 2.0, 10.0)  # (180 − 120)/(2·(2 − 1))
    30.0
    """
    large = as_number(large=large)
    small = require_positive(small=small)
    require(small < large < math.inf, "large", f"finite and above {small:g}", large)
    serving_price = require_positive(serving_price=serving_price)
    extra = lifetime_flops(small, small_tokens) - lifetime_flops(large, large_tokens)
    return max(0.0, extra / (2 * (large - small) * serving_price))


def efficient(qualities: npt.ArrayLike, costs: npt.ArrayLike) -> list[int]:
    """Indices of the models that no other equals in quality for less, or betters for the same.

    qualities, costs: shape (n,), n ≥ 1, finite. Returned from cheap to dear; of equal models, the
    first. Raises ValueError on shapes that differ, on no models, and on NaN or infinities.

    >>> efficient([49.0, 70.0, 65.0, 84.0], [1.0, 2.0, 3.0, 9.0])
    [0, 1, 3]
    """
    quality, cost = as_floats(qualities=qualities), as_floats(costs=costs)
    require(quality.ndim == 1 and quality.size > 0, "qualities", "of shape (n,)", quality.shape)
    require_shape(quality.shape, costs=cost)
    require_all_finite(qualities=quality, costs=cost)
    kept: list[int] = []
    for index in np.lexsort((-quality, cost)).tolist():
        if not kept or quality[index] > quality[kept[-1]]:
            kept.append(index)
    return kept


def example() -> SimpleNamespace:
    """Answers to the exercises; demand and payback in trillions of tokens."""
    tokens = compute_optimal_tokens(UNROUNDED, 13e9)
    longer = tokens_for_loss(UNROUNDED, 7e9, loss(UNROUNDED, 13e9, tokens))
    return SimpleNamespace(
        llama_demand_t=implied_demand(UNROUNDED, 8e9, 15e12) / 1e12,
        llama_demand_refit_t=implied_demand(REFITTED, 8e9, 15e12) / 1e12,
        payback_t=payback_tokens(7e9, longer, 13e9, tokens) / 1e12,
        payback_dear_t=payback_tokens(7e9, longer, 13e9, tokens, 10.0) / 1e12,
    )


def check_implied_demand() -> None:
    """A model trained for its implied demand is the optimum that a search for that demand finds.

    Source: the chapter's bisection at the loss of the model; and the least of 20,000 sizes.
    """
    for law, size, tokens in ((UNROUNDED, 8e9, 15e12), (REFITTED, 3e9, 9e12)):
        demand, target = implied_demand(law, size, tokens), loss(law, size, tokens)
        best = lifetime_optimum(law, target, demand)
        checks.close(f"bisection, N = {size:.0e}", best.parameters, size, rtol=1e-9)
        sizes = size * np.geomspace(0.8, 1.3, 20_000)
        curve = (law.b / (target - law.irreducible - law.a / sizes**law.alpha)) ** (1 / law.beta)
        least = sizes[np.argmin(3 * sizes * curve + sizes * demand)]
        checks.close(f"search, N = {size:.0e}", size, float(least), rtol=1e-3)


def check_payback() -> None:
    """At the payback both lifetimes cost the same, also where serving is dearer.

    Source: the two lifetimes, added up; the demand divides by the price.
    """
    demand = payback_tokens(3e9, 9e12, 8e9, 2e12)
    checks.close(
        "equal lifetimes",
        lifetime_flops(3e9, 9e12, demand),
        lifetime_flops(8e9, 2e12, demand),
        rtol=1e-12,
    )
    dear = payback_tokens(3e9, 9e12, 8e9, 2e12, 4.0)
    checks.close("four times the price", 4 * dear, demand, rtol=1e-12)
    checks.close("cheaper from the start", payback_tokens(1.0, 5.0, 2.0, 10.0), 0.0)


def check_efficient_against_all_pairs() -> None:
    """A model is kept exactly if no other is at least as good and as cheap, and better in one.

    Source: the definition over all pairs of 60 random models, with ties.
    """
    rng = np.random.default_rng(62)
    quality, cost = rng.integers(0, 40, 60).astype(float), rng.integers(0, 40, 60).astype(float)
    pairs = list(zip(quality.tolist(), cost.tolist(), strict=True))
    undominated = {
        (q, c)
        for q, c in pairs
        if not any(p >= q and d <= c and (p > q or d < c) for p, d in pairs)
    }
    kept = efficient(quality, cost)
    checks.equal("models kept", {pairs[i] for i in kept}, undominated)
    checks.equal("each once", len(kept), len(undominated))


def check_bad_input_is_refused() -> None:
    """Models that were trained too little, in the wrong order or without a price are errors."""
    checks.raises("undertrained", implied_demand, REFITTED, 175e9, 300e9, match="tokens must be")
    checks.raises("wrong order", payback_tokens, 2.0, 1.0, 1.0, 1.0, match="large must be finite")
    checks.raises("no price", payback_tokens, 1.0, 1.0, 2.0, 1.0, 0.0, match="serving_price must")
    checks.raises("NaN quality", efficient, [math.nan], [1.0], match="qualities must be finite")
    checks.raises("no models", efficient, [], [], match="qualities must be of shape (n,)")
