"""Solutions: what a replica sees, one pool or two, and what bursts.

Each function answers one exercise of the chapter on arrival rates; the checks test it on inputs
that the text does not print.

Source: the chapter's modules; textbook results are named at the function.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.arrival_rates.arrival_rates import (
    dispersion_index,
)
from serving_mathematics.capacity.arrival_rates.arrival_trace import _recorded
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_in,
    require_non_negative,
    require_positive,
    require_shape,
)

COSTS_S = (0.00001, 0.0001)  # of a token of a prompt and of an answer, in the exercise
HINTS = {
    "routed_dispersion": (
        "Condition on the number of requests in the window and use the law of total variance: "
        "the mean of the binomial's variance plus the variance of its mean. Poisson traffic "
        "must come out as 1."
    ),
    "pools": (
        "With two pools, each is sized by the busiest minute of its own tokens; with one, by the "
        "busiest minute of the sum. Add before you take the largest."
    ),
    "what_bursts": (
        "Clumps are as large in a minute as in a second. What a moving rate adds to 1 grows with "
        "the window, and with the traffic. Compare by how much each exceeds 1."
    ),
}


def routed_dispersion(dispersion: float, share: float) -> float:
    """Dispersion of the requests that a random router sends to one replica, in the same window.

    dispersion: I of the whole stream, ≥ 0. share: p in (0, 1], the part of the requests that the
    replica gets. Raises ValueError outside these ranges.

    >>> routed_dispersion(dispersion=61.0, share=0.1)
    7.0
    """
    dispersion = require_non_negative(dispersion=dispersion)
    share = require_in("(0, 1]", share=share)
    # of N requests it gets a binomial number, of variance Np(1 − p): p(1 − p)E[N] + p²Var[N] in all
    return 1 + share * (dispersion - 1)


def pools(
    prompt_tokens: npt.ArrayLike, answer_tokens: npt.ArrayLike, prompt_s: float, answer_s: float
) -> tuple[int, int, int]:
    """Engines that the busiest minute fills: in one pool, and in two, for prompts and for answers.

    prompt_tokens, answer_tokens: of each minute, not negative, shape (n,). prompt_s, answer_s: that
    a token of each takes [s]. Each engine has sixty seconds in a minute. Raises ValueError outside
    these ranges.

    >>> pools([60e6, 0.0], [0.0, 60e3], prompt_s=0.000002, answer_s=0.001)
    (2, 2, 1)
    """
    prompts = as_floats(prompt_tokens=prompt_tokens)
    answers = as_floats(answer_tokens=answer_tokens)
    require(prompts.size > 0, "prompt_tokens", "of a minute or more", prompts.shape)
    require_all_non_negative(prompt_tokens=prompts, answer_tokens=answers)
    require_shape(prompts.shape, answer_tokens=answers)
    prompt_s, answer_s = require_positive(prompt_s=prompt_s, answer_s=answer_s)
    own = (prompt_s * prompts + answer_s * answers, prompt_s * prompts, answer_s * answers)
    one, read, written = (math.ceil(float(work.max()) / 60 * (1 - 1e-12)) for work in own)
    return one, read, written


def what_bursts(by_second: float, by_minute: float) -> str:
    """What two dispersions say of traffic: "Poisson", "bursts", "drift" or "paced".

    by_second, by_minute: variance over mean of the requests in windows of a second and a minute,
    not negative. "paced" where seconds are below 0.8; "Poisson" where they are at most 1.5 and
    minutes at most 2; of the others "drift" where minutes are more than ten times as far above 1 as
    seconds, "bursts" otherwise: clumps are as large in both, and what a moving rate adds to 1 grows
    sixtyfold. Raises ValueError on negative ones.

    >>> what_bursts(by_second=0.5, by_minute=0.6)
    'paced'
    """
    by_second, by_minute = require_non_negative(by_second=by_second, by_minute=by_minute)
    if by_second < 0.8:
        return "paced"
    if by_second <= 1.5 and by_minute <= 2:
        return "Poisson"
    return "drift" if by_minute - 1 > 10 * (by_second - 1) else "bursts"


def example() -> SimpleNamespace:
    """Answers that the page prints beside an exercise."""
    hour = _recorded()
    together = pools(
        300 * np.array(hour.context_per_minute), 300 * np.array(hour.generated_per_minute), *COSTS_S
    )
    prompts, answers = np.array(hour.context_per_minute), np.array(hour.generated_per_minute)
    both = COSTS_S[0] * prompts + COSTS_S[1] * answers
    return SimpleNamespace(
        pool_prompts=round(float(prompts.mean()), -3),
        pool_answers=round(float(answers.mean()), -2),
        pool_prompts_peak=float(prompts.max() / prompts.mean()),
        pool_answers_peak=float(answers.max() / answers.mean()),
        pool_both_peak=float(both.max() / both.mean()),
        replica_dispersion=routed_dispersion(hour.dispersion[hour.windows_s.index(60)], 0.1),
        board_one=what_bursts(1.1, 16.0),
        board_two=what_bursts(4.0, 5.0),
        pool_one=together[0],
        pool_read=together[1],
        pool_written=together[2],
    )


def check_router() -> None:
    """On one replica behind a random router, Poisson traffic stays Poisson, a replica that gets
    the whole stream sees its dispersion, and batches of four show less the smaller the share.

    Source: 200,000 windows of batches of four, dealt out one request at a time; three hundredths.
    """
    checks.close("Poisson", routed_dispersion(1.0, 0.3), 1.0, rtol=1e-15)
    checks.close("all of it", routed_dispersion(7.5, 1.0), 7.5, rtol=1e-15)
    checks.close("dealt from a paced stream", routed_dispersion(0.0, 0.25), 0.75, rtol=1e-15)
    rng = np.random.default_rng(3)
    whole = 4 * rng.poisson(2.0, 200_000)
    for share in (0.1, 0.5):
        dealt = dispersion_index(rng.binomial(whole, share))
        told = routed_dispersion(4.0, share)
        checks.close(f"share {share}", dealt, told, rtol=0.03, kind="simulation")


def check_pools() -> None:
    """One pool fills no more engines than two do whose busiest minutes coincide, and fewer than
    two whose busiest minutes do not.

    Source: minutes made by hand.
    """
    together = pools([6e6, 1e6], [6e5, 1e5], 0.0001, 0.001)
    checks.equal("together", together, (20, 10, 10))
    apart = pools([6e6, 1e6], [1e5, 6e5], 0.0001, 0.001)
    checks.equal("apart", apart, (12, 10, 10))
    uneven = pools([6.1e6], [1e5], 0.00001, 0.0013)  # 61 s and 130 s
    checks.equal("every rest is one more", uneven, (4, 2, 3))


def check_what_bursts() -> None:
    """Poisson counts are Poisson, equal counts in every second are paced, batches of four burst,
    and a rate that jumps halfway, or swings by three tenths, drifts: at five requests a second and
    at two hundred, where a drift has the larger dispersion in seconds.

    Source: simulated logs of an hour.
    """
    rng = np.random.default_rng(4)
    plain = rng.poisson(5.0, 3600)
    logs = (
        ("Poisson", plain),
        ("paced", np.full(3600, 5)),
        ("bursts", 4 * rng.poisson(1.25, 3600)),
        ("bursts", 4 * rng.poisson(50.0, 3600)),
        ("drift", rng.poisson(np.repeat([4.0, 6.5], 1800))),
        ("drift", rng.poisson(np.repeat([130.0, 260.0], 1800))),
        ("drift", rng.poisson(200 * (1 + 0.3 * np.sin(np.arange(3600) / 573)))),
    )
    for pair, expected in (
        ((0.79, 9.0), "paced"),
        ((0.8, 2.0), "Poisson"),
        ((1.5, 2.0), "Poisson"),
        ((1.0, 2.01), "drift"),
        ((1.51, 6.0), "bursts"),
        ((2.0, 11.0), "bursts"),
        ((2.0, 11.1), "drift"),
    ):
        checks.equal(f"{pair}", what_bursts(*pair), expected)
    for expected, seconds in logs:
        told = (dispersion_index(seconds), dispersion_index(seconds.reshape(60, 60).sum(axis=1)))
        checks.equal(expected, what_bursts(*told), expected, kind="simulation")


def check_bad_input_is_refused() -> None:
    """Negative dispersions, costs of zero and impossible shares are refused by name."""
    checks.raises("negative", what_bursts, -1.0, 1.0, match="by_second must be non-negative")
    checks.raises("no cost", pools, [1.0], [1.0], 0.0, 1.0, match="prompt_s must be positive")
    checks.raises("share", routed_dispersion, 2.0, 0.0, match="share must be in (0, 1]")
