"""Solutions to the exercises on parallelism: worthwhile devices, a dashboard, a cut context.

Assumes: a step with a part that devices divide and one that they do not; one exchange a layer for
a context that is cut.

Source: the chapter's formulas; Amdahl (1967), AFIPS, for the first.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

from serving_mathematics.core.hardware.step_time import SEND_S
from serving_mathematics.machine.parallelism.cut_context import context_split_s
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

BOARD_EVEN = 18.0  # requests a device, of the second exercise: of a 70B on eight H200

HINTS = {
    "worthwhile_devices": (
        "On n devices a step takes f + d/n. Its efficiency is the time on one device over n times"
        " that: set it equal to what you want and solve for n."
    ),
    "context_worth_cutting": (
        "Cutting saves all but one over c of the time to read the cache, and costs one exchange."
        " At which number of tokens are the two equal?"
    ),
    "next_devices": (
        "Ask first whether anything is wrong: tokens late, or a cache that is nearly full. Then "
        "compare the requests a device with the number below which sharing is the faster way."
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


def next_devices(
    token_s: float, promised_s: float, cache_share: float, requests: float, even_requests: float
) -> str:
    """What to do with the next devices: "share" the layers over them, "copy" the engine, or "none".

    token_s, promised_s: time per token as it is and as it may be, > 0 [s]. cache_share: of the
    cache in use, in [0, 1]. requests: a device, ≥ 0. even_requests: below which sharing is faster,
    ≥ 0. Nothing is wanted where tokens are in time and no more than 0.9 of the cache is in use.
    Raises ValueError outside.

    >>> next_devices(0.06, promised_s=0.05, cache_share=0.4, requests=4.0, even_requests=18.0)
    'share'
    """
    token_s, promised_s = require_positive(token_s=token_s, promised_s=promised_s)
    cache_share = require_in("[0, 1]", cache_share=cache_share)
    requests, even_requests = require_non_negative(requests=requests, even_requests=even_requests)
    if token_s <= promised_s and cache_share <= 0.9:
        return "none"
    return "share" if requests < even_requests else "copy"


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        board_even=BOARD_EVEN,
        board_day=next_devices(0.06, 0.05, 0.4, 4.0, BOARD_EVEN),
        board_peak=next_devices(0.04, 0.05, 0.95, 40.0, BOARD_EVEN),
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


def check_next_devices() -> None:
    """Each answer is given where the readings are as it says.

    Source: by hand.
    """
    for readings, expected in (
        ((0.06, 0.05, 0.2, 10.0, BOARD_EVEN), "share"),
        ((0.06, 0.05, 0.2, BOARD_EVEN, BOARD_EVEN), "copy"),
        ((0.04, 0.05, 0.91, 10.0, BOARD_EVEN), "share"),
        ((0.04, 0.05, 0.91, 10.0, 0.0), "copy"),
        ((0.05, 0.05, 0.9, 99.0, BOARD_EVEN), "none"),
        ((0.06, 0.1, 0.2, 1.0, BOARD_EVEN), "none"),
    ):
        checks.equal(f"{readings}", next_devices(*readings), expected)


def check_bad_input_is_refused() -> None:
    """Shares, splits and limits that cannot be are errors that name the argument."""
    checks.raises("all of it", worthwhile_devices, 1.0, 1.0, 1.0, match="efficiency must be")
    checks.raises("no cut", context_worth_cutting, 1.0, 0.0, 1, 1.0, match="split must be 2")
    checks.raises("full", next_devices, 1.0, 1.0, 1.1, 1.0, 1.0, match="cache_share must be in")
