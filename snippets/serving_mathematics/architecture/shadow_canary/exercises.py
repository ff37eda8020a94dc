"""Solutions: how long a canary runs, what a dashboard says of it, and thresholds that are strict at
first.

Source: O'Brien and Fleming (1979) for the boundary; the rest is derived at each function.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.shadow_canary.repeated_looks import (
    crossing_probability,
    pocock_constant,
)
from serving_mathematics.architecture.shadow_canary.shadow_canary import (
    canary_answers,
    samples_per_arm,
)
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_positive,
    require_in,
    require_positive,
)

HINTS = {
    "canary_minutes": (
        "`canary_answers` says how many answers of the new version are needed. They come at the "
        "rate of the traffic times the canary's share."
    ),
    "what_the_canary_shows": (
        "The version shows only if both engines are otherwise alike: ask first whether the canary "
        "gets as many requests a second, then whether it finds as much of its prompts."
    ),
    "obrien_fleming": (
        "Only one number is unknown, the last threshold: that of look j is the last one times "
        "√(k/j). Bisect until `crossing_probability` of the whole list equals the level."
    ),
}


def canary_minutes(
    requests_per_s: float, canary_share: float, baseline_rate: float, candidate_rate: float
) -> float:
    """Minutes that a canary needs to tell two error rates apart (α = 5%, power 80%).

    requests_per_s: traffic of both versions together, positive. canary_share: f, in (0, 1).
    baseline_rate, candidate_rate: of errors, different, in (0, 1). Raises ValueError outside these
    ranges.

    >>> round(canary_minutes(100.0, 0.5, 0.4, 0.6), 4)
    0.0323
    """
    requests_per_s = require_positive(requests_per_s=requests_per_s)
    canary_share = as_number(canary_share=canary_share)
    answers = canary_answers(baseline_rate, candidate_rate, canary_share)
    return answers / (canary_share * requests_per_s) / 60


def what_the_canary_shows(
    per_s: npt.ArrayLike, found: npt.ArrayLike, token_s: npt.ArrayLike
) -> str:
    """What differs between control and canary: "load", "split", "version" or "nothing".

    per_s: requests a second of the control's engine and of the canary's; requests at once would
    differ with a slower version too. found: shares of prompt tokens that caches find. token_s:
    times per token [s]. Each of shape (2,), control first, positive. Returns "load" if requests a
    second differ by more than 15% of the control's, else "split" if the shares found differ by more
    than a tenth of the control's: then the arms get different requests. Otherwise "version" if
    times per token differ by more than a twentieth of the control's, else "nothing". Raises
    ValueError on other input.

    >>> what_the_canary_shows([14, 1], [0.77, 0.77], [0.018, 0.007])
    'load'
    """
    pairs = []
    for name, values in (("per_s", per_s), ("found", found), ("token_s", token_s)):
        pair = as_floats(**{name: values})
        require(pair.shape == (2,), name, "of control and canary, shape (2,)", pair.shape)
        control, canary = require_all_positive(**{name: pair}).tolist()
        pairs.append(canary / control)
    load, share, time = pairs
    if abs(load - 1) > 0.15:
        return "load"
    if abs(share - 1) > 0.1:
        return "split"
    return "version" if abs(time - 1) > 0.05 else "nothing"


def obrien_fleming(looks: int, alpha: float = 0.05) -> list[float]:
    """Thresholds for |z| that fall from look to look, c·√(k/j), and together err with probability
    α.

    looks: k, 1 to 50. alpha: in [0.001, 0.5]. Bisects c on `crossing_probability`; a threshold
    above 12 counts as 12, which moves nothing. Raises ValueError outside these ranges.

    >>> [round(c, 3) for c in obrien_fleming(1)]
    [1.96]
    """
    looks = as_number(looks=looks)
    require(1 <= looks <= 50 and looks % 1 == 0, "looks", "an integer from 1 to 50", looks)
    alpha = require_in("[0.001, 0.5]", alpha=alpha)
    low, high = 0.5, 5.0
    for _ in range(40):
        c = (low + high) / 2
        thresholds = [min(12.0, c * math.sqrt(looks / k)) for k in range(1, int(looks) + 1)]
        low, high = (c, high) if crossing_probability(thresholds) > alpha else (low, c)
    return [min(12.0, high * math.sqrt(looks / k)) for k in range(1, int(looks) + 1)]


def _pencil_minutes(share: float) -> float:
    """Minutes at 100 requests a second by 8p̄/((1 − f)δ²), from 0.1% to 0.2% of errors."""
    return 8 * 0.0015 / ((1 - share) * 0.001**2) / (100 * share) / 60


def example() -> SimpleNamespace:
    """The numbers quoted with the exercises."""
    five = obrien_fleming(5)
    planned = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    return SimpleNamespace(
        pencil_even=_pencil_minutes(0.5),
        pencil_small=_pencil_minutes(0.05),
        minutes_small=canary_minutes(100.0, 0.05, 0.001, 0.002),
        minutes_even=canary_minutes(100.0, 0.5, 0.001, 0.002),
        board_first=what_the_canary_shows([14, 14], [0.77, 0.56], [0.018, 0.031]),
        board_second=what_the_canary_shows([14, 1], [0.77, 0.78], [0.018, 0.007]),
        board_third=what_the_canary_shows([14, 14], [0.77, 0.78], [0.018, 0.0194]),
        obf_first=five[0],
        obf_last=five[-1],
        obf_power_percent=100 * crossing_probability(five, planned),
    )


def check_minutes() -> None:
    """At 100 requests a second, a canary with 5% of them needs 36 minutes to see an error rate rise
    from 0.1% to 0.2%, and an even split eight. By pencil, 16 p̄(1 − p̄)/δ² is within a twentieth of
    the size of an arm, and the minutes of the small canary are within a fifth.

    Source: `samples_per_arm`, whose power is summed over pairs of counts; the pencil's own form.
    """
    minutes = canary_minutes(100.0, 0.05, 0.001, 0.002)
    checks.close("minutes at 5%", minutes, 35.5, atol=0.1)
    checks.close("by pencil", _pencil_minutes(0.05), minutes, rtol=0.2)
    checks.close("minutes at 50%", canary_minutes(100.0, 0.5, 0.001, 0.002), 7.84, atol=0.005)
    checks.close("of twice the traffic", canary_minutes(200.0, 0.5, 0.001, 0.002), 3.92, atol=0.003)
    for old, new in ((0.001, 0.002), (0.1, 0.11), (0.02, 0.03)):
        pencil = 16 * (old + new) / 2 * (1 - (old + new) / 2) / (new - old) ** 2
        checks.close(f"pencil, {old:g}", pencil, samples_per_arm(old, new), rtol=0.05)


def check_boards() -> None:
    """A different load is named first, then different requests, and only then the version.

    Source: each rule by hand, on both sides of its limit.
    """
    for told, per_s, found, token_s in (
        ("load", (20, 16.9), (0.5, 0.5), (1, 1)),
        ("load", (20, 23.1), (0.5, 0.2), (1, 2)),
        ("split", (20, 17.1), (0.5, 0.448), (1, 1)),
        ("split", (20, 22.9), (0.5, 0.552), (1, 0.5)),
        ("version", (20, 17.1), (0.5, 0.452), (1, 1.052)),
        ("version", (20, 22.9), (0.5, 0.548), (1, 0.948)),
        ("nothing", (20, 20), (0.5, 0.5), (1, 1.048)),
    ):
        got = what_the_canary_shows(per_s, found, token_s)
        checks.equal(f"{per_s}, {found}, {token_s}", got, told)


def check_falling_thresholds() -> None:
    """O'Brien and Fleming's boundary for five looks ends at 2.04, near the 1.96 of a single look.

    Source: 20,000 simulated sequences; Brownian motion for many looks, 4Φ(−c) at the leading order
    of the reflection principle, an upper bound.
    """
    five = obrien_fleming(5)
    rng = np.random.default_rng(63)
    sums = np.cumsum(rng.standard_normal((20_000, 5)), axis=1)
    crossed = (np.abs(sums) / np.sqrt(np.arange(1, 6)) > np.array(five)).any(axis=1)
    checks.covers("false alarms, simulated", batch_means(crossed.astype(float)), 0.05)
    checks.inside("last threshold", five[-1], 1.959964, NormalDist().inv_cdf(1 - 0.05 / 4))
    checks.close("one look at 1%", obrien_fleming(1, 0.01), [2.575829], atol=1e-4)
    checks.close("first over last", five[0] / five[-1], math.sqrt(5), rtol=1e-12)
    planned = 1.959964 + 0.841621
    plain, pocock = (
        crossing_probability(thresholds, planned) for thresholds in (five, [pocock_constant(5)] * 5)
    )
    checks.inside("power, 80% in a single look", plain, 0.78, 0.80)
    checks.inside("power with Pocock's", pocock, 0.70, 0.72)


def check_bad_input_is_refused() -> None:
    """No traffic, three engines instead of two, and no looks are errors."""
    checks.raises(
        "nobody", canary_minutes, 0.0, 0.5, 0.1, 0.2, match="requests_per_s must be positive"
    )
    three = [1.0, 1.0, 1.0]
    checks.raises(
        "three", what_the_canary_shows, three, three, three, match="per_s must be of control"
    )
    checks.raises("no look", obrien_fleming, 0, match="looks must be an integer from 1 to 50")
