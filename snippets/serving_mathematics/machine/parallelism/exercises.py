"""Solutions to the exercises on parallelism: worthwhile devices, a cut context, the cheapest.

Assumes: a step with a part that devices divide and one that they do not; one exchange a layer for
a context that is cut.

Source: the chapter's formulas; Amdahl (1967), AFIPS, for the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.step_time import SEND_S
from serving_mathematics.machine.parallelism.parallelism import context_split_s
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "worthwhile_devices": (
        "On n devices a step takes f + d/n. Its efficiency is the time on one device over n times"
        " that: set it equal to what you want and solve for n."
    ),
    "context_worth_cutting": (
        "Cutting saves all but one over c of the time to read the cache, and costs one exchange."
        " At which number of tokens are the two equal?"
    ),
    "cheapest_within": (
        "Leave out what is too slow, then take the least cost; of equal costs the faster one."
    ),
}


def worthwhile_devices(fixed_s: float, divided_s: float, efficiency: float) -> int:
    """The most devices of which each does at least a share of what one device alone does.

    fixed_s: part of a step that stays, > 0 [s]. divided_s: part that n devices divide by n, > 0
    [s]. efficiency: that share, in (0, 1). Raises ValueError outside.

    >>> worthwhile_devices(fixed_s=1.0, divided_s=9.0, efficiency=0.5)  # 10 / (11 * (1 + 9/11))
    11
    """
    fixed_s, divided_s = require_positive(fixed_s=fixed_s, divided_s=divided_s)
    efficiency = require_in("(0, 1)", efficiency=efficiency)
    most = ((fixed_s + divided_s) / efficiency - divided_s) / fixed_s
    return math.floor(most * (1 + 1e-12))


def context_worth_cutting(
    bytes_a_token: float, result_s: float, split: int, bandwidth: float
) -> float:
    """Tokens of all sequences in a step from which a layer's context is worth cutting.

    bytes_a_token: that a layer keeps on each device uncut, > 0. result_s: of the exchange beside
    its floor of 7 µs, >= 0 [s]. split: devices, 2 or more. bandwidth: attained [bytes/s], > 0.
    Raises ValueError outside.

    >>> round(context_worth_cutting(1000.0, result_s=0.0, split=2, bandwidth=1e12))
    14000
    """
    bytes_a_token, bandwidth = require_positive(bytes_a_token=bytes_a_token, bandwidth=bandwidth)
    result_s = require_non_negative(result_s=result_s)
    split = require_positive_integer(split=split)
    require(split >= 2, "split", "2 or more", split)
    return (SEND_S + result_s) * bandwidth / (bytes_a_token * (1 - 1 / split))


def cheapest_within(limit_s: float, times_s: Sequence[float], costs: Sequence[float]) -> int:
    """Index of the cheapest choice whose time keeps a limit.

    limit_s: > 0. times_s, costs: of each choice, > 0, of one length. Raises ValueError outside, and
    where none keeps the limit.

    >>> cheapest_within(0.02, times_s=[0.01, 0.015, 0.03], costs=[9.0, 5.0, 1.0])
    1
    """
    limit_s = require_positive(limit_s=limit_s)
    times, prices = as_floats(times_s=times_s), as_floats(costs=costs)
    require_all_positive(times_s=times, costs=prices)
    require(times.shape == prices.shape, "costs", f"of shape {times.shape}", prices)
    require(bool(np.any(times <= limit_s)), "limit_s", f"at least {times.min():g}", limit_s)
    return int(np.lexsort((times, np.where(times <= limit_s, prices, np.inf)))[0])


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        half_devices=worthwhile_devices(0.004, 0.018, 0.5),
        send_us=1e6 * SEND_S,
        cut_tokens=context_worth_cutting(1152.0, 2.4e-6, 8, 0.74 * 8e12),
    )


def check_devices_are_the_most() -> None:
    """With that many the share is kept, and with one more it is not.

    Source: efficiency from its definition, device by device.
    """
    for fixed, divided, wanted in ((0.004, 0.018, 0.5), (0.001, 0.05, 0.8), (0.01, 0.003, 0.9)):
        found = worthwhile_devices(fixed, divided, wanted)
        one = fixed + divided
        shares = [one / (n * (fixed + divided / n)) for n in (found, found + 1)]
        checks.holds(f"{found} devices", shares[0] >= wanted > shares[1], got=shares[0])


def check_context_is_worth_cutting_from_there() -> None:
    """At that many tokens a layer takes as long cut as uncut, and less beyond.

    Source: the chapter's time of a layer, both ways.
    """
    for size, split, result in ((1152.0, 8, 1e6), (512.0, 2, 1e5), (4096.0, 16, 0.0)):
        link, bandwidth = 4e11, 3e12
        sent = (split - 1) / split * result / link
        tokens = context_worth_cutting(size, sent, split, bandwidth)
        cut = context_split_s([tokens * size], result, split, bandwidth, link)
        whole = context_split_s([tokens * size], result, 1, bandwidth, link)
        checks.close(f"over {split} [s]", cut, whole, rtol=1e-12)


def check_cheapest_keeps_the_limit() -> None:
    """Nothing within the limit is cheaper.

    Source: 50 choices at random, compared one by one.
    """
    rng = np.random.default_rng(34)
    times, costs = rng.uniform(0.01, 0.1, 50), rng.uniform(1, 9, 50)
    found = cheapest_within(0.03, times.tolist(), costs.tolist())
    best = min(cost for time, cost in zip(times, costs, strict=True) if time <= 0.03)
    checks.close("cost", costs[found], best, rtol=0)
    checks.holds("in time", times[found] <= 0.03, got=times[found])


def check_bad_input_is_refused() -> None:
    """Shares, splits and limits that cannot be are errors that name the argument."""
    checks.raises("all of it", worthwhile_devices, 1.0, 1.0, 1.0, match="efficiency must be")
    checks.raises("no cut", context_worth_cutting, 1.0, 0.0, 1, 1.0, match="split must be 2")
    checks.raises("too late", cheapest_within, 0.1, [0.2], [1.0], match="limit_s must be at least")
