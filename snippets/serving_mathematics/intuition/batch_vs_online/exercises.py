"""Solutions: the batch volume that makes half price fair, places for a promise, spot capacity.

A fleet that sells gaps at a share s of the online price asks less than a batch fleet of its own
from x = c − a/s busy engines on. A full engine of b places gives each a token in b over its tokens
a second, and two such engines tell the line between. A server that may be taken away repeats the
work since its last checkpoint.

Assumes: the chapter's models; interruptions at a constant rate, none during a restart.

Source: the chapter; renewal argument for spot.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.intuition.batch_vs_online.price_of_now import shared_prices
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_all_positive,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "fair_batch_load": (
        "The fleet costs c engines, and online and batch work pay for them together: batch work"
        " pays s where online work pays 1. Find the amount of batch work at which one engine's"
        " worth of it costs exactly one engine, as on a fleet of its own."
    ),
    "places_for_promise": (
        "In a full engine, the mean time per token is the number of places divided by tokens a "
        "second. Draw a line through the means at the two numbers. The promise is for the tail."
    ),
    "spot_price": (
        "A stretch of work and checkpoint is repeated until no interruption falls into it, "
        "which takes `(exp(ντ) − 1)/ν` on average, where τ includes the checkpoint. Pay for "
        "restarts too, and divide by the work alone."
    ),
}


def fair_batch_load(engines: int, online_load: float, batch_price: float) -> float:
    """Batch load above which batch work pays less in a shared fleet than in a fleet of its own.

    engines: c. online_load: a, mean busy engines, in (0, c]. batch_price: share s of the online
    price that batch pays, in (0, 1]. At least 0. Raises ValueError outside these ranges.

    >>> fair_batch_load(engines=12, online_load=3.0, batch_price=0.5)
    6.0
    """
    online_load = as_number(online_load=online_load)
    engines = require_positive_integer(engines=engines)
    require(0 < online_load <= engines, "online_load", f"in (0, {engines}]", online_load)
    batch_price = require_in("(0, 1]", batch_price=batch_price)
    return max(0.0, engines - online_load / batch_price)


def places_for_promise(
    few: tuple[float, float], many: tuple[float, float], promise_s: float, tail: float
) -> int:
    """Places with which a full engine keeps a promised time per token, where its time per token is
    linear in its places.

    few, many: (places, tokens of answers a second) of the engine, full with either. promise_s: time
    per token that most get [s]. tail: theirs over the mean, at least 1. With b places a token takes
    b over tokens a second on average; rounded down. Raises ValueError outside these ranges, where
    a token is not slower with more, and where that is no place.

    >>> places_for_promise((100, 5000), (200, 6250), promise_s=0.035, tail=1.25)
    166
    """
    few, many = require_all_positive(few=few, many=many)
    promise_s, tail = require_positive(promise_s=promise_s), as_number(tail=tail)
    require(1 <= tail < math.inf, "tail", "finite and at least 1", tail)
    require(many[0] > few[0], "many", "of more places", many)
    low_s, high_s = few[0] / few[1], many[0] / many[1]
    require(high_s > low_s, "many", "an engine whose tokens are slower", many)
    more = (promise_s / tail - low_s) * (many[0] - few[0]) / (high_s - low_s)
    places = math.floor(round(few[0] + more, 9))
    require(places >= 1, "promise_s", "long enough for one place", promise_s)
    return places


def spot_price(
    price_share: float,
    interruptions_per_h: float,
    checkpoint_every_h: float,
    checkpoint_h: float,
    restart_h: float,
) -> float:
    """Price of an hour of finished work on servers that may be taken away, on-demand = 1.

    price_share: spot over on-demand price, in (0, 1]. interruptions_per_h: ν ≥ 0.
    checkpoint_every_h: work τ between two checkpoints, positive. checkpoint_h: time δ ≥ 0 to write
    one. restart_h: R ≥ 0, paid for, after every interruption; none comes within it, and otherwise
    they come at random at the rate ν. Raises ValueError outside these ranges, and where ν(τ + δ) is
    above 50: nothing would be finished.

    >>> spot_price(0.4, 0.0, checkpoint_every_h=1.0, checkpoint_h=0.25, restart_h=0.1)
    0.5
    """
    price_share = require_in("(0, 1]", price_share=price_share)
    checkpoint_every_h = require_positive(checkpoint_every_h=checkpoint_every_h)
    interruptions_per_h, checkpoint_h, restart_h = require_non_negative(
        interruptions_per_h=interruptions_per_h, checkpoint_h=checkpoint_h, restart_h=restart_h
    )
    stretch = checkpoint_every_h + checkpoint_h
    lost = interruptions_per_h * stretch
    require(lost <= 50, "interruptions per stretch", "at most 50, or nothing is finished", lost)
    # a stretch is repeated until none falls into it: (e^{ν(τ + δ)} − 1)/ν, on average
    growth = math.expm1(lost) / interruptions_per_h if interruptions_per_h else stretch
    paid = growth * (1 + interruptions_per_h * restart_h)
    return price_share * paid / checkpoint_every_h


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        fair_load=fair_batch_load(20, 7.0, 0.5),
        board_places=places_for_promise((64, 3500), (256, 4850), 0.05, 1.2),
        spot_hourly=spot_price(0.4, 0.1, 1.0, 0.02, 0.1),
        spot_twelve_hours=spot_price(0.4, 0.1, 12.0, 0.02, 0.1),
    )


def check_fair_load_against_prices() -> None:
    """At the returned load, batch work pays exactly what a fleet of its own costs; below it, more.

    Source: the prices of the chapter, evaluated there.
    """
    for engines, online, share in ((21, 5.0, 0.5), (40, 9.0, 0.3), (30, 14.0, 0.7)):
        load = fair_batch_load(engines, online, share)
        label = f"{engines} engines, {online:g} online, {share:g}"
        checks.close(label, shared_prices(engines, online, load, share)[1], 1.0, rtol=1e-12)
        less = shared_prices(engines, online, load - 1, share)[1]
        checks.holds(f"{label}: one less", less > 1, got=less)
    checks.equal("from none on", fair_batch_load(4, 3.0, 0.5), 0.0)


def check_places_against_the_machine() -> None:
    """From the book's chat machine, full with 64 and with 256 places, the solution finds the number
    with which the tail takes the promised time per token, within a hundredth. From 256 places
    alone, as if fewer gave as many tokens a second, it would be at least a seventh too many.

    Source: `Machine.ceiling_tokens_per_s` with so many places; the mean is the places over it.
    """
    few, many = ((n, CHAT.limited(n).ceiling_tokens_per_s) for n in (64, 256))
    for promise_s in (0.03, 0.04, 0.05):
        found = places_for_promise(few, many, promise_s, 1.2)
        mean_s = found / CHAT.limited(found).ceiling_tokens_per_s
        checks.close(f"{promise_s:g} s over the tail", 1.2 * mean_s, promise_s, rtol=0.01)
    by_hand = places_for_promise((64, 64 / 0.052), (128, 128 / 0.084), 0.04845, 1.2)
    checks.equal("20 ms and 0.5 ms a place, by hand", by_hand, 40)
    alone = 0.03 / 1.2 * many[1] / places_for_promise(few, many, 0.03, 1.2)
    checks.inside("from one engine, 0.03 s", alone, 1.14, 1.4)


def check_spot_by_simulation() -> None:
    """Stretches that are repeated until no interruption falls into them cost what the formula says.

    Source: 40,000 simulated stretches; without restarts and with few interruptions, half a stretch
    is lost per interruption.
    """
    rng = np.random.default_rng(36)
    rate, work, write, restart, share = 0.25, 3.0, 0.5, 0.4, 0.35
    paid = np.zeros(40_000)
    open_stretches = np.arange(paid.size)
    while open_stretches.size:
        until = rng.exponential(1 / rate, open_stretches.size)
        finished = until > work + write
        paid[open_stretches] += np.where(finished, work + write, until + restart)
        open_stretches = open_stretches[~finished]
    prices = share * paid / work
    estimate = MeanEstimate(float(prices.mean()), float(prices.std()) / 200, 0.0)
    checks.covers("price", estimate, spot_price(share, rate, work, write, restart))
    checks.close("rare: 1 + ντ/2", spot_price(1.0, 1e-3, 2.0, 0.0, 0.0), 1 + 1e-3, atol=1e-6)


def check_bad_input_is_refused() -> None:
    """Free batch work, a tail below the mean, a promise too short for one place, and spot servers
    that never finish are errors."""
    checks.raises("for nothing", fair_batch_load, 21, 5.0, 0.0, match="batch_price must be in (0")
    checks.raises(
        "no tail", places_for_promise, (1, 9), (2, 9), 0.1, 0.5, match="tail must be finite"
    )
    checks.raises(
        "too fast", places_for_promise, (1, 2), (2, 3), 0.05, 1.0, match="promise_s must be"
    )
    checks.raises(
        "never finished", spot_price, 0.4, 10.0, 12.0, 0.0, 0.0, match="must be at most 50"
    )
