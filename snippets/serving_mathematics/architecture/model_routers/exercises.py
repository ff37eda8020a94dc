"""Solutions of the exercises on routers: break-even of a cascade, enough choices, enough servers,
what a modulus moves, enough images.

Source: Mitzenmacher (2001) for the means; Gast and Van Houdt (2017) for finite fleets; Karger et
al. (1997) for what must not move; the rest is derived at each function.
"""

from __future__ import annotations

import math
from itertools import count

import numpy as np

from serving_mathematics.architecture.model_routers.bounded_hashing import HashRing, assign_bounded
from serving_mathematics.architecture.model_routers.digits_cascade import paired_difference
from serving_mathematics.architecture.model_routers.model_routers import (
    best_of_d_found,
    cascade_cost,
    router_cost,
)
from serving_mathematics.architecture.model_routers.replica_routing import (
    finite_fleet_mean,
    simulate_fleet,
)
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
)

HINTS = {
    "break_even_deferral": (
        "Write both bills for one query: the cascade pays the small model always and the large "
        "one for what it defers, the router pays its own decision and then one of the two. "
        "Equate them, then keep the share in [0, 1]."
    ),
    "moved_by_modulus": (
        "The pair of remainders repeats after n(n − 1) hashes, so count over one such period. A"
        " key stays only where both remainders are equal."
    ),
    "choices_needed": (
        "Sum the series of the mean for one choice, two, three and so on until it is within the"
        " target: `best_of_d_found` gives its terms. One choice is allowed and is plain M/M/1."
    ),
    "images_needed": (
        "Only images on which exactly one reader is right count, each with +1 or −1: the "
        "variance of one is the disagreement less the squared loss. Two separate binomial "
        "variances ask for far too many."
    ),
    "servers_needed": (
        "The gap to the mean-field formula shrinks like a/n. Get a from `finite_fleet_mean`, which "
        "is T + a/n for any number of servers, and solve for n: nothing has to be searched."
    ),
}


def break_even_deferral(
    small_cost: float, large_cost: float, large_share: float, routing_cost: float = 0.0
) -> float:
    """Share that a cascade may defer and still cost no more than a router.

    small_cost, large_cost: c_1, c_2 > 0 of one query. large_share: q of the queries, in [0, 1],
    that the router sends to the large model. routing_cost: r ≥ 0 of its decision. Solves c_1 + δc_2
    = r + (1 − q)c_1 + qc_2 for δ; at most 1, and 0 when the cascade is dearer even without
    deferring. Raises ValueError outside these ranges.

    >>> round(break_even_deferral(1.0, 10.0, large_share=0.5), 12)
    0.45
    """
    small_cost, large_cost = require_positive(small_cost=small_cost, large_cost=large_cost)
    large_share = require_in("[0, 1]", large_share=large_share)
    routing_cost = require_non_negative(routing_cost=routing_cost)
    share = large_share + (routing_cost - large_share * small_cost) / large_cost
    return min(max(share, 0.0), 1.0)


def moved_by_modulus(servers: int) -> float:
    """Share of keys that change their server when hash mod n becomes hash mod (n − 1).

    servers: n ≥ 2 before one leaves. Counted over the n(n − 1) equally likely pairs of remainders.
    Raises ValueError on fewer.

    >>> moved_by_modulus(4)
    0.75
    """
    servers = as_number(servers=servers)
    require(2 <= servers < math.inf and servers % 1 == 0, "servers", "an integer ≥ 2", servers)
    hashes = np.arange(servers * (servers - 1))
    return float(np.mean(hashes % servers != hashes % (servers - 1)))


def choices_needed(utilization: float, target: float) -> int:
    """Fewest choices at which a large fleet's mean response is at most a target.

    utilization: ρ in [0, 1). target: mean response in mean services, above 1. Raises ValueError
    outside these ranges. There always is one, because the mean falls to 1 as d grows.

    >>> choices_needed(0.5, target=2.0)
    1
    """
    target = as_number(target=target)
    require(1 < target < math.inf, "target", "above 1 and finite", target)
    return next(d for d in count(1) if best_of_d_found(utilization, d).sum() <= target)


def images_needed(loss: float, disagreement: float) -> int:
    """Test images after which a true loss of accuracy is resolved: 1.96 standard errors.

    loss: true difference of two accuracies, in (0, disagreement]. disagreement: share of images, in
    (0, 1], on which exactly one of the two is right. The variance of a paired difference is p − δ².
    Raises ValueError outside these ranges.

    >>> images_needed(0.1, disagreement=0.1)  # 1.96²·(0.1 − 0.01)/0.01
    35
    """
    loss = as_number(loss=loss)
    disagreement = require_in("(0, 1]", disagreement=disagreement)
    require(0 < loss <= disagreement, "loss", f"in (0, {disagreement}]", loss)
    return max(2, math.ceil(1.959963984540054**2 * (disagreement - loss**2) / loss**2))


def servers_needed(utilization: float, choices: int, tolerance: float) -> int:
    """Fewest servers for which the mean-field mean is too small by at most a tolerance, to order
    1/n.

    utilization: ρ in (0, 1). choices: d ≥ 2. tolerance: relative, above 0. With T + a/n for the
    finite fleet, n ≥ a/(tolerance·T). Raises ValueError outside these ranges.

    >>> servers_needed(0.9, choices=2, tolerance=0.05)
    24
    """
    tolerance = require_positive(tolerance=tolerance)
    limit = float(best_of_d_found(utilization, choices).sum())
    constant = choices * (finite_fleet_mean(utilization, choices, choices) - limit)
    return max(choices, math.ceil(constant / (tolerance * limit)))


