"""What a token in and a token out cost of a fleet, and where an API would be cheaper.

The price of a fleet is shared by the time of its replicas: prompts pay for the time that their own
arithmetic takes, answers for the rest, steps, reading of the cache and waiting. An API asks for
what is sent; a fleet costs the same whatever comes, so that it is cheaper from some share of the
planned traffic on.

Assumes: the shares of time that `time_shares` has; tokens in that a prefix cache has are paid for
as all others; an API without a discount for cached or batched requests.

Source: `time_shares`; both prices by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving_mathematics.planner.capacity_planner.capacity_planner import Plan, time_shares
from serving_mathematics.planner.questions.question import Question

SECONDS, MILLION = 3600.0, 1e6


@dataclass(frozen=True)
class TokenPrices:
    """Of a fleet that gets the planned traffic, and of an API that would get it."""

    usd_per_million_in: float
    usd_per_million_out: float
    api_usd_per_hour: float | None  # of the same traffic; None where no price was given
    even_share: float | None  # of the planned traffic, from which on the fleet is cheaper


def token_prices(question: Question, found: Plan) -> TokenPrices:
    """Prices of a planned fleet.

    question: that was planned. found: its plan.

    >>> from dataclasses import replace
    >>> from serving_mathematics.planner.capacity_planner.capacity_planner import plan
    >>> from serving_mathematics.planner.capacity_planner.fleet_search import WORKED
    >>> asked = replace(WORKED, api_usd=(0.05, 0.1), requests=100)
    >>> told = token_prices(asked, plan(asked, alternatives=False))
    >>> told.api_usd_per_hour  # 60 requests/s of 1,000 and 250 tokens
    16.2
    """
    prompt, answer = question.mean_lengths
    hour = SECONDS * found.rate_per_s / MILLION  # millions of requests
    usd = found.best.usd_per_hour
    share = time_shares(found)[1] * found.best.busy
    api = _api_usd_per_hour(question, found.rate_per_s, (prompt, answer))
    return TokenPrices(
        usd * share / (hour * prompt),
        usd * (1 - share) / (hour * answer),
        api,
        usd / api if api else None,
    )


def _api_usd_per_hour(
    question: Question, rate_per_s: float, lengths: tuple[float, float]
) -> float | None:
    """What an API takes an hour for so many requests, where its prices were given."""
    if not question.api_usd:
        return None
    each = question.api_usd[0] * lengths[0] + question.api_usd[1] * lengths[1]
    return round(SECONDS * rate_per_s / MILLION * each, 9)
