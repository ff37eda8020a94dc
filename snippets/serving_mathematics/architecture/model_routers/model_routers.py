"""Which of two models is paid for an answer, and what two choices are worth where a replica serves
one request at a time, or few.

A cascade pays every model that it asks, a router pays one. With exponential service of mean 1 a
request that finds j others at its server responds after j + 1 services. With f_j for the chance
to find j or more, the mean is Σ_j f_j: f_j = ρ^j for a server at random, and
ρ^{(d^{j+1}−d)/(d−1)} for the best of d, of many servers.

`python -m serving_mathematics.architecture.model_routers.model_routers` simulates engines with few
places, in a minute, and writes records/few_places.json.gz.

Assumes: Poisson arrivals, exponential service, first come first served at every server, current
queue lengths; for costs, nothing.

Source: Mitzenmacher (2001) and Vvedenskaya, Dobrushin and Karpelevich (1996) for d choices;
Chen, Zaharia and Zou (2023) for cascades; Ong et al. (2024) for routers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import (
    at_random,
    least_requests,
    power_of_two,
    round_robin,
)
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import draw_arrivals, draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_in,
    require_non_negative,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]

NEGLIGIBLE = 1e-17  # probabilities below this are dropped
FEW_PLACES = 16  # of engines that nearly fill, unlike those with 256
DRAWS = 24  # of such engines, whose p99 by chance is half or twice its mean
ALIKE = {"at random": at_random, "in turn": round_robin, "fewest requests": least_requests}


def best_of_d_found(utilization: float, choices: int = 2) -> FloatArray:
    """Probabilities f_j that a request finds j or more others at the least busy of d servers, which
    are chosen at random from very many.

    utilization: ρ in [0, 1). choices: d ≥ 1; 1 is random routing. Returns f_0 = 1, f_1, … until
    they are negligible: f_j = s_j^d, where s_j = ρ·s_{j−1}^d is the share of servers with j or
    more. Raises ValueError outside these ranges.

    >>> best_of_d_found(0.5, choices=2)[:4].tolist()  # 2^-(2^(j+1) - 2)
    [1.0, 0.25, 0.015625, 6.103515625e-05]
    """
    utilization = require_in("[0, 1)", utilization=utilization)
    choices = require_positive_integer(choices=choices)
    if choices == 1 and utilization > 0:  # the one sum that falls slowly
        require_work(4 * math.log(NEGLIGIBLE) / math.log(utilization), utilization=utilization)
    found = [1.0]
    while (following := (utilization * found[-1]) ** choices) > NEGLIGIBLE:
        found.append(following)
    return np.array(found)


def cascade_cost(costs: npt.ArrayLike, deferrals: npt.ArrayLike) -> float:
    """Mean cost of a query that goes from model to model until one is sure enough.

    costs: c_k > 0 of one query to each model in turn, shape (K,). deferrals: of the queries that
    each model but the last sees, the share that it defers to the next, in [0, 1], shape (K − 1,).
    Returns Σ_k c_k·P(model k is asked). Raises ValueError outside these ranges.

    >>> round(cascade_cost([0.10, 15.0], deferrals=[0.2]), 12)
    3.1
    """
    c, onward = as_floats(costs=costs), as_floats(deferrals=deferrals)
    require(c.ndim == 1 and c.size > 0, "costs", "a non-empty sequence", costs)
    require((c > 0) & (c < math.inf), "costs", "positive and finite", costs)
    require(onward.shape == (c.size - 1,), "deferrals", "one fewer than the costs", deferrals)
    require((onward >= 0) & (onward <= 1), "deferrals", "in [0, 1]", deferrals)
    return float(c @ np.cumprod(np.concatenate([[1.0], onward])))


def router_cost(costs: npt.ArrayLike, shares: npt.ArrayLike, routing_cost: float = 0.0) -> float:
    """Mean cost of a query that a router sends to one model.

    costs: c_k > 0 of one query to each model, shape (K,). shares: of the queries that go to each
    model, shape (K,), summing to 1. routing_cost: of the router's own decision. Raises ValueError
    outside these ranges.

    >>> round(router_cost([0.10, 15.0], shares=[0.8, 0.2]), 12)
    3.08
    """
    c, parts = as_floats(costs=costs), as_floats(shares=shares)
    require(c.ndim == 1 and c.size > 0, "costs", "a non-empty sequence", costs)
    require((c > 0) & (c < math.inf), "costs", "positive and finite", costs)
    require(parts.shape == c.shape and np.all(parts >= 0), "shares", "one per model", shares)
    require(abs(parts.sum() - 1) < 1e-9, "shares", "parts of 1", shares)
    routing_cost = require_non_negative(routing_cost=routing_cost)
    return float(c @ parts) + routing_cost


class _Slow(NamedTuple):
    """What 99 in 100 first tokens stay within, averaged over draws [s]."""

    mean_s: float


@recorded(_Slow, "few_places")
def _slow_first(rule: str, places: int, draws: int = DRAWS) -> _Slow:
    """Ten of the chat machine's engines with so many places at 90% of what they carry."""
    found, engine = [], replace(CHAT.engine, max_sequences=places)
    for draw in range(draws):
        rng = np.random.default_rng([68, draw])
        lengths = draw_lengths(rng, CHAT.traffic, 6000)
        most = saturated_rate(lengths.prompt_tokens, lengths.output_tokens, engine)
        arrivals = draw_arrivals(rng, 10 * 0.9 * most, 6000)
        asked = Requests(arrivals, lengths.prompt_tokens, lengths.output_tokens)
        outcome = simulate_fleet(asked, Fleet([engine] * 10, ALIKE[rule]), np.random.default_rng(3))
        first_s = (outcome.first_token_s - outcome.sent_s)[1200:-1200] + CHAT.made.around_s
        found.append(np.quantile(first_s, 0.99))
    return _Slow(float(np.mean(found)))