def check_break_even() -> None:
    """At the break-even share the two bills are equal, on either side the cheaper one changes.

    Source: `cascade_cost` and `router_cost` at the share; $0.10 and $15: 19.87% against a router's
    20%.
    """
    share = break_even_deferral(0.10, 15.0, 0.2)
    checks.close("share", share, 0.2 - 0.02 / 15, rtol=1e-12)
    for small, large, q, r in ((0.1, 15.0, 0.2, 0.0), (1.0, 4.0, 0.6, 0.3)):
        share = break_even_deferral(small, large, q, r)
        router = router_cost([small, large], [1 - q, q], r)
        checks.close(
            f"bills, c₂ = {large:g}", cascade_cost([small, large], [share]), router, rtol=1e-12
        )
    checks.equal("hardly any large queries", break_even_deferral(1.0, 2.0, 0.0), 0.0)


def check_choices() -> None:
    """At 95% load three choices are needed for a mean of 2.6, at 99% eleven for 2.2.

    Source: the series of Mitzenmacher (2001), summed for every d up to the answer.
    """
    for load, target in ((0.95, 2.6), (0.99, 2.2), (0.6, 1.3), (0.5, 2.5)):
        means = [
            sum(load ** (sum(d**k for k in range(1, i))) for i in range(1, 300 if d == 1 else 14))
            for d in range(1, 20)
        ]
        fewest = 1 + int(np.argmax(np.less_equal(means, target)))
        checks.equal(f"λ = {load}, target {target}", choices_needed(load, target), fewest)


def check_fleet_size() -> None:
    """At 90% load the formula for many is within 5% from 24 servers on.

    Source: simulated fleets of that size and of half of it.
    """
    rng = np.random.default_rng(162)
    limit = float(best_of_d_found(0.9, 2).sum())
    enough = servers_needed(0.9, 2, 0.05)
    run = simulate_fleet(rng, 0.9, 2, enough, lanes=96, horizon=60, warm_up=30).mean_response
    relative = MeanEstimate(run.mean / limit - 1, run.standard_error / limit, 0.0)
    checks.covers(f"gap at n = {enough}", relative, 0.05)
    half = simulate_fleet(rng, 0.9, 2, enough // 2, lanes=96, horizon=60, warm_up=30).mean_response
    apart = (half.mean / limit - 1 - 0.05) / (half.standard_error / limit)
    checks.holds("larger at half [s.e.]", apart > 3, got=f"{apart:.1f}", kind="simulation")


def check_modulus() -> None:
    """A modulus moves all keys but 1/n of them, a ring only those of the server that left.

    Source: 1 − 1/n, because the remainders agree exactly below n − 1; 1,000 hashed keys.
    """
    for n in (2, 10, 37):
        checks.close(f"n = {n}", moved_by_modulus(n), 1 - 1 / n, rtol=1e-12)
    places = [HashRing.place(f"key-{i}") for i in range(1000)]
    moved = [float(p % 10 != p % 9) for p in places]
    checks.covers("hashed keys, n = 10", batch_means(moved), moved_by_modulus(10))
    names = [f"s{i}" for i in range(10)]
    keys = [f"key-{i}" for i in range(300)]
    rings = [assign_bounded(keys, HashRing(n)) for n in (names, names[1:])]
    stay = np.mean([a == b + 1 or a == 0 for a, b in zip(*rings, strict=True)])
    checks.close("ring: all stay whose server stays", stay, 1.0)


def check_images() -> None:
    """To resolve a loss of 0.8 points takes about 1,900 images when the two readers disagree on
    3.2% of them.

    Source: 2,000 drawn test sets of the computed size, whose differences have a standard error of
    loss/1.96; the variance of twenty images, five lost and one gained, for a large loss.
    """
    twenty = [1.0] * 5 + [-1.0] + [0.0] * 14
    enough = math.ceil((1.959963984540054 / 0.2) ** 2 * float(np.var(twenty)))
    checks.equal("five lost and one gained of twenty", images_needed(0.2, 0.3), enough)
    rng = np.random.default_rng(163)
    for loss, disagreement in ((0.008, 0.032), (0.02, 0.05)):
        size = images_needed(loss, disagreement)
        worse = rng.binomial(size, (disagreement + loss) / 2, 2000)
        better = rng.binomial(
            size - worse, (disagreement - loss) / 2 / (1 - (disagreement + loss) / 2)
        )
        spread = float(np.std((worse - better) / size))
        checks.close(f"s.e. with {size} images", spread, loss / 1.959964, rtol=3 / math.sqrt(4000))
    exact = paired_difference([True] * 9 + [False], [True] * 10)
    checks.close("variance p − δ²", exact.standard_error**2 * 9, 0.1 - 0.01, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Free models, targets of 1, one server and a loss above the disagreement are errors."""
    checks.raises("free", break_even_deferral, 0.0, 1.0, 0.5, match="small_cost must be positive")
    checks.raises("target 1", choices_needed, 0.5, 1.0, match="target must be above 1")
    checks.raises("tolerance", servers_needed, 0.9, 2, 0.0, match="tolerance must be positive")
    checks.raises("one server", moved_by_modulus, 1, match="servers must be an integer")
    checks.raises("loss", images_needed, 0.2, 0.1, match="loss must be in (0, 0.1]")
