"""Sessions of a coding agent that are under way when one begins to look.

A session lasts for hours, so that a run in which all begin together is a crowd first and a desert
later. Here sessions begin at random from long before the start to the end, and what would have been
asked before the start is left out: requests come at one rate from the first second on. The first
request of each session that is seen finds a cache without it.

Of many sessions hardly one in twenty is seen. Beyond POOL they are not drawn one by one: copies of
POOL sessions are seen, each from a request on that is drawn by the gap before it.

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
from serving_mathematics.core.fleet.sessions import AGENT, _Chains, _drawn_chains
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse, session_of
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_positive,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
SESSIONS = "agent sessions"  # as a machine names its traffic
NOMINAL_TOKEN_S = 0.02  # of an answer, before the start [s]
LONGEST_S = 4 * 3600.0  # that a session is followed; nine of ten are over [s]
PILOT = 2000  # sessions that tell how many requests one has
POOL = 4000  # that are drawn at most


@functools.cache
def _pilot() -> _Chains:
    """The sessions whose mean requests are counted."""
    return _drawn_chains(np.random.default_rng(7), AGENT, PILOT)


def _laid_out(drawn: _Chains, context_tokens: int) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Of sessions from their beginnings: when after the beginning each request comes [s], and
    whether it fits."""
    session = drawn.session
    begins = np.flatnonzero(drawn.after < 0)
    took = drawn.pause_s + NOMINAL_TOKEN_S * np.r_[0.0, drawn.output_tokens[:-1]]
    took[begins] = 0.0
    total = np.cumsum(took)
    since = total - total[begins][session]
    outside = (drawn.prompt_tokens + drawn.output_tokens > context_tokens) | (since > LONGEST_S)
    count = np.cumsum(outside)
    before = (count - outside)[begins]  # in earlier sessions
    return since, count == before[session]


@functools.cache
def session_requests(context_tokens: int) -> float:
    """Requests of a session on average, before its context is full.

    context_tokens: that the model takes. Raises ValueError unless that is a positive integer.

    >>> 20 < session_requests(200_000) < 80
    True
    """
    context_tokens = require_positive_integer(context_tokens=context_tokens)
    _, fits = _laid_out(_pilot(), context_tokens)
    return float(fits.sum()) / PILOT


def _copies_seen(
    rng: np.random.Generator, rate_per_s: float, end: float, context_tokens: int
) -> tuple[_Chains, npt.NDArray[np.intp], FloatArray, npt.NDArray[np.bool_]]:
    """Copies of POOL sessions that are seen until the end [s]: the sessions, and of each request
    that is seen its row there, its moment [s], and whether it is the first of its copy.

    A copy is seen from a request on where it began less than the gap before that request too early
    for the one before, and less than the end: so often, and with moments that are as likely.
    """
    drawn = _drawn_chains(rng, AGENT, POOL)
    since, fits = _laid_out(drawn, context_tokens)
    known = np.flatnonzero(fits)  # of each session the first ones
    session, at = drawn.session[known], since[known]
    gaps = np.minimum(np.diff(at, prepend=0.0), end)
    gaps[np.diff(session, prepend=-1) > 0] = end
    upto = np.cumsum(gaps)
    copies = int(rng.poisson(rate_per_s * upto[-1] / known.size))
    start = np.searchsorted(upto, rng.uniform(0.0, upto[-1], copies))
    first_at = gaps[start] * rng.random(copies)
    apart = at + session * (LONGEST_S + end + 1.0)
    counts = np.searchsorted(apart, apart[start] + end - first_at, side="right") - start
    copy = np.repeat(np.arange(copies), counts)
    before = np.cumsum(counts) - counts
    which = start[copy] + np.arange(copy.size) - before[copy]
    moments = first_at[copy] + at[which] - at[start][copy]
    return drawn, known[which], moments, np.diff(copy, prepend=-1) > 0


def _under_way(
    rng: np.random.Generator, rate_per_s: float, requests: int, context_tokens: int
) -> tuple[FloatArray, _Chains]:
    """The requests of `sessions_under_way`, and when each comes [s]."""
    end, of_each = requests / rate_per_s, session_requests(context_tokens)
    require(of_each > 0, "context_tokens", "enough for a prompt of a session", context_tokens)
    sessions = math.ceil(rate_per_s * (LONGEST_S + end) / of_each)
    if sessions > POOL:
        drawn, rows, moments, first = _copies_seen(rng, rate_per_s, end, context_tokens)
    else:
        drawn = _drawn_chains(rng, AGENT, sessions)
        since, fits = _laid_out(drawn, context_tokens)
        moments = since + rng.uniform(-LONGEST_S, end, sessions)[drawn.session]
        rows = np.flatnonzero(fits & (moments >= 0) & (moments <= end))
        moments, own = moments[rows], drawn.session[rows]
        first = np.r_[True, own[1:] != own[:-1]]
    starts = moments[first]
    order = np.argsort(starts, kind="stable")  # of the sessions that are seen
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    moved = np.argsort(rank[np.cumsum(first) - 1], kind="stable")
    rows, first = rows[moved], first[moved]
    return moments[moved], _Chains(
        drawn.session[rows],
        np.where(first, -1, np.arange(rows.size) - 1),
        drawn.prompt_tokens[rows],
        np.where(first, 0, drawn.reused_tokens[rows]),
        drawn.output_tokens[rows],
        np.where(first, 0.0, drawn.pause_s[rows]),
    )


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
    require_work(20 * requests, requests=requests)
    moments, seen = _under_way(rng, rate_per_s, requests, context_tokens)
    return Requests(
        np.where(seen.after < 0, moments, 0.0),
        seen.prompt_tokens,
        seen.output_tokens,
        after=seen.after,
        pause_s=seen.pause_s,
        prefixes=prefixes_of_reuse(seen.after, seen.reused_tokens, seen.prompt_tokens),
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
        checks.close(
            f"quarter {quarter}: requests over told",
            count / 10_000,
            1.0,
            rtol=0.2,
            kind="simulation",
        )
