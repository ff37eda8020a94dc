"""Sessions that are drawn like those of a trace, by a law of a few tables.

A session has a number of requests, a first prompt, and for each further request what is new in it,
the answer and the pause before. Each is drawn through a table of quantiles, between which
logarithms are straight. A session has a habit: the scores behind its draws are those of the session
and of the request together. Sometimes a context is cut: the prompt repeats only a part of what it
had. Everything else in a prompt was sent before.

Assumes: sessions are independent of each other and of the time of day; pauses do not depend on how
long the answer took; an answer is new in the next prompt.

Source: kv-cache-tester (2026), traces of a coding agent, for AGENT; Song (2000) for dependence by
normal scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_in,
    require_positive_integer,
    require_work,
    widen_fields,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
LEVELS = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)  # of the tables


@dataclass(frozen=True)
class Quantity:
    """A law by its quantiles at LEVELS, positive and not falling, and the share of the variance of
    its scores that is the session's, in [0, 1]. Raises ValueError on anything else.

    >>> Quantity((1.0,) * 5 + (100.0,) * 6).drawn(np.array([-9.0, 0.6744897502]))
    array([  1., 100.])
    """

    quantiles: tuple[float, ...]
    habit: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no law."""
        table = as_floats(quantiles=self.quantiles)
        right = table.shape == (len(LEVELS),) and np.all(table > 0) and np.all(np.diff(table) >= 0)
        finite = right and np.isfinite(table).all()
        require(finite, "quantiles", f"{len(LEVELS)} positive numbers that do not fall", table)
        object.__setattr__(self, "quantiles", tuple(table.tolist()))
        object.__setattr__(self, "habit", require_in("[0, 1]", habit=self.habit))

    def drawn(self, scores: FloatArray) -> FloatArray:
        """Values for normal scores, of the same shape."""
        twice = list(map(math.erfc, (-scores.ravel() / math.sqrt(2)).tolist()))  # levels
        logs = np.interp(0.5 * np.array(twice), LEVELS, np.log(self.quantiles))
        return np.asarray(np.exp(logs).reshape(scores.shape))


@dataclass(frozen=True)
class SessionLaw:
    """Sessions by the laws of their parts. Raises ValueError on a correlation or a share that is
    none.

    requests: of a session. first_tokens: of its first prompt. new_tokens, output_tokens, pause_s:
    of each request. together: correlation of the scores of requests and first_tokens. cut_share:
    requests that repeat only a part of their context; kept_share: which, in (0, 1], and
    cut_tokens, new in them.
    """

    requests: Quantity
    first_tokens: Quantity
    new_tokens: Quantity
    output_tokens: Quantity
    pause_s: Quantity
    together: float
    cut_share: float
    kept_share: Quantity
    cut_tokens: Quantity

    def __post_init__(self) -> None:
        """Refuse what is no correlation, and no share."""
        require_in("[-1, 1]", together=self.together)
        require_in("[0, 1]", cut_share=self.cut_share)
        widen_fields(self)


# Fitted to every other session of the traces: 355 sessions, 23,500 requests; the rest judged it.
AGENT = SessionLaw(
    requests=Quantity((3, 5, 8, 21, 47.5, 97.25, 153.3, 230.65, 346.08, 478.05, 514)),
    first_tokens=Quantity(
        (6343, 13344, 15444, 18762, 24242, 106240, 277330, 411900, 790900, 849770, 851860)
    ),
    new_tokens=Quantity(
        (18, 186, 226, 369, 693, 1575.5, 3580.4, 6175.7, 15616, 48560, 235100), 0.164
    ),
    output_tokens=Quantity((1, 87, 103, 136, 217, 432, 912, 1533.6, 3781.7, 8345.5, 18195), 0.118),
    pause_s=Quantity((0.001, 3, 4, 6, 10, 35, 169, 437.2, 3015.6, 15091, 52588), 0.201),
    together=-0.437,
    cut_share=0.0192,
    kept_share=Quantity(
        (1e-6, 1e-6, 0.036, 0.0811, 0.1118, 0.2404, 0.4666, 0.5369, 0.7928, 0.8929, 0.8934)
    ),
    cut_tokens=Quantity(
        (410, 7652.4, 13100, 23193, 54966, 104810, 157390, 244970, 405240, 581300, 697350)
    ),
)


