"""Solutions to the exercises on parallelism: worthwhile devices, an engine's width, a cut context.

Assumes: a step with a part that devices divide and one that they do not; one exchange a layer for
a context that is cut.

Source: the chapter's formulas; Amdahl (1967), AFIPS, for the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

from serving_mathematics.core.hardware.step_time import SEND_S
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

BOARD = (0.018, 1e-4)  # w and e [s] of the second exercise: a 70B on H200

HINTS = {
    "worthwhile_devices": (
        "On n devices a step takes f + d/n. The share that each does is the time on one device over"
        " n times that on n devices. Set it equal to the share that you want, and solve for n."
    ),
    "context_worth_cutting": (
        "Cut over n devices, a layer's cache takes an nth of the time to read, but the layer needs"
        " an exchange. With how many tokens is what is saved as long as the exchange?"
    ),
    "engine_width": (
        "For each width n add up what depends on it: an nth of the time for the weights, and for"
        " messages (n − 1)·e times the requests a device. Take the width with the least sum."
    ),
}


def worthwhile_devices(fixed_s: float, divided_s: float, efficiency: float) -> int:
    """The most devices of which each does at least this share of what one device alone does.

    fixed_s: the part of a step that stays as it is, > 0 [s]. divided_s: the part that is divided by
    the number of devices, > 0 [s]. efficiency: that share, in (0, 1). Raises ValueError outside.

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
    """Tokens in a step, of all sequences together, from which their contexts are worth cutting.

    bytes_a_token: what a layer keeps of a token on each device if nothing is cut, > 0. result_s:
    time of the exchange beside its floor of 7 µs, >= 0 [s]. split: devices that a context is cut
    over, 2 or more. bandwidth: attained by one device [bytes/s], > 0. Raises ValueError outside.

    >>> round(context_worth_cutting(1000.0, result_s=0.0, split=2, bandwidth=1e12))
    14000
    """
    bytes_a_token, bandwidth = require_positive(bytes_a_token=bytes_a_token, bandwidth=bandwidth)
    result_s = require_non_negative(result_s=result_s)
    split = require_positive_integer(split=split)
    require(split >= 2, "split", "2 or more", split)
    return (SEND_S + result_s) * bandwidth / (bytes_a_token * (1 - 1 / split))


def engine_width(
    weights_s: float, token_s: float, requests: float, widths: Sequence[int] = (1, 2, 4, 8)
) -> int:
    """Of these widths, the one with which tokens are fastest.

    weights_s: w, the time in which one device reads the weights, > 0 [s]. token_s: e, the time that
    messages among many devices take for each token of an answer, including its share of the prompt,
    > 0 [s]. requests: r, requests a device, > 0. widths: devices of an engine, one or more positive
    integers. If times differ by less than a billionth, the fewest devices are taken. Raises
    ValueError outside.

    >>> engine_width(weights_s=0.008, token_s=0.001, requests=1.0)  # 5 ms on two as on four
    2
    """
    weights_s, token_s = require_positive(weights_s=weights_s, token_s=token_s)
    requests = require_positive(requests=requests)
    require(len(widths) > 0, "widths", "one or more", widths)
    counted: list[int] = sorted(require_positive_integer(widths=width) for width in widths)
    times = [weights_s / n + token_s * (n - 1) * requests for n in counted]
    return next(n for n, at in zip(counted, times, strict=True) if at <= min(times) * (1 + 1e-9))


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        board_weights_ms=1e3 * BOARD[0],
        board_token_ms=1e3 * BOARD[1],
        board_day=engine_width(*BOARD, 10.0),
        board_peak=engine_width(*BOARD, 40.0),
        half_devices=worthwhile_devices(0.004, 0.018, 0.5),
        send_us=1e6 * SEND_S,
        cut_tokens=context_worth_cutting(1152.0, 2.4e-6, 8, 0.74 * 8e12),
    )


def check_devices_are_the_most() -> None:
    """With that many devices each does the wanted share, and with one more it does not.

    Source: each device's share by its definition.
    """
    for fixed, divided, wanted in ((0.004, 0.018, 0.5), (0.001, 0.05, 0.8), (0.01, 0.003, 0.9)):
        found = worthwhile_devices(fixed, divided, wanted)
        one = fixed + divided
        shares = [one / (n * (fixed + divided / n)) for n in (found, found + 1)]
        checks.holds(f"{found} devices", shares[0] >= wanted > shares[1], got=shares[0])


def check_context_is_worth_cutting_from_there() -> None:
    """With that many tokens, a layer takes as long whether contexts are cut or not.

    Source: the time of a layer, both ways: its bytes over the bandwidth, and an exchange if cut
    (Bhatia et al. 2025, arXiv 2507.07120).
    """
    for size, split, result in ((1152.0, 8, 1e6), (512.0, 2, 1e5), (4096.0, 16, 0.0)):
        link, bandwidth = 4e11, 3e12
        sent = (split - 1) / split * result / link
        tokens = context_worth_cutting(size, sent, split, bandwidth)
        whole = tokens * size / bandwidth
        checks.close(f"over {split} [s]", whole / split + SEND_S + sent, whole, rtol=1e-12)


def check_engine_width() -> None:
    """The width is the one with the least time, and the narrowest of those with equal times.

    Source: by hand: 18 ms for weights, and 1 ms times n - 1 for messages, are 9 + 1, 4.5 + 3 and
    2.25 + 7 ms on two, four and eight devices; with 8 ms for weights both two and four take 5 ms.
    """
    for readings, expected in (
        ((0.018, 1e-4, 10.0), 4),
        ((0.018, 1e-4, 10.0, (8, 2)), 8),
        ((0.018, 1e-4, 12.0, (8, 2)), 2),
        ((0.008, 0.001, 1.0), 2),
        ((0.008, 0.001, 1.0, (4, 2)), 2),
        ((0.001, 0.001, 1.0), 1),
        ((1.0, 1e-6, 1.0), 8),
    ):
        checks.equal(f"{readings}", engine_width(*readings), expected)


def check_bad_input_is_refused() -> None:
    """A share of one, a cut over one device, no requests and half a device are errors that name the
    argument."""
    checks.raises("all of it", worthwhile_devices, 1.0, 1.0, 1.0, match="efficiency must be")
    checks.raises("no cut", context_worth_cutting, 1.0, 0.0, 1, 1.0, match="split must be 2")
    checks.raises("nobody", engine_width, 1.0, 1.0, 0.0, match="requests must be positive")
    checks.raises("half", engine_width, 1.0, 1.0, 1.0, [0.5], match="widths must be a positive")