def example() -> SimpleNamespace:
    """Numbers quoted in the text, in mean services; costs in dollars; first tokens in seconds."""
    return SimpleNamespace(
        few_places=FEW_PLACES,
        few_draws=DRAWS,
        few_random_s=_slow_first("at random", FEW_PLACES).mean_s,
        few_fewest_s=_slow_first("fewest requests", FEW_PLACES).mean_s,
        random_at_90=float(best_of_d_found(0.9, 1).sum()),
        two_choices_at_90=float(best_of_d_found(0.9, 2).sum()),
        cascade_dollars=cascade_cost([0.10, 15.0], [0.2]),
        router_dollars=router_cost([0.10, 15.0], [0.8, 0.2]),
    )


def check_two_choices() -> None:
    """Two choices shorten the mean response from 10 service times to 2.614057 at 90% load, and from
    100 to 5.431997 at 99%.

    Source: Mitzenmacher (2001); the differential equations of the shares of servers, integrated
    until they are at rest.
    """
    for load, mean in ((0.9, 2.614057), (0.99, 5.431997)):
        checks.close(
            f"λ = {load}", best_of_d_found(load, 2).sum(), mean, atol=5e-7, kind="published"
        )
    shares = np.zeros(14)
    for _ in range(4000):
        before = np.concatenate([[1.0], shares[:-1]])
        after = np.concatenate([shares[1:], [0.0]])
        shares = shares + 0.05 * (0.9 * (before**2 - shares**2) - (shares - after))
    checks.close("equations at rest", shares.sum() / 0.9, best_of_d_found(0.9, 2).sum(), rtol=1e-6)


def check_engines_with_one_place_are_these_servers() -> None:
    """Forty simulated engines with one place each, given answers of exponential length, have the
    mean response of the formulas, to 8%, with random choice and with two choices.

    Source: `core.fleet`, 20,000 requests at 80% load, answers of 400 steps on average.
    """
    rng = np.random.default_rng(4)
    steps = np.maximum(1, np.rint(rng.exponential(400, 20_000)))
    arrivals = np.cumsum(rng.exponential(400 / (0.8 * 40), steps.size))
    asked = Requests(arrivals, np.ones(steps.size), steps)
    for name, route, choices in (("at random", at_random, 1), ("two choices", power_of_two, 2)):
        fleet = Fleet([Engine(1.0, max_sequences=1)] * 40, route)
        outcome = simulate_fleet(asked, fleet, np.random.default_rng(5))
        mean = float((outcome.completion_s - outcome.sent_s)[4000:].mean()) / 400
        due = float(best_of_d_found(0.8, choices).sum())
        checks.close(f"{name}: mean [services]", mean, due, rtol=0.08, kind="simulation")


def check_any_rule_does_only_where_places_are_free() -> None:
    """At 90% load, 99 in 100 first tokens of ten engines with 256 places come within a second by
    any rule, even one that ignores loads. With 16 places, the time within which they come is at
    least eight times as long by random choice as by fewest requests, and at least three times as
    long in turn.

    Source: `core.fleet`, 24 draws of 6,000 requests; a promise of one second.
    """
    for rule in ALIKE:
        checks.inside(f"256 places, {rule} [s]", _slow_first(rule, 256).mean_s, 0.0, 1.0)
    fewest = _slow_first("fewest requests", FEW_PLACES).mean_s
    for rule, low, high in (("at random", 8.0, 40.0), ("in turn", 3.0, 15.0)):
        ratio = _slow_first(rule, FEW_PLACES).mean_s / fewest
        checks.inside(f"16 places, {rule}: over fewest requests", ratio, low, high)


def check_a_draw_is_made_again() -> None:
    """One draw of the record, simulated again, has the same first tokens.

    Source: the record, and its command.
    """
    run = "fewest requests", FEW_PLACES, 1
    checks.close(
        "p99 [s]", _slow_first.again(*run), _slow_first(*run), rtol=1e-6, kind="simulation"
    )


def check_costs() -> None:
    """If a query costs $0.10 at the small model and $15 at the large one, which gets a fifth of the
    queries, the mean cost is 3.08 dollars with a router and 3.10 with a cascade.

    Source: 0.8·0.10 + 0.2·15 and 0.10 + 0.2·15, by hand.
    """
    router, cascade = router_cost([0.10, 15.0], [0.8, 0.2]), cascade_cost([0.10, 15.0], [0.2])
    checks.close("router [$]", router, 3.08, rtol=1e-12)
    checks.close("cascade [$]", cascade, 3.10, rtol=1e-12)


if __name__ == "__main__":
    _slow_first.make()
