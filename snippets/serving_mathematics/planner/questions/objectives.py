"""What is promised, as data: an objective is a metric, a limit, and the share of the requests that
keeps it.

A metric is a number that every request of a run has, made of its TTFT, its TPOT and its tokens. One
row of METRICS is all that search, refusals, lines, records and plots know of it; the field by which
it is asked for is a row of `fields`. Goodput is the metric of those that are promised together: the
largest latency of a request in shares of its limit, which is kept where it is at most 1.

Assumes: an objective is kept when the quantile of the metric at its share is within the limit.

Source: Zhong et al. (2024), DistServe, section 1, for goodput; `slo_sla` for promises that are
kept together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_non_negative,
    require_in,
    require_shape,
    widen_fields,
)

FloatArray = npt.NDArray[np.float64]
Promise = tuple["Objective", ...]  # of one kind of requests
SHARE = 0.99  # of the requests, where nothing is said
WAITS, STEPS, BOTH = -1, 1, 0  # what a larger batch does to a metric: less wait, longer steps


@dataclass(frozen=True, eq=False)
class RequestTimes:
    """Of requests in order, shape (n,) each: TTFT [s], infinite where no token came; TPOT [s], NaN
    where an answer has one token, and infinite where it never ended; and the tokens after the
    first. Raises ValueError on NaN elsewhere.

    >>> first, each = np.array([0.5, math.inf]), np.array([0.01, math.inf])
    >>> RequestTimes(first, each, np.array([9.0, 9.0])).whole.tolist()
    [0.59, inf]
    """

    ttft: FloatArray
    tpot: FloatArray
    later: FloatArray

    def __post_init__(self) -> None:
        """Refuse what would count as kept because it is unknown."""
        for name in ("ttft", "tpot", "later"):
            object.__setattr__(self, name, as_floats(**{name: getattr(self, name)}))
        require_shape(np.shape(self.ttft), tpot=self.tpot, later=self.later)
        require_all_non_negative(later=self.later)
        came = bool((self.ttft >= 0).all())
        require(came, "ttft", "times, infinite where none came", self.ttft)
        ended = bool(((self.tpot >= 0) | (self.later < 1)).all())
        rule = "times, infinite where an answer never ended, NaN only where it has one token"
        require(ended, "tpot", rule, self.tpot)

    def part(self, which: npt.NDArray[np.bool_]) -> Self:
        """Those of some of the requests."""
        return type(self)(self.ttft[which], self.tpot[which], self.later[which])

    @property
    def whole(self) -> FloatArray:
        """From arrival to the last token [s]."""
        later = self.later > 0
        return self.ttft + np.where(later, np.where(later, self.tpot, 0.0) * self.later, 0.0)


@dataclass(frozen=True)
class Metric:
    """A number that every request has, and how it is called, asked for and shown."""

    name: str  # of classes of requests, and in records
    shown: str
    field: str  # by which its limit is asked for, or its share where all limits are promised
    of: Callable[[RequestTimes, Promise], FloatArray]
    grows: int  # with the batch: WAITS, STEPS or BOTH
    chapter: str
    scale: float = 1.0  # from seconds
    unit: str = "s"

    def limit_text(self, limit: float) -> str:
        """A limit with its unit.

        >>> from serving_mathematics.planner.questions.objectives import METRICS
        >>> METRICS["tpot"].limit_text(0.05)
        '50 ms'
        """
        return f"{self.scale * limit:g} {self.unit}"

    def plain(self, value: float, limit: float) -> str:
        """A value as refusals say it, in the unit of the field: in three digits, or in as many more
        as show that it is over a limit."""
        texts = (sized(value, digits) for digits in range(3, 18))
        text = next((text for text in texts if float(text.replace(",", "")) > limit), sized(value))
        return f"{text} {'times what they allow' if self.of_all else 's'}"

    @property
    def article(self) -> str:
        """Its name with an article."""
        return f"{'an' if self.shown[0] in 'AEIO' else 'a'} {self.shown}"

    @property
    def none_keeps(self) -> str:
        """How a refusal of a limit that no fleet keeps begins."""
        return f"no fleet keeps {'all limits' if self.of_all else self.article}"

    @property
    def of_all(self) -> bool:
        """Whether it is that of all limits together."""
        return self.name == TOGETHER


TOGETHER = "goodput"


def _over_limits(got: RequestTimes, promise: Promise) -> FloatArray:
    """The largest latency of each request, in shares of its limit."""
    alone = [goal for goal in promise if not goal.measure.of_all]
    return np.asarray(np.fmax.reduce([goal.of(got, promise) / goal.limit for goal in alone]))


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            *("ttft", "TTFT", "ttft_s", lambda got, _: got.ttft, WAITS),
            "definitions/latency-distribution",
        ),
        Metric(
            *("tpot", "TPOT", "tpot_s", lambda got, _: got.tpot, STEPS),
            *("architecture/streaming", 1e3, "ms"),
        ),
        Metric(
            *("e2e", "E2E latency", "e2e_s", lambda got, _: got.whole, BOTH),
            "definitions/service",
        ),
        Metric(TOGETHER, "goodput", "goodput", _over_limits, BOTH, "definitions/slo-sla"),
    )
}


@dataclass(frozen=True)
class Objective:
    """A metric, its limit, and the share of the requests that keeps it. Raises ValueError on what
    is none, in the words of the fields.

    >>> Objective("tpot", 0.05).text
    'a TPOT of 50 ms'
    """

    metric: str
    limit: float  # [s]; of all limits together 1
    share: float = SHARE

    def __post_init__(self) -> None:
        """Refuse what is not an objective."""
        require(self.metric in METRICS, "metric", f"one of {', '.join(METRICS)}", self.metric)
        object.__setattr__(self, "limit", as_number(limit=self.limit))
        widen_fields(self)
        require(self.limit > 0, self.measure.field, "positive", self.limit)
        share = {"goodput" if self.measure.of_all else "quantile": self.share}
        require_in("(0, 1)", **share)

    @property
    def measure(self) -> Metric:
        """What is measured."""
        return METRICS[self.metric]

    @property
    def at(self) -> str:
        """The quantile, in short."""
        return f"p{100 * self.share:g}"

    @property
    def text(self) -> str:
        """In words, with its limit."""
        return f"{self.measure.article} of {self.measure.limit_text(self.limit)}"

    @property
    def kept(self) -> str:
        """What is kept, in the unit of the field and with the share."""
        return self._all or f"{self.measure.article} of {self._limit}"

    @property
    def missed(self) -> str:
        """What is not."""
        return f"not {self._all}" if self._all else f"no {self.measure.shown} of {self._limit}"

    @property
    def _limit(self) -> str:
        return f"{self.limit:g} s at {self.at}"

    @property
    def _all(self) -> str:
        share = f"all limits together for {100 * self.share:g}% of the requests"
        return share if self.measure.of_all else ""

    def of(self, got: RequestTimes, promise: Promise) -> FloatArray:
        """The metric of each request, shape (n,). promise: of which this is one."""
        return self.measure.of(got, promise)


def promised(
    ttft_s: float, tpot_s: float, quantile: float = SHARE, **others: float | None
) -> Promise:
    """Objectives of one kind of requests.

    ttft_s, tpot_s: limits [s]. quantile: share of the requests that keeps each. others: limits of
    other metrics by their fields; `goodput` is the share that keeps all limits together, and then
    of each. What is None is not promised. Raises ValueError that names the field, and on a quantile
    outside (0, 1).

    >>> [goal.metric for goal in promised(1.0, 0.05, e2e_s=9.0, goodput=0.9)]
    ['ttft', 'tpot', 'e2e', 'goodput']
    >>> {goal.share for goal in promised(1.0, 0.05, goodput=0.9)}
    {0.9}
    """
    quantile = require_in("(0, 1)", quantile=quantile)
    asked: Mapping[str, float | None] = {"ttft_s": ttft_s, "tpot_s": tpot_s} | others
    limits = {name: as_number(**{name: one}) for name, one in asked.items() if one is not None}
    known = [metric.field for metric in METRICS.values()]
    for name in others:
        require(name in known, "others", f"among {', '.join(known[2:])}", name)
    whole = limits.get(METRICS[TOGETHER].field)
    share = quantile if whole is None else whole
    found = []
    for metric in METRICS.values():
        limit = limits.get(metric.field)
        if limit is not None:
            found.append(Objective(metric.name, 1.0 if metric.of_all else limit, share))
    return tuple(found)


def lifted(promise: Promise, metric: str = "") -> Promise:
    """The same without a limit for one metric, or for all.

    promise: what is promised. metric: its name, or "" for all.

    >>> from serving_mathematics.planner.questions.objectives import promised
    >>> [goal.limit for goal in lifted(promised(1.0, 0.05), "ttft")]
    [inf, 0.05]
    """
    return tuple(
        Objective(goal.metric, math.inf, goal.share) if metric in ("", goal.metric) else goal
        for goal in promise
    )


def promise_text(promise: Promise) -> str:
    """What is promised, in words.

    promise: of one kind of requests.

    >>> from serving_mathematics.planner.questions.objectives import promised
    >>> promise_text(promised(1.0, 0.05))
    'a TTFT of 1 s and a TPOT of 50 ms at p99'
    >>> promise_text(promised(1.0, 0.05, goodput=0.9))
    'a TTFT of 1 s and a TPOT of 50 ms together in 90% of cases'
    """
    alone = [goal for goal in promise if not goal.measure.of_all]
    *first, last = [goal.text for goal in alone]
    said = f"{', '.join(first)} and {last}" if first else last
    share = f"{100 * alone[0].share:g}"
    together = len(alone) < len(promise)
    return f"{said} together in {share}% of cases" if together else f"{said} at p{share}"


def kept_by_all(got: RequestTimes, promise: Promise) -> npt.NDArray[np.bool_]:
    """Which requests keep all limits, shape (n,).

    got: of the requests. promise: of their kind.

    >>> from serving_mathematics.planner.questions.objectives import promised
    >>> got = RequestTimes(np.array([0.5, 2.0]), np.array([np.nan, 0.01]), np.array([0.0, 9.0]))
    >>> kept_by_all(got, promised(1.0, 0.05)).tolist()
    [True, False]
    """
    alone = [goal for goal in promise if not goal.measure.of_all]
    return np.asarray(~np.any([goal.of(got, promise) > goal.limit for goal in alone], axis=0))


def check_goodput_is_the_share_that_keeps_all() -> None:
    """Goodput at a share is kept exactly where so many requests keep every limit.

    Source: counting of 1,001 drawn requests, whose quantiles are order statistics.
    """
    rng = np.random.default_rng(4)
    got = RequestTimes(*rng.exponential([[1.0], [0.05], [100.0]], (3, 1001)))
    base = promised(2.0, 0.1, e2e_s=9.0)
    count = int(kept_by_all(got, base).sum())
    by_hand = sum(
        bool(first <= 2 and each <= 0.1 and first + each * later <= 9)
        for first, each, later in zip(got.ttft, got.tpot, got.later, strict=True)
    )
    checks.equal("requests that keep all", count, by_hand)
    for share, kept in (((count - 1) / 1000, True), (count / 1000, False)):
        goal = promised(2.0, 0.1, share, e2e_s=9.0, goodput=share)[-1]
        over = goal.of(got, base)
        within = bool(np.quantile(over, goal.share) <= goal.limit)
        checks.equal(f"a share of {share:g} is kept", within, kept)
