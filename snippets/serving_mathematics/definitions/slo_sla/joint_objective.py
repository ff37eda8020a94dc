"""A streamed answer has two objectives at once, and goodput counts the requests that keep both.

A request keeps the objective if its first token comes within one limit and its further tokens, on
average, within another. The attainment of both together is at most the smaller of the two and at
least their sum less one. Goodput is the rate of requests that keep both: it rises with the offered
rate, up to the rate that the engine can carry, and falls to nothing beyond it.

Assumes: Poisson arrivals, geometric independent lengths, one engine whose steps are known.

Source: Zhong et al. (2024) for goodput under both limits; the simulator of continuous batching.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    chat_workload,
    latencies_s,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require, require_positive, require_shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
TTFT_LIMIT_S, TPOT_LIMIT_S, SHARE = 0.5, 0.03, 0.95  # the joint objective of the example
RATES = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 17.0, 18.0, 19.0, 20.0, 22.0, 24.0)  # [1/s]
REQUESTS, SETTLING, RUNS = 4000, 500, 4


def joint_attainment(
    ttft_s: npt.ArrayLike, tpot_s: npt.ArrayLike, ttft_limit_s: float, tpot_limit_s: float
) -> float:
    """Share of requests whose first token and whose time per output token both keep their limits.

    ttft_s, tpot_s: of each request [s], shape (n,), n ≥ 1; the second NaN where an answer has one
    token, which keeps it. A request that failed or was refused has an infinite ttft_s. Limits
    positive [s]. Raises ValueError outside these ranges.

    >>> joint_attainment([0.2, 0.9, 0.3], [0.03, 0.03, 0.05], ttft_limit_s=0.5, tpot_limit_s=0.04)
    0.3333333333333333
    """
    first, further = as_floats(ttft_s=ttft_s), as_floats(tpot_s=tpot_s)
    require(first.ndim == 1 and first.size > 0, "ttft_s", "a non-empty (n,) array", first.shape)
    require_shape(first.shape, tpot_s=further)
    require(bool(np.all(first >= 0)), "ttft_s", "non-negative", first)
    require(not np.any(further < 0), "tpot_s", "non-negative, or NaN", further)
    ttft_limit_s, tpot_limit_s = require_positive(
        ttft_limit_s=ttft_limit_s, tpot_limit_s=tpot_limit_s
    )
    kept = (first <= ttft_limit_s) & ((further <= tpot_limit_s) | np.isnan(further))
    return float(kept.mean())


@functools.cache
def _attained(rate: float) -> tuple[float, float, float]:
    """Mean attainment at a rate over the runs: of both limits, of the first, of the second."""
    found = []
    for run in range(RUNS):
        asked = chat_workload(np.random.default_rng(90 + run), rate, REQUESTS)
        ttft, tpot = (x[SETTLING:] for x in latencies_s(asked, simulate(asked, EIGHT_BILLION)))
        found.append(
            [
                joint_attainment(ttft, tpot, *limits)
                for limits in (
                    (TTFT_LIMIT_S, TPOT_LIMIT_S),
                    (TTFT_LIMIT_S, 1e9),
                    (1e9, TPOT_LIMIT_S),
                )
            ]
        )
    both, first, second = np.mean(found, axis=0).tolist()
    return both, first, second


def _highest_rate() -> float:
    """Highest rate [1/s] at which the example's share keeps both limits, by bisection: the same
    requests, closer together."""
    low, high = RATES[0], RATES[-1]
    for _ in range(9):
        middle = (low + high) / 2
        low, high = (middle, high) if _attained(middle)[0] >= SHARE else (low, middle)
    return low


def example() -> SimpleNamespace:
    """Numbers quoted in the text; shares in percent, limits in milliseconds."""
    goodputs = [rate * _attained(rate)[0] for rate in RATES]
    best = int(np.argmax(goodputs))
    over = RATES[-1]
    return SimpleNamespace(
        joint_ttft_ms=1000 * TTFT_LIMIT_S,
        joint_tpot_ms=1000 * TPOT_LIMIT_S,
        joint_share=100 * SHARE,
        joint_cap_per_s=_highest_rate(),
        best_goodput_per_s=goodputs[best],
        best_rate_per_s=RATES[best],
        over_rate_per_s=over,
        over_goodput_per_s=goodputs[-1],
        over_tpot_kept=100 * _attained(over)[2],
    )


def figure_goodput(figure: Figure) -> None:
    """Goodput follows the offered rate up to what the engine carries, and falls to nothing beyond.

    An engine of the order of an 8B model on one device, with prompts and answers of a chat.
    Requests a second that keep both limits, and, dashed, those that keep each alone.

    Alt: Line chart of goodput against offered requests a second. It rises along the diagonal,
    bends shortly before the engine is full, and falls steeply to zero. Dashed, the curve of the
    first token falls with it, and that of the further tokens goes on rising.
    """
    axes = figure.subplots()
    rates = np.array(RATES)
    kept = rates[:, None] * np.array([_attained(rate) for rate in RATES])
    axes.plot(rates, rates, color="C4", linewidth=0.8, linestyle=":")
    axes.plot(rates, kept[:, 1], "--", color="C1")
    axes.plot(rates, kept[:, 2], "--", color="C2")
    axes.plot(rates, kept[:, 0], "o-", color="C0")
    axes.annotate("both", (10, 7.6), color="C0")
    axes.annotate("first token", (21.1, 12), color="C1")
    axes.annotate("further tokens", (18.6, 20), color="C2", ha="right")
    axes.set(
        xlim=(0, 25),
        ylim=(0, 25),
        xlabel="offered requests [1/s]",
        ylabel="requests that keep the limits [1/s]",
    )


def check_joint_attainment_lies_between() -> None:
    """Both limits together are kept by no more than either, and by their sum less one at least.

    Source: Fréchet's bounds for the chance of two events, on the simulated engine.
    """
    for rate in (8.0, 18.0, 24.0):
        both, first, second = _attained(rate)
        low, high = max(0.0, first + second - 1), min(first, second)
        checks.inside(f"both, at {rate:g} a second", both, low - 1e-12, high + 1e-12)


def check_goodput_falls_beyond_the_engine() -> None:
    """At a rate that is a quarter above its best an engine without a limit keeps nearly nothing.

    Source: the queue of prompts grows without end there, and every first token is late; prompts
    alone take 24·250·80 µs = 0.48 s a second, answers the rest.
    """
    goodputs = [rate * _attained(rate)[0] for rate in RATES]
    best = max(goodputs)
    checks.holds("beyond, below a tenth of the best", goodputs[-1] < best / 10, got=goodputs[-1])
    quiet = _attained(RATES[0])[0]
    checks.close("nearly all when quiet", quiet, 1.0, atol=0.01, kind="simulation")


def check_bad_input_is_refused() -> None:
    """No requests, negative times and free limits are errors that name the argument."""
    checks.raises("none", joint_attainment, [], [], 1.0, 1.0, match="ttft_s must be a non-empty")
    checks.raises("negative", joint_attainment, [-1], [1], 1.0, 1.0, match="ttft_s must be non-n")
    checks.raises("gap", joint_attainment, [1], [-1], 1.0, 1.0, match="tpot_s must be non-neg")
    checks.raises("NaN", joint_attainment, [math.nan], [1], 1.0, 1.0, match="ttft_s must be non-")
    checks.raises("limit", joint_attainment, [1], [1], 0.0, 1.0, match="ttft_limit_s must be pos")
