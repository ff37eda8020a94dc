"""Sessions of a coding agent that are under way when one begins to look.

A session lasts for hours, so that a run in which all begin together is a crowd first and a desert
later. Here sessions begin at random from long before the start to the end, and what would have been
asked before the start is left out: requests come at one rate from the first second on. The first
request of each session that is seen finds a cache without it.

Assumes: the law of `core.fleet.sessions`; an answer takes NOMINAL_TOKEN_S a token where the past is
laid out, and as long as the engine takes from the start on; a session ends when its context is
full, and is not seen for longer than LONGEST_S.

Source: kv-cache-tester (2026), traces of a coding agent, for the law; Campbell's theorem for the
rate of a stationary process of clusters.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.session_fit import session_of
from serving_mathematics.core.fleet.sessions import AGENT, _Chains, _drawn_chains
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_positive, require_positive_integer

FloatArray = npt.NDArray[np.float64]
SESSIONS = "agent sessions"  # as a machine names its traffic
NOMINAL_TOKEN_S = 0.02  # of an answer, before the start [s]
LONGEST_S = 4 * 3600.0  # that a session is followed; nine of ten are over [s]
PILOT = 2000  # sessions that tell how many requests one has


def _laid_out(
    rng: np.random.Generator, sessions: int, context_tokens: int
) -> tuple[_Chains, FloatArray, npt.NDArray[np.bool_]]:
    """Sessions from their beginnings: requests, when after the beginning each comes [s], and
    whether it fits."""
    drawn = _drawn_chains(rng, AGENT, sessions)
    session = drawn.session
    begins = np.flatnonzero(drawn.after < 0)
    took = drawn.pause_s + NOMINAL_TOKEN_S * np.r_[0.0, drawn.output_tokens[:-1]]
    took[begins] = 0.0
    total = np.cumsum(took)
    since = total - total[begins][session]
    outside = (drawn.prompt_tokens + drawn.output_tokens > context_tokens) | (since > LONGEST_S)
    count = np.cumsum(outside)
    before = (count - outside)[begins]  # in earlier sessions
    return drawn, since, count == before[session]


@functools.cache
def session_requests(context_tokens: int) -> float:
    """Requests of a session in the mean, before its context is full.

    context_tokens: that the model takes. Raises ValueError unless that is a positive integer.

    >>> 20 < session_requests(200_000) < 80
    True
    """
    context_tokens = require_positive_integer(context_tokens=context_tokens)
    *_, fits = _laid_out(np.random.default_rng(7), PILOT, context_tokens)
    return float(fits.sum()) / PILOT


def sessions_under_way(
    rng: np.random.Generator, rate_per_s: float, requests: int, context_tokens: int
) -> Requests:
    """Requests of sessions, at a rate from the first second on.

    rate_per_s: of requests, where answers take NOMINAL_TOKEN_S a token. requests: about how many;
    more sessions come later or earlier by chance. context_tokens: that the model takes. Raises
    ValueError outside these ranges.

    >>> asked = sessions_under_way(np.random.default_rng(1), 1.0, 3000, 200_000)
    >>> 1500 < asked.after.size < 5000
    True
    """
    rate_per_s = require_positive(rate_per_s=rate_per_s)
    requests, context_tokens = require_positive_integer(
        requests=requests, context_tokens=context_tokens
    )
    end, of_each = requests / rate_per_s, session_requests(context_tokens)
    require(of_each > 0, "context_tokens", "enough for a prompt of a session", context_tokens)
    sessions = math.ceil(rate_per_s * (LONGEST_S + end) / of_each)
    drawn, since, fits = _laid_out(rng, sessions, context_tokens)
    session = drawn.session
    moments = since + rng.uniform(-LONGEST_S, end, sessions)[session]
    rows = np.flatnonzero(fits & (moments >= 0) & (moments <= end))
    own = session[rows]
    first = np.r_[True, own[1:] != own[:-1]]
    starts = moments[rows][first]
    order = np.argsort(starts, kind="stable")  # of the sessions that are seen
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    moved = np.argsort(rank[np.cumsum(first) - 1], kind="stable")
    rows, first = rows[moved], first[moved]
    after = np.where(first, -1, np.arange(rows.size) - 1)
    prompts = drawn.prompt_tokens[rows]
    reused = np.where(first, 0, drawn.reused_tokens[rows])
    return Requests(
        np.where(first, moments[rows], 0.0),
        prompts,
        drawn.output_tokens[rows],
        after=after,
        pause_s=np.where(first, 0.0, drawn.pause_s[rows]),
        prefixes=prefixes_of_reuse(after, reused, prompts),
    )


def check_requests_come_at_one_rate_from_the_start() -> None:
    """In each quarter of the run as many requests come as at the rate that was asked for, to a
    fifth, when answers take no longer than their nominal time.

    Source: Campbell's theorem; 40,000 requests of some 1,100 sessions, whose number in a quarter
    scatters by a twentieth.
    """
    asked = sessions_under_way(np.random.default_rng(2), 2.0, 40_000, 200_000)
    took = asked.pause_s + NOMINAL_TOKEN_S * np.r_[0.0, asked.output_tokens[:-1]]
    total = np.cumsum(np.where(asked.after < 0, 0.0, took))
    begins = np.flatnonzero(asked.after < 0)
    session = session_of(asked)
    moments = asked.arrival_s[begins][session] + total - total[begins][session]
    counts = np.histogram(moments, bins=4, range=(0.0, 20_000.0))[0]
    for quarter, count in enumerate(counts.tolist(), start=1):
        checks.close(f"quarter {quarter}", count / 10_000, 1.0, rtol=0.2, kind="simulation")


def check_bad_input_is_refused() -> None:
    """No rate and no context name the argument."""
    rng = np.random.default_rng(0)
    told = "rate_per_s must be positive"
    checks.raises("no rate", sessions_under_way, rng, 0.0, 10, 1000, match=told)
    checks.raises("context", session_requests, 0, match="context_tokens must be")
