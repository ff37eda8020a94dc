"""Customers of the chat machine, each of whom begins all prompts with the same tokens.

Behind a customer's preamble comes a conversation like those of the machine's trace. Popularity
falls as one over the rank. The engine is the chat machine's, with prompts tabled up to longer ones.

Assumes: customers that ask at random; Poisson arrivals, or the trace's minutes.

Source: `machines` and `traffic` for engine and conversations; lengths and popularity by choice.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.fleet.prefixes import Prefixes
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.machines.machines import CHAT, Machine
from serving_mathematics.core.machines.traffic import draw_arrivals, draw_lengths, draw_minutes
from serving_mathematics.support import checks

IntArray = npt.NDArray[np.int64]
PREAMBLE = 4096  # tokens that every prompt of a customer begins with
CUSTOMERS, SKEW = 200, 1.0  # popularity falls as one over the rank to this power
LONGEST = 16_384  # tokens of a request, for which prompts of the chat machine are tabled


@functools.cache
def _long_chat(machine: Machine = CHAT) -> Engine:
    """The chat machine's engine, or one on another device, for prompts that begin with a
    preamble."""
    lengths = machine.sample
    asked = Workload(
        np.zeros(lengths.prompt_tokens.size), lengths.prompt_tokens, lengths.output_tokens
    )
    constants = front_constants(find_front(machine.front))
    return engine_of(
        machine.deployment,
        asked,
        machine.token_budget,
        machine.places,
        constants=constants,
        longest=LONGEST,
    ).engine


def _customers(
    rng: np.random.Generator,
    rate_per_s: float,
    requests: int,
    customers: int = CUSTOMERS,
    preamble: int = PREAMBLE,
    skew: float = SKEW,
    minutes_of: str = "",
    turn_at: float = 1.0,
) -> Requests:
    """Conversations of customers, each of whom begins all prompts with the same preamble.

    skew: popularity is one over the rank to this power. turn_at: share of the requests after which
    the ranks are turned round.
    """
    real = draw_minutes(rng, rate_per_s, requests, minutes_of) if minutes_of else None
    lengths = draw_lengths(rng, CHAT.traffic, requests, real[1] if real else None)
    who = _who_asks(rng, requests, customers, skew)
    later = np.arange(requests) >= turn_at * requests
    who = np.where(later, customers - 1 - who, who)
    arrivals = real[0] if real else draw_arrivals(rng, rate_per_s, requests)
    tree = _preambles(who, lengths.prompt_tokens, customers, preamble)
    prompts = lengths.prompt_tokens + preamble
    return Requests(arrivals, prompts, lengths.output_tokens, prefixes=tree)


def _who_asks(
    rng: np.random.Generator, requests: int, customers: int = CUSTOMERS, skew: float = SKEW
) -> IntArray:
    """The customer of each request."""
    weights = np.arange(1, customers + 1.0) ** -skew
    return np.asarray(rng.choice(customers, requests, p=weights / weights.sum()))


def _preambles(
    who: IntArray, own_tokens: IntArray, customers: int = CUSTOMERS, preamble: int = PREAMBLE
) -> Prefixes:
    """Prompts of customers' requests: their customer's preamble, and tokens of their own."""
    return Prefixes(
        np.append(np.full(customers, -1), who),
        np.append(np.full(customers, preamble), own_tokens),
        customers + np.arange(who.size),
        np.full(who.size, -1),
    )


def check_customers_share_their_preambles() -> None:
    """Two prompts share 4,096 tokens when they are of one customer, and none otherwise; the most
    frequent customer asks twice as often as the second.

    Source: the tree of prefixes, and 20,000 requests.
    """
    asked = _customers(np.random.default_rng(1), 10.0, 20_000)
    tree = asked.prefixes
    assert tree is not None
    who = tree.parent[tree.node]
    checks.equal("tokens of a preamble", set(tree.tokens[who].tolist()), {PREAMBLE})
    checks.equal("preambles begin at the root", set(tree.parent[who].tolist()), {-1})
    counts = np.bincount(who, minlength=CUSTOMERS)
    checks.close("first over second", counts[0] / counts[1], 2.0, rtol=0.1, kind="simulation")
