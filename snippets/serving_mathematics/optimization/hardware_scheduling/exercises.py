"""Solutions: how long slack lets others pass, what a queue asks for, and who is next.

Source: the formulas of the chapter; Sheng et al. (2024) for counting tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.optimization.hardware_scheduling.orders import slack_key
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_numbers,
    require,
    require_all_non_negative,
    require_in,
    require_non_negative,
)

HINTS = {
    "passing_time": (
        "Write down both keys, arrival + k times the prompt, and ask for which later arrival the "
        "other key is still the smaller one."
    ),
    "what_the_queue_asks": (
        "If nobody waits, no order does anything. Otherwise ask first whose requests wait, then "
        "what they wait for: the time of prompts, memory, or a place."
    ),
    "next_tenant": (
        "Only tenants with a waiting request count. Of those, take the smallest counter; of equal "
        "ones, the one whose request has waited longest."
    ),
}


def passing_time(prompt_s: float, other_s: float, slack: float) -> float:
    """How much later a request with another prompt may come and still go first [s], at least 0.

    prompt_s, other_s: of both prompts [s], non-negative. slack: k, non-negative. Raises ValueError
    outside these ranges.

    >>> passing_time(prompt_s=3.0, other_s=1.0, slack=5.0)
    10.0
    """
    prompt_s, other_s = require_non_negative(prompt_s=prompt_s, other_s=other_s)
    slack = require_non_negative(slack=slack)
    return max(0.0, slack * (prompt_s - other_s))


def what_the_queue_asks(
    waiting: float, largest_share: float, prompt_share: float, cache: float
) -> str:
    """What to try first: "nothing", "fair shares", "short prompts first", "more memory" or "more
    places".

    waiting: mean number of requests without a place; below 1 no order helps. largest_share: share
    of these that the tenant with most has; above a half it is one tenant's queue. prompt_share:
    share of the engine's time that goes to prompts; from a half up, requests wait for prompts.
    cache: share of it that is held; from 90% up it is full, whatever the places. Raises ValueError
    outside these ranges.

    >>> what_the_queue_asks(0.2, 0.9, 0.9, cache=0.5)
    'nothing'
    """
    waiting = require_non_negative(waiting=waiting)
    largest_share, prompt_share, cache = require_in(
        "[0, 1]", largest_share=largest_share, prompt_share=prompt_share, cache=cache
    )
    if waiting < 1:
        return "nothing"
    if largest_share > 0.5:
        return "fair shares"
    if prompt_share >= 0.5:
        return "short prompts first"
    return "more memory" if cache >= 0.9 else "more places"


def next_tenant(served: Sequence[float], waiting_since_s: Sequence[float]) -> int:
    """The tenant whose request is let in next.

    served: tokens that each tenant has had, those of answers counted twice, non-negative.
    waiting_since_s: time of each tenant's oldest waiting request [s]; infinite where it has none.
    Among tenants with equal tokens, the one that has waited longest goes first. Raises ValueError
    when nobody waits or the numbers of tenants differ.

    >>> next_tenant([30.0, 10.0, 20.0], waiting_since_s=[0.0, float("inf"), 5.0])
    2
    """
    same = len(served) == len(waiting_since_s)
    require(same, "waiting_since_s", f"of {len(served)} tenants", len(waiting_since_s))
    served = require_all_non_negative(served=served)
    waiting_since_s = as_numbers(waiting_since_s=waiting_since_s)
    known = not any(math.isnan(since) for since in waiting_since_s)
    require(known, "waiting_since_s", "times, infinite where nobody waits", waiting_since_s)
    present = [one for one, since in enumerate(waiting_since_s) if since < math.inf]
    require(len(present) > 0, "waiting_since_s", "finite for somebody", waiting_since_s)
    return min(present, key=lambda one: (served[one], waiting_since_s[one]))


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        pencil_s=passing_time(4.0, 0.2, 30.0),
        board_says=what_the_queue_asks(60.0, 0.3, 0.7, 0.5),
        board_at_noon=what_the_queue_asks(60.0, 0.8, 0.7, 0.5),
    )


def check_passing_time() -> None:
    """A request that arrives a little before the end of that time goes first; one a little after it
    does not.

    Source: `slack_key` of the chapter at both sides; by hand, 30·(4 − 0.2).
    """
    checks.close("by hand [s]", passing_time(4.0, 0.2, 30.0), 114.0, rtol=1e-12)
    for prompt_s, other_s, slack in ((4.0, 0.2, 30.0), (0.5, 0.4, 2.0)):
        late_s = passing_time(prompt_s, other_s, slack)
        for moment_s, passes in ((0.999 * late_s, True), (1.001 * late_s, False)):
            first, other = slack_key([0.0, moment_s], [prompt_s, other_s], slack)
            checks.equal(f"{moment_s:.4g} s later: passes", bool(other < first), passes)
    checks.close("a longer one never [s]", passing_time(0.2, 4.0, 30.0), 0.0, atol=0)


def check_what_the_queue_asks() -> None:
    """The advice changes where one number crosses its limit.

    Source: each rule by hand, at its limit.
    """
    for case, said in (
        ((0.99, 1.0, 1.0, 1.0), "nothing"),
        ((1.0, 0.51, 1.0, 1.0), "fair shares"),
        ((1.0, 0.5, 0.5, 1.0), "short prompts first"),
        ((1.0, 0.5, 0.49, 0.9), "more memory"),
        ((1.0, 0.5, 0.49, 0.89), "more places"),
    ):
        checks.equal(f"{case}", what_the_queue_asks(*case), said)


def check_next_tenant() -> None:
    """Taking the next tenant repeatedly gives the order in which the engine lets them in.

    Source: `core.fleet` with tenants, on one place with equal requests that are all there.
    """
    whose, count = [0, 0, 0, 0, 1, 1, 2], 7
    asked = Requests(np.zeros(count), np.full(count, 5), np.full(count, 4), tenant=whose)
    engine = Engine(1.0, token_budget=100, max_sequences=1)
    began = simulate_fleet(asked, Fleet([engine], weights=[1.0] * 3)).admitted_s
    expected = [whose[i] for i in np.argsort(began)]
    served, queues, found = [0.0] * 3, [[0.0, 1, 2, 3], [4.0, 5], [6.0]], []
    while any(queues):
        one = next_tenant(served, [queue[0] if queue else math.inf for queue in queues])
        found.append(one)
        if not queues[one]:
            break
        queues[one].pop(0)
        served[one] += 5 + 2 * 3
    checks.equal("tenants in order", found, expected)
    checks.equal("equal", next_tenant([10, 10, 10, 3], [5.0, 2.0, 4.0, math.inf]), 1)


def check_bad_input_is_refused() -> None:
    """Negative slack, shares in percent and empty queues are errors that name the argument."""
    checks.raises("slack", passing_time, 1.0, 1.0, -1.0, match="slack must be non-negative")
    wrong = "largest_share must be in [0, 1]"
    checks.raises("percent", what_the_queue_asks, 9.0, 80.0, 0.1, 0.5, match=wrong)
    checks.raises("nobody", next_tenant, [1.0], [math.inf], match="waiting_since_s must be finite")
