"""Solutions: the slack that a prefix is worth, what a dashboard says of a router, what a cascade
may defer.

Source: `slack_that_pays`, `cascade_cost` and `router_cost` of the chapter; the rest is derived at
each function.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy.typing as npt

from serving_mathematics.architecture.model_routers.model_routers import cascade_cost, router_cost
from serving_mathematics.architecture.model_routers.prefix_routing import slack_that_pays
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_in,
    require_non_negative,
    require_positive,
)

SLACK = 16  # requests that an engine may have more than the least busy

HINTS = {
    "prefix_worth_keeping": (
        "The prefix saves its tokens divided by the reading speed. Each request beside this one "
        "costs every later token what a sequence adds to a step. Equate, and solve for the tokens."
    ),
    "what_the_router_does": (
        "First ask whether anything is shared, then whether it is found. If it is not, the router "
        "looks at loads alone. If it is, ask whether one engine has many more requests than "
        "another."
    ),
    "break_even_deferral": (
        "Write both bills for one query: the cascade always pays the small model, and the large "
        "one for what it defers; the router pays for its decision and then for one of the two. "
        "Equate them, then keep the share in [0, 1]."
    ),
}


def prefix_worth_keeping(
    slack: float, read_per_s: float, later_tokens: float, sequence_s: float
) -> float:
    """Tokens of the shortest prefix for which it is worth running beside so many more requests.

    slack: k, requests more, not negative. read_per_s: v, prompt tokens that an engine reads a
    second. later_tokens: m, tokens of an answer after its first. sequence_s: d, what a sequence
    adds to a step [s]. The last three are positive. Raises ValueError otherwise.

    >>> round(prefix_worth_keeping(16, read_per_s=50_000, later_tokens=200, sequence_s=0.0001), 6)
    16000.0
    """
    slack = require_non_negative(slack=slack)
    read_per_s, later_tokens, sequence_s = require_positive(
        read_per_s=read_per_s, later_tokens=later_tokens, sequence_s=sequence_s
    )
    return float(slack * later_tokens * sequence_s * read_per_s)


def what_the_router_does(requests: npt.ArrayLike, found: float, shared: float) -> str:
    """What a router does, read from a dashboard: "prefixes", "loads", "crowds" or "nothing shared".

    requests: running and waiting on each engine, shape (n,), not negative. found: share of prompt
    tokens that caches find, in [0, 1]. shared: share that they could find, in [0, 1]. Returns
    "nothing shared" if that is less than a tenth, else "loads", which alone decide, if less than
    two thirds of it is found. Otherwise "crowds" if the busiest engine has more than one and a half
    times the requests of the least busy, and more than SLACK, 16, over it; else "prefixes". Raises
    ValueError outside these ranges.

    >>> what_the_router_does([50, 52, 49, 51], found=0.3, shared=0.7)
    'loads'
    """
    counts = as_floats(requests=requests)
    require(counts.ndim == 1 and counts.size > 0, "requests", "of shape (n,), n ≥ 1", counts)
    require_all_non_negative(requests=counts)
    found, shared = require_in("[0, 1]", found=found), require_in("[0, 1]", shared=shared)
    if shared < 0.1:
        return "nothing shared"
    if found < 2 / 3 * shared:
        return "loads"
    over = counts.max() - counts.min()
    return "crowds" if over > SLACK and counts.max() > 1.5 * counts.min() else "prefixes"


def break_even_deferral(
    small_cost: float, large_cost: float, large_share: float, routing_cost: float = 0.0
) -> float:
    """Largest share that a cascade may defer and still cost no more than a router.

    small_cost, large_cost: c_1, c_2 > 0 of one query. large_share: q of the queries, in [0, 1],
    that the router sends to the large model. routing_cost: r ≥ 0 of its decision. At most 1, and 0
    when the cascade is dearer even without deferring. Raises ValueError outside these ranges.

    >>> round(break_even_deferral(1.0, 10.0, large_share=0.5), 12)
    0.45
    """
    small_cost, large_cost = require_positive(small_cost=small_cost, large_cost=large_cost)
    large_share = require_in("[0, 1]", large_share=large_share)
    routing_cost = require_non_negative(routing_cost=routing_cost)
    share = large_share + (routing_cost - large_share * small_cost) / large_cost
    return min(max(share, 0.0), 1.0)


def example() -> SimpleNamespace:
    """Answers that the page gives."""
    return SimpleNamespace(
        pencil_tokens=prefix_worth_keeping(16, 50_000, 200, 0.00008),
        board_first=what_the_router_does([50, 52, 49, 51], 0.3, 0.7),
        board_second=what_the_router_does([180, 30, 40, 22], 0.68, 0.7),
        deferred_percent=100 * break_even_deferral(0.10, 15.0, 0.2),
    )


def check_the_pencil() -> None:
    """A prefix of the computed length pays for exactly the slack that it was computed for.

    Source: `slack_that_pays`, with the time to read these tokens.
    """
    for slack in (0.0, 1.0, 16.0, 250.0):
        tokens = prefix_worth_keeping(slack, 40_000, 150, 60e-6)
        checks.close(
            f"slack {slack:g}", slack_that_pays(tokens / 40_000, 150, 60e-6), slack, rtol=1e-12
        )


def check_the_boards() -> None:
    """Even loads with little found mean that the router looks at loads alone; one crowded engine
    with much found, that it follows prefixes too far; even loads with much found, that it does as
    it should.

    Source: each rule by hand, on both sides of its limit.
    """
    even, crowded = [50, 52, 49, 51], [180, 30, 40, 22]
    for told, counts, found, shared in (
        ("loads", even, 0.46, 0.7),
        ("prefixes", even, 0.47, 0.7),
        ("loads", crowded, 0.2, 0.7),
        ("crowds", crowded, 0.68, 0.7),
        ("nothing shared", crowded, 0.0, 0.099),
        ("prefixes", even, 0.1, 0.1),
        ("loads", even, 0.0, 0.101),
        ("prefixes", even, 0.5, 0.75),
        ("prefixes", [3, 1, 2], 0.6, 0.6),
        ("crowds", [31, 10, 20], 0.6, 0.6),
        ("prefixes", [60, 50, 40], 0.6, 0.6),
        ("crowds", [61, 50, 40], 0.6, 0.6),
        ("crowds", [316, 120], 0.6, 0.6),
        ("prefixes", [20, 4, 4, 4], 0.6, 0.6),
        ("crowds", [21, 4, 4, 4], 0.6, 0.6),
    ):
        checks.equal(f"{counts}, {found:g}", what_the_router_does(counts, found, shared), told)


def check_break_even() -> None:
    """At the break-even share the two bills are equal.

    Source: `cascade_cost` and `router_cost` at the share; $0.10 and $15: 19.87% against a router's
    20%.
    """
    share = break_even_deferral(0.10, 15.0, 0.2)
    checks.close("share", share, 0.2 - 0.02 / 15, rtol=1e-12)
    for small, large, q, r in ((0.1, 15.0, 0.2, 0.0), (1.0, 4.0, 0.6, 0.3)):
        share = break_even_deferral(small, large, q, r)
        router = router_cost([small, large], [1 - q, q], r)
        paid = cascade_cost([small, large], [share])
        checks.close(f"bills, c₂ = {large:g}", paid, router, rtol=1e-12)
    checks.equal("cascade dearer even without deferring", break_even_deferral(4.0, 1.0, 0.2), 0.0)
    checks.equal(
        "cascade cheaper even if it defers all", break_even_deferral(1.0, 2.0, 0.9, 5.0), 1.0
    )


def check_bad_input_is_refused() -> None:
    """A negative slack, no engines, and a model that costs nothing are errors."""
    checks.raises("slack", prefix_worth_keeping, -1, 1e4, 9, 1e-4, match="slack must be non-neg")
    checks.raises(
        "no engines", what_the_router_does, [], 0.1, 0.2, match="requests must be of shape"
    )
    checks.raises("free", break_even_deferral, 0.0, 1.0, 0.5, match="small_cost must be positive")
