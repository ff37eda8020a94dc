"""Behind an engine the tail of the first token is long prompts, and a second copy has them too.

Two replicas of the engine of the chapter on batching serve Poisson requests, of which a share has
long prompts. Some requests are followed in both: the second copy joins d seconds later, d the p95
of the first copies, and the first token counts that comes first. Everything else in the two
replicas is different. Where the first replica has a part of each prompt in its prefix cache the
second has not, because requests are sent where their prefix is.

Assumes: second copies that cost nothing, since the second replica carries as much as the first
whether they come or not; losers that vanish at the first token. Both favour the second copy.

Source: own simulation with `event_skipping`; Dean and Barroso (2013) for the delay at the p95.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Workload,
    latencies_s,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import require_in

FloatArray = npt.NDArray[np.float64]

REQUESTS = 4000  # to each replica, by choice
FOLLOWED = 0.3  # of them, in both, by choice
SHORT, LONG, ANSWER = 1000, 8000, 150  # [token] prompts, and a mean answer, by choice
RATE_PER_S, CACHED = 3.0, 0.75  # of the worked replicas; of a prompt, where it is sent; by choice
LONG_SHARES = (0.0, 0.02, 0.1)
RUNS = 8  # independent ones of each cell


def hedged_first_tokens(
    rng: np.random.Generator, rate_per_s: float, long_share: float, cached_share: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """First tokens of requests to one replica, alone and with a second copy at their p95 [s].

    rate_per_s: requests to each replica, in (0, 10] [1/s]. long_share: of prompts with 8,000 tokens
    instead of 1,000, in [0, 1]. cached_share: of each prompt in the first replica's cache and not
    in the second's, in [0, 1). Returns two arrays of one shape. Raises ValueError outside these
    ranges.

    >>> alone, hedged = hedged_first_tokens(np.random.default_rng(0), 3.0, long_share=0.02)
    >>> bool(np.all(hedged <= alone)), round(float(np.mean(hedged < alone)), 3)  # of 5% sent
    (True, 0.008)
    """
    rate_per_s = require_in("(0, 10]", rate_per_s=rate_per_s)
    long_share = require_in("[0, 1]", long_share=long_share)
    cached_share = require_in("[0, 1)", cached_share=cached_share)
    followed = int(FOLLOWED * REQUESTS)
    times = np.cumsum(rng.exponential(1 / (rate_per_s * FOLLOWED), followed))
    prompts = np.where(rng.random(followed) < long_share, LONG, SHORT)
    answers = rng.geometric(1 / ANSWER, followed)
    others, found = REQUESTS - followed, []
    for there in (cached_share, 0.0):  # of the followed ones' prompts
        came = np.cumsum(rng.exponential(1 / (rate_per_s * (1 - FOLLOWED)), others))
        asked = np.where(rng.random(others) < long_share, LONG, SHORT)
        arrivals, tokens = np.concatenate([times, came]), np.concatenate([prompts, asked])
        outputs = np.concatenate([answers, rng.geometric(1 / ANSWER, others)])
        cached = np.floor(tokens * np.repeat([there, cached_share], [followed, others]))
        order = np.argsort(arrivals, kind="stable")
        workload = Workload(arrivals[order], tokens[order], outputs[order], cached[order])
        first, _ = latencies_s(workload, simulate(workload, EIGHT_BILLION))
        in_place = np.empty_like(first)
        in_place[order] = first
        found.append(in_place[:followed])
    alone, second = found
    delay = float(np.quantile(alone, 0.95))
    hedged = np.where(alone > delay, np.minimum(alone, delay + second), alone)
    return alone, np.asarray(hedged, dtype=np.float64)


@functools.cache
def _p99(long_share: float, cached_share: float) -> tuple[MeanEstimate, MeanEstimate]:
    """The p99 alone [s], and by how much the second copy cuts it [%], over independent runs."""
    rows = []
    for run in range(RUNS):
        rng = np.random.default_rng([91, run])
        pair = hedged_first_tokens(rng, RATE_PER_S, long_share, cached_share)
        alone, hedged = (float(np.quantile(one, 0.99)) for one in pair)
        rows.append((alone, 100 * (1 - hedged / alone)))
    values = np.array(rows)
    errors = values.std(axis=0, ddof=1) / math.sqrt(RUNS)
    p99, cut = (
        MeanEstimate(float(mean), float(error), STUDENT_T_975[RUNS - 1] * float(error))
        for mean, error in zip(values.mean(axis=0), errors, strict=True)
    )
    return p99, cut


def example() -> SimpleNamespace:
    """A row for each share of long prompts."""
    rows, most = [], max((_p99(share, 0.0)[1] for share in LONG_SHARES), key=lambda cut: cut.mean)
    for share in LONG_SHARES:
        p99, cut = _p99(share, 0.0)
        elsewhere = _p99(share, CACHED)[1]
        rows.append(
            f"| {100 * share:.0f}% | {p99.mean:.2f} ± {p99.half_width:.2f} | "
            f"{cut.mean:.0f} ± {cut.half_width:.0f} | "
            f"{elsewhere.mean:.0f} ± {elsewhere.half_width:.0f} |"
        )
    return SimpleNamespace(
        first_token_rows="\n".join(rows),
        long_prompt=LONG,
        usual_prompt=SHORT,
        replica_rate=RATE_PER_S,
        elsewhere_percent=100 * CACHED,
        engine_cut=most.mean,
        engine_cut_pm=most.half_width,
    )


def check_long_prompts_are_the_tail() -> None:
    """One long prompt in ten makes the p99 of the first token several times as long, and a second
    copy at the p95 cuts it by less than a fifth; with the prefix elsewhere, by next to nothing.

    Source: 8 runs of two replicas with 4,000 requests each; Student's t over runs.
    """
    none, many = _p99(0.0, 0.0)[0].mean, _p99(0.1, 0.0)[0].mean
    checks.inside("p99 with one in ten long, over none", many / none, 3.0, 15.0)
    for share in LONG_SHARES:
        for label, cached in (("", 0.0), (", prefix elsewhere", CACHED)):
            cut = _p99(share, cached)[1]
            most = cut.mean + cut.half_width
            checks.inside(f"{100 * share:.0f}% long{label}: cut [%], at most", most, 0.0, 20.0)
    elsewhere = _p99(0.1, CACHED)[1]
    checks.inside("one in ten, prefix elsewhere: cut [%]", elsewhere.mean, 0.0, 2.0)


def check_copies_of_other_prompts_would_help() -> None:
    """It is the shared prompt that spoils the second copy: with copies that had prompts of their
    own, the same engines would cut the p99 two times as much or more.

    Source: the same runs, second copies taken from other requests at random.
    """
    own, other = [], []
    for run in range(RUNS):
        rng = np.random.default_rng([91, run])
        alone, hedged = hedged_first_tokens(rng, RATE_PER_S, 0.02)
        delay, p99 = np.quantile(alone, [0.95, 0.99])
        mixed = np.minimum(alone, np.where(alone > delay, delay + rng.permutation(alone), alone))
        own.append(1 - np.quantile(hedged, 0.99) / p99)
        other.append(1 - np.quantile(mixed, 0.99) / p99)
    checks.inside("cut, other prompts over the same", np.mean(other) / np.mean(own), 2.0, 50.0)


def check_bad_input_is_refused() -> None:
    """Rates that are none and whole prompts in a cache are errors that name the argument."""
    rng = np.random.default_rng(0)
    checks.raises("rate", hedged_first_tokens, rng, 0.0, 0.1, match="rate_per_s must be in (0, 10]")
    checks.raises("share", hedged_first_tokens, rng, 1.0, 1.5, match="long_share must be in [0, 1]")
    checks.raises(
        "all", hedged_first_tokens, rng, 1.0, 0.1, 1.0, match="cached_share must be in [0, 1)"
    )
