"""Retries that feed a storm: how many attempts a request makes, at which loads that lasts, and a
budget that bounds them.

After an outage a line is there. With dead work every attempt is late once the line is longer than
the clients' patience, each request makes 1 + R attempts, and the storm feeds itself where
λ(1 + R) ≥ μ. A budget of β retries for each first attempt makes that λ(1 + β) ≥ μ.

Assumes: an engine that serves whoever has gone; `outages` says what cancelling and a limit change.

Source: Bronson et al. (2021) for storms that outlast their cause; balance of flows; Finagle (2016)
for budgets of retries over a window.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    require_work,
)


def retry_amplification(failure: float, retries: int) -> float:
    """Attempts for each request, 1 + p + … + p^R, when each fails with probability p.

    failure: p in [0, 1]. retries: R ≥ 0. Raises ValueError outside these ranges.

    >>> retry_amplification(failure=0.5, retries=2)
    1.75
    """
    failure = require_in("[0, 1]", failure=failure)
    retries = require_non_negative_integer(retries=retries)
    require_work(retries, retries=retries)
    return float(sum(failure**attempt for attempt in range(int(retries) + 1)))


def storm_band(capacity_per_s: float, attempts: float) -> tuple[float, float]:
    """Loads of first attempts between which a storm, once begun, feeds itself, [μ/A, μ) [1/s].

    capacity_per_s: μ, positive. attempts: A of each request at most, 1 + R, or 1 + β with a budget;
    at least 1. Raises ValueError outside these ranges.

    >>> storm_band(capacity_per_s=100.0, attempts=4)
    (25.0, 100.0)
    """
    capacity_per_s = require_positive(capacity_per_s=capacity_per_s)
    attempts = require_positive(attempts=attempts)
    require(attempts >= 1, "attempts", "at least 1", attempts)
    return capacity_per_s / attempts, capacity_per_s


def budgeted_retry(
    request: int,
    attempt: int,
    view: Any,
    retry: Callable[[int, int, Any], float],
    budget: float = 0.1,
    window_s: float = 10.0,
) -> float:
    """The pause of another rule [s], as long as the retries of a window are no more than a share of
    its first attempts; else infinity, so that the request is lost.

    view: of `core.fleet`, where requests come by themselves and not in sessions, whose own moments
    nobody knows before. retry: the other rule, such as `back_off`. budget: β, the share, at least
    0. window_s: over which both are counted. Raises ValueError outside these ranges.

    >>> from types import SimpleNamespace
    >>> ledger = SimpleNamespace(requests=SimpleNamespace(arrival_s=np.arange(0.0, 10.0, 0.5)))
    >>> view = SimpleNamespace(now=9.9, ledger=ledger, memory={})
    >>> [budgeted_retry(number, 1, view, lambda *_: 0.5) for number in range(3)]
    [0.5, 0.5, inf]
    """
    window_s = require_positive(window_s=window_s)
    request = require_non_negative_integer(request=request)
    attempt = require_positive_integer(attempt=attempt)
    budget = require_non_negative(budget=budget)
    asked = view.ledger.requests.arrival_s
    if "retries" not in view.memory:
        alone = bool(np.all(np.diff(asked) >= 0))
        require(alone, "view", "of requests that come by themselves, in order", "sessions")
    sent = view.memory.setdefault("retries", deque())
    while sent and sent[0] <= view.now - window_s:
        sent.popleft()
    begin, end = np.searchsorted(asked, [view.now - window_s, view.now], side="right")
    if len(sent) + 1 > budget * float(end - begin) + 1e-9:  # 29 of 0.29·100
        return math.inf
    pause_s = retry(request, attempt, view)
    if pause_s < math.inf:
        sent.append(view.now)
    return pause_s


def check_a_budget_by_hand() -> None:
    """Of twenty requests in ten seconds, a tenth may be retried, and as many ten seconds later.

    Source: by hand.
    """
    asked = SimpleNamespace(arrival_s=np.arange(0.0, 30.0, 0.5))
    view: Any = SimpleNamespace(ledger=SimpleNamespace(requests=asked), memory={})
    sent = []
    for view.now in (9.75, 10.0, 10.25, 19.75, 20.0, 20.25):
        sent.append(budgeted_retry(0, 1, view, retry=lambda *_: 1.0) < math.inf)
    checks.equal("sent", sent, [True, True, False, True, True, False])
    asked = SimpleNamespace(arrival_s=np.linspace(0.0, 9.0, 100))
    view = SimpleNamespace(ledger=SimpleNamespace(requests=asked), memory={}, now=9.5)
    kept = [budgeted_retry(0, 1, view, lambda *_: 1.0, budget=0.29) < math.inf for _ in range(99)]
    checks.equal("of a hundred, 29 in 100", sum(kept), 29)


def check_bad_input_is_refused() -> None:
    """Less than one attempt, and sessions, whose requests wait for others, are refused."""
    checks.raises("attempts", storm_band, 9.0, 0.5, match="attempts must be at least 1")
    sessions = SimpleNamespace(requests=SimpleNamespace(arrival_s=np.array([0.0, 2.0, 1.0])))
    checks.raises(
        "sessions",
        partial(budgeted_retry, 0, 1, SimpleNamespace(ledger=sessions, memory={}), max),
        match="view must be of requests that come by themselves, in order, got sessions",
    )
