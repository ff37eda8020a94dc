"""A budget needs to know what a failure is, and a streamed answer can fail after status 200.

An answer counts as failed when the server says so (5xx), turns away a caller who is within the
quota (429), gives the first token after the objective's limit, or stops without a finish reason.
Errors of the caller (other 4xx, 429 beyond the quota) and answers that the caller gave up in time
are not counted at all, neither as good nor as requests.

Assumes: one limit for the first token; a caller who gives up before any token, after that limit,
gave up because of it.

Source: Beyer et al. (2018), chapter 2, for good events over valid events; the rules are the page's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_in,
    require_non_negative,
    require_positive,
    widen_fields,
)


@dataclass(frozen=True)
class Answer:
    """How a streamed request ended. Raises ValueError on what is no status or no time.

    >>> Answer(200, 0.3, "stop").within_quota
    True
    """

    status: int  # of HTTP, sent before the first token
    ttft_s: float  # time to the first token, or to the end if none came [s]
    finish_reason: str  # of the last event; empty if none came
    aborted: bool = False  # by the caller
    within_quota: bool = True  # what the caller may send

    def __post_init__(self) -> None:
        """Refuse what no log holds."""
        widen_fields(self)
        require_in("[100, 599]", status=self.status)
        require_non_negative(ttft_s=self.ttft_s)


def outcome(answer: Answer, ttft_limit_s: float) -> str:
    """How a request counts: "good", "failed", or "not counted".

    answer: how it ended. ttft_limit_s: the objective's limit on the first token, positive [s].
    Raises ValueError outside this range.

    >>> outcome(Answer(200, 0.3, "stop"), 1.0), outcome(Answer(200, 0.3, ""), 1.0)
    ('good', 'failed')
    >>> outcome(Answer(200, 0.3, "", aborted=True), 1.0)
    'not counted'
    """
    ttft_limit_s = require_positive(ttft_limit_s=ttft_limit_s)
    if answer.status == 429:
        return "failed" if answer.within_quota else "not counted"
    if 400 <= answer.status < 500:
        return "not counted"
    if answer.status >= 500 or answer.ttft_s > ttft_limit_s:
        return "failed"
    if answer.aborted:
        return "not counted"
    return "good" if answer.finish_reason else "failed"


def stream_error_rate(answers: Iterable[Answer], ttft_limit_s: float) -> float:
    """Failed over all that count, the error rate e of a budget; 0 where none counts.

    answers, ttft_limit_s: as for `outcome`, and refused as there.

    >>> stream_error_rate([Answer(200, 0.3, "stop"), Answer(503, 0.0, ""), Answer(400, 0.0, "")], 1)
    0.5
    """
    ttft_limit_s = require_positive(ttft_limit_s=ttft_limit_s)
    counts = Counter(outcome(answer, ttft_limit_s) for answer in answers)
    counted = counts["good"] + counts["failed"]
    return counts["failed"] / counted if counted else 0.0


def example() -> SimpleNamespace:
    """A made-up thousand of answers, in percent: by status, and by what the caller got."""
    log = [
        *[Answer(200, 0.4, "stop")] * 960,
        *[Answer(200, 0.4, "")] * 6,  # cut off
        *[Answer(200, 4.0, "stop")] * 12,  # late
        *[Answer(429, 0.0, "")] * 8,
        *[Answer(503, 0.0, "")] * 2,
        *[Answer(200, 0.4, "", aborted=True)] * 12,
    ]
    server = sum(answer.status >= 500 for answer in log) / len(log)
    return SimpleNamespace(
        by_status_percent=100 * server, by_outcome_percent=100 * stream_error_rate(log, 1.0)
    )


def check_outcomes() -> None:
    """Truncation, a late first token and a refusal within the quota fail behind a status that does
    not say so; what the caller did is not counted.

    Source: the rules of the section, one answer for each.
    """
    for label, answer, expected in (
        ("whole", Answer(200, 0.3, "stop"), "good"),
        ("at its limit of tokens", Answer(200, 0.3, "length"), "good"),
        ("cut off", Answer(200, 0.3, ""), "failed"),
        ("late", Answer(200, 2.0, "stop"), "failed"),
        ("given up while nothing came", Answer(200, 2.0, "", aborted=True), "failed"),
        ("given up while reading", Answer(200, 0.3, "", aborted=True), "not counted"),
        ("refused", Answer(429, 0.0, ""), "failed"),
        ("refused beyond the quota", Answer(429, 0.0, "", within_quota=False), "not counted"),
        ("no request", Answer(400, 0.0, ""), "not counted"),
        ("server error", Answer(503, 0.0, ""), "failed"),
    ):
        checks.equal(label, outcome(answer, 1.0), expected)


def check_status_alone_sees_little() -> None:
    """The status shows two of a thousand, the outcomes 28 of 988 that count.

    Source: 6 + 12 + 8 + 2 failures, and twelve answers that the caller gave up, by hand.
    """
    run = example()
    checks.close("by status [%]", run.by_status_percent, 0.2, rtol=1e-12)
    checks.close("by outcome [%]", run.by_outcome_percent, 100 * 28 / 988, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """No status, no time and no limit are errors that name the field."""
    checks.raises("status", Answer, 99, 0.0, "", match="status must be in [100, 599]")
    checks.raises("NaN", Answer, 200, math.nan, "", match="ttft_s must be non-negative")
    checks.raises("limit", outcome, Answer(200, 0.1, "stop"), 0.0, match="ttft_limit_s must be")