def draw_sessions(
    rng: np.random.Generator, law: SessionLaw, sessions: int, starts_s: npt.ArrayLike = 0.0
) -> Requests:
    """Sessions of a law.

    sessions: how many. starts_s: when each begins, sorted, shape (sessions,) [s]. Raises ValueError
    unless there is one, and as `Requests` does.

    >>> from serving_mathematics.core.fleet.sessions import AGENT
    >>> drawn = draw_sessions(np.random.default_rng(1), AGENT, 20)
    >>> int((drawn.after < 0).sum())
    20
    """
    starts_s = require_all_non_negative(starts_s=starts_s)
    drawn = _drawn_chains(rng, law, sessions)
    arrivals = np.zeros(drawn.after.size)
    arrivals[drawn.after < 0] = starts_s
    return Requests(
        arrivals,
        drawn.prompt_tokens,
        drawn.output_tokens,
        after=drawn.after,
        pause_s=drawn.pause_s,
        prefixes=prefixes_of_reuse(drawn.after, drawn.reused_tokens, drawn.prompt_tokens),
    )


class _Chains(NamedTuple):
    """Requests of sessions, one session after the other, without times and without a tree."""

    session: IntArray
    after: IntArray
    prompt_tokens: IntArray
    reused_tokens: IntArray
    output_tokens: FloatArray
    pause_s: FloatArray


def _drawn_chains(rng: np.random.Generator, law: SessionLaw, sessions: int) -> _Chains:
    sessions = require_positive_integer(sessions=sessions)
    mean = float(np.trapezoid(law.requests.quantiles, LEVELS))  # of requests, a little too many
    require_work(60 * sessions * (1 + mean), sessions=sessions)
    count, first = rng.standard_normal((2, sessions))
    first = law.together * count + math.sqrt(1 - law.together**2) * first
    counts = np.maximum(1, np.rint(law.requests.drawn(count))).astype(np.intp)
    session = np.repeat(np.arange(sessions), counts)
    begins = np.append(0, np.cumsum(counts)[:-1])
    size = session.size

    def scores(quantity: Quantity) -> FloatArray:
        own, habit = rng.standard_normal(size), rng.standard_normal(sessions)[session]
        mixed = math.sqrt(quantity.habit) * habit + math.sqrt(1 - quantity.habit) * own
        return quantity.drawn(mixed)

    new, outputs, pauses = (
        scores(quantity) for quantity in (law.new_tokens, law.output_tokens, law.pause_s)
    )
    cut = np.flatnonzero(rng.random(size) < law.cut_share)
    new[cut] = law.cut_tokens.drawn(rng.standard_normal(size)[cut])
    kept = np.ones(size)
    kept[cut] = law.kept_share.drawn(rng.standard_normal(size)[cut])
    new[begins] = law.first_tokens.drawn(first)
    kept[begins] = 0.0
    # a prompt is what all before it added, less what a cut took away
    total = np.append(0, np.cumsum(np.maximum(1, np.rint(new)).astype(np.int64)))
    cuts = np.union1d(begins, cut)
    less, lost = 0, []
    for added, share in zip(total[cuts].tolist(), kept[cuts].tolist(), strict=True):
        less = added - int(share * (added - less))
        lost.append(less)
    gone = np.repeat(lost, np.diff(np.append(cuts, size)))
    after = np.arange(-1, size - 1)
    after[begins] = -1
    return _Chains(
        session,
        after,
        total[1:] - gone,
        total[:-1] - gone,
        np.maximum(1, np.rint(outputs)),
        np.where(after >= 0, pauses, 0.0),
    )
