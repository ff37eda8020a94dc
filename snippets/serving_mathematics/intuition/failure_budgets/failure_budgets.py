"""An objective below 100% is a budget of failures, and the burn rate says how fast it goes.

With an objective s over a period T, the share 1−s of the requests may fail. An error rate e spends
the budget at the burn rate b = e/(1−s), and exhausts it in T/b. An alert on the burn rate over a
window w that fires at b* = f·T/w has let the share f of the budget go.

Assumes: constant traffic, so that shares of requests are shares of time; errors at a constant rate
from the start of an incident; nothing failing before it.

Source: Beyer et al. (2018), chapter 5, “Alerting on SLOs”.
"""

from __future__ import annotations

from types import SimpleNamespace

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_positive,
)

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0  # s
MONTH = 30 * DAY  # s; the period of the SRE Workbook's examples


def burn_rate(error_rate: float, slo: float) -> float:
    """How many times faster than sustainable an error rate spends the budget, e/(1−s).

    error_rate: e in [0, 1], failed over all requests. slo: s in (0, 1). Cannot exceed 1/(1−s).
    Raises ValueError outside these ranges.

    >>> round(burn_rate(error_rate=0.02, slo=0.99), 9)
    2.0
    """
    error_rate = require_in("[0, 1]", error_rate=error_rate)
    slo = require_in("(0, 1)", slo=slo)
    return error_rate / (1 - slo)


def exhaustion_time(burn: float, period_s: float, remaining: float = 1.0) -> float:
    """Time until a constant burn rate has spent what remains of the budget, r·T/b [s].

    burn: b > 0. period_s: T [s]. remaining: r in [0, 1], share of the budget that is left.
    Raises ValueError outside these ranges.

    >>> exhaustion_time(burn=10.0, period_s=864000.0) / 86400
    1.0
    """
    burn, period_s = require_positive(burn=burn, period_s=period_s)
    remaining = require_in("[0, 1]", remaining=remaining)
    return remaining * period_s / burn


def burn_threshold(spend: float, window_s: float, period_s: float) -> float:
    """Burn rate at which a window has spent a given share of the budget, f·T/w.

    spend: f in (0, 1]. window_s: w in (0, T] [s]. period_s: T [s].
    Raises ValueError outside these ranges.

    >>> burn_threshold(spend=0.05, window_s=36 * 3600.0, period_s=30 * 86400.0)
    1.0
    """
    window_s = as_number(window_s=window_s)
    spend = require_in("(0, 1]", spend=spend)
    period_s = require_positive(period_s=period_s)
    require(0 < window_s <= period_s, "window_s", "positive and at most period_s", window_s)
    return spend * period_s / window_s


def _outage_s() -> float:
    """Full outage that spends the whole budget of three nines in a month [s]."""
    return exhaustion_time(burn_rate(1.0, 0.999), MONTH)


def example() -> SimpleNamespace:
    """Numbers quoted in the text, in the unit that the name says."""
    page = burn_threshold(0.02, HOUR, MONTH)
    exhausted = exhaustion_time(page, MONTH)
    two_hours = MONTH / (2 * HOUR)
    tonight = burn_rate(0.02, 0.999)
    return SimpleNamespace(
        budget_min=_outage_s() / MINUTE,
        page_burn=page,
        tonight_burn=tonight,
        tonight_gone_h=exhaustion_time(tonight, MONTH) / HOUR,
        exhausted_h=exhausted / HOUR,
        exhausted_days=exhausted / DAY,
        two_hours_burn=two_hours,
    )


def check_budget_in_minutes() -> None:
    """Three nines allow 43.2 minutes in 30 days.

    Source: 0.1% of the period, by hand; 43 minutes from Beyer et al. (2018), table 5-4.
    """
    checks.close("30 days [min]", _outage_s() / 60, 43.2, rtol=1e-12)
    checks.close("as printed", _outage_s() / 60, 43, atol=0.5, kind="published")


def check_recommended_thresholds() -> None:
    """2% in 1 h, 5% in 6 h and 10% in 3 d are burn rates of 14.4, 6 and 1.

    Source: Beyer et al. (2018), tables 5-6 and 5-8, and section 4 for 36.
    """
    for spend, hours, expected in ((0.02, 1, 14.4), (0.05, 6, 6.0), (0.1, 72, 1.0), (0.05, 1, 36)):
        got = burn_threshold(spend, hours * HOUR, MONTH)
        checks.close(f"{spend:.0%} in {hours} h", got, expected, rtol=1e-12, kind="published")


def check_page_leaves_two_days_not_two_hours() -> None:
    """At burn rate 14.4 the 30-day budget lasts 50 hours; “2 hours” would be burn rate 360.

    Source: by hand, 720 h over 14.4; Beyer et al. (2018), table 5-4 for the rule.
    """
    checks.close("T/b [h]", exhaustion_time(14.4, MONTH) / HOUR, 50, rtol=1e-12)
    checks.close("burn rate of 2 h", burn_threshold(1.0, 2 * HOUR, MONTH), 360, rtol=1e-12)
    got = exhaustion_time(10.0, MONTH) / DAY
    checks.close("burn rate 10 [d]", got, 3, rtol=1e-12, kind="published")


def check_one_error_of_ten() -> None:
    """One error among ten requests an hour is burn rate 100, not the 1,000 printed beside 13.9%.

    Source: Beyer et al. (2018), “Low-Traffic Services”: 10% in an hour, 13.9% of the budget; both
    give 100 by their own formula, b = f·T/w.
    """
    checks.close("burn rate", burn_rate(0.1, 0.999), 100, rtol=1e-12)
    spent = HOUR / exhaustion_time(burn_rate(0.1, 0.999), MONTH)
    checks.close("spent in the hour", spent, 0.139, atol=5e-4, kind="published")
    checks.close("from the 13.9%", burn_threshold(0.139, HOUR, MONTH), 100, atol=0.5)
